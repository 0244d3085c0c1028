/* Listeners, accepting, and what gives way when there is no room for another connection.
 *
 * Room ends in three ways: limits.connections, limits.per_client, and the process's descriptors.  Against the first
 * and the last the connection goes that has been of least use for longest (worker_evict), here or, when this worker
 * has none, at the worker with most to give; of the process's descriptors an eighth is kept for the connections to
 * instances and sites, pipes and files that those accepted need.  When nothing can give way, out of descriptors new
 * connections wait in the kernel's queue, and at limits.connections they are answered 503.
 * limits.per_client takes nothing from others: the excess connection itself is answered 503.  The admin interface is
 * outside the first two, since it is wanted most when they are reached. */
#include "proxy/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/client_table.h"
#include "proxy/descriptors.h"
#include "proxy/server.h"
#include "proxy/session.h"
#include "proxy/upstream.h"

#define ACCEPT_BATCH 64
/* A listener that closes accepts at most this often: its queue and some that come meanwhile. */
#define CLOSE_BATCHES 256
/* Evictions in a row: those just accepted get a turn to be read before they are the oldest. */
#define EVICT_BATCH 4
/* A request in the middle of its content gives way only when it has not moved for this long, and those that have
 * stalled for longest go first. Short, since new connections wait meanwhile. */
#define STALLED_US 20000
/* An answer that the client does not take: longer, since much of it has been done and slow links are honest. */
#define FULL_US 1000000
/* Then listeners that paused look whether there is room again. */
#define PAUSE_US 10000

/* ---- making room --------------------------------------------------------------------------------------------- */

/* Of these the one armed first; then, if there is none, a request or an answer whose content has stalled. */
static const enum deadline_kind evictable[] = { DEADLINE_LINGER, DEADLINE_HEADER, DEADLINE_IDLE,
	                                        DEADLINE_UPSTREAM_IDLE, DEADLINE_MESH_IDLE };

static int64_t armed_us(const struct worker *w, const struct deadline *d)
{
	return d->due_us - w->deadlines.duration_us[d->kind];
}

static struct deadline *stalled(struct worker *w, enum deadline_kind kind, int64_t least_us)
{
	struct deadline *d = TAILQ_FIRST(&w->deadlines.queue[kind]);

	while (d && container_of(d, struct session, deadline)->kind == LISTEN_INNER) /* not in doubt for a place */
		d = TAILQ_NEXT(d, link);

	return d && clock_mono_us() - armed_us(w, d) >= least_us ? d : NULL;
}

static struct deadline *least_useful(struct worker *w)
{
	struct deadline *oldest = NULL, *d;

	for (size_t i = 0; i < sizeof(evictable) / sizeof(evictable[0]); i++) {
		d = TAILQ_FIRST(&w->deadlines.queue[evictable[i]]);
		if (d && (!oldest || armed_us(w, d) < armed_us(w, oldest)))
			oldest = d;
	}
	if (!oldest)
		oldest = stalled(w, DEADLINE_BODY, STALLED_US);
	return oldest ? oldest : stalled(w, DEADLINE_CLIENT_FULL, FULL_US);
}

bool worker_evict(struct worker *w)
{
	struct deadline *d = least_useful(w);

	if (!d)
		return false;
	counter_add(&w->stats.evicted, 1);
	if (d->kind == DEADLINE_UPSTREAM_IDLE || d->kind == DEADLINE_MESH_IDLE)
		upstream_on_deadline(container_of(d, struct upstream, deadline));
	else
		session_evict(container_of(d, struct session, deadline));
	return true;
}

/* Clients without a request under way; of another worker it is a guess. */
static uint64_t waiting_clients(const struct worker *w)
{
	uint64_t all = counter_get(&w->stats.connections_client);
	uint64_t busy = atomic_load_explicit(&w->busy_told, memory_order_relaxed);

	return all > busy ? all - busy : 0;
}

/* The other worker that has most to give, or NULL. */
static struct worker *worker_with_most(struct worker *w)
{
	struct server *srv = w->server;
	struct worker *most = NULL;

	for (unsigned i = 0; i < srv->worker_count; i++) {
		struct worker *other = &srv->workers[i];

		if (other != w && waiting_clients(other) > (most ? waiting_clients(most) : 0))
			most = other;
	}
	return most;
}

static bool can_make_room(struct worker *w)
{
	return least_useful(w) || worker_with_most(w);
}

/* Here at once, or soon at another worker.  False: no worker has anything to give. */
static bool make_room(struct worker *w)
{
	struct worker *other;

	if (worker_evict(w))
		return true;
	other = worker_with_most(w);
	if (other)
		worker_tell_evict(other);
	return other != NULL;
}

bool worker_may_warn(int64_t *last_us)
{
	int64_t now = clock_mono_us();

	if (*last_us && now - *last_us < 1000000)
		return false;
	*last_us = now;
	return true;
}

#define THEY_GO "the oldest idle or incomplete connections are closed to serve others"
#define THEY_WAIT "every connection is in use, so new ones wait"

static void warn_exhausted(struct worker *w, const char *what, const char *consequence)
{
	if (worker_may_warn(&w->exhausted_said_us))
		log_warn("%s: %s", what, consequence);
}

static void warn_refused(struct worker *w, const struct addr *peer, const char *why)
{
	char host[ADDR_TEXT_BYTES];

	w->refused_unsaid++;
	if (!worker_may_warn(&w->refused_said_us))
		return;
	addr_format_host(peer, host);
	log_warn("%s: %llu connections were answered 503, the latest from %s", why,
	         (unsigned long long)w->refused_unsaid, host);
	w->refused_unsaid = 0;
}

