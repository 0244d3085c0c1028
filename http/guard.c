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
 * Where the machine can, sixteen bytes are looked at at once, the rest by table, so that the guard
 * costs a fraction of the parser behind it.  A table over (state, byte) was rejected: one
 * dependent load for every byte is three times as slow. */
#include "http/guard_int.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <stdint.h>

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

/* The first byte of p that skip stops at, or end.  A whole block is looked at where there is one: what follows a line
 * in the piece is in it too, and does no harm. */
#ifdef __SSE2__
#define BLOCK 16

/* Bits of the bytes from first to last. */
static inline __m128i in_range(__m128i v, char first, char last)
{
	return _mm_cmpeq_epi8(_mm_min_epu8(_mm_max_epu8(v, _mm_set1_epi8(first)), _mm_set1_epi8(last)), v);
}

/* Control characters but tab, and DEL. */
static inline unsigned control_bits(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i hit = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), in_range(v, 0, 0x1f)),
	                           _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));

	return (unsigned)_mm_movemask_epi8(hit);
}

/* What no name of common use holds: neither letter, digit nor hyphen. */
static inline unsigned odd_bits(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i fine = _mm_or_si128(_mm_or_si128(in_range(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z'),
	                                         in_range(v, '0', '9')),
	                            _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));

	return ~(unsigned)_mm_movemask_epi8(fine) & 0xffffu;
}

/* Neither graphic nor beyond ASCII. */
static inline unsigned blank_bits(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(in_range(v, 0, 0x20), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}

#define SKIP_BLOCKS(p, end, bits_of) \
	for (; (end) - (p) >= BLOCK; (p) += BLOCK) { \
		unsigned bits = bits_of(p); \
\
		if (bits) { \
			(p) += __builtin_ctz(bits); \
			break; \
		} \
	}
#else
#define SKIP_BLOCKS(p, end, bits_of)
#endif

/* The first control character or DEL, or end; tabs are no hit. */
static const char *skip_text(const char *p, const char *end)
{
	SKIP_BLOCKS(p, end, control_bits)
	while (p < end && (((unsigned char)*p >= 0x20 && *p != 0x7f) || *p == '\t'))
		p++;
	return p;
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

	SKIP_BLOCKS(p, end, blank_bits)
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

static const char *skip_name(const char *p, const char *end)
{
	SKIP_BLOCKS(p, end, odd_bits)
	while (p < end && http_token_char[(unsigned char)*p])
		p++;
	return p;
}

/* Passes over whole field lines that are as they should be; whatever else there is, the states judge. */
static const char *skip_lines(const char *p, const char *end)
{
	for (;;) {
		const char *colon = skip_name(p, end), *cr;

		if (colon == p || colon == end || *colon != ':')
			return p;
		cr = skip_text(colon + 1, end);
		if (end - cr < 2 || cr[0] != '\r' || cr[1] != '\n')
			return p;
		p = cr + 2;
	}
}

static const char *on_name_start(struct head_guard *g, const char *p, const char *end)
{
	const char *from = p;

	p = skip_lines(p, end);
	if (p > from)
		return p;
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
	p = skip_name(p, end);
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
		return on_name_start(g, p, end);
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
