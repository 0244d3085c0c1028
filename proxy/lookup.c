#include "proxy/lookup.h"

static const struct lookup *of(void *ctx)
{
	return ctx;
}

static size_t site_count(void *ctx)
{
	return of(ctx)->reg->site_count;
}

static struct span site_name(void *ctx, size_t i)
{
	return of(ctx)->reg->sites[i].name;
}

static bool site_find(void *ctx, struct span name, size_t *i_r)
{
	return registry_find(of(ctx)->reg, name, i_r);
}

static bool label_get(void *ctx, size_t i, struct span key, struct span *value_r)
{
	return registry_label_get(of(ctx)->reg, i, key, value_r);
}

static enum scope_site_state state(void *ctx, size_t i)
{
	const struct site_live *live = of(ctx)->reg->sites[i].live;

	if (site_live_is_barred(live))
		return SCOPE_SITE_FENCED;
	switch (site_live_reach(live)) {
	case REACH_DOWN:
		return SCOPE_SITE_DISCONNECTED;
	case REACH_FAILED:
		return SCOPE_SITE_FAILED;
	default:
		return SCOPE_SITE_ALIVE;
	}
}

static bool rtt_us(void *ctx, size_t from, size_t to, int64_t *us_r)
{
	return registry_rtt(of(ctx)->reg, from, to, us_r);
}

static bool named(void *ctx, struct span name, struct span *text_r)
{
	const struct conf *conf = of(ctx)->conf;

	for (size_t i = 0; i < conf->named_count; i++) {
		if (span_eq(conf->named[i].name, name)) {
			*text_r = conf->named[i].location;
			return true;
		}
	}
	return false;
}

static size_t named_count(void *ctx)
{
	return of(ctx)->conf->named_count;
}

static struct span named_name(void *ctx, size_t i)
{
	return of(ctx)->conf->named[i].name;
}

void lookup_init(struct lookup *l, const struct registry *reg, const struct conf *conf)
{
	*l = (struct lookup){ .reg = reg, .conf = conf };
	l->scope = (struct scope_lookup){
		.ctx = l,
		.local = conf->site,
		.site_count = site_count,
		.site_name = site_name,
		.site_find = site_find,
		.label_get = label_get,
		.state = state,
		.rtt_us = rtt_us,
		.named = named,
		.named_count = named_count,
		.named_name = named_name,
	};
}
