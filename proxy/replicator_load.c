/* What is read back of the log.  What was not over when the process ended (replication.md 8): intents that were not sent
 * are sent, what was sent and may be executed again is, and what may not is looked for, or in doubt until an operator
 * settles it (replicator_doubt.c). */
#include "proxy/replicator_int.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "replication/spool.h"
#include "replication/store_view.h"

#define LOAD_ARENA (512u << 20)

struct loaded_leg {
	struct span site;
	enum delivery_state state;
	unsigned attempts, status;
	bool told;
	struct loaded_leg *next;
};

struct loaded {
	struct store_operation row;  /* without content */
	struct loaded_leg *legs;
	struct span sites, at;       /* the replica set; the site that was asked to admit */
	struct span answer_key, fingerprint; /* what its answer is to be kept under; empty: it is not, or is there */
	enum consistency class;
	bool admitted, known;
	struct loaded *next;
};

struct spooled {
	struct span name;
	struct spooled *next;
};

struct gone {
	struct store_key_of key;
	struct span site;
	struct gone *next;
};

struct load {
	struct replicator *r;
	struct arena arena;
	struct loaded *first, **last;
	struct spooled *spooled;
	struct gone *expired;
};

/* ---- on the reader thread ------------------------------------------------------------------------------------------- */

static bool keep(struct load *l, struct span *s)
{
	*s = arena_dup(&l->arena, *s);
	return s->p != NULL;
}

static struct loaded *add_operation(struct load *l, const struct store_operation *row)
{
	struct loaded *o = arena_zalloc(&l->arena, sizeof(*o));

	if (!o)
		return NULL;
	o->row = *row;
	if (!keep(l, &o->row.key.service) || !keep(l, &o->row.key.collection) || !keep(l, &o->row.key.meta) ||
	    !keep(l, &o->row.method) || !keep(l, &o->row.path) || !keep(l, &o->row.query) || !keep(l, &o->row.spool))
		return NULL;
	o->admitted = true;
	*l->last = o;
	l->last = &o->next;
	return o;
}

static int on_expired(void *arg, const struct store_replica *row)
{
	struct load *l = arg;
	struct gone *g = arena_alloc(&l->arena, sizeof(*g));

	if (!g)
		return ERR_NOMEM;
	*g = (struct gone){ row->key, row->site, l->expired };
	l->expired = g;
	return keep(l, &g->key.service) && keep(l, &g->key.collection) && keep(l, &g->key.meta) && keep(l, &g->site)
	       ? 0 : ERR_NOMEM;
}

static int add_leg(struct load *l, struct loaded *o, const struct store_delivery *d)
{
	struct loaded_leg *leg = arena_zalloc(&l->arena, sizeof(*leg));

	if (!leg)
		return ERR_NOMEM;
	*leg = (struct loaded_leg){ .site = arena_dup(&l->arena, d->target), .state = d->state, .attempts = d->attempts,
		.status = d->status, .told = span_eq(d->error, SPAN(REPLICATOR_TOLD)), .next = o->legs };
	o->legs = leg;
	return leg->site.p ? 0 : ERR_NOMEM;
}

/* Rows of one operation follow each other. */
static int on_delivery(void *arg, int64_t cursor, const struct store_delivery *d, const struct store_operation *row)
{
	struct load *l = arg;
	struct loaded *o = l->first ? container_of(l->last, struct loaded, next) : NULL;

	(void)cursor;
	if (!o || !op_id_eq(&o->row.id, &row->id))
		o = add_operation(l, row);
	return o ? add_leg(l, o, d) : ERR_NOMEM;
}

static int on_intent(void *arg, const struct store_intent *i)
{
	struct load *l = arg;

	for (struct loaded *o = l->first; o; o = o->next) {
		if (!op_id_eq(&o->row.id, &i->op))
			continue;
		o->admitted = false;
		o->known = true;
		o->class = i->class;
		o->sites = arena_dup(&l->arena, i->sites);
		o->at = arena_dup(&l->arena, i->at);
		return o->sites.p && o->at.p ? 0 : ERR_NOMEM;
	}
	return 0;
}

