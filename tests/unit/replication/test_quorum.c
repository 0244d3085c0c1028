/* replication/quorum: each rule as a row of what is heard and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "replication/quorum.h"

/* Events: MEMBER and what it says: p prepared, d declined, e executed, r refused, n not executed, u unknown, a aborted, z
 * undone; T time is up; * all that was sent is sent again.
 * Sent: PREPARE to everybody is left out; MEMBER and P prepare, A admit, E execute, X abort, U undo, ? ask. */
static const struct row {
	const char *name;
	enum consistency class;
	bool undoable;
	unsigned count;
	const char *events, *sent;
	enum quorum_answer answer;
	enum quorum_phase phase;
} rows[] = {
	{ "strong", CLASS_STRONG, true, 3, "0p1p2p0e1e2e", "0A1E2E", QUORUM_OK, QUORUM_OVER },
	{ "strong waits for all to prepare", CLASS_STRONG, true, 3, "0p1p", "", QUORUM_OPEN, QUORUM_PREPARING },
	{ "one declines", CLASS_STRONG, true, 3, "0p1d", "0X1X2X", QUORUM_UNAVAILABLE, QUORUM_ABORTING },
	{ "one is silent", CLASS_STRONG, true, 2, "0pT0a1a", "0X1X", QUORUM_UNAVAILABLE, QUORUM_OVER },
	{ "a late refusal to prepare", CLASS_STRONG, true, 2, "0p1p1d0e1e", "0A1E", QUORUM_OK, QUORUM_OVER },
	{ "quorum needs a majority", CLASS_QUORUM, true, 3, "0p1p0e1e", "0A1E2E", QUORUM_OK, QUORUM_FORWARDING },
	{ "and goes on without those that decline", CLASS_QUORUM, true, 3, "0p2d1p0e1e2e", "0A1E2E", QUORUM_OK, QUORUM_OVER },
	{ "no majority", CLASS_QUORUM, true, 3, "0p1d2d", "0X1X2X", QUORUM_UNAVAILABLE, QUORUM_ABORTING },
	{ "quorum of two is strong", CLASS_QUORUM, true, 2, "0p1d", "0X1X", QUORUM_UNAVAILABLE, QUORUM_ABORTING },
	{ "the application refuses", CLASS_STRONG, true, 2, "0p1p0r1a", "0A1X", QUORUM_REFUSAL, QUORUM_OVER },
	{ "not executed: the next", CLASS_STRONG, true, 2, "0p1p0n1e0e", "0A1A0E", QUORUM_OK, QUORUM_OVER },
	{ "nobody executed: said once they accept", CLASS_STRONG, true, 2, "0p1p0n1n0a", "0A1A0X1X", QUORUM_OPEN, QUORUM_ABORTING },
	{ "and then", CLASS_STRONG, true, 2, "0p1p0n1n0a1a", "0A1A0X1X", QUORUM_UNAVAILABLE, QUORUM_OVER },
	{ "a late request to admit", CLASS_STRONG, true, 2, "0p1p0n1n1a0e1e", "0A1A0X1X1E", QUORUM_OK, QUORUM_OVER },
	{ "unknown: the next", CLASS_STRONG, true, 2, "0p1p0u1e0e", "0A1A0E", QUORUM_OK, QUORUM_OVER },
	{ "unknown, and the next refuses", CLASS_STRONG, true, 2, "0p1p0u1rT", "0A1A0?1?", QUORUM_OUTCOME_UNKNOWN, QUORUM_ASKING },
	{ "a create that a member refuses", CLASS_STRONG, true, 3, "0p1p2p0e1r", "0A1E2E0U1U2U", QUORUM_OPEN, QUORUM_UNDOING },
	{ "is undone", CLASS_STRONG, true, 2, "0p1p0e1r0z1z", "0A1E0U1U", QUORUM_UNAVAILABLE, QUORUM_OVER },
	{ "not in time", CLASS_STRONG, true, 2, "0p1p0e1rT0z1z", "0A1E0U1U", QUORUM_OUTCOME_UNKNOWN, QUORUM_OVER },
	{ "of quorum, by one", CLASS_QUORUM, true, 3, "0p1p2p0e1r2e", "0A1E2E", QUORUM_OK, QUORUM_OVER },
	{ "of quorum, by too many", CLASS_QUORUM, true, 3, "0p1p2p0e1r2r", "0A1E2E0U1U2U", QUORUM_OPEN, QUORUM_UNDOING },
	{ "what has no undo goes forward", CLASS_STRONG, false, 2, "0p1p0e1rT*1e", "0A1E1E", QUORUM_OUTCOME_UNKNOWN, QUORUM_OVER },
	{ "silence is asked again", CLASS_STRONG, true, 2, "0p1p0e*1e", "0A1E1E", QUORUM_OK, QUORUM_OVER },
	{ "an answer that came twice", CLASS_STRONG, true, 2, "0p0p1p1p0e0p0e1e1u", "0A1E", QUORUM_OK, QUORUM_OVER },
};

