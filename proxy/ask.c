/* A turn:
 *
 *	ask_send -> connect unless connected -> send -> the whole answer, or the end of patience -> done
 *
 * The connection is kept while answers come whole and nothing comes behind them; anything else closes it, which costs
 * the next turn a handshake and nothing more.  A kept connection that turns out to have ended says nothing of the other
 * side: the request, which is a GET, is sent once more on a new one. */
#include "proxy/ask.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/clock.h"
#include "proxy/io_loop.h"
#include "proxy/io_tls.h"
#include "proxy/mesh_version.h"

static void on_readable(struct io *io);
static void on_writable(struct io *io);

static const struct io_handler ask_handler = { on_readable, on_writable };

static struct ask *of_io(struct io *io)
{
	return (struct ask *)(void *)io;
}

static void close_connection(struct ask *a, bool reset)
{
	conn_close(&a->c, reset);
	a->connected = false;
	a->served = 0;
}

static void finish(struct ask *a, const struct ask_answer *answer)
{
	a->waiting = false;
	event_del(a->timer);
	a->done(a, answer);
}

static void fail(struct ask *a, enum ask_result result)
{
	struct ask_answer answer = { .result = result };
	char why[256];

	if (io_is_open(&a->c.io) && io_is_refused(&a->c.io)) {
		answer.result = ASK_UNTRUSTED;
		snprintf(why, sizeof(why), "%s", io_tls_why(&a->c.io) ? io_tls_why(&a->c.io) : "refused");
		answer.why = why;
	}
	close_connection(a, true);
	finish(a, &answer);
}

static void write_request(struct ask *a)
{
	struct span text = buf_span(&a->request);

	a->guard = (struct head_guard){ 0 };
	a->head_us = 0;
	a->sent_us = clock_mono_us();
	if (a->request.failed)
		fail(a, ASK_NOT_ASKED);
	else if (conn_send(&a->c, &text, 1))
		fail(a, ASK_BROKEN);
}

static void connect_anew(struct ask *a)
{
	int rc;

	close_connection(a, false);
	buf_init(&a->c.in, NULL, 0);
	buf_init(&a->c.out, NULL, 0);
	a->c.eof = false;
	errno = 0; /* tells a refusal from a way that is missing, which have one code */
	rc = io_connect_tls(&a->c.io, a->loop, &a->addr, &a->to, &ask_handler);
	if (rc)
		fail(a, rc == ERR_LIMIT || rc == ERR_NOMEM ? ASK_NOT_ASKED
		        : errno == ECONNREFUSED            ? ASK_REFUSED
		                                           : ASK_NO_CONNECTION);
}

void ask_send(struct ask *a, struct span path, struct span host, size_t most, int64_t timeout_us)
{
	struct timeval patience = { timeout_us / 1000000, timeout_us % 1000000 };

	buf_fini(&a->request);
	buf_addf(&a->request, "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: scopemesh\r\n", SPAN_ARG(path),
	         SPAN_ARG(host));
	if (a->mesh)
		mesh_version_add(&a->request);
	buf_add_z(&a->request, "\r\n");
	a->most = most;
	a->waiting = true;
	event_add(a->timer, &patience);
	if (a->connected && io_is_made_with(&a->c.io, a->to.ctx))
		write_request(a);
	else
		connect_anew(a);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ask *a = arg;

	(void)fd;
	(void)what;
	if (a->waiting)
		fail(a, a->connected ? ASK_SILENT : ASK_NO_CONNECTION);
}

/* ---- the answer -------------------------------------------------------------------------------------------- */

/* False: more has to come.  *whole_r: all of it is here and nothing behind it. */
static bool content_is_here(const struct ask *a, const struct http_head *head, bool *whole_r)
{
	size_t have = buf_len(&a->c.in) - a->guard.seen;
	size_t length = head->framing == HTTP_LENGTH ? head->content_length : 0;

	*whole_r = head->keep_alive && have == length &&
	           (head->framing == HTTP_NO_BODY || head->framing == HTTP_LENGTH);
	return !a->most || have >= length;
}

