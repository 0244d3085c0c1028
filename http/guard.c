/* The guard over the raw head: a state machine that stands before llhttp, because llhttp lets
 * through what two HTTP implementations read differently: bare CR and LF, folded lines, a blank
 * before the colon, an empty field name, controls in values (RFC 9112 2.2, 3, 5.1, 5.2).  What it
 * calls complete has exactly one reading as lines:
 *
 *	START -> REQUEST or STATUS -> LINE_CR -> NAME_START -> NAME -> VALUE -> LINE_CR
 *	                                             \-> END_CR -> DONE
 *
 * Invariants: the verdict depends on the bytes alone, never on how they were split; a refusal is
 * final (line_state then keeps which one).  Whether the first line is a request or a status line
 * shows in its first five bytes: no method holds the "/" of "HTTP/".
 *
 * Values and reasons are looked over eight bytes at a time, names by table, so that the guard
 * costs a fraction of the parser behind it.  A table over (state, byte) was rejected: one
 * dependent load for every byte is three times as slow. */
#include "http/guard_int.h"

#include <stdint.h>
#include <string.h>

enum guard_state {
	START, /* line_state: bytes that match "HTTP/" so far */
	REQUEST, /* line_state: 1 after a blank */
	STATUS,
	LINE_CR,
	NAME_START,
	NAME,
	VALUE,
	END_CR,
	DONE,
	REFUSED, /* line_state: enum guard_reason */
};

#define GUARD_REASONS(X) \
	X(EMPTY_LINE, "the message begins with an empty line") \
	X(BARE_CR, "a carriage return stands without its line feed") \
	X(BARE_LF, "a line feed stands without its carriage return") \
	X(CONTROL, "the head holds a control character") \
	X(FOLDED, "a field line begins with a blank (folded lines are obsolete)") \
	X(EMPTY_NAME, "a field has no name") \
	X(NAME_BLANK, "a blank stands in or after a field name") \
	X(NAME_BYTE, "a field name holds a byte that no name may hold") \
	X(NO_COLON, "a field line has no colon") \
	X(LINE_BLANKS, "the request line holds a blank too many")

enum guard_reason {
#define REASON_ID(id, text) id,
	GUARD_REASONS(REASON_ID)
#undef REASON_ID
};

static const char *const reasons[] = {
#define REASON_TEXT(id, text) text,
	GUARD_REASONS(REASON_TEXT)
#undef REASON_TEXT
};

#define T(c) [c] = 1
const unsigned char http_token_char[256] = {
	T('!'), T('#'), T('$'), T('%'), T('&'), T('\''), T('*'), T('+'), T('-'), T('.'),
	T('^'), T('_'), T('`'), T('|'), T('~'),
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};
#undef T

/* Anything that may stand in a request line beside blanks. */
static const unsigned char graph_char[256] = { [0x21 ... 0x7e] = 1, [0x80 ... 0xff] = 1 };

#define EVERY_BYTE(v) (UINT64_C(0x0101010101010101) * (v))

/* The first control character or DEL, or end; tabs are no hit. */
static const char *skip_text(const char *p, const char *end)
{
	uint64_t w, del;

	for (;;) {
		for (; end - p >= 8; p += 8) {
			memcpy(&w, p, 8);
			del = w ^ EVERY_BYTE(0x7f);
			if (((w - EVERY_BYTE(0x20)) & ~w & EVERY_BYTE(0x80)) |
			    ((del - EVERY_BYTE(1)) & ~del & EVERY_BYTE(0x80)))
				break;
		}
		while (p < end && ((unsigned char)*p >= 0x20 && *p != 0x7f))
			p++;
		if (p == end || *p != '\t')
			return p;
		p++;
	}
}

static const char *refuse(struct head_guard *g, enum guard_reason reason)
{
	g->state = REFUSED;
	g->line_state = (uint8_t)reason;
	return NULL;
}

/* p: a byte that ends no line well. */
static const char *refuse_control(struct head_guard *g, const char *p)
{
	return refuse(g, *p == '\n' ? BARE_LF : CONTROL);
}

