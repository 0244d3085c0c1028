/* One writer thread takes the workers' lines and writes them in one call per worker and turn.  It looks every
 * FLUSH_MS; a worker never waits for it but for the swap of a buffer under its queue's lock.
 *
 * Requests matter more than their lines.  What cannot be written (a full disk, a reader that has gone) is lost, said
 * once when it begins and, with the number, once when it is over; the file never holds half a line before a whole one.
 * A reader that does not read blocks the writer alone, and at the exit for CLOSE_MS at most. */
#include "proxy/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define FLUSH_MS 100
#define CLOSE_MS 1000

struct access_log {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	bool abandoned;            /* nobody waits for the thread any more, and the queues are not its own */
	int fd;
	char *path;                /* NULL: standard output */
	struct access_log_queue **queues;
	size_t count;
	_Atomic bool broken;       /* the last write failed; said once */
	bool torn;                 /* a line of which a part was written */
	uint64_t lost;             /* lines, since it is broken */
};

void access_log_queue_init(struct access_log_queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	buf_init(&q->lines, NULL, ACCESS_LOG_BYTES);
	atomic_store(&q->dropped, 0);
}

void access_log_queue_fini(struct access_log_queue *q)
{
	buf_fini(&q->lines);
	pthread_mutex_destroy(&q->lock);
}

void access_log_add(struct access_log_queue *q, struct span line)
{
	pthread_mutex_lock(&q->lock);
	buf_add_span(&q->lines, line);
	if (q->lines.failed) {
		q->lines.failed = false;
		atomic_fetch_add(&q->dropped, 1);
	}
	pthread_mutex_unlock(&q->lock);
}

/* What was not written of text, a part of a line perhaps first. */
static struct span write_text(struct access_log *log, struct span text)
{
	while (text.n) {
		ssize_t n = write(log->fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		log->torn = text.p[n - 1] != '\n';
		text = span_from(text, (size_t)n);
	}
	return text;
}

static uint64_t count_lines(struct span text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

static void write_all(struct access_log *log, struct span text)
{
	struct span left = text;
	bool began = true;

	if (!text.n)
		return;
	if (log->torn)
		began = write_text(log, SPAN("\n")).n == 0;
	if (began)
		left = write_text(log, text);
	if (left.n) {
		if (!log->broken)
			log_error("the access log cannot be written: %s; requests go on, their lines are lost",
			          strerror(errno));
		log->broken = true;
		log->lost += count_lines(left);
	} else if (log->broken) {
		log_warn("the access log can be written again; %llu lines were lost", (unsigned long long)log->lost);
		log->broken = false;
		log->lost = 0;
	}
}

static void flush_queue(struct access_log *log, struct access_log_queue *q)
{
	struct buf lines;
	uint64_t dropped;

	pthread_mutex_lock(&log->lock);
	if (log->abandoned) {
		pthread_mutex_unlock(&log->lock);
		return;
	}
	dropped = atomic_exchange(&q->dropped, 0);
	pthread_mutex_lock(&q->lock);
	lines = q->lines;
	buf_init(&q->lines, NULL, ACCESS_LOG_BYTES);
	pthread_mutex_unlock(&q->lock);
	pthread_mutex_unlock(&log->lock);
	write_all(log, buf_span(&lines));
	buf_fini(&lines);
	if (dropped)
		log_warn("the access log fell behind: %llu lines dropped", (unsigned long long)dropped);
}

static void add_ms(struct timespec *t, long ms)
{
	t->tv_nsec += ms * 1000000L;
	t->tv_sec += t->tv_nsec / 1000000000L;
	t->tv_nsec %= 1000000000L;
}

static void *run(void *arg)
{
	struct access_log *log = arg;
	bool stopping = false;

	while (!stopping) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		add_ms(&until, FLUSH_MS);
		pthread_mutex_lock(&log->lock);
		if (!log->stopping)
			pthread_cond_timedwait(&log->wake, &log->lock, &until);
		stopping = log->stopping;
		pthread_mutex_unlock(&log->lock);
		for (size_t i = 0; i < log->count; i++)
			flush_queue(log, log->queues[i]);
	}
	return NULL;
}

/* A pipe by name that nobody reads is refused, not waited for. */
static int open_path(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0640);

	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

int access_log_open(struct span where, struct access_log_queue **queues, size_t count,
                    struct access_log **log_r, struct err *e)
{
	struct access_log *log;

