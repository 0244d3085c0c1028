/* scope/: tables of texts, limits, expansion through a made-up registry, random trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "scope/scope_int.h"

#include "accepted.h"
#include "refused.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct arena arena;
static struct buf out;
static struct scope_error err;

static int begin(void **state)
{
	(void)state;
	arena_init(&arena, NULL, 0, 0);
	buf_init(&out, NULL, 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_fini(&arena);
	buf_fini(&out);
	return 0;
}

static const struct scope *parsed(const char *text)
{
	const struct scope *scope;

	if (scope_parse(&arena, span_of(text), NULL, &scope, &err))
		fail_msg("<%s>: column %u: %s", text, err.column, err.message);
	return scope;
}

static const char *canonical(const struct scope *scope)
{
	buf_fini(&out);
	scope_print(scope, &out);
	return buf_cstr(&out);
}

static void accepted_texts_print_canonically(void **state)
{
	(void)state;
	assert_true(COUNT(accepted) >= 150);
	for (size_t i = 0; i < COUNT(accepted); i++) {
		const char *first = canonical(parsed(accepted[i].text));

		assert_string_equal(first, accepted[i].canonical);
		assert_string_equal(canonical(parsed(accepted[i].canonical)), accepted[i].canonical);
	}
}

static void refused_texts_say_kind_place_and_reason(void **state)
{
	unsigned wrong = 0;

	(void)state;
	assert_true(COUNT(refused) >= 150);
	for (size_t i = 0; i < COUNT(refused); i++) {
		const struct refused *r = &refused[i];
		const struct scope *scope;

		if (!scope_parse(&arena, span_of(r->text), NULL, &scope, &err)) {
			print_error("<%s> is accepted\n", r->text);
			wrong++;
		} else if (err.kind != r->kind || err.column != r->column ||
			   !strstr(err.message, r->part)) {
			print_error("<%s>: %s %u %s\n", r->text, scope_error_name(err.kind),
				    err.column, err.message);
			wrong++;
		}
		assert_null(scope);
	}
	assert_int_equal(wrong, 0);
}

static int parse_error(const char *text)
{
	const struct scope *scope;

	return scope_parse(&arena, span_of(text), NULL, &scope, &err);
}

static void errors_show_the_way_out(void **state)
{
	(void)state;
	assert_int_equal(parse_error("image: dc1 &"), ERR_SYNTAX);
	assert_non_null(strstr(err.hint, "shell"));
	assert_non_null(strstr(err.expected, "a site"));
	assert_int_equal(parse_error("image: strong(a) & b"), ERR_INVALID);
	assert_string_equal(err.hint, "write strong(a & b)");
	assert_int_equal(parse_error("image: weak(a; strong(b & c))"), ERR_INVALID);
	assert_string_equal(err.hint, "write weak(a; b & c)");
	assert_int_equal(parse_error("image: arond(a, 1ms)"), ERR_NOT_FOUND);
	assert_true(span_eq(err.nearest, SPAN("around")));
	assert_int_equal(err.known_count, 7);
	assert_true(span_eq(err.known[0], SPAN("around")));
	assert_true(span_eq(err.known[1], SPAN("all")));
	assert_int_equal(parse_error("a: dc1 all(x=y)"), ERR_NOT_FOUND);
	assert_non_null(strstr(err.hint, "operator is missing before \"all\""));
	assert_string_equal(scope_error_name(SCOPE_CLASS_NESTED), "class-nested");
	assert_string_equal(scope_error_name(SCOPE_SYNTAX), "scope-syntax");
}

static void what_is_no_token_says_what_was_expected(void **state)
{
	(void)state;
	assert_int_equal(parse_error("a: |b"), ERR_SYNTAX);
	assert_non_null(strstr(err.expected, "a site"));
	assert_int_equal(parse_error("a: b || c"), ERR_SYNTAX);
	assert_non_null(strstr(err.expected, "an operator"));
	assert_int_equal(parse_error("a: ü"), ERR_SYNTAX);
	assert_non_null(strstr(err.hint, "quotes"));
	assert_int_equal(parse_error("a: 'x\x01'"), ERR_SYNTAX);
	assert_string_equal(err.expected, "");
	assert_int_equal(parse_error("image: dc1:9292"), ERR_SYNTAX);
	assert_non_null(strstr(err.expected, "an operator"));
}

static void the_leftmost_error_wins_over_an_unknown_function(void **state)
{
	(void)state;
	assert_int_equal(parse_error("a: strong(b) & c & foo(d)"), ERR_INVALID);
	assert_int_equal(err.kind, SCOPE_CLASS_NESTED);
	assert_int_equal(err.column, 4);
	assert_string_equal(err.hint, "");
	assert_int_equal(parse_error("a: foo(d) & strong(b)"), ERR_NOT_FOUND);
	assert_int_equal(err.column, 4);
}

/* A long token is cut, but never inside a character: the message becomes JSON. */
static void messages_hold_whole_characters(void **state)
{
	(void)state;
	for (unsigned blanks = 0; blanks < 4; blanks++) {
		struct buf b;
		unsigned point;

		buf_init(&b, NULL, 0);
		buf_addf(&b, "a: x '%*s", (int)blanks, "");
		for (unsigned i = 0; i < 200; i++)
			buf_add_z(&b, "€");
		buf_add_char(&b, '\'');
		assert_int_equal(parse_error(buf_cstr(&b)), ERR_SYNTAX);
		assert_true(strlen(err.message) > 200);
		for (struct span rest = span_of(err.message); rest.n;) {
			size_t n = lex_char_bytes(rest, &point);

			assert_int_not_equal(n, 0);
			rest = span_from(rest, n);
		}
		buf_fini(&b);
	}
}

