/* Bodies: the content of a message out of its framing, piece by piece, without a copy.
 *
 * The chunk decoder is our own (RFC 9112 7.1), since llhttp 8 accepts chunk data that no CRLF
 * follows and refuses valid extensions.  Chunks are never forwarded raw: what comes out here is
 * content, and whoever sends it on chunks it anew.
 *
 *	SIZE_FIRST -> SIZE -> [extensions] -> LINE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST
 *	                                         \-> TRAILERS -> END
 *
 *	extensions = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
 *	EXT_BLANK -> EXT_NAME_FIRST -> EXT_NAME -> EXT_NAME_BLANK -> EXT_VALUE_FIRST
 *	    ^                                                           |-> EXT_TOKEN
 *	    \-- EXT_QUOTED_END <- EXT_QUOTED <-> EXT_QUOTED_PAIR <------/
 *
 * Invariants: events and content depend on the bytes alone, never on how they were split; END
 * and BAD are final; a line end is CRLF and nothing else, in extensions too, where a lone LF
 * has been read as the end of the line by some and as text by others.  Blanks may stand before
 * ";" only (BWS), not before the CRLF.
 *
 * Extensions are checked and dropped (RFC 9112 7.1.1: a recipient ignores those it does not
 * know).  Trailers are held back whole, judged by the guard's rules for field lines. */
#include "http/guard_int.h"

#include <stdint.h>

#define CHUNK_LINE_MAX 4096
#define TRAILERS_MAX 16384

enum body_state {
	PLAIN, /* every framing but chunked */
	SIZE_FIRST,
	SIZE,
	EXT_BLANK,
	EXT_NAME_FIRST,
	EXT_NAME,
	EXT_NAME_BLANK,
	EXT_VALUE_FIRST,
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_QUOTED_PAIR,
	EXT_QUOTED_END,
	LINE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILERS,
	END,
	BAD,
};

#define BODY_FAILURES(X) \
	X(BAD_SIZE, "a chunk size is no hexadecimal number below 2^63") \
	X(BAD_EXTENSION, "a chunk extension is malformed") \
	X(BAD_LINE_END, "a chunk line does not end in CRLF") \
	X(BAD_DATA_END, "the data of a chunk is not followed by CRLF") \
	X(LONG_LINE, "a chunk line is longer than 4096 bytes") \
	X(LONG_TRAILERS, "the trailer section is longer than 16384 bytes") \
	X(BAD_TRAILERS, "the trailer section is malformed") \
	X(NO_MEMORY, "there is no memory for the trailer section")

enum body_failure {
#define FAILURE_ID(id, text) id,
	BODY_FAILURES(FAILURE_ID)
#undef FAILURE_ID
};

static const char *const failures[] = {
#define FAILURE_TEXT(id, text) text,
	BODY_FAILURES(FAILURE_TEXT)
#undef FAILURE_TEXT
};

void http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length)
{
	*body = (struct http_body){ .framing = framing };
	buf_init(&body->trailers, NULL, TRAILERS_MAX + 2);
	if (framing == HTTP_CHUNKED)
		body->state = SIZE_FIRST;
	else if (framing == HTTP_LENGTH)
		body->left = content_length;
	if (framing == HTTP_NO_BODY || (framing == HTTP_LENGTH && content_length == 0))
		body->state = END;
}

void http_body_fini(struct http_body *body)
{
	buf_fini(&body->trailers);
}

static void fail(struct http_body *b, enum body_failure failure)
{
	b->state = BAD;
	b->failure = (uint8_t)failure;
}

