#include "tests/scenario/bed.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proxy/replication.h"
#include "proxy/upstream.h"

void (*bed_on_proxy)(bool begins);

static struct bed *current; /* the connector has no context of its own */
static _Atomic int64_t now_us;

static int64_t mono(void)
{
	return now_us;
}

static int64_t wall(void)
{
	return 1767225600000 + now_us / 1000;
}

static struct bed_end *of(struct io *io)
{
	return io->impl;
}

static ssize_t end_read(struct io *io, void *room, size_t bytes)
{
	struct bed_end *e = of(io);
	size_t n = buf_len(&e->to_proxy) < bytes ? buf_len(&e->to_proxy) : bytes;

	if (n) {
		memcpy(room, e->to_proxy.mem + e->to_proxy.rd, n);
		buf_consume(&e->to_proxy, n);
		return (ssize_t)n;
	}
	if (e->reset_to_proxy)
		return -ECONNRESET;
	return e->end_to_proxy ? 0 : -EAGAIN;
}

static void on_proxy(bool begins)
{
	if (bed_on_proxy)
		bed_on_proxy(begins);
}

static ssize_t end_write(struct io *io, const struct iovec *iov, int count)
{
	struct bed_end *e = of(io);
	size_t total = 0;

	if (e->reset_to_proxy)
		return -EPIPE;
	on_proxy(false);
	for (int i = 0; i < count; i++) {
		size_t n = iov[i].iov_len < e->room ? iov[i].iov_len : e->room;

		buf_add(&e->from_proxy, iov[i].iov_base, n);
		e->room -= n;
		total += n;
		if (n < iov[i].iov_len)
			break;
	}
	on_proxy(true);
	return total ? (ssize_t)total : -EAGAIN;
}

static int end_connected(struct io *io)
{
	return of(io)->connect;
}

static bool end_quiet(struct io *io)
{
	struct bed_end *e = of(io);

	return !buf_len(&e->to_proxy) && !e->end_to_proxy && !e->reset_to_proxy;
}

static int end_want(struct io *io, bool read, bool write)
{
	io->reading = read;
	io->writing = write;
	return 0;
}

static void end_shutdown_write(struct io *io)
{
	of(io)->ended = true;
}

static void end_close(struct io *io, bool reset)
{
	struct bed_end *e = of(io);

	e->closed = true;
	e->reset = reset;
	e->io = NULL;
	io->impl = NULL;
}

static const struct io_ops end_ops = {
	.read = end_read,
	.write = end_write,
	.connected = end_connected,
	.quiet = end_quiet,
	.want = end_want,
	.shutdown_write = end_shutdown_write,
	.close = end_close,
};

static struct bed_end *end_new(struct bed *bed, struct io *io, const struct io_handler *handler)
{
	struct bed_end *e;

	if (bed->end_count == BED_ENDS)
		return NULL;
	e = &bed->ends[bed->end_count++];
	*e = (struct bed_end){ .used = true, .io = io, .room = SIZE_MAX };
	buf_init(&e->to_proxy, NULL, 0);
	buf_init(&e->from_proxy, NULL, 0);
	*io = (struct io){ .ops = &end_ops, .handler = handler, .impl = e, .fd = -1 };
	return e;
}

static int dial(struct io *io, const struct addr *to, const struct io_handler *handler)
{
	struct bed_end *e = end_new(current, io, handler);

	if (!e)
		return ERR_LIMIT;
	e->to = *to;
	e->connect = -EAGAIN;
	io->writing = true;
	return 0;
}

static int add_listener(struct bed *bed, enum listener_kind kind, const struct addr *a)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return ERR_NOMEM;
	l->kind = kind;
	l->worker = &bed->worker;
	l->conf_addr = l->addr = *a;
	l->fd = 1 << 20; /* open, and no descriptor of ours */
	TAILQ_INSERT_TAIL(&bed->worker.listeners, l, link);
	return 0;
}

