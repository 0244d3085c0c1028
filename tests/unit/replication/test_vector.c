/* replication/vector: vectors, stamps, frontiers, and their texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/vector.h"

static struct op_id dot(const char *site, uint64_t incarnation, uint64_t number)
{
	struct op_id id = { .incarnation = incarnation, .number = number };

	snprintf(id.site, sizeof(id.site), "%s", site);
	return id;
}

/* "a1.5 b1.2": site, incarnation, number. */
static struct vector make(const char *text)
{
	struct vector v;
	struct span rest = span_of(text), one;

	vector_init(&v);
	while (rest.n && span_split(&rest, ' ', &one)) {
		const struct op_id id = { .site = { one.p[0] }, .incarnation = (uint64_t)(one.p[1] - '0'), .number = (uint64_t)(one.p[3] - '0') };

		assert_int_equal(vector_add(&v, &id), 0);
	}
	return v;
}

static void vectors_compare(void **state)
{
	static const struct { const char *a, *b; enum vector_order order; } rows[] = {
		{ "", "", VECTOR_EQUAL }, { "a1.1", "a1.1", VECTOR_EQUAL }, { "", "a1.1", VECTOR_BEFORE }, { "a1.2", "a1.1", VECTOR_AFTER },
		{ "a1.1 b1.1", "b1.1", VECTOR_AFTER }, { "a1.1", "b1.1", VECTOR_CONCURRENT }, { "a1.1", "a2.1", VECTOR_CONCURRENT },
		{ "a1.2 b1.1", "a1.1 b1.2", VECTOR_CONCURRENT }, { "a1.1 c1.1", "a1.1 b1.1 c1.1", VECTOR_BEFORE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vector a = make(rows[i].a), b = make(rows[i].b), both = make(rows[i].a);

		if (vector_compare(&a, &b) != rows[i].order)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
		assert_int_equal(vector_merge(&both, &b), 0);
		assert_true(vector_covers(&both, &a) && vector_covers(&both, &b));
		if (rows[i].order == VECTOR_AFTER)
			assert_int_equal(vector_compare(&both, &a), VECTOR_EQUAL);
		vector_fini(&a);
		vector_fini(&b);
		vector_fini(&both);
	}
}

static void a_number_stands_for_those_before_it(void **state)
{
	struct vector v = make("a1.5");

	(void)state;
	assert_true(vector_has(&v, &(struct op_id){ .site = "a", .incarnation = 1, .number = 5 }));
	assert_true(vector_has(&v, &(struct op_id){ .site = "a", .incarnation = 1, .number = 1 }));
	assert_false(vector_has(&v, &(struct op_id){ .site = "a", .incarnation = 1, .number = 6 }));
	assert_false(vector_has(&v, &(struct op_id){ .site = "a", .incarnation = 2, .number = 1 }));
	assert_int_equal(vector_add(&v, &(struct op_id){ .site = "a", .incarnation = 1, .number = 2 }), 0);
	assert_int_equal(v.entries[0].number, 5);
	vector_fini(&v);
}

static void a_text_is_read_as_written(void **state)
{
	struct vector v = make("b1.2 a2.1 a1.5"), back;
	struct buf out;

	(void)state;
	vector_init(&back);
	buf_init(&out, NULL, 0);
	vector_format(&v, &out);
	assert_true(span_eq(buf_span(&out), SPAN("a-0000000000000001-5\na-0000000000000002-1\nb-0000000000000001-2\n")));
	assert_int_equal(vector_parse(&back, buf_span(&out)), 0);
	assert_int_equal(vector_compare(&v, &back), VECTOR_EQUAL);
	vector_fini(&v);
	vector_fini(&back);
	buf_fini(&out);
}

static void what_is_no_vector_is_refused(void **state)
{
	static const char *const texts[] = { "a-0000000000000001-5", "\n", "a-0000000000000001-0\n", "x\n",
		"b-0000000000000001-5\na-0000000000000001-5\n", "a-0000000000000001-5\na-0000000000000001-6\n",
		"a-0000000000000001-5\n\n", "a\tb-0000000000000001-5\n" };
	struct vector v = make("z1.1");

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (vector_parse(&v, span_of(texts[i])) != ERR_INVALID)
			fail_msg("taken: %s", texts[i]);
	assert_int_equal(v.count, 1); /* as it was */
	vector_fini(&v);
}

static void vectors_are_bounded(void **state)
{
	struct vector v, other;
	struct buf out;

	(void)state;
	vector_init(&v);
	vector_init(&other);
	buf_init(&out, NULL, 0);
	for (uint64_t i = 1; i <= VECTOR_ENTRIES; i++) {
		const struct op_id id = dot("a-site-with-a-name", i, 1);

		assert_int_equal(vector_add(&v, &id), 0);
	}
	const struct op_id more = dot("a-site-with-a-name", VECTOR_ENTRIES + 1, 1);
	assert_int_equal(vector_add(&v, &more), ERR_LIMIT);
	assert_int_equal(vector_add(&other, &more), 0);
	assert_int_equal(vector_merge(&v, &other), ERR_LIMIT);
	assert_int_equal(v.count, VECTOR_ENTRIES);
	vector_format(&v, &out);
	assert_true(out.failed); /* longer than a field may be */
	buf_fini(&out);
	buf_init(&out, NULL, 0);
	for (int i = 0; i < 700; i++)
		buf_add_z(&out, "site-0000000000000001-1\n");
	assert_int_equal(vector_parse(&v, buf_span(&out)), ERR_LIMIT);
	buf_fini(&out);
	vector_fini(&v);
	vector_fini(&other);
}

static void a_stamp_is_not_in_its_own_past(void **state)
{
	struct stamp s = { .dot = dot("dc 1", 7, 3) }, back = { .dot.number = 0 };
	struct buf out;

	(void)state;
	s.past = make("a1.1");
	buf_init(&out, NULL, 0);
	stamp_format(&s, &out);
	assert_int_equal(stamp_parse(&back, buf_span(&out)), 0);
	assert_true(op_id_eq(&s.dot, &back.dot));
	assert_int_equal(vector_compare(&s.past, &back.past), VECTOR_EQUAL);
	assert_int_equal(stamp_parse(&back, SPAN("a-0000000000000001-1\na-0000000000000001-1\n")), ERR_INVALID);
	assert_int_equal(stamp_parse(&back, SPAN("")), ERR_INVALID);
	assert_int_equal(stamp_parse(&back, SPAN("a-0000000000000001-1\n")), 0);
	assert_int_equal(back.past.count, 0);
	buf_fini(&out);
	vector_fini(&s.past);
	vector_fini(&back.past);
}

static void check_frontier(struct frontier *f, uint64_t number, const char *beyond)
{
	struct frontier back;
	struct buf out;

	frontier_init(&back);
	buf_init(&out, NULL, 0);
	frontier_format_beyond(f, &out);
	assert_int_equal(f->number, number);
	assert_string_equal(buf_cstr(&out), beyond);
	assert_int_equal(frontier_parse(&back, f->number, buf_span(&out)), 0);
	assert_int_equal(back.count, f->count);
	frontier_fini(&back);
	buf_fini(&out);
}

static void gaps_close(void **state)
{
	struct frontier f;

	(void)state;
	frontier_init(&f);
	assert_int_equal(frontier_add_number(&f, 3), 0);
	assert_int_equal(frontier_add_number(&f, 3), ERR_EXISTS);
	check_frontier(&f, 0, "3");
	assert_int_equal(frontier_add_number(&f, 5), 0);
	check_frontier(&f, 0, "3,5");
	assert_int_equal(frontier_add_number(&f, 4), 0);
	check_frontier(&f, 0, "3-5");
	assert_int_equal(frontier_add_number(&f, 1), 0);
	check_frontier(&f, 1, "3-5");
	assert_false(frontier_has_number(&f, 2));
	assert_int_equal(frontier_add_number(&f, 2), 0);
	check_frontier(&f, 5, "");
	assert_int_equal(frontier_add_number(&f, 9), 0);
	assert_int_equal(frontier_add_number(&f, 8), 0);
	check_frontier(&f, 5, "8-9");
	frontier_settle(&f, 7);
	check_frontier(&f, 9, "");
	assert_int_equal(frontier_add_number(&f, 0), ERR_INVALID);
	assert_int_equal(frontier_add_number(&f, (uint64_t)OP_NUMBER_MOST + 1), ERR_INVALID);
	frontier_fini(&f);
}

static void frontiers_are_sets(void **state)
{
	bool has[200];
	struct frontiers f;

	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		srand(seed);
		memset(has, 0, sizeof(has));
		frontiers_init(&f);
		for (int i = 0; i < 300; i++) {
			unsigned n = (unsigned)rand() % 199 + 1;
			const struct op_id id = dot(n % 2 ? "a" : "b", 1 + n % 3, n);
			const struct frontier_of *of = NULL;

			if (frontier_has(&f, &id) != has[n] || frontier_add(&f, &id, &of) != (has[n] ? ERR_EXISTS : 0))
				fail_msg("seed %u: %u", seed, n);
			assert_string_equal(of->origin.site, id.site);
			has[n] = true;
		}
		frontiers_fini(&f);
	}
}

