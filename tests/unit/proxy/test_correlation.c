/* proxy/correlation and correlation_value: what is remembered of which header, for how long, and among threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "proxy/correlation_value.h"

#define SECOND 1000000ll

static struct correlation *table;
static char room[CORRELATION_SCOPE_BYTES];

static int set_up(void **state)
{
	(void)state;
	table = correlation_new();
	return table ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	correlation_free(&table);
	return 0;
}

static struct correlation_key key(const char *value)
{
	return (struct correlation_key){ SPAN("x-request-id"), span_of(value) };
}

static enum correlation_found remember(const char *value, const char *scope, int64_t now_us)
{
	struct correlation_key k = key(value);

	return correlation_remember(table, &k, span_of(scope), now_us);
}

static enum correlation_found find(const char *value, int64_t now_us, struct span *scope_r)
{
	struct correlation_key k = key(value);

	return correlation_find(table, &k, now_us, room, scope_r);
}

static void assert_found(const char *value, int64_t now_us, const char *want)
{
	struct span scope;

	assert_int_equal(find(value, now_us, &scope), CORRELATION_SCOPE);
	assert_int_equal(scope.n, strlen(want));
	assert_memory_equal(scope.p, want, scope.n);
}

static void assert_none(const char *value, int64_t now_us)
{
	struct span scope;

	assert_int_equal(find(value, now_us, &scope), CORRELATION_NONE);
}

static struct correlation_counts counts(void)
{
	struct correlation_counts c;

	correlation_count(table, &c);
	return c;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void a_value_gives_the_scope_it_came_in_with(void **state)
{
	(void)state;
	assert_true(correlation_is_empty(table));
	assert_none("a", 0);
	assert_int_equal(remember("a", "image: dc1", 0), CORRELATION_SCOPE);
	assert_int_equal(remember("b", "image: dc2", 0), CORRELATION_SCOPE);
	assert_false(correlation_is_empty(table));
	assert_found("a", 1, "image: dc1");
	assert_found("b", 1, "image: dc2");
	assert_none("c", 1);
}

static void equal_values_of_two_headers_are_two(void **state)
{
	struct correlation_key other = { SPAN("x-other-id"), SPAN("a") };
	struct correlation_key moved = { SPAN("x-request-i"), SPAN("da") };
	struct span scope;

	(void)state;
	remember("a", "image: dc1", 0);
	assert_int_equal(correlation_find(table, &other, 0, room, &scope), CORRELATION_NONE);
	assert_int_equal(correlation_find(table, &moved, 0, room, &scope), CORRELATION_NONE);
	assert_int_equal(correlation_remember(table, &other, SPAN("image: dc2"), 0), CORRELATION_SCOPE);
	assert_found("a", 0, "image: dc1");
}

static void it_is_believed_for_its_age_since_it_came_in_last(void **state)
{
	(void)state;
	remember("a", "image: dc1", 0);
	assert_found("a", CORRELATION_AGE_US, "image: dc1");
	assert_none("a", CORRELATION_AGE_US + 1);
	remember("b", "image: dc1", 0);
	remember("b", "image: dc1", 10 * SECOND);
	assert_found("b", CORRELATION_AGE_US + 10 * SECOND, "image: dc1");
	assert_none("b", CORRELATION_AGE_US + 10 * SECOND + 1);
}

static void looking_does_not_make_it_younger(void **state)
{
	(void)state;
	remember("a", "image: dc1", 0);
	assert_found("a", CORRELATION_AGE_US, "image: dc1");
	assert_none("a", CORRELATION_AGE_US + 1);
}

static void two_scopes_for_one_value_tell_none_until_it_is_old(void **state)
{
	struct span scope;

	(void)state;
	remember("a", "image: dc1", 0);
	assert_int_equal(remember("a", "image: dc2", SECOND), CORRELATION_AMBIGUOUS);
	assert_int_equal(find("a", SECOND, &scope), CORRELATION_AMBIGUOUS);
	assert_int_equal(remember("a", "image: dc1", 2 * SECOND), CORRELATION_AMBIGUOUS);
	assert_int_equal(counts().conflicts, 1);
	assert_int_equal(find("a", 2 * SECOND + CORRELATION_AGE_US + 1, &scope), CORRELATION_NONE);
	assert_int_equal(remember("a", "image: dc3", 3 * SECOND + CORRELATION_AGE_US), CORRELATION_SCOPE);
	assert_found("a", 3 * SECOND + CORRELATION_AGE_US, "image: dc3");
}

static void what_is_too_long_is_not_remembered(void **state)
{
	char *text = malloc(CORRELATION_SCOPE_BYTES + 1);
	struct correlation_key k = key("a");

	(void)state;
	memset(text, 'a', CORRELATION_SCOPE_BYTES + 1);
	assert_int_equal(correlation_remember(table, &k, span_make(text, CORRELATION_SCOPE_BYTES + 1), 0),
	                 CORRELATION_NONE);
	assert_int_equal(correlation_remember(table, &k, span_make(text, CORRELATION_SCOPE_BYTES), 0), CORRELATION_SCOPE);
	k.value = span_make(text, CORRELATION_VALUE_BYTES + 1);
	assert_int_equal(correlation_remember(table, &k, SPAN("image: dc1"), 0), CORRELATION_NONE);
	k.value = SPAN("");
	assert_int_equal(correlation_remember(table, &k, SPAN("image: dc1"), 0), CORRELATION_NONE);
	free(text);
}

static void remember_number(unsigned i, const char *scope, int64_t now_us)
{
	char value[32];

	snprintf(value, sizeof(value), "value-%u", i);
	remember(value, scope, now_us);
}

static unsigned count_found(unsigned from, unsigned to, int64_t now_us)
{
	unsigned n = 0;
	struct span scope;
	char value[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(value, sizeof(value), "value-%u", i);
		n += find(value, now_us, &scope) == CORRELATION_SCOPE;
	}
	return n;
}

static void the_number_is_bounded_and_the_oldest_go_first(void **state)
{
	const unsigned twice = 2 * CORRELATION_MOST;

	(void)state;
	for (unsigned i = 0; i < twice; i++)
		remember_number(i, "image: dc1", i);
	assert_true(counts().entries <= CORRELATION_MOST);
	assert_true(counts().entries > CORRELATION_MOST * 98 / 100);
	assert_int_equal(counts().entries + counts().evicted, twice);
	assert_int_equal(count_found(0, CORRELATION_MOST * 9 / 10, twice), 0);
	assert_true(count_found(CORRELATION_MOST, twice, twice) > CORRELATION_MOST * 98 / 100);
	assert_int_equal(count_found(CORRELATION_MOST * 11 / 10, twice, twice), CORRELATION_MOST * 9 / 10);
}

static void the_bound_follows_the_number_of_values_a_request_brings(void **state)
{
	(void)state;
	correlation_set_keys(table, 2);
	for (unsigned i = 0; i < 2 * CORRELATION_MOST; i++)
		remember_number(i, "image: dc1", i);
	assert_true(counts().entries > 2 * CORRELATION_MOST * 98 / 100);
	correlation_set_keys(table, 1);
	for (unsigned i = 0; i < CORRELATION_MOST / 10; i++)
		remember_number(1000000 + i, "image: dc1", 2 * CORRELATION_MOST + i);
	assert_true(counts().entries <= CORRELATION_MOST + 64);
}

static void the_bytes_are_bounded(void **state)
{
	char *text = malloc(CORRELATION_SCOPE_BYTES + 1);

	(void)state;
	memset(text, 'a', CORRELATION_SCOPE_BYTES);
	text[CORRELATION_SCOPE_BYTES] = '\0';
	for (unsigned i = 0; i < 20000; i++)
		remember_number(i, text, i);
	assert_true(counts().bytes <= (uint64_t)CORRELATION_MOST * CORRELATION_MEAN);
	assert_true(counts().entries > 1000);
	assert_found("value-19999", 20000, text);
	free(text);
}

static void what_is_old_is_dropped_without_further_requests(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		remember_number(i, "image: dc1", 0);
	for (unsigned i = 0; i < 64; i++)
		correlation_sweep(table, CORRELATION_AGE_US);
	assert_int_equal(counts().entries, 5000);
	for (unsigned i = 0; i < 64; i++)
		correlation_sweep(table, CORRELATION_AGE_US + 1);
	assert_int_equal(counts().entries, 0);
	assert_int_equal(counts().bytes, 0);
	assert_int_equal(counts().expired, 5000);
	assert_true(correlation_is_empty(table));
}

static void without_a_table_nothing_is_known(void **state)
{
	struct correlation_key k = key("a");
	struct span scope;

	(void)state;
	assert_true(correlation_is_empty(NULL));
	assert_int_equal(correlation_remember(NULL, &k, SPAN("image: dc1"), 0), CORRELATION_NONE);
	assert_int_equal(correlation_find(NULL, &k, 0, room, &scope), CORRELATION_NONE);
	correlation_sweep(NULL, 0);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 20000

static _Atomic unsigned wrong;

/* Each thread's own values give its own scope; values that all share with one scope stay clear, those with scopes that
 * differ never give anything but one of them. */
