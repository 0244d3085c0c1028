/* A byte stream that never blocks: one end of a TCP or TLS (io_tls.h) connection, or, in scenarios and
 * fuzz targets, a pair of queues in memory.  Everything above is written against this, so the
 * request machine runs without sockets.
 *
 * Readiness comes through the two callbacks.  Reading is level-triggered and stays on (no system
 * call in the steady state) until io_want_read(false); writing is tried at once and io_want_write is
 * asked for only when the stream is full. */
#ifndef PROXY_IO_H
#define PROXY_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/addr.h"
#include "base/err.h"

struct io;
struct io_loop;

struct io_handler {
	void (*readable)(struct io *io); /* bytes, the end, or an error wait */
	void (*writable)(struct io *io); /* room again; also: the connection is made, or failed */
};

struct io_ops {
	bool is_socket; /* fd is one, and its bytes are the stream's as they are */
	/* bytes; 0: end of stream; -EAGAIN: nothing now; another negative errno: broken */
	ssize_t (*read)(struct io *io, void *room, size_t bytes);
	ssize_t (*write)(struct io *io, const struct iovec *iov, int count);
	/* pending connection: 0 made, -EAGAIN not yet, negative errno failed */
	int (*connected)(struct io *io);
	/* neither bytes nor the end wait to be read */
	bool (*quiet)(struct io *io);
	int (*want)(struct io *io, bool read, bool write);
	void (*shutdown_write)(struct io *io);
	void (*close)(struct io *io, bool reset);
};

struct io {
	const struct io_ops *ops;
	const struct io_handler *handler;
	void *impl;              /* the implementation's own: of a socket, the struct io_loop that watches it */
	int fd;
	bool reading, writing;   /* what is wanted at present */
	bool ready;              /* something has happened to it that its handler has not been told yet */
};

/* Takes fd over.  Nothing is wanted yet. */
void io_open_fd(struct io *io, struct io_loop *loop, int fd, const struct io_handler *handler);
/* Begins to connect; the result comes as writable, then io_connected tells.  May fail at once. */
int io_connect(struct io *io, struct io_loop *loop, const struct addr *to,
               const struct io_handler *handler) MUST_CHECK;

/* For scenarios and fuzz targets: what io_connect does instead (NULL: connect). */
typedef int (*io_connector)(struct io *io, const struct addr *to, const struct io_handler *handler);
void io_set_connector(io_connector connector);

static inline bool io_is_open(const struct io *io)
{
	return io->ops != NULL;
}

static inline ssize_t io_read(struct io *io, void *room, size_t bytes)
{
	return io->ops->read(io, room, bytes);
}

static inline ssize_t io_write(struct io *io, const struct iovec *iov, int count)
{
	return io->ops->write(io, iov, count);
}

static inline int io_connected(struct io *io)
{
	return io->ops->connected(io);
}

static inline bool io_quiet(struct io *io)
{
	return io->ops->quiet(io);
}

static inline void io_shutdown_write(struct io *io)
{
	io->ops->shutdown_write(io);
}

int io_want_read(struct io *io, bool on);
int io_want_write(struct io *io, bool on);
/* reset: the peer gets a reset instead of an orderly end, so that a message cut short is not taken for whole.
 * Idempotent. */
void io_close(struct io *io, bool reset);

#endif
