/* Canonical texts and the tree for people.  `&` binds tighter than `;`, so that only a `;` below
 * an `&` needs parentheses; a name is quoted where the lexer would read it otherwise. */
#include "scope/scope_int.h"

static void print_quoted(struct span name, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.p[i]);
	}
	buf_add_char(out, '"');
}

static void print_name(struct span name, struct buf *out)
{
	if (lex_is_bare(name) && !lex_is_reserved(name))
		buf_add_span(out, name);
	else
		print_quoted(name, out);
}

/* Bare words apart by single blanks, none of them an operator. */
static bool is_words(struct span name)
{
	struct span word;

	while (span_split(&name, ' ', &word))
		if (!lex_is_bare(word) || lex_is_reserved(word))
			return false;
	return true;
}

static void print_site(struct span name, struct buf *out)
{
	if (is_words(name) && !span_eq(name, SPAN("local")))
		buf_add_span(out, name);
	else
		print_quoted(name, out);
}

static void print_duration(int64_t us, struct buf *out)
{
	if (us % 1000000 == 0)
		buf_addf(out, "%llds", (long long)(us / 1000000));
	else if (us % 1000 == 0)
		buf_addf(out, "%lldms", (long long)(us / 1000));
	else
		buf_addf(out, "%lldus", (long long)us);
}

static void print_labels(const struct scope_label *label, struct buf *out)
{
	for (; label; label = label->next) {
		print_name(label->key, out);
		buf_add_z(out, label->differs ? "!=" : "=");
		print_name(label->value, out);
		if (label->next)
			buf_add_z(out, ", ");
	}
}

static void print_node(const struct scope_location *node, bool plain, bool below_and,
		       struct buf *out);

static void print_children(const struct scope_location *node, bool plain, struct buf *out)
{
	bool conj = node->kind == SCOPE_NODE_AND;

	for (const struct scope_location *c = node->first; c; c = c->next) {
		print_node(c, plain, conj, out);
		if (c->next)
			buf_add_z(out, conj ? " & " : "; ");
	}
}

static void print_function(const struct scope_location *node, bool plain, bool below_and,
			   struct buf *out)
{
	if (plain && node->function->klass != SCOPE_CLASS_NONE) {
		print_node(node->first, plain, below_and, out);
		return;
	}
	buf_add_span(out, node->name);
	buf_add_char(out, '(');
	if (node->first)
		print_node(node->first, plain, false, out);
	else
		print_labels(node->labels, out);
	if (node->function->arguments == SCOPE_ARGS_LOCATION_DURATION) {
		buf_add_z(out, ", ");
		print_duration(node->duration_us, out);
	}
	buf_add_char(out, ')');
}

/* plain: without class functions. */
static void print_node(const struct scope_location *node, bool plain, bool below_and,
		       struct buf *out)
{
	bool parens = node->kind == SCOPE_NODE_ELSE && below_and;

	switch (node->kind) {
	case SCOPE_NODE_SITE:
		print_site(node->name, out);
		break;
	case SCOPE_NODE_LOCAL:
		buf_add_z(out, "local");
		break;
	case SCOPE_NODE_NAMED:
		buf_add_char(out, '@');
		print_name(node->name, out);
		break;
	case SCOPE_NODE_FUNCTION:
		print_function(node, plain, below_and, out);
		break;
	case SCOPE_NODE_AND:
	case SCOPE_NODE_ELSE:
		if (parens)
			buf_add_char(out, '(');
		print_children(node, plain, out);
		if (parens)
			buf_add_char(out, ')');
		break;
	}
}

void scope_print_location(const struct scope_location *location, struct buf *out)
{
	print_node(location, false, false, out);
}

void print_location_plain(const struct scope_location *node, struct buf *out)
{
	/* of a class function what is inside, for its name is written around it */
	if (node->kind == SCOPE_NODE_FUNCTION && node->function->klass != SCOPE_CLASS_NONE)
		node = node->first;
	print_node(node, true, false, out);
}

static void print_service(const struct scope_binding *b, struct buf *out)
{
	if (b->others)
		buf_add_char(out, '*');
	else if (span_eq(b->service, SPAN("others")))
		print_quoted(b->service, out);
	else
		print_name(b->service, out);
}

void scope_print(const struct scope *scope, struct buf *out)
{
	if (!scope->count)
		buf_add_z(out, "{}");
	for (size_t i = 0; i < scope->count; i++) {
		if (i)
			buf_add_z(out, ", ");
		print_service(&scope->bindings[i], out);
		buf_add_z(out, ": ");
		scope_print_location(scope->bindings[i].location, out);
	}
}

/* Plans ---------------------------------------------------------------------------------------- */

static void print_plan(const struct scope_plan *plan, enum scope_class around, bool below_and,
		       struct buf *out)
{
	bool klass = plan->klass != around && plan->klass != SCOPE_CLASS_NONE;
	bool parens = !klass && below_and && plan->op == SCOPE_ELSE;

	if (klass)
		buf_addf(out, "%s(", scope_class_name(plan->klass));
	else if (parens)
		buf_add_char(out, '(');
	if (plan->op == SCOPE_SITE)
		print_site(plan->site, out);
	for (size_t i = 0; i < plan->count; i++) {
		if (i)
			buf_add_z(out, plan->op == SCOPE_AND ? " & " : "; ");
		print_plan(plan->items[i], plan->klass, plan->op == SCOPE_AND, out);
	}
	if (klass || parens)
		buf_add_char(out, ')');
}

void scope_print_plan(const struct scope_plan *plan, struct buf *out)
{
	print_plan(plan, SCOPE_CLASS_NONE, false, out);
}

/* Tree ----------------------------------------------------------------------------------------- */

static void print_tree(const struct scope_location *node, unsigned level, struct buf *out)
{
	buf_addf(out, "%*s", (int)(level * 2), "");
	switch (node->kind) {
	case SCOPE_NODE_AND:
		buf_add_z(out, "& every one of");
		break;
	case SCOPE_NODE_ELSE:
		buf_add_z(out, "; the first that succeeds of");
		break;
	case SCOPE_NODE_FUNCTION:
		buf_add_span(out, node->name);
		if (node->labels)
			buf_add_char(out, ' ');
		print_labels(node->labels, out);
		if (node->function->arguments == SCOPE_ARGS_LOCATION_DURATION) {
			buf_add_char(out, ' ');
			print_duration(node->duration_us, out);
		}
		break;
	default:
		print_node(node, false, false, out);
	}
	buf_add_char(out, '\n');
	for (const struct scope_location *c = node->first; c; c = c->next)
		print_tree(c, level + 1, out);
}

void scope_print_tree(const struct scope *scope, struct buf *out)
{
	for (size_t i = 0; i < scope->count; i++) {
		print_service(&scope->bindings[i], out);
		buf_add_char(out, '\n');
		print_tree(scope->bindings[i].location, 1, out);
	}
}
