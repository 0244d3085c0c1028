/* @names: what they stand for, and a scope without them.
 *
 * A name's text is parsed anew each time; chains of names are followed as deep as parentheses may
 * be (limits.depth) and a chain that meets itself is an error.  The budget bounds how many are
 * followed in all: names that name names twice each would double at every step. */
#include "scope/scope_int.h"

static size_t named_count(const struct scope_lookup *lookup)
{
	return lookup->named_count && lookup->named_name ? lookup->named_count(lookup->ctx) : 0;
}

static int unknown_name(const struct scope_lookup *lookup, const struct scope_location *node,
			struct scope_error *err)
{
	int rc = error_set(err, SCOPE_UNKNOWN_NAME, node->column, NULL,
			   "the configuration has no scope.named \"%.*s\"", SPAN_ARG(node->name));

	error_known(err, node->name, named_count(lookup), lookup->named_name, lookup->ctx);
	return rc;
}

static int check_chain(const struct scope_limits *limits, const struct scope_location *node,
		       const struct name_chain *chain, struct scope_error *err)
{
	unsigned depth = 0;

	for (; chain; chain = chain->up, depth++)
		if (span_eq(chain->name, node->name))
			return error_set(err, SCOPE_UNKNOWN_NAME, node->column, NULL,
					 "@%.*s is defined by itself", SPAN_ARG(node->name));
	if (depth < limits->depth)
		return 0;
	return error_set(err, SCOPE_LIMIT, node->column, NULL, "@%.*s stands more than %u names deep",
			 SPAN_ARG(node->name), limits->depth);
}

int name_resolve(struct arena *arena, const struct scope_lookup *lookup,
		 const struct scope_limits *limits, const struct scope_location *node,
		 const struct name_chain *chain, unsigned *budget,
		 struct scope_location **location_r, struct scope_error *err)
{
	const struct scope_location *location;
	struct span text;
	char message[sizeof(err->message)];
	int rc = check_chain(limits, node, chain, err);

	if (rc)
		return rc;
	if (!lookup->named || !lookup->named(lookup->ctx, node->name, &text))
		return unknown_name(lookup, node, err);
	if (!*budget)
		return error_set(err, SCOPE_LIMIT, node->column, NULL,
				 "more than %u sites and names in one binding", limits->sites);
	--*budget;
	rc = scope_parse_location(arena, text, limits, &location, err);
	if (!rc) {
		/* fresh and ours alone, so that it may be changed */
		*location_r = (struct scope_location *)(uintptr_t)location;
		return 0;
	}
	if (rc == ERR_NOMEM)
		return rc;
	memcpy(message, err->message, sizeof(message));
	return error_set(err, err->kind, node->column, NULL, "in @%.*s: %s", SPAN_ARG(node->name),
			 message);
}

/* Replacement ---------------------------------------------------------------------------------- */

struct replace {
	struct arena *arena;
	const struct scope_lookup *lookup;
	struct scope_limits limits;
	unsigned sites, names; /* how many more */
	struct scope_error *err;
};

static int copy_node(struct replace *r, const struct scope_location *node, unsigned column,
		     const struct name_chain *chain, struct scope_location **copy_r);

static int copy_children(struct replace *r, const struct scope_location *node, unsigned column,
			 const struct name_chain *chain, struct scope_location *copy)
{
	for (const struct scope_location *c = node->first; c; c = c->next) {
		struct scope_location *child = NULL;
		int rc = copy_node(r, c, column, chain, &child);

		if (rc)
			return rc;
		if (node->kind == SCOPE_NODE_FUNCTION)
			copy->first = copy->last = child;
		else
			node_append(copy, child);
	}
	return 0;
}

static int copy_named(struct replace *r, const struct scope_location *node, unsigned column,
		      const struct name_chain *chain, struct scope_location **copy_r)
{
	struct name_chain link = { node->name, chain };
	struct scope_location placed = *node, *inside = NULL;
	int rc;

	placed.column = column ? column : node->column;
	rc = name_resolve(r->arena, r->lookup, &r->limits, &placed, chain, &r->names, &inside,
			  r->err);
	return rc ? rc : copy_node(r, inside, placed.column, &link, copy_r);
}

/* column: where the @name stands that node comes from, or 0. */
static int copy_node(struct replace *r, const struct scope_location *node, unsigned column,
		     const struct name_chain *chain, struct scope_location **copy_r)
{
	/* NOLINTNEXTLINE(clang-analyzer-*): name_resolve gives a node with its 0 */
	bool leaf = node->kind == SCOPE_NODE_SITE || node->kind == SCOPE_NODE_LOCAL;
	struct scope_location *copy;

	if (node->kind == SCOPE_NODE_NAMED)
		return copy_named(r, node, column, chain, copy_r);
	if (leaf && !r->sites--)
		return error_set(r->err, SCOPE_LIMIT, column ? column : node->column, NULL,
				 "more than %u sites in one binding", r->limits.sites);
	copy = arena_alloc(r->arena, sizeof(*copy));
	if (!copy)
		return error_nomem(r->err);
	*copy = *node;
	copy->first = copy->last = copy->next = NULL;
	if (column)
		copy->column = column;
	*copy_r = copy;
	return copy_children(r, node, column, chain, copy);
}

static int replace_binding(struct replace *r, const struct scope_binding *in,
			   struct scope_binding *out)
{
	struct scope_location *location = NULL;
	int rc;

	r->sites = r->names = r->limits.sites;
	rc = copy_node(r, in->location, 0, NULL, &location);
	if (!rc)
		rc = check_classes(location, r->err);
	*out = *in;
	out->location = location;
	return rc;
}

int scope_replace_names(struct arena *arena, const struct scope *in,
			const struct scope_lookup *lookup, const struct scope_limits *limits,
			const struct scope **out_r, struct scope_error *err_r)
{
	static const struct scope_lookup none = { 0 };
	struct scope_error scratch;
	struct replace r = { arena, lookup ? lookup : &none, limits_clamped(limits), 0, 0,
			     err_r ? err_r : &scratch };
	struct scope *out;
	int rc = 0;

	*out_r = in;
	if (!in->names)
		return 0;
	*out_r = NULL;
	out = arena_zalloc(arena, sizeof(*out));
	if (out)
		out->bindings = arena_alloc(arena, in->count * sizeof(*out->bindings));
	if (!out || !out->bindings)
		return error_nomem(r.err);
	out->count = out->cap = in->count;
	for (size_t i = 0; i < in->count && !rc; i++)
		rc = replace_binding(&r, &in->bindings[i], &out->bindings[i]);
	if (!rc)
		*out_r = out;
	return rc;
}
