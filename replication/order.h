/* What is executed when: the machine of one resource at one site (replication.md 4.2 to 4.6, 8).  Operations and outcomes
 * go in, steps come out; it does no I/O, reads no clock and keeps nothing: all it knows is rebuilt from the store's rows.
 *
 *	arrivals ──► pending ──► step: run, again, skip, doubt, branch ──► over
 *	              ▲  (past is here, lowest position first, one at a time)  │
 *	              └──────── updates that a late one was executed before ───┘
 *
 * The position of an operation is (clock, dot).  What holds when nothing is pending:
 *  1. Of two updates (and replaces, and creates under the client's name) of one life, the one with the later position
 *     was executed last, even if it was executed before.  So sites with the same operations are equal in what those write.
 *  2. An append was executed once, after its past.
 *  3. A delete stands against all that does not have it in its past, whatever the clocks.
 *  4. An operation was executed after all that its stamp names. */
#ifndef REPLICATION_ORDER_H
#define REPLICATION_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "replication/op_id.h"
#include "replication/states.h"
#include "replication/vector.h"

/* Operations that one machine holds, pending and over; a fifth of it may be pending. An operation that is over costs
 * 250 bytes and its target, a pending one its vector besides. */
#define ORDER_OPERATIONS (1u << 18)
#define ORDER_PENDING (ORDER_OPERATIONS / 5)

struct order;

struct order_options {
	bool keep_all;    /* conflict: keep-all */
	uint64_t oldest;  /* a create with an earlier clock, of which nothing is known here, is not taken; 0: all are */
};

/* Whether it has been executed here, under another dot or before this database was set back. */
enum order_before {
	ORDER_UNTRIED,
	ORDER_EXECUTED,   /* for certain */
	ORDER_MAYBE,
};

struct order_op {
	struct op_id id;
	struct stamp stamp;     /* borrowed */
	uint64_t clock;
	enum operation_kind kind;
	bool named;             /* a create under the client's name: executing it again is harmless */
	bool own;               /* its dot is this site's */
	bool resolves;          /* of order_admit: it follows other branches too */
	bool held;              /* until order_release: the past of a resource that it names is not here */
	enum order_before before;
	struct span target;     /* below the resource, of a replace and what it may cover; "" the resource */
};

/* How an operation stands here, and the row of the store that says so: the delivery whose target is this site. */
enum order_state {
	ORDER_PENDING_NEW,      /* queued, sent; held for credentials. Its dot is not in the resource's vector */
	ORDER_PENDING_AGAIN,    /* queued, and its dot is in the resource's vector */
	ORDER_DONE,             /* done */
	ORDER_SKIPPED,          /* done, with the reason as its error */
	ORDER_FAILED,           /* failed, dropped */
	ORDER_IN_DOUBT,         /* in-doubt */
	ORDER_BRANCHED,         /* held, with "conflict" as its error */
};

struct order *order_new(const struct order_options *options);
void order_free(struct order **op);

/* ---- from the rows ---- */

enum order_life {
	ORDER_NOTHING,   /* no create was executed here */
	ORDER_ALIVE,
	ORDER_DELETED,
	ORDER_NO_REPLICA, /* the create was refused here */
	ORDER_UNCERTAIN, /* the create is in doubt here: what follows waits */
};

/* First: store_resource.vector; life: of a resource whose create is in no row any more. Then each row in any order, then
 * order_loaded. 0; ERR_NOMEM, ERR_LIMIT: the machine is of no use then. */
int order_load_past(struct order *o, const struct vector *past, enum order_life life) MUST_CHECK;
int order_load(struct order *o, const struct order_op *op, enum order_state state) MUST_CHECK;
int order_loaded(struct order *o) MUST_CHECK;

/* ---- what comes in ---- */

enum order_verdict {
	ORDER_TAKEN,      /* order_next tells when */
	ORDER_KNOWN,      /* this dot is here already */
	ORDER_LATER,      /* too much is pending */
	ORDER_QUARANTINE, /* too old a create */
	ORDER_RECALL,     /* it belongs before, or beside, something that was pruned: order_recall, order_load what the store still has,
	                     order_loaded, and again */
};

/* An admitted operation, from another site or after a restart.  Everything that is there is to be given before order_next
 * is asked: then it is merged first and executed once. 0, ERR_NOMEM. */
int order_arrive(struct order *o, const struct order_op *op, enum order_verdict *verdict_r) MUST_CHECK;
/* What it named has come. */
void order_release(struct order *o, const struct op_id *dot);
void order_recall(struct order *o);
/* No member has this dot any more, since its site's database was set back: nothing waits for it.  Every member has been
 * asked, and what they have of that incarnation has arrived here. 0, ERR_NOMEM. */
