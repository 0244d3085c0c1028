/* TLS under the readiness interface of io.h.
 *
 * Below the stream lies another one, the socket (raw).  What the owner wants of the one (io->reading, io->writing) and
 * what is wanted of the other differ: OpenSSL may have to write in order to read, and read in order to write
 * (handshakes, key updates).
 *
 *	socket readable  when  reading, unless reading waits for room; or writing waits for bytes
 *	socket writable  when  writing, unless writing waits for bytes; or reading waits for room; or the end waits
 *
 * OpenSSL takes what the socket has, up to a record and some more, so bytes may be left inside when the owner's room was
 * smaller or there was more than one record.  Then a timer of our own brings the owner back in the next turn of the loop,
 * since the socket may stay silent; not at once, so that a fast sender does not keep the loop from everybody else.
 *
 * A stream that ends without close_notify was cut: it is broken, never ended, else whoever cuts a connection could end
 * a message whose length only its end tells (RFC 9112 9.8).
 *
 * A client whose certificate we refuse may have sent its request already (TLS 1.3).  Closing with unread bytes would
 * reset the connection and take our alert with it, so a refused stream can still be read: everything is thrown away. */
#include "proxy/io_tls.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/io_loop.h"
#include "proxy/worker.h"

#define RECORD_BYTES 16384

struct io_tls {
	struct io raw;             /* the socket */
	struct io *io;             /* whose stream this is */
	SSL *ssl;
	SSL_CTX *made_with;        /* compared, not used: ssl holds it */
	SSL_CTX *accepted_by;      /* a reference: the context that last accepted the peer */
	char *expected, *site;     /* of the peer; allocated; expected NULL: anybody */
	const char *why;           /* static text */
	int64_t ends_ms;           /* the peer's certificate; 0: none */
	bool server, linked, shaken, failed, refused;
	bool heard;                /* bytes of the stream have come */
	bool read_waits_for_room, write_waits_for_bytes, end_waits;
	struct event again;        /* bytes are left inside */
};

static const struct io_ops tls_ops;

static struct io_tls *tls_of(const struct io *io)
{
	return io->ops == &tls_ops ? io->impl : NULL;
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static int arm(struct io *io)
{
	struct io_tls *t = io->impl;
	bool read = (io->reading && !t->read_waits_for_room) || (io->writing && t->write_waits_for_bytes);
	bool write = (io->writing && !t->write_waits_for_bytes) || (io->reading && t->read_waits_for_room) || t->end_waits;

	return t->raw.ops->want(&t->raw, read, write);
}

static struct io_tls *of_raw(struct io *raw)
{
	return container_of(raw, struct io_tls, raw);
}

/* A handler may close the stream, and open another one in its place. */
static bool is_still(const struct io *io, const struct io_tls *t)
{
	return tls_of(io) == t;
}

static void on_raw_readable(struct io *raw)
{
	struct io_tls *t = of_raw(raw);
	struct io *io = t->io;

	event_del(&t->again);
	if (t->write_waits_for_bytes && io->writing)
		io->handler->writable(io);
	if (is_still(io, t) && io->reading && !t->read_waits_for_room)
		io->handler->readable(io);
}

static void end_writing(struct io *io);

static void on_raw_writable(struct io *raw)
{
	struct io_tls *t = of_raw(raw);
	struct io *io = t->io;

	if (t->end_waits)
		end_writing(io);
	if (t->read_waits_for_room && io->reading)
		io->handler->readable(io);
	if (is_still(io, t) && io->writing && !t->write_waits_for_bytes)
		io->handler->writable(io);
}

static const struct io_handler raw_handler = { on_raw_readable, on_raw_writable };

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;

	(void)fd;
	(void)what;
	clock_hold();
	if (io->reading)
		io->handler->readable(io);
	clock_release();
}

static void read_on(struct io *io)
{
	static const struct timeval at_once = { 0, 0 };
	struct io_tls *t = io->impl;

	if (io->reading && SSL_has_pending(t->ssl))
		event_add(&t->again, &at_once); /* without memory the next bytes bring it along */
}

static int tls_want(struct io *io, bool read, bool write)
{
	bool again = read && !io->reading;

	io->reading = read;
	io->writing = write;
	if (arm(io))
		return ERR_NOMEM;
	if (again)
		read_on(io);
	return 0;
}

/* ---- what OpenSSL says --------------------------------------------------------------------------------------- */

