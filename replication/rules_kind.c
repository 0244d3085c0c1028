/* What a write does to the resource it names (replication.md 4).  Doubt is an append: it is executed once at each site
 * and never again, which harms nothing but the order of concurrent ones. */
#include "replication/rules_int.h"

#include <jansson.h>

#include "replication/splice.h"

static struct span media_type(struct span content_type)
{
	return span_trim(span_head(content_type, span_find(content_type, ';')));
}

static bool span_iends(struct span s, struct span tail)
{
	return s.n >= tail.n && span_ieq(span_from(s, s.n - tail.n), tail);
}

/* application/json-patch+json, and as Glance calls it application/openstack-images-v2.1-json-patch */
static bool is_json_patch(struct span type)
{
	return span_ieq(type, SPAN("application/json-patch+json")) || span_iends(type, SPAN("-json-patch"));
}

static bool is_one_document(struct span type)
{
	return span_ieq(type, SPAN("application/json")) || span_ieq(type, SPAN("text/json")) ||
	       (span_istarts(type, SPAN("application/")) && span_iends(type, SPAN("+json")));
}

static bool begins_an_object(struct span body)
{
	size_t i = 0;

	while (i < body.n && strchr(" \t\r\n", body.p[i]) && body.p[i])
		i++;
	return i < body.n && body.p[i] == '{';
}

/* A pointer (RFC 6901) with an index in it, or "-", depends on what else the array holds. */
static bool names_members_only(struct span pointer)
{
	struct span s;
	unsigned long long index;

	while (rule_take_segment(&pointer, &s))
		if (span_eq(s, SPAN("-")) || span_to_u64(s, ~0ull, &index))
			return false;
	return !pointer.n;
}

static bool overwrites(const json_t *operation)
{
	const char *op = json_string_value(json_object_get(operation, "op"));
	const json_t *path = json_object_get(operation, "path");

	return op && (!strcmp(op, "add") || !strcmp(op, "replace") || !strcmp(op, "remove")) && json_is_string(path) &&
	       names_members_only(span_make(json_string_value(path), json_string_length(path)));
}

static json_t *read_patch(struct span body)
{
	if (!body.n || body.n > RULES_PATCH_BYTES)
		return NULL;
	return json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
}

static bool all_overwrite(const json_t *patch)
{
	json_t *operation;
	bool all = json_is_array(patch);
	size_t i;

	json_array_foreach(patch, i, operation)
		all &= overwrites(operation);
	return all;
}

/* Only operations that overwrite a member.  Values do not matter, so numbers that are too large may be anything. */
static bool patch_overwrites(struct span body)
{
	json_t *doc = read_patch(body);
	bool all = all_overwrite(doc);

	json_decref(doc);
	return all;
}

static enum operation_kind kind_of_patch(const struct rules_request *request)
{
	struct span type = media_type(request->content_type);
	bool again;

	if (is_json_patch(type))
		again = patch_overwrites(request->body);
	else if (span_ieq(type, SPAN("application/merge-patch+json")))
		again = true;
	else
		again = is_one_document(type) && begins_an_object(request->body);
	return again ? OPERATION_UPDATE : OPERATION_APPEND;
}

static struct span pointer_of(const json_t *operation)
{
	const json_t *path = json_object_get(operation, "path");

	return span_make(json_string_value(path), json_string_length(path));
}

/* Pointers are spelt in one way only but for "~" and "/" in names, of which no two spellings are the same name's. */
static bool is_within(struct span pointer, struct span whole)
{
	return span_starts(pointer, whole) && (pointer.n == whole.n || pointer.p[whole.n] == '/');
}

static bool is_apart(const json_t *patch, struct span pointer)
{
	json_t *operation;
	size_t i;

	json_array_foreach(patch, i, operation)
		if (is_within(pointer, pointer_of(operation)) || is_within(pointer_of(operation), pointer))
			return false;
	return true;
}

bool rules_patches_apart(struct span one, struct span other)
{
	json_t *a = read_patch(one), *b = read_patch(other), *operation;
	bool apart = all_overwrite(a) && all_overwrite(b);
	size_t i;

	if (apart)
		json_array_foreach(a, i, operation)
			apart &= is_apart(b, pointer_of(operation));
	json_decref(a);
	json_decref(b);
	return apart;
}

static enum operation_kind kind_by_method(struct span method, struct span rest, const struct rules_request *request)
{
	if (span_eq(method, SPAN("PUT")))
		return OPERATION_UPDATE;
	if (span_eq(method, SPAN("DELETE")))
		return rule_trim_slash(rest).n ? OPERATION_UPDATE : OPERATION_DELETE;
	return span_eq(method, SPAN("PATCH")) ? kind_of_patch(request) : OPERATION_APPEND;
}

enum operation_kind rules_kind(const struct rule_match *match, const struct rules_request *request,
                               bool *independent_r)
{
	const struct rule *rule = match->rule;

	*independent_r = false;
	for (size_t i = 0; rule && i < rule->operation_count; i++) {
		const struct rule_operation *o = &rule->operations[i];

		if (!span_eq(o->match.method, request->method) || !rule_pattern_is(o->match.path, match->id, match->rest))
			continue;
		*independent_r = o->independent;
		return o->kind;
	}
	return kind_by_method(request->method, match->rest, request);
}
