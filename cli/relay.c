/* The local proxy of `scopectl run`.
 *
 * A connection carries one request and passes these states:
 *
 *	HEAD     the tool's head arrives
 *	DIAL     look-up and connecting; the tool's body waits in the kernel and in at most 64 KiB here
 *	TLS      handshake (--map to https only)
 *	RELAY    bytes both ways: request framing is followed to its end, response heads are read and
 *	         written anew, response bodies followed to theirs
 *	TUNNEL   bytes both ways unread, until both sides are finished (CONNECT, 101)
 *	FLUSH    the answer is complete; what is left of it goes out
 *	LINGER   our side is shut; what the tool still sends is thrown away until it closes or 2 s pass
 *	         (closing with unread bytes would reset the answer away)
 *
 * Bounds: a side is not read while 64 KiB of it wait, and nothing is moved to a side that has 64
 * KiB to write.  Timers: HEAD and LINGER have one, DIAL has that of the dial, TLS and FLUSH one;
 * RELAY and TUNNEL have none, since a tool may wait for an answer as long as it likes, and ends
 * them by ending. Bufferevents defer their callbacks, so freeing one inside a callback is safe.
 *
 * A response that ends early is passed on as broken: the tool's connection is reset, never closed
 * cleanly (a close would complete a close-delimited body). */
#include "cli/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "cli/dial.h"
#include "cli/tls_client.h"

#define WAITING_MAX ((size_t)65536)
#define WAITING_LOW ((size_t)16384)
#define CONNECTIONS_MAX 400
#define HEAD_SECONDS 60
#define DIAL_MS 30000
#define TLS_SECONDS 30
#define FLUSH_SECONDS 60
#define LINGER_SECONDS 2

struct port {
	struct relay *relay;
	struct evconnlistener *listener;
	bool mapped, tls;
	struct relay_host host; /* of a map */
	char authority[RELAY_HOST_BYTES + 16];
	struct port *next;
};

struct relay {
	struct event_base *base;
	const struct relay_rules *rules;
	bool verbose, paused;
	struct ssl_ctx_st *tls;
	struct port *ports;
	struct conn *conns;
	unsigned conn_count;
	struct relay_counts counts;
};

enum conn_state { CONN_HEAD, CONN_DIAL, CONN_TLS, CONN_RELAY, CONN_TUNNEL, CONN_FLUSH, CONN_LINGER };

struct conn {
	struct relay *relay;
	const struct port *port;
	enum conn_state state;
	struct bufferevent *client, *server;
	struct event *timer;
	struct dial *dial;
	struct relay_host host;
	struct head_guard guard; /* of the request, then of each response head */
	struct buf head;         /* bytes that request points into */
	struct arena arena;
	struct http_head request;
	struct buf out;          /* the head for the origin, until connected */
	struct http_body request_body, response_body;
	bool request_done, answered, in_response_body;
	bool client_eof, server_eof;
	bool server_dead;   /* takes no more bytes */
	bool server_broken; /* its end was no clean one */
	char why[256];      /* how it broke */
	struct conn *prev, *next;
};

static void set_timer(struct conn *c, int seconds)
{
	struct timeval tv = { seconds, 0 };

	if (seconds)
		event_add(c->timer, &tv);
	else
		event_del(c->timer);
}

static void resume_listening(struct relay *r)
{
	if (!r->paused)
		return;
	r->paused = false;
	for (struct port *p = r->ports; p; p = p->next)
		evconnlistener_enable(p->listener);
}

static void pause_listening(struct relay *r)
{
	r->paused = true;
	for (struct port *p = r->ports; p; p = p->next)
		evconnlistener_disable(p->listener);
}

static void server_free(struct conn *c)
{
	if (c->server)
		bufferevent_free(c->server);
	c->server = NULL;
}

static void conn_free(struct conn *c)
{
	struct relay *r = c->relay;

	dial_cancel(&c->dial);
	server_free(c);
	if (c->client)
		bufferevent_free(c->client);
	if (c->timer)
		event_free(c->timer);
	http_body_fini(&c->request_body);
	http_body_fini(&c->response_body);
	buf_fini(&c->head);
	buf_fini(&c->out);
	arena_fini(&c->arena);
	if (c->prev)
		c->prev->next = c->next;
	else
		r->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	r->conn_count--;
	free(c);
	resume_listening(r);
}

