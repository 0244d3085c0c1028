/* Deadlines without a heap: connections wait in one queue per duration, first in, first due, so
 * setting, moving and dropping one is a few pointer writes.  Pure: time comes as an argument. */
#ifndef PROXY_DEADLINE_H
#define PROXY_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Why a connection waits; each has its duration from the configuration. */
#define DEADLINE_KINDS(X) \
	X(DEADLINE_CONNECT, "connect") \
	X(DEADLINE_HEADER, "header") \
	X(DEADLINE_BODY, "body") \
	X(DEADLINE_CLIENT_FULL, "client full") \
	X(DEADLINE_RESPONSE, "response") \
	X(DEADLINE_UPSTREAM_BODY, "upstream body") \
	X(DEADLINE_IDLE, "idle") \
	X(DEADLINE_UPSTREAM_IDLE, "upstream idle") \
	X(DEADLINE_MESH_IDLE, "mesh idle") \
	X(DEADLINE_RETRY, "retry") \
	X(DEADLINE_LINGER, "linger")

enum deadline_kind {
#define DEADLINE_VALUE(value, name) value,
	DEADLINE_KINDS(DEADLINE_VALUE)
#undef DEADLINE_VALUE
	DEADLINE_KIND_COUNT
};

struct deadline {
	TAILQ_ENTRY(deadline) link;
	int64_t due_us;
	uint8_t kind;
	bool armed;
};

TAILQ_HEAD(deadline_queue, deadline);

struct deadlines {
	struct deadline_queue queue[DEADLINE_KIND_COUNT];
	int64_t duration_us[DEADLINE_KIND_COUNT];
};

void deadlines_init(struct deadlines *all);
/* (Re)arms: due one duration of its kind from now. */
void deadline_set(struct deadlines *all, struct deadline *d, enum deadline_kind kind, int64_t now_us);
void deadline_clear(struct deadlines *all, struct deadline *d);
/* The next one that is due (disarmed), or NULL. */
struct deadline *deadlines_take_due(struct deadlines *all, int64_t now_us);
/* Nothing is armed. */
bool deadlines_empty(const struct deadlines *all);

#endif