static void judge_head(struct ask *a, int parsed, const struct http_head *head)
{
	struct ask_answer answer = { .result = ASK_ANSWERED, .us = a->head_us - a->sent_us };
	struct buf content;
	bool whole = false;

	if (parsed || (a->most && ((head->framing != HTTP_LENGTH && head->framing != HTTP_NO_BODY) ||
	                           head->content_length > a->most))) {
		fail(a, parsed == ERR_NOMEM ? ASK_NOT_ASKED : ASK_UNREADABLE);
		return;
	}
	if (!content_is_here(a, head, &whole))
		return;
	answer.status = head->status;
	content = a->c.in; /* outlives the connection, which the callback may close */
	buf_init(&a->c.in, NULL, 0);
	if (a->most)
		answer.content = span_head(span_from(buf_span(&content), a->guard.seen), head->content_length);
	if (whole)
		a->served++;
	else
		close_connection(a, false);
	finish(a, &answer);
	buf_fini(&content);
}

static void read_answer(struct ask *a)
{
	struct http_head asked = { .method = SPAN("GET") }, head;
	struct http_refusal why;
	struct arena arena;
	const char *reason;
	int rc;

	switch (head_guard_feed(&a->guard, buf_span(&a->c.in), &reason)) {
	case GUARD_MORE:
		if (buf_len(&a->c.in) >= ASK_HEAD_BYTES)
			fail(a, ASK_UNREADABLE);
		return;
	case GUARD_REFUSED:
		fail(a, ASK_UNREADABLE);
		return;
	case GUARD_COMPLETE:
		break;
	}
	if (!a->head_us)
		a->head_us = clock_mono_us();
	arena_init(&arena, NULL, 0, 64 << 10);
	rc = http_response_parse(&arena, span_head(buf_span(&a->c.in), a->guard.seen), &asked, &head, &why);
	judge_head(a, rc, &head);
	arena_fini(&arena);
}

static void on_end(struct ask *a)
{
	if (!a->waiting)
		close_connection(a, false);
	else if (a->served && !buf_len(&a->c.in) && !io_is_refused(&a->c.io))
		connect_anew(a);
	else
		fail(a, ASK_BROKEN);
}

static void on_readable(struct io *io)
{
	struct ask *a = of_io(io);

	switch (conn_read(&a->c, ASK_HEAD_BYTES + a->most)) {
	case CONN_READ_SOME:
		if (a->waiting)
			read_answer(a);
		else
			close_connection(a, false); /* nobody asked for it */
		return;
	case CONN_READ_NONE:
		return;
	case CONN_READ_NOMEM:
		if (a->waiting)
			fail(a, ASK_NOT_ASKED);
		else
			close_connection(a, false);
		return;
	case CONN_READ_FULL:
	case CONN_READ_EOF:
	case CONN_READ_BROKEN:
		on_end(a);
		return;
	}
}

static void on_writable(struct io *io)
{
	struct ask *a = of_io(io);
	int rc;

	if (a->connected) {
		if (io_want_write(io, false) || conn_flush(&a->c))
			on_end(a);
		return;
	}
	rc = io_connected(io);
	if (rc == -EAGAIN)
		return;
	if (rc) {
		fail(a, rc == -ECONNREFUSED ? ASK_REFUSED : ASK_NO_CONNECTION);
		return;
	}
	if (io_want_write(io, false) || io_want_read(io, true)) {
		fail(a, ASK_NOT_ASKED);
		return;
	}
	a->connected = true;
	write_request(a);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

int ask_init(struct ask *a, struct io_loop *loop, const struct addr *to,
             void (*done)(struct ask *a, const struct ask_answer *answer))
{
	*a = (struct ask){ .loop = loop, .addr = *to, .done = done };
	buf_init(&a->request, NULL, 0);
	a->timer = evtimer_new(loop->base, on_timer, a);
	return a->timer ? 0 : ERR_NOMEM;
}

void ask_close(struct ask *a)
{
	a->waiting = false;
	if (a->timer)
		event_del(a->timer);
	close_connection(a, false);
}

void ask_fini(struct ask *a)
{
	ask_close(a);
	if (a->timer)
		event_free(a->timer);
	a->timer = NULL;
	buf_fini(&a->request);
}
