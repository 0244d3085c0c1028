/* The set of a service's rules: made whole, never changed, freed with its last user.
 *
 * A look-up goes through all of them, at most RULES_DECLARED_MOST + RULES_LEARNED_MOST; nearly all differ from a path in
 * their first segment or two. */
#include "replication/rules_int.h"

#include <stdatomic.h>
#include <stdlib.h>

struct rules {
	_Atomic int refs;
	struct arena arena;
	struct rule *rules;
	size_t count, declared;
};

/* ---- making ------------------------------------------------------------------------------------------------------ */

static bool keep(struct arena *a, struct span *s)
{
	*s = arena_dup(a, s->p ? *s : SPAN(""));
	return s->p != NULL;
}

static bool keep_operations(struct arena *a, struct rule *r)
{
	const struct rule_operation *from = r->operations;

	r->operations = r->operation_count ? arena_alloc(a, r->operation_count * sizeof(*from)) : NULL;
	if (r->operation_count && !r->operations)
		return false;
	for (size_t i = 0; i < r->operation_count; i++) {
		struct rule_request *m = &r->operations[i].match;

		r->operations[i] = from[i];
		if (!keep(a, &m->text) || !keep(a, &m->method) || !keep(a, &m->path))
			return false;
	}
	return true;
}

static bool keep_places(struct arena *a, struct span **places, size_t count)
{
	const struct span *from = *places;

	*places = count ? arena_alloc(a, count * sizeof(*from)) : NULL;
	if (count && !*places)
		return false;
	for (size_t i = 0; i < count; i++) {
		(*places)[i] = from[i];
		if (!keep(a, &(*places)[i]))
			return false;
	}
	return true;
}

static bool keep_rule(struct arena *a, const struct rule *from, struct rule *r)
{
	*r = *from;
	return keep(a, &r->collection) && keep(a, &r->id_place) && keep(a, &r->assign) && keep(a, &r->find) && keep_operations(a, r) &&
	       keep_places(a, &r->volatile_, r->volatile_count) && keep_places(a, &r->echo, r->echo_count) &&
	       keep(a, &r->ready.path) && keep_places(a, &r->ready.ok, r->ready.ok_count) &&
	       keep_places(a, &r->ready.failed, r->ready.failed_count) && keep(a, &r->list.items) && keep(a, &r->list.next) &&
	       keep(a, &r->list.marker);
}

/* Room for so many. */
static struct rules *rules_alloc(size_t count)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	if (!rules)
		return NULL;
	atomic_init(&rules->refs, 1);
	arena_init(&rules->arena, NULL, 0, 0);
	rules->rules = arena_alloc(&rules->arena, (count + 1) * sizeof(struct rule));
	if (!rules->rules)
		rules_unref(&rules);
	return rules;
}

static bool append(struct rules *rules, const struct rule *rule)
{
	return keep_rule(&rules->arena, rule, &rules->rules[rules->count++]);
}

int rules_new(const struct rule *declared, size_t count, struct rules **rules_r)
{
	struct rules *rules = rules_alloc(count);
	bool good = rules != NULL;

	*rules_r = NULL;
	if (count > RULES_DECLARED_MOST) {
		rules_unref(&rules);
		return ERR_LIMIT;
	}
	for (size_t i = 0; good && i < count; i++) {
		good = append(rules, &declared[i]);
		rules->rules[i].learned = rules->rules[i].pinned = false;
	}
	if (!good) {
		rules_unref(&rules);
		return ERR_NOMEM;
	}
	rules->declared = count;
	*rules_r = rules;
	return 0;
}

static size_t find(const struct rules *rules, struct span collection)
{
	size_t i = 0;

	while (i < rules->count && !span_eq(rules->rules[i].collection, collection))
		i++;
	return i;
}

int rules_add_learned(const struct rules *rules, const struct rule *learned, struct rules **rules_r)
{
	size_t at = find(rules, learned->collection);
	struct rules *more;
	bool good;

	*rules_r = NULL;
	if (at < rules->declared)
		return ERR_EXISTS;
	if (at == rules->count && rules->count - rules->declared >= RULES_LEARNED_MOST)
		return ERR_LIMIT;
	more = rules_alloc(rules->count + 1);
	good = more != NULL;
	for (size_t i = 0; good && i < rules->count; i++)
		good = append(more, i == at ? learned : &rules->rules[i]);
	if (good && at == rules->count)
		good = append(more, learned);
	if (!good) {
		rules_unref(&more);
		return ERR_NOMEM;
	}
	more->rules[at].learned = true;
	more->declared = rules->declared;
	*rules_r = more;
	return 0;
}

int rules_join(const struct rules *rules, const struct rules *learned, struct rules **rules_r)
{
	struct rules *more = rules_alloc(rules->count + learned->count);
	bool good = more != NULL;

	*rules_r = NULL;
	for (size_t i = 0; good && i < rules->count; i++)
		good = append(more, &rules->rules[i]);
	for (size_t i = learned->declared; good && i < learned->count; i++)
		if (find(rules, learned->rules[i].collection) == rules->count)
			good = append(more, &learned->rules[i]);
	if (!good) {
		rules_unref(&more);
		return ERR_NOMEM;
	}
	more->declared = rules->declared;
	*rules_r = more;
	return 0;
}

const struct rule *rules_find(const struct rules *rules, struct span collection)
{
	return rules_get(rules, find(rules, collection));
}

struct rules *rules_ref(struct rules *rules)
{
	atomic_fetch_add_explicit(&rules->refs, 1, memory_order_relaxed);
	return rules;
}

void rules_unref(struct rules **rulesp)
{
	struct rules *rules = *rulesp;

	*rulesp = NULL;
	if (!rules || atomic_fetch_sub_explicit(&rules->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_fini(&rules->arena);
	free(rules);
}

size_t rules_count(const struct rules *rules)
{
	return rules->count;
}

const struct rule *rules_get(const struct rules *rules, size_t i)
{
	return i < rules->count ? &rules->rules[i] : NULL;
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

/* Of two patterns of as many segments: whether a is literal where they first differ. */
static bool is_more_literal(struct span a, struct span b)
{
	struct span s, t;

	while (rule_take_segment(&a, &s) && rule_take_segment(&b, &t))
		if (span_eq(s, SPAN("{id}")) != span_eq(t, SPAN("{id}")))
			return span_eq(t, SPAN("{id}"));
	return false;
}

/* What is behind the collection; false when it cannot be an id. */
static bool split(struct span path, size_t used, struct rule_match *m)
{
	struct span rest = span_from(path, used), id = SPAN("");

	m->collection = span_head(path, used);
	m->rest = rest;
	m->id = span_make(rest.p, 0);
	if (!rule_take_segment(&rest, &id))
		return true;
	if (!id.n)
		return !rest.n;
	m->id = id;
	m->rest = rest;
	return !rule_segment_is_dots(id);
}

bool rules_match(const struct rules *rules, struct span path, struct rule_match *match_r)
{
	size_t most = 0;

	*match_r = (struct rule_match){ NULL, SPAN(""), SPAN(""), SPAN("") };
	for (size_t i = 0; rules && i < rules->count; i++) {
		const struct rule *r = &rules->rules[i];
		struct rule_match m = { .rule = r };
		size_t used, segments;

		if (!rule_pattern_fits(r->collection, path, &used) || !split(path, used, &m))
			continue;
		segments = rule_count_segments(r->collection);
		if (segments > most ||
		    (segments == most && is_more_literal(r->collection, match_r->rule->collection))) {
			*match_r = m;
			most = segments;
		}
	}
	return match_r->rule != NULL;
}
