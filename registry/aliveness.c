/* The marks of a site (spec section 4) and how it comes to them.
 *
 * Reach, by what pings meet:
 *
 *     from      to       when
 *     -------   ------   ------------------------------------------------------------------------------------------
 *     unknown   up       the first answer
 *     unknown   down     as up -> down
 *     up        down     ALIVE_FALL attempts in a row that ended at once (refused, broken, a stranger), or the first
 *                        unanswered attempt is alive_patience_us old (5 s, more on a long way)
 *     down      up       ALIVE_RISE answers in a row, one more for each time it was lost in the last minute (at most
 *     failed    up       ALIVE_RISE_MOST): a link that comes and goes does not take the mark along
 *     down      failed   unreachable for timeouts.fail_after; or confirmed: nothing but refusals for ALIVE_CONFIRM_US,
 *                        or the registry's source or every other site that can be asked says so as well.
 *                        Never while isolated (the time does not count either), while it asks us something (one way is
 *                        cut, it is alive) or answers that it has barred us, while only TLS stands between, or for an
 *                        autonomous site
 *
 * The mark that is shown:
 *
 *     fenced         an operator here has fenced it, whatever its reach
 *     failed         an operator here has detached it; or reach failed
 *     autonomous     an operator here has said that it works offline; its reach is told apart from the mark
 *     synchronizing  up, and operations wait for it
 *     connected      up
 *     disconnected   down
 *     unknown        nothing was met yet
 *
 * What can be told apart: a process that is dead on a live host (refused) from a host or way that is down (no
 * connection), from one that is paused (the kernel takes the connection, nothing answers), from one that is slow (late
 * answers are answers), from a one-way cut at the level of connections (it asks us).  What cannot: a dead host from a
 * dead way.
 *
 * Our own pause: when a turn comes more than ALIVE_PAUSE_US late, it was this process that stood still, and what was
 * not answered meanwhile says nothing. */
#include "registry/aliveness.h"

#include <string.h>

#define ALIVE_FALL 2
#define ALIVE_RISE 2
#define ALIVE_RISE_MOST 6
#define ALIVE_FLAP_US 60000000
#define ALIVE_PATIENCE_US 5000000
#define ALIVE_PATIENCE_MORE_US 10000000
#define ALIVE_CONFIRM_US 10000000
#define ALIVE_HEARD_US 5000000
/* Between lost and failed at the least: it may ask us, and others may tell what they see. */
#define ALIVE_WITNESS_US 3500000
#define ALIVE_PAUSE_US 3000000
/* Lost together: within this time of the last one. */
#define ALIVE_TOGETHER_US 15000000
/* Not judged yet, but too long without an answer to speak for our own link. */
#define ALIVE_DOUBT_US 2500000
/* A distance is settled again at the latest after this. */
#define ALIVE_SETTLE_US 30000000

void alive_init(struct aliveness *a)
{
	*a = (struct aliveness){ .reach = REACH_UNKNOWN, .distance_us = -1 };
}

int64_t alive_patience_us(const struct aliveness *a)
{
	int64_t more = a->distance_us > 0 ? 4 * a->distance_us : 0;

	return ALIVE_PATIENCE_US + (more < ALIVE_PATIENCE_MORE_US ? more : ALIVE_PATIENCE_MORE_US);
}

/* ---- distance ---------------------------------------------------------------------------------------------- */

/* The least of the last samples: a way is as long as its light takes, and whatever else delays a ping only adds to
 * it. (A mean as in RFC 6298 is made for timeouts, which have to cover that delay; distances must leave it out.)
 * A shorter way shows at once, a longer one after ALIVE_SAMPLES pings. */
static int64_t least_sample(const struct aliveness *a)
{
	unsigned n = a->samples < ALIVE_SAMPLES ? a->samples : ALIVE_SAMPLES;
	int64_t least = INT64_MAX;

	for (unsigned i = 0; i < n; i++)
		if (a->sample_us[i] < least)
			least = a->sample_us[i];
	return least;
}

/* What is told moves only when the measure has left it by a sixteenth (and 0.2 ms), so that two sites at about the same
 * distance, or one at about the distance of an `around`, do not change places with every ping. */
static void settle(struct aliveness *a, int64_t now_us)
{
	int64_t least = least_sample(a), slack = a->distance_us / 16 > 200 ? a->distance_us / 16 : 200;
	int64_t off = least > a->distance_us ? least - a->distance_us : a->distance_us - least;

	if (a->distance_us >= 0 && off <= slack && now_us - a->settled_us < ALIVE_SETTLE_US)
		return;
	a->distance_us = least;
	a->settled_us = now_us;
}

