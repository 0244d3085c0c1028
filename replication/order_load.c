/* A machine from the rows of the store, and what of it may be forgotten. */
#include "replication/order_int.h"

#include <string.h>

int order_load_past(struct order *o, const struct vector *past, enum order_life life)
{
	o->life = life;
	return vector_copy(&o->past, past);
}

static bool is_loaded(const struct entries *list, const struct entry *e)
{
	size_t at = entries_after(list, e);

	return at > list->gone && !entry_compare(list->all[at - 1], e);
}

static int count_as_past(struct order *o, const struct entry *e)
{
	struct vector *v = e->state == ORDER_BRANCHED ? &o->known : &o->past;
	int rc = vector_merge(v, &e->past);

	return rc ? rc : vector_add(v, &e->dot);
}

static int insert(struct order *o, struct entry *e)
{
	bool pending = e->state == ORDER_PENDING_NEW || e->state == ORDER_PENDING_AGAIN;
	int rc = pending ? 0 : count_as_past(o, e);

	if (rc)
		return rc;
	/* what runs keeps its room */
	if (!entries_reserve(pending ? &o->pending : &o->over, 2 + entries_count(&o->pending)))
		return ERR_NOMEM;
	entries_insert(pending ? &o->pending : &o->over, e);
	o->pending_deletes += pending && e->kind == OPERATION_DELETE;
	return 0;
}

int order_load(struct order *o, const struct order_op *op, enum order_state state)
{
	struct entry *e;
	int rc;

	if (order_operations(o) >= ORDER_OPERATIONS)
		return ERR_LIMIT;
	e = entry_new(op);
	if (!e)
		return ERR_NOMEM;
	if (is_loaded(&o->over, e) || is_loaded(&o->pending, e)) {
		entry_free(&e);
		return 0;
	}
	e->state = state;
	e->executed = state == ORDER_DONE || state == ORDER_PENDING_AGAIN;
	e->fresh = true;
	rc = insert(o, e);
	if (rc) {
		entry_free(&e);
		return rc;
	}
	if (op->clock > o->clock)
		o->clock = op->clock;
	o->restamped |= !op_id_eq(&op->id, &op->stamp.dot);
	return 0;
}

/* ---- order_loaded ------------------------------------------------------------------------------------------------- */

static bool take_deletes(struct order *o)
{
	for (size_t i = o->over.gone; i < o->over.end; i++)
		if (o->over.all[i]->fresh && o->over.all[i]->kind == OPERATION_DELETE &&
		    o->over.all[i]->state != ORDER_BRANCHED && !op_ids_add(&o->deletes, &o->over.all[i]->dot))
			return false;
	return true;
}

static bool take_one(struct order *o, struct entry *e)
{
	e->old = e->kind != OPERATION_DELETE && e->executed && order_is_deleted_for(o, e);
	o->appends += e->executed && e->kind == OPERATION_APPEND;
	o->writes += e->executed && entry_repeats(e);
	o->branches += e->state == ORDER_BRANCHED;
	if (e->state == ORDER_FAILED)
		o->net = "refused";
	else if (e->state == ORDER_IN_DOUBT && !o->net)
		o->net = "in-doubt";
	if (e->kind != OPERATION_REPLACE || !e->executed || e->old)
		return true;
	if (!entries_reserve(&o->replaces, 2)) /* what runs keeps its room */
		return false;
	entries_insert(&o->replaces, e);
	return true;
}

/* Of the creates that no delete ended, the best. */
static void find_life(struct order *o)
{
	bool found = o->deletes.count > 0;
	enum order_life life = ORDER_DELETED;

	for (size_t i = o->over.gone; i < o->over.end; i++) {
		const struct entry *e = o->over.all[i];

		if (e->kind != OPERATION_CREATE || e->state == ORDER_BRANCHED || order_is_deleted_for(o, e))
			continue;
		found = true;
		if (e->state == ORDER_SKIPPED)
			continue;
		if (e->executed)
			life = ORDER_ALIVE;
		else if (life != ORDER_ALIVE)
			life = e->state == ORDER_IN_DOUBT ? ORDER_UNCERTAIN : ORDER_NO_REPLICA;
	}
	for (size_t i = o->pending.gone; i < o->pending.end; i++) /* a named one, that is to be executed again */
		if (o->pending.all[i]->kind == OPERATION_CREATE && o->pending.all[i]->executed && !o->pending.all[i]->old)
			life = ORDER_ALIVE, found = true;
	if (found)
		o->life = life;
}

