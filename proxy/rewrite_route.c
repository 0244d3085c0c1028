/* Where a request goes that names a resource with a mesh id (replication.md 2.2, 3).
 *
 *	replica here                        here, else the nearest live one
 *	replica here, being built           here: the application says how far it is
 *	replica here, still on its way      the nearest live one, else 503 with Retry-After
 *	replica here, changes on their way  the nearest live one, else, to read, here: X-Scope-Stale
 *	replica elsewhere                   the nearest live one
 *	M not known here                    the scope's site, else its home, else 503; never the local application
 *	a scope for the service             its sites, in its order; none of them has it: 404
 *	deleted                             410
 *	the local id of a replica           404
 *
 * A request of our own (inner.h) for the instance here is executed if all it names is here, else not at all.
 * A request that came from another site goes to none that it has passed.  There a site that the scope named
 * (X-Scopemesh-Named) answers for itself; one that was asked as the home sends it on. */
#include "proxy/front.h"
#include "proxy/rewrite_exchange.h"

#include "proxy/replication.h"
#include "replication/metaid.h"

#define RETRY_AFTER_S 2

/* ---- what the path names ---- */

static bool is_number(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n >= NAME_LONG;
}

/* "-8" where a UUID has its version: dashes five before and behind, none ten before. */
static bool may_hold_uuid(struct span path)
{
	const char *end = path.p + path.n, *p = path.p;

	for (; (p = memchr(p, '-', (size_t)(end - p))); p++)
		if (p - path.p >= 14 && end - p > 22 && p[1] == '8' && p[-5] == '-' && p[-10] != '-' && p[5] == '-')
			return true;
	return false;
}

static bool may_hold_number(struct span path)
{
	struct span segment;

	while (span_split(&path, '/', &segment))
		if (is_number(segment))
			return true;
	return false;
}

/* Without names only a mesh id in the path is of interest, and, where rules may say that numbers are such, a long number.
 * What is percent-encoded is looked at. */
static bool may_hold_meta(const struct exchange *x)
{
	struct span path = x->req.path;
	bool numbers = rules_count(x->svc->rules) > 0;

	if (path.n <= (numbers ? NAME_LONG : METAID_TEXT_BYTES))
		return false;
	return memchr(path.p, '%', path.n) || may_hold_uuid(path) || (numbers && may_hold_number(path));
}

bool rewrite_names_resource(const struct exchange *x)
{
	return x->rw && x->rw->target.seen != REWRITE_NOTHING;
}

enum splice_body rewrite_body_of(const struct http_head *req)
{
	static const char *const signing[] = { "Signature", "Signature-Input", "Content-Digest", "Digest", "Content-MD5" };
	const struct http_field *type = http_find(req, HTTP_CONTENT_TYPE), *coding = http_find(req, HTTP_CONTENT_ENCODING);
	const struct http_field *authorization = http_find(req, HTTP_AUTHORIZATION);

	if (req->framing == HTTP_NO_BODY || !type || (coding && !span_ieq(coding->value, SPAN("identity"))) ||
	    (authorization && span_istarts(authorization->value, SPAN("AWS4"))))
		return SPLICE_NONE;
	for (size_t i = 0; i < sizeof(signing) / sizeof(signing[0]); i++)
		if (http_find_name(req, span_of(signing[i])))
			return SPLICE_NONE;
	return splice_body_of(type->value);
}

static int no_memory(struct exchange *x)
{
	struct problem p = { .status = 503, .type = "no-memory", .detail = EXCHANGE_NO_MEMORY };

	exchange_problem(x, &p);
	return ERR_NOMEM;
}

/* With the rules as they are now. */
static bool walk(struct exchange *x, struct rewrite_target *t)
{
	bool foreign = !x->from_mesh && !x->inner;
	struct rewrite_rules *r;
	bool good;

	if (!names_count(x->w->names))
		return rewrite_walk(x->w->names, x->svc->rules, &x->arena, x->svc->name, x->req.path, foreign, t);
	r = rewrite_rules_get(x->w, x->svc);
	good = r && rewrite_walk(x->w->names, r->rules, &x->arena, x->svc->name, x->req.path, foreign, t);
	rewrite_rules_unref(&r);
	return good;
}

/* What is not there yet may be by the time of the answer. */
static bool has_creates(const struct exchange *x)
{
	struct replication *rep = x->w->replication;

	return rep && atomic_load_explicit(&rep->creates_count, memory_order_relaxed);
}

/* always: a path that names nothing too. */
static int take_part(struct exchange *x, bool always)
{
	struct names *n = x->w->names;
	size_t count = names_count(n);
	struct rewrite *rw = arena_zalloc(&x->arena, sizeof(*rw));

	if (!rw || !walk(x, &rw->target))
		return ERR_NOMEM;
	if (!always && !count && rw->target.seen == REWRITE_NOTHING && !has_creates(x))
		return 0;
	buf_init(&rw->up_out, NULL, 0);
	buf_init(&rw->down_out, NULL, 0);
	if (count && ((!x->from_mesh && !x->inner) || names_service(n, x->svc->name))) /* who sends them has exchanged others' */
		rw->up_body = rewrite_body_of(&x->req);
	x->rw = rw;
	return 0;
}

