/* The headers that correlate:NAME may name: which values they have, and values for requests that lack one.  No
 * table, no message: text in, text out. */
#ifndef PROXY_CORRELATION_VALUE_H
#define PROXY_CORRELATION_VALUE_H

#include "base/buf.h"
#include "proxy/correlation.h"

enum correlation_kind {
	CORRELATION_OPAQUE,      /* any header: the whole value, up to CORRELATION_VALUE_BYTES printable characters */
	CORRELATION_TRACEPARENT, /* W3C Trace Context: the trace-id */
	CORRELATION_B3,          /* B3 in one header: the trace id */
	CORRELATION_B3_TRACEID,  /* B3 in several: X-B3-TraceId */
	CORRELATION_OPENSTACK,   /* X-OpenStack-Request-Id: "req-" and a lower-case dashed UUID */
	CORRELATION_CREDENTIAL,  /* as opaque, but never made: Authorization, cookies, tokens */
};

enum correlation_kind correlation_kind_of(struct span name);

#define TRACE_HEX 32
#define PARENT_HEX 16
/* The values of one header, the narrowest first: of a traceparent its trace-id with its parent-id, which tells requests
 * of one trace apart when an application hands the header on as it is, and the trace-id alone. */
#define CORRELATION_PER_HEADER 2
struct correlation_values {
	struct correlation_key key[CORRELATION_PER_HEADER];
	unsigned count;                              /* 0: the header holds no value of its kind */
	char room[TRACE_HEX + 1 + PARENT_HEX];
};

/* How many values a header of this kind has at most. */
unsigned correlation_values_most(enum correlation_kind kind);
/* name: of an opaque header, lower case, valid as long as the values are used. */
void correlation_values_get(enum correlation_kind kind, struct span name, struct span value,
                            struct correlation_values *values_r);

/* For one request; all headers that are made for it say the same trace. */
struct correlation_ids {
	char trace[TRACE_HEX], parent[PARENT_HEX], uuid[36];
};

void correlation_ids_make(struct correlation_ids *ids_r);
/* The trace of a header that the request has already becomes that of the others. */
void correlation_ids_join(struct correlation_ids *ids, const struct correlation_values *values);
/* A value for this header in its right syntax; before: what the header holds so far, "" when it is not there.  Appends
 * nothing where none may be made. */
void correlation_value_make(enum correlation_kind kind, const struct correlation_ids *ids, struct span before,
                            struct buf *out);

#endif