static void *work(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	char own[32], value[48], text[CORRELATION_SCOPE_BYTES];
	struct span scope;

	snprintf(own, sizeof(own), "image: dc%u", me);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct correlation_key k = { SPAN("x-request-id"), { value, 0 } };
		struct correlation_key shared = key("shared"), fought = key("fought");

		k.value.n = (size_t)snprintf(value, sizeof(value), "%u-%u", me, i % 1000);
		correlation_remember(table, &k, span_of(own), i);
		if (correlation_find(table, &k, i, text, &scope) != CORRELATION_SCOPE || !span_eq(scope, span_of(own)))
			wrong++;
		if (correlation_remember(table, &shared, SPAN("image: dc9"), i) != CORRELATION_SCOPE)
			wrong++;
		correlation_remember(table, &fought, span_of(own), i);
		if (correlation_find(table, &fought, i, text, &scope) == CORRELATION_SCOPE &&
		    !span_starts(scope, SPAN("image: dc")))
			wrong++;
		if (i % 64 == 0)
			correlation_sweep(table, i);
	}
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[THREADS];
	struct span scope;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(wrong, 0);
	assert_found("shared", ROUNDS, "image: dc9");
	assert_int_equal(find("fought", ROUNDS, &scope), CORRELATION_AMBIGUOUS);
	assert_int_equal(counts().entries, THREADS * 1000 + 2);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define UUID "6d3c2b1a-5a58-4b2e-8a39-5e6c7f1f6b1c"

