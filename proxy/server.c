/* Order of the start: state folder and its lock, first binds (without SO_REUSEPORT, so that an address in use
 * is found even when its owner shares it), workers and their listeners, signals, the start line.  Whatever
 * fails is said with its reason and nothing stays behind.
 *
 * Order of the stop: not ready, listeners closed, idle connections closed, exchanges finished (up to
 * timeouts.drain), workers stopped, log written. */
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
#include "proxy/instance.h"
#include "proxy/probe.h"

#define DRAIN_LOOK_US 20000

/* ---- state folder -------------------------------------------------------------------------------------------- */

static int make_folder(const char *path)
{
	char copy[4096];

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return mkdir(copy, 0700) && errno != EEXIST ? -1 : 0;
}

static int lock_state(struct server *srv)
{
	const char *path = srv->conf->state.p;
	struct stat st;
	char file[4096], pid[32] = "";
	ssize_t n;

	if (make_folder(path) || stat(path, &st)) {
		log_error("the state folder %s cannot be made: %s", path, strerror(errno));
		return ERR_IO;
	}
	if (st.st_mode & 077) {
		log_warn("the state folder %s was open to others (mode %03o): tightened to 0700", path,
		         (unsigned)(st.st_mode & 0777));
		if (chmod(path, 0700))
			log_warn("%s: %s", path, strerror(errno));
	}
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

/* ---- listeners ------------------------------------------------------------------------------------------------- */

/* An address of the configuration with the port it got. */
struct opened {
	enum listener_kind kind;
	struct addr configured, bound;
	struct span service; /* with port 0 */
};

struct opened_list {
	struct opened *items;
	size_t count;
};

/* The process that has this socket open, 0 when it cannot be seen. */
static long proc_with_socket(unsigned long inode)
{
	char path[300], target[64], want[64];
	struct dirent *p, *f;
	DIR *proc = opendir("/proc"), *fds;
	long found = 0;

	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	while (proc && !found && (p = readdir(proc))) {
		long pid = strtol(p->d_name, NULL, 10);

		snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
		fds = pid > 0 ? opendir(path) : NULL;
		while (fds && !found && (f = readdir(fds))) {
			ssize_t n = readlinkat(dirfd(fds), f->d_name, target, sizeof(target) - 1);

			target[n > 0 ? n : 0] = '\0';
			if (!strcmp(target, want))
				found = pid;
		}
		if (fds)
			closedir(fds);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* The inode of the socket that listens there, from /proc/net/tcp, and the process that has it: best effort. */
static long find_owner(const struct addr *a)
{
	char line[512], want[64];
	unsigned long inode = 0;
	FILE *f;

	if (a->ss.ss_family != AF_INET)
		return 0;
	f = fopen("/proc/net/tcp", "re");
	snprintf(want, sizeof(want), ":%04X ", (unsigned)addr_port(a));
	while (f && fgets(line, sizeof(line), f)) {
		unsigned state;

		if (strstr(line, want) && sscanf(line, "%*s %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode) == 2 &&
		    state == 0x0a)
			break;
		inode = 0;
	}
	if (f)
		fclose(f);
	return inode ? proc_with_socket(inode) : 0;
}

static int first_bind(struct opened *o)
{
	int fd = socket(o->configured.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[ADDR_TEXT_BYTES];
	int on = 1, error;
	long pid;

	addr_format(&o->configured, text);
	o->bound = o->configured;
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (const struct sockaddr *)&o->configured.ss, o->configured.len) ||
	    listen(fd, 1)) {
		error = errno;
		pid = error == EADDRINUSE ? find_owner(&o->configured) : 0;
		if (pid)
			log_error("cannot listen on %s: %s (by process %ld)", text, strerror(error), pid);
		else
			log_error("cannot listen on %s: %s", text, strerror(error));
		if (fd >= 0)
			close(fd);
		return ERR_BUSY;
	}
	o->bound.len = sizeof(o->bound.ss);
	getsockname(fd, (struct sockaddr *)&o->bound.ss, &o->bound.len);
	return fd;
}

static bool is_known(const struct opened_list *list, const struct addr *configured)
{
	for (size_t i = 0; i < list->count; i++)
		if (addr_port(configured) && addr_eq(&list->items[i].configured, configured))
			return true;
	return false;
}

static void add_opened(struct opened_list *list, enum listener_kind kind, const struct addr *a,
                       struct span service)
{
	if (is_known(list, a))
		return;
	list->items[list->count++] = (struct opened){
		.kind = kind,
		.configured = *a,
		.service = addr_port(a) ? span_make(NULL, 0) : service,
	};
}

static int list_addresses(const struct conf *conf, struct opened_list *list)
{
	size_t most = 2;

	for (size_t i = 0; i < conf->service_count; i++)
		most += conf->services[i].listen_count;
	list->items = calloc(most, sizeof(*list->items));
	list->count = 0;
	if (!list->items)
		return ERR_NOMEM;
	for (size_t i = 0; i < conf->service_count; i++)
		for (size_t j = 0; j < conf->services[i].listen_count; j++)
			add_opened(list, LISTEN_SERVICE, &conf->services[i].listen[j], conf->services[i].name);
	if (conf->has_mesh)
		add_opened(list, LISTEN_MESH, &conf->mesh_listen, span_make(NULL, 0));
	if (conf->has_admin)
		add_opened(list, LISTEN_ADMIN, &conf->admin_listen, span_make(NULL, 0));
	return 0;
}

/* Every address is bound once, all problems are said, then the sockets close again and the workers open theirs. */
static int bind_first(struct opened_list *list)
{
	int rc = 0;
	int *fds = calloc(list->count + 1, sizeof(*fds));

	if (!fds)
		return ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++) {
		fds[i] = first_bind(&list->items[i]);
		if (fds[i] < 0)
			rc = fds[i];
	}
	for (size_t i = 0; i < list->count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
	return rc;
}

static int open_listeners(struct server *srv, const struct opened_list *list)
{
	struct err e;

	for (size_t i = 0; i < list->count; i++) {
		const struct opened *o = &list->items[i];
		unsigned first = o->kind == LISTEN_ADMIN ? 0 : 1;
		unsigned last = o->kind == LISTEN_ADMIN ? 0 : srv->worker_count - 1;

		for (unsigned k = first; k <= last; k++) {
			if (worker_listen(&srv->workers[k], o->kind, &o->bound, &o->configured, o->service, &e)) {
				log_error("cannot listen on %s", e.text);
				return ERR_BUSY;
			}
		}
	}
	return 0;
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void stop_all(struct server *srv)
{
	for (unsigned i = 0; i < srv->worker_count; i++)
		worker_tell_stop(&srv->workers[i]);
}

static bool all_drained(struct server *srv)
{
	for (unsigned i = 1; i <= srv->started; i++)
		if (!atomic_load(&srv->workers[i].drained))
			return false;
	return true;
}

static void on_drain_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *srv = arg;
	static const struct timeval soon = { 0, DRAIN_LOOK_US };

	(void)fd;
	(void)what;
	if (all_drained(srv)) {
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
	for (unsigned i = 1; i <= srv->started; i++)
		worker_tell_drain(&srv->workers[i]);
	on_drain_tick(-1, 0, srv);
}

static void on_usr1(evutil_socket_t sig, short what, void *arg)
{
	struct server *srv = arg;

	(void)sig;
	(void)what;
	access_log_reopen(srv->access_log);
}

/* ---- reload -------------------------------------------------------------------------------------------------------- */

static void report_lines(struct buf *errors)
{
	struct span rest = buf_span(errors), line;

	while (span_split(&rest, '\n', &line))
		if (line.n)
			log_error("%.*s", SPAN_ARG(line));
}

static int load_again(struct server *srv, struct conf **conf_r, struct registry **reg_r)
{
	struct buf errors;
	int rc;

	*conf_r = NULL;
	buf_init(&errors, NULL, 1 << 20);
	rc = conf_load(srv->conf_path, conf_r, &errors);
	if (!rc)
		rc = registry_file_load((*conf_r)->registry_file.n ? (*conf_r)->registry_file.p : NULL,
		                        (*conf_r)->site, (*conf_r)->labels, (*conf_r)->label_count, srv->reg,
		                        reg_r, &errors);
	if (rc) {
		report_lines(&errors);
		conf_unref(conf_r);
	}
	buf_fini(&errors);
	return rc;
}

/* What can change without a restart does; the keys that cannot keep their old value are named. */
static void on_hup(evutil_socket_t sig, short what, void *arg)
{
	struct server *srv = arg;
	struct registry *reg;
	struct conf *conf;
	struct buf restart;

	(void)sig;
	(void)what;
	if (load_again(srv, &conf, &reg)) {
		atomic_fetch_add(&srv->reloads_bad, 1);
		atomic_store(&srv->last_reload_good, false);
		log_error("reload refused: the configuration stays as it was");
		return;
	}
	buf_init(&restart, NULL, 0);
	conf_diff_restart(srv->conf, conf, &restart);
	if (buf_len(&restart))
		log_warn("needs a restart: %.*s", SPAN_ARG(buf_span(&restart)));
	buf_fini(&restart);
	for (unsigned i = 0; i < srv->worker_count; i++)
		worker_tell_view(&srv->workers[i], conf, reg);
	probes_stop(&srv->probes);
	srv->probes = probes_start(srv->workers[0].base, conf, reg);
	conf_unref(&srv->conf);
	registry_unref(&srv->reg);
	srv->conf = conf;
	srv->reg = reg;
	log_set_level(conf->log_level);
	atomic_fetch_add(&srv->reloads_good, 1);
	atomic_store(&srv->last_reload_good, true);
	log_info("reloaded %s", srv->conf_path);
}

/* ---- start ------------------------------------------------------------------------------------------------------------ */

static int make_workers(struct server *srv)
{
	struct err e;

	srv->worker_count = srv->conf->workers + 1;
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

static struct event *on_signal(struct server *srv, int sig, event_callback_fn fn)
{
	struct event *ev = evsignal_new(srv->workers[0].base, sig, fn, srv);

	if (ev)
		event_add(ev, NULL);
	return ev;
}

static int watch_signals(struct server *srv)
{
	signal(SIGPIPE, SIG_IGN);
	srv->on_term = on_signal(srv, SIGTERM, on_stop_signal);
	srv->on_int = on_signal(srv, SIGINT, on_stop_signal);
	srv->on_hup = on_signal(srv, SIGHUP, on_hup);
	srv->on_usr1 = on_signal(srv, SIGUSR1, on_usr1);
	srv->drain_tick = evtimer_new(srv->workers[0].base, on_drain_tick, srv);
	return srv->on_term && srv->on_int && srv->on_hup && srv->on_usr1 && srv->drain_tick ? 0 : ERR_NOMEM;
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
static void say_ready(struct server *srv, const struct opened_list *list)
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
			const struct opened *o = &list->items[i];
			bool mine = o->service.n && span_eq(o->service, svc->name);

			for (size_t j = 0; !mine && !o->service.n && j < svc->listen_count; j++)
				mine = o->kind == LISTEN_SERVICE && addr_eq(&svc->listen[j], &o->configured);
			if (!mine)
				continue;
			addr_format(&o->bound, text);
			buf_addf(&line, " %.*s %s,", SPAN_ARG(svc->name), text);
		}
	}
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].kind == LISTEN_SERVICE)
			continue;
		addr_format(&list->items[i].bound, text);
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
	stop_all(srv);
	for (unsigned i = 1; i <= srv->started; i++)
		pthread_join(srv->workers[i].thread, NULL);
	probes_stop(&srv->probes);
	access_log_close(&srv->access_log);
	free_event(srv->on_term);
	free_event(srv->on_int);
	free_event(srv->on_hup);
	free_event(srv->on_usr1);
	free_event(srv->drain_tick);
	for (unsigned i = 0; i < srv->worker_count; i++)
		worker_fini(&srv->workers[i]);
	free(srv->workers);
	instances_free();
	free(srv->queues);
	if (srv->state_fd >= 0)
		close(srv->state_fd);
	conf_unref(&srv->conf);
	registry_unref(&srv->reg);
}

int server_run(const char *conf_path, struct conf *conf, struct registry *reg)
{
	struct server srv = { .conf = conf, .reg = reg, .conf_path = conf_path, .state_fd = -1 };
	struct opened_list list = { NULL, 0 };
	int rc;

	srv.started_us = clock_mono_us();
	srv.started_wall_ms = clock_wall_ms();
	atomic_store(&srv.last_reload_good, true);
	log_set_level(conf->log_level);
	rc = lock_state(&srv);
	if (!rc)
		rc = list_addresses(conf, &list);
	if (!rc)
		rc = bind_first(&list);
	if (!rc)
		rc = make_workers(&srv);
	if (!rc)
		rc = open_listeners(&srv, &list);
	if (!rc)
		rc = watch_signals(&srv);
	if (!rc)
		rc = start_workers(&srv);
	if (!rc && !(srv.probes = probes_start(srv.workers[0].base, srv.conf, srv.reg)))
		rc = ERR_NOMEM;
	if (!rc) {
		atomic_store(&srv.ready, true);
		say_ready(&srv, &list);
		worker_run(&srv.workers[0]);
		log_info("stopped");
	}
	free(list.items);
	server_fini(&srv);
	return rc ? EXIT_CANNOT_START : EXIT_STOPPED;
}