/* The tool must not take what it has for a whole answer. */
static void conn_abort(struct conn *c)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(bufferevent_getfd(c->client), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	conn_free(c);
}

static size_t waiting(struct bufferevent *to)
{
	return evbuffer_get_length(bufferevent_get_output(to));
}

static void discard_input(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->client);

	evbuffer_drain(in, evbuffer_get_length(in));
}

static void linger(struct conn *c)
{
	c->state = CONN_LINGER;
	shutdown(bufferevent_getfd(c->client), SHUT_WR);
	discard_input(c);
	if (c->client_eof)
		conn_free(c);
	else
		set_timer(c, LINGER_SECONDS);
}

/* The answer is complete in the client's output. */
static void flush(struct conn *c)
{
	server_free(c);
	discard_input(c);
	c->state = CONN_FLUSH;
	set_timer(c, FLUSH_SECONDS);
	if (!waiting(c->client))
		linger(c);
}

static void answer_problem(struct conn *c, const struct problem *problem)
{
	struct buf out;

	if (c->relay->verbose)
		cli_complain("answered %u: %s", problem->status, problem->detail ? problem->detail : "");
	buf_init(&out, NULL, 0);
	relay_problem_write(problem, &out);
	if (out.failed || bufferevent_write(c->client, buf_span(&out).p, buf_len(&out))) {
		buf_fini(&out);
		conn_abort(c);
		return;
	}
	buf_fini(&out);
	flush(c);
}

static void answer_refused(struct conn *c, unsigned status, const char *why)
{
	const struct problem problem = { .status = status, .type = "bad-request", .detail = why,
	                                 .elapsed_ms = -1 };

	answer_problem(c, &problem);
}

/* 502: the origin could not be reached, or what it sent is no answer. */
static void answer_unreachable(struct conn *c, const char *why)
{
	char detail[RELAY_HOST_BYTES + 320];
	const struct problem problem = { .status = 502, .type = "unreachable", .detail = detail,
	                                 .elapsed_ms = -1 };

	snprintf(detail, sizeof(detail), "%s port %u: %s", c->host.name, c->host.port, why);
	if (c->answered || c->state == CONN_TUNNEL)
		conn_abort(c);
	else
		answer_problem(c, &problem);
}

/* ---- moving bytes ------------------------------------------------------------------------------ */

/* One contiguous piece of what was read, at most what `to` may still take. */
static struct span next_piece(struct evbuffer *in, struct bufferevent *to)
{
	struct evbuffer_iovec piece = { NULL, 0 };
	size_t busy = waiting(to), room = busy < WAITING_MAX ? WAITING_MAX - busy : 0;

	if (!room || evbuffer_peek(in, (ssize_t)room, NULL, &piece, 1) < 1 || !piece.iov_base)
		return span_make(NULL, 0);
	return span_make(piece.iov_base, piece.iov_len < room ? piece.iov_len : room);
}

static void pump_raw(struct bufferevent *from, struct bufferevent *to)
{
	size_t busy = waiting(to);

	if (busy < WAITING_MAX)
		evbuffer_remove_buffer(bufferevent_get_input(from), bufferevent_get_output(to),
		                       WAITING_MAX - busy);
}

/* Follows the framing over one piece and moves the bytes that belong to this message.
 * HTTP_BODY_MORE, _END or _BAD. */
static enum http_body_event pump_piece(struct http_body *body, struct span piece, struct evbuffer *in,
                                       struct bufferevent *to)
{
	enum http_body_event event;
	struct span rest = piece, data;
	const char *why;

	do
		event = http_body_next(body, &rest, &data, &why);
	while (event == HTTP_BODY_DATA);
	if (event != HTTP_BODY_BAD)
		evbuffer_remove_buffer(in, bufferevent_get_output(to), piece.n - rest.n);
	return event;
}

/* HTTP_BODY_MORE: as far as it goes now. */
static enum http_body_event pump_body(struct http_body *body, struct bufferevent *from,
                                      struct bufferevent *to)
{
	struct evbuffer *in = bufferevent_get_input(from);
	enum http_body_event event = HTTP_BODY_MORE;
	struct span piece;

