/* The table behind correlate:NAME: which scope came in with which value of a header (spec section 2).  One for all
 * workers. */
#ifndef PROXY_CORRELATION_H
#define PROXY_CORRELATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

/* Bounds.  CORRELATION_MOST values for every one that a request brings at most (correlation_set_keys), and in the mean
 * CORRELATION_MEAN bytes each, bookkeeping included: what is oldest goes first when either is reached.  With the
 * default carriers a request brings three values: 300,000 entries, at most 77 MB, and 4 MB of buckets. */
#define CORRELATION_MOST 100000
#define CORRELATION_MEAN 256
#define CORRELATION_AGE_US (15 * 60 * 1000000ll) /* since the value came in last */
#define CORRELATION_KEYS_MOST 16                  /* values a request may bring */
#define CORRELATION_SCOPE_BYTES 8192
#define CORRELATION_VALUE_BYTES 512

/* What is remembered: a value, in a space of its own (equal values of two headers mean nothing). */
struct correlation_key {
	struct span space, value;
};

enum correlation_found {
	CORRELATION_NONE,
	CORRELATION_SCOPE,
	CORRELATION_AMBIGUOUS, /* the value came in with two scopes: it tells none */
};

/* For metrics; sums since the start but for entries and bytes. */
struct correlation_counts {
	uint64_t entries, bytes, evicted, expired, conflicts;
};

struct correlation;

/* NULL: no memory. */
struct correlation *correlation_new(void);
void correlation_free(struct correlation **t);
/* How many values a request brings, by the configuration: the bound on entries follows.  Any thread. */
void correlation_set_keys(struct correlation *t, unsigned keys);

/* Remembers that this scope came in with this value.  CORRELATION_AMBIGUOUS: another one did too; CORRELATION_NONE: not
 * remembered (too long, or no memory).  Any thread. */
enum correlation_found correlation_remember(struct correlation *t, const struct correlation_key *key,
                                            struct span scope, int64_t now_us);
/* The scope that came in with this value, copied into room.  Any thread. */
enum correlation_found correlation_find(struct correlation *t, const struct correlation_key *key, int64_t now_us,
                                        char room[CORRELATION_SCOPE_BYTES], struct span *scope_r);
/* True while nothing is remembered, so that a site without scopes pays nothing. */
bool correlation_is_empty(const struct correlation *t);
/* Drops what is too old from a part of the table; a few calls a second keep all of it clean. */
void correlation_sweep(struct correlation *t, int64_t now_us);
void correlation_count(const struct correlation *t, struct correlation_counts *counts_r);

#endif
