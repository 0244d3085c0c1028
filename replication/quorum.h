/* The classes quorum and strong (replication.md 5): prepare, admission, forward, at who coordinates and at a member.  Pure:
 * what was heard and that time is up go in; what to send, what to make durable and what to answer come out.
 *
 *	           declined            certain refusal
 *	PREPARING ─────────► ABORTING ◄──────── ADMITTING ──► FORWARDING ──► OVER
 *	    │                   ▲                   │            │  ▲
 *	    └── enough ─────────┼──► ADMITTING      │unknown     │  │ somebody executed
 *	                        │ nobody executed   ▼            │  │
 *	                        └──────────────── ASKING ────────┼──┘
 *	                                            │ refused    ▼ a create that too many refuse
 *	                                            └────────► UNDOING ──► OVER
 *
 * Who recovers what a lost coordinator left begins at ASKING.  What holds, whoever and how many coordinate:
 *  1. After QUORUM_OK of strong every member has it, of quorum a majority, and it is never undone.
 *  2. After QUORUM_UNAVAILABLE and QUORUM_REFUSAL nothing is there and nothing will be: each member that was asked to admit
 *     has refused or accepted to abort, or all have undone it.  That it did not execute is not enough: the request to admit
 *     may come once more, late.
 *  3. A member that accepted to abort does not admit; it does execute what was executed elsewhere. So abort is decided once
 *     all have accepted.
 *  4. Undoing outdoes forward: a member that has undone it never executes it.
 *  5. Nobody executed, and not all members answer: blocked, as two-phase commit is.  What was executed somewhere goes on. */
#ifndef REPLICATION_QUORUM_H
#define REPLICATION_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/states.h"

#define QUORUM_MEMBERS 64 /* of a replica set; OPERATION_SITES */

/* What is sent to a member. */
#define QUORUM_MESSAGES(X) \
	X(QUORUM_NOTHING, "") \
	X(QUORUM_PREPARE, "prepare") \
	X(QUORUM_ADMIT, "admit")     /* be the first to execute it */ \
	X(QUORUM_EXECUTE, "execute") /* somebody has */ \
	X(QUORUM_ABORT, "abort") \
	X(QUORUM_UNDO, "undo") \
	X(QUORUM_ASK, "ask")

/* What a member says, and stands at. */
#define QUORUM_REPLIES(X) \
	X(QUORUM_SILENT, "")            /* nothing was heard */ \
	X(QUORUM_PREPARED, "prepared") \
	X(QUORUM_DECLINED, "declined")  /* not prepared */ \
	X(QUORUM_NOT_EXECUTED, "not-executed") /* for certain, and it may be asked again */ \
	X(QUORUM_EXECUTED, "executed") \
	X(QUORUM_REFUSED, "refused")    /* by the application, for good */ \
	X(QUORUM_UNKNOWN, "unknown")    /* under way, or nobody knows: ask again */ \
	X(QUORUM_ABORTED, "aborted") \
	X(QUORUM_UNDONE, "undone")

#define QUORUM_VALUE(name, text) name,
enum quorum_message { QUORUM_MESSAGES(QUORUM_VALUE) QUORUM_MESSAGES_ };
enum quorum_reply { QUORUM_REPLIES(QUORUM_VALUE) QUORUM_REPLIES_ };
#undef QUORUM_VALUE

const char *quorum_message_text(enum quorum_message message);
const char *quorum_reply_text(enum quorum_reply reply);

/* ---- who coordinates ---- */

enum quorum_phase { QUORUM_PREPARING, QUORUM_ADMITTING, QUORUM_FORWARDING, QUORUM_ABORTING, QUORUM_UNDOING, QUORUM_ASKING, QUORUM_OVER };

enum quorum_answer {
	QUORUM_OPEN,
	QUORUM_OK,          /* the answer of the admission */
	QUORUM_REFUSAL,     /* the application's refusal */
	QUORUM_UNAVAILABLE, /* 503: nothing is there */
	QUORUM_OUTCOME_UNKNOWN, /* 504: unknown, or not yet undone; it goes on */
};

struct quorum_peer {
	enum quorum_reply heard;
	enum quorum_message todo; /* to be sent */
	bool tried;               /* it was asked to admit */
};

/* Without pointers: it may be copied. */
struct quorum {
	enum consistency class;   /* CLASS_QUORUM, CLASS_STRONG */
	bool undoable;            /* a create, or `undo` is declared */
	enum quorum_phase phase;
	enum quorum_answer answer, ending; /* ending: once abort is sure */
	unsigned count, admitter;
	struct quorum_peer peers[QUORUM_MEMBERS];
};

/* Members are numbered in the order in which they are to be asked to admit: this site first, where it is one.  The
 * operation's intent is durable before. */
void quorum_start(struct quorum *q, enum consistency class, bool undoable, unsigned count);
/* After a restart of the coordinator, from the phase that was durable; or, with QUORUM_ASKING, by a member that has been
 * prepared and hears nothing any more. */
void quorum_resume(struct quorum *q, enum consistency class, bool undoable, unsigned count, enum quorum_phase phase);
void quorum_hear(struct quorum *q, unsigned member, enum quorum_reply reply);
/* The client waits no longer; or, in PREPARING, who is silent is taken to be unreachable. */
void quorum_timeout(struct quorum *q);
/* A member was silent for long enough: what it has not answered is sent once more. */
void quorum_again(struct quorum *q, unsigned member);
/* What is to be sent, one at a time; the phase is durable before. False: nothing. */
bool quorum_take(struct quorum *q, unsigned *member_r, enum quorum_message *message_r);
/* Recovery cannot decide before this many members answer. */
unsigned quorum_blocked(const struct quorum *q);

/* ---- a member ---- */

/* Durable before it is answered. */
enum quorum_state {
	QUORUM_M_NONE,
	QUORUM_M_PREPARED,  /* undecided: no other operation of these classes on the resource; reads are marked pending */
	QUORUM_M_RUNNING,   /* sent to the application */
	QUORUM_M_EXECUTED,
	QUORUM_M_REFUSED,
	QUORUM_M_ABORTED,
	QUORUM_M_UNDOING,
	QUORUM_M_UNDONE,
	QUORUM_M_DOUBT,     /* it may have been executed: once more where that is harmless, else for an operator */
};

enum quorum_run { QUORUM_RUN_NOTHING, QUORUM_RUN_EXECUTE, QUORUM_RUN_UNDO };

/* What a message means at a member whose state is not being changed by what runs.  may: alive, instance healthy, room, and
 * nothing else undecided on the resource; again: executing it again is harmless.
 * run_r: first make *state durable, then do that, then quorum_ran tells the reply; else the reply is what is returned. */
enum quorum_reply quorum_member_hear(enum quorum_state *state, enum quorum_message message, bool may, bool again,
                                     enum quorum_run *run_r);
/* was: the state before quorum_member_hear. ran: QUORUM_EXECUTED, QUORUM_REFUSED, QUORUM_NOT_EXECUTED, QUORUM_UNKNOWN of an
 * execution; QUORUM_UNDONE, QUORUM_UNKNOWN of an undo. */
enum quorum_reply quorum_ran(enum quorum_state *state, enum quorum_state was, enum quorum_reply ran);
/* The state after a restart. */
enum quorum_state quorum_member_restarted(enum quorum_state state);

#endif
