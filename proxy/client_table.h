/* How many connections each client address has open at the services' listeners, for limits.per_client. */
#ifndef PROXY_CLIENT_TABLE_H
#define PROXY_CLIENT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

enum client_entry {
	CLIENT_COUNTED,   /* let in; client_leave is owed */
	CLIENT_UNCOUNTED, /* let in: it has no address, or there is no memory to count it */
	CLIENT_REFUSED,   /* it has `most` already */
};

/* One more connection of this address. Any thread. */
enum client_entry client_enter(const struct addr *peer, uint64_t most);
/* One less. */
void client_leave(const struct addr *peer);

#endif
