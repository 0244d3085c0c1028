/* Lexer: cuts a text into tokens and knows the column of each.
 *
 * Columns count characters; only quoted names hold characters of more than one byte, so that it is
 * enough to count their continuation bytes on the way (lex.more).  A value of the JSON form that
 * has escapes is decoded first and brings a map from byte to column.
 *
 * Names are slices of the text wherever that is possible; a quoted name with a backslash is
 * written anew in the arena.  No name leaves this module with a control character in it, or
 * with bytes that are no UTF-8: names end up in headers, logs and terminals. */
#include "scope/scope_int.h"

#define NAME_BYTES 64

enum { SPACE = 1, FIRST = 2, REST = 4 };

static const uint8_t classes[256] = {
	[' '] = SPACE, ['\t'] = SPACE, ['\r'] = SPACE, ['\n'] = SPACE,
	['0' ... '9'] = FIRST | REST, ['A' ... 'Z'] = FIRST | REST, ['a' ... 'z'] = FIRST | REST,
	['_'] = FIRST | REST, ['.'] = REST, ['-'] = REST,
};

static bool is(char c, unsigned which)
{
	return classes[(unsigned char)c] & which;
}

bool lex_is_space(char c)
{
	return is(c, SPACE);
}

bool lex_is_bare(struct span name)
{
	if (!name.n || name.n > NAME_BYTES || !is(name.p[0], FIRST))
		return false;
	for (size_t i = 1; i < name.n; i++)
		if (!is(name.p[i], REST))
			return false;
	return true;
}

bool lex_is_reserved(struct span name)
{
	return span_eq(name, SPAN("and")) || span_eq(name, SPAN("else"));
}

/* Length of a well-formed sequence (RFC 3629, section 4), whatever it stands for. */
static size_t sequence(struct span s, unsigned *point_r)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned c = (unsigned char)s.p[0], point;
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;

	*point_r = c;
	if (!n || n > s.n || c > 0xf4)
		return 0;
	point = n == 1 ? c : c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | ((unsigned char)s.p[i] & 0x3f);
	}
	if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	*point_r = point;
	return n;
}

size_t lex_char_bytes(struct span s, unsigned *point_r)
{
	size_t n = s.n ? sequence(s, point_r) : 0;

	return n && *point_r >= 0x20 && (*point_r < 0x7f || *point_r > 0x9f) ? n : 0;
}

size_t lex_bad_char(struct span name)
{
	unsigned point;

	for (size_t i = 0, n; i < name.n; i += n) {
		n = lex_char_bytes(span_from(name, i), &point);
		if (!n)
			return i;
	}
	return name.n;
}

unsigned lex_column_at(const struct lex *lx, size_t at)
{
	unsigned column = lx->base;

	if (lx->map)
		return lx->map[at];
	for (size_t i = 0; i < at; i++)
		column += ((unsigned char)lx->text.p[i] & 0xc0) != 0x80;
	return column;
}

void lex_init(struct lex *lx, struct arena *arena, struct span text, unsigned base,
	      const uint16_t *map, struct scope_error *err)
{
	lx->text = text;
	lx->at = lx->more = 0;
	lx->base = base;
	lx->map = map;
	lx->arena = arena;
	lx->err = err;
	lx->code = 0;
	lex_next(lx);
}

static void bad(struct lex *lx, int code)
{
	lx->token = TOKEN_BAD;
	lx->code = code;
}

static void bad_char(struct lex *lx, size_t at)
{
	unsigned column = lex_column_at(lx, at), point;
	struct span rest = span_from(lx->text, at);

	if (!sequence(rest, &point))
		bad(lx, error_set(lx->err, SCOPE_SYNTAX, column, NULL,
				  "byte 0x%02x is no UTF-8", point));
	else if (!lex_char_bytes(rest, &point))
		bad(lx, error_set(lx->err, SCOPE_SYNTAX, column, NULL,
				  "control character U+%04X", point));
	else {
		bad(lx, error_set(lx->err, SCOPE_SYNTAX, column, NULL, "unexpected character \"%.*s\"",
				  (int)sequence(rest, &point), rest.p));
		if (point >= 0x80)
			error_hint(lx->err, "names with other characters than A-Z a-z 0-9 _ . - "
				   "are put in quotes");
	}
}

/* A name of letters and digits: and, else are operators. */
static void bare(struct lex *lx)
{
	size_t end = lx->start + 1;

	while (end < lx->text.n && is(lx->text.p[end], REST))
		end++;
	lx->name = span_make(lx->text.p + lx->start, end - lx->start);
	lx->at = end;
	lx->token = TOKEN_NAME;
	if (lx->name.n == 3 && memcmp(lx->name.p, "and", 3) == 0)
		lx->token = TOKEN_AND;
	else if (lx->name.n == 4 && memcmp(lx->name.p, "else", 4) == 0)
		lx->token = TOKEN_ELSE;
	else if (lx->name.n > NAME_BYTES) {
		bad(lx, error_set(lx->err, SCOPE_SYNTAX, lx->column, NULL,
				  "a name of %zu bytes; at most %d without quotes", lx->name.n,
				  NAME_BYTES));
	}
}

/* The quoted name between from and to, without its backslashes. */
static bool unescape(struct lex *lx, size_t from, size_t to)
{
	char *mem = arena_alloc(lx->arena, to - from), *w = mem;

	if (!mem)
		return false;
	for (size_t i = from; i < to; i++) {
		if (lx->text.p[i] == '\\')
			i++;
		*w++ = lx->text.p[i];
	}
	lx->name = span_make(mem, (size_t)(w - mem));
	return true;
}

