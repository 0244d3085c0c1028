/* After 101 (RFC 9110 7.8): bytes both ways, unseen, until both sides have ended.  Half-close is kept: the end of
 * one direction is passed on when its bytes are out, and the other direction goes on. A full side stops the
 * other's reader. timeouts.idle without a byte ends it. */
#include "proxy/exchange_int.h"

#include "base/clock.h"

/* What from has received goes to to.  False when to is broken. */
static bool move_bytes(struct conn *from, struct conn *to, bool *ended, uint64_t *count)
{
	struct span data = buf_span(&from->in);

	if (!to->io.writing && data.n) {
		if (conn_send(to, &data, 1))
			return false;
		*count += data.n;
		buf_consume(&from->in, data.n);
		buf_fini(&from->in);
	}
	if (from->eof && !buf_len(&from->in) && !to->io.writing && !*ended) {
		*ended = true;
		io_shutdown_write(&to->io);
	}
	return from->eof || io_want_read(&from->io, !to->io.writing) == 0;
}

enum exchange_step exchange_step_tunnel(struct exchange *x)
{
	struct conn *client = &x->s->c, *up = &x->up->c;

	if (!move_bytes(client, up, &x->client_ended, &x->bytes_in) ||
	    !move_bytes(up, client, &x->upstream_ended, &x->bytes_out)) {
		exchange_cut_short(x, "tunnel-broken");
		return STEP_NEXT;
	}
	if (x->client_ended && x->upstream_ended) {
		upstream_drop(&x->up, false);
		x->res_done = true;
		x->state = X_END;
		return STEP_NEXT;
	}
	worker_deadline(x->w, &x->s->deadline, DEADLINE_IDLE, clock_mono_us());
	return STEP_WAIT;
}

void exchange_start_tunnel(struct exchange *x)
{
	deadline_clear(&x->w->deadlines, &x->up->deadline);
	exchange_target_now(x)->status = x->res.status;
	x->status = x->res.status;
	x->first_us = clock_mono_us() - x->start_us;
	x->keep = false;
	x->res_started = true;
	x->state = X_TUNNEL;
	if (heads_add_switch(x, &x->s->c.out) || conn_flush(&x->s->c))
		exchange_cut_short(x, "client-gone");
}