/* Somebody answered there: the way is open. */
static bool shows_open_way(enum alive_miss miss)
{
	return miss == MISS_REFUSED || miss == MISS_STRANGER || miss == MISS_BARRED || miss == MISS_UNTRUSTED;
}

/* ---- what pings meet --------------------------------------------------------------------------------------- */

void alive_asked(struct aliveness *a, int64_t now_us)
{
	if (!a->asked_us)
		a->asked_us = now_us;
}

void alive_answered(struct aliveness *a, int64_t now_us, int64_t rtt_us)
{
	a->asked_us = a->refused_us = a->excused_us = 0;
	a->answered_us = now_us;
	a->bad = 0;
	a->good++;
	a->last_miss = MISS_NONE;
	a->one_way = false;
	/* the first after a loss may have waited for the way to come back */
	if (a->reach == REACH_UP || a->good > 1 || !a->samples) {
		a->sample_us[a->samples++ % ALIVE_SAMPLES] = rtt_us > 0 ? rtt_us : 1;
		if (a->samples == 2 * ALIVE_SAMPLES)
			a->samples = ALIVE_SAMPLES; /* stays "all of them", without an overflow */
		settle(a, now_us);
	}
}

void alive_missed(struct aliveness *a, int64_t now_us, enum alive_miss miss)
{
	alive_asked(a, now_us);
	if (a->good && a->flaps && a->reach != REACH_UP)
		a->flap_us = now_us; /* it still comes and goes */
	a->good = 0;
	a->last_miss = miss;
	if (miss == MISS_REFUSED && !a->refused_us)
		a->refused_us = now_us;
	if (miss != MISS_REFUSED)
		a->refused_us = 0;
	if (miss != MISS_NO_CONNECTION && miss != MISS_SILENT)
		a->bad++;
}

/* ---- judging ----------------------------------------------------------------------------------------------- */

static void forgive_pause(struct aliveness *a, int64_t now_us)
{
	int64_t gap = a->ticked_us ? now_us - a->ticked_us : 0;

	a->ticked_us = now_us;
	if (gap <= ALIVE_PAUSE_US)
		return;
	if (a->asked_us)
		a->asked_us += gap;
	if (a->refused_us)
		a->refused_us += gap;
	if (a->down_us)
		a->down_us += gap;
}

/* A request that got no connection counts as an attempt that was refused: the next ping decides. */
static void count_failure(struct aliveness *a, int64_t now_us, const struct alive_evidence *e)
{
	if (!e->failure_us || e->failure_us <= a->seen_failure_us || e->failure_us <= a->answered_us)
		return;
	a->seen_failure_us = e->failure_us;
	alive_asked(a, now_us);
	if (a->bad < ALIVE_FALL - 1)
		a->bad++;
}

/* What answers requests is not silent, though its way be so full that pings take too long. */
static void count_success(struct aliveness *a, const struct alive_evidence *e)
{
	if (a->asked_us && e->seen_us > a->asked_us)
		a->asked_us = e->seen_us;
}

static bool is_lost(const struct aliveness *a, int64_t now_us)
{
	if (!a->asked_us)
		return false;
	return a->bad >= ALIVE_FALL || now_us - a->asked_us >= alive_patience_us(a);
}

static unsigned rise_needed(const struct aliveness *a, int64_t now_us)
{
	unsigned flaps = now_us - a->flap_us < ALIVE_FLAP_US ? a->flaps : 0;
	unsigned needed = ALIVE_RISE + (flaps > 1 ? flaps - 1 : 0);

	return needed < ALIVE_RISE_MOST ? needed : ALIVE_RISE_MOST;
}

static bool is_back(const struct aliveness *a, int64_t now_us)
{
	return a->good >= (a->reach == REACH_UNKNOWN ? 1 : rise_needed(a, now_us));
}

static bool is_confirmed(const struct aliveness *a, int64_t now_us, const struct alive_evidence *e)
{
	if (a->refused_us && now_us - a->refused_us >= ALIVE_CONFIRM_US)
		return true;
	return e->source_failed || (e->others_agree && now_us - a->down_us >= ALIVE_CONFIRM_US);
}