	while (event == HTTP_BODY_MORE && (piece = next_piece(in, to)).n)
		event = pump_piece(body, piece, in, to);
	return event;
}

/* False when the connection is gone. */
static bool pump_request(struct conn *c)
{
	enum http_body_event event;

	if (c->server_dead)
		discard_input(c);
	if (c->request_done || c->server_dead)
		return true;
	event = pump_body(&c->request_body, c->client, c->server);
	if (event == HTTP_BODY_BAD) {
		if (c->answered)
			conn_abort(c);
		else
			answer_refused(c, 400, "the body of the request is malformed");
		return false;
	}
	c->request_done = event == HTTP_BODY_END;
	if (c->request_done || !c->client_eof || evbuffer_get_length(bufferevent_get_input(c->client)))
		return true;
	conn_abort(c); /* the tool left in the middle of its request: so does the origin's connection */
	return false;
}

static void begin_tunnel(struct conn *c)
{
	c->state = CONN_TUNNEL;
	set_timer(c, 0);
}

static enum http_body_event first_event(struct http_body *body)
{
	struct span nothing = { "", 0 }, data;
	const char *why;

	return http_body_next(body, &nothing, &data, &why);
}

/* A whole head of the origin: parsed, written anew. False when the connection is gone. */
static bool take_response_head(struct conn *c, struct span raw)
{
	struct http_refusal why = { 0 };
	struct http_head head;
	struct arena arena;
	struct buf out;
	int rc;

	arena_init(&arena, NULL, 0, 0);
	buf_init(&out, NULL, 0);
	rc = http_response_parse(&arena, raw, &c->request, &head, &why);
	if (rc == 0) {
		relay_response_write(&head, &out);
		rc = out.failed ? ERR_NOMEM
		                : bufferevent_write(c->client, buf_span(&out).p, buf_len(&out));
	}
	buf_fini(&out);
	if (rc == 0 && head.status == 101)
		begin_tunnel(c);
	else if (rc == 0 && head.status >= 200) {
		c->answered = c->in_response_body = true;
		http_body_init(&c->response_body, head.framing, head.content_length);
	}
	arena_fini(&arena);
	if (rc == 0)
		return true;
	answer_unreachable(c, why.reason ? why.reason : "out of memory");
	return false;
}

/* GONE: the conn may be freed. */
enum heads { HEADS_READY, HEADS_WAIT, HEADS_GONE };

/* Heads of the origin, interim ones included, up to that of the answer. */
static enum heads pump_response_heads(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->server);

	while (!c->in_response_body && c->state == CONN_RELAY) {
		size_t len = evbuffer_get_length(in);
		const char *why = "its answer has too large a head";
		const char *bytes = len ? (const char *)evbuffer_pullup(in, -1) : NULL;
		enum guard_verdict verdict;

		if (!bytes)
			return HEADS_WAIT;
		verdict = head_guard_feed(&c->guard, span_make(bytes, len), &why);
		if (verdict == GUARD_MORE && len < WAITING_MAX)
			return HEADS_WAIT;
		if (verdict != GUARD_COMPLETE) {
			answer_unreachable(c, why);
			return HEADS_GONE;
		}
		if (!take_response_head(c, span_make(bytes, c->guard.seen)))
			return HEADS_GONE;
		evbuffer_drain(in, c->guard.seen);
		c->guard = (struct head_guard){ 0 };
	}
	return HEADS_READY;
}

static void end_of_server(struct conn *c)
{
	if (c->in_response_body && !c->server_broken && http_body_closed(&c->response_body))
		flush(c);
	else if (c->answered)
		conn_abort(c);
	else
		answer_unreachable(c, c->server_broken ? c->why
		                                       : "the connection was closed before an answer");
}

static void pump_tunnel(struct conn *c);

