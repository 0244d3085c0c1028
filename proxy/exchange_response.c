/* The response on its way back: its head is judged, then its content relayed as it comes, decoded and framed
 * anew; a message that is cut short upstream is cut short for the client, never ended as if whole. */
#include "proxy/rewrite_exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/inner.h"
#include "proxy/listing.h"

/* Their heads stay in the request's arena, which bounds them as well. */
#define INTERIM_MOST 256

static void start_relay(struct exchange *x)
{
	struct conn *client = &x->s->c;
	bool anew = rewrite_is_down(x) && !x->rw->gather; /* of another length, which is not known yet */
	bool unknown = anew || x->res.framing == HTTP_CHUNKED || x->res.framing == HTTP_UNTIL_CLOSE;

	exchange_target_now(x)->status = x->res.status;
	x->first_us = clock_mono_us() - x->start_us;
	x->status = x->res.status;
	if (!(x->list && x->list->peeked))
		http_body_init(&x->res_body, x->res.framing, x->res.content_length);
	x->client_chunked = !x->inner && unknown && x->req.minor >= 1;
	if (unknown && !x->client_chunked)
		x->keep = false; /* to HTTP/1.0 the end of the connection ends the body */
	if (!x->req_done && !x->up->c.io.writing && x->res.status >= 400 && !x->res.keep_alive)
		x->keep = false;
	if (session_is_closing(x->s))
		x->keep = false;
	x->res_started = true;
	x->state = X_RELAY;
	if (x->inner ? inner_take_head(x) : !(rewrite_is_down(x) && x->rw->gather) && heads_add_response(x, &client->out)) {
		x->cut = true;
		x->state = X_END;
	}
}

static bool status_listed(const struct exchange *x, unsigned status)
{
	for (size_t i = 0; i < x->svc->fallback_on_count; i++)
		if (x->svc->fallback_on[i] == status)
			return true;
	return false;
}

static void bad_response(struct exchange *x, const char *why);

/* Whether it can be relayed as far as the ids in it are concerned; if not, the attempt has ended. */
static bool pass_rewrite(struct exchange *x)
{
	const char *why = NULL;

	if (x->pool->mesh) {
		rewrite_down_forget(x);
		return true;
	}
	switch (rewrite_judge(x, &why)) {
	case REWRITE_GOOD:
		return true;
	case REWRITE_BAD:
		bad_response(x, why);
		return false;
	case REWRITE_WHOLE:
		exchange_same_again(x);
		return false;
	case REWRITE_NOMEM:
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
		return false;
	}
	return false;
}

/* A final response came: an answer, or the reason to go elsewhere? */
static void judge_response(struct exchange *x)
{
	const struct http_field *error = x->pool->mesh ? http_find(&x->res, HTTP_X_SCOPEMESH_ERROR) : NULL;
	unsigned status = x->res.status;

	exchange_target_now(x)->status = status;
	if (x->pool->mesh)
		site_live_seen(x->view->reg->sites[x->site].live);
	if (x->list && listing_moves_on(x, error))
		return;
	if (error && status == 503 && !x->replay_lost && exchange_more_places(x) && (!x->outcome_unknown || exchange_is_safe(x))) {
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED,
		               span_eq(error->value, SPAN("no-instance")) ? REASON_NO_INSTANCE : REASON_PROXY_503);
		return;
	}
	if (error && status == 503 && x->outcome_unknown) {
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_PROXY_503); /* an earlier attempt decides */
		return;
	}
	if (error && (status == 502 || status == 504) && !x->replay_lost && exchange_is_safe(x) && exchange_more_places(x)) {
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, status == 504 ? REASON_TIMEOUT : REASON_RESET);
		return;
	}
	if (error && status == 404 && span_eq(error->value, SPAN("no-replica-there")) && !x->replay_lost &&
	    exchange_more_places(x)) {
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_STATUS);
		return;
	}
	if (!error && status_listed(x, status) && !x->replay_lost && exchange_more_places(x)) {
		exchange_target_end(x, stats_reason_text(REASON_STATUS));
		upstream_drop(&x->up, false);
		x->replay_sent = 0;
		if (exchange_is_local(x))
			x->instances_tried = ~(uint64_t)0;
		exchange_move_on(x, REASON_STATUS);
		return;
	}
	if (error) {
		struct span type = arena_dup(&x->arena, error->value);

		x->proxy_error = type.p ? type.p : "error";
		x->reason = x->proxy_error;
	}
	if (rewrite_join_late(x)) {
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
		return;
	}
	if (rewrite_holds(x))
		x->state = X_HOLD;
	else
		exchange_pass_response(x);
}

