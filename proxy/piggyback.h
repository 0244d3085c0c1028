/* piggyback:NAME: a scope behind the value of a header that services hand on, "VALUE!SCOPE!image: dc1" (spec section 2).
 * What holds: within the proxy a field never keeps the scope behind its value (piggyback_bare), so it is neither
 * logged nor sent to another site; it is put behind again on the way to an instance. */
#ifndef PROXY_PIGGYBACK_H
#define PROXY_PIGGYBACK_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/message.h"
#include "proxy/conf.h"

#define PIGGYBACK_MARK "!SCOPE!"
/* A longer value stays bare: servers refuse fields far shorter than our own limits. */
#define PIGGYBACK_BYTES 8192

/* The scope behind the first field of this name that has one; false: none. The text is in the head. */
bool piggyback_find(const struct http_head *head, struct span name, struct span *scope_r);
/* Cuts the scope off every field that a carrier piggyback:NAME names, of requests and responses alike. */
void piggyback_bare(struct http_head *head, const struct conf *conf);
/* The fields of this name with the scope behind each. */
void piggyback_put(const struct http_head *head, struct span name, struct span scope, struct buf *out);
/* Whether a field of this name may carry one, and so is a secret as a whole. */
bool piggyback_names(const struct conf *conf, struct span name);

#endif