static void frontiers_are_bounded(void **state)
{
	struct frontier f;

	(void)state;
	frontier_init(&f);
	for (uint64_t i = 1; i <= FRONTIER_RANGES; i++)
		assert_int_equal(frontier_add_number(&f, 2 * i), 0);
	assert_int_equal(frontier_add_number(&f, 2 * FRONTIER_RANGES + 2), ERR_LIMIT);
	assert_int_equal(frontier_add_number(&f, 3), 0); /* which closes a gap */
	frontier_fini(&f);
}

static void what_is_no_frontier_is_refused(void **state)
{
	static const char *const texts[] = { ",", "7,", "5", "6", "7-7", "9-8", "8,9", "8,8", "9,7", "08", "8-", "-8", "x", "8 ,10",
		"9223372036854775808" };
	struct frontier f;

	(void)state;
	frontier_init(&f);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (frontier_parse(&f, 5, span_of(texts[i])) != ERR_INVALID || f.count)
			fail_msg("taken: %s", texts[i]);
	assert_int_equal(frontier_parse(&f, 5, SPAN("7-9,11")), 0);
	frontier_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_compare),
		cmocka_unit_test(a_number_stands_for_those_before_it),
		cmocka_unit_test(a_text_is_read_as_written),
		cmocka_unit_test(what_is_no_vector_is_refused),
		cmocka_unit_test(vectors_are_bounded),
		cmocka_unit_test(a_stamp_is_not_in_its_own_past),
		cmocka_unit_test(gaps_close),
		cmocka_unit_test(frontiers_are_sets),
		cmocka_unit_test(frontiers_are_bounded),
		cmocka_unit_test(what_is_no_frontier_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
