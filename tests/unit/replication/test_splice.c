/* replication/splice: ids are exchanged, nothing else changes, wherever the input is cut.  jansson is the oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "tests/unit/replication/splice_bed.h"
#include "tests/unit/replication/splice_rows.h"

static struct splice_rules *rules;
static uint64_t seed = 88172645463325252u;

static unsigned draw(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % below);
}

static int set_up(void **state)
{
	(void)state;
	random_bytes(&seed, sizeof(seed));
	seed |= 1;
	rules = bed_rules();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	splice_rules_free(&rules);
	return 0;
}

/* ---- chunkings --------------------------------------------------------------------------------------------------- */

static size_t by(void *ctx, size_t left)
{
	size_t n = *(size_t *)ctx;

	return n < left ? n : left;
}

/* Pieces as a list that is used up; then the rest. */
static size_t listed(void *ctx, size_t left)
{
	size_t **at = ctx;
	size_t n = **at ? *(*at)++ : left;

	return n < left ? n : left;
}

static size_t at_random(void *ctx, size_t left)
{
	size_t n = 1 + draw(1u << draw(*(unsigned *)ctx));

	return n < left ? n : left;
}

static void expect(const char *what, const char *how, struct buf *out, struct span want)
{
	if (!span_eq(buf_span(out), want))
		fail_msg("%s, %s (seed %llu):\n got %.*s\nwant %.*s", what, how, (unsigned long long)seed,
		         SPAN_ARG(buf_span(out)), SPAN_ARG(want));
	buf_fini(out);
}

static void every_cut(const char *what, enum splice_body body, struct span in, struct span want)
{
	struct buf out;

	buf_init(&out, NULL, 0);
	for (size_t n = 1; n <= in.n + 1; n++) {
		bed_run(body, rules, in, n & 1, by, &n, &out);
		expect(what, "equal pieces", &out, want);
	}
	for (size_t i = 1; i < in.n; i++) {
		for (size_t j = 1; i + j <= in.n; j++) {
			size_t pieces[] = { i, j, 0 }, *at = pieces;

			bed_run(body, rules, in, 0, listed, &at, &out);
			expect(what, "three pieces", &out, want);
		}
	}
}

static void rows_come_out_as_written_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span in = span_of(rows[i].in);

		every_cut(rows[i].name, rows[i].body, in, rows[i].out ? span_of(rows[i].out) : in);
	}
	printf("# %zu rows\n", sizeof(rows) / sizeof(rows[0]));
}

static void splice_in_one_piece(enum splice_body body, struct span in, struct buf *out)
{
	buf_init(out, NULL, 0);
	assert_true(splice_once(body, rules, bed_look, NULL, in, out));
}

/* ---- long and deep ----------------------------------------------------------------------------------------------- */

static void repeat(struct buf *b, const char *z, size_t times)
{
	while (times--)
		buf_add_z(b, z);
}

static void check_long(const char *what, const char *head, const char *unit, size_t times, const char *tail,
                       const char *want_tail)
{
	static const size_t sizes[] = { 1, 7, 1000, 4096, 1u << 20 };
	struct buf in, want, out;

	buf_init(&in, NULL, 0);
	buf_init(&want, NULL, 0);
	buf_init(&out, NULL, 0);
	buf_add_z(&in, head);
	repeat(&in, unit, times);
	buf_add_z(&in, tail);
	buf_add_z(&want, head);
	repeat(&want, unit, times);
	buf_add_z(&want, want_tail);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		bed_run(SPLICE_JSON, rules, buf_span(&in), 0, by, &n, &out);
		expect(what, "long", &out, buf_span(&want));
	}
	buf_fini(&in);
	buf_fini(&want);
}

static void what_is_long_or_deep_goes_through(void **state)
{
	(void)state;
	for (size_t n = 1; n < 4000; n = n * 3 / 2 + 1) {
		check_long("a long token", "[\"", "a", n, "\",\"" LOCAL "\"]", "\",\"" MESH "\"]");
		check_long("a long escaped token", "[\"", "\\u0061", n, "/" LOCAL "\"]", "/" MESH "\"]");
		check_long("a long text", "[\"", "a b ", n, LOCAL "\"]", MESH "\"]");
		check_long("a long text with escapes", "[\"", "a\\n", n, LOCAL "\"]", MESH "\"]");
		check_long("a long string at a place", "{\"id\":\"", "a b\\\\", n, LOCAL "\",\"id\":3}",
		           MESH "\",\"id\":\"N3\"}");
		check_long("a long number at a place", "{\"id\":", "3", n + 1, ",\"id\":3}", ",\"id\":\"N3\"}");
		check_long("a long name", "{\"", "id", n + 1, "\":3,\"id\":3}", "\":3,\"id\":\"N3\"}");
		check_long("a long path", "[\"", "/abc", n, "/v2/notes/3\"]", "/v2/notes/S3\"]");
		check_long("a long escaped path", "[\"", "\\/abc", n, "\\/v2\\/notes\\/3\"]", "\\/v2\\/notes\\/S3\"]");
		check_long("deep arrays", "", "[", n, "\"" LOCAL "\"", "\"" MESH "\"");
		check_long("deep objects", "", "{\"id\":", n + 1, "3}", "3}");
	}
}

