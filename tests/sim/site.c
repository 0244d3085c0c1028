/* One site: its database is written before and after the application is asked, and a crash may come between. */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static void must(int rc)
{
	if (rc)
		abort(); /* memory, or a bound that no schedule reaches */
}

bool row_is_over(enum row row)
{
	return row == ROW_DONE || row == ROW_SKIPPED || row == ROW_FAILED || row == ROW_DOUBT || row == ROW_AGAIN;
}

bool row_is_known(enum row row)
{
	return row != ROW_NONE && row != ROW_INTENT && row != ROW_ASIDE;
}

bool op_repeats(const struct op *op)
{
	enum operation_kind kind = op->order.kind;

	return kind == OPERATION_UPDATE || kind == OPERATION_REPLACE || (kind == OPERATION_CREATE && op->order.named);
}

/* ---- the application ---------------------------------------------------------------------------------------------- */

static void apply(struct world *w, unsigned s, unsigned k)
{
	struct application *app = &w->sites[s].app;
	const struct op *op = &w->ops[k];

	w->counts->executions++;
	world_log(w, "  site %u executes %u (%s)", s, k, operation_kind_text(op->order.kind));
	if (op->order.kind == OPERATION_DELETE) {
		app->alive = false;
		memset(app->appends, 0, sizeof(app->appends));
		app->order_count = 0;
		for (int f = 0; f < FIELDS; f++)
			app->fields[f] = -1;
		return;
	}
	if (op->order.kind == OPERATION_CREATE)
		app->alive = true;
	else if (!app->alive)
		app->risen = true;
	for (int f = 0; f < FIELDS; f++)
		if (op->fields & 1u << f)
			app->fields[f] = (int)op->root;
	if (op->order.kind == OPERATION_APPEND) {
		app->appends[op->root]++;
		app->order[app->order_count++] = (int)k;
	}
}

/* ---- the database ------------------------------------------------------------------------------------------------- */

static void write_row(struct world *w, unsigned s, unsigned k, enum row row)
{
	struct database *db = &w->sites[s].db;

	db->rows[k] = row;
	must(vector_copy(&db->past, order_past(w->sites[s].machine)));
	db->clock = w->sites[s].hlc.last;
}

static void copy_database(struct database *to, const struct database *from)
{
	struct vector past = to->past;

	*to = *from;
	to->past = past;
	must(vector_copy(&to->past, &from->past));
}

static enum order_state state_of(enum row row)
{
	switch (row) {
	case ROW_AGAIN: return ORDER_PENDING_AGAIN;
	case ROW_DONE: return ORDER_DONE;
	case ROW_SKIPPED: return ORDER_SKIPPED;
	case ROW_FAILED: return ORDER_FAILED;
	case ROW_DOUBT: return ORDER_IN_DOUBT;
	case ROW_BRANCH: return ORDER_BRANCHED;
	default: return ORDER_PENDING_NEW;
	}
}

/* Branches that have been resolved. */
static void write_resolved(struct world *w, unsigned s)
{
	for (unsigned k = 0; k < w->op_count; k++)
		if (w->sites[s].db.rows[k] == ROW_BRANCH &&
		    vector_has(order_past(w->sites[s].machine), &w->ops[k].order.stamp.dot))
			w->sites[s].db.rows[k] = ROW_SKIPPED;
}

/* Another record of the same operation was executed here, or may have been. */
static enum order_before before_of(const struct world *w, unsigned s, unsigned k)
{
	const struct database *db = &w->sites[s].db;
	enum order_before before = ORDER_UNTRIED;

	if (db->before[k] || w->sites[s].history[k] == 2)
		return ORDER_EXECUTED;
	if (w->sites[s].history[k] == 1 || db->rows[k] == ROW_ASIDE)
		before = ORDER_MAYBE;
	for (unsigned j = 0; j < w->op_count; j++) {
		if (j == k || !op_id_eq(&w->ops[j].order.id, &w->ops[k].order.id))
			continue;
		if (db->rows[j] == ROW_DONE || db->before[j] || w->sites[s].history[j] == 2)
			return ORDER_EXECUTED;
		if (db->rows[j] == ROW_DOUBT || db->rows[j] == ROW_ASIDE || db->rows[j] == ROW_SENT ||
		    w->sites[s].history[j] == 1)
			before = ORDER_MAYBE;
	}
	return before;
}

