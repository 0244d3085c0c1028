#include "proxy/instance.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct instance *instances;

const char *instance_health_text(enum instance_health health)
{
	return health == INSTANCE_UP ? "up" : health == INSTANCE_DOWN ? "down" : "unknown";
}

struct instance *instance_get(const struct addr *addr)
{
	struct instance *inst;

	pthread_mutex_lock(&lock);
	for (inst = instances; inst && !addr_eq(&inst->addr, addr); inst = inst->next)
		;
	if (!inst)
		inst = calloc(1, sizeof(*inst));
	if (inst && !inst->addr.len) {
		inst->addr = *addr;
		inst->next = instances;
		instances = inst;
	}
	pthread_mutex_unlock(&lock);
	return inst;
}

void instance_set_health(struct instance *inst, enum instance_health health)
{
	if (atomic_load_explicit(&inst->health, memory_order_relaxed) == (int)health)
		return;
	atomic_store_explicit(&inst->since_ms, clock_wall_ms(), memory_order_relaxed);
	atomic_store_explicit(&inst->health, (int)health, memory_order_relaxed);
}

void instances_free(void)
{
	struct instance *inst;

	while ((inst = instances)) {
		instances = inst->next;
		free(inst);
	}
}
