#include "replication/quorum.h"

#include <assert.h>

#define QUORUM_TEXT(name, text) text,
static const char *const message_texts[] = { QUORUM_MESSAGES(QUORUM_TEXT) };
static const char *const reply_texts[] = { QUORUM_REPLIES(QUORUM_TEXT) };
#undef QUORUM_TEXT

const char *quorum_message_text(enum quorum_message message)
{
	return message < QUORUM_MESSAGES_ ? message_texts[message] : "unknown";
}

const char *quorum_reply_text(enum quorum_reply reply)
{
	return reply < QUORUM_REPLIES_ ? reply_texts[reply] : "unknown";
}

/* ---- counting ----------------------------------------------------------------------------------------------------- */

static unsigned needed(const struct quorum *q)
{
	return q->class == CLASS_STRONG ? q->count : q->count / 2 + 1;
}

static unsigned heard(const struct quorum *q, enum quorum_reply reply)
{
	unsigned n = 0;

	for (unsigned i = 0; i < q->count; i++)
		n += q->peers[i].heard == reply;
	return n;
}

static void give_answer(struct quorum *q, enum quorum_answer answer)
{
	if (q->answer == QUORUM_OPEN)
		q->answer = answer;
}

/* ---- phases ------------------------------------------------------------------------------------------------------- */

static void send_all(struct quorum *q, enum quorum_message message, enum quorum_reply but)
{
	for (unsigned i = 0; i < q->count; i++)
		q->peers[i].todo = q->peers[i].heard == but ? QUORUM_NOTHING : message;
}

static void over_if(struct quorum *q, bool over)
{
	if (over)
		q->phase = QUORUM_OVER;
}

static void enter_undoing(struct quorum *q)
{
	q->phase = QUORUM_UNDOING;
	send_all(q, QUORUM_UNDO, QUORUM_UNDONE);
}

static void step_undoing(struct quorum *q)
{
	if (heard(q, QUORUM_UNDONE) < q->count)
		return;
	give_answer(q, QUORUM_UNAVAILABLE);
	q->phase = QUORUM_OVER;
}

static void step_forwarding(struct quorum *q)
{
	unsigned executed = heard(q, QUORUM_EXECUTED), refused = heard(q, QUORUM_REFUSED);

	if (executed >= needed(q))
		give_answer(q, QUORUM_OK);
	if (heard(q, QUORUM_UNDONE) || (q->undoable && refused > q->count - needed(q)))
		enter_undoing(q);
	else
		over_if(q, executed == q->count || (q->undoable && executed + refused == q->count));
}

static void enter_forwarding(struct quorum *q)
{
	q->phase = QUORUM_FORWARDING;
	send_all(q, QUORUM_EXECUTE, QUORUM_EXECUTED);
	for (unsigned i = 0; i < q->count; i++)
		if (q->undoable && q->peers[i].heard == QUORUM_REFUSED)
			q->peers[i].todo = QUORUM_NOTHING;
	step_forwarding(q);
}

static bool is_gone(enum quorum_reply reply)
{
	return reply == QUORUM_ABORTED || reply == QUORUM_REFUSED || reply == QUORUM_UNDONE;
}

static void enter_aborting(struct quorum *q)
{
	q->phase = QUORUM_ABORTING;
	send_all(q, QUORUM_ABORT, QUORUM_ABORTED);
	for (unsigned i = 0; i < q->count; i++)
		if (is_gone(q->peers[i].heard))
			q->peers[i].todo = QUORUM_NOTHING;
}

static void step_aborting(struct quorum *q)
{
	bool all = true, tried = true;

	if (heard(q, QUORUM_EXECUTED)) {
		enter_forwarding(q);
		return;
	}
	for (unsigned i = 0; i < q->count; i++) {
		all &= is_gone(q->peers[i].heard);
		tried &= is_gone(q->peers[i].heard) || !q->peers[i].tried;
	}
	if (all || (tried && q->ending != QUORUM_OPEN))
		give_answer(q, q->ending == QUORUM_OPEN ? QUORUM_UNAVAILABLE : q->ending);
	over_if(q, all);
}

