/* One schedule of the class machine: one operation, its coordinator and members, messages that are lost, late and
 * repeated, crashes, a coordinator that is lost for good, members that then recover.  Checked: what quorum.h says holds,
 * whoever answered whom. */
#include <stdio.h>
#include <string.h>

#include "replication/quorum.h"
#include "tests/sim/sim.h"

#define MEMBERS 5
#define MAIL 64

struct member {
	enum quorum_state state, was;
	enum quorum_run running;
	bool there;              /* in its application */
	bool healthy;
	bool refuses;            /* its application does, for good */
	struct quorum recovery;  /* once it hears nothing */
	bool recovers;
	unsigned asked_by;
};

struct mail {
	bool reply;
	unsigned from, to;       /* from: who coordinates; MEMBERS: the coordinator */
	unsigned char what;
};

struct net {
	struct sim_random random;
	struct sim_counts *counts;
	bool log, again, undoable, lost, healed;
	enum consistency class;
	unsigned count;
	struct quorum q;
	enum quorum_phase durable;
	enum quorum_answer told;
	bool up;
	struct member m[MEMBERS];
	struct mail mail[MAIL];
	unsigned mail_count;
	char failure[128];
};

static void fail(struct net *n, const char *what)
{
	if (n->failure[0])
		return;
	snprintf(n->failure, sizeof(n->failure), "%s (%s of %u%s)", what, consistency_text(n->class), n->count,
	         n->undoable ? ", undoable" : "");
	if (n->log)
		printf("FAILURE: %s\n", n->failure);
}

static struct quorum *machine(struct net *n, unsigned who)
{
	return who == MEMBERS ? &n->q : &n->m[who].recovery;
}

static bool is_up(const struct net *n, unsigned who)
{
	return who == MEMBERS ? n->up && !n->lost : n->m[who].recovers;
}

static void post(struct net *n, bool reply, unsigned from, unsigned to, unsigned what)
{
	if (n->mail_count < MAIL)
		n->mail[n->mail_count++] = (struct mail){ reply, from, to, (unsigned char)what };
}

static unsigned there(const struct net *n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n->count; i++)
		count += n->m[i].there;
	return count;
}

static void check_answer(struct net *n)
{
	unsigned count = there(n), need = n->class == CLASS_STRONG ? n->count : n->count / 2 + 1;

	if (n->told == QUORUM_OK && count < need)
		fail(n, "it was promised, and is not there");
	if ((n->told == QUORUM_UNAVAILABLE || n->told == QUORUM_REFUSAL) && count)
		fail(n, "it was said that nothing is there, and something is");
}

static void send_due(struct net *n, unsigned who)
{
	struct quorum *q = machine(n, who);
	enum quorum_message message;
	unsigned member;

	if (who == MEMBERS) {
		n->durable = q->phase;
		if (n->told == QUORUM_OPEN && q->answer != QUORUM_OPEN) {
			n->told = q->answer;
			if (n->log)
				printf("answered: %d\n", (int)n->told);
		}
	}
	while (quorum_take(q, &member, &message)) {
		if (n->log)
			printf("%u: %s to %u (phase %d)\n", who, quorum_message_text(message), member, (int)q->phase);
		post(n, false, who, member, message);
	}
}

/* ---- members ------------------------------------------------------------------------------------------------------ */

static void finish(struct net *n, unsigned i)
{
	struct member *m = &n->m[i];
	unsigned dice = n->healed ? 0 : sim_below(&n->random, 100);
	enum quorum_reply ran;

	if (m->running == QUORUM_RUN_NOTHING)
		return;
	if (m->running == QUORUM_RUN_UNDO) {
		ran = dice < 70 ? QUORUM_UNDONE : QUORUM_UNKNOWN;
		m->there &= !(ran == QUORUM_UNDONE || dice < 85);
	} else if (m->refuses && !(n->healed && !n->undoable)) {
		ran = QUORUM_REFUSED;
	} else {
		ran = dice < 70 ? QUORUM_EXECUTED : dice < 85 ? QUORUM_UNKNOWN : QUORUM_NOT_EXECUTED;
		m->there |= ran == QUORUM_EXECUTED || (ran == QUORUM_UNKNOWN && dice < 78);
	}
	m->running = QUORUM_RUN_NOTHING;
	ran = quorum_ran(&m->state, m->was, ran);
	if (n->log)
		printf("member %u: %s, state %d\n", i, quorum_reply_text(ran), (int)m->state);
	post(n, true, m->asked_by, i, ran);
}

