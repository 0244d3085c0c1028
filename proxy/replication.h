/* What all workers share of replication: the store and its names, the ids and the clock that this site gives, and the
 * replicator, a worker without listeners that executes what is in the log (replicator.h).
 *
 * Names are looked up from any worker without waiting.  Everything durable goes through the store, whose answers come
 * to the worker that asked (struct worker, answers).  Scenarios and fuzz targets have no store: replication_of is NULL
 * there, or what replication_new makes. */
#ifndef PROXY_REPLICATION_H
#define PROXY_REPLICATION_H

#include <pthread.h>
#include <stdatomic.h>

#include "proxy/replicator_stats.h"
#include "replication/hlc.h"
#include "replication/metaid.h"
#include "replication/rules.h"
#include "replication/store.h"

struct conf;
struct conf_service;
struct creates;
struct hooks;
struct registry;
struct replicator;
struct seal;
struct server;
struct service_rules;
struct spool;
struct worker;

struct replication {
	struct span site;            /* a copy: configurations come and go. NUL behind it */
	struct store *store;
	struct names *names;
	struct replicator *replicator;
	struct hooks *hooks;         /* NULL: without a store */
	struct seal *seal;
	struct spool *spool;
	uint64_t incarnation;
	_Atomic uint64_t number;     /* of the last operation that began here */
	pthread_mutex_t lock;        /* clock and integers, for a few instructions */
	struct hlc clock;
	struct metaid_source integers;
	uint32_t tag;
	struct creates *creates;     /* by service, under lock */
	struct replicator_stats stats;
	_Atomic size_t creates_count; /* of all services */
	uint64_t create_ticket;      /* the last one, under lock */
	pthread_mutex_t rules_lock;  /* while a set of rules is made */
	struct service_rules *rules; /* by service, under rules_lock */
	_Atomic uint64_t rules_generation;
};

/* Without a store: what tests need of it.  NULL: no memory. */
struct replication *replication_new(struct span site);
/* folder: of the state, locked by this process. 0, or an error with its text. */
int replication_open(struct replication **rep_r, struct span site, const char *folder, uint64_t spool_bytes,
                     struct err *e) MUST_CHECK;
/* When no worker runs any more. */
void replication_close(struct replication **repp);

/* NULL: there is none (scenarios). */
struct replication *replication_of(const struct worker *w);

/* The id and the clock of an operation that begins here. */
void replication_new_operation(struct replication *rep, struct op_id *id_r, uint64_t *clock_r);
/* A clock that came in from elsewhere. */
void replication_see_clock(struct replication *rep, uint64_t clock);
/* A meta-identifier whose home is this site; text_r has METAID_TEXT_BYTES, *bytes_r of which are used. 0; ERR_BUSY: too
 * many integers at once, ask again in 2 ms; ERR_LIMIT. */
int replication_new_meta(struct replication *rep, enum metaid_kind kind, char *text_r, size_t *bytes_r) MUST_CHECK;

/* The list race (replication.md 2.6): a create of this service is about to be sent to this site's own application, until
 * its name can be seen, or there is none.  The result is what ends it; 0: it is not known, for want of memory. Any
 * thread. */
uint64_t replication_create_begins(struct replication *rep, struct span service);
void replication_create_ended(struct replication *rep, struct span service, uint64_t ticket);
/* The newest ticket of a create that is under way; 0: there is none. */
uint64_t replication_creates(struct replication *rep, struct span service);
/* One of them is under way that is not newer than this ticket. */
bool replication_creates_until(struct replication *rep, struct span service, uint64_t ticket);

/* ---- replication_rules.c; any thread ---- */

/* The rules of a service: declared ones of its configuration, and learned ones.  A reference; NULL: no memory. rep NULL:
 * the declared ones. */
struct rules *replication_rules(struct replication *rep, const struct conf_service *svc);
/* Changes whenever the answer would; without waiting. */
uint64_t replication_rules_generation(struct replication *rep);
/* A create showed an id in a collection that there is no rule of.  True: a rule is in force from now on, and row_r (in
 * the arena) is to be put into the store.  False: nothing to learn, known already, too many, or no memory. */
bool replication_learn(struct replication *rep, const struct conf_service *svc, const struct rules_id *id,
                       struct arena *arena, struct store_rule *row_r);
/* What store_pin_rule has made durable. */
void replication_pin_rule(struct replication *rep, struct span service, struct span collection, bool pinned);
/* What is in the store: once, before anybody asks. 0 or an error. */
int replication_load_rules(struct replication *rep) MUST_CHECK;
void replication_rules_fini(struct replication *rep);

/* Any thread: operations that this site has yet to bring there; of itself, those that it has yet to execute. */
size_t replication_queued(struct replication *rep_or_null, struct span site);

#endif
