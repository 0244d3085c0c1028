/* Reading, on the reader thread and a connection of its own: what it sees is committed.  Statements are made for each
 * reading: that is some ten microseconds, and nothing here is on the path of a request that shares. */
#include "replication/store_read_int.h"

#include <stdlib.h>

#include "base/log.h"

struct read_job {
	struct store_job job;
	store_read *read;
};

static void retire(struct store_job *job)
{
	free(job);
}

int store_submit_read(struct store *s, store_read *read, struct store_inbox *inbox, store_done *done, void *arg)
{
	struct read_job *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return ERR_NOMEM;
	r->read = read;
	r->job = (struct store_job){ .inbox = inbox, .done = done, .arg = arg, .bytes = sizeof(*r), .retire = retire };
	rc = lane_put(&s->readers, &r->job);
	if (rc)
		free(r);
	return rc;
}

void *store_read_jobs(void *arg)
{
	struct store *s = arg;
	struct store_job *job;

	while ((job = lane_take(&s->readers, false))) {
		struct read_job *r = (struct read_job *)job; /* its first member */

		job_answer(job, r->read(&s->reader, job->arg));
	}
	return NULL;
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static int failed(const struct store_reader *r)
{
	struct err e;
	int rc = store_fail(r->store, r->db, store_code(sqlite3_extended_errcode(r->db), NULL), "cannot be read", &e);

	log_error("%s", e.text);
	return rc;
}

static int begin(struct store_reader *r, const char *sql, const struct value *values, int count, sqlite3_stmt **stmt_r)
{
	int rc = sqlite3_prepare_v2(r->db, sql, -1, stmt_r, NULL);

	if (rc == SQLITE_OK)
		rc = store_bind(*stmt_r, values, count);
	if (rc == SQLITE_OK)
		return 0;
	rc = failed(r);
	sqlite3_finalize(*stmt_r);
	return rc;
}

/* rc: what the rows ended with, SQLITE_ROW where the caller has enough. */
static int end(struct store_reader *r, sqlite3_stmt *stmt, int rc)
{
	int code = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(r);

	sqlite3_finalize(stmt);
	return code;
}

int store_each(struct store_reader *r, const char *sql, const struct value *values, int count, on_row *on, void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int rc = begin(r, sql, values, count, &stmt), code;

	if (rc)
		return rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		code = on(arg, stmt);
		if (code) {
			sqlite3_finalize(stmt);
			return code;
		}
	}
	return end(r, stmt, rc);
}

static int one(struct store_reader *r, const char *sql, const struct value *values, int count, on_row *on, void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int rc = begin(r, sql, values, count, &stmt), code;

	if (rc)
		return rc;
	rc = sqlite3_step(stmt);
	code = rc == SQLITE_ROW ? on(arg, stmt) : ERR_NOT_FOUND;
	rc = end(r, stmt, rc);
	return rc ? rc : code;
}

/* What outlives the row. */
static bool keep(struct arena *arena, struct span *const *spans, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		*spans[i] = arena_dup(arena, *spans[i]);
		if (!spans[i]->p)
			return false;
	}
	return true;
}

#define KEEP(arena, ...) \
	keep(arena, (struct span *[]){ __VA_ARGS__ }, sizeof((struct span *[]){ __VA_ARGS__ }) / sizeof(struct span *))

/* ---- operations --------------------------------------------------------------------------------------------------- */

struct kept_operation {
	struct arena *arena;
	struct store_operation *op;
};

static int keep_operation(void *arg, sqlite3_stmt *stmt)
{
	struct kept_operation *k = arg;
	struct store_operation *op = k->op;

	read_operation(stmt, op);
	op->headers = column(stmt, OPERATION_SHORT_COLUMNS);
	op->body = column(stmt, OPERATION_SHORT_COLUMNS + 1);
	op->vector = column(stmt, OPERATION_SHORT_COLUMNS + 2);
	op->refs = column(stmt, OPERATION_SHORT_COLUMNS + 3);
	return KEEP(k->arena, &op->key.service, &op->key.collection, &op->key.meta, &op->method, &op->path, &op->query,
	            &op->spool, &op->parent, &op->principal, &op->headers, &op->body, &op->vector, &op->refs) ?
	       0 : ERR_NOMEM;
}

int store_read_operation(struct store_reader *r, const struct op_id *id, struct arena *arena,
                         struct store_operation *op_r)
{
	struct kept_operation k = { arena, op_r };
	struct value values[] = { OP_VALUES(id) };

	return one(r, "SELECT " OPERATION_SHORT ", o.headers, o.body, o.vector, o.refs FROM operations o"
	           " WHERE site = ?1 AND incarnation = ?2 AND number = ?3", values, COUNT(values), keep_operation, &k);
}

struct on_operation {
	store_on_operation *on;
	void *arg;
};

