/* Health from two sources.  Probes (probe.c), where the service has a health path, decide between up and down; what is
 * down gets nothing.  Besides, requests tell (instance_note): failures eject for a growing time
 *
 *	            failures                      ejected_until_us
 *	in use  ---------------->  ejected  ----------------------->  slow start  --INSTANCE_RAMP_US--> in use
 *
 * An ejection is a preference, no ban: when nothing else is left, what is ejected is asked all the same.  That, and
 * the rule that at most half of a group is ejected, keeps a fault that all instances share (a database) from being
 * made worse.
 *
 * Two are drawn and the one with fewer requests outstanding is taken: nearly as even as looking at all, without sending
 * everything to one that has just become idle (Mitzenmacher, The Power of Two Choices). */
#include "proxy/instance.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list, and ejections */
static struct instance *instances;

#define GET(atom) atomic_load_explicit(&(atom), memory_order_relaxed)
#define PUT(atom, value) atomic_store_explicit(&(atom), (value), memory_order_relaxed)

const char *instance_health_text(enum instance_health health)
{
	return health == INSTANCE_UP ? "up" : health == INSTANCE_DOWN ? "down" : "unknown";
}

struct instance *instance_get(const struct addr *addr)
{
	struct instance *inst;

	pthread_mutex_lock(&lock);
	for (inst = instances; inst && !addr_eq(&inst->addr, addr); inst = inst->next)
		;
	if (!inst)
		inst = calloc(1, sizeof(*inst));
	if (inst && !inst->addr.len) {
		inst->addr = *addr;
		inst->next = instances;
		instances = inst;
	}
	pthread_mutex_unlock(&lock);
	return inst;
}

void instances_free(void)
{
	struct instance *inst;

	while ((inst = instances)) {
		instances = inst->next;
		free(inst);
	}
}

/* ---- health --------------------------------------------------------------------------------------------------- */

static bool set_health(struct instance *inst, enum instance_health health)
{
	if (GET(inst->health) == (int)health)
		return false;
	PUT(inst->since_ms, clock_wall_ms());
	PUT(inst->health, (int)health);
	return true;
}

void instance_set_health(struct instance *inst, enum instance_health health, int64_t now_us)
{
	bool was_down = GET(inst->health) == INSTANCE_DOWN;

	if (!set_health(inst, health) || health != INSTANCE_UP || !was_down)
		return;
	PUT(inst->failures, 0);
	PUT(inst->ejected_until_us, 0);
	PUT(inst->returned_us, now_us);
}

static bool is_ejected(const struct instance *inst, int64_t now_us)
{
	return GET(inst->ejected_until_us) > now_us;
}

static bool is_down(const struct instance *inst)
{
	return GET(inst->probed) && GET(inst->health) == INSTANCE_DOWN;
}

static bool may_eject(const struct instance *inst, const struct instance_group *g, int64_t now_us)
{
	size_t ejected = 1, usable = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct instance *other = g->items[i];

		if (other == inst)
			continue;
		ejected += is_ejected(other, now_us);
		usable += !is_ejected(other, now_us) && !is_down(other);
	}
	return usable && ejected * 2 <= g->count;
}

/* How long, or 0: it stays in use. */
static int64_t eject(struct instance *inst, const struct instance_group *g, int64_t now_us)
{
	int64_t wait = INSTANCE_EJECT_FIRST_US;

	pthread_mutex_lock(&lock);
	if (is_ejected(inst, now_us) || !may_eject(inst, g, now_us)) {
		pthread_mutex_unlock(&lock);
		return 0;
	}
	for (unsigned i = GET(inst->ejections); i && wait < INSTANCE_EJECT_MOST_US; i--)
		wait *= 2;
	PUT(inst->ejections, GET(inst->ejections) + 1);
	PUT(inst->failures, 0);
	PUT(inst->returned_us, now_us + wait);
	PUT(inst->ejected_until_us, now_us + wait);
	pthread_mutex_unlock(&lock);
	return wait;
}

