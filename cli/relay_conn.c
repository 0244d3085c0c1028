/* A connection of the relay: from the tool's head to the last byte of the answer, its timers and its
 * ends (the states are in relay.c). */
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "cli/cli.h"
#include "cli/dial.h"
#include "cli/relay_int.h"
#include "cli/tls_client.h"

#define WAITING_LOW ((size_t)16384)
#define CONNECTIONS_MAX 400
#define HEAD_SECONDS 60
#define DIAL_MS 30000
#define TLS_SECONDS 30
#define FLUSH_SECONDS 60
#define LINGER_SECONDS 2

void relay_conn_set_timer(struct conn *c, int seconds)
{
	struct timeval tv = { seconds, 0 };

	if (seconds)
		event_add(c->timer, &tv);
	else
		event_del(c->timer);
}

static void server_free(struct conn *c)
{
	if (c->server)
		bufferevent_free(c->server);
	c->server = NULL;
}

void relay_conn_free(struct conn *c)
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
	relay_resume_listening(r);
}

void relay_conn_abort(struct conn *c)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(bufferevent_getfd(c->client), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	relay_conn_free(c);
}

void relay_conn_discard(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->client);

	evbuffer_drain(in, evbuffer_get_length(in));
}

static void linger(struct conn *c)
{
	c->state = CONN_LINGER;
	shutdown(bufferevent_getfd(c->client), SHUT_WR);
	relay_conn_discard(c);
	if (c->client_eof)
		relay_conn_free(c);
	else
		relay_conn_set_timer(c, LINGER_SECONDS);
}

void relay_conn_flush(struct conn *c)
{
	server_free(c);
	relay_conn_discard(c);
	c->state = CONN_FLUSH;
	relay_conn_set_timer(c, FLUSH_SECONDS);
	if (!relay_waiting(c->client))
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
		relay_conn_abort(c);
		return;
	}
	buf_fini(&out);
	relay_conn_flush(c);
}

void relay_conn_refuse(struct conn *c, unsigned status, const char *why)
{
	const struct problem problem = { .status = status, .type = "bad-request", .detail = why,
	                                 .elapsed_ms = -1 };

	answer_problem(c, &problem);
}

void relay_conn_unreachable(struct conn *c, const char *why)
{
	char detail[RELAY_HOST_BYTES + 320];
	const struct problem problem = { .status = 502, .type = "unreachable", .detail = detail,
	                                 .elapsed_ms = -1 };

	snprintf(detail, sizeof(detail), "%s port %u: %s", c->host.name, c->host.port, why);
	if (c->answered || c->state == CONN_TUNNEL)
		relay_conn_abort(c);
	else
		answer_problem(c, &problem);
}

/* ---- towards the origin --------------------------------------------------------------------- */

static void connected(struct conn *c)
{
	static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

	relay_conn_set_timer(c, 0);
	c->guard = (struct head_guard){ 0 };
	if (c->request.is_connect) {
		c->state = CONN_TUNNEL;
		bufferevent_write(c->client, established, sizeof(established) - 1);
	} else {
		c->state = CONN_RELAY;
		bufferevent_write(c->server, buf_span(&c->out).p, buf_len(&c->out));
		buf_fini(&c->out);
		c->request_done = relay_first_event(&c->request_body) == HTTP_BODY_END;
	}
	relay_pump(c);
}

static void server_failed(struct conn *c, short what)
{
	if (c->port->tls)
		tls_client_why(c->server, c->why, sizeof(c->why));
	else
		snprintf(c->why, sizeof(c->why), "%s",
		         evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
	if (c->state != CONN_RELAY) {
		relay_conn_unreachable(c, c->why);
		return;
	}
	/* What it sent before it broke is still passed on; it may have answered before it stopped
	 * taking our bytes. */
	c->server_dead = true;
	if (!(what & BEV_EVENT_WRITING))
		c->server_eof = c->server_broken = true;
	relay_pump(c);
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
		relay_pump(c);
	} else {
		server_failed(c, what);
	}
}

static void on_server_bytes(struct bufferevent *bev, void *arg)
{
	(void)bev;
	relay_pump(arg);
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
		relay_conn_unreachable(c, why);
		return;
	}
	if (!open_server(c, fd)) {
		if (!c->server)
			evutil_closesocket(fd);
		relay_conn_unreachable(c, err_text(ERR_NOMEM));
	} else if (c->port->tls) {
		c->state = CONN_TLS;
		relay_conn_set_timer(c, TLS_SECONDS);
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
	relay_conn_set_timer(c, 0);
	c->dial = dial_start(c->relay->base, c->host.name, c->host.port, DIAL_MS, on_dialled, c);
	if (!c->dial)
		relay_conn_unreachable(c, err_text(ERR_NOMEM));
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
		relay_conn_refuse(c, 500, err_text(ERR_NOMEM));
	else
		dial_origin(c);
}

static void read_request(struct conn *c)
{
	struct http_refusal why = { 400, "out of memory" };
	struct problem problem;

	if (http_request_parse(&c->arena, buf_span(&c->head), &c->request, &why)) {
		relay_conn_refuse(c, why.status, why.reason);
		return;
	}
	if (c->port->mapped) {
		c->host = c->port->host;
		if (c->request.is_connect)
			relay_conn_refuse(c, 400, "this address stands for an endpoint and is no proxy");
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
		relay_conn_refuse(c, verdict == GUARD_MORE ? 431 : 400, why);
		return;
	}
	buf_add(&c->head, bytes, c->guard.seen);
	evbuffer_drain(in, c->guard.seen);
	if (c->head.failed)
		relay_conn_abort(c);
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
		relay_conn_discard(c);
		break;
	case CONN_DIAL:
	case CONN_TLS:
		break;
	default:
		relay_pump(c);
	}
}

static void on_client_written(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->state == CONN_FLUSH && !relay_waiting(c->client))
		linger(c);
	else if (c->state == CONN_RELAY || c->state == CONN_TUNNEL)
		relay_pump(c);
}

static void on_client_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF)) {
		relay_conn_free(c);
		return;
	}
	c->client_eof = true;
	if (c->state == CONN_HEAD || c->state == CONN_LINGER)
		relay_conn_free(c);
	else if (c->state == CONN_RELAY || c->state == CONN_TUNNEL)
		relay_pump(c);
	/* DIAL, TLS: a tool may close its half behind the request; FLUSH goes on. */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == CONN_HEAD && evbuffer_get_length(bufferevent_get_input(c->client)))
		relay_conn_refuse(c, 408, "the head of the request did not come in time");
	else if (c->state == CONN_TLS)
		relay_conn_unreachable(c, err_text(ERR_TIMEOUT));
	else
		relay_conn_free(c);
}

void relay_conn_accept(struct port *port, int fd)
{
	struct relay *r = port->relay;
	struct conn *c = calloc(1, sizeof(*c));
	int on = 1;

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
		relay_pause_listening(r);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->timer = evtimer_new(r->base, on_timer, c);
	c->client = bufferevent_socket_new(r->base, fd,
	                                   BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!c->client)
		evutil_closesocket(fd);
	if (!c->client || !c->timer) {
		relay_conn_free(c);
		return;
	}
	bufferevent_setwatermark(c->client, EV_READ, 0, WAITING_MAX);
	bufferevent_setcb(c->client, on_client_bytes, on_client_written, on_client_event, c);
	relay_conn_set_timer(c, HEAD_SECONDS);
	bufferevent_enable(c->client, EV_READ | EV_WRITE);
}
