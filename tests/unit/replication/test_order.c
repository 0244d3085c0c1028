/* replication/order: each rule as a row: operations, what comes when, what is done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "replication/order.h"

/* Operations: LETTER KIND CLOCK PAST[/TARGET], a comma between.  Kinds: c create, n create under the client's name, u
 * update, a append, r replace, d delete.  Each is of a site of its own.
 * Events: a letter arrives; ! the next arrival was executed before, % may have been; . all that can be done is done;
 * of what is executed next, x is refused, ? has an unknown end, ~ is not executed yet; P: all is pruned; R: a restart.
 * Done: LETTER executed, LETTER* again, LETTER- skipped with its reason's first letter, LETTER? in doubt, LETTER| branch. */
static const struct row {
	const char *name, *ops, *events, *done;
	const char *net;
	bool keep_all;
} rows[] = {
	{ "what waits for its past", "c c 1 , u u 2 c, v u 3 cu", "vu.c.", "c u v", NULL, false },
	{ "a duplicate", "c c 1 , u u 2 c", "ccu.uc.", "c u", NULL, false },
	{ "an earlier update comes late", "c c 1 , u u 2 c, v u 3 c, w u 4 c", "cvw.u.", "c v w u v* w*", NULL, false },
	{ "a later one", "c c 1 , u u 2 c, v u 3 c", "cu.v.", "c u v", NULL, false },
	{ "everything received is merged first", "c c 1 , u u 2 c, v u 3 c, w u 4 c, x u 5 c", "cx.wvu.", "c x u v w x*", NULL, false },
	{ "equal clocks: the sites' names", "c c 1 , v u 2 c, u u 2 c", "cv.u.", "c v u v*", NULL, false },
	{ "an append is executed now, once", "c c 1 , a a 2 c, b a 3 c", "cb.a.", "c b a", NULL, false },
	{ "and not again with the updates", "c c 1 , u u 2 c, a a 3 c, v u 4 c", "cav.u.", "c a v u v*", "append-met-update", false },
	{ "an append that follows the update", "c c 1 , u u 2 c, a a 3 cu", "cua.", "c u a", NULL, false },
	{ "a delete among later ones stands", "c c 1 , u u 2 c, d d 3 c", "cd.u.", "c d u-d", NULL, false },
	{ "and one among earlier ones", "c c 1 , d d 2 c, u u 3 c", "cd.u.", "c d u-d", NULL, false },
	{ "a delete comes first", "c c 1 , u u 2 c, a a 3 c, d d 4 c", "cuad.", "c d u-d a-d", NULL, false },
	{ "a second delete", "c c 1 , d d 2 c, e d 3 c", "cd.e.", "c d e-d", NULL, false },
	{ "an update never creates", "c c 1 , d d 2 c, u u 3 cd", "cd.u.", "c d u-d", NULL, false },
	{ "a later create starts a new life", "c n 1 , d d 2 c, e n 3 cd, u u 4 cde, v u 9 c", "cd.e.u.v.", "c d e u v-d", NULL, false },
	{ "nothing of an old life is repeated", "c n 1 , v u 9 c, d d 2 c, e n 3 cd, u u 4 cde", "cv.d.e.u.", "c v d e u", NULL, false },
	{ "a concurrent delete ends the new life too", "c n 1 , d d 2 c, e n 3 cd, f d 2 c", "cd.e.f.", "c d e f", NULL, false },
	{ "wherever it came first", "c n 1 , d d 2 c, e n 3 cd, f d 2 c", "cdf.e.", "c d f-d e-d", NULL, false },
	{ "two creates under one name", "m n 1 , n n 2 ", "n.m.", "n m n*", NULL, false },
	{ "what a later replace covers", "c c 1 , u u 2 c/a/x, r r 3 c/a", "cr.u.", "c r u-c", NULL, false },
	{ "what it does not cover", "c c 1 , u u 2 c/ab, r r 3 c/a", "cr.u.", "c r u r*", NULL, false },
	{ "an earlier replace covers nothing", "c c 1 , r r 2 c, u u 3 c", "cr.u.", "c r u", NULL, false },
	{ "an append is not covered", "c c 1 , a a 2 c, r r 3 c", "cr.a.", "c r a", "append-met-update", false },
	{ "covered among the repeated", "c c 1 , u u 2 c/b, v u 3 c/a, r r 4 c/a", "cvr.u.", "c v r u v-c r*", NULL, false },
	{ "refused for good", "c c 1 , u u 2 c, v u 3 c", "cv.xu.", "c v u v*", "refused", false },
	{ "what was refused is past", "c c 1 , u u 2 c, v u 3 cu", "c.xuv.", "c u v", "refused", false },
	{ "what was refused is not repeated", "c c 1 , u u 2 c, v u 3 c", "c.xv.u.", "c v u", "refused", false },
	{ "a create that is refused", "c c 1 , u u 2 c", "xc.u.", "c u-n", "refused", false },
	{ "not executed yet", "c c 1 , u u 2 c", "c.~u.", "c u u", NULL, false },
	{ "an update of unknown end is repeated", "c c 1 , u u 2 c", "c.?u.", "c u u", NULL, false },
	{ "a delete too", "c c 1 , d d 2 c, u u 1 c", "c.?d.u.", "c d d u-d", NULL, false },
	{ "an append of unknown end is in doubt", "c c 1 , a a 2 c, u u 3 ca", "c.?a.u.", "c a u", "in-doubt", false },
	{ "a create in doubt", "c c 1 , u u 2 c", "?c.u.", "c", "in-doubt", false },
	{ "an append that was executed before", "c c 1 , a a 2 c", "c!a.", "c a-d", NULL, false },
	{ "or may have been", "c c 1 , a a 2 c", "c%a.", "c a?", "in-doubt", false },
	{ "an update that was, once more", "c c 1 , u u 2 c", "c!u.", "c u", NULL, false },
	{ "a delete executed before, and what it outdid", "c c 1 , u u 2 c, d d 3 c", "!cu!d.", "c-d d-d u-d", NULL, false },
	{ "keep-all: the other branch", "c c 1 , u u 2 c, v u 3 c, w u 4 cv, x u 5 cu", "cu.vwx.", "c u v| w| x", NULL, true },
	{ "keep-all: what follows both", "c c 1 , u u 2 c, v u 3 c, r u 4 cuv", "cu.v.r.", "c u v| r", "resolved", true },
	{ "keep-all: appends go together", "c c 1 , a a 2 c, b a 3 c", "ca.b.", "c a b", NULL, true },
	{ "after a restart", "c c 1 , u u 2 c, v u 3 c, a a 4 c", "cva.Ru.", "c v a u v*", "append-met-update", false },
	{ "after a restart, between the repeated", "c c 1 , u u 2 c, v u 3 c", "cv.u~.R.", "c v u u v*", NULL, false },
	{ "after a restart, deleted", "c n 1 , d d 2 c, u u 3 c, e n 4 cd", "cd.R.u.e.", "c d u-d e", NULL, false },
	{ "after a restart, another branch", "c c 1 , u u 2 c, v u 3 c, w u 4 cv", "cu.v.R.w.", "c u v| w|", NULL, true },
};

