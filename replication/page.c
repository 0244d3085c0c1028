/* The document is followed by the walk of the splicer (splice_walk_int.h), which tells where places are; the strings and
 * numbers at them, and members' names, are kept whole, all else goes by.
 *
 * Within the array of elements bytes go to one of three sinks:
 *
 *	HOLD  from behind the element before: comma, blanks, and the element until it is decided
 *	PASS  the rest of one that stays
 *	DROP  the rest of one that goes, what was held with it
 *
 * What is held begins with the comma before the element, so that nothing is to be taken back; of the first element that
 * stays that comma goes instead. */
#include "replication/page.h"

#include <stdlib.h>

#include "replication/splice_walk_int.h"

enum mode { BETWEEN, STRING, SCALAR, OVER };
enum sink { PASS, HOLD, DROP };
enum about { NOTHING, NAME, ID, NEXT }; /* what the string or number is */

struct page {
	struct page_options o;
	struct splice_rules *rules;
	struct splice_walk walk;
	uint32_t items, ids, next;       /* bits of the places */
	struct span names[SPLICE_DEPTH]; /* of the link's place */
	size_t name_count;

	struct buf *out;
	const char *from;                /* into the chunk: what no sink has yet */
	enum mode mode;
	enum sink sink;
	enum about about;
	bool escape, escaped, lost;      /* in a string: behind a backslash; it has one; it is too long to be kept */
	struct buf text;                 /* of the string, without quotes, or of the number */
	struct buf held, link;           /* link: that leads on */

	size_t array_depth;              /* of the elements' array; 0: not in it */
	bool in_element, decided;
	size_t comma_end;                /* in held: behind the comma; 0: there is none */
	bool first, gone;                /* of this array: none has stayed so far; one has been left out */
	bool listed, kept;               /* there was such an array; something of it has stayed */
	uint32_t has_members;            /* bit d: the object at depth d does */
	bool next_done, next_there;
	size_t last_n;
	char last[SPLICE_ID_BYTES];      /* id */
};

/* ---- places ------------------------------------------------------------------------------------------------------ */

/* 0: added, at *bit_r. */
static int add_place(struct splice_rules *rules, struct span a, const char *b, struct span c, uint32_t *bits,
                     struct err *e)
{
	size_t at = rules->place_count;
	struct buf text;
	int rc;

	buf_init(&text, NULL, 0);
	buf_add_span(&text, a);
	buf_add_z(&text, b);
	buf_add_span(&text, c);
	rc = text.failed ? err_set(e, ERR_NOMEM, "out of memory")
	                 : splice_rules_add_place(rules, buf_span(&text), SPLICE_SINGLE, 0, e);
	buf_fini(&text);
	if (!rc)
		*bits |= UINT32_C(1) << at;
	return rc;
}

/* Where elements have it; what is wrapped when it is alone ("$.image.id") need not be where it is one of many. */
static int add_ids(struct splice_rules *rules, struct span items, struct span id, uint32_t *bits, struct err *e)
{
	size_t dot = id.n;
	int rc = add_place(rules, items, "[*]", span_from(id, 1), bits, e);

	while (dot && id.p[dot - 1] != '.')
		dot--;
	if (rc || dot <= 2 || span_find(id, '[') < id.n)
		return rc;
	return add_place(rules, items, "[*].", span_from(id, dot), bits, e);
}

static int add_places(struct page *g, struct err *e)
{
	int rc = add_place(g->rules, g->o.items, "[*]", SPAN(""), &g->items, e);

	if (!rc)
		rc = add_ids(g->rules, g->o.items, g->o.id, &g->ids, e);
	if (!rc && g->o.next.n)
		rc = splice_place_members(g->o.next, g->names, &g->name_count, e);
	if (!rc && g->o.next.n)
		rc = add_place(g->rules, g->o.next, "", SPAN(""), &g->next, e);
	return rc;
}

int page_check_items(struct span items, struct err *e)
{
	struct span names[SPLICE_DEPTH];
	size_t count;

	if (span_eq(items, SPAN("$")))
		return 0;
	return splice_place_members(items, names, &count, e) ? ERR_INVALID : 0;
}