static enum quorum_reply reply_of(char c)
{
	switch (c) {
	case 'p': return QUORUM_PREPARED;
	case 'd': return QUORUM_DECLINED;
	case 'e': return QUORUM_EXECUTED;
	case 'r': return QUORUM_REFUSED;
	case 'n': return QUORUM_NOT_EXECUTED;
	case 'u': return QUORUM_UNKNOWN;
	case 'a': return QUORUM_ABORTED;
	default: return QUORUM_UNDONE;
	}
}

static void send_all(struct quorum *q, char *sent, size_t room)
{
	static const char letters[] = ".PAEXU?";
	enum quorum_message message;
	unsigned member;

	while (quorum_take(q, &member, &message)) {
		size_t n = strlen(sent);

		if (message != QUORUM_PREPARE)
			snprintf(sent + n, room - n, "%u%c", member, letters[message]);
	}
}

static void play(struct quorum *q, const char *events, char *sent, size_t room)
{
	send_all(q, sent, room);
	for (const char *e = events; *e; e++) {
		if (*e == 'T') {
			quorum_timeout(q);
		} else if (*e == '*') {
			for (unsigned i = 0; i < q->count; i++)
				quorum_again(q, i);
		} else {
			quorum_hear(q, (unsigned)(*e - '0'), reply_of(e[1]));
			e++;
		}
		send_all(q, sent, room);
	}
}