int bed_init(struct bed *bed, struct conf *conf, struct registry *reg)
{
	struct err e;
	int rc;

	memset(bed, 0, sizeof(*bed));
	bed->conf = conf;
	bed->reg = reg;
	current = bed;
	now_us = 1000000;
	clock_set_fake(mono, wall);
	io_set_connector(dial);
	on_proxy(true);
	rc = worker_init(&bed->worker, NULL, 0, conf, reg, &e);
	on_proxy(false);
	for (size_t i = 0; !rc && i < conf->service_count; i++)
		for (size_t j = 0; !rc && j < conf->services[i].listen_count; j++)
			rc = add_listener(bed, LISTEN_SERVICE, &conf->services[i].listen[j]);
	if (!rc && conf->has_mesh)
		rc = add_listener(bed, LISTEN_MESH, &conf->mesh_listen);
	return rc;
}

void bed_fini(struct bed *bed)
{
	struct listener *l;

	while (!TAILQ_EMPTY(&bed->worker.sessions))
		session_abort(TAILQ_FIRST(&bed->worker.sessions));
	worker_turn(&bed->worker);
	TAILQ_FOREACH(l, &bed->worker.listeners, link)
		l->fd = -1;
	worker_fini(&bed->worker);
	replication_close(&bed->worker.replication);
	names_free(&bed->names);
	for (size_t i = 0; i < bed->end_count; i++) {
		buf_fini(&bed->ends[i].to_proxy);
		buf_fini(&bed->ends[i].from_proxy);
	}
	instances_free();
	conf_unref(&bed->conf);
	registry_unref(&bed->reg);
	io_set_connector(NULL);
	clock_set_fake(NULL, NULL);
	current = NULL;
}

int bed_name(struct bed *bed, const struct name *v)
{
	if (!bed->names && !(bed->names = names_new()))
		return ERR_NOMEM;
	bed->worker.names = bed->names;
	return v ? names_load(bed->names, v) : 0;
}

struct replication *bed_replication(struct bed *bed)
{
	if (!bed->worker.replication)
		bed->worker.replication = replication_new(bed->conf->site);
	return bed->worker.replication;
}

struct bed_end *bed_client(struct bed *bed, const struct addr *listener)
{
	struct session *s = NULL;
	struct listener *l;
	struct bed_end *e;
	struct addr peer;

	if (addr_parse(SPAN("127.0.0.1:40000"), false, &peer, NULL))
		return NULL;
	TAILQ_FOREACH(l, &bed->worker.listeners, link)
		if (addr_eq(&l->conf_addr, listener))
			break;
	on_proxy(true);
	if (l)
		s = session_new(l, &peer);
	on_proxy(false);
	if (!s)
		return NULL;
	e = end_new(bed, &s->c.io, &session_io_handler);
	if (!e) {
		free(s);
		return NULL;
	}
	e->client = true;
	on_proxy(true);
	session_begin(s);
	on_proxy(false);
	return e;
}

static bool call(void (*callback)(struct io *io), struct io *io)
{
	on_proxy(true);
	callback(io);
	on_proxy(false);
	return true;
}

/* One callback of this end, if one is due. */
static bool serve(struct bed_end *e)
{
	struct io *io = e->io;

	if (!io)
		return false;
	if (io->writing && (e->client || e->connect != -EAGAIN) && (e->room || e->connect || e->reset_to_proxy))
		return call(io->handler->writable, io);
	if (io->reading && (buf_len(&e->to_proxy) || e->end_to_proxy || e->reset_to_proxy))
		return call(io->handler->readable, io);
	return false;
}

void bed_settle(struct bed *bed)
{
	bool again = true;

	for (int turns = 0; again && turns < 100000; turns++) {
		again = false;
		for (size_t i = 0; i < bed->end_count; i++)
			again |= serve(&bed->ends[i]);
		on_proxy(true);
		worker_turn(&bed->worker);
		on_proxy(false);
	}
}

void bed_advance(struct bed *bed, int64_t us)
{
	int64_t until = now_us + us;

	while (now_us < until) {
		now_us += until - now_us < 50000 ? until - now_us : 50000;
		on_proxy(true);
		worker_run_deadlines(&bed->worker, now_us);
		on_proxy(false);
		bed_settle(bed);
	}
}

/* The order comes as from the main thread. */
void bed_drain(struct bed *bed, enum drain drain)
{
	worker_tell_drain(&bed->worker, drain);
	on_proxy(true);
	event_base_loop(bed->worker.loop.base, EVLOOP_NONBLOCK);
	on_proxy(false);
}