static void a_parent_too_long_to_be_an_id_hides_its_children(void **state)
{
	(void)state;
	for (size_t n = 1; n < 700; n += 23)
		check_long("a long parent", "[\"/v2/notes/", "a", n, "/items/7\"]",
		           n <= SPLICE_ID_BYTES ? "/items/I7\"]" : "/items/7\"]");
}

static void the_longest_ids_are_found(void **state)
{
	struct buf in;

	(void)state;
	buf_init(&in, NULL, 0);
	buf_add_z(&in, "[\"");
	for (const char *c = DOCKER; *c; c++) /* every character an escape */
		buf_addf(&in, "\\u%04x", *c);
	buf_add_z(&in, "\"]");
	every_cut("all escapes", SPLICE_JSON, buf_span(&in), SPAN("[\"019b76da-a800-8334-aeec-000000000001\"]"));
	buf_fini(&in);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static void memory_and_output_are_bounded(void **state)
{
	const size_t most = 1000;
	struct splice *s = splice_new(SPLICE_JSON, rules, bed_look, NULL);
	struct buf in, out;
	size_t taken = 0, turns = 0;

	(void)state;
	assert_non_null(s);
	buf_init(&in, NULL, 0);
	buf_init(&out, NULL, 0);
	buf_add_z(&in, "{\"ids\":[");
	repeat(&in, "3,", 5000);
	while (taken < buf_len(&in)) {
		size_t n = splice_feed(s, span_from(buf_span(&in), taken), most, &out);

		assert_true(n > 0);
		assert_true(buf_len(&out) <= most + 2 + SPLICE_ID_BYTES + 2);
		assert_true(splice_held(s) <= SPLICE_HELD_BYTES);
		taken += n;
		turns++;
		buf_consume(&out, buf_len(&out));
	}
	assert_in_range(turns, 5000 * 5 / (most + 10), 5000 * 5 / most + 2);
	splice_free(&s);
	assert_null(s);
	buf_fini(&in);
	buf_fini(&out);
}

static void out_of_memory_is_told_and_not_fatal(void **state)
{
	struct buf out;

	(void)state;
	for (size_t room = 0; room < 40; room++) {
		buf_init(&out, NULL, room + 1);
		assert_false(splice_once(SPLICE_LINK, rules, bed_look, NULL, SPAN("/v2/notes/3/v2/notes/b/" LOCAL), &out));
		buf_fini(&out);
	}
}

static void without_rules_only_tokens_are_asked_for(void **state)
{
	size_t asked = 0;
	struct buf out;

	(void)state;
	buf_init(&out, NULL, 0);
	assert_true(splice_once(SPLICE_JSON, NULL, bed_look, &asked,
	                        SPAN("{\"id\":3,\"a\":\"/v2/notes/3\",\"b\":\"123456789012345\",\"c\":\"" LOCAL "\"}"), &out));
	assert_int_equal(asked, 1);
	expect("no rules", "", &out, SPAN("{\"id\":3,\"a\":\"/v2/notes/3\",\"b\":\"123456789012345\",\"c\":\"" MESH "\"}"));
}

/* ---- the oracle -------------------------------------------------------------------------------------------------- */

static const char *const words[] = {
	LOCAL, DOCKER, RANDOM16, LATE, "3", "4", "b", "7", "id", "items", "ids", "server", "notes", "odd.name",
	"/v2/notes/3", "/v2/notes/3/items/7", "http:\\/\\/h\\/v2\\/notes\\/b?x", "?marker=3&y", "x" LOCAL, LOCAL "-", "",
	"caf\\u00e9", "\\n", "a b", "urn:uuid:" LOCAL, "\\\"" LOCAL "\\\"", "1234567890123456", "backtoid", UPPER,
};

static void put_blank(struct buf *b)
{
	if (!draw(4))
		buf_add_char(b, " \t\r\n"[draw(4)]);
}

static void put_string(struct buf *b)
{
	buf_add_char(b, '"');
	for (unsigned n = draw(8) ? 1 : draw(5); n; n--)
		buf_add_z(b, words[draw(sizeof(words) / sizeof(words[0]))]);
	buf_add_char(b, '"');
}

static void put_value(struct buf *b, unsigned depth)
{
	static const char *const scalars[] = { "3", "4", "7", "-3", "0", "12", "true", "null", "3.5", "1e3",
	                                       "9007199254740993" };
	unsigned kind = draw(depth ? 6 : 3), n = draw(5);

	put_blank(b);
	if (kind == 0) {
		buf_add_z(b, scalars[draw(sizeof(scalars) / sizeof(scalars[0]))]);
	} else if (kind < 3) {
		put_string(b);
	} else if (kind == 3) {
		buf_add_char(b, '[');
		for (unsigned i = 0; i < n; i++) {
			buf_add_z(b, i ? "," : "");
			put_value(b, depth - 1);
		}
		put_blank(b);
		buf_add_char(b, ']');
	} else {
		buf_add_char(b, '{');
		for (unsigned i = 0; i < n; i++) {
			/* no doubled names: jansson cannot hold them */
			buf_addf(b, "%s", i ? "," : "");
			put_blank(b);
			buf_addf(b, "\"%s\":", ((const char *const[]){ "id", "items", "ids", "server", LOCAL })[i]);
			put_value(b, depth - 1);
		}
		put_blank(b);
		buf_add_char(b, '}');
	}
	put_blank(b);
}

/* What a string says once its tokens and paths are exchanged: one pass over the decoded text. */
static json_t *oracle_text(const char *z)
{
	struct buf out, plain;
	json_t *made;

	buf_init(&out, NULL, 0);
	buf_init(&plain, NULL, 0);
	for (size_t i = 0; z[i];) {
		size_t n = strspn(z + i, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
		struct span token = { z + i, n };
		unsigned rule = 0;
		bool whole = !strchr(".~%+@=!$*", z[i + n]) || !z[i + n];
		size_t k = 0, count = sizeof(bed_names) / sizeof(bed_names[0]);
		size_t slash = i >= 8 ? i - 7 : 0;

		if ((unsigned char)z[i + n] >= 128)
			whole = false;
		if (n && whole && i >= 10 && span_eq(span_make(z + i - 10, 10), SPAN("/v2/notes/")))
			rule = 1;
		if (n && whole && i >= 8 && strchr("?&;", z[i - 8]) && span_eq(span_make(z + i - 7, 7), SPAN("marker=")))
			rule = 1;
		if (n && whole && i >= 7 && span_eq(span_make(z + i - 7, 7), SPAN("/items/"))) {
			slash = i - 7;
			while (slash && z[slash - 1] != '/')
				slash--;
			if (slash < i - 7 && slash >= 10 && span_eq(span_make(z + slash - 10, 10), SPAN("/v2/notes/")))
				rule = 2;
		}
		for (; n && k < count; k++) {
			const struct bed_name *name = &bed_names[k];

			if (!name->number && span_eq(token, span_of(name->local)) && (name->rule ? name->rule == rule : n >= 16))
				break;
		}
		if (n && k < count && !strcmp(bed_names[k].local, "b"))
			buf_add_z(&out, "M%20with%20%22quotes%22%20and%20%2F");
		else if (n && k < count)
			buf_add_z(&out, bed_names[k].mesh);
		else
			buf_add(&out, z + i, n ? n : 1);
		i += n ? n : 1;
	}
	made = json_string(buf_cstr(&out));
	buf_fini(&out);
	return made;
}

static unsigned oracle_rule(const char *path)
{
	static const struct { const char *path; unsigned rule; } places[] = {
		{ "$.id", 1 }, { "$[].id", 1 }, { "$.server.id", 1 }, { "$.ids[]", 1 }, { "$.items[].id", 2 },
	};
	const char *member = path + 2, *index = strchr(path, '[');

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!strcmp(places[i].path, path))
			return places[i].rule;
	}
	/* $.*[*].id */
	if (index > member && path[1] == '.' && !memchr(member, '.', (size_t)(index - member)) && !strcmp(index, "[].id"))
		return 1;
	return 0;
}

