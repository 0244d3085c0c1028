#include "base/log.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_LINE_BYTES 4096
static_assert(LOG_LINE_BYTES <= PIPE_BUF, "a line is written whole");

static _Atomic int current_level = LOG_INFO;
static _Atomic unsigned lost_lines;

static const char *const level_names[] = {
#define LOG_NAME(name, text) text,
	LOG_LEVELS(LOG_NAME)
#undef LOG_NAME
};
#define LEVELS (sizeof(level_names) / sizeof(level_names[0]))

const char *log_level_text(enum log_level level)
{
	return level_names[level];
}

bool log_level_parse(struct span name, enum log_level *level_r)
{
	for (size_t i = 0; i < LEVELS; i++) {
		if (span_eq(name, span_of(level_names[i]))) {
			*level_r = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static size_t escape(const char *text, char *out, size_t room)
{
	size_t n = 0;

	for (; *text && n + 5 < room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(out + n, room - n, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	return n;
}

/* Never waits: an event loop may be the caller, and standard error a pipe that nobody reads.  A pipe that is writable
 * at all takes PIPE_BUF bytes, which is no less than a line. There is nowhere to report what is lost but afterwards. */
static void write_line(const char *line, size_t n)
{
	struct pollfd err = { .fd = STDERR_FILENO, .events = POLLOUT };
	char text[96];
	unsigned lost;
	int m;

	if (poll(&err, 1, 0) == 0) {
		atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
		return;
	}
	lost = atomic_exchange_explicit(&lost_lines, 0, memory_order_relaxed);
	if (write(STDERR_FILENO, line, n) < 0 || !lost || poll(&err, 1, 0) == 0)
		return;
	m = snprintf(text, sizeof(text), "(%u lines before this one could not be logged)\n", lost);
	if (write(STDERR_FILENO, text, (size_t)m) < 0)
		return;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE_BYTES - 128], line[LOG_LINE_BYTES], when[CLOCK_TEXT_BYTES];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clock_format(clock_wall_ms(), when);
	n = (size_t)snprintf(line, sizeof(line), "%s %-5s ", when, log_level_text(level));
	n += escape(text, line + n, sizeof(line) - n - 1);
	line[n++] = '\n';
	write_line(line, n);
}
