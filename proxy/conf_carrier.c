/* scope.carriers: KIND, or KIND:NAME where a header is to be named. */
#include "proxy/conf_int.h"
#include "proxy/correlation_value.h"

static const struct { const char *kind; bool named; } kinds[] = {
	[CONF_CARRIER_HEADER] = { "header", false },
	[CONF_CARRIER_BAGGAGE] = { "baggage", false },
	[CONF_CARRIER_PIGGYBACK] = { "piggyback", true },
	[CONF_CARRIER_CORRELATE] = { "correlate", true },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Fields that the proxy writes itself or that end here. */
static bool is_ours(struct span name)
{
	static const char *const ours[] = { "baggage", "connection", "content-length", "content-type", "expect",
		                            "forwarded", "host", "keep-alive", "proxy-connection", "te", "trailer",
		                            "transfer-encoding", "upgrade", "via", "x-scope" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (span_eq(name, span_of(ours[i])))
			return true;
	return span_starts(name, SPAN("x-scope-")) || span_starts(name, SPAN("x-scopemesh-")) ||
	       span_starts(name, SPAN("x-forwarded-"));
}

static int parse_name(struct opt_reader *r, struct span text, struct conf_carrier *c, struct err *e)
{
	char *name = arena_alloc(r->arena, text.n + 1);

	if (!name) {
		r->nomem = true;
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < text.n; i++) {
		if (!conf_is_token_char((unsigned char)text.p[i]))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no header name", SPAN_ARG(text));
		name[i] = (char)(text.p[i] >= 'A' && text.p[i] <= 'Z' ? text.p[i] | 0x20 : text.p[i]);
	}
	name[text.n] = '\0';
	c->name = span_make(name, text.n);
	if (!text.n || text.n > 64)
		return err_set(e, ERR_INVALID, "a header name of at most 64 characters is missing behind the colon");
	if (is_ours(c->name))
		return err_set(e, ERR_INVALID, "\"%.*s\" cannot carry a scope: the proxy writes it itself", SPAN_ARG(text));
	c->values = (uint8_t)correlation_kind_of(c->name);
	return 0;
}

static int parse_carrier(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	struct conf_carrier *c = value;
	size_t colon = span_find(text, ':');

	(void)o;
	*c = (struct conf_carrier){ .text = SPAN(""), .name = SPAN("") };
	for (size_t i = 0; i < KINDS; i++) {
		if (!span_eq(span_head(text, colon), span_of(kinds[i].kind)))
			continue;
		if (!kinds[i].named && colon < text.n)
			return err_set(e, ERR_INVALID, "%s names no header", kinds[i].kind);
		if (kinds[i].named && colon == text.n)
			return err_set(e, ERR_INVALID, "%s needs a header; expected e.g. %s:%s", kinds[i].kind,
			               kinds[i].kind, i == CONF_CARRIER_CORRELATE ? "traceparent" : "x-auth-token");
		if (kinds[i].named && parse_name(r, span_from(text, colon + 1), c, e))
			return ERR_INVALID;
		c->kind = (enum conf_carrier_kind)i;
		c->text = span_of(arena_printf(r->arena, kinds[i].named ? "%s:%.*s" : "%s", kinds[i].kind,
		                               SPAN_ARG(c->name)));
		r->nomem |= !c->text.p;
		return c->text.p ? 0 : ERR_NOMEM;
	}
	return err_set(e, ERR_INVALID,
	               "\"%.*s\" is no carrier; expected header, baggage, piggyback:NAME or correlate:NAME",
	               SPAN_ARG(text));
}

static void print_carrier(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(((const struct conf_carrier *)value)->text, out);
}

const struct opt_type conf_type_carrier = { "carrier", sizeof(struct conf_carrier), parse_carrier, print_carrier, NULL };

unsigned conf_correlation_keys(const struct conf *conf)
{
	unsigned keys = 0;

	for (size_t i = 0; i < conf->carrier_count; i++)
		if (conf->carriers[i].kind == CONF_CARRIER_CORRELATE)
			keys += correlation_values_most((enum correlation_kind)conf->carriers[i].values);
	return keys;
}

void conf_check_carriers(struct opt_reader *r, struct conf *conf)
{
	unsigned keys = 0;

	for (size_t i = 0; i < conf->carrier_count; i++) {
		const struct conf_carrier *c = &conf->carriers[i];
		bool twice = false;

		for (size_t j = 0; j < i && !twice && c->text.n; j++)
			twice = span_eq(c->text, conf->carriers[j].text);
		if (twice)
			yaml_problem(r->yaml, opt_place(r, c), NULL, "carriers: \"%.*s\" is there twice",
			             SPAN_ARG(c->text));
		if (c->kind == CONF_CARRIER_CORRELATE)
			keys += correlation_values_most((enum correlation_kind)c->values);
	}
	if (keys > CORRELATION_KEYS_MOST || conf->carrier_count > CONF_CARRIERS_MOST)
		yaml_problem(r->yaml, opt_place(r, &conf->carriers), NULL,
		             "carriers: too many; at most %d, whose headers bring at most %d values", CONF_CARRIERS_MOST,
		             CORRELATION_KEYS_MOST);
}