static void pump_response(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->server);
	enum http_body_event event;
	enum heads heads = pump_response_heads(c);

	if (heads == HEADS_WAIT && c->server_eof)
		end_of_server(c);
	if (heads != HEADS_READY)
		return;
	if (c->state == CONN_TUNNEL) {
		pump_tunnel(c);
		return;
	}
	event = pump_body(&c->response_body, c->server, c->client);
	if (event == HTTP_BODY_MORE && !evbuffer_get_length(in))
		event = first_event(&c->response_body); /* no body at all ends without a byte */
	if (event == HTTP_BODY_END)
		flush(c);
	else if (event == HTTP_BODY_BAD)
		conn_abort(c);
	else if (c->server_eof && !evbuffer_get_length(in))
		end_of_server(c);
}

/* Half-closes `to` once everything from `from` is through; true then. */
static bool tunnel_half(struct bufferevent *from, struct bufferevent *to, bool eof)
{
	pump_raw(from, to);
	if (!eof || evbuffer_get_length(bufferevent_get_input(from)) || waiting(to))
		return false;
	if (!bufferevent_openssl_get_ssl(to))
		shutdown(bufferevent_getfd(to), SHUT_WR);
	return true;
}

static void pump_tunnel(struct conn *c)
{
	bool up = tunnel_half(c->client, c->server, c->client_eof);
	bool down = tunnel_half(c->server, c->client, c->server_eof);

	if (up && down)
		conn_free(c);
}

/* Everything that can move now moves. */
static void pump(struct conn *c)
{
	if (c->state == CONN_TUNNEL)
		pump_tunnel(c);
	else if (c->state == CONN_RELAY && pump_request(c))
		pump_response(c);
}

/* ---- towards the origin --------------------------------------------------------------------- */

static void connected(struct conn *c)
{
	static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

	set_timer(c, 0);
	c->guard = (struct head_guard){ 0 };
	if (c->request.is_connect) {
		c->state = CONN_TUNNEL;
		bufferevent_write(c->client, established, sizeof(established) - 1);
	} else {
		c->state = CONN_RELAY;
		bufferevent_write(c->server, buf_span(&c->out).p, buf_len(&c->out));
		buf_fini(&c->out);
		c->request_done = first_event(&c->request_body) == HTTP_BODY_END;
	}
	pump(c);
}

static void server_failed(struct conn *c, short what)
{
	if (c->port->tls)
		tls_client_why(c->server, c->why, sizeof(c->why));
	else
		snprintf(c->why, sizeof(c->why), "%s",
		         evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
	if (c->state != CONN_RELAY) {
		answer_unreachable(c, c->why);
		return;
	}
	/* What it sent before it broke is still passed on; it may have answered before it stopped
	 * taking our bytes. */
	c->server_dead = true;
	if (!(what & BEV_EVENT_WRITING))
		c->server_eof = c->server_broken = true;
	pump(c);
}

static void on_server_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		if (c->state == CONN_TLS)
			connected(c);
		return;
	}
	if ((what & BEV_EVENT_EOF) && c->state != CONN_TLS) {
		c->server_eof = true;
		pump(c);
	} else {
		server_failed(c, what);
	}
}

static void on_server_bytes(struct bufferevent *bev, void *arg)
{
	(void)bev;
	pump(arg);
}

static bool open_server(struct conn *c, int fd)
{
	const int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;

	if (c->port->tls) {
		SSL *ssl = tls_client_session(c->relay->tls, c->host.name);

		if (ssl)
			c->server = bufferevent_openssl_socket_new(c->relay->base, fd, ssl,
			                                           BUFFEREVENT_SSL_CONNECTING, options);
		if (ssl && !c->server)
			SSL_free(ssl);
	} else {
		c->server = bufferevent_socket_new(c->relay->base, fd, options);
	}
	if (!c->server)
		return false;
	bufferevent_setwatermark(c->server, EV_READ, 0, WAITING_MAX);
	bufferevent_setwatermark(c->server, EV_WRITE, WAITING_LOW, 0);
	bufferevent_setcb(c->server, on_server_bytes, on_server_bytes, on_server_event, c);
	return bufferevent_enable(c->server, EV_READ | EV_WRITE) == 0;
}

static void on_dialled(void *arg, int fd, const char *why)
{
	struct conn *c = arg;

	c->dial = NULL;
	if (fd < 0) {
		answer_unreachable(c, why);
		return;
	}
	if (!open_server(c, fd)) {
		if (!c->server)
			evutil_closesocket(fd);
		answer_unreachable(c, err_text(ERR_NOMEM));
	} else if (c->port->tls) {
		c->state = CONN_TLS;
		set_timer(c, TLS_SECONDS);
	} else {
		connected(c);
	}
}

