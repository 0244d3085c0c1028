/* The parts of the spool: spool.c is asked and answers, spool_disk.c does it, on the spool's thread. */
#ifndef REPLICATION_SPOOL_INT_H
#define REPLICATION_SPOOL_INT_H

#include <stdatomic.h>

#include "replication/lane_int.h"
#include "replication/spool.h"

#define START_DIGITS 16
#define NAME_BYTES 48
#define PART ".part"

struct spool {
	char *path;
	int fd;                   /* of the folder */
	char start[START_DIGITS + 1];
	_Atomic uint64_t bytes, limit, numbers;
	atomic_uint files;
	struct store_lane lane;
};

struct spool_job {
	struct store_job job;
	int (*run)(struct spool *spool, struct spool_job *job);
	struct spool_file *file;  /* NULL: by name */
	char name[NAME_BYTES];
	struct buf bytes;         /* to be written; that were read */
	struct buf *out;
	uint64_t offset;
	size_t most;
	store_done *done;
	void *arg;
};

struct spool_file {
	struct spool *spool;
	char name[NAME_BYTES], part[NAME_BYTES + sizeof(PART)];
	atomic_uint refs;
	atomic_bool abandoned;
	/* the maker's */
	uint64_t taken;
	size_t waiting;
	int refused;              /* the first answer that was not 0 */
	bool finishing, finished;
	struct spool_job end;     /* so that giving up needs no memory */
	/* the spool thread's */
	int fd, broken;
	bool on_disk, named;
	uint64_t written, begun;  /* begun: to be written back */
};

/* A file that somebody else made longer gives back what the spool took, no more. */
void spool_give_room(struct spool *spool, uint64_t n);

/* What jobs do, on the spool's thread; the result is the answer. */
int spool_run_write(struct spool *spool, struct spool_job *job);
int spool_run_finish(struct spool *spool, struct spool_job *job);
int spool_run_end(struct spool *spool, struct spool_job *job);
int spool_run_read(struct spool *spool, struct spool_job *job);
int spool_run_drop(struct spool *spool, struct spool_job *job);
/* 0 also when it is not there; errno. */
int spool_remove_name(struct spool *spool, const char *name);

#endif
