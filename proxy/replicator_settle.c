/* What operators do to the deliveries of an operation (spec.md 6, replication.md 8):
 *
 *	retry    queued, held, failed   tried at once; one that was over comes behind what waits for its resource by now
 *	drop     queued, held, failed   never; of a create the replica there is failed: dropped
 *	settle   in doubt               done: as if the application had answered so; retry: executed once more; drop
 *
 * A change is durable before it is answered.  What is over is not in memory: it is read back for this.  What is being
 * executed just now is waited for, SETTLE_WAIT_US at most.  Where an operation is in doubt because this site's application
 * was the first that was asked and nobody else could be, it is undecided: settling it decides whether it exists at all.
 *
 * What is held, failed or in doubt at another site is so in that site's log too: to try it again is asked of that site with
 * the delivery (operation.h), and only its own operators say that it was done, since the ids are theirs. */
#include "proxy/replicator_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define SETTLE_WAIT_US 5000000

enum fit { FIT_NO, FIT_YES, FIT_LATER };

/* ---- answers ------------------------------------------------------------------------------------------------------- */

static void run_settled(struct post *post)
{
	struct replicator_settle *s = container_of(post, struct replicator_settle, post);

	s->settled(s);
}

static void hand_over(struct replicator_settle *s)
{
	s->post.run = run_settled;
	if (!worker_post(s->w, &s->post))
		s->settled(s);
}

static void refuse(struct replicator_settle *s, unsigned status, const char *type, const char *detail)
{
	s->status = status;
	s->type = type;
	snprintf(s->detail, sizeof(s->detail), "%s", detail);
	hand_over(s);
}

static void refuse_rc(struct replicator_settle *s, int rc)
{
	if (rc == ERR_EXISTS)
		refuse(s, 409, "exists", "this local id is another resource's already; nothing was changed");
	else if (rc == ERR_CLOSED)
		refuse(s, 503, "not-ready", "the proxy stops; nothing was changed");
	else
		refuse(s, 503, "store", "this cannot be made durable; the log says why");
}

/* With the states that there are. */
static void refuse_state(struct replicator_settle *s, const struct work *k, const char *why)
{
	size_t n = (size_t)snprintf(s->detail, sizeof(s->detail), "%s", why);
	const struct leg *legs = k ? k->legs : NULL;

	s->status = 409;
	s->type = "wrong-state";
	for (size_t i = 0; legs && i < k->leg_count && n < sizeof(s->detail); i++)
		if (legs[i].target)
			n += (size_t)snprintf(s->detail + n, sizeof(s->detail) - n, " %.*s=%s", SPAN_ARG(k->op->sites[i]),
			                      delivery_state_text(legs[i].state));
	hand_over(s);
}

/* ---- which ----------------------------------------------------------------------------------------------------------- */

static bool is_settling(enum replicator_verb verb)
{
	return verb == REPLICATOR_SETTLE_DONE || verb == REPLICATOR_SETTLE_RETRY || verb == REPLICATOR_SETTLE_DROP;
}

static enum fit fits(const struct replicator_settle *s, const struct leg *leg)
{
	if (!leg->target || (s->target.n && !span_eq(span_make(leg->target->site, leg->target->site_n), s->target)))
		return FIT_NO;
	if (leg->busy)
		return FIT_LATER;
	if (s->verb == REPLICATOR_SETTLE_DONE && !leg->target->own && !s->target.n)
		return FIT_NO; /* that site's to say */
	if (is_settling(s->verb))
		return leg->state == DELIVERY_IN_DOUBT ? FIT_YES : FIT_NO;
	return leg->state == DELIVERY_QUEUED || leg->state == DELIVERY_HELD || leg->state == DELIVERY_FAILED ? FIT_YES
	                                                                                                     : FIT_NO;
}

static bool has_site(const struct work *k, struct span site)
{
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].target && span_eq(k->op->sites[i], site))
			return true;
	return false;
}

static const char *wants(enum replicator_verb verb)
{
	return is_settling(verb) ? "only a delivery in doubt is settled; it stands so:"
	       : verb == REPLICATOR_RETRY ? "only a delivery that is queued, held or failed is tried again; it stands so:"
	                                  : "only a delivery that is queued, held or failed is dropped; it stands so:";
}

/* False: answered. */
static bool names_what_is_made(struct replicator_settle *s, const struct work *k, const struct leg *leg)
{
	bool creates = k->op->kind == OPERATION_CREATE;

	if (!leg->target->own) {
		refuse(s, 409, "settle-there", "it is settled at the site whose application it is, which has the ids of it");
		return false;
	}
	if (creates && !s->local.n && k->op->named)
		s->local = k->op->key.meta;
	if (creates == (s->local.n > 0))
		return true;
	refuse(s, 400, "bad-request", creates ? "this is a create: local_id has to say what it made there"
	                                      : "this is no create: it made nothing that local_id could name");
	return false;
}

/* ---- one delivery ------------------------------------------------------------------------------------------------------ */

