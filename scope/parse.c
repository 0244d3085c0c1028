/* Parser: recursive descent over the tokens, one pass, into the caller's arena.
 *
 *     location = conj *( else conj );  conj = primary *( and primary )
 *
 * Depth is bounded by limits.depth: only an open parenthesis recurses.  Errors of syntax end the
 * parse at once; others (pending) are noted, the leftmost of them, and reported when the syntax
 * turns out sound.  `&` in `&` and `;` in `;` are flattened as the tree grows (node_append). */
#include "scope/scope_int.h"

#include <stdarg.h>

#define SHELL_HINT \
	"the shell may have taken the rest: put the whole scope in quotes, " \
	"or write + for & and / for ;"
#define EXPECT_LOCATION "a site, local, @name, a function or \"(\""
#define FEW_BINDINGS 16 /* up to here services are compared one by one */
#define SEEN_SLOTS 4096 /* more than services fit in a text; a power of two */

int parse_syntax(struct parser *p, unsigned column, const char *expected, const char *fmt, ...)
{
	va_list ap;
	int code;

	va_start(ap, fmt);
	code = error_vset(p->err, SCOPE_SYNTAX, column, expected, fmt, ap);
	va_end(ap);
	p->pending = 0;
	return code;
}

int parse_nomem(struct parser *p)
{
	p->pending = 0;
	return error_nomem(p->err);
}

int parse_unexpected(struct parser *p, const char *expected)
{
	const struct lex *lx = &p->lex;
	int code;

	if (lx->token == TOKEN_BAD) {
		p->pending = 0;
		/* inside a quoted name the grammar expects nothing */
		if (lx->code == ERR_SYNTAX && !strchr("'\"", lx->text.p[lx->start]))
			error_expect(p->err, expected);
		return lx->code;
	}
	if (lx->token == TOKEN_END) {
		code = parse_syntax(p, lx->column, expected, "the scope ends early");
		error_hint(p->err, SHELL_HINT);
		return code;
	}
	return parse_syntax(p, lx->column, expected, "unexpected \"%.*s\"",
			    (int)(lx->at - lx->start), lx->text.p + lx->start);
}

/* Whether an error at this column is to be kept: the leftmost is. */
static bool keeps(const struct parser *p, unsigned column)
{
	return !p->pending || column < p->err->column;
}

static int take(struct parser *p, int token, const char *expected)
{
	if ((int)p->lex.token != token)
		return parse_unexpected(p, expected);
	lex_next(&p->lex);
	return 0;
}

void node_append(struct scope_location *parent, struct scope_location *child)
{
	struct scope_location *first = child, *last = child;

	if (child->kind == parent->kind) {
		first = child->first;
		last = child->last;
	} else {
		child->next = NULL;
	}
	if (parent->last)
		parent->last->next = first;
	else
		parent->first = first;
	parent->last = last;
}

static struct scope_location *node_new(struct parser *p, enum scope_node_kind kind, unsigned column)
{
	struct scope_location *node = arena_alloc(p->arena, sizeof(*node));

	if (node)
		*node = (struct scope_location){ .kind = kind, .column = column };
	return node;
}

/* One more that counts against limits.sites. */
static void count_site(struct parser *p, unsigned column)
{
	if (++p->sites <= p->limits.sites || !keeps(p, column))
		return;
	p->pending = error_set(p->err, SCOPE_LIMIT, column, NULL,
			       "more than %u sites in one binding", p->limits.sites);
}

/* Names and words ------------------------------------------------------------------------------ */

static int join_words(struct parser *p, size_t start, size_t end, struct span *name_r)
{
	char *mem = arena_alloc(p->arena, end - start), *w = mem;

	if (!mem)
		return parse_nomem(p);
	for (size_t i = start; i < end; i++) {
		if (!lex_is_space(p->lex.text.p[i]))
			*w++ = p->lex.text.p[i];
		else if (w[-1] != ' ')
			*w++ = ' ';
	}
	*name_r = span_make(mem, (size_t)(w - mem));
	return 0;
}

/* Names apart by blanks, as one with single blanks. */
static int parse_words(struct parser *p, struct span *name_r)
{
	size_t start = p->lex.start, end = p->lex.at;
	bool single = true;

	lex_next(&p->lex);
	while (p->lex.token == TOKEN_NAME) {
		single = single && p->lex.start == end + 1 && p->lex.text.p[end] == ' ';
		end = p->lex.at;
		lex_next(&p->lex);
	}
	*name_r = span_make(p->lex.text.p + start, end - start);
	return single ? 0 : join_words(p, start, end, name_r);
}

