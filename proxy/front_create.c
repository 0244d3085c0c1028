/* A request under a scope that replicates, which names nothing known:
 *
 *	POST; PUT                  a create; the client's name is the resource's, everywhere, with PUT
 *	GET, HEAD, OPTIONS         one site of the set answers, the nearest; a list is each site's in turn where that is
 *	                           declared (listing.h)
 *	PATCH, DELETE, others      409
 *	quorum, strong             501, whatever it is
 *
 * A create is coordinated here where this site is one of the set, else by the nearest of it; with an Idempotency-Key by
 * the one site that all that hear of the same key agree on, as long as it can be reached. */
#include "proxy/listing.h"

#include "base/clock.h"
#include "base/percent.h"

#define NOT_A_REPLICA "this path names no replica, and only creates are replicated by the scope"

static bool is_method(const struct exchange *x, const char *method)
{
	return span_eq(x->req.method, span_of(method));
}

static bool is_declared(const struct rule *rule)
{
	return rule && (!rule->learned || rule->pinned);
}

static struct span without_slash(struct span path)
{
	return path.n > 1 && path.p[path.n - 1] == '/' ? span_head(path, path.n - 1) : path;
}

/* ---- what is created ---- */

/* PUT: the last segment is the name, here and everywhere. */
static int name_it(struct exchange *x, struct operation *op, const struct rule_match *m)
{
	struct span path = front_path(x), id;
	size_t slash = path.n;

	if (m->rule && (!m->id.n || m->rest.n))
		return front_refuse(x, 409, "not-a-replica", NOT_A_REPLICA);
	while (slash && path.p[slash - 1] != '/')
		slash--;
	if (!slash || !percent_decode(&op->arena, span_from(path, slash), &id))
		id = span_from(path, slash);
	if (!front_is_name(id))
		return front_refuse(x, 400, "bad-request", "the path does not end in a name that a resource can have");
	op->named = true;
	return operation_keep(op, &op->key.meta, id) &&
	               operation_keep(op, &op->key.collection, span_head(path, slash ? slash - 1 : 0))
	           ? 0
	           : front_no_memory(x);
}

static int make_meta(struct exchange *x, struct operation *op)
{
	char text[METAID_TEXT_BYTES];
	size_t bytes;
	int rc = replication_new_meta(x->front->rep, op->meta_id, text, &bytes);

	if (rc == ERR_BUSY)
		return front_refuse(x, 503, "queue-full", "more creates come in than integer ids can be given; nothing was done");
	if (rc)
		return front_refuse(x, 503, "internal", "no id can be given: this machine's clock is wrong");
	return operation_keep(op, &op->key.meta, span_make(text, bytes)) ? 0 : front_no_memory(x);
}

/* ---- the same create again ---- */

static struct span principal(struct exchange *x)
{
	const struct http_field *f = http_find(&x->req, HTTP_AUTHORIZATION);

	if (!f)
		f = http_find_name(&x->req, SPAN("X-Auth-Token"));
	return f ? f->value : SPAN("");
}

static int derive(struct exchange *x, struct span key, enum metaid_kind kind, const struct span *sites, size_t count,
                  struct metaid_derived *d_r)
{
	struct metaid_seed seed = { .service = x->svc->name, .path = front_path(x), .key = key, .principal = principal(x),
		                    .sites = sites, .site_count = count };

	return metaid_derive(kind, &seed, d_r) ? front_no_memory(x) : 0;
}

