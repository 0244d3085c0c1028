/* A worker: one event loop on one thread, with everything a request touches: its listeners,
 * connections, pools of kept connections, buffers, counters and its view of configuration and
 * registry.  Workers share nothing but what is immutable or atomic, and two things under short locks
 * (correlation.h, access_log.h), so no request waits for another.
 *
 * Worker 0 runs on the main thread and serves the admin interface only. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/addr.h"
#include "base/buf.h"
#include "proxy/access_log.h"
#include "proxy/bound.h"
#include "proxy/conf.h"
#include "proxy/deadline.h"
#include "proxy/instance.h"
#include "proxy/io_loop.h"
#include "proxy/stats.h"
#include "proxy/tls.h"
#include "registry/registry.h"

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct exchange;
struct inner;
struct metaid_homes;
struct names;
struct pool;
struct replication;
struct rewrite_rules;
struct session;
struct store_inbox;
struct upstream;
struct worker;

/* An address that is listened on; the services behind it are found by prefix.  Closed by a reload, it lives on
 * until the last of its connections is gone: they are answered as it was configured then, once more each. */
struct listener {
	enum listener_kind kind;
	struct addr addr;          /* as bound: a port 0 has become a real one */
	struct addr conf_addr;     /* as configured */
	char *service;             /* with port 0: the one service it was opened for */
	int fd;                    /* -1: closed */
	unsigned sessions;         /* connections that hold it */
	struct view *view;         /* closed by a reload: the last view that had it */
	struct event *event;
	bool paused;               /* there was no room to accept: until worker->resume */
	struct worker *worker;
	TAILQ_ENTRY(listener) link;
};

/* What a reload hands a worker: everything anew, applied as a whole.  listeners: all there are to be; with a socket
 * that is to be taken over, or -1 for one that the worker has already. */
struct change {
	struct conf *conf;
	struct registry *reg;
	struct tls_set *tls;
	struct bound *listeners;
	size_t count;
	uint64_t number;
	STAILQ_ENTRY(change) link;
};

/* The exit of a worker.  BEGUN: no strangers any more, while the requests in flight may still need this site's
 * own instances to be served; LAST: nobody new. */
enum drain { DRAIN_NONE, DRAIN_BEGUN, DRAIN_LAST };

/* Something to be done on another worker's thread; embedded in what it is about. */
struct post {
	void (*run)(struct post *post);
	STAILQ_ENTRY(post) link;
};

/* A worker's view of one configuration and one registry snapshot; exchanges hold it while they last. */
struct view {
	unsigned refs;             /* of this worker only */
	struct conf *conf;
	struct registry *reg;
	struct tls_set *tls;       /* NULL in scenarios: everything is plain */
	struct pool ***instance;   /* [service][instance] */
	struct instance_group *group; /* [service]: the same, as all workers know them */
	struct pool **site;        /* [site], NULL without mesh address */
	struct metaid_homes *homes; /* indices into reg->sites, on first use */
	struct stats_pair **pair;  /* [service * sites + site], filled on first use */
};

struct server; /* what all workers share: main.c */

struct worker {
	struct server *server;
	unsigned index;
	pthread_t thread;
	struct io_loop loop;
	struct event *wake, *tick, *resume;
	struct store_inbox *answers; /* of the store, to what this worker asked; NULL in scenarios */
	struct event *answered;
	int wake_fd;
	bool tick_armed, stopping;
	void (*ending)(void *arg); /* called on its thread when it has stopped, before its sessions are ended; NULL */
	void *ending_arg;
	bool ended;                /* under inbox_lock: nothing is posted any more */
	enum drain drain;
	struct view *view;
	struct replication *replication; /* the server's; NULL in scenarios */
	struct names *names;       /* of this site, shared; NULL: nothing is replicated here */
	struct rewrite_rules *rewrite_rules; /* by service, on first use */