static struct order_op order_of(const struct world *w, unsigned s, unsigned k)
{
	struct order_op op = w->ops[k].order;

	op.stamp.past = w->ops[k].vector;
	op.before = before_of(w, s, k);
	op.own = w->ops[k].admitter == s;
	return op;
}

static void load_rows(struct world *w, unsigned s, struct order *o)
{
	for (unsigned k = 0; k < w->op_count; k++)
		if (row_is_known(w->sites[s].db.rows[k])) {
			const struct order_op op = order_of(w, s, k);

			must(order_load(o, &op, state_of(w->sites[s].db.rows[k])));
		}
	must(order_loaded(o));
}

/* ---- admission ---------------------------------------------------------------------------------------------------- */

static uint64_t over_set(const struct world *w, unsigned s, bool all)
{
	uint64_t set = 0;

	for (unsigned k = 0; k < w->op_count; k++)
		if (row_is_over(w->sites[s].db.rows[k]) || (all && w->sites[s].db.rows[k] == ROW_BRANCH))
			set |= UINT64_C(1) << k;
	return set;
}

static void choose_content(struct world *w, struct op *op, bool dead)
{
	static const struct { const char *target; unsigned fields; } targets[] = {
		{ "", 15 }, { "a", 3 }, { "b", 12 }, { "a/x", 1 },
	};
	unsigned at = sim_below(&w->random, 4), kind = sim_below(&w->random, 100);

	if (w->keep_all && kind >= 95)
		kind = 0;
	op->order.kind = dead ? OPERATION_CREATE : kind < 55 ? OPERATION_UPDATE : kind < 80 ? OPERATION_APPEND
	                 : kind < 95 ? OPERATION_REPLACE : OPERATION_DELETE;
	op->order.named = op->order.kind == OPERATION_CREATE && (w->named || w->op_count);
	op->order.target = SPAN("");
	if (op->order.kind == OPERATION_CREATE) {
		op->fields = 15;
	} else if (op->order.kind == OPERATION_UPDATE || op->order.kind == OPERATION_REPLACE) {
		op->order.target = span_of(targets[at].target);
		op->fields = targets[at].fields;
		if (op->order.kind == OPERATION_UPDATE)
			op->fields &= 1 + sim_below(&w->random, 15);
	}
}

static bool new_record(struct world *w, unsigned s, int as, struct op *op)
{
	struct site *site = &w->sites[s];
	enum order_life life = order_life(site->machine);
	unsigned k = w->op_count;

	if (k >= OPS)
		return false;
	memset(op, 0, sizeof(*op));
	if (as >= 0) {
		*op = w->ops[as];
		op->vector = (struct vector){ 0 };
	} else {
		if (k >= (w->keep_all ? OPS / 2 : OPS - 15)) /* room for what is admitted anew */
			return false;
		if (life == ORDER_DELETED ? !w->named : k == 0 ? s != 0 : life != ORDER_ALIVE)
			return false;
		choose_content(w, op, life != ORDER_ALIVE);
		op->root = k;
	}
	op->admitter = s;
	op->order.stamp.dot = (struct op_id){ .incarnation = site->incarnation, .number = site->number + 1 };
	snprintf(op->order.stamp.dot.site, OP_SITE_BYTES, "s%u", s);
	if (as < 0 || op_repeats(op) || op->order.kind == OPERATION_DELETE)
		op->order.id = op->order.stamp.dot;
	op->order.clock = hlc_next(&site->hlc, w->now_ms + site->offset_ms);
	op->order.resolves = w->resolving >> 63;
	return true;
}

static void log_record(struct world *w, unsigned s, const struct op *op, const struct vector *past, enum row row)
{
	unsigned k = w->op_count++;

	w->sites[s].number++;
	w->counts->admissions++;
	w->ops[k] = *op;
	w->ops[k].past = over_set(w, s, op->order.resolves);
	must(vector_copy(&w->ops[k].vector, past));
	check_admission(w, s, past);
	write_row(w, s, k, row);
	world_log(w, "site %u admits %u (%s, root %u, fields %x, target %s)", s, k, operation_kind_text(op->order.kind), op->root,
	          op->fields, op->order.target.p);
}

