/* Answers of the threads that do the disk's work (the store's, the spool's) wait in an inbox for the thread that they are
 * meant for.  Its event loop watches a descriptor; nothing here knows of loops. */
#ifndef REPLICATION_INBOX_H
#define REPLICATION_INBOX_H

#include <stddef.h>

#include "base/err.h"

struct store_inbox;

/* An answer: 0 or why not. */
typedef void store_done(void *arg, int rc);

int store_inbox_new(struct store_inbox **inbox_r) MUST_CHECK;
/* Not before everything sent to it has been answered. */
void store_inbox_free(struct store_inbox **inboxp);
/* Readable when an answer waits; level-triggered. */
int store_inbox_fd(const struct store_inbox *inbox);
/* Calls what waits, in the order of the answers; the number of them. */
size_t store_inbox_run(struct store_inbox *inbox);

#endif
