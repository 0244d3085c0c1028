/* Scope texts: what parses prints to a text that parses and prints the same; checks, replacement
 * of names and expansion end without harm; errors lie inside the text. */
#include <stdint.h>
#include <stdlib.h>

#include "scope/scope_int.h"
#include "tests/fuzz/require.h"

static const char *const sites[] = { "DC 1", "a", "b", "dc1", "dc2", "dc3" };
static const char *const names[][2] = {
	{ "both", "dc1 & dc2" }, { "cycle", "@cycle; a" }, { "deep", "strong(@both)" },
	{ "wide", "@both; @both; all(x=y)" }, { "wrong", "(" },
};

static size_t site_count(void *ctx)
{
	(void)ctx;
	return sizeof(sites) / sizeof(sites[0]);
}

static struct span site_name(void *ctx, size_t i)
{
	(void)ctx;
	return span_of(sites[i]);
}

static bool site_find(void *ctx, struct span name, size_t *i_r)
{
	for (*i_r = 0; *i_r < site_count(ctx); ++*i_r)
		if (span_eq(name, span_of(sites[*i_r])))
			return true;
	return false;
}

static bool label_get(void *ctx, size_t i, struct span key, struct span *value_r)
{
	(void)ctx;
	*value_r = i % 2 ? SPAN("eu") : SPAN("us");
	return span_eq(key, SPAN("region"));
}

static enum scope_site_state state(void *ctx, size_t i)
{
	(void)ctx;
	return (enum scope_site_state)(i % 4);
}

static bool rtt_us(void *ctx, size_t from, size_t to, int64_t *us_r)
{
	(void)ctx;
	*us_r = (int64_t)(from > to ? from - to : to - from) * 3000;
	return from + to != 7;
}

static size_t named_count(void *ctx)
{
	(void)ctx;
	return sizeof(names) / sizeof(names[0]);
}

static struct span named_name(void *ctx, size_t i)
{
	(void)ctx;
	return span_of(names[i][0]);
}

static bool named(void *ctx, struct span name, struct span *text_r)
{
	for (size_t i = 0; i < named_count(ctx); i++) {
		*text_r = span_of(names[i][1]);
		if (span_eq(name, span_of(names[i][0])))
			return true;
	}
	return false;
}

static const struct scope_lookup lookup = {
	NULL, { "dc1", 3 }, site_count, site_name, site_find, label_get, state, rtt_us, named,
	named_count, named_name,
};

/* They become JSON and lines on terminals. */
static void check_characters(const char *said)
{
	unsigned point;

	for (struct span rest = span_of(said); rest.n;) {
		size_t n = lex_char_bytes(rest, &point);

		REQUIRE(n);
		rest = span_from(rest, n);
	}
}

static void check_error(struct span text, const struct scope_error *err)
{
	struct buf line, caret;

	check_characters(err->message);
	check_characters(err->expected);
	check_characters(err->hint);

	REQUIRE(err->column >= 1 && err->column <= text.n + 1 && err->message[0]);
	REQUIRE(err->known_count <= SCOPE_KNOWN_MAX);
	buf_init(&line, NULL, 0);
	buf_init(&caret, NULL, 0);
	scope_error_caret(text, err->column, &line, &caret);
	REQUIRE(buf_len(&caret) >= 1 && buf_len(&caret) <= 80);
	buf_fini(&line);
	buf_fini(&caret);
}

static void expand_all(struct arena *a, struct span text, const struct scope *scope)
{
	struct scope_error err;
	const struct scope_plan *plan;
	struct buf out;

	for (size_t i = 0; i < scope_binding_count(scope); i++) {
		const struct scope_binding *b = scope_binding_get(scope, i);

		if (scope_expand(a, b->location, &lookup, NULL, &plan, &err)) {
			check_error(text, &err);
			continue;
		}
		buf_init(&out, NULL, 0);
		scope_print_plan(plan, &out);
		REQUIRE(buf_len(&out));
		buf_fini(&out);
	}
}

static void print_again(struct arena *a, const struct scope *scope)
{
	struct buf first, second;
	const struct scope *again;

	buf_init(&first, NULL, 0);
	buf_init(&second, NULL, 0);
	scope_print(scope, &first);
	if (buf_len(&first) <= scope_limits_default.text_bytes) {
		REQUIRE(!scope_parse(a, buf_span(&first), NULL, &again, NULL));
		scope_print(again, &second);
		REQUIRE(span_eq(buf_span(&first), buf_span(&second)));
	}
	buf_fini(&first);
	buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make((const char *)data, size);
	const struct scope *scope, *bare;
	struct scope_error err;
	struct arena a;

	arena_init(&a, NULL, 0, 0);
	if (scope_parse(&a, text, NULL, &scope, &err)) {
		check_error(text, &err);
		REQUIRE(scope_parse_checked(&a, text, NULL, &lookup, &scope, &err));
		check_error(text, &err);
	} else {
		print_again(&a, scope);
		if (scope_check(scope, NULL, &lookup, &err))
			check_error(text, &err);
		if (scope_replace_names(&a, scope, &lookup, NULL, &bare, &err))
			check_error(text, &err);
		else
			print_again(&a, bare);
		expand_all(&a, text, scope);
	}
	arena_fini(&a);
	return 0;
}
