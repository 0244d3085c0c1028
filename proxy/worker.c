#include "proxy/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/exchange.h"
#include "proxy/inner.h"
#include "proxy/replication.h"
#include "proxy/rewrite_int.h"
#include "proxy/server.h"
#include "proxy/session.h"
#include "proxy/upstream.h"
#include "replication/metaid.h"
#include "replication/store.h"

#define TICK_US 50000
#define BLOCKS_KEPT 256
/* A server closes idle connections on its own account, many after five seconds: be earlier. */
#define UPSTREAM_IDLE_US 4000000
#define LINGER_US 2000000
#define RETRY_US 100000

/* ---- views ------------------------------------------------------------------------------------------------- */

static void view_free(struct view *v)
{
	for (size_t i = 0; v->instance && i < v->conf->service_count; i++)
		free(v->instance[i]);
	for (size_t i = 0; v->group && i < v->conf->service_count; i++)
		free(v->group[i].items);
	free(v->instance);
	free(v->group);
	free(v->site);
	free(v->pair);
	metaid_homes_free(&v->homes);
	conf_unref(&v->conf);
	registry_unref(&v->reg);
	tls_unref(&v->tls);
	free(v);
}

static int view_fill_service(struct worker *w, struct view *v, size_t i)
{
	const struct conf_service *svc = &v->conf->services[i];
	struct instance_group *g = &v->group[i];

	v->instance[i] = calloc(svc->instance_count + 1, sizeof(*v->instance[i]));
	g->items = calloc(svc->instance_count + 1, sizeof(struct instance *));
	if (!v->instance[i] || !g->items)
		return ERR_NOMEM;
	for (size_t j = 0; j < svc->instance_count; j++) {
		v->instance[i][j] = pool_get(w, &svc->instances[j].addr, false);
		if (!v->instance[i][j])
			return ERR_NOMEM;
		g->items[g->count++] = v->instance[i][j]->instance;
	}
	return 0;
}

static int view_fill_instances(struct worker *w, struct view *v)
{
	v->instance = calloc(v->conf->service_count + 1, sizeof(*v->instance));
	v->group = calloc(v->conf->service_count + 1, sizeof(*v->group));
	if (!v->instance || !v->group)
		return ERR_NOMEM;
	for (size_t i = 0; i < v->conf->service_count; i++)
		if (view_fill_service(w, v, i))
			return ERR_NOMEM;
	return 0;
}

static int view_fill_sites(struct worker *w, struct view *v)
{
	v->site = calloc(v->reg->site_count + 1, sizeof(*v->site));
	v->pair = calloc(v->conf->service_count * v->reg->site_count + 1, sizeof(*v->pair));
	if (!v->site || !v->pair)
		return ERR_NOMEM;
	for (size_t i = 0; i < v->reg->site_count; i++) {
		if (!v->reg->sites[i].has_mesh || !tls_may_call(v->tls, &v->reg->sites[i].mesh))
			continue;
		v->site[i] = pool_get(w, &v->reg->sites[i].mesh, true);
		if (!v->site[i])
			return ERR_NOMEM;
	}
	return 0;
}

static struct view *view_new(struct worker *w, struct conf *conf, struct registry *reg, struct tls_set *tls)
{
	struct view *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->refs = 1;
	v->conf = conf_ref(conf);
	v->reg = registry_ref(reg);
	v->tls = tls_ref(tls);
	if (view_fill_instances(w, v) || view_fill_sites(w, v)) {
		view_free(v);
		return NULL;
	}
	return v;
}

struct view *view_ref(struct view *v)
{
	v->refs++;
	return v;
}

void view_unref(struct view **vp)
{
	struct view *v = *vp;

	*vp = NULL;
	if (v && !--v->refs)
		view_free(v);
}

