#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t (*fake_mono_us)(void);
static int64_t (*fake_wall_ms)(void);

void clock_set_fake(int64_t (*mono_us)(void), int64_t (*wall_ms)(void))
{
	fake_mono_us = mono_us;
	fake_wall_ms = wall_ms;
}

static _Thread_local int64_t held_us; /* 0: not held */

int64_t clock_mono_us(void)
{
	struct timespec t;

	if (fake_mono_us)
		return fake_mono_us();
	if (held_us)
		return held_us;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_release(void)
{
	held_us = 0;
}

void clock_hold(void)
{
	clock_release();
	held_us = clock_mono_us();
}

int64_t clock_wall_ms(void)
{
	struct timespec t;

	if (fake_wall_ms)
		return fake_wall_ms();
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void clock_format(int64_t wall_ms, char text_r[CLOCK_TEXT_BYTES])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;
	char text[64];

	gmtime_r(&seconds, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
	         tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	         (int)(wall_ms % 1000));
	snprintf(text_r, CLOCK_TEXT_BYTES, "%.24s", text);
}
