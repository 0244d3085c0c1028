/* replication/store: what is answered is there after a reopening, whole; what is refused is not; a database that is not
 * ours, newer or damaged is refused with a way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "replication/store_int.h"
#include "tests/unit/replication/bed.h"

#define META "018f3a5c-0000-8000-8000-000000000001"
#define META_2 "018f3a5c-0000-8000-8000-000000000002"
#define LOCAL "7d1c6a52-3b0e-4a63-9f10-5c2a7c1d0001"

static int set_up(void **state)
{
	static struct bed bed;

	bed_folder(&bed);
	*state = &bed;
	return bed_open(&bed);
}

static int tear_down(void **state)
{
	bed_fini(*state);
	return 0;
}

static int reopen(struct bed *b)
{
	store_close(&b->store);
	return bed_open(b);
}

static struct store_batch *batch_new(void)
{
	struct store_batch *batch = store_batch_new();

	assert_non_null(batch);
	return batch;
}

static void put(struct bed *b, const char *meta, const char *local)
{
	struct store_batch *batch = batch_new();

	bed_put_mapping(batch, meta, local);
	assert_int_equal(bed_submit(b, batch), 0);
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

static void a_mapping_is_found_both_ways_and_after_a_restart(void **state)
{
	struct bed *b = *state;
	struct names_where any = { .kind = 0 };
	struct name v;

	assert_false(bed_has(b, META, LOCAL));
	put(b, META, LOCAL);
	for (int i = 0; i < 2; i++) {
		assert_true(bed_has(b, META, LOCAL));
		assert_true(names_by_meta(store_names(b->store), &any, SPAN(META), &v));
		assert_true(span_eq(v.service, SPAN("image")) && span_eq(v.collection, SPAN("/v2/images")));
		assert_true(span_eq(v.sites, SPAN("dc1\nDC 2")) && v.here && !v.deleted);
		assert_int_equal(v.class, CLASS_EVENTUAL);
		assert_int_equal(names_count(store_names(b->store)), 1);
		assert_int_equal(reopen(b), 0);
	}
}

static uint8_t lacks(struct bed *b)
{
	struct names_where any = { .kind = 0 };
	struct name v;

	assert_true(names_by_meta(store_names(b->store), &any, SPAN(META), &v));
	return v.lacks;
}

static void put_other(struct bed *b, bool create, enum replica_state state, const char *reason)
{
	struct store_batch *batch = batch_new();
	struct store_replica other = { .key = bed_key(META), .site = SPAN("DC 2"), .state = state, .reason = span_of(reason),
		.lacks = create };

	store_put_replica(batch, &other);
	assert_int_equal(bed_submit(b, batch), 0);
}

static void put_create(struct bed *b)
{
	struct store_batch *batch = batch_new();
	struct store_operation op = bed_operation(b, META, 1);
	struct store_delivery d = { .op = op.id, .target = SPAN("DC 2"), .state = DELIVERY_QUEUED };

	store_put_operation(batch, &op);
	store_put_delivery(batch, &d);
	assert_int_equal(bed_submit(b, batch), 0);
}

/* With the create that this site admitted another comes to lack a resource, and with whatever says that it was executed it
 * does not any more; a restart finds what is to be delivered. */
static void who_has_not_executed_the_create_is_known(void **state)
{
	struct bed *b = *state;

	put(b, META, LOCAL);
	put_other(b, false, REPLICA_QUEUED, "");
	assert_int_equal(lacks(b), 0);
	put_other(b, true, REPLICA_QUEUED, "");
	assert_int_equal(lacks(b), 2);
	put_other(b, false, REPLICA_HELD, "credentials");
	put_other(b, false, REPLICA_FAILED, "refused");
	assert_int_equal(lacks(b), 2);
	put_other(b, false, REPLICA_QUEUED, "building");
	assert_int_equal(lacks(b), 0);
	put_other(b, false, REPLICA_FAILED, "refused");
	put_other(b, true, REPLICA_SYNCED, "");
	assert_int_equal(lacks(b), 0);
	assert_true(bed_has(b, META, LOCAL));
	assert_int_equal(names_count(store_names(b->store)), 1);
	put_create(b);
	assert_int_equal(reopen(b), 0);
	assert_int_equal(lacks(b), 2);
}

