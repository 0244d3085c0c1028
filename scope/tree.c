/* Reading access to the tree, for callers. */
#include "scope/scope_int.h"

size_t scope_binding_count(const struct scope *scope)
{
	return scope->count;
}

const struct scope_binding *scope_binding_get(const struct scope *scope, size_t i)
{
	return i < scope->count ? &scope->bindings[i] : NULL;
}

const struct scope_binding *scope_bind(const struct scope *scope, struct span service)
{
	const struct scope_binding *others = NULL;

	for (size_t i = 0; i < scope->count; i++) {
		const struct scope_binding *b = &scope->bindings[i];

		if (b->others)
			others = b;
		else if (span_eq(b->service, service))
			return b;
	}
	return others;
}

const char *scope_class_name(enum scope_class klass)
{
	static const char *const names[] = { "", "weak", "eventual", "quorum", "strong" };

	return names[klass];
}

const char *scope_node_kind_name(enum scope_node_kind kind)
{
	static const char *const names[] = { "site", "local", "named", "and", "else", "function" };

	return names[kind];
}

enum scope_node_kind scope_node_kind(const struct scope_location *node)
{
	return node->kind;
}

struct span scope_node_name(const struct scope_location *node)
{
	return node->name;
}

unsigned scope_node_column(const struct scope_location *node)
{
	return node->column;
}

const struct scope_location *scope_node_child(const struct scope_location *node)
{
	return node->first;
}

const struct scope_location *scope_node_next(const struct scope_location *node)
{
	return node->next;
}

bool scope_node_duration_us(const struct scope_location *node, int64_t *us_r)
{
	if (!node->function || node->function->arguments != SCOPE_ARGS_LOCATION_DURATION)
		return false;
	*us_r = node->duration_us;
	return true;
}

const struct scope_label *scope_node_labels(const struct scope_location *node)
{
	return node->labels;
}
