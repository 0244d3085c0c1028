#include "proxy/replicator_stats.h"

#include <stdlib.h>
#include <string.h>

static const char *const replay_names[] = {
#define REPLAY_NAME(name, text) text,
	REPLAYS(REPLAY_NAME)
#undef REPLAY_NAME
};

const char *replay_text(enum replay outcome)
{
	return replay_names[outcome];
}

void replicator_stats_init(struct replicator_stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
}

void replicator_stats_fini(struct replicator_stats *s)
{
	struct replicator_site_stats *site;

	while ((site = s->sites)) {
		s->sites = site->next;
		free(site);
	}
	pthread_mutex_destroy(&s->lock);
}

/* Made when new.  NULL: there are too many, or no memory; then nothing is counted. */
static struct replicator_site_stats *cells_of(struct replicator_stats *s, struct span site)
{
	struct replicator_site_stats *cells;

	for (cells = s->sites; cells; cells = cells->next)
		if (span_eq(span_of(cells->site), site))
			return cells;
	if (!site.n || site.n >= sizeof(cells->site) || s->site_count == REPLICATOR_STATS_SITES)
		return NULL;
	cells = calloc(1, sizeof(*cells));
	if (!cells)
		return NULL;
	memcpy(cells->site, site.p, site.n);
	pthread_mutex_lock(&s->lock);
	cells->next = s->sites;
	s->sites = cells;
	s->site_count++;
	pthread_mutex_unlock(&s->lock);
	return cells;
}

void replicator_count_replay(struct replicator_stats *s, struct span site, enum replay outcome, int64_t age_ms)
{
	struct replicator_site_stats *cells = cells_of(s, site);

	if (!cells)
		return;
	counter_add(&cells->replays[outcome], 1);
	if (outcome == REPLAY_DONE)
		histogram_add(&cells->lag, age_ms < 0 ? 0 : age_ms < INT64_MAX / 1000 ? age_ms * 1000 : INT64_MAX);
}

void replicator_count_admission(struct replicator_stats *s, const struct operation *op, enum admission outcome)
{
	counter_add(&s->admissions[outcome], 1);
	if (outcome == ADMISSION_DONE)
		counter_add(&s->operations[op->kind][op->class], 1);
}
