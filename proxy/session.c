/* Transitions of a session, and what holds in each state:
 *
 *	IDLE --bytes--> HEAD --whole head--> BUSY --answered, keep--> IDLE (or HEAD: pipelined bytes)
 *	  \              \                     \--answered, close--> LINGER --> DEAD
 *	   +--------------+------- end, error, deadline -----------> DEAD
 *
 * IDLE: in and out are empty and own no memory; deadline idle.  HEAD: deadline header, which is not
 * renewed by further bytes (a head has to be complete in time).  BUSY: x is set, its machine owns the
 * deadline.  LINGER: our side is shut down and the client's rest is read and dropped, for a while, since
 * closing with unread bytes would reset the connection and may destroy the answer (RFC 9112 9.6).  A client that
 * asked for the close has nothing more to send: there is nothing to wait for, and nothing is waited for. */
#include "proxy/session.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/client_table.h"
#include "proxy/descriptors.h"
#include "proxy/exchange.h"
#include "proxy/io_tls.h"

/* What a client may still send after an answer that ends the connection, within the linger deadline: most send all they
 * have before they listen. */
#define LINGER_BYTES (64u << 20)

static void on_readable(struct io *io);
static void on_writable(struct io *io);
static void refuse(struct session *s, unsigned status, const char *type, const char *detail);

const struct io_handler session_io_handler = { on_readable, on_writable };

/* Of all workers, for limits.connections. */
static _Atomic uint64_t open_sessions;

uint64_t session_count_all(void)
{
	return atomic_load_explicit(&open_sessions, memory_order_relaxed);
}

static struct session *of_io(struct io *io)
{
	return (struct session *)(void *)io;
}

void session_peer(const struct session *s, struct addr *addr_r)
{
	memset(addr_r, 0, sizeof(*addr_r));
	addr_r->len = s->peer.sa.sa_family == AF_INET6 ? sizeof(s->peer.v6) : sizeof(s->peer.v4);
	if (s->peer.sa.sa_family == AF_UNIX)
		addr_r->len = sizeof(sa_family_t);
	memcpy(&addr_r->ss, &s->peer, addr_r->len);
}

/* An IPv4 client of a listener for both is known by its IPv4 address, in logs, fields and lists of addresses. */
static void keep_peer(struct session *s, const struct addr *peer)
{
	struct addr plain = *peer;

	addr_unmap(&plain);
	peer = &plain;
	memset(&s->peer, 0, sizeof(s->peer));
	if (peer->ss.ss_family == AF_INET)
		memcpy(&s->peer.v4, &peer->ss, sizeof(s->peer.v4));
	else if (peer->ss.ss_family == AF_INET6)
		memcpy(&s->peer.v6, &peer->ss, sizeof(s->peer.v6));
	else
		s->peer.sa.sa_family = AF_UNIX;
}

struct session *session_new(struct listener *l, const struct addr *peer)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->worker = l->worker;
	s->listener = l;
	l->sessions++;
	s->kind = (uint8_t)l->kind;
	keep_peer(s, peer);
	buf_init(&s->c.in, &s->worker->blocks, 0);
	buf_init(&s->c.out, &s->worker->blocks, 0);
	return s;
}

static void session_free(struct session *s)
{
	struct addr peer;

	if (s->counted) {
		session_peer(s, &peer);
		client_leave(&peer);
	}
	listener_release(s->listener);
	free(s);
}

/* There is no memory to hear more of it. */
static void give_up(struct session *s)
{
	if (s->state != SESSION_BUSY && s->c.io.ops->is_socket)
		exchange_say_sorry(s->c.io.fd);
	session_abort(s);
}

/* Most clients have sent their request by the time they are accepted, and many connections carry but one: when that
 * is whole and answered within a tick, the event loop never hears of the descriptor. */
static void watch_new(struct session *s)
{
	struct worker *w = s->worker;

	if (s->state == SESSION_DEAD || s->c.io.reading)
		return;
	if (s->state == SESSION_BUSY && exchange_has_whole_request(s->x)) {
		s->unwatched = true;
		TAILQ_INSERT_TAIL(&w->unwatched_sessions, s, ready_link);
	} else if (!s->c.eof && s->state != SESSION_LINGER && io_want_read(&s->c.io, true)) {
		give_up(s);
	}
}

