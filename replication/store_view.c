/* Filters and counts are SQL, so that what does not match costs no copy.  Every walk goes along a table's own order from
 * a cursor on. */
#include "replication/store_view.h"

#include <stdio.h>
#include <sys/stat.h>

#include "replication/store_read_int.h"

#define WHOLE(v) { .type = VALUE_INT, .i = (v) }
#define TEXT(v) { .type = VALUE_TEXT, .s = (v) }
#define STR(x) #x
#define LITERAL(x) STR(x)
#define ROWS LITERAL(STORE_VIEW_ROWS)

/* ---- resources ---------------------------------------------------------------------------------------------------- */

#define ENOUGH 1 /* of a callback: no error */

struct page {
	store_on_resource *on;
	void *arg;
	int found, limit, rows;
	int64_t cursor;
};

static int row_of_page(void *arg, sqlite3_stmt *stmt)
{
	struct page *p = arg;
	struct store_resource resource;
	int rc;

	p->cursor = sqlite3_column_int64(stmt, 8);
	p->rows++;
	if (!sqlite3_column_int(stmt, 9))
		return 0;
	resource = read_resource(stmt);
	rc = p->on(p->arg, p->cursor, &resource);
	if (rc)
		return rc;
	return ++p->found == p->limit ? ENOUGH : 0;
}

/* Rows that do not match are looked at too: the cursor has to know of them. */
int store_view_resources(struct store_reader *r, const struct store_filter *f, int64_t after, int limit,
                         store_on_resource *on, void *arg, int64_t *cursor_r)
{
	struct page p = { .on = on, .arg = arg, .limit = limit };
	struct value values[] = { TEXT(f->service), WHOLE(after), TEXT(f->site), WHOLE(f->state),
		TEXT(span_of(r->store->site)) };
	int rc = store_each(r, "SELECT " RESOURCE ", deleted = 0 AND (?1 = '' OR service = ?1) AND ("
	                    " (?3 = '' AND ?4 < 0) OR (here AND ?3 IN ('', ?5) AND ?4 IN (-1, state)) OR"
	                    " EXISTS(SELECT 1 FROM replicas p WHERE p.rid = resources.rid AND ?3 IN ('', p.site)"
	                    " AND ?4 IN (-1, p.state))) FROM resources NOT INDEXED WHERE rid > ?2 ORDER BY rid LIMIT " ROWS,
	                    values, COUNT(values), row_of_page, &p);

	*cursor_r = p.rows == STORE_VIEW_ROWS || rc == ENOUGH ? p.cursor : STORE_VIEW_END;
	return rc == ENOUGH ? 0 : rc;
}

struct places {
	store_on_key *on;
	void *arg;
};

static int row_of_places(void *arg, sqlite3_stmt *stmt)
{
	struct places *p = arg;
	struct store_key_of key = { column(stmt, 0), column(stmt, 1), SPAN("") };

	return p->on(p->arg, &key);
}

/* No index has resources by meta-identifier alone, since names in memory do; those know long ones without a collection
 * (names.h). Of a short one the whole index is read: 0.1 s for a million, and only operators ask. */
int store_view_places(struct store_reader *r, struct span meta, store_on_key *on, void *arg)
{
	struct names_where where = { .kind = 0 };
	struct places p = { on, arg };
	struct name found, other;
	bool one = meta.n >= NAME_LONG && names_by_meta(r->store->names, &where, meta, &found), two = false;
	struct value values[] = { TEXT(meta), WHOLE(meta.n < NAME_LONG), TEXT(one ? found.service : SPAN("")),
		TEXT(one ? found.collection : SPAN("")), TEXT(SPAN("")), TEXT(SPAN("")) };

	if (one) {
		where.not_service = names_service(r->store->names, found.service);
		two = names_by_meta(r->store->names, &where, meta, &other);
	}
	if (two) {
		values[4].s = other.service;
		values[5].s = other.collection;
	}
	return store_each(r, "SELECT service, collection FROM operations WHERE meta = ?1 UNION SELECT service, collection"
	                  " FROM resources WHERE ?2 AND meta = ?1 UNION SELECT ?3, ?4 WHERE ?3 <> '' UNION"
	                  " SELECT ?5, ?6 WHERE ?5 <> '' ORDER BY 1, 2", values, COUNT(values), row_of_places, &p);
}

