/* Which id an answer shows (replication.md 1, 2.7 and 6).  An id that is none makes a resource that is nowhere, so where
 * two readings are possible it is none: the answer is then no create, and says that it was not replicated. */
#include "replication/rules_int.h"

#include "base/percent.h"

struct shown {
	struct arena *arena;
	const struct rule_match *match;
	const struct rules_answer *answer;
	struct span path, canonical; /* without slashes at their end */
	struct rule_location location;
	bool below;                  /* location is right below path */
	struct rule_scan scan;
	struct rules_id *id;
};

static bool repeats(struct span path, struct span id)
{
	struct span s;

	while (rule_take_segment(&path, &s))
		if (rule_segment_eq(s, id))
			return true;
	return false;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static enum rules_shown one(struct shown *s, struct span id, struct span collection, const struct rule_found *found)
{
	if (!rule_is_id(id) || !collection.n || collection.p[0] != '/')
		return RULES_NONE;
	s->id->id = id;
	s->id->collection = collection;
	if (found) {
		s->id->place = found->place;
		s->id->number = found->number;
	}
	return RULES_ONE;
}

static enum rules_shown one_found(struct shown *s, const struct rule_found *found)
{
	return one(s, found->id, s->canonical, found);
}

static enum rules_shown one_below(struct shown *s)
{
	return one(s, s->location.id, s->canonical, rule_scan_has(&s->scan, s->location.id));
}

/* What is not right below: its collection is another one, canonical as far as the request's path goes. */
static enum rules_shown one_elsewhere(struct shown *s, const struct rule_found *found)
{
	struct span collection = s->location.before, behind = span_from(collection, s->path.n);

	if (span_starts(collection, s->path) && behind.n && behind.p[0] == '/') {
		collection = span_of(arena_printf(s->arena, "%.*s%.*s", SPAN_ARG(s->canonical), SPAN_ARG(behind)));
		if (!collection.p)
			return RULES_NONE;
	}
	return one(s, s->location.id, collection, found);
}

/* Of a list: the only one there is, or word that there are several. */
static enum rules_shown one_listed(struct shown *s)
{
	if (s->scan.count[RULE_FOUND_ELEMENT] == 1)
		return one_found(s, &s->scan.found[RULE_FOUND_ELEMENT][0]);
	return s->scan.count[RULE_FOUND_ELEMENT] > 1 || s->scan.count[RULE_FOUND_LISTED] > 1 ? RULES_SEVERAL : RULES_NONE;
}

/* ---- declared collections ---------------------------------------------------------------------------------------- */

/* 202: is what the place has the resource, or the task that Location names? */
static bool is_task(const struct shown *s, struct span id)
{
	return s->answer->status == 202 && s->location.id.n && s->below != span_eq(s->location.id, id);
}

static enum rules_shown of_place(struct shown *s)
{
	const struct rule_found *top = s->scan.found[RULE_FOUND_TOP];
	enum rules_shown listed;

	if (s->scan.count[RULE_FOUND_TOP])
		return s->scan.count[RULE_FOUND_TOP] > 1 ? RULES_SEVERAL
		       : is_task(s, top->id) ? RULES_NONE : one_found(s, top);
	listed = one_listed(s);
	if (listed == RULES_ONE && is_task(s, s->id->id)) {
		*s->id = (struct rules_id){ .id = SPAN("") };
		return RULES_NONE;
	}
	if (listed == RULES_ONE || !s->below || s->answer->status == 202)
		return listed;
	return one(s, s->location.id, s->canonical, NULL);
}

static enum rules_shown of_location(struct shown *s)
{
	struct span whole = span_trim(s->answer->location);

	if (s->below)
		return one_below(s);
	if (s->answer->status == 202)
		return RULES_NONE;
	s->id->opaque = one(s, whole, s->canonical, NULL) == RULES_ONE;
	return s->id->opaque ? RULES_ONE : RULES_NONE;
}

/* ---- others ------------------------------------------------------------------------------------------------------ */

/* What the document has, where Location says nothing.  known: the collection makes resources; then an id that is also
 * the parent's is a coincidence of small numbers. */
static enum rules_shown of_document(struct shown *s, bool known)
{
	const struct rule_found *found = NULL;

	for (int at = RULE_FOUND_TOP; at <= RULE_FOUND_WITHIN && !found; at++) {
		for (size_t i = 0; known && i < s->scan.count[at]; i++)
			if (span_eq(s->scan.found[at][i].place, s->match->rule->id_place))
				found = &s->scan.found[at][i];
		if (!found && s->scan.count[at] > 1)
			return RULES_NONE;
		if (!found && s->scan.count[at] == 1)
			found = s->scan.found[at];
	}
	if (!found)
		return one_listed(s);
	return !known && repeats(s->path, found->id) ? RULES_NONE : one_found(s, found);
}

static bool has_digit(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= '0' && s.p[i] <= '9')
			return true;
	return false;
}

