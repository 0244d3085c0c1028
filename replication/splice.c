/* A scanner of bytes, no parser: it copies what it does not know, so that a malformed document leaves as it came.
 *
 * Between what has been given out and what is being read there is at most one *unit*, which may be an id:
 *
 *     chunk:   ........|-------|~~~~~~~~|...........
 *                    from     unit      p
 *              given out  plain  the unit, still open
 *
 *   mode      what a unit is
 *   BETWEEN   none: punctuation, blanks and scalars of a JSON document
 *   STRING    a token in a string (or anywhere in what is not JSON)
 *   WHOLE     a string from quote to quote, where it is a member's name or may be an id as a whole
 *   SCALAR    a number or word at a place
 *
 * Invariants:
 *  1. Of a unit that began in an earlier chunk the bytes so far are in held[0..held_bytes), and from == unit.
 *  2. A unit that cannot be an id any more (more than SPLICE_HELD_BYTES raw) is given out; the rest of it is `lost`.
 *  3. What is decided depends on the decoded text of units and of the string before them, never on where chunks end.
 *  4. A WHOLE that is no id is scanned again as a STRING.
 *  5. Places are followed down to SPLICE_DEPTH containers, as sets of bits; below that a counter of brackets is all
 *     there is, so depth costs nothing.
 *
 * yajl and jansson were passed over: they collect a string before they tell of it (a file of a gigabyte in base64 is
 * one string), they know nothing of ids within strings, and they refuse documents that an application may well send. */
#include "replication/splice_scan_int.h"

#include <assert.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/percent.h"

_Static_assert(sizeof(struct splice) <= SPLICE_BYTES, "the memory of a splicer is bounded");

/* Of an id as we look for it in text. */
static const unsigned char token_char[256] = {
	['-'] = 1, ['_'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static bool is_token(char c)
{
	return token_char[(unsigned char)c];
}

/* ---- what is given out ------------------------------------------------------------------------------------------- */

static void give_plain(struct splice *s, const char *to)
{
	if (to > s->from)
		buf_add(s->out, s->from, (size_t)(to - s->from));
	s->from = to;
}

static void give_escaped(struct splice *s, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c == '"' || c == '\\')
			buf_add(s->out, (char[]){ '\\', c }, 2);
		else if ((unsigned char)c < 0x20)
			buf_addf(s->out, "\\u%04x", c);
		else
			buf_add_char(s->out, c);
	}
}

static void give_new(struct splice *s, const struct splice_new *new, enum splice_where where)
{
	struct span text = span_head(new->text, SPLICE_ID_BYTES);

	if (where == SPLICE_PLACE && !new->number) {
		buf_add_char(s->out, '"');
		give_escaped(s, text);
		buf_add_char(s->out, '"');
	} else if (where != SPLICE_PLACE && (s->body == SPLICE_LINK || where != SPLICE_TOKEN)) {
		percent_encode(text, "-._~", s->out);
	} else if (where == SPLICE_TOKEN && s->body == SPLICE_JSON) {
		give_escaped(s, text);
	} else {
		buf_add_span(s->out, text);
	}
	s->full = s->most && buf_len(s->out) >= s->most;
}

/* ---- what of the string lies before, for paths ------------------------------------------------------------------- */

static bool wants_trail(const struct splice *s)
{
	return s->rules && s->rules->trail_count;
}

static void trail_begin(struct splice *s, const char *at)
{
	s->trail_bytes = 0;
	s->seen = at;
}

static void trail_add(struct splice *s, struct span text)
{
	if (!wants_trail(s))
		return;
	if (text.n > SPLICE_TRAIL_BYTES)
		text = span_from(text, text.n - SPLICE_TRAIL_BYTES);
	if (s->trail_bytes + text.n > sizeof(s->trail)) {
		memmove(s->trail, s->trail + s->trail_bytes - SPLICE_TRAIL_BYTES, SPLICE_TRAIL_BYTES);
		s->trail_bytes = SPLICE_TRAIL_BYTES;
	}
	if (text.n)
		memcpy(s->trail + s->trail_bytes, text.p, text.n);
	s->trail_bytes += text.n;
}

static void trail_take(struct splice *s, const char *to)
{
	if (to > s->seen)
		trail_add(s, span_make(s->seen, (size_t)(to - s->seen)));
	s->seen = to;
}

/* What lies before `to`, SPLICE_TRAIL_BYTES of it at most. */
static struct span trail_before(struct splice *s, const char *to)
{
	struct span t;

	if (s->trail_bytes)
		trail_take(s, to);
	t = s->trail_bytes ? span_make(s->trail, s->trail_bytes) : span_make(s->seen, (size_t)(to - s->seen));
	return t.n > SPLICE_TRAIL_BYTES ? span_from(t, t.n - SPLICE_TRAIL_BYTES) : t;
}

