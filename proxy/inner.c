/* A request of our own: its stream's other end is this object.
 *
 * The session reads the head, then the content, from here; what it writes is the content of the answer, since the head is
 * handed over as it came (inner_take_head).  Readiness is a queue of the worker (inners_run_ready).  The object lives
 * until done was called and no piece of its source is under way. */
#include "proxy/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proxy/exchange_int.h"
#include "proxy/rewrite_int.h"

#define PIECE_BYTES 16384
/* Buffers on the way may hold all of a content: it is given the time that a link of 1 MB/s takes. */
#define SLOWEST_BYTES_US 1
/* An answer that goes on beyond this is left. */
#define DRAIN_BYTES (64u << 20)

struct inner {
	struct worker *w;
	struct io *io;          /* NULL: closed */
	struct inner_request r;
	struct buf head, piece; /* of the request: what was not read yet */
	uint64_t asked, total;  /* content: given to read or asked of the source; in all */
	bool fetching, failed, queued, told, judged, enough;
	struct arena arena;     /* of the answer */
	struct http_head res;
	struct buf body;
	uint64_t drained, waits; /* bytes; times that the answer was waited for once more */
	struct inner_answer answer;
	char reason[48];
	TAILQ_ENTRY(inner) link;
};

static struct inner *of(const struct io *io)
{
	return io->impl;
}

static void inner_free(struct inner *in)
{
	buf_fini(&in->head);
	buf_fini(&in->piece);
	buf_fini(&in->body);
	arena_fini(&in->arena);
	free(in);
}

static void enqueue(struct inner *in)
{
	if (in->queued)
		return;
	in->queued = true;
	TAILQ_INSERT_TAIL(&in->w->inners_ready, in, link);
}

/* ---- content ---- */

static void on_piece(void *arg, int rc)
{
	struct inner *in = arg;
	size_t n = buf_len(&in->piece);

	in->fetching = false;
	in->failed = rc || in->piece.failed || !n || n > in->total - in->asked;
	in->asked += n;
	if (in->told)
		inner_free(in);
	else
		enqueue(in);
}

static void fetch(struct inner *in)
{
	uint64_t left = in->total - in->asked;

	if (!in->r.source || in->fetching || in->failed || !left)
		return;
	in->fetching = true;
	if (in->r.source->next(in->r.source, in->asked, &in->piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES,
	                       on_piece, in)) {
		in->fetching = false;
		in->failed = true;
		enqueue(in);
	}
}

static bool has_bytes(const struct inner *in)
{
	return in->failed || buf_len(&in->head) || (!in->fetching && buf_len(&in->piece)) ||
	       (!in->fetching && in->asked < in->total);
}

static size_t take(struct buf *from, void *room, size_t bytes)
{
	size_t n = buf_len(from) < bytes ? buf_len(from) : bytes;

	memcpy(room, buf_span(from).p, n);
	buf_consume(from, n);
	return n;
}

static ssize_t inner_read(struct io *io, void *room, size_t bytes)
{
	struct inner *in = of(io);
	size_t n;

	if (buf_len(&in->head))
		return (ssize_t)take(&in->head, room, bytes);
	if (!in->r.source && in->asked < in->total) {
		n = in->total - in->asked < bytes ? (size_t)(in->total - in->asked) : bytes;
		memcpy(room, in->r.body.p + in->asked, n);
		in->asked += n;
		return (ssize_t)n;
	}
	if (!in->fetching && !buf_len(&in->piece))
		fetch(in);
	if (in->failed)
		return -ECONNRESET;
	if (!in->fetching && buf_len(&in->piece))
		return (ssize_t)take(&in->piece, room, bytes);
	return -EAGAIN;
}

static ssize_t inner_write(struct io *io, const struct iovec *iov, int count)
{
	struct inner *in = of(io);
	size_t total = 0, room;

	for (int i = 0; i < count; i++) {
		room = INNER_ANSWER_BYTES - buf_len(&in->body);
		buf_add(&in->body, iov[i].iov_base, iov[i].iov_len < room ? iov[i].iov_len : room);
		in->answer.body_cut |= iov[i].iov_len > room;
		total += iov[i].iov_len;
	}
	in->drained += total;
	in->enough = in->drained > DRAIN_BYTES;
	return in->enough || in->body.failed ? -EPIPE : (ssize_t)total;
}

static int inner_connected(struct io *io)
{
	(void)io;
	return 0;
}

static bool inner_quiet(struct io *io)
{
	return !has_bytes(of(io));
}

static int inner_want(struct io *io, bool read, bool write)
{
	io->reading = read;
	io->writing = write;
	if (read && has_bytes(of(io)))
		enqueue(of(io));
	return 0;
}

