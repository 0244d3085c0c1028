/* What becomes of a marked request's carriers within an application (scopectl doctor --service S): a watch hands out
 * marks, a client sends them with a request, and the calls that follow through this site's listeners are looked at for
 * them.  One set of watches for all workers; while there is none a request pays for one load. */
#ifndef PROXY_CARRIER_WATCH_H
#define PROXY_CARRIER_WATCH_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/message.h"
#include "proxy/conf.h"

#define WATCHES 4           /* at a time; a further one takes the place of the oldest */
#define WATCH_MARKS (CONF_CARRIERS_MOST + 6)
#define WATCH_CALLED 16     /* services whose calls are told apart */
#define WATCH_SECONDS_MOST 600
#define WATCH_NAME 68       /* bytes of a service's or carrier's name */
#define WATCH_SCOPE 64

/* A carrier, the header it uses, and the text that tells it in there. */
struct watch_mark {
	char carrier[WATCH_NAME + 12], header[WATCH_NAME], text[WATCH_SCOPE];
	bool on; /* configured */
};

struct watch_called {
	char service[WATCH_NAME];
	uint64_t calls, seen[WATCH_MARKS];
};

struct watch {
	char marker[WATCH_SCOPE], service[WATCH_NAME];
	int64_t started_us, until_us; /* 0: free */
	bool sent;                    /* the marked request itself has come */
	uint64_t unmarked;            /* other calls from this site's instances meanwhile */
	struct watch_mark marks[WATCH_MARKS];
	size_t mark_count;
	struct watch_called called[WATCH_CALLED];
	size_t called_count;
};

struct carrier_watches {
	pthread_mutex_t lock;
	_Atomic unsigned active;
	struct watch slots[WATCHES];
};

void carrier_watches_init(struct carrier_watches *set);
void carrier_watches_fini(struct carrier_watches *set);

/* A new watch: its marker and the headers of the request to be sent. NULL: no memory. */
json_t *carrier_watch_start(struct carrier_watches *set, const struct conf *conf, const struct conf_service *svc,
                            unsigned seconds, int64_t now_us);
/* All that run or ended lately. */
json_t *carrier_watches_json(struct carrier_watches *set, int64_t now_us);

static inline bool carrier_watches_on(const struct carrier_watches *set)
{
	return atomic_load_explicit((_Atomic unsigned *)(uintptr_t)&set->active, memory_order_relaxed) > 0;
}
/* A request to this service has come, its fields as they were sent. */
void carrier_watch_see(struct carrier_watches *set, const struct http_head *head, struct span service, bool neighbour,
                       int64_t now_us);

#endif
