/* The parts of the replicator:
 *
 *	replicator.c          its life, what comes in, who waits, the clock
 *	replicator_lane.c     what may run: targets, lanes, pauses
 *	replicator_admit.c    an operation of this site's: who executes it first, and what that means
 *	replicator_deliver.c  an operation that is admitted: at this site's application, or on its way to another site
 *	replicator_doubt.c    an operation that may have been executed already
 *	replicator_echo.c     what an admitting answer gives to the other sites' requests
 *	replicator_ready.c    a create that its application is not done with
 *	replicator_late.c     an update that comes after later ones
 *	replicator_recent.c   the credentials of what is over, and may have to be executed again for that
 *	replicator_send.c     the request of one leg, and the reading of what an application answered
 *	replicator_log.c      what is made durable
 *	replicator_kept.c     answers that are kept for a repetition of their request
 *	replicator_load.c     what is read back: at the start, and of what is over, when an operator asks for it
 *	replicator_expire.c   what has waited for a site for too long
 *	replicator_settle.c   what operators do to an operation: retry, drop, settle
 *
 *	work   an operation that is not over at some site of its set
 *	leg    the same at one site of the set
 *	lane   the legs of one resource at one site, in the order of the log; the first of them may run
 *	target a site, with its lanes
 *
 * What holds:
 *  1. A leg is in its lane from when its turn is awaited until it is over; only the first of a lane is ever busy.
 *  2. Nothing goes to an application before its operation is durable; what must not be executed twice not before its
 *     leg is durable as sent.
 *  3. A front is answered after what its answer promises is durable.
 *  4. An operation's content is in memory while a leg of it runs, else only as far as REPLICATOR_CONTENT lets it. */
#ifndef PROXY_REPLICATOR_INT_H
#define PROXY_REPLICATOR_INT_H

#include <uthash.h>

#include "proxy/hooks.h"
#include "proxy/inner.h"
#include "proxy/replication.h"
#include "proxy/replicator.h"
#include "replication/rules.h"

#define REPLICATOR_FLIGHT 64         /* requests under way to one target */
#define REPLICATOR_BEHIND 16         /* of them at this site's application for which no client waits: it has others to serve */
#define REPLICATOR_WAITING 16384     /* fronts that wait; more are refused */
#define REPLICATOR_CONTENT (64u << 20) /* bytes of operations kept in memory that do not run */
#define REPLICATOR_WEIGHT 2048       /* what an operation counts beside its content */
#define REPLICATOR_TICK_US 20000
#define REPLICATOR_SELDOM_S 600 /* the same when nothing waits: what is too old goes */
#define REPLICATOR_PATIENCE_US 5000000 /* a peer that delivers waits so long for its turn */
#define REPLICATOR_REASON 512        /* bytes of what an application said of a refusal */

#define REPLICATOR_NOT_READY REPLICA_NOT_READY   /* its application was at work on it for too long */
#define REPLICATOR_BROKEN REPLICA_BUILD_FAILED  /* or says that it will never be done */
#define REPLICATOR_NOT_FOUND "find does not tell whether it was executed"
#define REPLICATOR_WANTED "content-wanted" /* what is asked of is not known here */
#define REPLICATOR_OCCUPIED "occupied" /* the name that the client chose is another thing's there */
#define REPLICATOR_EXPIRED "expired"
#define REPLICATOR_TOLD "to be tried again, by an operator" /* in the store: the other site is to be told so */

struct leg;
struct target;
struct work;

TAILQ_HEAD(leg_list, leg);

struct lane {
	UT_hash_handle hh;
	struct target *target;
	struct leg_list legs;
	size_t key_n;
	char key[];                  /* service, a NUL, the root's meta-identifier */
};

struct target {
	struct target *next;
	size_t index;                /* of all, in the order in which they were met */
	bool own;
	bool was_away;               /* and something waits for it since */
	struct lane *lanes;
	struct leg_list ready, behind, parked; /* behind: at this site, no client waits */
	unsigned flying, flying_behind, fails;
	int64_t parked_us;           /* none of parked is due before */
	int64_t due_us, failed_us;   /* it is not reached: not before, since */
	_Atomic size_t queued;       /* legs that are not over */
	size_t site_n;
	char site[OP_SITE_BYTES];
};