/* ---- operations --------------------------------------------------------------------------------------------------- */

struct history {
	store_on_operation *on;
	void *arg;
};

static int row_of_history(void *arg, sqlite3_stmt *stmt)
{
	struct history *h = arg;
	struct store_operation op;

	read_operation(stmt, &op);
	return h->on(h->arg, &op);
}

int store_view_history(struct store_reader *r, const struct store_key_of *key, int limit, store_on_operation *on,
                       void *arg)
{
	struct history h = { on, arg };
	struct value values[] = { KEY_VALUES(key), WHOLE(limit) };

	return store_each(r, "SELECT " OPERATION_SHORT " FROM operations o WHERE meta = ?3 AND service = ?1"
	                  " AND collection IN (?2, '') ORDER BY clock DESC, site DESC, incarnation DESC, number DESC"
	                  " LIMIT ?4", values, COUNT(values), row_of_history, &h);
}

/* From column i on: target, state, attempts, status, next, expires, error. */
static struct store_delivery read_delivery(sqlite3_stmt *stmt, int i)
{
	return (struct store_delivery){ .target = column(stmt, i), .state = (enum delivery_state)number(stmt, i + 1),
		.attempts = (unsigned)number(stmt, i + 2), .status = (unsigned)number(stmt, i + 3),
		.next_ms = sqlite3_column_int64(stmt, i + 4), .expires_ms = sqlite3_column_int64(stmt, i + 5),
		.error = column(stmt, i + 6) };
}

struct targets {
	store_on_target *on;
	void *arg;
	const struct op_id *id;
};

static int row_of_targets(void *arg, sqlite3_stmt *stmt)
{
	struct targets *t = arg;
	struct store_delivery d = read_delivery(stmt, 0);

	d.op = *t->id;
	return t->on(t->arg, &d);
}

int store_view_deliveries(struct store_reader *r, const struct op_id *id, store_on_target *on, void *arg)
{
	struct targets t = { on, arg, id };
	struct value values[] = { OP_VALUES(id) };

	return store_each(r, "SELECT target, state, attempts, status, next, expires, error FROM deliveries"
	                  " WHERE oid = " STORE_OID " ORDER BY target", values, COUNT(values), row_of_targets, &t);
}

struct intent {
	store_on_intent *on;
	void *arg;
	const struct op_id *id;
	bool found;
};

static int row_of_intent(void *arg, sqlite3_stmt *stmt)
{
	struct intent *t = arg;
	struct store_intent i = { .op = *t->id, .class = (enum consistency)number(stmt, 0), .sites = column(stmt, 1),
		.at = column(stmt, 2), .stage = (enum delivery_state)number(stmt, 3),
		.since_ms = sqlite3_column_int64(stmt, 4) };

	t->found = true;
	return t->on(t->arg, &i);
}

int store_view_intent(struct store_reader *r, const struct op_id *id, store_on_intent *on, void *arg)
{
	struct intent t = { on, arg, id, false };
	struct value values[] = { OP_VALUES(id) };
	int rc = store_each(r, "SELECT class, sites, at, stage, since FROM intents WHERE oid = " STORE_OID, values,
	                    COUNT(values), row_of_intent, &t);

	return rc || t.found ? rc : ERR_NOT_FOUND;
}

struct running {
	store_on_answer *on;
	void *arg;
};

static int row_of_running(void *arg, sqlite3_stmt *stmt)
{
	struct running *t = arg;
	struct store_answer a = { .key = column(stmt, 0), .fingerprint = column(stmt, 1) };

	read_op_id(stmt, 2, &a.op);
	return t->on(t->arg, &a);
}