	struct buf_pool blocks;
	struct deadlines deadlines;
	TAILQ_HEAD(, listener) listeners;
	struct listener inner;     /* of requests of our own (inner.h): never closed, in no list */
	TAILQ_HEAD(, inner) inners_ready;
	TAILQ_HEAD(, session) sessions, dead_sessions, ready_sessions, unwatched_sessions;
	TAILQ_HEAD(, upstream) dead_upstreams;
	TAILQ_HEAD(, exchange) dead_exchanges, spare_exchanges;
	unsigned spare_count;
	struct pool *pools;        /* uthash by address */
	uint32_t random;           /* of instance_choose */
	size_t busy_count;         /* exchanges under way */
	size_t awaited_count;      /* of them: since before the drain */
	int64_t exhausted_said_us, refused_said_us; /* when the log was last told */
	int64_t tls_said_us, response_said_us;
	uint64_t refused_unsaid;   /* connections refused since */
	struct stats stats;
	struct access_log_queue log;

	pthread_mutex_t inbox_lock;
	struct { enum drain drain; bool stop; STAILQ_HEAD(, change) changes; STAILQ_HEAD(, post) posts; } inbox;
	/* For the main thread: the last change that was taken, whether it could be; and of the drain how far it is. */
	_Atomic uint64_t change_taken;
	_Atomic bool change_failed;
	_Atomic int drain_told;
	_Atomic size_t busy_told, awaited_told;
	_Atomic unsigned evict_asked; /* connections that other workers want closed */
};

int worker_init(struct worker *w, struct server *server, unsigned index, struct conf *conf,
                struct registry *reg, struct err *e) MUST_CHECK;
/* Runs the loop until told to stop; on the calling thread. */
void worker_run(struct worker *w);
int worker_start(struct worker *w) MUST_CHECK;
/* What a turn of the loop does beside events; scenarios call these two themselves. */
void worker_turn(struct worker *w);
void worker_run_deadlines(struct worker *w, int64_t now_us);
void worker_fini(struct worker *w);

/* Takes over fd, a socket that listens.  Before the worker runs, or on its thread. */
int worker_listen(struct worker *w, const struct bound *o, int fd) MUST_CHECK;
/* Whether a service is to be found behind it. */
bool listener_serves(const struct listener *l, const struct conf_service *svc);
/* The context that its clients are met with, or NULL: plain. */
struct ssl_ctx_st *listener_tls(const struct listener *l);
/* A connection of this listener is gone. */
void listener_release(struct listener *l);
void listener_free(struct listener *l);
void listener_close_gently(struct listener *l);
/* The callback of worker->resume: those that paused for want of room accept again. */
void listeners_resume(evutil_socket_t fd, short what, void *worker);

/* From any thread. */
void worker_tell_drain(struct worker *w, enum drain drain);
void worker_tell_stop(struct worker *w);
/* Runs post->run on the worker's thread, in the order of the calls.  False: it has ended already, or never ran. */
bool worker_post(struct worker *w, struct post *post) MUST_CHECK;
/* Another worker has no room and nothing to close: worker_evict once. */
void worker_tell_evict(struct worker *w);
/* The change is taken; the worker stores its number in change_taken and posts server->change_taken. */
void worker_tell_change(struct worker *w, struct change *change);
/* The same at once, on the worker's thread. */
void worker_take_change(struct worker *w, struct change *change);
/* NULL: no memory.  Sockets are put in afterwards: an item's fd, -1 by now. */
struct change *change_new(struct conf *conf, struct registry *reg, struct tls_set *tls, const struct bound *listeners,
                          size_t count);
void change_free(struct change *change);

struct view *view_ref(struct view *v);
void view_unref(struct view **v);

/* Closes the connection that has been of least use for longest: lingering, idle, with a head that does not come or
 * content that has stalled.  False when there is none. For when descriptors or connections run out, so that honest
 * requests are served. */
bool worker_evict(struct worker *w);

/* True once a second, else false: what a peer can bring about at will must not fill the log. */
bool worker_may_warn(int64_t *last_us);

/* Arms a deadline and the worker's tick with it. */
void worker_deadline(struct worker *w, struct deadline *d, enum deadline_kind kind, int64_t now_us);

#endif
