/* What was not over when the process ended (replication.md 8): intents that were not sent are sent, what was sent and may
 * be executed again is, and what may not is in doubt until an operator settles it. */
#include "proxy/replicator_int.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "replication/spool.h"

#define LOAD_ARENA (512u << 20)

struct loaded_leg {
	struct span site;
	enum delivery_state state;
	unsigned attempts, status;
	struct loaded_leg *next;
};

struct loaded {
	struct store_operation row;  /* without content */
	struct loaded_leg *legs;
	struct span sites, at;       /* the replica set; the site that was asked to admit */
	enum consistency class;
	bool admitted, known;
	struct loaded *next;
};

struct spooled {
	struct span name;
	struct spooled *next;
};

struct load {
	struct replicator *r;
	struct arena arena;
	struct loaded *first, **last;
	struct spooled *spooled;
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

/* Rows of one operation follow each other. */
static int on_delivery(void *arg, int64_t cursor, const struct store_delivery *d, const struct store_operation *row)
{
	struct load *l = arg;
	struct loaded *o = l->first ? container_of(l->last, struct loaded, next) : NULL;
	struct loaded_leg *leg = arena_zalloc(&l->arena, sizeof(*leg));

	(void)cursor;
	if (!o || !op_id_eq(&o->row.id, &row->id))
		o = add_operation(l, row);
	if (!o || !leg)
		return ERR_NOMEM;
	*leg = (struct loaded_leg){ .site = arena_dup(&l->arena, d->target), .state = d->state, .attempts = d->attempts,
		.status = d->status, .next = o->legs };
	o->legs = leg;
	return leg->site.p ? 0 : ERR_NOMEM;
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

static int read_log(struct store_reader *reader, void *arg)
{
	struct load *l = arg;
	struct store_resource resource;
	int rc = store_read_queue(reader, SPAN(""), 0, INT_MAX, on_delivery, l);

	if (!rc)
		rc = store_read_intents(reader, on_intent, l);
	if (!rc)
		rc = store_read_spools(reader, on_spool, l);
	for (struct loaded *o = l->first; o && !rc; o = o->next) {
		if (o->known)
			continue;
		rc = store_read_resource(reader, &o->row.key, &l->arena, &resource);
		o->known = !rc;
		if (!rc) {
			o->sites = resource.sites;
			o->class = resource.class;
		} else if (rc == ERR_NOT_FOUND) {
			rc = 0;
		}
	}
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
	       operation_keep(op, &op->spool, o->row.spool) && operation_set_sites(op, o->sites) && !target.failed;
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
	leg->was_sent = leg->state == DELIVERY_SENT;
	if (leg->was_sent && leg->target->own && operation_is_once(k->op))
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

static int revive(struct replicator *r, const struct loaded *o)
{
	struct operation *op = work_find(r, &o->row.id) ? NULL : operation_of(r, o);
	struct work *k = op ? work_new(r, op) : NULL;
	int rc = k ? 0 : ERR_NOMEM;

	if (work_find(r, &o->row.id) && !op)
		return 0; /* from a reading that ended early */
	operation_unref(&op);
	if (rc)
		return rc;
	k->logged = k->answered = k->revived = true;
	for (size_t i = 0; i < k->leg_count; i++)
		k->legs[i].state = DELIVERY_DONE; /* or another site's to deliver */
	for (const struct loaded_leg *leg = o->legs; leg && !rc; leg = leg->next)
		rc = take_leg(k, leg);
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