static void leave_unwatched(struct session *s)
{
	if (s->unwatched)
		TAILQ_REMOVE(&s->worker->unwatched_sessions, s, ready_link);
	s->unwatched = false;
}

void sessions_watch(struct worker *w)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&w->unwatched_sessions))) {
		leave_unwatched(s);
		if (!s->c.eof && io_want_read(&s->c.io, true))
			session_abort(s);
	}
}

static void enlist(struct session *s)
{
	struct worker *w = s->worker;

	TAILQ_INSERT_TAIL(&w->sessions, s, link);
	if (s->kind == LISTEN_INNER) /* neither a client nor a descriptor */
		return;
	atomic_fetch_add_explicit(&open_sessions, 1, memory_order_relaxed);
	descriptors_add(1);
	counter_add(&w->stats.accepted, 1);
	counter_add(&w->stats.connections_client, 1);
}

void session_begin(struct session *s)
{
	enlist(s);
	worker_deadline(s->worker, &s->deadline, DEADLINE_HEADER, clock_mono_us());
	on_readable(&s->c.io);
	watch_new(s);
}

/* The request, where it is here already, is read and dropped: a close with unread bytes would take the answer along. */
static void begin_refused(struct session *s, const char *why)
{
	enlist(s);
	s->refused = true;
	if (conn_read(&s->c, CONN_BLOCK) >= CONN_READ_BROKEN) {
		session_close(s, false);
		return;
	}
	buf_fini(&s->c.in);
	refuse(s, 503, "too-many-connections", why);
}

/* There is no room or no memory for it: the close, with a word where that costs no handshake. */
static void turn_away(int fd, const struct addr *peer, bool counted, bool tls)
{
	if (!tls)
		exchange_say_sorry(fd);
	close(fd);
	if (counted)
		client_leave(peer);
}

void session_accept(struct listener *l, int fd, const struct addr *peer, bool counted, const char *refusal)
{
	struct ssl_ctx_st *tls = listener_tls(l);
	struct session *s = tls && refusal ? NULL : session_new(l, peer);

	if (!s) {
		turn_away(fd, peer, counted, tls);
		return;
	}
	s->counted = counted;
	s->stranger = l->worker->drain && !conf_is_neighbour(l->worker->view->conf, peer);
	if (!tls) {
		io_open_fd(&s->c.io, &l->worker->loop, fd, &session_io_handler);
	} else if (io_open_tls(&s->c.io, &l->worker->loop, fd, tls, &session_io_handler)) {
		session_free(s);
		return;
	}
	if (refusal)
		begin_refused(s, refusal);
	else
		session_begin(s);
}

void session_close(struct session *s, bool reset)
{
	struct worker *w = s->worker;

	if (s->state == SESSION_DEAD)
		return;
	leave_unwatched(s);
	deadline_clear(&w->deadlines, &s->deadline);
	conn_close(&s->c, reset);
	s->state = SESSION_DEAD;
	if (s->ready)
		TAILQ_REMOVE(&w->ready_sessions, s, ready_link);
	TAILQ_REMOVE(&w->sessions, s, link);
	TAILQ_INSERT_TAIL(&w->dead_sessions, s, link);
	if (s->kind == LISTEN_INNER)
		return;
	atomic_fetch_sub_explicit(&open_sessions, 1, memory_order_relaxed);
	descriptors_add(-1);
	counter_add(&w->stats.connections_client, (uint64_t)-1);
}

void sessions_reap(struct worker *w)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&w->dead_sessions))) {
		TAILQ_REMOVE(&w->dead_sessions, s, link);
		session_free(s);
	}
}

static void start_linger(struct session *s)
{
	io_shutdown_write(&s->c.io);
	buf_fini(&s->c.in);
	s->state = SESSION_LINGER;
	if (s->c.eof || io_want_read(&s->c.io, true)) {
		session_close(s, false);
		return;
	}
	worker_deadline(s->worker, &s->deadline, DEADLINE_LINGER, clock_mono_us());
}

