/* The request machine.
 *
 *	ROUTE [-> GATHER] -> PICK -> CONNECT -> SEND -> AWAIT -> RELAY -> END
 *	   |      |  ^                        |               ^
 *	   |      |  +--- the next site ------+               |
 *	   +------+----------> REPLY (an own answer) ---------+
 *	   +-> REPLICATE (front.h) --^
 *
 * Between AWAIT and RELAY a response may have to wait: HOLD for the names of ids (rewrite_hold.c), PEEK for the first
 * element of a page of several sites' lists (listing.h), without which the next page or site has its turn (PICK).
 *
 * A callback (exchange_on_*) records what happened and runs the machine; steps decide and return NEXT,
 * WAIT or DONE.  Every WAIT has a timer: the session's while the client is awaited, the upstream's while the
 * other side is.
 *
 * What holds:
 *  1. res_started: bytes of a final response were queued for the client; from then on a failure can only cut
 *     the connection, never answer anew.
 *  2. A request whose outcome is unknown is sent again only when its method is safe (anywhere) or idempotent (to
 *     the same site); outcome_unknown is never forgotten.
 *  3. Content taken from the session's input is either sent on or in replay; when replay_lost, it cannot be sent
 *     again and no further attempt is made.
 *  4. A side that is full stops the other side's reader; nothing else bounds memory (conn.h). */
#include "proxy/rewrite_exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "proxy/front.h"
#include "proxy/inner.h"
#include "proxy/io_tls.h"
#include "proxy/listing.h"

#define EXCHANGE_MAGIC 0x5c0e4e01u
/* ---- life ---------------------------------------------------------------------------------------------- */

/* Kept for the next ones, per worker. */
#define SPARE_EXCHANGES 64

static struct exchange *exchange_alloc(struct worker *w)
{
	struct exchange *x = TAILQ_FIRST(&w->spare_exchanges);

	if (!x)
		return malloc(sizeof(*x));
	TAILQ_REMOVE(&w->spare_exchanges, x, link);
	w->spare_count--;
	return x;
}

static void exchange_free(struct worker *w, struct exchange *x)
{
	if (w->spare_count >= SPARE_EXCHANGES) {
		free(x);
		return;
	}
	TAILQ_INSERT_HEAD(&w->spare_exchanges, x, link);
	w->spare_count++;
}

void exchanges_fini(struct worker *w)
{
	struct exchange *x;

	while ((x = TAILQ_FIRST(&w->spare_exchanges))) {
		TAILQ_REMOVE(&w->spare_exchanges, x, link);
		free(x);
	}
}

static struct exchange *exchange_new(struct session *s)
{
	struct worker *w = s->worker;
	struct exchange *x = exchange_alloc(w);

	if (!x)
		return NULL;
	memset(x, 0, offsetof(struct exchange, targets));
	x->magic = EXCHANGE_MAGIC;
	x->w = w;
	x->s = s;
	x->view = view_ref(s->listener->view ? s->listener->view : w->view);
	arena_init(&x->arena, x->room, sizeof(x->room), EXCHANGE_ARENA);
	buf_init(&x->replay, NULL, REPLAY_BYTES);
	buf_init(&x->reply, NULL, 0);
	x->from_mesh = s->kind == LISTEN_MESH;
	x->site = x->view->reg->local;
	x->start_us = clock_mono_us();
	x->wall_ms = clock_wall_ms();
	s->x = x;
	x->inner = x->between_sites = s->kind == LISTEN_INNER;
	x->once = x->inner && inner_is_once(x);
	return x;
}

void exchanges_reap(struct worker *w)
{
	struct exchange *x;

	while ((x = TAILQ_FIRST(&w->dead_exchanges))) {
		TAILQ_REMOVE(&w->dead_exchanges, x, link);
		arena_fini(&x->arena);
		exchange_free(w, x);
	}
}

static void exchange_bury(struct exchange *x)
{
	upstream_drop(&x->up, true);
	if (x->rw)
		rewrite_fini(x);
	if (x->list)
		listing_fini(x);
	if (x->reading)
		admin_leave(x);
	if (x->front)
		front_leave(x);
	http_body_fini(&x->req_body);
	http_body_fini(&x->res_body);
	io_pipe_close(&x->pipe[WAY_DOWN]);
	io_pipe_close(&x->pipe[WAY_UP]);
	buf_fini(&x->replay);
	buf_fini(&x->reply);
	view_unref(&x->view);
	x->magic = 0;
	TAILQ_INSERT_TAIL(&x->w->dead_exchanges, x, link);
}

#define SORRY "{\n  \"type\": \"urn:scopemesh:no-memory\",\n  \"status\": 503,\n" \
	"  \"detail\": \"" EXCHANGE_NO_MEMORY "\"\n}\n"
