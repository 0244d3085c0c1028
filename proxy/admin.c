/* The admin interface (spec section 6): HTTP and JSON on the main thread's loop, so that nothing it does delays a
 * request.  One table of paths; an answer is built whole in x->reply. */
#include "proxy/admin_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/percent.h"
#include "config.h"
#include "proxy/front_int.h"
#include "proxy/instance.h"
#include "proxy/lookup.h"
#include "proxy/server.h"

/* 0.401 and not 0.40100000000000002: 15 digits a double keeps exactly */
#define NUMBERS JSON_REAL_PRECISION(15)

void admin_problem(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	exchange_problem(x, &p);
}

char *admin_json_text(json_t *body)
{
	char *text = body ? json_dumps(body, NUMBERS | JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;

	json_decref(body);
	return text;
}

void admin_reply_json(struct exchange *x, unsigned status, const char *type, json_t *body)
{
	char *text = admin_json_text(body);

	if (!text) {
		admin_problem(x, 500, "internal", "no memory for the answer");
		return;
	}
	buf_add_z(&x->reply, text);
	buf_add_char(&x->reply, '\n');
	free(text);
	exchange_reply(x, status, type);
}

json_t *admin_text_json(struct span s)
{
	json_t *t = json_stringn(s.p ? s.p : "", s.n);

	return t ? t : json_string("\xef\xbf\xbd");
}

json_t *admin_maybe_json(struct span s)
{
	return s.n ? admin_text_json(s) : json_null();
}

json_t *admin_time_json(int64_t wall_ms)
{
	char text[CLOCK_TEXT_BYTES];

	if (!wall_ms)
		return json_null();
	clock_format(wall_ms, text);
	return json_string(text);
}

bool admin_query_get(struct exchange *x, const char *name, struct span *value_r)
{
	struct span text;
	const char *detail;

	*value_r = SPAN("");
	if (!percent_query_get(x->req.path_query, span_of(name), &text) || percent_decode(&x->arena, text, value_r))
		return true;
	detail = arena_printf(&x->arena, "%s is not percent-encoded text", name);
	admin_problem(x, 400, "bad-request", detail ? detail : "a parameter is not percent-encoded text");
	return false;
}

bool admin_page_of(struct exchange *x, struct admin_page *page_r)
{
	unsigned long long limit = 100;
	struct span text;

	*page_r = (struct admin_page){ .limit = 0 };
	if (percent_query_get(x->req.path_query, SPAN("limit"), &text) && (!span_to_u64(text, 1000, &limit) || !limit)) {
		admin_problem(x, 400, "bad-request", "limit is a number from 1 to 1000");
		return false;
	}
	page_r->limit = (int)limit;
	return admin_query_get(x, "after", &page_r->after);
}

/* ---- health -------------------------------------------------------------------------------------------------- */

static void get_healthz(struct exchange *x)
{
	buf_add_z(&x->reply, "ok\n");
	exchange_reply(x, 200, "text/plain; charset=utf-8");
}

static void get_readyz(struct exchange *x)
{
	struct server *srv = x->w->server;

	if (atomic_load(&srv->draining))
		admin_problem(x, 503, "not-ready", "draining: this process is about to stop");
	else if (!atomic_load(&srv->ready))
		admin_problem(x, 503, "not-ready", "starting");
	else
		get_healthz(x);
}

/* ---- explain -------------------------------------------------------------------------------------------------------- */

static json_t *addresses_of(struct exchange *x, size_t site, struct span service)
{
	const struct registry *reg = x->view->reg;
	const struct conf *conf = x->view->conf;
	json_t *list = json_array();

	if (site != reg->local) {
		if (reg->sites[site].has_mesh)
			json_array_append_new(list, admin_text_json(reg->sites[site].mesh_text));
		return list;
	}
	for (size_t i = 0; i < conf->service_count; i++) {
		if (!span_eq(conf->services[i].name, service))
			continue;
		for (size_t j = 0; j < conf->services[i].instance_count; j++)
			json_array_append_new(list, admin_text_json(conf->services[i].instances[j].url));
	}
	return list;
}

static void add_plan_sites(struct exchange *x, const struct scope_plan *plan, struct span service, json_t *list)
{
	const struct registry *reg = x->view->reg;

	if (plan->op == SCOPE_SITE)
		json_array_append_new(list, json_pack("{s:o,s:s,s:o,s:o}", "site", admin_text_json(plan->site), "state",
		                                      admin_state_text(reg, plan->site_index), "rtt_ms",
		                                      admin_rtt_json(reg, plan->site_index), "addresses",
		                                      addresses_of(x, plan->site_index, service)));
	for (size_t i = 0; i < plan->count; i++)
		add_plan_sites(x, plan->items[i], service, list);
}

static json_t *node_json(const struct scope_location *node)
{
	json_t *o = json_pack("{s:s}", "kind", scope_node_kind_name(scope_node_kind(node)));
	int64_t us;

	if (scope_node_name(node).n)
		json_object_set_new(o, "name", admin_text_json(scope_node_name(node)));
	if (scope_node_duration_us(node, &us))
		json_object_set_new(o, "within_ms", json_real((double)us / 1000));
	if (scope_node_labels(node)) {
		json_t *labels = json_array();

		for (const struct scope_label *l = scope_node_labels(node); l; l = l->next)
			json_array_append_new(labels, json_pack("{s:o,s:s,s:o}", "key", admin_text_json(l->key), "is",
			                                        l->differs ? "!=" : "=", "value",
			                                        admin_text_json(l->value)));
		json_object_set_new(o, "labels", labels);
	}
	if (scope_node_child(node)) {
		json_t *items = json_array();

		for (const struct scope_location *c = scope_node_child(node); c; c = scope_node_next(c))
			json_array_append_new(items, node_json(c));
		json_object_set_new(o, "items", items);
	}
	return o;
}

static json_t *tree_json(const struct scope *scope)
{
	json_t *list = json_array();

	for (size_t i = 0; i < scope_binding_count(scope); i++) {
		const struct scope_binding *b = scope_binding_get(scope, i);

		json_array_append_new(list, json_pack("{s:o,s:o}", "service",
		                                      b->others ? json_string("*") : admin_text_json(b->service),
		                                      "location", node_json(b->location)));
	}
	return list;
}

static json_t *printed(void (*print)(const void *, struct buf *), const void *what)
{
	struct buf text;
	json_t *t;

	buf_init(&text, NULL, 0);
	print(what, &text);
	t = admin_text_json(buf_span(&text));
	buf_fini(&text);
	return t;
}

static void print_scope(const void *s, struct buf *out)
{
	scope_print(s, out);
}

static void print_location(const void *l, struct buf *out)
{
	scope_print_location(l, out);
}

static void print_plan(const void *p, struct buf *out)
{
	scope_print_plan(p, out);
}

static bool served_here(const struct exchange *x, struct span service)
{
	for (size_t i = 0; i < x->view->conf->service_count; i++)
		if (span_eq(x->view->conf->services[i].name, service))
			return true;
	return false;
}

static bool has_later_class(const struct scope_plan *plan)
{
	if (plan->klass == SCOPE_QUORUM || plan->klass == SCOPE_STRONG)
		return true;
	for (size_t i = 0; i < plan->count; i++)
		if (has_later_class(plan->items[i]))
			return true;
	return false;
}

/* Which lists are those of several sites under a scope that replicates. */
static void add_list_notes(const struct exchange *x, struct span service, json_t *notes)
{
	for (size_t i = 0; i < x->view->conf->service_count; i++) {
		const struct conf_service *svc = &x->view->conf->services[i];

		for (size_t k = 0; span_eq(svc->name, service) && k < svc->resource_count; k++)
			if (svc->resources[k].list.items.n)
				json_array_append_new(notes, json_sprintf("the list of %.*s is that of each site in turn (resources.list)",
				                                          SPAN_ARG(svc->resources[k].collection)));
	}
}

static json_t *notes_of(struct exchange *x, const struct scope_binding *b, const struct scope_plan *plan)
{
	json_t *notes = json_array();

	if (!b->others && !served_here(x, b->service))
		json_array_append_new(notes, json_string("this site does not serve this service"));
	if (has_later_class(plan))
		json_array_append_new(notes, json_string("quorum and strong are not executed by this version: 501"));
	if (front_plan_replicates(plan))
		add_list_notes(x, b->service, notes);
	return notes;
}

static json_t *binding_json(struct exchange *x, const struct scope *written, const struct scope *replaced,
                            size_t i, const struct lookup *lookup, struct scope_error *e)
{
	const struct scope_binding *b = scope_binding_get(written, i);
	const struct scope_binding *r = scope_binding_get(replaced, i);
	const struct scope_plan *plan;
	json_t *sites;

	if (scope_expand(&x->arena, r->location, &lookup->scope, NULL, &plan, e))
		return NULL;
	sites = json_array();
	add_plan_sites(x, plan, b->service, sites);
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "service", b->others ? json_string("*") : admin_text_json(b->service),
	                 "location", printed(print_location, b->location), "expansion", printed(print_plan, plan),
	                 "sites", sites, "notes", notes_of(x, b, plan));
}

