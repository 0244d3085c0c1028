/* The order machine: what moves when (order.h).  order_next picks and prepares everything that could fail; the end of a
 * step (order_ran, or at once for what is not executed) only moves. */
#include "replication/order_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct order *order_new(const struct order_options *options)
{
	struct order *o = calloc(1, sizeof(*o));

	if (o)
		o->options = *options;
	return o;
}

void order_free(struct order **op)
{
	struct order *o = *op;

	*op = NULL;
	if (!o)
		return;
	if (o->admitting)
		entry_free(&o->running);
	free(o->replaces.all);
	free(o->moved.all);
	entries_fini(&o->pending);
	entries_fini(&o->over);
	vector_fini(&o->past);
	vector_fini(&o->known);
	vector_fini(&o->next);
	vector_fini(&o->stable);
	free(o->deletes.all);
	free(o->lost.all);
	free(o->again.all);
	free(o->resolved.all);
	free(o);
}

/* ---- what comes in ------------------------------------------------------------------------------------------------ */

static void see_clock(struct order *o, uint64_t clock)
{
	if (clock > o->clock)
		o->clock = clock;
}

static bool is_here(const struct order *o, const struct order_op *op)
{
	const struct entry at = { .clock = op->clock, .dot = op->stamp.dot };
	size_t i = entries_after(&o->pending, &at);

	if (vector_has(&o->past, &op->stamp.dot) || vector_has(&o->known, &op->stamp.dot))
		return true;
	if (o->running && op_id_eq(&o->running->dot, &op->stamp.dot))
		return true;
	return i > o->pending.gone && op_id_eq(&o->pending.all[i - 1]->dot, &op->stamp.dot);
}

static bool is_repeatable(const struct order_op *op)
{
	const struct entry e = { .kind = op->kind, .named = op->named };

	return entry_repeats(&e);
}

static enum order_verdict look(struct order *o, const struct order_op *op)
{
	bool strange = o->stable.count && !vector_covers(&op->stamp.past, &o->stable);

	if (is_here(o, op))
		return ORDER_KNOWN;
	if (entries_count(&o->pending) >= ORDER_PENDING || order_operations(o) >= ORDER_OPERATIONS)
		return ORDER_LATER;
	if (op->kind == OPERATION_CREATE && op->clock < o->options.oldest && o->life == ORDER_NOTHING && !o->past.count)
		return ORDER_QUARANTINE;
	if (strange && (o->stable_deletes || (is_repeatable(op) && op->clock < o->stable_clock)))
		return ORDER_RECALL;
	if (strange && op->kind != OPERATION_DELETE)
		o->net = "recalled";
	return ORDER_TAKEN;
}

int order_arrive(struct order *o, const struct order_op *op, enum order_verdict *verdict_r)
{
	struct entry *e;

	*verdict_r = look(o, op);
	if (*verdict_r != ORDER_TAKEN)
		return 0;
	/* one more than needed: what runs may have to come back */
	if (!entries_reserve(&o->pending, 2) || !(e = entry_new(op)))
		return ERR_NOMEM;
	entries_insert(&o->pending, e);
	o->pending_deletes += op->kind == OPERATION_DELETE;
	o->restamped |= !op_id_eq(&op->id, &op->stamp.dot);
	see_clock(o, op->clock);
	return 0;
}

void order_release(struct order *o, const struct op_id *dot)
{
	struct entry *e = entries_find_dot(&o->pending, dot);

	if (e)
		e->held = false;
}

void order_recall(struct order *o)
{
	vector_fini(&o->stable);
	o->stable_clock = 0;
	o->stable_deletes = false;
	if (!o->net)
		o->net = "recalled"; /* what the store has dropped since cannot be put in order */
}

int order_lost(struct order *o, const struct op_id *dot)
{
	return op_ids_add(&o->lost, dot) ? 0 : ERR_NOMEM;
}

/* ---- the end of a step -------------------------------------------------------------------------------------------- */

static void take_from_pending(struct order *o, struct entry *e)
{
	o->pending_deletes -= e->kind == OPERATION_DELETE;
	entries_remove(&o->pending, entries_find(&o->pending, e));
}

/* Everything executed belongs to a life that is over: none of it is executed again. There is room. */
static void end_life(struct order *o, const struct entry *d)
{
	size_t kept = o->pending.gone;

	o->deletes.all[o->deletes.count++] = d->dot;
	o->life = ORDER_DELETED;
	o->replaces.end = o->replaces.gone;
	for (size_t i = o->over.gone; i < o->over.end; i++)
		if (o->over.all[i]->kind != OPERATION_DELETE && o->over.all[i]->state != ORDER_BRANCHED)
			o->over.all[i]->old = true;
	for (size_t i = o->pending.gone; i < o->pending.end; i++) {
		struct entry *e = o->pending.all[i];

		if (!e->executed || e == d) {
			o->pending.all[kept++] = e;
			continue;
		}
		e->old = true;
		e->state = ORDER_DONE;
		entries_insert(&o->over, e);
	}
	o->pending.end = kept;
}

