/* replication/rules*: which collection a path is of, what a request does, which id an answer shows, what is learned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "replication/rules.h"
#include "tests/unit/replication/rules_rows.h"

static struct arena arena_of_find;

static struct rule_request request_of(const char *text)
{
	struct rule_request m;
	struct err e = { 0, "" };

	if (rule_read_request(span_of(text), &m, &e))
		fail_msg("%s", e.text);
	return m;
}

static struct rule rule_of(const char *collection, const char *place)
{
	return (struct rule){ .collection = span_of(collection), .id_place = span_of(place), .class = CLASS_EVENTUAL };
}

static struct rules *rules_learn_one(struct rules *rules, const char *collection, const char *place)
{
	struct rule rule = rule_of(collection, place);
	struct rules *more;

	assert_int_equal(rules_add_learned(rules, &rule, &more), 0);
	rules_unref(&rules);
	return more;
}

/* What rules_rows.h says. */
static struct rules *some_rules(void)
{
	static struct rule_operation operations[6];
	struct rule declared[] = { rule_of("/v2/images", "$.id"), rule_of("/v2.1/servers", "$.server.id"),
		                   rule_of("/v3/projects", "$.project.id"), rule_of("/notes", "$.id"),
		        rule_of("/files", ""),
		                   rule_of("/v2/images/{id}/members", "$.member_id") };
	struct rules *rules;

	operations[0] = (struct rule_operation){ request_of("PUT /{id}/file"), OPERATION_REPLACE, true };
	operations[1] = (struct rule_operation){ request_of("POST /{id}/tags/{id}"), OPERATION_UPDATE, false };
	operations[2] = (struct rule_operation){ request_of("POST /reindex"), OPERATION_UPDATE, true };
	operations[3] = (struct rule_operation){ request_of("DELETE /"), OPERATION_APPEND, false };
	operations[4] = (struct rule_operation){ request_of("PUT /{id}/file"), OPERATION_APPEND, false };
	operations[5] = (struct rule_operation){ request_of("PATCH /{id}"), OPERATION_APPEND, false };
	declared[0].operations = operations;
	declared[0].operation_count = 6;
	declared[3].meta_id = METAID_INTEGER;
	assert_int_equal(rules_new(declared, sizeof(declared) / sizeof(declared[0]), &rules), 0);
	rules = rules_learn_one(rules, "/learned", "$.id");
	return rules_learn_one(rules, "/learned/{id}/items", "$.uuid");
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

static void a_path_has_the_longest_collection_that_fits(void **state)
{
	static const struct { const char *path, *rule, *collection, *id, *rest; } rows[] = {
		{ "/v2/images", "/v2/images", "/v2/images", "", "" },
		{ "/v2/images/", "/v2/images", "/v2/images", "", "/" },
		{ "/v2/images/a", "/v2/images", "/v2/images", "a", "" },
		{ "/v2/images/a/", "/v2/images", "/v2/images", "a", "/" },
		{ "/v2/images/a/file", "/v2/images", "/v2/images", "a", "/file" },
		{ "/v2/images/a/b/c//d", "/v2/images", "/v2/images", "a", "/b/c//d" },
		{ "/v2/images/a/members", "/v2/images/{id}/members", "/v2/images/a/members", "", "" },
		{ "/v2/images/a/members/b", "/v2/images/{id}/members", "/v2/images/a/members", "b", "" },
		{ "/v2/images/a/members/b/c", "/v2/images/{id}/members", "/v2/images/a/members", "b", "/c" },
		{ "/v2/images/a/members2", "/v2/images", "/v2/images", "a", "/members2" },
		{ "/v2/im%61ges/%61", "/v2/images", "/v2/im%61ges", "%61", "" },
		{ "/v2/im%6", NULL, "", "", "" },
		{ "/v2/imagesx", NULL, "", "", "" },
		{ "/v2/images2/a", NULL, "", "", "" },
		{ "/x/v2/images/a", NULL, "", "", "" },
		{ "/v2//images/a", NULL, "", "", "" },
		{ "/v2/images//a", NULL, "", "", "" },
		{ "/v2/images//", NULL, "", "", "" },
		{ "/v2/images/.", NULL, "", "", "" },
		{ "/v2/images/%2e./a", NULL, "", "", "" },
		{ "/v2/images/...", "/v2/images", "/v2/images", "...", "" },
		{ "/v2/images//members", NULL, "", "", "" },
		{ "/v2", NULL, "", "", "" },
		{ "/", NULL, "", "", "" },
		{ "", NULL, "", "", "" },
		{ "*", NULL, "", "", "" },
		{ "v2/images/a", NULL, "", "", "" },
		{ "/learned/1/items/2", "/learned/{id}/items", "/learned/1/items", "2", "" },
	};
	struct rules *rules = some_rules();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rule_match m;
		bool found = rules_match(rules, span_of(rows[i].path), &m);

		if (found != (rows[i].rule != NULL) || found != (m.rule != NULL) ||
		    (found && !span_eq(m.rule->collection, span_of(rows[i].rule))) ||
		    !span_eq(m.collection, span_of(rows[i].collection)) || !span_eq(m.id, span_of(rows[i].id)) ||
		    !span_eq(m.rest, span_of(rows[i].rest)))
			fail_msg("%s: %.*s, \"%.*s\" \"%.*s\" \"%.*s\"", rows[i].path,
			        found ? (int)m.rule->collection.n : 0,
			         found ? m.rule->collection.p : "", SPAN_ARG(m.collection), SPAN_ARG(m.id),
			        SPAN_ARG(m.rest));
	}
	rules_unref(&rules);
	assert_null(rules);
}

