/* Bulk content without copies: once much of a body of known length is left and nothing has to be kept, counted byte by
 * byte or framed anew, it goes from socket to socket through a pipe (io_pipe.h), in both directions alike.
 *
 *	from ==fill==> pipe ==drain==> to
 *
 * What holds: bytes enter the pipe only when the buffers of both streams are empty, so order is kept; once the pipe is
 * open the rest of the body goes through it; a pipe that is not empty means that `to` is full, its write event is on
 * and reading from `from` is off. */
#include "proxy/rewrite_exchange.h"

#include <errno.h>

/* Opening a pipe pays from here on. */
#define SPLICE_LEAST (128u << 10)
/* Then others get their turn. */
#define SPLICE_TURN (1u << 20)

static bool is_ready(struct exchange *x, enum exchange_way way, const struct http_body *body, const struct conn *from,
                     const struct conn *to)
{
	struct io_pipe *pipe = &x->pipe[way];

	if (pipe->held)
		return true;
	if (x->no_splice & 1u << way || buf_len(&from->in) || buf_len(&to->out) || from->eof)
		return false;
	if (io_pipe_is_open(pipe))
		return http_body_left(body) > 0;
	if (http_body_left(body) < SPLICE_LEAST || !io_can_splice(&from->io, &to->io))
		return false;
	if (io_pipe_open(pipe)) {
		x->no_splice |= (uint8_t)(1u << way);
		return false;
	}
	return true;
}

bool exchange_splices_response(struct exchange *x)
{
	return x->state == X_RELAY && x->up && !rewrite_is_down(x) && !x->client_chunked && x->res.framing == HTTP_LENGTH &&
	       is_ready(x, WAY_DOWN, &x->res_body, &x->up->c, &x->s->c);
}

bool exchange_splices_request(struct exchange *x)
{
	uint64_t most = x->view->conf->limit_body_bytes;

	return (x->state == X_AWAIT || x->state == X_RELAY) && x->up && x->up->connected && !x->hold &&
	       !(x->rw && x->rw->up) && !x->req_abandoned && x->replay_lost && x->req.framing == HTTP_LENGTH && (!most || x->req.content_length <= most) &&
	       is_ready(x, WAY_UP, &x->req_body, &x->s->c, &x->up->c);
}

/* Until the streams have nothing, or no room, or the turn is over.  *moved_r: bytes that entered the pipe. */
static enum splice_result move(struct io_pipe *pipe, struct http_body *body, struct conn *from, struct conn *to,
                               uint64_t *moved_r)
{
	ssize_t n;

	for (*moved_r = 0;;) {
		while (pipe->held) {
			n = io_pipe_drain(pipe, &to->io);
			if (n == -EAGAIN)
				return io_want_write(&to->io, true) || io_want_read(&from->io, false)
				               ? SPLICE_TO_BROKEN : SPLICE_TO_FULL;
			if (n < 0)
				return SPLICE_TO_BROKEN;
		}
		if (!http_body_left(body))
			return SPLICE_DONE;
		if (*moved_r >= SPLICE_TURN)
			return SPLICE_FROM_EMPTY; /* its event comes again */
		n = io_pipe_fill(pipe, &from->io,
		                 http_body_left(body) < IO_PIPE_BYTES ? (size_t)http_body_left(body) : IO_PIPE_BYTES);
		if (n == -EAGAIN)
			return SPLICE_FROM_EMPTY;
		if (n <= 0)
			return SPLICE_FROM_BROKEN;
		http_body_pass(body, (size_t)n);
		*moved_r += (uint64_t)n;
	}
}

enum splice_result exchange_splice(struct exchange *x, enum exchange_way way)
{
	struct conn *client = &x->s->c, *up = &x->up->c;
	enum splice_result r;
	uint64_t moved;

	if (way == WAY_DOWN) {
		r = move(&x->pipe[way], &x->res_body, up, client, &moved);
		x->bytes_out += moved;
		up->filled = true; /* never more than the content was read */
	} else {
		r = move(&x->pipe[way], &x->req_body, client, up, &moved);
		x->bytes_in += moved;
	}
	return r;
}