static void inner_shutdown_write(struct io *io)
{
	(void)io;
}

static void inner_close(struct io *io, bool reset)
{
	struct inner *in = of(io);

	(void)reset;
	in->io = NULL;
	io->impl = NULL;
	enqueue(in);
}

static const struct io_ops inner_ops = {
	.read = inner_read,
	.write = inner_write,
	.connected = inner_connected,
	.quiet = inner_quiet,
	.want = inner_want,
	.shutdown_write = inner_shutdown_write,
	.close = inner_close,
};

/* ---- the machine's side ---- */

bool inner_is_once(const struct exchange *x)
{
	return of(&x->s->c.io)->r.once;
}

bool inner_waits_on(struct exchange *x)
{
	struct inner *in = of(&x->s->c.io);
	uint64_t per_wait = (uint64_t)x->view->conf->timeout_response_us * SLOWEST_BYTES_US;

	if (!per_wait || in->waits >= in->total / per_wait)
		return false;
	in->waits++;
	return true;
}

int inner_route(struct exchange *x)
{
	const struct inner_request *r = &of(&x->s->c.io)->r;
	const struct http_field *scope = http_find(&x->req, HTTP_X_SCOPEMESH_SCOPE);
	const struct conf *conf = x->view->conf;
	struct problem p = { .status = 503, .type = "no-instance", .detail = "no service or site of that name" };

	for (x->svc_index = 0; x->svc_index < conf->service_count; x->svc_index++)
		if (span_eq(conf->services[x->svc_index].name, r->service))
			break;
	x->sites = arena_alloc(&x->arena, sizeof(*x->sites));
	if (x->svc_index == conf->service_count || !x->sites || !registry_find(x->view->reg, r->site, x->sites)) {
		exchange_problem(x, &p);
		return ERR_NOT_FOUND;
	}
	x->svc = &conf->services[x->svc_index];
	x->site_count = 1;
	x->op = x->sites[0] == x->view->reg->local ? OP_LOCAL : OP_FORWARD;
	x->req.expect_continue = x->req.upgrade = false;
	if (scope) {
		x->scope_text = scope->value;
		x->has_scope = true;
	}
	return 0;
}

int inner_take_head(struct exchange *x)
{
	struct inner *in = of(&x->s->c.io);

	if (http_head_copy(&in->arena, &x->res, &in->res))
		return ERR_NOMEM;
	in->answer.head = &in->res;
	return 0;
}

/* Of an answer that a proxy made.  These may come when a part of the request went on already. */
static bool leaves_doubt(unsigned status)
{
	return status == 400 || status == 408 || status == 500 || status == 502 || status == 504;
}

static enum inner_result judge(const struct exchange *x, const struct inner *in)
{
	bool ours = !in->answer.head;

	if (x->res_started && !ours && !x->proxy_error)
		return (x->res_done && !x->cut) || in->enough ? INNER_ANSWERED : INNER_UNKNOWN;
	if (ours)
		return x->outcome_unknown || x->sent_any ? INNER_UNKNOWN : INNER_NOT_EXECUTED;
	return x->outcome_unknown || leaves_doubt(x->status) ? INNER_UNKNOWN : INNER_NOT_EXECUTED;
}

void inner_judge(struct exchange *x)
{
	struct inner *in = of(&x->s->c.io);
	struct inner_answer *a = &in->answer;
	const char *reason = x->proxy_error ? x->proxy_error : x->reason;

	a->result = judge(x, in);
	a->status = x->status;
	a->repeated = x->outcome_unknown;
	a->by_proxy = x->proxy_error != NULL;
	if (reason && a->result != INNER_ANSWERED) {
		size_t n = strnlen(reason, sizeof(in->reason) - 1);

		memcpy(in->reason, reason, n);
		a->reason = in->reason;
	}
	in->judged = true;
	log_debug("inner: %.*s %.*s at %.*s: %u %s", SPAN_ARG(in->r.method), SPAN_ARG(in->r.target), SPAN_ARG(in->r.site),
	          a->status, a->reason ? a->reason : "");
}

/* Adds the content inflated; false: it is no gzip, not whole, too long, or there is no memory. */
static bool inflate_all(struct span content, struct buf *out)
{
	struct rewrite_inflate *z = rewrite_inflate_new();
	bool good = z != NULL;

	for (size_t at = 0; good && at < content.n; at += REWRITE_GZIP_SLICE)
		good = !rewrite_inflate_feed(z, span_head(span_from(content, at), REWRITE_GZIP_SLICE), out) &&
		       buf_len(out) <= INNER_ANSWER_BYTES;
	good = good && rewrite_inflate_is_whole(z);
	rewrite_inflate_free(&z);
	return good;
}

