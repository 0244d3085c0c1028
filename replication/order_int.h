/* The parts of the order machine: order_list.c holds entries in order of position, order_load.c makes a machine of rows,
 * order_rule.c judges an operation whose turn it is, order.c moves what it says. */
#ifndef REPLICATION_ORDER_INT_H
#define REPLICATION_ORDER_INT_H

#include "replication/order.h"

struct entry {
	struct op_id id, dot;
	uint64_t clock;
	enum operation_kind kind;
	enum order_state state;
	enum order_before before;
	bool named, held, own;
	bool first;        /* under admission it may have been executed: before all others, in keep-all */
	bool executed;     /* at least once, here */
	bool old;          /* of a life that a delete has ended */
	bool fresh;        /* loaded, and order_loaded is to come */
	struct vector past; /* empty once it is over: nothing asks for it any more */
	size_t target_n;
	char target[];
};

/* Entries by position.  The first `gone` places are free, so that taking the first costs nothing. */
struct entries {
	struct entry **all;
	size_t gone, end, room; /* all[gone..end) */
};

struct op_ids {
	struct op_id *all;
	size_t count, room;
};

struct order {
	struct order_options options;
	struct entries pending, over;
	struct entries replaces; /* of both: those that were executed, of the life that is */
	struct entries moved;   /* empty but while a step is prepared */
	size_t pending_deletes;
	struct entry *running;  /* in pending; under admission: in neither list */
	bool admitting;
	bool settled;           /* order_loaded was called */
	struct vector past;     /* dots that are past here */
	struct vector known;    /* and those of other branches; of keep-all only */
	struct vector next;     /* the past once what runs is over */
	struct vector stable;   /* what was pruned */
	uint64_t stable_clock, clock;
	bool stable_deletes;    /* a delete was pruned */
	enum order_life life;
	struct op_ids lost;     /* dots that are waited for no more */
	struct op_ids deletes;  /* that are over, and not pruned */
	struct op_ids again, resolved; /* of the step */
	bool restamped;         /* an operation came whose id is not its dot: it may come under several */
	size_t appends, writes, branches; /* that are over: executed appends, executed other writes, branches */
	const char *net;
};

static inline size_t entries_count(const struct entries *e)
{
	return e->end - e->gone;
}

/* ---- order_list.c ---- */
struct entry *entry_new(const struct order_op *op);
void entry_free(struct entry **ep);
/* By (clock, dot). */
int entry_compare(const struct entry *a, const struct entry *b);
/* Executing it again is harmless. */
bool entry_repeats(const struct entry *e);
void entries_fini(struct entries *list);
/* Room for more; false: no memory. */
bool entries_reserve(struct entries *list, size_t more) MUST_CHECK;
/* There is room. */
void entries_insert(struct entries *list, struct entry *e);
/* The first place whose entry is later than e. */
size_t entries_after(const struct entries *list, const struct entry *e);
/* Puts others, which are in order, among them. There is room. */
void entries_merge(struct entries *list, struct entry *const *others, size_t count);
void entries_remove(struct entries *list, size_t at);
size_t entries_find(const struct entries *list, const struct entry *e);
struct entry *entries_find_dot(const struct entries *list, const struct op_id *dot);
bool op_ids_add(struct op_ids *ids, const struct op_id *id) MUST_CHECK;
/* Room for one more. */
bool op_ids_reserve(struct op_ids *ids) MUST_CHECK;

/* ---- order_rule.c ---- */
/* Its past is here, and nothing outside holds it. */
bool order_is_ready(const struct order *o, const struct entry *e);
/* ORDER_RUN, ORDER_AGAIN, ORDER_SKIP, ORDER_DOUBT, ORDER_BRANCH for what is ready. */
enum order_act order_judge(const struct order *o, const struct entry *e, const char **why_r);
/* A delete stands against it. */
bool order_is_deleted_for(const struct order *o, const struct entry *e);
/* What having executed e means for the safety net. */
void order_watch(struct order *o, const struct entry *e);

#endif
