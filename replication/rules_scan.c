/* Ids in the JSON of an answer.  The splicer finds them, as it finds those that it exchanges: it takes any JSON that
 * applications write (long integers, doubled members, several documents), reads it once, and holds no more than
 * SPLICE_BYTES whatever comes.  Here its output, the same bytes again, is thrown away. */
#include "replication/rules_int.h"

#include <stdio.h>

#include "replication/splice.h"

#define PIECE (16u << 10)
#define PLACES_MOST 12

struct looked {
	struct rule_scan *scan;
	struct { enum rule_found_at at; struct span place; } places[PLACES_MOST];
	unsigned count;
};

static bool is_integer(struct span s)
{
	size_t i = s.n && s.p[0] == '-';

	if (i == s.n)
		return false;
	for (; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static void keep(struct rule_scan *scan, enum rule_found_at at, const struct rule_found *found)
{
	size_t *n = &scan->count[at];

	for (size_t i = 0; i < *n; i++)
		if (span_eq(scan->found[at][i].id, found->id))
			return;
	if (*n == RULE_FOUND_MOST)
		return;
	scan->found[at][*n] = *found;
	scan->found[at][*n].id = arena_dup(scan->arena, found->id);
	scan->nomem |= !scan->found[at][*n].id.p;
	*n += scan->found[at][*n].id.p != NULL;
}

static bool on_id(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	const struct looked *l = ctx;

	(void)new_r;
	if (id->where == SPLICE_PLACE && (!id->number || is_integer(id->text)) && rule_is_id(id->text)) {
		struct rule_found found = { id->text, l->places[id->rule].place, id->number };

		keep(l->scan, l->places[id->rule].at, &found);
	}
	return false;
}

/* The place behind this beginning, "$[*]" for "$". */
static int add_place(struct looked *l, struct splice_rules *rules, enum rule_found_at at, struct span place)
{
	static const char *const before[] = {
		[RULE_FOUND_TOP] = "$",
		[RULE_FOUND_WITHIN] = "$.*",
		[RULE_FOUND_ELEMENT] = "$[*]",
		[RULE_FOUND_LISTED] = "$.*[*]",
	};
	const char *text = arena_printf(l->scan->arena, "%s%.*s", before[at], SPAN_ARG(span_from(place, 1)));

	if (!text)
		return ERR_NOMEM;
	l->places[l->count].at = at;
	l->places[l->count].place = span_of(text);
	return splice_rules_add_place(rules, span_of(text), SPLICE_SINGLE, l->count++, NULL);
}

static int add_places(struct looked *l, struct splice_rules *rules, struct span place)
{
	static const char *const usual[] = { "$.id", "$.uuid", "$._id" };
	int rc = 0;

	for (int at = 0; at < RULE_FOUND_ && !rc; at++) {
		if (place.n && at != RULE_FOUND_WITHIN)
			rc = add_place(l, rules, (enum rule_found_at)at, place);
		for (size_t i = 0; !place.n && i < sizeof(usual) / sizeof(usual[0]) && !rc; i++)
			rc = add_place(l, rules, (enum rule_found_at)at, span_of(usual[i]));
	}
	return rc;
}

/* What is cut may be cut within an id: then the end is not said, and the last one not seen. */
static bool run(struct splice *s, struct span body)
{
	bool whole = body.n < RULES_BODY_BYTES;
	struct buf out;
	bool good = true;

	buf_init(&out, NULL, 0);
	body = span_head(body, RULES_BODY_BYTES);
	for (struct span piece; body.n && good; body = span_from(body, piece.n)) {
		piece = span_head(body, PIECE);
		piece.n = splice_feed(s, piece, 0, &out);
		buf_consume(&out, buf_len(&out));
		good = !out.failed;
	}
	if (whole && good)
		splice_end(s, &out);
	buf_fini(&out);
	return good;
}

static bool may_be_json(struct span content_type, struct span body)
{
	return content_type.n ? splice_body_of(content_type) == SPLICE_JSON
	                      : body.n && (body.p[0] == '{' || body.p[0] == '[');
}

void rule_scan(struct rule_scan *scan, struct arena *arena, struct span place, struct span content_type,
               struct span body)
{
	struct looked looked = { .scan = scan };
	struct splice_rules *rules;
	struct splice *s = NULL;

	*scan = (struct rule_scan){ .arena = arena };
	if (!may_be_json(content_type, body))
		return;
	rules = splice_rules_new();
	if (rules && !add_places(&looked, rules, place))
		s = splice_new(SPLICE_JSON, rules, on_id, &looked);
	scan->nomem = !s || !run(s, body);
	splice_free(&s);
	splice_rules_free(&rules);
}

const struct rule_found *rule_scan_has(const struct rule_scan *scan, struct span id)
{
	for (int at = RULE_FOUND_TOP; at <= RULE_FOUND_WITHIN; at++)
		for (size_t i = 0; i < scan->count[at]; i++)
			if (span_eq(scan->found[at][i].id, id))
				return &scan->found[at][i];
	return NULL;
}
