/* The width is asked for at each drawing, so that a terminal which changes its size needs no signal. */
#include "cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUIET_US 500000 /* most requests are over by then */
#define EVERY_US 100000
#define BAR_LEAST 10

void progress_begin(struct progress *p, FILE *out, int64_t now_us)
{
	*p = (struct progress){ .out = isatty(fileno(out)) ? out : NULL, .begun_us = now_us };
}

/* Powers of 1024, as everywhere. */
static void format_bytes(double n, char text_r[16])
{
	static const char units[] = "\0kMGTP";
	size_t unit = 0;

	while (n >= 1024 && unit + 2 < sizeof(units)) {
		n /= 1024;
		unit++;
	}
	if (unit)
		snprintf(text_r, 16, "%.1f%c", n, units[unit]);
	else
		snprintf(text_r, 16, "%.0f", n);
}

static void format_left(double seconds, char text_r[40])
{
	unsigned long s = seconds < 0 || seconds > 359999 ? 359999 : (unsigned long)(seconds + 0.5);

	if (s >= 3600)
		snprintf(text_r, 40, "  %lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text_r, 40, "  %lu:%02lu left", s / 60, s % 60);
}

static void put_bar(double part, unsigned columns, char *out)
{
	unsigned inner = columns - 2, full = (unsigned)(part * inner);

	*out++ = '[';
	memset(out, '#', full);
	memset(out + full, ' ', inner - full);
	memcpy(out + inner, "]", 2);
}

void progress_line(uint64_t done, uint64_t total, int64_t elapsed_us, unsigned columns,
                   char line_r[PROGRESS_COLUMNS_MOST + 1])
{
	double part = total && done < total ? (double)done / (double)total : 1;
	double speed = elapsed_us > 0 ? (double)done * 1e6 / (double)elapsed_us : 0;
	char have[16], of[16], rate[16], left[40] = "", tail[128];
	int n;

	if (columns > PROGRESS_COLUMNS_MOST)
		columns = PROGRESS_COLUMNS_MOST;
	format_bytes((double)done, have);
	format_bytes((double)total, of);
	format_bytes(speed, rate);
	if (!total) {
		snprintf(line_r, columns + 1, "%s  %s/s", have, rate);
		return;
	}
	if (done < total && speed > 0)
		format_left((double)(total - done) / speed, left);
	n = snprintf(tail, sizeof(tail), " %3u%%  %s of %s  %s/s%s", (unsigned)(part * 100), have, of, rate, left);
	if ((unsigned)n + BAR_LEAST > columns) {
		snprintf(line_r, columns + 1, "%.*s", (int)columns, tail + 1);
		return;
	}
	put_bar(part, columns - (unsigned)n, line_r);
	memcpy(line_r + columns - (unsigned)n, tail, strlen(tail) + 1);
}

static unsigned columns_of(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) || size.ws_col < 2)
		return 79;
	return size.ws_col - 1u; /* the last column makes some terminals wrap */
}

static void draw(struct progress *p, uint64_t done, uint64_t total, int64_t now_us)
{
	char line[PROGRESS_COLUMNS_MOST + 1];

	progress_line(done, total, now_us - p->begun_us, columns_of(p->out), line);
	fprintf(p->out, "\r%s\033[K", line);
	fflush(p->out);
	p->drawn = true;
	p->drawn_us = now_us;
}

void progress_show(struct progress *p, uint64_t done, uint64_t total, int64_t now_us)
{
	if (p->out && now_us - p->begun_us >= QUIET_US && now_us - p->drawn_us >= EVERY_US)
		draw(p, done, total, now_us);
}

void progress_end(struct progress *p, uint64_t done, uint64_t total, int64_t now_us)
{
	if (!p->out || !p->drawn)
		return;
	draw(p, done, total, now_us);
	fputc('\n', p->out);
	p->out = NULL;
}