/* Its answer is to be kept when it is admitted after all. */
static int on_running(void *arg, const struct store_answer *a)
{
	struct load *l = arg;

	for (struct loaded *o = l->first; o; o = o->next) {
		if (o->admitted || !op_id_eq(&o->row.id, &a->op))
			continue;
		o->answer_key = arena_dup(&l->arena, a->key);
		o->fingerprint = arena_dup(&l->arena, a->fingerprint);
		return o->answer_key.p && o->fingerprint.p ? 0 : ERR_NOMEM;
	}
	return 0;
}

static int on_spool(void *arg, struct span name)
{
	struct load *l = arg;
	struct spooled *s = arena_alloc(&l->arena, sizeof(*s));

	if (!s)
		return ERR_NOMEM;
	*s = (struct spooled){ arena_dup(&l->arena, name), l->spooled };
	l->spooled = s;
	return s->name.p ? 0 : ERR_NOMEM;
}

/* Set and class of what is admitted are its resource's. */
static int find_set(struct store_reader *reader, struct load *l, struct loaded *o)
{
	struct store_resource resource;
	int rc;

	if (o->known)
		return 0;
	rc = store_read_resource(reader, &o->row.key, &l->arena, &resource);
	o->known = !rc;
	if (!rc) {
		o->sites = resource.sites;
		o->class = resource.class;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int read_log(struct store_reader *reader, void *arg)
{
	struct load *l = arg;
	int rc = store_read_queue(reader, SPAN(""), 0, INT_MAX, on_delivery, l);

	if (!rc)
		rc = store_read_intents(reader, on_intent, l);
	if (!rc)
		rc = store_view_running(reader, on_running, l);
	if (!rc)
		rc = store_read_spools(reader, on_spool, l);
	if (!rc)
		rc = store_view_failed(reader, SPAN(REPLICATOR_EXPIRED), on_expired, l);
	for (struct loaded *o = l->first; o && !rc; o = o->next)
		rc = find_set(reader, l, o);
	return rc;
}

/* ---- on the replicator's ---------------------------------------------------------------------------------------------- */

static struct operation *operation_of(struct replicator *r, const struct loaded *o)
{
	struct operation *op = operation_new();
	struct buf target;
	bool good;

	if (!op)
		return NULL;
	buf_init(&target, NULL, 0);
	buf_add_span(&target, o->row.path);
	buf_add_span(&target, o->row.query);
	op->id = o->row.id;
	op->kind = o->row.kind;
	op->class = o->class;
	op->clock = o->row.clock;
	op->created_ms = o->row.created_ms;
	op->body_bytes = (uint64_t)o->row.body_bytes;
	good = operation_keep(op, &op->key.service, o->row.key.service) &&
	       operation_keep(op, &op->key.collection, o->row.key.collection) &&
	       operation_keep(op, &op->key.meta, o->row.key.meta) && operation_keep(op, &op->method, o->row.method) &&
	       operation_keep(op, &op->target, buf_span(&target)) && operation_keep(op, &op->admitted, r->rep->site) &&
	       operation_keep(op, &op->spool, o->row.spool) && operation_keep(op, &op->answer_key, o->answer_key) &&
	       operation_keep(op, &op->fingerprint, o->fingerprint) && operation_set_sites(op, o->sites) && !target.failed;
	op->named = op->kind == OPERATION_CREATE && span_eq(op->method, SPAN("PUT"));
	buf_fini(&target);
	if (!good)
		operation_unref(&op);
	return op;
}

static struct leg *leg_of(struct work *k, struct span site)
{
	for (size_t i = 0; i < k->leg_count; i++)
		if (span_eq(k->op->sites[i], site))
			return &k->legs[i];
	return NULL;
}

/* Its id is known here: the application has executed it. */
static bool is_made(const struct work *k)
{
	const struct store_key_of *key = &k->op->key;
	const struct names_where where = { .kind = names_kind(k->r->rep->names, key->service, key->collection) };
	struct name name;

	return k->op->kind == OPERATION_CREATE && where.kind &&
	       names_by_meta(k->r->rep->names, &where, key->meta, &name) && name.local_n;
}

static int take_leg(struct work *k, const struct loaded_leg *from)
{
	struct leg *leg = leg_of(k, from->site);

	if (!leg)
		return 0;
	leg->state = from->state;
	leg->attempts = from->attempts;
	leg->status = from->status;
	leg->durable = true;
	leg->target = target_of_site(k->r, from->site);
	if (!leg->target)
		return ERR_NOMEM;
	leg->told = from->told;
	leg->was_sent = leg->state == DELIVERY_SENT;
	if (leg->was_sent && leg->target->own && is_made(k))
		ready_begin(leg);
	else if (leg->was_sent && leg->target->own && operation_is_once(k->op) && !doubt_goes_on(k))
		leg->state = DELIVERY_IN_DOUBT; /* shown as sent in the store until somebody settles it */
	return 0;
}

static void on_doubt_logged(struct work *k, struct leg *leg, int rc)
{
	if (rc)
		log_warn("operation %s is in doubt, which cannot be recorded: %s", k->text, err_text(rc));
	leg->durable = !rc;
	k->loading--;
	work_end_if_over(k);
}

/* What may have been executed is shown as that. */
static void tell_doubt(struct work *k)
{
	struct leg *own = work_own_leg(k);

	if (!own || !own->was_sent || own->state != DELIVERY_IN_DOUBT)
		return;
	k->loading++;
	if (!log_sent(own, on_doubt_logged))
		on_doubt_logged(k, own, ERR_NOMEM);
}

/* In memory, with its legs as they stand. */
static int make_work(struct replicator *r, const struct loaded *o, struct work **k_r)
{
	struct operation *op = operation_of(r, o);
	struct work *k = *k_r = op ? work_new(r, op) : NULL;
	int rc = k ? 0 : ERR_NOMEM;

	operation_unref(&op);
	if (rc)
		return rc;
	k->logged = k->answered = k->revived = true;
	for (size_t i = 0; i < k->leg_count; i++)
		k->legs[i].state = DELIVERY_DONE; /* or another site's to deliver */
	for (const struct loaded_leg *leg = o->legs; leg && !rc; leg = leg->next)
		rc = take_leg(k, leg);
	return rc;
}

static int revive(struct replicator *r, const struct loaded *o)
{
	struct work *k;
	int rc;

	if (work_find(r, &o->row.id))
		return 0; /* from a reading that ended early */
	rc = make_work(r, o, &k);
	if (rc)
		return rc;
	tell_doubt(k);
	if (o->admitted)
		deliver_begin(k);
	else
		admit_revive(k, o->at);
	return 0;
}

bool log_revive_own(struct replicator *r, const struct store_operation *row, const struct operation *like)
{
	struct loaded o = { .row = *row, .class = like->class, .known = true, .admitted = true };
	struct loaded_leg leg = { .site = r->rep->site, .state = DELIVERY_QUEUED };
	struct buf sites;
	bool good;

	buf_init(&sites, NULL, 0);
	operation_add_sites(like, &sites);
	o.sites = buf_span(&sites);
	o.legs = &leg;
	good = !sites.failed && !revive(r, &o);
	buf_fini(&sites);
	return good;
}

static bool is_named(void *arg, struct span name)
{
	for (const struct spooled *s = ((struct load *)arg)->spooled; s; s = s->next)
		if (span_eq(s->name, name))
			return true;
	return false;
}

static void on_read(void *arg, int rc)
{
	struct load *l = arg;
	struct replicator *r = l->r;
	size_t count = 0;
	struct err e;

	r->load_asked = false;
	for (struct gone *g = l->expired; g && !rc && !r->closed; g = g->next)
		rc = expire_remember(r, &g->key, g->site) ? 0 : ERR_NOMEM;
	for (struct loaded *o = l->first; o && !rc && !r->closed; o = o->next) {
		if (o->known)
			rc = revive(r, o);
		count++;
	}
	if (!r->closed && !rc && spool_sweep(r->rep->spool, is_named, l, &e))
		log_warn("%s", e.text);
	if (rc && !r->closed)
		log_error("the log of replication cannot be read: %s; it is tried again", err_text(rc));
	r->loaded = !rc;
	if (count && r->loaded)
		log_info("%zu replicated operations go on where they were", count);
	arena_fini(&l->arena);
	free(l);
	if (!r->closed)
		replicator_go(r);
}

void log_load(struct replicator *r)
{
	struct load *l = calloc(1, sizeof(*l));

	if (!l)
		return; /* again at the next tick */
	l->r = r;
	l->last = &l->first;
	arena_init(&l->arena, NULL, 0, LOAD_ARENA);
	r->load_asked = true;
	if (store_submit_read(r->rep->store, read_log, r->w->answers, on_read, l)) {
		r->load_asked = false;
		arena_fini(&l->arena);
		free(l);
	}
}

/* ---- one that is over ---------------------------------------------------------------------------------------------------- */

struct revival {
	struct load load;
	struct op_id id;
	log_revived *done;
	void *arg;
};

static int on_leg(void *arg, const struct store_delivery *d)
{
	struct load *l = arg;

	return add_leg(l, l->first, d);
}

static int read_one(struct store_reader *reader, void *arg)
{
	struct revival *v = arg;
	struct load *l = &v->load;
	struct store_operation row;
	int rc = store_read_operation(reader, &v->id, &l->arena, &row);

	if (!rc && !add_operation(l, &row))
		rc = ERR_NOMEM;
	if (!rc)
		rc = store_view_deliveries(reader, &v->id, on_leg, l);
	if (!rc)
		rc = store_view_intent(reader, &v->id, on_intent, l);
	if (rc == ERR_NOT_FOUND && l->first)
		rc = 0; /* it is admitted */
	return rc ? rc : find_set(reader, l, l->first);
}

static struct work *make_again(struct replicator *r, const struct loaded *o, int *rc_r)
{
	struct work *k = work_find(r, &o->row.id);
	struct leg *own;

	if (k || !o->known)
		return k;
	*rc_r = make_work(r, o, &k);
	if (!k)
		return NULL;
	own = work_own_leg(k);
	k->phase = o->admitted ? WORK_DELIVERING : WORK_OVER;
	k->undecided = !o->admitted && own && own->state == DELIVERY_IN_DOUBT;
	if (*rc_r)
		work_end_if_over(k);
	return *rc_r ? NULL : k;
}

static void on_one(void *arg, int rc)
{
	struct revival *v = arg;
	struct replicator *r = v->load.r;
	struct work *k = rc || r->closed ? NULL : make_again(r, v->load.first, &rc);

	v->done(v->arg, k, r->closed ? ERR_CLOSED : rc == ERR_NOT_FOUND ? 0 : rc);
	arena_fini(&v->load.arena);
	free(v);
	if (!r->closed)
		replicator_go(r);
}

bool log_revive(struct replicator *r, const struct op_id *id, log_revived *done, void *arg)
{
	struct revival *v = calloc(1, sizeof(*v));

	if (!v)
		return false;
	*v = (struct revival){ .load = { .r = r }, .id = *id, .done = done, .arg = arg };
	v->load.last = &v->load.first;
	arena_init(&v->load.arena, NULL, 0, 4u << 20);
	if (!store_submit_read(r->rep->store, read_one, r->w->answers, on_one, v))
		return true;
	arena_fini(&v->load.arena);
	free(v);
	return false;
}