static void a_literal_segment_wins_over_any_and_declared_over_learned(void **state)
{
	struct rule declared[] = { rule_of("/a/{id}/c", "$.1"), rule_of("/a/b/{id}/d", "$.2"), rule_of("/a/{id}/c/d",
	        "$.3"),
		                   rule_of("/a/b/c", "$.4"), rule_of("/{id}/b", "$.5") };
	static const struct { const char *path, *place; } rows[] = {
		{ "/a/b/c/9", "$.4" }, { "/a/x/c/9", "$.1" }, { "/a/b/c/d", "$.2" }, { "/a/x/c/d", "$.3" }, { "/x/b",
		  "$.5" },
		{ "/a/b", "$.5" },
	};
	struct rule_match m;
	struct rules *rules, *more;

	(void)state;
	assert_int_equal(rules_new(declared, 5, &rules), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(rules_match(rules, span_of(rows[i].path), &m));
		if (!span_eq(m.rule->id_place, span_of(rows[i].place)))
			fail_msg("%s: %.*s", rows[i].path, SPAN_ARG(m.rule->id_place));
	}
	assert_int_equal(rules_add_learned(rules, &declared[0], &more), ERR_EXISTS);
	assert_null(more);
	assert_false(rules_match(NULL, SPAN("/a/b/c"), &m));
	assert_null(m.rule);
	rules_unref(&rules);
}

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

static enum operation_kind kind_of(const struct rules *rules, const char *method, const char *path, const char *type,
                                   struct span body, bool *independent)
{
	const struct rules_request request = { span_of(method), span_of(type), body };
	struct rule_match m;

	rules_match(rules, span_of(path), &m);
	return rules_kind(&m, &request, independent);
}

