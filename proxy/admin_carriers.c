/* GET /v1/carriers: which are on, and how correlation fares.  POST and GET /v1/carriers/watch: carrier_watch.h. */
#include "base/clock.h"
#include "base/nearest.h"
#include "proxy/admin_int.h"
#include "proxy/server.h"

static uint64_t looked_up(struct server *srv, enum stats_correlation outcome)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < srv->worker_count; i++)
		n += counter_get(&srv->workers[i].stats.correlation[outcome]);
	return n;
}

void admin_get_carriers(struct exchange *x)
{
	struct server *srv = x->w->server;
	const struct conf *conf = x->view->conf;
	json_t *carriers = json_array(), *lookups = json_object();
	struct correlation_counts n;

	for (size_t i = 0; i < conf->carrier_count; i++)
		json_array_append_new(carriers, admin_text_json(conf->carriers[i].text));
	for (int k = 0; k < STATS_CORRELATION_COUNT; k++)
		json_object_set_new(lookups, stats_correlation_text(k),
		                    json_integer((json_int_t)looked_up(srv, (enum stats_correlation)k)));
	correlation_count(srv->correlation, &n);
	admin_reply_json(x, 200, "application/json",
	                 json_pack("{s:o,s:{s:I,s:I,s:I,s:I,s:I,s:o}}", "carriers", carriers, "correlation", "entries",
	                           (json_int_t)n.entries, "bytes", (json_int_t)n.bytes, "dropped_room",
	                           (json_int_t)n.evicted, "dropped_age", (json_int_t)n.expired, "conflicts",
	                           (json_int_t)n.conflicts, "lookups", lookups));
}

void admin_get_watches(struct exchange *x)
{
	admin_reply_json(x, 200, "application/json",
	                 json_pack("{s:o}", "watches", carrier_watches_json(&x->w->server->watches, clock_mono_us())));
}

/* Where a client reaches the service: addresses with their real ports. */
static json_t *listen_json(const struct server *srv, const struct conf_service *svc)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < srv->listeners.count; i++) {
		const struct bound *o = &srv->listeners.items[i];
		bool mine = o->kind == LISTEN_SERVICE && *o->service && span_eq(span_of(o->service), svc->name);

		for (size_t j = 0; !mine && o->kind == LISTEN_SERVICE && !*o->service && j < svc->listen_count; j++)
			mine = addr_eq(&svc->listen[j], &o->configured);
		if (!mine)
			continue;
		addr_format(&o->addr, text);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static void no_such_service(struct exchange *x, struct span name)
{
	const struct conf *conf = x->view->conf;
	struct problem p = { .status = 404, .type = "no-service", .detail = "no service of this name here", .text = name };
	struct nearest near = { { 0 }, 0 };

	for (size_t i = 0; i < conf->service_count; i++) {
		if (p.known_count < PROBLEM_KNOWN_MAX)
			p.known[p.known_count++] = conf->services[i].name;
		nearest_offer(&near, name, conf->services[i].name);
	}
	p.nearest = near.best;
	exchange_problem(x, &p);
}

static void start(struct exchange *x, const struct conf_service *svc, json_int_t seconds)
{
	struct server *srv = x->w->server;
	json_t *o = carrier_watch_start(&srv->watches, x->view->conf, svc, (unsigned)seconds, clock_mono_us());

	json_object_set_new(o, "listen", listen_json(srv, svc));
	json_object_set_new(o, "prefix", admin_text_json(svc->prefix));
	json_object_set_new(o, "scheme", json_string(svc->tls_cert.n ? "https" : "http"));
	admin_reply_json(x, 201, "application/json", o);
}

void admin_post_watch(struct exchange *x)
{
	const struct conf *conf = x->view->conf;
	struct span content = buf_span(&x->replay);
	json_t *doc = json_loadb(content.p ? content.p : "", content.n, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(doc, "service"));
	const json_t *given = json_object_get(doc, "seconds");
	json_int_t seconds = given ? json_integer_value(given) : 30;
	size_t i = 0;

	while (name && i < conf->service_count && !span_eq(conf->services[i].name, span_of(name)))
		i++;
	if (!name || seconds < 1 || seconds > WATCH_SECONDS_MOST)
		admin_problem(x, 400, "bad-request",
		              "expected {\"service\": NAME, \"seconds\": 1 to 600}, the latter 30 when left out");
	else if (i == conf->service_count)
		no_such_service(x, span_of(name));
	else
		start(x, &conf->services[i], seconds);
	json_decref(doc);
}
