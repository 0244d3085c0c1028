/* Threads that work off lists of jobs, and what a job is: the base of what the store and the spool are asked to do. */
#ifndef REPLICATION_LANE_INT_H
#define REPLICATION_LANE_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "replication/inbox.h"

struct store_job {
	struct store_job *next;
	struct store_inbox *inbox;
	store_done *done;
	void *arg;
	int rc;
	size_t bytes;
	void (*retire)(struct store_job *job); /* frees it, after done */
};

/* A thread that works off a list. */
struct store_lane {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct store_job *first, **last;
	size_t bytes, most;
	bool running, ending, refusing;
};

int lane_start(struct store_lane *lane, size_t most, void *(*run)(void *), void *arg) MUST_CHECK;
/* When all that waits has been worked off. */
void lane_end(struct store_lane *lane);
int lane_put(struct store_lane *lane, struct store_job *job) MUST_CHECK;
/* Waits; NULL: the end. The whole list, or one of it. */
struct store_job *lane_take(struct store_lane *lane, bool all);
/* Of what waits. */
size_t lane_bytes(struct store_lane *lane);
/* From now on nothing is taken in. */
void lane_refuse(struct store_lane *lane);
void job_answer(struct store_job *job, int rc);

#endif