static void caret_is(const char *text, unsigned column, const char *want)
{
	struct buf line, caret, both;

	buf_init(&line, NULL, 0);
	buf_init(&caret, NULL, 0);
	buf_init(&both, NULL, 0);
	scope_error_caret(span_of(text), column, &line, &caret);
	buf_addf(&both, "%.*s\n%.*s", SPAN_ARG(buf_span(&line)), SPAN_ARG(buf_span(&caret)));
	assert_string_equal(buf_cstr(&both), want);
	buf_fini(&line);
	buf_fini(&caret);
	buf_fini(&both);
}

static void caret_stands_below_the_column(void **state)
{
	char text[201];
	struct buf line, caret;

	(void)state;
	caret_is("a: b)", 5, "a: b)\n    ^");
	caret_is("", 1, "\n^");
	caret_is("a:\tb\x01\xc2\x85\xff", 4, "a: b  ?\n   ^");
	caret_is("a: 'ü' x", 8, "a: 'ü' x\n       ^");
	for (size_t i = 0; i < 200; i++)
		text[i] = (char)('0' + (i + 1) % 10);
	text[200] = '\0';
	for (unsigned column = 1; column <= 200; column++) {
		char was = text[column - 1];

		text[column - 1] = '!';
		buf_init(&line, NULL, 0);
		buf_init(&caret, NULL, 0);
		scope_error_caret(span_of(text), column, &line, &caret);
		assert_true(buf_len(&line) <= 80);
		assert_int_equal(buf_span(&line).p[buf_len(&caret) - 1], '!');
		buf_fini(&line);
		buf_fini(&caret);
		text[column - 1] = was;
	}
}

/* Limits --------------------------------------------------------------------------------------- */

static const char *repeated(const char *head, const char *part, size_t times, const char *tail)
{
	struct buf b;
	const char *text;

	buf_init(&b, NULL, 0);
	buf_add_z(&b, head);
	while (times--)
		buf_add_z(&b, part);
	buf_add_z(&b, tail);
	text = arena_dup(&arena, buf_span(&b)).p;
	buf_fini(&b);
	assert_non_null(text);
	return text;
}

