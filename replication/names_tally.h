/* How many replicas this site has, by service and state: counted as names change, since a walk over a million of them at
 * each scrape would cost a second.  The thread that writes names counts, any thread reads. */
#ifndef REPLICATION_NAMES_TALLY_H
#define REPLICATION_NAMES_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#include "replication/states.h"

/* Services have the numbers 1 to this as they come; those beyond are counted together, under 0. */
#define NAMES_TALLY_SERVICES 64

struct names_tally {
	_Atomic int64_t n[NAMES_TALLY_SERVICES + 1][REPLICA_STATES_];
};

static inline void names_tally_add(struct names_tally *t, uint32_t service, unsigned state, int64_t n)
{
	if (state < REPLICA_STATES_)
		atomic_fetch_add_explicit(&t->n[service <= NAMES_TALLY_SERVICES ? service : 0][state], n, memory_order_relaxed);
}

#endif
