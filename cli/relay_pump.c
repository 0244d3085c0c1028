/* Moving the bytes of a connection: request framing is followed to its end, response heads are
 * written anew, tunnels go unread. */
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "cli/relay_int.h"

/* One contiguous piece of what was read, at most what `to` may still take. */
static struct span next_piece(struct evbuffer *in, struct bufferevent *to)
{
	struct evbuffer_iovec piece = { NULL, 0 };
	size_t busy = relay_waiting(to), room = busy < WAITING_MAX ? WAITING_MAX - busy : 0;

	if (!room || evbuffer_peek(in, (ssize_t)room, NULL, &piece, 1) < 1 || !piece.iov_base)
		return span_make(NULL, 0);
	return span_make(piece.iov_base, piece.iov_len < room ? piece.iov_len : room);
}

static void pump_raw(struct bufferevent *from, struct bufferevent *to)
{
	size_t busy = relay_waiting(to);

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
		relay_conn_discard(c);
	if (c->request_done || c->server_dead)
		return true;
	event = pump_body(&c->request_body, c->client, c->server);
	if (event == HTTP_BODY_BAD) {
		if (c->answered)
			relay_conn_abort(c);
		else
			relay_conn_refuse(c, 400, "the body of the request is malformed");
		return false;
	}
	c->request_done = event == HTTP_BODY_END;
	if (c->request_done || !c->client_eof || evbuffer_get_length(bufferevent_get_input(c->client)))
		return true;
	relay_conn_abort(c); /* the tool left in the middle of its request: so does the origin's connection */
	return false;
}

static void begin_tunnel(struct conn *c)
{
	c->state = CONN_TUNNEL;
	relay_conn_set_timer(c, 0);
}

enum http_body_event relay_first_event(struct http_body *body)
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
	relay_conn_unreachable(c, why.reason ? why.reason : "out of memory");
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
			relay_conn_unreachable(c, why);
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
		relay_conn_flush(c);
	else if (c->answered)
		relay_conn_abort(c);
	else
		relay_conn_unreachable(c, c->server_broken ? c->why
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
		event = relay_first_event(&c->response_body); /* no body at all ends without a byte */
	if (event == HTTP_BODY_END)
		relay_conn_flush(c);
	else if (event == HTTP_BODY_BAD)
		relay_conn_abort(c);
	else if (c->server_eof && !evbuffer_get_length(in))
		end_of_server(c);
}

/* Half-closes `to` once everything from `from` is through; true then. */
static bool tunnel_half(struct bufferevent *from, struct bufferevent *to, bool eof)
{
	pump_raw(from, to);
	if (!eof || evbuffer_get_length(bufferevent_get_input(from)) || relay_waiting(to))
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
		relay_conn_free(c);
}

void relay_pump(struct conn *c)
{
	if (c->state == CONN_TUNNEL)
		pump_tunnel(c);
	else if (c->state == CONN_RELAY && pump_request(c))
		pump_response(c);
}
