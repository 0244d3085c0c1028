/* The field between sites is one line of JSON:
 *
 *	{"op":"dc1-…-12","meta":"…","collection":"/v2/images","kind":"create","class":"eventual","clock":N,"created":N,
 *	 "sites":["dc1","dc2"],"admitted":"dc1","named":false,"independent":false,"declared":false,"secret":false,"meta_id":0,
 *	 "admit":false,"ask":false,"retry":false}
 *
 * What is unknown in it is passed over, so that later versions may say more. */
#include "proxy/operation.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define OPERATION_ARENA (1u << 20)

struct operation *operation_new(void)
{
	struct operation *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	atomic_store(&op->refs, 1);
	arena_init(&op->arena, NULL, 0, OPERATION_ARENA);
	return op;
}

struct operation *operation_ref(struct operation *op)
{
	atomic_fetch_add(&op->refs, 1);
	return op;
}

void operation_unref(struct operation **opp)
{
	struct operation *op = *opp;

	*opp = NULL;
	if (!op || atomic_fetch_sub(&op->refs, 1) != 1)
		return;
	arena_fini(&op->arena);
	free(op);
}

bool operation_keep(struct operation *op, struct span *s, struct span value)
{
	*s = arena_dup(&op->arena, value);
	return s->p != NULL;
}

bool operation_is_once(const struct operation *op)
{
	switch (op->kind) {
	case OPERATION_UPDATE:
	case OPERATION_REPLACE:
	case OPERATION_DELETE:
		return false;
	case OPERATION_CREATE:
		return !op->named;
	default:
		return true;
	}
}

bool operation_has_site(const struct operation *op, struct span site)
{
	for (size_t i = 0; i < op->site_count; i++)
		if (span_eq(op->sites[i], site))
			return true;
	return false;
}

bool operation_add_site(struct operation *op, struct span site)
{
	if (!site.n || site.n >= OP_SITE_BYTES || op->site_count == OPERATION_SITES)
		return false;
	return operation_has_site(op, site) || operation_keep(op, &op->sites[op->site_count++], site);
}

void operation_add_sites(const struct operation *op, struct buf *out)
{
	for (size_t i = 0; i < op->site_count; i++) {
		if (i)
			buf_add_char(out, '\n');
		buf_add_span(out, op->sites[i]);
	}
}

bool operation_set_sites(struct operation *op, struct span lines)
{
	struct span site;

	op->site_count = 0;
	while (lines.n && span_split(&lines, '\n', &site))
		if (!operation_add_site(op, site))
			return false;
	return op->site_count > 0;
}

static struct operation *copy_of(const struct operation *op, const struct store_key_of *key, bool content)
{
	struct operation *to = operation_new();
	bool good = to != NULL;

	if (!good)
		return NULL;
	to->id = op->id;
	to->kind = op->kind;
	to->class = op->class;
	to->clock = op->clock;
	to->created_ms = op->created_ms;
	to->named = op->named;
	to->independent = op->independent;
	to->only_here = op->only_here;
	to->declared = op->declared;
	to->secret = op->secret;
	to->meta_id = op->meta_id;
	to->body_bytes = op->body_bytes;
	good = operation_keep(to, &to->key.service, key->service) && operation_keep(to, &to->key.collection, key->collection) &&
	       operation_keep(to, &to->key.meta, key->meta) && operation_keep(to, &to->admitted, op->admitted) &&
	       operation_keep(to, &to->method, op->method) && operation_keep(to, &to->target, op->target) &&
	       operation_keep(to, &to->spool, op->spool) && operation_keep(to, &to->answer_key, op->answer_key) &&
	       operation_keep(to, &to->fingerprint, op->fingerprint);
	for (size_t i = 0; good && i < op->site_count; i++)
		good = operation_add_site(to, op->sites[i]);
	if (good && content)
		good = operation_keep(to, &to->fields, op->fields) && operation_keep(to, &to->body, op->body);
	if (!good)
		operation_unref(&to);
	return to;
}

