/* The JSON form: an object whose values are all strings, each value read as a location.
 *
 * json_is_scope walks over the text once and builds nothing; only what is JSON through and
 * through takes this form.  A string without escapes is read where it stands, one with escapes is
 * decoded into the arena together with the column of each byte in the text as sent. */
#include "scope/scope_int.h"

struct json {
	struct span text;
	size_t at;
	size_t counted; /* up to here characters are counted */
	unsigned column;
};

static void blanks(struct json *j)
{
	while (j->at < j->text.n && lex_is_space(j->text.p[j->at]))
		j->at++;
}

static bool eat(struct json *j, char c)
{
	blanks(j);
	if (j->at >= j->text.n || j->text.p[j->at] != c)
		return false;
	j->at++;
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at `at`; -1 when they are none. */
static int hex4(struct span s, size_t at)
{
	int v = 0;

	if (at + 4 > s.n)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		int d = hex(s.p[at + i]);

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static bool skip_escape(struct json *j)
{
	char c = j->at < j->text.n ? j->text.p[j->at] : '\0';

	if (c == 'u') {
		if (hex4(j->text, j->at + 1) < 0)
			return false;
		j->at += 5;
		return true;
	}
	j->at++;
	return c && strchr("\"\\/bfnrt", c);
}

/* Moves over a string; *raw_r is what stands between the quotes. */
static bool string(struct json *j, struct span *raw_r, bool *escapes_r)
{
	size_t start;

	if (!eat(j, '"'))
		return false;
	start = j->at;
	*escapes_r = false;
	while (j->at < j->text.n && j->text.p[j->at] != '"') {
		unsigned char c = (unsigned char)j->text.p[j->at++];

		if (c < 0x20)
			return false;
		if (c == '\\') {
			*escapes_r = true;
			if (!skip_escape(j))
				return false;
		}
	}
	*raw_r = span_make(j->text.p + start, j->at - start);
	return j->at++ < j->text.n;
}

bool json_is_scope(struct span text)
{
	struct json j = { .text = text };
	struct span raw;
	bool escapes;

	if (!eat(&j, '{'))
		return false;
	blanks(&j);
	if (j.at >= text.n || text.p[j.at] != '"')
		return false;
	do {
		if (!string(&j, &raw, &escapes) || !eat(&j, ':') || !string(&j, &raw, &escapes))
			return false;
	} while (eat(&j, ','));
	if (!eat(&j, '}'))
		return false;
	blanks(&j);
	return j.at == text.n;
}

/* Decoding ------------------------------------------------------------------------------------- */

struct decoded {
	struct span text;
	unsigned base;       /* column of the first character */
	const uint16_t *map; /* or NULL */
};

static size_t put_utf8(char *w, unsigned point)
{
	if (point < 0x80) {
		w[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		w[0] = (char)(0xc0 | point >> 6);
		w[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		w[0] = (char)(0xe0 | point >> 12);
		w[1] = (char)(0x80 | (point >> 6 & 0x3f));
		w[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	w[0] = (char)(0xf0 | point >> 18);
	w[1] = (char)(0x80 | (point >> 12 & 0x3f));
	w[2] = (char)(0x80 | (point >> 6 & 0x3f));
	w[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* The escape at raw[i], behind its backslash: its character, and its length. False for half a
 * surrogate pair. */
static bool escape(struct span raw, size_t i, unsigned *point_r, size_t *bytes_r)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *known = strchr(from, raw.p[i]);
	int high, low;

	*bytes_r = 1;
	if (raw.p[i] != 'u') {
		*point_r = (unsigned char)(known ? to[known - from] : raw.p[i]);
		return true;
	}
	high = hex4(raw, i + 1);
	*point_r = (unsigned)high;
	*bytes_r = 5;
	if (high < 0xd800 || high > 0xdfff)
		return true;
	low = i + 6 < raw.n && raw.p[i + 5] == '\\' && raw.p[i + 6] == 'u' ? hex4(raw, i + 7) : -1;
	*point_r = 0x10000 + (((unsigned)high - 0xd800) << 10) + ((unsigned)low - 0xdc00);
	*bytes_r = 11;
	return high < 0xdc00 && low >= 0xdc00 && low <= 0xdfff;
}

static int half_a_pair(struct parser *p, unsigned column)
{
	return parse_syntax(p, column, NULL, "half a surrogate pair");
}

static int decode(struct parser *p, struct span raw, bool escapes, struct decoded *d)
{
	unsigned column = d->base, point;
	uint16_t *map;
	char *mem;
	size_t n = 0, bytes;

	d->text = raw;
	d->map = NULL;
	if (!escapes)
		return 0;
	mem = arena_alloc(p->arena, raw.n);
	map = arena_alloc(p->arena, (raw.n + 1) * sizeof(*map));
	if (!mem || !map)
		return parse_nomem(p);
	for (size_t i = 0; i < raw.n;) {
		size_t from = n;

		if (raw.p[i] != '\\') {
			column -= ((unsigned char)raw.p[i] & 0xc0) == 0x80;
			mem[n++] = raw.p[i++];
			bytes = 0;
		} else if (!escape(raw, ++i, &point, &bytes)) {
			return half_a_pair(p, column);
		} else {
			n += put_utf8(mem + n, point);
			i += bytes;
		}
		while (from < n)
			map[from++] = (uint16_t)column;
		column += 1 + (unsigned)bytes;
	}
	map[n] = (uint16_t)column;
	d->text = span_make(mem, n);
	d->map = map;
	return 0;
}

/* The next string of a text that json_is_scope has passed. */
static int next_string(struct parser *p, struct json *j, struct decoded *d)
{
	struct span raw = { NULL, 0 };
	bool escapes = false;

	string(j, &raw, &escapes);
	for (; j->text.p + j->counted < raw.p; j->counted++)
		j->column += ((unsigned char)j->text.p[j->counted] & 0xc0) != 0x80;
	d->base = j->column;
	return decode(p, raw, escapes, d);
}

static int check_key(struct parser *p, const struct decoded *key)
{
	size_t bad = lex_bad_char(key->text);
	struct lex lx = { .text = key->text, .base = key->base, .map = key->map };

	if (!key->text.n)
		return parse_syntax(p, key->base, "a service", "an empty name");
	if (bad == key->text.n)
		return 0;
	return parse_syntax(p, lex_column_at(&lx, bad), NULL,
			    "a control character, or what is no UTF-8");
}

static int json_binding(struct parser *p, const struct decoded *key, const struct decoded *value)
{
	struct scope_binding b = { .service = key->text, .column = key->base };
	struct scope_location *location;
	int rc;

	if (span_eq(key->text, SPAN("*")) || span_eq(key->text, SPAN("others"))) {
		b.others = true;
		b.service = (struct span){ NULL, 0 };
	}
	lex_init(&p->lex, p->arena, value->text, value->base, value->map, p->err);
	rc = parse_whole(p, &location);
	if (rc)
		return rc;
	b.location = location;
	return parse_add_binding(p, b);
}

int json_parse(struct parser *p)
{
	struct json j = { .text = p->text, .column = 1 };
	struct decoded key, value;
	int rc;

	eat(&j, '{');
	do {
		rc = next_string(p, &j, &key);
		if (!rc)
			rc = check_key(p, &key);
		eat(&j, ':');
		if (!rc)
			rc = next_string(p, &j, &value);
		if (!rc)
			rc = json_binding(p, &key, &value);
	} while (!rc && eat(&j, ','));
	return rc;
}
