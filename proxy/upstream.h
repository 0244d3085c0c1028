/* Connections to instances and to other sites' meshes, kept for reuse: one pool per address and worker,
 * last in first out, so that the warmest is taken and the others age out. */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include <sys/queue.h>
#include <uthash.h>

#include "http/message.h"
#include "proxy/conn.h"
#include "proxy/deadline.h"
#include "proxy/instance.h"
#include "proxy/worker.h"

/* Kept idle connections per pool and worker. */
#define POOL_IDLE_MAX 512

struct upstream {
	struct conn c;
	struct worker *worker;
	struct pool *pool;
	struct exchange *x;        /* who uses it; NULL: idle in the pool, or dead */
	struct deadline deadline;
	bool connected, reused;
	uint32_t served;           /* whole exchanges on this connection */
	int64_t idle_since_us;
	struct head_guard guard;
	TAILQ_ENTRY(upstream) link; /* pool->idle, or the worker's dead ones */
};
_Static_assert(sizeof(struct upstream) <= 288, "docs/memory.md says what a kept connection costs");

struct pool {
	struct addr addr;
	TAILQ_HEAD(pool_idle, upstream) idle;
	unsigned idle_count;
	struct instance *instance; /* shared by all workers */
	unsigned failures;         /* connects failed in a row */
	int64_t down_until_us;     /* after a failed connect: a site is tried last until then */
	bool mesh;
	struct tls_resume resume;
	UT_hash_handle hh;
};

/* The pool of this address, made when new; NULL without memory. The worker owns it. */
struct pool *pool_get(struct worker *w, const struct addr *addr, bool mesh);
void pools_free(struct worker *w);

/* Which connection a request may have. */
enum upstream_want {
	UPSTREAM_ANY,    /* what can be sent again if a kept one turns out dead */
	UPSTREAM_PROVEN, /* what must not be sent twice: a kept one only when the server has shown that it keeps it */
	UPSTREAM_FRESH,  /* a new one */
};

/* A kept connection (at once usable), or a new one that is being made, as `to` has it; x hears of it through
 * exchange_on_upstream_*.  *upstream_r on 0; else ERR_UNREACHABLE, ERR_LIMIT
 * (no descriptors), ERR_NOMEM. */
int upstream_take(struct pool *pool, struct worker *w, struct exchange *x, const struct tls_target *to,
                  enum upstream_want want, struct upstream **upstream_r) MUST_CHECK;
/* Back into the pool: the response is complete and the connection may be reused. */
void upstream_keep(struct upstream **u);
/* Closed and freed at the end of the loop turn. */
void upstream_drop(struct upstream **u, bool reset);
/* Frees what was dropped. */
void upstreams_reap(struct worker *w);
void upstream_on_deadline(struct upstream *u);

#endif
