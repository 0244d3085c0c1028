/* Expansion: a location becomes a plan of `&`, `;` and sites.
 *
 * Each node of the tree gives a plan of its own, built anew, or none where nothing matches
 * (plan NULL): that empties the `&` or function around it and is skipped as an alternative of
 * `;`.  Functions expand through their table entry (function.c); nothing here knows them by name.
 * x->sites counts every site that is put into a plan, before repeated ones fall together, so that
 * the work is bounded too. */
#include "scope/scope_int.h"

unsigned expand_column(const struct expand *x, const struct scope_location *node)
{
	return x->column ? x->column : node->column;
}

int expand_failed(struct expand *x)
{
	if (!x->sites)
		return error_set(x->err, SCOPE_LIMIT, x->err->column, NULL,
				 "the location expands to more than %u sites", x->limits.sites);
	return error_nomem(x->err);
}

struct scope_plan *expand_site(struct expand *x, struct span name, size_t index)
{
	struct scope_plan *plan;

	if (!x->sites)
		return NULL;
	plan = arena_zalloc(x->arena, sizeof(*plan));
	if (!plan)
		return NULL;
	x->sites--;
	plan->op = SCOPE_SITE;
	plan->site = name;
	plan->site_index = index;
	return plan;
}

/* In `;` a site of another class is another alternative; in `&` all are of one class. */
static bool same_site(const struct scope_plan *a, const struct scope_plan *b)
{
	return a->op == SCOPE_SITE && b->op == SCOPE_SITE && a->klass == b->klass &&
	       a->replicated == b->replicated && span_eq(a->site, b->site);
}

static void add_item(struct scope_plan *list, struct scope_plan *item)
{
	for (size_t i = 0; i < list->count; i++)
		if (same_site(list->items[i], item))
			return;
	list->items[list->count++] = item;
}

static size_t flat_count(enum scope_op op, struct scope_plan **items, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += items[i]->op == op ? items[i]->count : 1;
	return n;
}

struct scope_plan *expand_list(struct expand *x, enum scope_op op, struct scope_plan **items,
			       size_t count)
{
	struct scope_plan *list = arena_zalloc(x->arena, sizeof(*list));

	if (!list)
		return NULL;
	list->op = op;
	list->replicated = op == SCOPE_AND;
	list->items = arena_alloc(x->arena, flat_count(op, items, count) * sizeof(*items));
	if (!list->items)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (items[i]->op != op) {
			/* below an `&` only the whole is a replicated create */
			items[i]->replicated &= op != SCOPE_AND;
			add_item(list, items[i]);
			continue;
		}
		for (size_t k = 0; k < items[i]->count; k++)
			add_item(list, items[i]->items[k]);
	}
	list->klass = list->items[0]->klass;
	for (size_t i = 1; i < list->count; i++)
		if (list->items[i]->klass != list->klass)
			list->klass = SCOPE_CLASS_NONE;
	if (list->count > 1)
		return list;
	list->items[0]->replicated |= op == SCOPE_AND;
	return list->items[0];
}

static int expand_operator(struct expand *x, const struct scope_location *node,
			   struct scope_plan **plan_r)
{
	bool conj = node->kind == SCOPE_NODE_AND, gone = false;
	const struct scope_location *around = x->conj;
	struct scope_plan **items, *plan = NULL;
	size_t room = 0, count = 0;
	int rc = 0;

	for (const struct scope_location *c = node->first; c; c = c->next)
		room++;
	items = arena_alloc(x->arena, room * sizeof(struct scope_plan *));
	if (!items)
		return error_nomem(x->err);
	if (conj && !around)
		x->conj = node;
	for (const struct scope_location *c = node->first; c && !rc; c = c->next) {
		rc = expand_node(x, c, &plan);
		if (!rc && plan)
			items[count++] = plan;
		gone |= !rc && !plan && conj;
	}
	x->conj = around;
	*plan_r = NULL;
	if (rc || gone || !count)
		return rc;
	*plan_r = expand_list(x, conj ? SCOPE_AND : SCOPE_ELSE, items, count);
	return *plan_r ? 0 : error_nomem(x->err);
}

static int expand_named(struct expand *x, const struct scope_location *node,
			struct scope_plan **plan_r)
{
	static const struct scope_lookup none = { 0 };
	const struct name_chain *before = x->chain;
	struct name_chain link = { node->name, before };
	struct scope_location placed = *node, *inside;
	unsigned column = x->column;
	int rc;

	placed.column = expand_column(x, node);
	rc = name_resolve(x->arena, x->lookup ? x->lookup : &none, &x->limits, &placed, before,
			  &x->names, &inside, x->err);
	if (rc)
		return rc;
	x->chain = &link;
	x->column = placed.column;
	rc = expand_node(x, inside, plan_r);
	x->column = column;
	x->chain = before;
	return rc;
}

static int expand_leaf(struct expand *x, const struct scope_location *node,
		       struct scope_plan **plan_r)
{
	bool local = node->kind == SCOPE_NODE_LOCAL;
	struct span name = node->name;
	size_t index;

	if (local)
		name = x->lookup && x->lookup->local.n ? x->lookup->local : SPAN("local");
	if (!lookup_site(x->lookup, name, &index) && !local)
		return check_unknown_site(x->err, x->lookup, name, expand_column(x, node));
	*plan_r = expand_site(x, name, index);
	x->err->column = expand_column(x, node);
	return *plan_r ? 0 : expand_failed(x);
}

int expand_node(struct expand *x, const struct scope_location *node, struct scope_plan **plan_r)
{
	int rc;

	switch (node->kind) {
	case SCOPE_NODE_AND:
	case SCOPE_NODE_ELSE:
		return expand_operator(x, node, plan_r);
	case SCOPE_NODE_NAMED:
		return expand_named(x, node, plan_r);
	case SCOPE_NODE_FUNCTION:
		x->err->column = expand_column(x, node);
		rc = node->function->expand(x, node, plan_r);
		if (!rc && !*plan_r && !x->no_match) {
			x->no_match = node;
			x->no_match_column = expand_column(x, node);
		}
		return rc;
	default:
		return expand_leaf(x, node, plan_r);
	}
}

static int no_match(struct expand *x)
{
	struct buf text;
	int rc;

	buf_init(&text, NULL, 160);
	scope_print_location(x->no_match, &text);
	rc = error_set(x->err, SCOPE_NO_MATCH, x->no_match_column, NULL, "no site matches %.*s",
		       SPAN_ARG(buf_span(&text)));
	buf_fini(&text);
	error_hint(x->err, "give an alternative with ; that needs no match");
	return rc;
}

int scope_expand(struct arena *arena, const struct scope_location *location,
		 const struct scope_lookup *lookup, const struct scope_limits *limits,
		 const struct scope_plan **plan_r, struct scope_error *err_r)
{
	struct scope_error scratch;
	/* cppcheck-suppress uninitvar ; only ever written to */
	struct expand x = { .arena = arena, .lookup = lookup, .limits = limits_clamped(limits),
			    .err = err_r ? err_r : &scratch };
	struct scope_plan *plan = NULL;
	int rc;

	x.sites = x.names = x.limits.sites;
	x.err->column = location->column;
	rc = expand_node(&x, location, &plan);
	if (!rc && !plan)
		rc = no_match(&x);
	*plan_r = rc ? NULL : plan;
	return rc;
}
