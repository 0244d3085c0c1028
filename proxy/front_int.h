/* The inside of the front, for front*.c. */
#ifndef PROXY_FRONT_INT_H
#define PROXY_FRONT_INT_H

#include "proxy/front.h"
#include "proxy/replication.h"
#include "proxy/replicator.h"
#include "proxy/rewrite_exchange.h"
#include "replication/fingerprint.h"
#include "replication/spool.h"

#define FRONT_NO_SUCH_CLASS "the classes quorum and strong are understood, but not executed by this version"
#define FRONT_NOT_REPLICATED "upgrades and partial uploads are not replicated"

/* A write that this site coordinates or takes from a peer.  On the heap, since it may outlive its exchange: each knows
 * of the other until one of them is over, and what is handed over is freed when its answer comes. */
struct front {
	struct exchange *x;          /* NULL: gone */
	struct replication *rep;
	struct operation *op;
	enum replicator_task task;
	bool by_peer;                /* it came as an operation: the answer tells what became of it here */
	struct rules *rules;         /* of the service, when it came */
	struct rule_match match;     /* of a create, in them; spans of the request */
	bool known;                  /* a write to a replica: its kind shows with its content */

	/* content */
	bool begun, ended, whole;    /* the operation's head is made; the request's content is in text; it is where it stays */
	struct buf text;             /* read, and not yet in the spool */
	uint64_t bytes;              /* of it in all */
	struct splice *splice;       /* NULL: as it came */
	struct rewrite_look look;
	struct fingerprint *fingerprint;
	struct spool_file *file;
	bool full;                   /* the spool takes no more for now */
	bool finishing;
	int spool_rc;

	/* the answer */
	struct replicator_wait wait;
	bool submitted, answered;
};

static inline struct replication *front_replication(const struct exchange *x)
{
	struct replication *rep = x->inner ? NULL : replication_of(x->w);

	return rep && rep->replicator ? rep : NULL;
}

/* Path as the log has it, without query. */
static inline struct span front_path(const struct exchange *x)
{
	return x->rw ? x->rw->target.canonical : x->req.path;
}

/* Answers; always an error. */
int front_refuse(struct exchange *x, unsigned status, const char *type, const char *detail);
int front_no_memory(struct exchange *x);
/* What a resource or a site can be called: control characters would end up in fields and in the log. */
bool front_is_name(struct span id);
/* The rules of the service: a reference.  NULL: answered. */
struct rules *front_rules(struct exchange *x);
/* x->front with an empty operation; or answered. */
int front_new(struct exchange *x, enum replicator_task task) MUST_CHECK;

/* ---- front_set.c: which sites ---- */

struct front_set {
	size_t sites[OPERATION_SITES]; /* by index in view->reg, in the order of the scope, each once */
	size_t count;
	bool too_many;
	enum scope_class klass;
};

/* The alternative of the plan that is taken: the first with a site that is not known to be down, else the first. */
const struct scope_plan *front_choose(const struct exchange *x, const struct scope_plan *plan);
bool front_plan_replicates(const struct scope_plan *plan);
void front_set_of(const struct exchange *x, const struct scope_plan *plan, struct front_set *set_r);
bool front_set_has(const struct front_set *set, size_t site);
/* x->sites: those of the set by distance, this one first, known-down ones last; `first` before all of them where it is
 * one of the set. 0 or answered. */
int front_go_to(struct exchange *x, const struct front_set *set, size_t first) MUST_CHECK;
/* The same in the order of the scope, this one first: distances change from one request to the next, and a client that
 * comes back with a marker of its own is to find the sites in the order in which it left them. */
int front_go_in_turn(struct exchange *x, const struct front_set *set) MUST_CHECK;
/* "eventual; dc1, dc2" */
void front_add_set(const struct exchange *x, const struct front_set *set, enum consistency class, struct buf *out);
/* The same from a peer, into the operation. False: it is none. */
bool front_read_set(struct exchange *x, struct span text, struct operation *op) MUST_CHECK;

/* ---- front_create.c ---- */

/* One under a scope that replicates and that names nothing known. 0: x->front or x->sites are set. Else answered. */
int front_create(struct exchange *x) MUST_CHECK;
/* The same, handed on by a peer with its set. */
int front_create_for_peer(struct exchange *x, struct span set) MUST_CHECK;

/* ---- front_operation.c: what is handed over ---- */

/* Target and fields of the operation. 0 or ERR_NOMEM. */
int front_write_head(struct exchange *x) MUST_CHECK;
/* Its content is whole: the kind, and the id that a create is to have. 0, or answered. */
int front_judge_content(struct exchange *x) MUST_CHECK;

/* ---- front_body.c ---- */

/* More of the content; f->whole: all of it.  The state says whether the request is still under way. */
enum exchange_step front_take_content(struct exchange *x);
void front_body_fini(struct front *f);

/* ---- front_peer.c ---- */

int front_take_operation(struct exchange *x, struct span field) MUST_CHECK;

/* ---- front_answer.c ---- */

void front_answer(struct exchange *x);

#endif