static void limits_hold_to_the_last_one(void **state)
{
	const struct scope_limits low = { 10, 2, 2 }, high = { 100000, 100, 1000 };
	const struct scope *scope;

	(void)state;
	parsed(repeated(repeated("a: ", "(", 32, "x"), ")", 32, ""));
	assert_int_equal(parse_error(repeated("a: ", "(", 33, "x")), ERR_LIMIT);
	assert_int_equal(err.column, 36);
	assert_int_equal(parse_error(repeated("a: ", "around(", 40, "x")), ERR_LIMIT);
	parsed(repeated("a: ", "x;", 255, "x"));
	assert_int_equal(parse_error(repeated("a: ", "x;", 256, "y")), ERR_LIMIT);
	assert_int_equal(err.column, 4 + 512);
	parsed(repeated("a: ", "x;", 255, repeated("x, b: ", "x;", 255, "x")));
	assert_int_equal(parse_error(repeated("a: ", "x;", 256, "")), ERR_SYNTAX);
	parsed(repeated("a: x", " ", 8188, ""));
	assert_int_equal(parse_error(repeated("a: x", " ", 8189, "")), ERR_LIMIT);
	assert_int_equal(err.column, 8193);
	assert_int_equal(err.kind, SCOPE_LIMIT);
	assert_int_equal(scope_parse(&arena, SPAN("a:x;y"), &low, &scope, &err), 0);
	assert_int_equal(scope_parse(&arena, SPAN("a:x;y;z"), &low, &scope, &err), ERR_LIMIT);
	assert_int_equal(scope_parse(&arena, SPAN("a:(((x)))"), &low, &scope, &err), ERR_LIMIT);
	assert_int_equal(scope_parse(&arena, SPAN("a:  x ; y  "), &low, &scope, &err), ERR_LIMIT);
	assert_int_equal(scope_parse(&arena, span_of(repeated("a: ", "x;", 256, "y")), &high, &scope,
				     &err), ERR_LIMIT);
}

static void many_services_are_told_apart(void **state)
{
	struct buf b;
	const struct scope *scope;

	(void)state;
	buf_init(&b, NULL, 0);
	for (int i = 0; i < 900; i++)
		buf_addf(&b, "%ss%d:x", i ? "," : "", i);
	assert_int_equal(scope_parse(&arena, buf_span(&b), NULL, &scope, &err), 0);
	assert_int_equal(scope_binding_count(scope), 900);
	assert_true(span_eq(scope_binding_get(scope, 899)->service, SPAN("s899")));
	assert_null(scope_binding_get(scope, 900));
	buf_add_z(&b, ",s77:x");
	assert_int_equal(scope_parse(&arena, buf_span(&b), NULL, &scope, &err), ERR_EXISTS);
	buf_fini(&b);
}

static void binding_falls_to_the_others(void **state)
{
	const struct scope *s = parsed("a: x, *: y, '*': z");

	(void)state;
	assert_int_equal(scope_bind(s, SPAN("a"))->column, 1);
	assert_int_equal(scope_bind(s, SPAN("b"))->column, 7);
	assert_int_equal(scope_bind(s, SPAN("*"))->column, 13);
	assert_null(scope_bind(parsed("a: x"), SPAN("b")));
	assert_null(scope_bind(parsed("{}"), SPAN("b")));
}

static void the_tree_can_be_read_and_shown(void **state)
{
	const struct scope *s = parsed("a: around(x & @y, 2ms); any(r!=eu)");
	const struct scope_location *n = scope_binding_get(s, 0)->location, *around;
	int64_t us;

	(void)state;
	assert_int_equal(scope_node_kind(n), SCOPE_NODE_ELSE);
	around = scope_node_child(n);
	assert_true(scope_node_duration_us(around, &us) && us == 2000);
	assert_string_equal(scope_node_kind_name(scope_node_kind(scope_node_child(around))), "and");
	assert_int_equal(scope_node_column(scope_node_next(around)), 25);
	assert_true(scope_node_labels(scope_node_next(around))->differs);
	assert_null(scope_node_next(scope_node_next(around)));
	buf_fini(&out);
	scope_print_tree(s, &out);
	assert_string_equal(buf_cstr(&out), "a\n  ; the first that succeeds of\n    around 2ms\n"
			    "      & every one of\n        x\n        @y\n    any r!=eu\n");
}

