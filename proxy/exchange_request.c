/* The request on its way out: its head, then its content as it comes, decoded and framed anew. */
#include "proxy/rewrite_exchange.h"

#include "base/clock.h"

bool pieces_full(const struct pieces *p)
{
	return p->data == PUMP_PIECES;
}

void pieces_add(struct pieces *p, struct span data)
{
	if (p->chunked) {
		size_t n = http_chunk_head(p->heads[p->data], data.n);

		p->span[p->count++] = span_make(p->heads[p->data], n);
	}
	p->span[p->count++] = data;
	if (p->chunked)
		p->span[p->count++] = SPAN("\r\n");
	p->data++;
}

/* The end of a chunked message, with the trailers that came. */
void pieces_end(struct pieces *p, struct arena *arena, const struct http_body *body)
{
	struct http_field *fields;
	size_t count;
	struct buf out;
	struct span text = { NULL, 0 };

	if (!p->chunked)
		return;
	buf_init(&out, NULL, 0);
	if (buf_len(&body->trailers) &&
	    !http_trailers_parse(arena, buf_span(&body->trailers), &fields, &count) && count) {
		buf_add_z(&out, "0\r\n");
		for (size_t i = 0; i < count; i++)
			buf_addf(&out, "%.*s: %.*s\r\n", SPAN_ARG(fields[i].name), SPAN_ARG(fields[i].value));
		buf_add_z(&out, "\r\n");
		text = arena_dup(arena, buf_span(&out));
	}
	buf_fini(&out);
	p->span[p->count++] = text.p ? text : SPAN("0\r\n\r\n");
}

/* Content is kept to be sent again while that may become necessary. */
static void keep_for_replay(struct exchange *x, struct span data)
{
	if (x->replay_lost)
		return;
	if (x->sent_any && !exchange_is_repeatable(x) && !exchange_more_places(x)) {
		x->replay_lost = true;
	} else {
		buf_add_span(&x->replay, data);
		x->replay_lost = x->replay.failed;
	}
	if (x->replay_lost)
		buf_fini(&x->replay);
	x->replay_sent = x->replay_lost ? 0 : buf_len(&x->replay);
}

void exchange_request_unreadable(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	x->req_bad = true;
	if (x->res_started) {
		x->cut = true;
		x->state = X_END;
		return;
	}
	exchange_target_end(x, "aborted");
	exchange_problem(x, &p);
}

bool exchange_take_content(struct exchange *x, struct span *in, struct pieces *p)
{
	uint64_t most = x->view->conf->limit_body_bytes;
	struct span data;
	const char *reason;

	while (!x->req_done && !pieces_full(p)) {
		switch (http_body_next(&x->req_body, in, &data, &reason)) {
		case HTTP_BODY_DATA:
			x->bytes_in += data.n;
			if (most && x->bytes_in > most) {
				exchange_request_unreadable(x, 413, "too-large",
				                   "the request body is longer than limits.body_bytes");
				return false;
			}
			pieces_add(p, data);
			break;
		case HTTP_BODY_END:
			x->req_done = true;
			break;
		case HTTP_BODY_MORE:
			return true;
		case HTTP_BODY_BAD:
			exchange_request_unreadable(x, 400, "bad-request", reason);
			return false;
		}
	}
	return true;
}

void exchange_await_content(struct exchange *x)
{
	if (io_want_read(&x->s->c.io, true))
		x->cut = true;
	worker_deadline(x->w, &x->s->deadline, DEADLINE_BODY, clock_mono_us());
}

enum pump_result {
	PUMP_MORE,  /* go on: there is more to send */
	PUMP_WAIT,  /* for the client's bytes, the upstream's room or its response */
	PUMP_ENDED, /* the attempt or the exchange is over */
};

/* Keeps the live pieces (from span index `live` on) for replay. */
static void keep_pieces(struct exchange *x, const struct pieces *p, int live)
{
	int step = p->chunked ? 3 : 1, first = p->chunked ? 1 : 0;

	for (int i = live + first; i < p->count; i += step)
		keep_for_replay(x, p->span[i]);
}

/* The upstream takes no more.  A first write that fails whole has sent nothing: the kernel took no byte of it. Later
 * the response may be on its way all the same (an early refusal), so it is waited for, without sending on. */
static enum pump_result upstream_full_stop(struct exchange *x)
{
	if (!x->sent_any) {
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_RESET);
		return PUMP_ENDED;
	}
	x->req_abandoned = true;
	worker_deadline(x->w, &x->up->deadline, DEADLINE_RESPONSE, clock_mono_us());
	return PUMP_WAIT;
}