static void member_hears(struct net *n, const struct mail *mail)
{
	struct member *m = &n->m[mail->to];
	enum quorum_reply reply;

	if (m->running != QUORUM_RUN_NOTHING) {
		post(n, true, mail->from, mail->to, QUORUM_UNKNOWN);
		return;
	}
	m->was = m->state;
	reply = quorum_member_hear(&m->state, mail->what, m->healthy, n->again, &m->running);
	m->asked_by = mail->from;
	if (n->log)
		printf("member %u hears %s: %s, state %d\n", mail->to, quorum_message_text(mail->what), quorum_reply_text(reply),
		       (int)m->state);
	if (m->running == QUORUM_RUN_NOTHING)
		post(n, true, mail->from, mail->to, reply);
}

/* For an operator, who looks. */
static void settle(struct net *n, unsigned i)
{
	struct member *m = &n->m[i];

	if (m->state == QUORUM_M_DOUBT && (!n->again || m->refuses))
		m->state = m->there ? QUORUM_M_EXECUTED : QUORUM_M_ABORTED;
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static void deliver(struct net *n)
{
	unsigned at, dice = n->healed ? 50 : sim_below(&n->random, 100);
	struct mail mail;

	if (!n->mail_count)
		return;
	at = sim_below(&n->random, n->mail_count);
	mail = n->mail[at];
	if (dice > 10) /* else it comes once more */
		n->mail[at] = n->mail[--n->mail_count];
	if (dice > 80)
		return;
	if (!mail.reply) {
		member_hears(n, &mail);
	} else if (is_up(n, mail.from)) {
		quorum_hear(machine(n, mail.from), mail.to, mail.what);
		send_due(n, mail.from);
	}
}

static void crash(struct net *n, unsigned who)
{
	n->counts->crashes++;
	if (n->log)
		printf("%u crashes\n", who);
	if (who == MEMBERS) {
		n->up = !n->up;
		if (n->up) {
			enum quorum_answer told = n->told;

			quorum_resume(&n->q, n->class, n->undoable, n->count, n->durable);
			n->q.answer = told; /* the client has gone, if it was not answered */
			send_due(n, MEMBERS);
		}
		return;
	}
	if (n->m[who].running == QUORUM_RUN_EXECUTE && sim_chance(&n->random, 50) && !n->m[who].refuses)
		n->m[who].there = true;
	if (n->m[who].running == QUORUM_RUN_UNDO && sim_chance(&n->random, 50))
		n->m[who].there = false;
	n->m[who].running = QUORUM_RUN_NOTHING;
	n->m[who].recovers = false;
	n->m[who].state = quorum_member_restarted(n->m[who].state);
}

static void recover(struct net *n, unsigned i)
{
	if (n->m[i].recovers || n->m[i].state == QUORUM_M_NONE)
		return;
	n->counts->recoveries++;
	n->m[i].recovers = true;
	quorum_resume(&n->m[i].recovery, n->class, n->undoable, n->count, QUORUM_ASKING);
	send_due(n, i);
}

static void again(struct net *n, unsigned who)
{
	if (!is_up(n, who))
		return;
	for (unsigned i = 0; i < n->count; i++)
		if (sim_chance(&n->random, n->healed ? 100 : 40))
			quorum_again(machine(n, who), i);
	send_due(n, who);
}

static void event(struct net *n)
{
	unsigned dice = sim_below(&n->random, 1000), i = sim_below(&n->random, n->count);

	if (dice < 550)
		deliver(n);
	else if (dice < 800)
		finish(n, i);
	else if (dice < 900)
		again(n, sim_chance(&n->random, 60) ? MEMBERS : i);
	else if (dice < 930)
		crash(n, sim_chance(&n->random, 50) ? MEMBERS : i);
	else if (dice < 960)
		recover(n, i);
	else if (dice < 975)
		n->m[i].healthy = !n->m[i].healthy;
	else if (dice < 985 && n->up && !n->lost)
		quorum_timeout(&n->q), send_due(n, MEMBERS);
	else if (dice < 990)
		n->lost |= sim_chance(&n->random, 30);
	else
		settle(n, i);
	check_answer(n);
}

static bool is_decided(const struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		if (n->m[i].running != QUORUM_RUN_NOTHING || n->m[i].state == QUORUM_M_PREPARED || n->m[i].state == QUORUM_M_DOUBT)
			return false;
	return !n->mail_count;
}

static void heal(struct net *n)
{
	n->healed = true;
	if (!n->up && !n->lost)
		crash(n, MEMBERS);
	for (int round = 0; round < 60 && !n->failure[0]; round++) {
		for (unsigned i = 0; i < n->count; i++) {
			finish(n, i);
			settle(n, i);
			recover(n, i);
		}
		for (unsigned who = 0; who <= MEMBERS; who++)
			if (who == MEMBERS || who < n->count)
				again(n, who);
		while (n->mail_count && !n->failure[0]) {
			deliver(n);
			for (unsigned i = 0; i < n->count; i++)
				finish(n, i);
			check_answer(n);
		}
	}
}

/* All members stand alike: executed, or nothing there.  A member that refuses a create of quorum, or an operation without
 * undo, is shown as failed. */
static void check_end(struct net *n)
{
	unsigned count = there(n), refusing = 0, asked = 0;

	for (unsigned i = 0; i < n->count; i++) {
		refusing += n->m[i].refuses && n->undoable;
		asked += n->m[i].state != QUORUM_M_NONE;
		if (n->m[i].there != (n->m[i].state == QUORUM_M_EXECUTED))
			fail(n, "a member's state is not its application's");
	}
	if (asked && !is_decided(n))
		fail(n, "it is undecided though all members answer");
	if (count && count + refusing < n->count)
		fail(n, "some members have it, and some do not");
	if (count && n->class == CLASS_STRONG && count < n->count)
		fail(n, "strong: some members have it, and some do not");
	n->counts->committed += n->told == QUORUM_OK;
	n->counts->aborted += !count;
	n->counts->undone += n->m[0].state == QUORUM_M_UNDONE;
}

const char *sim_quorum(uint64_t seed, bool log, struct sim_counts *counts)
{
	static struct net n;
	unsigned events;

	memset(&n, 0, sizeof(n));
	n.random.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	n.counts = counts;
	n.log = log;
	n.count = 2 + sim_below(&n.random, MEMBERS - 1);
	n.class = sim_chance(&n.random, 50) ? CLASS_STRONG : CLASS_QUORUM;
	n.again = sim_chance(&n.random, 50);
	n.undoable = sim_chance(&n.random, 50);
	n.up = true;
	for (unsigned i = 0; i < n.count; i++) {
		n.m[i].healthy = sim_chance(&n.random, 90);
		n.m[i].refuses = sim_chance(&n.random, 10);
	}
	quorum_start(&n.q, n.class, n.undoable, n.count);
	send_due(&n, MEMBERS);
	events = 20 + sim_below(&n.random, 200);
	for (unsigned i = 0; i < events && !n.failure[0]; i++) {
		event(&n);
		for (unsigned j = 0; j < n.count; j++)
			counts->blocked += n.m[j].recovers && quorum_blocked(&n.m[j].recovery) && i + 1 == events;
	}
	if (!n.failure[0])
		heal(&n);
	if (!n.failure[0])
		check_end(&n);
	return n.failure[0] ? n.failure : NULL;
}
