/* A reload in this order, and nothing has changed before the last step:
 *
 *	read and check the file and the registry -> find the addresses that are new -> bind them, for every
 *	worker -> listen -> open the access log -> hand each worker its view and its sockets
 *
 * Sockets of addresses that stay are not touched.  A worker takes its change as a whole, between two events: the
 * exchanges it has under way keep the view they began with, and connections of a listener that goes are answered
 * by it once more (struct listener).  What cannot change without a restart keeps its old value.
 *
 * The main thread waits for the workers, TAKE_MS at most, so that whoever asked finds the new configuration at
 * work when he has the answer.  Nothing but the admin interface and the probes waits with it. */
#include "proxy/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "proxy/certificates.h"
#include "proxy/peer.h"
#include "proxy/probe.h"
#include "proxy/replication.h"
#include "replication/spool.h"

#define TAKE_MS 2000

void reload_report_init(struct reload_report *r)
{
	buf_init(&r->errors, NULL, 1 << 20);
	buf_init(&r->changed, NULL, 1 << 20);
	buf_init(&r->restart, NULL, 1 << 20);
	buf_init(&r->opened, NULL, 1 << 20);
	buf_init(&r->closed, NULL, 1 << 20);
}

void reload_report_fini(struct reload_report *r)
{
	buf_fini(&r->errors);
	buf_fini(&r->changed);
	buf_fini(&r->restart);
	buf_fini(&r->opened);
	buf_fini(&r->closed);
}

/* What is read again; the rest stays as it is. */
enum reload_part { RELOAD_ALL, RELOAD_REGISTRY, RELOAD_CERTIFICATES };

/* What is on the way to be in force. */
struct reload {
	struct server *srv;
	struct reload_report *report;
	enum reload_part part;
	struct conf *conf;
	struct collect *sites;   /* NULL: the server's own stays */
	struct registry *reg;
	struct tls_set *tls;
	uint64_t tls_files;
	struct bound_list listeners;
	int *fds;
	struct change **changes; /* per worker */
	bool new_log;
	struct access_log *log;
};

static int load_conf(struct reload *r)
{
	struct server *srv = r->srv;
	int rc = conf_load(srv->conf_path, &r->conf, &r->report->errors);

	if (rc)
		return rc;
	conf_diff(srv->conf, r->conf, true, &r->report->restart);
	rc = conf_keep_fixed(r->conf, srv->conf);
	if (rc)
		return rc;
	conf_diff(srv->conf, r->conf, false, &r->report->changed);
	return 0;
}

static void add_mistake(void *arg, const void *option, const char *what, const char *hint)
{
	(void)option;
	(void)hint;
	buf_addf(arg, "%s\n", what);
}

/* Files that changed by themselves have to be better than what there is. */
static int load_certificates(struct reload *r)
{
	if (r->part == RELOAD_REGISTRY) {
		r->tls = tls_ref(r->srv->tls);
		return 0;
	}
	r->tls_files = certificates_state(r->conf); /* before reading: what is written meanwhile is seen */
	return tls_load(r->conf, r->part == RELOAD_CERTIFICATES ? r->srv->tls : NULL, add_mistake, &r->report->errors,
	                &r->tls);
}

static int load_registry(struct reload *r)
{
	struct server *srv = r->srv;
	int rc;

	if (r->part == RELOAD_CERTIFICATES) {
		r->reg = registry_ref(srv->reg);
		return 0;
	}
	if (r->part == RELOAD_REGISTRY)
		rc = srv->sites->source->ops->resync(srv->sites->source, &r->report->errors);
	else
		rc = collect_open(&source_file, r->conf->registry_file, r->conf->site, r->conf->labels,
		                  r->conf->label_count, srv->reg, &r->sites, &r->report->errors);
	if (rc)
		return rc;
	r->reg = registry_ref(r->sites ? r->sites->now : srv->sites->now);
	marks_apply(&srv->marks, r->reg); /* before any request sees it */
	return 0;
}

static int load(struct reload *r)
{
	struct server *srv = r->srv;
	int rc = 0;

	if (r->part == RELOAD_ALL)
		rc = load_conf(r);
	else
		r->conf = conf_ref(srv->conf);
	if (!rc)
		rc = load_certificates(r);
	return rc ? rc : load_registry(r);
}

static void add_address(struct buf *out, const struct bound *o)
{
	char text[ADDR_TEXT_BYTES];

	addr_format(&o->addr, text);
	buf_addf(out, "%s\n", text);
}

static bool has_kept(const struct bound_list *list, const struct bound *old)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].kept && list->items[i].kind == old->kind && addr_eq(&list->items[i].addr, &old->addr))
			return true;
	return false;
}