/* ---- units ------------------------------------------------------------------------------------------------------- */

void splice_unit_open(struct splice *s, const char *at)
{
	s->open = true;
	s->escaped = s->lost = false;
	s->held_bytes = 0;
	s->unit = at;
}

/* Keeps the unit's bytes up to p, where the chunk ends, or gives them out when it is too long. */
static void unit_hold(struct splice *s, const char *p)
{
	size_t n = (size_t)(p - s->unit);

	if (!s->held_bytes && !s->lost) {
		give_plain(s, s->unit);
		if (s->mode == STRING)
			trail_take(s, s->unit);
	}
	if (!s->lost && s->held_bytes + n > sizeof(s->held)) {
		buf_add(s->out, s->held, s->held_bytes);
		s->held_bytes = 0;
		s->lost = true;
	}
	if (s->lost) {
		give_plain(s, p);
	} else {
		memcpy(s->held + s->held_bytes, s->unit, n);
		s->held_bytes += n;
	}
	s->from = s->unit = p;
}

struct span splice_unit_raw(struct splice *s, const char *p)
{
	if (s->held_bytes)
		unit_hold(s, p);
	if (s->lost)
		return span_make("", 0);
	return s->held_bytes ? span_make(s->held, s->held_bytes) : span_make(s->unit, (size_t)(p - s->unit));
}

void splice_unit_close(struct splice *s, struct span raw, size_t skip, size_t n, const struct splice_new *new,
                       enum splice_where where)
{
	s->open = false;
	if (s->held_bytes) {
		buf_add(s->out, raw.p, new ? skip : n);
		if (new)
			give_new(s, new, where);
		buf_add(s->out, raw.p + n, raw.n - n);
		s->held_bytes = 0;
	} else if (new) {
		give_plain(s, raw.p + skip);
		give_new(s, new, where);
		s->from = raw.p + n;
	}
}

bool splice_ask(struct splice *s, struct span text, enum splice_where where, unsigned rule, bool number,
                struct splice_new *new_r)
{
	const struct splice_id id = { text, where, rule, number };

	*new_r = (struct splice_new){ .number = false };
	return s->look(s->ctx, &id, new_r);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Characters that belong to a path segment, or to a value, though not to a token: an id before one is not whole. */
static bool ends_segment(int next)
{
	return next < 128 && (next <= 0 || !strchr(".~%+@=!$*", next));
}

static bool all_digits(struct span s)
{
	size_t i = 0;

	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	return i == s.n;
}

/* id: decoded; at: where it began in the chunk, when it did; next: the character after it, -1 for none.  skip_r: how
 * much of its beginning stays, the digits of a %2F in front. */
static bool look_token(struct splice *s, struct span id, const char *at, int next, size_t *skip_r,
                       enum splice_where *where_r, struct splice_new *new_r)
{
	const struct splice_trail *t = NULL;

