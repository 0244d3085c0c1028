/* Delivery: an operation that is admitted comes to every site of its set.
 *
 *	this site     durable, then executed at the application when its turn comes; what it says of a copy is no judgement
 *	              on the operation: again later, held for its credentials, or failed after queue.settle
 *	another site  handed to its proxy, which makes it durable there, executes it and says how it stands; handing it over
 *	              again does no harm
 */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "proxy/rewrite.h"
#include "replication/spool.h"

#define STORE_PAUSE_US 1000000
#define PEER_PAUSE_MOST_US 10000000
#define HELD_PAUSE_US 30000000 /* a site that holds it is asked again whether it still does */

/* ---- the end of a turn -------------------------------------------------------------------------------------------- */

static bool is_terminal(enum delivery_state state)
{
	return state == DELIVERY_DONE || state == DELIVERY_FAILED || state == DELIVERY_IN_DOUBT || state == DELIVERY_DROPPED;
}

static void count(const struct leg *leg)
{
	static const enum replay replay[DELIVERY_STATES_] = {
		[DELIVERY_QUEUED] = REPLAY_AGAIN, [DELIVERY_SENT] = REPLAY_AGAIN, [DELIVERY_DONE] = REPLAY_DONE,
		[DELIVERY_FAILED] = REPLAY_FAILED, [DELIVERY_HELD] = REPLAY_HELD, [DELIVERY_IN_DOUBT] = REPLAY_IN_DOUBT,
		[DELIVERY_UNDOING] = REPLAY_AGAIN, [DELIVERY_DROPPED] = REPLAY_FAILED,
	};

	replicator_count_replay(&leg->work->r->rep->stats, span_make(leg->target->site, leg->target->site_n),
	                        replay[leg->state], clock_wall_ms() - leg->work->op->created_ms);
}

static void tell_hooks(const struct leg *leg)
{
	if (leg->state == DELIVERY_FAILED)
		leg_tell_hooks(leg, HOOK_FAILED, NULL);
	else if (leg->state == DELIVERY_HELD)
		leg_tell_hooks(leg, HOOK_HELD, NULL);
	else if (leg->state == DELIVERY_IN_DOUBT)
		leg_tell_hooks(leg, HOOK_IN_DOUBT, NULL);
}

/* After its state is durable. */
static void settle(struct leg *leg)
{
	struct work *k = leg->work;

	count(leg);
	tell_hooks(leg);
	if (is_terminal(leg->state))
		leg_leave(leg);
	else if (leg->state == DELIVERY_HELD && leg->target->own)
		leg_hold(leg);
	else if (leg->state == DELIVERY_HELD)
		leg_park(leg, HELD_PAUSE_US);
	else
		leg_park(leg, leg->pause_us);
	if (leg->target->own)
		work_tell_peers(k, true);
	fault_point("deliver-told");
	work_unload(k);
	work_end_if_over(k);
}

/* What cannot be recorded is asked again where that does no harm. */
static void on_leg_logged(struct work *k, struct leg *leg, int rc)
{
	bool made = leg->state == DELIVERY_DONE || leg->building;

	fault_point(leg->target->own ? "deliver-recorded" : "hand-over-recorded");
	if (rc == ERR_LIMIT && leg->target->own && operation_is_once(k->op) && made) {
		if (!leg->unrecorded)
			log_warn("operation %s was executed and cannot be recorded yet: the disk is full", k->text);
		leg->unrecorded = true;
		work_again(k);
		return;
	}
	leg->unrecorded = false;
	if (rc) {
		leg->building = false;
		log_warn("operation %s at %.*s: %s cannot be recorded: %s", k->text, (int)leg->target->site_n, leg->target->site,
		         delivery_state_text(leg->state), err_text(rc));
		if (made && rc == ERR_EXISTS) { /* its id is another replica's here */
			leg->state = DELIVERY_FAILED;
			if (log_leg(leg, SPAN(""), on_leg_logged))
				return;
		}
		if (leg->target->own && operation_is_once(k->op) && made) {
			leg->state = DELIVERY_IN_DOUBT;
		} else {
			leg->state = DELIVERY_QUEUED;
			leg->pause_us = STORE_PAUSE_US;
		}
	}
	settle(leg);
}

static void conclude(struct leg *leg, enum delivery_state state, struct span local)
{
	leg->state = state;
	free(leg->local);
	leg->local = local.n ? strndup(local.p, local.n) : NULL;
	log_debug("operation %s at %.*s: %s, attempt %u, status %u", leg->work->text, (int)leg->target->site_n,
	          leg->target->site, delivery_state_text(state), leg->attempts, leg->status);
	if (!log_leg(leg, local, on_leg_logged))
		on_leg_logged(leg->work, leg, ERR_NOMEM);
}

