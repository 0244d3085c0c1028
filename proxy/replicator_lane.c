/* What may run.  A leg that enters a lane is ready when it is the first there; a target starts as many of its ready legs
 * as may be under way.  A leg whose attempt brought nothing is parked for a while; a target that is not reached is left
 * alone for a while, or until it answers somebody else. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "proxy/rewrite.h"

#define PAUSE_FIRST_US 100000
#define PAUSE_MOST_US 10000000
#define PAUSE_OWN_US 1000000 /* an application that comes back is met within this */
#define ROOTS 16             /* parents of parents that are followed */
#define KEY_BYTES 4096

/* ---- targets --------------------------------------------------------------------------------------------------- */

struct target *target_of_site(struct replicator *r, struct span site)
{
	struct target *t;

	for (t = r->targets; t; t = t->next)
		if (span_eq(span_make(t->site, t->site_n), site))
			return t;
	t = site.n && site.n < OP_SITE_BYTES ? calloc(1, sizeof(*t)) : NULL;
	if (!t)
		return NULL;
	memcpy(t->site, site.p, site.n);
	t->site_n = site.n;
	t->own = span_eq(site, r->rep->site);
	TAILQ_INIT(&t->ready);
	TAILQ_INIT(&t->behind);
	TAILQ_INIT(&t->parked);
	pthread_mutex_lock(&r->lock);
	t->index = r->targets ? r->targets->index + 1 : 0;
	t->next = r->targets;
	r->targets = t;
	pthread_mutex_unlock(&r->lock);
	return t;
}

void targets_free(struct replicator *r)
{
	struct target *t;
	struct lane *lane, *next;

	while ((t = r->targets)) {
		HASH_ITER(hh, t->lanes, lane, next) {
			HASH_DEL(t->lanes, lane); /* NOLINT(clang-analyzer-*): uthash's links, which it does not follow */
			free(lane);
		}
		r->targets = t->next;
		free(t);
	}
}

static int64_t pause_of(unsigned attempts, int64_t most_us)
{
	int64_t us = attempts > 12 ? most_us : (int64_t)PAUSE_FIRST_US << attempts;
	uint8_t part;

	if (us > most_us)
		us = most_us;
	random_bytes(&part, sizeof(part)); /* so that many, and many sites, do not come at once */
	return us - us / 4 + us / 4 * part / 256;
}

int64_t leg_pause_us(const struct leg *leg)
{
	return pause_of(leg->attempts ? leg->attempts - 1 : 0, leg->target->own ? PAUSE_OWN_US : PAUSE_MOST_US);
}

void target_failed(struct target *t)
{
	int64_t now = clock_mono_us();

	if (t->due_us > now)
		return; /* another one of the same round */
	t->failed_us = now;
	t->was_away = true;
	t->due_us = now + pause_of(t->fails, PAUSE_MOST_US);
	if (t->fails < 12)
		t->fails++;
}

void target_reached(struct target *t)
{
	t->fails = 0;
	t->due_us = 0;
}

/* It has answered a ping since. */
static bool has_answered(struct replicator *r, const struct target *t)
{
	const struct registry *reg = r->w->view->reg;
	size_t site;

	return registry_find(reg, span_make(t->site, t->site_n), &site) &&
	       atomic_load_explicit(&reg->sites[site].live->answered_us, memory_order_relaxed) > t->failed_us;
}

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

/* The resource whose order this operation is in: the outermost that its path names. */
void work_add_root(struct work *k, struct buf *out)
{
	const struct operation *op = k->op;
	struct span path = operation_path(op), collection = op->key.collection, meta = op->key.meta;
	struct rewrite_target t;
	struct arena arena;

	arena_init(&arena, NULL, 0, 1 << 20);
	for (int i = 0; i < ROOTS; i++) {
		if (!rewrite_path_target(k->r->rep->names, &arena, op->key.service, path, false, &t) || !t.name)
			break;
		collection = path = t.collection;
		meta = span_make(t.name->meta, t.name->meta_n);
	}
	buf_add_span(out, collection);
	buf_add_char(out, '\0');
	buf_add_span(out, meta);
	arena_fini(&arena);
}

