/* Version vectors (Parker et al., 1983) over the operations of one resource, stamps, and frontiers.
 *
 * A dot is an admission: the site that executed an operation first, that site's incarnation, and a number of it.  A
 * vector tells a set of dots by the greatest number of each (site, incarnation): n stands for all of the resource's dots
 * of that incarnation up to n.  That is exact because a site logs the writes to one resource one at a time (replication.md
 * 4.1): the past of each of its dots holds its dots before.  So a set that is closed under "is in the past of" has no gap.
 *
 * A frontier is the set of all numbers that came in of one (site, incarnation), whatever resource: those do have gaps,
 * and are told exactly, for ever: what was received once is known to have been. */
#ifndef REPLICATION_VECTOR_H
#define REPLICATION_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "replication/op_id.h"

/* Of one vector: an incarnation of a member that ever wrote to the resource is an entry. */
#define VECTOR_ENTRIES 512
/* Of its text.  A peer's field has room for more than this (proxy/operation.h). */
#define VECTOR_BYTES (12u << 10)

struct vector {
	struct op_id *entries; /* by site and incarnation, one of each */
	uint32_t count, room;
};

enum vector_order { VECTOR_EQUAL, VECTOR_BEFORE, VECTOR_AFTER, VECTOR_CONCURRENT };

void vector_init(struct vector *v);
void vector_fini(struct vector *v);
/* What changes a vector gives 0; ERR_LIMIT: more entries than VECTOR_ENTRIES; ERR_NOMEM. It is then as it was. */
int vector_copy(struct vector *to, const struct vector *from) MUST_CHECK;
int vector_add(struct vector *v, const struct op_id *dot) MUST_CHECK;
int vector_merge(struct vector *v, const struct vector *other) MUST_CHECK;
bool vector_has(const struct vector *v, const struct op_id *dot);
/* Everything in b is in a. */
bool vector_covers(const struct vector *a, const struct vector *b);
/* VECTOR_BEFORE: all of a is in b, and b has more. */
enum vector_order vector_compare(const struct vector *a, const struct vector *b);
/* A line for each entry: the text of an op_id, a line feed after it; "" for an empty one.  What is longer than
 * VECTOR_BYTES makes the buffer fail. */
void vector_format(const struct vector *v, struct buf *out);
/* Takes what vector_format writes, and nothing else. 0; ERR_INVALID, ERR_LIMIT, ERR_NOMEM: v is as it was. */
int vector_parse(struct vector *v, struct span text) MUST_CHECK;

/* What an admission gives an operation beside its clock: which dot it is, and the past it had there. */
struct stamp {
	struct op_id dot;
	struct vector past;
};

/* The dot's line, then the vector's: store_operation.vector, and X-Scopemesh-Operation's "vector". */
void stamp_format(const struct stamp *s, struct buf *out);
/* s->past is initialized. 0; ERR_INVALID: no stamp, or it is in its own past; ERR_LIMIT, ERR_NOMEM. */
int stamp_parse(struct stamp *s, struct span text) MUST_CHECK;

/* ---- frontiers ---- */

/* Ranges beyond the first gap, at most; a receiver says "later" to what would need more (ERR_LIMIT). */
#define FRONTIER_RANGES 4096
#define FRONTIER_BYTES (FRONTIER_RANGES * 40u)

struct frontier_range { uint64_t from, to; };

struct frontier {
	uint64_t number;               /* 1 to this have come */
	struct frontier_range *beyond; /* ascending, none touches another or the contiguous part */
	uint32_t count, room;
};

void frontier_init(struct frontier *f);
void frontier_fini(struct frontier *f);
bool frontier_has_number(const struct frontier *f, uint64_t number);
/* 0; ERR_EXISTS: it is there; ERR_INVALID: no number; ERR_LIMIT; ERR_NOMEM. */
int frontier_add_number(struct frontier *f, uint64_t number) MUST_CHECK;
/* Nothing up to this number is to come any more: it came, or was never meant for this site. */
void frontier_settle(struct frontier *f, uint64_t number);
/* store_frontier.beyond: "from-to" or "number", commas between. */
void frontier_format_beyond(const struct frontier *f, struct buf *out);
/* f is initialized. 0; ERR_INVALID, ERR_LIMIT, ERR_NOMEM: it is empty. */
int frontier_parse(struct frontier *f, uint64_t number, struct span beyond) MUST_CHECK;

/* Of all origins, at one holder. One row of the store each. */
struct frontier_of {
	struct op_id origin;           /* number: not used */
	struct frontier frontier;
};

struct frontiers {
	struct frontier_of *all;       /* by site and incarnation */
	size_t count, room;
};

void frontiers_init(struct frontiers *f);
void frontiers_fini(struct frontiers *f);
bool frontier_has(const struct frontiers *f, const struct op_id *id);
/* As frontier_add_number. of_r (may be NULL): whose row has changed; until the next change of f. */
int frontier_add(struct frontiers *f, const struct op_id *id, const struct frontier_of **of_r) MUST_CHECK;
/* The one of id's site and incarnation, made if need be; NULL: no memory. */
struct frontier *frontiers_get(struct frontiers *f, const struct op_id *id);

#endif