enum send_as { SEND_ADMISSION, SEND_DELIVERY, SEND_LOOK, SEND_ASK };
enum leg_place { LEG_NOWHERE, LEG_READY, LEG_BEHIND, LEG_PARKED };

struct leg {
	struct work *work;
	struct target *target;
	struct lane *lane;           /* NULL: over, or not begun */
	enum delivery_state state;
	bool busy;                   /* being logged, loaded or executed */
	bool behind;                 /* it counts among flying_behind */
	bool durable;                /* the state is in the store */
	bool wanted;                 /* the other site has said that it lacks the content */
	bool asked;                  /* what it makes was not there when it was looked at */
	bool was_sent;               /* before a restart, or without a whole answer */
	bool building;               /* executed, and the application is not done with it (replicator_ready.c) */
	bool told;                   /* an operator wants it tried again at that site, whatever that thinks of it */
	struct replicator_settle *settle; /* who waits for the change that is being logged */
	enum delivery_state was;     /* before that change */
	bool expired;                /* the replica there has: to be dropped */
	int64_t entered_us, entered_age_ms; /* when its turn began to be awaited, and how old its operation was then */
	uint64_t ticket;             /* the list race: it may be making a resource; 0: not */
	enum send_as as;             /* the request under way */
	enum leg_place place;
	unsigned attempts, status;
	int64_t pause_us, due_us;    /* how long it is to be parked; parked until */
	int64_t until_us;            /* building: for so long at most */
	int64_t refused_us;          /* for the first time */
	int64_t asked_us, took_us;   /* the last request: since when, and for how long in the end */
	char *error;                 /* of the last attempt, or NULL */
	char *local;                 /* the id that is being recorded, or NULL */
	bool unrecorded;             /* executed, and the disk has no room for that yet */
	struct buf fields, operation, place_of; /* of the request under way; the path that is looked at */
	struct inner_source source;
	TAILQ_ENTRY(leg) in_lane, in_target;
};

struct late_op {
	struct store_operation row;  /* without content */
	struct late_op *next;
};

enum work_phase {
	WORK_NEW,        /* nothing is durable */
	WORK_ADMITTING,  /* somebody is to execute it first */
	WORK_COMMITTING, /* it is known what came of that */
	WORK_DELIVERING,
	WORK_OVER,
};

struct work {
	UT_hash_handle hh;
	char text[OP_ID_TEXT_BYTES]; /* of the operation */
	struct replicator *r;
	struct operation *op;
	enum work_phase phase;
	bool logged;                 /* its rows are in the store, or being written */
	bool unsynced;               /* its rows may be on the disk all the same */
	bool answer_is_there;        /* of its Idempotency-Key, from before a restart */
	bool answered;               /* the front that had it admitted has its answer */
	unsigned loading;            /* readings that are under way for it */
	bool looked;                 /* for what was executed before and is later */
	bool waited_for;             /* in r->waited_for */
	bool covered;                /* came late, and what was executed before it overwrites all of it */
	bool relayed;                /* admitted by a peer under a name of its own: it comes back as a delivery */
	bool received;               /* a peer's: only the leg of this site */
	bool revived;                /* from before a restart */
	/* admission */
	size_t candidate[OPERATION_SITES], candidate_count, candidate_at;
	bool unknown;                /* somebody may have executed it */
	unsigned unknown_status;
	struct replicator_answer *answer; /* in the making */
	struct rules_id shown;       /* its spans in the answer's arena */
	bool creates;                /* an id was shown: it is a create now */
	bool is_named;               /* and its operation says so */
	bool followed;               /* a peer has admitted it, and delivers it */
	bool undecided;              /* nobody knows whether this site's application, asked to admit, has executed it */
	enum admission forgotten;    /* nothing of it stays, for this reason */
	STAILQ_HEAD(, replicator_wait) waits;
	struct late_op *later;       /* executed before this one, queued anew with it; in later_arena */
	struct arena later_arena;
	struct leg *legs;            /* as many as op->sites; a leg's target is NULL before it begins */
	size_t leg_count;
	TAILQ_ENTRY(work) waiting;   /* in r->waited_for */
	TAILQ_ENTRY(work) again;
	bool is_again;
	size_t weight;               /* of r->weight, while it lasts */
};