void deliver_record(struct work *k)
{
	struct leg *own = work_own_leg(k);

	if (!own || !own->unrecorded)
		return;
	if (!log_leg(own, own->local ? span_of(own->local) : SPAN(""), on_leg_logged))
		on_leg_logged(k, own, ERR_LIMIT);
}

static void say(struct leg *leg, const char *why)
{
	free(leg->error);
	leg->error = strdup(why);
}

/* Once more, after a while; a weak one was tried. */
static void again(struct leg *leg, int64_t pause_us)
{
	enum delivery_state state = DELIVERY_QUEUED;

	if (leg->work->op->class == CLASS_WEAK && !leg->target->own) {
		conclude(leg, DELIVERY_DROPPED, SPAN(""));
		return;
	}
	leg->pause_us = pause_us > 0 ? pause_us : leg_pause_us(leg);
	/* what may have been executed once is looked for after a restart too */
	if (leg->target->own && leg->was_sent && operation_is_once(leg->work->op))
		state = DELIVERY_SENT;
	if (leg->state == state && leg->durable && (leg->attempts & (leg->attempts - 1)))
		settle(leg); /* the store has it so; the number of attempts is told now and then */
	else
		conclude(leg, state, SPAN(""));
}

/* ---- this site's application ------------------------------------------------------------------------------------------- */

static bool own_name(const struct work *k, struct name *name_r)
{
	const struct store_key_of *key = &k->op->key;
	const struct names_where where = { .kind = names_kind(k->r->rep->names, key->service, key->collection) };

	return where.kind && names_by_meta(k->r->rep->names, &where, key->meta, name_r);
}

static bool names_deleted(const struct work *k, struct span path)
{
	struct rewrite_target t;
	struct arena arena;
	bool deleted;

	arena_init(&arena, NULL, 0, 1 << 20);
	deleted = rewrite_path_target(k->r->rep->names, &arena, k->op->key.service, path, false, &t) &&
	          t.seen == REWRITE_DELETED;
	arena_fini(&arena);
	return deleted;
}

/* An application that is still at work on what came before refuses what follows: it is asked again until queue.settle. */
static void judge_refusal(struct leg *leg, const struct inner_answer *a)
{
	int64_t now = clock_mono_us();

	if (!leg->refused_us)
		leg->refused_us = now;
	if (now - leg->refused_us >= leg->work->r->w->view->conf->queue_settle_us)
		conclude(leg, DELIVERY_FAILED, SPAN(""));
	else
		again(leg, send_retry_after_us(a));
}

/* Whatever is no success, and says what was done. */
static void judge_other(struct leg *leg, const struct inner_answer *a)
{
	if (a->status == 408 || a->status == 425 || a->status == 429 || a->status == 503)
		again(leg, send_retry_after_us(a));
	else if (a->status == 401 || a->status == 403)
		conclude(leg, DELIVERY_HELD, SPAN(""));
	else
		judge_refusal(leg, a);
}

/* It was executed, under this id. */
static void made(struct leg *leg, struct span id)
{
	bool builds = ready_is_declared(leg->work);

	say(leg, "");
	if (builds)
		ready_begin(leg);
	conclude(leg, builds ? DELIVERY_SENT : DELIVERY_DONE, id);
}

/* Whether an application has executed a create already, that its outcome is not known of. */
static void judge_found(struct leg *leg, const struct inner_answer *a)
{
	struct rules_id shown = { .id = SPAN("") };
	struct span element;
	struct arena arena;

	arena_init(&arena, NULL, 0, 1 << 20);
	switch (doubt_judge(leg, a, &arena, &element, &shown)) {
	case DOUBT_NO_ANSWER:
		leg_set_error(leg, a);
		again(leg, send_retry_after_us(a));
		break;
	case DOUBT_NOT_EXECUTED:
		leg->asked = true;
		leg_park(leg, 0);
		break;
	case DOUBT_EXECUTED:
		made(leg, shown.id);
		break;
	case DOUBT_UNCLEAR:
		say(leg, REPLICATOR_NOT_FOUND);
		conclude(leg, DELIVERY_IN_DOUBT, SPAN(""));
		break;
	}
	arena_fini(&arena);
}