	*log_r = NULL;
	if (span_eq(where, SPAN("off")))
		return 0;
	log = calloc(1, sizeof(*log));
	if (!log)
		return err_set(e, ERR_NOMEM, "no memory for the access log");
	log->queues = queues;
	log->count = count;
	log->fd = STDOUT_FILENO;
	if (!span_eq(where, SPAN("-"))) {
		log->path = strndup(where.p, where.n);
		log->fd = log->path ? open_path(log->path) : -1;
	}
	if (log->fd < 0) {
		err_set(e, ERR_IO, "the access log %.*s cannot be opened: %s", SPAN_ARG(where), strerror(errno));
		free(log->path);
		free(log);
		return ERR_IO;
	}
	pthread_mutex_init(&log->lock, NULL);
	pthread_cond_init(&log->wake, NULL);
	if (pthread_create(&log->thread, NULL, run, log)) {
		err_set(e, ERR_NOMEM, "no thread for the access log");
		log->thread = 0;
		access_log_close(&log);
		return ERR_NOMEM;
	}
	*log_r = log;
	return 0;
}

void access_log_reopen(struct access_log *log)
{
	int fd;

	if (!log || !log->path)
		return;
	fd = open_path(log->path);
	if (fd < 0 || dup3(fd, log->fd, O_CLOEXEC) < 0)
		log_error("the access log %s cannot be opened again: %s", log->path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

enum access_log_state access_log_look(const struct access_log *log)
{
	struct stat open_one, named;

	if (log && atomic_load(&log->broken))
		return ACCESS_LOG_BROKEN;
	if (log && log->path && (fstat(log->fd, &open_one) || stat(log->path, &named) || open_one.st_ino != named.st_ino ||
	                         open_one.st_dev != named.st_dev))
		return ACCESS_LOG_MOVED;
	return ACCESS_LOG_GOOD;
}

/* False: the thread is stuck in a write and keeps what it uses. */
static bool end_thread(struct access_log *log)
{
	struct timespec until;

	pthread_mutex_lock(&log->lock);
	log->stopping = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	add_ms(&until, CLOSE_MS);
	if (pthread_timedjoin_np(log->thread, NULL, &until) == 0)
		return true;
	pthread_mutex_lock(&log->lock);
	log->abandoned = true;
	pthread_mutex_unlock(&log->lock);
	pthread_detach(log->thread);
	log_warn("the access log is not read: its last lines are lost");
	return false;
}

void access_log_close(struct access_log **logp)
{
	struct access_log *log = *logp;

	*logp = NULL;
	if (!log || (log->thread && !end_thread(log)))
		return;
	if (log->path)
		close(log->fd);
	pthread_mutex_destroy(&log->lock);
	pthread_cond_destroy(&log->wake);
	free(log->path);
	free(log);
}

/* Length of the valid UTF-8 sequence at p, or 0 (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
	             : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

void json_add_string(struct buf *out, struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	buf_add_char(out, '"');
	for (size_t i = 0; i < s.n;) {
		size_t plain = i, len;

		while (plain < s.n && p[plain] >= 0x20 && p[plain] < 0x7f && p[plain] != '"' && p[plain] != '\\')
			plain++;
		buf_add(out, s.p + i, plain - i);
		i = plain;
		if (i == s.n)
			break;
		len = utf8_length(p + i, s.n - i);
		if (len > 1)
			buf_add(out, s.p + i, len);
		else if (p[i] == '"' || p[i] == '\\')
			buf_addf(out, "\\%c", p[i]);
		else if (len == 1)
			buf_addf(out, "\\u%04x", p[i]);
		else
			buf_add_z(out, "\xef\xbf\xbd");
		i += len ? len : 1;
	}
	buf_add_char(out, '"');
}
