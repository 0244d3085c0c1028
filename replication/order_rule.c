/* The rule: what becomes of an operation whose turn it is.
 *
 *	its past is not here, or something outside holds it               it waits
 *	keep-all, and it does not follow what was executed here           branch
 *	a delete that does not follow it was executed here before         skip: deleted        (the database was set back)
 *	executed here before, and once is enough                          skip: duplicate; uncertain: doubt
 *	a delete that is over is not in its past                          skip: deleted        (a delete itself is executed)
 *	nothing lives here                                                skip: deleted, no-replica; a create begins a life;
 *	                                                                  a delete runs where a create is pending
 *	a later replace of its target was executed                        skip: covered        (never an append)
 *	else                                                              run; then the updates later than it, again
 *
 * Why a delete outdoes concurrent updates whatever their clocks: executed where the resource is gone an update would make
 * it anew (a PUT) or be refused, and a site that had executed it before the delete has nothing of it left either way.
 *
 * Why appends are not covered: "every append is executed once" is promised; where a replace then took its effect away at
 * one site and not at another, the safety net has been told. */
#include "replication/order_int.h"

#include <string.h>

static bool is_known(const struct order *o, const struct op_id *dot)
{
	return vector_has(&o->past, dot) || vector_has(&o->known, dot);
}

/* It is lost, and nothing before it of the same incarnation is pending. */
static bool is_lost(const struct order *o, const struct op_id *dot)
{
	bool lost = false;

	for (size_t i = 0; i < o->lost.count && !lost; i++)
		lost = op_id_eq(&o->lost.all[i], dot);
	for (size_t i = o->pending.gone; i < o->pending.end && lost; i++) {
		const struct entry *e = o->pending.all[i];

		lost = e->executed || e->dot.incarnation != dot->incarnation || e->dot.number > dot->number ||
		       strcmp(e->dot.site, dot->site) != 0;
	}
	return lost;
}

static bool has_past(const struct order *o, const struct vector *past)
{
	if (!o->known.count && !o->lost.count)
		return vector_covers(&o->past, past);
	for (uint32_t i = 0; i < past->count; i++)
		if (!is_known(o, &past->entries[i]) && !is_lost(o, &past->entries[i]))
			return false;
	return true;
}

bool order_has(const struct order *o, const struct vector *after)
{
	return has_past(o, after);
}

bool order_is_ready(const struct order *o, const struct entry *e)
{
	if (e->executed)
		return true;
	if (e->held || !has_past(o, &e->past))
		return false;
	if (e->kind == OPERATION_CREATE)
		return true;
	/* without a life a write waits for the create, unless that is lost */
	return o->life != ORDER_UNCERTAIN && (o->life != ORDER_NOTHING || e->kind == OPERATION_DELETE || o->lost.count);
}

bool order_is_deleted_for(const struct order *o, const struct entry *e)
{
	for (size_t i = 0; i < o->deletes.count; i++)
		if (!vector_has(&e->past, &o->deletes.all[i]) && !op_id_eq(&e->dot, &o->deletes.all[i]))
			return true;
	return false;
}

/* The target of a replace is all of a target below it too. */
static bool covers(const struct entry *r, const struct entry *e)
{
	if (r->state == ORDER_FAILED || e->target_n < r->target_n || (r->target_n && memcmp(r->target, e->target, r->target_n) != 0))
		return false;
	return !r->target_n || e->target_n == r->target_n || e->target[r->target_n] == '/';
}

/* A delete that is to come was, or may have been, executed here before this database was set back. */
static bool is_gone(const struct order *o, const struct entry *e)
{
	for (size_t i = o->pending.gone; i < o->pending.end && o->pending_deletes; i++) {
		const struct entry *d = o->pending.all[i];

		if (d->kind == OPERATION_DELETE && d != e && d->before != ORDER_UNTRIED && !vector_has(&e->past, &d->dot))
			return true;
	}
	return false;
}

/* A delete that was executed here before this database was set back: known, or seen by an append
 * that was executed after it. What else came after it is executed again. */
static bool was_executed(const struct order *o, const struct entry *d)
{
	bool was = d->before == ORDER_EXECUTED;

	for (size_t i = o->pending.gone; i < o->pending.end && !was; i++) {
		const struct entry *c = o->pending.all[i];

		was = c->kind == OPERATION_APPEND && c->before == ORDER_EXECUTED && vector_has(&c->past, &d->dot);
	}
	return was;
}

