/* A reader that skips: a value ends where its brackets do. */
#include "replication/member.h"

#include "replication/splice_int.h"

int member_check_place(struct span place, struct err *e)
{
	struct span names[SPLICE_DEPTH];
	size_t count;

	return splice_place_members(place, names, &count, e) ? ERR_INVALID : 0;
}

/* ---- skipping ---------------------------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* Behind the closing quote of the string at p; NULL: it has none. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

static bool ends_scalar(char c)
{
	return c == ',' || c == ']' || c == '}' || c == ':' || c == '"' || c == '[' || c == '{' || (unsigned char)c <= ' ';
}

static const char *skip_brackets(const char *p, const char *end)
{
	char open[MEMBER_DEPTH];
	size_t depth = 0;

	while (p && p < end) {
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			continue;
		case '{':
		case '[':
			if (depth == MEMBER_DEPTH)
				return NULL;
			open[depth++] = *p;
			break;
		case '}':
		case ']':
			if (open[--depth] != (*p == '}' ? '{' : '['))
				return NULL;
			if (!depth)
				return p + 1;
			break;
		}
		p++;
	}
	return NULL;
}

/* Behind the value at p; NULL: there is none. */
static const char *skip_value(const char *p, const char *end)
{
	const char *from = p;

	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_brackets(p, end);
	while (p < end && !ends_scalar(*p))
		p++;
	return p > from ? p : NULL;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

/* The next one of an object or array, at: behind its bracket or behind the last value.  name_r: NULL in an array; with its
 * quotes.  1: there is one; 0: the end, at is the closing bracket; -1: what is there is neither. */
static int next(const char **at, const char *end, bool first, struct span *name_r, struct span *value_r)
{
	const char *p = skip_blanks(*at, end), *behind;

	*at = p;
	if (p < end && *p == (name_r ? '}' : ']'))
		return 0;
	if (!first) {
		if (p == end || *p != ',')
			return -1;
		p = skip_blanks(p + 1, end);
	}
	if (name_r) {
		behind = p < end && *p == '"' ? skip_string(p, end) : NULL;
		if (!behind)
			return -1;
		*name_r = span_make(p, (size_t)(behind - p));
		p = skip_blanks(behind, end);
		if (p == end || *p != ':')
			return -1;
		p = skip_blanks(p + 1, end);
	}
	behind = skip_value(p, end);
	if (!behind)
		return -1;
	*value_r = span_make(p, (size_t)(behind - p));
	*at = behind;
	return 1;
}

static bool is_name(struct span quoted, struct span name)
{
	struct span raw = span_make(quoted.p + 1, quoted.n - 2);
	char room[SPLICE_ID_BYTES];
	size_t n;

	if (!memchr(raw.p, '\\', raw.n))
		return span_eq(raw, name);
	return splice_unescape(raw, room, &n) && span_eq(span_make(room, n), name);
}

enum found { NOT_THERE, THERE, NO_OBJECT };

struct object {
	const char *close;  /* its bracket */
	struct span value;  /* of the member, when it is there */
	bool is_empty;
};

static enum found look(struct span doc, struct span name, struct object *o_r)
{
	const char *end = doc.p + doc.n, *at = skip_blanks(doc.p, end);
	enum found found = NOT_THERE;
	struct span key, value;
	int more;

	o_r->is_empty = true;
	if (at == end || *at != '{')
		return NO_OBJECT;
	for (at++; (more = next(&at, end, o_r->is_empty, &key, &value)) > 0; o_r->is_empty = false)
		if (is_name(key, name)) {
			o_r->value = value;
			found = THERE;
		}
	o_r->close = at;
	return more < 0 ? NO_OBJECT : found;
}

bool member_find(struct span doc, struct span place, struct span *raw_r)
{
	struct span names[SPLICE_DEPTH];
	size_t count;
	struct object o;
	struct err e;

	if (splice_place_members(place, names, &count, &e))
		return false;
	for (size_t i = 0; i < count; i++, doc = o.value)
		if (look(doc, names[i], &o) != THERE)
			return false;
	*raw_r = doc;
	return true;
}

static void add_name(struct span name, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.p[i]);
	}
	buf_add_z(out, "\": ");
}

/* What stands between, then the member, within as many objects as it has further names. */
static void add_member(const struct span *names, size_t count, struct span raw, struct buf *out)
{
	add_name(names[0], out);
	for (size_t i = 1; i < count; i++) {
		buf_add_char(out, '{');
		add_name(names[i], out);
	}
	buf_add_span(out, raw);
	for (size_t i = 1; i < count; i++)
		buf_add_char(out, '}');
}

bool member_set(struct span doc, struct span place, struct span raw, struct buf *out)
{
	struct span names[SPLICE_DEPTH], at = doc;
	enum found found = NO_OBJECT;
	size_t count, i;
	struct object o;
	struct err e;

	if (splice_place_members(place, names, &count, &e))
		return false;
	for (i = 0; i < count; i++, at = o.value) {
		found = look(at, names[i], &o);
		if (found != THERE)
			break;
	}
	if (found == NO_OBJECT)
		return false;
	if (found == THERE) {
		buf_add(out, doc.p, (size_t)(at.p - doc.p));
		buf_add_span(out, raw);
		buf_add_span(out, span_from(doc, (size_t)(at.p - doc.p) + at.n));
		return true;
	}
	buf_add(out, doc.p, (size_t)(o.close - doc.p));
	buf_add_z(out, o.is_empty ? "" : ", ");
	add_member(names + i, count - i, raw, out);
	buf_add_span(out, span_from(doc, (size_t)(o.close - doc.p)));
	return true;
}

bool member_text(struct arena *arena, struct span raw, struct span *text_r)
{
	char room[SPLICE_ID_BYTES];
	struct span text = raw;

	if (!raw.n || raw.n > 6 * MEMBER_TEXT_BYTES + 2 || raw.p[0] == '{' || raw.p[0] == '[' || span_eq(raw, SPAN("null")))
		return false;
	if (raw.p[0] == '"') {
		if (!splice_unescape(span_make(raw.p + 1, raw.n - 2), room, &text.n))
			return false;
		text.p = room;
	}
	if (text.n > MEMBER_TEXT_BYTES)
		return false;
	*text_r = arena_dup(arena, text);
	return text_r->p != NULL;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

/* The one member that is an array. */
static bool wrapped(struct span doc, struct span *list_r)
{
	const char *end = doc.p + doc.n, *at = skip_blanks(doc.p, end);
	bool first = true, found = false;
	struct span name, value;
	int more;

	if (at == end || *at != '{')
		return false;
	for (at++; (more = next(&at, end, first, &name, &value)) > 0; first = false) {
		if (value.p[0] != '[')
			continue;
		if (found)
			return false;
		*list_r = value;
		found = true;
	}
	return found && !more;
}

bool member_list(struct span doc, struct span *first_r, size_t *count_r)
{
	const char *end = doc.p + doc.n, *at = skip_blanks(doc.p, end);
	struct span list = doc, value;
	int more;

	*count_r = 0;
	if (at == end || (*at != '[' && !wrapped(doc, &list)))
		return false;
	end = list.p + list.n;
	for (at = skip_blanks(list.p, end) + 1; (more = next(&at, end, !*count_r, NULL, &value)) > 0; ++*count_r)
		if (!*count_r)
			*first_r = value;
	return !more;
}
