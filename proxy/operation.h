/* A replicated write: what is to be executed at each site of a set, in canonical form (every id of a replica is its
 * meta-identifier), with what replication.md 4.2 has it carry.  Made by the front (front.h), from a peer's request, or
 * from the store; it never changes once submitted and is counted, since the threads of the front and of the replicator
 * hold it. */
#ifndef PROXY_OPERATION_H
#define PROXY_OPERATION_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "replication/op_id.h"
#include "replication/rules.h"
#include "replication/store.h"

#define OPERATION_SITES 64        /* members of a replica set at most */
#define OPERATION_BODY (64u << 10) /* a longer body is spooled */
#define OPERATION_FIELD_BYTES (16u << 10) /* of the field between sites */

struct operation {
	_Atomic int refs;
	struct arena arena;        /* all that follows lives in it */
	struct op_id id;
	struct store_key_of key;   /* collection: of the resource; of a create, that of its path as far as it is known */
	enum operation_kind kind;  /* an append may turn out to create a child */
	enum consistency class;
	uint64_t clock;
	int64_t created_ms;
	struct span sites[OPERATION_SITES]; /* the replica set, in the order of the scope */
	size_t site_count;
	struct span admitted;      /* the site whose execution decided; empty: none yet */
	bool named;                /* a create whose client chose the name: id and meta-identifier are equal everywhere */
	bool independent;          /* not in order with the resource's other operations */
	bool ask;                  /* a peer asks what became of it, without its content */
	bool only_here;            /* a peer asks this site to admit it: no other one is to be asked */
	bool secret;               /* its content holds what an application said to its client alone: sealed in the store */
	bool retry;                /* a peer's operator wants it tried again here, where it failed, is held or in doubt */
	bool declared;             /* a create in a collection that is declared or pinned */
	enum metaid_kind meta_id;  /* of what it creates, a child too */
	struct span method, target; /* path and query */
	struct span fields;        /* "Name: value\r\n", Host first; with credentials: never logged or shown */
	struct span body, spool;   /* one of them at most */
	uint64_t body_bytes;
	/* Of a create with an Idempotency-Key, else empty: what the answer is kept under, and of which body. */
	struct span answer_key, fingerprint;
};

/* Empty, with one reference; NULL: no memory. */
struct operation *operation_new(void);
struct operation *operation_ref(struct operation *op);
void operation_unref(struct operation **opp);
/* A copy into the operation's arena; false: no memory. */
bool operation_keep(struct operation *op, struct span *s, struct span value) MUST_CHECK;

/* Executing it twice may do harm: everything but what overwrites or deletes. */
bool operation_is_once(const struct operation *op);
bool operation_has_site(const struct operation *op, struct span site);
bool operation_add_site(struct operation *op, struct span site) MUST_CHECK;
/* One to a line, as the store has it. */
void operation_add_sites(const struct operation *op, struct buf *out);
bool operation_set_sites(struct operation *op, struct span lines) MUST_CHECK;
/* The same operation under this name and as this kind. NULL: no memory. */
struct operation *operation_with_key(const struct operation *op, const struct store_key_of *key,
                                     enum operation_kind kind);
/* The same without fields and body. */
struct operation *operation_without_content(const struct operation *op);
/* If-Match and its like (RFC 9110 13.1). */
bool operation_is_conditional(struct span name);
/* Path of the target, without query. */
struct span operation_path(const struct operation *op);

/* Its field can be written: JSON holds UTF-8 alone. */
bool operation_is_sendable(const struct operation *op);

enum operation_wish {
	OPERATION_DELIVER, /* execute it, since it is admitted */
	OPERATION_ADMIT,   /* be the first to */
	OPERATION_ASK,     /* say what became of it; no content comes along */
	OPERATION_RETRY,   /* execute it, though it was given up there */
};

/* The value of X-Scopemesh-Operation. */
void operation_add_field(const struct operation *op, enum operation_wish wish, struct buf *out);
/* What a peer sent: checked for form and bounds. 0, ERR_INVALID, ERR_NOMEM. */
int operation_of_field(struct operation *op, struct span field, bool *admit_r) MUST_CHECK;

/* ---- what became of it, as the site that was asked tells it: X-Scopemesh-Operation of its answer ---- */

#define ADMISSIONS(X) \
	X(ADMISSION_NONE, "")                     /* it was not asked to admit */ \
	X(ADMISSION_DONE, "done")                 /* executed, durable, and the rest is that site's to deliver */ \
	X(ADMISSION_PLAIN, "plain")               /* executed, and nothing to replicate */ \
	X(ADMISSION_REFUSED, "refused")           /* the application refuses it: nothing anywhere */ \
	X(ADMISSION_NOT_EXECUTED, "not-executed") /* certain */ \
	X(ADMISSION_UNKNOWN, "unknown")

#define ADMISSION_VALUE(name, text) name,
enum admission { ADMISSIONS(ADMISSION_VALUE) ADMISSIONS_ };
#undef ADMISSION_VALUE

struct operation_result {
	enum admission admission;
	enum delivery_state state;  /* at that site */
	unsigned status;            /* of its application; 0: none */
	struct span local, reason;  /* the id there; a short word or text */
	int64_t retry_after_ms;     /* 0: as one likes */
};

void operation_add_result(const struct operation_result *r, struct buf *out);
/* Spans in the arena. 0, ERR_INVALID, ERR_NOMEM. */
int operation_result_of_field(struct arena *arena, struct span field, struct operation_result *r_r) MUST_CHECK;

#endif