static_assert(sizeof(SORRY) - 1 == 108, "its length is in the head");

/* What can be said without memory, and the close: between two messages the socket has room for it. */
static const char sorry[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
			    "Content-Length: 108\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" SORRY;

void exchange_say_sorry(int fd)
{
	if (send(fd, sorry, sizeof(sorry) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* the close says enough */
}

/* 0 when it is out. */
static int say_sorry(struct session *s)
{
	const struct span text = SPAN(sorry);

	if (s->kind == LISTEN_INNER)
		return 0;
	if (s->c.io.writing)
		return ERR_NOMEM;
	buf_fini(&s->c.out);
	return conn_send(&s->c, &text, 1);
}

static void no_memory(struct session *s)
{
	session_exchange_done(s, false, say_sorry(s) != 0);
}

void exchange_start(struct session *s, struct span head)
{
	struct exchange *x = exchange_new(s);
	struct http_refusal why;
	struct span copy;
	int rc = ERR_NOMEM;

	if (!x) {
		no_memory(s);
		return;
	}
	copy = arena_dup(&x->arena, head);
	if (copy.p)
		rc = http_request_parse(&x->arena, copy, &x->req, &why);
	buf_consume(&s->c.in, head.n);
	if (!buf_len(&s->c.in))
		buf_fini(&s->c.in); /* the block is still warm for another connection */
	if (rc == ERR_NOMEM) {
		why = (struct http_refusal){ 431, "the header section needs more memory than a request may use" };
	}
	if (rc) {
		struct problem p = { .status = why.status,
			             .type = why.status == 431 ? "too-large" : "bad-request",
			             .detail = why.reason };

		x->req_bad = true;
		exchange_problem(x, &p);
	} else {
		x->has_req = true;
		x->keep = x->req.keep_alive;
		http_body_init(&x->req_body, x->req.framing, x->req.content_length);
		x->req_done = x->req.framing == HTTP_NO_BODY;
	}
	exchange_run(x);
}

void exchange_refuse(struct session *s, unsigned status, const char *type, const char *detail)
{
	struct exchange *x = exchange_new(s);
	struct problem p = { .status = status, .type = type, .detail = detail };

	if (!x) {
		no_memory(s);
		return;
	}
	x->req_bad = true;
	exchange_problem(x, &p);
	exchange_run(x);
}

/* ---- own answers -------------------------------------------------------------------------------------- */

/* What is left of a request's content is dropped if it is here already; else the connection closes. */
void exchange_forget_request(struct exchange *x)
{
	struct span in = buf_span(&x->s->c.in), data;
	size_t before = in.n;
	const char *reason;
	enum http_body_event ev = HTTP_BODY_MORE;

	if (!x->has_req || x->req_bad) {
		x->keep = false;
		return;
	}
	while (!x->req_done && !x->req.expect_continue) {
		ev = http_body_next(&x->req_body, &in, &data, &reason);
		if (ev == HTTP_BODY_DATA)
			x->bytes_in += data.n;
		else
			break;
	}
	buf_consume(&x->s->c.in, before - in.n);
	if (ev == HTTP_BODY_END)
		x->req_done = true;
	if (!x->req_done)
		x->keep = false;
}

static void reply(struct exchange *x, unsigned status, const char *content_type,
                  int (*add_head)(struct exchange *x, const char *content_type, struct buf *out))
{
	upstream_drop(&x->up, true);
	exchange_forget_request(x);
	x->status = status;
	if (add_head == heads_add_reply)
		x->served_by = local_site(x);
	if (session_is_closing(x->s))
		x->keep = false;
	x->state = X_REPLY;
	if (x->reply.failed || (!x->inner && add_head(x, content_type, &x->s->c.out))) {
		x->status = 503;
		x->reason = x->proxy_error = "no-memory";
		x->keep = false;
		x->res_started = true;
		x->cut = say_sorry(x->s) != 0;
	}
}

void exchange_reply(struct exchange *x, unsigned status, const char *content_type)
{
	reply(x, status, content_type, heads_add_reply);
}

void exchange_reply_answer(struct exchange *x)
{
	reply(x, x->res.status, NULL, heads_add_answer);
}

void exchange_problem(struct exchange *x, struct problem *p)
{
	assert(!x->res_started);
	if (x->arena.nomem && p->status < 500) {
		p->status = 503; /* a limit was said to be reached, but it was memory */
		p->type = "no-memory";
		p->detail = EXCHANGE_NO_MEMORY;
	}
	x->proxy_error = p->type;
	if (!x->reason)
		x->reason = p->type;
	if (x->svc && !p->service.n)
		p->service = x->svc->name;
	if (!p->from.n)
		p->from = local_site(x);
	if (p->attempts == 0)
		p->elapsed_ms = -1;
	buf_fini(&x->reply);
	problem_print(p, &x->reply);
	exchange_reply(x, p->status, "application/problem+json");
}

enum exchange_step exchange_step_reply(struct exchange *x)
{
	struct session *s = x->s;
	struct span body = x->has_req && x->req.is_head ? span_make("", 0) : buf_span(&x->reply);

	if (!x->res_started) {
		x->res_started = true;
		x->bytes_out = body.n;
		if (x->cut || conn_send(&s->c, &body, 1)) {
			x->cut = true;
			x->state = X_END;
			return STEP_NEXT;
		}
	}
	if (s->c.io.writing) {
		worker_deadline(x->w, &s->deadline, DEADLINE_CLIENT_FULL, clock_mono_us());
		return STEP_WAIT;
	}
	x->res_done = true;
	x->state = X_END;
	return STEP_NEXT;
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

enum exchange_step exchange_step_end(struct exchange *x)
{
	exchange_target_end(x, NULL);
	exchange_account(x);
	if (x->inner)
		inner_judge(x);
	return STEP_DONE;
}

enum exchange_step exchange_step_route(struct exchange *x)
{
	if (x->s->kind == LISTEN_ADMIN)
		return admin_handle(x);
	if (route_request(x) == 0) {
		x->give_up_us = x->start_us + x->view->conf->timeout_response_us;
		x->state = x->front ? X_REPLICATE : rewrite_gathers(x) ? X_GATHER : X_PICK;
	}
	return STEP_NEXT;
}

/* ---- running ------------------------------------------------------------------------------------------------- */

static enum exchange_step (*const steps[])(struct exchange *) = {
#define EXCHANGE_STEP(value, step) [value] = exchange_step_##step,
	EXCHANGE_STATES(EXCHANGE_STEP)
#undef EXCHANGE_STEP
};

static void assert_exchange(const struct exchange *x)
{
	assert(x->magic == EXCHANGE_MAGIC);
	assert(x->s->x == x && x->s->state == SESSION_BUSY);
	assert(x->state != X_RELAY || x->res_started);
	assert(x->state > X_AWAIT || !x->res_started);
	assert((x->state != X_SEND && x->state != X_AWAIT) || (x->up && x->up->connected));
	assert(!x->upstream_req_done || x->req_done);
}

void exchange_run(struct exchange *x)
{
	enum exchange_step step;

	do {
		assert_exchange(x);
		step = steps[x->state](x);
	} while (step == STEP_NEXT);
	if (step == STEP_DONE) {
		struct session *s = x->s;
		bool keep = x->keep && x->req_done && !x->cut;
		/* A reset would take the answers before it along; it is needed to tell a cut message from a whole one */
		bool cut = x->cut && (x->res_started || !s->c.eof);

		s->client_closes = x->has_req && x->req_done && !x->req_bad && !x->req.keep_alive;
		exchange_bury(x);
		session_exchange_done(s, keep, cut);
	}
}

/* ---- events of the client -------------------------------------------------------------------------------------- */

void exchange_client_gone(struct exchange *x)
{
	if (!x->res_started)
		x->status = 0;
	exchange_target_end(x, "client-gone");
	x->reason = "client-gone";
	x->cut = true;
	x->state = X_END;
}

static void client_gone(struct exchange *x)
{
	exchange_client_gone(x);
	exchange_run(x);
}

void exchange_abort(struct exchange *x, const char *reason)
{
	exchange_client_gone(x);
	x->reason = reason;
	exchange_run(x);
}

bool exchange_has_whole_request(const struct exchange *x)
{
	return x->req_done && !x->req.upgrade;
}

/* A client may end its side once its request is whole (RFC 9112 9.6), which shows when what is here has been sent on: that
 * may have to wait for a connection, for room or for another proxy's 100. */
static void client_ended(struct exchange *x)
{
	switch ((enum exchange_state)x->state) {
	case X_ROUTE: /* the admin interface awaits content, or the store */
	case X_GATHER:
	case X_REPLICATE:
	case X_TUNNEL:
		exchange_run(x);
		return;
	case X_AWAIT:
	case X_RELAY:
		if (!x->req_done && !exchange_pump_request(x))
			exchange_run(x);
		return;
	default:
		return;
	}
}

void exchange_on_client_readable(struct exchange *x)
{
	if (exchange_splices_request(x)) {
		if (!exchange_pump_request(x))
			exchange_run(x);
		return;
	}
	switch (conn_read(&x->s->c, CONN_BLOCK)) {
	case CONN_READ_SOME:
		if (x->state == X_TUNNEL || x->state == X_ROUTE || x->state == X_GATHER || x->state == X_REPLICATE) {
			exchange_run(x); /* in X_ROUTE: content of a request to the admin interface */
			return;
		}
		if (x->req_done)
			return; /* the next request, for later */
		if ((x->state == X_AWAIT || x->state == X_RELAY) && !exchange_pump_request(x))
			exchange_run(x);
		return;
	case CONN_READ_EOF:
		client_ended(x);
		return;
	case CONN_READ_BROKEN:
		client_gone(x);
		return;
	case CONN_READ_NOMEM:
		if (x->req_done && x->state != X_TUNNEL && !io_want_read(&x->s->c.io, false)) {
			x->keep = false; /* the next request cannot be taken, this one can be answered */
			return;
		}
		if (x->state == X_TUNNEL)
			exchange_cut_short(x, "no-memory");
		else if (x->state == X_REPLICATE && front_is_submitted(x))
			exchange_client_gone(x); /* it may be executed: no answer of ours may say otherwise */
		else
			exchange_request_unreadable(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
		exchange_run(x);
		return;
	case CONN_READ_NONE:
	case CONN_READ_FULL:
		return;
	}
}

void exchange_on_client_writable(struct exchange *x)
{
	struct conn *client = &x->s->c;

	if (io_want_write(&client->io, false)) {
		client_gone(x);
		return;
	}
	if (conn_flush(client)) {
		client_gone(x);
		return;
	}
	if (client->io.writing) {
		if (x->s->deadline.armed)
			worker_deadline(x->w, &x->s->deadline, DEADLINE_CLIENT_FULL, clock_mono_us());
		return;
	}
	exchange_run(x);
}

void exchange_on_client_deadline(struct exchange *x)
{
	if (x->retry_ticks) {
		if (--x->retry_ticks)
			worker_deadline(x->w, &x->s->deadline, DEADLINE_RETRY, clock_mono_us());
		else
			exchange_run(x);
		return;
	}
	if (!x->res_started && !x->req_done) {
		x->reason = "client-timeout";
		exchange_request_unreadable(x, 408, "timeout", "the request body did not arrive within timeouts.body");
	} else {
		x->reason = "client-timeout";
		x->cut = true;
		x->state = X_END;
	}
	exchange_run(x);
}

/* ---- events of the upstream --------------------------------------------------------------------------------------- */

/* No whole head came and none will. */
static void upstream_ended(struct exchange *x)
{
	if (io_is_refused(&x->up->c.io))
		exchange_on_upstream_refused(x);
	else
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_RESET);
	exchange_run(x);
}

/* Nothing of an answer has gone to the client, and what came of one can be left. */
static bool is_unanswered(const struct exchange *x)
{
	return x->state == X_AWAIT || x->state == X_PEEK;
}

void exchange_on_upstream_readable(struct exchange *x)
{
	struct upstream *u = x->up;
	size_t limit = x->state == X_AWAIT ? x->view->conf->limit_header_bytes + CONN_BLOCK : CONN_BLOCK;

	if (exchange_splices_response(x)) {
		exchange_run(x);
		return;
	}
	switch (conn_read(&u->c, limit)) {
	case CONN_READ_SOME:
		if (x->state == X_AWAIT)
			exchange_on_response_bytes(x);
		exchange_run(x);
		return;
	case CONN_READ_EOF:
		if (x->state == X_AWAIT)
			upstream_ended(x);
		else
			exchange_run(x);
		return;
	case CONN_READ_BROKEN:
		if (is_unanswered(x)) {
			upstream_ended(x);
		} else {
			exchange_cut_short(x, "incomplete-response");
			exchange_run(x);
		}
		return;
	case CONN_READ_NOMEM:
		if (is_unanswered(x))
			exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
		else
			exchange_cut_short(x, "no-memory");
		exchange_run(x);
		return;
	case CONN_READ_NONE:
	case CONN_READ_FULL:
		return;
	}
}

void exchange_on_upstream_writable(struct exchange *x)
{
	struct upstream *u = x->up;

	if (io_want_write(&u->c.io, false) || conn_flush(&u->c)) {
		x->req_abandoned = true; /* the response may be on its way all the same */
		if (x->state == X_TUNNEL) {
			exchange_cut_short(x, "tunnel-broken");
			exchange_run(x);
		}
		return;
	}
	if (x->state == X_TUNNEL) {
		exchange_run(x);
		return;
	}
	if (u->c.io.writing)
		worker_deadline(x->w, &u->deadline, DEADLINE_UPSTREAM_BODY, clock_mono_us());
	else if (!exchange_pump_request(x))
		exchange_run(x);
}

void exchange_on_upstream_deadline(struct exchange *x)
{
	if (x->state == X_AWAIT && x->inner && x->upstream_req_done && inner_waits_on(x)) {
		worker_deadline(x->w, &x->up->deadline, DEADLINE_RESPONSE, clock_mono_us());
		return;
	}
	if (is_unanswered(x))
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_TIMEOUT);
	else
		exchange_cut_short(x, "upstream-timeout");
	exchange_run(x);
}