int page_check(struct span items, struct span id, struct err *e)
{
	struct splice_rules *rules = splice_rules_new();
	uint32_t bits = 0;
	int rc = rules ? add_ids(rules, items, id, &bits, e) : err_set(e, ERR_NOMEM, "out of memory");

	splice_rules_free(&rules);
	return rc && rc != ERR_NOMEM ? ERR_INVALID : rc;
}

struct page *page_new(const struct page_options *o)
{
	struct page *g = calloc(1, sizeof(*g));
	struct err e;

	if (!g)
		return NULL;
	g->o = *o;
	g->rules = splice_rules_new();
	buf_init(&g->text, NULL, 0);
	buf_init(&g->held, NULL, 0);
	buf_init(&g->link, NULL, 0);
	if (!g->rules || add_places(g, &e)) {
		page_free(&g);
		return NULL;
	}
	g->walk.rules = g->rules;
	walk_value_next(&g->walk);
	return g;
}

void page_free(struct page **gp)
{
	struct page *g = *gp;

	*gp = NULL;
	if (!g)
		return;
	splice_rules_free(&g->rules);
	buf_fini(&g->text);
	buf_fini(&g->held);
	buf_fini(&g->link);
	free(g);
}

/* Which of these places the value that comes is at. */
static bool is_at(const struct page *g, uint32_t bits)
{
	return g->walk.depth <= SPLICE_DEPTH && (g->walk.value & g->rules->ends[g->walk.depth] & bits);
}

/* ---- sinks ------------------------------------------------------------------------------------------------------- */

static void release(struct page *g)
{
	struct span held = buf_span(&g->held);

	buf_add_span(g->out, held);
	g->out->failed |= g->held.failed;
	buf_fini(&g->held);
	g->comma_end = 0;
}

/* The element stays: what was held of it goes out, without its comma where nothing is before it any more. */
static void keep(struct page *g)
{
	if (g->first && g->gone)
		buf_consume(&g->held, g->comma_end);
	release(g);
	g->decided = g->kept = true;
	g->first = false;
	g->sink = PASS;
}

/* Bytes up to here go to the sink. */
static void emit(struct page *g, const char *to)
{
	struct span s = span_make(g->from, (size_t)(to - g->from));

	g->from = to;
	if (g->sink == PASS)
		buf_add_span(g->out, s);
	else if (g->sink == HOLD)
		buf_add_span(&g->held, s);
	if (g->sink != HOLD || (buf_len(&g->held) <= PAGE_ITEM_BYTES && !g->held.failed))
		return;
	if (g->in_element) {
		keep(g);
		return;
	}
	release(g); /* nothing but blanks: no list that can be edited */
	g->sink = PASS;
	g->array_depth = 0;
	g->kept = true;
}

/* Its id has shown; bytes before `at` are its. */
static void decide(struct page *g, struct span id, const char *at)
{
	if (!g->in_element || g->decided)
		return;
	emit(g, at);
	if (id.n <= sizeof(g->last)) {
		memcpy(g->last, id.p, id.n);
		g->last_n = id.n;
	}
	if (g->decided)
		return;
	if (!g->o.shown(g->o.ctx, id)) {
		keep(g);
		return;
	}
	buf_fini(&g->held);
	g->comma_end = 0;
	g->decided = g->gone = true;
	g->sink = DROP;
}

/* A value begins at `at`. */
static void begin_value(struct page *g, const char *at)
{
	if (!g->array_depth || g->walk.depth != g->array_depth || g->in_element)
		return;
	emit(g, at);
	g->in_element = g->array_depth > 0;
	g->decided = false;
}

/* One has ended, before `at`. */
static void end_value(struct page *g, const char *at)
{
	if (!g->in_element || g->walk.depth != g->array_depth)
		return;
	emit(g, at);
	if (!g->decided)
		keep(g);
	g->in_element = false;
	if (g->array_depth)
		g->sink = HOLD;
}

/* ---- the link ---------------------------------------------------------------------------------------------------- */

void page_add_link(struct span link, struct span member, struct buf *out)
{
	size_t hash = span_find(link, '#');
	struct span before = span_head(link, hash);
	bool query = span_find(before, '?') < before.n || memmem(before.p, before.n, "\\u003f", 6) ||
	             memmem(before.p, before.n, "\\u003F", 6);

	buf_add_span(out, before);
	buf_add_char(out, query ? '&' : '?');
	buf_add_span(out, member);
	buf_add_span(out, span_from(link, hash));
}