static int parse_name(struct parser *p, const char *expected, struct span *name_r)
{
	if (p->lex.token != TOKEN_NAME && p->lex.token != TOKEN_QUOTED)
		return parse_unexpected(p, expected);
	*name_r = p->lex.name;
	lex_next(&p->lex);
	return 0;
}

/* Functions ------------------------------------------------------------------------------------ */

static int open_paren(struct parser *p)
{
	if (p->depth == p->limits.depth) {
		if (p->pending)
			return p->pending;
		return error_set(p->err, SCOPE_LIMIT, p->lex.column, NULL,
				 "more than %u open parentheses", p->limits.depth);
	}
	p->depth++;
	lex_next(&p->lex);
	return 0;
}

static int close_paren(struct parser *p, const char *expected)
{
	p->depth--;
	return take(p, ')', expected);
}

static int parse_label(struct parser *p, struct scope_label *label)
{
	int rc = parse_name(p, "a label, e.g. region=eu", &label->key);

	if (rc)
		return rc;
	label->differs = p->lex.token == TOKEN_DIFFER;
	if (!label->differs && p->lex.token != (enum token)'=')
		return parse_unexpected(p, "\"=\" or \"!=\"");
	lex_next(&p->lex);
	return parse_name(p, "the value of the label", &label->value);
}

static int parse_labels(struct parser *p, struct scope_location *node)
{
	struct scope_label **end = &node->labels;
	int rc;

	for (;;) {
		struct scope_label *label = arena_alloc(p->arena, sizeof(*label));

		if (!label)
			return parse_nomem(p);
		label->next = NULL;
		rc = parse_label(p, label);
		if (rc)
			return rc;
		*end = label;
		end = (struct scope_label **)(void *)&label->next;
		if (p->lex.token != (enum token)',')
			return close_paren(p, "\",\" or \")\"");
		lex_next(&p->lex);
	}
}

static int parse_duration(struct parser *p, struct scope_location *node)
{
	const char *expected = "a duration: a number and us, ms or s, at most an hour, e.g. 10ms";
	const char *why;
	size_t at;

	if (p->lex.token == TOKEN_END)
		return parse_unexpected(p, expected);
	if (lex_duration(&p->lex, &node->duration_us, &at, &why))
		return 0;
	return parse_syntax(p, lex_column_at(&p->lex, at), expected, "%s", why);
}

static int parse_arguments(struct parser *p, struct scope_location *node)
{
	struct scope_location *inside;
	int rc;

	if (node->function->arguments == SCOPE_ARGS_LABELS) {
		count_site(p, node->column);
		return parse_labels(p, node);
	}
	rc = parse_location(p, &inside);
	if (rc)
		return rc;
	inside->next = NULL;
	node->first = node->last = inside;
	if (node->function->arguments == SCOPE_ARGS_LOCATION_DURATION) {
		rc = take(p, ',', "an operator, or \",\" and a duration");
		if (!rc)
			rc = parse_duration(p, node);
		if (rc)
			return rc;
	}
	return close_paren(p, node->function->arguments == SCOPE_ARGS_LOCATION ?
			   "an operator or \")\"" : "\")\"");
}

/* Goes over the parentheses of a function that there is not: only its tokens are looked at. */
static int skip_arguments(struct parser *p)
{
	unsigned open = 0;

	do {
		if (p->lex.token == TOKEN_BAD || p->lex.token == TOKEN_END)
			return parse_unexpected(p, "\")\"");
		open += p->lex.token == (enum token)'(';
		open -= p->lex.token == (enum token)')';
		lex_next(&p->lex);
	} while (open);
	return 0;
}

static int unknown_function(struct parser *p, const struct scope_location *node, bool quoted)
{
	size_t blank = node->name.n;

	if (keeps(p, node->column)) {
		p->pending = error_set(p->err, SCOPE_UNKNOWN_FUNCTION, node->column, NULL,
				       "there is no function \"%.*s\"", SPAN_ARG(node->name));
		function_suggest(p->err, node->name);
		while (blank && node->name.p[blank - 1] != ' ')
			blank--;
		if (quoted)
			error_hint(p->err, "functions are not quoted; between a site and \"(\" "
				   "stands an operator");
		else if (blank && function_find(span_from(node->name, blank)))
			error_hint(p->err, "an operator is missing before \"%.*s\"",
				   SPAN_ARG(span_from(node->name, blank)));
	}
	return skip_arguments(p);
}