int store_view_running(struct store_reader *r, store_on_answer *on, void *arg)
{
	struct running t = { on, arg };

	return store_each(r, "SELECT key, fingerprint, op_site, op_incarnation, op_number FROM answers WHERE status = 0", NULL, 0,
	                  row_of_running, &t);
}

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

/* Not done, not dropped: as the index deliveries_open has it. */
#define OPEN "state NOT IN (2, 7)"
/* Nor failed. */
#define UNFINISHED OPEN " AND state <> 3"

struct waiting {
	store_on_delivery *on;
	void *arg;
};

static int row_of_queue(void *arg, sqlite3_stmt *stmt)
{
	const int at = OPERATION_SHORT_COLUMNS;
	struct waiting *w = arg;
	struct store_operation op;
	struct store_delivery d = read_delivery(stmt, at);

	read_operation(stmt, &op);
	d.op = op.id;
	return w->on(w->arg, sqlite3_column_int64(stmt, at + 7), &d, &op);
}

/* Both parts come in order, so the limit ends the reading of both. */
int store_view_queue(struct store_reader *r, int64_t after, struct span after_target, int limit, store_on_delivery *on,
                     void *arg)
{
	struct waiting w = { on, arg };
	struct value values[] = { WHOLE(after), TEXT(after_target), WHOLE(limit) };

	return store_each(r, "SELECT " OPERATION_SHORT ", q.target, q.state, q.attempts, q.status, q.next, q.expires,"
	                  " q.error, q.oid FROM (SELECT oid, target, state, attempts, status, next, expires, error"
	                  " FROM deliveries WHERE " OPEN " AND (oid, target) > (?1, ?2) UNION ALL"
	                  " SELECT oid, coalesce(at, ''), stage, 0, 0, 0, 0, '' FROM intents i"
	                  " WHERE oid >= ?1 AND (oid, coalesce(at, '')) > (?1, ?2) AND NOT EXISTS(SELECT 1 FROM deliveries d"
	                  " WHERE d.oid = i.oid AND d.target = coalesce(i.at, '') AND d." OPEN ")"
	                  " ORDER BY 1, 2 LIMIT ?3) q JOIN operations o ON o.oid = q.oid ORDER BY q.oid, q.target", values,
	                  COUNT(values), row_of_queue, &w);
}

static int row_of_number(void *arg, sqlite3_stmt *stmt)
{
	*(int64_t *)arg = sqlite3_column_int64(stmt, 0);
	return 0;
}

int store_view_unfinished(struct store_reader *r, int64_t *count_r)
{
	*count_r = 0;
	return store_each(r, "SELECT (SELECT count(DISTINCT oid) FROM deliveries WHERE " UNFINISHED ") +"
	                  " (SELECT count(*) FROM intents i WHERE NOT EXISTS(SELECT 1 FROM deliveries d"
	                  " WHERE d.oid = i.oid AND d." UNFINISHED "))", NULL, 0, row_of_number, count_r);
}

struct failures {
	store_on_replica *on;
	void *arg;
};

static int row_of_failures(void *arg, sqlite3_stmt *stmt)
{
	struct failures *f = arg;
	struct store_replica row = { .key = read_key(stmt, 0), .site = column(stmt, 3), .local = SPAN(""),
		.state = REPLICA_FAILED, .reason = column(stmt, 4) };

	return f->on(f->arg, &row);
}

/* All replicas elsewhere are read: a start does it once. */
int store_view_failed(struct store_reader *r, struct span reason, store_on_replica *on, void *arg)
{
	struct failures f = { on, arg };
	struct value values[] = { WHOLE(REPLICA_FAILED), TEXT(reason) };

	return store_each(r, "SELECT m.service, m.collection, m.meta, p.site, p.reason FROM replicas p JOIN resources m"
	                  " ON m.rid = p.rid WHERE p.state = ?1 AND p.reason = ?2 AND m.deleted = 0", values, COUNT(values),
	                  row_of_failures, &f);
}