/* A part may have gone out, and there is no memory for the rest. */
static enum pump_result cannot_keep(struct exchange *x)
{
	exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
	return PUMP_ENDED;
}

/* The client says nothing until it has heard 100, which the instance has to say. */
static bool awaits_continue(const struct exchange *x)
{
	return x->req.expect_continue && !x->continue_sent && !x->bytes_in;
}

static enum pump_result wait_for(struct exchange *x)
{
	struct upstream *u = x->up;
	bool full = u->c.io.writing;

	if (!x->upstream_req_done && !full && !x->hold && x->s->c.eof) {
		exchange_client_gone(x); /* all that came has been sent on, and the rest never comes */
		return PUMP_ENDED;
	}
	if (x->upstream_req_done || full || x->hold || awaits_continue(x)) {
		deadline_clear(&x->w->deadlines, &x->s->deadline);
		worker_deadline(x->w, &u->deadline, full ? DEADLINE_UPSTREAM_BODY : DEADLINE_RESPONSE, clock_mono_us());
	} else {
		deadline_clear(&x->w->deadlines, &u->deadline);
		exchange_await_content(x);
	}
	return PUMP_WAIT;
}

/* One gathered write: queued head, content to be sent again, new content. */
static enum pump_result pump_once(struct exchange *x)
{
	struct upstream *u = x->up;
	struct conn *client = &x->s->c;
	struct pieces p = { .chunked = x->up_chunked };
	struct span again = span_from(buf_span(&x->replay), x->replay_sent);
	struct span in = buf_span(&client->in);
	size_t before = in.n;
	int live = 0, rc;
	bool more = false;

	if (!x->hold) {
		if (again.n)
			pieces_add(&p, again);
		live = p.count;
		if (!exchange_take_content(x, &in, &p))
			return PUMP_ENDED;
		more = pieces_full(&p);
		if (x->req_done && !more) {
			pieces_end(&p, &x->arena, &x->req_body);
			x->upstream_req_done = true;
		}
	}
	rc = conn_send(&u->c, p.span, p.count);
	if (!x->hold) { /* only now: what is sent again points into replay, which moves when it grows */
		x->replay_sent = buf_len(&x->replay);
		keep_pieces(x, &p, live);
	}
	buf_consume(&client->in, before - in.n);
	if (rc)
		return rc == ERR_NOMEM ? cannot_keep(x) : upstream_full_stop(x);
	x->sent_any = true;
	return more && !u->c.io.writing ? PUMP_MORE : wait_for(x);
}

/* A slice of it through the splicer; where all of it is in up_out already, only that is sent. */
static bool take_rewritten(struct exchange *x)
{
	struct span again = span_head(span_from(buf_span(&x->replay), x->replay_sent), REWRITE_SLICE);
	struct span in = span_head(buf_span(&x->s->c.in), REWRITE_SLICE);
	struct pieces p = { .chunked = false };
	size_t before = in.n;

	if (again.n) {
		rewrite_up_feed(x, again);
		x->replay_sent += again.n;
	} else if (!x->req_done) {
		if (!exchange_take_content(x, &in, &p))
			return false;
		for (int i = 0; i < p.count; i++)
			rewrite_up_feed(x, p.span[i]);
		keep_pieces(x, &p, 0);
		buf_consume(&x->s->c.in, before - in.n);
	}
	if (!x->req_done || x->replay_sent < buf_len(&x->replay))
		return true;
	if (!x->rw->up_whole)
		rewrite_up_end(x);
	x->upstream_req_done = true;
	return true;
}

/* One gathered write of content whose ids are exchanged. */
static enum pump_result pump_rewritten(struct exchange *x)
{
	struct upstream *u = x->up;
	struct buf *out = &x->rw->up_out;
	struct pieces p = { .chunked = x->up_chunked };
	size_t waiting = buf_len(&x->s->c.in), replayed = x->replay_sent;
	int rc;

	if (!x->hold) {
		if (!take_rewritten(x))
			return PUMP_ENDED;
		if (out->failed)
			return cannot_keep(x);
		if (buf_len(out))
			pieces_add(&p, buf_span(out));
		if (x->upstream_req_done)
			pieces_end(&p, &x->arena, &x->req_body);
	}
	rc = conn_send(&u->c, p.span, p.count);
	buf_fini(out);
	if (rc)
		return rc == ERR_NOMEM ? cannot_keep(x) : upstream_full_stop(x);
	x->sent_any = true;
	if (!x->upstream_req_done && !u->c.io.writing && !x->hold &&
	    (buf_len(&x->s->c.in) != waiting || x->replay_sent != replayed))
		return PUMP_MORE;
	return wait_for(x);
}