/* An instance may compress although identity was asked for: then nobody would find the id in it.  What cannot be taken
 * off stays, and its Content-Encoding tells so. */
static void take_off_gzip(struct inner *in)
{
	struct http_field *coding = in->answer.head ? http_find(&in->res, HTTP_CONTENT_ENCODING) : NULL;
	struct buf plain;

	if (!coding || in->answer.result != INNER_ANSWERED || in->answer.body_cut ||
	    http_count(&in->res, HTTP_CONTENT_ENCODING) > 1 ||
	    (!span_ieq(coding->value, SPAN("gzip")) && !span_ieq(coding->value, SPAN("x-gzip"))))
		return;
	buf_init(&plain, NULL, 0);
	if (!inflate_all(buf_span(&in->body), &plain)) {
		buf_fini(&plain);
		return;
	}
	buf_fini(&in->body);
	in->body = plain;
	memmove(coding, coding + 1, (size_t)(&in->res.fields[--in->res.field_count] - coding) * sizeof(*coding));
}

static void tell(struct inner *in)
{
	struct inner_answer *a = &in->answer;

	if (!in->judged) { /* it did not come to an exchange */
		a->result = INNER_NOT_EXECUTED;
		a->reason = "no-memory";
		a->by_proxy = true;
		a->status = 503;
	} else {
		take_off_gzip(in);
		a->body = buf_span(&in->body);
	}
	in->told = true;
	in->r.done(in->r.arg, a);
	if (!in->fetching)
		inner_free(in);
}

void inners_run_ready(struct worker *w)
{
	struct inner *in;

	while ((in = TAILQ_FIRST(&w->inners_ready))) {
		TAILQ_REMOVE(&w->inners_ready, in, link);
		in->queued = false;
		if (!in->io) {
			tell(in);
			continue;
		}
		if (!in->io->reading || !has_bytes(in))
			continue;
		in->io->handler->readable(in->io);
		if (!in->io || (in->io->reading && has_bytes(in)))
			enqueue(in);
	}
}

static bool hangs(const struct exchange *x)
{
	enum site_reach reach;

	if (!x || !x->inner || x->state != X_AWAIT || !x->upstream_req_done || x->op != OP_FORWARD)
		return false;
	reach = site_live_reach(x->view->reg->sites[x->sites[0]].live);
	return reach == REACH_DOWN || reach == REACH_FAILED;
}

void inners_leave_down(struct worker *w)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&w->sessions); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (hangs(s->x)) {
			exchange_attempt_failed(s->x, OUTCOME_UNKNOWN, REASON_DOWN);
			exchange_run(s->x);
		}
	}
}

/* ---- sending ---- */

static bool takes_content(struct span method)
{
	return span_eq(method, SPAN("POST")) || span_eq(method, SPAN("PUT")) || span_eq(method, SPAN("PATCH"));
}

static void write_head(struct inner *in)
{
	const struct inner_request *r = &in->r;
	struct buf *out = &in->head;

	buf_add_span(out, r->method);
	buf_add_char(out, ' ');
	buf_add_span(out, r->target);
	buf_add_z(out, " HTTP/1.1\r\n");
	buf_add_span(out, r->fields);
	if (r->operation.n) {
		buf_add_z(out, "X-Scopemesh-Operation: ");
		buf_add_span(out, r->operation);
		buf_add_z(out, "\r\n");
	}
	if (in->total || takes_content(r->method)) {
		buf_add_z(out, "Content-Length: ");
		buf_add_number(out, in->total);
		buf_add_z(out, "\r\n");
	}
	buf_add_z(out, "\r\n");
}

int inner_send(struct worker *w, const struct inner_request *r)
{
	struct addr nobody = { .len = sizeof(sa_family_t) };
	struct session *s;
	struct inner *in;

	if (w->stopping)
		return ERR_CLOSED;
	in = calloc(1, sizeof(*in));
	if (!in)
		return ERR_NOMEM;
	in->w = w;
	in->r = *r;
	in->total = r->source ? r->source_bytes : r->body.n;
	buf_init(&in->head, NULL, 0);
	buf_init(&in->piece, NULL, 0);
	buf_init(&in->body, NULL, 0);
	arena_init(&in->arena, NULL, 0, EXCHANGE_ARENA);
	write_head(in);
	nobody.ss.ss_family = AF_UNIX;
	s = in->head.failed ? NULL : session_new(&w->inner, &nobody);
	if (!s) {
		inner_free(in);
		return ERR_NOMEM;
	}
	in->io = &s->c.io;
	s->c.io = (struct io){ .ops = &inner_ops, .handler = &session_io_handler, .impl = in, .fd = -1 };
	session_begin(s);
	return 0;
}
