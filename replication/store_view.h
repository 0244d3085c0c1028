/* What operators ask of the store, in jobs of its reader thread (store_submit_read): lists with filters, pages, counts.
 *
 * A job that walks a table looks at a bounded number of rows and says how far it came; whoever wants the rest submits
 * another one.  So a look at a million replicas never keeps other readings waiting for long. */
#ifndef REPLICATION_STORE_VIEW_H
#define REPLICATION_STORE_VIEW_H

#include "replication/store.h"

/* Rows of one job: some ten milliseconds. */
#define STORE_VIEW_ROWS 10000
/* A cursor: there is no more. */
#define STORE_VIEW_END (-1)

/* What a resource must be like to be shown; empty, -1: anything.  site and state are of one and the same replica. */
struct store_filter {
	struct span service, site;
	int state;                  /* enum replica_state */
};

/* Those alive, in the order in which this site learned of them. *cursor_r: the last row that was looked at. */
int store_view_resources(struct store_reader *r, const struct store_filter *f, int64_t after, int limit,
                         store_on_resource *on, void *arg, int64_t *cursor_r) MUST_CHECK;

/* Services and collections in which there is, or an operation speaks of, this meta-identifier; key->meta is empty. */
typedef int store_on_key(void *arg, const struct store_key_of *key);
int store_view_places(struct store_reader *r, struct span meta, store_on_key *on, void *arg) MUST_CHECK;

/* The operations of a resource, newest first by clock, with those of its create that had no collection yet. */
int store_view_history(struct store_reader *r, const struct store_key_of *key, int limit, store_on_operation *on,
                       void *arg) MUST_CHECK;
/* Where an operation stands at each site, in the order of their names: what is over too. */
typedef int store_on_target(void *arg, const struct store_delivery *d);
int store_view_deliveries(struct store_reader *r, const struct op_id *id, store_on_target *on, void *arg) MUST_CHECK;
/* ERR_NOT_FOUND: it is admitted, or there is none. Spans last until the callback returns. */
int store_view_intent(struct store_reader *r, const struct op_id *id, store_on_intent *on, void *arg) MUST_CHECK;

/* Idempotency-Keys that have no answer yet: key, fingerprint and operation. */
typedef int store_on_answer(void *arg, const struct store_answer *a);
int store_view_running(struct store_reader *r, store_on_answer *on, void *arg) MUST_CHECK;

/* The queue by operation and target, after this operation's row and target: what is not done or dropped, and what is
 * not admitted yet (its target is the site it was sent to, or empty; expires and attempts are 0). */
int store_view_queue(struct store_reader *r, int64_t after, struct span after_target, int limit,
                     store_on_delivery *on, void *arg) MUST_CHECK;
/* Operations that are not over at some site: neither done, dropped nor failed there. */
int store_view_unfinished(struct store_reader *r, int64_t *count_r) MUST_CHECK;

/* Replicas at other sites that failed for this reason, of what lives. */
int store_view_failed(struct store_reader *r, struct span reason, store_on_replica *on, void *arg) MUST_CHECK;

/* Counts of a part of the tables, to be added up. */
struct store_tally {
	struct span service, site;  /* service: of replicas only */
	int state;                  /* enum replica_state, enum delivery_state */
	int64_t count, bytes, oldest_ms; /* bytes of bodies, and the oldest operation's time: of the queue only */
};
typedef int store_on_tally(void *arg, const struct store_tally *t);
/* Replicas of what lives, at all sites as far as it is known here. */
int store_view_tally_replicas(struct store_reader *r, int64_t after, store_on_tally *on, void *arg,
                              int64_t *cursor_r) MUST_CHECK;
int store_view_tally_queue(struct store_reader *r, int64_t after, store_on_tally *on, void *arg,
                           int64_t *cursor_r) MUST_CHECK;
/* Bytes of the database and its log on disk. */
int64_t store_view_bytes(struct store_reader *r);

#endif