static void begin_life(struct order *o, const struct entry *e, enum order_state state)
{
	if (order_is_deleted_for(o, e))
		return;
	if (state == ORDER_DONE)
		o->life = ORDER_ALIVE;
	else if (o->life == ORDER_NOTHING || o->life == ORDER_DELETED)
		o->life = state == ORDER_IN_DOUBT ? ORDER_UNCERTAIN : ORDER_NO_REPLICA;
}

/* Branches that e follows are past with it. */
static void resolve(struct order *o, const struct entry *e)
{
	for (size_t i = o->over.gone; i < o->over.end && o->branches; i++) {
		struct entry *x = o->over.all[i];

		if (x->state != ORDER_BRANCHED || !vector_has(&e->past, &x->dot))
			continue;
		x->state = ORDER_SKIPPED;
		o->branches--;
		o->net = "resolved"; /* what the other branch alone wrote is still here, or lacks */
	}
	if (!o->branches)
		vector_fini(&o->known);
}

static void take_effect(struct order *o, struct entry *e, enum order_state state)
{
	bool executed = state == ORDER_DONE || (state == ORDER_SKIPPED && e->before == ORDER_EXECUTED && !entry_repeats(e));

	if (executed) {
		order_watch(o, e);
		e->executed = true;
		o->appends += e->kind == OPERATION_APPEND;
		o->writes += entry_repeats(e);
		if (e->kind == OPERATION_REPLACE)
			entries_insert(&o->replaces, e);
	}
	if (e->kind == OPERATION_DELETE)
		end_life(o, e);
	else if (e->kind == OPERATION_CREATE && (executed || state != ORDER_SKIPPED))
		begin_life(o, e, executed ? ORDER_DONE : state);
	else if (e->kind == OPERATION_CREATE && o->life == ORDER_NOTHING)
		o->life = ORDER_DELETED; /* it was passed over for a delete that is to come */
}

/* The same operation, under other dots, is not executed once more. */
static void mark_siblings(struct order *o, const struct entry *e, enum order_before before)
{
	for (size_t i = o->pending.gone; i < o->pending.end && o->restamped && !entry_repeats(e); i++)
		if (op_id_eq(&o->pending.all[i]->id, &e->id))
			o->pending.all[i]->before = before;
}

/* e, in no list, is over. There is room. */
static void put_over(struct order *o, struct entry *e, enum order_state state)
{
	bool first = !e->executed;

	if (state == ORDER_FAILED)
		o->net = "refused";
	else if (state == ORDER_IN_DOUBT && !o->net)
		o->net = "in-doubt";
	if (state == ORDER_BRANCHED) {
		struct vector known = o->known;

		o->known = o->next;
		o->next = known;
		o->branches++;
	} else if (first) {
		struct vector past = o->past;

		take_effect(o, e, state);
		if (e->executed || state == ORDER_IN_DOUBT)
			mark_siblings(o, e, e->executed ? ORDER_EXECUTED : ORDER_MAYBE);
		if (o->branches)
			resolve(o, e);
		o->past = o->next;
		o->next = past;
	}
	e->state = state;
	vector_fini(&e->past);
	entries_insert(&o->over, e);
}

/* ---- the next step ------------------------------------------------------------------------------------------------ */

/* Executed before, and to be executed after e again. */
static bool is_later_write(const struct entry *x)
{
	return x->executed && x->state == ORDER_DONE && !x->old && entry_repeats(x);
}

static int prepare_again(struct order *o, const struct entry *e)
{
	size_t count = 0;

	o->again.count = 0;
	if (!entry_repeats(e))
		return 0;
	for (size_t i = entries_after(&o->over, e); i < o->over.end; i++)
		if (is_later_write(o->over.all[i])) {
			count++;
			if (!op_ids_add(&o->again, &o->over.all[i]->id))
				return ERR_NOMEM;
		}
	return count && (!entries_reserve(&o->pending, count) || !entries_reserve(&o->moved, count)) ? ERR_NOMEM : 0;
}

static void move_again(struct order *o, const struct entry *e)
{
	size_t kept;

	if (!o->again.count)
		return;
	kept = entries_after(&o->over, e);
	for (size_t i = kept; i < o->over.end; i++) {
		struct entry *x = o->over.all[i];

		if (is_later_write(x)) {
			x->state = ORDER_PENDING_AGAIN;
			o->moved.all[o->moved.end++] = x;
		} else {
			o->over.all[kept++] = x;
		}
	}
	o->over.end = kept;
	entries_merge(&o->pending, o->moved.all, o->moved.end);
	o->moved.end = 0;
}

