/* Where short ids are: places of JSON documents, paths of collections, query members. */
#include "replication/splice_int.h"

#include <stdlib.h>

struct splice_rules *splice_rules_new(void)
{
	struct splice_rules *rules = calloc(1, sizeof(*rules));

	if (rules)
		arena_init(&rules->arena, NULL, 0, 0);
	return rules;
}

void splice_rules_free(struct splice_rules **rules)
{
	if (!*rules)
		return;
	arena_fini(&(*rules)->arena);
	free(*rules);
	*rules = NULL;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

enum step_kind { STEP_NAMED, STEP_ANY_MEMBER, STEP_ANY_INDEX };

struct steps {
	size_t count;
	enum step_kind kind[SPLICE_DEPTH];
	struct span name[SPLICE_DEPTH];
};

/* Takes ".name", ".*", "[*]" or "['name']" off the rest. */
static bool take_step(struct span *rest, enum step_kind *kind_r, struct span *name_r)
{
	size_t n = 1;

	*name_r = SPAN("");
	if (span_starts(*rest, SPAN("[*]"))) {
		*kind_r = STEP_ANY_INDEX;
		*rest = span_from(*rest, 3);
		return true;
	}
	*kind_r = STEP_NAMED;
	if (span_starts(*rest, SPAN("['")) || span_starts(*rest, SPAN("[\""))) {
		*name_r = span_head(span_from(*rest, 2), span_find(span_from(*rest, 2), rest->p[1]));
		n = name_r->n + 4;
		if (!name_r->n || n > rest->n || rest->p[n - 1] != ']')
			return false;
	} else if (rest->p[0] == '.') {
		while (n < rest->n && rest->p[n] != '.' && rest->p[n] != '[')
			n++;
		*name_r = span_make(rest->p + 1, n - 1);
		if (span_eq(*name_r, SPAN("*")))
			*kind_r = STEP_ANY_MEMBER;
	}
	*rest = span_from(*rest, n);
	return name_r->n > 0;
}

static int read_steps(struct span place, struct steps *steps, struct err *e)
{
	struct span rest = span_from(place, 1);

	if (place.n < 2 || place.p[0] != '$')
		return err_set(e, ERR_SYNTAX, "\"%.*s\" is no place: expected something like $.id", SPAN_ARG(place));
	while (rest.n) {
		if (steps->count == SPLICE_DEPTH)
			return err_set(e, ERR_LIMIT, "\"%.*s\" has more than %d steps", SPAN_ARG(place), SPLICE_DEPTH);
		if (!take_step(&rest, &steps->kind[steps->count], &steps->name[steps->count]))
			return err_set(e, ERR_SYNTAX, "\"%.*s\" is no place: expected .name, ['name'], .* or [*]",
			               SPAN_ARG(place));
		steps->count++;
	}
	return 0;
}

int splice_place_members(struct span place, struct span names[SPLICE_DEPTH], size_t *count_r, struct err *e)
{
	struct steps steps = { .count = 0 };
	int rc = read_steps(place, &steps, e);

	*count_r = 0;
	for (size_t i = 0; !rc && i < steps.count; i++) {
		if (steps.kind[i] != STEP_NAMED)
			return err_set(e, ERR_SYNTAX, "\"%.*s\" means more than one member; expected something like $.id",
			               SPAN_ARG(place));
		names[i] = steps.name[i];
	}
	*count_r = steps.count;
	return rc;
}

static int add_steps(struct splice_rules *rules, const struct steps *steps, unsigned rule, struct err *e)
{
	struct splice_place *p = &rules->places[rules->place_count];
	uint32_t bit = UINT32_C(1) << (rules->place_count & 31);

	if (rules->place_count == SPLICE_PLACES)
		return err_set(e, ERR_LIMIT, "more than %d places of identifiers", SPLICE_PLACES);
	p->names = 0;
	for (size_t i = 0; i < steps->count; i++) {
		if (steps->kind[i] == STEP_NAMED) {
			p->step[i] = arena_dup(&rules->arena, steps->name[i]);
			if (!p->step[i].p)
				return err_set(e, ERR_NOMEM, "out of memory");
			p->names++;
		}
	}
	for (size_t i = 0; i < steps->count; i++) {
		uint32_t *of[] = { rules->named, rules->any_member, rules->any_index };

		of[steps->kind[i]][i] |= bit;
	}
	rules->ends[steps->count] |= bit;
	rules->all |= bit;
	p->rule = rule;
	rules->place_count++;
	return 0;
}

int splice_rules_add_place(struct splice_rules *rules, struct span place, enum splice_answer answer, unsigned rule,
                           struct err *e)
{
	struct steps steps = { .count = 0 }, listed = { .count = 2, .kind = { STEP_ANY_MEMBER, STEP_ANY_INDEX } };
	int rc = read_steps(place, &steps, e);

	if (!rc)
		rc = add_steps(rules, &steps, rule, e);
	if (rc || answer == SPLICE_SINGLE)
		return rc;
	if (steps.count + 2 > SPLICE_DEPTH)
		return err_set(e, ERR_LIMIT, "\"%.*s\" has more than %d steps", SPAN_ARG(place), SPLICE_DEPTH - 2);
	for (size_t i = 0; i < steps.count; i++, listed.count++) {
		listed.kind[listed.count] = steps.kind[i];
		listed.name[listed.count] = steps.name[i];
	}
	rc = add_steps(rules, &listed, rule, e);
	if (rc)
		return rc;
	for (size_t i = 1; i < listed.count; i++) { /* without the member: the document is the array */
		listed.kind[i - 1] = listed.kind[i];
		listed.name[i - 1] = listed.name[i];
	}
	listed.count--;
	return add_steps(rules, &listed, rule, e);
}

/* ---- paths and query members ------------------------------------------------------------------------------------- */

static int add_trail(struct splice_rules *rules, struct span text, bool query, unsigned rule, struct err *e)
{
	struct splice_trail *t = &rules->trails[rules->trail_count];

	if (rules->trail_count == SPLICE_TRAILS)
		return err_set(e, ERR_LIMIT, "more than %d paths of collections", SPLICE_TRAILS);
	if (text.n > SPLICE_TRAIL_BYTES / 2)
		return err_set(e, ERR_LIMIT, "\"%.*s\" is longer than %d bytes", SPAN_ARG(text), SPLICE_TRAIL_BYTES / 2);
	*t = (struct splice_trail){ arena_dup(&rules->arena, text), query, rule };
	if (!t->text.p)
		return err_set(e, ERR_NOMEM, "out of memory");
	rules->trail_count++;
	return 0;
}

/* Whole segments only may stand for any: "{id}". */
static bool is_collection(struct span path)
{
	struct span rest = span_from(path, 1), segment;

	if (path.n < 2 || path.p[0] != '/')
		return false;
	while (span_split(&rest, '/', &segment)) {
		bool braces = segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
		struct span inner = braces ? span_make(segment.p + 1, segment.n - 2) : segment;

		if (!inner.n || span_find(inner, '{') < inner.n || span_find(inner, '}') < inner.n ||
		    span_find(inner, '?') < inner.n)
			return false;
	}
	return true;
}

int splice_rules_add_path(struct splice_rules *rules, struct span collection, unsigned rule, struct err *e)
{
	if (collection.n > 1 && collection.p[collection.n - 1] == '/')
		collection.n--;
	if (!is_collection(collection))
		return err_set(e, ERR_SYNTAX, "\"%.*s\" is no path of a collection: expected something like /notes or "
		               "/notes/{id}/items", SPAN_ARG(collection));
	return add_trail(rules, collection, false, rule, e);
}

int splice_rules_add_query(struct splice_rules *rules, struct span name, unsigned rule, struct err *e)
{
	if (!name.n)
		return err_set(e, ERR_SYNTAX, "a query member without a name");
	return add_trail(rules, name, true, rule, e);
}

/* From the ends of both; "{id}" stands for a segment that is not empty. */
static bool ends_with_path(struct span s, struct span path)
{
	size_t i = s.n, k = path.n;

	if (!i || s.p[--i] != '/')
		return false;
	while (k) {
		if (path.p[k - 1] == '}') {
			size_t from = i;

			while (path.p[--k] != '{')
				;
			while (i && s.p[i - 1] != '/')
				i--;
			if (i == from)
				return false;
		} else if (!i-- || s.p[i] != path.p[--k]) {
			return false;
		}
	}
	return true;
}

static bool ends_with_member(struct span s, struct span name)
{
	struct span tail;

	if (s.n < name.n + 2 || s.p[s.n - 1] != '=')
		return false;
	tail = span_from(s, s.n - name.n - 2);
	return strchr("?&;", tail.p[0]) && tail.p[0] && span_eq(span_make(tail.p + 1, name.n), name);
}

const struct splice_trail *splice_trail_find(const struct splice_rules *rules, struct span before)
{
	const struct splice_trail *best = NULL;

	for (size_t i = 0; i < rules->trail_count; i++) {
		const struct splice_trail *t = &rules->trails[i];

		if ((!best || t->text.n > best->text.n) &&
		    (t->query ? ends_with_member(before, t->text) : ends_with_path(before, t->text)))
			best = t;
	}
	return best;
}
