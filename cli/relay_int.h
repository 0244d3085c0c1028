/* Private to cli/relay*.c: the relay, its ports and its connections. */
#ifndef CLI_RELAY_INT_H
#define CLI_RELAY_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/arena.h"
#include "cli/relay.h"

#define WAITING_MAX ((size_t)65536) /* bytes of one side that wait here at most */

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

/* relay.c */

void relay_pause_listening(struct relay *r);
void relay_resume_listening(struct relay *r);

/* relay_conn.c: each but the first three may free the connection. */

void relay_conn_accept(struct port *port, int fd);
/* 0 seconds: none. */
void relay_conn_set_timer(struct conn *c, int seconds);
/* Throws away what the tool has sent. */
void relay_conn_discard(struct conn *c);
void relay_conn_free(struct conn *c);
/* Resets: the tool must not take what it has for a whole answer. */
void relay_conn_abort(struct conn *c);
/* The answer is complete in the client's output. */
void relay_conn_flush(struct conn *c);
void relay_conn_refuse(struct conn *c, unsigned status, const char *why);
/* 502: the origin could not be reached, or what it sent is no answer. */
void relay_conn_unreachable(struct conn *c, const char *why);

/* relay_pump.c */

/* Everything that can move now moves; may free the connection. */
void relay_pump(struct conn *c);
/* What a body is before its first byte. */
enum http_body_event relay_first_event(struct http_body *body);

static inline size_t relay_waiting(struct bufferevent *to)
{
	return evbuffer_get_length(bufferevent_get_output(to));
}

#endif