/* A made-up registry --------------------------------------------------------------------------- */

static const struct site {
	const char *name, *region;
	enum scope_site_state state;
	int us; /* from dc1; -1 unmeasured */
} sites[] = {
	{ "DC 1", NULL, SCOPE_SITE_ALIVE, 3000 }, { "dc1", "eu", SCOPE_SITE_ALIVE, 0 },
	{ "dc2", "us", SCOPE_SITE_ALIVE, 10000 }, { "dc3", "eu", SCOPE_SITE_ALIVE, 5000 },
	{ "down", "eu", SCOPE_SITE_DISCONNECTED, 1000 }, { "failed", "eu", SCOPE_SITE_FAILED, 900 },
	{ "far", "us", SCOPE_SITE_ALIVE, -1 }, { "fenced", "eu", SCOPE_SITE_FENCED, 100 },
	{ "tie", "as", SCOPE_SITE_ALIVE, 5000 },
};

static const char *const names[][2] = {
	{ "both", "dc1 & dc2" }, { "chain", "@both; dc3" }, { "class", "strong(dc1)" },
	{ "cycle", "dc1; @cycle2" }, { "cycle2", "@cycle" }, { "lost", "dc1; dc9" },
	{ "wide", "@w2;@w2;@w2;@w2" }, { "w2", "@w3;@w3;@w3;@w3" }, { "w3", "@w4;@w4;@w4;@w4" },
	{ "w4", "@none;@none;@none;@none;@none" }, { "none", "any(x=y)" }, { "wrong", "dc1 &" },
};

static size_t site_count(void *ctx)
{
	(void)ctx;
	return COUNT(sites);
}

static struct span site_name(void *ctx, size_t i)
{
	(void)ctx;
	return span_of(sites[i].name);
}

static bool site_find(void *ctx, struct span name, size_t *i_r)
{
	(void)ctx;
	for (size_t i = 0; i < COUNT(sites); i++)
		if (span_eq(name, span_of(sites[i].name))) {
			*i_r = i;
			return true;
		}
	return false;
}

static bool label_get(void *ctx, size_t i, struct span key, struct span *value_r)
{
	(void)ctx;
	*value_r = span_of(sites[i].region);
	return sites[i].region && span_eq(key, SPAN("region"));
}

static enum scope_site_state site_state(void *ctx, size_t i)
{
	(void)ctx;
	return sites[i].state;
}

/* On a line through dc1. */
static bool rtt_us(void *ctx, size_t from, size_t to, int64_t *us_r)
{
	(void)ctx;
	*us_r = llabs(sites[from].us - sites[to].us);
	return sites[from].us >= 0 && sites[to].us >= 0;
}

static bool named(void *ctx, struct span name, struct span *text_r)
{
	(void)ctx;
	for (size_t i = 0; i < COUNT(names); i++) {
		*text_r = span_of(names[i][1]);
		if (span_eq(name, span_of(names[i][0])))
			return true;
	}
	return false;
}

static size_t named_count(void *ctx)
{
	(void)ctx;
	return COUNT(names);
}

static struct span named_name(void *ctx, size_t i)
{
	(void)ctx;
	return span_of(names[i][0]);
}

static const struct scope_lookup lookup = {
	NULL, { "dc1", 3 }, site_count, site_name, site_find, label_get, site_state, rtt_us, named,
	named_count, named_name,
};

static int expand(const char *text, const struct scope_plan **plan_r)
{
	const struct scope_location *location;

	if (scope_parse_location(&arena, span_of(text), NULL, &location, &err))
		fail_msg("<%s>: %s", text, err.message);
	return scope_expand(&arena, location, &lookup, NULL, plan_r, &err);
}