static enum rules_shown of_other(struct shown *s, bool known)
{
	const struct rule_found *agreeing = s->location.id.n ? rule_scan_has(&s->scan, s->location.id) : NULL;
	unsigned status = s->answer->status;

	if (status == 303)
		return s->below && (known || has_digit(s->location.id)) ? one_below(s) : RULES_NONE;
	if (s->below && (status == 201 || agreeing))
		return one_below(s);
	if (status == 207)
		return s->scan.count[RULE_FOUND_ELEMENT] > 1 || s->scan.count[RULE_FOUND_LISTED] > 1 ? RULES_SEVERAL
		                                                                                     : RULES_NONE;
	if (status != 201)
		return RULES_NONE;
	if (!s->location.id.n)
		return of_document(s, known);
	return agreeing && !repeats(s->path, s->location.id) ? one_elsewhere(s, agreeing) : RULES_NONE;
}

static enum rules_shown of_post(struct shown *s)
{
	const struct rule *rule = s->match->id.n ? NULL : s->match->rule;
	bool declared = rule && (!rule->learned || rule->pinned);
	struct span place = declared ? rule->id_place : SPAN("");

	if (s->answer->status / 100 != 2 && s->answer->status != 303)
		return RULES_NONE;
	rule_location_read(s->arena, s->answer->location, s->answer->path, &s->location);
	s->below = rule_location_is_below(&s->location, s->path);
	rule_scan(&s->scan, s->arena, place, s->answer->content_type, s->answer->body);
	if (s->scan.nomem)
		return RULES_UNREAD;
	if (!declared)
		return of_other(s, rule != NULL);
	return place.n ? of_place(s) : of_location(s);
}

/* The client chose the name: the same at every site, so it is taken from the canonical path. */
static enum rules_shown of_put(struct shown *s)
{
	const struct rule_match *m = s->match;
	const struct rule_found *found;
	struct span path = s->canonical, id;
	size_t at = path.n;

	if ((s->answer->status != 201 && s->answer->status != 202) || (m->rule ? !m->id.n : m->id.n) ||
	    rule_trim_slash(m->rest).n)
		return RULES_NONE;
	while (at && path.p[at - 1] != '/')
		at--;
	if (!at || !percent_decode(s->arena, span_from(path, at), &id))
		return RULES_NONE;
	rule_scan(&s->scan, s->arena, SPAN(""), s->answer->content_type, s->answer->body);
	found = rule_scan_has(&s->scan, id);
	if (s->scan.nomem)
		return RULES_UNREAD;
	if (s->answer->status == 202 && !found)
		return RULES_NONE;
	return one(s, id, span_head(path, at - 1), found);
}

enum rules_shown rules_new_id(struct arena *arena, const struct rule_match *match, const struct rules_answer *answer,
                              struct rules_id *id_r)
{
	struct shown s = { .arena = arena, .match = match, .answer = answer, .id = id_r };
	enum rules_shown shown = RULES_NONE;
	bool before = arena->nomem;

	arena->nomem = false;
	*id_r = (struct rules_id){ .id = SPAN(""), .collection = SPAN(""), .place = SPAN("") };
	s.path = rule_trim_slash(answer->path);
	s.canonical = answer->canonical.n ? rule_trim_slash(answer->canonical) : s.path;
	if (span_eq(answer->method, SPAN("POST")))
		shown = of_post(&s);
	else if (span_eq(answer->method, SPAN("PUT")))
		shown = of_put(&s);
	if (arena->nomem)
		shown = RULES_UNREAD;
	arena->nomem |= before;
	return shown;
}