static void judge_look(struct leg *leg, const struct inner_answer *a)
{
	if (!leg->work->op->named) {
		judge_found(leg, a);
		return;
	}
	if (a->result != INNER_ANSWERED) {
		leg_set_error(leg, a);
		again(leg, 0);
	} else if (a->status == 404 || a->status == 410) {
		leg->asked = true;
		leg_park(leg, 0);
	} else if (a->status >= 200 && a->status < 300) {
		if (leg->was_sent) {
			made(leg, leg->work->op->key.meta);
			return;
		}
		say(leg, REPLICATOR_OCCUPIED);
		conclude(leg, DELIVERY_FAILED, SPAN(""));
	} else {
		leg_set_error(leg, a);
		judge_other(leg, a);
	}
}

/* As if nobody had seen its answer: it is looked for where that is declared. */
static void unknown_here(struct leg *leg)
{
	leg->was_sent = true;
	leg->asked = false;
	say(leg, "no memory to read its answer");
	if (doubt_goes_on(leg->work))
		again(leg, 0);
	else
		conclude(leg, DELIVERY_IN_DOUBT, SPAN(""));
}

/* A copy of a create. */
static void judge_made(struct leg *leg, const struct inner_answer *a)
{
	struct work *k = leg->work;
	struct rules_id shown;
	enum rules_shown seen;
	struct arena arena;

	arena_init(&arena, NULL, 0, 4u << 20);
	seen = send_shown(k, &arena, a, &shown);
	if (seen == RULES_ONE) {
		made(leg, shown.id);
	} else if (k->op->named) {
		made(leg, k->op->key.meta);
	} else if (seen == RULES_UNREAD) {
		unknown_here(leg);
	} else {
		say(leg, "the answer shows no identifier");
		conclude(leg, DELIVERY_FAILED, SPAN(""));
	}
	arena_fini(&arena);
}

static void judge_own(struct leg *leg, const struct inner_answer *a)
{
	struct work *k = leg->work;
	const struct operation *op = k->op;
	bool unknown = a->result == INNER_UNKNOWN ||
	               (a->result == INNER_ANSWERED && (a->status == 500 || a->status == 502 || a->status == 504));

	if (a->result == INNER_ANSWERED && ((a->status >= 200 && a->status < 300) || a->status == 303)) {
		say(leg, "");
		if (op->kind == OPERATION_CREATE)
			judge_made(leg, a);
		else
			conclude(leg, DELIVERY_DONE, SPAN(""));
		return;
	}
	leg_set_error(leg, a);
	if (unknown) { /* a name that the client chose shows whether it was made, as does `find` */
		leg->was_sent = true;
		leg->asked = false;
	}
	if (unknown && operation_is_once(op) && !doubt_goes_on(k))
		conclude(leg, DELIVERY_IN_DOUBT, SPAN(""));
	else if (a->result != INNER_ANSWERED)
		again(leg, 0);
	else if (span_eq(op->method, SPAN("DELETE")) && (a->status == 404 || a->status == 410))
		conclude(leg, DELIVERY_DONE, SPAN(""));
	else
		judge_other(leg, a); /* one that answers 500 for ever is not asked for ever */
}

/* ---- another site's proxy ------------------------------------------------------------------------------------------------ */

static void judge_peer(struct leg *leg, const struct inner_answer *a)
{
	const struct http_field *f = a->head ? http_find(a->head, HTTP_X_SCOPEMESH_OPERATION) : NULL;
	struct operation_result result;
	struct arena arena;
	int64_t pause_us;

	arena_init(&arena, NULL, 0, 1 << 20);
	if (!f || operation_result_of_field(&arena, f->value, &result)) {
		leg_set_error(leg, a);
		if (!a->head)
			target_failed(leg->target);
		if (leg->work->op->class == CLASS_WEAK)
			again(leg, 0);
		else
			leg_park(leg, a->head ? leg_pause_us(leg) : 0);
		work_unload(leg->work);
		arena_fini(&arena);
		return;
	}
	target_reached(leg->target);
	leg->wanted = span_eq(result.reason, SPAN(REPLICATOR_WANTED));
	leg->told = false;
	if (leg->wanted || (result.state == DELIVERY_HELD && leg->state == DELIVERY_HELD)) { /* as the log has it */
		leg_park(leg, leg->wanted ? 0 : HELD_PAUSE_US);
		arena_fini(&arena);
		return;
	}
	if (leg->work->op->class == CLASS_WEAK && span_eq(result.reason, SPAN(REPLICA_BUILDING)))
		result.state = DELIVERY_DONE; /* it has it */
	leg->status = result.status;
	free(leg->error);
	leg->error = result.reason.n ? strndup(result.reason.p, result.reason.n) : NULL;
	if (result.state == DELIVERY_QUEUED || result.state == DELIVERY_SENT) {
		pause_us = result.retry_after_ms ? result.retry_after_ms * 1000 : leg_pause_us(leg);
		again(leg, pause_us < PEER_PAUSE_MOST_US ? pause_us : PEER_PAUSE_MOST_US);
	} else {
		conclude(leg, result.state, leg->work->op->kind == OPERATION_CREATE ? result.local : SPAN(""));
	}
	arena_fini(&arena);
}

