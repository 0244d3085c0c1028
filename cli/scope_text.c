/* A scope's text judged by the scope library, and its complaint put into lines for people:
 *
 *	scopectl: column 12: MESSAGE
 *	  TEXT
 *	  CARET
 *	expected: ...
 *	hint: ...
 *	known: ...
 *	nearest: ...
 *
 * Without a lookup only the form is checked: sites and @names are the daemon's to know. */
#include "cli/scope_args.h"

#include "base/arena.h"
#include "scope/scope.h"

static void print_line(FILE *out, const char *label, struct span text)
{
	if (text.n)
		fprintf(out, "%s%.*s\n", label, SPAN_ARG(text));
}

static void print_error(struct span text, const struct scope_error *e, FILE *out)
{
	struct buf line, caret;

	buf_init(&line, NULL, 0);
	buf_init(&caret, NULL, 0);
	scope_error_caret(text, e->column, &line, &caret);
	fprintf(out, "scopectl: scope, column %u: %s\n", e->column, e->message);
	print_line(out, "  ", buf_span(&line));
	print_line(out, "  ", buf_span(&caret));
	print_line(out, "expected: ", span_of(e->expected));
	print_line(out, "hint: ", span_of(e->hint));
	for (unsigned i = 0; i < e->known_count; i++)
		fprintf(out, "%s%.*s%s", i ? ", " : "known: ", SPAN_ARG(e->known[i]),
			i + 1 == e->known_count ? "\n" : "");
	print_line(out, "nearest: ", e->nearest);
	buf_fini(&line);
	buf_fini(&caret);
}

int scope_text_read(struct span text, struct buf *canonical_r, struct buf *tree_r, FILE *complain)
{
	struct scope_error e = { 0 };
	const struct scope *scope;
	struct arena arena;
	int rc;

	arena_init(&arena, NULL, 0, 0);
	rc = scope_parse(&arena, text, NULL, &scope, &e);
	if (rc == 0)
		rc = scope_check(scope, NULL, NULL, &e);
	if (rc == 0 && canonical_r)
		scope_print(scope, canonical_r);
	if (rc == 0 && tree_r)
		scope_print_tree(scope, tree_r);
	if (rc && complain)
		print_error(text, &e, complain);
	arena_fini(&arena);
	if ((canonical_r && canonical_r->failed) || (tree_r && tree_r->failed))
		rc = ERR_NOMEM;
	return rc && rc != ERR_NOMEM ? ERR_SYNTAX : rc;
}