/* An append and another write here that are concurrent, both executed. */
static bool met(const struct order *o)
{
	for (size_t i = o->over.gone; i < o->over.end && o->appends && o->writes; i++) {
		const struct entry *a = o->over.all[i];

		if (a->kind != OPERATION_APPEND || !a->executed || a->old || !a->fresh)
			continue;
		for (size_t j = o->over.gone; j < o->over.end; j++) {
			const struct entry *u = o->over.all[j];

			if (u->fresh && u->executed && !u->old && entry_repeats(u) && !vector_has(&a->past, &u->dot) &&
			    !vector_has(&u->past, &a->dot))
				return true;
		}
	}
	return false;
}

/* What was to be executed again belongs to a life that is over. */
static bool drop_old_again(struct order *o)
{
	size_t kept = o->pending.gone;

	if (!entries_reserve(&o->over, 1 + 2 * entries_count(&o->pending))) /* what runs keeps its room */
		return false;
	for (size_t i = o->pending.gone; i < o->pending.end; i++) {
		struct entry *e = o->pending.all[i];

		if (e->executed && e->old) {
			e->state = ORDER_DONE;
			entries_insert(&o->over, e);
		} else {
			o->pending.all[kept++] = e;
		}
	}
	o->pending.end = kept;
	return true;
}

static void end_loading(struct entries *list)
{
	for (size_t i = list->gone; i < list->end; i++) {
		struct entry *e = list->all[i];

		e->fresh = false;
		if (e->state != ORDER_PENDING_NEW)
			vector_fini(&e->past);
	}
}

int order_loaded(struct order *o)
{
	if (!take_deletes(o))
		return ERR_NOMEM;
	for (size_t i = o->over.gone; i < o->over.end; i++)
		if (o->over.all[i]->fresh && !take_one(o, o->over.all[i]))
			return ERR_NOMEM;
	for (size_t i = o->pending.gone; i < o->pending.end; i++)
		if (o->pending.all[i]->fresh && !take_one(o, o->pending.all[i]))
			return ERR_NOMEM;
	if (!o->settled)
		find_life(o);
	if (!o->net && met(o))
		o->net = "append-met-update";
	if (!drop_old_again(o) || !op_ids_reserve(&o->deletes))
		return ERR_NOMEM;
	end_loading(&o->over);
	end_loading(&o->pending);
	o->settled = true;
	return 0;
}

/* ---- what may be forgotten ---------------------------------------------------------------------------------------- */

/* x is past at every member, for ever: whatever a member admits from now on follows it. So only what was admitted before a
 * member had it can be concurrent to it; that has come, since this site has all that the members had when they told. */
static bool is_stable(const struct order *o, const struct entry *x, const struct vector *const *known, size_t count)
{
	if (x->state == ORDER_BRANCHED || x->state == ORDER_IN_DOUBT)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!vector_has(known[i], &x->dot))
			return false;
	for (size_t i = o->pending.gone; i < o->pending.end; i++)
		if (!o->pending.all[i]->executed && !vector_has(&o->pending.all[i]->past, &x->dot))
			return false;
	return true;
}

static void forget_delete(struct order *o, const struct op_id *dot)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->deletes.count; i++)
		if (!op_id_eq(&o->deletes.all[i], dot))
			o->deletes.all[kept++] = o->deletes.all[i];
	o->deletes.count = kept;
}

static void forget(struct order *o, struct entry *x)
{
	if (x->clock > o->stable_clock && entry_repeats(x))
		o->stable_clock = x->clock;
	if (x->kind == OPERATION_DELETE)
		forget_delete(o, &x->dot);
	o->stable_deletes |= x->kind == OPERATION_DELETE;
	if (x->kind == OPERATION_REPLACE && x->executed && !x->old)
		entries_remove(&o->replaces, entries_find(&o->replaces, x));
	o->appends -= x->executed && x->kind == OPERATION_APPEND;
	o->writes -= x->executed && entry_repeats(x);
	entry_free(&x);
}

size_t order_prune(struct order *o, const struct vector *const *known, size_t count, order_on_pruned *on, void *arg)
{
	size_t kept = o->over.gone, pruned = 0;

	for (size_t i = 0; i < count; i++)
		if (!vector_covers(&o->past, known[i]))
			return 0;
	for (size_t i = o->over.gone; i < o->over.end; i++) {
		struct entry *x = o->over.all[i];

		if (!is_stable(o, x, known, count) || vector_add(&o->stable, &x->dot)) {
			o->over.all[kept++] = x;
			continue;
		}
		if (on)
			on(arg, &x->id, &x->dot);
		forget(o, x);
		pruned++;
	}
	o->over.end = kept;
	return pruned;
}