/* Alerts by which a peer refuses a handshake (RFC 8446 6.2); once it has answered, none of them says that it did nothing. */
static bool refuses(unsigned long code)
{
	int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;

	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return false;
	return alert == SSL_AD_HANDSHAKE_FAILURE || (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
	       alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED || alert == SSL_AD_PROTOCOL_VERSION ||
	       alert == SSL_AD_NO_APPLICATION_PROTOCOL || alert == SSL_AD_UNRECOGNIZED_NAME ||
	       alert == TLS13_AD_CERTIFICATE_REQUIRED || alert == TLS13_AD_MISSING_EXTENSION;
}

static const char *reason_of(const struct io_tls *t, unsigned long code)
{
	long verdict = SSL_get_verify_result(t->ssl);
	const char *reason;

	if (!t->shaken && verdict == X509_V_ERR_APPLICATION_VERIFICATION)
		return "the certificate names no site";
	if (!t->shaken && verdict != X509_V_OK)
		return X509_verify_cert_error_string(verdict);
	reason = code ? ERR_reason_error_string(code) : NULL;
	return reason ? reason : "the connection was cut";
}

static ssize_t broken(struct io *io, unsigned long code)
{
	struct io_tls *t = io->impl;

	t->failed = true;
	t->why = reason_of(t, code);
	t->refused = !t->shaken || (!t->heard && refuses(code));
	ERR_clear_error();
	return t->refused ? -EKEYREJECTED : -ECONNRESET;
}

/* After an operation that did not get on.  -EAGAIN: an event will come; 0: the peer has ended its side. */
static ssize_t judge(struct io *io, int rc, bool writing)
{
	struct io_tls *t = io->impl;

	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		t->write_waits_for_bytes = writing;
		return arm(io) ? -ENOMEM : -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->read_waits_for_room = !writing;
		return arm(io) ? -ENOMEM : -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return writing ? -EPIPE : 0;
	default:
		return broken(io, ERR_peek_error());
	}
}

/* Before an operation: what an earlier one waited for may have come. */
static void begin(struct io *io, bool writing)
{
	struct io_tls *t = io->impl;
	bool *waits = writing ? &t->write_waits_for_bytes : &t->read_waits_for_room;

	ERR_clear_error();
	if (!*waits)
		return;
	*waits = false;
	if (arm(io))
		t->failed = true;
}

/* ---- shaking hands ------------------------------------------------------------------------------------------- */

static ssize_t refuse(struct io *io, const char *why)
{
	struct io_tls *t = io->impl;

	t->failed = t->refused = true;
	t->why = why;
	return -EKEYREJECTED;
}

/* The identity of the peer, of a resumed session too. */
static ssize_t meet(struct io *io)
{
	struct io_tls *t = io->impl;
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	struct tm tm = { 0 };

	t->shaken = true;
	if (cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
		t->ends_ms = (int64_t)timegm(&tm) * 1000;
	t->site = cert ? tls_site_of(cert) : NULL;
	if (t->expected && (!t->site || strcmp(t->site, t->expected) != 0))
		return refuse(io, "its certificate is another site's");
	if (t->expected && t->ends_ms <= clock_wall_ms())
		return refuse(io, "certificate has expired");
	return 0;
}

/* 0: done. */
static ssize_t shake(struct io *io, bool writing)
{
	struct io_tls *t = io->impl;
	ssize_t n;
	int rc;

	if (t->shaken)
		return 0;
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1)
		return meet(io);
	n = judge(io, rc, writing);
	return n == 0 ? broken(io, 0) : n;
}

/* ---- the operations ------------------------------------------------------------------------------------------ */

static ssize_t tls_read(struct io *io, void *room, size_t bytes)
{
	struct io_tls *t = io->impl;
	ssize_t n;
	int rc;

	if (t->failed)
		return t->server && t->refused ? io_read(&t->raw, room, bytes) : t->refused ? -EKEYREJECTED : -ECONNRESET;
	begin(io, false);
	n = shake(io, false);
	if (n)
		return n;
	rc = SSL_read(t->ssl, room, bytes > INT_MAX ? INT_MAX : (int)bytes);
	if (rc <= 0)
		return judge(io, rc, false);
	t->heard = true;
	read_on(io);
	return rc;
}

/* What is to be written, as records: one piece after the other as long as there is enough of each, small ones
 * gathered.  A record that waits for room is offered again with the same bytes in front, since what was not taken stays
 * first in line (conn.c). */
struct pieces_left { const struct iovec *iov; int count; size_t skip; };

