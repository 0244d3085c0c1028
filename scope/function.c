/* The functions of the language: one table entry and one expansion each. */
#include "scope/scope_int.h"

#include <stdlib.h>

/* Sites with what they are put in order by: `;` takes the nearest first. */
struct candidate {
	size_t index;
	int64_t us;
	unsigned rank; /* 0 measured, 1 unmeasured, 2 disconnected or failed */
};

static size_t site_count(const struct scope_lookup *l)
{
	return l && l->site_count && l->site_name ? l->site_count(l->ctx) : 0;
}

static enum scope_site_state site_state(const struct scope_lookup *l, size_t i)
{
	return l->state ? l->state(l->ctx, i) : SCOPE_SITE_ALIVE;
}

static bool rtt(const struct scope_lookup *l, size_t from, size_t to, int64_t *us_r)
{
	*us_r = 0;
	if (from == to)
		return true;
	return from != SCOPE_SITE_UNNUMBERED && l->rtt_us && l->rtt_us(l->ctx, from, to, us_r);
}

static int compare(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->us != b->us)
		return a->us < b->us ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static bool label_holds(const struct scope_lookup *l, size_t i, const struct scope_label *label)
{
	struct span value;
	bool has = l->label_get && l->label_get(l->ctx, i, label->key, &value);

	return (has && span_eq(value, label->value)) != label->differs;
}

static bool labels_hold(const struct scope_lookup *l, size_t i, const struct scope_label *label)
{
	for (; label; label = label->next)
		if (!label_holds(l, i, label))
			return false;
	return true;
}

/* Sites with all labels but the fenced ones, in the registry's order. */
static int candidates_by_label(struct expand *x, const struct scope_location *node,
			       struct candidate **list_r, size_t *count_r)
{
	size_t sites = site_count(x->lookup), n = 0, local;
	struct candidate *list = arena_alloc(x->arena, sites * sizeof(*list));

	if (!list)
		return error_nomem(x->err);
	if (sites)
		lookup_site(x->lookup, x->lookup->local, &local);
	for (size_t i = 0; i < sites; i++) {
		enum scope_site_state state = site_state(x->lookup, i);
		struct candidate *c = &list[n];

		if (state == SCOPE_SITE_FENCED || !labels_hold(x->lookup, i, node->labels))
			continue;
		c->index = i;
		c->rank = rtt(x->lookup, local, i, &c->us) ? 0 : 1;
		if (c->rank)
			c->us = INT64_MAX;
		if (state != SCOPE_SITE_ALIVE)
			c->rank = 2;
		n++;
	}
	*list_r = list;
	*count_r = n;
	return 0;
}

/* The candidates behind head (may be NULL) as one operator; NULL for none at all. */
static int plan_candidates(struct expand *x, enum scope_op op, struct scope_plan *head,
			   const struct candidate *list, size_t count, struct scope_plan **plan_r)
{
	struct scope_plan **items = arena_alloc(x->arena, (count + 1) * sizeof(struct scope_plan *));
	size_t n = 0;

	if (!items)
		return error_nomem(x->err);
	if (head)
		items[n++] = head;
	for (size_t i = 0; i < count; i++) {
		size_t site = list[i].index;

		items[n] = expand_site(x, x->lookup->site_name(x->lookup->ctx, site), site);
		if (!items[n++])
			return expand_failed(x);
	}
	*plan_r = NULL;
	if (!n)
		return 0;
	*plan_r = expand_list(x, op, items, n);
	return *plan_r ? 0 : error_nomem(x->err);
}

static int expand_all(struct expand *x, const struct scope_location *node,
		      struct scope_plan **plan_r)
{
	struct candidate *list;
	size_t count;
	int rc = candidates_by_label(x, node, &list, &count);

	return rc ? rc : plan_candidates(x, SCOPE_AND, NULL, list, count, plan_r);
}

static int expand_any(struct expand *x, const struct scope_location *node,
		      struct scope_plan **plan_r)
{
	struct candidate *list = NULL;
	size_t count = 0;
	int rc = candidates_by_label(x, node, &list, &count);

	if (rc)
		return rc;
	if (count > 1)
		qsort(list, count, sizeof(*list), compare);
	return plan_candidates(x, SCOPE_ELSE, NULL, list, count, plan_r);
}

