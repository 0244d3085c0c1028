/* Counters.  Each worker writes its own; whoever reads sums over the workers.  Label values are services and sites,
 * both bounded by the configuration; never a path, host or scope. */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include <pthread.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/counter.h"
#include "base/span.h"

#define STATS_OPS(X) \
	X(OP_LOCAL, "local") \
	X(OP_FORWARD, "forward") \
	X(OP_REPLICATE, "replicate") \
	X(OP_OTHERWISE, "otherwise") \
	X(OP_QUEUED, "queued")

enum stats_op {
#define STATS_OP(value, name) value,
	STATS_OPS(STATS_OP)
#undef STATS_OP
	OP_COUNT
};

const char *stats_op_text(enum stats_op op);

/* What one worker counts for one service at one site (the site that served). */
struct stats_pair {
	struct stats_pair *next;
	counter requests[OP_COUNT][5]; /* by class: 1xx..5xx */
	struct histogram duration[OP_COUNT];
	struct histogram upstream;
	char *service, *site;
};

#define STATS_REASONS(X) \
	X(REASON_REFUSED, "refused") \
	X(REASON_UNREACHABLE, "unreachable") \
	X(REASON_CERTIFICATE, "certificate") \
	X(REASON_TIMEOUT, "timeout") \
	X(REASON_NO_INSTANCE, "no-instance") \
	X(REASON_PROXY_503, "proxy-503") \
	X(REASON_RESET, "reset") \
	X(REASON_BAD_RESPONSE, "bad-response") \
	X(REASON_STATUS, "status") \
	X(REASON_DOWN, "down") \
	X(REASON_NO_MEMORY, "no-memory")

enum stats_reason {
#define STATS_REASON(value, name) value,
	STATS_REASONS(STATS_REASON)
#undef STATS_REASON
	REASON_COUNT
};

const char *stats_reason_text(enum stats_reason reason);

#define STATS_REFUSALS(X) \
	X(REFUSED_FULL, "full") \
	X(REFUSED_PER_CLIENT, "per_client")

/* Why a connection was answered 503 at once. */
enum stats_refusal {
#define STATS_REFUSAL(value, name) value,
	STATS_REFUSALS(STATS_REFUSAL)
#undef STATS_REFUSAL
	REFUSED_COUNT
};

const char *stats_refusal_text(enum stats_refusal refusal);

/* What became of a call without a scope that might have been given one (correlate:NAME). */
#define STATS_CORRELATIONS(X) \
	X(STATS_CORRELATION_FOUND, "found") \
	X(STATS_CORRELATION_UNKNOWN, "unknown") \
	X(STATS_CORRELATION_AMBIGUOUS, "ambiguous") \
	X(STATS_CORRELATION_STRANGER, "stranger")

enum stats_correlation {
#define STATS_CORRELATION(value, name) value,
	STATS_CORRELATIONS(STATS_CORRELATION)
#undef STATS_CORRELATION
	STATS_CORRELATION_COUNT
};

const char *stats_correlation_text(enum stats_correlation outcome);

struct stats {
	pthread_mutex_t lock;      /* guards the list of pairs while it grows or is read, nothing else */
	struct stats_pair *pairs;
	counter fallbacks[REASON_COUNT], retries[REASON_COUNT];
	counter scope_errors[16];  /* by enum scope_error_kind, then others */
	counter correlation[STATS_CORRELATION_COUNT];
	counter accepted, evicted, refused[REFUSED_COUNT];
	counter connections_client, connections_upstream_idle, connections_upstream_busy;
};

void stats_init(struct stats *s);
void stats_fini(struct stats *s);
/* The pair of these names, made when new; NULL without memory. */
struct stats_pair *stats_pair(struct stats *s, struct span service, struct span site);

#endif