static void explain(struct exchange *x, struct span text)
{
	const struct scope *scope, *replaced;
	struct scope_error e;
	struct lookup lookup;
	json_t *bindings;

	lookup_init(&lookup, x->view->reg, x->view->conf);
	if (scope_parse_checked(&x->arena, text, NULL, &lookup.scope, &scope, &e) ||
	    scope_replace_names(&x->arena, scope, &lookup.scope, NULL, &replaced, &e)) {
		route_scope_problem(x, text, &e);
		return;
	}
	bindings = json_array();
	for (size_t i = 0; i < scope_binding_count(scope); i++) {
		json_t *b = binding_json(x, scope, replaced, i, &lookup, &e);

		if (!b) {
			json_decref(bindings);
			route_scope_problem(x, text, &e);
			return;
		}
		json_array_append_new(bindings, b);
	}
	admin_reply_json(x, 200, "application/json", json_pack("{s:o,s:o,s:o}", "canonical", printed(print_scope, scope), "tree",
	                        tree_json(scope), "bindings", bindings));
}

/* "+" is itself: the operator, not a blank. */
static void get_explain(struct exchange *x)
{
	struct span raw, text;

	if (!percent_query_get(x->req.path_query, SPAN("scope"), &raw))
		admin_problem(x, 400, "bad-request", "the query holds no scope: /v1/scope/explain?scope=TEXT, percent-encoded");
	else if (!percent_decode(&x->arena, raw, &text))
		admin_problem(x, 400, "bad-request", "the query's scope is not percent-encoded text");
	else
		explain(x, text);
}

