/* What the replicator counts, for /metrics.  Its thread alone writes (the replicator_count_* below); whoever reads takes
 * each cell as it is.  Sites are members of replica sets: those beyond REPLICATOR_STATS_SITES are not counted. */
#ifndef PROXY_REPLICATOR_STATS_H
#define PROXY_REPLICATOR_STATS_H

#include <pthread.h>

#include "base/counter.h"
#include "proxy/operation.h"

#define REPLICATOR_STATS_SITES 256

/* What became of one attempt to execute an operation at one site. */
#define REPLAYS(X) \
	X(REPLAY_DONE, "done")         /* executed, and durably known to be */ \
	X(REPLAY_AGAIN, "again")       /* not executed for certain, or harmless to repeat: it stays in the queue */ \
	X(REPLAY_HELD, "held")         /* for credentials */ \
	X(REPLAY_IN_DOUBT, "in-doubt") /* nobody knows, and repeating may do harm */ \
	X(REPLAY_FAILED, "failed")     /* refused for good */

#define REPLAY_VALUE(name, text) name,
enum replay { REPLAYS(REPLAY_VALUE) REPLAYS_ };
#undef REPLAY_VALUE

const char *replay_text(enum replay outcome);

struct replicator_site_stats {
	struct replicator_site_stats *next;
	counter replays[REPLAYS_];
	struct histogram lag;          /* from an operation's beginning, wherever that was, to its execution at this site */
	char site[OP_SITE_BYTES];
};

struct replicator_stats {
	pthread_mutex_t lock;          /* guards the list while it grows or is read, nothing else */
	struct replicator_site_stats *sites;
	size_t site_count;
	counter operations[OPERATION_KINDS_][CLASSES_]; /* admitted here */
	counter admissions[ADMISSIONS_]; /* what became of being asked to admit, by a client or a peer */
};

void replicator_stats_init(struct replicator_stats *s);
void replicator_stats_fini(struct replicator_stats *s);

/* An attempt at a site is over.  age_ms: since the operation's created_ms, for REPLAY_DONE. */
void replicator_count_replay(struct replicator_stats *s, struct span site, enum replay outcome, int64_t age_ms);
/* An admission is over. op: as it came to be (an append may have turned out to create). */
void replicator_count_admission(struct replicator_stats *s, const struct operation *op, enum admission outcome);

#endif
