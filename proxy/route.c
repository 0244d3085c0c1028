/* Where a request goes: service by listener and prefix (or by name from a peer), scope by the carriers, sites by
 * the scope's binding for this service. */
#include "base/clock.h"
#include "proxy/carrier.h"
#include "proxy/front.h"
#include "proxy/inner.h"
#include "proxy/lookup.h"
#include "proxy/peer.h"
#include "proxy/piggyback.h"
#include "proxy/rewrite_exchange.h"
#include "proxy/server.h"
#include "proxy/trust.h"

#define HOPS_MOST 8 /* sites a request may have passed */

static int refuse(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	exchange_problem(x, &p);
	return ERR_DENIED;
}

/* ---- service ----------------------------------------------------------------------------------------------- */

/* A prefix matches at a segment border: "/v2" has "/v2" and "/v2/x", not "/v20". */
static bool prefix_matches(struct span prefix, struct span path)
{
	if (prefix.n == 1)
		return true;
	return span_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

static int find_service_by_path(struct exchange *x)
{
	const struct conf *conf = x->view->conf;
	const struct conf_service *best = NULL;
	struct problem p = { .status = 404, .type = "no-service",
		             .detail = "no service listens here with a prefix of this path" };

	for (size_t i = 0; i < conf->service_count; i++) {
		const struct conf_service *svc = &conf->services[i];

		if (!listener_serves(x->s->listener, svc))
			continue;
		if (prefix_matches(svc->prefix, x->req.path) && (!best || svc->prefix.n > best->prefix.n))
			best = svc;
		if (p.known_count < PROBLEM_KNOWN_MAX)
			p.known[p.known_count++] = svc->prefix;
	}
	if (!best) {
		exchange_problem(x, &p);
		return ERR_NOT_FOUND;
	}
	x->svc = best;
	x->svc_index = (size_t)(best - conf->services);
	return 0;
}

static int find_service_by_name(struct exchange *x)
{
	const struct http_field *name = http_find(&x->req, HTTP_X_SCOPEMESH_SERVICE);
	const struct conf *conf = x->view->conf;

	if (!name)
		return refuse(x, 400, "bad-request", "a request at the mesh listener names no service");
	for (size_t i = 0; i < conf->service_count; i++) {
		if (heads_is_token(x, name->value, conf->services[i].name)) {
			x->svc = &conf->services[i];
			x->svc_index = i;
			return 0;
		}
	}
	return refuse(x, 503, "no-instance", "this site has no service of that name");
}

/* ---- loops --------------------------------------------------------------------------------------------------- */

static int check_loop(struct exchange *x)
{
	const struct http_field *trace = x->from_mesh ? http_find(&x->req, HTTP_X_SCOPEMESH_TRACE) : NULL;
	struct span rest, member;
	unsigned hops = 0;
	uint64_t passed = 0;

	for (size_t i = 0; i < x->req.field_count; i++) {
		if (x->req.fields[i].id != HTTP_VIA)
			continue;
		rest = x->req.fields[i].value;
		while (http_list_next(&rest, &member)) {
			member = span_trim(span_from(member, span_find(member, ' ')));
			if (heads_is_token(x, span_head(member, span_find(member, ' ')), local_site(x)) &&
			    ++passed > x->view->conf->limit_own_via)
				return refuse(x, 508, "loop", "the request has passed this site before (Via); where an "
				                              "application passes Via on in its own calls, raise limits.own_via");
		}
	}
	if (!trace)
		return 0;
	rest = x->trace = trace->value;
	while (http_list_next(&rest, &member)) {
		if (++hops > HOPS_MOST)
			return refuse(x, 508, "loop", "the request has passed too many sites");
		if (heads_is_token(x, member, local_site(x)))
			return refuse(x, 508, "loop", "the request has passed this site before");
	}
	return 0;
}

/* ---- scope ------------------------------------------------------------------------------------------------------ */

int route_scope_problem(struct exchange *x, struct span text, const struct scope_error *e)
{
	struct buf line, caret;
	struct problem p = {
		.status = 400,
		.type = scope_error_name(e->kind),
		.detail = e->message,
		.text = text,
		.column = e->column,
		.expected = e->expected[0] ? e->expected : NULL,
		.hint = e->hint[0] ? e->hint : NULL,
		.nearest = e->nearest,
		.known_count = e->known_count < PROBLEM_KNOWN_MAX ? e->known_count : PROBLEM_KNOWN_MAX,
	};

	counter_add(&x->w->stats.scope_errors[e->kind], 1);
	if (e->kind == SCOPE_NOMEM)
		return refuse(x, 400, "scope-limit", "the scope needs more memory than a request may use");
	memcpy(p.known, e->known, p.known_count * sizeof(p.known[0]));
	buf_init(&line, NULL, 0);
	buf_init(&caret, NULL, 0);
	scope_error_caret(text, e->column, &line, &caret);
	p.caret[0] = buf_span(&line);
	p.caret[1] = buf_span(&caret);
	exchange_problem(x, &p);
	buf_fini(&line);
	buf_fini(&caret);
	return ERR_INVALID;
}

static struct scope_limits limits_of(const struct conf *conf)
{
	return (struct scope_limits){ .text_bytes = conf->limit_scope_text,
		                      .depth = (unsigned)conf->limit_scope_depth,
		                      .sites = (unsigned)conf->limit_scope_sites };
}

static bool may_send_scope(const struct exchange *x)
{
	struct addr peer;

	if (!x->svc->scope_from_count)
		return true;
	session_peer(x->s, &peer);
	for (size_t i = 0; i < x->svc->scope_from_count; i++)
		if (cidr_has(&x->svc->scope_from[i], &peer))
			return true;
	return false;
}

/* What one carrier brings. 0: nothing, x->has_scope: a scope; else refused. */
static int ask_carrier(struct exchange *x, const struct conf_carrier *configured)
{
	const struct carrier *c = &carrier_table[configured->kind];
	const char *why;

	if (c->explicit_scope && http_count(&x->req, HTTP_X_SCOPE) > 1)
		return refuse(x, 400, "scope-multiple",
		              "the request has more than one X-Scope field; one holds all bindings, apart by commas");
	switch (c->get(&x->arena, &x->req, configured->name, &x->scope_text, &why)) {
	case CARRIER_NONE:
		return 0;
	case CARRIER_REFUSED:
		return refuse(x, 400, "scope-syntax", why);
	case CARRIER_SCOPE:
		break;
	}
	x->has_scope = true;
	x->scope_explicit = c->explicit_scope;
	x->carrier = configured;
	if (!may_send_scope(x))
		return refuse(x, 403, "not-allowed", "this address may not send a scope to this service (scope_from)");
	return 0;
}

/* The text of the scope and how it came, in the fixed precedence. */
static int find_scope(struct exchange *x)
{
	const struct conf *conf = x->view->conf;

	for (int kind = 0; kind < CONF_CARRIER_KINDS; kind++) {
		for (size_t i = 0; i < conf->carrier_count && carrier_table[kind].get; i++) {
			if ((int)conf->carriers[i].kind != kind)
				continue;
			if (ask_carrier(x, &conf->carriers[i]))
				return ERR_DENIED;
			if (x->has_scope)
				return 0;
		}
	}
	if (correlate_find(x))
		return 0;
	x->scope_text = x->svc->scope;
	x->has_scope = x->scope_text.n > 0;
	return 0;
}

/* Sites of a plan without "&", left to right; with one too where a resource is named that lives at several sites. */
static int add_sites(struct exchange *x, const struct scope_plan *plan)
{
	if ((plan->replicated || plan->op == SCOPE_AND) && !rewrite_names_resource(x) && !x->replicated)
		return ERR_UNSUPPORTED;
	if (plan->op == SCOPE_SITE) {
		x->sites[x->site_count++] = plan->site_index;
		return 0;
	}
	for (size_t i = 0; i < plan->count; i++)
		if (add_sites(x, plan->items[i]))
			return ERR_UNSUPPORTED;
	return 0;
}

static size_t plan_size(const struct scope_plan *plan)
{
	size_t n = plan->op == SCOPE_SITE;

	for (size_t i = 0; i < plan->count; i++)
		n += plan_size(plan->items[i]);
	return n;
}

/* It has answered a ping since the last request that met no connection. */
static bool has_come_back(const struct site_live *live)
{
	return atomic_load_explicit(&live->answered_us, memory_order_relaxed) >
	       atomic_load_explicit(&live->last_failure_us, memory_order_relaxed);
}

/* Not asked first: this worker's last connect failed, or the site is judged unreachable. */
bool route_is_known_down(const struct exchange *x, size_t site)
{
	const struct pool *pool = x->view->site[site];
	const struct site_live *live = x->view->reg->sites[site].live;
	enum site_reach reach = site_live_reach(live);

	if (site == x->view->reg->local)
		return false;
	return (pool && pool->down_until_us > x->start_us && !has_come_back(live)) || reach == REACH_DOWN ||
	       reach == REACH_FAILED;
}

/* Sites that are known to be down are tried last; the order stays otherwise. */
void route_put_down_last(struct exchange *x)
{
	size_t *down, n = 0, k = 0;

	if (x->site_count < 2)
		return;
	down = arena_alloc(&x->arena, x->site_count * sizeof(*down));
	if (!down)
		return;
	for (size_t i = 0; i < x->site_count; i++) {
		if (route_is_known_down(x, x->sites[i]))
			down[n++] = x->sites[i];
		else
			x->sites[k++] = x->sites[i];
	}
	memcpy(x->sites + k, down, n * sizeof(*down));
	if (n)
		counter_add(&x->w->stats.fallbacks[REASON_DOWN], 1);
}

/* others: by the binding of every service not named. */
static int use_location(struct exchange *x, const struct scope_location *location, bool others,
                        const struct scope_lookup *lookup, struct span text)
{
	struct scope_limits limits = limits_of(x->view->conf);
	const struct scope_plan *plan;
	struct scope_error e;

	if (scope_expand(&x->arena, location, lookup, &limits, &plan, &e))
		return route_scope_problem(x, text, &e);
	x->sites = arena_alloc(&x->arena, plan_size(plan) * sizeof(*x->sites));
	if (!x->sites)
		return refuse(x, 400, "scope-limit", "the scope needs more memory than a request may use");
	if (front_note_plan(x, plan, others))
		return ERR_NOMEM;
	if (add_sites(x, plan))
		return refuse(x, 501, "not-implemented",
		              "replication (\"&\", all() and the consistency classes) is understood, "
		              "but this version does not execute it yet");
	route_put_down_last(x);
	x->op = x->site_count > 1                       ? OP_OTHERWISE
	        : x->sites[0] == x->view->reg->local ? OP_LOCAL
	                                             : OP_FORWARD;
	return 0;
}

static int use_local(struct exchange *x)
{
	x->sites = arena_alloc(&x->arena, sizeof(*x->sites));
	if (!x->sites)
		return refuse(x, 503, "internal", "no memory");
	x->sites[0] = x->view->reg->local;
	x->site_count = 1;
	x->op = OP_LOCAL;
	return 0;
}

static int use_default(struct exchange *x, const struct scope_lookup *lookup)
{
	struct span text = x->svc->default_location;
	const struct scope_location *location;
	struct scope_error e;

	if (span_eq(text, SPAN("local")))
		return use_local(x);
	if (scope_parse_location(&x->arena, text, NULL, &location, &e))
		return route_scope_problem(x, text, &e);
	return use_location(x, location, false, lookup, text);
}

/* Line ends are blanks in a scope, and decoded baggage may hold them: in a field they would begin another one. */
static bool fits_a_field(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (((unsigned char)text.p[i] < ' ' && text.p[i] != '\t') || text.p[i] == 0x7f)
			return false;
	return true;
}

/* What travels on: as it came, or in its canonical form, without @names; an empty scope as "{}", since an empty field
 * may get lost. */
static int set_travelling(struct exchange *x, const struct scope *parsed, const struct scope *travels)
{
	struct buf text;
	struct span copy;

	if (!x->scope_text.n)
		x->scope_text = SPAN("{}");
	if (parsed == travels && fits_a_field(x->scope_text))
		return 0;
	buf_init(&text, NULL, 0);
	scope_print(travels, &text);
	copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	if (!copy.p)
		return refuse(x, 400, "scope-limit", "the scope needs more memory than a request may use");
	x->scope_text = copy;
	return 0;
}

static int use_scope(struct exchange *x, const struct scope_lookup *lookup)
{
	struct scope_limits limits = limits_of(x->view->conf);
	const struct scope_binding *own;
	const struct scope *parsed, *travels;
	struct span text = x->scope_text;
	struct scope_error e;

	/* What the client wrote itself is checked whole, what came along only as far as it concerns this service. */
	if (x->scope_explicit ? scope_parse_checked(&x->arena, text, &limits, lookup, &parsed, &e)
	                      : scope_parse(&x->arena, text, &limits, &parsed, &e))
		return route_scope_problem(x, text, &e);
	own = scope_bind(parsed, x->svc->name);
	if (!x->scope_explicit && own && scope_check(parsed, own, lookup, &e))
		return route_scope_problem(x, text, &e);
	if (scope_replace_names(&x->arena, parsed, lookup, &limits, &travels, &e))
		return route_scope_problem(x, text, &e);
	if (set_travelling(x, parsed, travels))
		return ERR_NOMEM;
	x->scope = travels;
	own = scope_bind(travels, x->svc->name);
	x->scope_binds = own != NULL;
	return own ? use_location(x, own->location, own->others, lookup, text) : use_default(x, lookup);
}

/* ---- requests that end here by their own wish (RFC 9110 7.6.2, 9.3.8) ---------------------------------------------- */

static bool is_secret(const struct exchange *x, const struct http_field *f)
{
	return conf_is_secret(x->view->conf, f->name) || span_istarts(f->name, SPAN("X-Scopemesh-")) ||
	       piggyback_names(x->view->conf, f->name);
}

/* TRACE: the request as it came, less what is nobody's business. OPTIONS: yes, we are here. */
static int answer_last_hop(struct exchange *x)
{
	if (!span_eq(x->req.method, SPAN("TRACE"))) {
		exchange_reply(x, 204, NULL);
		return ERR_EXISTS; /* answered */
	}
	buf_addf(&x->reply, "TRACE %.*s HTTP/1.%u\r\n", SPAN_ARG(x->req.target), x->req.minor);
	for (size_t i = 0; i < x->req.field_count; i++) {
		const struct http_field *f = &x->req.fields[i];

		if (!is_secret(x, f))
			buf_addf(&x->reply, "%.*s: %.*s\r\n", SPAN_ARG(f->name), SPAN_ARG(f->value));
	}
	buf_add_z(&x->reply, "\r\n");
	exchange_reply(x, 200, "message/http");
	return ERR_EXISTS;
}

/* The one branch that a site without names costs a request. */
static int name_resource(struct exchange *x)
{
	return x->w->names ? rewrite_begin(x) : 0;
}

/* ---- from other sites ---------------------------------------------------------------------------------------- */

static int route_from_mesh(struct exchange *x)
{
	const struct http_field *scope = http_find(&x->req, HTTP_X_SCOPEMESH_SCOPE);

	/* A user's request names its service, whatever its path: else users would speak for the site that passes them on. */
	x->between_sites = span_starts(x->req.path, SPAN(PEER_PATHS)) && !http_find(&x->req, HTTP_X_SCOPEMESH_SERVICE);
	if (trust_identify(x) || trust_check_version(x))
		return ERR_DENIED;
	if (x->between_sites) {
		peer_answer(x);
		return ERR_EXISTS; /* answered */
	}
	if (trust_admit(x))
		return ERR_DENIED;
	if (x->req.max_forwards == 0)
		return answer_last_hop(x);
	if (check_loop(x) || find_service_by_name(x) || trust_admit_to_service(x) || name_resource(x))
		return ERR_DENIED;
	if (scope) {
		x->scope_text = scope->value;
		x->has_scope = true;
	}
	x->held_by_peer = http_find_name(&x->req, SPAN("X-Scopemesh-Hold")) != NULL;
	return use_local(x);
}

/* For who watches what an application hands on: scopectl doctor --service. */
static void let_watch(struct exchange *x)
{
	struct server *srv = x->w->server;
	struct addr peer;

	if (!srv || !carrier_watches_on(&srv->watches))
		return;
	session_peer(x->s, &peer);
	carrier_watch_see(&srv->watches, &x->req, x->svc->name, conf_is_neighbour(x->view->conf, &peer), clock_mono_us());
}

static int route_by_scope(struct exchange *x)
{
	struct lookup lookup;

	if (find_scope(x))
		return ERR_DENIED;
	lookup_init(&lookup, x->view->reg, x->view->conf);
	return x->has_scope ? use_scope(x, &lookup.scope) : use_default(x, &lookup.scope);
}

int route_request(struct exchange *x)
{
	uint64_t most = x->view->conf->limit_body_bytes;
	int rc;

	if (x->req.is_connect) {
		x->keep = false; /* what follows may be meant for a tunnel */
		return refuse(x, 501, "not-implemented", "CONNECT is not served");
	}
	if (x->req.max_forwards == 0 && x->s->kind != LISTEN_MESH)
		return answer_last_hop(x);
	if (x->s->kind == LISTEN_MESH) {
		rc = route_from_mesh(x);
	} else if (x->inner) { /* whether it goes round in circles was judged when it came in */
		rc = inner_route(x);
		if (!rc && x->op == OP_LOCAL) /* another site translates for itself */
			rc = name_resource(x);
	} else if (!(rc = find_service_by_path(x)) && !(rc = check_loop(x)) && !(rc = name_resource(x))) {
		let_watch(x);
		rc = route_by_scope(x);
	}
	piggyback_bare(&x->req, x->view->conf);
	if (!rc)
		rc = front_route(x);
	if (!rc && x->rw && !x->front)
		rc = rewrite_route(x);
	if (!rc && correlate_complete(x))
		return refuse(x, 431, "too-large", "the request needs more memory than a request may use");
	if (!rc && most && x->req.framing == HTTP_LENGTH && x->req.content_length > most)
		return refuse(x, 413, "too-large", "the request body is longer than limits.body_bytes");
	return rc;
}