static bool has_failed(const struct aliveness *a, int64_t now_us, const struct alive_evidence *e)
{
	if (a->good || e->isolated || a->one_way || e->marks & MARK_AUTONOMOUS || a->last_miss == MISS_BARRED ||
	    a->last_miss == MISS_UNTRUSTED)
		return false;
	return is_confirmed(a, now_us, e) || (now_us - a->down_us >= ALIVE_WITNESS_US &&
	                                      now_us - a->asked_us - a->excused_us >= e->fail_after_us);
}

static void lose(struct aliveness *a, int64_t now_us)
{
	if (a->reach == REACH_UP) {
		a->flaps = now_us - a->flap_us < ALIVE_FLAP_US ? a->flaps + 1 : 1;
		a->flap_us = now_us;
	}
	a->reach = REACH_DOWN;
	a->down_us = now_us;
	a->good = 0;
}

static void come_back(struct aliveness *a)
{
	a->reach = REACH_UP;
	a->down_us = 0;
}

enum site_reach alive_tick(struct aliveness *a, int64_t now_us, const struct alive_evidence *e)
{
	int64_t before_us = a->ticked_us;

	forgive_pause(a, now_us);
	count_success(a, e);
	count_failure(a, now_us, e);
	if (e->isolated && a->asked_us && before_us && now_us - before_us <= ALIVE_PAUSE_US)
		a->excused_us += now_us - before_us;
	switch (a->reach) {
	case REACH_UNKNOWN:
	case REACH_UP:
		if (is_lost(a, now_us))
			lose(a, now_us);
		else if (a->reach == REACH_UNKNOWN && is_back(a, now_us))
			come_back(a);
		break;
	case REACH_DOWN:
	case REACH_FAILED:
		a->one_way = e->heard_us && now_us - e->heard_us < ALIVE_HEARD_US && e->heard_us > a->down_us;
		if (is_back(a, now_us))
			come_back(a);
		else if (a->reach == REACH_DOWN && a->asked_us && has_failed(a, now_us, e))
			a->reach = REACH_FAILED;
		else if (a->reach == REACH_FAILED && (a->one_way || e->marks & MARK_AUTONOMOUS))
			a->reach = REACH_DOWN;
		break;
	}
	return a->reach;
}

enum site_state alive_mark(const struct aliveness *a, unsigned marks, uint64_t queued)
{
	static const enum site_state shown[] = {
		[REACH_UNKNOWN] = SITE_UNKNOWN,
		[REACH_UP] = SITE_CONNECTED,
		[REACH_DOWN] = SITE_DISCONNECTED,
		[REACH_FAILED] = SITE_FAILED,
	};

	if (marks & MARK_FENCED)
		return SITE_FENCED;
	if (marks & MARK_DETACHED)
		return SITE_FAILED;
	if (marks & MARK_AUTONOMOUS)
		return SITE_AUTONOMOUS;
	return a->reach == REACH_UP && queued ? SITE_SYNCHRONIZING : shown[a->reach];
}

const char *alive_reason(const struct aliveness *a, bool isolated)
{
	static const char *const texts[] = {
#define ALIVE_TEXT(value, text) text,
		ALIVE_MISSES(ALIVE_TEXT)
#undef ALIVE_TEXT
	};

	if (a->reach == REACH_UP || a->reach == REACH_UNKNOWN)
		return NULL;
	if (a->one_way)
		return "one way: it reaches this site, this site does not reach it";
	if (isolated && !shows_open_way(a->last_miss))
		return "own link: most sites were lost together, so this site seems to be cut off itself";
	if (a->last_miss == MISS_NONE)
		return "silent: no answer for longer than any before";
	return texts[a->last_miss];
}

static bool is_doubtful(const struct aliveness *a, int64_t now_us)
{
	return a->asked_us && now_us - a->asked_us >= ALIVE_DOUBT_US && !shows_open_way(a->last_miss) && !a->one_way;
}

bool alive_isolated(const struct aliveness *const *all, size_t count, int64_t now_us)
{
	size_t reached = 0, together = 0;
	int64_t last = 0;

	for (size_t i = 0; i < count; i++)
		if (is_doubtful(all[i], now_us) && all[i]->reach != REACH_FAILED && all[i]->asked_us > last)
			last = all[i]->asked_us;
	for (size_t i = 0; i < count; i++) {
		const struct aliveness *a = all[i];

		if (!is_doubtful(a, now_us))
			reached += a->reach == REACH_UP || shows_open_way(a->last_miss);
		else if (a->samples && a->reach != REACH_FAILED && last - a->asked_us <= ALIVE_TOGETHER_US)
			together++; /* one that was never met was not lost */
	}
	return together >= 2 && together > reached;
}
