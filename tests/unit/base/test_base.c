/* base/: spans, arenas, buffers, addresses, nearest words, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/log.h"
#include "base/nearest.h"

static void span_split_gives_every_part(void **state)
{
	struct span rest = SPAN("a,,b,"), part = { 0 };
	const char *want[] = { "a", "", "b", "" };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_true(span_split(&rest, ',', &part));
		assert_true(span_eq(part, span_of(want[i])));
	}
	assert_false(span_split(&rest, ',', &part));
}

static void span_numbers_are_digits_within_bounds(void **state)
{
	unsigned long long v = 0;

	(void)state;
	assert_true(span_to_u64(SPAN("65535"), 65535, &v) && v == 65535);
	assert_false(span_to_u64(SPAN("65536"), 65535, &v));
	assert_false(span_to_u64(SPAN("99999999999999999999999"), UINT64_MAX, &v));
	assert_false(span_to_u64(SPAN(""), 10, &v));
	assert_false(span_to_u64(SPAN("+4"), 10, &v));
	assert_false(span_to_u64(SPAN(" 4"), 10, &v));
	assert_true(span_to_u64(SPAN("3"), 3, &v) && v == 3);
	assert_false(span_to_u64(SPAN("7"), 3, &v));
}

static void span_trim_takes_blanks_and_tabs_only(void **state)
{
	(void)state;
	assert_true(span_eq(span_trim(SPAN(" \t a b\t")), SPAN("a b")));
	assert_true(span_eq(span_trim(SPAN("\n")), SPAN("\n")));
	assert_true(span_trim(SPAN("  ")).n == 0);
}

static void arena_keeps_to_its_limit_and_stays_usable(void **state)
{
	char room[64];
	struct arena a;

	(void)state;
	arena_init(&a, room, sizeof(room), 8192);
	assert_non_null(arena_alloc(&a, 32));
	assert_int_equal(a.used, 0);
	assert_null(arena_alloc(&a, 10000));
	assert_non_null(arena_alloc(&a, 4000));
	assert_non_null(arena_alloc(&a, 4000));
	assert_null(arena_alloc(&a, 4000));
	assert_non_null(arena_alloc(&a, 8));
	arena_reset(&a);
	assert_int_equal(a.used, 0);
	assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
	assert_string_equal(arena_dup(&a, SPAN("abc")).p, "abc");
	for (int i = 0; i < 50; i++)
		assert_int_equal((uintptr_t)arena_alloc(&a, 1) % sizeof(void *), 0);
	arena_fini(&a);
}

static void buf_is_a_queue_of_bytes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	assert_int_equal(buf_len(&b), 0);
	buf_add(&b, "hello ", 6);
	buf_addf(&b, "%s %0300d", "world", 1);
	assert_int_equal(buf_len(&b), 312);
	buf_consume(&b, 6);
	assert_true(span_starts(buf_span(&b), SPAN("world 000")));
	assert_true(strlen(buf_cstr(&b)) == 306);
	buf_fini(&b);
	assert_null(b.mem);
}

static void buf_failure_is_sticky_and_keeps_what_fitted(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 10);
	buf_add(&b, "12345678", 8);
	buf_addf(&b, "%s", "too much");
	assert_true(b.failed);
	buf_add(&b, "9", 1);
	assert_true(span_eq(buf_span(&b), SPAN("12345678")));
	buf_fini(&b);
	assert_false(b.failed);
}

static void buf_pool_gives_blocks_again_last_first(void **state)
{
	struct buf_pool pool;
	struct buf a, b;
	char *mem;

	(void)state;
	buf_pool_init(&pool, 1024, 1);
	buf_init(&a, &pool, 0);
	buf_init(&b, &pool, 0);
	buf_add(&a, "x", 1);
	buf_add(&b, "y", 1);
	mem = a.mem;
	buf_fini(&a);
	assert_int_equal(pool.kept, 1);
	buf_fini(&b);
	assert_int_equal(pool.kept, 1);
	buf_add(&a, "z", 1);
	assert_ptr_equal(a.mem, mem);
	for (int i = 0; i < 3000; i++)
		buf_add(&a, "0123456789", 10);
	assert_int_equal(buf_len(&a), 30001);
	assert_int_equal(pool.kept, 1);
	buf_fini(&a);
	buf_pool_fini(&pool);
}

static void addresses_read_and_print_alike(void **state)
{
	const char *good[] = { "127.0.0.1:80", "[::1]:9292", "[::]:1", "unix:/run/x.sock" };
	const char *bad[] = { "127.0.0.1",  "127.0.0.1:",     "127.0.0.1:0", "127.0.0.1:65536",
		              "host:80",    "[::1:80",        "::1:80",      "1.2.3:4",
		              "unix:",      "[127.0.0.1]:80", "1.2.3.4: 8",  "" };
	char text[ADDR_TEXT_BYTES];
	struct addr a, b;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(addr_parse(span_of(good[i]), false, &a, &e), 0);
		addr_format(&a, text);
		assert_string_equal(text, good[i]);
		assert_int_equal(addr_parse(span_of(text), false, &b, &e), 0);
		assert_true(addr_eq(&a, &b));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(addr_parse(span_of(bad[i]), false, &a, &e), ERR_INVALID);
	assert_int_equal(addr_parse(SPAN(":8080"), false, &a, &e), 0);
	addr_format(&a, text);
	assert_string_equal(text, "[::]:8080");
	assert_int_equal(addr_parse(SPAN("127.9.9.9:0"), true, &a, &e), 0);
	assert_true(addr_is_loopback(&a));
	assert_int_equal(addr_parse(SPAN("[::ffff:10.0.0.1]:1"), false, &b, &e), 0);
	addr_unmap(&b);
	assert_int_equal(addr_parse(SPAN("10.0.0.1:1"), false, &a, &e), 0);
	assert_true(addr_eq(&a, &b));
	assert_int_equal(addr_parse(SPAN("[::1:10.0.0.1]:1"), false, &b, &e), 0);
	addr_unmap(&b);
	assert_false(addr_eq(&a, &b));
	assert_false(addr_is_loopback(&a));
}

static void nearest_word_within_a_third_of_its_length(void **state)
{
	struct nearest n = { 0 };

	(void)state;
	assert_int_equal(nearest_distance(SPAN("listen"), SPAN("lisetn")), 1);
	assert_int_equal(nearest_distance(SPAN("kitten"), SPAN("sitting")), 3);
	assert_int_equal(nearest_distance(SPAN(""), SPAN("abc")), 3);
	assert_int_equal(nearest_distance(SPAN("DC1"), SPAN("dc1")), 0);
	assert_int_equal(nearest_distance(SPAN("@"), SPAN("`")), 1);
	nearest_offer(&n, SPAN("instnaces"), SPAN("listen"));
	assert_int_equal(n.best.n, 0);
	nearest_offer(&n, SPAN("instnaces"), SPAN("instances"));
	nearest_offer(&n, SPAN("instnaces"), SPAN("instance"));
	assert_true(span_eq(n.best, SPAN("instances")));
	n = (struct nearest){ 0 };
	nearest_offer(&n, SPAN("d"), SPAN("a"));
	assert_int_equal(n.best.n, 0);
	nearest_offer(&n, SPAN("d"), SPAN("D"));
	assert_true(span_eq(n.best, SPAN("D")));
}

static void times_are_rfc3339(void **state)
{
	char text[CLOCK_TEXT_BYTES];

	(void)state;
	clock_format(1767225600123, text);
	assert_string_equal(text, "2026-01-01T00:00:00.123Z");
}

static void codes_have_texts(void **state)
{
	enum log_level level;
	struct err e;

	(void)state;
	assert_int_equal(ERR_NOMEM, -1);
	assert_int_equal(ERR_INVALID, -2);
	assert_string_equal(err_text(ERR_SYNTAX), "syntax error");
	assert_string_equal(err_text(-1000), "unknown error");
	assert_int_equal(err_set(&e, ERR_IO, "%s:%d", "f", 3), ERR_IO);
	assert_string_equal(e.text, "f:3");
	assert_true(log_level_parse(SPAN("warn"), &level) && level == LOG_WARN);
	assert_false(log_level_parse(SPAN("loud"), &level));
}

static void a_histogram_counts_each_time_in_one_bucket(void **state)
{
	static const int64_t times[] = { -5, 0, 100, 101, 999, 10000000, 10000001, INT64_MAX / 2 };
	struct histogram h = { .count = 0 };
	uint64_t all = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		histogram_add(&h, times[i]);
	for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
		all += counter_get(&h.bucket[i]);
	assert_int_equal(all, 8);
	assert_int_equal(counter_get(&h.count), 8);
	assert_int_equal(counter_get(&h.bucket[0]), 3);
	assert_int_equal(counter_get(&h.bucket[1]), 1);
	assert_int_equal(counter_get(&h.bucket[HISTOGRAM_BUCKETS - 1]), 1);
	assert_int_equal(counter_get(&h.bucket[HISTOGRAM_BUCKETS]), 2);
	assert_int_equal(counter_get(&h.sum_us), 100 + 101 + 999 + 10000000 + 10000001 + INT64_MAX / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_histogram_counts_each_time_in_one_bucket),
		cmocka_unit_test(span_split_gives_every_part),
		cmocka_unit_test(span_numbers_are_digits_within_bounds),
		cmocka_unit_test(span_trim_takes_blanks_and_tabs_only),
		cmocka_unit_test(arena_keeps_to_its_limit_and_stays_usable),
		cmocka_unit_test(buf_is_a_queue_of_bytes),
		cmocka_unit_test(buf_failure_is_sticky_and_keeps_what_fitted),
		cmocka_unit_test(buf_pool_gives_blocks_again_last_first),
		cmocka_unit_test(addresses_read_and_print_alike),
		cmocka_unit_test(nearest_word_within_a_third_of_its_length),
		cmocka_unit_test(times_are_rfc3339),
		cmocka_unit_test(codes_have_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
