/* Checks of meaning: sites and @names are known, and class functions stand where they may.
 *
 * The walk goes from left to right, so that the first error is the leftmost.  What an @name
 * stands for is walked too, with the errors placed at the @name. */
#include "scope/scope_int.h"

struct check {
	struct arena *arena; /* for what @names stand for */
	const struct scope_lookup *lookup; /* NULL: classes only */
	struct scope_limits limits;
	unsigned names;  /* how many more may be followed */
	unsigned column; /* of the @name we are in, or 0 */
	struct scope_error *err;
};

/* Where a node stands. */
struct place {
	const struct scope_location *klass; /* the class function around it */
	const struct scope_location *conj;  /* the `&` above it */
	const struct name_chain *chain;
};

bool lookup_site(const struct scope_lookup *lookup, struct span name, size_t *index_r)
{
	*index_r = SCOPE_SITE_UNNUMBERED;
	if (!lookup || (lookup->site_find && lookup->site_find(lookup->ctx, name, index_r)))
		return true;
	return lookup->local.n && span_eq(name, lookup->local);
}

int check_unknown_site(struct scope_error *err, const struct scope_lookup *lookup,
		       struct span name, unsigned column)
{
	int rc = error_set(err, SCOPE_UNKNOWN_SITE, column, NULL, "there is no site \"%.*s\"",
			   SPAN_ARG(name));
	size_t count = lookup->site_count && lookup->site_name ? lookup->site_count(lookup->ctx) : 0;

	error_known(err, name, count, lookup->site_name, lookup->ctx);
	return rc;
}

int check_class_error(struct scope_error *err, const struct scope_location *node, unsigned column,
		      const struct scope_location *around, const struct name_chain *chain)
{
	int code;
	struct buf fix;

	buf_init(&fix, NULL, sizeof(err->hint));
	print_location_plain(around, &fix);
	if (around->kind == SCOPE_NODE_AND) {
		code = error_set(err, SCOPE_CLASS_NESTED, column, NULL,
				 "%.*s(...) below & : one class holds for all sites of an &",
				 SPAN_ARG(node->name));
		if (!fix.failed)
			error_hint(err, "write %.*s(%.*s)", SPAN_ARG(node->name),
				   SPAN_ARG(buf_span(&fix)));
	} else {
		code = error_set(err, SCOPE_CLASS_NESTED, column, NULL,
				 "%.*s(...) inside %.*s(...): classes do not nest",
				 SPAN_ARG(node->name), SPAN_ARG(around->name));
		if (!fix.failed)
			error_hint(err, "write %.*s(%.*s)", SPAN_ARG(around->name),
				   SPAN_ARG(buf_span(&fix)));
	}
	buf_fini(&fix);
	/* the text at hand cannot mend what is written in the configuration */
	if (chain)
		error_hint(err, "%.*s(...) is in what @%.*s stands for", SPAN_ARG(node->name),
			   SPAN_ARG(chain->name));
	return code;
}

static int check_node(struct check *c, const struct scope_location *node, struct place place);

static int check_children(struct check *c, const struct scope_location *node, struct place place)
{
	int rc = 0;

	for (const struct scope_location *child = node->first; child && !rc; child = child->next)
		rc = check_node(c, child, place);
	return rc;
}

static int check_function(struct check *c, const struct scope_location *node, struct place place,
			  unsigned column)
{
	if (node->function->klass != SCOPE_CLASS_NONE) {
		if (place.klass || place.conj)
			return check_class_error(c->err, node, column,
						 place.klass ? place.klass : place.conj, place.chain);
		place.klass = node;
	}
	return check_children(c, node, place);
}

static int check_named(struct check *c, const struct scope_location *node, struct place place,
		       unsigned column)
{
	struct name_chain link = { node->name, place.chain };
	struct scope_location placed = *node, *inside;
	unsigned before = c->column;
	int rc;

	placed.column = column;
	rc = name_resolve(c->arena, c->lookup, &c->limits, &placed, place.chain, &c->names, &inside,
			  c->err);
	if (rc)
		return rc;
	c->column = column;
	place.chain = &link;
	rc = check_node(c, inside, place);
	c->column = before;
	return rc;
}

static int check_node(struct check *c, const struct scope_location *node, struct place place)
{
	unsigned column = c->column ? c->column : node->column;
	size_t i;

	switch (node->kind) {
	case SCOPE_NODE_SITE:
		if (!c->lookup || lookup_site(c->lookup, node->name, &i))
			return 0;
		return check_unknown_site(c->err, c->lookup, node->name, column);
	case SCOPE_NODE_NAMED:
		return c->lookup ? check_named(c, node, place, column) : 0;
	case SCOPE_NODE_FUNCTION:
		return check_function(c, node, place, column);
	case SCOPE_NODE_AND:
		if (!place.conj)
			place.conj = node;
		break;
	case SCOPE_NODE_ELSE:
	case SCOPE_NODE_LOCAL:
		break;
	}
	return check_children(c, node, place);
}

int check_classes(const struct scope_location *location, struct scope_error *err)
{
	struct check c = { .err = err };

	return check_node(&c, location, (struct place){ 0 });
}

int scope_check_location(const struct scope_location *location, const struct scope_lookup *lookup,
			 struct scope_error *err_r)
{
	max_align_t room[256];
	struct scope_error scratch;
	struct arena arena;
	struct check c = { &arena, lookup, scope_limits_default, scope_limits_default.sites, 0,
			   err_r ? err_r : &scratch };
	int rc;

	arena_init(&arena, room, sizeof(room), 0);
	rc = check_node(&c, location, (struct place){ 0 });
	arena_fini(&arena);
	return rc;
}

int scope_check(const struct scope *scope, const struct scope_binding *only,
		const struct scope_lookup *lookup, struct scope_error *err_r)
{
	int rc = 0;

	if (only)
		return scope_check_location(only->location, lookup, err_r);
	for (size_t i = 0; i < scope->count && !rc; i++)
		rc = scope_check_location(scope->bindings[i].location, lookup, err_r);
	return rc;
}
