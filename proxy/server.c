/* Order of the start: state folder and its lock, first binds (without SO_REUSEPORT, so that an address in use
 * is found even when its owner shares it), workers and their listeners, signals, the start line.  Whatever
 * fails is said with its reason and nothing stays behind.
 *
 * Order of the stop: not ready, strangers refused, idle connections closed, exchanges finished (up to
 * timeouts.drain), listeners closed, workers stopped, log written. */
#include "proxy/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config.h"
#include "proxy/descriptors.h"
#include "proxy/instance.h"
#include "proxy/peer.h"
#include "proxy/probe.h"
#include "proxy/reload.h"
#include "proxy/replication.h"
#include "proxy/replicator.h"

#define DRAIN_LOOK_US 20000
#define DRAIN_GRACE_US 1000000
#define WATCH_US 250000
#define SWEEPS 2 /* parts of the correlation table per look */

/* ---- state folder -------------------------------------------------------------------------------------------- */

static int make_folder(const char *path)
{
	char copy[4096];

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/' || !p[1])
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return mkdir(copy, 0700) && errno != EEXIST ? -1 : 0;
}

/* Whether there is something in it, but no lock of ours: then it is somebody else's (/etc, a home). */
static bool is_foreign(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool any = false, lock = false;

	while (dir && !lock && (entry = readdir(dir))) {
		lock = strcmp(entry->d_name, "lock") == 0;
		any |= strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	}
	if (dir)
		closedir(dir);
	return any && !lock;
}

/* The folder there is now, for nobody else to read. */
static int tighten_folder(const char *path, const struct stat *st)
{
	if (!S_ISDIR(st->st_mode)) {
		log_error("the state folder %s is no folder", path);
		return ERR_INVALID;
	}
	if (!(st->st_mode & 077))
		return 0;
	if (is_foreign(path)) {
		log_error("the state folder %s holds other files and is open to others (mode %03o): it would be closed "
		          "to them; name a folder of its own (key state), or chmod it to 0700", path,
		          (unsigned)(st->st_mode & 0777));
		return ERR_DENIED;
	}
	log_warn("the state folder %s was open to others (mode %03o): tightened to 0700", path,
	         (unsigned)(st->st_mode & 0777));
	if (chmod(path, 0700))
		log_warn("%s: %s", path, strerror(errno));
	return 0;
}

static int lock_state(struct server *srv)
{
	const char *path = srv->conf->state.p;
	struct stat st;
	char file[4096], pid[32] = "";
	ssize_t n;

	if (make_folder(path) || stat(path, &st)) {
		log_error("the state folder %s cannot be made: %s (key state names another, e.g. ./state)", path,
		          strerror(errno));
		return ERR_IO;
	}
	if (tighten_folder(path, &st))
		return ERR_IO;
	snprintf(file, sizeof(file), "%s/lock", path);
	srv->state_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (srv->state_fd < 0) {
		log_error("%s: %s", file, strerror(errno));
		return ERR_IO;
	}
	if (flock(srv->state_fd, LOCK_EX | LOCK_NB)) {
		n = pread(srv->state_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
		log_error("the state folder %s is in use by another scopemeshd%s%s; give this one a state folder "
		          "of its own (key state)", path, *pid ? ", pid " : "", pid);
		return ERR_BUSY;
	}
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(srv->state_fd, 0) || pwrite(srv->state_fd, pid, (size_t)n, 0) < 0)
		log_warn("%s: %s", file, strerror(errno));
	return 0;
}

/* Marks of operators are in force from the first request on. */
static int open_state(struct server *srv)
{
	const char *folder = srv->conf->state.p;
	struct err e;
	int rc = marks_open(&srv->marks, folder, &e);

	if (!rc)
		rc = identity_open(&srv->identity, folder, clock_wall_ms(), &e);
	if (!rc)
		rc = replication_open(&srv->replication, srv->conf->site, folder, srv->conf->limit_spool_bytes, &e);
	if (rc)
		log_error("%s", rc == ERR_NOMEM ? err_text(rc) : e.text);
	else
		marks_apply(&srv->marks, srv->reg);
	return rc;
}

/* ---- listeners ------------------------------------------------------------------------------------------------- */

static void log_lines(struct buf *errors)
{
	struct span rest = buf_span(errors), line;

	while (span_split(&rest, '\n', &line))
		if (line.n)
			log_error("%.*s", SPAN_ARG(line));
}