static void short_ids_mean_something_in_their_collection_only(void **state)
{
	struct bed *b = *state;
	struct store_batch *batch = batch_new();
	struct store_resource r = { .key = { SPAN("notes"), SPAN("/notes"), SPAN("4503599627370497") },
		.sites = SPAN("dc1") };
	struct store_replica own = { .key = r.key, .site = SPAN("dc1"), .local = SPAN("17") };
	struct names *n = store_names(b->store);
	struct names_where where = { .kind = 0 };
	struct name v;

	store_put_resource(batch, &r);
	store_put_replica(batch, &own);
	r.key = own.key = (struct store_key_of){ SPAN("notes"), SPAN("/notes/4503599627370497/items"), SPAN(META) };
	store_put_resource(batch, &r);
	store_put_replica(batch, &own);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_false(names_by_local(n, &where, SPAN("17"), &v));
	where.kind = names_kind(n, SPAN("notes"), SPAN("/notes"));
	assert_true(names_by_local(n, &where, SPAN("17"), &v));
	assert_int_equal(v.meta_n, 16);
	where.kind = names_kind(n, SPAN("notes"), SPAN("/notes/4503599627370497/items"));
	assert_true(names_by_local(n, &where, SPAN("17"), &v));
	assert_memory_equal(v.meta, META, 36);
	assert_int_equal(names_kind(n, SPAN("notes"), SPAN("/nothing")), 0);
}

static void services_are_told_apart(void **state)
{
	struct bed *b = *state;
	struct names *n = store_names(b->store);
	struct names_where where = { .kind = 0 };
	struct name v;

	put(b, META, LOCAL);
	where.service = names_service(n, SPAN("image"));
	assert_true(names_by_local(n, &where, SPAN(LOCAL), &v));
	where = (struct names_where){ .not_service = where.service };
	assert_false(names_by_local(n, &where, SPAN(LOCAL), &v));
}

static void a_deleted_resource_gives_its_local_id_back(void **state)
{
	struct bed *b = *state;
	struct store_batch *batch = batch_new();
	struct store_key_of key = bed_key(META);
	struct names_where any = { .kind = 0 };
	struct name v;

	put(b, META, LOCAL);
	store_set_deleted(batch, &key, 77);
	assert_int_equal(bed_submit(b, batch), 0);
	for (int i = 0; i < 2; i++) {
		assert_false(names_by_local(store_names(b->store), &any, SPAN(LOCAL), &v));
		assert_true(names_by_meta(store_names(b->store), &any, SPAN(META), &v) && v.deleted);
		assert_int_equal(reopen(b), 0);
	}
	put(b, META_2, LOCAL);
	assert_true(bed_has(b, META_2, LOCAL));
	batch = batch_new();
	store_drop_resource(batch, &key);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_false(names_by_meta(store_names(b->store), &any, SPAN(META), &v));
	assert_int_equal(reopen(b), 0);
	assert_int_equal(names_count(store_names(b->store)), 1);
}

static int64_t tally(struct bed *b, const char *service, enum replica_state state)
{
	struct names *n = store_names(b->store);
	struct span name;

	for (uint32_t s = 1; s <= names_tallied(n); s++) {
		int64_t count = names_tally(n, s, state, &name);

		if (span_eq(name, span_of(service)))
			return count;
	}
	return -1;
}

/* At most one state has a replica: all of them are looked at. */
static void check_tally(struct bed *b, int64_t synced, int64_t held)
{
	for (int s = 0; s < REPLICA_STATES_; s++)
		assert_int_equal(tally(b, "image", (enum replica_state)s),
		                 s == REPLICA_SYNCED ? synced : s == REPLICA_HELD ? held : 0);
}

