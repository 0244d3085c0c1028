/* Aligned columns on a terminal or in a file. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "base/span.h"

#define TABLE_COLUMNS_MAX 12

enum table_look { LOOK_PLAIN, LOOK_GOOD, LOOK_WARN, LOOK_BAD, LOOK_DIM };

struct table_cell {
	char *text;
	enum table_look look;
};

struct table {
	size_t columns, rows, room;
	const char *heads[TABLE_COLUMNS_MAX];
	bool right[TABLE_COLUMNS_MAX];
	struct table_cell *cells; /* row by row */
	size_t filled;            /* cells of the row that is being filled */
	bool failed;              /* out of memory: table_print says so */
};

/* heads: borrowed names; one that begins with '>' is aligned to the right (without the '>'). */
void table_init(struct table *t, const char *const *heads, size_t columns);
void table_fini(struct table *t);
/* The next cell; rows follow from the number of columns. Control characters become '?', an empty
 * text "-". */
void table_add(struct table *t, struct span text, enum table_look look);
void table_addf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Two blanks between columns, none at the end of a line. 0 or ERR_NOMEM. */
int table_print(const struct table *t, FILE *out, bool colour) MUST_CHECK;

/* How a site or instance state looks. */
enum table_look table_state_look(const char *state);
/* The text with its look, for output outside of tables. */
void table_put(FILE *out, bool colour, enum table_look look, const char *text);
/* Prints text with control characters made '?': what others wrote shall not drive the terminal. */
void table_put_clean(FILE *out, const char *text);
/* A line of a label and a text; "-" where it is empty or NULL. */
void table_put_field(FILE *out, const char *label, const char *text);

#endif