static int find_addresses(struct server *srv)
{
	struct buf errors;
	int rc = bound_list_make(srv->conf, &srv->listeners);

	buf_init(&errors, NULL, 1 << 16);
	if (!rc)
		rc = bound_list_probe(&srv->listeners, NULL, &errors);
	log_lines(&errors);
	buf_fini(&errors);
	return rc;
}

static int open_listeners(struct server *srv)
{
	const struct bound_list *list = &srv->listeners;
	struct err e;
	int *fds, rc = bound_list_open(list, srv->worker_count, &fds, &e);

	if (rc) {
		log_error("%s", e.text);
		return rc;
	}
	for (unsigned k = 0; k < srv->worker_count && !rc; k++)
		for (size_t i = 0; i < list->count && !rc; i++) {
			int fd = fds[k * list->count + i];

			fds[k * list->count + i] = -1;
			if (fd >= 0)
				rc = worker_listen(&srv->workers[k], &list->items[i], fd);
		}
	bound_list_close(list, srv->worker_count, &fds);
	return rc;
}

/* ---- certificates ---------------------------------------------------------------------------------------------- */

static void say_mistake(void *arg, const void *option, const char *what, const char *hint)
{
	(void)arg;
	(void)option;
	(void)hint;
	log_error("%s", what);
}

/* They were checked with the configuration a moment ago. */
static int load_certificates(struct server *srv)
{
	uint64_t state = certificates_state(srv->conf);
	int rc = tls_load(srv->conf, NULL, say_mistake, NULL, &srv->tls);

	certificates_taken(srv, state);
	return rc;
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void stop_all(struct server *srv)
{
	for (unsigned i = 0; i < srv->worker_count; i++)
		worker_tell_stop(&srv->workers[i]);
}

/* The drain, told by the workers' counts:
 *
 *	BEGUN: this site's own instances are served still, since the requests in flight may need what they call.
 *	  no request in flight, or none from before for DRAIN_GRACE_US: on to
 *	LAST: nobody new.
 *	  no request in flight: stop
 *
 * The grace lets those that came meanwhile make their calls; it is bounded, since clients on the machine of a
 * loopback instance cannot be told from it and might go on for ever. */
static void tell_drain(struct server *srv, enum drain drain)
{
	for (unsigned i = 1; i <= srv->started; i++)
		worker_tell_drain(&srv->workers[i], drain);
}

struct in_flight { size_t all, awaited; bool known; };

static struct in_flight count_in_flight(const struct server *srv, enum drain at_least)
{
	struct in_flight n = { 0, 0, true };

	for (unsigned i = 1; i <= srv->started; i++) {
		n.known = n.known && atomic_load(&srv->workers[i].drain_told) >= (int)at_least;
		n.all += atomic_load(&srv->workers[i].busy_told);
		n.awaited += atomic_load(&srv->workers[i].awaited_told);
	}
	return n;
}

static bool is_drained(struct server *srv)
{
	struct in_flight n = count_in_flight(srv, srv->drain_last ? DRAIN_LAST : DRAIN_BEGUN);
	int64_t now = clock_mono_us();

	if (!n.known)
		return false;
	if (srv->drain_last)
		return !n.all;
	if (!n.awaited && !srv->drain_grace_until_us)
		srv->drain_grace_until_us = now + DRAIN_GRACE_US;
	if (!n.all || (!n.awaited && now >= srv->drain_grace_until_us)) {
		srv->drain_last = true;
		tell_drain(srv, DRAIN_LAST);
	}
	return false;
}

static void on_drain_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *srv = arg;
	static const struct timeval soon = { 0, DRAIN_LOOK_US };

	(void)fd;
	(void)what;
	if (is_drained(srv)) {
		stop_all(srv);
	} else if (clock_mono_us() >= srv->drain_until_us) {
		log_warn("requests still in flight after timeouts.drain are cut");
		stop_all(srv);
	} else {
		event_add(srv->drain_tick, &soon);
	}
}

static void on_stop_signal(evutil_socket_t sig, short what, void *arg)
{
	struct server *srv = arg;

	(void)what;
	if (atomic_load(&srv->draining)) {
		log_info("%s again: stopping at once", sig == SIGINT ? "SIGINT" : "SIGTERM");
		stop_all(srv);
		return;
	}
	log_info("%s: draining", sig == SIGINT ? "SIGINT" : "SIGTERM");
	atomic_store(&srv->ready, false);
	atomic_store(&srv->draining, true);
	srv->drain_until_us = clock_mono_us() + srv->conf->timeout_drain_us;
	tell_drain(srv, DRAIN_BEGUN);
	on_drain_tick(-1, 0, srv);
}

