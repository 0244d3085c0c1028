/* correlate:NAME on a request (spec section 2): an application that hands on nothing of ours hands on the id of the
 * request that it serves, so the proxy remembers which scope came in with which id.
 *
 *	request with a scope     lacks a header: gets one (correlate_complete), also on its way to another site
 *	  to an instance         its values stand for its scope from now on (correlate_remember)
 *	request without one      from one of this site's instances: the scope of its values (correlate_find)
 *
 * Every site that sends the request to an instance remembers for itself, so the values travel over the mesh as the
 * fields they are.  Scopes are remembered in their canonical form: two spellings are one scope. */
#include "base/clock.h"
#include "base/log.h"
#include "proxy/carrier.h"
#include "proxy/correlation_value.h"
#include "proxy/exchange_int.h"
#include "proxy/server.h"

#define SAY_EVERY_US 10000000

static struct correlation *table_of(const struct exchange *x)
{
	return x->w->server ? x->w->server->correlation : NULL;
}

/* The next configured correlate:NAME from *i on. */
static const struct conf_carrier *next_carrier(const struct conf *conf, size_t *i)
{
	while (*i < conf->carrier_count) {
		const struct conf_carrier *c = &conf->carriers[(*i)++];

		if (c->kind == CONF_CARRIER_CORRELATE)
			return c;
	}
	return NULL;
}

/* Lines of this name; the last of them in *field_r. */
static unsigned count_lines(const struct http_head *head, struct span name, const struct http_field **field_r)
{
	unsigned n = 0;

	for (size_t i = 0; i < head->field_count; i++) {
		if (!span_ieq(head->fields[i].name, name) || (head->fields[i].drop & ~CARRIER_DROP))
			continue;
		*field_r = &head->fields[i];
		n++;
	}
	return n;
}

/* An id that is there twice is none. */
static bool get_values(const struct http_head *head, enum correlation_kind kind, struct span name,
                       struct correlation_values *v)
{
	const struct http_field *f;

	v->count = 0;
	if (count_lines(head, name, &f) == 1)
		correlation_values_get(kind, name, f->value, v);
	return v->count > 0;
}

/* ---- giving a scope ----------------------------------------------------------------------------------------------- */

static void say_ambiguous(struct exchange *x, const struct conf_carrier *c)
{
	static _Atomic int64_t next_us;
	static _Atomic uint64_t unsaid;
	int64_t now = clock_mono_us(), next = atomic_load(&next_us);

	if (now < next || !atomic_compare_exchange_strong(&next_us, &next, now + SAY_EVERY_US)) {
		atomic_fetch_add(&unsaid, 1);
		return;
	}
	/* NOLINTNEXTLINE(clang-analyzer-*): what disagrees was found, and what was not found was ambiguous */
	log_warn("a call to %.*s carries nothing but values that came in with two scopes (%.*s): it is served as one "
	         "without a scope (%llu more since the last such line)", SPAN_ARG(x->svc->name), SPAN_ARG(c->text),
	         (unsigned long long)atomic_exchange(&unsaid, 0));
}

struct finding {
	const struct conf_carrier *found, *ambiguous;
	bool disagree;
	struct span scope; /* in room[0] */
	char room[2][CORRELATION_SCOPE_BYTES];
};

/* The narrowest value of this header that gives a scope.  Headers that give different ones come from two requests that
 * the application mixes: no scope is better than one of them. */
static void look_up(struct exchange *x, const struct conf_carrier *c, struct finding *f)
{
	char *room = f->room[f->found ? 1 : 0];
	struct correlation_values v;
	struct span scope;

	if (!get_values(&x->req, (enum correlation_kind)c->values, c->name, &v))
		return;
	for (unsigned i = 0; i < v.count; i++) {
		switch (correlation_find(table_of(x), &v.key[i], clock_mono_us(), room, &scope)) {
		case CORRELATION_SCOPE:
			f->disagree |= f->found && !span_eq(f->scope, scope);
			if (f->found)
				return;
			f->found = c;
			f->scope = scope;
			return;
		case CORRELATION_AMBIGUOUS:
			f->ambiguous = c;
			break;
		case CORRELATION_NONE:
			break;
		}
	}
}

static void count(struct exchange *x, enum stats_correlation outcome)
{
	counter_add(&x->w->stats.correlation[outcome], 1);
}

bool correlate_find(struct exchange *x)
{
	const struct conf_carrier *c;
	struct finding f;
	struct addr peer;
	size_t i = 0;

	if (correlation_is_empty(table_of(x)))
		return false;
	f.found = f.ambiguous = NULL;
	f.disagree = false;
	while ((c = next_carrier(x->view->conf, &i)))
		look_up(x, c, &f);
	if (!f.found && !f.ambiguous) {
		count(x, STATS_CORRELATION_UNKNOWN);
		return false;
	}
	session_peer(x->s, &peer);
	if (!conf_is_neighbour(x->view->conf, &peer)) {
		count(x, STATS_CORRELATION_STRANGER);
		return false;
	}
	if (!f.found || f.disagree) {
		count(x, STATS_CORRELATION_AMBIGUOUS);
		say_ambiguous(x, f.disagree ? f.found : f.ambiguous);
		x->reason = "ambiguous-scope";
		return false;
	}
	x->scope_text = arena_dup(&x->arena, f.scope);
	if (!x->scope_text.p)
		return false;
	count(x, STATS_CORRELATION_FOUND);
	x->carrier = f.found;
	x->has_scope = true;
	return true;
}