/* What it leads to; an escape in a long one is not worth its while. */
static void keep_link(struct page *g, struct span text)
{
	char room[SPLICE_ID_BYTES];
	size_t n = 0;

	if (!g->escaped)
		buf_add_span(&g->link, text);
	else if (splice_unescape(text, room, &n))
		buf_add(&g->link, room, n);
	g->out->failed |= g->link.failed;
}

/* The value at its place, which has ended before `at` and is in no sink. */
static void put_next(struct page *g, bool string, const char *at)
{
	struct span text = buf_span(&g->text);
	bool none = string ? !text.n : span_eq(text, SPAN("null"));

	g->from = at;
	g->next_done = true;
	g->next_there = !none;
	if (none && g->o.end.n) {
		buf_add_char(g->out, '"');
		buf_add_span(g->out, g->o.end);
		buf_add_char(g->out, '"');
		return;
	}
	if (string && !none)
		keep_link(g, text);
	if (string)
		buf_add_char(g->out, '"');
	if (string && !none && g->o.here.n)
		page_add_link(text, g->o.here, g->out);
	else
		buf_add_span(g->out, text);
	if (string)
		buf_add_char(g->out, '"');
}

static void add_name(struct buf *out, struct span name)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.p[i]);
	}
	buf_add_z(out, "\": ");
}

/* An object closes in which it ought to be and is not. */
static void insert_next(struct page *g, const char *at)
{
	size_t depth = g->walk.depth, steps = depth - 1;

	if (g->next_done || !g->o.end.n || !walk_in_object(&g->walk) || !(g->walk.alive[depth] & g->next) ||
	    steps >= g->name_count || g->sink != PASS)
		return;
	emit(g, at);
	if (g->has_members >> depth & 1)
		buf_add_z(g->out, ", ");
	for (size_t i = steps; i < g->name_count; i++) {
		if (i > steps)
			buf_add_char(g->out, '{');
		add_name(g->out, g->names[i]);
	}
	buf_add_char(g->out, '"');
	buf_add_span(g->out, g->o.end);
	buf_add_char(g->out, '"');
	for (size_t i = steps + 1; i < g->name_count; i++)
		buf_add_char(g->out, '}');
	g->next_done = true;
}

/* ---- strings and numbers ----------------------------------------------------------------------------------------- */

static size_t most_of(enum about about)
{
	return about == NEXT ? PAGE_NEXT_BYTES : 6 * SPLICE_ID_BYTES;
}

/* More of the text; one that is too long is none, and a link then goes out as it is. */
static void take_text(struct page *g, const char *p, const char *to)
{
	if (g->about == NOTHING || g->lost)
		return;
	buf_add(&g->text, p, (size_t)(to - p));
	if (buf_len(&g->text) <= most_of(g->about) && !g->text.failed)
		return;
	g->lost = true;
	g->out->failed |= g->text.failed;
	if (g->about != NEXT)
		return;
	g->next_done = g->next_there = true;
	if (g->mode == STRING)
		buf_add_char(g->out, '"');
	buf_add_span(g->out, buf_span(&g->text));
	g->from = to;
}

static void begin_text(struct page *g, enum mode mode, const char *at)
{
	buf_fini(&g->text);
	g->mode = mode;
	g->escape = g->escaped = g->lost = false;
	g->about = g->walk.key                       ? NAME
	           : is_at(g, g->ids)                ? ID
	           : is_at(g, g->next) && !g->next_done ? NEXT
	                                             : NOTHING;
	if (g->walk.key)
		g->has_members |= UINT32_C(1) << g->walk.depth;
	else
		begin_value(g, at);
	if (g->about != NEXT)
		return;
	emit(g, at);
	g->from = mode == STRING ? at + 1 : at;
}

/* It ends before `at`, the closing quote included. */
static void end_text(struct page *g, const char *at)
{
	bool string = g->mode == STRING, known = !g->lost;
	struct span text = buf_span(&g->text);
	char room[SPLICE_ID_BYTES];
	size_t n = 0;

	g->mode = BETWEEN;
	if (known && g->escaped && (g->about == NAME || g->about == ID)) {
		known = splice_unescape(text, room, &n);
		text = span_make(room, n);
	}
	if (g->about == NAME)
		walk_name_end(&g->walk, text, known);
	else if (g->about == ID && known && text.n)
		decide(g, text, at);
	else if (g->about == NEXT && !g->lost)
		put_next(g, string, at);
	if (g->about != NAME)
		end_value(g, at);
	g->about = NOTHING;
}