/* What may have been executed before a crash, and is harmless to execute again. False: no more. */
static bool readmit(struct world *w, unsigned s, unsigned k)
{
	const struct vector *past;
	struct op op;
	int rc;

	if (!new_record(w, s, (int)k, &op))
		return false;
	rc = order_readmit(w->sites[s].machine, &op.order, &past);
	if (rc == ERR_INVALID)
		world_fail(w, "site %u may not admit at its clock", s);
	if (!rc)
		log_record(w, s, &op, past, ROW_NEW);
	return true;
}

bool site_admit(struct world *w, unsigned s, int as, enum order_before before)
{
	struct site *site = &w->sites[s];
	const struct vector *past;
	unsigned k = w->op_count;
	struct op op;
	int rc;

	if (!site->machine || site->running >= 0 || site->recovering || !new_record(w, s, as, &op))
		return false;
	rc = order_admit(site->machine, &op.order, &past);
	if (rc == ERR_INVALID)
		world_fail(w, "site %u may not admit at its clock", s);
	if (rc)
		return false;
	log_record(w, s, &op, past, ROW_INTENT);
	for (unsigned t = 0; t < w->site_count && as >= 0; t++) /* what is known of an operation goes with its id */
		site->db.told[k][t] = site->db.told[as][t] ? 1 : 0;
	site->running = (int)k;
	site->admitting = true;
	if (before == ORDER_EXECUTED) { /* it was found to have been */
		site->running = -1;
		site->admitting = false;
		order_ran(site->machine, &op.order.stamp.dot, ORDER_RAN_DONE);
		write_row(w, s, k, ROW_DONE);
		write_resolved(w, s);
	}
	return true;
}

/* ---- what the application says ------------------------------------------------------------------------------------- */

/* t has what the entry site had, and no delete besides: else it is another resource, or an older one, that it would write to. */
static bool may_take_over(const struct world *w, unsigned t, unsigned k)
{
	for (unsigned j = 0; j < w->op_count; j++) {
		bool over = row_is_over(w->sites[t].db.rows[j]), past = w->ops[k].past >> j & 1;

		if ((past && !over) || (over && !past && w->ops[j].order.kind == OPERATION_DELETE))
			return false;
	}
	return true;
}

static void hand_over(struct world *w, unsigned s, unsigned k)
{
	for (unsigned t = 0; t < w->site_count; t++)
		if (t != s && !w->cut[s][t] && w->sites[t].machine && !row_is_known(w->sites[t].db.rows[k]) &&
		    before_of(w, t, k) == ORDER_UNTRIED && may_take_over(w, t, k) && site_admit(w, t, (int)k, ORDER_UNTRIED)) {
			w->counts->handovers++;
			w->asked[w->ops[k].root] |= 1u << t;
			w->sites[t].db.told[w->op_count - 1][s] = 1; /* it may have been executed where it comes from */
			return;
		}
}

static void end_admission(struct world *w, unsigned s, unsigned k, enum order_outcome outcome)
{
	struct site *site = &w->sites[s];
	struct op *op = &w->ops[k];
	bool once = !op_repeats(op) && op->order.kind != OPERATION_DELETE;

	if (outcome == ORDER_RAN_REFUSED || outcome == ORDER_RAN_NOT) {
		w->counts->refused++;
		order_withdraw(site->machine, &op->order.stamp.dot);
		write_row(w, s, k, ROW_NONE);
		return;
	}
	order_ran(site->machine, &op->order.stamp.dot, outcome);
	if (outcome == ORDER_RAN_DONE) {
		w->counts->lives += op->order.kind == OPERATION_CREATE && k;
		write_row(w, s, k, ROW_DONE);
		write_resolved(w, s);
		return;
	}
	w->counts->unknown++;
	write_row(w, s, k, once ? ROW_ASIDE : ROW_NEW);
	if (once && k && sim_chance(&w->random, 70))
		hand_over(w, s, k);
}