static void locations_expand_to_two_operators(void **state)
{
	static const char *const rows[][2] = {
		{ "local", "dc1" }, { "local & dc1", "dc1" }, { "dc2; dc1; dc2", "dc2; dc1" },
		{ "dc1 & (dc2 & dc3)", "dc1 & dc2 & dc3" }, { "dc1 & (dc2; dc3)", "dc1 & (dc2; dc3)" },
		{ "DC 1; local", "DC 1; dc1" },
		{ "all(region=eu)", "dc1 & dc3 & down & failed" },
		{ "any(region=eu)", "dc1; dc3; failed; down" },
		{ "any(region!=eu)", "DC 1; tie; dc2; far" }, { "all(region=us)", "dc2 & far" },
		{ "any(x!=y)", "dc1; DC 1; dc3; tie; dc2; far; failed; down" },
		{ "all(region=eu, region!=eu); dc2", "dc2" }, { "all(region=as)", "tie" },
		{ "dc2; any(region=xx); dc3", "dc2; dc3" }, { "dc1 & all(region=xx); dc3", "dc3" },
		{ "around(any(region=xx), 1s); dc1", "dc1" }, { "strong(all(region=xx)); dc1", "dc1" },
		{ "all(region=us) & dc2", "dc2 & far" },
		{ "around(dc1, 0ms)", "dc1" }, { "around(dc1, 3ms)", "dc1; DC 1; failed; down" },
		{ "around(dc1, 5ms)", "dc1; DC 1; dc3; tie; failed; down" },
		{ "around(dc1, 2.999ms)", "dc1; failed; down" },
		{ "around(dc2, 5ms)", "dc2; dc3; tie" }, { "around(fenced, 2ms)", "fenced; dc1; failed; down" },
		{ "around(dc1 & dc3, 2ms)", "dc1 & dc3; tie; DC 1; failed; down" },
		{ "around(dc2; dc1, 100us)", "dc2; dc1" }, { "around(far, 1s)", "far" },
		{ "around(strong(dc2), 5ms)", "strong(dc2); dc3; tie" },
		{ "around(around(dc2, 5ms), 2ms)", "dc2; dc3; tie; DC 1" },
		{ "strong(dc1 & dc2); weak(dc3)", "strong(dc1 & dc2); weak(dc3)" },
		{ "weak(dc1; dc2)", "weak(dc1; dc2)" }, { "weak(dc1 & (dc2; dc3))", "weak(dc1 & (dc2; dc3))" },
		{ "@both", "dc1 & dc2" }, { "@chain", "dc1 & dc2; dc3" }, { "@both & dc3", "dc1 & dc2 & dc3" },
		{ "quorum(@both)", "quorum(dc1 & dc2)" }, { "@class; dc2", "strong(dc1); dc2" },
	};
	const struct scope_plan *plan;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (expand(rows[i][0], &plan))
			fail_msg("<%s>: %s", rows[i][0], err.message);
		buf_fini(&out);
		scope_print_plan(plan, &out);
		assert_string_equal(buf_cstr(&out), rows[i][1]);
	}
}

static void expansion_tells_what_fails(void **state)
{
	static const struct {
		const char *text;
		enum scope_error_kind kind;
		unsigned column;
		const char *part;
	} rows[] = {
		{ "dc1; dc9", SCOPE_UNKNOWN_SITE, 6, "dc9" }, { "@lost", SCOPE_UNKNOWN_SITE, 1, "dc9" },
		{ "any(region=xx)", SCOPE_NO_MATCH, 1, "any(region=xx)" },
		{ "dc1 & all(region=xx)", SCOPE_NO_MATCH, 7, "all(region=xx)" },
		{ "any(a=b); any(c=d)", SCOPE_NO_MATCH, 1, "any(a=b)" },
		{ "around(any(a=b), 1s)", SCOPE_NO_MATCH, 8, "any(a=b)" },
		{ "dc1; @cycle", SCOPE_UNKNOWN_NAME, 6, "itself" },
		{ "@botj", SCOPE_UNKNOWN_NAME, 1, "botj" }, { "@wide", SCOPE_LIMIT, 1, "256" },
		{ "@wrong", SCOPE_SYNTAX, 1, "in @wrong" }, { "dc2 & @class", SCOPE_CLASS_NESTED, 7, "strong" },
		{ "weak(@class)", SCOPE_CLASS_NESTED, 6, "strong" },
	};
	const struct scope_plan *plan;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(expand(rows[i].text, &plan) < 0);
		assert_null(plan);
		if (err.kind != rows[i].kind || err.column != rows[i].column ||
		    !strstr(err.message, rows[i].part))
			fail_msg("<%s>: %s %u %s", rows[i].text, scope_error_name(err.kind),
				 err.column, err.message);
	}
	expand("weak(@class)", &plan);
	assert_string_equal(err.hint, "strong(...) is in what @class stands for");
	expand("dc9", &plan);
	assert_int_equal(err.known_count, 8);
	assert_true(span_eq(err.known[0], err.nearest));
	assert_true(span_eq(err.nearest, SPAN("dc1")));
	expand("@botj", &plan);
	assert_true(span_eq(err.nearest, SPAN("both")));
}