static const struct { const char *name, *value; unsigned count; } values[] = {
	{ "traceparent", "00-" TRACE "-" PARENT "-01", 2 },
	{ "TraceParent", "00-" TRACE "-" PARENT "-00", 2 },
	{ "traceparent", "01-" TRACE "-" PARENT "-01", 2 },
	{ "traceparent", "cc-" TRACE "-" PARENT "-01-what the future brings", 2 },
	{ "traceparent", "00-" TRACE "-" PARENT "-01-more", 0 },
	{ "traceparent", "cc-" TRACE "-" PARENT "-01more", 0 },
	{ "traceparent", "ff-" TRACE "-" PARENT "-01", 0 },
	{ "traceparent", "FE-" TRACE "-" PARENT "-01", 0 },
	{ "traceparent", "00-00000000000000000000000000000000-" PARENT "-01", 0 },
	{ "traceparent", "00-" TRACE "-0000000000000000-01", 0 },
	{ "traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", 0 },
	{ "traceparent", "00-" TRACE "-" PARENT "-0", 0 },
	{ "traceparent", "00-" TRACE "-" PARENT "-0x", 0 },
	{ "traceparent", "00_" TRACE "-" PARENT "-01", 0 },
	{ "traceparent", "", 0 },
	{ "b3", TRACE "-" PARENT "-1", 2 },
	{ "b3", TRACE "-" PARENT, 2 },
	{ "b3", "a3ce929d0e0e4736-" PARENT "-d-" PARENT, 2 },
	{ "b3", "a3ce929d0e0e4736-" PARENT "-x", 0 },
	{ "b3", "a3ce929d0e0e4736-" PARENT "-1-" PARENT "-1", 0 },
	{ "b3", "a3ce929d0e0e473-" PARENT "-1", 0 },
	{ "b3", "0000000000000000-" PARENT "-1", 0 },
	{ "b3", TRACE "-", 0 },
	{ "b3", TRACE, 0 },
	{ "b3", "0", 0 },
	{ "b3", "d", 0 },
	{ "X-B3-TraceId", TRACE, 1 },
	{ "X-B3-TraceId", "a3ce929d0e0e4736", 1 },
	{ "X-B3-TraceId", "a3ce929d0e0e47361", 0 },
	{ "x-openstack-request-id", "req-" UUID, 1 },
	{ "X-OpenStack-Request-ID", "req-" UUID, 1 },
	{ "x-openstack-request-id", UUID, 0 },
	{ "x-openstack-request-id", "req-6D3C2B1A-5a58-4b2e-8a39-5e6c7f1f6b1c", 0 },
	{ "x-openstack-request-id", "req-6d3c2b1a5a584b2e8a395e6c7f1f6b1c", 0 },
	{ "x-openstack-request-id", "req-" UUID "0", 0 },
	{ "x-openstack-request-id", "rEq-" UUID, 0 },
	{ "x-openstack-request-id", "req-6d3c2b1a-5a58-4b2e-8a39-5e6c7f1f6b1-", 0 },
	{ "x-request-id", "anything at all, 100%", 1 },
	{ "x-request-id", "", 0 },
	{ "x-request-id", "a\tb", 0 },
	{ "x-auth-token", "gAAAAABj", 1 },
};