static int parse_function(struct parser *p, struct scope_location *node, bool quoted)
{
	const struct scope_function *f = quoted ? NULL : function_find(node->name);
	int rc;

	if (!f)
		return unknown_function(p, node, quoted);
	node->kind = SCOPE_NODE_FUNCTION;
	node->function = f;
	p->classes |= f->klass != SCOPE_CLASS_NONE;
	rc = open_paren(p);
	return rc ? rc : parse_arguments(p, node);
}

/* Locations ------------------------------------------------------------------------------------ */

static int parse_site(struct parser *p, struct scope_location **node_r)
{
	struct scope_location *node = node_new(p, SCOPE_NODE_SITE, p->lex.column);
	bool quoted = p->lex.token == TOKEN_QUOTED;
	int rc;

	if (!node)
		return parse_nomem(p);
	*node_r = node;
	rc = quoted ? parse_name(p, NULL, &node->name) : parse_words(p, &node->name);
	if (rc)
		return rc;
	if (p->lex.token == (enum token)'(')
		return parse_function(p, node, quoted);
	if (!quoted && node->name.n == 5 && memcmp(node->name.p, "local", 5) == 0)
		node->kind = SCOPE_NODE_LOCAL;
	count_site(p, node->column);
	return 0;
}

static int parse_named(struct parser *p, struct scope_location **node_r)
{
	struct scope_location *node = node_new(p, SCOPE_NODE_NAMED, p->lex.column);

	if (!node)
		return parse_nomem(p);
	*node_r = node;
	p->names = true;
	count_site(p, node->column);
	lex_next(&p->lex);
	return parse_name(p, "a name of the configuration's scope.named", &node->name);
}

static int parse_primary(struct parser *p, struct scope_location **node_r)
{
	int rc;

	switch ((int)p->lex.token) {
	case TOKEN_NAME:
	case TOKEN_QUOTED:
		return parse_site(p, node_r);
	case '@':
		return parse_named(p, node_r);
	case '(':
		rc = open_paren(p);
		if (!rc)
			rc = parse_location(p, node_r);
		return rc ? rc : close_paren(p, "an operator or \")\"");
	default:
		return parse_unexpected(p, EXPECT_LOCATION);
	}
}

/* The operator node that first becomes the child of. */
static struct scope_location *wrap(struct parser *p, enum scope_node_kind kind,
				   struct scope_location *first)
{
	struct scope_location *node = node_new(p, kind, first->column);

	if (node)
		node_append(node, first);
	return node;
}

static int parse_conj(struct parser *p, struct scope_location **node_r)
{
	struct scope_location *list = NULL, *item;
	int rc = parse_primary(p, node_r);

	while (!rc && p->lex.token == TOKEN_AND) {
		if (!list && !(list = wrap(p, SCOPE_NODE_AND, *node_r)))
			return parse_nomem(p);
		lex_next(&p->lex);
		rc = parse_primary(p, &item);
		if (!rc)
			node_append(list, item);
		*node_r = list;
	}
	return rc;
}

int parse_location(struct parser *p, struct scope_location **location_r)
{
	struct scope_location *list = NULL, *item;
	int rc = parse_conj(p, location_r);

	while (!rc && p->lex.token == TOKEN_ELSE) {
		if (!list && !(list = wrap(p, SCOPE_NODE_ELSE, *location_r)))
			return parse_nomem(p);
		lex_next(&p->lex);
		rc = parse_conj(p, &item);
		if (!rc)
			node_append(list, item);
		*location_r = list;
	}
	return rc;
}

/* Bindings ------------------------------------------------------------------------------------- */

static size_t hash(struct span s)
{
	size_t h = 2166136261u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 16777619u;
	return (h ^ h >> 15) % SEEN_SLOTS;
}

static bool same_service(const struct scope_binding *a, const struct scope_binding *b)
{
	return a->others == b->others && span_eq(a->service, b->service);
}

/* Looks binding up in the table of those seen, and enters it as number i + 1. */
static bool seen_before(struct parser *p, const struct scope_binding *binding, size_t i)
{
	size_t at = hash(binding->service);

	while (p->seen[at]) {
		if (same_service(&p->scope->bindings[p->seen[at] - 1], binding))
			return true;
		at = (at + 1) % SEEN_SLOTS;
	}
	p->seen[at] = (uint16_t)(i + 1);
	return false;
}

