/* The local proxy of `scopectl run`: this file listens, relay_conn.c leads a connection through its
 * life, relay_pump.c moves its bytes, relay_head.c judges and writes heads.
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
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cli/relay_int.h"
#include "cli/tls_client.h"

void relay_resume_listening(struct relay *r)
{
	if (!r->paused)
		return;
	r->paused = false;
	for (struct port *p = r->ports; p; p = p->next)
		evconnlistener_enable(p->listener);
}

void relay_pause_listening(struct relay *r)
{
	r->paused = true;
	for (struct port *p = r->ports; p; p = p->next)
		evconnlistener_disable(p->listener);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg)
{
	(void)listener;
	(void)sa;
	(void)len;
	relay_conn_accept(arg, fd);
}

/* Out of descriptors: wait until a connection has ended. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct port *port = arg;

	(void)listener;
	if (port->relay->conns)
		relay_pause_listening(port->relay);
}

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
		relay_conn_free((*r)->conns); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
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