/* ---- memory that ends ---------------------------------------------------------------------------------------------- */

/* While a machine is called, the allocation that makes this 0 fails; 0: none does. */
static long failing;
static bool in_machine;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);

static bool fails(void)
{
	return in_machine && failing && !--failing;
}

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return fails() ? NULL : __real_realloc(p, bytes);
}

/* Once more when there was no memory: nothing may have changed. */
#define AGAIN(rc, call) \
	do { \
		in_machine = true; \
		(rc) = (call); \
		if ((rc) == ERR_NOMEM) \
			(rc) = (call); \
		in_machine = false; \
	} while (0)

#define MOST 26

struct bed {
	const struct row *row;
	struct order *o;
	struct order_op ops[MOST];
	struct vector past[MOST];
	char letters[MOST + 1];
	int states[MOST];        /* of enum order_state; -1: none */
	struct vector durable;
	char next;
	char done[256];
};

static enum operation_kind kind_of(char c)
{
	return c == 'c' || c == 'n' ? OPERATION_CREATE : c == 'u' ? OPERATION_UPDATE : c == 'a' ? OPERATION_APPEND
	       : c == 'r' ? OPERATION_REPLACE : OPERATION_DELETE;
}

static struct op_id dot_of(char letter)
{
	return (struct op_id){ .site = { letter }, .incarnation = 7, .number = 1 };
}

