/* Between metrics.c and metrics_replication.c. */
#ifndef PROXY_METRICS_INT_H
#define PROXY_METRICS_INT_H

#include "proxy/metrics.h"

void metrics_head(struct buf *out, const char *name, const char *type, const char *help);
/* A label's value: backslash, quote and newline are escaped. */
void metrics_label(struct buf *out, struct span text);
/* "scopemesh_NAME{site="SITE"} " */
void metrics_site(struct buf *out, const char *name, struct span site);

/* Histograms added up. */
struct metrics_sum { uint64_t bucket[HISTOGRAM_BUCKETS + 1], sum_us, count; };
void metrics_sum(struct metrics_sum *sum, const struct histogram *h);
/* labels: "{" and labels, without the closing brace; NULL: none. */
void metrics_histogram(struct buf *out, const char *name, const char *labels, const struct metrics_sum *sum);

/* metrics_replication.c */
void metrics_replication(struct replication *rep, const struct view *view, const struct metrics_store *store,
                         struct buf *out);

#endif