void exchange_pass_response(struct exchange *x)
{
	if (x->rw && !pass_rewrite(x))
		return;
	if (x->list && x->list->page) {
		http_body_fini(&x->res_body); /* of a page that was passed over */
		http_body_init(&x->res_body, x->res.framing, x->res.content_length);
		x->list->peeked = true;
		x->state = X_PEEK;
	} else {
		start_relay(x);
	}
}

/* The access log has every one of them. */
static void warn_refused(struct exchange *x, const char *what, const char *why)
{
	if (worker_may_warn(&x->w->response_said_us))
		log_warn("%.*s at %.*s: %s refused: %s", SPAN_ARG(x->svc->name),
		         SPAN_ARG(x->view->reg->sites[x->site].name), what, why);
}

static void bad_response(struct exchange *x, const char *why)
{
	warn_refused(x, "response", why);
	x->bad_answer = why;
	exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_BAD_RESPONSE);
}

/* 1xx: 100 releases what was held or goes to the client that expects it; others pass on as they are. */
static bool on_interim(struct exchange *x)
{
	bool ours = x->hold && x->res.status == 100;

	x->hold = x->hold && !ours;
	if (ours && !exchange_pump_request(x))
		return false;
	if (x->res.status == 100 && (!x->req.expect_continue || x->continue_sent))
		return true;
	if (x->req.minor == 0 || x->inner)
		return true;
	if (x->res.status == 100)
		x->continue_sent = true;
	if (heads_add_interim(x, &x->s->c.out) || conn_flush(&x->s->c)) {
		x->cut = true;
		x->state = X_END;
		return false;
	}
	return x->res.status != 100 || exchange_pump_request(x); /* from now on the client is waited for */
}

/* Reads heads off the upstream's input until the final one is there (true) or more is needed, or the attempt
 * has ended (false). */
static bool read_response_head(struct exchange *x)
{
	struct upstream *u = x->up;
	size_t most = x->view->conf->limit_header_bytes + (x->pool->mesh ? HEAD_ROOM : 0);
	struct http_refusal why;
	enum guard_verdict verdict;
	struct span head;
	const char *reason;
	int rc;

	for (;;) {
		verdict = head_guard_feed(&u->guard, buf_span(&u->c.in), &reason);
		if (verdict != GUARD_REFUSED && u->guard.seen >= most) {
			bad_response(x, "the header section is longer than limits.header_bytes");
			return false;
		}
		switch (verdict) {
		case GUARD_MORE:
			return false;
		case GUARD_REFUSED:
			bad_response(x, reason);
			return false;
		case GUARD_COMPLETE:
			break;
		}
		head = arena_dup(&x->arena, span_head(buf_span(&u->c.in), u->guard.seen));
		rc = head.p ? http_response_parse(&x->arena, head, &x->req, &x->res, &why) : ERR_NOMEM;
		if (rc && x->arena.nomem)
			exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
		else if (rc)
			bad_response(x, rc == ERR_NOMEM ? "too large to be held" : why.reason);
		if (rc)
			return false;
		buf_consume(&u->c.in, head.n);
		u->guard = (struct head_guard){ 0 };
		if (x->res.status >= 200 || x->res.status == 101)
			return true;
		if (++x->interim_count > INTERIM_MOST) {
			bad_response(x, "more than 256 interim responses came before the final one");
			return false;
		}
		if (!on_interim(x))
			return false;
		if (!buf_len(&u->c.in))
			return false;
	}
}