static void set_view(struct worker *w, struct view *v)
{
	const struct conf *conf = v->conf;
	int64_t *d = w->deadlines.duration_us;

	if (w->view)
		view_unref(&w->view);
	w->view = v;
	d[DEADLINE_CONNECT] = conf->timeout_connect_us;
	d[DEADLINE_HEADER] = conf->timeout_header_us;
	d[DEADLINE_BODY] = d[DEADLINE_CLIENT_FULL] = conf->timeout_body_us;
	d[DEADLINE_RESPONSE] = conf->timeout_response_us;
	d[DEADLINE_UPSTREAM_BODY] = conf->timeout_body_us;
	d[DEADLINE_IDLE] = conf->timeout_idle_us;
	d[DEADLINE_UPSTREAM_IDLE] = conf->timeout_idle_us < UPSTREAM_IDLE_US ? conf->timeout_idle_us / 2
	                                                                     : UPSTREAM_IDLE_US;
	d[DEADLINE_MESH_IDLE] = conf->timeout_idle_us / 2;
	d[DEADLINE_RETRY] = RETRY_US;
	d[DEADLINE_LINGER] = LINGER_US;
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

static void arm_tick(struct worker *w)
{
	static const struct timeval tick = { 0, TICK_US };

	if (!w->tick_armed)
		w->tick_armed = event_add(w->tick, &tick) == 0;
}

void worker_deadline(struct worker *w, struct deadline *d, enum deadline_kind kind, int64_t now_us)
{
	deadline_set(&w->deadlines, d, kind, now_us);
	arm_tick(w);
}

static void on_deadline(struct deadline *d)
{
	switch (d->kind) {
	case DEADLINE_CONNECT:
	case DEADLINE_RESPONSE:
	case DEADLINE_UPSTREAM_BODY:
	case DEADLINE_UPSTREAM_IDLE:
	case DEADLINE_MESH_IDLE:
		upstream_on_deadline(container_of(d, struct upstream, deadline));
		return;
	default:
		session_on_deadline(container_of(d, struct session, deadline));
	}
}

void worker_run_deadlines(struct worker *w, int64_t now_us)
{
	struct deadline *d;

	sessions_watch(w);
	while ((d = deadlines_take_due(&w->deadlines, now_us)))
		on_deadline(d);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->tick_armed = false;
	worker_run_deadlines(w, clock_mono_us());
	if (!deadlines_empty(&w->deadlines))
		arm_tick(w);
}

/* ---- changes --------------------------------------------------------------------------------------------------- */

struct change *change_new(struct conf *conf, struct registry *reg, struct tls_set *tls, const struct bound *listeners,
                          size_t count)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c)
		c->listeners = malloc((count + 1) * sizeof(*listeners));
	if (!c || !c->listeners) {
		free(c);
		return NULL;
	}
	memcpy(c->listeners, listeners, count * sizeof(*listeners));
	c->count = count;
	c->conf = conf_ref(conf);
	c->reg = registry_ref(reg);
	c->tls = tls_ref(tls);
	for (size_t i = 0; i < count; i++)
		c->listeners[i].fd = -1;
	return c;
}

void change_free(struct change *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->listeners[i].fd >= 0)
			close(c->listeners[i].fd);
	conf_unref(&c->conf);
	registry_unref(&c->reg);
	tls_unref(&c->tls);
	free(c->listeners);
	free(c);
}

static bool is_wanted(const struct change *c, const struct listener *l)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->listeners[i].kept && c->listeners[i].kind == l->kind && addr_eq(&c->listeners[i].addr, &l->addr))
			return true;
	return false;
}

/* Its connections are answered by the view that still has it; before set_view. */
static void retire_listeners(struct worker *w, const struct change *c)
{
	struct listener *l, *next;

	for (l = TAILQ_FIRST(&w->listeners); l; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->view || is_wanted(c, l))
			continue;
		listener_close_gently(l);
		l->view = view_ref(w->view);
		if (!l->sessions)
			listener_free(l);
	}
}

/* New listeners open before old ones close, so that an address that changes its kind is never without. */
static int open_listeners(struct worker *w, struct change *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->count; i++) {
		int fd = c->listeners[i].fd;

		c->listeners[i].fd = -1;
		if (fd >= 0 && worker_listen(w, &c->listeners[i], fd))
			rc = ERR_NOMEM;
	}
	return rc;
}

void worker_take_change(struct worker *w, struct change *c)
{
	struct view *v = view_new(w, c->conf, c->reg, c->tls);
	bool failed = !v;

	if (v) {
		retire_listeners(w, c);
		failed = open_listeners(w, c) != 0;
		set_view(w, v);
	}
	if (failed)
		log_error("worker %u: no memory for the new configuration", w->index);
	atomic_store(&w->change_failed, failed);
	atomic_store(&w->change_taken, c->number);
	change_free(c);
}

