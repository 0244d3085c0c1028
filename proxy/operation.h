/* A replicated write: what is to be executed at each site of a set, in canonical form (every id of a replica is its
 * meta-identifier), with what replication.md 4.2 has it carry.  Made by the front (exchange_operation.c), by a peer's
 * request, or from the store; it never changes afterwards and is counted, since the threads of the front and of the
 * replicator hold it. */
#ifndef PROXY_OPERATION_H
#define PROXY_OPERATION_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "replication/op_id.h"
#include "replication/store.h"

struct rule;

#define OPERATION_SITES 64        /* members of a replica set at most */
#define OPERATION_BODY (64u << 10) /* a longer body is spooled */
#define OPERATION_FIELD_BYTES (16u << 10) /* of the field between sites */

struct operation {
	_Atomic int refs;
	struct arena arena;        /* all that follows lives in it */
	struct op_id id;
	struct store_key_of key;   /* collection: of the resource; empty when a create has yet to show it */
	enum operation_kind kind;
	enum consistency class;
	uint64_t clock;
	int64_t created_ms;
	struct span sites[OPERATION_SITES]; /* the replica set, in the order of the scope */
	size_t site_count;
	struct span admitted;      /* the site whose execution decided; empty: none yet */
	bool named;                /* a create whose client chose the name: id and meta-identifier are equal everywhere */
	bool independent;          /* not in order with the resource's other operations */
	struct span method, target; /* path and query */
	struct span fields;        /* "Name: value\r\n", Host first; with credentials: never logged or shown */
	struct span body, spool;
	uint64_t body_bytes;
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
/* Blank-separated, as the store has it. */
void operation_add_sites(const struct operation *op, struct buf *out);
bool operation_set_sites(struct operation *op, struct span blank_separated) MUST_CHECK;

/* The value of X-Scopemesh-Operation; admit: the receiver is to be the first. */
void operation_add_field(const struct operation *op, bool admit, struct buf *out);
/* What a peer sent: checked for form and bounds. 0, ERR_INVALID, ERR_NOMEM. */
int operation_of_field(struct operation *op, struct span field, bool *admit_r) MUST_CHECK;

#endif