static void enter_asking(struct quorum *q)
{
	q->phase = QUORUM_ASKING;
	send_all(q, QUORUM_ASK, QUORUM_EXECUTED);
	for (unsigned i = 0; i < q->count; i++)
		if (!is_gone(q->peers[i].heard) && q->peers[i].heard != QUORUM_EXECUTED)
			q->peers[i].heard = QUORUM_SILENT;
}

static void step_asking(struct quorum *q)
{
	if (heard(q, QUORUM_UNDONE))
		enter_undoing(q);
	else if (heard(q, QUORUM_EXECUTED))
		enter_forwarding(q);
	else if (!quorum_blocked(q)) {
		enter_aborting(q);
		step_aborting(q);
	}
}

unsigned quorum_blocked(const struct quorum *q)
{
	return q->phase == QUORUM_ASKING ? heard(q, QUORUM_SILENT) + heard(q, QUORUM_UNKNOWN) : 0;
}

/* ---- admission ---------------------------------------------------------------------------------------------------- */

static bool next_admitter(struct quorum *q)
{
	for (unsigned i = 0; i < q->count; i++)
		if (!q->peers[i].tried && q->peers[i].heard == QUORUM_PREPARED) {
			q->admitter = i;
			q->peers[i].tried = true;
			q->peers[i].todo = QUORUM_ADMIT;
			return true;
		}
	return false;
}

/* Nobody was asked to admit, or all that were have said that they did not: the answer waits for them to accept. */
static void abort_with(struct quorum *q, enum quorum_answer answer)
{
	q->ending = answer;
	enter_aborting(q);
	step_aborting(q);
}

static void step_admitting(struct quorum *q)
{
	enum quorum_reply reply = q->peers[q->admitter].heard;
	bool unknown = heard(q, QUORUM_UNKNOWN) > 0;

	if (heard(q, QUORUM_UNDONE))
		enter_undoing(q);
	else if (heard(q, QUORUM_EXECUTED))
		enter_forwarding(q);
	else if (reply == QUORUM_REFUSED && !unknown)
		abort_with(q, QUORUM_REFUSAL);
	else if ((reply == QUORUM_NOT_EXECUTED || reply == QUORUM_UNKNOWN) && next_admitter(q))
		return;
	else if ((reply == QUORUM_NOT_EXECUTED || reply == QUORUM_ABORTED || reply == QUORUM_DECLINED) && !unknown)
		abort_with(q, QUORUM_UNAVAILABLE);
	else if (reply != QUORUM_PREPARED)
		enter_asking(q);
}

static void step_preparing(struct quorum *q)
{
	unsigned lost = heard(q, QUORUM_DECLINED) + heard(q, QUORUM_ABORTED);

	if (lost > q->count - needed(q)) {
		abort_with(q, QUORUM_UNAVAILABLE);
	} else if (heard(q, QUORUM_PREPARED) >= needed(q)) {
		for (unsigned i = 0; i < q->count; i++)
			q->peers[i].todo = QUORUM_NOTHING;
		q->phase = QUORUM_ADMITTING;
		next_admitter(q);
	}
}

/* ---- what comes in ------------------------------------------------------------------------------------------------ */

void quorum_start(struct quorum *q, enum consistency class, bool undoable, unsigned count)
{
	assert(count && count <= QUORUM_MEMBERS);
	*q = (struct quorum){ .class = class, .undoable = undoable, .count = count };
	send_all(q, QUORUM_PREPARE, QUORUM_PREPARED);
}