/* ---- messages from other threads ------------------------------------------------------------------------------- */

static void wake(struct worker *w)
{
	uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

bool worker_post(struct worker *w, struct post *post)
{
	bool ended;

	pthread_mutex_lock(&w->inbox_lock);
	ended = w->ended;
	if (!ended)
		STAILQ_INSERT_TAIL(&w->inbox.posts, post, link);
	pthread_mutex_unlock(&w->inbox_lock);
	if (!ended)
		wake(w);
	return !ended;
}

static void run_posts(struct worker *w)
{
	STAILQ_HEAD(, post) posts = STAILQ_HEAD_INITIALIZER(posts);
	struct post *post;

	pthread_mutex_lock(&w->inbox_lock);
	STAILQ_CONCAT(&posts, &w->inbox.posts);
	pthread_mutex_unlock(&w->inbox_lock);
	while ((post = STAILQ_FIRST(&posts))) {
		STAILQ_REMOVE_HEAD(&posts, link);
		post->run(post);
	}
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	store_inbox_run(w->answers);
}

void worker_tell_drain(struct worker *w, enum drain drain)
{
	pthread_mutex_lock(&w->inbox_lock);
	w->inbox.drain = drain;
	pthread_mutex_unlock(&w->inbox_lock);
	wake(w);
}

void worker_tell_stop(struct worker *w)
{
	pthread_mutex_lock(&w->inbox_lock);
	w->inbox.stop = true;
	pthread_mutex_unlock(&w->inbox_lock);
	wake(w);
}

void worker_tell_evict(struct worker *w)
{
	atomic_fetch_add(&w->evict_asked, 1);
	wake(w);
}

void worker_tell_change(struct worker *w, struct change *change)
{
	pthread_mutex_lock(&w->inbox_lock);
	STAILQ_INSERT_TAIL(&w->inbox.changes, change, link);
	pthread_mutex_unlock(&w->inbox_lock);
	wake(w);
}

/* Other sites move on when they are refused; this site's own instances have nowhere else to go. */
static void take_drain(struct worker *w, enum drain drain)
{
	bool all = drain == DRAIN_LAST || !conf_has_neighbours(w->view->conf);
	struct listener *l;

	if (drain <= w->drain)
		return;
	TAILQ_FOREACH(l, &w->listeners, link)
		if (all || l->kind != LISTEN_SERVICE)
			listener_close_gently(l);
	if (w->drain == DRAIN_NONE)
		sessions_mark_awaited(w);
	w->drain = drain;
	sessions_drain(w, all);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	STAILQ_HEAD(, change) changes = STAILQ_HEAD_INITIALIZER(changes);
	struct change *c;
	enum drain drain;
	bool stop;
	uint64_t n;

	(void)what;
	if (read((int)fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("worker %u: eventfd: %s", w->index, strerror(errno));
	pthread_mutex_lock(&w->inbox_lock);
	drain = w->inbox.drain;
	stop = w->inbox.stop;
	STAILQ_CONCAT(&changes, &w->inbox.changes);
	pthread_mutex_unlock(&w->inbox_lock);
	while ((c = STAILQ_FIRST(&changes))) {
		STAILQ_REMOVE_HEAD(&changes, link);
		worker_take_change(w, c);
		sem_post(&w->server->change_taken);
	}
	run_posts(w);
	for (unsigned asked = atomic_exchange(&w->evict_asked, 0); asked && worker_evict(w); asked--)
		;
	take_drain(w, drain);
	if (stop)
		w->stopping = true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_answers(struct worker *w)
{
	if (store_inbox_new(&w->answers))
		return ERR_NOMEM;
	w->answered = event_new(w->loop.base, store_inbox_fd(w->answers), EV_READ | EV_PERSIST, on_answers, w);
	return w->answered && !event_add(w->answered, NULL) ? 0 : ERR_NOMEM;
}

int worker_init(struct worker *w, struct server *server, unsigned index, struct conf *conf,
                struct registry *reg, struct err *e)
{
	struct view *v = NULL;

	memset(w, 0, sizeof(*w));
	w->server = server;
	w->replication = server ? server->replication : NULL;
	w->names = w->replication ? w->replication->names : NULL;
	w->index = index;
	w->random = index + 1;
	TAILQ_INIT(&w->listeners);
	TAILQ_INIT(&w->inners_ready);
	w->inner = (struct listener){ .kind = LISTEN_INNER, .fd = -1, .worker = w };
	STAILQ_INIT(&w->inbox.changes);
	STAILQ_INIT(&w->inbox.posts);
	TAILQ_INIT(&w->sessions);
	TAILQ_INIT(&w->dead_sessions);
	TAILQ_INIT(&w->ready_sessions);
	TAILQ_INIT(&w->unwatched_sessions);
	TAILQ_INIT(&w->dead_upstreams);
	TAILQ_INIT(&w->dead_exchanges);
	TAILQ_INIT(&w->spare_exchanges);
	buf_pool_init(&w->blocks, CONN_BLOCK, BLOCKS_KEPT);
	deadlines_init(&w->deadlines);
	stats_init(&w->stats);
	access_log_queue_init(&w->log);
	pthread_mutex_init(&w->inbox_lock, NULL);
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (io_loop_init(&w->loop) || w->wake_fd < 0)
		goto fail;
	w->wake = event_new(w->loop.base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
	w->tick = evtimer_new(w->loop.base, on_tick, w);
	w->resume = evtimer_new(w->loop.base, listeners_resume, w);
	v = view_new(w, conf, reg, server ? server->tls : NULL);
	if (!w->wake || !w->tick || !w->resume || !v || event_add(w->wake, NULL))
		goto fail;
	if (server && open_answers(w))
		goto fail;
	set_view(w, v);
	return 0;
fail:
	if (v)
		view_unref(&v);
	return err_set(e, ERR_NOMEM, "an event loop cannot be made: %s", strerror(errno));
}

static void reap(struct worker *w)
{
	exchanges_reap(w);
	sessions_reap(w);
	upstreams_reap(w);
}

void worker_turn(struct worker *w)
{
	do {
		sessions_run_ready(w);
		inners_run_ready(w);
	} while (!TAILQ_EMPTY(&w->ready_sessions));
	reap(w);
	atomic_store_explicit(&w->busy_told, w->busy_count, memory_order_release);
	if (w->drain) {
		atomic_store(&w->awaited_told, w->awaited_count);
		atomic_store(&w->drain_told, (int)w->drain);
	}
}

void worker_run(struct worker *w)
{
	while (!w->stopping) {
		io_loop_turn(&w->loop);
		worker_turn(w);
	}
	if (w->ending)
		w->ending(w->ending_arg);
	while (!TAILQ_EMPTY(&w->sessions))
		session_abort(TAILQ_FIRST(&w->sessions));
	inners_run_ready(w);
	reap(w);
	pthread_mutex_lock(&w->inbox_lock);
	w->ended = true;
	pthread_mutex_unlock(&w->inbox_lock);
	run_posts(w);
}

static void *thread_main(void *arg)
{
	worker_run(arg);
	return NULL;
}

int worker_start(struct worker *w)
{
	return pthread_create(&w->thread, NULL, thread_main, w) ? ERR_NOMEM : 0;
}

void worker_fini(struct worker *w)
{
	struct listener *l;
	struct change *c;

	if (w->answers)
		store_inbox_run(w->answers); /* the store has ended and brings no more */
	reap(w);
	while ((l = TAILQ_FIRST(&w->listeners)))
		listener_free(l); /* NOLINT(clang-analyzer-unix.Malloc): it left the list */
	pools_free(w);
	reap(w);
	exchanges_fini(w);
	rewrite_rules_fini(w);
	if (w->view)
		view_unref(&w->view);
	if (w->wake)
		event_free(w->wake);
	if (w->tick)
		event_free(w->tick);
	if (w->resume)
		event_free(w->resume);
	if (w->answered)
		event_free(w->answered);
	io_loop_fini(&w->loop);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	while ((c = STAILQ_FIRST(&w->inbox.changes))) {
		STAILQ_REMOVE_HEAD(&w->inbox.changes, link);
		change_free(c);
	}
	store_inbox_free(&w->answers);
	buf_pool_fini(&w->blocks);
	stats_fini(&w->stats);
	access_log_queue_fini(&w->log);
	pthread_mutex_destroy(&w->inbox_lock);
}