static void told_over(struct replicator_settle *s, int rc)
{
	if (!s->rc)
		s->rc = rc;
	if (--s->legs)
		return;
	s->status = 200;
	if (s->rc)
		refuse_rc(s, s->rc);
	else
		hand_over(s);
}

/* Durable: it goes where it belongs now. */
static void place(struct leg *leg)
{
	struct work *k = leg->work;

	if (leg->state != DELIVERY_QUEUED) {
		leg_leave(leg);
		return;
	}
	leg_wake(leg);
	if (leg->lane && TAILQ_FIRST(&leg->lane->legs) == leg) {
		leg_park(leg, 0);
		return;
	}
	leg_hold(leg);
	if (!leg->lane && !leg_enter(leg))
		log_error("operation %s waits for a restart: no memory", k->text);
}

static void on_changed(struct work *k, struct leg *leg, int rc)
{
	struct replicator_settle *s = leg->settle;

	leg->settle = NULL;
	log_info("operation %s at %.*s, by an operator: %s, was %s%s%s", k->text, (int)leg->target->site_n, leg->target->site,
	         delivery_state_text(leg->state), delivery_state_text(leg->was), rc ? "; not recorded: " : "",
	         rc ? err_text(rc) : "");
	if (!rc) {
		k->undecided = false;
		place(leg);
	} else {
		leg->state = leg->was;
		if (leg->lane && TAILQ_FIRST(&leg->lane->legs) == leg && (leg->state != DELIVERY_HELD || !leg->target->own))
			leg_park(leg, 0);
		else
			leg_hold(leg);
	}
	if (s)
		told_over(s, rc);
	if (leg->target->own && leg->state != DELIVERY_QUEUED)
		work_tell_peers(k, true);
	work_end_if_over(k);
}

static void say(struct leg *leg, const char *why)
{
	free(leg->error);
	leg->error = why ? strdup(why) : NULL;
}

static void change(struct replicator_settle *s, struct leg *leg, enum delivery_state state, struct span local)
{
	leg->settle = s;
	leg->was = leg->state;
	leg->state = state;
	leg_claim(leg);
	if (s)
		s->legs++;
	if (!log_leg(leg, local, on_changed))
		on_changed(leg->work, leg, ERR_NOMEM);
}

static void again(struct replicator_settle *s, struct leg *leg)
{
	leg->refused_us = 0;
	leg->asked = false;
	leg->was_sent = leg->state == DELIVERY_IN_DOUBT && doubt_goes_on(leg->work); /* else the operator knows */
	leg->told = !leg->target->own && leg->state != DELIVERY_QUEUED;
	say(leg, leg->told ? REPLICATOR_TOLD : NULL);
	change(s, leg, DELIVERY_QUEUED, SPAN(""));
}

void leg_retry(struct leg *leg)
{
	if (!leg->busy &&
	    (leg->state == DELIVERY_HELD || leg->state == DELIVERY_FAILED || leg->state == DELIVERY_IN_DOUBT))
		again(NULL, leg);
}

static void act(struct replicator_settle *s, struct leg *leg)
{
	switch (s->verb) {
	case REPLICATOR_RETRY:
		if (leg->state == DELIVERY_QUEUED)
			leg_wake(leg); /* it is durable so */
		else
			again(s, leg);
		return;
	case REPLICATOR_SETTLE_RETRY:
		again(s, leg);
		return;
	case REPLICATOR_SETTLE_DONE:
		say(leg, NULL);
		change(s, leg, DELIVERY_DONE, s->local);
		return;
	default:
		change(s, leg, DELIVERY_DROPPED, SPAN(""));
	}
}

/* ---- undecided ----------------------------------------------------------------------------------------------------------- */

static void undecided_again(struct work *k, struct leg *own, int rc)
{
	struct replicator_settle *s = own->settle;

	own->settle = NULL;
	own->busy = false;
	for (size_t i = 0; rc && i < k->leg_count; i++)
		k->legs[i].state = k->legs[i].was;
	k->phase = rc ? WORK_OVER : k->phase;
	told_over(s, rc);
	if (rc)
		work_end_if_over(k);
}

static void on_asked_anew(struct work *k, struct leg *own, int rc)
{
	undecided_again(k, own, rc);
	if (rc)
		return;
	own->was_sent = false;
	admit_anew(k);
}

static void on_admitted(struct work *k, struct leg *leg, int rc)
{
	(void)leg;
	undecided_again(k, work_own_leg(k), rc);
	if (rc)
		return;
	k->undecided = false;
	deliver_begin(k);
}

/* Its content is here: it is written again as what it has turned out to be. */
static void admit_it(struct work *k, struct leg *own, int rc)
{
	k->creates = k->op->kind == OPERATION_CREATE;
	k->shown = (struct rules_id){ .id = own->settle->local };
	k->phase = WORK_COMMITTING;
	for (size_t i = 0; i < k->leg_count; i++)
		k->legs[i].state = &k->legs[i] == own ? DELIVERY_DONE : DELIVERY_QUEUED;
	if (rc || !log_admitted(k, on_admitted))
		on_admitted(k, own, rc ? rc : ERR_NOMEM);
}

