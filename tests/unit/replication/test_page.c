/* Pages of a list: what is left out and how the link leads on, whatever the cuts; jansson is the oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "replication/page.h"

#define HERE "at=a,b"
#define END "/notes?at=a,b,c"

/* Ids that begin with x have been shown, and numbers that are divisible by three. */
static bool is_shown(void *ctx, struct span id)
{
	char text[64];

	(void)ctx;
	assert_true(id.n > 0);
	snprintf(text, sizeof(text), "%.*s", SPAN_ARG(id));
	return id.p[0] == 'x' || (id.p[0] >= '0' && id.p[0] <= '9' && atoi(text) % 3 == 0);
}

struct seen {
	bool shows, empty, next;
};

/* Through a page in pieces of `step` bytes, 0: as a whole, -1: of a length that changes. */
static struct seen run(const struct page_options *o, struct span in, int step, struct buf *out)
{
	struct page *g = page_new(o);
	struct seen seen;
	unsigned seed = 7;

	assert_non_null(g);
	buf_init(out, NULL, 0);
	while (in.n) {
		size_t n = step > 0 ? (size_t)step : step ? 1 + (seed = seed * 1103515245 + 12345) % 13 : in.n;
		char *copy;

		n = n < in.n ? n : in.n;
		copy = malloc(n); /* of its own, so that a checker sees who reads beyond */
		assert_non_null(copy);
		memcpy(copy, in.p, n);
		page_feed(g, span_make(copy, n), out);
		free(copy);
		in = span_from(in, n);
	}
	page_end(g, out);
	seen = (struct seen){ page_shows(g), page_is_empty(g), page_has_next(g) };
	page_free(&g);
	assert_null(g);
	assert_false(out->failed);
	return seen;
}

static struct page_options options(const char *items, const char *id, const char *next, const char *end)
{
	return (struct page_options){ span_of(items), span_of(id), span_of(next), SPAN(HERE), span_of(end), is_shown, NULL };
}

enum { SHOWS = 1, EMPTY = 2, LINK = 4 };