/* Lowers *us_r to the round trip from the nearest site of plan; true when one is measured.
 * *member_r: the site is one of the plan's. */
static bool nearest_rtt(const struct scope_lookup *l, const struct scope_plan *plan, size_t site,
			int64_t *us_r, bool *member_r)
{
	bool measured = false;
	int64_t us;

	if (plan->op == SCOPE_SITE) {
		*member_r |= plan->site_index == site;
		measured = rtt(l, plan->site_index, site, &us);
		if (measured && us < *us_r)
			*us_r = us;
		return measured;
	}
	for (size_t i = 0; i < plan->count; i++)
		measured |= nearest_rtt(l, plan->items[i], site, us_r, member_r);
	return measured;
}

static int expand_around(struct expand *x, const struct scope_location *node,
			 struct scope_plan **plan_r)
{
	size_t sites = node->duration_us ? site_count(x->lookup) : 0, n = 0;
	struct candidate *list;
	int rc = expand_node(x, node->first, plan_r);

	if (rc || !*plan_r || !sites)
		return rc;
	list = arena_alloc(x->arena, sites * sizeof(*list));
	if (!list)
		return error_nomem(x->err);
	for (size_t i = 0; i < sites; i++) {
		enum scope_site_state state = site_state(x->lookup, i);
		struct candidate c = { i, INT64_MAX, state == SCOPE_SITE_ALIVE ? 0 : 2 };
		bool member = false;

		if (state != SCOPE_SITE_FENCED &&
		    nearest_rtt(x->lookup, *plan_r, i, &c.us, &member) && !member &&
		    c.us <= node->duration_us)
			list[n++] = c;
	}
	qsort(list, n, sizeof(*list), compare);
	return plan_candidates(x, SCOPE_ELSE, *plan_r, list, n, plan_r);
}

static void set_class(struct scope_plan *plan, enum scope_class klass, bool alternative)
{
	plan->klass = klass;
	plan->replicated |= alternative;
	for (size_t i = 0; i < plan->count; i++)
		set_class(plan->items[i], klass, alternative && plan->op == SCOPE_ELSE);
}

static int expand_class(struct expand *x, const struct scope_location *node,
			struct scope_plan **plan_r)
{
	const struct scope_location *around = x->klass;
	int rc;

	/* only an @name can bring this here: the parser refuses it in one text */
	if (around || x->conj)
		return check_class_error(x->err, node, expand_column(x, node),
					 around ? around : x->conj, x->chain);
	x->klass = node;
	rc = expand_node(x, node->first, plan_r);
	x->klass = around;
	if (!rc && *plan_r)
		set_class(*plan_r, node->function->klass, true);
	return rc;
}

static const struct scope_function functions[] = {
	{ { "all", sizeof("all") - 1 }, SCOPE_ARGS_LABELS, SCOPE_CLASS_NONE, expand_all },
	{ { "any", sizeof("any") - 1 }, SCOPE_ARGS_LABELS, SCOPE_CLASS_NONE, expand_any },
	{ { "around", sizeof("around") - 1 }, SCOPE_ARGS_LOCATION_DURATION, SCOPE_CLASS_NONE,
	  expand_around },
	{ { "eventual", sizeof("eventual") - 1 }, SCOPE_ARGS_LOCATION, SCOPE_EVENTUAL, expand_class },
	{ { "quorum", sizeof("quorum") - 1 }, SCOPE_ARGS_LOCATION, SCOPE_QUORUM, expand_class },
	{ { "strong", sizeof("strong") - 1 }, SCOPE_ARGS_LOCATION, SCOPE_STRONG, expand_class },
	{ { "weak", sizeof("weak") - 1 }, SCOPE_ARGS_LOCATION, SCOPE_WEAK, expand_class },
};

#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

const struct scope_function *function_find(struct span name)
{
	for (size_t i = 0; i < FUNCTIONS; i++)
		if (span_eq(functions[i].name, name))
			return &functions[i];
	return NULL;
}

static struct span function_name(void *ctx, size_t i)
{
	(void)ctx;
	return functions[i].name;
}

void function_suggest(struct scope_error *err, struct span name)
{
	error_known(err, name, FUNCTIONS, function_name, NULL);
}