/* ---- counts ------------------------------------------------------------------------------------------------------- */

struct tally {
	store_on_tally *on;
	void *arg;
};

static int row_of_tally(void *arg, sqlite3_stmt *stmt)
{
	struct tally *t = arg;
	struct store_tally tally = { .service = column(stmt, 0), .site = column(stmt, 1),
		.state = sqlite3_column_int(stmt, 2), .count = sqlite3_column_int64(stmt, 3),
		.bytes = sqlite3_column_int64(stmt, 4), .oldest_ms = sqlite3_column_int64(stmt, 5) };

	return t->on(t->arg, &tally);
}

/* The last row of the part of a table that begins after the cursor; STORE_VIEW_END: none there. */
static int part_end(struct store_reader *r, const char *sql, int64_t after, int64_t *end_r)
{
	struct value values[] = { WHOLE(after) };

	*end_r = STORE_VIEW_END;
	return store_each(r, sql, values, COUNT(values), row_of_number, end_r);
}

/* sql's first `count` values: where the part begins (behind it) and ends, and this site. */
static int tally(struct store_reader *r, const char *part, const char *sql, int count, int64_t after,
                 store_on_tally *on, void *arg, int64_t *cursor_r)
{
	struct tally t = { on, arg };
	struct value values[] = { WHOLE(after), WHOLE(0), TEXT(span_of(r->store->site)) };
	int rc = part_end(r, part, after, cursor_r);

	values[1].i = *cursor_r;
	return rc || *cursor_r == STORE_VIEW_END ? rc : store_each(r, sql, values, count, row_of_tally, &t);
}

int store_view_tally_replicas(struct store_reader *r, int64_t after, store_on_tally *on, void *arg, int64_t *cursor_r)
{
	return tally(r, "SELECT max(rid) FROM (SELECT rid FROM resources NOT INDEXED WHERE rid > ?1 ORDER BY rid LIMIT "
	             ROWS ") HAVING max(rid) IS NOT NULL",
	             "SELECT service, ?3, state, count(*), 0, 0 FROM resources NOT INDEXED WHERE rid > ?1 AND rid <= ?2"
	             " AND here AND deleted = 0 GROUP BY 1, 3 UNION ALL"
	             " SELECT m.service, p.site, p.state, count(*), 0, 0 FROM resources m NOT INDEXED JOIN replicas p"
	             " ON p.rid = m.rid WHERE m.rid > ?1 AND m.rid <= ?2 AND m.deleted = 0 GROUP BY 1, 2, 3",
	             3, after, on, arg, cursor_r);
}

/* The cursor is an operation's row: all its targets are counted together. */
int store_view_tally_queue(struct store_reader *r, int64_t after, store_on_tally *on, void *arg, int64_t *cursor_r)
{
	return tally(r, "SELECT max(oid) FROM (SELECT oid FROM deliveries WHERE " OPEN " AND oid > ?1 ORDER BY oid LIMIT "
	             ROWS ") HAVING max(oid) IS NOT NULL",
	             "SELECT '', d.target, d.state, count(*), sum(o.body_bytes), min(o.created) FROM deliveries d"
	             " JOIN operations o ON o.oid = d.oid WHERE d." OPEN " AND d.oid > ?1 AND d.oid <= ?2 GROUP BY 2, 3",
	             2, after, on, arg, cursor_r);
}

int64_t store_view_bytes(struct store_reader *r)
{
	static const char *const suffixes[] = { "", "-wal" };
	int64_t bytes = 0;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char path[4096];
		struct stat st;

		snprintf(path, sizeof(path), "%s%s", r->store->path, suffixes[i]);
		if (!stat(path, &st))
			bytes += st.st_size;
	}
	return bytes;
}