static const char *on_start(struct head_guard *g, const char *p)
{
	static const char version[] = "HTTP/";

	if (*p == version[g->line_state]) {
		if (++g->line_state == sizeof(version) - 1)
			g->state = STATUS;
		return p + 1;
	}
	if (g->line_state == 0 && *p == ' ')
		return refuse(g, LINE_BLANKS);
	if (g->line_state == 0 && *p == '\r')
		return refuse(g, EMPTY_LINE);
	g->state = REQUEST;
	g->line_state = 0;
	return p;
}

static const char *on_request_line(struct head_guard *g, const char *p, const char *end)
{
	const char *from = p;

	while (p < end && graph_char[(unsigned char)*p])
		p++;
	if (p > from)
		g->line_state = 0;
	if (p == end)
		return p;
	if (*p != ' ' && *p != '\r')
		return refuse_control(g, p);
	if (g->line_state)
		return refuse(g, LINE_BLANKS);
	if (*p == ' ')
		g->line_state = 1;
	else
		g->state = LINE_CR;
	return p + 1;
}

static const char *on_text(struct head_guard *g, const char *p, const char *end)
{
	p = skip_text(p, end);
	if (p == end)
		return p;
	if (*p != '\r')
		return refuse_control(g, p);
	g->state = LINE_CR;
	return p + 1;
}

static const char *on_cr(struct head_guard *g, const char *p)
{
	if (*p != '\n')
		return refuse(g, BARE_CR);
	g->state = g->state == END_CR ? DONE : NAME_START;
	return p + 1;
}

static const char *on_name_start(struct head_guard *g, const char *p)
{
	switch (*p) {
	case '\r':
		g->state = END_CR;
		return p + 1;
	case ' ':
	case '\t':
		return refuse(g, FOLDED);
	case ':':
		return refuse(g, EMPTY_NAME);
	default:
		g->state = NAME;
		return p;
	}
}

static const char *on_name(struct head_guard *g, const char *p, const char *end)
{
	while (p < end && http_token_char[(unsigned char)*p])
		p++;
	if (p == end)
		return p;
	switch (*p) {
	case ':':
		g->state = VALUE;
		return p + 1;
	case ' ':
	case '\t':
		return refuse(g, NAME_BLANK);
	case '\r':
		return refuse(g, NO_COLON);
	case '\n':
		return refuse(g, BARE_LF);
	default:
		return refuse(g, NAME_BYTE);
	}
}

/* Goes on from p by at least one byte or to another state; NULL when refused. */
static const char *step(struct head_guard *g, const char *p, const char *end)
{
	switch ((enum guard_state)g->state) {
	case START:
		return on_start(g, p);
	case REQUEST:
		return on_request_line(g, p, end);
	case STATUS:
	case VALUE:
		return on_text(g, p, end);
	case LINE_CR:
	case END_CR:
		return on_cr(g, p);
	case NAME_START:
		return on_name_start(g, p);
	case NAME:
		return on_name(g, p, end);
	case DONE:
	case REFUSED:
		break;
	}
	return NULL;
}

void guard_begin_fields(struct head_guard *guard)
{
	*guard = (struct head_guard){ .state = NAME_START };
}

enum guard_verdict guard_feed_piece(struct head_guard *guard, struct span piece,
                                    const char **reason_r)
{
	const char *p = piece.p, *end = p + piece.n;

	if (guard->state == DONE)
		return GUARD_COMPLETE;
	while (p && p < end && guard->state != DONE)
		p = step(guard, p, end);
	if (guard->state == REFUSED) {
		*reason_r = reasons[guard->line_state];
		return GUARD_REFUSED;
	}
	guard->seen += (uint32_t)(p - piece.p);
	return guard->state == DONE ? GUARD_COMPLETE : GUARD_MORE;
}

enum guard_verdict head_guard_feed(struct head_guard *guard, struct span head,
                                   const char **reason_r)
{
	/* A CR alone at the very beginning may become an empty line that the caller skips. */
	if (guard->seen == 0 && guard->state == START && head.n == 1 && *head.p == '\r')
		return GUARD_MORE;
	return guard_feed_piece(guard, span_from(head, guard->seen), reason_r);
}

bool head_guard_in_first_line(const struct head_guard *guard)
{
	return guard->state <= STATUS;
}

size_t http_skip_blank_lines(struct span s)
{
	size_t n = 0;

	while (n < 8 && s.n - n >= 2 && s.p[n] == '\r' && s.p[n + 1] == '\n')
		n += 2;
	return n;
}