static void note_answer(struct instance *inst, int64_t now_us)
{
	char text[ADDR_TEXT_BYTES];

	if (GET(inst->failures))
		PUT(inst->failures, 0);
	if (GET(inst->health) != INSTANCE_UP && !GET(inst->probed) && !is_ejected(inst, now_us)) {
		bool was_down = GET(inst->health) == INSTANCE_DOWN;

		addr_format(&inst->addr, text);
		if (set_health(inst, INSTANCE_UP) && was_down)
			log_info("instance %s: answers again", text);
	}
	if (GET(inst->ejections) && now_us - GET(inst->returned_us) > INSTANCE_FORGET_US)
		PUT(inst->ejections, 0);
}

void instance_note(struct instance *inst, const struct instance_group *g, enum instance_event event, int64_t now_us)
{
	const char *what = event == INSTANCE_NOT_REACHED ? "cannot be connected to" : "fails";
	char text[ADDR_TEXT_BYTES];
	int64_t wait;
	bool changed;

	if (event == INSTANCE_ANSWERED) {
		note_answer(inst, now_us);
		return;
	}
	if (event == INSTANCE_FAILED && atomic_fetch_add(&inst->failures, 1) + 1 < INSTANCE_FAILURES)
		return;
	wait = eject(inst, g, now_us);
	changed = !GET(inst->probed) && set_health(inst, INSTANCE_DOWN);
	addr_format(&inst->addr, text);
	if (wait)
		log_warn("instance %s: %s, passed over for %.1f s", text, what, (double)wait / 1e6);
	else if (changed)
		log_warn("instance %s: %s", text, what);
}

/* ---- choice --------------------------------------------------------------------------------------------------- */

static uint32_t draw(uint32_t *random, size_t below)
{
	uint32_t r = *random;

	r ^= r << 13;
	r ^= r >> 17;
	r ^= r << 5;
	*random = r;
	return (uint32_t)(((uint64_t)r * below) >> 32);
}

static size_t candidates(const struct instance_group *g, uint64_t tried, int64_t now_us, bool ejected,
                         uint8_t out[INSTANCE_MOST])
{
	size_t n = 0;

	for (size_t i = 0; i < g->count && i < INSTANCE_MOST; i++)
		if (!(tried & (uint64_t)1 << i) && !is_down(g->items[i]) && (ejected || !is_ejected(g->items[i], now_us)))
			out[n++] = (uint8_t)i;
	return n;
}

/* Slow start: turned down in favour of the other one drawn. */
static bool stands_back(const struct instance *inst, int64_t now_us, uint32_t *random)
{
	int64_t since = now_us - GET(inst->returned_us);
	double share = (double)since / INSTANCE_RAMP_US;

	if (!GET(inst->returned_us) || since >= INSTANCE_RAMP_US)
		return false;
	return draw(random, 1000) >= 1000 * (share > INSTANCE_RAMP_LEAST ? share : INSTANCE_RAMP_LEAST);
}

size_t instance_choose(const struct instance_group *g, uint64_t tried, int64_t now_us, uint32_t *random)
{
	uint8_t at[INSTANCE_MOST];
	size_t n = candidates(g, tried, now_us, false, at), first, second;
	const struct instance *a, *b;
	bool a_back, b_back;

	if (!n)
		n = candidates(g, tried, now_us, true, at);
	if (n < 2)
		return n ? at[0] : INSTANCE_NONE;
	first = draw(random, n);
	second = draw(random, n - 1);
	second += second >= first;
	a = g->items[at[first]];
	b = g->items[at[second]];
	a_back = stands_back(a, now_us, random);
	b_back = stands_back(b, now_us, random);
	if (a_back != b_back)
		return a_back ? at[second] : at[first];
	return GET(b->outstanding) < GET(a->outstanding) ? at[second] : at[first];
}