struct operation *operation_with_key(const struct operation *op, const struct store_key_of *key, enum operation_kind kind)
{
	struct operation *to = copy_of(op, key, true);

	if (to)
		to->kind = kind;
	return to;
}

struct operation *operation_without_content(const struct operation *op)
{
	return copy_of(op, &op->key, false);
}

bool operation_is_conditional(struct span name)
{
	static const char *const names[] = { "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_ieq(name, span_of(names[i])))
			return true;
	return false;
}

struct span operation_path(const struct operation *op)
{
	return span_head(op->target, span_find(op->target, '?'));
}

/* ---- between sites ---------------------------------------------------------------------------------------------- */

static json_t *text_json(struct span s)
{
	return json_stringn(s.p ? s.p : "", s.n);
}

void operation_add_field(const struct operation *op, enum operation_wish wish, struct buf *out)
{
	char id[OP_ID_TEXT_BYTES];
	json_t *sites = json_array(), *doc;
	char *text;

	op_id_format(&op->id, id);
	for (size_t i = 0; i < op->site_count; i++)
		json_array_append_new(sites, text_json(op->sites[i]));
	doc = json_pack("{s:s,s:o,s:o,s:s,s:s,s:I,s:I,s:o,s:o,s:b,s:b,s:b,s:b,s:i,s:b,s:b,s:b}", "op", id, "meta",
	                text_json(op->key.meta), "collection", text_json(op->key.collection), "kind", operation_kind_text(op->kind), "class",
	                consistency_text(op->class), "clock", (json_int_t)op->clock, "created", (json_int_t)op->created_ms,
	                "sites", sites, "admitted", op->admitted.n ? text_json(op->admitted) : json_null(), "named",
	                op->named, "independent", op->independent, "declared", op->declared, "secret", op->secret,
	                "meta_id", (int)op->meta_id, "admit", wish == OPERATION_ADMIT, "ask", wish == OPERATION_ASK, "retry",
	                wish == OPERATION_RETRY);
	text = doc ? json_dumps(doc, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(doc);
	if (text)
		buf_add_z(out, text);
	else
		out->failed = true;
	free(text);
}

/* An object; in any case it is the caller's. */
static int read_field(struct span field, json_t **doc_r)
{
	json_error_t e = { .text = "" };

	*doc_r = NULL;
	if (field.n > OPERATION_FIELD_BYTES)
		return ERR_INVALID;
	*doc_r = json_loadb(field.p, field.n, JSON_REJECT_DUPLICATES, &e);
	if (json_is_object(*doc_r))
		return 0;
	return !*doc_r && json_error_code(&e) == json_error_out_of_memory ? ERR_NOMEM : ERR_INVALID;
}

bool operation_is_sendable(const struct operation *op)
{
	json_t *meta = text_json(op->key.meta), *collection = text_json(op->key.collection);
	bool good = meta && collection;

	json_decref(meta);
	json_decref(collection);
	return good;
}

static struct span text_of(const json_t *doc, const char *name)
{
	const json_t *value = json_object_get(doc, name);

	return json_is_string(value) ? span_make(json_string_value(value), json_string_length(value)) : span_make(NULL, 0);
}

/* Control characters would end up in fields and logs. */
static bool is_plain(struct span s, size_t most)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n <= most;
}

static int take_sites(struct operation *op, const json_t *list)
{
	size_t i;
	json_t *site;

	if (!json_is_array(list) || !json_array_size(list))
		return ERR_INVALID;
	json_array_foreach(list, i, site) {
		struct span name = span_make(json_string_value(site), json_is_string(site) ? json_string_length(site) : 0);

		if (!is_plain(name, OP_SITE_BYTES - 1) || !operation_add_site(op, name))
			return op->arena.nomem ? ERR_NOMEM : ERR_INVALID;
	}
	return 0;
}

static int take(struct operation *op, const json_t *doc)
{
	struct span meta = text_of(doc, "meta"), collection = text_of(doc, "collection"), admitted = text_of(doc, "admitted");
	json_int_t clock = json_integer_value(json_object_get(doc, "clock")),
	           created = json_integer_value(json_object_get(doc, "created")),
	           kind = json_integer_value(json_object_get(doc, "meta_id"));
	int rc;

	if (!op_id_parse(text_of(doc, "op"), &op->id) || !meta.n || !is_plain(meta, NAME_MOST) ||
	    !is_plain(collection, NAME_MOST) || !is_plain(admitted, OP_SITE_BYTES - 1) ||
	    !operation_kind_parse(text_of(doc, "kind"), &op->kind) ||
	    !consistency_parse(text_of(doc, "class"), &op->class) || clock <= 0 || created < 0)
		return ERR_INVALID;
	op->clock = (uint64_t)clock;
	op->created_ms = created;
	op->named = json_is_true(json_object_get(doc, "named"));
	op->independent = json_is_true(json_object_get(doc, "independent"));
	op->ask = json_is_true(json_object_get(doc, "ask"));
	op->declared = json_is_true(json_object_get(doc, "declared"));
	op->secret = json_is_true(json_object_get(doc, "secret"));
	op->meta_id = kind > 0 && kind <= METAID_INTEGER ? (enum metaid_kind)kind : METAID_UUID;
	rc = take_sites(op, json_object_get(doc, "sites"));
	if (rc)
		return rc;
	return operation_keep(op, &op->key.meta, meta) && operation_keep(op, &op->key.collection, collection) &&
	               operation_keep(op, &op->admitted, admitted)
	           ? 0
	           : ERR_NOMEM;
}

int operation_of_field(struct operation *op, struct span field, bool *admit_r)
{
	json_t *doc;
	int rc = read_field(field, &doc);

	if (!rc)
		rc = take(op, doc);
	*admit_r = op->only_here = json_is_true(json_object_get(doc, "admit"));
	op->retry = json_is_true(json_object_get(doc, "retry"));
	json_decref(doc);
	return rc;
}

/* ---- what became of it ------------------------------------------------------------------------------------------- */

static const char *const admission_texts[] = {
#define ADMISSION_TEXT(name, text) text,
	ADMISSIONS(ADMISSION_TEXT)
#undef ADMISSION_TEXT
};

void operation_add_result(const struct operation_result *r, struct buf *out)
{
	json_t *doc = json_pack("{s:s,s:s,s:i,s:o,s:o,s:I}", "admission", admission_texts[r->admission], "state",
	                        delivery_state_text(r->state), "status", (int)r->status, "local", text_json(r->local), "reason",
	                        text_json(r->reason), "retry_after_ms", (json_int_t)r->retry_after_ms);
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(doc);
	if (text)
		buf_add_z(out, text);
	else
		out->failed = true;
	free(text);
}

static int take_result(struct arena *arena, const json_t *doc, struct operation_result *r)
{
	struct span admission = text_of(doc, "admission"), local = text_of(doc, "local"), reason = text_of(doc, "reason");
	json_int_t status = json_integer_value(json_object_get(doc, "status")),
	           after = json_integer_value(json_object_get(doc, "retry_after_ms"));

	for (r->admission = 0; r->admission < ADMISSIONS_; r->admission++)
		if (span_eq(admission, span_of(admission_texts[r->admission])))
			break;
	if (r->admission == ADMISSIONS_ || !delivery_state_parse(text_of(doc, "state"), &r->state) || status < 0 ||
	    status > 999 || after < 0 || !is_plain(local, NAME_MOST))
		return ERR_INVALID;
	r->status = (unsigned)status;
	r->retry_after_ms = after;
	r->local = arena_dup(arena, local);
	r->reason = arena_dup(arena, reason);
	return r->local.p && r->reason.p ? 0 : ERR_NOMEM;
}

int operation_result_of_field(struct arena *arena, struct span field, struct operation_result *r_r)
{
	json_t *doc;
	int rc = read_field(field, &doc);

	if (!rc)
		rc = take_result(arena, doc, r_r);
	json_decref(doc);
	return rc;
}
