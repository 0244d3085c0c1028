/* An exchange: one request and its response, from the head that came in to the line in the access log.
 * The doors through which the rest of the proxy reaches it; its inside is exchange_int.h. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include <stdbool.h>

#include "base/span.h"

#define EXCHANGE_NO_MEMORY "out of memory; nothing was executed"

struct exchange;
struct session;
struct worker;

/* head: a complete, guarded head at the front of the session's input; it is consumed. */
void exchange_start(struct session *s, struct span head);
/* Answers without a request that could be read; the connection closes afterwards. */
void exchange_refuse(struct session *s, unsigned status, const char *type, const char *detail);

/* To a client for whom there is not even memory for a session. */
void exchange_say_sorry(int fd);

/* Nothing more of the request is to come. */
bool exchange_has_whole_request(const struct exchange *x);

void exchange_on_client_readable(struct exchange *x);
void exchange_on_client_writable(struct exchange *x);
void exchange_on_client_deadline(struct exchange *x);

void exchange_on_upstream_connected(struct exchange *x);
/* No connection came about; code: ERR_*. */
void exchange_on_upstream_failed(struct exchange *x, int code);
void exchange_on_upstream_readable(struct exchange *x);
void exchange_on_upstream_writable(struct exchange *x);
void exchange_on_upstream_deadline(struct exchange *x);

/* Ends it where it stands, the connections reset. reason: a short fixed word for the log. */
void exchange_abort(struct exchange *x, const char *reason);
/* Frees what is over. */
void exchanges_reap(struct worker *w);
/* At the end: those kept for reuse too. */
void exchanges_fini(struct worker *w);

#endif