static void expansion_is_bounded(void **state)
{
	const struct scope_limits four = { 0, 0, 4 };
	const struct scope_location *l;
	const struct scope_plan *plan;

	(void)state;
	assert_int_equal(scope_parse_location(&arena, SPAN("all(region=eu)"), NULL, &l, &err), 0);
	assert_int_equal(scope_expand(&arena, l, &lookup, &four, &plan, &err), 0);
	assert_int_equal(plan->count, 4);
	assert_int_equal(scope_parse_location(&arena, SPAN("dc2; all(region=eu)"), NULL, &l, &err), 0);
	assert_int_equal(scope_expand(&arena, l, &lookup, &four, &plan, &err), ERR_LIMIT);
	assert_int_equal(err.kind, SCOPE_LIMIT);
	assert_int_equal(err.column, 6);
}

static void replication_is_marked_even_at_one_site(void **state)
{
	const struct scope_plan *plan;

	(void)state;
	assert_int_equal(expand("dc1; dc2", &plan), 0);
	assert_false(plan->replicated || plan->items[0]->replicated);
	assert_int_equal(expand("dc1 & dc1", &plan), 0);
	assert_true(plan->op == SCOPE_SITE && plan->replicated && plan->site_index == 1);
	assert_int_equal(expand("all(region=as)", &plan), 0);
	assert_true(plan->op == SCOPE_SITE && plan->replicated);
	assert_int_equal(expand("weak(dc1; dc2)", &plan), 0);
	assert_true(plan->klass == SCOPE_WEAK && plan->items[1]->klass == SCOPE_WEAK);
	assert_true(plan->items[0]->replicated && plan->items[1]->replicated);
	assert_int_equal(expand("around(strong(dc2), 5ms)", &plan), 0);
	assert_int_equal(plan->klass, SCOPE_CLASS_NONE);
	assert_true(plan->items[0]->klass == SCOPE_STRONG && plan->items[0]->replicated);
	assert_true(plan->items[1]->klass == SCOPE_CLASS_NONE && !plan->items[1]->replicated);
	assert_int_equal(expand("dc1; dc2 & dc3", &plan), 0);
	assert_true(!plan->replicated && plan->items[1]->replicated);
}

