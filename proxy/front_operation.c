/* What of a request becomes the operation: the same at every site and at any later time, so nothing that is of this
 * connection, of this moment or of this site alone (replication.md 6).
 *
 *	kept      method, path and query, content, end-to-end fields with their credentials, conditionals (which count at
 *	          admission only), the values that stand for a scope
 *	dropped   hop-by-hop fields and framing, Range, Expect, Cookie, tracing and baggage, Via (a copy goes back to where
 *	          the request came by), what is the mesh's own
 *	written   Host first, X-Forwarded-* as an instance here would get them, X-Scopemesh-Scope, Accept-Encoding: identity
 *
 * Every id of a replica is its meta-identifier.  What comes from another site is in that form already. */
#include "proxy/front_int.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"

static bool is_left_out(const struct http_field *f)
{
	static const char *const names[] = { "Range", "tracestate" };

	switch ((enum http_field_id)f->id) {
	case HTTP_HOST:
	case HTTP_CONTENT_LENGTH:
	case HTTP_EXPECT:
	case HTTP_COOKIE:
	case HTTP_BAGGAGE:
	case HTTP_TRACEPARENT:
	case HTTP_VIA:
	case HTTP_ACCEPT_ENCODING:
	case HTTP_MAX_FORWARDS:
	case HTTP_X_SCOPE:
	case HTTP_X_SCOPE_ANY:
	case HTTP_X_SCOPEMESH_ANY:
	case HTTP_X_SCOPEMESH_ERROR:
	case HTTP_X_SCOPEMESH_OPERATION:
	case HTTP_X_SCOPEMESH_REPLICATE:
	case HTTP_X_SCOPEMESH_SCOPE:
	case HTTP_X_SCOPEMESH_SERVICE:
	case HTTP_X_SCOPEMESH_TRACE:
		return true;
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_ieq(f->name, span_of(names[i])))
			return true;
	return f->drop;
}

static void add_field(struct buf *out, struct span name, struct span value)
{
	buf_add_span(out, name);
	buf_add_z(out, ": ");
	buf_add_span(out, value);
	buf_add_z(out, "\r\n");
}

static void add_fields(struct exchange *x, struct buf *out)
{
	char host[ADDR_TEXT_BYTES];
	struct buf forwarded;

	http_drop_hop_by_hop(&x->req);
	buf_init(&forwarded, NULL, 0);
	heads_add_forwarded(x, &forwarded); /* before the fields are written: it decides on some */
	addr_format(&x->s->listener->conf_addr, host);
	add_field(out, SPAN("Host"), x->req.host.n ? x->req.host : span_of(host));
	for (size_t i = 0; i < x->req.field_count; i++)
		if (!is_left_out(&x->req.fields[i]))
			add_field(out, x->req.fields[i].name, x->req.fields[i].value);
	buf_add_span(out, buf_span(&forwarded));
	out->failed |= forwarded.failed;
	buf_fini(&forwarded);
	buf_add_z(out, "Accept-Encoding: identity\r\n");
	if (x->has_scope)
		add_field(out, SPAN("X-Scopemesh-Scope"), x->scope_text);
}

static bool add_target(struct exchange *x, struct buf *out)
{
	struct span query = span_from(x->req.path_query, x->req.path.n);

	buf_add_span(out, front_path(x));
	if (!x->rw || x->from_mesh || !query.n) {
		buf_add_span(out, query);
		return true;
	}
	return rewrite_canonical(x->w, x->svc->name, SPLICE_LINK, query, out);
}

/* Content that may hold ids of other services' replicas goes through a splicer. */
static int begin_splice(struct exchange *x)
{
	struct front *f = x->front;
	const struct splice_rules *rules;

	if (!x->rw || x->rw->up_body == SPLICE_NONE || x->from_mesh || f->splice)
		return 0;
	if (rewrite_look_init(&f->look, x->w, x->svc, REWRITE_ACROSS, NULL, &rules))
		return ERR_NOMEM;
	f->splice = splice_new(x->rw->up_body, rules, rewrite_look_up, &f->look);
	return f->splice ? 0 : ERR_NOMEM;
}

int front_write_head(struct exchange *x)
{
	struct operation *op = x->front->op;
	struct buf fields, target;
	bool good;

	buf_init(&fields, NULL, 0);
	buf_init(&target, NULL, 0);
	add_fields(x, &fields);
	good = add_target(x, &target) && !target.failed && !fields.failed &&
	       operation_keep(op, &op->fields, buf_span(&fields)) && operation_keep(op, &op->target, buf_span(&target)) &&
	       operation_keep(op, &op->method, x->req.method);
	buf_fini(&fields);
	buf_fini(&target);
	return good ? begin_splice(x) : ERR_NOMEM;
}

/* ---- a write to what is known ---- */