static void on_usr1(evutil_socket_t sig, short what, void *arg)
{
	struct server *srv = arg;

	(void)sig;
	(void)what;
	access_log_reopen(srv->access_log);
}

static void on_watch_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	server_watch_registry(arg);
	certificates_watch(arg);
	for (int i = 0; i < SWEEPS; i++)
		correlation_sweep(((struct server *)arg)->correlation, clock_mono_us());
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
	struct reload_report report;

	(void)sig;
	(void)what;
	reload_report_init(&report);
	server_reload(arg, &report); /* it has logged what became of it */
	reload_report_fini(&report);
}

/* ---- start ------------------------------------------------------------------------------------------------------------ */

static int make_workers(struct server *srv)
{
	struct err e;

	srv->correlation = correlation_new();
	if (!srv->correlation)
		return ERR_NOMEM;
	correlation_set_keys(srv->correlation, conf_correlation_keys(srv->conf));
	srv->worker_count = srv->conf->workers + 2; /* the main thread, and the replicator */
	srv->workers = calloc(srv->worker_count, sizeof(*srv->workers));
	srv->queues = calloc(srv->worker_count, sizeof(struct access_log_queue *));
	if (!srv->workers || !srv->queues)
		return ERR_NOMEM;
	for (unsigned i = 0; i < srv->worker_count; i++) {
		if (worker_init(&srv->workers[i], srv, i, srv->conf, srv->reg, &e)) {
			log_error("%s", e.text);
			srv->worker_count = i + 1;
			return e.code;
		}
		srv->queues[i] = &srv->workers[i].log;
	}
	if (access_log_open(srv->conf->log_access, srv->queues, srv->worker_count, &srv->access_log, &e)) {
		log_error("%s", e.text);
		return e.code;
	}
	return 0;
}

static void stop_replicator(void *r)
{
	replicator_stop(r);
}

/* The last worker is its. */
static int start_replicator(struct server *srv)
{
	struct worker *w = &srv->workers[srv->worker_count - 1];

	if (replicator_start(&srv->replication->replicator, srv->replication, w))
		return ERR_NOMEM;
	w->ending = stop_replicator;
	w->ending_arg = srv->replication->replicator;
	return 0;
}

static struct event *on_signal(struct server *srv, int sig, event_callback_fn fn)
{
	struct event *ev = evsignal_new(srv->workers[0].loop.base, sig, fn, srv);

	if (ev)
		event_add(ev, NULL);
	return ev;
}

static int watch_signals(struct server *srv)
{
	static const struct timeval watch = { 0, WATCH_US };

	signal(SIGPIPE, SIG_IGN);
	srv->on_term = on_signal(srv, SIGTERM, on_stop_signal);
	srv->on_int = on_signal(srv, SIGINT, on_stop_signal);
	srv->on_hup = on_signal(srv, SIGHUP, on_hup);
	srv->on_usr1 = on_signal(srv, SIGUSR1, on_usr1);
	srv->drain_tick = evtimer_new(srv->workers[0].loop.base, on_drain_tick, srv);
	srv->watch_tick = event_new(srv->workers[0].loop.base, -1, EV_PERSIST, on_watch_tick, srv);
	if (!srv->on_term || !srv->on_int || !srv->on_hup || !srv->on_usr1 || !srv->drain_tick || !srv->watch_tick)
		return ERR_NOMEM;
	return event_add(srv->watch_tick, &watch) ? ERR_NOMEM : 0;
}

/* Threads with all signals blocked: the main thread has them. */
static int start_workers(struct server *srv)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (unsigned i = 1; i < srv->worker_count && !rc; i++) {
		rc = worker_start(&srv->workers[i]);
		if (!rc)
			srv->started = i;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* Fixed by the contract: "scopemeshd VERSION SITE ready in N ms: image ADDR, mesh ADDR, admin ADDR". */
static void say_ready(struct server *srv, const struct bound_list *list)
{
	const struct conf *conf = srv->conf;
	char text[ADDR_TEXT_BYTES];
	struct buf line;

	buf_init(&line, NULL, 0);
	buf_addf(&line, "scopemeshd %s %.*s ready in %lld ms:", PACKAGE_VERSION, SPAN_ARG(conf->site),
	         (long long)(clock_mono_us() - srv->started_us) / 1000);
	for (size_t s = 0; s < conf->service_count; s++) {
		const struct conf_service *svc = &conf->services[s];

		for (size_t i = 0; i < list->count; i++) {
			const struct bound *o = &list->items[i];
			bool mine = *o->service && span_eq(span_of(o->service), svc->name);

			for (size_t j = 0; !mine && !*o->service && j < svc->listen_count; j++)
				mine = o->kind == LISTEN_SERVICE && addr_eq(&svc->listen[j], &o->configured);
			if (!mine)
				continue;
			addr_format(&o->addr, text);
			buf_addf(&line, " %.*s %s,", SPAN_ARG(svc->name), text);
		}
	}
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].kind == LISTEN_SERVICE)
			continue;
		addr_format(&list->items[i].addr, text);
		buf_addf(&line, " %s %s,", list->items[i].kind == LISTEN_MESH ? "mesh" : "admin", text);
	}
	fprintf(stderr, "%.*s\n", (int)(buf_len(&line) - 1), line.mem + line.rd);
	fflush(stderr);
	buf_fini(&line);
}

