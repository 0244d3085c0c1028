/* One thread: it takes calls from a bounded list, starts at most HOOKS_AT_ONCE programs, and looks after them.  The
 * document is shorter than a pipe holds, so that a program which does not read it delays nobody. */
#include "proxy/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/conf.h"

#define DOCUMENT_BYTES 32768 /* of a pipe's 64 KiB */
#define LOOK_NS 20000000     /* between two looks at what runs */

extern char **environ;

struct call {
	STAILQ_ENTRY(call) link;
	size_t document_n;
	char *document;
	char *name;                  /* of the hook */
	char **argv;                 /* with what they point to in one block */
};

struct running {
	pid_t pid;                   /* 0: free */
	int64_t until_us;
	char name[65];
};

struct hooks {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	STAILQ_HEAD(, call) calls;   /* these four under lock */
	size_t waiting;
	uint64_t dropped;
	bool stop;
	struct running running[HOOKS_AT_ONCE]; /* the thread's */
};

static const char *const words[] = {
#define HOOK_WORD(name, text) text,
	HOOK_EVENTS(HOOK_WORD)
#undef HOOK_WORD
};

/* ---- the thread -------------------------------------------------------------------------------------------------------- */

static void call_free(struct call *c)
{
	free(c->document);
	free(c->name);
	free(c->argv);
	free(c);
}

/* A process group of its own, so that what it starts ends with it. 0 or an errno. */
static int spawn(const struct call *c, int in, pid_t *pid_r)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, pipe_only;
	int rc;

	sigemptyset(&none);
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	rc = posix_spawn_file_actions_init(&files);
	if (rc)
		return rc;
	rc = posix_spawnattr_init(&attr);
	if (rc) {
		posix_spawn_file_actions_destroy(&files);
		return rc;
	}
	if (!(rc = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO)) &&
	    !(rc = posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO)) &&
	    !(rc = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1)) &&
	    !(rc = posix_spawnattr_setsigmask(&attr, &none)) && !(rc = posix_spawnattr_setsigdefault(&attr, &pipe_only)) &&
	    !(rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)))
		rc = posix_spawnp(pid_r, c->argv[0], &files, &attr, c->argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

static void start(struct running *r, const struct call *c)
{
	int ends[2], rc = pipe2(ends, O_CLOEXEC) ? errno : 0;
	ssize_t written;

	if (!rc) {
		written = write(ends[1], c->document, c->document_n);
		close(ends[1]);
		rc = written == (ssize_t)c->document_n ? spawn(c, ends[0], &r->pid) : EIO;
		close(ends[0]);
	}
	if (rc) {
		r->pid = 0;
		log_warn("hook %s: %s cannot be started: %s", c->name, c->argv[0], strerror(rc));
		return;
	}
	r->until_us = clock_mono_us() + HOOKS_PATIENCE_US;
	snprintf(r->name, sizeof(r->name), "%s", c->name);
}

/* Whether any is left. */
static bool look_after(struct hooks *h)
{
	bool any = false;
	int status;

	for (size_t i = 0; i < HOOKS_AT_ONCE; i++) {
		struct running *r = &h->running[i];

		if (!r->pid)
			continue;
		if (waitpid(r->pid, &status, WNOHANG) == 0) {
			any = true;
			if (clock_mono_us() < r->until_us)
				continue;
			log_warn("hook %s: killed after %d s", r->name, HOOKS_PATIENCE_US / 1000000);
			kill(-r->pid, SIGKILL);
			r->until_us = INT64_MAX;
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status))
			log_warn("hook %s: exited with %d", r->name, WEXITSTATUS(status));
		r->pid = 0;
	}
	return any;
}

static struct running *free_place(struct hooks *h)
{
	for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
		if (!h->running[i].pid)
			return &h->running[i];
	return NULL;
}