static void judge_building(struct leg *leg, const struct inner_answer *a)
{
	enum delivery_state state = ready_judge(leg, a);

	if (state == DELIVERY_SENT)
		leg_park(leg, leg->pause_us);
	else
		conclude(leg, state, SPAN(""));
}

void deliver_judge(struct leg *leg, const struct inner_answer *a)
{
	fault_point(leg->target->own ? "deliver-answered" : "hand-over-answered");
	if (leg->target->own && !leg->building)
		leg->status = a->status;
	if (!leg->target->own)
		judge_peer(leg, a);
	else if (leg->building)
		judge_building(leg, a);
	else if (leg->as == SEND_LOOK)
		judge_look(leg, a);
	else
		judge_own(leg, a);
}

/* ---- its turn -------------------------------------------------------------------------------------------------------------- */

/* A large body that may be at the other site already is not sent again before that is asked. */
static bool may_be_there(const struct leg *leg)
{
	return !leg->target->own && !leg->told && leg->work->op->spool.n && !leg->wanted && (leg->attempts || leg->work->revived);
}

static void execute(struct leg *leg)
{
	bool own = leg->target->own;
	enum doubt doubt = own ? doubt_step(leg) : DOUBT_EXECUTE;
	bool look = leg->building || doubt == DOUBT_LOOK ||
	            (own && leg->work->op->named && leg->work->op->kind == OPERATION_CREATE && !leg->asked);

	if (doubt == DOUBT_STAYS) {
		say(leg, REPLICATOR_NOT_FOUND);
		conclude(leg, DELIVERY_IN_DOUBT, SPAN(""));
		return;
	}
	if (!leg_send(leg, look ? SEND_LOOK : may_be_there(leg) ? SEND_ASK : SEND_DELIVERY))
		leg_park(leg, STORE_PAUSE_US);
}

/* An operator elsewhere has it tried again, although it was given up here. */
static bool begin_anew(struct work *k, struct leg *leg)
{
	if (!k->op->retry || (leg->state != DELIVERY_FAILED && leg->state != DELIVERY_IN_DOUBT))
		return false;
	leg->was_sent = leg->state == DELIVERY_IN_DOUBT && doubt_goes_on(k); /* else the operator knows */
	leg->state = DELIVERY_QUEUED;
	k->logged = leg->durable = true;
	leg_park(leg, 0);
	return true;
}

static void on_known(struct work *k, struct leg *leg, int rc)
{
	leg = work_own_leg(k);
	if (!rc && begin_anew(k, leg))
		return;
	if (rc)
		leg->state = DELIVERY_QUEUED; /* the peer asks again */
	leg_leave(leg);
	k->phase = WORK_OVER;
	work_end_if_over(k);
}

static void on_logged(struct work *k, struct leg *leg, int rc)
{
	if (!rc) {
		k->logged = leg->durable = true;
		fault_point("deliver-logged");
		execute(leg);
		return;
	}
	if (rc == ERR_EXISTS && !k->logged && log_ask(k, on_known))
		return;
	leg->state = DELIVERY_QUEUED;
	if (k->logged) {
		leg_park(leg, STORE_PAUSE_US);
		return;
	}
	log_warn("operation %s cannot be made durable here: %s", k->text, err_text(rc));
	leg_leave(leg);
	k->phase = WORK_OVER;
	work_end_if_over(k);
}

/* What it is about was deleted here: nothing rises from the dead. */
static bool is_gone(struct work *k)
{
	return names_deleted(k, operation_path(k->op));
}

static void pass_over(struct leg *leg, const char *why)
{
	struct work *k = leg->work;

	say(leg, why);
	if (k->logged) {
		conclude(leg, DELIVERY_DONE, SPAN(""));
		return;
	}
	leg->state = DELIVERY_DONE;
	leg_leave(leg);
	k->phase = WORK_OVER;
	work_end_if_over(k);
}