static int prepare_resolved(struct order *o, const struct entry *e)
{
	o->resolved.count = 0;
	for (size_t i = o->over.gone; i < o->over.end && o->branches; i++)
		if (o->over.all[i]->state == ORDER_BRANCHED && vector_has(&e->past, &o->over.all[i]->dot) &&
		    !op_ids_add(&o->resolved, &o->over.all[i]->id))
			return ERR_NOMEM;
	return 0;
}

/* What is past, or known, once e is over. */
static int prepare_past(struct order *o, const struct entry *e, enum order_act act)
{
	int rc = vector_copy(&o->next, act == ORDER_BRANCH ? &o->known : &o->past);

	if (!rc)
		rc = vector_merge(&o->next, &e->past);
	return rc ? rc : vector_add(&o->next, &e->dot);
}

/* Room for e, and for what a delete moves with it. */
static bool reserve_over(struct order *o, const struct entry *e)
{
	size_t more = e->kind == OPERATION_DELETE ? entries_count(&o->pending) : 0;

	return entries_reserve(&o->over, 1 + more) && op_ids_reserve(&o->deletes) && entries_reserve(&o->replaces, 1);
}

static int prepare(struct order *o, const struct entry *e, enum order_act act)
{
	int rc;

	o->resolved.count = 0;
	if (!reserve_over(o, e))
		return ERR_NOMEM;
	if (!e->executed) {
		rc = prepare_past(o, e, act);
		if (!rc)
			rc = prepare_resolved(o, e);
		if (rc)
			return rc;
	}
	o->again.count = 0;
	return act == ORDER_RUN || act == ORDER_AGAIN ? prepare_again(o, e) : 0;
}

/* A delete comes before what is concurrent to it, all of which it outdoes: whether it was executed may be unknown, and then
 * a write would meet what is gone. In keep-all this site's own come before others' for the same reason: one that may have
 * been executed when it was admitted is of this branch. */
static int rank(const struct order *o, const struct entry *e)
{
	if (o->options.keep_all && e->own)
		return e->first ? 0 : 1;
	return e->kind == OPERATION_DELETE ? 2 : 3;
}

static struct entry *first_ready(const struct order *o)
{
	struct entry *first = NULL;

	for (size_t i = o->pending.gone; i < o->pending.end; i++) {
		struct entry *e = o->pending.all[i];

		if ((!first || rank(o, e) < rank(o, first)) && order_is_ready(o, e))
			first = e;
		if (first && !o->options.keep_all && !o->pending_deletes)
			break;
	}
	return first;
}

static const enum order_state over_as[] = {
	[ORDER_SKIP] = ORDER_SKIPPED, [ORDER_DOUBT] = ORDER_IN_DOUBT, [ORDER_BRANCH] = ORDER_BRANCHED,
};

int order_next(struct order *o, struct order_step *step_r)
{
	struct entry *e = o->running ? NULL : first_ready(o);
	const char *why;
	enum order_act act;
	int rc;

	*step_r = (struct order_step){ .act = ORDER_WAIT, .why = "" };
	if (!e)
		return 0;
	act = order_judge(o, e, &why);
	rc = prepare(o, e, act);
	if (rc)
		return rc;
	*step_r = (struct order_step){ .act = act, .id = e->id, .dot = e->dot, .kind = e->kind, .why = why,
		.exists = e->kind == OPERATION_CREATE && o->life == ORDER_ALIVE, .resolved_count = o->resolved.count };
	if (act == ORDER_RUN || act == ORDER_AGAIN) {
		move_again(o, e);
		o->running = e;
	} else {
		take_from_pending(o, e);
		/* an update that a later replace covers was executed all the same */
		put_over(o, e, e->executed ? ORDER_DONE : over_as[act]);
	}
	step_r->again = o->again.all;
	step_r->again_count = o->again.count;
	step_r->resolved = o->resolved.all;
	return 0;
}

/* ---- admission ---------------------------------------------------------------------------------------------------- */

static int may_admit(const struct order *o, const struct order_op *op)
{
	if (op->clock <= o->clock || vector_has(&o->past, &op->stamp.dot))
		return ERR_INVALID;
	if (op->resolves)
		return 0;
	if (op->kind == OPERATION_CREATE)
		return o->life == ORDER_ALIVE && !op->named ? ERR_EXISTS : 0;
	if (o->life == ORDER_DELETED)
		return ERR_CLOSED;
	return o->life == ORDER_ALIVE ? 0 : ERR_NOT_FOUND;
}

