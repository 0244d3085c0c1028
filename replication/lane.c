/* Threads that work off lists of jobs, and inboxes that bring the answers to the thread they are meant for.  A lane's
 * lock, and an inbox's, are held for a few pointers. */
#include "replication/lane_int.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct store_inbox {
	pthread_mutex_t lock;
	int fd;
	struct store_job *first, **last;
};

int store_inbox_new(struct store_inbox **inbox_r)
{
	struct store_inbox *inbox = calloc(1, sizeof(*inbox));

	*inbox_r = NULL;
	if (!inbox)
		return ERR_NOMEM;
	inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (inbox->fd < 0) {
		free(inbox);
		return ERR_IO;
	}
	inbox->last = &inbox->first;
	pthread_mutex_init(&inbox->lock, NULL);
	*inbox_r = inbox;
	return 0;
}

void store_inbox_free(struct store_inbox **inboxp)
{
	struct store_inbox *inbox = *inboxp;

	*inboxp = NULL;
	if (!inbox)
		return;
	close(inbox->fd);
	pthread_mutex_destroy(&inbox->lock);
	free(inbox);
}

int store_inbox_fd(const struct store_inbox *inbox)
{
	return inbox->fd;
}

static void finish(struct store_job *job)
{
	if (job->done)
		job->done(job->arg, job->rc);
	job->retire(job);
}

size_t store_inbox_run(struct store_inbox *inbox)
{
	struct store_job *job, *next;
	uint64_t count;
	size_t n = 0;

	if (read(inbox->fd, &count, sizeof(count)) < 0)
		return 0;
	pthread_mutex_lock(&inbox->lock);
	job = inbox->first;
	inbox->first = NULL;
	inbox->last = &inbox->first;
	pthread_mutex_unlock(&inbox->lock);
	for (; job; job = next, n++) {
		next = job->next;
		finish(job);
	}
	return n;
}

void job_answer(struct store_job *job, int rc)
{
	struct store_inbox *inbox = job->inbox;
	uint64_t one = 1;
	ssize_t n;

	job->rc = rc;
	job->next = NULL;
	if (!inbox) {
		finish(job);
		return;
	}
	pthread_mutex_lock(&inbox->lock);
	*inbox->last = job;
	inbox->last = &job->next;
	/* Under the lock: once the last answer is seen the inbox may go. Its counter cannot overflow. */
	n = write(inbox->fd, &one, sizeof(one));
	(void)n;
	pthread_mutex_unlock(&inbox->lock);
}

int lane_start(struct store_lane *lane, size_t most, void *(*run)(void *), void *arg)
{
	*lane = (struct store_lane){ .most = most };
	lane->last = &lane->first;
	pthread_mutex_init(&lane->lock, NULL);
	pthread_cond_init(&lane->wake, NULL);
	lane->running = !pthread_create(&lane->thread, NULL, run, arg);
	if (lane->running)
		return 0;
	pthread_mutex_destroy(&lane->lock);
	pthread_cond_destroy(&lane->wake);
	return ERR_LIMIT;
}

void lane_end(struct store_lane *lane)
{
	if (!lane->running)
		return;
	pthread_mutex_lock(&lane->lock);
	lane->ending = true;
	pthread_cond_signal(&lane->wake);
	pthread_mutex_unlock(&lane->lock);
	pthread_join(lane->thread, NULL);
	pthread_mutex_destroy(&lane->lock);
	pthread_cond_destroy(&lane->wake);
	lane->running = false;
}

int lane_put(struct store_lane *lane, struct store_job *job)
{
	int rc = 0;

	pthread_mutex_lock(&lane->lock);
	if (lane->refusing || lane->ending) {
		rc = ERR_CLOSED;
	} else if (lane->bytes + job->bytes > lane->most) {
		rc = ERR_LIMIT;
	} else {
		job->next = NULL;
		*lane->last = job;
		lane->last = &job->next;
		lane->bytes += job->bytes;
		pthread_cond_signal(&lane->wake);
	}
	pthread_mutex_unlock(&lane->lock);
	return rc;
}

struct store_job *lane_take(struct store_lane *lane, bool all)
{
	struct store_job *job;

	pthread_mutex_lock(&lane->lock);
	while (!lane->first && !lane->ending)
		pthread_cond_wait(&lane->wake, &lane->lock);
	job = lane->first;
	if (job && (all || !job->next)) {
		lane->first = NULL;
		lane->last = &lane->first;
		lane->bytes = 0;
	} else if (job) {
		lane->first = job->next;
		lane->bytes -= job->bytes;
		job->next = NULL;
	}
	pthread_mutex_unlock(&lane->lock);
	return job;
}

size_t lane_bytes(struct store_lane *lane)
{
	size_t bytes;

	pthread_mutex_lock(&lane->lock);
	bytes = lane->bytes;
	pthread_mutex_unlock(&lane->lock);
	return bytes;
}

void lane_refuse(struct store_lane *lane)
{
	pthread_mutex_lock(&lane->lock);
	lane->refusing = true;
	pthread_mutex_unlock(&lane->lock);
}
