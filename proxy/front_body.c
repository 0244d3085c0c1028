/* The content of a replicated write: whole, before anything is executed.  Up to OPERATION_BODY bytes stay in memory;
 * longer content goes to the spool as it comes, and a full spool stops the client's reader. */
#include "proxy/front_int.h"

static enum exchange_step refuse(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	front_body_fini(x->front);
	exchange_request_unreadable(x, status, type, detail);
	return STEP_NEXT;
}

void front_body_fini(struct front *f)
{
	splice_free(&f->splice);
	rewrite_look_fini(&f->look);
	fingerprint_free(&f->fingerprint);
	spool_abandon(&f->file);
	buf_fini(&f->text);
}

/* Why the spool does not take it. */
static enum exchange_step not_spooled(struct exchange *x, int rc)
{
	switch (rc) {
	case ERR_LIMIT:
		return refuse(x, 507, "spool-full", "no room is left for bodies that wait for other sites (limits.spool_bytes); "
		                                    "nothing was executed");
	case ERR_BUSY:
		return refuse(x, 503, "queue-full", "too many large bodies come in at once; nothing was executed");
	case ERR_NOMEM:
		return refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	default:
		return refuse(x, 503, "store", "the body cannot be written to disk; nothing was executed");
	}
}

/* ---- into the spool ---- */

static void go_on(struct front *f)
{
	if (f->x && f->x->state == X_REPLICATE)
		exchange_run(f->x);
}

static void on_written(void *arg, int rc)
{
	struct front *f = arg;

	f->full = false;
	if (rc)
		f->spool_rc = rc;
	go_on(f);
}

static void on_finished(void *arg, int rc)
{
	struct front *f = arg;

	f->spool_rc = rc;
	f->whole = !rc;
	go_on(f);
}

/* 0: text is empty. */
static int flush(struct exchange *x)
{
	struct front *f = x->front;
	int rc = 0;

	if (!f->rep->spool)
		return ERR_LIMIT;
	if (!f->file)
		rc = spool_create(f->rep->spool, &f->file);
	if (!rc && buf_len(&f->text))
		rc = spool_write(f->file, &f->text, x->w->answers, on_written, f);
	else if (rc == ERR_BUSY)
		return ERR_LIMIT;
	return rc;
}

/* The client waits until there is room again: on_written runs the machine. */
static enum exchange_step wait_for_room(struct exchange *x)
{
	x->front->full = true;
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	if (io_want_read(&x->s->c.io, false))
		return refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	return STEP_WAIT;
}

static enum exchange_step finish_spool(struct exchange *x)
{
	struct front *f = x->front;
	struct operation *op = f->op;
	int rc;

	if (!operation_keep(op, &op->spool, spool_name(f->file)))
		return refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	op->body_bytes = f->bytes;
	rc = spool_finish(f->file, x->w->answers, on_finished, f);
	if (rc)
		return not_spooled(x, rc);
	f->finishing = true;
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	return STEP_WAIT;
}

/* ---- off the connection ---- */

static bool add(struct front *f, struct span data)
{
	size_t before = buf_len(&f->text);

	if (f->splice)
		splice_feed(f->splice, data, 0, &f->text);
	else
		buf_add_span(&f->text, data);
	f->bytes += buf_len(&f->text) - before;
	return !f->text.failed && (!f->fingerprint || !fingerprint_add(f->fingerprint, data));
}

static bool end(struct front *f)
{
	size_t before = buf_len(&f->text);

	f->ended = true;
	if (f->splice)
		splice_end(f->splice, &f->text);
	f->bytes += buf_len(&f->text) - before;
	return !f->text.failed;
}

/* What is there of it.  False: the request turned out bad, or there is no memory; answered. */
static bool take(struct exchange *x)
{
	struct span in = buf_span(&x->s->c.in);
	struct pieces p = { .chunked = false };
	size_t before = in.n;
	bool good = exchange_take_content(x, &in, &p), kept = true;

	for (int i = 0; good && kept && i < p.count; i++)
		kept = add(x->front, p.span[i]);
	buf_consume(&x->s->c.in, before - in.n);
	if (good && kept && x->req_done)
		kept = end(x->front);
	if (good && !kept)
		refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	return good && kept;
}

static enum exchange_step keep_in_memory(struct exchange *x)
{
	struct front *f = x->front;

	if (buf_len(&f->text) && !operation_keep(f->op, &f->op->body, buf_span(&f->text)))
		return refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	f->op->body_bytes = f->op->body.n;
	buf_fini(&f->text);
	f->whole = true;
	return STEP_NEXT;
}

/* The client is told to go on only where it would not be in vain. */
static bool may_come(const struct exchange *x)
{
	const struct spool *spool = x->front->rep->spool;

	return x->req.framing != HTTP_LENGTH || x->req.content_length <= OPERATION_BODY ||
	       (spool && spool_has_room(spool, x->req.content_length));
}

static enum exchange_step await_more(struct exchange *x)
{
	if (x->s->c.eof) {
		exchange_client_gone(x);
		return STEP_NEXT;
	}
	exchange_await_content(x);
	if (x->cut)
		x->state = X_END;
	return x->cut ? STEP_NEXT : STEP_WAIT;
}

/* All of it has come. */
static enum exchange_step end_content(struct exchange *x)
{
	struct front *f = x->front;

	if (!f->ended && !end(f))
		return refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	return !f->file && buf_len(&f->text) <= OPERATION_BODY ? keep_in_memory(x) : STEP_WAIT;
}

enum exchange_step front_take_content(struct exchange *x)
{
	struct front *f = x->front;
	int rc;

	if (f->spool_rc)
		return not_spooled(x, f->spool_rc);
	if (f->finishing || f->full)
		return STEP_WAIT;
	if ((x->req.expect_continue || x->held_by_peer) && !x->continue_sent && !x->req_done) {
		if (!may_come(x))
			return not_spooled(x, ERR_LIMIT);
		if (!exchange_release_content(x)) {
			exchange_client_gone(x);
			return STEP_NEXT;
		}
	}
	for (;;) {
		if (x->req_done && end_content(x) == STEP_NEXT)
			return STEP_NEXT;
		if (buf_len(&f->text) > OPERATION_BODY || (x->req_done && buf_len(&f->text))) {
			rc = flush(x);
			if (rc)
				return rc == ERR_BUSY ? wait_for_room(x) : not_spooled(x, rc);
		}
		if (x->req_done)
			return finish_spool(x);
		if (!buf_len(&x->s->c.in))
			return await_more(x);
		rc = (int)buf_len(&x->s->c.in);
		if (!take(x))
			return STEP_NEXT;
		if (!x->req_done && (int)buf_len(&x->s->c.in) == rc)
			return await_more(x);
	}
}
