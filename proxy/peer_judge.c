/* From what pings met to what everybody reads: struct site_live and the snapshot's distances.  Evidence besides pings:
 * whether the site asks us, whether requests got through, what the others say of it, what the registry's source
 * says. */
#include "proxy/peer_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/replication.h"

#define SYNCHRONIZING_US 1000000 /* what is delivered at once is no backlog */

static bool has_name(const struct span *names, size_t n, struct span name)
{
	for (size_t i = 0; i < n; i++)
		if (span_eq(names[i], name))
			return true;
	return false;
}

static bool has_way(const struct announcement *a, struct span site)
{
	for (size_t i = 0; i < a->way_count; i++)
		if (span_eq(a->ways[i].site, site))
			return true;
	return false;
}

/* Of the sites that can be reached, those that have tried all say that it is unreachable, and there is one. */
static bool others_agree(const struct peer *p)
{
	const struct peers *all = p->all;
	struct span name = span_of(p->name);
	bool one = false;

	for (size_t i = 0; i < all->count; i++) {
		const struct peer *other = all->items[i];
		const struct announce_entry *entry;

		if (other == p || other->alive.reach != REACH_UP || site_live_is_barred(other->live))
			continue;
		entry = announce_find(&all->table, span_of(other->name));
		if (!entry)
			continue;
		if (has_name(entry->a->unreachable, entry->a->unreachable_count, name))
			one = true;
		else if (has_way(entry->a, name))
			return false;
	}
	return one;
}

/* Whether operations wait for the site, rather than pass through. */
static bool has_backlog(struct peer *p, int64_t now_us)
{
	if (!replication_queued(p->all->rep, span_of(p->name)))
		p->queued_us = 0;
	else if (!p->queued_us)
		p->queued_us = now_us;
	return p->queued_us && now_us - p->queued_us >= SYNCHRONIZING_US;
}

static bool is_reached(enum site_state state)
{
	return state == SITE_CONNECTED || state == SITE_SYNCHRONIZING;
}

static void publish(struct peer *p, enum site_state to, const char *reason)
{
	struct site_live *live = p->live;
	enum site_state from = site_live_state(live);

	atomic_store_explicit(&live->rtt_us, p->alive.distance_us, memory_order_relaxed);
	atomic_store_explicit(&live->reach, (int)p->alive.reach, memory_order_relaxed);
	atomic_store_explicit(&live->reason, reason, memory_order_relaxed);
	if (from == to)
		return;
	atomic_store_explicit(&live->state, (int)to, memory_order_relaxed);
	atomic_fetch_add_explicit(&live->transitions[to], 1, memory_order_relaxed);
	if (is_reached(from) && is_reached(to)) /* comes and goes with the load */
		log_debug("site %s: %s (was %s)", p->name, site_state_text(to), site_state_text(from));
	else
		log_info("site %s: %s (was %s)%s%s", p->name, site_state_text(to), site_state_text(from), reason ? ": " : "",
		         reason ? reason : "");
}

void peer_judge(struct peer *p, int64_t now_us)
{
	struct site_live *live = p->live;
	unsigned marks = atomic_load_explicit(&live->marks, memory_order_relaxed);
	struct alive_evidence e = {
		.fail_after_us = p->all->conf->timeout_fail_after_us,
		.heard_us = atomic_load_explicit(&live->heard_us, memory_order_relaxed),
		.seen_us = atomic_load_explicit(&live->seen_us, memory_order_relaxed),
		.failure_us = atomic_load_explicit(&live->last_failure_us, memory_order_relaxed),
		.isolated = p->all->isolated,
		.source_failed = atomic_load_explicit(&live->source_failed, memory_order_relaxed),
		.marks = marks,
	};

	e.others_agree = p->alive.reach == REACH_DOWN && others_agree(p);
	if (!(marks & MARK_FENCED))
		alive_tick(&p->alive, now_us, &e);
	publish(p, alive_mark(&p->alive, marks, has_backlog(p, now_us)), alive_reason(&p->alive, p->all->isolated));
}

void peers_judge_isolation(struct peers *all, int64_t now_us)
{
	const struct aliveness **list = malloc((all->count + 1) * sizeof(const struct aliveness *));
	bool isolated;
	size_t n = 0;

	if (!list)
		return;
	for (size_t i = 0; i < all->count; i++)
		if (!(atomic_load_explicit(&all->items[i]->live->marks, memory_order_relaxed) & MARK_FENCED))
			list[n++] = &all->items[i]->alive;
	isolated = alive_isolated(list, n, now_us);
	free(list);
	if (isolated != atomic_load(&all->isolated))
		log_warn("%s", isolated ? "most sites were lost together: this site seems to be cut off itself"
		                        : "this site is no longer cut off");
	all->isolated = isolated;
}

void peers_apply_ways(struct peers *all, size_t site)
{
	struct registry *reg = all->reg;
	const struct announce_entry *entry = announce_find(&all->table, reg->sites[site].name);
	uint32_t *us;

	if (!reg->pair_us || site == reg->local)
		return;
	us = calloc(reg->site_count, sizeof(*us));
	if (!us)
		return;
	for (size_t i = 0; entry && i < entry->a->way_count; i++) {
		size_t to;

		if (registry_find(reg, entry->a->ways[i].site, &to))
			us[to] = entry->a->ways[i].rtt_us;
	}
	for (size_t to = 0; to < reg->site_count; to++)
		registry_tell_rtt(reg, site, to, us[to]);
	free(us);
}