/* ---- the tool's request ------------------------------------------------------------------------- */

static void tell(const struct conn *c, bool scoped)
{
	if (!c->relay->verbose)
		return;
	cli_complain("%.*s %s port %u%s: %s", SPAN_ARG(c->request.method), c->host.name, c->host.port,
	             c->port->mapped ? " (--map)" : "",
	             c->request.is_connect ? "tunnel, passed through unread"
	             : scoped              ? "scope added"
	                                   : "passed on unchanged");
}

static void dial_origin(struct conn *c)
{
	c->state = CONN_DIAL;
	set_timer(c, 0);
	c->dial = dial_start(c->relay->base, c->host.name, c->host.port, DIAL_MS, on_dialled, c);
	if (!c->dial)
		answer_unreachable(c, err_text(ERR_NOMEM));
}

static void take_request(struct conn *c)
{
	struct relay *r = c->relay;
	bool scoped = c->port->mapped || relay_rules_scope_host(r->rules, &c->host);
	struct span host = c->port->mapped ? span_of(c->port->authority) : c->request.authority;

	if (c->request.is_connect) {
		r->counts.tunnels++;
	} else {
		r->counts.scoped += scoped;
		r->counts.plain += !scoped;
		relay_request_write(&c->request, host, scoped ? r->rules->scope : SPAN(""), &c->out);
		http_body_init(&c->request_body, c->request.framing, c->request.content_length);
	}
	tell(c, scoped);
	if (c->out.failed)
		answer_refused(c, 500, err_text(ERR_NOMEM));
	else
		dial_origin(c);
}

static void read_request(struct conn *c)
{
	struct http_refusal why = { 400, "out of memory" };
	struct problem problem;

	if (http_request_parse(&c->arena, buf_span(&c->head), &c->request, &why)) {
		answer_refused(c, why.status, why.reason);
		return;
	}
	if (c->port->mapped) {
		c->host = c->port->host;
		if (c->request.is_connect)
			answer_refused(c, 400, "this address stands for an endpoint and is no proxy");
		else
			take_request(c);
		return;
	}
	if (relay_request_judge(c->relay->rules, &c->request, &c->host, &problem))
		answer_problem(c, &problem);
	else
		take_request(c);
}

static void feed_head(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->client);
	size_t len = evbuffer_get_length(in), blank;
	const char *bytes = (const char *)evbuffer_pullup(in, -1), *why = "the head is too large";
	enum guard_verdict verdict;

	blank = bytes && !c->guard.seen ? http_skip_blank_lines(span_make(bytes, len)) : 0;
	if (blank) {
		evbuffer_drain(in, blank);
		len -= blank;
		bytes = len ? (const char *)evbuffer_pullup(in, -1) : NULL;
	}
	if (!bytes)
		return;
	verdict = head_guard_feed(&c->guard, span_make(bytes, len), &why);
	if (verdict == GUARD_MORE && len < WAITING_MAX)
		return;
	if (verdict != GUARD_COMPLETE) {
		answer_refused(c, verdict == GUARD_MORE ? 431 : 400, why);
		return;
	}
	buf_add(&c->head, bytes, c->guard.seen);
	evbuffer_drain(in, c->guard.seen);
	if (c->head.failed)
		conn_abort(c);
	else
		read_request(c);
}

static void on_client_bytes(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	switch (c->state) {
	case CONN_HEAD:
		feed_head(c);
		break;
	case CONN_FLUSH:
	case CONN_LINGER:
		discard_input(c);
		break;
	case CONN_DIAL:
	case CONN_TLS:
		break;
	default:
		pump(c);
	}
}

static void on_client_written(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->state == CONN_FLUSH && !waiting(c->client))
		linger(c);
	else if (c->state == CONN_RELAY || c->state == CONN_TUNNEL)
		pump(c);
}