static void replicas_are_counted_by_service_and_state(void **state)
{
	struct bed *b = *state;
	struct store_batch *batch = batch_new();
	struct store_replica own = { .key = bed_key(META), .site = SPAN("dc1"), .local = SPAN(LOCAL),
		.state = REPLICA_HELD, .reason = SPAN("credentials") };

	put(b, META, LOCAL);
	put(b, META_2, "7d1c6a52-3b0e-4a63-9f10-5c2a7c1d0002");
	check_tally(b, 2, 0);
	assert_int_equal(tally(b, "compute", REPLICA_SYNCED), -1);
	store_put_replica(batch, &own);
	own.state = REPLICA_QUEUED;
	store_put_replica(batch, &own);
	own.state = REPLICA_HELD;
	store_put_replica(batch, &own);
	assert_int_equal(bed_submit(b, batch), 0);
	check_tally(b, 1, 1);
	assert_int_equal(reopen(b), 0);
	check_tally(b, 1, 1);
	batch = batch_new();
	store_set_deleted(batch, &own.key, 77);
	assert_int_equal(bed_submit(b, batch), 0);
	check_tally(b, 1, 0);
	batch = batch_new();
	bed_put_mapping(batch, META_2, LOCAL);
	own = (struct store_replica){ .key = bed_key("nothing"), .site = SPAN("dc1") };
	store_put_replica(batch, &own);
	assert_int_equal(bed_submit(b, batch), ERR_NOT_FOUND);
	check_tally(b, 1, 0);
	batch = batch_new();
	own.key = bed_key(META_2);
	store_drop_resource(batch, &own.key);
	assert_int_equal(bed_submit(b, batch), 0);
	check_tally(b, 0, 0);
}

/* ---- batches ------------------------------------------------------------------------------------------------------- */

static void a_batch_that_fails_leaves_nothing_and_harms_no_other(void **state)
{
	struct bed *b = *state;
	struct store_batch *good = batch_new(), *bad = batch_new(), *last = batch_new();
	struct store_operation op = bed_operation(b, META, 1);
	struct store_delivery nowhere = { .op = { "dc9", 1, 1 }, .target = SPAN("dc1") };
	int rc[3] = { BED_WAITS, BED_WAITS, BED_WAITS };

	bed_put_mapping(good, META, LOCAL);
	bed_put_mapping(bad, META_2, "7d1c6a52-3b0e-4a63-9f10-5c2a7c1d0002");
	store_put_operation(bad, &op);
	store_put_delivery(bad, &nowhere);
	store_put_operation(last, &op);
	assert_int_equal(store_submit(b->store, &good, b->inbox, bed_on_done, &rc[0]), 0);
	assert_int_equal(store_submit(b->store, &bad, b->inbox, bed_on_done, &rc[1]), 0);
	assert_int_equal(store_submit(b->store, &last, b->inbox, bed_on_done, &rc[2]), 0);
	assert_int_equal(bed_wait(b, &rc[0]), 0);
	assert_int_equal(bed_wait(b, &rc[1]), ERR_NOT_FOUND);
	assert_int_equal(bed_wait(b, &rc[2]), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(bed_has(b, META, LOCAL));
		assert_false(bed_has(b, META_2, "7d1c6a52-3b0e-4a63-9f10-5c2a7c1d0002"));
		assert_int_equal(reopen(b), 0);
	}
}

static void commits_and_batches_are_counted(void **state)
{
	struct bed *b = *state;
	const struct store_counts *n = store_counts(b->store);
	uint64_t before = counter_get(&n->batches), commits = counter_get(&n->commits.count);
	struct store_batch *bad = batch_new();
	struct store_replica nowhere = { .key = bed_key("nothing"), .site = SPAN("dc1") };

	put(b, META, LOCAL);
	store_put_replica(bad, &nowhere);
	assert_int_equal(bed_submit(b, bad), ERR_NOT_FOUND);
	assert_int_equal(counter_get(&n->batches), before + 1);
	assert_int_equal(counter_get(&n->failed), 1);
	assert_int_equal(counter_get(&n->commits.count), commits + 2);
	assert_int_equal(store_waiting_bytes(b->store), 0);
}

static void an_operation_is_there_once(void **state)
{
	struct bed *b = *state;
	struct store_operation op = bed_operation(b, META, 1);
	struct store_batch *batch = batch_new();

	store_put_operation(batch, &op);
	assert_int_equal(bed_submit(b, batch), 0);
	batch = batch_new();
	store_put_operation(batch, &op);
	assert_int_equal(bed_submit(b, batch), ERR_EXISTS);
}

