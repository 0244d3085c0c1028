/* The access log: one line per request.  Workers append to a queue of their own; one thread writes, so
 * that a slow disk or pipe stops no request.  Bound: ACCESS_LOG_BYTES per worker; lines past it are
 * dropped and counted, and the count is logged. */
#ifndef PROXY_ACCESS_LOG_H
#define PROXY_ACCESS_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define ACCESS_LOG_BYTES (4u << 20)

struct access_log_queue {
	pthread_mutex_t lock;
	struct buf lines;
	_Atomic uint64_t dropped;
};

struct access_log;

void access_log_queue_init(struct access_log_queue *q);
void access_log_queue_fini(struct access_log_queue *q);

/* where: "-" for standard output, "off", or a path, which is opened to append. queues: count of them. */
int access_log_open(struct span where, struct access_log_queue **queues, size_t count,
                    struct access_log **log_r, struct err *e) MUST_CHECK;
/* Opens the file again (after rotation); the old one stays when that fails. */
void access_log_reopen(struct access_log *log);
enum access_log_state {
	ACCESS_LOG_GOOD,
	ACCESS_LOG_BROKEN, /* what was written last is lost */
	ACCESS_LOG_MOVED,  /* another file, or none, is at its path: rotated and not opened again */
};
/* log NULL: it is off. By the thread that opens it again. */
enum access_log_state access_log_look(const struct access_log *log);
/* Writes what waits, ends the thread; gives up after a second when the log is not read. */
void access_log_close(struct access_log **log);

/* A whole line with its newline. */
void access_log_add(struct access_log_queue *q, struct span line);

/* Appends s as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void json_add_string(struct buf *out, struct span s);

#endif
