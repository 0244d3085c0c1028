/* The front of replicated writes (replication.md 1 and 4), as the request machine sees it: which requests are such is
 * judged once their scope is known; of one that this site coordinates the content is awaited, kept or spooled, and all of
 * it handed to the replicator (replicator.h), for whose answer the exchange waits.  The write does not depend on the
 * client from then on: who leaves changes nothing.
 *
 *	ROUTE ─ front_route ─► X_REPLICATE: content ─► replicator_submit ─ … ─► answered ─► X_REPLY
 *	           └─► the ordinary way: no replicated write, or one for another site to coordinate
 *
 * Off where there is no replicator: then `&` is refused where no known resource is named. */
#ifndef PROXY_FRONT_H
#define PROXY_FRONT_H

#include "proxy/exchange_int.h"

/* What a scope asks to be replicated; in the exchange's arena. */
struct front_scope {
	const struct scope_plan *plan; /* NULL: nothing, of the alternatives one that replicates nothing is taken */
	bool others;                   /* bound by `*`: declared collections only */
	struct span forward;           /* X-Scopemesh-Replicate for the site that is to coordinate; empty: none */
	const size_t *set;             /* of a read of a collection that several sites may have a part of */
	size_t set_count;
};

/* The scope's plan for this service, before x->sites are taken from it; others: bound by `*`.  0, or answered. */
int front_note_plan(struct exchange *x, const struct scope_plan *plan, bool others) MUST_CHECK;
/* The sites of the scope are known, what the path names too. 0: x->front is set (X_REPLICATE comes next), or the
 * request goes the ordinary way.  Else answered. */
int front_route(struct exchange *x) MUST_CHECK;
/* A write to a replica goes wherever one is usable, whatever the scope. */
bool front_is_write(const struct exchange *x);

/* The exchange ends. */
void front_leave(struct exchange *x);
/* It has been handed over: that there is no answer yet says nothing of what was done. */
bool front_is_submitted(const struct exchange *x);

/* What the answer names; empty: nothing. */
struct span front_meta_id(const struct exchange *x);
/* For the access log: how the replicas stood when it was answered, one after the other. False: no more. */
struct front_target {
	struct span site;
	unsigned status;    /* 0: state tells */
	const char *state;
	int64_t us, bytes;  /* -1: not known */
};
bool front_target(const struct exchange *x, size_t i, struct front_target *t_r);
/* For heads.c: fields of the answer that tell of the replicas; X-Scopemesh-Replicate; X-Scope-Partial. */
void front_add_answer_fields(struct exchange *x, struct buf *out);
void front_add_forward_field(const struct exchange *x, struct buf *out);
void front_add_partial_field(struct exchange *x, struct buf *out);

#endif