static const struct row {
	const char *items, *id, *next, *end, *in, *out;
	unsigned seen;
} rows[] = {
	/* what is left out takes a comma with it */
	{ "$", "$.id", "", "", "[{\"id\":\"a\"}, {\"id\":\"x\"}, {\"id\":\"b\"}]", "[{\"id\":\"a\"}, {\"id\":\"b\"}]", SHOWS },
	{ "$", "$.id", "", "", "[{\"id\":\"x\"},\n {\"id\":\"a\"}]\n", "[\n {\"id\":\"a\"}]\n", SHOWS },
	{ "$", "$.id", "", "", "[{\"id\":\"a\"} , {\"id\":\"x\"} ]", "[{\"id\":\"a\"} ]", SHOWS },
	{ "$", "$.id", "", "", "[ {\"id\":\"x\"}, {\"id\":\"x1\"} ]", "[ ]", EMPTY },
	{ "$", "$.id", "", "", "[]", "[]", EMPTY },
	{ "$", "$.id", "", "", "[{\"a\":[{\"id\":\"x\"}],\"id\":\"a\",\"b\":\"x\"}]", "[{\"a\":[{\"id\":\"x\"}],\"id\":\"a\",\"b\":\"x\"}]", SHOWS },
	{ "$", "$.id", "", "", "[{\"b\":[1,2,{}],\"id\":3,\"c\":[[]]},{\"id\":4}]", "[{\"id\":4}]", SHOWS },
	{ "$", "$.id", "", "", "[{\"\\u0069d\":\"\\u0078\"},{\"id\":\"\\\"\"}]", "[{\"id\":\"\\\"\"}]", SHOWS },
	{ "$", "$.id", "", "", "[1, \"x\", null, {}, {\"id\":null}]", "[1, \"x\", null, {}, {\"id\":null}]", SHOWS },
	{ "$", "$.note.id", "", "", "[{\"note\":{\"id\":\"x\"}},{\"id\":\"x\"},{\"id\":\"a\"}]", "[{\"id\":\"a\"}]", SHOWS },
	{ "$.a.b", "$.id", "", "", "{\"b\":[{\"id\":\"x\"}],\"a\":{\"b\":[{\"id\":\"x\"}]}}", "{\"b\":[{\"id\":\"x\"}],\"a\":{\"b\":[]}}", EMPTY },
	/* only the first document is a page, and no other thing is one */
	{ "$", "$.id", "", "", "[{\"id\":\"x\"}] [{\"id\":\"x\"}]", "[] [{\"id\":\"x\"}]", EMPTY },
	{ "$", "$.id", "", "", "{\"id\":\"x\"}", "{\"id\":\"x\"}", 0 },
	{ "$.notes", "$.id", "$.next", END, "[{\"id\":\"x\"}]", "[{\"id\":\"x\"}]", 0 },
	{ "$", "$.id", "", "", "no JSON, {\"id\":\"x\"}", "no JSON, {\"id\":\"x\"}", 0 },
	/* what is cut or malformed is not mended */
	{ "$", "$.id", "", "", "[\001{\"id\":\"x\"}\002,3\003]", "[3\003]", SHOWS },
	{ "$", "$.id", "", "", "[,3]", "[,3]", SHOWS },
	{ "$", "$.id", "", "", "[{\"id\":\"a\"},", "[{\"id\":\"a\"},", SHOWS },
	{ "$", "$.id", "", "", "[{\"id\":\"x\"}, {\"id\":\"a", "[, {\"id\":\"a", 0 },
	{ "$", "$.id", "", "", "[{\"id\":\"a\"}}]]", "[{\"id\":\"a\"}}]]", SHOWS },
	{ "$.n", "$.id", "$.next", END, "{\"n\": [], \"next\": \"/no", "{\"n\": [], \"next\": \"/no", 0 },
	{ "$.n", "$.id", "$.next", END, "{\"n\": [], \"next\": nu", "{\"n\": [], \"next\": nu", 0 },
	/* the link */
	{ "$.n", "$.id", "$.next", "", "{\"n\":[],\"next\":\"/notes?marker=3\"}", "{\"n\":[],\"next\":\"/notes?marker=3&" HERE "\"}", EMPTY | LINK },
	{ "$.n", "$.id", "$.next", END, "{\"next\":\"/notes\",\"n\":[1]}", "{\"next\":\"/notes?" HERE "\",\"n\":[1]}", SHOWS | LINK },
	{ "$.n", "$.id", "$.next", END, "{\"next\":\"/notes?a#b\",\"n\":[1]}", "{\"next\":\"/notes?a&" HERE "#b\",\"n\":[1]}", SHOWS | LINK },
	{ "$.n", "$.id", "$.next", END, "{\"next\":\"\\/n\\u003fa\",\"n\":[1]}", "{\"next\":\"\\/n\\u003fa&" HERE "\",\"n\":[1]}", SHOWS | LINK },
	{ "$.n", "$.id", "$.next", END, "{\"next\":null ,\"n\":[1]}", "{\"next\":\"" END "\" ,\"n\":[1]}", SHOWS },
	{ "$.n", "$.id", "$.next", END, "{\"next\":\"\",\"n\":[1]}", "{\"next\":\"" END "\",\"n\":[1]}", SHOWS },
	{ "$.n", "$.id", "$.next", "", "{\"next\":null,\"n\":[1]}", "{\"next\":null,\"n\":[1]}", SHOWS },
	{ "$.n", "$.id", "$.next", END, "{\"n\":[1]}", "{\"n\":[1], \"next\": \"" END "\"}", SHOWS },
	{ "$.n", "$.id", "$.next", END, "{}", "{\"next\": \"" END "\"}", 0 },
	{ "$.n", "$.id", "$.next", "", "{\"n\":[1]}", "{\"n\":[1]}", SHOWS },
	{ "$.n", "$.id", "$.next", END, "{\"next\":{\"a\":1}}", "{\"next\":{\"a\":1}}", LINK },
	{ "$.n", "$.id", "$.next", END, "{\"next\":7}", "{\"next\":7}", LINK },
	{ "$.n", "$.id", "$.l.next", END, "{\"l\":{\"next\":\"/n\"}}", "{\"l\":{\"next\":\"/n?" HERE "\"}}", LINK },
	{ "$.n", "$.id", "$.l.next", END, "{\"l\":{\"b\":1},\"n\":[]}", "{\"l\":{\"b\":1, \"next\": \"" END "\"},\"n\":[]}", EMPTY },
	{ "$.n", "$.id", "$.l.next", END, "{\"n\":[]}", "{\"n\":[], \"l\": {\"next\": \"" END "\"}}", EMPTY },
	{ "$.n", "$.id", "$['a\"b']", END, "{}", "{\"a\\\"b\": \"" END "\"}", 0 },
	{ "$.n", "$.id", "$.next", END, "{\"m\":{\"next\":1}}", "{\"m\":{\"next\":1}, \"next\": \"" END "\"}", 0 },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct page_options o = options(rows[i].items, rows[i].id, rows[i].next, rows[i].end);

		for (int step = -1; step < 4; step++) {
			struct buf out;
			struct seen seen = run(&o, span_of(rows[i].in), step, &out);

			assert_string_equal(buf_cstr(&out), rows[i].out);
			assert_int_equal(seen.shows * SHOWS | seen.empty * EMPTY | seen.next * LINK, rows[i].seen);
			buf_fini(&out);
		}
	}
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

