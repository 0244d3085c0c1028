/* A mesh whose sites share one resource: machines, databases, applications, clocks, and who reaches whom. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "replication/hlc.h"
#include "replication/order.h"
#include "tests/sim/sim.h"

#define SITES 4
#define OPS 60     /* of a schedule: a set of them is a word */
#define FIELDS 4
#define LATE 12    /* messages that are under way */

/* A row of the operations and deliveries of one site: what order.h says of enum order_state, and an intent. */
enum row {
	ROW_NONE,
	ROW_INTENT,  /* logged and sent to the application, for admission */
	ROW_ASIDE,   /* an admission that nobody knows the end of: in doubt */
	ROW_NEW, ROW_SENT, ROW_AGAIN, ROW_DONE, ROW_SKIPPED, ROW_FAILED, ROW_DOUBT, ROW_BRANCH,
};

/* An operation under one dot; `root` is the first record of the same id. */
struct op {
	struct order_op order;
	struct vector vector; /* its stamp's past */
	uint64_t past;        /* the same as a set of operations, as it truly was */
	unsigned admitter, root;
	unsigned fields;      /* which it writes */
	bool executed;        /* of an admission by settlement: it had been */
};

/* What a crash leaves. */
struct database {
	enum row rows[OPS];
	bool before[OPS];     /* executed before, by the word of a peer */
	unsigned char told[OPS][SITES]; /* 0: not sent, 1: sent, 2: executed there, 3: in doubt, refused, 4: passed over */
	struct vector past;
	uint64_t clock;
};

struct application {
	bool alive, risen;    /* risen: it was written to while it was not there */
	int fields[FIELDS];   /* the operation that wrote it, -1: none */
	unsigned char appends[OPS];
	int order[OPS * 4];
	unsigned order_count;
};

struct site {
	struct order *machine; /* NULL: down */
	struct database db, older;
	bool has_older, restored, tainted;
	unsigned recovering;  /* members that have not told yet what they hold: nothing is executed before */
	unsigned char history[OPS]; /* what peers had told of before the database was set back */
	struct hlc hlc;
	int64_t offset_ms;
	uint64_t incarnation, number;
	struct application app;
	int running;           /* the operation at the application, -1 none */
	bool admitting;
	struct vector known[SITES]; /* what the others told of their past */
};

struct world {
	struct sim_random random;
	struct sim_counts *counts;
	bool log, keep_all, refusing, restoring, named, healed;
	unsigned site_count, op_count;
	struct site sites[SITES];
	struct op ops[OPS];
	bool cut[SITES][SITES];
	struct { unsigned to, k; } late[LATE];
	unsigned late_count;
	int64_t now_ms;
	unsigned char asked[OPS]; /* by root: the sites that were asked to admit it, unknown at the first */
	uint64_t lost;        /* operations that no site has any more */
	uint64_t resolving;   /* those that settle a conflict */
	char failure[256];
};

void world_init(struct world *w, uint64_t seed, bool log, struct sim_counts *counts);
void world_fini(struct world *w);
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_log(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- site.c: what one site does ---- */
bool row_is_over(enum row row);
bool row_is_known(enum row row);
bool op_repeats(const struct op *op);
/* A client asks; as: a record whose content and id are to be admitted again, or -1. False: it cannot now. */
bool site_admit(struct world *w, unsigned s, int as, enum order_before before);
/* The branch of this site is kept: its operations once more, after all branches. */
void site_resolve(struct world *w, unsigned s);
/* What the application does with what runs, and what is heard of it. */
void site_answer(struct world *w, unsigned s);
/* False: there is nothing to do. */
bool site_step(struct world *w, unsigned s);
void site_receive(struct world *w, unsigned s, unsigned k);
void site_crash(struct world *w, unsigned s);
void site_start(struct world *w, unsigned s);
void site_restore(struct world *w, unsigned s);
void site_settle(struct world *w, unsigned s);
void site_prune(struct world *w, unsigned s);

/* ---- check.c: what is promised ---- */
void check_execution(struct world *w, unsigned s, unsigned k);
void check_admission(struct world *w, unsigned s, const struct vector *past);
void check_branches(struct world *w);
void check_end(struct world *w);

#endif
