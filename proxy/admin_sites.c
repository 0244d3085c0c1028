/* The admin interface's view of the sites and their services, and the marks an operator sets on them. */
#include "proxy/admin_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/percent.h"
#include "proxy/instance.h"
#include "proxy/peer.h"
#include "proxy/server.h"

json_t *admin_rtt_json(const struct registry *reg, size_t site)
{
	int64_t us = atomic_load_explicit(&reg->sites[site].live->rtt_us, memory_order_relaxed);

	if (site == reg->local)
		return json_real(0);
	return us < 0 ? json_null() : json_real((double)us / 1000);
}

const char *admin_state_text(const struct registry *reg, size_t site)
{
	if (site == reg->local)
		return site_state_text(SITE_CONNECTED);
	return site_state_text(site_live_state(reg->sites[site].live));
}

static struct peers *peers_of(const struct exchange *x)
{
	return x->w->server->peers;
}

/* ---- a site ------------------------------------------------------------------------------------------------ */

static json_t *labels_of(const struct registry_site *site)
{
	json_t *labels = json_object();

	for (size_t i = 0; labels && i < site->label_count; i++) {
		struct span key = site->labels[i].key;

		json_object_setn_new(labels, key.p, key.n, admin_text_json(site->labels[i].value));
	}
	return labels;
}

/* One's own as configured, others' as they have announced them; null while they have not. */
static json_t *services_of(const struct exchange *x, size_t site)
{
	const struct registry *reg = x->view->reg;
	const struct announcement *a = peers_announcement(peers_of(x), reg->sites[site].name);
	json_t *names = a || site == reg->local ? json_array() : json_null();

	for (size_t i = 0; site == reg->local && i < x->view->conf->service_count; i++)
		json_array_append_new(names, admin_text_json(x->view->conf->services[i].name));
	for (size_t i = 0; site != reg->local && a && i < a->service_count; i++)
		json_array_append_new(names, admin_text_json(a->services[i].name));
	return names;
}

/* By whom: this site's operator, and those of others as they have announced it. */
static json_t *fenced_by(const struct exchange *x, size_t site)
{
	const struct registry *reg = x->view->reg;
	json_t *by = json_array();

	if (atomic_load_explicit(&reg->sites[site].live->marks, memory_order_relaxed) & MARK_FENCED)
		json_array_append_new(by, admin_text_json(local_site(x)));
	for (size_t i = 0; i < reg->site_count; i++) {
		const struct announcement *a = peers_announcement(peers_of(x), reg->sites[i].name);

		for (size_t j = 0; i != reg->local && a && j < a->fenced_count; j++)
			if (span_eq(a->fenced[j], reg->sites[site].name))
				json_array_append_new(by, admin_text_json(reg->sites[i].name));
	}
	return by;
}

static json_t *marks_json(unsigned marks)
{
	json_t *list = json_array();

	if (marks & MARK_FENCED)
		json_array_append_new(list, json_string("fenced"));
	if (marks & MARK_DETACHED)
		json_array_append_new(list, json_string("detached"));
	if (marks & MARK_AUTONOMOUS)
		json_array_append_new(list, json_string("autonomous"));
	return list;
}

/* Beside the mark: what is measured, whatever the mark. */
static void add_aliveness(const struct exchange *x, size_t site, json_t *o)
{
	const struct site_live *live = x->view->reg->sites[site].live;
	const char *reason = atomic_load_explicit(&live->reason, memory_order_relaxed);
	struct span name = x->view->reg->sites[site].name;
	enum site_reach reach = site_live_reach(live);
	bool local = site == x->view->reg->local;
	int64_t skew_ms;

	json_object_set_new(o, "reachable", local                    ? json_true()
	                                    : reach == REACH_UNKNOWN ? json_null()
	                                                             : json_boolean(reach == REACH_UP));
	json_object_set_new(o, "reason", reason ? json_string(reason) : json_null());
	json_object_set_new(o, "hears_us", json_boolean(!peers_is_unheard(peers_of(x), name)));
	json_object_set_new(o, "skew_ms",
	                    peers_skew_ms(peers_of(x), name, &skew_ms) ? json_integer(skew_ms) : json_null());
	json_object_set_new(o, "marks", marks_json(atomic_load_explicit(&live->marks, memory_order_relaxed)));
}

