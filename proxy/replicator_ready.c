/* `ready` (replication.md 6): a create that this site's application has executed, and is still at work on.
 *
 *	executed ──► building: its delivery stays "sent", its replica "queued" with the reason "building", its lane waits
 *	             the resource is read here, after growing pauses, until it is
 *	             ready       done, synced
 *	             broken      failed, "build-failed"
 *	             neither, and `within` is over: failed, "not-ready"
 *
 * Who asked for the create has its answer long since.  After a restart a "sent" create whose name is known here is such a
 * one, and `within` begins anew. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define PAUSE_FIRST_US 200000
#define PAUSE_MOST_US 5000000

/* Its request is the create of a resource that says when it is ready. */
static const struct rule *rule_of(const struct work *k, const struct rule_match *m)
{
	bool creates = (!m->id.n || k->op->named) && !m->rest.n;

	return m->rule && m->rule->ready.path.n && creates ? m->rule : NULL;
}

bool ready_is_declared(const struct work *k)
{
	struct rule_match m;
	struct rules *rules = work_rules(k, &m);
	bool declared = rule_of(k, &m) != NULL;

	rules_unref(&rules);
	return declared;
}

static void say(struct leg *leg, const char *why)
{
	free(leg->error);
	leg->error = strdup(why);
}

void ready_begin(struct leg *leg)
{
	struct rule_match m;
	struct rules *rules = work_rules(leg->work, &m);
	const struct rule *rule = rule_of(leg->work, &m);

	leg->building = true;
	leg->was_sent = false;
	leg->state = DELIVERY_SENT;
	leg->pause_us = PAUSE_FIRST_US;
	leg->until_us = clock_mono_us() + (rule ? rule->ready.within_us : 0);
	say(leg, REPLICA_BUILDING);
	rules_unref(&rules);
}

/* A representation that cannot be had says nothing.  What is not declared any more is ready. */
static enum rule_readiness judge(const struct leg *leg, const struct inner_answer *a)
{
	struct rule_match m;
	struct rules *rules = work_rules(leg->work, &m);
	const struct rule *rule = rule_of(leg->work, &m);
	enum rule_readiness readiness = rule ? RULE_BUILDING : RULE_READY;
	struct arena arena;

	arena_init(&arena, NULL, 0, 1 << 20);
	if (rule && a->result == INNER_ANSWERED && a->status >= 200 && a->status < 300)
		readiness = rule_ready_judge(&arena, rule, a->body);
	arena_fini(&arena);
	rules_unref(&rules);
	return readiness;
}

enum delivery_state ready_judge(struct leg *leg, const struct inner_answer *a)
{
	enum rule_readiness readiness = judge(leg, a);

	if (readiness == RULE_BUILDING && clock_mono_us() < leg->until_us) {
		leg->pause_us = 2 * leg->pause_us < PAUSE_MOST_US ? 2 * leg->pause_us : PAUSE_MOST_US;
		return DELIVERY_SENT;
	}
	leg->building = false;
	say(leg, readiness == RULE_READY ? "" : readiness == RULE_BROKEN ? REPLICATOR_BROKEN : REPLICATOR_NOT_READY);
	return readiness == RULE_READY ? DELIVERY_DONE : DELIVERY_FAILED;
}