static void unterminated(struct lex *lx, char quote)
{
	bad(lx, error_set(lx->err, SCOPE_SYNTAX, lex_column_at(lx, lx->text.n),
			  quote == '"' ? "\"" : "'", "the scope ends inside the quoted name"));
	error_hint(lx->err, "the name began at column %u; in a shell put the whole scope in quotes",
		   lx->column);
}

static void quoted(struct lex *lx)
{
	char quote = lx->text.p[lx->start];
	bool escapes = false;
	size_t i = lx->start + 1, n;
	unsigned point;

	for (; i < lx->text.n && lx->text.p[i] != quote; i += n) {
		if (lx->text.p[i] == '\\') {
			escapes = true;
			if (++i == lx->text.n)
				break;
		}
		n = lex_char_bytes(span_from(lx->text, i), &point);
		if (!n) {
			bad_char(lx, i);
			return;
		}
		lx->more += n - 1;
	}
	if (i >= lx->text.n) {
		unterminated(lx, quote);
		return;
	}
	lx->token = TOKEN_QUOTED;
	lx->at = i + 1;
	lx->name = span_make(lx->text.p + lx->start + 1, i - lx->start - 1);
	if (!lx->name.n)
		bad(lx, error_set(lx->err, SCOPE_SYNTAX, lx->column, "a name", "an empty name"));
	else if (escapes && !unescape(lx, lx->start + 1, i))
		bad(lx, error_nomem(lx->err));
}

static void punctuation(struct lex *lx)
{
	char c = lx->text.p[lx->start];

	lx->at = lx->start + 1;
	switch (c) {
	case '&':
	case '+':
		lx->token = TOKEN_AND;
		break;
	case ';':
	case '/':
		lx->token = TOKEN_ELSE;
		break;
	case '(': case ')': case '{': case '}': case ',': case ':': case '=': case '@': case '*':
		lx->token = (enum token)c;
		break;
	case '!':
		if (lx->at < lx->text.n && lx->text.p[lx->at] == '=') {
			lx->at++;
			lx->token = TOKEN_DIFFER;
			break;
		}
		/* fall through */
	default:
		bad_char(lx, lx->start);
	}
}

void lex_next(struct lex *lx)
{
	const char *p = lx->text.p;
	size_t i = lx->at, n = lx->text.n;

	while (i < n && is(p[i], SPACE))
		i++;
	lx->start = i;
	lx->column = lx->map ? lx->map[i] : lx->base + (unsigned)(i - lx->more);
	if (i == n) {
		lx->at = i;
		lx->token = TOKEN_END;
	} else if (is(p[i], FIRST)) {
		bare(lx);
	} else if (p[i] == '"' || p[i] == '\'') {
		quoted(lx);
	} else {
		punctuation(lx);
	}
}

/* Durations ------------------------------------------------------------------------------------ */

#define HOUR_US (INT64_C(3600) * 1000000)

static size_t digits(struct span s, size_t i)
{
	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	return i;
}

static int64_t unit_us(struct span unit)
{
	if (span_eq(unit, SPAN("us")))
		return 1;
	if (span_eq(unit, SPAN("ms")))
		return 1000;
	return span_eq(unit, SPAN("s")) ? 1000000 : 0;
}

/* Digits around the point, times the unit; -1: parts of a microsecond, -2: over an hour. */
static int64_t scaled(struct span whole, struct span part, int64_t unit)
{
	int64_t us = 0, scale = unit;

	for (size_t i = 0; i < whole.n; i++) {
		us = us * 10 + (whole.p[i] - '0') * unit;
		if (us > HOUR_US)
			return -2;
	}
	for (size_t i = 0; i < part.n; i++) {
		if (part.p[i] != '0' && scale < 10)
			return -1;
		scale /= 10;
		us += (part.p[i] - '0') * scale;
	}
	return us > HOUR_US ? -2 : us;
}

bool lex_duration(struct lex *lx, int64_t *us_r, size_t *bad_at_r, const char **why_r)
{
	struct span s = lx->text, part = { NULL, 0 };
	size_t end = digits(s, lx->start), from = end, unit;
	struct span whole = span_make(s.p + lx->start, end - lx->start);
	int64_t us;

	*bad_at_r = lx->start;
	*why_r = "no duration";
	if (!whole.n)
		return false;
	if (end < s.n && s.p[end] == '.') {
		from = digits(s, end + 1);
		part = span_make(s.p + end + 1, from - end - 1);
		*bad_at_r = end;
		*why_r = "no digit behind the point";
		if (!part.n)
			return false;
	}
	for (unit = from; unit < s.n && is(s.p[unit], SPACE);)
		unit++;
	for (end = unit; end < s.n && is(s.p[end], REST);)
		end++;
	*bad_at_r = unit;
	*why_r = end == unit ? "no unit" : "no unit of time";
	if (!unit_us(span_make(s.p + unit, end - unit)))
		return false;
	us = scaled(whole, part, unit_us(span_make(s.p + unit, end - unit)));
	*bad_at_r = lx->start;
	*why_r = us == -1 ? "parts of a microsecond" : "a duration over an hour";
	if (us < 0)
		return false;
	*us_r = us;
	lx->at = end;
	lex_next(lx);
	return true;
}