static bool is_covered(const struct order *o, const struct entry *e)
{
	if (e->kind != OPERATION_UPDATE && e->kind != OPERATION_REPLACE)
		return false;
	for (size_t i = entries_after(&o->replaces, e); i < o->replaces.end; i++)
		if (covers(o->replaces.all[i], e))
			return true;
	return false;
}

/* Of two concurrent ones, in keep-all: appends go together. */
static bool conflicts(const struct entry *a, const struct entry *b)
{
	return a->kind != OPERATION_APPEND || b->kind != OPERATION_APPEND;
}

/* It does not follow this site's branch: something executed here is concurrent to it, and they conflict, or it follows
 * another branch as well. */
static bool is_branch(const struct order *o, const struct entry *e)
{
	bool strange = !vector_covers(&o->past, &e->past);

	if (!o->options.keep_all || (!strange && vector_covers(&e->past, &o->past)))
		return false;
	for (size_t i = o->over.end; i > o->over.gone; i--) {
		const struct entry *x = o->over.all[i - 1];

		if (x->executed && !x->old && x->state != ORDER_BRANCHED && !vector_has(&e->past, &x->dot) &&
		    (strange || conflicts(x, e)))
			return true;
	}
	return false;
}

static enum order_act skip(const char *why, const char **why_r)
{
	*why_r = why;
	return ORDER_SKIP;
}

/* A create that is pending may have been executed, when it was admitted or by an attempt whose end nobody knows. */
static bool may_be_there(const struct order *o)
{
	for (size_t i = o->pending.gone; i < o->pending.end; i++)
		if (o->pending.all[i]->kind == OPERATION_CREATE && !o->pending.all[i]->executed)
			return true;
	return false;
}

static enum order_act judge_life(const struct order *o, const struct entry *e, const char **why_r)
{
	bool lives = o->life == ORDER_ALIVE;

	if (e->kind == OPERATION_CREATE)
		return o->life == ORDER_NOTHING || o->life == ORDER_DELETED || e->named ? ORDER_RUN : skip("duplicate", why_r);
	if (e->kind != OPERATION_DELETE && order_is_deleted_for(o, e))
		return skip("deleted", why_r);
	if (!lives && !(e->kind == OPERATION_DELETE && (e->before != ORDER_UNTRIED || may_be_there(o))))
		return skip(o->life == ORDER_DELETED ? "deleted" : "no-replica", why_r);
	return ORDER_RUN;
}

enum order_act order_judge(const struct order *o, const struct entry *e, const char **why_r)
{
	enum order_act act;

	*why_r = "";
	if (e->executed && is_gone(o, e))
		return skip("deleted", why_r);
	if (e->executed)
		return is_covered(o, e) ? skip("covered", why_r) : ORDER_AGAIN;
	if (is_known(o, &e->dot)) /* it came twice, with two clocks */
		return skip("duplicate", why_r);
	if (is_branch(o, e))
		return ORDER_BRANCH;
	if (e->kind != OPERATION_DELETE && is_gone(o, e))
		return skip("deleted", why_r);
	if (e->kind == OPERATION_DELETE ? was_executed(o, e) : !entry_repeats(e) && e->before == ORDER_EXECUTED)
		return skip("duplicate", why_r);
	if (!entry_repeats(e) && e->kind != OPERATION_DELETE && e->before == ORDER_MAYBE)
		return ORDER_DOUBT;
	if (e->kind == OPERATION_CREATE && order_is_deleted_for(o, e))
		return skip("deleted", why_r);
	act = judge_life(o, e, why_r);
	if (act != ORDER_RUN)
		return act;
	return is_covered(o, e) ? skip("covered", why_r) : ORDER_RUN;
}

/* e has been executed for the first time: an append beside concurrent other writes, or the other way round. */
void order_watch(struct order *o, const struct entry *e)
{
	bool append = e->kind == OPERATION_APPEND;
	size_t others = append ? o->writes : o->appends;

	if (o->net || !others || e->kind == OPERATION_DELETE || vector_covers(&e->past, &o->past))
		return;
	for (size_t i = o->over.end; i > o->over.gone; i--) {
		const struct entry *x = o->over.all[i - 1];

		if (x->executed && !x->old && (append ? entry_repeats(x) : x->kind == OPERATION_APPEND) &&
		    !vector_has(&e->past, &x->dot)) {
			o->net = "append-met-update";
			return;
		}
	}
}