static void on_client_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF)) {
		conn_free(c);
		return;
	}
	c->client_eof = true;
	if (c->state == CONN_HEAD || c->state == CONN_LINGER)
		conn_free(c);
	else if (c->state == CONN_RELAY || c->state == CONN_TUNNEL)
		pump(c);
	/* DIAL, TLS: a tool may close its half behind the request; FLUSH goes on. */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == CONN_HEAD && evbuffer_get_length(bufferevent_get_input(c->client)))
		answer_refused(c, 408, "the head of the request did not come in time");
	else if (c->state == CONN_TLS)
		answer_unreachable(c, err_text(ERR_TIMEOUT));
	else
		conn_free(c);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg)
{
	struct port *port = arg;
	struct relay *r = port->relay;
	struct conn *c = calloc(1, sizeof(*c));
	int on = 1;

	(void)listener;
	(void)sa;
	(void)len;
	if (!c) {
		evutil_closesocket(fd);
		return;
	}
	c->relay = r;
	c->port = port;
	c->next = r->conns;
	if (c->next)
		c->next->prev = c;
	r->conns = c;
	buf_init(&c->head, NULL, 0);
	buf_init(&c->out, NULL, 0);
	arena_init(&c->arena, NULL, 0, 0);
	if (++r->conn_count >= CONNECTIONS_MAX)
		pause_listening(r);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->timer = evtimer_new(r->base, on_timer, c);
	c->client = bufferevent_socket_new(r->base, fd,
	                                   BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!c->client)
		evutil_closesocket(fd);
	if (!c->client || !c->timer) {
		conn_free(c);
		return;
	}
	bufferevent_setwatermark(c->client, EV_READ, 0, WAITING_MAX);
	bufferevent_setcb(c->client, on_client_bytes, on_client_written, on_client_event, c);
	set_timer(c, HEAD_SECONDS);
	bufferevent_enable(c->client, EV_READ | EV_WRITE);
}

/* Out of descriptors: wait until a connection has ended. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct port *port = arg;

	(void)listener;
	if (port->relay->conns)
		pause_listening(port->relay);
}

/* ---- the relay -------------------------------------------------------------------------------------- */

struct relay *relay_new(struct event_base *base, const struct relay_rules *rules, bool verbose)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->base = base;
	r->rules = rules;
	r->verbose = verbose;
	return r;
}

void relay_free(struct relay **r)
{
	struct port *port;

	if (!*r)
		return;
	while ((*r)->conns)
		conn_free((*r)->conns); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
	while ((port = (*r)->ports)) {
		(*r)->ports = port->next;
		if (port->listener)
			evconnlistener_free(port->listener);
		free(port);
	}
	SSL_CTX_free((*r)->tls);
	free(*r);
	*r = NULL;
}

static int open_port(struct relay *r, struct port *port, uint16_t *port_r, struct err *e)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	port->relay = r;
	port->next = r->ports;
	r->ports = port;
	port->listener = evconnlistener_new_bind(r->base, on_accept, port,
	                                         LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128,
	                                         (struct sockaddr *)&sin, sizeof(sin));
	if (!port->listener ||
	    getsockname(evconnlistener_get_fd(port->listener), (struct sockaddr *)&sin, &len)) {
		return err_set(e, err_from_errno(errno), "cannot listen on 127.0.0.1: %s",
		               strerror(errno));
	}
	evconnlistener_set_error_cb(port->listener, on_accept_error);
	*port_r = ntohs(sin.sin_port);
	return 0;
}

int relay_listen(struct relay *r, uint16_t *port_r, struct err *e)
{
	struct port *port = calloc(1, sizeof(*port));

	if (!port)
		return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	return open_port(r, port, port_r, e);
}

int relay_map(struct relay *r, const struct relay_host *host, struct span authority, bool tls,
              uint16_t *port_r, struct err *e)
{
	struct port *port = calloc(1, sizeof(*port));

	if (tls && !r->tls)
		r->tls = tls_client_new();
	if (!port || (tls && !r->tls)) {
		free(port);
		return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	port->mapped = true;
	port->tls = tls;
	port->host = *host;
	snprintf(port->authority, sizeof(port->authority), "%.*s", SPAN_ARG(authority));
	return open_port(r, port, port_r, e);
}

struct relay_counts relay_counts_get(const struct relay *r)
{
	return r->counts;
}
