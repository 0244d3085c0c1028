/* What all workers know together of an address they send requests to: how many are outstanding there, and
 * whether it answers.  Shared and atomic; kept for the life of the process, one for each address that a
 * configuration ever named. */
#ifndef PROXY_INSTANCE_H
#define PROXY_INSTANCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

enum instance_health { INSTANCE_UNKNOWN, INSTANCE_UP, INSTANCE_DOWN };

const char *instance_health_text(enum instance_health health);

struct instance {
	struct addr addr;
	_Atomic uint64_t outstanding;
	_Atomic int health;          /* enum instance_health */
	_Atomic bool probed;         /* a probe decides on health, not what requests meet */
	_Atomic int64_t since_ms;    /* wall clock of the last change, 0: never */
	struct instance *next;
};

/* The instance of this address, made when new; NULL without memory. Any thread. */
struct instance *instance_get(const struct addr *addr);
void instance_set_health(struct instance *inst, enum instance_health health);
/* At exit, when no worker runs. */
void instances_free(void);

#endif