int order_lost(struct order *o, const struct op_id *dot) MUST_CHECK;

/* This site is to be the first to execute it. op->stamp.dot is given, and op->clock is later than order_clock; its past is
 * what past_r says (valid until the next call), and is made durable with it before anything is sent.
 * 0: it runs; end it with order_ran or order_withdraw. ERR_BUSY: not now, something is pending. ERR_CLOSED: deleted.
 * ERR_NOT_FOUND: no replica is here. ERR_INVALID: its clock. ERR_NOMEM, ERR_LIMIT. */
int order_admit(struct order *o, const struct order_op *op, const struct vector **past_r) MUST_CHECK;
/* After a restart, of what was logged for admission and may have been executed, and is harmless to execute again or a
 * delete: it is admitted, and pending, whatever else is.  A new dot and a new clock: nobody knows the old ones, and in a
 * database that was set back the old dot may stand for what others have not.  As order_admit, but for ERR_BUSY. */
int order_readmit(struct order *o, const struct order_op *op, const struct vector **past_r) MUST_CHECK;
/* The operation under admission was not executed here, or may have been and once is enough, or is another site's to admit:
 * as if it had not been.  What turns out to have been executed is admitted anew, under another dot. */
void order_withdraw(struct order *o, const struct op_id *dot);

/* ---- what to do ---- */

enum order_act {
	ORDER_WAIT,    /* nothing now */
	ORDER_RUN,     /* execute it, then order_ran */
	ORDER_AGAIN,   /* execute it once more, then order_ran */
	ORDER_SKIP,    /* it is over without being executed */
	ORDER_DOUBT,   /* it may have been executed, and once is enough: in doubt, for an operator; it is over */
	ORDER_BRANCH,  /* keep-all: it conflicts with this site's branch, and is kept beside; it is over */
};

struct order_step {
	enum order_act act;
	struct op_id id, dot;
	enum operation_kind kind;
	bool exists;           /* a create, of what is here already: it overwrites */
	const char *why;       /* of a skip: duplicate, deleted, covered, no-replica */
	/* Before ORDER_RUN and ORDER_AGAIN are executed these are durable as queued; their turn comes. */
	const struct op_id *again;
	size_t again_count;
	/* Branches that this one follows: they are over, as resolved. When it is done. */
	const struct op_id *resolved;
	size_t resolved_count;
};

/* The next step; its arrays are valid until the next call. While one runs, and is not ended, there is none.
 * 0; ERR_NOMEM, ERR_LIMIT (the resource's vector is full): nothing has changed. */
int order_next(struct order *o, struct order_step *step_r) MUST_CHECK;

enum order_outcome {
	ORDER_RAN_DONE,
	ORDER_RAN_REFUSED,  /* for good; dropped; expired. A create that is refused when it is executed again is done */
	ORDER_RAN_DOUBT,    /* nobody knows.  What is harmless to execute again is pending again; an admission of what is
	                       not is withdrawn */
	ORDER_RAN_NOT,      /* not yet: pending again */
};

void order_ran(struct order *o, const struct op_id *dot, enum order_outcome outcome);
/* What was in doubt is now known: ORDER_RAN_DONE, ORDER_RAN_REFUSED. False: it was not. */
bool order_settle(struct order *o, const struct op_id *dot, enum order_outcome outcome);

/* ---- what it knows ---- */

/* The dots that are past here: store_resource.vector, X-Scope-Version. */
const struct vector *order_past(const struct order *o);
/* With those of other branches. */
bool order_has(const struct order *o, const struct vector *after);
uint64_t order_clock(const struct order *o);
enum order_life order_life(const struct order *o);
/* Steps would come, or come when something else does; what runs counts. */
size_t order_pending(const struct order *o);
size_t order_held(const struct order *o);
/* Branches are unresolved. */
bool order_conflict(const struct order *o);

/* The safety net (4.4): representations are to be compared when the logs are equal. NULL: no; else why: "append-met-update",
 * "refused", "in-doubt", "recalled", "resolved". */
const char *order_net(const struct order *o);
void order_compared(struct order *o);

/* ---- what it may forget ---- */

typedef void order_on_pruned(void *arg, const struct op_id *id, const struct op_id *dot);
/* known: what each member has told of its order_past, this site left out.  What every member has, and nothing that is
 * still to come can be concurrent to, is forgotten. Returns how many. on may be NULL. */
size_t order_prune(struct order *o, const struct vector *const *known, size_t count, order_on_pruned *on, void *arg);
size_t order_operations(const struct order *o);

#endif
