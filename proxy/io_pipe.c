/* See io_pipe.h.  A pipe is opened for one body and closed after it: three system calls on hundreds of KiB, and no stock
 * of pipes that would hold descriptors when they run out. */
#include "proxy/io_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proxy/descriptors.h"

int io_pipe_open(struct io_pipe *p)
{
	int fd[2];

	if (descriptors_are_scarce() || pipe2(fd, O_NONBLOCK | O_CLOEXEC))
		return ERR_LIMIT;
	descriptors_add(2);
	/* Refused above the user's share of pipe memory; then the size it has must do. */
	(void)fcntl(fd[1], F_SETPIPE_SZ, IO_PIPE_BYTES);
	*p = (struct io_pipe){ .in = fd[1], .out = fd[0] };
	return 0;
}

void io_pipe_close(struct io_pipe *p)
{
	if (!io_pipe_is_open(p))
		return;
	close(p->in);
	close(p->out);
	descriptors_add(-2);
	*p = (struct io_pipe){ 0 };
}

static ssize_t move(int from, int to, size_t bytes)
{
	ssize_t n;

	do
		n = splice(from, NULL, to, NULL, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t io_pipe_fill(struct io_pipe *p, struct io *from, size_t bytes)
{
	ssize_t n = move(from->fd, p->in, bytes);

	if (n > 0)
		p->held += (size_t)n;
	return n;
}

ssize_t io_pipe_drain(struct io_pipe *p, struct io *to)
{
	ssize_t n = move(p->out, to->fd, p->held);

	if (n > 0)
		p->held -= (size_t)n;
	return n == 0 ? -EPIPE : n;
}
