/* The scope texts of a configuration: services.X.scope and .default, and scope.named, held against
 * the language and the sites of the registry.  Cycles among named locations, unknown names and
 * sites are found by the scope library; this file lends it what the configuration knows. */
#include "scope/scope.h"

#include "base/addr.h"
#include "proxy/conf_int.h"

struct known {
	const struct conf *conf;
	const struct registry *reg;
};

static size_t known_site_count(void *ctx)
{
	return ((const struct known *)ctx)->reg->site_count;
}

static struct span known_site_name(void *ctx, size_t i)
{
	return ((const struct known *)ctx)->reg->sites[i].name;
}

static bool known_site_find(void *ctx, struct span name, size_t *i_r)
{
	return registry_find(((const struct known *)ctx)->reg, name, i_r);
}

static bool known_label_get(void *ctx, size_t i, struct span key, struct span *value_r)
{
	return registry_label_get(((const struct known *)ctx)->reg, i, key, value_r);
}

static bool known_named(void *ctx, struct span name, struct span *text_r)
{
	const struct conf *conf = ((const struct known *)ctx)->conf;

	for (size_t i = 0; i < conf->named_count; i++)
		if (span_eq(conf->named[i].name, name)) {
			*text_r = conf->named[i].location;
			return true;
		}
	return false;
}

static size_t known_named_count(void *ctx)
{
	return ((const struct known *)ctx)->conf->named_count;
}

static struct span known_named_name(void *ctx, size_t i)
{
	return ((const struct known *)ctx)->conf->named[i].name;
}

/* Whether the text stands in the file as it is, so that its column is one of the file's. */
static bool is_verbatim(const struct yaml *y, const struct yaml_node *node, unsigned skip)
{
	struct span rest = y->text;
	unsigned line = 1;
	size_t at = 0, column = 1;

	for (; at < rest.n && line < node->at.line; at++)
		line += rest.p[at] == '\n';
	for (; at < rest.n && column < node->at.column + skip; at++)
		column += ((unsigned char)rest.p[at] & 0xc0) != 0x80;
	while (at < rest.n && ((unsigned char)rest.p[at] & 0xc0) == 0x80)
		at++;
	return span_starts(span_from(rest, at), node->text);
}

static void problem(struct opt_reader *r, const char *key, const struct yaml_node *node,
                    struct span text, const struct scope_error *e)
{
	struct yaml_place at = node ? node->at : (struct yaml_place){ 0, 0 };
	unsigned skip = node && !node->plain;
	struct buf hint;

	buf_init(&hint, NULL, 0);
	/* a file is not read by a shell, whatever the library suspects */
	if (e->hint[0] && !(e->expected[0] && strstr(e->hint, "shell")))
		buf_add_z(&hint, e->hint);
	else if (e->nearest.n)
		buf_addf(&hint, "did you mean \"%.*s\"?", SPAN_ARG(e->nearest));
	else if (e->expected[0])
		buf_addf(&hint, "expected %s", e->expected);
	if (node && e->column && is_verbatim(r->yaml, node, skip)) {
		at.column += e->column - 1 + skip;
		yaml_problem(r->yaml, at, buf_len(&hint) ? buf_cstr(&hint) : NULL, "%s: %s", key, e->message);
	} else {
		yaml_problem(r->yaml, at, buf_len(&hint) ? buf_cstr(&hint) : NULL, "%s: %s (column %u of \"%.*s\")",
		             key, e->message, e->column, SPAN_ARG(text));
	}
	buf_fini(&hint);
}

static int check_location(struct opt_reader *r, const char *key, const struct span *text,
                          const struct scope_limits *limits, const struct scope_lookup *lookup)
{
	const struct scope_location *location;
	struct scope_error e;
	struct arena arena;
	int error;

	arena_init(&arena, NULL, 0, 0);
	error = scope_parse_location(&arena, *text, limits, &location, &e);
	if (!error)
		error = scope_check_location(location, lookup, &e);
	if (error && error != ERR_NOMEM)
		problem(r, key, opt_where(r, text), *text, &e);
	arena_fini(&arena);
	return error == ERR_NOMEM ? error : 0;
}

static int check_scope(struct opt_reader *r, const struct span *text, const struct scope_limits *limits,
                       const struct scope_lookup *lookup)
{
	const struct scope *scope;
	struct scope_error e;
	struct arena arena;
	int error;

	arena_init(&arena, NULL, 0, 0);
	error = scope_parse_checked(&arena, *text, limits, lookup, &scope, &e);
	if (error && error != ERR_NOMEM)
		problem(r, "scope", opt_where(r, text), *text, &e);
	arena_fini(&arena);
	return error == ERR_NOMEM ? error : 0;
}

/* Empty where the option table has said already what is wrong. */
static int check_all(struct opt_reader *r, struct conf *conf, const struct scope_limits *limits,
                     const struct scope_lookup *lookup)
{
	int error = 0;

	for (size_t i = 0; i < conf->named_count && !error; i++)
		error = check_location(r, "named", &conf->named[i].location, limits, lookup);
	for (size_t i = 0; i < conf->service_count && !error; i++) {
		struct conf_service *s = &conf->services[i];

		error = check_scope(r, &s->scope, limits, lookup);
		if (!error && s->default_location.n)
			error = check_location(r, "default", &s->default_location, limits, lookup);
	}
	return error;
}

int conf_check_scopes(struct opt_reader *r, struct conf *conf, const struct registry *reg)
{
	struct known known = { conf, reg };
	struct scope_limits limits = { conf->limit_scope_text, (unsigned)conf->limit_scope_depth,
		                       (unsigned)conf->limit_scope_sites };
	struct scope_lookup lookup = {
		.ctx = &known, .local = conf->site, .site_count = known_site_count,
		.site_name = known_site_name, .site_find = known_site_find,
		.label_get = known_label_get, .named = known_named, .named_count = known_named_count,
		.named_name = known_named_name,
	};

	return check_all(r, conf, &limits, reg ? &lookup : NULL);
}