static void parse(struct bed *b, struct span text)
{
	struct span one, part;

	while (span_split(&text, ',', &one)) {
		size_t i = strlen(b->letters);
		struct order_op *op = &b->ops[i];
		unsigned long long clock = 0;

		one = span_trim(one);
		b->letters[i] = one.p[0];
		b->states[i] = -1;
		*op = (struct order_op){ .kind = kind_of(one.p[2]), .named = one.p[2] == 'n' };
		op->id = op->stamp.dot = dot_of(one.p[0]);
		one = span_from(one, 4);
		part = span_head(one, span_find(one, ' '));
		assert_true(span_to_u64(part, 99, &clock));
		one = span_from(one, part.n + 1);
		op->clock = clock;
		part = span_head(one, span_find(one, '/'));
		one = span_from(one, part.n + 1);
		for (size_t k = 0; k < part.n; k++) {
			const struct op_id dot = dot_of(part.p[k]);

			assert_int_equal(vector_add(&b->past[i], &dot), 0);
		}
		op->target = one.n ? one : SPAN("");
		op->stamp.past = b->past[i];
	}
}

static size_t index_of(const struct bed *b, const struct op_id *dot)
{
	return (size_t)(strchr(b->letters, dot->site[0]) - b->letters);
}

static void note(struct bed *b, char letter, const char *what)
{
	size_t n = strlen(b->done);

	snprintf(b->done + n, sizeof(b->done) - n, "%s%c%s", n ? " " : "", letter, what);
}

static int load(struct bed *b)
{
	const struct order_options options = { .keep_all = b->row->keep_all };
	int rc;

	order_free(&b->o);
	b->o = order_new(&options);
	rc = b->o ? order_load_past(b->o, &b->durable, ORDER_NOTHING) : ERR_NOMEM;
	for (size_t i = 0; b->letters[i] && !rc; i++)
		if (b->states[i] >= 0)
			rc = order_load(b->o, &b->ops[i], (enum order_state)b->states[i]);
	return rc ? rc : order_loaded(b->o);
}

static void start(struct bed *b)
{
	int rc;

	AGAIN(rc, load(b));
	assert_int_equal(rc, 0);
}

static void run(struct bed *b, const struct order_step *step, size_t i)
{
	enum order_outcome outcome = b->next == 'x' ? ORDER_RAN_REFUSED : b->next == '?' ? ORDER_RAN_DOUBT
	                             : b->next == '~' ? ORDER_RAN_NOT : ORDER_RAN_DONE;
	static const int states[] = { ORDER_DONE, ORDER_FAILED, ORDER_IN_DOUBT, -1 };
	bool repeats = b->ops[i].kind != OPERATION_APPEND && (b->ops[i].kind != OPERATION_CREATE || b->ops[i].named);

	note(b, b->letters[i], step->act == ORDER_AGAIN ? "*" : "");
	for (size_t k = 0; k < step->again_count; k++)
		b->states[index_of(b, &step->again[k])] = ORDER_PENDING_AGAIN;
	order_ran(b->o, &step->dot, outcome);
	if (outcome != ORDER_RAN_NOT && (outcome != ORDER_RAN_DOUBT || !repeats))
		b->states[i] = states[outcome];
	b->next = 0;
}

/* ~ stops there, so that a restart may come. */
static void run_all(struct bed *b)
{
	struct order_step step;
	char text[3] = "-";

	for (bool stop = false; !stop;) {
		bool not_yet = b->next == '~';
		size_t i;
		int rc;

		AGAIN(rc, order_next(b->o, &step));
		assert_int_equal(rc, 0);
		if (step.act == ORDER_WAIT)
			return;
		i = index_of(b, &step.dot);
		if (step.act == ORDER_RUN || step.act == ORDER_AGAIN) {
			run(b, &step, i);
			stop = not_yet && strchr(b->row->events, 'R');
		} else {
			text[0] = step.act == ORDER_SKIP ? '-' : step.act == ORDER_DOUBT ? '?' : '|';
			text[1] = step.act == ORDER_SKIP ? step.why[0] : '\0';
			note(b, b->letters[i], text);
			b->states[i] = step.act == ORDER_SKIP ? ORDER_SKIPPED : step.act == ORDER_DOUBT ? ORDER_IN_DOUBT : ORDER_BRANCHED;
		}
		assert_int_equal(vector_copy(&b->durable, order_past(b->o)), 0);
	}
}

