/* Tables.  Texts come from other sites, so control characters (C0, DEL, and C1 in UTF-8) never
 * reach the terminal.  Width is counted in characters of UTF-8; double-width scripts will be a
 * little off. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *t, const char *const *heads, size_t columns)
{
	*t = (struct table){ .columns = columns };
	for (size_t i = 0; i < columns; i++) {
		t->right[i] = heads[i][0] == '>';
		t->heads[i] = heads[i] + t->right[i];
	}
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->rows * t->columns + t->filled; i++)
		free(t->cells[i].text);
	free(t->cells);
	*t = (struct table){ 0 };
}

static void clean(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

static bool make_room(struct table *t)
{
	size_t need = (t->rows + 1) * t->columns, room = t->room ? t->room * 2 : t->columns * 8;
	struct table_cell *cells;

	if (need <= t->room)
		return true;
	cells = realloc(t->cells, room * sizeof(*cells));
	if (!cells)
		return false;
	t->cells = cells;
	t->room = room;
	return true;
}

void table_add(struct table *t, struct span text, enum table_look look)
{
	char *copy;

	if (t->failed)
		return;
	copy = text.n ? strndup(text.p, text.n) : strdup("-");
	if (!copy || !make_room(t)) {
		free(copy);
		t->failed = true;
		return;
	}
	clean(copy);
	t->cells[t->rows * t->columns + t->filled] = (struct table_cell){ copy, look };
	if (++t->filled == t->columns) {
		t->filled = 0;
		t->rows++;
	}
}

void table_addf(struct table *t, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_add(t, span_of(text), LOOK_PLAIN);
}

static size_t characters(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void table_put(FILE *out, bool colour, enum table_look look, const char *text)
{
	static const char *const codes[] = { "", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };

	if (colour && look != LOOK_PLAIN)
		fprintf(out, "%s%s\033[0m", codes[look], text);
	else
		fputs(text, out);
}

void table_put_clean(FILE *out, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return;
	clean(copy);
	fputs(copy, out);
	free(copy);
}

static void put_cell(FILE *out, bool colour, struct table_cell cell, size_t width, bool right,
                     bool last)
{
	int pad = (int)(width - characters(cell.text));

	if (right)
		fprintf(out, "%*s", pad, "");
	table_put(out, colour, cell.look, cell.text);
	if (!last)
		fprintf(out, "%*s", right ? 2 : pad + 2, "");
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t width = characters(t->heads[column]);

	for (size_t r = 0; r < t->rows; r++) {
		size_t n = characters(t->cells[r * t->columns + column].text);

		width = n > width ? n : width;
	}
	return width;
}

int table_print(const struct table *t, FILE *out, bool colour)
{
	size_t widths[TABLE_COLUMNS_MAX];

	if (t->failed)
		return ERR_NOMEM;
	for (size_t c = 0; c < t->columns; c++)
		widths[c] = column_width(t, c);
	for (size_t c = 0; c < t->columns; c++) {
		char head[64];

		snprintf(head, sizeof(head), "%s", t->heads[c]);
		put_cell(out, colour, (struct table_cell){ head, LOOK_DIM }, widths[c], t->right[c],
		         c + 1 == t->columns);
	}
	fputc('\n', out);
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t c = 0; c < t->columns; c++)
			put_cell(out, colour, t->cells[r * t->columns + c], widths[c], t->right[c],
			         c + 1 == t->columns);
		fputc('\n', out);
	}
	return 0;
}

enum table_look table_state_look(const char *state)
{
	static const struct {
		const char *state;
		enum table_look look;
	} looks[] = {
		{ "connected", LOOK_GOOD }, { "up", LOOK_GOOD },
		{ "synced", LOOK_GOOD }, { "done", LOOK_GOOD },
		{ "queued", LOOK_WARN }, { "sent", LOOK_WARN }, { "undoing", LOOK_WARN },
		{ "held", LOOK_BAD }, { "in-doubt", LOOK_BAD }, { "conflict", LOOK_BAD }, { "dropped", LOOK_BAD },
		{ "synchronizing", LOOK_WARN }, { "autonomous", LOOK_WARN },
		{ "disconnected", LOOK_BAD }, { "failed", LOOK_BAD },
		{ "down", LOOK_BAD }, { "fenced", LOOK_BAD },
		{ "unknown", LOOK_DIM },
	};

	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		if (strcmp(looks[i].state, state) == 0)
			return looks[i].look;
	}
	return LOOK_PLAIN;
}

void table_put_field(FILE *out, const char *label, const char *text)
{
	fprintf(out, "%-12s ", label);
	table_put_clean(out, text && *text ? text : "-");
	fputc('\n', out);
}
