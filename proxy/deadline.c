/* One queue per kind.  A queue is in order of due time because every member waits the same time;
 * when a reload shortens a duration, members armed before keep the old one, and the few that are
 * armed after them are found late by at most the difference. */
#include "proxy/deadline.h"

void deadlines_init(struct deadlines *all)
{
	for (int k = 0; k < DEADLINE_KIND_COUNT; k++) {
		TAILQ_INIT(&all->queue[k]);
		all->duration_us[k] = 0;
	}
}

void deadline_clear(struct deadlines *all, struct deadline *d)
{
	if (!d->armed)
		return;
	TAILQ_REMOVE(&all->queue[d->kind], d, link);
	d->armed = false;
}

void deadline_set(struct deadlines *all, struct deadline *d, enum deadline_kind kind, int64_t now_us)
{
	deadline_clear(all, d);
	d->kind = (uint8_t)kind;
	d->due_us = now_us + all->duration_us[kind];
	d->armed = true;
	TAILQ_INSERT_TAIL(&all->queue[kind], d, link);
}

struct deadline *deadlines_take_due(struct deadlines *all, int64_t now_us)
{
	for (int k = 0; k < DEADLINE_KIND_COUNT; k++) {
		struct deadline *d = TAILQ_FIRST(&all->queue[k]);

		if (d && d->due_us <= now_us) {
			deadline_clear(all, d);
			return d;
		}
	}
	return NULL;
}

bool deadlines_empty(const struct deadlines *all)
{
	for (int k = 0; k < DEADLINE_KIND_COUNT; k++)
		if (!TAILQ_EMPTY(&all->queue[k]))
			return false;
	return true;
}