static json_t *oracle_place(unsigned rule, const char *text, bool number)
{
	for (size_t k = 0; k < sizeof(bed_names) / sizeof(bed_names[0]); k++) {
		const struct bed_name *n = &bed_names[k];

		if ((n->rule == rule || !n->rule) && n->number == number && !strcmp(n->local, text))
			return n->to_number ? json_integer(atoll(n->mesh)) : json_string(n->mesh);
	}
	return NULL;
}

static json_t *oracle(const json_t *v, const char *path)
{
	char below[256], text[32];
	unsigned rule = oracle_rule(path);
	json_t *made = NULL, *member;
	const char *name;
	size_t i;

	if (json_is_object(v)) {
		made = json_object();
		json_object_foreach((json_t *)(uintptr_t)v, name, member) {
			json_t *key = oracle_text(name);

			snprintf(below, sizeof(below), "%s.%s", path, name);
			json_object_set_new(made, json_string_value(key), oracle(member, below));
			json_decref(key);
		}
		return made;
	}
	if (json_is_array(v)) {
		made = json_array();
		snprintf(below, sizeof(below), "%s[]", path);
		json_array_foreach(v, i, member)
			json_array_append_new(made, oracle(member, below));
		return made;
	}
	if (json_is_integer(v)) {
		snprintf(text, sizeof(text), "%lld", json_integer_value(v));
		made = rule ? oracle_place(rule, text, true) : NULL;
	} else if (json_is_string(v)) {
		made = rule ? oracle_place(rule, json_string_value(v), false) : NULL;
		made = made ? made : oracle_text(json_string_value(v));
	}
	return made ? made : json_deep_copy(v);
}