static int find_addresses(struct reload *r)
{
	int rc = bound_list_make(r->conf, &r->listeners);

	if (rc)
		return rc;
	bound_list_keep(&r->listeners, &r->srv->listeners);
	return bound_list_probe(&r->listeners, &r->srv->listeners, &r->report->errors);
}

static int open_addresses(struct reload *r)
{
	struct server *srv = r->srv;
	struct err e;
	int rc = find_addresses(r);

	if (rc)
		return rc;
	rc = bound_list_open(&r->listeners, srv->worker_count, &r->fds, &e);
	if (rc) {
		buf_addf(&r->report->errors, "%s\n", e.text);
		return rc;
	}
	for (size_t i = 0; i < r->listeners.count; i++)
		if (!r->listeners.items[i].kept)
			add_address(&r->report->opened, &r->listeners.items[i]);
	for (size_t i = 0; i < srv->listeners.count; i++)
		if (!has_kept(&r->listeners, &srv->listeners.items[i]))
			add_address(&r->report->closed, &srv->listeners.items[i]);
	return 0;
}

static int open_log(struct reload *r)
{
	struct server *srv = r->srv;
	struct err e;
	int rc;

	r->new_log = !span_eq(srv->conf->log_access, r->conf->log_access);
	if (!r->new_log)
		return 0;
	rc = access_log_open(r->conf->log_access, srv->queues, srv->worker_count, &r->log, &e);
	if (rc)
		buf_addf(&r->report->errors, "%s\n", e.text);
	return rc;
}

static int make_changes(struct reload *r)
{
	struct server *srv = r->srv;
	size_t n = r->listeners.count;

	r->changes = calloc(srv->worker_count, sizeof(struct change *));
	for (unsigned k = 0; r->changes && k < srv->worker_count; k++) {
		r->changes[k] = change_new(r->conf, r->reg, r->tls, r->listeners.items, n);
		if (!r->changes[k])
			return ERR_NOMEM;
		r->changes[k]->number = srv->changes + 1;
	}
	return r->changes ? 0 : ERR_NOMEM;
}

static int prepare(struct reload *r)
{
	int rc = load(r);

	if (!rc)
		rc = open_addresses(r);
	if (!rc)
		rc = open_log(r);
	if (!rc)
		rc = make_changes(r);
	if (rc == ERR_NOMEM)
		buf_add_z(&r->report->errors, "out of memory\n");
	return rc;
}

/* Frees what was not put in force. */
static void discard(struct reload *r)
{
	for (unsigned k = 0; r->changes && k < r->srv->worker_count; k++)
		if (r->changes[k])
			change_free(r->changes[k]);
	free(r->changes);
	if (r->fds)
		bound_list_close(&r->listeners, r->srv->worker_count, &r->fds);
	bound_list_free(&r->listeners);
	access_log_close(&r->log);
	registry_unref(&r->reg);
	collect_close(&r->sites); /* borrows from the configuration */
	conf_unref(&r->conf);
	tls_unref(&r->tls);
}

static void hand_out(struct reload *r)
{
	struct server *srv = r->srv;
	size_t n = r->listeners.count;

	spool_set_limit(srv->replication->spool, r->conf->limit_spool_bytes);
	srv->changes++;
	for (unsigned k = srv->worker_count; k-- > 0;) {
		struct change *c = r->changes[k];

		for (size_t i = 0; i < n; i++) {
			c->listeners[i].fd = r->fds[k * n + i];
			r->fds[k * n + i] = -1;
		}
		r->changes[k] = NULL;
		if (k)
			worker_tell_change(&srv->workers[k], c);
		else
			worker_take_change(&srv->workers[0], c);
	}
}

static int await_workers(struct server *srv)
{
	struct timespec until;
	bool failed = false;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += TAKE_MS / 1000;
	for (unsigned k = 0; k < srv->worker_count; k++) {
		while (atomic_load(&srv->workers[k].change_taken) < srv->changes)
			if (sem_timedwait(&srv->change_taken, &until) && errno != EINTR)
				return ERR_TIMEOUT;
		failed = failed || atomic_load(&srv->workers[k].change_failed);
	}
	return failed ? ERR_NOMEM : 0;
}

