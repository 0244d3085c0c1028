/* Bytes from one socket to another through a pipe (splice(2)): the kernel hands pages on, nothing is copied to this
 * process and back.  For bulk content that passes as it is: no chunks, no TLS.
 *
 * Bound: what a pipe holds, IO_PIPE_BYTES and no more. */
#ifndef PROXY_IO_PIPE_H
#define PROXY_IO_PIPE_H

#include "proxy/io.h"

#define IO_PIPE_BYTES (256u << 10)

struct io_pipe {
	int in, out;   /* write end and read end; 0: not open (standard input is never ours) */
	size_t held;   /* bytes inside */
};

/* Both streams are plain sockets. */
static inline bool io_can_splice(const struct io *from, const struct io *to)
{
	return from->ops && to->ops && from->ops->is_socket && to->ops->is_socket;
}

static inline bool io_pipe_is_open(const struct io_pipe *p)
{
	return p->in > 0;
}

/* p: zeroed.  0, ERR_LIMIT: no descriptors, copy instead. */
int io_pipe_open(struct io_pipe *p) MUST_CHECK;
/* Idempotent; what is inside is lost. */
void io_pipe_close(struct io_pipe *p);

/* At most `bytes` from the stream into the pipe, or from the pipe into the stream.  Bytes; 0: end of stream (fill
 * only); -EAGAIN: nothing now, or no room; another negative errno: broken. */
ssize_t io_pipe_fill(struct io_pipe *p, struct io *from, size_t bytes);
ssize_t io_pipe_drain(struct io_pipe *p, struct io *to);

#endif
