/* The readiness of a worker's connections: one epoll instance for all of them, nested in the worker's libevent base, which
 * keeps what is rare (listeners, timers, signals, messages of other threads).
 *
 * Why not an event of libevent per connection: that is a struct event of 128 bytes and 40 more in its table, half of
 * what an idle client may cost (docs/memory.md), and a system call to take a descriptor out before it is closed. Here
 * a connection's own struct is what epoll gives back. */
#ifndef PROXY_IO_LOOP_H
#define PROXY_IO_LOOP_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "base/err.h"

#define IO_LOOP_BATCH 128

struct event;
struct event_base;
struct io;

struct io_loop {
	struct event_base *base;
	struct event *nested;   /* our epoll instance, as base sees it */
	int epoll_fd;
	int at, count;          /* of ready: being called, and how many there are */
	unsigned rounds;        /* without a look at base */
	bool busy;              /* the last look found many */
	struct epoll_event ready[IO_LOOP_BATCH];
};

int io_loop_init(struct io_loop *l) MUST_CHECK;
/* Also after io_loop_init has failed. */
void io_loop_fini(struct io_loop *l);
/* Waits for whatever comes first and calls what is ready. */
void io_loop_turn(struct io_loop *l);

/* For implementations of struct io: io->fd is to wake its handler for what is in io->reading and io->writing from now
 * on; had: something was asked for before. */
int io_loop_watch(struct io_loop *l, struct io *io, bool had) MUST_CHECK;
/* The descriptor is about to be closed: what this turn has still to say of it is forgotten. */
void io_loop_forget(struct io_loop *l, const struct io *io);

#endif