/* Hands the head to an exchange; the bytes of the body stay in c.in. */
static void start_exchange(struct session *s, struct span head)
{
	struct worker *w = s->worker;

	deadline_clear(&w->deadlines, &s->deadline);
	s->state = SESSION_BUSY;
	s->requests++;
	w->busy_count++;
	s->guard = (struct head_guard){ 0 };
	exchange_start(s, head); /* consumes the head */
}

static void refuse(struct session *s, unsigned status, const char *type, const char *detail)
{
	deadline_clear(&s->worker->deadlines, &s->deadline);
	s->state = SESSION_BUSY;
	s->worker->busy_count++;
	s->guard = (struct head_guard){ 0 };
	exchange_refuse(s, status, type, detail);
}

static void refuse_long(struct session *s, bool line)
{
	if (line)
		refuse(s, 414, "too-large", "the request line is longer than half of limits.header_bytes");
	else
		refuse(s, 431, "too-large", "the header section is longer than limits.header_bytes");
}

/* A request line may take half of what the head may.  head: from its first byte. */
static bool line_too_long(const struct session *s, struct span head, size_t most)
{
	return head.n > most / 2 && (head_guard_in_first_line(&s->guard) || !memchr(head.p, '\n', most / 2));
}

static void read_head(struct session *s)
{
	size_t most = s->worker->view->conf->limit_header_bytes + (s->kind == LISTEN_MESH || s->kind == LISTEN_INNER ? HEAD_ROOM : 0);
	struct span head;
	const char *reason;

	if (!s->guard.seen)
		buf_consume(&s->c.in, http_skip_blank_lines(buf_span(&s->c.in)));
	if (!buf_len(&s->c.in)) {
		buf_fini(&s->c.in);
		return;
	}
	if (!s->guard.seen && buf_len(&s->c.in) == 1 && s->c.in.mem[s->c.in.rd] == '\r')
		return; /* half of an empty line */
	if (s->state == SESSION_IDLE) {
		s->state = SESSION_HEAD;
		worker_deadline(s->worker, &s->deadline, DEADLINE_HEADER, clock_mono_us());
	}
	switch (head_guard_feed(&s->guard, buf_span(&s->c.in), &reason)) {
	case GUARD_COMPLETE:
		head = span_head(buf_span(&s->c.in), s->guard.seen);
		if (line_too_long(s, head, most) || head.n > most)
			refuse_long(s, line_too_long(s, head, most));
		else if (s->stranger)
			refuse(s, 503, "not-ready", "this proxy is about to stop and takes no new requests");
		else
			start_exchange(s, head);
		return;
	case GUARD_REFUSED:
		refuse(s, 400, "bad-request", reason);
		return;
	case GUARD_MORE:
		head = buf_span(&s->c.in);
		if (line_too_long(s, head, most) || head.n >= most)
			refuse_long(s, line_too_long(s, head, most));
		return;
	}
}

/* Without a buffer: there may be no memory, which may be what the answer says. */
static void linger(struct session *s)
{
	char scrap[4096];
	ssize_t n = io_read(&s->c.io, scrap, sizeof(scrap));

	if (n == -EAGAIN)
		return;
	if (n > 0)
		s->drained += (uint32_t)n;
	if (n <= 0 || s->drained > LINGER_BYTES)
		session_close(s, false);
}

/* What was sent already is thrown away, so that the alert arrives. */
static void refuse_tls(struct session *s)
{
	char text[ADDR_TEXT_BYTES];
	struct addr peer;

	if (s->kind == LISTEN_MESH && worker_may_warn(&s->worker->tls_said_us)) {
		session_peer(s, &peer);
		addr_format(&peer, text);
		log_warn("mesh: %s is refused: %s", text, io_tls_why(&s->c.io));
	}
	s->c.eof = false;
	start_linger(s);
}