static struct span content_type(const struct exchange *x)
{
	const struct http_field *type = http_find(&x->req, HTTP_CONTENT_TYPE);

	return type ? type->value : SPAN("");
}

/* What it is to the resource that it names; what it would create below that, if it does, is of its own collection. */
static int judge_write(struct exchange *x)
{
	const struct rewrite_target *t = &x->rw->target;
	struct operation *op = x->front->op;
	struct rules_request request = { .method = x->req.method, .content_type = content_type(x), .body = op->body };
	struct rules *rules = front_rules(x);
	struct rule_match own, child;

	if (!rules)
		return ERR_NOMEM;
	rules_match(rules, span_head(t->canonical, t->canonical.n - t->rest.n), &own);
	if (!own.rule || !span_eq(own.collection, t->collection))
		own.rule = NULL;
	own.collection = t->collection;
	own.id = t->id;
	own.rest = t->rest;
	op->kind = rules_kind(&own, &request, &op->independent);
	if (rules_match(rules, t->canonical, &child) && !child.id.n) {
		op->meta_id = child.rule->meta_id;
		op->declared = !child.rule->learned || child.rule->pinned;
	}
	rules_unref(&rules);
	return 0;
}

/* ---- an id that the client may choose ---- */

/* The text at a place like "$.image.id"; p NULL: none. */
static struct span text_at(const json_t *doc, struct span place)
{
	struct span rest = span_from(place, 2), step;
	char name[RULE_COLLECTION_BYTES];

	while (rest.n && span_split(&rest, '.', &step)) {
		if (step.n >= sizeof(name))
			return span_make(NULL, 0);
		memcpy(name, step.p, step.n);
		name[step.n] = '\0';
		doc = json_object_get(doc, name);
	}
	return json_is_string(doc) ? span_make(json_string_value(doc), json_string_length(doc)) : span_make(NULL, 0);
}

static size_t skip_blanks(struct span s, size_t at)
{
	while (at < s.n && strchr(" \t\r\n", s.p[at]))
		at++;
	return at;
}

/* The id as first member of the object that the content is; every other byte stays. */
static bool insert(struct operation *op, struct span member)
{
	size_t brace = skip_blanks(op->body, 0), next = skip_blanks(op->body, brace + 1);
	bool digits = op->meta_id == METAID_INTEGER, good;
	struct buf text;

	buf_init(&text, NULL, 0);
	buf_add_span(&text, span_head(op->body, brace + 1));
	buf_addf(&text, digits ? "\"%.*s\":%.*s" : "\"%.*s\":\"%.*s\"", SPAN_ARG(member), SPAN_ARG(op->key.meta));
	if (next < op->body.n && op->body.p[next] != '}')
		buf_add_char(&text, ',');
	buf_add_span(&text, span_from(op->body, brace + 1));
	good = !text.failed && operation_keep(op, &op->body, buf_span(&text));
	buf_fini(&text);
	op->body_bytes = op->body.n;
	return good;
}

/* `assign`: the client's id is the resource's name everywhere; who chose none is given one. Content that cannot be read
 * or must not be changed (signed, spooled) leaves it an ordinary create. */
static int assign_id(struct exchange *x, struct span place)
{
	struct operation *op = x->front->op;
	struct span member = span_from(place, 2), id;
	json_t *doc;
	bool good = true;

	if (!op->body.n || rewrite_body_of(&x->req) != SPLICE_JSON || place.n < 3 || place.p[1] != '.')
		return 0;
	doc = json_loadb(op->body.p, op->body.n, 0, NULL);
	id = text_at(doc, place);
	if (id.p && front_is_name(id)) {
		good = operation_keep(op, &op->key.meta, id);
		op->named = true;
	} else if (json_is_object(doc) && !id.p && span_find(member, '.') == member.n && span_find(member, '"') == member.n &&
	           span_find(member, '\\') == member.n && span_find(member, '[') == member.n) {
		char name[RULE_COLLECTION_BYTES];

		snprintf(name, sizeof(name), "%.*s", SPAN_ARG(member));
		good = json_object_get(doc, name) ? true : insert(op, member);
	}
	json_decref(doc);
	return good ? 0 : front_no_memory(x);
}

int front_judge_content(struct exchange *x)
{
	struct front *f = x->front;
	struct operation *op = f->op;
	char digest[FINGERPRINT_TEXT_BYTES];

	if (f->fingerprint && (fingerprint_end(f->fingerprint, digest) ||
	                       !operation_keep(op, &op->fingerprint, span_make(digest, sizeof(digest)))))
		return front_no_memory(x);
	if (f->known)
		return judge_write(x);
	if (!f->by_peer && !op->named && f->match.rule && f->match.rule->assign.n)
		return assign_id(x, f->match.rule->assign);
	return 0;
}