static void checks_find_the_leftmost(void **state)
{
	const struct scope *s = parsed("a: dc1, b: dc9; @botj, c: @cycle");

	(void)state;
	assert_int_equal(scope_check(s, NULL, NULL, &err), 0);
	assert_int_equal(scope_check(s, NULL, &lookup, &err), ERR_NOT_FOUND);
	assert_int_equal(err.column, 12);
	assert_int_equal(scope_check(s, scope_bind(s, SPAN("a")), &lookup, &err), 0);
	assert_int_equal(scope_check(s, scope_bind(s, SPAN("c")), &lookup, &err), ERR_NOT_FOUND);
	assert_true(err.kind == SCOPE_UNKNOWN_NAME && err.column == 27);
	s = parsed("a: dc2 & @class");
	assert_int_equal(scope_check(s, NULL, &lookup, &err), ERR_INVALID);
	assert_int_equal(err.column, 10);
	assert_string_equal(err.hint, "strong(...) is in what @class stands for");
	s = parsed("a: @lost");
	assert_int_equal(scope_check(s, NULL, &lookup, &err), ERR_NOT_FOUND);
	assert_true(err.kind == SCOPE_UNKNOWN_SITE && err.column == 4);
	assert_int_equal(scope_parse_checked(&arena, SPAN("a: dc9, a: dc1"), NULL, &lookup, &s, &err),
			 ERR_NOT_FOUND);
	assert_int_equal(err.column, 4);
	assert_int_equal(scope_parse_checked(&arena, SPAN("a: dc1, a: dc9"), NULL, &lookup, &s, &err),
			 ERR_EXISTS);
	assert_int_equal(scope_parse_checked(&arena, SPAN("a: dc9, a: ("), NULL, &lookup, &s, &err),
			 ERR_SYNTAX);
	assert_int_equal(scope_parse_checked(&arena, SPAN("a: dc1"), NULL, &lookup, &s, &err), 0);
}

static void names_are_replaced_where_a_scope_enters(void **state)
{
	const struct scope *s = parsed("a: dc1; dc2"), *bare;

	(void)state;
	assert_int_equal(scope_replace_names(&arena, s, &lookup, NULL, &bare, &err), 0);
	assert_ptr_equal(bare, s);
	s = parsed("a: @both & dc3, b: @chain; local, c: around(@both, 1ms), d: @chain & dc3");
	assert_int_equal(scope_replace_names(&arena, s, &lookup, NULL, &bare, &err), 0);
	assert_string_equal(canonical(bare), "a: dc1 & dc2 & dc3, b: dc1 & dc2; dc3; local, "
			    "c: around(dc1 & dc2, 1ms), d: (dc1 & dc2; dc3) & dc3");
	s = parsed("a: dc1, b: @cycle");
	assert_int_equal(scope_replace_names(&arena, s, &lookup, NULL, &bare, &err), ERR_NOT_FOUND);
	assert_int_equal(err.column, 12);
	assert_null(bare);
	s = parsed("a: dc3 & @class");
	assert_int_equal(scope_replace_names(&arena, s, &lookup, NULL, &bare, &err), ERR_INVALID);
	s = parsed("{\"a\": \"@both\"}");
	assert_int_equal(scope_replace_names(&arena, s, &lookup, NULL, &bare, &err), 0);
	assert_string_equal(canonical(bare), "a: dc1 & dc2");
}

/* Random trees --------------------------------------------------------------------------------- */

static uint64_t seed = 20260101;

static unsigned random_below(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

static void add_random(struct buf *b, unsigned depth, bool classes)
{
	static const char *const leaves[] = {
		"dc1", "DC 1", "local", "\"local\"", "@both", "'and'", "\"a\\\"b\"", "'ü x'", "dc3",
		"all(a=b)", "any(a!=b, 'c d'=e)",
	};
	static const char *const klass[] = { "weak", "eventual", "quorum", "strong" };
	unsigned kind = depth ? random_below(6) : 0;

	if (kind <= 1) {
		buf_add_z(b, leaves[random_below(COUNT(leaves))]);
	} else if (kind == 2 && classes) {
		buf_addf(b, "%s(", klass[random_below(4)]);
		add_random(b, depth - 1, false);
		buf_add_char(b, ')');
	} else if (kind == 3) {
		buf_add_z(b, "around(");
		add_random(b, depth - 1, classes);
		buf_addf(b, ", %uus)", random_below(5000) * 250);
	} else {
		bool conj = kind == 4;
		unsigned n = 2 + random_below(2);

		for (unsigned i = 0; i < n; i++) {
			buf_add_z(b, !i ? "(" : conj ? ") & (" : ") ; (");
			add_random(b, depth - 1, classes && !conj);
		}
		buf_add_char(b, ')');
	}
}

static bool same_tree(const struct scope_location *a, const struct scope_location *b)
{
	int64_t us_a = 0, us_b = 0;

	if (!a || !b)
		return a == b;
	if (scope_node_kind(a) != scope_node_kind(b) ||
	    !span_eq(scope_node_name(a), scope_node_name(b)) ||
	    scope_node_duration_us(a, &us_a) != scope_node_duration_us(b, &us_b) || us_a != us_b)
		return false;
	return same_tree(scope_node_child(a), scope_node_child(b)) &&
	       same_tree(scope_node_next(a), scope_node_next(b));
}

static void random_trees_print_and_parse_to_themselves(void **state)
{
	struct buf text, again;
	unsigned trees = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		const struct scope_location *first, *second;

		buf_init(&text, NULL, 0);
		buf_init(&again, NULL, 0);
		add_random(&text, 4, true);
		if (!scope_parse_location(&arena, buf_span(&text), NULL, &first, &err)) {
			trees++;
			buf_fini(&out);
			scope_print_location(first, &out);
			assert_int_equal(scope_parse_location(&arena, buf_span(&out), NULL, &second,
							      &err), 0);
			assert_true(same_tree(first, second));
			scope_print_location(second, &again);
			assert_true(span_eq(buf_span(&again), buf_span(&out)));
		} else {
			assert_int_equal(err.kind, SCOPE_LIMIT);
		}
		arena_reset(&arena);
		buf_fini(&text);
		buf_fini(&again);
	}
	assert_true(trees > 2900);
}

