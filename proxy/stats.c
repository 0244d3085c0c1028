#include "proxy/stats.h"

#include <stdlib.h>

static const char *const op_names[] = {
#define STATS_OP_NAME(value, name) name,
	STATS_OPS(STATS_OP_NAME)
#undef STATS_OP_NAME
};

static const char *const reason_names[] = {
#define STATS_REASON_NAME(value, name) name,
	STATS_REASONS(STATS_REASON_NAME)
#undef STATS_REASON_NAME
};

static const char *const refusal_names[] = {
#define STATS_REFUSAL_NAME(value, name) name,
	STATS_REFUSALS(STATS_REFUSAL_NAME)
#undef STATS_REFUSAL_NAME
};

const char *stats_refusal_text(enum stats_refusal refusal)
{
	return refusal_names[refusal];
}

static const char *const correlation_names[] = {
#define STATS_CORRELATION_NAME(value, name) name,
	STATS_CORRELATIONS(STATS_CORRELATION_NAME)
#undef STATS_CORRELATION_NAME
};

const char *stats_op_text(enum stats_op op)
{
	return op_names[op];
}

const char *stats_reason_text(enum stats_reason reason)
{
	return reason_names[reason];
}

const char *stats_correlation_text(enum stats_correlation outcome)
{
	return correlation_names[outcome];
}

void stats_init(struct stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
}

void stats_fini(struct stats *s)
{
	struct stats_pair *p;

	while ((p = s->pairs)) {
		s->pairs = p->next;
		free(p->service);
		free(p->site);
		free(p);
	}
	pthread_mutex_destroy(&s->lock);
}

/* The list is short (services times sites that were used) and its cells are remembered by the view. */
struct stats_pair *stats_pair(struct stats *s, struct span service, struct span site)
{
	struct stats_pair *p;

	for (p = s->pairs; p; p = p->next)
		if (span_eq(service, span_of(p->service)) && span_eq(site, span_of(p->site)))
			return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->service = strndup(service.p, service.n);
	p->site = strndup(site.p, site.n);
	if (!p->service || !p->site) {
		free(p->service);
		free(p->site);
		free(p);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	p->next = s->pairs;
	s->pairs = p;
	pthread_mutex_unlock(&s->lock);
	return p;
}