void quorum_resume(struct quorum *q, enum consistency class, bool undoable, unsigned count, enum quorum_phase phase)
{
	quorum_start(q, class, undoable, count);
	if (phase == QUORUM_PREPARING || phase == QUORUM_ABORTING) /* nobody was asked to admit */
		enter_aborting(q);
	else if (phase == QUORUM_ADMITTING || phase == QUORUM_ASKING)
		enter_asking(q);
	else if (phase == QUORUM_FORWARDING)
		enter_forwarding(q);
	else if (phase == QUORUM_UNDOING)
		enter_undoing(q);
	else
		q->phase = QUORUM_OVER;
}

/* What is certain stays: a late reply does not take it back. */
static bool outdoes(enum quorum_reply was, enum quorum_reply reply)
{
	if (was == QUORUM_UNDONE || reply == QUORUM_SILENT)
		return false;
	if (was == QUORUM_EXECUTED)
		return reply == QUORUM_UNDONE;
	if (reply == QUORUM_DECLINED) /* it was repeated, and has since prepared */
		return was == QUORUM_SILENT;
	return true;
}

void quorum_hear(struct quorum *q, unsigned member, enum quorum_reply reply)
{
	static void (*const steps[])(struct quorum *) = {
		[QUORUM_PREPARING] = step_preparing, [QUORUM_ADMITTING] = step_admitting, [QUORUM_FORWARDING] = step_forwarding,
		[QUORUM_ABORTING] = step_aborting, [QUORUM_UNDOING] = step_undoing, [QUORUM_ASKING] = step_asking,
	};

	if (member >= q->count || reply >= QUORUM_REPLIES_ || q->phase == QUORUM_OVER || !outdoes(q->peers[member].heard, reply))
		return;
	q->peers[member].heard = reply;
	steps[q->phase](q);
}

void quorum_timeout(struct quorum *q)
{
	if (q->phase == QUORUM_PREPARING)
		abort_with(q, QUORUM_UNAVAILABLE);
	else
		give_answer(q, QUORUM_OUTCOME_UNKNOWN);
}

void quorum_again(struct quorum *q, unsigned member)
{
	struct quorum_peer *p = &q->peers[member];
	static const enum quorum_message messages[] = {
		[QUORUM_PREPARING] = QUORUM_PREPARE, [QUORUM_FORWARDING] = QUORUM_EXECUTE, [QUORUM_ABORTING] = QUORUM_ABORT,
		[QUORUM_UNDOING] = QUORUM_UNDO, [QUORUM_ASKING] = QUORUM_ASK, [QUORUM_ADMITTING] = QUORUM_ADMIT,
		[QUORUM_OVER] = QUORUM_NOTHING,
	};

	if (member >= q->count || (q->phase == QUORUM_ADMITTING && member != q->admitter))
		return;
	if ((q->phase == QUORUM_FORWARDING && (p->heard == QUORUM_EXECUTED || (q->undoable && p->heard == QUORUM_REFUSED))) ||
	    (q->phase == QUORUM_UNDOING && p->heard == QUORUM_UNDONE) || (q->phase == QUORUM_ABORTING && is_gone(p->heard)) ||
	    (q->phase == QUORUM_PREPARING && p->heard != QUORUM_SILENT))
		return;
	p->todo = messages[q->phase];
}

bool quorum_take(struct quorum *q, unsigned *member_r, enum quorum_message *message_r)
{
	for (unsigned i = 0; i < q->count; i++) {
		if (q->peers[i].todo == QUORUM_NOTHING)
			continue;
		*member_r = i;
		*message_r = q->peers[i].todo;
		q->peers[i].todo = QUORUM_NOTHING;
		return true;
	}
	return false;
}

/* ---- a member ----------------------------------------------------------------------------------------------------- */

