/* The replicator: one thread that brings every operation to every site of its set.  Its own site is a target like any
 * other.  Operations of one resource at one target are executed one at a time, in the order of the log; different
 * resources, and different targets, do not wait for each other.
 *
 * It is a worker without listeners (worker.h): its event loop executes operations as requests of the daemon's own
 * (inner.h), and everything here but what says "any thread" runs on it. */
#ifndef PROXY_REPLICATOR_H
#define PROXY_REPLICATOR_H

#include "http/message.h"
#include "proxy/operation.h"
#include "proxy/worker.h"

struct replicator;

/* What became of an operation at one site, for who waits for it. */
struct replicator_site {
	struct span site;
	unsigned status;             /* of its application; 0: none */
	const char *state;           /* "queued", "in-doubt", "not-replicated": where there is no status */
	int64_t us;                  /* how long its last request took; 0: not known, or there was none */
};

/* The answer to a front, which frees it (replicator_answer_free). */
struct replicator_answer {
	struct arena arena;
	/* To a client or a peer that asked to admit. problem: it is the proxy's own, with this type and detail; else of the
	 * application that admitted it: head and content as they came. */
	const char *problem, *detail;
	unsigned status;
	struct http_head head;       /* without framing and hop-by-hop fields of use */
	struct span content;
	bool content_cut;            /* there was more of it */
	bool canonical;              /* every id is its meta-identifier already; else this site's local ids are in it */
	struct replicator_site sites[OPERATION_SITES]; /* X-Scope-Replicas, in the order of the scope; 0: not to be told */
	size_t site_count;
	struct span meta;            /* X-Scope-Meta-Id; empty: none */
	struct span served_by;       /* the site that admitted it */
	/* To a peer. */
	struct operation_result result;
};

enum replicator_task {
	REPLICATOR_ADMIT,   /* execute it here first, else at the next site of its set, and deliver it to the rest */
	REPLICATOR_DELIVER, /* a peer has admitted it: execute it here, durably */
	REPLICATOR_ASK,     /* a peer that handed it over asks how it stands here; it has no content */
};

/* Who waits.  answered is called on w's thread, exactly once; the wait belongs to its maker again then. */
struct replicator_wait {
	struct post post;
	struct worker *w;
	struct replicator_answer *answer; /* NULL: no memory, and nothing is known */
	void (*answered)(struct replicator_wait *wait);
	/* the replicator's own */
	enum replicator_task task;
	int64_t until_us;
	STAILQ_ENTRY(replicator_wait) link;
};

/* Reads the log; operations are taken once that is done.  w: its worker, before it runs. 0, ERR_NOMEM. */
int replicator_start(struct replicator **r_r, struct replication *rep, struct worker *w) MUST_CHECK;
/* On its worker's thread, before that ends (or when it never ran): nothing begins any more, and everybody who waits is
 * told.  Twice is once. */
void replicator_stop(struct replicator *r);
/* When its worker has ended. */
void replicator_free(struct replicator **rp);

/* Any thread.  A reference of the operation is taken.  False: the replicator has ended, or has too much to do: nothing was
 * done, no answer will come. */
bool replicator_submit(struct replicator *r, struct operation *op, enum replicator_task task,
                       struct replicator_wait *wait) MUST_CHECK;
void replicator_answer_free(struct replicator_answer **ap);

/* What an operator wants done with an operation's deliveries (replicator_settle.c). */
#define REPLICATOR_VERBS(X) \
	X(REPLICATOR_RETRY, "retry")            /* queued, held or failed: tried at once */ \
	X(REPLICATOR_DROP, "drop")              /* the same: never */ \
	X(REPLICATOR_SETTLE_DONE, "done")       /* in doubt: it was executed, and what it made is called local */ \
	X(REPLICATOR_SETTLE_RETRY, "retry")     /* in doubt: executed once more */ \
	X(REPLICATOR_SETTLE_DROP, "drop")

#define REPLICATOR_VERB(name, text) name,
enum replicator_verb { REPLICATOR_VERBS(REPLICATOR_VERB) REPLICATOR_VERBS_ };
#undef REPLICATOR_VERB

/* settled is called on w's thread, exactly once; the rest is its maker's, and stays until then. */
struct replicator_settle {
	struct post post;
	struct worker *w;
	struct op_id op;
	enum replicator_verb verb;
	struct span target;          /* empty: all that the verb can act on */
	struct span local;
	void (*settled)(struct replicator_settle *s);
	/* the answer: 200, durable; else the status, type and detail of a problem, and nothing was changed */
	unsigned status;
	const char *type;
	char detail[512];
	/* the replicator's own */
	struct replicator *r;
	int64_t until_us;
	size_t legs;                 /* whose changes are being logged */
	int rc;                      /* of the first that could not be */
	STAILQ_ENTRY(replicator_settle) link;
};

/* Any thread. False: the replicator has ended, nothing will come. */
bool replicator_settle(struct replicator *r, struct replicator_settle *s) MUST_CHECK;

/* Any thread: unfinished deliveries to this site. */
size_t replicator_queued(struct replicator *r, struct span site);

#endif