static void end_execution(struct world *w, unsigned s, unsigned k, enum order_outcome outcome)
{
	static const enum row rows[] = {
		[ORDER_RAN_DONE] = ROW_DONE, [ORDER_RAN_REFUSED] = ROW_FAILED, [ORDER_RAN_DOUBT] = ROW_DOUBT,
	};
	struct site *site = &w->sites[s];
	const struct op *op = &w->ops[k];
	bool once = !op_repeats(op) && op->order.kind != OPERATION_DELETE;

	order_ran(site->machine, &op->order.stamp.dot, outcome);
	if (outcome == ORDER_RAN_NOT || (outcome == ORDER_RAN_DOUBT && !once)) {
		if (site->db.rows[k] == ROW_SENT)
			write_row(w, s, k, ROW_NEW);
		return;
	}
	w->counts->doubts += outcome == ORDER_RAN_DOUBT;
	/* a create that is refused when it is repeated: it is there, without what it would have written */
	site->tainted |= outcome == ORDER_RAN_REFUSED && site->db.rows[k] == ROW_AGAIN && op->order.kind == OPERATION_CREATE;
	write_row(w, s, k, site->db.rows[k] == ROW_AGAIN && op->order.kind == OPERATION_CREATE ? ROW_DONE : rows[outcome]);
	write_resolved(w, s);
}

void site_answer(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	unsigned k = (unsigned)site->running, dice = w->healed ? 0 : sim_below(&w->random, 100);
	enum order_outcome outcome = dice < 75 ? ORDER_RAN_DONE : dice < 85 ? ORDER_RAN_NOT : ORDER_RAN_DOUBT;
	bool admitting = site->admitting;

	if (site->running < 0)
		return;
	if (outcome == ORDER_RAN_NOT && (admitting || w->refusing) && sim_chance(&w->random, 50))
		outcome = ORDER_RAN_REFUSED;
	if (outcome == ORDER_RAN_DONE || (outcome == ORDER_RAN_DOUBT && sim_chance(&w->random, 50)))
		apply(w, s, k);
	world_log(w, "  site %u hears of %u: %d", s, k, (int)outcome);
	site->running = -1;
	site->admitting = false;
	if (admitting)
		end_admission(w, s, k, outcome);
	else
		end_execution(w, s, k, outcome);
}

/* ---- steps -------------------------------------------------------------------------------------------------------- */

static unsigned find_op(const struct world *w, const struct op_id *id, bool dot)
{
	for (unsigned k = 0; k < w->op_count; k++)
		if (op_id_eq(dot ? &w->ops[k].order.stamp.dot : &w->ops[k].order.id, id))
			return k;
	abort();
}

static void end_without(struct world *w, unsigned s, unsigned k, const struct order_step *step)
{
	struct site *site = &w->sites[s];
	enum row row = ROW_SKIPPED;

	if (step->act == ORDER_DOUBT)
		row = ROW_DOUBT;
	else if (step->act == ORDER_BRANCH)
		row = ROW_BRANCH;
	else if (site->db.rows[k] == ROW_AGAIN || (!strcmp(step->why, "duplicate") && before_of(w, s, k) == ORDER_EXECUTED))
		row = ROW_DONE;
	w->counts->skipped += step->act == ORDER_SKIP;
	w->counts->branches += step->act == ORDER_BRANCH;
	w->counts->doubts += step->act == ORDER_DOUBT;
	world_log(w, "site %u passes over %u: %s", s, k, step->act == ORDER_SKIP ? step->why : "doubt or branch");
	write_row(w, s, k, row);
	write_resolved(w, s);
}

bool site_step(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	struct order_step step;
	unsigned k;

	if (!site->machine || site->running >= 0 || site->recovering)
		return false;
	must(order_next(site->machine, &step));
	if (step.act == ORDER_WAIT)
		return false;
	k = find_op(w, &step.dot, true);
	if (step.act != ORDER_RUN && step.act != ORDER_AGAIN) {
		end_without(w, s, k, &step);
		return true;
	}
	check_execution(w, s, k);
	for (size_t i = 0; i < step.again_count; i++) {
		w->counts->again++;
		write_row(w, s, find_op(w, &step.again[i], false), ROW_AGAIN);
	}
	if (!op_repeats(&w->ops[k]))
		write_row(w, s, k, ROW_SENT);
	world_log(w, "site %u runs %u, %zu again", s, k, step.again_count);
	site->running = (int)k;
	site->admitting = false;
	return true;
}