void exchange_on_response_bytes(struct exchange *x)
{
	unsigned status;

	if (!read_response_head(x))
		return;
	status = x->res.status;
	exchange_note_instance(x, status >= 502 && status <= 504 ? INSTANCE_FAILED : INSTANCE_ANSWERED);
	if (x->res.status == 101) {
		if (x->req.upgrade && x->upstream_req_done)
			exchange_start_tunnel(x);
		else
			bad_response(x, "101 without an upgrade having been asked for");
		return;
	}
	judge_response(x);
}

/* ---- the response goes to the client --------------------------------------------------------------------- */

void exchange_cut_short(struct exchange *x, const char *reason)
{
	x->reason = reason;
	x->cut = true;
	x->state = X_END;
	exchange_target_end(x, reason);
}

/* The upstream's part is over: into the pool when both messages are whole. */
static void release_upstream(struct exchange *x)
{
	exchange_target_end(x, NULL);
	if (!x->up)
		return;
	if (x->upstream_req_done && x->res.keep_alive && x->res.framing != HTTP_UNTIL_CLOSE &&
	    !x->up->c.io.writing)
		upstream_keep(&x->up);
	else
		upstream_drop(&x->up, false);
	if (!x->req_done)
		exchange_forget_request(x);
}

static bool relay_broken(struct exchange *x, const char *why)
{
	if (why)
		warn_refused(x, "response body", why);
	exchange_cut_short(x, "incomplete-response");
	return false;
}

/* What is rewritten of the content goes to the client; of a short one when it is whole, with its head. */
static bool send_rewritten(struct exchange *x)
{
	struct rewrite *rw = x->rw;
	struct pieces p = { .chunked = x->client_chunked };
	bool good;

	if (rw->gather && !x->res_done)
		return true;
	if (rw->gather) {
		x->res.content_length = buf_len(&rw->down_out);
		if (heads_add_response(x, &x->s->c.out)) {
			exchange_cut_short(x, "no-memory");
			return false;
		}
	}
	x->bytes_out += buf_len(&rw->down_out);
	if (buf_len(&rw->down_out))
		pieces_add(&p, buf_span(&rw->down_out));
	if (x->res_done)
		pieces_end(&p, &x->arena, &x->res_body);
	good = conn_send(&x->s->c, p.span, p.count) == 0;
	buf_fini(&rw->down_out);
	if (!good)
		exchange_cut_short(x, "client-gone");
	return good;
}

/* Takes content through the splicer, a slice at least; peek: until it is seen what it is. */
static enum http_body_event take_rewritten(struct exchange *x, bool peek, const char **why_r)
{
	struct upstream *u = x->up;
	struct span in = buf_span(&u->c.in);
	size_t before = in.n;
	enum http_body_event ev;

	if (x->rw->ended)
		return HTTP_BODY_END;
	do
		ev = rewrite_down_next(x, &in, why_r);
	while (ev == HTTP_BODY_DATA && buf_len(&x->rw->down_out) < REWRITE_GATHER && !(peek && listing_is_seen(x)));
	buf_consume(&u->c.in, before - in.n);
	if (ev == HTTP_BODY_MORE && u->c.eof && http_body_closed(&x->res_body))
		ev = HTTP_BODY_END;
	if (ev == HTTP_BODY_END && rewrite_down_end(x)) {
		*why_r = "its text ends too early";
		ev = HTTP_BODY_BAD;
	}
	return ev;
}

/* A page with nothing in it is the next site's turn, so the head waits until there is something. */
enum exchange_step exchange_step_peek(struct exchange *x)
{
	struct upstream *u = x->up;
	const char *why = NULL;
	enum http_body_event ev = take_rewritten(x, true, &why);

	if (ev == HTTP_BODY_BAD) {
		bad_response(x, why);
	} else if (ev == HTTP_BODY_END && listing_page_is_over(x)) {
		return STEP_NEXT;
	} else if (ev == HTTP_BODY_END || listing_is_seen(x)) {
		start_relay(x);
	} else if (u->c.eof) {
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_RESET);
	} else if (io_want_read(&u->c.io, true)) {
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
	} else {
		worker_deadline(x->w, &u->deadline, DEADLINE_UPSTREAM_BODY, clock_mono_us());
		return STEP_WAIT;
	}
	return STEP_NEXT;
}

