/* Between peer.c, peer_judge.c, peer_self.c and peer_answer.c. */
#ifndef PROXY_PEER_INT_H
#define PROXY_PEER_INT_H

#include <pthread.h>

#include "proxy/ask.h"
#include "proxy/peer.h"
#include "registry/aliveness.h"

#define PEER_WANTED 32 /* announcements of third sites to be fetched from one peer, the rest at the next digest */
/* What no owner has stood behind for so long is dropped; time in which we ourselves were cut off does not count. */
#define PEER_EXPIRE_US 3600000000LL

enum peer_step { PEER_STEP_PING, PEER_STEP_OWN, PEER_STEP_DIGEST, PEER_STEP_OTHER };

struct peer_wanted { char site[65]; int64_t age_us; };

struct peer {
	struct ask ask;            /* first: its callback casts back */
	struct peers *all;
	struct event *timer;
	struct site_live *live;    /* a reference */
	char name[65], host[ADDR_TEXT_BYTES];
	struct aliveness alive;
	int64_t queued_us;         /* operations have waited for it at every look since; 0: none does */
	enum peer_step step;
	bool wants_own, wants_digest;
	struct peer_wanted wanted[PEER_WANTED];
	size_t wanted_count;
	bool unheard;              /* its own pings do not reach us, it says */
	bool has_skew;
	int64_t skew_ms;
	char release[PEER_RELEASE_BYTES]; /* of its daemon; empty: not known */
	bool other_version;        /* it refuses us for the version that we speak */
};

struct peers {
	struct io_loop *loop;
	struct conf *conf;
	struct registry *reg;
	struct tls_set *tls;
	struct marks *marks;
	struct identity *id;
	struct replication *rep;   /* NULL: no queue */
	struct peer **items;       /* the others, in the order of reg; who has no address is not asked */
	size_t count;
	struct event *tick;
	_Atomic bool isolated;     /* read by any thread */
	int64_t ticked_us, digest_us, expire_us, warn_us;
	uint64_t random;

	/* this site's own announcement */
	uint64_t generation;
	int64_t published_us, outdone_us;
	bool too_long;
	struct buf content, urgent; /* of the last one: all, and what must not wait */
	_Atomic uint64_t epoch_heard; /* others have one of ours that is newer than ours: a later epoch is needed */

	pthread_mutex_t lock;      /* guards the table against workers; the main thread alone changes it */
	struct announce_table table;
};

/* peer_judge.c */
/* Whether most were lost together. */
void peers_judge_isolation(struct peers *all, int64_t now_us);
/* A turn of this site's aliveness; publishes what came of it. */
void peer_judge(struct peer *p, int64_t now_us);
/* What a site says of its ways, into the snapshot. */
void peers_apply_ways(struct peers *all, size_t site);

/* peer_self.c: announces anew if something has changed. */
void peers_announce(struct peers *all, int64_t now_us);

/* In [0, below). */
uint64_t peers_random(struct peers *all, uint64_t below);

#endif