/* The same for bulk content. */
static enum pump_result pump_spliced(struct exchange *x)
{
	switch (exchange_splice(x, WAY_UP)) {
	case SPLICE_DONE:
		x->req_done = x->upstream_req_done = true;
		io_pipe_close(&x->pipe[WAY_UP]);
		return wait_for(x);
	case SPLICE_FROM_EMPTY:
	case SPLICE_TO_FULL:
		return wait_for(x);
	case SPLICE_FROM_BROKEN:
		exchange_client_gone(x);
		return PUMP_ENDED;
	case SPLICE_TO_BROKEN:
		return upstream_full_stop(x);
	}
	return PUMP_ENDED;
}

bool exchange_pump_request(struct exchange *x)
{
	enum pump_result r = PUMP_MORE;

	while (r == PUMP_MORE) {
		struct upstream *u = x->up;

		if (!u || !u->connected || u->c.io.writing || x->upstream_req_done || x->req_abandoned)
			return true;
		if (x->rw && x->rw->up)
			r = pump_rewritten(x);
		else
			r = exchange_splices_request(x) ? pump_spliced(x) : pump_once(x);
	}
	return r != PUMP_ENDED;
}

/* Our own 100: the other proxy withheld the body until an instance is connected. */
bool exchange_release_content(struct exchange *x)
{
	static const struct span go_on = { "HTTP/1.1 100 Continue\r\n\r\n", 25 };

	x->continue_sent = true;
	return conn_send(&x->s->c, &go_on, 1) == 0;
}

/* Short content is read into replay, whole; longer content goes out as it comes, with what is there by then. */
enum exchange_step exchange_step_gather(struct exchange *x)
{
	struct span in = span_head(buf_span(&x->s->c.in), REPLAY_BYTES - buf_len(&x->replay));
	struct pieces p = { .chunked = false };
	size_t before = in.n;
	bool good;

	if (x->req.expect_continue && !x->continue_sent && !exchange_release_content(x)) {
		exchange_client_gone(x);
		return STEP_NEXT;
	}
	good = exchange_take_content(x, &in, &p);
	for (int i = 0; good && i < p.count; i++)
		buf_add_span(&x->replay, p.span[i]);
	buf_consume(&x->s->c.in, before - in.n);
	if (!good)
		return STEP_NEXT;
	if (x->replay.failed) {
		exchange_request_unreadable(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
		return STEP_NEXT;
	}
	if (x->req_done || buf_len(&x->replay) == REPLAY_BYTES) {
		x->state = X_PICK;
		return STEP_NEXT;
	}
	if (buf_len(&x->s->c.in) && before != in.n)
		return STEP_NEXT;
	if (x->s->c.eof) {
		exchange_client_gone(x);
		return STEP_NEXT;
	}
	exchange_await_content(x);
	if (x->cut)
		x->state = X_END;
	return x->cut ? STEP_NEXT : STEP_WAIT;
}

enum exchange_step exchange_step_send(struct exchange *x)
{
	bool remote = !exchange_is_local(x);
	bool small = x->req_done || (x->req.framing == HTTP_LENGTH && x->req.content_length <= REPLAY_BYTES);

	x->sent_any = x->upstream_req_done = x->req_abandoned = false;
	x->interim_count = 0;
	x->bad_answer = NULL;
	x->up_chunked = x->req.framing == HTTP_CHUNKED;
	x->hold = remote && !small && x->site_at < x->site_count;
	if ((x->rw && rewrite_up_begin(x)) || heads_add_request(x, &x->up->c.out)) {
		struct problem p = { .status = 503, .type = "no-memory", .detail = EXCHANGE_NO_MEMORY };

		exchange_problem(x, &p);
		return STEP_NEXT;
	}
	if (x->held_by_peer && !x->continue_sent && !exchange_release_content(x)) {
		x->cut = true;
		x->state = X_END;
		return STEP_NEXT;
	}
	x->state = X_AWAIT;
	return exchange_pump_request(x) ? STEP_WAIT : STEP_NEXT;
}

enum exchange_step exchange_step_await(struct exchange *x)
{
	(void)x;
	return STEP_WAIT;
}