/* An element whose id comes too late stays, and no more than the bound is held. */
static void test_a_late_id_is_not_seen(void **state)
{
	struct page_options o = options("$", "$.id", "", "");
	struct buf in, out;

	(void)state;
	buf_init(&in, NULL, 0);
	buf_add_z(&in, "[{\"a\":\"");
	for (size_t i = 0; i < PAGE_ITEM_BYTES; i++)
		buf_add_char(&in, 'a');
	buf_add_z(&in, "\",\"id\":\"x\"},{\"id\":\"x\"},{\"id\":\"a\"}]");
	run(&o, buf_span(&in), 1000, &out);
	assert_int_equal(buf_len(&out), buf_len(&in) - strlen(",{\"id\":\"x\"}"));
	buf_fini(&in);
	buf_fini(&out);
}

static void test_a_link_that_is_too_long_stays(void **state)
{
	struct page_options o = options("$.n", "$.id", "$.next", END);
	struct buf in, out;

	(void)state;
	for (int step = -1; step < 2; step++) {
		buf_init(&in, NULL, 0);
		buf_add_z(&in, "{\"next\":\"/");
		for (size_t i = 0; i < PAGE_NEXT_BYTES; i++)
			buf_add_char(&in, 'a');
		buf_add_z(&in, "\",\"n\":[]}");
		run(&o, buf_span(&in), step, &out);
		assert_true(span_eq(buf_span(&in), buf_span(&out)));
		buf_fini(&in);
		buf_fini(&out);
	}
}

static void test_blanks_without_end_are_no_list(void **state)
{
	struct page_options o = options("$", "$.id", "", "");
	struct buf in, out;

	(void)state;
	buf_init(&in, NULL, 0);
	buf_add_z(&in, "[{\"id\":\"x\"}");
	for (size_t i = 0; i < PAGE_ITEM_BYTES + 9; i++)
		buf_add_char(&in, ' ');
	buf_add_z(&in, "]");
	assert_true(run(&o, buf_span(&in), 100, &out).shows);
	assert_int_equal(buf_len(&out), buf_len(&in) - strlen("{\"id\":\"x\"}"));
	buf_fini(&in);
	buf_fini(&out);
}

/* ---- against the oracle ------------------------------------------------------------------------------------------ */