static void random_documents_are_what_a_library_makes_of_them(void **state)
{
	unsigned changed = 0, spread = 9;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct buf in, out, cut;
		json_t *before, *want, *got;
		json_error_t e;

		buf_init(&in, NULL, 0);
		buf_init(&cut, NULL, 0);
		put_value(&in, 5);
		splice_in_one_piece(SPLICE_JSON, buf_span(&in), &out);
		before = json_loadb(buf_span(&in).p, buf_len(&in), JSON_DECODE_ANY, &e);
		got = json_loadb(buf_span(&out).p, buf_len(&out), JSON_DECODE_ANY, &e);
		if (!before || !got)
			fail_msg("%s:\n%.*s\n%.*s", e.text, SPAN_ARG(buf_span(&in)), SPAN_ARG(buf_span(&out)));
		want = oracle(before, "$");
		if (!json_equal(want, got))
			fail_msg("seed %llu:\n  in %.*s\n out %.*s\nwant %s", (unsigned long long)seed, SPAN_ARG(buf_span(&in)),
			         SPAN_ARG(buf_span(&out)), json_dumps(want, JSON_ENCODE_ANY | JSON_COMPACT));
		changed += !json_equal(want, before);
		bed_run(SPLICE_JSON, rules, buf_span(&in), round & 64, at_random, &spread, &cut);
		expect("a random document", "cut at random", &cut, buf_span(&out));
		json_decref(before);
		json_decref(want);
		json_decref(got);
		buf_fini(&in);
		buf_fini(&out);
	}
	assert_true(changed > 2000);
	printf("# 20000 documents, %u with ids\n", changed);
}

/* A look-up that knows nothing, and one that gives back what it got: not a byte may differ. */
static bool know_nothing(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	(void)ctx;
	(void)id;
	(void)new_r;
	return false;
}

static void bytes_outside_of_ids_are_untouched(void **state)
{
	static const char alphabet[] = "{}[]:,\"\"\\\\u0123456789abcdef-/ \n?=&%";

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char text[200];
		size_t n = 1 + draw(sizeof(text) - 1);
		struct buf out;

		for (size_t i = 0; i < n; i++)
			text[i] = alphabet[draw(sizeof(alphabet) - 1)];
		buf_init(&out, NULL, 0);
		assert_true(splice_once(SPLICE_JSON + (int)draw(3), rules, know_nothing, NULL, span_make(text, n), &out));
		expect("noise", "", &out, span_make(text, n));
	}
}

static void noise_around_ids_comes_out_alike_however_it_is_cut(void **state)
{
	static const char *const bits[] = {
		"{", "}", "[", "]", ":", ",", "\"", "\"", "\\", "\\u00", "61", "\\u0061", "%2F", "%", "id", "ids", "items", "/",
		"/v2/notes/", "3", "7", "b", LOCAL, LATE, "?marker=", "&", " ", "\n", "server", ".", "\xc3\xa9", "aaaaaaaaaaaaaaaa",
	};
	unsigned spread = 7;

	(void)state;
	for (int round = 0; round < 30000; round++) {
		enum splice_body body = SPLICE_JSON + (int)draw(3);
		struct buf in, out, cut;

		buf_init(&in, NULL, 0);
		buf_init(&cut, NULL, 0);
		for (unsigned k = draw(40); k; k--)
			buf_add_z(&in, bits[draw(sizeof(bits) / sizeof(bits[0]))]);
		if (!draw(20))
			repeat(&in, bits[draw(sizeof(bits) / sizeof(bits[0]))], 700);
		splice_in_one_piece(body, buf_span(&in), &out);
		bed_run(body, rules, buf_span(&in), draw(3) ? 0 : 1 + draw(200), at_random, &spread, &cut);
		expect("noise with ids", "cut at random", &cut, buf_span(&out));
		buf_fini(&out);
		buf_fini(&in);
	}
}

