/* How far a transfer is, as a line on the terminal that is written again and again. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRESS_COLUMNS_MOST 200

struct progress {
	FILE *out;        /* NULL: nothing is shown */
	int64_t begun_us, drawn_us;
	bool drawn;
};

/* Shown on out when that is a terminal. */
void progress_begin(struct progress *p, FILE *out, int64_t now_us);
/* total 0: unknown.  Draws at most ten times a second, and nothing of a transfer that is soon over. */
void progress_show(struct progress *p, uint64_t done, uint64_t total, int64_t now_us);
/* The last state stays on a line of its own. */
void progress_end(struct progress *p, uint64_t done, uint64_t total, int64_t now_us);

/* One line of at most `columns` characters, NUL-terminated: "[####    ]  50%  512.0k of 1.0M  256.0k/s  0:02 left". */
void progress_line(uint64_t done, uint64_t total, int64_t elapsed_us, unsigned columns,
                   char line_r[PROGRESS_COLUMNS_MOST + 1]);

#endif
