/* One schedule of the order machine: everything happens at random, then all is healed and compared. */
#include "tests/sim/world.h"

#include <stdlib.h>

static void try_deliver(struct world *w, unsigned from, unsigned to, unsigned k)
{
	struct site *a = &w->sites[from];
	unsigned char *told = &a->db.told[k][to];

	if (w->cut[from][to] || !a->machine)
		return;
	if (w->ops[k].admitter == from && !*told)
		*told = 1; /* durable before it is sent */
	if (!w->healed && sim_chance(&w->random, 15)) {
		if (sim_chance(&w->random, 60) && w->late_count < LATE) {
			w->late[w->late_count].to = to;
			w->late[w->late_count++].k = k;
		}
		return;
	}
	site_receive(w, to, k);
	if (w->ops[k].admitter == from && row_is_over(w->sites[to].db.rows[k]) && (w->healed || sim_chance(&w->random, 80)))
		*told = w->sites[to].db.rows[k] == ROW_DONE || w->sites[to].db.rows[k] == ROW_AGAIN ? 2
		        : w->sites[to].db.rows[k] == ROW_SKIPPED ? 4 : 3;
}

/* Who admitted it delivers it; to whom the database was set back, its own come back from all who have them. */
static bool is_to_be_sent(const struct world *w, unsigned from, unsigned to, unsigned k)
{
	const struct op *op = &w->ops[k];

	if (from == to || !row_is_known(w->sites[from].db.rows[k]))
		return false;
	if (op->admitter == from)
		return w->sites[from].db.told[k][to] < 2;
	return op->admitter == to && w->sites[to].restored && !row_is_known(w->sites[to].db.rows[k]);
}

/* A member tells a site whose database was set back all that it has for it. */
static void tell_all(struct world *w, unsigned from, unsigned to)
{
	if (!(w->sites[to].recovering >> from & 1) || w->cut[from][to] || !w->sites[from].machine || !w->sites[to].machine)
		return;
	for (unsigned k = 0; k < w->op_count; k++)
		if (is_to_be_sent(w, from, to, k))
			site_receive(w, to, k);
	w->sites[to].recovering &= ~(1u << from);
}

static void deliver_some(struct world *w)
{
	unsigned from = sim_below(&w->random, w->site_count), to = sim_below(&w->random, w->site_count);
	unsigned start, burst = sim_chance(&w->random, 20) ? OPS : 1;

	if (!w->op_count)
		return;
	tell_all(w, from, to);
	start = sim_below(&w->random, w->op_count);
	for (unsigned i = 0; i < w->op_count && burst; i++) {
		unsigned k = (start + i) % w->op_count;

		if (!is_to_be_sent(w, from, to, k))
			continue;
		try_deliver(w, from, to, k);
		burst--;
	}
}

static void deliver_late(struct world *w)
{
	unsigned i;

	if (!w->late_count)
		return;
	i = sim_below(&w->random, w->late_count);
	site_receive(w, w->late[i].to, w->late[i].k);
	if (sim_chance(&w->random, 80)) {
		w->late[i] = w->late[w->late_count - 1];
		w->late_count--;
	}
}

static void change_links(struct world *w)
{
	unsigned a = sim_below(&w->random, w->site_count), b = sim_below(&w->random, w->site_count);
	bool cut = sim_chance(&w->random, 50);

	if (a == b)
		return;
	w->counts->partitions += cut && !w->cut[a][b];
	w->cut[a][b] = cut;
	if (sim_chance(&w->random, 70)) /* both ways */
		w->cut[b][a] = cut;
}

static void keep_copy(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	struct vector past = site->older.past;

	if (!w->restoring || site->has_older || !site->machine)
		return;
	site->older = site->db;
	site->older.past = past;
	if (vector_copy(&site->older.past, &site->db.past))
		abort();
	site->has_older = true;
}

static bool any_restored(const struct world *w)
{
	for (unsigned s = 0; s < w->site_count; s++)
		if (w->sites[s].restored)
			return true;
	return false;
}

static void event(struct world *w)
{
	unsigned s = sim_below(&w->random, w->site_count), dice = sim_below(&w->random, 1000);

	w->now_ms += sim_below(&w->random, 50);
	if (dice < 200) {
		site_admit(w, s, -1, ORDER_UNTRIED);
	} else if (dice < 450) {
		site_step(w, s);
	} else if (dice < 700) {
		if (w->sites[s].machine)
			site_answer(w, s);
	} else if (dice < 880) {
		deliver_some(w);
	} else if (dice < 905) {
		deliver_late(w);
	} else if (dice < 930) {
		change_links(w);
	} else if (dice < 940) {
		site_crash(w, s);
	} else if (dice < 960) {
		if (w->restoring && !any_restored(w) && sim_chance(&w->random, 20))
			site_restore(w, s);
		site_start(w, s);
	} else if (dice < 970) {
		site_settle(w, s);
	} else if (dice < 985) {
		site_prune(w, s);
	} else if (dice < 990) {
		w->sites[s].offset_ms = (int64_t)sim_below(&w->random, 7200000) - 3600000;
	} else {
		keep_copy(w, s);
	}
}