static json_t *site_json(const struct exchange *x, size_t i)
{
	const struct registry *reg = x->view->reg;
	const struct registry_site *site = &reg->sites[i];
	int64_t seen = atomic_load_explicit(&site->live->last_seen_ms, memory_order_relaxed);
	size_t queued = replication_queued(replication_of(x->w), site->name);
	json_t *o = json_pack("{s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:o}", "name", admin_text_json(site->name), "state",
	                      admin_state_text(reg, i), "rtt_ms", admin_rtt_json(reg, i), "labels", labels_of(site),
	                      "services", services_of(x, i), "mesh",
	                      site->has_mesh ? admin_text_json(site->mesh_text) : json_null(), "last_seen",
	                      admin_time_json(i == reg->local ? x->wall_ms : seen), "queued", (json_int_t)queued, "fenced_by",
	                      fenced_by(x, i));

	if (o)
		add_aliveness(x, i, o);
	return o;
}

/* ---- lists ------------------------------------------------------------------------------------------------- */

void admin_get_sites(struct exchange *x)
{
	const struct registry *reg = x->view->reg;
	json_t *list = json_array(), *next = json_null();
	struct admin_page page;

	if (!admin_page_of(x, &page)) {
		json_decref(list);
		return;
	}
	for (size_t i = 0; i < reg->site_count; i++) {
		if (page.after.n && span_compare(reg->sites[i].name, page.after) <= 0)
			continue;
		if (json_array_size(list) == (size_t)page.limit) {
			next = json_copy(json_object_get(json_array_get(list, (size_t)page.limit - 1), "name"));
			break;
		}
		json_array_append_new(list, site_json(x, i));
	}
	admin_reply_json(x, 200, "application/json",
	                 json_pack("{s:o,s:b,s:o,s:o}", "site", admin_text_json(local_site(x)), "isolated",
	                           (int)peers_isolated(peers_of(x)), "sites", list, "next", next));
}

static json_t *instance_json(struct span url, const char *health, uint64_t load, int64_t since_ms)
{
	return json_pack("{s:o,s:s,s:I,s:o}", "url", admin_text_json(url), "health", health, "load", (json_int_t)load,
	                 "since", admin_time_json(since_ms));
}

static json_t *own_instance_json(const struct conf_instance *conf)
{
	const struct instance *inst = instance_get(&conf->addr);

	if (!inst)
		return instance_json(conf->url, instance_health_text(INSTANCE_UNKNOWN), 0, 0);
	return instance_json(conf->url,
	                     instance_health_text((enum instance_health)atomic_load_explicit(&inst->health,
	                                                                                     memory_order_relaxed)),
	                     atomic_load_explicit(&inst->outstanding, memory_order_relaxed),
	                     atomic_load_explicit(&inst->since_ms, memory_order_relaxed));
}

static void add_service(json_t *list, struct span service, struct span site, json_t *instances)
{
	json_array_append_new(list, json_pack("{s:o,s:o,s:o}", "service", admin_text_json(service), "site",
	                                      admin_text_json(site), "instances", instances));
}

static void add_own_services(const struct conf *conf, json_t *list)
{
	for (size_t i = 0; i < conf->service_count; i++) {
		json_t *instances = json_array();

		for (size_t j = 0; j < conf->services[i].instance_count; j++)
			json_array_append_new(instances, own_instance_json(&conf->services[i].instances[j]));
		add_service(list, conf->services[i].name, conf->site, instances);
	}
}