static int row_operation(void *arg, sqlite3_stmt *stmt)
{
	struct on_operation *o = arg;
	struct store_operation op;

	read_operation(stmt, &op);
	return o->on(o->arg, &op);
}

int store_read_history(struct store_reader *r, const struct store_key_of *key, int limit, store_on_operation *on,
                       void *arg)
{
	struct on_operation o = { on, arg };
	struct value values[] = { KEY_VALUES(key), { .type = VALUE_INT, .i = limit } };

	return store_each(r, "SELECT " OPERATION_SHORT " FROM operations o WHERE service = ?1 AND collection = ?2"
	                  " AND meta = ?3 ORDER BY clock DESC, site DESC, incarnation DESC, number DESC LIMIT ?4", values, COUNT(values),
	                  row_operation, &o);
}

struct on_delivery {
	store_on_delivery *on;
	void *arg;
};

static int row_delivery(void *arg, sqlite3_stmt *stmt)
{
	const int at = OPERATION_SHORT_COLUMNS;
	struct on_delivery *o = arg;
	struct store_operation op;
	struct store_delivery d = { .target = column(stmt, at), .state = (enum delivery_state)number(stmt, at + 1),
		.attempts = (unsigned)number(stmt, at + 2), .status = (unsigned)number(stmt, at + 3),
		.next_ms = sqlite3_column_int64(stmt, at + 4), .expires_ms = sqlite3_column_int64(stmt, at + 5),
		.error = column(stmt, at + 6) };

	read_operation(stmt, &op);
	d.op = op.id;
	return o->on(o->arg, sqlite3_column_int64(stmt, at + 7), &d, &op);
}

_Static_assert(DELIVERY_DONE == 2 && DELIVERY_DROPPED == 7, "what is over, in the statement below");

/* The cursor is the operation's row: all its targets come together, so a page may exceed its limit by their number. */
int store_read_queue(struct store_reader *r, struct span target, int64_t after, int limit, store_on_delivery *on,
                     void *arg)
{
	struct on_delivery o = { on, arg };
	struct value values[] = { { .type = VALUE_TEXT, .s = target }, { .type = VALUE_INT, .i = after },
		{ .type = VALUE_INT, .i = limit } };

	return store_each(r, "SELECT " OPERATION_SHORT ", d.target, d.state, d.attempts, d.status, d.next, d.expires,"
	                  " d.error, d.oid FROM deliveries d JOIN operations o ON o.oid = d.oid WHERE d.state NOT IN (2, 7)"
	                  " AND (?1 = '' OR d.target = ?1) AND d.oid IN (SELECT DISTINCT oid FROM deliveries WHERE"
	                  " state NOT IN (2, 7) AND oid > ?2 AND (?1 = '' OR target = ?1) ORDER BY oid LIMIT ?3)"
	                  " ORDER BY d.oid, d.target", values, COUNT(values), row_delivery, &o);
}

struct on_intent {
	store_on_intent *on;
	void *arg;
};

static int row_intent(void *arg, sqlite3_stmt *stmt)
{
	struct on_intent *o = arg;
	struct store_intent i = { .class = (enum consistency)number(stmt, 3), .sites = column(stmt, 4),
		.at = column(stmt, 5), .stage = (enum delivery_state)number(stmt, 6),
		.since_ms = sqlite3_column_int64(stmt, 7) };

	read_op_id(stmt, 0, &i.op);
	return o->on(o->arg, &i);
}

int store_read_intents(struct store_reader *r, store_on_intent *on, void *arg)
{
	struct on_intent o = { on, arg };

	return store_each(r, "SELECT o.site, o.incarnation, o.number, i.class, i.sites, i.at, i.stage, i.since"
	                  " FROM intents i JOIN operations o ON o.oid = i.oid ORDER BY i.oid", NULL, 0, row_intent, &o);
}

struct on_spool {
	store_on_spool *on;
	void *arg;
};

static int row_spool(void *arg, sqlite3_stmt *stmt)
{
	struct on_spool *o = arg;

	return o->on(o->arg, column(stmt, 0));
}

int store_read_spools(struct store_reader *r, store_on_spool *on, void *arg)
{
	struct on_spool o = { on, arg };

	return store_each(r, "SELECT spool FROM operations WHERE spool IS NOT NULL", NULL, 0, row_spool, &o);
}

/* ---- resources ---------------------------------------------------------------------------------------------------- */

struct on_resource {
	store_on_resource *on;
	void *arg;
};

static int row_resource(void *arg, sqlite3_stmt *stmt)
{
	struct on_resource *o = arg;
	struct store_resource resource = read_resource(stmt);

	return o->on(o->arg, sqlite3_column_int64(stmt, 8), &resource);
}