static void arrive(struct bed *b, char letter, enum order_before before)
{
	const char *at = strchr(b->letters, letter);
	enum order_verdict verdict;
	struct order_op op;
	int rc;

	assert_non_null(at);
	op = b->ops[at - b->letters];
	op.before = before;
	AGAIN(rc, order_arrive(b->o, &op, &verdict));
	assert_int_equal(rc, 0);
	assert_int_equal(verdict, b->states[at - b->letters] >= 0 ? ORDER_KNOWN : ORDER_TAKEN);
	if (b->states[at - b->letters] < 0)
		b->states[at - b->letters] = ORDER_PENDING_NEW;
}

static void play(struct bed *b)
{
	enum order_before before = ORDER_UNTRIED;

	start(b);
	for (const char *e = b->row->events; *e; e++) {
		if (*e == '.')
			run_all(b);
		else if (*e == 'R')
			start(b);
		else if (*e == '!')
			before = ORDER_EXECUTED;
		else if (*e == '%')
			before = ORDER_MAYBE;
		else if (strchr("x?~", *e) && !(*e == 'x' && strchr(b->letters, 'x')))
			b->next = *e;
		else {
			arrive(b, *e, before);
			before = ORDER_UNTRIED;
		}
	}
}

static bool play_row(const struct row *row)
{
	struct bed b = { .row = row };
	const char *net;
	bool right;

	parse(&b, span_of(row->ops));
	play(&b);
	net = order_net(b.o);
	right = !strcmp(b.done, row->done) && (net == row->net || (net && row->net && !strcmp(net, row->net)));
	if (!right)
		print_error("%s:\n  done     %s, %s\n  expected %s, %s\n", row->name, b.done, net ? net : "no comparison", row->done,
		            row->net ? row->net : "no comparison");
	order_free(&b.o);
	vector_fini(&b.durable);
	for (int k = 0; k < MOST; k++)
		vector_fini(&b.past[k]);
	return right;
}

static void each_rule(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		wrong += !play_row(&rows[i]);
	assert_int_equal(wrong, 0);
}

static void each_rule_without_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (long n = 1;; n++) {
			failing = n;
			if (!play_row(&rows[i]))
				fail_msg("when allocation %ld fails", n);
			if (failing) /* there were not so many */
				break;
		}
	failing = 0;
}

/* ---- what is no row ------------------------------------------------------------------------------------------------ */

static struct order *with_create(void)
{
	const struct order_options options = { 0 };
	struct order *o = order_new(&options);
	struct order_op op = { .id = dot_of('c'), .clock = 1, .kind = OPERATION_CREATE };
	const struct vector *past;

	op.stamp.dot = op.id;
	assert_int_equal(order_admit(o, &op, &past), 0);
	assert_int_equal(past->count, 0);
	order_ran(o, &op.id, ORDER_RAN_DONE);
	return o;
}

static struct order_op an_op(char letter, uint64_t number, uint64_t clock, enum operation_kind kind)
{
	struct order_op op = { .id = dot_of(letter), .clock = clock, .kind = kind };

	op.id.number = number;
	op.stamp.dot = op.id;
	return op;
}

static void admission_follows_all_that_is_past(void **state)
{
	struct order *o = with_create();
	struct order_op u = an_op('a', 1, 5, OPERATION_UPDATE), v = an_op('a', 2, 5, OPERATION_UPDATE);
	const struct vector *past;
	struct order_step step;

	(void)state;
	assert_int_equal(order_admit(o, &u, &past), 0);
	assert_true(past->count == 1 && vector_has(past, &(struct op_id){ .site = "c", .incarnation = 7, .number = 1 }));
	assert_int_equal(order_admit(o, &v, &past), ERR_BUSY);
	assert_int_equal(order_next(o, &step), 0);
	assert_int_equal(step.act, ORDER_WAIT);
	order_ran(o, &u.id, ORDER_RAN_DONE);
	assert_int_equal(order_admit(o, &v, &past), ERR_INVALID); /* its clock is not later */
	v.clock = 6;
	assert_int_equal(order_admit(o, &v, &past), 0);
	assert_true(vector_has(past, &u.id));
	order_withdraw(o, &v.id);
	assert_false(vector_has(order_past(o), &v.id));
	assert_int_equal(order_pending(o), 0);
	order_free(&o);
}