struct replicator {
	struct replication *rep;
	struct worker *w;
	struct event *tick;
	struct work *works;          /* by text */
	struct target *targets;      /* newest first; appended under lock, read by any thread */
	struct target *own;
	pthread_mutex_t lock;
	bool loaded, load_asked, closed, idle; /* idle: the clock goes slowly */
	STAILQ_HEAD(, replicator_submission) early; /* came before the log was read */
	STAILQ_HEAD(, replicator_settle) settles; /* wait for what is under way just now */
	TAILQ_HEAD(, work) waited_for; /* a front waits, or did lately */
	TAILQ_HEAD(, work) again;    /* their next step could not be taken */
	_Atomic size_t waiting;
	size_t content;              /* bytes of operations in memory */
	uint64_t weight;             /* of all works, for limits.queue_bytes */
	struct expired *expired;     /* replicas at other sites, by site and resource */
	int64_t kept_run_us;         /* answers that are too old were dropped last */
	int64_t expire_run_us, isolated_us; /* looked last; this site was cut off, or started, last */
	struct recents *recents;     /* NULL: none yet */
};

/* ---- replicator.c ---- */
/* Something has changed: what may run is started, and the clock goes while something waits. */
void replicator_go(struct replicator *r);
struct work *work_find(struct replicator *r, const struct op_id *id);
/* Takes a reference of op. NULL: no memory. */
struct work *work_new(struct replicator *r, struct operation *op);
/* Answers who waits with what answer says, which it takes; NULL: no memory. */
void work_answer(struct work *k, struct replicator_answer *answer);
/* Hooks are; reason NULL: what the last attempt said. */
void leg_tell_hooks(const struct leg *leg, enum hook_event event, const char *reason);
/* Answers one of them. */
void work_answer_one(struct work *k, struct replicator_answer *answer);
/* Peers that wait are told what the leg of this site has come to; all, or those whose patience is over. */
void work_tell_peers(struct work *k, bool all);
/* Its legs are over. */
void work_end_if_over(struct work *k);
/* Its content need not be in memory for now. */
void work_unload(struct work *k);
/* Its next step is tried again at the next tick. */
void work_again(struct work *k);
struct replicator_answer *answer_new(void);
struct replicator_answer *answer_problem(unsigned status, const char *type, const char *detail);
struct leg *work_own_leg(struct work *k);
const struct conf_service *replicator_service(const struct replicator *r, struct span name);

/* ---- replicator_lane.c ---- */
struct target *target_of_site(struct replicator *r, struct span site);
/* Awaits its turn. False: no memory. */
bool leg_enter(struct leg *leg) MUST_CHECK;
/* It is over, or another one takes its place. */
void leg_leave(struct leg *leg);
/* Its turn has ended without its being over: again after a pause of its own. */
void leg_park(struct leg *leg, int64_t pause_us);
/* For good: until an operator says so. */
void leg_hold(struct leg *leg);
/* What waits for a pause to end, its own or its site's, waits no more. */
void leg_wake(struct leg *leg);
/* Busy, without its turn: until leg_park, leg_hold or leg_leave. */
void leg_claim(struct leg *leg);
/* The site is not reached: nothing goes there for a while. */
void target_failed(struct target *t);
void target_reached(struct target *t);
int64_t leg_pause_us(const struct leg *leg);
/* Nothing before it in its lane is moving. */
bool leg_is_stuck(const struct leg *leg);
/* Its turn has come, or comes with room. */
static inline bool leg_is_ready(const struct leg *leg)
{
	return leg->place == LEG_READY || leg->place == LEG_BEHIND;
}
/* Starts what may run. */
void targets_run(struct replicator *r);
void targets_free(struct replicator *r);