/* ---- headers that lack ---------------------------------------------------------------------------------------------- */

static bool lacks(const struct exchange *x, const struct conf_carrier *c)
{
	enum correlation_kind kind = (enum correlation_kind)c->values;
	const struct http_field *f;
	struct correlation_values v;

	/* Nobody makes up credentials, and who put something into a header without rules meant it. */
	if (kind == CORRELATION_CREDENTIAL || kind == CORRELATION_OPAQUE)
		return kind == CORRELATION_OPAQUE && !count_lines(&x->req, c->name, &f);
	/* Of the others applications replace what breaks their rules, and then nothing would be found again. */
	return !get_values(&x->req, kind, c->name, &v);
}

/* A trace that the request belongs to already, in whichever header, is the one that the others are to say. */
static void make_ids(const struct exchange *x, struct correlation_ids *ids_r)
{
	static const char *const tracing[] = { "traceparent", "b3", "x-b3-traceid" };
	struct correlation_values v;

	correlation_ids_make(ids_r);
	for (size_t i = sizeof(tracing) / sizeof(tracing[0]); i-- > 0;) {
		struct span name = span_of(tracing[i]);

		if (get_values(&x->req, correlation_kind_of(name), name, &v))
			correlation_ids_join(ids_r, &v);
	}
}

static struct span drop_lines(struct http_head *head, struct span name)
{
	struct span before = { "", 0 };

	for (size_t i = 0; i < head->field_count; i++) {
		if (!span_ieq(head->fields[i].name, name))
			continue;
		before = head->fields[i].value;
		head->fields[i].drop = 1;
	}
	return before;
}

static int append(struct exchange *x, struct span name, struct span value)
{
	struct http_field *f = &x->req.fields[x->req.field_count];

	*f = (struct http_field){ .name = name, .value = arena_dup(&x->arena, value),
		                  .id = (uint8_t)http_field_id(name) };
	if (!f->value.p)
		return ERR_NOMEM;
	x->req.field_count++;
	return 0;
}

static int add_one(struct exchange *x, const struct conf_carrier *c, const struct correlation_ids *ids)
{
	enum correlation_kind kind = (enum correlation_kind)c->values;
	struct span before = drop_lines(&x->req, c->name);
	struct buf value;
	int rc;

	buf_init(&value, NULL, 0);
	correlation_value_make(kind, ids, before, &value);
	rc = value.failed ? ERR_NOMEM : append(x, c->name, buf_span(&value));
	buf_fini(&value);
	if (!rc && kind == CORRELATION_B3_TRACEID) {
		drop_lines(&x->req, SPAN("x-b3-spanid"));
		rc = append(x, SPAN("x-b3-spanid"), span_make(ids->parent, PARENT_HEX));
	}
	if (kind == CORRELATION_TRACEPARENT)
		drop_lines(&x->req, SPAN("tracestate")); /* it belonged to no trace, or to another */
	return rc;
}

int correlate_complete(struct exchange *x)
{
	const struct conf *conf = x->view->conf;
	const struct conf_carrier *c, *lacking[CONF_CARRIERS_MOST];
	struct http_field *fields;
	struct correlation_ids ids;
	size_t i = 0, n = 0;
	int rc = 0;

	while (x->has_scope && (c = next_carrier(conf, &i)))
		if (lacks(x, c))
			lacking[n++] = c;
	if (!n)
		return 0;
	make_ids(x, &ids);
	fields = arena_alloc(&x->arena, (x->req.field_count + 2 * n) * sizeof(*fields));
	if (!fields)
		return ERR_NOMEM;
	memcpy(fields, x->req.fields, x->req.field_count * sizeof(*fields));
	x->req.fields = fields;
	for (i = 0; i < n && !rc; i++)
		rc = add_one(x, lacking[i], &ids);
	return rc;
}

/* ---- remembering ------------------------------------------------------------------------------------------------------ */

static void canonical(struct exchange *x, struct buf *out)
{
	const struct scope *scope = x->scope; /* of a peer's request nobody has read it yet */

	if (scope || !scope_parse(&x->arena, x->scope_text, NULL, &scope, NULL))
		scope_print(scope, out);
	if (!buf_len(out) || buf_len(out) > CORRELATION_SCOPE_BYTES) {
		buf_consume(out, buf_len(out));
		buf_add_span(out, x->scope_text);
	}
}

void correlate_remember(struct exchange *x)
{
	const struct conf_carrier *c;
	struct correlation_values v;
	struct buf scope;
	size_t i = 0;

	if (x->correlated || !table_of(x))
		return;
	x->correlated = true;
	buf_init(&scope, &x->w->blocks, 0);
	while ((c = next_carrier(x->view->conf, &i))) {
		if (!get_values(&x->req, (enum correlation_kind)c->values, c->name, &v))
			continue;
		if (!buf_len(&scope))
			canonical(x, &scope);
		for (unsigned k = 0; k < v.count && !scope.failed; k++)
			correlation_remember(table_of(x), &v.key[k], buf_span(&scope), clock_mono_us());
	}
	buf_fini(&scope);
}
