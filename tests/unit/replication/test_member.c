/* replication/member: one member of a JSON document is found, and put, and nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "replication/member.h"

static const struct {
	const char *doc, *place, *raw; /* NULL: there is none */
} found[] = {
	{ "{\"a\":1}", "$.a", "1" },
	{ " {\"b\" : \"x\" , \"a\":\t\"y\\\"z\" }\n", "$.a", "\"y\\\"z\"" },
	{ "{\"a\":{\"b\":[1,{\"c\":2}]},\"c\":3}", "$.a.b", "[1,{\"c\":2}]" },
	{ "{\"a\":{\"b\":{\"c\":12345678901234567890.10}}}", "$.a.b.c", "12345678901234567890.10" },
	{ "{\"a\":1,\"a\":2}", "$.a", "2" },
	{ "{\"\\u0061\":7}", "$.a", "7" },
	{ "{\"a.b\":7}", "$['a.b']", "7" },
	{ "{\"x\":{\"a\":1}}", "$.a", NULL },
	{ "{\"a\":1}", "$.a.b", NULL },
	{ "[{\"a\":1}]", "$.a", NULL },
	{ "", "$.a", NULL },
	{ "{\"a\":}", "$.a", NULL },
	{ "{\"a\":1", "$.a", NULL },
	{ "{\"a\":\"", "$.a", NULL },
	{ "{\"b\":[}],\"a\":1}", "$.a", NULL },
	{ "{\"b\" 2,\"a\":1}", "$.a", NULL },
};

static void test_a_member_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		struct span raw;
		bool there = member_find(span_of(found[i].doc), span_of(found[i].place), &raw);

		if (there != (found[i].raw != NULL) || (there && !span_eq(raw, span_of(found[i].raw))))
			fail_msg("%s in %s: %.*s", found[i].place, found[i].doc, there ? (int)raw.n : 4, there ? raw.p : "none");
	}
}

static const struct {
	const char *doc, *place, *raw, *after; /* NULL: refused */
} put[] = {
	{ "{\"a\":1,\"b\":1.10}", "$.a", "\"x\"", "{\"a\":\"x\",\"b\":1.10}" },
	{ "{\"b\":1.10}", "$.a", "\"x\"", "{\"b\":1.10, \"a\": \"x\"}" },
	{ " { } ", "$.a", "2", " { \"a\": 2} " },
	{ "{\"s\":{\"n\":1}}", "$.s.p", "2", "{\"s\":{\"n\":1, \"p\": 2}}" },
	{ "{\"s\":{}}", "$.s.p.q", "2", "{\"s\":{\"p\": {\"q\": 2}}}" },
	{ "{}", "$.s.p['a\\b']", "2", "{\"s\": {\"p\": {\"a\\\\b\": 2}}}" },
	{ "{\"s\":null}", "$.s.p", "2", NULL },
	{ "[]", "$.a", "2", NULL },
	{ "", "$.a", "2", NULL },
	{ "{\"a\":1} x", "$.a", "2", "{\"a\":2} x" },
};

static void test_a_member_is_put(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(put) / sizeof(put[0]); i++) {
		struct buf out;
		bool good;

		buf_init(&out, NULL, 0);
		good = member_set(span_of(put[i].doc), span_of(put[i].place), span_of(put[i].raw), &out);
		if (good != (put[i].after != NULL) || !span_eq(buf_span(&out), span_of(put[i].after ? put[i].after : "")))
			fail_msg("%s into %s: %.*s", put[i].place, put[i].doc, (int)buf_len(&out), buf_span(&out).p);
		buf_fini(&out);
	}
}

static const struct {
	const char *doc;
	int count; /* -1: no list */
	const char *first;
} lists[] = {
	{ "[]", 0, NULL },
	{ " [ {\"id\":1} , 2 ] ", 2, "{\"id\":1}" },
	{ "{\"count\":1,\"notes\":[\"a\"]}", 1, "\"a\"" },
	{ "{\"notes\":[]}", 0, NULL },
	{ "{\"a\":[],\"b\":[]}", -1, NULL },
	{ "{\"id\":1}", -1, NULL },
	{ "[1,2", -1, NULL },
	{ "[1 2]", -1, NULL },
	{ "\"text\"", -1, NULL },
	{ "", -1, NULL },
};

static void test_a_list_is_counted(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct span first;
		size_t count;
		bool good = member_list(span_of(lists[i].doc), &first, &count);

		if (good != (lists[i].count >= 0) || (good && count != (size_t)lists[i].count))
			fail_msg("%s: %d, %zu", lists[i].doc, good, count);
		if (good && count && !span_eq(first, span_of(lists[i].first)))
			fail_msg("%s: the first is %.*s", lists[i].doc, SPAN_ARG(first));
	}
}

static void test_text_and_places(void **state)
{
	struct arena arena;
	struct span text;
	struct err e;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	assert_true(member_text(&arena, SPAN("\"a\\u00e9\""), &text) && span_eq(text, SPAN("a\xc3\xa9")));
	assert_true(member_text(&arena, SPAN("9007199254740993"), &text) && span_eq(text, SPAN("9007199254740993")));
	assert_true(member_text(&arena, SPAN("true"), &text) && span_eq(text, SPAN("true")));
	assert_false(member_text(&arena, SPAN("null"), &text));
	assert_false(member_text(&arena, SPAN("{\"a\":1}"), &text));
	assert_int_equal(member_check_place(SPAN("$.a['b c']"), &e), 0);
	assert_int_equal(member_check_place(SPAN("$.a[*].b"), &e), ERR_INVALID);
	assert_int_equal(member_check_place(SPAN("$.*"), &e), ERR_INVALID);
	assert_int_equal(member_check_place(SPAN("a"), &e), ERR_INVALID);
	arena_fini(&arena);
}

/* Whatever bytes come, cut anywhere, nothing outside of them is read (ASan looks on). */
static void test_any_bytes(void **state)
{
	static const char alphabet[] = "{}[]\":,\\a1 u";
	struct span raw, first;
	struct buf out;
	size_t count;

	(void)state;
	srand(7);
	for (int i = 0; i < 200000; i++) {
		size_t n = (size_t)rand() % 24;
		char *doc = malloc(n + 1);

		assert_non_null(doc);
		for (size_t j = 0; j < n; j++)
			doc[j] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
		buf_init(&out, NULL, 0);
		if (member_set(span_make(doc, n), SPAN("$.a"), SPAN("7"), &out)) {
			assert_true(member_find(buf_span(&out), SPAN("$.a"), &raw));
			assert_true(span_eq(raw, SPAN("7")));
		}
		member_find(span_make(doc, n), SPAN("$.a.u"), &raw);
		if (member_list(span_make(doc, n), &first, &count) && count)
			assert_true(first.p >= doc && first.p + first.n <= doc + n);
		buf_fini(&out);
		free(doc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_member_is_found), cmocka_unit_test(test_a_member_is_put),
		cmocka_unit_test(test_a_list_is_counted), cmocka_unit_test(test_text_and_places),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
