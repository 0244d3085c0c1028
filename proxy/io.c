/* The event implementation of struct io: a non-blocking socket under libevent.
 *
 * One persistent read event per connection, added once; a write event only while it is needed, since a
 * struct event is 128 bytes and most connections never fill their socket. Both live in struct
 * io_event, beside the connection. */
#include "proxy/io.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct io_event {
	struct event_base *base;
	struct event *write; /* NULL until first needed */
	struct event read;
};

static io_connector connect_instead;

void io_set_connector(io_connector connector)
{
	connect_instead = connector;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;

	(void)fd;
	(void)what;
	clock_hold();
	io->handler->readable(io);
	clock_release();
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;

	(void)fd;
	(void)what;
	clock_hold();
	io->handler->writable(io);
	clock_release();
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

static int want_write(struct io *io, bool on)
{
	struct io_event *e = io->event;

	if (on && !e->write) {
		e->write = event_new(e->base, io->fd, EV_WRITE | EV_PERSIST, on_write, io);
		if (!e->write)
			return ERR_NOMEM;
	}
	if (on)
		return event_add(e->write, NULL) ? ERR_NOMEM : 0;
	if (e->write)
		event_del(e->write);
	return 0;
}

static int fd_want(struct io *io, bool read, bool write)
{
	if (read != io->reading) {
		if (read ? event_add(&io->event->read, NULL) : event_del(&io->event->read))
			return ERR_NOMEM;
		io->reading = read;
	}
	if (write != io->writing) {
		if (want_write(io, write))
			return ERR_NOMEM;
		io->writing = write;
	}
	return 0;
}

static void fd_shutdown_write(struct io *io)
{
	shutdown(io->fd, SHUT_WR);
}

static void fd_close(struct io *io, bool reset)
{
	if (io->event) {
		event_del(&io->event->read);
		if (io->event->write)
			event_free(io->event->write);
		free(io->event);
		io->event = NULL;
	}
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

int io_open_fd(struct io *io, struct event_base *base, int fd, const struct io_handler *handler)
{
	*io = (struct io){ .fd = fd, .handler = handler };
	io->event = calloc(1, sizeof(*io->event));
	if (!io->event) {
		close(fd);
		return ERR_NOMEM;
	}
	io->event->base = base;
	if (event_assign(&io->event->read, base, fd, EV_READ | EV_PERSIST, on_read, io)) {
		free(io->event);
		close(fd);
		return ERR_NOMEM;
	}
	io->ops = &fd_ops;
	return 0;
}

int io_dial(const struct addr *to, int *fd_r)
{
	int on = 1, rc, fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

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
	*fd_r = fd;
	return 0;
}

int io_connect(struct io *io, struct event_base *base, const struct addr *to,
               const struct io_handler *handler)
{
	int rc, fd;

	if (connect_instead)
		return connect_instead(io, to, handler);
	rc = io_dial(to, &fd);
	if (!rc)
		rc = io_open_fd(io, base, fd, handler);
	if (!rc && io_want_write(io, true)) {
		io_close(io, false);
		rc = ERR_NOMEM;
	}
	return rc;
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
