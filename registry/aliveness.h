/* Whether another site is alive, and how far it is: judged from pings, without sockets and without a clock. */
#ifndef REGISTRY_ALIVENESS_H
#define REGISTRY_ALIVENESS_H

#include "registry/registry.h"

/* What became of an attempt that brought no answer. */
#define ALIVE_MISSES(X) \
	X(MISS_NONE, "") \
	X(MISS_REFUSED, "refused: its host answers, and nothing listens there") \
	X(MISS_NO_CONNECTION, "no connection: its host, or the way there, is down") \
	X(MISS_SILENT, "silent: its host takes connections, and it does not answer (paused, overloaded, cut)") \
	X(MISS_BROKEN, "broken: the connection ends before the answer") \
	X(MISS_STRANGER, "stranger: what answers at its address is not this site") \
	X(MISS_BARRED, "barred: it does not let this site in (fenced there, not in its registry, another version)") \
	X(MISS_UNTRUSTED, "untrusted: no TLS connection, since a certificate is refused on this side or on that")

enum alive_miss {
#define ALIVE_MISS(value, text) value,
	ALIVE_MISSES(ALIVE_MISS)
#undef ALIVE_MISS
};

#define ALIVE_SAMPLES 5

struct aliveness {
	enum site_reach reach;
	enum alive_miss last_miss; /* since the last answer */
	int64_t asked_us;          /* the first attempt that nothing has answered; 0: none under way */
	int64_t answered_us;       /* the last answer */
	int64_t refused_us;        /* since then nothing but refusals; 0: no */
	int64_t down_us;           /* when it was lost */
	int64_t excused_us;        /* of the time since asked_us: our own link was down */
	int64_t ticked_us;         /* last turn; 0: none yet */
	int64_t seen_failure_us;   /* last failure of a request that was counted */
	unsigned good, bad;        /* in a row */
	unsigned flaps;            /* times lost within ALIVE_FLAP_US */
	int64_t flap_us;
	bool one_way;              /* lost, but it asks us */
	int64_t sample_us[ALIVE_SAMPLES];
	unsigned samples;
	int64_t distance_us, settled_us; /* -1: not measured */
};

/* What a turn takes into account beside the pings. */
struct alive_evidence {
	int64_t fail_after_us;     /* timeouts.fail_after */
	int64_t heard_us;          /* when it asked something of us; 0: never */
	int64_t seen_us;           /* when a request last had an answer of it; 0: never */
	int64_t failure_us;        /* when a request last got no connection to it; 0: never */
	bool isolated;             /* alive_isolated */
	bool others_agree;         /* every site we reach that has tried says it is unreachable */
	bool source_failed;        /* the registry's source says so */
	unsigned marks;            /* enum site_mark */
};

void alive_init(struct aliveness *a);
/* How long an attempt may take before it counts as a miss: longer where the way is known to be long. */
int64_t alive_patience_us(const struct aliveness *a);

/* An attempt begins; it ends in one of the other two. */
void alive_asked(struct aliveness *a, int64_t now_us);
void alive_answered(struct aliveness *a, int64_t now_us, int64_t rtt_us);
void alive_missed(struct aliveness *a, int64_t now_us, enum alive_miss miss);
/* To be called once a second or more often, and after each of the above.  The reach there is now. */
enum site_reach alive_tick(struct aliveness *a, int64_t now_us, const struct alive_evidence *e);

/* The mark that is shown; queued: operations wait for it. */
enum site_state alive_mark(const struct aliveness *a, unsigned marks, uint64_t queued);
/* Why it is not reached, a constant; NULL while it is. */
const char *alive_reason(const struct aliveness *a, bool isolated);

/* Most of the others were lost together, and none of them by a refusal: our own link is down, as far as can be told
 * from here.  One site alone never shows that. */
bool alive_isolated(const struct aliveness *const *all, size_t count, int64_t now_us);

#endif
