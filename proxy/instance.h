/* What all workers know together of an address they send requests to: how many are outstanding there, whether it
 * answers, and which of a service's instances is to have the next request.  Shared and atomic; kept for the life of
 * the process, one for each address that a configuration ever named. */
#ifndef PROXY_INSTANCE_H
#define PROXY_INSTANCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* Failures in a row, of a kind that a request could have been spared, that eject an instance.  A connection that is not
 * made ejects at once: nothing is lost by asking another first.  Responses that fail may be the request's own fault, so
 * one client with a bad request must not take an instance away: five, as in Envoy. */
#define INSTANCE_FAILURES 5
/* The first ejection: longer than a restart of something small, too short to be missed.  It doubles, so that what is
 * gone costs a request in eight seconds at most and what is back is found within that time. */
#define INSTANCE_EJECT_FIRST_US 500000
#define INSTANCE_EJECT_MOST_US 8000000
/* Good for this long after its return: the next ejection is a first one again. */
#define INSTANCE_FORGET_US 10000000
/* Slow start: what is back has cold caches and a listen queue of its own; its share grows from a tenth to the whole. */
#define INSTANCE_RAMP_US 10000000
#define INSTANCE_RAMP_LEAST 0.1
/* Of a service, those that can be told apart as tried. */
#define INSTANCE_MOST 64

enum instance_health { INSTANCE_UNKNOWN, INSTANCE_UP, INSTANCE_DOWN };

const char *instance_health_text(enum instance_health health);

struct instance {
	struct addr addr;
	_Atomic uint64_t outstanding;
	_Atomic int health;          /* enum instance_health */
	_Atomic bool probed;         /* a probe decides on health, not what requests meet */
	_Atomic int64_t since_ms;    /* wall clock of the last change, 0: never */
	_Atomic unsigned failures;   /* in a row */
	_Atomic unsigned ejections;  /* without a good time between them */
	_Atomic int64_t ejected_until_us;
	_Atomic int64_t returned_us; /* when the slow start begins or began, 0: never away */
	struct instance *next;
};

/* The instances of a service, in the order of the configuration. */
struct instance_group { struct instance **items; size_t count; };

/* What a request met. */
enum instance_event {
	INSTANCE_ANSWERED,
	INSTANCE_FAILED,      /* reset, timed out, nonsense, or 502, 503, 504 */
	INSTANCE_NOT_REACHED, /* no connection */
};

/* The instance of this address, made when new; NULL without memory. Any thread. */
struct instance *instance_get(const struct addr *addr);
/* What a probe found, at clock_mono_us() time now_us. */
void instance_set_health(struct instance *inst, enum instance_health health, int64_t now_us);
/* inst is of group g.  May eject it: never the last that is usable, and never more than half of the group. */
void instance_note(struct instance *inst, const struct instance_group *g, enum instance_event event, int64_t now_us);

#define INSTANCE_NONE ((size_t)-1)
/* The one for the next request, by index: of two drawn the one with fewer outstanding.  tried: a bit for each that is
 * out of the question.  random: state of the caller's generator, not 0. */
size_t instance_choose(const struct instance_group *g, uint64_t tried, int64_t now_us, uint32_t *random);

/* At exit, when no worker runs. */
void instances_free(void);

#endif