static int is_duplicate(struct parser *p, const struct scope_binding *binding, bool *found_r)
{
	struct scope *s = p->scope;

	*found_r = false;
	if (!p->seen && s->count >= FEW_BINDINGS) {
		p->seen = arena_zalloc(p->arena, SEEN_SLOTS * sizeof(*p->seen));
		if (!p->seen)
			return parse_nomem(p);
		for (size_t i = 0; i < s->count; i++)
			seen_before(p, &s->bindings[i], i);
	}
	if (p->seen) {
		*found_r = seen_before(p, binding, s->count);
		return 0;
	}
	for (size_t i = 0; i < s->count && !*found_r; i++)
		*found_r = same_service(&s->bindings[i], binding);
	return 0;
}

static int grow_bindings(struct parser *p)
{
	struct scope *s = p->scope;
	size_t cap = s->cap ? s->cap * 2 : 4;
	struct scope_binding *b = arena_alloc(p->arena, cap * sizeof(*b));

	if (!b)
		return parse_nomem(p);
	if (s->count)
		memcpy(b, s->bindings, s->count * sizeof(*b));
	s->bindings = b;
	s->cap = cap;
	return 0;
}

int parse_add_binding(struct parser *p, struct scope_binding binding)
{
	struct scope *s = p->scope;
	bool found;
	int rc = is_duplicate(p, &binding, &found);

	if (!rc && s->count == s->cap)
		rc = grow_bindings(p);
	if (rc)
		return rc;
	if (!found) {
		s->bindings[s->count++] = binding;
	} else if (keeps(p, binding.column)) {
		struct span name = binding.others ? SPAN("*") : binding.service;

		p->pending = error_set(p->err, SCOPE_DUPLICATE, binding.column, NULL,
				       "\"%.*s\" is bound twice", SPAN_ARG(name));
		error_hint(p->err, "put both locations in one binding, with & or ;");
	}
	return 0;
}

/* A location and the checks that need the whole of it. */
static int parse_complete(struct parser *p, struct scope_location **location_r)
{
	struct scope_error err;
	int rc;

	p->sites = 0;
	p->classes = p->names = false;
	rc = parse_location(p, location_r);
	if (rc || !p->classes)
		return rc;
	rc = check_classes(*location_r, &err);
	if (rc && keeps(p, err.column)) {
		/* of a function that there is not the tree has no arguments: no fix can be written */
		if (p->pending == error_code(SCOPE_UNKNOWN_FUNCTION))
			err.hint[0] = '\0';
		*p->err = err;
		p->pending = rc;
	}
	return 0;
}

static int parse_service(struct parser *p, struct scope_binding *b)
{
	*b = (struct scope_binding){ .column = p->lex.column };
	if (p->lex.token == (enum token)'*' ||
	    (p->lex.token == TOKEN_NAME && span_eq(p->lex.name, SPAN("others")))) {
		b->others = true;
		lex_next(&p->lex);
	} else {
		int rc = parse_name(p, "a service", &b->service);

		if (rc)
			return rc;
	}
	if (p->lex.token == (enum token)':' || p->lex.token == (enum token)'=') {
		lex_next(&p->lex);
		return 0;
	}
	return parse_unexpected(p, "\":\" and a location");
}

static int parse_binding(struct parser *p)
{
	struct scope_location *location;
	struct scope_binding b;
	int rc = parse_service(p, &b);

	if (!rc)
		rc = parse_complete(p, &location);
	if (rc)
		return rc;
	p->scope->names |= p->names;
	b.location = location;
	return parse_add_binding(p, b);
}

/* What stands behind a location that is no part of it. */
static int parse_behind(struct parser *p, bool braces, bool binding)
{
	const char *expected = !binding ? "an operator or the end" : braces ?
		"an operator, \",\" or \"}\"" : "an operator, \",\" or the end";
	int colon = p->lex.token == (enum token)':';
	size_t next = p->lex.at;
	int rc = parse_unexpected(p, expected);

	if (!colon)
		return rc;
	if (next < p->lex.text.n && ((p->lex.text.p[next] >= '0' && p->lex.text.p[next] <= '9') ||
				     p->lex.text.p[next] == '/')) {
		rc = parse_syntax(p, p->lex.column, expected, "a scope names sites, not addresses");
		error_hint(p->err, "write the site's name alone: its addresses are in the registry");
	} else {
		error_hint(p->err, "bindings are apart by \",\"");
	}
	return rc;
}