/* ---- what comes in -------------------------------------------------------------------------------------------------- */

void site_receive(struct world *w, unsigned s, unsigned k)
{
	struct site *site = &w->sites[s];
	struct order_op op;
	enum order_verdict verdict;

	if (!site->machine || site->db.rows[k] == ROW_INTENT)
		return;
	if (row_is_known(site->db.rows[k])) {
		w->counts->duplicates++;
		return;
	}
	/* its own come back: an append was executed when it was admitted; a delete may have been of unknown end */
	if (site->restored && w->ops[k].admitter == s && w->ops[k].order.kind == OPERATION_DELETE && !site->history[k])
		site->history[k] = 1;
	else if (site->restored && w->ops[k].admitter == s)
		site->db.before[k] = true;
	if (site->restored && w->asked[w->ops[k].root] >> s & 1 && !site->history[k])
		site->history[k] = 1;
	op = order_of(w, s, k);
	must(order_arrive(site->machine, &op, &verdict));
	if (verdict == ORDER_RECALL) {
		w->counts->recalls++;
		order_recall(site->machine);
		load_rows(w, s, site->machine);
		must(order_arrive(site->machine, &op, &verdict));
	}
	if (!hlc_see(&site->hlc, op.clock))
		world_fail(w, "no clock");
	if (verdict != ORDER_TAKEN) {
		world_fail(w, "site %u does not take %u: %d", s, k, (int)verdict);
		return;
	}
	w->counts->deliveries++;
	world_log(w, "site %u takes %u, before: %d", s, k, (int)op.before);
	write_row(w, s, k, ROW_NEW);
}

/* ---- crashes ------------------------------------------------------------------------------------------------------ */

void site_crash(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	unsigned kept = 0;

	if (!site->machine)
		return;
	w->counts->crashes++;
	world_log(w, "site %u crashes", s);
	if (site->running >= 0 && sim_chance(&w->random, 50))
		apply(w, s, (unsigned)site->running);
	site->running = -1;
	order_free(&site->machine);
	for (unsigned i = 0; i < w->late_count; i++) /* connections end with the process */
		if (w->late[i].to != s)
			w->late[kept++] = w->late[i];
	w->late_count = kept;
}

void site_start(struct world *w, unsigned s)
{
	const struct order_options options = { .keep_all = w->keep_all };
	struct site *site = &w->sites[s];

	if (site->machine)
		return;
	site->incarnation = 1 + sim_next(&w->random) % 1000000007;
	site->number = 0;
	for (unsigned k = 0; k < w->op_count; k++) {
		enum row *row = &site->db.rows[k];

		if (*row == ROW_INTENT)
			*row = ROW_ASIDE;
		else if (*row == ROW_SENT)
			*row = w->ops[k].order.kind == OPERATION_DELETE ? ROW_NEW : ROW_DOUBT;
	}
	site->machine = order_new(&options);
	must(order_load_past(site->machine, &site->db.past, ORDER_NOTHING));
	load_rows(w, s, site->machine);
	hlc_init(&site->hlc, site->db.clock);
	if (order_clock(site->machine) > site->hlc.last && !hlc_see(&site->hlc, order_clock(site->machine)))
		abort();
	world_log(w, "site %u starts", s);
	for (unsigned k = 0, count = w->op_count; k < count; k++)
		if (site->db.rows[k] == ROW_ASIDE && (op_repeats(&w->ops[k]) || w->ops[k].order.kind == OPERATION_DELETE)) {
			if (!readmit(w, s, k))
				site->tainted = true; /* the schedule has no room for it */
			site->db.rows[k] = ROW_NONE;
		}
}