static void add_announced_services(const struct announcement *a, json_t *list)
{
	for (size_t i = 0; a && i < a->service_count; i++) {
		json_t *instances = json_array();

		for (size_t j = 0; j < a->services[i].count; j++) {
			const struct announce_instance *inst = &a->services[i].instances[j];

			json_array_append_new(instances, instance_json(inst->url, announce_health_text(inst->health),
			                                               inst->load, inst->since_ms));
		}
		add_service(list, a->services[i].name, a->site, instances);
	}
}

/* By site, this one's first. */
void admin_get_services(struct exchange *x)
{
	const struct registry *reg = x->view->reg;
	json_t *list = json_array();

	add_own_services(x->view->conf, list);
	for (size_t i = 0; i < reg->site_count; i++)
		if (i != reg->local)
			add_announced_services(peers_announcement(peers_of(x), reg->sites[i].name), list);
	admin_reply_json(x, 200, "application/json", json_pack("{s:o}", "services", list));
}

/* ---- marks ------------------------------------------------------------------------------------------------- */

static const struct { const char *verb; unsigned set, clear; const char *done; } verbs[] = {
	{ "fence", MARK_FENCED, 0, "fenced: no traffic with it" },
	{ "unfence", 0, MARK_FENCED, "no longer fenced" },
	{ "detach", MARK_DETACHED, 0, "detached: gone for good, it returns as an empty site only" },
	{ "autonomous", MARK_AUTONOMOUS, 0, "autonomous: it works offline and never counts as failed" },
	{ "attended", 0, MARK_AUTONOMOUS, "attended: no longer autonomous" },
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void unknown_site(struct exchange *x, struct span name)
{
	const struct registry *reg = x->view->reg;
	struct problem p = { .status = 404, .type = "unknown-site", .text = name,
		             .detail = "the registry has no such site" };
	struct nearest near = { { 0 }, 0 };

	for (size_t i = 0; i < reg->site_count; i++) {
		nearest_offer(&near, name, reg->sites[i].name);
		if (i != reg->local && p.known_count < PROBLEM_KNOWN_MAX)
			p.known[p.known_count++] = reg->sites[i].name;
	}
	p.nearest = near.best;
	exchange_problem(x, &p);
}

/* "/v1/sites/NAME/VERB": the row of paths has made sure of its form. */
static bool parts_of(struct exchange *x, struct span *name_r, size_t *verb_r)
{
	struct span rest = span_from(x->req.path, SPAN("/v1/sites/").n), name, verb;

	if (!span_split(&rest, '/', &name) || !span_split(&rest, '/', &verb) ||
	    !percent_decode(&x->arena, name, name_r))
		return false;
	for (size_t i = 0; i < VERBS; i++) {
		*verb_r = i;
		if (span_eq(verb, span_of(verbs[i].verb)))
			return true;
	}
	return false;
}

void admin_post_site(struct exchange *x)
{
	const struct registry *reg = x->view->reg;
	struct span name;
	size_t verb, at;
	struct err e;

	if (!parts_of(x, &name, &verb)) {
		admin_problem(x, 400, "bad-request", "the site's name is not percent-encoded text");
		return;
	}
	if (!registry_find(reg, name, &at)) {
		unknown_site(x, name);
		return;
	}
	if (at == reg->local) {
		admin_problem(x, 400, "bad-request", "this is the site itself: marks are set on other sites");
		return;
	}
	if (peers_mark(peers_of(x), name, verbs[verb].set, verbs[verb].clear, &e)) {
		log_error("site %.*s: %s is not in force: %s", SPAN_ARG(name), verbs[verb].verb, e.text);
		admin_problem(x, 500, "internal", arena_printf(&x->arena, "the mark could not be stored: %s", e.text));
		return;
	}
	log_info("site %.*s, by an operator: %s", SPAN_ARG(name), verbs[verb].done);
	admin_reply_json(x, 200, "application/json", site_json(x, at));
}
