/* GET /v1/replicas and /v1/replicas/META: what lives where. */
#include "proxy/admin_int.h"

#include "base/clock.h"
#include "base/nearest.h"
#include "base/percent.h"
#include "proxy/replication.h"
#include "replication/hlc.h"

#define HISTORY 20 /* operations that a single answer shows */
#define PLACES_MOST 32

/* ---- an element --------------------------------------------------------------------------------------------------- */

static void set_site(json_t *sites, struct span site, json_t *o)
{
	char name[OP_SITE_BYTES];

	site = span_head(site, sizeof(name) - 1);
	memcpy(name, site.p, site.n);
	name[site.n] = '\0';
	json_object_set_new(sites, name, o);
}

static int add_replica(void *arg, const struct store_replica *r)
{
	set_site(arg, r->site, json_pack("{s:o,s:s,s:o}", "local_id", admin_maybe_json(r->local), "state",
	                                 replica_state_text(r->state), "reason", admin_maybe_json(r->reason)));
	return 0;
}

static bool has_site(const json_t *sites, struct span name)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)sites, key, value)
		if (span_eq(span_of(key), name))
			return true;
	return false;
}

/* Members of the set of whose replicas nothing is known here. */
static void add_unknown(json_t *sites, struct span set)
{
	struct span site;

	while (set.n && span_split(&set, '\n', &site))
		if (!has_site(sites, site))
			set_site(sites, site, json_pack("{s:n,s:n,s:n}", "local_id", "state", "reason"));
}