/* A location that is the whole text. */
int parse_whole(struct parser *p, struct scope_location **location_r)
{
	int rc = parse_complete(p, location_r);

	if (rc)
		return rc;
	if (p->scope)
		p->scope->names |= p->names;
	return p->lex.token == TOKEN_END ? 0 : parse_behind(p, false, false);
}

static int parse_bindings(struct parser *p)
{
	bool braces = p->lex.token == (enum token)'{';
	int end = braces ? '}' : TOKEN_END, rc;

	if (braces)
		lex_next(&p->lex);
	if ((int)p->lex.token == end)
		goto behind;
	for (;;) {
		rc = parse_binding(p);
		if (rc)
			return rc;
		if (p->lex.token != (enum token)',')
			break;
		lex_next(&p->lex);
	}
	if ((int)p->lex.token != end)
		return parse_behind(p, braces, true);
behind:
	if (braces)
		lex_next(&p->lex);
	return p->lex.token == TOKEN_END ? 0 : parse_unexpected(p, "the end");
}

/* Entrances ------------------------------------------------------------------------------------ */

static int begin(struct parser *p, struct arena *arena, struct span text,
		 const struct scope_limits *limits, struct scope_error *err)
{
	p->arena = arena;
	p->limits = limits_clamped(limits);
	p->scope = NULL;
	p->err = err;
	p->text = text;
	p->pending = 0;
	p->depth = p->sites = 0;
	p->seen = NULL;
	p->lex.arena = arena;
	p->lex.err = err;
	p->lex.base = 1;
	p->lex.map = NULL;
	p->lex.text = text;
	if (text.n <= p->limits.text_bytes)
		return 0;
	return error_set(err, SCOPE_LIMIT, lex_column_at(&p->lex, p->limits.text_bytes), NULL,
			 "a text of %zu bytes; at most %zu", text.n, p->limits.text_bytes);
}

/* The tree, and the code of a pending error; others leave no tree. */
static int parse_scope(struct parser *p, struct arena *arena, struct span text,
		       const struct scope_limits *limits, struct scope_error *err)
{
	int rc = begin(p, arena, text, limits, err);

	if (rc)
		return rc;
	p->scope = arena_zalloc(arena, sizeof(*p->scope));
	if (!p->scope)
		return parse_nomem(p);
	if (json_is_scope(text)) {
		rc = json_parse(p);
	} else {
		lex_init(&p->lex, arena, text, 1, NULL, err);
		rc = parse_bindings(p);
	}
	if (rc)
		p->pending = 0;
	return rc ? rc : p->pending;
}

int scope_parse(struct arena *arena, struct span text, const struct scope_limits *limits,
		const struct scope **scope_r, struct scope_error *err_r)
{
	struct scope_error scratch;
	struct parser p;
	int rc = parse_scope(&p, arena, text, limits, err_r ? err_r : &scratch);

	*scope_r = rc ? NULL : p.scope;
	return rc;
}

int scope_parse_checked(struct arena *arena, struct span text, const struct scope_limits *limits,
			const struct scope_lookup *lookup, const struct scope **scope_r,
			struct scope_error *err_r)
{
	struct scope_error parsed, checked;
	struct parser p;
	int rc = parse_scope(&p, arena, text, limits, &parsed), check = 0;

	*scope_r = NULL;
	if (!rc || p.pending) {
		check = scope_check(p.scope, NULL, lookup, &checked);
		if (!rc || (check && checked.column < parsed.column)) {
			parsed = checked;
			rc = check;
		}
	}
	if (rc && err_r)
		*err_r = parsed;
	if (!rc)
		*scope_r = p.scope;
	return rc;
}

int scope_parse_location(struct arena *arena, struct span text, const struct scope_limits *limits,
			 const struct scope_location **location_r, struct scope_error *err_r)
{
	struct scope_error scratch;
	struct scope_location *location = NULL;
	struct parser p;
	int rc = begin(&p, arena, text, limits, err_r ? err_r : &scratch);

	if (!rc) {
		lex_init(&p.lex, arena, text, 1, NULL, p.err);
		rc = parse_whole(&p, &location);
	}
	if (!rc)
		rc = p.pending;
	*location_r = rc ? NULL : location;
	return rc;
}