int store_read_resources(struct store_reader *r, struct span service, int64_t after, int limit, store_on_resource *on,
                         void *arg)
{
	struct on_resource o = { on, arg };
	struct value values[] = { { .type = VALUE_TEXT, .s = service }, { .type = VALUE_INT, .i = after },
		{ .type = VALUE_INT, .i = limit } };

	return store_each(r, "SELECT " RESOURCE " FROM resources NOT INDEXED WHERE rid > ?2"
	                  " AND (?1 = '' OR service = ?1) ORDER BY rid LIMIT ?3", values, COUNT(values), row_resource, &o);
}

struct kept_resource {
	struct arena *arena;
	struct store_resource *resource;
};

static int keep_resource(void *arg, sqlite3_stmt *stmt)
{
	struct kept_resource *k = arg;
	struct store_resource *r = k->resource;

	*r = read_resource(stmt);
	return KEEP(k->arena, &r->key.service, &r->key.collection, &r->key.meta, &r->sites, &r->vector) ? 0 : ERR_NOMEM;
}

int store_read_resource(struct store_reader *r, const struct store_key_of *key, struct arena *arena,
                        struct store_resource *r_r)
{
	struct kept_resource k = { arena, r_r };
	struct value values[] = { KEY_VALUES(key) };

	return one(r, "SELECT " RESOURCE " FROM resources WHERE " STORE_KEY, values, COUNT(values), keep_resource, &k);
}

struct on_replica {
	store_on_replica *on;
	void *arg;
	const struct store_key_of *key;
};

static int row_replica(void *arg, sqlite3_stmt *stmt)
{
	struct on_replica *o = arg;
	struct store_replica replica = { .key = *o->key, .site = column(stmt, 0), .local = column(stmt, 1),
		.state = (enum replica_state)number(stmt, 2), .reason = column(stmt, 3) };

	return o->on(o->arg, &replica);
}

int store_read_replicas(struct store_reader *r, const struct store_key_of *key, store_on_replica *on, void *arg)
{
	struct on_replica o = { on, arg, key };
	struct value values[] = { KEY_VALUES(key), { .type = VALUE_TEXT, .s = span_of(r->store->site) } };

	return store_each(r, "SELECT ?4 AS site, local, state, reason FROM resources WHERE " STORE_KEY " AND here"
	                  " UNION ALL SELECT site, local, state, reason FROM replicas WHERE rid = " STORE_RID " ORDER BY 1", values,
	                  COUNT(values), row_replica, &o);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

struct kept_answer {
	struct arena *arena;
	struct store_answer *answer;
};

static int keep_answer(void *arg, sqlite3_stmt *stmt)
{
	struct kept_answer *k = arg;
	struct store_answer *a = k->answer;

	*a = (struct store_answer){ .key = column(stmt, 0), .fingerprint = column(stmt, 1),
		.status = (unsigned)number(stmt, 5), .headers = column(stmt, 6), .body = column(stmt, 7),
		.expires_ms = sqlite3_column_int64(stmt, 8) };
	read_op_id(stmt, 2, &a->op);
	return KEEP(k->arena, &a->key, &a->fingerprint, &a->headers, &a->body) ? 0 : ERR_NOMEM;
}

int store_read_answer(struct store_reader *r, struct span key, struct arena *arena, struct store_answer *a_r)
{
	struct kept_answer k = { arena, a_r };
	struct value values[] = { { .type = VALUE_BLOB, .s = key } };

	return one(r, "SELECT key, fingerprint, op_site, op_incarnation, op_number, status, headers, body, expires"
	           " FROM answers WHERE key = ?1", values, COUNT(values), keep_answer, &k);
}

struct on_frontier {
	store_on_frontier *on;
	void *arg;
};

static int row_frontier(void *arg, sqlite3_stmt *stmt)
{
	struct on_frontier *o = arg;
	struct store_frontier f = { .holder = column(stmt, 0), .origin = column(stmt, 1), .incarnation = number(stmt, 2),
		.number = number(stmt, 3), .beyond = column(stmt, 4) };

	return o->on(o->arg, &f);
}

int store_read_frontiers(struct store_reader *r, store_on_frontier *on, void *arg)
{
	struct on_frontier o = { on, arg };

	return store_each(r, "SELECT holder, origin, incarnation, number, beyond FROM frontiers ORDER BY 1, 2, 3", NULL, 0,
	                  row_frontier, &o);
}

struct on_rule {
	store_on_rule *on;
	void *arg;
};

static int row_rule(void *arg, sqlite3_stmt *stmt)
{
	struct on_rule *o = arg;
	struct store_rule rule = { .service = column(stmt, 0), .collection = column(stmt, 1), .rule = column(stmt, 2),
		.pinned = sqlite3_column_int(stmt, 3) };

	return o->on(o->arg, &rule);
}

int store_read_rules(struct store_reader *r, store_on_rule *on, void *arg)
{
	struct on_rule o = { on, arg };

	return store_each(r, "SELECT service, collection, rule, pinned FROM rules ORDER BY 1, 2", NULL, 0, row_rule, &o);
}
