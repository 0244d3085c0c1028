/* The one clock.  Tests replace it; nothing else calls clock_gettime. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Microseconds on a clock that never jumps; only differences mean anything. */
int64_t clock_mono_us(void);
/* This thread's clock_mono_us stands still from hold to release: within one callback a few microseconds mean
 * nothing, and a request would otherwise read the clock a dozen times. */
void clock_hold(void);
void clock_release(void);
/* Milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_ms(void);

/* Replaces both clocks (NULL: back to the system's).  For tests. */
void clock_set_fake(int64_t (*mono_us)(void), int64_t (*wall_ms)(void));

#define CLOCK_TEXT_BYTES 25
/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.123Z", NUL-terminated. */
void clock_format(int64_t wall_ms, char text_r[CLOCK_TEXT_BYTES]);

#endif