/* An admission whose end nobody knows is settled by who looks at the application. */
void site_settle(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	unsigned count = w->op_count;

	for (unsigned k = 0; k < count && site->machine; k++) {
		const struct op *op = &w->ops[k];
		bool elsewhere = false;

		if (site->db.rows[k] != ROW_ASIDE)
			continue;
		for (unsigned j = 0; j < count; j++)
			for (unsigned t = 0; t < w->site_count; t++)
				elsewhere |= w->ops[j].root == op->root && row_is_known(w->sites[t].db.rows[j]);
		if (elsewhere) {
			for (unsigned j = 0; j < count; j++) /* it came from who admitted it */
				if (w->ops[j].root == op->root && row_is_over(site->db.rows[j]))
					site->db.rows[k] = ROW_NONE;
			continue;
		}
		for (unsigned j = 0; j < count; j++) /* it was of a life that is over */
			elsewhere |= w->ops[j].order.kind == OPERATION_DELETE && row_is_over(site->db.rows[j]) && !(op->past >> j & 1);
		if (elsewhere || !(op->order.kind == OPERATION_CREATE ? site->app.alive : site->app.appends[op->root])) {
			site->db.rows[k] = ROW_NONE;
		} else if (site_admit(w, s, (int)k, ORDER_EXECUTED)) {
			site->db.rows[k] = ROW_NONE;
			return;
		} else if (order_life(site->machine) == ORDER_DELETED || w->op_count >= OPS) {
			site->tainted = true;
			site->db.rows[k] = ROW_NONE;
		}
	}
}

void site_resolve(struct world *w, unsigned s)
{
	unsigned count = w->op_count;
	uint64_t kept = 0;

	for (unsigned k = 1; k < count; k++)
		for (unsigned t = 0; t < w->site_count; t++)
			if (w->sites[s].db.rows[k] == ROW_DONE && w->sites[t].db.rows[k] == ROW_BRANCH)
				kept |= UINT64_C(1) << k;
	for (unsigned k = 0; k < count && !kept; k++) /* no site has executed what conflicts: anything that follows it will do */
		if (w->sites[s].db.rows[k] == ROW_DONE)
			kept = UINT64_C(1) << k;
	world_log(w, "site %u resolves", s);
	for (unsigned k = 0; k < count && !w->failure[0]; k++) {
		if (!(kept >> k & 1))
			continue;
		w->resolving |= UINT64_C(1) << 63;
		if (site_admit(w, s, (int)k, op_repeats(&w->ops[k]) ? ORDER_UNTRIED : ORDER_EXECUTED))
			w->resolving |= UINT64_C(1) << (w->op_count - 1);
		w->resolving &= ~(UINT64_C(1) << 63);
		while (w->sites[s].running >= 0)
			site_answer(w, s);
	}
}

/* The database of some time ago; the application is as it was. */
void site_restore(struct world *w, unsigned s)
{
	static const unsigned char told_before[] = { 0, 1, 2, 1, 0 };
	struct site *site = &w->sites[s];

	if (site->machine || !site->has_older || site->restored)
		return;
	w->counts->restores++;
	world_log(w, "the database of site %u is set back", s);
	for (unsigned k = 0; k < w->op_count; k++) {
		const struct op *op = &w->ops[k];
		bool elsewhere = false;

		for (unsigned t = 0; t < w->site_count; t++) {
			elsewhere |= t != s && row_is_known(w->sites[t].db.rows[k]);
			if (t != s && op->admitter == t && w->sites[t].db.rows[k] != ROW_NONE) { /* the handshake */
				site->history[k] = told_before[w->sites[t].db.told[k][s]];
				w->sites[t].db.told[k][s] = 0;
			}
		}
		if (!elsewhere && site->db.rows[k] != ROW_NONE && site->older.rows[k] != site->db.rows[k])
			site->tainted = true; /* what only this site knew is in its application, and nowhere else */
	}
	copy_database(&site->db, &site->older);
	site->restored = true;
	site->recovering = ((1u << w->site_count) - 1) & ~(1u << s);
}

void site_prune(struct world *w, unsigned s)
{
	struct site *site = &w->sites[s];
	const struct vector *known[SITES];
	size_t count = 0;

	if (!site->machine)
		return;
	for (unsigned t = 0; t < w->site_count; t++) {
		if (t == s)
			continue;
		if (!w->cut[s][t] && w->sites[t].machine && sim_chance(&w->random, 70))
			must(vector_copy(&site->known[t], order_past(w->sites[t].machine)));
		known[count++] = &site->known[t];
	}
	w->counts->pruned += order_prune(site->machine, known, count, NULL, NULL);
}
