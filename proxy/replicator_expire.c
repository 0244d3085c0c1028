/* Expiry (replication.md 8) is of a replica: when the oldest of what waits for a resource at another site is older than
 * queue.expire, all of it is dropped, and the replica there is failed, expired; from then on nothing is brought to it.
 *
 * Nothing expires
 *	at this site, since its own application is no other site's to wait for;
 *	at a site that an operator has marked autonomous;
 *	while this site takes itself for the one that is cut off, and for a while after that, or after a start, so that
 *	what could now be delivered is;
 *	at a site that is reached, but for what it has been asked for in vain.
 *
 * Age is measured on the monotonic clock from when a delivery was queued here, or read back: a wall clock that jumps expires
 * nothing. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/peer.h"
#include "proxy/server.h"

#define EVERY_US 1000000
#define GRACE_US 60000000
#define AT_ONCE 1000 /* deliveries of one lane that are dropped in one batch */

/* A replica that has expired: "SITE\0" and the key of its resource as lanes have it. */
struct expired {
	UT_hash_handle hh;
	size_t n;
	char key[];
};

struct expiry {
	struct replicator *r;
	struct target *target;
	struct lane *lane;           /* its legs keep it until they leave */
	size_t count;
	struct leg *legs[];
};

/* ---- which have expired ------------------------------------------------------------------------------------------------- */

static void add_key(struct work *k, struct span site, struct buf *out)
{
	buf_add_span(out, site);
	buf_add_char(out, '\0');
	buf_add_span(out, k->op->key.service);
	buf_add_char(out, '\0');
	work_add_root(k, out);
}

static bool remember(struct replicator *r, struct span key)
{
	struct expired *e;

	HASH_FIND(hh, r->expired, key.p, key.n, e);
	if (e)
		return true;
	e = calloc(1, sizeof(*e) + key.n);
	if (!e)
		return false;
	e->n = key.n;
	memcpy(e->key, key.p, key.n);
	HASH_ADD(hh, r->expired, key, e->n, e);
	if (!e->hh.tbl) { /* uthash had no memory for its table */
		free(e);
		return false;
	}
	return true;
}

bool expire_remember(struct replicator *r, const struct store_key_of *key, struct span site)
{
	struct buf text;
	bool good;

	buf_init(&text, NULL, 0);
	buf_add_span(&text, site);
	buf_add_char(&text, '\0');
	buf_add_span(&text, key->service);
	buf_add_char(&text, '\0');
	buf_add_span(&text, key->collection);
	buf_add_char(&text, '\0');
	buf_add_span(&text, key->meta);
	good = !text.failed && remember(r, buf_span(&text));
	buf_fini(&text);
	return good;
}

bool work_has_expired(struct work *k, struct span site)
{
	struct expired *e = NULL;
	struct buf key;

	if (!HASH_COUNT(k->r->expired) || span_eq(site, k->r->rep->site))
		return false;
	buf_init(&key, NULL, 0);
	add_key(k, site, &key);
	if (!key.failed)
		HASH_FIND(hh, k->r->expired, buf_span(&key).p, buf_len(&key), e);
	buf_fini(&key);
	return e != NULL;
}

void expired_free(struct replicator *r)
{
	struct expired *e, *next;

	HASH_ITER(hh, r->expired, e, next) {
		HASH_DEL(r->expired, e); /* NOLINT(clang-analyzer-*): uthash's links, which it does not follow */
		free(e);
	}
}

/* ---- when ----------------------------------------------------------------------------------------------------------------- */

static const struct site_live *live_of(const struct replicator *r, struct span name)
{
	const struct registry *reg = r->w->view->reg;
	size_t site;

	return registry_find(reg, name, &site) ? reg->sites[site].live : NULL;
}

static bool is_autonomous(const struct site_live *live)
{
	return live && (atomic_load_explicit(&live->marks, memory_order_relaxed) & MARK_AUTONOMOUS);
}

int64_t expires_ms(const struct replicator *r, struct span site, int64_t created_ms)
{
	return span_eq(site, r->rep->site) || is_autonomous(live_of(r, site))
	       ? 0 : created_ms + r->w->view->conf->queue_expire_us / 1000;
}