static void two_resources_do_not_share_a_local_id(void **state)
{
	struct bed *b = *state;
	struct store_batch *batch = batch_new();

	put(b, META, LOCAL);
	bed_put_mapping(batch, META_2, LOCAL);
	assert_int_equal(bed_submit(b, batch), ERR_EXISTS);
	assert_true(bed_has(b, META, LOCAL));
	assert_int_equal(reopen(b), 0);
	assert_true(bed_has(b, META, LOCAL));
	assert_int_equal(names_count(store_names(b->store)), 1);
}

static void a_batch_has_a_bound(void **state)
{
	struct bed *b = *state;
	struct store_batch *batch = batch_new();
	struct store_operation op = bed_operation(b, META, 1);
	char *body = calloc(1, STORE_BATCH_BYTES);

	assert_non_null(body);
	op.body = span_make(body, STORE_BATCH_BYTES);
	store_put_operation(batch, &op);
	assert_int_equal(bed_submit(b, batch), ERR_LIMIT);
	free(body);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

struct found {
	struct bed *bed;
	struct arena arena;
	struct store_operation op;
	struct store_answer answer;
	int rows;
	int64_t cursor;
	char text[1024];
};

static int read_op(struct store_reader *r, void *arg)
{
	struct found *f = arg;
	struct op_id id = { "dc1", store_incarnation(f->bed->store), 1 };

	return store_read_operation(r, &id, &f->arena, &f->op);
}

static int see_delivery(void *arg, int64_t cursor, const struct store_delivery *d, const struct store_operation *op)
{
	struct found *f = arg;

	f->rows++;
	f->cursor = cursor;
	snprintf(f->text + strlen(f->text), sizeof(f->text) - strlen(f->text), "%llu>%.*s:%s:%.*s ",
	         (unsigned long long)op->id.number, SPAN_ARG(d->target), delivery_state_text(d->state),
	         SPAN_ARG(d->error));
	return 0;
}

static int read_queue(struct store_reader *r, void *arg)
{
	struct found *f = arg;

	return store_read_queue(r, SPAN(""), f->cursor, 2, see_delivery, f);
}

static int see_intent(void *arg, const struct store_intent *i)
{
	struct found *f = arg;

	f->rows++;
	assert_true(span_eq(i->sites, SPAN("dc1\nDC 2")) && i->stage == DELIVERY_SENT && i->op.number == 1);
	return 0;
}

static int read_intents(struct store_reader *r, void *arg)
{
	return store_read_intents(r, see_intent, arg);
}

static void operations_intents_and_deliveries_come_back(void **state)
{
	struct bed *b = *state;
	struct found f = { .bed = b };
	struct store_operation op;
	struct store_batch *batch = batch_new();
	struct store_intent intent = { .class = CLASS_EVENTUAL, .sites = SPAN("dc1\nDC 2"), .at = SPAN("dc1"),
		.stage = DELIVERY_SENT };

	for (uint64_t number = 1; number <= 3; number++) {
		struct store_delivery d = { .op = { "dc1", store_incarnation(b->store), number }, .target = SPAN("dc1"),
			.state = number == 2 ? DELIVERY_DONE : DELIVERY_SENT };

		op = bed_operation(b, META, number);
		store_put_operation(batch, &op);
		store_put_delivery(batch, &d);
		d.target = SPAN("dc2");
		d.state = DELIVERY_HELD;
		d.error = SPAN("credentials");
		store_put_delivery(batch, &d);
	}
	intent.op = (struct op_id){ "dc1", store_incarnation(b->store), 1 };
	store_put_intent(batch, &intent);
	assert_int_equal(bed_submit(b, batch), 0);
	arena_init(&f.arena, NULL, 0, 0);
	assert_int_equal(bed_read(b, read_op, &f), 0);
	op = bed_operation(b, META, 1);
	assert_true(span_eq(f.op.body, op.body) && span_eq(f.op.headers, op.headers) && span_eq(f.op.key.meta, op.key.meta));
	assert_true(op_id_eq(&f.op.id, &op.id) && f.op.clock == op.clock && f.op.kind == op.kind);
	assert_int_equal(bed_read(b, read_queue, &f), 0);
	assert_string_equal(f.text, "1>dc1:sent: 1>dc2:held:credentials 2>dc2:held:credentials ");
	f.text[0] = '\0';
	assert_int_equal(bed_read(b, read_queue, &f), 0);
	assert_string_equal(f.text, "3>dc1:sent: 3>dc2:held:credentials ");
	f.rows = 0;
	assert_int_equal(bed_read(b, read_intents, &f), 0);
	assert_int_equal(f.rows, 1);
	batch = batch_new();
	store_drop_operation(batch, &intent.op);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(bed_read(b, read_op, &f), ERR_NOT_FOUND);
	f.rows = 0;
	assert_int_equal(bed_read(b, read_intents, &f), 0);
	assert_int_equal(f.rows, 0);
	arena_fini(&f.arena);
}

static int read_answer(struct store_reader *r, void *arg)
{
	struct found *f = arg;

	return store_read_answer(r, SPAN("\x01\x00k"), &f->arena, &f->answer);
}

static void an_idempotency_key_is_taken_once_answered_and_expires(void **state)
{
	struct bed *b = *state;
	struct found f = { .bed = b };
	struct store_answer a = { .key = SPAN("\x01\x00k"), .fingerprint = SPAN("f"), .op = { "dc1", 1, 1 },
		.expires_ms = 5000 };
	struct store_batch *batch = batch_new();

	arena_init(&f.arena, NULL, 0, 0);
	store_set_answer(batch, &a);
	assert_int_equal(bed_submit(b, batch), ERR_NOT_FOUND);
	batch = batch_new();
	store_add_answer(batch, &a);
	assert_int_equal(bed_submit(b, batch), 0);
	batch = batch_new();
	store_add_answer(batch, &a);
	assert_int_equal(bed_submit(b, batch), ERR_EXISTS);
	a.status = 201;
	a.body = SPAN("{}");
	batch = batch_new();
	store_set_answer(batch, &a);
	store_drop_answers(batch, 5000);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(bed_read(b, read_answer, &f), 0);
	assert_true(f.answer.status == 201 && span_eq(f.answer.body, a.body));
	batch = batch_new();
	store_drop_answers(batch, 5001);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(bed_read(b, read_answer, &f), ERR_NOT_FOUND);
	arena_fini(&f.arena);
}

static int see_replica(void *arg, const struct store_replica *r)
{
	struct found *f = arg;

	snprintf(f->text + strlen(f->text), sizeof(f->text) - strlen(f->text), "%.*s=%.*s,%s ", SPAN_ARG(r->site),
	         SPAN_ARG(r->local), replica_state_text(r->state));
	return 0;
}

static int read_replicas(struct store_reader *r, void *arg)
{
	struct store_key_of key = bed_key(META);

	return store_read_replicas(r, &key, see_replica, arg);
}

static int see_resource(void *arg, int64_t cursor, const struct store_resource *r)
{
	struct found *f = arg;

	assert_true(span_eq(r->sites, SPAN("dc1\nDC 2")) && span_eq(r->vector, SPAN("v2")));
	f->cursor = cursor;
	f->rows++;
	return 0;
}

static int read_resources(struct store_reader *r, void *arg)
{
	struct found *f = arg;

	return store_read_resources(r, SPAN("image"), f->cursor, 10, see_resource, f);
}

static void replicas_of_all_sites_are_listed(void **state)
{
	struct bed *b = *state;
	struct found f = { .bed = b };
	struct store_key_of key = bed_key(META);
	struct store_batch *batch = batch_new();

	put(b, META, LOCAL);
	store_set_vector(batch, &key, SPAN("v2"));
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(bed_read(b, read_replicas, &f), 0);
	assert_string_equal(f.text, "dc1=" LOCAL ",synced dc2=,queued ");
	assert_int_equal(bed_read(b, read_resources, &f), 0);
	assert_int_equal(bed_read(b, read_resources, &f), 0);
	assert_int_equal(f.rows, 1);
	batch = batch_new();
	store_drop_replica(batch, &key, SPAN("dc1"));
	assert_int_equal(bed_submit(b, batch), 0);
	assert_false(bed_has(b, META, LOCAL));
	f.text[0] = '\0';
	assert_int_equal(bed_read(b, read_replicas, &f), 0);
	assert_string_equal(f.text, "dc2=,queued ");
}

static int see_frontier(void *arg, const struct store_frontier *f)
{
	struct found *found = arg;

	found->rows++;
	assert_true(span_eq(f->holder, SPAN("dc1")) && f->incarnation == 9 && f->number == 12);
	return 0;
}

static int see_rule(void *arg, const struct store_rule *rule)
{
	struct found *found = arg;

	found->rows++;
	assert_true(rule->pinned && span_eq(rule->rule, SPAN("{\"id\":\"$.id\"}")));
	return 0;
}

static int read_both(struct store_reader *r, void *arg)
{
	int rc = store_read_frontiers(r, see_frontier, arg);

	return rc ? rc : store_read_rules(r, see_rule, arg);
}

static void frontiers_and_rules_are_replaced(void **state)
{
	struct bed *b = *state;
	struct found f = { .bed = b };
	struct store_batch *batch = batch_new();
	struct store_frontier frontier = { .holder = SPAN("dc1"), .origin = SPAN("dc2"), .incarnation = 9, .number = 11 };
	struct store_rule rule = { SPAN("image"), SPAN("/v2/images"), SPAN("{}"), false };

	store_put_frontier(batch, &frontier);
	store_put_rule(batch, &rule);
	frontier.number = 12;
	rule.rule = SPAN("{\"id\":\"$.id\"}");
	rule.pinned = true;
	store_put_frontier(batch, &frontier);
	store_put_rule(batch, &rule);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(reopen(b), 0);
	assert_int_equal(bed_read(b, read_both, &f), 0);
	assert_int_equal(f.rows, 2);
	batch = batch_new();
	store_drop_rule(batch, rule.service, rule.collection);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(bed_read(b, read_both, &f), 0);
	assert_int_equal(f.rows, 3);
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

static void each_start_is_an_incarnation_after_the_last_clock(void **state)
{
	struct bed *b = *state;
	uint64_t before = store_incarnation(b->store);
	struct store_operation op = bed_operation(b, META, 7);
	struct store_batch *batch = batch_new();

	assert_int_equal(store_clock(b->store), 0);
	store_put_operation(batch, &op);
	op.id.number = 6;
	op.clock = 5;
	store_put_operation(batch, &op);
	assert_int_equal(bed_submit(b, batch), 0);
	assert_int_equal(reopen(b), 0);
	assert_int_equal(store_clock(b->store), 1007);
	assert_true(store_incarnation(b->store) != before && store_incarnation(b->store));
}

/* Opens the file with SQLite itself. */
static void tamper(struct bed *b, const char *sql)
{
	char path[256];
	sqlite3 *db;

	store_close(&b->store);
	bed_path(b, "", path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void refused(struct bed *b, int code, const char *what, const char *way_out)
{
	int rc = bed_open(b);

	if (rc != code || !strstr(b->e.text, what) || !strstr(b->e.text, way_out))
		fail_msg("%d: %s", rc, b->e.text);
}

static void a_newer_schema_is_refused(void **state)
{
	tamper(*state, "PRAGMA user_version = 99");
	refused(*state, ERR_UNSUPPORTED, "newer scopemeshd (version 99", "backup");
}

static void another_sites_database_is_refused(void **state)
{
	tamper(*state, "UPDATE settings SET value = 'dc7' WHERE name = 'site'");
	refused(*state, ERR_INVALID, "belongs to site \"dc7\"", "state folder");
}

static void another_programs_database_is_refused(void **state)
{
	tamper(*state, "PRAGMA application_id = 1");
	refused(*state, ERR_INVALID, "another program", "move it away");
}

static void a_missing_column_is_refused(void **state)
{
	tamper(*state, "ALTER TABLE deliveries RENAME COLUMN expires TO other");
	refused(*state, ERR_IO, "does not fit", "store.db");
}

static void nonsense_in_a_resource_is_refused(void **state)
{
	put(*state, META, LOCAL);
	tamper(*state, "UPDATE resources SET state = 99");
	refused(*state, ERR_INVALID, "damaged", "move store.db* away");
}

static void scribble(struct bed *b, off_t at, size_t bytes)
{
	char path[256], junk[4096];
	int fd;

	bed_path(b, "", path);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	memset(junk, 0x5a, sizeof(junk));
	assert_int_equal(pwrite(fd, junk, bytes, at), (ssize_t)bytes);
	close(fd);
}

static void put_many(struct bed *b, int count)
{
	struct store_batch *batch = batch_new();
	char meta[37], local[37];

	for (int i = 0; i < count; i++) {
		snprintf(meta, sizeof(meta), "018f3a5c-0000-8000-8000-%012d", i);
		snprintf(local, sizeof(local), "7d1c6a52-3b0e-4a63-9f10-%012d", i);
		bed_put_mapping(batch, meta, local);
	}
	assert_int_equal(bed_submit(b, batch), 0);
	store_close(&b->store);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	struct bed *b = *state;

	store_close(&b->store);
	scribble(b, 0, 100);
	refused(b, ERR_INVALID, "damaged", "move store.db* away");
}

static void a_file_that_was_cut_is_refused(void **state)
{
	struct bed *b = *state;
	struct stat st;
	char path[256];

	put_many(b, 2000);
	bed_path(b, "", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size / 4096 * 4096 - 4096), 0);
	refused(b, ERR_INVALID, "damaged", "move store.db* away");
}

/* Every page in turn: those that a start reads are refused, none brings the process down. */
static void a_page_of_junk_is_refused_or_not_read(void **state)
{
	struct bed *b = *state;
	struct stat st;
	char path[256], *whole;
	int refusals = 0, pages, fd;

	put_many(b, 400);
	bed_path(b, "", path);
	assert_int_equal(stat(path, &st), 0);
	whole = malloc((size_t)st.st_size);
	fd = open(path, O_RDWR);
	assert_true(whole && fd >= 0);
	assert_int_equal(pread(fd, whole, (size_t)st.st_size, 0), st.st_size);
	pages = (int)(st.st_size / 4096);
	for (int page = 0; page < pages; page++) {
		scribble(b, page * 4096, 4096);
		refusals += bed_open(b) == ERR_INVALID;
		store_close(&b->store);
		bed_empty(b);
		close(fd);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(pwrite(fd, whole, (size_t)st.st_size, 0), st.st_size);
	}
	close(fd);
	free(whole);
	if (refusals < pages / 3)
		fail_msg("only %d of %d", refusals, pages);
}

static void an_older_schema_is_migrated_step_by_step(void **state)
{
	static const char *const texts[] = { "CREATE TABLE a(x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES(1, 2)",
		"CREATE TABLE b(z)", "no such statement" };
	const struct store_steps first = { texts, 1 }, third = { texts, 3 }, broken = { texts, 4 };
	char path[] = ":memory:";
	struct store s = { .path = path };
	struct err e;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(store_migrate(&s, db, &first, &e), 0);
	assert_int_equal(store_migrate(&s, db, &third, &e), 0);
	assert_int_equal(store_migrate(&s, db, &third, &e), 0);
	assert_int_equal(sqlite3_exec(db, "SELECT x + y FROM a, (SELECT count(z) FROM b)", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_migrate(&s, db, &broken, &e), ERR_IO);
	assert_true(sqlite3_get_autocommit(db));
	assert_int_equal(store_migrate(&s, db, &third, &e), 0);
	assert_int_equal(store_migrate(&s, db, &first, &e), ERR_UNSUPPORTED);
	sqlite3_close(db);
}

/* ---- threads ------------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define EACH 200

struct worker {
	pthread_t thread;
	struct bed bed; /* the store is shared, the inbox its own */
	int index, wrong;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char meta[64], local[64];
	struct names_where any = { .kind = 0 };
	struct name v;

	for (int i = 0; i < EACH; i++) {
		struct store_batch *batch = store_batch_new();
		struct store_operation op;

		snprintf(meta, sizeof(meta), "018f3a5c-0000-8000-8000-%04d%08d", w->index, i);
		snprintf(local, sizeof(local), "7d1c6a52-3b0e-4a63-9f10-%04d%08d", w->index, i);
		op = bed_operation(&w->bed, meta, (uint64_t)(w->index * EACH + i + 1));
		bed_put_mapping(batch, meta, local);
		store_put_operation(batch, &op);
		w->wrong += bed_submit(&w->bed, batch) || !bed_has(&w->bed, meta, local);
		/* somebody else's, while it changes */
		snprintf(meta, sizeof(meta), "018f3a5c-0000-8000-8000-%04d%08d", (w->index + 1) % THREADS, i);
		if (names_by_meta(store_names(w->bed.store), &any, span_of(meta), &v))
			w->wrong += v.local_n != 0 && v.local_n != 36;
		names_by_local(store_names(w->bed.store), &any, span_of(local), &v);
		if (i % 3)
			continue;
		batch = store_batch_new();
		snprintf(meta, sizeof(meta), "018f3a5c-0000-8000-8000-%04d%08d", w->index, i);
		store_drop_resource(batch, &(struct store_key_of){ SPAN("image"), SPAN("/v2/images"), span_of(meta) });
		w->wrong += bed_submit(&w->bed, batch) || bed_has(&w->bed, meta, local);
	}
	return NULL;
}

static void threads_commit_and_look_up_at_once(void **state)
{
	struct bed *b = *state;
	struct worker workers[THREADS];

	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .bed = { .store = b->store }, .index = i };
		assert_int_equal(store_inbox_new(&workers[i].bed.inbox), 0);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
		store_inbox_free(&workers[i].bed.inbox);
	}
	assert_int_equal(reopen(b), 0);
	assert_int_equal(names_count(store_names(b->store)), THREADS * (EACH - (EACH + 2) / 3));
}

/* What was submitted is answered before the store goes. */
static void closing_answers_everybody(void **state)
{
	struct bed *b = *state;
	int rc[50];
	size_t answers = 0;

	for (int i = 0; i < 50; i++) {
		struct store_batch *batch = batch_new();
		struct store_operation op = bed_operation(b, META, (uint64_t)i + 1);

		rc[i] = BED_WAITS;
		store_put_operation(batch, &op);
		assert_int_equal(store_submit(b->store, &batch, b->inbox, bed_on_done, &rc[i]), 0);
	}
	store_close(&b->store);
	answers = store_inbox_run(b->inbox);
	assert_int_equal(answers, 50);
	for (int i = 0; i < 50; i++)
		assert_int_equal(rc[i], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_mapping_is_found_both_ways_and_after_a_restart),
		TEST(who_has_not_executed_the_create_is_known),
		TEST(short_ids_mean_something_in_their_collection_only),
		TEST(services_are_told_apart),
		TEST(a_deleted_resource_gives_its_local_id_back),
		TEST(replicas_are_counted_by_service_and_state),
		TEST(a_batch_that_fails_leaves_nothing_and_harms_no_other),
		TEST(commits_and_batches_are_counted),
		TEST(an_operation_is_there_once),
		TEST(two_resources_do_not_share_a_local_id),
		TEST(a_batch_has_a_bound),
		TEST(operations_intents_and_deliveries_come_back),
		TEST(an_idempotency_key_is_taken_once_answered_and_expires),
		TEST(replicas_of_all_sites_are_listed),
		TEST(frontiers_and_rules_are_replaced),
		TEST(each_start_is_an_incarnation_after_the_last_clock),
		TEST(a_newer_schema_is_refused),
		TEST(another_sites_database_is_refused),
		TEST(another_programs_database_is_refused),
		TEST(a_missing_column_is_refused),
		TEST(nonsense_in_a_resource_is_refused),
		TEST(a_file_that_is_no_database_is_refused),
		TEST(a_file_that_was_cut_is_refused),
		TEST(a_page_of_junk_is_refused_or_not_read),
		cmocka_unit_test(an_older_schema_is_migrated_step_by_step),
		TEST(threads_commit_and_look_up_at_once),
		TEST(closing_answers_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