/* ---- replicator_admit.c ---- */
void admit_begin(struct work *k);
/* The same request once more, while it is being delivered. */
void admit_repeat(struct work *k, const struct operation *op);
/* After a restart; at: the site that was asked. */
void admit_revive(struct work *k, struct span at);
void admit_step(struct work *k);
void admit_run(struct leg *leg);
void admit_judge(struct leg *leg, const struct inner_answer *a);
/* Nobody knew what came of the first time: once more. */
void admit_anew(struct work *k);
/* Its lane does not move: the next site. */
void admit_skip(struct leg *leg);
void admit_commit(struct work *k);

/* ---- replicator_deliver.c ---- */
void deliver_begin(struct work *k);
/* What was executed before the late one is known, or rc why not: its turn goes on. */
void late_read(struct leg *own, int rc);
/* What is known here of an operation that is not under way. */
void deliver_ask(struct work *k);
void deliver_run(struct leg *leg);
/* Its content is forgotten, which it is when every site has it. */
void deliver_forgotten(struct leg *leg);
void deliver_judge(struct leg *leg, const struct inner_answer *a);
/* Once more, what was executed here when the disk was full. */
void deliver_record(struct work *k);

/* ---- replicator_doubt.c ---- */
/* The rules of its service, and which of them its request is of.  The caller's to rules_unref. */
struct rules *work_rules(const struct work *k, struct rule_match *match_r);
/* An unknown outcome of its does not end in doubt at once. */
bool doubt_goes_on(const struct work *k);
enum doubt { DOUBT_EXECUTE, DOUBT_LOOK, DOUBT_STAYS };
/* What its turn is to begin with, at this site's application; its content is in memory. */
enum doubt doubt_step(const struct leg *leg);
/* What is asked for then. */
bool doubt_add_target(const struct work *k, struct buf *out) MUST_CHECK;
enum doubt_found { DOUBT_NO_ANSWER, DOUBT_NOT_EXECUTED, DOUBT_EXECUTED, DOUBT_UNCLEAR };
/* Of an answer to that: what was found, and its id and collection. */
enum doubt_found doubt_judge(struct leg *leg, const struct inner_answer *a, struct arena *arena, struct span *element_r,
                             struct rules_id *shown_r);

/* ---- replicator_echo.c ---- */
/* Of an admitted create: what its answer said goes into the content of its copies, where that is declared. */
void echo_apply(struct work *k);

/* ---- replicator_ready.c ---- */
bool ready_is_declared(const struct work *k);
/* It was executed, and is building: to be logged, and parked for leg->pause_us. */
void ready_begin(struct leg *leg);
/* Of an answer to a look at it: sent, it is building still; done; failed. */
enum delivery_state ready_judge(struct leg *leg, const struct inner_answer *a);

/* The resource whose order the operation is in, the outermost that its path names: collection, NUL, meta-identifier. */
void work_add_root(struct work *k, struct buf *out);

/* ---- replicator_expire.c ---- */
/* Now and then: what has waited for too long is dropped. */
void expire_run(struct replicator *r);
/* What is for this site of the operation's resource is not to be brought there any more. */
bool work_has_expired(struct work *k, struct span site);
/* Read back. False: no memory. */
bool expire_remember(struct replicator *r, const struct store_key_of *key, struct span site) MUST_CHECK;
void expired_free(struct replicator *r);
/* Wall clock; 0: never. */
int64_t expires_ms(const struct replicator *r, struct span site, int64_t created_ms);

/* ---- replicator_late.c ---- */
/* It has its turn.  True: what was executed before this update and is later is looked up first, late_read comes then. */
bool late_begin(struct work *k);
/* By (clock, id). */
bool operation_is_later(uint64_t clock, const struct op_id *id, uint64_t than_clock, const struct op_id *than);

