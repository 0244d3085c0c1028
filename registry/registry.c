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

struct registry *registry_new(void)
{
	struct registry *reg = calloc(1, sizeof(*reg));

	if (!reg)
		return NULL;
	atomic_init(&reg->refs, 1);
	arena_init(&reg->arena, NULL, 0, 0);
	return reg;
}

int registry_finish(struct registry *reg, struct span local)
{
	size_t n = reg->site_count;

	if (!registry_find(reg, local, &reg->local))
		return ERR_NOT_FOUND;
	if (n < 3 || n > REGISTRY_PAIR_SITES)
		return 0;
	reg->pair_us = arena_zalloc(&reg->arena, n * n * sizeof(*reg->pair_us));
	return reg->pair_us ? 0 : ERR_NOMEM;
}

struct registry *registry_ref(struct registry *reg)
{
	atomic_fetch_add_explicit(&reg->refs, 1, memory_order_relaxed);
	return reg;
}

struct site_live *site_live_new(struct span name)
{
	struct site_live *live = calloc(1, sizeof(*live) + name.n + 1);

	if (!live)
		return NULL;
	memcpy(live->name, name.p, name.n);
	atomic_init(&live->rtt_us, -1);
	atomic_init(&live->refs, 1);
	return live;
}

struct site_live *site_live_ref(struct site_live *live)
{
	atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
	return live;
}

void site_live_unref(struct site_live **livep)
{
	struct site_live *live = *livep;

	*livep = NULL;
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
		site_live_unref(&r->sites[i].live);
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

/* ---- distances --------------------------------------------------------------------------------------------- */

static int64_t told(const struct registry *reg, size_t from, size_t to)
{
	if (!reg->pair_us)
		return 0;
	return atomic_load_explicit(&reg->pair_us[from * reg->site_count + to], memory_order_relaxed);
}

/* Both ends measure the same way: the smaller figure has less noise in it. */
bool registry_rtt(const struct registry *reg, size_t from, size_t to, int64_t *us_r)
{
	int64_t a, b;

	*us_r = 0;
	if (from == to)
		return true;
	if (from == reg->local || to == reg->local) {
		size_t other = from == reg->local ? to : from;

		*us_r = atomic_load_explicit(&reg->sites[other].live->rtt_us, memory_order_relaxed);
		return *us_r >= 0;
	}
	a = told(reg, from, to);
	b = told(reg, to, from);
	*us_r = !a ? b : !b || a < b ? a : b;
	return *us_r > 0;
}

void registry_tell_rtt(struct registry *reg, size_t from, size_t to, uint32_t us)
{
	if (reg->pair_us)
		atomic_store_explicit(&reg->pair_us[from * reg->site_count + to], us, memory_order_relaxed);
}

/* ---- what the data path met -------------------------------------------------------------------------------- */

void site_live_seen(struct site_live *live)
{
	atomic_store_explicit(&live->last_seen_ms, clock_wall_ms(), memory_order_relaxed);
	atomic_store_explicit(&live->seen_us, clock_mono_us(), memory_order_relaxed);
}

void site_live_unreachable(struct site_live *live, int64_t now_us)
{
	atomic_store_explicit(&live->last_failure_us, now_us, memory_order_relaxed);
}

void site_live_heard(struct site_live *live, int64_t now_us)
{
	atomic_store_explicit(&live->heard_us, now_us, memory_order_relaxed);
}

enum site_state site_live_state(const struct site_live *live)
{
	return (enum site_state)atomic_load_explicit(&live->state, memory_order_relaxed);
}

enum site_reach site_live_reach(const struct site_live *live)
{
	return (enum site_reach)atomic_load_explicit(&live->reach, memory_order_relaxed);
}

bool site_live_is_barred(const struct site_live *live)
{
	return atomic_load_explicit(&live->marks, memory_order_relaxed) & (MARK_FENCED | MARK_DETACHED);
}