static struct lane *lane_of(struct leg *leg)
{
	struct target *t = leg->target;
	struct work *k = leg->work;
	struct lane *lane = NULL;
	struct buf key;

	buf_init(&key, NULL, KEY_BYTES);
	buf_add_span(&key, k->op->key.service);
	buf_add_char(&key, '\0');
	if (k->op->independent)
		buf_add_z(&key, k->text);
	else
		work_add_root(k, &key);
	if (!key.failed)
		HASH_FIND(hh, t->lanes, buf_span(&key).p, buf_len(&key), lane);
	if (!lane && !key.failed && (lane = calloc(1, sizeof(*lane) + buf_len(&key)))) {
		lane->target = t;
		lane->key_n = buf_len(&key);
		memcpy(lane->key, buf_span(&key).p, buf_len(&key));
		TAILQ_INIT(&lane->legs);
		HASH_ADD(hh, t->lanes, key, lane->key_n, lane);
		if (!lane->hh.tbl) { /* uthash had no memory for its table */
			free(lane);
			lane = NULL;
		}
	}
	buf_fini(&key);
	return lane;
}

static struct leg_list *list_of(struct target *t, enum leg_place place)
{
	switch (place) {
	case LEG_READY:
		return &t->ready;
	case LEG_BEHIND:
		return &t->behind;
	case LEG_PARKED:
		return &t->parked;
	case LEG_NOWHERE:
		break;
	}
	return NULL;
}

static void set_place(struct leg *leg, enum leg_place place)
{
	if (leg->place != LEG_NOWHERE)
		TAILQ_REMOVE(list_of(leg->target, leg->place), leg, in_target);
	if (place == LEG_READY && leg->target->own && leg->work->phase == WORK_DELIVERING)
		place = LEG_BEHIND;
	leg->place = place;
	if (place != LEG_NOWHERE)
		TAILQ_INSERT_TAIL(list_of(leg->target, place), leg, in_target);
}

/* Held here; another site that holds it is asked now and then, since its operator may have let it go. */
static bool is_at_rest(const struct leg *leg)
{
	return leg->state == DELIVERY_HELD && leg->target->own;
}

/* What waits here and is later goes behind it; what came from one origin comes to others in that origin's order. */
static void insert(struct leg *leg)
{
	const struct operation *op = leg->work->op, *other;
	struct leg *at = TAILQ_LAST(&leg->lane->legs, leg_list);

	while (at && leg->target->own && leg->work->phase == WORK_DELIVERING && !at->busy &&
	       at->work->phase == WORK_DELIVERING) {
		other = at->work->op;
		if (!operation_is_later(other->clock, &other->id, op->clock, &op->id))
			break;
		at = TAILQ_PREV(at, leg_list, in_lane);
	}
	if (at)
		TAILQ_INSERT_AFTER(&leg->lane->legs, at, leg, in_lane);
	else
		TAILQ_INSERT_HEAD(&leg->lane->legs, leg, in_lane);
}

bool leg_enter(struct leg *leg)
{
	struct leg *first;

	leg->lane = lane_of(leg);
	if (!leg->lane)
		return false;
	leg->entered_us = clock_mono_us();
	leg->entered_age_ms = clock_wall_ms() - leg->work->op->created_ms;
	first = TAILQ_FIRST(&leg->lane->legs);
	insert(leg);
	atomic_fetch_add(&leg->target->queued, 1);
	if (TAILQ_FIRST(&leg->lane->legs) != leg)
		return true;
	if (first)
		set_place(first, LEG_NOWHERE);
	if (!is_at_rest(leg))
		set_place(leg, LEG_READY);
	return true;
}