static unsigned dice(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

static json_t *random_value(unsigned *seed, int depth)
{
	static const char *const names[] = { "id", "next", "notes", "a", "b\"c", "id\\" };
	json_t *v;

	switch (dice(seed, depth > 3 ? 4 : 6)) {
	case 0:
		return json_integer(dice(seed, 100));
	case 1:
		return json_string(names[dice(seed, 6)]);
	case 2:
		return json_null();
	case 3:
		return json_string("x, ] } [ { : \\ \" \n \xc3\xa4");
	case 4:
		v = json_array();
		for (unsigned i = dice(seed, 4); i; i--)
			json_array_append_new(v, random_value(seed, depth + 1));
		return v;
	default:
		v = json_object();
		for (unsigned i = dice(seed, 4); i; i--)
			json_object_set_new(v, names[dice(seed, 6)], random_value(seed, depth + 1));
		return v;
	}
}

static json_t *random_element(unsigned *seed)
{
	json_t *e = json_object();
	char text[16];

	if (!dice(seed, 8))
		return json_decref(e), random_value(seed, 1);
	for (unsigned i = dice(seed, 3); i; i--)
		json_object_set_new(e, i % 2 ? "a" : "notes", random_value(seed, 2));
	snprintf(text, sizeof(text), "%c%u", dice(seed, 2) ? 'x' : 'a', dice(seed, 100));
	json_object_set_new(e, "id", dice(seed, 2) ? json_string(text) : json_integer(dice(seed, 100)));
	if (dice(seed, 2))
		json_object_set_new(e, "b", random_value(seed, 2));
	return e;
}

static bool oracle_shown(const json_t *e)
{
	const json_t *id = json_object_get(e, "id");
	char text[32];

	if (json_is_string(id))
		return json_string_length(id) && is_shown(NULL, span_of(json_string_value(id)));
	if (!json_is_integer(id))
		return false;
	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
	return is_shown(NULL, span_of(text));
}

/* What ought to come out. */
static void oracle(json_t *doc)
{
	json_t *list = json_object_get(doc, "notes"), *next = json_object_get(doc, "next");
	char text[128];

	for (size_t i = json_array_size(list); i-- > 0;)
		if (oracle_shown(json_array_get(list, i)))
			json_array_remove(list, i);
	if (!next || json_is_null(next)) {
		json_object_set_new(doc, "next", json_string(END));
	} else if (json_is_string(next)) {
		snprintf(text, sizeof(text), "%s%c%s", json_string_value(next), strchr(json_string_value(next), '?') ? '&' : '?',
		         HERE);
		json_object_set_new(doc, "next", json_string(text));
	}
}

static void test_against_jansson(void **state)
{
	static const size_t styles[] = { JSON_COMPACT, JSON_INDENT(2), JSON_ENSURE_ASCII, JSON_SORT_KEYS | JSON_INDENT(1) };
	struct page_options o = options("$.notes", "$.id", "$.next", END);

	(void)state;
	for (unsigned n = 0; n < 4000; n++) {
		unsigned seed = n * 2654435761u;
		json_t *doc = json_object(), *list = json_array(), *got;
		struct buf out;
		char *text;

		for (unsigned i = dice(&seed, 7); i; i--)
			json_array_append_new(list, random_element(&seed));
		if (dice(&seed, 2))
			json_object_set_new(doc, "a", random_value(&seed, 0));
		if (dice(&seed, 3) == 0)
			json_object_set_new(doc, "next", dice(&seed, 2) ? json_string("/notes?m=1") : json_null());
		json_object_set_new(doc, "notes", list);
		text = json_dumps(doc, styles[n % 4]);
		assert_non_null(text);
		run(&o, span_of(text), (int)(n % 5) - 1, &out);
		oracle(doc);
		got = json_loadb(buf_span(&out).p, buf_len(&out), JSON_REJECT_DUPLICATES, NULL);
		if (!got || !json_equal(got, doc))
			fail_msg("%u: %s became %s", n, text, buf_cstr(&out));
		free(text);
		json_decref(got);
		json_decref(doc);
		buf_fini(&out);
	}
}

static void test_checks(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(page_check_items(SPAN("$"), &e), 0);
	assert_int_equal(page_check_items(SPAN("$.a.b"), &e), 0);
	assert_int_equal(page_check_items(SPAN("$.a[*]"), &e), ERR_INVALID);
	assert_int_equal(page_check_items(SPAN("a"), &e), ERR_INVALID);
	assert_int_equal(page_check(SPAN("$.a.b.c.d.e.f"), SPAN("$.id"), &e), 0);
	assert_int_equal(page_check(SPAN("$.a.b.c.d.e.f.g"), SPAN("$.id"), &e), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_a_late_id_is_not_seen),
		cmocka_unit_test(test_a_link_that_is_too_long_stays),
		cmocka_unit_test(test_blanks_without_end_are_no_list),
		cmocka_unit_test(test_against_jansson),
		cmocka_unit_test(test_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
