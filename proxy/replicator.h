/* The replicator: one thread that brings every operation to every site of its set.  Its own site is a target like any
 * other.  Operations of one resource at one target are executed one at a time, in the order of the log; different
 * resources, and different targets, do not wait for each other.
 *
 * It is a worker without listeners (worker.h): its event loop executes operations as requests of the daemon's own
 * (inner.h), and everything here but what says "any thread" runs on it. */
#ifndef PROXY_REPLICATOR_H
#define PROXY_REPLICATOR_H

#include "proxy/operation.h"
#include "proxy/worker.h"

struct replicator;

/* What became of an operation at one site, for the one who waits for it. */
struct replicator_site {
	struct span site;
	unsigned status;             /* of its application; 0: none */
	const char *state;           /* "queued", "in-doubt", "not-replicated": when there is no status */
};

/* The answer to a front.  Lives until replicator_answer_free. */
struct replicator_answer {
	struct arena arena;
	/* of the application that admitted it (as it came, local ids in it), or with by_proxy a problem of ours */
	unsigned status;
	bool by_proxy, raw;          /* raw: local ids of this site's instance are in it */
	const char *type, *detail;   /* of a problem */
	struct span fields;          /* "Name: value\r\n" */
	struct span content;
	struct replicator_site sites[OPERATION_SITES];
	size_t site_count;
	struct span meta;
	/* for a peer that delivered it */
	enum delivery_state state;
	struct span local, reason;
	int64_t retry_after_ms;
};

/* Who waits.  answered is called on w's thread, exactly once; the wait belongs to its maker again then. */
struct replicator_wait {
	struct post post;
	struct worker *w;
	struct replicator_answer *answer; /* NULL: no memory, nothing is known */
	void (*answered)(struct replicator_wait *wait);
	bool peer;                   /* it is a peer that delivers */
};

int replicator_start(struct replicator **r_r, struct worker *w) MUST_CHECK;
/* When its worker has ended. */
void replicator_free(struct replicator **rp);

/* Any thread.  The operation is this site's to admit (admit), or a peer's to be executed here.  A reference is taken.
 * False: the replicator has ended, or has too much to do: nothing was done, no answer will come. */
bool replicator_submit(struct replicator *r, struct operation *op, bool admit, struct replicator_wait *wait) MUST_CHECK;
void replicator_answer_free(struct replicator_answer **ap);

/* Any thread: unfinished deliveries to this site (0 for a site that is not known). */
size_t replicator_queued(struct replicator *r, struct span site);

#endif