static void what_is_deleted_takes_no_write(void **state)
{
	struct order *o = with_create();
	struct order_op d = an_op('a', 1, 5, OPERATION_DELETE), u = an_op('a', 2, 6, OPERATION_UPDATE);
	const struct vector *past;

	(void)state;
	assert_int_equal(order_admit(o, &d, &past), 0);
	order_ran(o, &d.id, ORDER_RAN_DONE);
	assert_int_equal(order_life(o), ORDER_DELETED);
	assert_int_equal(order_admit(o, &u, &past), ERR_CLOSED);
	order_free(&o);
}

/* In doubt under admission: it is in nobody's past, so nobody waits for it. */
static void an_append_in_doubt_at_admission_is_withdrawn(void **state)
{
	struct order *o = with_create();
	struct order_op a = an_op('a', 1, 5, OPERATION_APPEND);
	const struct vector *past;

	(void)state;
	assert_int_equal(order_admit(o, &a, &past), 0);
	order_ran(o, &a.id, ORDER_RAN_DOUBT);
	assert_false(vector_has(order_past(o), &a.id));
	assert_int_equal(order_operations(o), 1);
	order_free(&o);
}

static void an_update_in_doubt_at_admission_is_repeated(void **state)
{
	struct order *o = with_create();
	struct order_op u = an_op('a', 1, 5, OPERATION_UPDATE);
	const struct vector *past;
	struct order_step step;

	(void)state;
	assert_int_equal(order_admit(o, &u, &past), 0);
	order_ran(o, &u.id, ORDER_RAN_DOUBT);
	assert_int_equal(order_next(o, &step), 0);
	assert_true(step.act == ORDER_RUN && op_id_eq(&step.dot, &u.id));
	order_ran(o, &u.id, ORDER_RAN_DONE);
	assert_true(vector_has(order_past(o), &u.id));
	order_free(&o);
}

static void what_is_held_waits_for_its_release(void **state)
{
	struct order *o = with_create();
	struct order_op u = an_op('a', 1, 5, OPERATION_UPDATE);
	enum order_verdict verdict;
	struct order_step step;

	(void)state;
	assert_int_equal(vector_copy(&u.stamp.past, order_past(o)), 0);
	u.held = true;
	assert_int_equal(order_arrive(o, &u, &verdict), 0);
	assert_int_equal(order_next(o, &step), 0);
	assert_int_equal(step.act, ORDER_WAIT);
	assert_int_equal(order_held(o), 1);
	order_release(o, &u.id);
	assert_int_equal(order_next(o, &step), 0);
	assert_int_equal(step.act, ORDER_RUN);
	vector_fini(&u.stamp.past);
	order_free(&o);
}

static void too_old_a_create_is_quarantined(void **state)
{
	const struct order_options options = { .oldest = 100 };
	struct order *o = order_new(&options);
	struct order_op c = an_op('c', 1, 99, OPERATION_CREATE);
	enum order_verdict verdict;

	(void)state;
	assert_int_equal(order_arrive(o, &c, &verdict), 0);
	assert_int_equal(verdict, ORDER_QUARANTINE);
	assert_int_equal(order_pending(o), 0);
	c.clock = 100;
	assert_int_equal(order_arrive(o, &c, &verdict), 0);
	assert_int_equal(verdict, ORDER_TAKEN);
	order_free(&o);
}

/* What every member has is forgotten, unless something that is here does not follow it; what comes all the same from a
 * member that was set back asks for it. */