static uint64_t number_of(const uint8_t *bytes)
{
	uint64_t n = 0;

	for (size_t i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	n &= OP_NUMBER_MOST;
	return n ? n : 1;
}

/* Whoever meets the key again means the same operation. */
static int take_derived(struct exchange *x, struct operation *op, const struct metaid_derived *d)
{
	char text[2 * METAID_OPERATION_BYTES];
	struct span home = op->sites[d->home];

	op->id = (struct op_id){ .incarnation = number_of(d->operation), .number = number_of(d->operation + 8) };
	memcpy(op->id.site, home.p, home.n);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "0123456789abcdef"[d->operation[i / 2] >> (i % 2 ? 0 : 4) & 15];
	x->front->fingerprint = fingerprint_new();
	if (!x->front->fingerprint || !operation_keep(op, &op->answer_key, span_make(text, sizeof(text))) ||
	    (!op->named && !operation_keep(op, &op->key.meta, span_make(d->text, d->text_bytes))))
		return front_no_memory(x);
	return 0;
}

/* ---- here ---- */

/* x->front has its set and class. */
static int coordinate(struct exchange *x, const struct rule_match *m)
{
	struct operation *op = x->front->op;
	const struct http_field *key = http_find(&x->req, HTTP_IDEMPOTENCY_KEY);
	struct metaid_derived d;
	int rc = 0;

	x->front->match = *m;
	replication_new_operation(x->front->rep, &op->id, &op->clock);
	op->created_ms = clock_wall_ms();
	op->kind = OPERATION_CREATE;
	op->declared = is_declared(m->rule);
	op->meta_id = m->rule ? m->rule->meta_id : METAID_UUID;
	if (!operation_keep(op, &op->key.service, x->svc->name))
		return front_no_memory(x);
	if (is_method(x, "PUT"))
		rc = name_it(x, op, m);
	else if (!operation_keep(op, &op->key.collection, m->rule && !m->id.n ? m->collection : without_slash(front_path(x))))
		return front_no_memory(x);
	else if (!key)
		rc = make_meta(x, op);
	if (!rc && key)
		rc = derive(x, key->value, op->meta_id, op->sites, op->site_count, &d);
	if (!rc && key)
		rc = take_derived(x, op, &d);
	x->op = OP_REPLICATE;
	return rc;
}

static int coordinate_set(struct exchange *x, const struct front_set *set, enum consistency class, struct rules *rules,
                          const struct rule_match *m)
{
	if (front_new(x, REPLICATOR_ADMIT))
		return ERR_NOMEM;
	x->front->rules = rules_ref(rules);
	x->front->op->class = class;
	for (size_t i = 0; i < set->count; i++)
		if (!operation_add_site(x->front->op, x->view->reg->sites[set->sites[i]].name))
			return front_no_memory(x);
	return coordinate(x, m);
}

int front_create_for_peer(struct exchange *x, struct span set)
{
	struct rules *rules = front_rules(x);
	struct rule_match m;
	int rc;

	if (!rules)
		return ERR_NOMEM;
	rules_match(rules, front_path(x), &m);
	rc = front_new(x, REPLICATOR_ADMIT);
	if (rc)
		rules_unref(&rules);
	else
		x->front->rules = rules;
	if (rc)
		return rc;
	if (!front_read_set(x, set, x->front->op) || !operation_has_site(x->front->op, local_site(x)))
		return x->arena.nomem || x->front->op->arena.nomem
		           ? front_no_memory(x)
		           : front_refuse(x, 400, "bad-request", "X-Scopemesh-Replicate names no set that this site is in");
	if (x->front->op->class > CLASS_EVENTUAL)
		return front_refuse(x, 501, "not-implemented", FRONT_NO_SUCH_CLASS);
	return coordinate(x, &m);
}

/* ---- elsewhere ---- */

static void drop_local(struct exchange *x)
{
	size_t n = 0;

	for (size_t i = 0; i < x->site_count; i++)
		if (x->sites[i] != x->view->reg->local)
			x->sites[n++] = x->sites[i];
	x->site_count = n;
}

static int hand_on(struct exchange *x, const struct front_set *set, enum consistency class, size_t first)
{
	struct buf text;
	struct span copy;

	buf_init(&text, NULL, 0);
	front_add_set(x, set, class, &text);
	copy = text.failed ? span_make(NULL, 0) : arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	if (!copy.p)
		return front_no_memory(x);
	x->replicated->forward = copy;
	if (front_go_to(x, set, first))
		return ERR_NOMEM;
	drop_local(x); /* where nobody else can be asked it is not executed: here it would be one resource of this site's */
	x->op = OP_REPLICATE;
	return 0;
}

/* The site that everybody would ask who has this key; this one where it cannot be told. */
static int home_of(struct exchange *x, const struct front_set *set, const struct rule_match *m, size_t *home_r)
{
	const struct http_field *key = http_find(&x->req, HTTP_IDEMPOTENCY_KEY);
	struct span names[OPERATION_SITES];
	struct metaid_derived d;

	*home_r = x->view->reg->local;
	if (!key)
		return 0;
	for (size_t i = 0; i < set->count; i++)
		names[i] = x->view->reg->sites[set->sites[i]].name;
	if (derive(x, key->value, m->rule ? m->rule->meta_id : METAID_UUID, names, set->count, &d))
		return ERR_NOMEM;
	*home_r = set->sites[d.home];
	return 0;
}

static int create(struct exchange *x, const struct front_set *set, struct rules *rules, const struct rule_match *m)
{
	enum consistency class = set->klass == SCOPE_WEAK ? CLASS_WEAK
	                         : set->klass == SCOPE_EVENTUAL || !m->rule ? CLASS_EVENTUAL
	                                                                    : m->rule->class;
	size_t local = x->view->reg->local, home;

	if (home_of(x, set, m, &home))
		return ERR_NOMEM;
	if (front_set_has(set, local) && (home == local || route_is_known_down(x, home)))
		return coordinate_set(x, set, class, rules, m);
	return hand_on(x, set, class, home);
}

/* ---- all of them ---- */

/* Of all of them in turn. */
static bool is_list(const struct exchange *x, const struct rule_match *m)
{
	return m->rule && !m->id.n && m->rule->list.items.n && (is_method(x, "GET") || is_method(x, "HEAD"));
}

static int read_one(struct exchange *x, const struct front_set *set, const struct rule_match *m)
{
	size_t *copy;

	if (is_list(x, m))
		return front_go_in_turn(x, set) ? ERR_NOMEM : listing_begin(x, set, m);
	if (front_go_to(x, set, x->view->reg->local))
		return ERR_NOMEM;
	if (!(m->rule && !m->id.n) && !(x->rw && x->rw->target.listed))
		return 0;
	copy = arena_alloc(&x->arena, set->count * sizeof(*copy));
	if (!copy)
		return front_no_memory(x);
	memcpy(copy, set->sites, set->count * sizeof(*copy));
	x->replicated->set = copy;
	x->replicated->set_count = set->count;
	return 0;
}

static int judge(struct exchange *x, struct rules *rules)
{
	struct front_set set;
	struct rule_match m;

	front_set_of(x, x->replicated->plan, &set);
	rules_match(rules, front_path(x), &m);
	if (set.too_many)
		return front_refuse(x, 400, "scope-limit", "a resource lives at 64 sites at most");
	if (x->replicated->others && !is_declared(m.rule))
		return front_go_to(x, &set, x->view->reg->local);
	if (set.klass == SCOPE_QUORUM || set.klass == SCOPE_STRONG)
		return front_refuse(x, 501, "not-implemented", FRONT_NO_SUCH_CLASS);
	if (x->req.upgrade || http_find_name(&x->req, SPAN("Content-Range")))
		return front_refuse(x, 501, "not-implemented", FRONT_NOT_REPLICATED);
	if (x->req.method_kind == HTTP_METHOD_SAFE)
		return read_one(x, &set, &m);
	if (is_method(x, "POST") || is_method(x, "PUT"))
		return create(x, &set, rules, &m);
	return front_refuse(x, 409, "not-a-replica", NOT_A_REPLICA);
}

int front_create(struct exchange *x)
{
	struct rules *rules = front_rules(x);
	int rc = rules ? judge(x, rules) : ERR_NOMEM;

	rules_unref(&rules);
	return rc;
}