int rewrite_join(struct exchange *x)
{
	return names_count(x->w->names) || may_hold_meta(x) || has_creates(x) ? take_part(x, false) : 0;
}

int rewrite_begin(struct exchange *x)
{
	return rewrite_join(x) ? no_memory(x) : 0;
}

int rewrite_force(struct exchange *x)
{
	return x->rw ? 0 : take_part(x, true);
}

void rewrite_fini(struct exchange *x)
{
	struct rewrite *rw = x->rw;

	x->rw = NULL;
	splice_free(&rw->up);
	splice_free(&rw->down);
	if (rw->up_look)
		rewrite_look_fini(rw->up_look);
	if (rw->down_look)
		rewrite_look_fini(rw->down_look);
	rewrite_inflate_free(&rw->inflate);
	buf_fini(&rw->up_out);
	buf_fini(&rw->down_out);
}

/* ---- answers ---- */

static int refuse(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	exchange_problem(x, &p);
	return ERR_NOT_FOUND;
}

/* The next site of a replica set; a name may hold blanks. */
static bool next_site(struct exchange *x, struct span *rest, size_t *site_r)
{
	const struct registry *reg = x->view->reg;
	struct span word;

	while (rest->n && span_split(rest, '\n', &word))
		if (registry_find(reg, word, site_r))
			return true;
	return false;
}

/* The sites that the scope names hold no replica. */
static int not_there(struct exchange *x)
{
	const struct rewrite_target *t = &x->rw->target;
	struct problem p = { .status = 404, .type = "no-replica-there",
		             .detail = "no site that the scope names holds a replica of this resource" };
	struct span rest = t->name ? t->name->sites : SPAN("");
	struct problem_member meta = { "meta_id", t->meta };
	size_t site;

	while (p.known_count < PROBLEM_KNOWN_MAX && next_site(x, &rest, &site))
		p.known[p.known_count++] = x->view->reg->sites[site].name;
	p.more = &meta;
	p.more_count = 1;
	exchange_problem(x, &p);
	return ERR_NOT_FOUND;
}

static int still_on_its_way(struct exchange *x)
{
	x->rw->retry_after_s = RETRY_AFTER_S;
	return refuse(x, 503, "unreachable", "the replica here is still on its way, and no other site that holds one can be asked");
}

/* ---- sites ---- */

bool rewrite_is_usable_here(const struct name *name)
{
	return name->here && name->local_n &&
	       (name_is_building(name) || name->state == REPLICA_SYNCED || name->state == REPLICA_CONFLICT || name->state == REPLICA_HELD);
}

/* It has it, but not all that happened to it.  Between sites that is no answer: who asks may know a better place. */
static bool is_stale_here(const struct exchange *x, const struct name *name)
{
	return !x->from_mesh && exchange_is_safe(x) && name->here && name->local_n &&
	       (name->state == REPLICA_QUEUED || name->state == REPLICA_IN_DOUBT || name->state == REPLICA_FAILED);
}

static bool has_passed(struct exchange *x, size_t site)
{
	struct span rest = x->trace, member;

	if (!x->from_mesh)
		return false;
	while (http_list_next(&rest, &member))
		if (heads_is_token(x, member, x->view->reg->sites[site].name))
			return true;
	return false;
}

static int64_t distance(const struct exchange *x, size_t site)
{
	int64_t us = atomic_load_explicit(&x->view->reg->sites[site].live->rtt_us, memory_order_relaxed);

	return us < 0 ? INT64_MAX : us;
}

/* Puts a site where it belongs by its distance, behind the first `fixed` ones. */
static void add_by_distance(struct exchange *x, size_t *list, size_t *count, size_t fixed, size_t site)
{
	size_t at = (*count)++;

	while (at > fixed && distance(x, list[at - 1]) > distance(x, site)) {
		list[at] = list[at - 1];
		at--;
	}
	list[at] = site;
}

static bool holds(struct exchange *x, const struct name *name, size_t site)
{
	struct span rest = name->sites;
	size_t other;

	while (next_site(x, &rest, &other))
		if (other == site)
			return true;
	return false;
}

static int use(struct exchange *x, size_t *sites, size_t count)
{
	x->sites = sites;
	x->site_count = count;
	route_put_down_last(x);
	x->op = x->sites[0] == x->view->reg->local ? OP_LOCAL : OP_FORWARD;
	return 0;
}