/* From here on nothing fails but for memory in a worker, which then stays as it was. */
static int put_in_force(struct reload *r)
{
	struct server *srv = r->srv;
	int rc;

	hand_out(r);
	rc = await_workers(srv);
	probes_stop(&srv->probes); /* before the new ones begin: both mark the instances as probed */
	srv->probes = probes_start(&srv->workers[0].loop, r->conf, r->tls);
	if (!srv->probes || peers_update(srv->peers, r->conf, r->reg, r->tls))
		rc = ERR_NOMEM;
	if (r->new_log) {
		struct access_log *old = srv->access_log;

		srv->access_log = r->log;
		r->log = old; /* discarded, which writes what waits */
	} else if (r->part == RELOAD_ALL) {
		access_log_reopen(srv->access_log); /* what rotates logs may know of reloads only */
	}
	registry_unref(&srv->reg);
	srv->reg = registry_ref(r->reg);
	if (r->sites) {
		collect_close(&srv->sites);
		srv->sites = r->sites;
		r->sites = NULL;
	}
	conf_unref(&srv->conf);
	srv->conf = conf_ref(r->conf);
	correlation_set_keys(srv->correlation, conf_correlation_keys(srv->conf));
	tls_unref(&srv->tls);
	srv->tls = tls_ref(r->tls);
	if (r->part != RELOAD_REGISTRY)
		certificates_taken(srv, r->tls_files);
	bound_list_free(&srv->listeners);
	srv->listeners = r->listeners;
	r->listeners = (struct bound_list){ NULL, 0 };
	if (r->part == RELOAD_ALL)
		log_set_level(srv->conf->log_level);
	return rc;
}

static void log_each(void (*say)(struct span line), const struct buf *lines)
{
	struct span rest = buf_span(lines), line;

	while (span_split(&rest, '\n', &line))
		if (line.n)
			say(line);
}

static void say_error(struct span line)
{
	log_error("%.*s", SPAN_ARG(line));
}

static void say_restart(struct span line)
{
	log_warn("%.*s", SPAN_ARG(line));
}

static void say_changed(struct span line)
{
	log_info("changed: %.*s", SPAN_ARG(line));
}

static void say_opened(struct span line)
{
	log_info("listening on %.*s", SPAN_ARG(line));
}

static void say_closed(struct span line)
{
	log_info("no longer listening on %.*s", SPAN_ARG(line));
}

static void refused(const struct reload *r)
{
	struct server *srv = r->srv;

	log_each(say_error, &r->report->errors);
	if (r->part != RELOAD_ALL) {
		log_error("%s", r->part == RELOAD_REGISTRY ? "the registry file is refused: the sites stay as they were"
		                                           : "the certificates stay as they were");
		return;
	}
	atomic_fetch_add(&srv->reloads_bad, 1);
	atomic_store(&srv->last_reload_good, false);
	log_error("reload refused: the configuration stays as it was");
}

static void taken(const struct reload *r)
{
	const struct reload_report *report = r->report;
	struct server *srv = r->srv;

	if (r->part == RELOAD_CERTIFICATES) {
		log_each(say_error, &report->errors);
		log_info("certificates and keys were read again%s", buf_len(&report->errors) ? "; what is of no use stays as it was"
		                                                                            : "");
		return;
	}
	if (r->part == RELOAD_REGISTRY) {
		log_info("the registry file was read again: %zu sites", srv->reg->site_count);
		return;
	}
	atomic_fetch_add(&srv->reloads_good, 1);
	atomic_store(&srv->last_reload_good, true);
	log_each(say_restart, &report->restart);
	log_each(say_changed, &report->changed);
	log_each(say_opened, &report->opened);
	log_each(say_closed, &report->closed);
	log_info("reloaded %s", srv->conf_path);
}

/* Prepares, and puts in force or not. */
static int run(struct reload *r)
{
	int rc = prepare(r);

	if (rc) {
		refused(r);
	} else {
		rc = put_in_force(r);
		if (rc == ERR_NOMEM)
			log_error("not everything could be put in force: out of memory");
		if (rc == ERR_TIMEOUT)
			log_warn("a worker has not taken the new configuration yet");
		taken(r);
	}
	discard(r);
	return rc;
}

int server_reload(struct server *srv, struct reload_report *report)
{
	struct reload r = { .srv = srv, .report = report };

	if (!atomic_load(&srv->draining))
		return run(&r);
	buf_add_z(&report->errors, "draining: this process is about to stop\n");
	refused(&r);
	return ERR_DENIED;
}

int server_check_reload(struct server *srv, struct reload_report *report)
{
	struct reload r = { .srv = srv, .report = report };
	int rc = load(&r);

	if (!rc)
		rc = find_addresses(&r);
	discard(&r);
	return rc;
}

int server_reload_certificates(struct server *srv, struct reload_report *report)
{
	struct reload r = { .srv = srv, .report = report, .part = RELOAD_CERTIFICATES };

	return run(&r);
}

void server_watch_registry(struct server *srv)
{
	struct source *source = srv->sites->source;
	struct reload_report report;
	struct reload r = { .srv = srv, .report = &report, .part = RELOAD_REGISTRY };

	if (!source->ops->has_news || atomic_load(&srv->draining) || !source->ops->has_news(source))
		return;
	reload_report_init(&report);
	run(&r);
	reload_report_fini(&report);
}
