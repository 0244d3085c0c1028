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

/* A bit of http_field.drop: a carrier writes this field anew for an instance; another site gets it as it came. */
#define CARRIER_DROP 2

/* name: of the carriers that name a header. */
struct carrier {
	bool explicit_scope; /* what the client wrote itself: checked whole */
	/* The scope in this request; on CARRIER_REFUSED *why_r says why. The text is in the head or the arena. */
	enum carrier_found (*get)(struct arena *arena, const struct http_head *head, struct span name,
	                          struct span *text_r, const char **why_r);
	/* Sets CARRIER_DROP on the fields that put writes anew, or clears it. */
	void (*drop)(struct http_head *head, struct span name, bool drop);
	/* Appends field lines that carry the scope. */
	void (*put)(const struct http_head *head, struct span name, struct span scope, struct buf *out);
};

/* By enum conf_carrier_kind, whose order is that of precedence.  Correlation carries nothing in the message itself: its
 * entry is empty, exchange_correlate.c does its part. */
extern const struct carrier carrier_table[CONF_CARRIER_KINDS];

/* What all carriers of this configuration write for a service's instance; and the fields they write anew. */
void carriers_drop(const struct conf *conf, const struct conf_service *svc, struct http_head *head, bool drop);
void carriers_put(const struct conf *conf, const struct conf_service *svc, const struct http_head *head,
                  struct span scope, struct buf *out);

#endif