static void decide(struct replicator_settle *s, struct work *k)
{
	struct leg *own = work_own_leg(k);

	for (size_t i = 0; i < k->leg_count; i++)
		k->legs[i].was = k->legs[i].state;
	s->legs = 1;
	own->settle = s;
	own->busy = true; /* nobody else's, and the work stays; it has no turn */
	if (s->verb == REPLICATOR_SETTLE_DONE) {
		say(own, NULL);
		if (!log_load_content(own, admit_it))
			admit_it(k, own, ERR_NOMEM);
		return;
	}
	own->state = DELIVERY_QUEUED;
	k->phase = WORK_ADMITTING;
	if (!log_sent(own, on_asked_anew))
		on_asked_anew(k, own, ERR_NOMEM);
}

/* ---- the whole --------------------------------------------------------------------------------------------------------- */

static void wait_for_it(struct replicator_settle *s)
{
	STAILQ_INSERT_TAIL(&s->r->settles, s, link);
}

static bool is_decided(const struct work *k)
{
	return k->phase == WORK_DELIVERING || k->undecided;
}

static void act_on_all(struct replicator_settle *s, struct work *k)
{
	s->rc = 0;
	if (k->undecided && s->verb != REPLICATOR_SETTLE_DROP) {
		decide(s, k);
		return;
	}
	s->legs = 1; /* ours */
	for (size_t i = 0; i < k->leg_count; i++)
		if (fits(s, &k->legs[i]) == FIT_YES)
			act(s, &k->legs[i]);
	told_over(s, 0);
}

static void look(struct replicator_settle *s, struct work *k)
{
	bool late = clock_mono_us() >= s->until_us, wait = !is_decided(k);
	struct leg *fit = NULL;

	if (s->target.n && !has_site(k, s->target) && !wait) {
		refuse(s, 404, "not-found", "this site does not bring the operation to that target");
		return;
	}
	for (size_t i = 0; i < k->leg_count; i++) {
		enum fit f = fits(s, &k->legs[i]);

		wait = wait || f == FIT_LATER;
		if (f == FIT_YES && s->verb == REPLICATOR_SETTLE_DONE && !wait && !names_what_is_made(s, k, &k->legs[i]))
			return;
		fit = f == FIT_YES ? &k->legs[i] : fit;
	}
	if (wait && !late)
		wait_for_it(s);
	else if (wait)
		refuse_state(s, k, "it is being executed just now; it stands so:");
	else if (!fit)
		refuse_state(s, k, wants(s->verb));
	else
		act_on_all(s, k);
}

static void on_revived(void *arg, struct work *k, int rc)
{
	struct replicator_settle *s = arg;

	if (rc) {
		refuse_rc(s, rc);
	} else if (!k) {
		refuse(s, 404, "not-found", "this site knows of no operation under this name");
	} else {
		look(s, k);
		work_end_if_over(k);
	}
}

static void begin(struct replicator_settle *s)
{
	struct replicator *r = s->r;
	struct work *k = r->loaded ? work_find(r, &s->op) : NULL;

	if (k)
		look(s, k);
	else if (!r->loaded && clock_mono_us() < s->until_us)
		wait_for_it(s);
	else if (!r->loaded || !log_revive(r, &s->op, on_revived, s))
		refuse_rc(s, ERR_NOMEM);
}

void settles_run(struct replicator *r)
{
	STAILQ_HEAD(, replicator_settle) waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct replicator_settle *s;

	STAILQ_CONCAT(&waiting, &r->settles);
	while ((s = STAILQ_FIRST(&waiting))) {
		STAILQ_REMOVE_HEAD(&waiting, link);
		begin(s);
	}
}

/* Those whose change is being logged are told as well: their store answers no more. */
void settles_stop(struct replicator *r)
{
	struct replicator_settle *s;
	struct work *k, *next;

	while ((s = STAILQ_FIRST(&r->settles))) {
		STAILQ_REMOVE_HEAD(&r->settles, link);
		refuse_rc(s, ERR_CLOSED);
	}
	HASH_ITER(hh, r->works, k, next)
		for (size_t i = 0; i < k->leg_count; i++)
			if ((s = k->legs[i].settle)) {
				k->legs[i].settle = NULL;
				told_over(s, ERR_CLOSED);
			}
}

static void run_settle(struct post *post)
{
	struct replicator_settle *s = container_of(post, struct replicator_settle, post);
	struct replicator *r = s->r;

	if (r->closed) {
		refuse_rc(s, ERR_CLOSED);
		return;
	}
	s->until_us = clock_mono_us() + SETTLE_WAIT_US;
	begin(s); /* which may be its end */
	replicator_go(r);
}

bool replicator_settle(struct replicator *r, struct replicator_settle *s)
{
	s->r = r;
	s->post.run = run_settle;
	return worker_post(r->w, &s->post);
}