/* Of the scope's sites those that hold it, in the scope's order. */
static int route_named(struct exchange *x, const struct name *name)
{
	size_t local = x->view->reg->local, count = 0;
	bool waits = false, stale = false;

	for (size_t i = 0; i < x->site_count; i++) {
		size_t site = x->sites[i];

		stale |= site == local && !rewrite_is_usable_here(name) && is_stale_here(x, name);
		waits |= site == local && name->here && !rewrite_is_usable_here(name);
		if (!has_passed(x, site) && (site == local ? rewrite_is_usable_here(name) : holds(x, name, site)))
			x->sites[count++] = site;
	}
	x->rw->named = true;
	if (stale)
		x->sites[count++] = local;
	x->rw->stale = stale;
	if (!count)
		return waits ? still_on_its_way(x) : not_there(x);
	x->rw->retry_after_s = waits ? RETRY_AFTER_S : 0;
	return use(x, x->sites, count);
}

static int route_known(struct exchange *x, const struct name *name)
{
	bool here = rewrite_is_usable_here(name);
	struct span rest = name->sites;
	size_t local = x->view->reg->local, count = 0, site;
	size_t *sites;

	if (x->rw->named)
		return route_named(x, name);
	sites = arena_alloc(&x->arena, (x->view->reg->site_count + 1) * sizeof(*sites));
	if (!sites)
		return no_memory(x);
	if (here)
		sites[count++] = local;
	while (count < x->view->reg->site_count && next_site(x, &rest, &site))
		if (site != local && !has_passed(x, site))
			add_by_distance(x, sites, &count, here, site);
	x->rw->stale = !here && is_stale_here(x, name);
	if (x->rw->stale)
		sites[count++] = local;
	if (!count)
		return name->here ? still_on_its_way(x) : refuse(x, 503, "unreachable", "no site that holds a replica of this "
		                                                                        "resource can be asked from here");
	x->rw->retry_after_s = name->here && !here ? RETRY_AFTER_S : 0;
	return use(x, sites, count);
}

/* ---- M that is not known here ---- */

/* False: its home is no site of the registry, or it tells none. */
static bool find_home(struct exchange *x, struct span meta, size_t *site_r)
{
	struct view *v = x->view;
	struct metaid id;
	struct span *names;
	struct err e;

	if (!metaid_parse(meta, &id))
		return false;
	if (!v->homes) {
		names = arena_alloc(&x->arena, v->reg->site_count * sizeof(*names));
		for (size_t i = 0; names && i < v->reg->site_count; i++)
			names[i] = v->reg->sites[i].name;
		if (!names || (metaid_homes_new(names, v->reg->site_count, true, &v->homes, &e) &&
		               metaid_homes_new(names, v->reg->site_count, false, &v->homes, &e)))
			return false;
	}
	return metaid_home(v->homes, &id, site_r);
}

/* The scope's sites but this one, which would know. */
static int route_unknown_named(struct exchange *x, bool has_home, size_t home)
{
	size_t local = x->view->reg->local, count = 0;

	for (size_t i = 0; i < x->site_count; i++)
		if (x->sites[i] != local && !has_passed(x, x->sites[i]))
			x->sites[count++] = x->sites[i];
	if (count)
		return use(x, x->sites, count);
	if (has_home && (home == local || !route_is_known_down(x, home)))
		return not_there(x);
	return refuse(x, 503, "unreachable", "this resource is not known here, and its home, which knows where it is, cannot be asked");
}

static int route_unknown(struct exchange *x)
{
	size_t home = 0, *sites;
	bool has_home = find_home(x, x->rw->target.meta, &home);

	if (x->rw->named)
		return route_unknown_named(x, has_home, home);
	if (has_home && home == x->view->reg->local)
		return refuse(x, 404, "no-replica-there", "this site is the resource's home, and there is none of this name");
	if (!has_home || has_passed(x, home))
		return refuse(x, 503, "unreachable", "this resource is not known here, and its home, which knows where it is, cannot "
		                                     "be asked");
	sites = arena_alloc(&x->arena, sizeof(*sites));
	if (!sites)
		return no_memory(x);
	sites[0] = home;
	return use(x, sites, 1);
}

/* All that the request names is here, under the ids that it will be told by. */
static int route_inner(struct exchange *x)
{
	const struct rewrite_target *t = &x->rw->target;

	if ((t->seen == REWRITE_NOTHING || t->seen == REWRITE_KNOWN) && t->local.p)
		return 0;
	return refuse(x, 503, "no-replica", t->seen == REWRITE_DELETED ? "this resource was deleted"
	                                                               : "the instance here has no replica of this resource");
}

int rewrite_route(struct exchange *x)
{
	struct rewrite *rw = x->rw;

	if (x->inner)
		return route_inner(x);
	if (!rewrite_names_resource(x))
		return 0;
	rw->named = x->from_mesh ? http_find_name(&x->req, SPAN("X-Scopemesh-Named")) != NULL : x->scope_binds;
	switch (rw->target.seen) {
	case REWRITE_HIDDEN:
		return refuse(x, 404, "not-a-replica", "this is an instance's own id of a replicated resource, which is named by its "
		                                       "meta-identifier");
	case REWRITE_DELETED:
		return refuse(x, 410, "gone", "this resource was deleted");
	case REWRITE_UNKNOWN:
		return route_unknown(x);
	default:
		rw->named &= !front_is_write(x);
		return route_known(x, rw->target.name);
	}
}