static void end_turn(struct leg *leg)
{
	if (leg->busy)
		leg->target->flying--;
	if (leg->behind)
		leg->target->flying_behind--;
	leg->busy = leg->behind = false;
	if (leg->ticket && !leg->work->r->closed)
		replication_create_ended(leg->work->r->rep, leg->work->op->key.service, leg->ticket);
	leg->ticket = 0;
}

void leg_leave(struct leg *leg)
{
	struct lane *lane = leg->lane;
	struct leg *next;

	end_turn(leg);
	if (!lane)
		return;
	set_place(leg, LEG_NOWHERE);
	TAILQ_REMOVE(&lane->legs, leg, in_lane);
	leg->lane = NULL;
	if (atomic_fetch_sub(&leg->target->queued, 1) == 1 && leg->target->was_away) {
		leg->target->was_away = false;
		if (leg->state == DELIVERY_DONE)
			leg_tell_hooks(leg, HOOK_CONVERGED, "all that waited for it is there");
	}
	next = TAILQ_FIRST(&lane->legs);
	if (!next) {
		HASH_DEL(lane->target->lanes, lane);
		free(lane);
	} else if (!next->busy && next->place == LEG_NOWHERE && !is_at_rest(next)) {
		set_place(next, LEG_READY);
	}
}

void leg_park(struct leg *leg, int64_t pause_us)
{
	end_turn(leg);
	leg->due_us = clock_mono_us() + pause_us;
	if (leg->due_us < leg->target->parked_us)
		leg->target->parked_us = leg->due_us;
	set_place(leg, pause_us > 0 ? LEG_PARKED : LEG_READY);
}

void leg_hold(struct leg *leg)
{
	end_turn(leg);
	set_place(leg, LEG_NOWHERE);
}

void leg_wake(struct leg *leg)
{
	if (leg->place == LEG_PARKED)
		set_place(leg, LEG_READY);
	target_reached(leg->target);
}

void leg_claim(struct leg *leg)
{
	set_place(leg, LEG_NOWHERE);
	leg->busy = true;
	leg->target->flying++;
}

bool leg_is_stuck(const struct leg *leg)
{
	const struct leg *first = leg->lane ? TAILQ_FIRST(&leg->lane->legs) : NULL;

	if (!first || leg->busy)
		return false;
	if (first == leg)
		return leg->target->due_us > clock_mono_us();
	return !first->busy && !leg_is_ready(first) && !first->building;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

static void wake_parked(struct target *t, int64_t now)
{
	struct leg *leg, *next;

	if (now < t->parked_us)
		return;
	t->parked_us = INT64_MAX;
	for (leg = TAILQ_FIRST(&t->parked); leg; leg = next) {
		next = TAILQ_NEXT(leg, in_target);
		if (leg->due_us <= now)
			set_place(leg, LEG_READY);
		else if (leg->due_us < t->parked_us)
			t->parked_us = leg->due_us;
	}
}

static void run(struct replicator *r, struct target *t, int64_t now)
{
	struct leg *leg;

	wake_parked(t, now);
	if (r->w->drain && !atomic_load(&r->waiting))
		return; /* the log keeps what nobody waits for */
	if (t->due_us > now && !has_answered(r, t))
		return;
	if (t->due_us)
		t->due_us = 0;
	while (t->flying < REPLICATOR_FLIGHT && (leg = TAILQ_FIRST(&t->ready))) {
		leg_claim(leg);
		leg_start(leg);
	}
	while (t->flying < REPLICATOR_FLIGHT && t->flying_behind < REPLICATOR_BEHIND && (leg = TAILQ_FIRST(&t->behind))) {
		leg_claim(leg);
		leg->behind = true;
		t->flying_behind++;
		leg_start(leg);
	}
}

void targets_run(struct replicator *r)
{
	int64_t now = clock_mono_us();

	for (struct target *t = r->targets; t; t = t->next)
		run(r, t, now);
}