static bool is_old(const struct replicator *r, const struct leg *leg, int64_t now_us)
{
	int64_t age_us = leg->entered_age_ms * 1000 + (now_us - leg->entered_us);

	return age_us >= r->w->view->conf->queue_expire_us;
}

/* ---- dropping --------------------------------------------------------------------------------------------------------------- */

static void expire_lane(struct replicator *r, struct lane *lane);

static void on_expired(void *arg, int rc)
{
	struct expiry *x = arg;
	struct replicator *r = x->r;
	struct leg *last = TAILQ_LAST(&x->lane->legs, leg_list);
	bool more = last != x->legs[x->count - 1];

	if (r->closed) {
		free(x);
		return;
	}
	if (rc)
		log_warn("what has expired for %.*s cannot be dropped: %s", (int)x->target->site_n, x->target->site, err_text(rc));
	if (!rc)
		leg_tell_hooks(x->legs[0], HOOK_EXPIRED, NULL);
	for (size_t i = 0; i < x->count; i++) {
		struct leg *leg = x->legs[i];
		struct work *k = leg->work;

		if (rc) {
			leg->state = leg->was;
			free(leg->error);
			leg->error = NULL;
			leg_hold(leg);
			continue;
		}
		leg_leave(leg);
		work_end_if_over(k);
	}
	if (rc)
		leg_park(x->legs[0], EVERY_US);
	else if (more)
		expire_lane(r, x->lane);
	free(x);
	replicator_go(r);
}

/* All that wait there, up to one whose admission, or change by an operator, is under way. */
static void expire_lane(struct replicator *r, struct lane *lane)
{
	struct expiry *x = calloc(1, sizeof(*x) + AT_ONCE * sizeof(x->legs[0]));
	struct leg *leg;
	struct buf key;

	if (!x)
		return;
	*x = (struct expiry){ .r = r, .target = lane->target, .lane = lane };
	TAILQ_FOREACH(leg, &lane->legs, in_lane) {
		if (x->count == AT_ONCE || leg->busy || leg->work->phase != WORK_DELIVERING)
			break;
		x->legs[x->count++] = leg;
		leg->was = leg->state;
		leg->state = DELIVERY_DROPPED;
		free(leg->error);
		leg->error = strdup(REPLICATOR_EXPIRED);
		leg_claim(leg);
	}
	if (!x->count) {
		free(x);
		return;
	}
	buf_init(&key, NULL, 0);
	add_key(x->legs[0]->work, span_make(lane->target->site, lane->target->site_n), &key);
	if (key.failed || !remember(r, buf_span(&key)) || !log_expired(r, x->legs, x->count, on_expired, x))
		on_expired(x, ERR_NOMEM);
	buf_fini(&key);
}

static void expire_at(struct replicator *r, struct target *t, int64_t now_us)
{
	const struct site_live *live = live_of(r, span_make(t->site, t->site_n));
	bool reached = live && site_live_reach(live) == REACH_UP;
	struct lane *lane, *next;

	if (t->own || is_autonomous(live))
		return;
	HASH_ITER(hh, t->lanes, lane, next) {
		struct leg *first = TAILQ_FIRST(&lane->legs);

		if (first->busy || first->work->phase != WORK_DELIVERING)
			continue;
		if (first->expired || (is_old(r, first, now_us) && (!reached || (first->attempts && first->place == LEG_PARKED)))) {
			log_warn("the replica of %.*s at %.*s has expired: %s waited for longer than queue.expire",
			         SPAN_ARG(first->work->op->key.meta), (int)t->site_n, t->site, first->work->text);
			expire_lane(r, lane);
		}
	}
}

void expire_run(struct replicator *r)
{
	int64_t now = clock_mono_us(), grace = r->w->view->conf->queue_expire_us;

	if (now - r->expire_run_us < EVERY_US)
		return;
	r->expire_run_us = now;
	if (r->w->server && r->w->server->peers && peers_isolated(r->w->server->peers))
		r->isolated_us = now;
	if (now - r->isolated_us < (grace < GRACE_US ? grace : GRACE_US))
		return;
	for (struct target *t = r->targets; t; t = t->next)
		expire_at(r, t, now);
}