static void take(struct span *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_token_char(char c)
{
	return http_token_char[(unsigned char)c];
}

/* After a whole size, name or value: the end of the line, or another extension. */
static void after_item(struct http_body *b, char c)
{
	if (c == '\r')
		b->state = LINE_LF;
	else if (c == ';')
		b->state = EXT_NAME_FIRST;
	else if (c == ' ' || c == '\t')
		b->state = EXT_BLANK;
	else if (c == '\n')
		fail(b, BAD_LINE_END);
	else
		fail(b, b->state == SIZE ? BAD_SIZE : BAD_EXTENSION);
}

static void on_size(struct http_body *b, char c)
{
	int digit = hex_value(c);

	if (digit >= 0 && b->left < (UINT64_C(1) << 59)) {
		b->left = b->left << 4 | (unsigned)digit;
		b->state = SIZE;
	} else if (digit >= 0 || b->state == SIZE_FIRST) {
		fail(b, BAD_SIZE);
	} else {
		after_item(b, c);
	}
}

static void on_name_end(struct http_body *b, char c)
{
	if (c == '=')
		b->state = EXT_VALUE_FIRST;
	else if (c == ' ' || c == '\t')
		b->state = EXT_NAME_BLANK;
	else if (c == '\r' && b->state == EXT_NAME_BLANK)
		fail(b, BAD_EXTENSION);
	else
		after_item(b, c);
}

static void on_quoted(struct http_body *b, char c)
{
	bool text = c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);

	if (!text)
		fail(b, c == '\n' ? BAD_LINE_END : BAD_EXTENSION);
	else if (b->state == EXT_QUOTED_PAIR)
		b->state = EXT_QUOTED;
	else if (c == '"')
		b->state = EXT_QUOTED_END;
	else if (c == '\\')
		b->state = EXT_QUOTED_PAIR;
}

/* Where a name or value must begin, blanks before it aside. */
static void on_item_first(struct http_body *b, char c)
{
	if (c == ' ' || c == '\t')
		return;
	if (is_token_char(c))
		b->state = b->state == EXT_NAME_FIRST ? EXT_NAME : EXT_TOKEN;
	else if (c == '"' && b->state == EXT_VALUE_FIRST)
		b->state = EXT_QUOTED;
	else
		fail(b, c == '\n' ? BAD_LINE_END : BAD_EXTENSION);
}

static void on_ext_blank(struct http_body *b, char c)
{
	if (c == ';')
		b->state = EXT_NAME_FIRST;
	else if (c != ' ' && c != '\t')
		fail(b, c == '\n' ? BAD_LINE_END : BAD_EXTENSION);
}

static void on_line_end(struct http_body *b, char c)
{
	if (c != '\n') {
		fail(b, BAD_LINE_END);
		return;
	}
	b->overhead = 0;
	b->state = b->left ? DATA : TRAILERS;
	if (!b->left)
		guard_begin_fields(&b->guard);
}

/* One byte of a chunk line. */
static void on_line_byte(struct http_body *b, char c)
{
	switch ((enum body_state)b->state) {
	case SIZE_FIRST:
	case SIZE:
		on_size(b, c);
		break;
	case EXT_BLANK:
		on_ext_blank(b, c);
		break;
	case EXT_NAME_FIRST:
	case EXT_VALUE_FIRST:
		on_item_first(b, c);
		break;
	case EXT_NAME:
		if (!is_token_char(c))
			on_name_end(b, c);
		break;
	case EXT_NAME_BLANK:
		on_name_end(b, c);
		break;
	case EXT_TOKEN:
		if (!is_token_char(c))
			after_item(b, c);
		break;
	case EXT_QUOTED:
	case EXT_QUOTED_PAIR:
		on_quoted(b, c);
		break;
	case EXT_QUOTED_END:
		after_item(b, c);
		break;
	case LINE_LF:
		on_line_end(b, c);
		break;
	default:
		break;
	}
}

static void read_line(struct http_body *b, struct span *in)
{
	while (in->n && b->state < DATA) {
		if (++b->overhead > CHUNK_LINE_MAX) {
			fail(b, LONG_LINE);
			return;
		}
		on_line_byte(b, *in->p);
		take(in, 1);
	}
}

