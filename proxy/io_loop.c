/* See io_loop.h.
 *
 * What holds: a descriptor that nothing is wanted of is not in the instance, since an error or a hang-up would be told
 * all the same, again and again; one that is closed leaves it by itself. Whoever closes a stream or stops wanting
 * something of it is not called for it any more, though it be in the batch at hand.
 *
 * While many connections are ready at each look, base is looked at only every few rounds: its own wait, which sees
 * this instance too, would be a system call more each time. */
#include "proxy/io_loop.h"

#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/io.h"

#define BUSY_LEAST 4
#define BUSY_ROUNDS 4

static void call(struct io_loop *l, int i)
{
	const uint32_t broken = EPOLLERR | EPOLLHUP;
	uint32_t what = l->ready[i].events;
	struct io *io = l->ready[i].data.ptr;

	if (io)
		io->ready = false;
	if (io && io->writing && what & (EPOLLOUT | broken))
		io->handler->writable(io);
	io = l->ready[i].data.ptr; /* closed by now? */
	if (io && io->reading && what & (EPOLLIN | broken))
		io->handler->readable(io);
}

/* Calls those that are ready, without waiting. */
static void look(struct io_loop *l)
{
	int n = epoll_wait(l->epoll_fd, l->ready, IO_LOOP_BATCH, 0);

	l->busy = n >= BUSY_LEAST;
	l->count = n > 0 ? n : 0;
	for (int i = 0; i < l->count; i++)
		((struct io *)l->ready[i].data.ptr)->ready = true;
	for (l->at = 0; l->at < l->count; l->at++) {
		clock_hold();
		call(l, l->at);
		clock_release();
	}
	l->count = 0;
}

static void on_nested(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

int io_loop_init(struct io_loop *l)
{
	l->at = l->count = 0;
	l->rounds = 0;
	l->busy = false;
	l->nested = NULL;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->base = event_base_new();
	if (l->epoll_fd < 0 || !l->base)
		return ERR_NOMEM;
	l->nested = event_new(l->base, l->epoll_fd, EV_READ | EV_PERSIST, on_nested, l);
	return l->nested && !event_add(l->nested, NULL) ? 0 : ERR_NOMEM;
}

void io_loop_fini(struct io_loop *l)
{
	if (l->nested)
		event_free(l->nested);
	if (l->base)
		event_base_free(l->base);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	l->nested = NULL;
	l->base = NULL;
	l->epoll_fd = -1;
}

void io_loop_turn(struct io_loop *l)
{
	if (l->busy && ++l->rounds < BUSY_ROUNDS) {
		look(l);
		return;
	}
	l->rounds = 0;
	event_base_loop(l->base, EVLOOP_ONCE);
}

int io_loop_watch(struct io_loop *l, struct io *io, bool had)
{
	struct epoll_event ev = { .events = (io->reading ? EPOLLIN : 0) | (io->writing ? EPOLLOUT : 0),
		                  .data.ptr = io };

	if (!ev.events && !had)
		return 0;
	return epoll_ctl(l->epoll_fd, !had ? EPOLL_CTL_ADD : ev.events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, io->fd, &ev)
	               ? ERR_NOMEM : 0;
}

void io_loop_forget(struct io_loop *l, const struct io *io)
{
	for (int i = l->at; i < l->count; i++)
		if (l->ready[i].data.ptr == io)
			l->ready[i].data.ptr = NULL;
}
