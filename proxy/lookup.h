/* The registry and the configuration as the scope library asks for them. */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include "proxy/conf.h"
#include "registry/registry.h"
#include "scope/scope.h"

struct lookup {
	const struct registry *reg;
	const struct conf *conf;
	struct scope_lookup scope; /* give &lookup.scope to the library */
};

/* Both outlive the lookup. */
void lookup_init(struct lookup *l, const struct registry *reg, const struct conf *conf);

#endif
