/* proxy/replication*.c: rules that answers taught, through a restart and a reload; creates under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/conf.h"
#include "proxy/replication.h"

static char folder[64];
static struct replication *rep;
static struct conf *conf;

static struct conf *load_conf(const char *resources)
{
	char path[] = "/tmp/test-replication-XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w");
	struct conf *loaded;
	struct buf errors;

	fprintf(f, "site: dc1\nservices:\n  notes:\n    listen: 127.0.0.1:9292\n    instances: [\"http://127.0.0.1:19292\"]\n"
	           "    resources: [%s]\n", resources);
	fclose(f);
	buf_init(&errors, NULL, 0);
	if (conf_load(path, &loaded, &errors))
		fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
	buf_fini(&errors);
	unlink(path);
	return loaded;
}

static void open_store(void)
{
	struct err e = { 0, "" };

	if (replication_open(&rep, SPAN("dc1"), folder, 1 << 20, &e))
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/test-replication-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	conf = load_conf("{collection: /notes, id: $.id}");
	open_store();
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	replication_close(&rep);
	conf_unref(&conf);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void on_stored(void *arg, int rc)
{
	assert_int_equal(rc, 0);
	sem_post(arg);
}

static void store(struct store_batch *batch)
{
	sem_t stored;

	sem_init(&stored, 0, 0);
	assert_int_equal(store_submit(rep->store, &batch, NULL, on_stored, &stored), 0);
	sem_wait(&stored);
	sem_destroy(&stored);
}

/* An answer that showed an id in this collection. */
static bool learn(const char *collection, bool number)
{
	struct rules_id id = { .id = SPAN("17"), .collection = span_of(collection), .place = SPAN("$.id"), .number = number };
	struct store_batch *batch;
	struct store_rule row;
	struct arena arena;
	bool news;

	arena_init(&arena, NULL, 0, 0);
	news = replication_learn(rep, &conf->services[0], &id, &arena, &row);
	if (news) {
		batch = store_batch_new();
		store_put_rule(batch, &row);
		store(batch);
	}
	arena_fini(&arena);
	return news;
}

/* "/notes declared, /tasks learned pinned, ". */
static void assert_rules(const char *expected)
{
	struct rules *rules = replication_rules(rep, &conf->services[0]);
	char text[512] = "";

	assert_non_null(rules);
	for (size_t i = 0; i < rules_count(rules); i++) {
		const struct rule *r = rules_get(rules, i);
		size_t n = strlen(text);

		snprintf(text + n, sizeof(text) - n, "%.*s%s%s, ", SPAN_ARG(r->collection), r->learned ? " learned" : " declared",
		         r->pinned ? " pinned" : "");
	}
	rules_unref(&rules);
	assert_string_equal(text, expected);
}

static void what_was_learned_is_in_force_at_once_and_once(void **state)
{
	uint64_t before = replication_rules_generation(rep);

	(void)state;
	assert_rules("/notes declared, ");
	assert_false(learn("/notes", false));
	assert_int_equal(replication_rules_generation(rep), before);
	assert_true(learn("/tasks", true));
	assert_int_not_equal(replication_rules_generation(rep), before);
	assert_false(learn("/tasks", false));
	assert_true(learn("/notes/17/items", false));
	assert_rules("/notes declared, /tasks learned, /notes/{id}/items learned, ");
}

static void it_is_in_force_after_a_restart(void **state)
{
	struct rules *rules;

	(void)state;
	assert_true(learn("/tasks", true));
	replication_close(&rep);
	open_store();
	assert_rules("/notes declared, /tasks learned, ");
	rules = replication_rules(rep, &conf->services[0]);
	assert_int_equal(rules_find(rules, SPAN("/tasks"))->meta_id, METAID_INTEGER);
	rules_unref(&rules);
}

/* What has been declared meanwhile is no longer learned; who holds the rules of before keeps them. */
static void it_is_in_force_after_a_reload(void **state)
{
	struct conf *before = conf;
	struct rules *held;

	(void)state;
	assert_true(learn("/tasks", true));
	assert_true(learn("/jobs", true));
	held = replication_rules(rep, &before->services[0]);
	conf = load_conf("{collection: /tasks, id: $.nr}");
	assert_rules("/tasks declared, /jobs learned, ");
	conf_unref(&before);
	assert_int_equal(rules_count(held), 3);
	rules_unref(&held);
}

static void a_pin_shows(void **state)
{
	struct store_batch *batch = store_batch_new();
	uint64_t before;

	(void)state;
	assert_true(learn("/tasks", true));
	store_pin_rule(batch, SPAN("notes"), SPAN("/tasks"), true);
	store(batch);
	before = replication_rules_generation(rep);
	replication_pin_rule(rep, SPAN("notes"), SPAN("/tasks"), true);
	assert_int_not_equal(replication_rules_generation(rep), before);
	replication_pin_rule(rep, SPAN("notes"), SPAN("/none"), true);
	replication_pin_rule(rep, SPAN("none"), SPAN("/tasks"), true);
	assert_rules("/notes declared, /tasks learned pinned, ");
	replication_close(&rep);
	open_store();
	assert_rules("/notes declared, /tasks learned pinned, ");
	replication_pin_rule(rep, SPAN("notes"), SPAN("/tasks"), false);
	assert_rules("/notes declared, /tasks learned, ");
}

/* A later version may write what this one does not know. */
static void a_row_that_is_not_understood_is_passed_over(void **state)
{
	struct store_rule row = { SPAN("notes"), SPAN("/tasks"), SPAN("{\"meta_id\": \"roman\"}"), false };
	struct store_batch *batch = store_batch_new();

	(void)state;
	store_put_rule(batch, &row);
	store(batch);
	assert_true(learn("/jobs", false));
	replication_close(&rep);
	open_store();
	assert_rules("/notes declared, /jobs learned, ");
}

static void of_creates_only_earlier_ones_count(void **state)
{
	uint64_t a, b, c;

	(void)state;
	assert_int_equal(replication_creates(rep, SPAN("notes")), 0);
	a = replication_create_begins(rep, SPAN("notes"));
	b = replication_create_begins(rep, SPAN("notes"));
	assert_int_equal(replication_creates(rep, SPAN("notes")), b);
	assert_int_equal(replication_creates(rep, SPAN("image")), 0);
	c = replication_create_begins(rep, SPAN("notes"));
	replication_create_ended(rep, SPAN("notes"), b);
	replication_create_ended(rep, SPAN("notes"), b);
	assert_true(replication_creates_until(rep, SPAN("notes"), b));
	replication_create_ended(rep, SPAN("image"), a);
	assert_true(replication_creates_until(rep, SPAN("notes"), b));
	replication_create_ended(rep, SPAN("notes"), a);
	assert_false(replication_creates_until(rep, SPAN("notes"), b));
	assert_int_equal(replication_creates(rep, SPAN("notes")), c);
	replication_create_ended(rep, SPAN("notes"), c);
	assert_int_equal(replication_creates(rep, SPAN("notes")), 0);
	for (int i = 0; i < 100; i++)
		a = replication_create_begins(rep, SPAN("notes"));
	assert_true(replication_creates_until(rep, SPAN("notes"), c + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_learned_is_in_force_at_once_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_in_force_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_in_force_after_a_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pin_shows, setup, teardown),
		cmocka_unit_test_setup_teardown(a_row_that_is_not_understood_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(of_creates_only_earlier_ones_count, setup, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