/* ---- healing ------------------------------------------------------------------------------------------------------ */

static void run_all(struct world *w)
{
	for (unsigned s = 0; s < w->site_count; s++)
		for (bool more = true; more;) {
			more = site_step(w, s) || w->sites[s].running >= 0;
			site_answer(w, s);
		}
}

/* A create in doubt: an operator looks. */
static void settle_creates(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];

	for (unsigned k = 0; k < w->op_count; k++)
		if (w->ops[k].order.kind == OPERATION_CREATE && site->db.rows[k] == ROW_DOUBT) {
			if (order_settle(site->machine, &w->ops[k].order.stamp.dot,
			                 site->app.alive ? ORDER_RAN_DONE : ORDER_RAN_REFUSED))
				site->db.rows[k] = site->app.alive ? ROW_DONE : ROW_FAILED;
		}
}

static void exchange(struct world *w)
{
	for (unsigned from = 0; from < w->site_count; from++)
		for (unsigned to = 0; to < w->site_count; to++)
			tell_all(w, from, to);
	for (unsigned from = 0; from < w->site_count; from++)
		for (unsigned to = 0; to < w->site_count; to++)
			for (unsigned k = 0; k < w->op_count; k++)
				if (is_to_be_sent(w, from, to, k))
					try_deliver(w, from, to, k);
}

static bool is_nowhere(const struct world *w, unsigned k)
{
	for (unsigned s = 0; s < w->site_count; s++)
		if (row_is_known(w->sites[s].db.rows[k]))
			return false;
	return true;
}

/* All members have told what they hold: what somebody waits for and nobody has is lost. */
static bool declare_lost(struct world *w)
{
	uint64_t before = w->lost;

	for (unsigned k = 0; k < w->op_count; k++)
		for (unsigned j = 0; j < w->op_count && !is_nowhere(w, k); j++)
			if (w->ops[k].past >> j & 1 && is_nowhere(w, j))
				w->lost |= UINT64_C(1) << j;
	for (unsigned k = 0; k < w->op_count; k++)
		for (unsigned s = 0; s < w->site_count && (w->lost & ~before) >> k & 1; s++) {
			if (order_lost(w->sites[s].machine, &w->ops[k].order.stamp.dot))
				abort();
			w->counts->lost++;
		}
	return w->lost != before;
}

static void settle_down(struct world *w)
{
	for (int i = 0; i < 8 && !w->failure[0]; i++) {
		exchange(w);
		run_all(w);
		for (unsigned s = 0; s < w->site_count; s++) {
			settle_creates(w, s);
			site_settle(w, s);
		}
		run_all(w);
		if (i == 5 && !declare_lost(w))
			i++;
	}
}

static void heal(struct world *w)
{
	w->healed = true;
	w->refusing = false;
	world_log(w, "healed");
	for (unsigned s = 0; s < w->site_count; s++) {
		for (unsigned t = 0; t < w->site_count; t++)
			w->cut[s][t] = false;
		site_start(w, s);
	}
	while (w->late_count)
		deliver_late(w);
	settle_down(w);
}

static void resolve(struct world *w)
{
	unsigned s = sim_below(&w->random, w->site_count);
	bool any = false;

	check_branches(w);
	for (unsigned t = 0; t < w->site_count; t++)
		any |= order_conflict(w->sites[t].machine);
	if (!any)
		return;
	for (unsigned i = 0; i < w->site_count && !order_conflict(w->sites[s].machine); i++)
		s = (s + 1) % w->site_count;
	site_resolve(w, s);
	settle_down(w);
}

const char *sim_order(uint64_t seed, bool log, struct sim_counts *counts)
{
	static struct world w;
	static char failure[sizeof(w.failure)];
	unsigned events;

	world_init(&w, seed, log, counts);
	events = 100 + sim_below(&w.random, 600);
	for (unsigned i = 0; i < events && !w.failure[0]; i++)
		event(&w);
	if (!w.failure[0])
		heal(&w);
	if (!w.failure[0] && w.keep_all)
		resolve(&w);
	if (!w.failure[0])
		check_end(&w);
	for (size_t i = 0; i < sizeof(failure); i++)
		failure[i] = w.failure[i];
	world_fini(&w);
	return failure[0] ? failure : NULL;
}
