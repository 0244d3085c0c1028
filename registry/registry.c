/* Snapshots of the registry and the marks that outlive them.
 *
 *     struct registry (counted, immutable) --> struct registry_site [sorted by name]
 *                                                   |
 *                                                   +--> struct site_live (counted, atomic members)
 *
 * A snapshot lives as long as someone holds it; a site_live as long as some snapshot knows the
 * site, so that a reload forgets neither round trips nor marks.  Readers take no lock. */
#include "registry/registry.h"

#include <stdlib.h>

#include "base/clock.h"

const char *site_state_text(enum site_state state)
{
	switch (state) {
#define SITE_STATE_CASE(value, name) \
	case value: \
		return name;
		SITE_STATES(SITE_STATE_CASE)
#undef SITE_STATE_CASE
	}
	return "unknown";
}

struct registry *registry_ref(struct registry *reg)
{
	atomic_fetch_add_explicit(&reg->refs, 1, memory_order_relaxed);
	return reg;
}

static void live_unref(struct site_live *live)
{
	if (live && atomic_fetch_sub_explicit(&live->refs, 1, memory_order_acq_rel) == 1)
		free(live);
}

void registry_unref(struct registry **reg)
{
	struct registry *r = *reg;

	*reg = NULL;
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < r->site_count; i++)
		live_unref(r->sites[i].live);
	arena_fini(&r->arena);
	free(r);
}

bool registry_find(const struct registry *reg, struct span name, size_t *index_r)
{
	size_t from = 0, to = reg->site_count;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		int c = span_compare(name, reg->sites[at].name);

		if (!c) {
			*index_r = at;
			return true;
		}
		if (c < 0)
			to = at;
		else
			from = at + 1;
	}
	return false;
}

bool registry_label_get(const struct registry *reg, size_t site, struct span key, struct span *value_r)
{
	const struct registry_site *s = &reg->sites[site];

	for (size_t i = 0; i < s->label_count; i++)
		if (span_eq(s->labels[i].key, key)) {
			*value_r = s->labels[i].value;
			return true;
		}
	return false;
}

/* A mark an operator set (fenced, autonomous) or that replication owns is not ours to change. */
static void live_move(struct site_live *live, enum site_state to)
{
	int now = atomic_load_explicit(&live->state, memory_order_relaxed);

	while (now == SITE_UNKNOWN || now == SITE_CONNECTED || now == SITE_DISCONNECTED ||
	       now == SITE_FAILED) {
		if (now == (int)to || atomic_compare_exchange_weak_explicit(&live->state, &now, (int)to,
		                                                           memory_order_relaxed,
		                                                           memory_order_relaxed))
			return;
	}
}

void site_live_seen(struct site_live *live)
{
	atomic_store_explicit(&live->last_seen_ms, clock_wall_ms(), memory_order_relaxed);
	live_move(live, SITE_CONNECTED);
}

void site_live_unreachable(struct site_live *live, int64_t now_us)
{
	atomic_store_explicit(&live->last_failure_us, now_us, memory_order_relaxed);
	/* failed is the stronger mark: another failure does not weaken it */
	if (site_live_state(live) != SITE_FAILED)
		live_move(live, SITE_DISCONNECTED);
}

enum site_state site_live_state(const struct site_live *live)
{
	return (enum site_state)atomic_load_explicit(&live->state, memory_order_relaxed);
}
