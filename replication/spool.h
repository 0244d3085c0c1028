/* Bodies too large for the store are files under FOLDER/spool, one each, whatever the number of sites that it goes to.
 * A thread of the spool's own does all that touches the disk, in the order in which it was asked; answers come through an
 * inbox.  A file is under its name once it is whole and synced, and never before: the row that names it comes after.
 *
 *	spool_create ──► spool_write … ──► spool_finish ──► 0 ──► the row is submitted, spool_keep
 *	     └───────────────┴──────────────────┴────────────┴──► spool_abandon, at any time: nothing of it stays
 *
 *	spool_read, by name, a piece at a time and each reader at its own pace;  spool_drop, when no row names it any more
 *
 * All files together have at most the limit's bytes; what is being written counts from when it was handed over. */
#ifndef REPLICATION_SPOOL_H
#define REPLICATION_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "replication/inbox.h"

struct spool;
struct spool_file;

#define SPOOL_WAITING_BYTES (256u << 10) /* of one file, handed over and not on its way to the disk */
#define SPOOL_PIECE_BYTES (256u << 10)   /* of one reading */
#define SPOOL_FILES 1024                 /* under way at once; each has a descriptor */

/* Makes FOLDER/spool, removes what was not finished and counts the rest, on this thread. 0; ERR_IO, ERR_NOMEM, ERR_LIMIT
 * (no thread), with the reason in e. */
int spool_open(const char *folder, uint64_t limit_bytes, struct spool **spool_r, struct err *e) MUST_CHECK;
/* Ends when all that was asked has been done and answered.  Every file has been kept or abandoned before. */
void spool_close(struct spool **spoolp);

/* Removes what is older than spool_open and not kept: what no row names.  keep is asked for each, on this thread, which
 * waits for the disk. 0; ERR_IO, ERR_NOMEM, with the reason in e. */
typedef bool spool_is_named(void *arg, struct span name);
int spool_sweep(struct spool *spool, spool_is_named *keep, void *arg, struct err *e) MUST_CHECK;

/* Any thread. */
uint64_t spool_bytes(const struct spool *spool);
/* Of what is there already nothing goes. */
void spool_set_limit(struct spool *spool, uint64_t limit_bytes);
/* Whether so many bytes more would fit now; for a length that was announced. */
bool spool_has_room(const struct spool *spool, uint64_t bytes);

/* Writing.  A file belongs to the thread that made it, which runs the inbox too. -------------------------------------- */

/* 0; ERR_LIMIT: the limit is reached; ERR_BUSY: too many files are under way; ERR_NOMEM. Touches no disk. */
int spool_create(struct spool *spool, struct spool_file **file_r) MUST_CHECK;
/* 0: the bytes are taken, the buffer is empty, and done will be called.  Else they are left and it will not: ERR_LIMIT,
 * they are too many; ERR_BUSY, SPOOL_WAITING_BYTES wait: again after a done; ERR_NOMEM; or what an earlier answer said.  A
 * buffer of any size is taken when nothing waits.  If it has a pool, that is this thread's and lasts until the answer.
 *
 * The answer: 0; ERR_LIMIT, the disk is full; ERR_IO; ERR_NOMEM, also of descriptors: the file is gone, and every later
 * answer is the same. */
int spool_write(struct spool_file *file, struct buf *bytes, struct store_inbox *inbox, store_done *done,
                void *arg) MUST_CHECK;
/* After it nothing is written.  The answer 0: it is whole, on the disk and under its name.  Any other: it is gone, and is
 * not tried again: after a failed sync nobody knows what is on the disk. */
int spool_finish(struct spool_file *file, struct store_inbox *inbox, store_done *done, void *arg) MUST_CHECK;
/* Lasts as long as the file. */
struct span spool_name(const struct spool_file *file);
uint64_t spool_file_bytes(const struct spool_file *file); /* taken so far */
/* After spool_finish was answered with 0: gives the handle back, the file stays until spool_drop. */
void spool_keep(struct spool_file **filep);
/* At any time before: gives the handle back and removes the file.  No done of it is called from here on; what waits is
 * not written. NULL is nothing. */
void spool_abandon(struct spool_file **filep);

/* Files that are finished, by name; any thread. ----------------------------------------------------------------------- */

/* Adds 1 to most bytes (SPOOL_PIECE_BYTES at most) from the offset on to out; none: that is its end. out and arg stay
 * until done, which is called exactly once after 0, on the inbox's thread; out is not touched before.  Else ERR_NOMEM.
 *
 * The answer: 0; ERR_NOT_FOUND: no such file; ERR_IO; ERR_NOMEM, also of descriptors. */
int spool_read(struct spool *spool, struct span name, uint64_t offset, struct buf *out, size_t most,
               struct store_inbox *inbox, store_done *done, void *arg) MUST_CHECK;
/* After the commit that took its last row.  Readings asked for before are done. */
void spool_drop(struct spool *spool, struct span name);

#endif