static int new_own(struct order *o, const struct order_op *op, struct entry **e_r)
{
	struct order_op own = *op;
	int rc = may_admit(o, op);
	struct entry *e;

	if (rc)
		return rc;
	own.stamp.past = o->past;
	own.held = false;
	own.own = true;
	e = entry_new(&own);
	if (!e)
		return ERR_NOMEM;
	rc = op->resolves ? vector_merge(&e->past, &o->known) : 0;
	if (!rc && !entries_reserve(&o->pending, 2))
		rc = ERR_NOMEM;
	if (rc) {
		entry_free(&e);
		return rc;
	}
	e->first = true;
	*e_r = e;
	return 0;
}

static void begin_own(struct order *o, const struct entry *e, const struct vector **past_r)
{
	o->restamped |= !op_id_eq(&e->id, &e->dot);
	see_clock(o, e->clock);
	*past_r = &e->past;
}

int order_admit(struct order *o, const struct order_op *op, const struct vector **past_r)
{
	struct entry *e;
	int rc = o->running || first_ready(o) ? ERR_BUSY : new_own(o, op, &e);

	if (rc)
		return rc;
	rc = prepare(o, e, ORDER_RUN);
	if (rc) {
		entry_free(&e);
		return rc;
	}
	o->running = e;
	o->admitting = true;
	begin_own(o, e, past_r);
	return 0;
}

int order_readmit(struct order *o, const struct order_op *op, const struct vector **past_r)
{
	struct entry *e;
	int rc = new_own(o, op, &e);

	if (rc)
		return rc;
	entries_insert(&o->pending, e);
	o->pending_deletes += e->kind == OPERATION_DELETE;
	begin_own(o, e, past_r);
	return 0;
}

void order_withdraw(struct order *o, const struct op_id *dot)
{
	if (!o->admitting || !op_id_eq(&o->running->dot, dot))
		return;
	o->admitting = false;
	entry_free(&o->running);
}

/* ---- outcomes ----------------------------------------------------------------------------------------------------- */

void order_ran(struct order *o, const struct op_id *dot, enum order_outcome outcome)
{
	static const enum order_state states[] = {
		[ORDER_RAN_DONE] = ORDER_DONE, [ORDER_RAN_REFUSED] = ORDER_FAILED, [ORDER_RAN_DOUBT] = ORDER_IN_DOUBT,
	};
	struct entry *e = o->running;
	bool admitting = o->admitting;

	if (!e || !op_id_eq(&e->dot, dot))
		return;
	o->running = NULL;
	o->admitting = false;
	if (outcome == ORDER_RAN_NOT || (outcome == ORDER_RAN_DOUBT && (entry_repeats(e) || e->kind == OPERATION_DELETE))) {
		if (admitting) {
			entries_insert(&o->pending, e);
			o->pending_deletes += e->kind == OPERATION_DELETE;
		}
		return;
	}
	if (admitting && outcome == ORDER_RAN_DOUBT) {
		mark_siblings(o, e, ORDER_MAYBE);
		entry_free(&e);
		return;
	}
	if (!admitting)
		take_from_pending(o, e);
	if (outcome == ORDER_RAN_REFUSED && e->executed && e->kind == OPERATION_CREATE) {
		put_over(o, e, ORDER_DONE); /* it is there all the same */
		o->net = "refused";
		return;
	}
	put_over(o, e, states[outcome]);
}

bool order_settle(struct order *o, const struct op_id *dot, enum order_outcome outcome)
{
	struct entry *e = entries_find_dot(&o->over, dot);

	if (!e || e->state != ORDER_IN_DOUBT || (outcome != ORDER_RAN_DONE && outcome != ORDER_RAN_REFUSED))
		return false;
	e->state = outcome == ORDER_RAN_DONE ? ORDER_DONE : ORDER_FAILED;
	e->executed = outcome == ORDER_RAN_DONE;
	o->appends += e->executed && e->kind == OPERATION_APPEND;
	o->writes += e->executed && entry_repeats(e);
	if (e->kind == OPERATION_CREATE && o->life == ORDER_UNCERTAIN)
		o->life = e->executed ? ORDER_ALIVE : ORDER_NO_REPLICA;
	return true;
}

/* ---- what it knows ------------------------------------------------------------------------------------------------ */

const struct vector *order_past(const struct order *o)
{
	return &o->past;
}

uint64_t order_clock(const struct order *o)
{
	return o->clock;
}

enum order_life order_life(const struct order *o)
{
	return o->life;
}

size_t order_pending(const struct order *o)
{
	return entries_count(&o->pending) + o->admitting;
}

size_t order_held(const struct order *o)
{
	size_t count = 0;

	for (size_t i = o->pending.gone; i < o->pending.end; i++)
		count += o->pending.all[i]->held;
	return count;
}

size_t order_operations(const struct order *o)
{
	return entries_count(&o->over) + order_pending(o);
}

bool order_conflict(const struct order *o)
{
	return o->branches > 0;
}

const char *order_net(const struct order *o)
{
	return o->net;
}

void order_compared(struct order *o)
{
	o->net = NULL;
}
