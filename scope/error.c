/* Errors of the scope language: filling a scope_error, the words it suggests, and the two lines
 * with the caret.  Names come from outside: where they stand in a message they are free of control
 * characters, since the lexer lets none pass; other bytes are told by number. */
#include "scope/scope_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/nearest.h"

const struct scope_limits scope_limits_default = { 8192, 32, 256 };

const char *scope_error_name(enum scope_error_kind kind)
{
	static const char *const names[] = {
#define SCOPE_ERROR_NAME(k, name, code) [k] = name,
		SCOPE_ERRORS(SCOPE_ERROR_NAME)
#undef SCOPE_ERROR_NAME
	};

	return names[kind];
}

int error_code(enum scope_error_kind kind)
{
	static const int codes[] = {
#define SCOPE_ERROR_CODE(k, name, code) [k] = code,
		SCOPE_ERRORS(SCOPE_ERROR_CODE)
#undef SCOPE_ERROR_CODE
	};

	return codes[kind];
}

/* A long name may have filled the room: no half character stays at the end. */
static void cut_whole(char *text, size_t bytes, int wanted)
{
	size_t n = bytes - 1, start = n;

	if (wanted < 0 || (size_t)wanted < bytes)
		return;
	while (start && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start && (unsigned char)text[start - 1] >= 0xc0)
		text[start - 1] = '\0';
}

void error_expect(struct scope_error *err, const char *expected)
{
	snprintf(err->expected, sizeof(err->expected), "%s", expected ? expected : "");
}

int error_vset(struct scope_error *err, enum scope_error_kind kind, unsigned column,
	       const char *expected, const char *fmt, va_list ap)
{
	int n;

	err->kind = kind;
	err->column = column;
	err->hint[0] = '\0';
	err->nearest = (struct span){ NULL, 0 };
	err->known_count = 0;
	error_expect(err, expected);
	n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
	cut_whole(err->message, sizeof(err->message), n);
	return error_code(kind);
}

int error_set(struct scope_error *err, enum scope_error_kind kind, unsigned column,
	      const char *expected, const char *fmt, ...)
{
	va_list ap;
	int code;

	va_start(ap, fmt);
	code = error_vset(err, kind, column, expected, fmt, ap);
	va_end(ap);
	return code;
}

int error_nomem(struct scope_error *err)
{
	return error_set(err, SCOPE_NOMEM, 1, NULL, "out of memory");
}

void error_hint(struct scope_error *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	cut_whole(err->hint, sizeof(err->hint), n);
}

void error_known(struct scope_error *err, struct span word, size_t count,
		 struct span (*name)(void *ctx, size_t i), void *ctx)
{
	struct nearest near = { 0 };

	for (size_t i = 0; i < count; i++)
		nearest_offer(&near, word, name(ctx, i));
	err->nearest = near.best;
	if (near.best.n)
		err->known[err->known_count++] = near.best;
	for (size_t i = 0; i < count && err->known_count < SCOPE_KNOWN_MAX; i++) {
		struct span known = name(ctx, i);

		if (!near.best.n || !span_eq(known, near.best))
			err->known[err->known_count++] = known;
	}
}

static unsigned lower(unsigned a, unsigned most)
{
	return a && a < most ? a : most;
}

struct scope_limits limits_clamped(const struct scope_limits *limits)
{
	struct scope_limits l = scope_limits_default;

	if (!limits)
		return l;
	if (limits->text_bytes && limits->text_bytes < l.text_bytes)
		l.text_bytes = limits->text_bytes;
	l.depth = lower(limits->depth, l.depth);
	l.sites = lower(limits->sites, l.sites);
	return l;
}

/* The caret ------------------------------------------------------------------------------------ */

#define CARET_WIDTH 72
#define CARET_BEFORE 48 /* of them before the column, when cut */

/* Characters of text, counted as columns are: bytes that continue none. */
static unsigned characters(struct span text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	return n;
}

static void add_shown(struct buf *out, struct span text, size_t at, size_t bytes)
{
	unsigned point;
	unsigned char c = (unsigned char)text.p[at];

	if (lex_char_bytes(span_from(text, at), &point) == bytes)
		buf_add(out, text.p + at, bytes);
	else
		buf_add_char(out, c < 0x80 || c == 0xc2 ? ' ' : '?');
}

void scope_error_caret(struct span text, unsigned column, struct buf *line_r, struct buf *caret_r)
{
	unsigned all = characters(text), first = 1, last, at = 0;

	if (all > CARET_WIDTH && column > CARET_BEFORE)
		first = column - CARET_BEFORE;
	last = first + CARET_WIDTH - 1;
	if (first > 1)
		buf_add_z(line_r, "...");
	for (size_t i = 0, n; i < text.n; i += n) {
		for (n = 1; i + n < text.n && ((unsigned char)text.p[i + n] & 0xc0) == 0x80;)
			n++;
		at++;
		if (at >= first && at <= last)
			add_shown(line_r, text, i, n);
	}
	if (last < all)
		buf_add_z(line_r, "...");
	for (unsigned i = first; i < column + (first > 1 ? 3 : 0); i++)
		buf_add_char(caret_r, ' ');
	buf_add_char(caret_r, '^');
}
