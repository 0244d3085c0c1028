/* Carriers: how a scope comes in with a request and travels on with it (spec section 2).  One table
 * entry each, in the order of precedence. */
#ifndef PROXY_CARRIER_H
#define PROXY_CARRIER_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/message.h"
#include "proxy/conf.h"

/* W3C baggage: what we write keeps within these. */
#define BAGGAGE_MEMBERS 64
#define BAGGAGE_BYTES 8192

enum carrier_found { CARRIER_NONE, CARRIER_SCOPE, CARRIER_REFUSED };

struct carrier {
	const char *kind;    /* as scope.carriers names it */
	bool explicit_scope; /* what the client wrote itself: checked whole */
	/* The scope in this request; on CARRIER_REFUSED *why_r says why. The text is in the head or the arena. */
	enum carrier_found (*get)(struct arena *arena, const struct http_head *head, struct span *text_r,
	                          const char **why_r);
	/* Marks as dropped the fields that put writes anew. */
	void (*drop)(struct http_head *head);
	/* Appends field lines that carry the scope. */
	void (*put)(const struct http_head *head, struct span scope, struct buf *out);
};

/* NULL-kind entry last. */
extern const struct carrier carrier_table[];
/* The entry of a configured carrier, or NULL when this version has none of that kind. */
const struct carrier *carrier_find(struct span kind);
bool carrier_on(const struct conf *conf, const struct carrier *c);

#endif
