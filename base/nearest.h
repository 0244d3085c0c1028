/* "Did you mean": the known word nearest in spelling. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include "base/span.h"

/* Edits (insert, delete, replace, swap of neighbours) between a and b; words over 64 bytes are
 * as far apart as their longer one is long. */
unsigned nearest_distance(struct span a, struct span b);

/* State of a search: start with {0}, offer every candidate, read best (n == 0: none is near
 * enough: at most a third of the word's length, rounded up, edits). */
struct nearest {
	struct span best;
	unsigned distance;
};

void nearest_offer(struct nearest *s, struct span word, struct span candidate);

#endif
