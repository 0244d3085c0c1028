/* What replication.md 4.6 promises, checked against what truly happened. */
#include "tests/sim/world.h"

#include <string.h>

static bool has(uint64_t set, unsigned k)
{
	return set >> k & 1;
}

static bool is_anywhere(const struct world *w, unsigned k)
{
	for (unsigned s = 0; s < w->site_count; s++)
		if (row_is_known(w->sites[s].db.rows[k]))
			return true;
	return false;
}

/* The vector of a machine is the set of what is over, neither more nor less. */
void check_admission(struct world *w, unsigned s, const struct vector *past)
{
	for (unsigned k = 0; k + 1 < w->op_count; k++)
		if (is_anywhere(w, k) && !has(w->lost, k) &&
		    vector_has(past, &w->ops[k].order.stamp.dot) != has(w->ops[w->op_count - 1].past, k))
			world_fail(w, "site %u: the vector of %u is wrong about %u", s, w->op_count - 1, k);
}

void check_execution(struct world *w, unsigned s, unsigned k)
{
	const struct database *db = &w->sites[s].db;

	for (unsigned j = 0; j < w->op_count; j++)
		if (has(w->ops[k].past, j) && !has(w->lost, j) && !row_is_over(db->rows[j]) && db->rows[j] != ROW_BRANCH)
			world_fail(w, "site %u executes %u before %u, which is its past", s, k, j);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static uint64_t final_ops(const struct world *w, enum operation_kind kind, bool all)
{
	uint64_t set = 0;

	for (unsigned k = 0; k < w->op_count; k++)
		if ((all || w->ops[k].order.kind == kind) && is_anywhere(w, k) && !has(w->lost, k))
			set |= UINT64_C(1) << k;
	return set;
}

/* A create that is not repeated is before all that is, also where it was admitted anew. */
static bool is_later(const struct op *a, const struct op *b)
{
	if (op_repeats(a) != op_repeats(b))
		return op_repeats(a);
	if (a->order.clock != b->order.clock)
		return a->order.clock > b->order.clock;
	return op_id_compare(&a->order.stamp.dot, &b->order.stamp.dot) > 0;
}

struct expected {
	bool alive;
	int fields[FIELDS];
	uint64_t deletes, ops;
};

/* By the definition: of the operations that follow all deletes, the latest of those that write a field. */
static void expect(const struct world *w, struct expected *x)
{
	int best[FIELDS];

	x->deletes = final_ops(w, OPERATION_DELETE, false);
	x->ops = final_ops(w, 0, true);
	x->alive = false;
	for (int f = 0; f < FIELDS; f++)
		best[f] = x->fields[f] = -1;
	for (unsigned k = 0; k < w->op_count; k++) {
		const struct op *op = &w->ops[k];

		if (!has(x->ops, k) || (x->deletes & ~op->past & ~w->lost))
			continue;
		x->alive |= op->order.kind == OPERATION_CREATE;
		for (int f = 0; f < FIELDS; f++)
			if (op->fields >> f & 1 && (best[f] < 0 || is_later(op, &w->ops[best[f]])))
				best[f] = (int)k;
	}
	for (int f = 0; f < FIELDS && x->alive; f++)
		x->fields[f] = best[f] < 0 ? -1 : (int)w->ops[best[f]].root;
}

static void check_state(struct world *w, unsigned s, const struct expected *x)
{
	const struct application *app = &w->sites[s].app;

	if (app->alive != x->alive)
		world_fail(w, "site %u: %s, should be %s", s, app->alive ? "lives" : "is gone", x->alive ? "there" : "gone");
	for (int f = 0; f < FIELDS; f++)
		if (app->fields[f] != x->fields[f])
			world_fail(w, "site %u: field %d is of %d, should be of %d", s, f, app->fields[f], x->fields[f]);
	/* a site that was set back before its own delete writes until it is told, by members that it may not reach */
	if (app->risen && !w->sites[s].restored)
		world_fail(w, "site %u: a write came to what was deleted", s);
}

/* The best that the rows of an append's records say. */
static enum row append_row(const struct world *w, unsigned s, unsigned root)
{
	enum row best = ROW_NONE;

	for (unsigned k = 0; k < w->op_count; k++) {
		enum row row = w->sites[s].db.rows[k];

		if (w->ops[k].root == root && (row == ROW_DONE || (best != ROW_DONE && row != ROW_NONE)))
			best = best == ROW_DOUBT || best == ROW_FAILED ? best : row;
	}
	return best;
}

/* What created the life that it was of is lost. */
static bool is_orphan(const struct world *w, const struct op *op)
{
	for (unsigned k = 0; k < w->op_count; k++)
		if (has(op->past & w->lost, k) && w->ops[k].order.kind == OPERATION_CREATE)
			return true;
	return false;
}

static void check_appends(struct world *w, unsigned s, const struct expected *x, bool whole)
{
	const struct site *site = &w->sites[s];

	for (unsigned k = 0; k < w->op_count; k++) {
		const struct op *op = &w->ops[k];
		enum row row = append_row(w, s, op->root);

		if (op->order.kind != OPERATION_APPEND || !has(x->ops, k))
			continue;
		if (site->app.appends[op->root] > 1)
			world_fail(w, "site %u: append %u was executed %d times", s, op->root, site->app.appends[op->root]);
		if (row == ROW_DOUBT || row == ROW_FAILED || row == ROW_ASIDE || is_orphan(w, op) ||
		    (w->keep_all && !has(w->resolving, k)))
			continue;
		if (!site->app.appends[op->root] && x->alive && whole && !(x->deletes & ~op->past & ~w->lost))
			world_fail(w, "site %u: append %u was not executed (row %d)", s, op->root, (int)row);
	}
	for (unsigned i = 0; i < site->app.order_count && !site->tainted; i++)
		for (unsigned j = i + 1; j < site->app.order_count; j++)
			if (has(w->ops[site->app.order[i]].past, (unsigned)site->app.order[j]))
				world_fail(w, "site %u: append %d before %d, its past", s, site->app.order[i], site->app.order[j]);
}

static void check_sets(struct world *w, const struct expected *x)
{
	for (unsigned s = 0; s < w->site_count; s++) {
		const struct site *site = &w->sites[s];

		if (order_pending(site->machine))
			world_fail(w, "site %u: %zu operations are pending", s, order_pending(site->machine));
		if (vector_compare(order_past(site->machine), order_past(w->sites[0].machine)) != VECTOR_EQUAL)
			world_fail(w, "sites 0 and %u have not the same operations", s);
		for (unsigned k = 0; k < w->op_count; k++)
			if (has(x->ops, k) && !row_is_over(site->db.rows[k]))
				world_fail(w, "site %u lacks %u (row %d)", s, k, (int)site->db.rows[k]);
	}
}

/* A machine of the rows is the machine. */
static void check_rows(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	struct order *was = site->machine;

	site->machine = NULL;
	site_start(w, s);
	if (order_pending(was) != order_pending(site->machine))
		world_fail(w, "site %u: after a restart %zu are pending, not %zu", s, order_pending(site->machine), order_pending(was));
	if (order_life(was) != order_life(site->machine))
		world_fail(w, "site %u: after a restart life is %d, not %d", s, (int)order_life(site->machine), (int)order_life(was));
	if (order_conflict(was) != order_conflict(site->machine))
		world_fail(w, "site %u: after a restart the conflict is another", s);
	if (vector_compare(order_past(was), order_past(site->machine)) != VECTOR_EQUAL)
		world_fail(w, "site %u: after a restart the past is another", s);
	order_free(&was);
}

static bool has_row(const struct world *w, unsigned s, enum row row, bool writes)
{
	for (unsigned k = 0; k < w->op_count; k++)
		if (w->sites[s].db.rows[k] == row && (!writes || w->ops[k].order.kind != OPERATION_APPEND))
			return true;
	return false;
}

/* Its application has refused nothing, and nothing is in doubt there: else representations are compared, or it is
 * repaired. */
static bool is_whole(const struct world *w, unsigned s)
{
	return order_life(w->sites[s].machine) != ORDER_NO_REPLICA && !w->sites[s].tainted && !has_row(w, s, ROW_FAILED, true) &&
	       !has_row(w, s, ROW_DOUBT, true);
}

/* keep-all, before it is resolved: no site mixes branches. */
void check_branches(struct world *w)
{
	for (unsigned s = 0; s < w->site_count; s++)
		for (unsigned i = 0; i < w->op_count; i++)
			for (unsigned j = 0; j < i; j++) {
				const struct database *db = &w->sites[s].db;
				const struct op *a = &w->ops[i], *b = &w->ops[j];

				if (db->rows[i] != ROW_DONE || db->rows[j] != ROW_DONE || a->root == b->root || has(a->past, j) ||
				    has(b->past, i) || (a->order.kind == OPERATION_APPEND && b->order.kind == OPERATION_APPEND))
					continue;
				world_fail(w, "site %u mixes branches: %u and %u", s, i, j);
			}
}

static void check_resolved(struct world *w)
{
	unsigned fields = 0;

	for (unsigned k = 0; k < w->op_count; k++)
		if (has(w->resolving, k))
			fields |= w->ops[k].fields;
	for (unsigned s = 0; s < w->site_count; s++) {
		if (order_conflict(w->sites[s].machine))
			world_fail(w, "site %u: the conflict is still there", s);
		for (int f = 0; f < FIELDS; f++)
			if (fields >> f & 1 && is_whole(w, 0) && is_whole(w, s) && w->sites[s].app.fields[f] != w->sites[0].app.fields[f])
				world_fail(w, "sites 0 and %u differ in field %d after the conflict was resolved", s, f);
	}
}

void check_end(struct world *w)
{
	struct expected x;

	expect(w, &x);
	check_sets(w, &x);
	if (w->keep_all)
		check_resolved(w);
	for (unsigned s = 0; s < w->site_count && !w->failure[0]; s++) {
		bool failed = has_row(w, s, ROW_FAILED, true) || has_row(w, s, ROW_DOUBT, true);

		w->counts->nets += order_net(w->sites[s].machine) != NULL;
		if (failed && !order_net(w->sites[s].machine))
			world_fail(w, "site %u: refused, and no comparison asked for", s);
		check_appends(w, s, &x, is_whole(w, s));
		if (is_whole(w, s) && !w->keep_all)
			check_state(w, s, &x);
		check_rows(w, s);
	}
}