	*skip_r = 0;
	if (wants_trail(s) && (s->before == '/' || s->before == '=') && ends_segment(next))
		t = splice_trail_find(s->rules, trail_before(s, at));
	*where_r = t && t->query ? SPLICE_QUERY : SPLICE_PATH;
	if (t && splice_ask(s, id, *where_r, t->rule, false, new_r))
		return true;
	*where_r = SPLICE_TOKEN;
	if (id.n < SPLICE_TOKEN_LEAST || all_digits(id))
		return false;
	if (s->before == '%' && s->body != SPLICE_LINK && !s->escaped && id.n >= SPLICE_TOKEN_LEAST + 2 &&
	    splice_hex(id.p[0]) >= 0 && splice_hex(id.p[1]) >= 0 && !all_digits(span_from(id, 2)) &&
	    splice_ask(s, span_from(id, 2), SPLICE_TOKEN, 0, false, new_r)) {
		*skip_r = 2;
		return true;
	}
	return splice_ask(s, id, SPLICE_TOKEN, 0, false, new_r);
}

/* The token alone of a raw text in which some characters may be escapes; false when it is too long for an id. */
static bool decode_token(const struct splice *s, struct span raw, char room[SPLICE_ID_BYTES], struct span *id_r)
{
	size_t n = 0, width = s->escape == '%' ? 3 : 6;

	*id_r = raw;
	if (!s->escaped)
		return raw.n <= SPLICE_ID_BYTES;
	for (size_t i = 0; i < raw.n; n++) {
		if (n == SPLICE_ID_BYTES)
			return false;
		if (raw.p[i] != s->escape) {
			room[n] = raw.p[i++];
			continue;
		}
		room[n] = (char)((unsigned)splice_hex(raw.p[i + width - 2]) << 4 |
		                   (unsigned)splice_hex(raw.p[i + width - 1]));
		i += width;
	}
	*id_r = span_make(room, n);
	return true;
}

/* The token ends, its unit at p: there is an escape of another character at its end, or none. */
static void token_end(struct splice *s, const char *p, bool escape, int next)
{
	struct span raw = splice_unit_raw(s, p), id = SPAN("");
	const char *began = s->held_bytes || s->lost ? p : s->unit;
	size_t n = escape && !s->lost ? s->esc_at : raw.n, skip;
	bool apart = escape || s->escaped || s->held_bytes || s->lost;
	bool fits = !s->lost;
	struct splice_new new;
	enum splice_where where;
	char room[SPLICE_ID_BYTES];

	if (fits && decode_token(s, span_head(raw, n), room, &id)) {
		bool found;

		if (s->held_bytes) /* the trail ends where the unit began */
			s->seen = began;
		found = id.n && look_token(s, id, began, next, &skip, &where, &new);
		if (apart) {
			trail_take(s, began);
			trail_add(s, id);
			s->seen = p;
		}
		splice_unit_close(s, raw, found ? skip : 0, n, found ? &new : NULL, found ? where : SPLICE_TOKEN);
	} else {
		splice_unit_close(s, raw, 0, n, NULL, SPLICE_TOKEN);
		trail_begin(s, p); /* nothing that long is a segment of ours */
	}
}

static const char *skip_token(const char *p, const char *end)
{
	while (p < end && is_token(*p))
		p++;
	return p;
}

/* ---- escapes ----------------------------------------------------------------------------------------------------- */

static const char *escape_begin(struct splice *s, const char *p)
{
	if (!s->open)
		splice_unit_open(s, p);
	s->esc_at = s->held_bytes + (size_t)(p - s->unit);
	s->esc = 1;
	s->code = 0;
	return p + 1;
}

/* c: what the escape that ends at p stands for, 0x80 for what is not ASCII. */
static void escape_end(struct splice *s, const char *p, unsigned char c)
{
	s->esc = 0;
	if (is_token((char)c)) {
		s->escaped = true;
		return;
	}
	token_end(s, p, true, c);
	trail_add(s, span_make((const char *)&c, 1));
	s->before = c;
}

/* What a backslash and this character stand for; a letter that stands for nothing leaves the backslash. */
static unsigned char short_escape(char c)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	const char *at = c ? strchr(names, c) : NULL;

	if (at)
		return (unsigned char)values[at - names];
	return is_token(c) ? '\\' : (unsigned char)c;
}

/* The next byte of one.  A malformed one ends before it, and stands for the character it began with. */
static const char *escape_byte(struct splice *s, const char *p)
{
	bool percent = s->escape == '%';
	int digit = splice_hex(*p);

	if (s->esc == 1 && !percent) {
		if (*p != 'u')
			escape_end(s, p + 1, short_escape(*p));
		else
			s->esc = 2;
		return p + 1;
	}
	if (digit < 0) {
		escape_end(s, p, (unsigned char)s->escape);
		return p;
	}
	s->code = s->code << 4 | (unsigned)digit;
	if (++s->esc == (percent ? 3 : 6))
		escape_end(s, p + 1, s->code < 0x80 ? (unsigned char)s->code : 0x80);
	return p + 1;
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

/* A token that lies in the chunk from start to p whole. */
static void token_here(struct splice *s, const char *start, const char *p)
{
	if (p - start < SPLICE_TOKEN_LEAST && !(wants_trail(s) && (s->before == '/' || s->before == '=')))
		return;
	splice_unit_open(s, start);
	token_end(s, p, false, (unsigned char)*p);
}

const char *splice_find_special(const struct splice *s, const char *p, const char *end)
{
	const char *at;

	if (s->body == SPLICE_TEXT)
		return end;
	if (s->body == SPLICE_LINK) {
		at = memchr(p, '%', (size_t)(end - p));
		return at ? at : end;
	}
#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
		                                           _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));

		if (found)
			return p + __builtin_ctz((unsigned)found);
	}
#endif
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

bool splice_may_hold_short(const struct splice *s, const char *p, const char *to)
{
	size_t n = (size_t)(to - p);

	return wants_trail(s) && n &&
	       (s->before == '/' || s->before == '=' || memchr(p, '/', n) || memchr(p, '=', n));
}

/* Looks for long tokens between p and `to`, where neither quote nor escape nor open unit is; those that end before `to`
 * are dealt with.  The sixteenth byte is looked at first: where that is no token's, none of 16 began before it.
 * Returns where to go on: a token that reaches `to`, or `to`. */