/* ---- paths -------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *path, *method;
	void (*handle)(struct exchange *x);
} paths[] = {
	{ "/healthz", "GET", get_healthz },
	{ "/readyz", "GET", get_readyz },
	{ "/metrics", "GET", admin_get_metrics },
	{ "/v1/sites", "GET", admin_get_sites },
	{ "/v1/sites/*/fence", "POST", admin_post_site },
	{ "/v1/sites/*/unfence", "POST", admin_post_site },
	{ "/v1/sites/*/detach", "POST", admin_post_site },
	{ "/v1/sites/*/autonomous", "POST", admin_post_site },
	{ "/v1/sites/*/attended", "POST", admin_post_site },
	{ "/v1/services", "GET", admin_get_services },
	{ "/v1/scope/explain", "GET", get_explain },
	{ "/v1/replicas", "GET", admin_get_replicas },
	{ "/v1/replicas/*", "GET", admin_get_replica },
	{ "/v1/queue", "GET", admin_get_queue },
	{ "/v1/queue/*", "GET", admin_get_operation },
	{ "/v1/queue/*/retry", "POST", admin_post_operation },
	{ "/v1/queue/*/drop", "POST", admin_post_operation },
	{ "/v1/queue/*/settle", "POST", admin_post_operation },
	{ "/v1/rules", "GET", admin_get_rules },
	{ "/v1/rules/pin", "POST", admin_post_rule },
	{ "/v1/rules/unpin", "POST", admin_post_rule },
	{ "/v1/certificates", "GET", admin_get_certificates },
	{ "/v1/doctor", "GET", admin_get_doctor },
	{ "/v1/reload", "POST", admin_post_reload },
	{ "/v1/log", "PUT", admin_put_log },
	{ "/v1/carriers", "GET", admin_get_carriers },
	{ "/v1/carriers/watch", "GET", admin_get_watches },
	{ "/v1/carriers/watch", "POST", admin_post_watch },
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* "*" in a row stands for one segment that is not empty. */
static bool path_matches(struct span path, struct span row)
{
	struct span part, want;

	while (span_split(&row, '/', &want)) {
		if (!span_split(&path, '/', &part))
			return false;
		if (span_eq(want, SPAN("*")) ? !part.n : !span_eq(want, part))
			return false;
	}
	return !path.p;
}