static void values_are_read_by_the_rules_of_their_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct correlation_values v;
		enum correlation_kind kind = correlation_kind_of(span_of(values[i].name));

		correlation_values_get(kind, span_of(values[i].name), span_of(values[i].value), &v);
		if (v.count != values[i].count)
			fail_msg("%s: %s: %u values, want %u", values[i].name, values[i].value, v.count,
			         values[i].count);
		assert_true(v.count <= correlation_values_most(kind));
	}
}

static void assert_key(const char *name, const char *value, unsigned i, const char *want)
{
	struct correlation_values v;

	correlation_values_get(correlation_kind_of(span_of(name)), span_of(name), span_of(value), &v);
	assert_true(i < v.count);
	assert_true(span_eq(v.key[i].value, span_of(want)));
}

static void tracing_headers_share_their_trace_ids(void **state)
{
	(void)state;
	assert_key("traceparent", "00-" TRACE "-" PARENT "-01", 0, TRACE "-" PARENT);
	assert_key("traceparent", "00-" TRACE "-" PARENT "-01", 1, TRACE);
	assert_key("b3", TRACE "-" PARENT "-1", 0, TRACE "-" PARENT);
	assert_key("b3", TRACE "-" PARENT "-1", 1, TRACE);
	assert_key("x-b3-traceid", TRACE, 0, TRACE);
	assert_key("x-b3-traceid", "a3ce929d0e0e4736", 0, "0000000000000000a3ce929d0e0e4736");
	assert_key("x-request-id", "a", 0, "a");
}

