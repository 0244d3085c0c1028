/* Prometheus text exposition of what there is to count (facts: what operators expect). */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "proxy/server.h"
#include "replication/store_view.h"

#define METRICS_SITES 256 /* whose queues are told apart */

/* What has to be read from the store first: the queue by site (what is not done or dropped), and sizes. */
struct metrics_store {
	size_t site_count;
	struct metrics_site_queue {
		char site[OP_SITE_BYTES];
		int64_t entries, bytes, oldest_ms; /* of what is tried still, or waits for an operator: all but failed */
		int64_t states[DELIVERY_STATES_];
	} sites[METRICS_SITES];
	int64_t bytes;
};

/* A job of the store's reader thread adds a part; *cursor is 0 at first, STORE_VIEW_END: that was all. */
int metrics_read_store(struct store_reader *reader, struct metrics_store *m, int64_t *cursor) MUST_CHECK;
/* store: NULL where it could not be read. */
void metrics_print(struct server *srv, const struct view *view, const struct metrics_store *store, struct buf *out);

#endif