/* ---- replicator_recent.c ---- */
/* It is over, and its fields are in memory, with what the log forgets of them. */
void recent_keep(struct work *k);
/* Until something else is kept; empty: they are not there any more. */
struct span recent_fields(const struct work *k);
void recents_free(struct replicator *r);

/* ---- replicator_settle.c ---- */
/* Those that wait are looked at again. */
void settles_run(struct replicator *r);
void settles_stop(struct replicator *r);
/* A peer's operator wants it tried again: held, failed or in doubt. */
void leg_retry(struct leg *leg);

/* ---- replicator_send.c ---- */
/* False: nothing was sent and nothing will be answered (no memory, or the worker stops). */
bool leg_send(struct leg *leg, enum send_as as) MUST_CHECK;
/* The leg has its turn: its operation's content is read if need be, then admit_run or deliver_run. */
void leg_start(struct leg *leg);
/* What the answer of this site's application shows. */
enum rules_shown send_shown(struct work *k, struct arena *arena, const struct inner_answer *a, struct rules_id *id_r);
/* A copy of head and content. */
bool answer_take(struct replicator_answer *to, const struct inner_answer *a) MUST_CHECK;
int64_t send_retry_after_us(const struct inner_answer *a);
void leg_set_error(struct leg *leg, const struct inner_answer *a);

/* ---- replicator_log.c: each calls done(k, leg, rc) once, or returns false ---- */
typedef void log_done(struct work *k, struct leg *leg, int rc);
/* Operation, intent or the resource that it makes, and the first leg. */
bool log_begin(struct work *k, struct leg *leg, log_done *done) MUST_CHECK;
bool log_sent(struct leg *leg, log_done *done) MUST_CHECK;
/* What the admission came to: k->creates, states of legs. */
bool log_admitted(struct work *k, log_done *done) MUST_CHECK;
bool log_forget(struct work *k, log_done *done) MUST_CHECK;
/* local: the id at the leg's site, empty where it shows none. */
bool log_leg(struct leg *leg, struct span local, log_done *done) MUST_CHECK;
/* Deliveries of one resource to one site, given up together; the resource's replica there with them. */
bool log_expired(struct replicator *r, struct leg **legs, size_t count, store_done *done, void *arg) MUST_CHECK;
/* Its content, into k->op. */
bool log_load_content(struct leg *leg, log_done *done) MUST_CHECK;
/* An operation of the resource of `like` is executed here once more. False: no memory. */
bool log_revive_own(struct replicator *r, const struct store_operation *row, const struct operation *like) MUST_CHECK;
/* Everything that is not over; then r->loaded. */
void log_load(struct replicator *r);
/* One that is over, and so not in memory: then it is, for as long as the call lasts at least.  k NULL: there is none, or rc
 * says why it cannot be read. False: done is not called. */
typedef void log_revived(void *arg, struct work *k, int rc);
bool log_revive(struct replicator *r, const struct op_id *id, log_revived *done, void *arg) MUST_CHECK;
/* What the store knows of an operation at this site, for a peer that delivers it once more. ERR_NOT_FOUND: nothing. */
bool log_ask(struct work *k, log_done *done) MUST_CHECK;
/* A kept answer to the Idempotency-Key of op: into k->answer. ERR_NOT_FOUND: none. */
bool log_find_answer(struct work *k, const struct operation *op, log_done *done) MUST_CHECK;

/* ---- replicator_kept.c ---- */
/* Of the operation's Idempotency-Key, without an answer so far. */
struct store_answer kept_row(const struct work *k);
/* With k->answer. False: no memory. */
bool kept_put(struct store_batch *b, const struct work *k) MUST_CHECK;
/* What was kept into k->answer, or the problem that it comes to. 0, ERR_NOT_FOUND (too old), ERR_NOMEM. */
int kept_take(struct work *k, const struct store_answer *row, struct span fingerprint) MUST_CHECK;
/* Now and then: those that are too old. */
void kept_drop_old(struct replicator *r);

#endif
