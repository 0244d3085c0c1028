#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_LINE_BYTES 4096

static _Atomic int current_level = LOG_INFO;

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
	/* Nowhere to report it if standard error itself cannot be written. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
