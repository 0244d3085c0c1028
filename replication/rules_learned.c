/* Rules that answers taught: the pattern of the collection, and the rule as JSON for the store. */
#include "replication/rules_int.h"

#include <jansson.h>

static const char *const meta_words[] = {
	[METAID_UUID] = "uuid",
	[METAID_UUID4] = "uuid4",
	[METAID_INTEGER] = "integer",
};

static const struct rule defaults = {
	.collection = { "", 0 }, .id_place = { "$.id", 4 }, .assign = { "", 0 }, .class = CLASS_EVENTUAL, .learned = true,
};

/* ---- learning ---------------------------------------------------------------------------------------------------- */

/* A number, or so long that nobody chose it as a word of a path. */
static bool looks_like_an_id(struct span s)
{
	size_t digits = 0;

	for (size_t i = 0; i < s.n; i++) {
		bool digit = s.p[i] >= '0' && s.p[i] <= '9';

		if (!digit && !(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= 'A' && s.p[i] <= 'Z') && s.p[i] != '-' &&
		    s.p[i] != '_')
			return false;
		digits += digit;
	}
	return s.n && (digits == s.n || (digits && s.n >= 16));
}

/* The last segment stays: the ids follow behind it. */
static void generalise(struct span path, struct buf *out)
{
	struct span s;

	while (rule_take_segment(&path, &s)) {
		buf_add_char(out, '/');
		buf_add_span(out, path.n && looks_like_an_id(s) ? SPAN("{id}") : s);
	}
}

static void add_pattern(const struct rules *rules, struct span collection, struct buf *out)
{
	struct rule_match m;

	if (!rules_match(rules, collection, &m)) {
		generalise(collection, out);
		return;
	}
	buf_add_span(out, m.rule->collection);
	if (m.id.n) {
		buf_add_z(out, "/{id}");
		generalise(m.rest, out);
	}
}

int rules_learn(struct arena *arena, const struct rules *rules, const struct rules_id *id, struct rule *rule_r)
{
	struct err e;
	struct buf pattern;
	int rc = 0;

	*rule_r = defaults;
	if (id->opaque || !id->id.n || !id->collection.n)
		return ERR_INVALID;
	rule_r->id_place = id->place;
	rule_r->meta_id = id->number ? METAID_INTEGER : METAID_UUID;
	buf_init(&pattern, NULL, 2 * RULE_COLLECTION_BYTES);
	add_pattern(rules, id->collection, &pattern);
	if (pattern.failed || buf_len(&pattern) > RULE_COLLECTION_BYTES)
		rc = ERR_LIMIT;
	if (!rc)
		rc = rule_check_collection(buf_span(&pattern), &e);
	if (!rc) {
		rule_r->collection = arena_dup(arena, buf_span(&pattern));
		rc = rule_r->collection.p ? 0 : ERR_NOMEM;
	}
	buf_fini(&pattern);
	return rc;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

void rule_add_json(const struct rule *rule, struct buf *out)
{
	struct span place = rule->id_place.n ? rule->id_place : SPAN("location");
	json_t *doc = json_pack("{s:s%,s:s,s:s}", "id", place.p, place.n, "meta_id", meta_words[rule->meta_id],
	                        "consistency", consistency_text(rule->class));
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	if (text)
		buf_add_z(out, text);
	else
		out->failed = true;
	free(text);
	json_decref(doc);
}

/* NULL: there is none; then or when it is no string the value stays "". */
static int text_of(const json_t *doc, const char *key, bool *there_r, struct span *text_r, struct err *e)
{
	const json_t *value = json_object_get(doc, key);

	*there_r = value != NULL;
	*text_r = SPAN("");
	if (value && !json_is_string(value))
		return err_set(e, ERR_INVALID, "%s: a text is expected", key);
	if (value)
		*text_r = span_make(json_string_value(value), json_string_length(value));
	return 0;
}

static int read_place(struct arena *arena, const json_t *doc, struct rule *r, struct err *e)
{
	struct span text;
	bool there;
	int rc = text_of(doc, "id", &there, &text, e);

	if (rc || !there)
		return rc;
	if (span_eq(text, SPAN("location"))) {
		r->id_place = SPAN("");
		return 0;
	}
	rc = rule_check_place(text, e);
	if (rc)
		return rc;
	r->id_place = arena_dup(arena, text);
	return r->id_place.p ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int read_words(const json_t *doc, struct rule *r, struct err *e)
{
	struct span text;
	bool there, known = false;
	int rc = text_of(doc, "meta_id", &there, &text, e);

	for (size_t i = 0; !rc && there && i < sizeof(meta_words) / sizeof(meta_words[0]); i++) {
		if (span_eq(text, span_of(meta_words[i]))) {
			r->meta_id = (enum metaid_kind)i;
			known = true;
		}
	}
	if (!rc && there && !known)
		rc = err_set(e, ERR_INVALID, "meta_id: \"%.*s\" is none of uuid, uuid4, integer", SPAN_ARG(text));
	if (!rc)
		rc = text_of(doc, "consistency", &there, &text, e);
	if (!rc && there && !consistency_parse(text, &r->class))
		rc = err_set(e, ERR_INVALID, "consistency: \"%.*s\" is none of weak, eventual, quorum, strong",
		             SPAN_ARG(text));
	return rc;
}

int rule_of_json(struct arena *arena, struct span collection, struct span json, bool pinned, struct rule *rule_r,
                 struct err *e)
{
	json_error_t why;
	json_t *doc;
	int rc;

	*rule_r = defaults;
	if (json.n > RULE_JSON_BYTES)
		return err_set(e, ERR_LIMIT, "a rule of more than %d bytes", RULE_JSON_BYTES);
	rc = rule_check_collection(collection, e);
	if (rc)
		return rc;
	doc = json_loadb(json.p ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(doc)) {
		bool is_value = doc != NULL;

		json_decref(doc);
		return err_set(e, ERR_INVALID, "an object is expected: %s", is_value ? "it is another value" : why.text);
	}
	rc = read_place(arena, doc, rule_r, e);
	if (!rc)
		rc = read_words(doc, rule_r, e);
	json_decref(doc);
	rule_r->collection = arena_dup(arena, collection);
	rule_r->pinned = pinned;
	return rc ? rc : rule_r->collection.p ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