static const char *string(struct page *g, const char *p, const char *end)
{
	const char *from = p;

	for (; p < end; p++) {
		if (g->escape) {
			g->escape = false;
		} else if (*p == '\\') {
			g->escape = g->escaped = true;
		} else if (*p == '"') {
			take_text(g, from, p);
			end_text(g, p + 1);
			return p + 1;
		}
	}
	take_text(g, from, p);
	if (g->about == NEXT && !g->lost)
		g->from = p;
	return p;
}

static bool ends_scalar(char c)
{
	return (unsigned char)c <= ' ' || strchr("{}[]:,\"", c);
}

static const char *scalar(struct page *g, const char *p, const char *end)
{
	const char *from = p;

	while (p < end && !ends_scalar(*p))
		p++;
	take_text(g, from, p);
	if (g->about == NEXT && !g->lost)
		g->from = p;
	if (p < end)
		end_text(g, p);
	return p;
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static void open_bracket(struct page *g, bool object, const char *at)
{
	if (is_at(g, g->next))
		g->next_done = g->next_there = true; /* no link that is known */
	begin_value(g, at);
	walk_bracket_open(&g->walk, object);
	if (g->walk.depth <= SPLICE_DEPTH)
		g->has_members &= ~(UINT32_C(1) << g->walk.depth);
	if (object || g->array_depth || !is_at(g, g->items))
		return;
	emit(g, at + 1);
	g->array_depth = g->walk.depth;
	g->sink = HOLD;
	g->first = g->listed = true;
	g->gone = false;
}

static void close_bracket(struct page *g, bool object, const char *at)
{
	if (object)
		insert_next(g, at);
	if (g->array_depth && g->walk.depth == g->array_depth) {
		emit(g, at);
		if (g->sink == HOLD)
			release(g);
		g->sink = PASS;
		g->array_depth = 0;
		g->in_element = false;
	}
	walk_bracket_close(&g->walk);
	end_value(g, at + 1);
	if (!g->walk.depth)
		g->mode = OVER;
}

static void comma(struct page *g, const char *at)
{
	if (g->array_depth && g->walk.depth == g->array_depth && g->sink == HOLD) {
		emit(g, at);
		if (g->sink == HOLD)
			g->comma_end = buf_len(&g->held) + 1;
	}
	walk_value_next(&g->walk);
}

static const char *between(struct page *g, const char *p, const char *end)
{
	for (; p < end && g->mode == BETWEEN; p++) {
		switch (*p) {
		case '"':
			begin_text(g, STRING, p);
			break;
		case '{':
		case '[':
			open_bracket(g, *p == '{', p);
			break;
		case '}':
		case ']':
			close_bracket(g, *p == '}', p);
			break;
		case ',':
			comma(g, p);
			break;
		case ':':
			g->walk.key = false;
			break;
		default:
			if ((unsigned char)*p <= ' ')
				break;
			begin_text(g, SCALAR, p);
			return p;
		}
	}
	return p;
}

void page_feed(struct page *g, struct span in, struct buf *out)
{
	const char *p = in.p, *end = in.p + in.n;

	g->out = out;
	g->from = p;
	while (p < end && g->mode != OVER)
		p = g->mode == BETWEEN ? between(g, p, end) : g->mode == STRING ? string(g, p, end) : scalar(g, p, end);
	emit(g, end);
}

void page_end(struct page *g, struct buf *out)
{
	g->out = out;
	if (g->about == NEXT && !g->lost) { /* cut within the link */
		if (g->mode == STRING)
			buf_add_char(out, '"');
		buf_add_span(out, buf_span(&g->text));
	}
	if (g->sink == HOLD)
		release(g);
	g->mode = OVER;
}

bool page_shows(const struct page *g)
{
	return g->kept;
}

bool page_is_empty(const struct page *g)
{
	return g->listed && !g->kept && g->mode == OVER && !g->walk.depth;
}

bool page_has_next(const struct page *g)
{
	return g->next_there;
}

struct span page_next(const struct page *g)
{
	return buf_span(&g->link);
}

struct span page_last_id(const struct page *g)
{
	return span_make(g->last, g->last_n);
}
