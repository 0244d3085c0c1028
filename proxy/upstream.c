/* Life of an upstream connection:
 *
 *	take --> connecting --> busy <--> idle (in pool->idle)
 *	             \            \          \
 *	              +------------+----------+--> dead (closed; freed at the end of the loop turn)
 *
 * busy: x is set.  idle: x is NULL, the connection is read: whatever arrives, bytes nobody asked for or
 * the end, throws it away.  dead: the stream is closed, x is NULL. */
#include "proxy/upstream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "proxy/descriptors.h"
#include "proxy/exchange.h"
#include "proxy/io_tls.h"

/* After the first failed connect a site is tried last this long, doubling up to the last. */
#define DOWN_FIRST_US 500000
#define PROVEN_IDLE_US 100000
#define DOWN_MOST_US 8000000

static void on_readable(struct io *io);
static void on_writable(struct io *io);

static const struct io_handler upstream_handler = { on_readable, on_writable };

static struct upstream *of_io(struct io *io)
{
	return (struct upstream *)(void *)io;
}

struct pool *pool_get(struct worker *w, const struct addr *addr, bool mesh)
{
	struct pool *pool;

	HASH_FIND(hh, w->pools, addr, sizeof(*addr), pool);
	if (pool)
		return pool;
	pool = calloc(1, sizeof(*pool));
	if (pool)
		pool->instance = instance_get(addr);
	if (!pool || !pool->instance) {
		free(pool);
		return NULL;
	}
	pool->addr = *addr;
	pool->mesh = mesh;
	TAILQ_INIT(&pool->idle);
	HASH_ADD(hh, w->pools, addr, sizeof(pool->addr), pool);
	if (!pool->hh.tbl) { /* uthash had no memory for its table */
		free(pool);
		return NULL;
	}
	return pool;
}

void pools_free(struct worker *w)
{
	struct pool *pool, *next;

	HASH_ITER(hh, w->pools, pool, next) {
		struct upstream *u;

		while ((u = TAILQ_FIRST(&pool->idle))) {
			/* NOLINTNEXTLINE(clang-analyzer-*): a list of queue.h, whose links it does not follow */
			TAILQ_REMOVE(&pool->idle, u, link);
			deadline_clear(&w->deadlines, &u->deadline);
			conn_close(&u->c, false);
			descriptors_add(-1);
			free(u);
		}
		HASH_DEL(w->pools, pool); /* NOLINT(clang-analyzer-*): uthash's links, likewise */
		tls_resume_fini(&pool->resume);
		free(pool);
	}
}

static void leave_pool(struct upstream *u)
{
	TAILQ_REMOVE(&u->pool->idle, u, link);
	u->pool->idle_count--;
	counter_add(&u->worker->stats.connections_upstream_idle, (uint64_t)-1);
	deadline_clear(&u->worker->deadlines, &u->deadline);
}

static void bury(struct upstream *u, bool reset)
{
	deadline_clear(&u->worker->deadlines, &u->deadline);
	conn_close(&u->c, reset);
	descriptors_add(-1);
	u->x = NULL;
	TAILQ_INSERT_TAIL(&u->worker->dead_upstreams, u, link);
}

void upstreams_reap(struct worker *w)
{
	struct upstream *u;

	while ((u = TAILQ_FIRST(&w->dead_upstreams))) {
		TAILQ_REMOVE(&w->dead_upstreams, u, link);
		free(u);
	}
}

static void set_busy(struct upstream *u, struct exchange *x)
{
	u->x = x;
	atomic_fetch_add_explicit(&u->pool->instance->outstanding, 1, memory_order_relaxed);
	counter_add(&u->worker->stats.connections_upstream_busy, 1);
}

static void clear_busy(struct upstream *u)
{
	u->x = NULL;
	atomic_fetch_sub_explicit(&u->pool->instance->outstanding, 1, memory_order_relaxed);
	counter_add(&u->worker->stats.connections_upstream_busy, (uint64_t)-1);
}

/* Of instances instance_note is told. */
static void mark_down(struct pool *pool)
{
	int64_t wait = DOWN_FIRST_US;

	for (unsigned i = 0; i < pool->failures && wait < DOWN_MOST_US; i++)
		wait *= 2;
	pool->failures++;
	pool->down_until_us = clock_mono_us() + wait;
}

/* Servers that close after each answer without saying so do it within moments: one that has answered twice on a
 * connection, or left it open for a while, keeps it. What arrived in between tells of its end. */
static bool is_proven(struct upstream *u)
{
	return (u->served >= 2 || clock_mono_us() - u->idle_since_us >= PROVEN_IDLE_US) && io_quiet(&u->c.io);
}

/* A site that has another name by now, or whose certificate has ended, is not asked on this connection again. */
static bool is_meant(struct upstream *u, const struct tls_target *to)
{
	struct io *io = &u->c.io;

	return !to->site.n || (span_eq(io_peer_site(io), to->site) && !io_peer_refusal(io, to->ctx, clock_wall_ms()));
}

/* What is fit for a request that must not be sent twice is often not the one that was used last. */
static bool is_wanted(struct upstream *u, enum upstream_want want)
{
	return want == UPSTREAM_ANY || (want == UPSTREAM_PROVEN && is_proven(u));
}