/* Moves content through the splicer, as relay does without. */
static bool relay_rewritten(struct exchange *x)
{
	const char *why = NULL;
	enum http_body_event ev = take_rewritten(x, false, &why);

	x->res_done = ev == HTTP_BODY_END;
	if (ev == HTTP_BODY_BAD)
		return relay_broken(x, why);
	if (!send_rewritten(x))
		return false;
	return ev == HTTP_BODY_MORE && x->up->c.eof ? relay_broken(x, NULL) : true;
}

/* Moves content from the upstream's input to the client.  False when the exchange is cut. */
static bool relay(struct exchange *x)
{
	struct conn *client = &x->s->c;
	struct upstream *u = x->up;
	struct pieces p = { .chunked = x->client_chunked };
	struct span in = buf_span(&u->c.in), data;
	size_t before = in.n;
	const char *reason = NULL;
	enum http_body_event ev = HTTP_BODY_DATA;

	while (!pieces_full(&p) && ev == HTTP_BODY_DATA) {
		ev = http_body_next(&x->res_body, &in, &data, &reason);
		if (ev == HTTP_BODY_DATA) {
			x->bytes_out += data.n;
			pieces_add(&p, data);
		}
	}
	if (ev == HTTP_BODY_MORE && u->c.eof && http_body_closed(&x->res_body))
		ev = HTTP_BODY_END;
	if (ev == HTTP_BODY_END) {
		pieces_end(&p, &x->arena, &x->res_body);
		x->res_done = true;
	}
	if (conn_send(client, p.span, p.count)) {
		exchange_cut_short(x, "client-gone");
		return false;
	}
	buf_consume(&u->c.in, before - in.n);
	if (ev == HTTP_BODY_BAD || (ev == HTTP_BODY_MORE && u->c.eof))
		return relay_broken(x, ev == HTTP_BODY_BAD ? reason : NULL);
	return true;
}

/* The same for bulk content. */
static bool relay_spliced(struct exchange *x)
{
	switch (exchange_splice(x, WAY_DOWN)) {
	case SPLICE_DONE:
		x->res_done = true;
		break;
	case SPLICE_FROM_BROKEN:
		exchange_cut_short(x, "incomplete-response");
		return false;
	case SPLICE_TO_BROKEN:
		exchange_cut_short(x, "client-gone");
		return false;
	case SPLICE_FROM_EMPTY:
	case SPLICE_TO_FULL:
		break;
	}
	return true;
}

/* Moves what there is.  False when the exchange is cut. */
static bool relay_all(struct exchange *x)
{
	while (!x->res_done && !x->s->c.io.writing) {
		size_t before = buf_len(&x->up->c.in);

		if (exchange_splices_response(x))
			return relay_spliced(x);
		if (!(rewrite_is_down(x) ? relay_rewritten(x) : relay(x)))
			return false;
		if (!x->res_done && buf_len(&x->up->c.in) == before)
			break;
	}
	return true;
}

enum exchange_step exchange_step_relay(struct exchange *x)
{
	struct conn *client = &x->s->c;
	int64_t now;

	if (!relay_all(x))
		return STEP_NEXT;
	now = clock_mono_us();
	if (x->res_done) {
		exchange_target_now(x)->bytes = x->bytes_out;
		release_upstream(x);
		if (!client->io.writing) {
			x->state = X_END;
			return STEP_NEXT;
		}
		worker_deadline(x->w, &x->s->deadline, DEADLINE_CLIENT_FULL, now);
		return STEP_WAIT;
	}
	if (client->io.writing) {
		deadline_clear(&x->w->deadlines, &x->up->deadline);
		worker_deadline(x->w, &x->s->deadline, DEADLINE_CLIENT_FULL, now);
	} else {
		if (!buf_len(&x->up->c.in))
			buf_fini(&x->up->c.in);
		if (x->upstream_req_done)
			deadline_clear(&x->w->deadlines, &x->s->deadline);
		worker_deadline(x->w, &x->up->deadline, DEADLINE_UPSTREAM_BODY, now);
	}
	if (!x->up->c.eof && io_want_read(&x->up->c.io, !client->io.writing))
		exchange_cut_short(x, "memory");
	return x->state == X_RELAY ? STEP_WAIT : STEP_NEXT;
}