static void free_event(struct event *ev)
{
	if (ev)
		event_free(ev);
}

static void server_fini(struct server *srv)
{
	struct replicator *replicator = srv->replication ? srv->replication->replicator : NULL;

	stop_all(srv);
	for (unsigned i = 1; i <= srv->started; i++)
		pthread_join(srv->workers[i].thread, NULL);
	if (replicator)
		replicator_stop(replicator); /* its thread may never have run */
	probes_stop(&srv->probes);
	peers_free(&srv->peers);
	access_log_close(&srv->access_log);
	free_event(srv->on_term);
	free_event(srv->on_int);
	free_event(srv->on_hup);
	free_event(srv->on_usr1);
	free_event(srv->drain_tick);
	free_event(srv->watch_tick);
	replication_close(&srv->replication);
	for (unsigned i = 0; i < srv->worker_count; i++)
		worker_fini(&srv->workers[i]); /* what the store still answered is dropped: the replicator is stopped */
	replicator_free(&replicator);
	free(srv->workers);
	correlation_free(&srv->correlation);
	carrier_watches_fini(&srv->watches);
	instances_free();
	free(srv->queues);
	if (srv->state_fd >= 0)
		close(srv->state_fd);
	bound_list_free(&srv->listeners);
	sem_destroy(&srv->change_taken);
	marks_close(&srv->marks);
	identity_close(&srv->identity);
	conf_unref(&srv->conf);
	registry_unref(&srv->reg);
	collect_close(&srv->sites);
	tls_unref(&srv->tls);
}

int server_run(const char *conf_path, struct conf *conf, struct collect *sites)
{
	struct server srv = { .conf = conf, .sites = sites, .conf_path = conf_path, .state_fd = -1 };
	uint64_t fds;
	int rc;

	srv.started_us = clock_mono_us();
	srv.started_wall_ms = clock_wall_ms();
	sem_init(&srv.change_taken, 0, 0);
	carrier_watches_init(&srv.watches);
	srv.reg = registry_ref(sites->now);
	atomic_store(&srv.last_reload_good, true);
	log_set_level(conf->log_level);
	fds = descriptors_init();
	if (fds / 2 < conf->limit_connections)
		log_warn("RLIMIT_NOFILE is %llu, too few descriptors for limits.connections (%llu) with a connection to an "
		         "instance each", (unsigned long long)fds, (unsigned long long)conf->limit_connections);
	rc = load_certificates(&srv);
	if (!rc)
		rc = lock_state(&srv);
	if (!rc)
		rc = open_state(&srv);
	if (!rc)
		rc = find_addresses(&srv);
	if (!rc)
		rc = make_workers(&srv);
	if (!rc)
		rc = start_replicator(&srv);
	if (!rc)
		rc = open_listeners(&srv);
	if (!rc)
		rc = watch_signals(&srv);
	if (!rc && !(srv.peers = peers_new(&srv.workers[0].loop, srv.conf, srv.reg, srv.tls, &srv.marks,
	                                         &srv.identity, srv.replication)))
		rc = ERR_NOMEM;
	if (!rc)
		rc = start_workers(&srv);
	if (!rc && !(srv.probes = probes_start(&srv.workers[0].loop, srv.conf, srv.tls)))
		rc = ERR_NOMEM;
	if (!rc) {
		descriptors_count_own();
		atomic_store(&srv.ready, true);
		say_ready(&srv, &srv.listeners);
		worker_run(&srv.workers[0]);
		log_info("stopped");
	}
	server_fini(&srv);
	return rc ? EXIT_CANNOT_START : EXIT_STOPPED;
}