static void a_header_called_trace_is_no_trace(void **state)
{
	static const char *const names[] = { "trace", "trace-parent", "parent" };
	struct correlation_values trace, other;

	(void)state;
	correlation_values_get(CORRELATION_TRACEPARENT, SPAN("traceparent"), SPAN("00-" TRACE "-" PARENT "-01"), &trace);
	for (size_t i = 0; i < 3; i++) {
		correlation_values_get(CORRELATION_OPAQUE, span_of(names[i]), SPAN(TRACE), &other);
		assert_int_equal(other.count, 1);
		for (unsigned k = 0; k < trace.count; k++)
			assert_false(span_eq(other.key[0].space, trace.key[k].space));
	}
}

static void assert_makes(const char *name, const struct correlation_ids *ids, const char *before, unsigned want)
{
	enum correlation_kind kind = correlation_kind_of(span_of(name));
	struct correlation_values v;
	struct buf out;

	buf_init(&out, NULL, 0);
	correlation_value_make(kind, ids, span_of(before), &out);
	correlation_values_get(kind, span_of(name), buf_span(&out), &v);
	assert_int_equal(v.count, want);
	buf_fini(&out);
}

static void what_is_made_is_a_value_of_its_header(void **state)
{
	struct correlation_ids a, b;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		correlation_ids_make(&a);
		assert_makes("traceparent", &a, "", 2);
		assert_makes("b3", &a, "", 2);
		assert_makes("b3", &a, "0", 2);
		assert_makes("x-b3-traceid", &a, "", 1);
		assert_makes("x-openstack-request-id", &a, "", 1);
		assert_makes("x-request-id", &a, "", 1);
		assert_makes("x-anything", &a, "", 1);
		assert_makes("authorization", &a, "", 0);
		assert_makes("x-auth-token", &a, "", 0);
	}
	correlation_ids_make(&b);
	assert_memory_not_equal(a.trace, b.trace, sizeof(a.trace));
	assert_memory_not_equal(a.uuid, b.uuid, sizeof(a.uuid));
}

static void what_is_made_joins_the_trace_that_is_there(void **state)
{
	struct correlation_values v;
	struct correlation_ids ids;
	struct buf out;

	(void)state;
	correlation_ids_make(&ids);
	correlation_values_get(CORRELATION_B3, SPAN("b3"), SPAN(TRACE "-" PARENT), &v);
	correlation_ids_join(&ids, &v);
	buf_init(&out, NULL, 0);
	correlation_value_make(CORRELATION_TRACEPARENT, &ids, SPAN(""), &out);
	assert_true(span_starts(buf_span(&out), SPAN("00-" TRACE "-")));
	buf_fini(&out);
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_TABLE(a_value_gives_the_scope_it_came_in_with),
		WITH_TABLE(equal_values_of_two_headers_are_two),
		WITH_TABLE(it_is_believed_for_its_age_since_it_came_in_last),
		WITH_TABLE(looking_does_not_make_it_younger),
		WITH_TABLE(two_scopes_for_one_value_tell_none_until_it_is_old),
		WITH_TABLE(what_is_too_long_is_not_remembered),
		WITH_TABLE(the_number_is_bounded_and_the_oldest_go_first),
		WITH_TABLE(the_bound_follows_the_number_of_values_a_request_brings),
		WITH_TABLE(the_bytes_are_bounded),
		WITH_TABLE(what_is_old_is_dropped_without_further_requests),
		cmocka_unit_test(without_a_table_nothing_is_known),
		WITH_TABLE(threads_share_it),
		cmocka_unit_test(values_are_read_by_the_rules_of_their_header),
		cmocka_unit_test(tracing_headers_share_their_trace_ids),
		cmocka_unit_test(a_header_called_trace_is_no_trace),
		cmocka_unit_test(what_is_made_is_a_value_of_its_header),
		cmocka_unit_test(what_is_made_joins_the_trace_that_is_there),
	};

	return cmocka_run_group_tests_name("correlation", tests, NULL, NULL);
}