static bool no_such_path(struct exchange *x)
{
	struct problem p = { .status = 404, .type = "not-found", .detail = "no such path in the admin interface" };

	for (size_t i = 0; i < PATHS && p.known_count < PROBLEM_KNOWN_MAX; i++)
		p.known[p.known_count++] = span_of(paths[i].path);
	exchange_problem(x, &p);
	return false;
}

/* Which row answers; false: answered already. */
static bool find_path(struct exchange *x, size_t *row_r)
{
	bool get = x->req.is_head || span_eq(x->req.method, SPAN("GET"));
	const char *answers = NULL, *detail;

	for (size_t i = 0; i < PATHS; i++) {
		bool reads = span_eq(span_of(paths[i].method), SPAN("GET"));

		if (!path_matches(x->req.path, span_of(paths[i].path)))
			continue;
		*row_r = i;
		if (reads ? get : span_eq(x->req.method, span_of(paths[i].method)))
			return true;
		answers = arena_printf(&x->arena, "%s%s%s", answers ? answers : "", answers ? ", " : "",
		                       reads ? "GET and HEAD" : paths[i].method);
		if (!answers)
			break;
	}
	if (!answers)
		return no_such_path(x);
	detail = arena_printf(&x->arena, "this path answers %s", answers);
	admin_problem(x, 405, "bad-request", detail ? detail : "another method is needed");
	return false;
}

/* All of the content into x->replay. */
static enum exchange_step read_content(struct exchange *x)
{
	struct conn *client = &x->s->c;
	struct span in = buf_span(&client->in), data;
	size_t before = in.n;
	const char *reason = NULL;
	enum http_body_event ev = HTTP_BODY_DATA;

	while (!x->req_done && ev == HTTP_BODY_DATA) {
		ev = http_body_next(&x->req_body, &in, &data, &reason);
		if (ev == HTTP_BODY_DATA) {
			x->bytes_in += data.n;
			buf_add_span(&x->replay, data);
		}
		x->req_done = ev == HTTP_BODY_END;
	}
	buf_consume(&client->in, before - in.n);
	if (x->replay.failed)
		exchange_request_unreadable(x, 413, "too-large", "the content is longer than 64 KiB");
	else if (ev == HTTP_BODY_BAD)
		exchange_request_unreadable(x, 400, "bad-request", reason);
	else if (!x->req_done && (client->eof || io_want_read(&client->io, true)))
		exchange_client_gone(x);
	else if (!x->req_done) {
		worker_deadline(x->w, &x->s->deadline, DEADLINE_BODY, clock_mono_us());
		return STEP_WAIT;
	}
	return STEP_NEXT;
}

/* A client that asks first gets its 100 (RFC 9110 10.1.1). */
static bool send_continue(struct exchange *x)
{
	static const struct span go_on = { "HTTP/1.1 100 Continue\r\n\r\n", 25 };

	if (!x->req.expect_continue || x->continue_sent || x->req_done)
		return true;
	x->continue_sent = true;
	if (conn_send(&x->s->c, &go_on, 1) == 0)
		return true;
	x->cut = true;
	x->state = X_END;
	return false;
}

enum exchange_step admin_handle(struct exchange *x)
{
	bool writes, open;
	size_t row = 0;

	if (x->reading)
		return admin_reading_step(x);
	if (!find_path(x, &row))
		return STEP_NEXT;
	writes = !span_eq(span_of(paths[row].method), SPAN("GET"));
	open = !span_starts(x->req.path, SPAN("/v1/")); /* probes and scrapers use any name */
	if ((!open && !admin_may_call(x, writes)) || !send_continue(x))
		return STEP_NEXT;
	if (writes && !x->req_done) {
		enum exchange_step step = read_content(x);

		if (!x->req_done || x->state != X_ROUTE)
			return step;
	}
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	paths[row].handle(x);
	return x->reading ? admin_reading_step(x) : STEP_NEXT;
}
