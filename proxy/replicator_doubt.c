/* What becomes of an operation that must not be executed twice, when it is not known whether this site's application has
 * executed it: `find` and `in_doubt` of its resource decide.
 *
 *	find            the application is asked.  One hit: it is done, under that id.  None: it is executed again.  Several,
 *	                or one that cannot be read: in doubt.  No answer: asked again later.
 *	in_doubt: retry it is executed again
 *	neither         in doubt, until an operator settles it
 *
 * leg->was_sent: the outcome is not known; its delivery stays "sent" in the store until it is, so that a restart comes
 * back to this.  leg->asked: nothing was found, so it was not executed. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/replication.h"

struct rules *work_rules(const struct work *k, struct rule_match *match_r)
{
	const struct conf_service *svc = replicator_service(k->r, k->op->key.service);
	struct rules *rules = svc ? replication_rules(k->r->rep, svc) : NULL;

	if (svc && !rules) /* no memory: what is asked here stands in declared ones */
		rules = rules_ref(svc->rules);
	rules_match(rules, operation_path(k->op), match_r);
	return rules;
}

static bool may_find(const struct work *k, const struct rule_match *m)
{
	return m->rule && m->rule->find.n && !m->id.n && !k->op->named && span_eq(k->op->method, SPAN("POST"));
}

bool doubt_goes_on(const struct work *k)
{
	struct rule_match m;
	struct rules *rules;
	bool on;

	if (!operation_is_once(k->op))
		return false;
	rules = work_rules(k, &m);
	on = m.rule && (m.rule->in_doubt == RULE_IN_DOUBT_RETRY || may_find(k, &m));
	rules_unref(&rules);
	return on;
}

/* What is to be done first at its turn.  DOUBT_STAYS: there is no way to find it, and it must not be executed again. */
enum doubt doubt_step(const struct leg *leg)
{
	const struct work *k = leg->work;
	enum doubt step = DOUBT_STAYS;
	struct rule_match m;
	struct rules *rules;
	struct buf target;

	if (!leg->was_sent || leg->asked || !operation_is_once(k->op))
		return DOUBT_EXECUTE;
	buf_init(&target, NULL, 0);
	rules = work_rules(k, &m);
	if (m.rule && may_find(k, &m) && doubt_add_target(k, &target))
		step = DOUBT_LOOK;
	else if (m.rule && m.rule->in_doubt == RULE_IN_DOUBT_RETRY)
		step = DOUBT_EXECUTE;
	buf_fini(&target);
	rules_unref(&rules);
	return step;
}

bool doubt_add_target(const struct work *k, struct buf *out)
{
	struct rule_match m;
	struct rules *rules = work_rules(k, &m);
	struct arena arena;
	bool good;

	arena_init(&arena, NULL, 0, 1 << 20);
	good = m.rule && rule_find_target(&arena, m.rule, operation_path(k->op), k->op->body, out);
	arena_fini(&arena);
	rules_unref(&rules);
	return good;
}

static bool is_known_here(const struct work *k, const struct rule_match *m, struct span id)
{
	struct names *names = k->r->rep->names;
	const struct names_where where = { .kind = names_kind(names, k->op->key.service, m->collection) };
	struct name name;

	return where.kind && names_by_local(names, &where, id, &name);
}

/* shown_r: collection and id; spans of the arena and of the operation. */
enum doubt_found doubt_judge(struct leg *leg, const struct inner_answer *a, struct arena *arena, struct span *element_r,
                             struct rules_id *shown_r)
{
	const struct work *k = leg->work;
	enum doubt_found found = DOUBT_UNCLEAR;
	struct rule_match m;
	struct rules *rules;

	if (a->result != INNER_ANSWERED || a->status == 408 || a->status == 425 || a->status == 429 ||
	    (a->status >= 500 && a->status != 501))
		return DOUBT_NO_ANSWER;
	if (a->status < 200 || a->status >= 300 || a->body_cut)
		return DOUBT_UNCLEAR;
	rules = work_rules(k, &m);
	if (m.rule) {
		switch (rule_find_judge(arena, m.rule, k->op->body, a->body, element_r, &shown_r->id)) {
		case RULE_FIND_NONE:
			found = DOUBT_NOT_EXECUTED;
			break;
		case RULE_FIND_ONE:
			found = is_known_here(k, &m, shown_r->id) ? DOUBT_UNCLEAR : DOUBT_EXECUTED;
			shown_r->collection = arena_dup(arena, m.collection);
			if (!shown_r->collection.p)
				found = DOUBT_NO_ANSWER;
			break;
		case RULE_FIND_UNCLEAR:
			break;
		}
	}
	rules_unref(&rules);
	return found;
}