/* Memory --------------------------------------------------------------------------------------- */

/* Everything there is, with `bytes` of memory; the code of the first failure. */
static int use_all(void *room, size_t bytes)
{
	static const char *const texts[] = {
		"a: 'x\\'y' & DC  1; around(@both, 1ms), b: all(region=eu), c: @chain, d: 1, e: 2",
		"{\"a\": \"\\u0064c1; any(region=eu)\", \"b\": \"strong(local)\"}",
	};
	const struct scope *s;
	const struct scope_plan *plan;
	struct arena a;
	int rc = 0;

	for (size_t i = 0; i < 2 && !rc; i++) {
		arena_init(&a, room, bytes, 1);
		rc = scope_parse(&a, span_of(texts[i]), NULL, &s, &err);
		if (!rc)
			rc = scope_replace_names(&a, s, &lookup, NULL, &s, &err);
		for (size_t k = 1 - i; !rc && k < scope_binding_count(s) && k < 3; k++)
			rc = scope_expand(&a, scope_binding_get(s, k)->location, &lookup, NULL, &plan,
					  &err);
		arena_fini(&a);
	}
	return rc;
}

static void every_failed_allocation_is_told(void **state)
{
	max_align_t room[2048];
	size_t failed = 0;
	int rc = ERR_NOMEM;

	(void)state;
	for (size_t bytes = 0; bytes <= sizeof(room) && rc; bytes += 16) {
		rc = use_all(room, bytes);
		if (rc) {
			assert_int_equal(rc, ERR_NOMEM);
			assert_int_equal(err.kind, SCOPE_NOMEM);
			failed++;
		}
	}
	assert_int_equal(rc, 0);
	assert_true(failed > 100);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(accepted_texts_print_canonically),
		TEST(refused_texts_say_kind_place_and_reason),
		TEST(errors_show_the_way_out),
		TEST(what_is_no_token_says_what_was_expected),
		TEST(the_leftmost_error_wins_over_an_unknown_function),
		TEST(messages_hold_whole_characters),
		TEST(caret_stands_below_the_column),
		TEST(limits_hold_to_the_last_one),
		TEST(many_services_are_told_apart),
		TEST(binding_falls_to_the_others),
		TEST(the_tree_can_be_read_and_shown),
		TEST(locations_expand_to_two_operators),
		TEST(expansion_tells_what_fails),
		TEST(expansion_is_bounded),
		TEST(replication_is_marked_even_at_one_site),
		TEST(checks_find_the_leftmost),
		TEST(names_are_replaced_where_a_scope_enters),
		TEST(random_trees_print_and_parse_to_themselves),
		TEST(every_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