static void on_readable(struct io *io)
{
	struct session *s = of_io(io);

	if (s->state == SESSION_BUSY) {
		exchange_on_client_readable(s->x);
		return;
	}
	if (s->state == SESSION_LINGER) {
		linger(s);
		return;
	}
	switch (conn_read(&s->c, s->worker->view->conf->limit_header_bytes + CONN_BLOCK)) {
	case CONN_READ_SOME:
		read_head(s);
		return;
	case CONN_READ_NONE:
	case CONN_READ_FULL:
		return;
	case CONN_READ_BROKEN:
		if (io_is_refused(io)) {
			refuse_tls(s);
			return;
		}
		session_close(s, false);
		return;
	case CONN_READ_EOF:
		session_close(s, false);
		return;
	case CONN_READ_NOMEM:
		buf_fini(&s->c.in);
		refuse(s, 503, "no-memory", EXCHANGE_NO_MEMORY);
		return;
	}
}

static void on_writable(struct io *io)
{
	struct session *s = of_io(io);

	if (s->state == SESSION_BUSY)
		exchange_on_client_writable(s->x);
}

/* Whether an idle connection outlives this part of the drain. */
static bool stays_in_drain(const struct session *s, bool all)
{
	struct addr peer;

	if (all || s->worker->drain == DRAIN_LAST || s->kind != LISTEN_SERVICE)
		return false;
	session_peer(s, &peer);
	return conf_is_neighbour(s->worker->view->conf, &peer);
}

void session_exchange_done(struct session *s, bool keep, bool reset)
{
	struct worker *w = s->worker;

	s->x = NULL;
	leave_unwatched(s);
	w->busy_count--;
	w->awaited_count -= s->awaited;
	s->awaited = false;
	deadline_clear(&w->deadlines, &s->deadline);
	if (reset || s->kind == LISTEN_INNER) {
		session_close(s, reset);
		return;
	}
	if (!keep && (s->client_closes || s->refused) && !buf_len(&s->c.in)) {
		session_close(s, false);
		return;
	}
	if (!keep || (w->drain && !stays_in_drain(s, false)) || (s->c.eof && !buf_len(&s->c.in))) {
		start_linger(s);
		return;
	}
	s->state = SESSION_IDLE;
	if (!s->c.eof && io_want_read(&s->c.io, true)) {
		session_close(s, false);
		return;
	}
	if (buf_len(&s->c.in)) {
		s->ready = true;
		TAILQ_INSERT_TAIL(&w->ready_sessions, s, ready_link);
		return;
	}
	buf_fini(&s->c.in);
	worker_deadline(w, &s->deadline, DEADLINE_IDLE, clock_mono_us());
}

void sessions_run_ready(struct worker *w)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&w->ready_sessions))) {
		TAILQ_REMOVE(&w->ready_sessions, s, ready_link);
		s->ready = false;
		if (s->state == SESSION_IDLE)
			read_head(s);
		if (s->c.eof && (s->state == SESSION_IDLE || s->state == SESSION_HEAD))
			session_close(s, false);
		else if (s->state == SESSION_IDLE)
			worker_deadline(w, &s->deadline, DEADLINE_IDLE, clock_mono_us());
	}
}

/* A reset might take the last answer with it, so only what is cut gets one. */
void session_abort(struct session *s)
{
	if (s->state == SESSION_BUSY)
		exchange_abort(s->x, "client-gone");
	else
		session_close(s, false);
}

void session_evict(struct session *s)
{
	if (s->state == SESSION_BUSY)
		exchange_abort(s->x, "evicted");
	else
		session_close(s, false);
}

void sessions_drain(struct worker *w, bool all)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&w->sessions); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state == SESSION_IDLE && !s->ready && !io_quiet(&s->c.io))
			on_readable(&s->c.io);
		if (s->state == SESSION_IDLE && !s->ready && !stays_in_drain(s, all))
			session_close(s, false);
	}
}

void sessions_mark_awaited(struct worker *w)
{
	struct session *s;

	TAILQ_FOREACH(s, &w->sessions, link)
		s->awaited = s->state == SESSION_BUSY;
	w->awaited_count = w->busy_count;
}

void session_on_deadline(struct session *s)
{
	switch (s->state) {
	case SESSION_BUSY:
		exchange_on_client_deadline(s->x);
		return;
	case SESSION_HEAD:
		refuse(s, 408, "timeout", "the header section did not arrive within timeouts.header");
		return;
	default:
		session_close(s, false);
	}
}