static const char *skip_plain(struct splice *s, const char *p, const char *to)
{
	const char *at = p;

	while (to - at >= SPLICE_TOKEN_LEAST && !s->full) {
		size_t n = SPLICE_TOKEN_LEAST;
		const char *k;

		while (n && is_token(at[n - 1]))
			n--;
		at += n;
		if (n)
			continue;
		k = skip_token(at + SPLICE_TOKEN_LEAST, to);
		if (k == to)
			break;
		if (at > p)
			s->before = (unsigned char)at[-1];
		token_here(s, at, k);
		at = k + 1;
		s->before = (unsigned char)*k;
		p = at;
	}
	if (!s->full && to - at < SPLICE_TOKEN_LEAST) {
		const char *least = at;

		at = to;
		while (at > least && is_token(at[-1]))
			at--;
	}
	if (at > p)
		s->before = (unsigned char)at[-1];
	return at;
}

static const char *scan_string(struct splice *s, const char *p, const char *end)
{
	const char *looked = p; /* so far there is neither quote nor escape */

	while (p < end && !s->full) {
		const char *start = p;

		if (s->esc) {
			p = escape_byte(s, p);
			continue;
		}
		if (!s->open && p >= looked) {
			looked = splice_find_special(s, p, end);
			if (!splice_may_hold_short(s, p, looked))
				p = start = skip_plain(s, p, looked);
			if (s->full)
				break;
		}
		p = skip_token(p, end);
		if (p < end && (unsigned char)*p != s->escape) {
			if (s->open)
				token_end(s, p, false, (unsigned char)*p);
			else if (p > start)
				token_here(s, start, p);
			s->before = (unsigned char)*p++;
			if (s->before == '"' && s->body == SPLICE_JSON) {
				s->mode = BETWEEN;
				return p;
			}
			continue;
		}
		if (p > start && !s->open)
			splice_unit_open(s, start);
		if (p < end)
			p = escape_begin(s, p);
	}
	return p;
}

void splice_string_begin(struct splice *s, const char *at)
{
	s->mode = STRING;
	s->before = '"';
	trail_begin(s, at);
}

/* To the end of the chunk, or until out is full; what is open then is held. */
const char *splice_scan(struct splice *s, const char *p, const char *end)
{
	while (p < end && !s->full) {
		switch (s->mode) {
		case BETWEEN:
			p = splice_scan_between(s, p, end);
			break;
		case STRING:
			p = scan_string(s, p, end);
			break;
		case WHOLE:
			p = splice_scan_whole(s, p, end);
			break;
		case SCALAR:
			p = splice_scan_scalar(s, p, end);
			break;
		}
	}
	if (s->open) {
		unit_hold(s, p);
	} else {
		give_plain(s, p);
		if (s->mode == STRING)
			trail_take(s, p);
	}
	return p;
}

/* ---- the outside ------------------------------------------------------------------------------------------------- */

static void init(struct splice *s, enum splice_body body, const struct splice_rules *rules, splice_look *look,
                 void *ctx)
{
	assert(body != SPLICE_NONE && look);
	memset(s, 0, offsetof(struct splice, held));
	s->rules = s->walk.rules = rules && rules->place_count + rules->trail_count ? rules : NULL;
	s->look = look;
	s->ctx = ctx;
	s->body = body;
	s->mode = body == SPLICE_JSON ? BETWEEN : STRING;
	s->escape = body == SPLICE_JSON ? '\\' : body == SPLICE_LINK ? '%' : -1;
	if (body == SPLICE_JSON)
		walk_value_next(&s->walk);
}

struct splice *splice_new(enum splice_body body, const struct splice_rules *rules, splice_look *look, void *ctx)
{
	struct splice *s = malloc(sizeof(*s));

	if (s)
		init(s, body, rules, look, ctx);
	return s;
}

void splice_free(struct splice **s)
{
	free(*s);
	*s = NULL;
}

size_t splice_feed(struct splice *s, struct span in, size_t most, struct buf *out)
{
	if (!in.n)
		return 0;
	s->out = out;
	s->most = most;
	s->full = false;
	s->from = s->unit = s->seen = in.p;
	return (size_t)(splice_scan(s, in.p, in.p + in.n) - in.p);
}

void splice_end(struct splice *s, struct buf *out)
{
	static const char nothing[1];

	s->out = out;
	s->most = 0;
	s->full = false;
	s->from = s->unit = s->seen = nothing;
	if (s->mode == WHOLE && s->open)
		splice_whole_again(s, nothing);
	if (s->mode == SCALAR && s->open)
		splice_scalar_end(s, nothing);
	if (s->esc)
		escape_end(s, nothing, (unsigned char)s->escape);
	if (s->open)
		token_end(s, nothing, false, -1);
}

size_t splice_held(const struct splice *s)
{
	return s->held_bytes;
}

bool splice_once(enum splice_body body, const struct splice_rules *rules, splice_look *look, void *ctx, struct span in,
                 struct buf *out)
{
	struct splice s;

	init(&s, body, rules, look, ctx);
	splice_feed(&s, in, 0, out);
	splice_end(&s, out);
	return !out->failed;
}