static enum quorum_reply standing(enum quorum_state state)
{
	static const enum quorum_reply replies[] = {
		[QUORUM_M_NONE] = QUORUM_NOT_EXECUTED, [QUORUM_M_PREPARED] = QUORUM_PREPARED, [QUORUM_M_RUNNING] = QUORUM_UNKNOWN,
		[QUORUM_M_EXECUTED] = QUORUM_EXECUTED, [QUORUM_M_REFUSED] = QUORUM_REFUSED, [QUORUM_M_ABORTED] = QUORUM_ABORTED,
		[QUORUM_M_UNDOING] = QUORUM_UNKNOWN, [QUORUM_M_UNDONE] = QUORUM_UNDONE, [QUORUM_M_DOUBT] = QUORUM_UNKNOWN,
	};

	return replies[state];
}

static bool is_untouched(enum quorum_state state)
{
	return state == QUORUM_M_NONE || state == QUORUM_M_PREPARED || state == QUORUM_M_ABORTED;
}

static enum quorum_reply run_it(enum quorum_state *state, enum quorum_run run, enum quorum_run *run_r)
{
	*state = run == QUORUM_RUN_UNDO ? QUORUM_M_UNDOING : QUORUM_M_RUNNING;
	*run_r = run;
	return QUORUM_UNKNOWN;
}

static enum quorum_reply hear_undo(enum quorum_state *state, bool again, enum quorum_run *run_r)
{
	if (*state == QUORUM_M_EXECUTED || *state == QUORUM_M_UNDOING || (*state == QUORUM_M_DOUBT && again))
		return run_it(state, QUORUM_RUN_UNDO, run_r);
	if (is_untouched(*state) || *state == QUORUM_M_REFUSED)
		*state = QUORUM_M_UNDONE;
	return standing(*state);
}

enum quorum_reply quorum_member_hear(enum quorum_state *state, enum quorum_message message, bool may, bool again,
                                     enum quorum_run *run_r)
{
	*run_r = QUORUM_RUN_NOTHING;
	/* what was to be undone is undone, whoever asks what: who decided it may be lost */
	if (message == QUORUM_UNDO || *state == QUORUM_M_UNDOING)
		return hear_undo(state, again, run_r);
	/* what may have been executed, and can be repeated, goes forward whatever was asked */
	if (*state == QUORUM_M_DOUBT && again && message != QUORUM_PREPARE)
		return run_it(state, QUORUM_RUN_EXECUTE, run_r);
	if (message == QUORUM_EXECUTE && (is_untouched(*state) || *state == QUORUM_M_REFUSED))
		return run_it(state, QUORUM_RUN_EXECUTE, run_r);
	if (message == QUORUM_ADMIT && *state == QUORUM_M_PREPARED)
		return run_it(state, QUORUM_RUN_EXECUTE, run_r);
	if (message == QUORUM_ABORT && is_untouched(*state))
		*state = QUORUM_M_ABORTED;
	if (message == QUORUM_PREPARE && *state == QUORUM_M_NONE) {
		if (!may)
			return QUORUM_DECLINED;
		*state = QUORUM_M_PREPARED;
	}
	return standing(*state);
}

enum quorum_reply quorum_ran(enum quorum_state *state, enum quorum_state was, enum quorum_reply ran)
{
	if (*state == QUORUM_M_UNDOING) {
		if (ran == QUORUM_UNDONE)
			*state = QUORUM_M_UNDONE;
		return standing(*state);
	}
	if (ran == QUORUM_EXECUTED)
		*state = QUORUM_M_EXECUTED;
	else if (ran == QUORUM_UNKNOWN || was == QUORUM_M_DOUBT) /* the first time it may have been */
		*state = QUORUM_M_DOUBT;
	else if (ran == QUORUM_REFUSED)
		*state = QUORUM_M_REFUSED;
	else
		*state = was;
	return ran == QUORUM_NOT_EXECUTED && *state == was && was != QUORUM_M_DOUBT ? QUORUM_NOT_EXECUTED : standing(*state);
}

enum quorum_state quorum_member_restarted(enum quorum_state state)
{
	return state == QUORUM_M_RUNNING ? QUORUM_M_DOUBT : state;
}