static void each_rule(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		char sent[256] = "";
		struct quorum q;

		quorum_start(&q, r->class, r->undoable, r->count);
		play(&q, r->events, sent, sizeof(sent));
		if (strcmp(sent, r->sent) || q.answer != r->answer || q.phase != r->phase) {
			print_error("%s: sent %s, answer %d, phase %d; expected %s, %d, %d\n", r->name, sent, (int)q.answer, (int)q.phase,
			            r->sent, (int)r->answer, (int)r->phase);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

static void recovery(void **state)
{
	static const struct {
		const char *name;
		enum quorum_phase from;
		bool undoable;
		const char *events, *sent;
		enum quorum_phase phase;
		unsigned blocked;
	} resumed[] = {
		{ "anybody executed: forward", QUORUM_ASKING, true, "0p1e", "0?1?2?0E2E", QUORUM_FORWARDING, 0 },
		{ "all answered and nobody did: abort", QUORUM_ASKING, true, "0p1p2n", "0?1?2?0X1X2X", QUORUM_ABORTING, 0 },
		{ "and it is over when all accept", QUORUM_ASKING, true, "0p1p2n0a1a2a", "0?1?2?0X1X2X", QUORUM_OVER, 0 },
		{ "unless somebody has meanwhile", QUORUM_ASKING, true, "0p1p2n0a1e", "0?1?2?0X1X2X0E2E", QUORUM_FORWARDING, 0 },
		{ "one is silent: blocked", QUORUM_ASKING, true, "0p1p", "0?1?2?", QUORUM_ASKING, 1 },
		{ "one does not know: blocked", QUORUM_ASKING, true, "0p1p2u", "0?1?2?", QUORUM_ASKING, 1 },
		{ "a create that one refuses", QUORUM_ASKING, true, "0e1r", "0?1?2?1E2E", QUORUM_UNDOING, 0 },
		{ "somebody has undone it", QUORUM_ASKING, true, "0z", "0?1?2?1U2U", QUORUM_UNDOING, 0 },
		{ "the coordinator, before it asked to admit", QUORUM_PREPARING, true, "0a1a2a", "0X1X2X", QUORUM_OVER, 0 },
		{ "after", QUORUM_ADMITTING, true, "0p", "0?1?2?", QUORUM_ASKING, 2 },
		{ "going forward", QUORUM_FORWARDING, true, "0e1e2e", "0E1E2E", QUORUM_OVER, 0 },
		{ "undoing", QUORUM_UNDOING, true, "0z1z2z", "0U1U2U", QUORUM_OVER, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(resumed) / sizeof(resumed[0]); i++) {
		char sent[256] = "";
		struct quorum q;

		quorum_resume(&q, CLASS_STRONG, resumed[i].undoable, 3, resumed[i].from);
		play(&q, resumed[i].events, sent, sizeof(sent));
		if (strncmp(sent, resumed[i].sent, strlen("0?1?2?")) || q.phase != resumed[i].phase ||
		    quorum_blocked(&q) != resumed[i].blocked)
			fail_msg("%s: sent %s, phase %d, blocked %u", resumed[i].name, sent, (int)q.phase, quorum_blocked(&q));
	}
}

/* state, message, may, again: reply, state, run */
static void a_member(void **state)
{
	static const struct {
		enum quorum_state before;
		enum quorum_message message;
		bool may, again;
		enum quorum_reply reply;
		enum quorum_state after;
		enum quorum_run run;
	} table[] = {
		{ QUORUM_M_NONE, QUORUM_PREPARE, true, false, QUORUM_PREPARED, QUORUM_M_PREPARED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_NONE, QUORUM_PREPARE, false, false, QUORUM_DECLINED, QUORUM_M_NONE, QUORUM_RUN_NOTHING },
		{ QUORUM_M_PREPARED, QUORUM_PREPARE, false, false, QUORUM_PREPARED, QUORUM_M_PREPARED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_NONE, QUORUM_ADMIT, true, false, QUORUM_NOT_EXECUTED, QUORUM_M_NONE, QUORUM_RUN_NOTHING },
		{ QUORUM_M_PREPARED, QUORUM_ADMIT, true, false, QUORUM_UNKNOWN, QUORUM_M_RUNNING, QUORUM_RUN_EXECUTE },
		{ QUORUM_M_ABORTED, QUORUM_ADMIT, true, false, QUORUM_ABORTED, QUORUM_M_ABORTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_ABORTED, QUORUM_EXECUTE, true, false, QUORUM_UNKNOWN, QUORUM_M_RUNNING, QUORUM_RUN_EXECUTE },
		{ QUORUM_M_NONE, QUORUM_EXECUTE, true, false, QUORUM_UNKNOWN, QUORUM_M_RUNNING, QUORUM_RUN_EXECUTE },
		{ QUORUM_M_EXECUTED, QUORUM_EXECUTE, true, false, QUORUM_EXECUTED, QUORUM_M_EXECUTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_EXECUTED, QUORUM_ABORT, true, false, QUORUM_EXECUTED, QUORUM_M_EXECUTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_PREPARED, QUORUM_ABORT, true, false, QUORUM_ABORTED, QUORUM_M_ABORTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_NONE, QUORUM_ABORT, true, false, QUORUM_ABORTED, QUORUM_M_ABORTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_ABORTED, QUORUM_PREPARE, true, false, QUORUM_ABORTED, QUORUM_M_ABORTED, QUORUM_RUN_NOTHING },
		{ QUORUM_M_EXECUTED, QUORUM_UNDO, true, false, QUORUM_UNKNOWN, QUORUM_M_UNDOING, QUORUM_RUN_UNDO },
		{ QUORUM_M_UNDOING, QUORUM_ASK, true, false, QUORUM_UNKNOWN, QUORUM_M_UNDOING, QUORUM_RUN_UNDO },
		{ QUORUM_M_PREPARED, QUORUM_UNDO, true, false, QUORUM_UNDONE, QUORUM_M_UNDONE, QUORUM_RUN_NOTHING },
		{ QUORUM_M_UNDONE, QUORUM_EXECUTE, true, false, QUORUM_UNDONE, QUORUM_M_UNDONE, QUORUM_RUN_NOTHING },
		{ QUORUM_M_DOUBT, QUORUM_ASK, true, false, QUORUM_UNKNOWN, QUORUM_M_DOUBT, QUORUM_RUN_NOTHING },
		{ QUORUM_M_DOUBT, QUORUM_ABORT, true, false, QUORUM_UNKNOWN, QUORUM_M_DOUBT, QUORUM_RUN_NOTHING },
		{ QUORUM_M_DOUBT, QUORUM_ASK, true, true, QUORUM_UNKNOWN, QUORUM_M_RUNNING, QUORUM_RUN_EXECUTE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum quorum_state s = table[i].before;
		enum quorum_run run;
		enum quorum_reply reply = quorum_member_hear(&s, table[i].message, table[i].may, table[i].again, &run);

		if (reply != table[i].reply || s != table[i].after || run != table[i].run)
			fail_msg("row %zu: %s, state %d, run %d", i, quorum_reply_text(reply), (int)s, (int)run);
	}
}

/* What may have been executed does not become "not executed" by a second attempt that was not. */
static void doubt_stays_doubt(void **state)
{
	enum quorum_state s = QUORUM_M_RUNNING;

	(void)state;
	assert_int_equal(quorum_ran(&s, QUORUM_M_DOUBT, QUORUM_NOT_EXECUTED), QUORUM_UNKNOWN);
	assert_int_equal(s, QUORUM_M_DOUBT);
	s = QUORUM_M_RUNNING;
	assert_int_equal(quorum_ran(&s, QUORUM_M_DOUBT, QUORUM_REFUSED), QUORUM_UNKNOWN);
	s = QUORUM_M_RUNNING;
	assert_int_equal(quorum_ran(&s, QUORUM_M_PREPARED, QUORUM_NOT_EXECUTED), QUORUM_NOT_EXECUTED);
	assert_int_equal(s, QUORUM_M_PREPARED);
	s = QUORUM_M_RUNNING;
	assert_int_equal(quorum_ran(&s, QUORUM_M_DOUBT, QUORUM_EXECUTED), QUORUM_EXECUTED);
	assert_int_equal(quorum_member_restarted(QUORUM_M_RUNNING), QUORUM_M_DOUBT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule),
		cmocka_unit_test(recovery),
		cmocka_unit_test(a_member),
		cmocka_unit_test(doubt_stays_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
