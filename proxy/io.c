/* The implementation of struct io for sockets: what is wanted of them is told to the worker's io_loop, and changes of
 * that are rare: reading stays on, writing is tried at once and waited for only when the socket is full. */
#include "proxy/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io_loop.h"

static io_connector connect_instead;

void io_set_connector(io_connector connector)
{
	connect_instead = connector;
}

static ssize_t fd_read(struct io *io, void *room, size_t bytes)
{
	ssize_t n;

	do
		n = recv(io->fd, room, bytes, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t fd_write(struct io *io, const struct iovec *iov, int count)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	do
		n = count == 1 ? send(io->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
		               : sendmsg(io->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int fd_connected(struct io *io)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -errno;
	return -error;
}

static bool fd_quiet(struct io *io)
{
	char byte;

	return recv(io->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static int fd_want(struct io *io, bool read, bool write)
{
	bool had = io->reading || io->writing;

	if (read == io->reading && write == io->writing)
		return 0;
	io->reading = read;
	io->writing = write;
	return io_loop_watch(io->impl, io, had);
}

static void fd_shutdown_write(struct io *io)
{
	shutdown(io->fd, SHUT_WR);
}

static void fd_close(struct io *io, bool reset)
{
	io_loop_forget(io->impl, io);
	if (reset) {
		struct linger now = { .l_onoff = 1, .l_linger = 0 };

		setsockopt(io->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	}
	close(io->fd);
	io->fd = -1;
}

static const struct io_ops fd_ops = {
	.is_socket = true,
	.read = fd_read,
	.write = fd_write,
	.connected = fd_connected,
	.quiet = fd_quiet,
	.want = fd_want,
	.shutdown_write = fd_shutdown_write,
	.close = fd_close,
};

void io_open_fd(struct io *io, struct io_loop *loop, int fd, const struct io_handler *handler)
{
	*io = (struct io){ .ops = &fd_ops, .handler = handler, .impl = loop, .fd = fd };
}

int io_connect(struct io *io, struct io_loop *loop, const struct addr *to,
               const struct io_handler *handler)
{
	int on = 1, rc, fd;

	if (connect_instead)
		return connect_instead(io, to, handler);
	fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? ERR_LIMIT : err_from_errno(errno);
	if (to->ss.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rc = connect(fd, (const struct sockaddr *)&to->ss, to->len);
	if (rc && errno != EINPROGRESS) {
		rc = err_from_errno(errno);
		close(fd);
		return rc;
	}
	io_open_fd(io, loop, fd, handler);
	if (!io_want_write(io, true))
		return 0;
	io_close(io, false);
	return ERR_NOMEM;
}

int io_want_read(struct io *io, bool on)
{
	return on == io->reading ? 0 : io->ops->want(io, on, io->writing);
}

int io_want_write(struct io *io, bool on)
{
	return on == io->writing ? 0 : io->ops->want(io, io->reading, on);
}

void io_close(struct io *io, bool reset)
{
	if (!io->ops)
		return;
	io->ops->close(io, reset);
	io->ops = NULL;
	io->reading = io->writing = false;
}
