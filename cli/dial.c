/* A dial is a look-up and then one connection attempt after the other.
 *
 * The look-up runs in a detached thread, since getaddrinfo has no other honest form: libevent's
 * resolver knows neither nsswitch.conf nor mDNS.  Thread and dial share a struct lookup with two
 * references; the thread writes its result there, then one byte into a pipe, and lets go; whoever
 * lets go last frees it.  So a cancelled dial never waits for a slow name server. */
#include "cli/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lookup {
	_Atomic int refs;
	int wake; /* write end of the pipe, the thread's */
	int rc;   /* of getaddrinfo */
	struct addrinfo *found;
	char port[8];
	char host[256];
};

struct dial {
	struct event_base *base;
	struct event *ready; /* the pipe, then the socket of an attempt; the timeout is its own */
	struct event *deadline;
	struct lookup *lookup;
	int pipe_fd, fd;
	const struct addrinfo *at;
	char why[200];
	dial_done_fn *on_done;
	void *arg;
};

static void lookup_unref(struct lookup *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	free(l);
}

static void *look_up(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	ssize_t sent;

	l->rc = getaddrinfo(l->host, l->port, &hints, &l->found);
	if (l->rc)
		l->found = NULL;
	/* A reader that is gone has cancelled; SIGPIPE is ignored by the process. */
	do
		sent = write(l->wake, "", 1);
	while (sent < 0 && errno == EINTR);
	close(l->wake);
	lookup_unref(l);
	return NULL;
}

static void dial_free(struct dial *d)
{
	if (d->ready)
		event_free(d->ready);
	if (d->deadline)
		event_free(d->deadline);
	if (d->pipe_fd >= 0)
		close(d->pipe_fd);
	if (d->fd >= 0)
		close(d->fd);
	lookup_unref(d->lookup); /* NOLINT(clang-analyzer-unix.Malloc): counted; a thread that never ran gave its own back */
	free(d);
}

void dial_cancel(struct dial **d)
{
	if (*d)
		dial_free(*d);
	*d = NULL;
}

static void done(struct dial *d, bool connected)
{
	dial_done_fn *on_done = d->on_done;
	void *arg = d->arg;
	int fd = connected ? d->fd : -1;
	char why[sizeof(d->why)];

	memcpy(why, d->why, sizeof(why));
	if (connected)
		d->fd = -1;
	dial_free(d);
	on_done(arg, fd, why);
}

static void attempt(struct dial *d);

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (!error) {
		done(d, true);
		return;
	}
	snprintf(d->why, sizeof(d->why), "%s", strerror(error));
	close(d->fd);
	d->fd = -1;
	d->at = d->at->ai_next;
	attempt(d);
}

/* Begins with the address d->at; the first that can be begun. */
static void attempt(struct dial *d)
{
	int on = 1;

	if (d->ready)
		event_free(d->ready);
	d->ready = NULL;
	for (; d->at; d->at = d->at->ai_next) {
		d->fd = socket(d->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (d->fd >= 0 &&
		    (connect(d->fd, d->at->ai_addr, d->at->ai_addrlen) == 0 || errno == EINPROGRESS))
			break;
		snprintf(d->why, sizeof(d->why), "%s", strerror(errno));
		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
	}
	if (d->fd >= 0) {
		setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		d->ready = event_new(d->base, d->fd, EV_WRITE, on_connect, d);
		if (d->ready && event_add(d->ready, NULL) == 0)
			return;
		snprintf(d->why, sizeof(d->why), "%s", err_text(ERR_NOMEM));
	}
	done(d, false);
}

static void on_looked_up(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	char byte;

	(void)what;
	/* Its result is the thread's until this byte has come */
	if (read(fd, &byte, 1) != 1)
		return;
	if (d->lookup->rc) {
		snprintf(d->why, sizeof(d->why), "%s", gai_strerror(d->lookup->rc));
		done(d, false);
		return;
	}
	d->at = d->lookup->found;
	attempt(d);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd;
	(void)what;
	if (!*d->why)
		snprintf(d->why, sizeof(d->why), "%s", err_text(ERR_TIMEOUT));
	done(d, false);
}

static int start_thread(struct lookup *l)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	if (pthread_attr_init(&attr))
		return ERR_NOMEM;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals belong to the thread of the event loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = pthread_create(&thread, &attr, look_up, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc ? ERR_NOMEM : 0;
}

static int start_lookup(struct dial *d, const char *host, uint16_t port)
{
	int ends[2];

	d->lookup = calloc(1, sizeof(*d->lookup));
	if (!d->lookup)
		return ERR_NOMEM;
	atomic_init(&d->lookup->refs, 1);
	snprintf(d->lookup->host, sizeof(d->lookup->host), "%s", host);
	snprintf(d->lookup->port, sizeof(d->lookup->port), "%u", port);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return ERR_BUSY;
	d->pipe_fd = ends[0];
	d->lookup->wake = ends[1];
	atomic_fetch_add(&d->lookup->refs, 1);
	if (start_thread(d->lookup)) {
		close(ends[1]);
		lookup_unref(d->lookup);
		return ERR_NOMEM;
	}
	return 0;
}

struct dial *dial_start(struct event_base *base, const char *host, uint16_t port, unsigned timeout_ms,
                        dial_done_fn *on_done, void *arg)
{
	struct timeval limit = { timeout_ms / 1000, (int)(timeout_ms % 1000) * 1000 };
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct dial){ .base = base, .pipe_fd = -1, .fd = -1, .on_done = on_done, .arg = arg };
	if (start_lookup(d, host, port))
		goto fail;
	d->ready = event_new(base, d->pipe_fd, EV_READ, on_looked_up, d);
	d->deadline = evtimer_new(base, on_deadline, d);
	if (d->ready && d->deadline && event_add(d->ready, NULL) == 0 &&
	    event_add(d->deadline, &limit) == 0)
		return d;
fail:
	dial_free(d);
	return NULL;
}