static void pass(struct pieces_left *left, size_t bytes)
{
	left->skip += bytes;
	if (left->skip == left->iov->iov_len)
		left->iov++, left->count--, left->skip = 0;
}

static int next_record(struct pieces_left *left, char *gathered, const char **record_r)
{
	size_t n = 0;

	while (left->count && n < RECORD_BYTES) {
		const char *p = (const char *)left->iov->iov_base + left->skip;
		size_t have = left->iov->iov_len - left->skip, part = have < RECORD_BYTES - n ? have : RECORD_BYTES - n;

		if (!n && (part == RECORD_BYTES || left->count == 1)) {
			*record_r = p;
			pass(left, part);
			return (int)part;
		}
		memcpy(gathered + n, p, part);
		pass(left, part);
		n += part;
	}
	*record_r = gathered;
	return (int)n;
}

static ssize_t tls_write(struct io *io, const struct iovec *iov, int count)
{
	static _Thread_local char gathered[RECORD_BYTES];
	struct pieces_left left = { iov, count, 0 };
	struct io_tls *t = io->impl;
	const char *record;
	ssize_t done = 0, n;
	int bytes, rc;

	if (t->failed)
		return -EPIPE;
	begin(io, true);
	n = shake(io, true);
	if (n)
		return n;
	while ((bytes = next_record(&left, gathered, &record)) > 0) {
		ERR_clear_error();
		rc = SSL_write(t->ssl, record, bytes);
		if (rc <= 0) {
			n = judge(io, rc, true);
			return n == -EAGAIN && done ? done : n;
		}
		done += rc;
	}
	return done;
}

static int tls_connected(struct io *io)
{
	struct io_tls *t = io->impl;
	int rc = t->linked ? 0 : io_connected(&t->raw);

	if (rc)
		return rc;
	t->linked = true;
	if (t->failed)
		return -EKEYREJECTED;
	begin(io, true);
	return (int)shake(io, true);
}

/* Tickets and other messages of TLS are no bytes; they are taken in here. */
static bool tls_quiet(struct io *io)
{
	struct io_tls *t = io->impl;
	char byte;
	int rc;

	if (t->failed)
		return false;
	if (!t->shaken)
		return true;
	begin(io, false);
	rc = SSL_peek(t->ssl, &byte, 1);
	return rc <= 0 && judge(io, rc, false) == -EAGAIN;
}

static void end_writing(struct io *io)
{
	struct io_tls *t = io->impl;
	int rc;

	t->end_waits = false;
	if (t->shaken && !t->failed) {
		ERR_clear_error();
		rc = SSL_shutdown(t->ssl);
		t->end_waits = rc < 0 && SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_WRITE;
	}
	if (arm(io))
		t->end_waits = false;
	if (!t->end_waits)
		io_shutdown_write(&t->raw);
}

/* The end is told as far as there is room for it: a peer that misses it takes the stream for cut, which is the safe
 * side. */
static void tls_close(struct io *io, bool reset)
{
	struct io_tls *t = io->impl;

	event_del(&t->again);
	if (!reset && t->shaken && !t->failed) {
		ERR_clear_error();
		SSL_shutdown(t->ssl);
	}
	SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session would count as bad */
	SSL_free(t->ssl);
	SSL_CTX_free(t->accepted_by);
	ERR_clear_error();
	io_close(&t->raw, reset);
	free(t->expected);
	free(t->site);
	free(t);
	io->impl = NULL;
	io->fd = -1;
}

static const struct io_ops tls_ops = {
	.is_socket = false,
	.read = tls_read,
	.write = tls_write,
	.connected = tls_connected,
	.quiet = tls_quiet,
	.want = tls_want,
	.shutdown_write = end_writing,
	.close = tls_close,
};

/* ---- making one ---------------------------------------------------------------------------------------------- */

static void set_session(SSL *ssl, const struct tls_target *target)
{
	struct tls_resume *r = target->resume;

	if (!r)
		return;
	if (r->ctx != target->ctx) {
		tls_resume_fini(r);
		r->ctx = SSL_CTX_up_ref(target->ctx) ? target->ctx : NULL;
	}
	if (r->session)
		SSL_set_session(ssl, r->session); /* when it cannot be used, hands are shaken in full */
	SSL_set_app_data(ssl, r);
}

