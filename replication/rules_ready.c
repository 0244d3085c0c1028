/* `ready` (replication.md 6, 9): an application that answers a create before it is done says in the representation how far
 * it is. */
#include "replication/rules_int.h"

#include "replication/member.h"

static bool has(const struct span *words, size_t count, struct span word)
{
	for (size_t i = 0; i < count; i++)
		if (span_eq(words[i], word))
			return true;
	return false;
}

enum rule_readiness rule_ready_judge(struct arena *arena, const struct rule *rule, struct span content)
{
	struct span raw, word;

	if (!member_find(content, rule->ready.path, &raw) || !member_text(arena, raw, &word))
		return RULE_BUILDING;
	if (has(rule->ready.ok, rule->ready.ok_count, word))
		return RULE_READY;
	return has(rule->ready.failed, rule->ready.failed_count, word) ? RULE_BROKEN : RULE_BUILDING;
}