/* Under lock: until there may be something to do. */
static void rest(struct hooks *h, bool any)
{
	struct timespec until;

	if (!any) {
		pthread_cond_wait(&h->wake, &h->lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&h->wake, &h->lock, &until);
}

static void *run(void *arg)
{
	struct hooks *h = arg;
	struct running *place;
	struct call *c;
	uint64_t dropped;
	bool any;

	pthread_mutex_lock(&h->lock);
	while (!h->stop) {
		pthread_mutex_unlock(&h->lock);
		any = look_after(h);
		place = free_place(h);
		pthread_mutex_lock(&h->lock);
		c = place ? STAILQ_FIRST(&h->calls) : NULL;
		dropped = h->dropped;
		h->dropped = 0;
		if (!c && !h->stop)
			rest(h, any);
		if (c) {
			STAILQ_REMOVE_HEAD(&h->calls, link);
			h->waiting--;
		}
		pthread_mutex_unlock(&h->lock);
		if (dropped)
			log_warn("%llu calls of hooks were dropped: too many wait", (unsigned long long)dropped);
		if (c) {
			start(place, c);
			call_free(c);
		}
		pthread_mutex_lock(&h->lock);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

/* ---- from outside ------------------------------------------------------------------------------------------------------- */

int hooks_new(struct hooks **h_r)
{
	struct hooks *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;
	sigset_t all, before;
	int rc;

	*h_r = NULL;
	if (!h)
		return ERR_NOMEM;
	STAILQ_INIT(&h->calls);
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->wake, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&h->thread, NULL, run, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		pthread_cond_destroy(&h->wake);
		pthread_mutex_destroy(&h->lock);
		free(h);
		return ERR_NOMEM;
	}
	*h_r = h;
	return 0;
}

void hooks_free(struct hooks **hp)
{
	struct hooks *h = *hp;
	struct call *c;

	*hp = NULL;
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	while ((c = STAILQ_FIRST(&h->calls))) {
		STAILQ_REMOVE_HEAD(&h->calls, link);
		call_free(c);
	}
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static json_t *text_or_null(struct span s)
{
	json_t *t = s.n ? json_stringn(s.p, s.n) : NULL;

	return t ? t : json_null();
}

/* NULL: no memory, or too long. */
static char *document_of(const struct hook_news *n)
{
	char time[CLOCK_TEXT_BYTES], *text;
	json_t *doc;

	clock_format(clock_wall_ms(), time);
	doc = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "event", words[n->event], "time", time, "site",
	                text_or_null(n->site), "target", text_or_null(n->target), "service", text_or_null(n->service),
	                "meta_id", text_or_null(n->meta), "op", text_or_null(n->op), "method", text_or_null(n->method),
	                "path", text_or_null(n->path), "reason", text_or_null(n->reason));
	text = doc ? json_dumps(doc, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(doc);
	if (text && strlen(text) > DOCUMENT_BYTES) {
		free(text);
		text = NULL;
	}
	return text;
}

static char **argv_of(const struct conf_hook *hook)
{
	size_t bytes = (hook->run_count + 1) * sizeof(char *);
	char **argv, *at;

	for (size_t i = 0; i < hook->run_count; i++)
		bytes += hook->run[i].n + 1;
	argv = calloc(1, bytes);
	if (!argv)
		return NULL;
	at = (char *)(argv + hook->run_count + 1);
	for (size_t i = 0; i < hook->run_count; i++) {
		argv[i] = at;
		memcpy(at, hook->run[i].p, hook->run[i].n);
		at += hook->run[i].n + 1;
	}
	return argv;
}

static bool is_for(const struct conf_hook *hook, enum hook_event event)
{
	for (size_t i = 0; i < hook->event_count; i++)
		if (hook->events[i] == (int)event)
			return true;
	return !hook->event_count;
}

static void put(struct hooks *h, const struct conf_hook *hook, const struct hook_news *news)
{
	struct call *c = calloc(1, sizeof(*c));
	bool full;

	if (!c)
		return;
	c->document = document_of(news);
	c->name = strndup(hook->name.p, hook->name.n);
	c->argv = argv_of(hook);
	c->document_n = c->document ? strlen(c->document) : 0;
	full = !c->document || !c->name || !c->argv;
	pthread_mutex_lock(&h->lock);
	full = full || h->waiting >= HOOKS_WAITING;
	if (full) {
		h->dropped++;
	} else {
		STAILQ_INSERT_TAIL(&h->calls, c, link);
		h->waiting++;
	}
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	if (full)
		call_free(c);
}

void hooks_tell(struct hooks *h, const struct conf *conf, const struct hook_news *news)
{
	for (size_t i = 0; h && i < conf->hook_count; i++)
		if (is_for(&conf->hooks[i], news->event))
			put(h, &conf->hooks[i], news);
}