static void read_data_end(struct http_body *b, struct span *in)
{
	if (*in->p != (b->state == DATA_CR ? '\r' : '\n')) {
		fail(b, BAD_DATA_END);
		return;
	}
	b->state = b->state == DATA_CR ? DATA_LF : SIZE_FIRST;
	take(in, 1);
}

/* The section without its last CRLF is kept; "" costs no memory unless its CRLF came in halves. */
static void end_trailers(struct http_body *b)
{
	if (buf_len(&b->trailers) >= 2)
		b->trailers.wr -= 2;
	if (buf_len(&b->trailers) == 0)
		buf_fini(&b->trailers);
	b->state = END;
}

static void read_trailers(struct http_body *b, struct span *in)
{
	uint32_t before = b->guard.seen;
	struct span piece = span_head(*in, TRAILERS_MAX + 2 - before + 1);
	enum guard_verdict verdict;
	const char *reason;

	verdict = guard_feed_piece(&b->guard, piece, &reason);
	if (verdict == GUARD_REFUSED) {
		fail(b, BAD_TRAILERS);
		return;
	}
	if (b->guard.seen > TRAILERS_MAX + 2) {
		fail(b, LONG_TRAILERS);
		return;
	}
	if (b->guard.seen > 2 || verdict == GUARD_MORE)
		buf_add(&b->trailers, in->p, b->guard.seen - before);
	else if (before)
		buf_add(&b->trailers, "\n", 1);
	if (b->trailers.failed) {
		fail(b, NO_MEMORY);
		return;
	}
	take(in, b->guard.seen - before);
	if (verdict == GUARD_COMPLETE)
		end_trailers(b);
}

/* A piece of content of at most b->left bytes. */
static enum http_body_event give(struct http_body *b, struct span *in, struct span *data_r)
{
	size_t n = b->left < in->n ? (size_t)b->left : in->n;

	*data_r = span_head(*in, n);
	take(in, n);
	b->left -= n;
	b->total += n;
	if (b->left == 0)
		b->state = b->framing == HTTP_CHUNKED ? DATA_CR : END;
	return HTTP_BODY_DATA;
}

static enum http_body_event give_all(struct http_body *b, struct span *in, struct span *data_r)
{
	*data_r = *in;
	b->total += in->n;
	take(in, in->n);
	return HTTP_BODY_DATA;
}

enum http_body_event http_body_next(struct http_body *body, struct span *in, struct span *data_r,
                                    const char **reason_r)
{
	while (body->state != END && body->state != BAD) {
		if (!in->n)
			return HTTP_BODY_MORE;
		if (body->framing == HTTP_UNTIL_CLOSE)
			return give_all(body, in, data_r);
		if (body->state == PLAIN || body->state == DATA)
			return give(body, in, data_r);
		if (body->state < DATA)
			read_line(body, in);
		else if (body->state == TRAILERS)
			read_trailers(body, in);
		else
			read_data_end(body, in);
	}
	if (body->state == END)
		return HTTP_BODY_END;
	*reason_r = failures[body->failure];
	return HTTP_BODY_BAD;
}

uint64_t http_body_left(const struct http_body *body)
{
	return body->framing == HTTP_LENGTH && body->state == PLAIN ? body->left : 0;
}

void http_body_pass(struct http_body *body, size_t n)
{
	body->left -= n;
	body->total += n;
	if (!body->left)
		body->state = END;
}

bool http_body_closed(struct http_body *body)
{
	if (body->framing == HTTP_UNTIL_CLOSE)
		body->state = END;
	return body->state == END;
}

size_t http_chunk_head(char room[HTTP_CHUNK_HEAD_BYTES], uint64_t bytes)
{
	size_t digits = 1, n;

	for (uint64_t v = bytes >> 4; v; v >>= 4)
		digits++;
	n = digits;
	for (uint64_t v = bytes; digits; v >>= 4)
		room[--digits] = "0123456789abcdef"[v & 15];
	room[n++] = '\r';
	room[n++] = '\n';
	room[n] = '\0';
	return n;
}
