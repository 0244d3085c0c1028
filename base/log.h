/* The one logger: a line per event on standard error, "TIME LEVEL TEXT".  Threads may log at the
 * same time; a line is one write.  What is below the level is not even formatted. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

#define LOG_LEVELS(X) \
	X(LOG_ERROR, "error") \
	X(LOG_WARN, "warn") \
	X(LOG_INFO, "info") \
	X(LOG_DEBUG, "debug")

enum log_level {
#define LOG_VALUE(name, text) name,
	LOG_LEVELS(LOG_VALUE)
#undef LOG_VALUE
};

const char *log_level_text(enum log_level level);
/* False when name is no level. */
bool log_level_parse(struct span name, enum log_level *level_r);

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_on(enum log_level level);
/* Control characters in the text are written as \xNN, so that no input forges a line. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_at(level, ...) \
	do { \
		if (log_on(level)) \
			log_write(level, __VA_ARGS__); \
	} while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