static void run_own(struct leg *leg)
{
	struct work *k = leg->work;
	/* a name that the client chose is looked at first, then it may not be made twice */
	bool once = operation_is_once(k->op) || (k->op->kind == OPERATION_CREATE && leg->asked);
	struct name name;

	if (is_gone(k) || k->covered) {
		pass_over(leg, k->covered ? "covered" : "deleted");
		return;
	}
	if (k->op->kind != OPERATION_CREATE && own_name(k, &name) && !name.local_n) {
		say(leg, "no-replica");
		if (!k->logged) { /* nothing of it is known here yet */
			leg_leave(leg);
			k->phase = WORK_OVER;
			work_end_if_over(k);
		} else {
			conclude(leg, DELIVERY_FAILED, SPAN(""));
		}
		return;
	}
	if (late_begin(k))
		return;
	if (k->logged && (!once || leg->state == DELIVERY_SENT)) {
		execute(leg);
		return;
	}
	leg->state = once ? DELIVERY_SENT : DELIVERY_QUEUED;
	if (!(k->logged ? log_sent(leg, on_logged) : log_begin(k, leg, on_logged)))
		on_logged(k, leg, ERR_NOMEM);
}

void late_read(struct leg *own, int rc)
{
	struct work *k = own->work;

	if (!rc) {
		run_own(own);
		return;
	}
	leg_leave(own); /* the peer asks again */
	k->phase = WORK_OVER;
	work_end_if_over(k);
}

void deliver_run(struct leg *leg)
{
	fault_point(leg->target->own ? "deliver-log" : "hand-over");
	if (leg->target->own) {
		run_own(leg);
	} else if (leg->expired) {
		say(leg, REPLICATOR_EXPIRED);
		conclude(leg, DELIVERY_DROPPED, SPAN(""));
	} else {
		execute(leg);
	}
}

/* ---- the begin ---------------------------------------------------------------------------------------------------------------- */

/* A peer's, of a resource that is not known here yet, or not any more: it is not taken. */
static bool is_premature(struct work *k, struct leg *own)
{
	struct name name;
	bool known;

	if (!k->received || k->logged || k->op->kind == OPERATION_CREATE)
		return false;
	known = own_name(k, &name);
	/* a child that was made beside the deletion of its parent was passed over here, and has no name */
	if (known ? name.deleted : names_deleted(k, k->op->key.collection)) {
		own->state = DELIVERY_DONE;
		say(own, "deleted");
		return true;
	}
	if (!known)
		say(own, "not-here-yet");
	return !known;
}

/* Another site has made what this one has under the same name, which the clients chose: the later one overwrites. */
static bool meets_its_name(struct work *k)
{
	struct operation *op;
	struct name name;

	if (!k->received || k->logged || !k->op->named || k->op->kind != OPERATION_CREATE || !own_name(k, &name) ||
	    !name.local_n)
		return true;
	op = operation_with_key(k->op, &k->op->key, OPERATION_UPDATE);
	if (!op)
		return false;
	operation_unref(&k->op);
	k->op = op;
	return true;
}

static bool enter(struct work *k, struct leg *leg, size_t i)
{
	leg->target = target_of_site(k->r, k->op->sites[i]);
	leg->expired = work_has_expired(k, k->op->sites[i]);
	return leg->target && leg_enter(leg);
}

static void on_asked(struct work *k, struct leg *leg, int rc)
{
	leg = work_own_leg(k);
	if (rc && leg) {
		leg->state = DELIVERY_QUEUED;
		say(leg, rc == ERR_NOT_FOUND ? REPLICATOR_WANTED : "the log cannot be read");
	}
	k->phase = WORK_OVER;
	work_end_if_over(k);
}

void deliver_ask(struct work *k)
{
	k->received = true;
	if (!log_ask(k, on_asked))
		on_asked(k, NULL, ERR_NOMEM);
}

void deliver_begin(struct work *k)
{
	struct leg *own = work_own_leg(k);

	k->phase = WORK_DELIVERING;
	if (!k->logged)
		k->received = true;
	if (k->received && (!own || is_premature(k, own) || !meets_its_name(k))) {
		k->phase = WORK_OVER;
		work_end_if_over(k);
		return;
	}
	for (size_t i = 0; i < k->leg_count; i++) {
		struct leg *leg = &k->legs[i];

		if ((k->received && leg != own) || leg->lane || is_terminal(leg->state))
			continue;
		if (!enter(k, leg, i))
			log_error("operation %s waits for a restart: no memory", k->text);
	}
	work_end_if_over(k);
}