/* ---- accepting ------------------------------------------------------------------------------------------------- */

/* Why this connection is not served, or NULL.  May cost another one its place (*evicted_r counts). */
static const char *check_room(struct listener *l, int *evicted_r)
{
	struct worker *w = l->worker;
	const struct server *srv = w->server;
	uint64_t most = l->kind == LISTEN_ADMIN ? UINT64_MAX : w->view->conf->limit_connections;
	uint64_t count = session_count_all();
	bool room;

	if (!descriptors_are_full() && count < most)
		return NULL;
	room = make_room(w);
	++*evicted_r;
	if (room)
		warn_exhausted(w, count < most ? "out of descriptors" : "limits.connections is reached", THEY_GO);
	/* What another worker is to close may still be open for a moment. */
	return count >= most && (!room || count - most >= (uint64_t)EVICT_BATCH * srv->worker_count)
	               ? "limits.connections is reached, all in use" : NULL;
}

static void admit(struct listener *l, int fd, const struct addr *peer, int *evicted_r)
{
	struct worker *w = l->worker;
	uint64_t most = l->kind == LISTEN_SERVICE ? w->view->conf->limit_per_client : 0;
	const char *refusal = check_room(l, evicted_r);
	enum client_entry entry = CLIENT_UNCOUNTED;

	if (refusal) {
		counter_add(&w->stats.refused[REFUSED_FULL], 1);
	} else if (most) {
		entry = client_enter(peer, most);
		if (entry == CLIENT_REFUSED) {
			refusal = "limits.per_client is reached";
			counter_add(&w->stats.refused[REFUSED_PER_CLIENT], 1);
		}
	}
	if (refusal)
		warn_refused(w, peer, refusal);
	session_accept(l, fd, peer, entry == CLIENT_COUNTED, refusal);
}

/* Its event, level-triggered, would come at once again. */
static void pause_accepting(struct listener *l, const char *why)
{
	static const struct timeval pause = { 0, PAUSE_US };

	warn_exhausted(l->worker, why, THEY_WAIT);
	event_del(l->event);
	l->paused = true;
	event_add(l->worker->resume, &pause);
}

void listeners_resume(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct listener *l;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(l, &w->listeners, link)
		if (l->paused && l->event && event_add(l->event, NULL) == 0)
			l->paused = false;
}

static bool must_wait(struct listener *l)
{
	return l->kind != LISTEN_ADMIN && descriptors_are_full() && !can_make_room(l->worker);
}

/* False: none wait, or there is no room for now.  A request that is served on the way may close the listener (a reload
 * over the admin interface); its session keeps it in memory. */
static bool accept_some(struct listener *l)
{
	for (int count = 0, evicted = 0; l->fd >= 0 && count < ACCEPT_BATCH && evicted < EVICT_BATCH;) {
		struct addr peer = { .len = sizeof(peer.ss) };
		int client;

		if (must_wait(l)) {
			pause_accepting(l, "out of descriptors");
			return false;
		}
		client = accept4(l->fd, (struct sockaddr *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client >= 0) {
			admit(l, client, &peer, &evicted);
			count++;
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			return false;
		pause_accepting(l, strerror(errno));
		make_room(l->worker);
		return false;
	}
	return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	accept_some(arg);
}

/* ---- questions ------------------------------------------------------------------------------------------------- */

bool listener_serves(const struct listener *l, const struct conf_service *svc)
{
	if (l->service)
		return span_eq(svc->name, span_of(l->service));
	for (size_t i = 0; i < svc->listen_count; i++)
		if (addr_eq(&svc->listen[i], &l->conf_addr))
			return true;
	return false;
}

struct ssl_ctx_st *listener_tls(const struct listener *l)
{
	const struct view *v = l->view ? l->view : l->worker->view;

	if (!v->tls || l->kind == LISTEN_ADMIN)
		return NULL;
	if (l->kind == LISTEN_MESH)
		return v->tls->mesh_server;
	for (size_t i = 0; v->tls->any_service && i < v->conf->service_count; i++)
		if (listener_serves(l, &v->conf->services[i]))
			return v->tls->service[i]; /* the same for all at one address */
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void listener_close(struct listener *l)
{
	if (l->event)
		event_free(l->event);
	if (l->fd >= 0) {
		close(l->fd);
		bound_unlink(&l->addr);
	}
	l->event = NULL;
	l->fd = -1;
}

void listener_free(struct listener *l)
{
	TAILQ_REMOVE(&l->worker->listeners, l, link);
	listener_close(l);
	if (l->view)
		view_unref(&l->view);
	free(l->service);
	free(l);
}

void listener_release(struct listener *l)
{
	if (!--l->sessions && l->view)
		listener_free(l);
}

/* Those who wait in the kernel's queue were accepted by it: closing the socket would reset them. */
void listener_close_gently(struct listener *l)
{
	for (int i = 0; l->event && i < CLOSE_BATCHES && accept_some(l); i++)
		;
	listener_close(l);
}

int worker_listen(struct worker *w, const struct bound *o, int fd)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l) {
		close(fd);
		return ERR_NOMEM;
	}
	TAILQ_INSERT_TAIL(&w->listeners, l, link);
	l->worker = w;
	l->kind = o->kind;
	l->addr = o->addr;
	l->conf_addr = o->configured;
	l->service = *o->service ? strdup(o->service) : NULL;
	l->fd = fd;
	l->event = event_new(w->loop.base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
	if ((*o->service && !l->service) || !l->event || event_add(l->event, NULL)) {
		listener_free(l);
		return ERR_NOMEM;
	}
	return 0;
}
