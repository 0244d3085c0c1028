/* Connecting to a host by name without blocking the event loop. */
#ifndef CLI_DIAL_H
#define CLI_DIAL_H

#include <stdint.h>

#include "base/err.h"

struct event_base;
struct dial;

/* fd: connected and non-blocking, now the callee's; or -1 and why (valid during the call). The
 * dial is gone when this is called; it is never called from within dial_start. */
typedef void dial_done_fn(void *arg, int fd, const char *why);

/* Looks host up (getaddrinfo in a thread, so that the system's own rules hold) and tries its
 * addresses in turn, timeout_ms for all together. NULL: out of memory or threads. */
struct dial *dial_start(struct event_base *base, const char *host, uint16_t port, unsigned timeout_ms,
                        dial_done_fn *on_done, void *arg) MUST_CHECK;
/* Nothing will be called any more; *d becomes NULL. */
void dial_cancel(struct dial **d);

#endif