static json_t *element(struct store_reader *r, const struct store_resource *m, int *rc_r)
{
	json_t *sites = json_object();

	*rc_r = store_read_replicas(r, &m->key, add_replica, sites);
	if (*rc_r) {
		json_decref(sites);
		return NULL;
	}
	add_unknown(sites, m->sites);
	return json_pack("{s:o,s:o,s:o,s:s,s:o,s:o,s:o}", "meta_id", admin_text_json(m->key.meta), "service",
	                 admin_text_json(m->key.service), "collection", admin_maybe_json(m->key.collection), "consistency",
	                 consistency_text(m->class), "created", admin_time_json(m->created_ms), "deleted",
	                 admin_time_json(m->deleted ? hlc_wall_ms(m->deleted) : 0), "sites", sites);
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

struct listing {
	struct store_reader *reader;
	struct admin_reading *rd;
};

static int add_resource(void *arg, int64_t cursor, const struct store_resource *m)
{
	struct listing *l = arg;
	int rc;
	json_t *o = element(l->reader, m, &rc);

	(void)cursor;
	if (rc)
		return rc;
	return json_array_append_new(l->rd->list, o) ? ERR_NOMEM : 0;
}

static json_t *cursor_json(int64_t cursor)
{
	char text[24];

	if (cursor == STORE_VIEW_END)
		return json_null();
	snprintf(text, sizeof(text), "%lld", (long long)cursor);
	return json_string(text);
}

/* A filter may match little: the walk goes on, job by job, until the page is full or there is no more time. */
static int read_list(struct store_reader *reader, struct admin_reading *rd)
{
	struct listing l = { reader, rd };
	int room = rd->page.limit - (int)json_array_size(rd->list);
	int rc = store_view_resources(reader, &rd->filter, rd->cursor, room, add_resource, &l, &rd->cursor);

	if (rc)
		return rc;
	rd->more = rd->cursor != STORE_VIEW_END && (int)json_array_size(rd->list) < rd->page.limit &&
	           clock_mono_us() < rd->hurry_us;
	if (rd->more)
		return 0;
	rd->answer = json_pack("{s:O,s:o}", "replicas", rd->list, "next", cursor_json(rd->cursor));
	return 0;
}

static void state_problem(struct exchange *x, struct span state)
{
	struct problem p = { .status = 400, .type = "bad-request", .text = state,
		             .detail = "state is none that a replica can have" };
	struct nearest near = { { 0 }, 0 };

	for (int i = 0; i < REPLICA_STATES_; i++) {
		p.known[p.known_count++] = span_of(replica_state_text((enum replica_state)i));
		nearest_offer(&near, state, p.known[i]);
	}
	p.nearest = near.best;
	exchange_problem(x, &p);
}
_Static_assert(REPLICA_STATES_ <= PROBLEM_KNOWN_MAX, "all of them are shown");

static bool state_of(struct exchange *x, struct span text, int *state_r)
{
	enum replica_state state;

	*state_r = -1;
	if (!text.n)
		return true;
	if (!replica_state_parse(text, &state)) {
		state_problem(x, text);
		return false;
	}
	*state_r = (int)state;
	return true;
}

void admin_get_replicas(struct exchange *x)
{
	struct admin_page page;
	struct span service, site, state_text;
	unsigned long long after = 0;
	struct admin_reading *rd;
	int state;

	if (!admin_page_of(x, &page) || !admin_query_get(x, "service", &service) || !admin_query_get(x, "site", &site) ||
	    !admin_query_get(x, "state", &state_text) || !state_of(x, state_text, &state))
		return;
	if (page.after.n && !span_to_u64(page.after, INT64_MAX, &after)) {
		admin_problem(x, 400, "bad-request", "after is what a page before named as next");
		return;
	}
	rd = admin_reading_new(x, read_list);
	if (!rd || !admin_reading_keep(rd, &rd->filter.service, service) ||
	    !admin_reading_keep(rd, &rd->filter.site, site))
		return;
	rd->page = page;
	rd->cursor = (int64_t)after;
	rd->filter.state = state;
	rd->list = json_array();
	admin_reading_start(rd);
}

/* ---- one ---------------------------------------------------------------------------------------------------------- */

struct history {
	struct store_reader *reader;
	json_t *list;
};

static int add_operation(void *arg, const struct store_operation *op)
{
	struct history *h = arg;
	json_t *sites, *o;
	int rc = admin_add_deliveries(h->reader, &op->id, &sites);

	if (rc)
		return rc;
	o = admin_operation_json(op);
	json_object_set_new(o, "sites", sites);
	return json_array_append_new(h->list, o) ? ERR_NOMEM : 0;
}

/* Where the meta-identifier is, of what was asked for, in the order of services. */
struct places {
	struct admin_reading *rd;
	struct store_key_of items[PLACES_MOST];
	size_t count;
};

static int add_place(void *arg, const struct store_key_of *key)
{
	struct places *p = arg;
	struct admin_reading *rd = p->rd;
	struct store_key_of *to = &p->items[p->count];

	if ((rd->key.service.n && !span_eq(rd->key.service, key->service)) ||
	    (rd->key.collection.n && key->collection.n && !span_eq(rd->key.collection, key->collection)) ||
	    p->count == PLACES_MOST)
		return 0;
	to->service = arena_dup(&rd->arena, key->service);
	to->collection = arena_dup(&rd->arena, key->collection);
	p->count++;
	return to->service.p && to->collection.p ? 0 : ERR_NOMEM;
}

static void say(struct admin_reading *rd, unsigned status, const char *type, const char *detail, const char *expected)
{
	rd->problem.status = status;
	rd->problem.type = type;
	rd->problem.detail = detail;
	rd->problem.expected = expected;
}

static void add_known(struct problem *p, struct span name)
{
	if (p->known_count < PROBLEM_KNOWN_MAX && (!p->known_count || !span_eq(p->known[p->known_count - 1], name)))
		p->known[p->known_count++] = name;
}

/* A create under way has no collection yet, and its operation never gets one: that is no place beside the collection
 * which the resource has by now. */
static void choose_place(struct admin_reading *rd, const struct places *p)
{
	struct store_key_of *key = &rd->key;
	size_t collections = 0;

	if (!span_eq(p->items[0].service, p->items[p->count - 1].service)) {
		for (size_t i = 0; i < p->count; i++)
			add_known(&rd->problem, p->items[i].service);
		say(rd, 409, "several", "several services have something under this identifier", "?service=NAME");
		return;
	}
	*key = (struct store_key_of){ p->items[0].service, SPAN(""), key->meta };
	for (size_t i = 0; i < p->count; i++) {
		if (!p->items[i].collection.n)
			continue;
		key->collection = p->items[i].collection;
		add_known(&rd->problem, key->collection);
		collections++;
	}
	if (collections > 1)
		say(rd, 409, "several", "several collections have something under this identifier",
		    "?service=NAME&collection=PATH");
}

/* An operation under way whose resource is not there yet. */
struct under_way {
	struct admin_reading *rd;
	struct store_resource *m;
};

static int take_intent(void *arg, const struct store_intent *i)
{
	struct under_way *of = arg;

	of->m->class = i->class;
	of->m->created_ms = i->since_ms;
	of->m->sites = arena_dup(&of->rd->arena, i->sites);
	return of->m->sites.p ? 0 : ERR_NOMEM;
}

struct newest {
	struct op_id id;
	int64_t created_ms;
	bool found;
};

static int take_newest(void *arg, const struct store_operation *op)
{
	struct newest *n = arg;

	*n = (struct newest){ op->id, op->created_ms, true };
	return 0;
}

/* What its last operation tells, where there is no resource. */
static int resource_of(struct store_reader *reader, struct admin_reading *rd, struct store_resource *m)
{
	struct under_way of = { rd, m };
	struct newest newest = { .found = false };
	int rc = store_read_resource(reader, &rd->key, &rd->arena, m);

	if (rc != ERR_NOT_FOUND)
		return rc;
	*m = (struct store_resource){ .key = rd->key, .class = CLASS_EVENTUAL, .sites = SPAN("") };
	rc = store_view_history(reader, &rd->key, 1, take_newest, &newest);
	if (rc || !newest.found)
		return rc ? rc : ERR_NOT_FOUND;
	m->created_ms = newest.created_ms;
	rc = store_view_intent(reader, &newest.id, take_intent, &of);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int read_one(struct store_reader *reader, struct admin_reading *rd)
{
	struct places p = { .rd = rd };
	struct history h = { reader, json_array() };
	struct store_resource m;
	int rc = store_view_places(reader, rd->key.meta, add_place, &p);

	rd->problem.text = rd->key.meta;
	if (!rc && p.count)
		choose_place(rd, &p);
	else if (!rc)
		say(rd, 404, "not-found", "this site knows of no replica and of no operation with this identifier", NULL);
	if (!rc && !rd->problem.status)
		rc = resource_of(reader, rd, &m);
	if (!rc && !rd->problem.status)
		rd->answer = element(reader, &m, &rc);
	if (!rc && !rd->problem.status)
		rc = store_view_history(reader, &rd->key, HISTORY, add_operation, &h);
	if (rc || rd->problem.status)
		json_decref(h.list);
	else
		json_object_set_new(rd->answer, "operations", h.list);
	return rc;
}

void admin_get_replica(struct exchange *x)
{
	struct span meta = span_from(x->req.path, SPAN("/v1/replicas/").n), service, collection;
	struct admin_reading *rd;

	if (!percent_decode(&x->arena, meta, &meta)) {
		admin_problem(x, 400, "bad-request", "the identifier is not percent-encoded text");
		return;
	}
	if (!admin_query_get(x, "service", &service) || !admin_query_get(x, "collection", &collection))
		return;
	rd = admin_reading_new(x, read_one);
	if (!rd || !admin_reading_keep(rd, &rd->key.meta, meta) || !admin_reading_keep(rd, &rd->key.service, service) ||
	    !admin_reading_keep(rd, &rd->key.collection, collection))
		return;
	admin_reading_start(rd);
}