static void each_request_has_its_kind(void **state)
{
#define PATCH_TYPE "application/json-patch+json"
	static const struct {
		const char *method, *path, *type, *body;
		enum operation_kind kind;
		bool independent;
	} rows[] = {
		/* declared */
		{ "PUT", "/v2/images/a/file", "", "", OPERATION_REPLACE, true },
		{ "PUT", "/v2/images/a/file/", "", "", OPERATION_REPLACE, true },
		{ "PUT", "/v2/images/a/f%69le", "", "", OPERATION_REPLACE, true },
		{ "PUT", "/v2/images/a/file/b", "", "", OPERATION_UPDATE, false },
		{ "POST", "/v2/images/a/file", "", "", OPERATION_APPEND, false },
		{ "put", "/v2/images/a/file", "", "", OPERATION_APPEND, false },
		{ "POST", "/v2/images/a/tags/b", "", "", OPERATION_UPDATE, false },
		{ "POST", "/v2/images/a/tags", "", "", OPERATION_APPEND, false },
		{ "POST", "/v2/images/reindex", "", "", OPERATION_UPDATE, true },
		{ "DELETE", "/v2/images", "", "", OPERATION_APPEND, false },
		{ "DELETE", "/v2/images/", "", "", OPERATION_APPEND, false },
		{ "PATCH", "/v2/images/a", "application/merge-patch+json", "{}", OPERATION_APPEND, false },
		/* by method */
		{ "PUT", "/v2/images/a", "", "", OPERATION_UPDATE, false },
		{ "DELETE", "/v2/images/a", "", "", OPERATION_DELETE, false },
		{ "DELETE", "/v2/images/a/", "", "", OPERATION_DELETE, false },
		{ "DELETE", "/v2/images/a/tags/x", "", "", OPERATION_UPDATE, false },
		{ "DELETE", "/notes", "", "", OPERATION_DELETE, false },
		{ "DELETE", "/unknown/a", "", "", OPERATION_DELETE, false },
		{ "POST", "/v2/images", JSON, "{}", OPERATION_APPEND, false },
		{ "POST", "/unknown", JSON, "{}", OPERATION_APPEND, false },
		{ "MKCOL", "/unknown", "", "", OPERATION_APPEND, false },
		/* PATCH */
		{ "PATCH", "/notes/1", JSON, "{\"a\":1}", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", "application/json; charset=utf-8", " \r\n\t{\"a\":1}", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", "application/vnd.x+json", "{", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", JSON, "[]", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", JSON, "3", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", JSON, "", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", "application/merge-patch+json", "", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", "Application/Merge-Patch+JSON;x=y", "3", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", "text/plain", "{\"a\":1}", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", "", "{\"a\":1}", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", "application/x-ndjson", "{\"a\":1}", OPERATION_APPEND, false },
		/* JSON Patch */
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]", OPERATION_UPDATE,
		  false },
		{ "PATCH", "/notes/1", "application/openstack-images-v2.1-json-patch",
		  "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"b\"},{\"op\":\"remove\",\"path\":\"/a/b\"}]",
		  OPERATION_UPDATE,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"replace\",\"path\":\"\",\"value\":{}}]",
		  OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", PATCH_TYPE,
		  "[{\"op\":\"add\",\"path\":\"/a\",\"value\":123456789012345678901234567890}]",
		  OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":\"\\u0000\"}]",
		  OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[]", OPERATION_UPDATE, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"path\":\"/tags/-\",\"value\":1}]",
		  OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"remove\",\"path\":\"/tags/0\"}]", OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"replace\",\"path\":\"/tags/0/name\",\"value\":1}]",
		  OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE,
		  "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1},{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]",
		  OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"value\":1}]", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"path\":\"/a\"}]", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[3]", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "{\"op\":\"add\",\"path\":\"/a\",\"value\":1}", OPERATION_APPEND,
		  false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "[{\"op\":\"add\",\"path\":\"/a\"", OPERATION_APPEND, false },
		{ "PATCH", "/notes/1", PATCH_TYPE, "", OPERATION_APPEND, false },
	};
	struct rules *rules = some_rules();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool independent = !rows[i].independent;
		enum operation_kind kind = kind_of(rules, rows[i].method, rows[i].path, rows[i].type,
		        span_of(rows[i].body),
		                                   &independent);

		if (kind != rows[i].kind || independent != rows[i].independent)
			fail_msg("%s %s %s: %s, %d", rows[i].method, rows[i].path, rows[i].body,
			        operation_kind_text(kind), independent);
	}
	rules_unref(&rules);
}

#define OP(op, path) "{\"op\":\"" op "\",\"path\":\"" path "\",\"value\":1}"

static void patches_are_apart_when_they_name_other_members(void **state)
{
	static const struct {
		const char *one, *other;
		bool apart;
	} rows[] = {
		{ "[" OP("replace", "/name") "]", "[" OP("remove", "/color") "]", true },
		{ "[" OP("replace", "/name") "," OP("add", "/a/b") "]", "[" OP("remove", "/color") "," OP("add", "/a/c") "]", true },
		{ "[" OP("add", "/a") "]", "[" OP("add", "/ab") "]", true },
		{ "[" OP("replace", "/name") "]", "[" OP("replace", "/name") "]", false },
		{ "[" OP("replace", "/a/b") "]", "[" OP("replace", "/x") "," OP("remove", "/a") "]", false },
		{ "[" OP("remove", "/a") "]", "[" OP("add", "/a/b") "]", false },
		{ "[" OP("replace", "") "]", "[" OP("add", "/a") "]", false },
		{ "[" OP("add", "/a/-") "]", "[" OP("add", "/b") "]", false },
		{ "[" OP("move", "/a") "]", "[" OP("add", "/b") "]", false },
		{ "[]", "[" OP("add", "/b") "]", true },
		{ "{\"a\":1}", "{\"b\":1}", false },
		{ "", "[" OP("add", "/b") "]", false },
		{ "[", "[" OP("add", "/b") "]", false },
		{ "[{\"path\":\"/a\"}]", "[" OP("add", "/b") "]", false },
		{ "[1]", "[" OP("add", "/b") "]", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(rules_patches_apart(span_of(rows[i].one), span_of(rows[i].other)), rows[i].apart);
		assert_int_equal(rules_patches_apart(span_of(rows[i].other), span_of(rows[i].one)), rows[i].apart);
	}
}

static void a_patch_that_is_too_long_to_read_is_an_append(void **state)
{
	struct buf body;
	bool independent;

	(void)state;
	buf_init(&body, NULL, 0);
	buf_add_z(&body, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":\"");
	while (buf_len(&body) < RULES_PATCH_BYTES - 3)
		buf_add_char(&body, 'x');
	buf_add_z(&body, "\"}]");
	assert_int_equal(buf_len(&body), RULES_PATCH_BYTES);
	assert_int_equal(kind_of(NULL, "PATCH", "/a/1", PATCH_TYPE, buf_span(&body), &independent), OPERATION_UPDATE);
	buf_add_char(&body, ' ');
	assert_int_equal(kind_of(NULL, "PATCH", "/a/1", PATCH_TYPE, buf_span(&body), &independent), OPERATION_APPEND);
	buf_fini(&body);
}

/* Without a rule id and rest say what is below an item. */
static void a_delete_below_a_replica_without_a_rule_is_an_update(void **state)
{
	const struct rules_request request = { SPAN("DELETE"), SPAN(""), SPAN("") };
	const struct rule_match item = { NULL, SPAN("/a"), SPAN("1"), SPAN("") };
	const struct rule_match below = { NULL, SPAN("/a"), SPAN("1"), SPAN("/b") };
	bool independent;

	(void)state;
	assert_int_equal(rules_kind(&item, &request, &independent), OPERATION_DELETE);
	assert_int_equal(rules_kind(&below, &request, &independent), OPERATION_UPDATE);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool row_holds(const struct rules *rules, const struct answer_row *row)
{
	const struct rules_answer answer = { span_of(row->method), span_of(row->path), span_of(row->canonical),
	        row->status,
		                             span_of(row->location), span_of(row->type), span_of(row->body) };
	struct rule_match m;
	struct rules_id id;
	struct arena arena;
	enum rules_shown shown;
	bool good;

	arena_init(&arena, NULL, 0, 0);
	rules_match(rules, answer.canonical.n ? answer.canonical : answer.path, &m);
	shown = rules_new_id(&arena, &m, &answer, &id);
	good = shown == row->shown && span_eq(id.id, span_of(row->id)) && span_eq(id.collection,
	        span_of(row->collection)) &&
	       span_eq(id.place, span_of(row->place)) && id.number == row->number && id.opaque == row->opaque;
	if (!good)
		print_error("%s: %d \"%.*s\" of \"%.*s\" at \"%.*s\" number %d opaque %d\n", row->what, shown,
		        SPAN_ARG(id.id),
		            SPAN_ARG(id.collection), SPAN_ARG(id.place), id.number, id.opaque);
	arena_fini(&arena);
	return good;
}

static void each_answer_shows_what_it_does(void **state)
{
	struct rules *rules = some_rules();
	bool good = true;

	(void)state;
	for (size_t i = 0; i < sizeof(answer_rows) / sizeof(answer_rows[0]); i++)
		good &= row_holds(rules, &answer_rows[i]);
	rules_unref(&rules);
	assert_true(good);
}

static enum rules_shown shown_by(struct arena *arena, struct span location, struct span body, struct rules_id *id_r)
{
	const struct rules_answer answer = { SPAN("POST"), SPAN("/a"), SPAN(""), 201, location, SPAN(JSON), body };
	const struct rule_match none = { .rule = NULL };

	return rules_new_id(arena, &none, &answer, id_r);
}

/* Bodies of 1 MiB: unclosed, of nothing but one byte, of repeated pieces, of noise. */
static void no_hostile_body_does_harm(void **state)
{
	static const char *const pieces[] = { "{", "[", "\"", "\\", "{\"id\":", "[{\"id\":1},", "{\"a\":{\"id\":\"",
	        "{},", "\"id\":1,",
		                              "{\"id\":99999999999999999999", "\xff\xfe", "\"\\ud800",
		  "{\"id\":\"\\u0041\",\"x\":[",
		                              "1e999999999 ", "]", "}", ",", ":", "{\"id\"", "{\"id\":{\"id\":[" };
	size_t size = RULES_BODY_BYTES + 4096;
	char *body = malloc(size);
	unsigned noise = 12345;
	struct rules_id id;
	struct arena arena;

	(void)state;
	assert_non_null(body);
	arena_init(&arena, NULL, 0, 64 << 10);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]) + 256 + 8; i++) {
		size_t n = sizeof(pieces) / sizeof(pieces[0]), piece = i < n ? strlen(pieces[i]) : 0;

		for (size_t at = 0; at < size; at++) {
			noise = noise * 1103515245 + 12345;
			body[at] = i < n ? pieces[i][at % piece] : i < n + 256 ? (char)(i - n) : (char)(noise >> 16);
		}
		if (i >= n + 260)
			memcpy(body, "{\"id\":1,\"b\":\"", 13);
		(void)shown_by(&arena, span_make(body, i < n + 256 ? size >> (i & 7) : size), span_make(body, size),
		        &id);
		assert_true(id.id.n <= RULE_ID_BYTES);
		arena_reset(&arena);
	}
	arena_fini(&arena);
	free(body);
}

static void what_is_cut_within_an_id_shows_none(void **state)
{
	char *body = malloc(RULES_BODY_BYTES + 16);
	struct rules_id id;
	struct arena arena;

	(void)state;
	assert_non_null(body);
	arena_init(&arena, NULL, 0, 0);
	memset(body, ' ', RULES_BODY_BYTES + 16);
	memcpy(body + RULES_BODY_BYTES - 8, "{\"id\":1234}", 11); /* the bound is behind the 12 */
	assert_int_equal(shown_by(&arena, SPAN(""), span_make(body, RULES_BODY_BYTES), &id), RULES_NONE);
	assert_int_equal(shown_by(&arena, SPAN(""), span_make(body, RULES_BODY_BYTES + 16), &id), RULES_NONE);
	assert_int_equal(shown_by(&arena, SPAN(""), span_make(body + 8, RULES_BODY_BYTES - 1), &id), RULES_ONE);
	assert_true(span_eq(id.id, SPAN("1234")));
	/* what is whole before the bound counts */
	memcpy(body, "{\"id\":7,\"x\":\"", 13);
	assert_int_equal(shown_by(&arena, SPAN(""), span_make(body, RULES_BODY_BYTES + 16), &id), RULES_ONE);
	assert_true(span_eq(id.id, SPAN("7")));
	arena_fini(&arena);
	free(body);
}

static void ids_have_a_greatest_length(void **state)
{
	char location[RULE_ID_BYTES + 8] = "/a/";
	struct rules_id id;
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	memset(location + 3, 'x', RULE_ID_BYTES + 1);
	assert_int_equal(shown_by(&arena, span_make(location, 3 + RULE_ID_BYTES), SPAN(""), &id), RULES_ONE);
	assert_int_equal(id.id.n, RULE_ID_BYTES);
	assert_int_equal(shown_by(&arena, span_make(location, 4 + RULE_ID_BYTES), SPAN(""), &id), RULES_NONE);
	arena_fini(&arena);
}

/* However little memory there is, nothing wrong comes of it. */
static void without_memory_it_is_unread(void **state)
{
	struct rules_id id;

	(void)state;
	for (size_t limit = 1; limit < 4096; limit += 64) {
		struct arena arena;
		enum rules_shown shown;

		arena_init(&arena, NULL, 0, limit);
		shown = shown_by(&arena, SPAN("/a/7"), SPAN("{\"id\":7}"), &id);
		assert_true(shown == RULES_UNREAD || (shown == RULES_ONE && span_eq(id.id, SPAN("7")) && id.number));
		arena_fini(&arena);
	}
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static void a_set_is_a_copy_and_never_changes(void **state)
{
	char collection[] = "/a", place[] = "$.id", text[] = "PUT /{id}/b", changes[] = "$.etag";
	struct rule_operation operation = { request_of(text), OPERATION_REPLACE, true };
	struct span volatile_ = span_of(changes);
	struct rule rule = rule_of(collection, place), other = rule_of("/b", "$.x");
	struct rules *rules, *more, *again;
	const struct rule *r;

	(void)state;
	rule.operations = &operation;
	rule.operation_count = 1;
	rule.volatile_ = &volatile_;
	rule.volatile_count = 1;
	assert_int_equal(rules_new(&rule, 1, &rules), 0);
	assert_int_equal(rules_add_learned(rules, &other, &more), 0);
	memset(collection, 'x', 2);
	memset(place, 'x', 4);
	memset(text, 'x', 11);
	memset(changes, 'x', 6);
	assert_int_equal(rules_count(rules), 1);
	assert_int_equal(rules_count(more), 2);
	rules_ref(more);
	again = more;
	rules_unref(&rules);
	rules_unref(&more);
	r = rules_get(again, 0);
	assert_true(span_eq(r->collection, SPAN("/a")) && span_eq(r->id_place, SPAN("$.id")) && !r->learned);
	assert_true(span_eq(r->operations[0].match.path, SPAN("/{id}/b")) && span_eq(r->volatile_[0], SPAN("$.etag")));
	assert_true(rules_get(again, 1)->learned && span_eq(rules_get(again, 1)->collection, SPAN("/b")));
	assert_null(rules_get(again, 2));
	rules_unref(&again);
}

static void what_is_learned_again_takes_its_place(void **state)
{
	struct rule first = rule_of("/a", "$.id"), second = rule_of("/a", "$.uuid");
	struct rules *none, *one, *two;

	(void)state;
	second.pinned = true;
	assert_int_equal(rules_new(NULL, 0, &none), 0);
	assert_int_equal(rules_add_learned(none, &first, &one), 0);
	assert_int_equal(rules_add_learned(one, &second, &two), 0);
	assert_int_equal(rules_count(two), 1);
	assert_true(rules_get(two, 0)->pinned && span_eq(rules_get(two, 0)->id_place, SPAN("$.uuid")));
	rules_unref(&none);
	rules_unref(&one);
	rules_unref(&two);
}

static void a_set_has_its_greatest_size(void **state)
{
	static struct rule declared[RULES_DECLARED_MOST + 1];
	static char names[RULES_DECLARED_MOST + RULES_LEARNED_MOST + 1][16];
	struct rules *rules, *more;
	struct rule_match m;

	(void)state;
	for (size_t i = 0; i <= RULES_DECLARED_MOST + RULES_LEARNED_MOST; i++)
		snprintf(names[i], sizeof(names[i]), "/c%zu", i);
	for (size_t i = 0; i <= RULES_DECLARED_MOST; i++)
		declared[i] = rule_of(names[i], "$.id");
	assert_int_equal(rules_new(declared, RULES_DECLARED_MOST + 1, &rules), ERR_LIMIT);
	assert_null(rules);
	assert_int_equal(rules_new(declared, RULES_DECLARED_MOST, &rules), 0);
	for (size_t i = 0; i < RULES_LEARNED_MOST; i++)
		rules = rules_learn_one(rules, names[RULES_DECLARED_MOST + i], "$.id");
	declared[0] = rule_of(names[RULES_DECLARED_MOST + RULES_LEARNED_MOST], "$.id");
	assert_int_equal(rules_add_learned(rules, &declared[0], &more), ERR_LIMIT);
	declared[0] = rule_of(names[RULES_DECLARED_MOST + 3], "$.uuid"); /* one that is there can still change */
	assert_int_equal(rules_add_learned(rules, &declared[0], &more), 0);
	assert_int_equal(rules_count(more), RULES_DECLARED_MOST + RULES_LEARNED_MOST);
	assert_true(rules_match(more, SPAN("/c319/x"), &m));
	rules_unref(&rules);
	rules_unref(&more);
}

/* ---- what may be declared ---------------------------------------------------------------------------------------- */

static void what_is_no_collection_place_or_request(void **state)
{
	static const char *const good[] = { "/a", "/v2/images", "/v2/images/{id}/members", "/{id}/a", "/a.b/~c/d%20e" };
	static const char *const bad[] = {
		"", "a", "/", "/a/", "//a", "/a//b", "/a b", "/a?b", "/a#b", "/{x}/a", "/a/{id}", "/a/x{id}/b", "/a/./b",
		"/a/../b", "/a/%2e%2E/b", "/a\\b", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17",
	};
	static const char *const places[] = { "$.id", "$.server.id", "$['a.b'].c", "$.*.id" };
	static const char *const no_places[] = {
		"", "id", "$", "$.", "$id", "$.a..b", "$.a[0]", "$[", "$.a.b.c.d.e.f.g",
	};
	static const char *const no_requests[] = {
		"", "PUT", "PUT file", "/{id}", "put /{id}", "PUT /{x}", "PUT /a b", "PUT /../a", "P(T /",
	};
	char longest[RULE_COLLECTION_BYTES + 2] = "/";
	struct rule_request m;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(rule_check_collection(span_of(good[i]), &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (rule_check_collection(span_of(bad[i]), &e) != ERR_INVALID)
			fail_msg("\"%s\" was taken for a collection", bad[i]);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		assert_int_equal(rule_check_place(span_of(places[i]), &e), 0);
	for (size_t i = 0; i < sizeof(no_places) / sizeof(no_places[0]); i++)
		if (rule_check_place(span_of(no_places[i]), &e) != ERR_INVALID)
			fail_msg("\"%s\" was taken for a place", no_places[i]);
	for (size_t i = 0; i < sizeof(no_requests) / sizeof(no_requests[0]); i++)
		if (rule_read_request(span_of(no_requests[i]), &m, &e) != ERR_INVALID)
			fail_msg("\"%s\" was taken for a request", no_requests[i]);
	memset(longest + 1, 'a', RULE_COLLECTION_BYTES);
	assert_int_equal(rule_check_collection(span_make(longest, RULE_COLLECTION_BYTES), &e), 0);
	assert_int_equal(rule_check_collection(span_make(longest, RULE_COLLECTION_BYTES + 1), &e), ERR_INVALID);
}

/* ---- learning ---------------------------------------------------------------------------------------------------- */

static void what_is_learned_is_a_pattern(void **state)
{
	static const struct { const char *collection, *pattern; } rows[] = {
		{ "/posts", "/posts" },
		{ "/v2.1/" U1 "/servers", "/v2.1/{id}/servers" },
		{ "/v2.1/0123456789abcdef0123456789abcdef/servers", "/v2.1/{id}/servers" },
		{ "/users/17/posts", "/users/{id}/posts" },
		{ "/users/alice/posts", "/users/alice/posts" },
		{ "/a-long-word-without-digits/b", "/a-long-word-without-digits/b" },
		{ "/buckets/17", "/buckets/17" },
		{ "/v2/images/" M1 "/tags", "/v2/images/{id}/tags" },
		{ "/v2/images/aB3/tags", "/v2/images/{id}/tags" },
		{ "/v2/images/aB3/parts/17/tags", "/v2/images/{id}/parts/{id}/tags" },
		{ "/learned/x/items/y/subitems", "/learned/{id}/items/{id}/subitems" },
		{ "/learned/x/items", "/learned/{id}/items" },
		{ "/v2/images", "/v2/images" },
	};
	struct rules *rules = some_rules();
	struct rule rule;
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rules_id id = { .id = SPAN("9"), .collection = span_of(rows[i].collection),
		        .place = SPAN("$.uuid"),
			               .number = i & 1 };

		assert_int_equal(rules_learn(&arena, rules, &id, &rule), 0);
		if (!span_eq(rule.collection, span_of(rows[i].pattern)))
			fail_msg("%s: %.*s", rows[i].collection, SPAN_ARG(rule.collection));
		assert_true(span_eq(rule.id_place, SPAN("$.uuid")) && rule.learned && !rule.pinned);
		assert_int_equal(rule.meta_id, i & 1 ? METAID_INTEGER : METAID_UUID);
		assert_int_equal(rule.class, CLASS_EVENTUAL);
	}
	arena_fini(&arena);
	rules_unref(&rules);
}

static void what_cannot_be_a_rule_is_not_learned(void **state)
{
	struct rules_id opaque = { .id = SPAN("/o?x"), .collection = SPAN("/files"), .opaque = true };
	struct rules_id odd = { .id = SPAN("9"), .collection = SPAN("/a//b") }, none = { .id = SPAN("9") };
	struct rules_id large = { .id = SPAN("9") };
	char path[RULE_COLLECTION_BYTES * 3];
	struct rule rule;
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	large.collection = span_make(path, sizeof(path));
	assert_int_equal(rules_learn(&arena, NULL, &opaque, &rule), ERR_INVALID);
	assert_int_equal(rules_learn(&arena, NULL, &odd, &rule), ERR_INVALID);
	assert_int_equal(rules_learn(&arena, NULL, &none, &rule), ERR_INVALID);
	assert_int_equal(rules_learn(&arena, NULL, &large, &rule), ERR_LIMIT);
	large.collection.n = RULE_COLLECTION_BYTES + 1;
	assert_int_equal(rules_learn(&arena, NULL, &large, &rule), ERR_LIMIT);
	large.collection.n = RULE_COLLECTION_BYTES;
	assert_int_equal(rules_learn(&arena, NULL, &large, &rule), 0);
	arena_fini(&arena);
}

static void learned_rules_come_back_from_json(void **state)
{
	static const struct { const char *place, *json; enum metaid_kind meta; enum consistency class; } rows[] = {
		{ "$.id", "{\"id\":\"$.id\",\"meta_id\":\"uuid\",\"consistency\":\"eventual\"}", METAID_UUID,
		  CLASS_EVENTUAL },
		{ "$.*.id", "{\"id\":\"$.*.id\",\"meta_id\":\"integer\",\"consistency\":\"weak\"}", METAID_INTEGER,
		  CLASS_WEAK },
		{ "$['a\"b']", "{\"id\":\"$['a\\\"b']\",\"meta_id\":\"uuid4\",\"consistency\":\"strong\"}",
		  METAID_UUID4, CLASS_STRONG },
		{ "", "{\"id\":\"location\",\"meta_id\":\"uuid\",\"consistency\":\"quorum\"}", METAID_UUID,
		  CLASS_QUORUM },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rule rule = rule_of("/a", rows[i].place), back;
		struct err e = { 0, "" };
		struct buf json;

		rule.meta_id = rows[i].meta;
		rule.class = rows[i].class;
		buf_init(&json, NULL, 0);
		rule_add_json(&rule, &json);
		assert_string_equal(buf_cstr(&json), rows[i].json);
		if (rule_of_json(&arena, SPAN("/a"), buf_span(&json), i & 1, &back, &e))
			fail_msg("%s", e.text);
		assert_true(span_eq(back.collection, SPAN("/a")) && span_eq(back.id_place, span_of(rows[i].place)));
		assert_true(back.meta_id == rows[i].meta && back.class == rows[i].class && back.learned && back.pinned == (i & 1));
		buf_fini(&json);
	}
	arena_fini(&arena);
}

static void what_is_no_rule_in_json(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "3", "null", "{\"id\":3}", "{\"id\":\"id\"}",
	        "{\"id\":null}", "{\"meta_id\":\"guid\"}",
		                           "{\"meta_id\":1}", "{\"consistency\":\"best\"}",
		  "{\"id\":\"$.id\",\"id\":\"$.id\"}", "{}x" };
	static char large[RULE_JSON_BYTES + 1];
	struct rule rule;
	struct arena arena;
	struct err e;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.text[0] = '\0';
		if (rule_of_json(&arena, SPAN("/a"), span_of(bad[i]), false, &rule, &e) != ERR_INVALID || !e.text[0])
			fail_msg("\"%s\" was taken for a rule", bad[i]);
	}
	assert_int_equal(rule_of_json(&arena, SPAN("a"), SPAN("{}"), false, &rule, &e), ERR_INVALID);
	memset(large, ' ', sizeof(large));
	assert_int_equal(rule_of_json(&arena, SPAN("/a"), span_make(large, sizeof(large)), false, &rule, &e),
	        ERR_LIMIT);
	/* of a later version */
	assert_int_equal(rule_of_json(&arena, SPAN("/a"), SPAN("{\"new\":{\"x\":[]}}"), true, &rule, &e), 0);
	assert_true(span_eq(rule.id_place,
	        SPAN("$.id")) && rule.meta_id == METAID_UUID && rule.class == CLASS_EVENTUAL);
	arena_fini(&arena);
}

/* The first answer teaches the rule by which the second is read. */
static void what_one_answer_taught_the_next_is_read_by(void **state)
{
	const struct rules_answer first = { SPAN("POST"), SPAN("/n/1/items"), SPAN("/n/" M1 "/items"), 201,
	        SPAN("/n/1/items/5"), SPAN(JSON),
		                            SPAN("{\"id\":5}") };
	const struct rules_answer second = { SPAN("POST"), SPAN("/n/2/items"), SPAN(""), 201, SPAN(""), SPAN(JSON),
	        SPAN("{\"id\":2}") };
	struct rules *none, *one;
	struct rule_match m;
	struct rules_id id;
	struct arena arena;
	struct rule rule;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	assert_int_equal(rules_new(NULL, 0, &none), 0);
	rules_match(none, second.path, &m);
	assert_int_equal(rules_new_id(&arena, &m, &second, &id), RULES_NONE); /* the parent's? */
	rules_match(none, first.canonical, &m);
	assert_int_equal(rules_new_id(&arena, &m, &first, &id), RULES_ONE);
	assert_int_equal(rules_learn(&arena, none, &id, &rule), 0);
	assert_true(span_eq(rule.collection, SPAN("/n/{id}/items")));
	assert_int_equal(rules_add_learned(none, &rule, &one), 0);
	assert_true(rules_match(one, second.path, &m));
	assert_int_equal(rules_new_id(&arena, &m, &second, &id), RULES_ONE);
	assert_true(span_eq(id.id, SPAN("2")) && id.number);
	rules_unref(&none);
	rules_unref(&one);
	arena_fini(&arena);
}

/* ---- whether a create was executed ---- */

static const char *find_of(const struct rule *r, const char *path, const char *body)
{
	static struct buf out;

	buf_fini(&out);
	buf_init(&out, NULL, 0);
	return rule_find_target(&arena_of_find, r, span_of(path), span_of(body), &out) ? buf_cstr(&out) : NULL;
}

static void where_a_create_is_looked_for(void **state)
{
	struct rule r = rule_of("/notes", "$.id"), child = rule_of("/notes/{id}/items", "$.id");

	(void)state;
	arena_init(&arena_of_find, NULL, 0, 0);
	r.find = SPAN("/notes?uid={$.uid}&in={$.in.it}");
	child.find = SPAN("/notes/{id}/items?n={$.n}");
	assert_string_equal(find_of(&r, "/notes", "{\"uid\":\"a &1\",\"in\":{\"it\":7}}"), "/notes?uid=a%20%261&in=7");
	assert_null(find_of(&r, "/notes", "{\"uid\":\"a\"}"));
	assert_null(find_of(&r, "/notes", "{\"uid\":\"\",\"in\":{\"it\":7}}"));
	assert_null(find_of(&r, "/notes", ""));
	assert_string_equal(find_of(&child, "/notes/31/items", "{\"n\":\"x\"}"), "/notes/31/items?n=x");
	arena_fini(&arena_of_find);
}

static const struct {
	const char *content;
	enum rule_find want;
	const char *id;
} looked[] = {
	{ "[]", RULE_FIND_NONE, NULL },
	{ "{\"notes\":[],\"count\":0}", RULE_FIND_NONE, NULL },
	{ "[{\"id\":17,\"uid\":\"a\"}]", RULE_FIND_ONE, "17" },
	{ "{\"notes\":[{\"id\":\"x\"}]}", RULE_FIND_ONE, "x" },
	{ "[{\"id\":17,\"uid\":\"b\"}]", RULE_FIND_UNCLEAR, NULL },
	{ "[{\"id\":17},{\"id\":18}]", RULE_FIND_UNCLEAR, NULL },
	{ "[{\"name\":17}]", RULE_FIND_UNCLEAR, NULL },
	{ "[{\"id\":null}]", RULE_FIND_UNCLEAR, NULL },
	{ "{\"id\":17}", RULE_FIND_UNCLEAR, NULL },
	{ "{\"a\":[],\"b\":[]}", RULE_FIND_UNCLEAR, NULL },
	{ "none", RULE_FIND_UNCLEAR, NULL },
	{ "", RULE_FIND_UNCLEAR, NULL },
};

static void what_a_search_shows(void **state)
{
	struct rule r = rule_of("/notes", "$.id");
	struct span element, id;

	(void)state;
	arena_init(&arena_of_find, NULL, 0, 0);
	r.find = SPAN("/notes?uid={$.uid}");
	for (size_t i = 0; i < sizeof(looked) / sizeof(looked[0]); i++) {
		enum rule_find got = rule_find_judge(&arena_of_find, &r, SPAN("{\"uid\":\"a\"}"), span_of(looked[i].content),
		                                     &element, &id);

		if (got != looked[i].want || (looked[i].id && !span_eq(id, span_of(looked[i].id))))
			fail_msg("%s: %d", looked[i].content, (int)got);
	}
	r.id_place = SPAN("$.server.id");
	assert_int_equal(rule_find_judge(&arena_of_find, &r, SPAN("{}"), SPAN("{\"servers\":[{\"id\":\"y\"}]}"), &element, &id),
	                 RULE_FIND_ONE);
	assert_true(span_eq(id, SPAN("y")));
	arena_fini(&arena_of_find);
}

static void how_far_a_resource_is(void **state)
{
	struct span ok[] = { SPAN("active"), SPAN("7") }, failed[] = { SPAN("killed") };
	struct rule r = rule_of("/notes", "$.id");

	(void)state;
	arena_init(&arena_of_find, NULL, 0, 0);
	r.ready = (struct rule_ready){ SPAN("$.note.status"), ok, failed, 2, 1, 0 };
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"note\":{\"status\":\"active\"}}")), RULE_READY);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"note\":{\"status\":7}}")), RULE_READY);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"note\":{\"status\":\"killed\"}}")), RULE_BROKEN);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"note\":{\"status\":\"x\"}}")), RULE_BUILDING);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"note\":{\"status\":null}}")), RULE_BUILDING);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("{\"status\":\"active\"}")), RULE_BUILDING);
	assert_int_equal(rule_ready_judge(&arena_of_find, &r, SPAN("<note>")), RULE_BUILDING);
	arena_fini(&arena_of_find);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_has_the_longest_collection_that_fits),
		cmocka_unit_test(a_literal_segment_wins_over_any_and_declared_over_learned),
		cmocka_unit_test(each_request_has_its_kind),
		cmocka_unit_test(patches_are_apart_when_they_name_other_members),
		cmocka_unit_test(a_patch_that_is_too_long_to_read_is_an_append),
		cmocka_unit_test(a_delete_below_a_replica_without_a_rule_is_an_update),
		cmocka_unit_test(each_answer_shows_what_it_does),
		cmocka_unit_test(no_hostile_body_does_harm),
		cmocka_unit_test(what_is_cut_within_an_id_shows_none),
		cmocka_unit_test(ids_have_a_greatest_length),
		cmocka_unit_test(without_memory_it_is_unread),
		cmocka_unit_test(a_set_is_a_copy_and_never_changes),
		cmocka_unit_test(what_is_learned_again_takes_its_place),
		cmocka_unit_test(a_set_has_its_greatest_size),
		cmocka_unit_test(what_is_no_collection_place_or_request),
		cmocka_unit_test(what_is_learned_is_a_pattern),
		cmocka_unit_test(what_cannot_be_a_rule_is_not_learned),
		cmocka_unit_test(learned_rules_come_back_from_json),
		cmocka_unit_test(what_is_no_rule_in_json),
		cmocka_unit_test(what_one_answer_taught_the_next_is_read_by),
		cmocka_unit_test(where_a_create_is_looked_for),
		cmocka_unit_test(what_a_search_shows),
		cmocka_unit_test(how_far_a_resource_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
