/* The document around the strings, and those strings that may be an id as a whole or are a member's name: these are
 * held until their end, and scanned again for tokens where they are none. */
#include "replication/splice_scan_int.h"

/* ---- strings as a whole ------------------------------------------------------------------------------------------ */

/* Scans the unit, a string that is no id as a whole, for tokens; p: where it ends.  Returns where to go on. */
const char *splice_whole_again(struct splice *s, const char *p)
{
	char again[SPLICE_HELD_BYTES];
	size_t n = s->held_bytes;

	s->open = false;
	s->esc = 0;
	if (!n) {
		splice_string_begin(s, s->unit + 1);
		return s->unit + 1;
	}
	memcpy(again, s->held, n);
	s->held_bytes = 0;
	s->from = again;
	splice_string_begin(s, again + 1);
	for (const char *at = again + 1;; s->full = false) {
		at = splice_scan(s, at, again + n);
		if (at == again + n)
			break;
	}
	s->full = s->most && buf_len(s->out) >= s->most;
	s->from = s->unit = s->seen = p;
	return p;
}

static bool ask_place(struct splice *s, struct span text, bool number, struct splice_new *new_r)
{
	return splice_ask(s, &(struct splice_id){ .text = text, .where = SPLICE_PLACE, .rule = walk_place_rule(&s->walk),
	                                          .number = number }, new_r);
}

/* The closing quote lies before p. */
static const char *whole_end(struct splice *s, const char *p)
{
	bool held = s->held_bytes > 0, known, key = s->walk.key;
	const char *rest = s->unit;
	char room[SPLICE_ID_BYTES];
	struct splice_new new;
	struct span raw, text;
	size_t n = 0;

	if (held && s->held_bytes + (size_t)(p - s->unit) > sizeof(s->held)) {
		if (key)
			walk_name_end(&s->walk, SPAN(""), false);
		return splice_whole_again(s, rest);
	}
	raw = splice_unit_raw(s, p);
	text = span_make(raw.p + 1, raw.n - 2);
	known = text.n <= SPLICE_ID_BYTES;
	if (s->escaped) {
		known = splice_unescape(text, room, &n);
		text = span_make(room, n);
	}
	if (key)
		walk_name_end(&s->walk, text, known);
	else if (known && text.n && ask_place(s, text, false, &new)) {
		splice_unit_close(s, raw, 0, raw.n, &new, SPLICE_PLACE);
		s->mode = BETWEEN;
		return p;
	}
	s->before = '"';
	if (!s->escaped && text.n < SPLICE_TOKEN_LEAST && !splice_may_hold_short(s, text.p, text.p + text.n)) {
		splice_unit_close(s, raw, 0, raw.n, NULL, SPLICE_PLACE);
		s->mode = BETWEEN;
		return p;
	}
	return splice_whole_again(s, p);
}

const char *splice_scan_whole(struct splice *s, const char *p, const char *end)
{
	while (p < end) {
		if (s->esc) {
			s->esc = 0;
			p++;
			continue;
		}
		p = splice_find_special(s, p, end);
		if (p == end)
			break;
		if (*p++ == '"')
			return whole_end(s, p);
		s->esc = 1;
		s->escaped = true;
	}
	if (s->held_bytes + (size_t)(p - s->unit) <= sizeof(s->held))
		return p;
	if (s->walk.key)
		walk_name_end(&s->walk, SPAN(""), false);
	return splice_whole_again(s, s->held_bytes ? s->unit : p);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static bool is_scalar(char c)
{
	return (unsigned char)c > ' ' && !strchr("{}[]:,\"", c);
}

void splice_scalar_end(struct splice *s, const char *p)
{
	struct span raw = splice_unit_raw(s, p);
	struct splice_new new;
	bool found = raw.n && raw.n <= SPLICE_ID_BYTES &&
	             ask_place(s, raw, true, &new);

	splice_unit_close(s, raw, 0, raw.n, found ? &new : NULL, SPLICE_PLACE);
	s->mode = BETWEEN;
}

const char *splice_scan_scalar(struct splice *s, const char *p, const char *end)
{
	while (p < end && is_scalar(*p))
		p++;
	if (p < end)
		splice_scalar_end(s, p);
	return p;
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static const char *quote(struct splice *s, const char *p)
{
	if (s->walk.key ? s->rules && s->walk.alive[s->walk.depth] : walk_is_place(&s->walk)) {
		splice_unit_open(s, p);
		s->mode = WHOLE;
	} else {
		splice_string_begin(s, p + 1);
	}
	return p + 1;
}

static const unsigned char punctuation[256] = {
	['"'] = 1, ['{'] = 1, ['}'] = 1, ['['] = 1, [']'] = 1, [':'] = 1, [','] = 1,
};

const char *splice_scan_between(struct splice *s, const char *p, const char *end)
{
	if (!s->rules || !s->rules->all) { /* without places strings are all that matters */
		p = memchr(p, '"', (size_t)(end - p));
		return p ? quote(s, p) : end;
	}
	for (;; p++) {
		bool place = !s->walk.key && walk_is_place(&s->walk);

		while (p < end && !punctuation[(unsigned char)*p] && !(place && is_scalar(*p)))
			p++;
		if (p == end)
			return p;
		switch (*p) {
		case '"':
			return quote(s, p);
		case '{':
		case '[':
			walk_bracket_open(&s->walk, *p == '{');
			break;
		case '}':
		case ']':
			walk_bracket_close(&s->walk);
			break;
		case ',':
			walk_value_next(&s->walk);
			break;
		case ':':
			s->walk.key = false;
			break;
		default:
			splice_unit_open(s, p);
			s->mode = SCALAR;
			return p + 1;
		}
	}
}
