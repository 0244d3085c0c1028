/* `find` (replication.md 8, 9): whether a create whose outcome is not known was executed.  The application is asked for
 * what has the values that the request had; what is decided from a listing of everything would be a guess, so a template
 * without a place of the request is refused, and so is a hit that shows another value there. */
#include "replication/rules_int.h"

#include <string.h>

#include "base/percent.h"
#include "replication/member.h"

/* What is between braces, off the rest; empty: none is left.  literal_r: what stands before it. */
static bool take_place(struct span *rest, struct span *literal_r, struct span *place_r)
{
	size_t open = span_find(*rest, '{');
	struct span behind = span_from(*rest, open + 1);
	size_t close = span_find(behind, '}');

	*literal_r = span_head(*rest, open);
	*place_r = span_head(behind, close);
	if (open < rest->n && close == behind.n)
		return false;
	*rest = span_from(behind, close + 1);
	return true;
}

int rule_check_find(struct span text, struct err *e)
{
	struct span rest = text, literal, place;
	struct err why = { 0, "" };
	size_t places = 0;

	if (!text.n || text.p[0] != '/')
		return err_set(e, ERR_INVALID, "\"%.*s\" is no path; expected e.g. /notes?uid={$.uid}", SPAN_ARG(text));
	while (rest.n) {
		if (!take_place(&rest, &literal, &place))
			return err_set(e, ERR_INVALID, "\"%.*s\": a brace is not closed", SPAN_ARG(text));
		for (size_t i = 0; i < literal.n; i++)
			if (literal.p[i] <= ' ' || literal.p[i] == 127 || strchr("#\"<>\\^`}|", literal.p[i]))
				return err_set(e, ERR_INVALID, "\"%.*s\" is no path and query", SPAN_ARG(text));
		if (!place.n || span_eq(place, SPAN("id")))
			continue;
		if (member_check_place(place, &why))
			return err_set(e, ERR_INVALID, "%s", why.text);
		places++;
	}
	if (!places)
		return err_set(e, ERR_INVALID, "\"%.*s\" takes nothing from the request; expected e.g. /notes?uid={$.uid}",
		               SPAN_ARG(text));
	return 0;
}

/* The segment of the path where the collection has its next {id}; both go on behind it. */
static bool next_parent(struct span *pattern, struct span *path, struct span *id_r)
{
	struct span segment;

	while (rule_take_segment(pattern, &segment) && rule_take_segment(path, id_r))
		if (span_eq(segment, SPAN("{id}")))
			return true;
	return false;
}

static bool text_at(struct arena *arena, struct span doc, struct span place, struct span *text_r)
{
	struct span raw;

	return member_find(doc, place, &raw) && member_text(arena, raw, text_r);
}

bool rule_find_target(struct arena *arena, const struct rule *rule, struct span path, struct span body, struct buf *out)
{
	struct span rest = rule->find, pattern = rule->collection, literal, place, value;

	while (rest.n && take_place(&rest, &literal, &place)) {
		buf_add_span(out, literal);
		if (!place.n)
			continue;
		if (span_eq(place, SPAN("id"))) {
			if (!next_parent(&pattern, &path, &value))
				return false;
			buf_add_span(out, value);
		} else {
			if (!text_at(arena, body, place, &value) || !value.n)
				return false;
			percent_encode(value, "-._~", out);
		}
	}
	return !out->failed;
}

/* An application that does not know the query lists whatever there is. */
static bool is_another(struct arena *arena, const struct rule *rule, struct span body, struct span element)
{
	struct span rest = rule->find, literal, place, here, there;

	while (rest.n && take_place(&rest, &literal, &place))
		if (place.n && !span_eq(place, SPAN("id")) && text_at(arena, element, place, &there) &&
		    (!text_at(arena, body, place, &here) || !span_eq(here, there)))
			return true;
	return false;
}

/* Where the element has its id: at the place, or where that is within an object ("$.server.id"), at the end of it. */
static bool id_of(struct arena *arena, const struct rule *rule, struct span element, struct span *id_r)
{
	size_t dot = rule->id_place.n;
	const char *last;

	if (!dot)
		return false;
	if (text_at(arena, element, rule->id_place, id_r))
		return true;
	while (dot && rule->id_place.p[dot - 1] != '.')
		dot--;
	if (dot < 3)
		return false;
	last = arena_printf(arena, "$.%.*s", SPAN_ARG(span_from(rule->id_place, dot)));
	return last && text_at(arena, element, span_of(last), id_r);
}

enum rule_find rule_find_judge(struct arena *arena, const struct rule *rule, struct span body, struct span content,
                               struct span *element_r, struct span *id_r)
{
	size_t count;

	if (!member_list(content, element_r, &count) || count > 1)
		return RULE_FIND_UNCLEAR;
	if (!count)
		return RULE_FIND_NONE;
	if (is_another(arena, rule, body, *element_r) || !id_of(arena, rule, *element_r, id_r) || !rule_is_id(*id_r))
		return RULE_FIND_UNCLEAR;
	return RULE_FIND_ONE;
}