/* ---- rules and types --------------------------------------------------------------------------------------------- */

static void places_and_paths_that_are_none(void **state)
{
	static const char *const places[] = { "", "$", "id", "$.", "$..id", "$.a[", "$.a[0]", "$['a]", "$[\"a']", "$.a[*",
	                                      "$x", "$.a.b.c.d.e.f.g.h.i" };
	static const char *const paths[] = { "", "/", "notes", "/a//b", "/a/{id", "/a/x{id}", "/a/{}", "/a?b", "/a/{b}{c}" };
	struct splice_rules *r = splice_rules_new();
	int rc = 0;

	(void)state;
	assert_non_null(r);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct err e = { 0, "" };

		if (!splice_rules_add_place(r, span_of(places[i]), SPLICE_SINGLE, 1, &e) || !e.text[0])
			fail_msg("\"%s\" was taken for a place", places[i]);
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct err e = { 0, "" };

		if (!splice_rules_add_path(r, span_of(paths[i]), 1, &e) || !e.text[0])
			fail_msg("\"%s\" was taken for a path", paths[i]);
	}
	assert_int_equal(splice_rules_add_query(r, SPAN(""), 1, NULL), ERR_SYNTAX);
	for (int i = 0; i < SPLICE_PLACES; i++)
		assert_int_equal(splice_rules_add_place(r, SPAN("$.a['b.c'][*].*"), SPLICE_SINGLE, 1, NULL), 0);
	assert_int_equal(splice_rules_add_place(r, SPAN("$.a"), SPLICE_SINGLE, 1, NULL), ERR_LIMIT);
	for (int i = 0; i < SPLICE_TRAILS; i++)
		rc |= splice_rules_add_path(r, SPAN("/a/{id}/b/"), 1, NULL);
	assert_int_equal(rc, 0);
	assert_int_equal(splice_rules_add_path(r, SPAN("/a"), 1, NULL), ERR_LIMIT);
	splice_rules_free(&r);
	assert_null(r);
}

static void content_types(void **state)
{
	static const struct { const char *type; enum splice_body body; } types[] = {
		{ "application/json", SPLICE_JSON }, { "Application/JSON; charset=UTF-8", SPLICE_JSON },
		{ "application/vnd.api+json;v=1", SPLICE_JSON }, { "application/x-ndjson", SPLICE_JSON },
		{ "application/openstack-images-v2.1-json-patch", SPLICE_JSON },
		{ "text/html", SPLICE_TEXT }, { "text/plain; charset=\"iso-8859-1\"", SPLICE_TEXT },
		{ "image/svg+xml", SPLICE_TEXT }, { "application/xml", SPLICE_TEXT },
		{ "application/x-www-form-urlencoded", SPLICE_LINK },
		{ "", SPLICE_NONE }, { "application/octet-stream", SPLICE_NONE }, { "image/png", SPLICE_NONE },
		{ "multipart/form-data; boundary=x", SPLICE_NONE }, { "application/jose+json", SPLICE_NONE },
		{ "application/jwt", SPLICE_NONE }, { "application/json; charset=utf-16", SPLICE_NONE },
		{ "text/plain;charset=UTF-32LE", SPLICE_NONE }, { "+json", SPLICE_NONE }, { "application/gzip", SPLICE_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (splice_body_of(span_of(types[i].type)) != types[i].body)
			fail_msg("%s", types[i].type);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_out_as_written_however_they_are_cut),
		cmocka_unit_test(what_is_long_or_deep_goes_through),
		cmocka_unit_test(a_parent_too_long_to_be_an_id_hides_its_children),
		cmocka_unit_test(the_longest_ids_are_found),
		cmocka_unit_test(memory_and_output_are_bounded),
		cmocka_unit_test(out_of_memory_is_told_and_not_fatal),
		cmocka_unit_test(without_rules_only_tokens_are_asked_for),
		cmocka_unit_test(random_documents_are_what_a_library_makes_of_them),
		cmocka_unit_test(bytes_outside_of_ids_are_untouched),
		cmocka_unit_test(noise_around_ids_comes_out_alike_however_it_is_cut),
		cmocka_unit_test(places_and_paths_that_are_none),
		cmocka_unit_test(content_types),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