static void stable_operations_are_pruned_and_recalled(void **state)
{
	struct order *o = with_create();
	struct order_op u = an_op('a', 1, 5, OPERATION_UPDATE), late = an_op('b', 1, 3, OPERATION_UPDATE);
	const struct vector *past, *known[1];
	struct vector other = { 0 };
	enum order_verdict verdict;

	(void)state;
	assert_int_equal(order_admit(o, &u, &past), 0);
	order_ran(o, &u.id, ORDER_RAN_DONE);
	known[0] = &other;
	assert_int_equal(order_prune(o, known, 1, NULL, NULL), 0);
	assert_int_equal(vector_copy(&other, order_past(o)), 0);
	assert_int_equal(vector_add(&other, &(struct op_id){ .site = "z", .incarnation = 1, .number = 9 }), 0);
	assert_int_equal(order_prune(o, known, 1, NULL, NULL), 0); /* it has told of more than is here */
	assert_int_equal(vector_copy(&other, order_past(o)), 0);
	assert_int_equal(order_prune(o, known, 1, NULL, NULL), 2);
	assert_int_equal(order_operations(o), 0);
	assert_int_equal(order_arrive(o, &u, &verdict), 0);
	assert_int_equal(verdict, ORDER_KNOWN);
	assert_int_equal(order_arrive(o, &late, &verdict), 0);
	assert_int_equal(verdict, ORDER_RECALL);
	order_recall(o);
	assert_string_equal(order_net(o), "recalled");
	assert_int_equal(order_load(o, &u, ORDER_DONE), 0);
	assert_int_equal(order_loaded(o), 0);
	assert_int_equal(order_arrive(o, &late, &verdict), 0);
	assert_int_equal(verdict, ORDER_TAKEN);
	vector_fini(&other);
	order_free(&o);
}

static void nothing_waits_for_what_is_lost(void **state)
{
	struct order *o = with_create();
	struct order_op lost = an_op('a', 1, 5, OPERATION_UPDATE), u = an_op('a', 2, 6, OPERATION_UPDATE);
	enum order_verdict verdict;
	struct order_step step;

	(void)state;
	assert_int_equal(vector_copy(&u.stamp.past, order_past(o)), 0);
	assert_int_equal(vector_add(&u.stamp.past, &lost.id), 0);
	assert_int_equal(order_arrive(o, &u, &verdict), 0);
	assert_int_equal(order_next(o, &step), 0);
	assert_int_equal(step.act, ORDER_WAIT);
	assert_int_equal(order_lost(o, &lost.id), 0);
	assert_int_equal(order_next(o, &step), 0);
	assert_int_equal(step.act, ORDER_RUN);
	vector_fini(&u.stamp.past);
	order_free(&o);
}

/* 50,000 of one side meet 50,000 of the other: each is executed once more at most. */
static void a_long_cut_is_merged_once(void **state)
{
	enum { COUNT = 50000 };
	struct order *o = with_create();
	struct order_op op;
	struct vector past = { 0 };
	const struct vector *own;
	enum order_verdict verdict;
	struct order_step step;
	size_t ran = 0;

	(void)state;
	assert_int_equal(vector_copy(&past, order_past(o)), 0);
	for (uint64_t i = 1; i <= COUNT; i++) {
		op = an_op('a', i, 2 * i + 1, OPERATION_UPDATE);
		assert_int_equal(order_admit(o, &op, &own), 0);
		order_ran(o, &op.id, ORDER_RAN_DONE);
	}
	for (uint64_t i = 1; i <= COUNT; i++) {
		op = an_op('b', i, 2 * i, OPERATION_UPDATE);
		op.stamp.past = past;
		assert_int_equal(order_arrive(o, &op, &verdict), 0);
		assert_int_equal(verdict, ORDER_TAKEN);
		assert_int_equal(vector_add(&past, &op.id), 0);
	}
	while (!order_next(o, &step) && step.act != ORDER_WAIT) {
		order_ran(o, &step.dot, ORDER_RAN_DONE);
		ran++;
	}
	assert_int_equal(ran, 2 * COUNT);
	assert_int_equal(order_pending(o), 0);
	vector_fini(&past);
	order_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule),
		cmocka_unit_test(each_rule_without_memory),
		cmocka_unit_test(admission_follows_all_that_is_past),
		cmocka_unit_test(what_is_deleted_takes_no_write),
		cmocka_unit_test(an_append_in_doubt_at_admission_is_withdrawn),
		cmocka_unit_test(an_update_in_doubt_at_admission_is_repeated),
		cmocka_unit_test(what_is_held_waits_for_its_release),
		cmocka_unit_test(too_old_a_create_is_quarantined),
		cmocka_unit_test(stable_operations_are_pruned_and_recalled),
		cmocka_unit_test(nothing_waits_for_what_is_lost),
		cmocka_unit_test(a_long_cut_is_merged_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