static bool set_target(struct io_tls *t, const struct tls_target *target)
{
	char *name;
	bool ok = true;

	set_session(t->ssl, target);
	if (target->site.n) {
		t->expected = strndup(target->site.p, target->site.n);
		return t->expected != NULL;
	}
	if (!target->name.n)
		return true;
	name = strndup(target->name.p, target->name.n);
	if (!name)
		return false;
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), name) != 1)
		ok = SSL_set1_host(t->ssl, name) == 1 && SSL_set_tlsext_host_name(t->ssl, name) == 1;
	free(name);
	return ok;
}

static void tls_free(struct io_tls *t)
{
	SSL_free(t->ssl);
	io_close(&t->raw, false);
	free(t->expected);
	free(t);
	ERR_clear_error();
}

/* target NULL: the other side has called. */
static int set_up(struct io_tls *t, struct io_loop *loop, struct ssl_ctx_st *ctx, const struct tls_target *target)
{
	t->ssl = SSL_new(ctx);
	if (!t->ssl || SSL_set_fd(t->ssl, t->raw.fd) != 1 || (target && !set_target(t, target)) ||
	    event_assign(&t->again, loop->base, -1, 0, on_again, t->io) || !SSL_CTX_up_ref(ctx))
		return ERR_NOMEM;
	t->made_with = t->accepted_by = ctx;
	t->server = t->linked = !target;
	if (target)
		SSL_set_connect_state(t->ssl);
	else
		SSL_set_accept_state(t->ssl);
	return 0;
}

static void begin_stream(struct io *io, struct io_tls *t, const struct io_handler *handler)
{
	*io = (struct io){ .ops = &tls_ops, .handler = handler, .impl = t, .fd = t->raw.fd };
}

int io_open_tls(struct io *io, struct io_loop *loop, int fd, struct ssl_ctx_st *ctx, const struct io_handler *handler)
{
	struct io_tls *t = calloc(1, sizeof(*t));

	if (!t) {
		close(fd);
		return ERR_NOMEM;
	}
	t->io = io;
	io_open_fd(&t->raw, loop, fd, &raw_handler);
	if (set_up(t, loop, ctx, NULL)) {
		tls_free(t);
		return ERR_NOMEM;
	}
	begin_stream(io, t, handler);
	return 0;
}

int io_connect_tls(struct io *io, struct io_loop *loop, const struct addr *to, const struct tls_target *target,
                   const struct io_handler *handler)
{
	struct io_tls *t;
	int rc;

	if (!target->ctx)
		return io_connect(io, loop, to, handler);
	t = calloc(1, sizeof(*t));
	if (!t)
		return ERR_NOMEM;
	t->io = io;
	rc = io_connect(&t->raw, loop, to, &raw_handler);
	if (!rc)
		rc = set_up(t, loop, target->ctx, target);
	if (rc) {
		tls_free(t);
		return rc;
	}
	begin_stream(io, t, handler);
	if (!io_want_write(io, true))
		return 0;
	io_close(io, false);
	return ERR_NOMEM;
}

/* ---- questions ----------------------------------------------------------------------------------------------- */

bool io_is_made_with(const struct io *io, const struct ssl_ctx_st *ctx)
{
	const struct io_tls *t = tls_of(io);

	return t ? t->made_with == ctx : ctx == NULL;
}

struct span io_peer_site(const struct io *io)
{
	const struct io_tls *t = tls_of(io);

	return span_of(t ? t->site : NULL);
}

const char *io_peer_refusal(struct io *io, struct ssl_ctx_st *ctx, int64_t now_ms)
{
	struct io_tls *t = tls_of(io);
	const char *why;

	if (!t || !ctx)
		return "no TLS";
	if (now_ms >= t->ends_ms)
		return "certificate has expired";
	if (t->accepted_by == ctx)
		return NULL;
	why = tls_judge(ctx, SSL_get0_peer_certificate(t->ssl), SSL_get_peer_cert_chain(t->ssl));
	if (!why && SSL_CTX_up_ref(ctx)) {
		SSL_CTX_free(t->accepted_by);
		t->accepted_by = ctx;
	}
	return why;
}

bool io_has_news(const struct io *io)
{
	const struct io_tls *t = tls_of(io);

	return t ? t->raw.ready || SSL_has_pending(t->ssl) : io->ready;
}

bool io_is_refused(const struct io *io)
{
	const struct io_tls *t = tls_of(io);

	return t && t->refused;
}

const char *io_tls_why(const struct io *io)
{
	const struct io_tls *t = tls_of(io);

	return t ? t->why : NULL;
}
