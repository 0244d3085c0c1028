#include "proxy/conn.h"

#include <errno.h>

/* Room is made only when there is none, so that a block serves until it is full. */
static int make_room(struct conn *c, size_t limit)
{
	size_t have = buf_len(&c->in), want = limit - have;

	if (c->in.mem && c->in.wr < c->in.cap)
		return 0;
	if (c->in.mem && have < c->in.cap)
		return buf_reserve(&c->in, 1); /* moves the content to the front */
	return buf_reserve(&c->in, !have || want > CONN_BLOCK ? CONN_BLOCK : want);
}

enum conn_read conn_read(struct conn *c, size_t limit)
{
	size_t have = buf_len(&c->in), room;
	ssize_t n;
	char *p;

	if (have >= limit) {
		if (io_want_read(&c->io, false))
			return CONN_READ_BROKEN;
		return CONN_READ_FULL;
	}
	if (make_room(c, limit))
		return CONN_READ_NOMEM;
	p = buf_room(&c->in, &room);
	if (room > limit - have)
		room = limit - have;
	n = io_read(&c->io, p, room);
	if (n > 0) {
		buf_commit(&c->in, (size_t)n);
		c->filled = (size_t)n == room;
		return CONN_READ_SOME;
	}
	if (!have)
		buf_fini(&c->in);
	if (n == -EAGAIN)
		return CONN_READ_NONE;
	c->eof = true;
	if (io_want_read(&c->io, false) || n < 0)
		return CONN_READ_BROKEN;
	return CONN_READ_EOF;
}

/* Keeps what was not written: the rest of out moves up, the rest of the spans is copied behind it. */
static int keep_rest(struct conn *c, size_t written, const struct span *spans, int count)
{
	size_t mine = buf_len(&c->out);
	size_t taken = written < mine ? written : mine;

	buf_consume(&c->out, taken);
	written -= taken;
	for (int i = 0; i < count; i++) {
		size_t skip = written < spans[i].n ? written : spans[i].n;

		written -= skip;
		buf_add(&c->out, spans[i].p + skip, spans[i].n - skip);
	}
	return c->out.failed ? ERR_NOMEM : 0;
}

/* A head and a small body are cheaper copied together than gathered by the kernel. */
#define COPY_MOST 1024

static bool join(struct buf *out, const struct span *spans, int count)
{
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += spans[i].n;
	if (!buf_len(out) || bytes > COPY_MOST || bytes > out->cap - out->wr)
		return false;
	for (int i = 0; i < count; i++)
		buf_add_span(out, spans[i]);
	return true;
}

int conn_send(struct conn *c, const struct span *spans, int count)
{
	struct iovec iov[CONN_SPANS + 1];
	size_t total;
	int used = 0;
	ssize_t n;

	if (c->out.failed)
		return ERR_NOMEM;
	if (c->io.writing)
		return keep_rest(c, 0, spans, count);
	if (count && join(&c->out, spans, count))
		count = 0;
	total = buf_len(&c->out);
	if (total)
		iov[used++] = (struct iovec){ c->out.mem + c->out.rd, total };
	for (int i = 0; i < count; i++) {
		if (!spans[i].n)
			continue;
		iov[used++] = (struct iovec){ (void *)(uintptr_t)spans[i].p, spans[i].n };
		total += spans[i].n;
	}
	if (!used)
		return 0;
	n = io_write(&c->io, iov, used);
	if (n < 0 && n != -EAGAIN)
		return ERR_CLOSED;
	if (n < 0)
		n = 0;
	if ((size_t)n == total) {
		buf_fini(&c->out);
		return 0;
	}
	if (keep_rest(c, (size_t)n, spans, count))
		return ERR_NOMEM;
	return io_want_write(&c->io, true);
}

void conn_close(struct conn *c, bool reset)
{
	io_close(&c->io, reset);
	buf_fini(&c->in);
	buf_fini(&c->out);
}
