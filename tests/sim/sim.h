/* The simulator: whole meshes in memory, made of the machines of replication/, under random schedules.  A schedule is all
 * that its seed says, so a failure is repeated by its seed. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_random { uint64_t state; };

uint64_t sim_next(struct sim_random *r);
/* 0 to n - 1. */
unsigned sim_below(struct sim_random *r, unsigned n);
/* So many times of a hundred. */
bool sim_chance(struct sim_random *r, unsigned percent);

/* What the schedules did, so that it can be seen that they reach what they are for. */
#define SIM_COUNTS(X) \
	X(admissions) X(refused) X(unknown) X(executions) X(again) X(skipped) X(deliveries) X(duplicates) X(crashes) \
	X(restores) X(partitions) X(pruned) X(recalls) X(lost) X(branches) X(doubts) X(nets) X(lives) X(handovers) \
	X(committed) X(aborted) X(undone) X(blocked) X(recoveries)

struct sim_counts {
#define SIM_COUNT(name) uint64_t name;
	SIM_COUNTS(SIM_COUNT)
#undef SIM_COUNT
};

/* One schedule. NULL: all that is promised holds; else what does not. log: print what happens. */
const char *sim_order(uint64_t seed, bool log, struct sim_counts *counts);
const char *sim_quorum(uint64_t seed, bool log, struct sim_counts *counts);

#endif