/* Passes over those that will be told in a moment of their end, or of bytes nobody asked for: these would be taken for
 * the answer.  And over those of another context: a service with other settings may have the same instance; what is left
 * of older certificates ages out. */
static struct upstream *kept(struct pool *pool, const struct tls_target *to, enum upstream_want want)
{
	struct upstream *u, *next;

	for (u = TAILQ_FIRST(&pool->idle); u; u = next) {
		next = TAILQ_NEXT(u, link);
		if (io_has_news(&u->c.io) || !io_is_made_with(&u->c.io, to->ctx))
			continue;
		if (!is_meant(u, to)) {
			leave_pool(u);
			bury(u, false);
		} else if (is_wanted(u, want)) {
			return u;
		}
	}
	return NULL;
}

int upstream_take(struct pool *pool, struct worker *w, struct exchange *x, const struct tls_target *to,
                  enum upstream_want want, struct upstream **upstream_r)
{
	struct upstream *u = kept(pool, to, want);
	struct tls_target target = *to;
	int rc;

	if (u) {
		leave_pool(u);
		u->reused = true;
		u->guard = (struct head_guard){ 0 };
		set_busy(u, x);
		*upstream_r = u;
		return 0;
	}
	u = calloc(1, sizeof(*u));
	if (!u)
		return ERR_NOMEM;
	u->worker = w;
	u->pool = pool;
	buf_init(&u->c.in, &w->blocks, 0);
	buf_init(&u->c.out, &w->blocks, 0);
	target.resume = &pool->resume;
	rc = io_connect_tls(&u->c.io, &w->loop, &pool->addr, &target, &upstream_handler);
	if (rc) {
		free(u);
		if (rc != ERR_LIMIT && rc != ERR_NOMEM)
			mark_down(pool);
		return rc;
	}
	descriptors_add(1);
	set_busy(u, x);
	worker_deadline(w, &u->deadline, DEADLINE_CONNECT, clock_mono_us());
	*upstream_r = u;
	return 0;
}

void upstream_keep(struct upstream **up)
{
	struct upstream *u = *up;
	struct pool *pool = u->pool;
	struct upstream *oldest;

	*up = NULL;
	clear_busy(u);
	deadline_clear(&u->worker->deadlines, &u->deadline);
	/* What stands behind the response is nobody's answer, least of all the next one's. */
	if (buf_len(&u->c.in) || buf_len(&u->c.out) || u->c.eof ||
	    ((u->c.filled || io_has_news(&u->c.io)) && !io_quiet(&u->c.io)) || io_want_read(&u->c.io, true)) {
		bury(u, false);
		return;
	}
	buf_fini(&u->c.in);
	u->served++;
	u->idle_since_us = clock_mono_us();
	TAILQ_INSERT_HEAD(&pool->idle, u, link);
	pool->idle_count++;
	counter_add(&u->worker->stats.connections_upstream_idle, 1);
	worker_deadline(u->worker, &u->deadline,
	                pool->mesh ? DEADLINE_MESH_IDLE : DEADLINE_UPSTREAM_IDLE, clock_mono_us());
	if (pool->idle_count > POOL_IDLE_MAX) {
		oldest = TAILQ_LAST(&pool->idle, pool_idle);
		leave_pool(oldest);
		bury(oldest, false);
	}
}

void upstream_drop(struct upstream **up, bool reset)
{
	struct upstream *u = *up;

	*up = NULL;
	if (!u)
		return;
	clear_busy(u);
	bury(u, reset);
}

static void on_readable(struct io *io)
{
	struct upstream *u = of_io(io);

	if (u->x) {
		exchange_on_upstream_readable(u->x);
	} else if (!io_quiet(io)) { /* a message of TLS is nothing to us */
		leave_pool(u);
		bury(u, false);
	}
}

static void on_connected(struct upstream *u)
{
	struct io *io = &u->c.io;
	int rc = io_connected(io);

	if (rc == -EAGAIN)
		return;
	deadline_clear(&u->worker->deadlines, &u->deadline);
	if (rc) {
		mark_down(u->pool);
		exchange_on_upstream_failed(u->x, io_is_refused(io) ? ERR_DENIED : err_from_errno(-rc));
		return;
	}
	if (io_want_write(io, false) || io_want_read(io, true)) {
		exchange_on_upstream_failed(u->x, ERR_NOMEM);
		return;
	}
	u->connected = true;
	u->pool->failures = 0;
	u->pool->down_until_us = 0;
	exchange_on_upstream_connected(u->x);
}

static void on_writable(struct io *io)
{
	struct upstream *u = of_io(io);

	if (!u->connected)
		on_connected(u);
	else if (u->x)
		exchange_on_upstream_writable(u->x);
}

void upstream_on_deadline(struct upstream *u)
{
	if (!u->x) {
		leave_pool(u);
		bury(u, false);
	} else if (!u->connected) {
		mark_down(u->pool);
		exchange_on_upstream_failed(u->x, ERR_TIMEOUT);
	} else {
		exchange_on_upstream_deadline(u->x);
	}
}
