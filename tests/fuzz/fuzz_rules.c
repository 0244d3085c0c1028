/* What an application's answer shows, from arbitrary bytes: the first line is a Location, the second a path, what follows
 * the body.  What must hold: an id is one, wherever it is from; its collection is a path; what is learned from it is a
 * rule that reads back as it was, is found by the path, and reads the same answer as before.  And any bytes are a rule in
 * JSON, a pattern, a place, a request or a JSON Patch, or are none. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "replication/member.h"
#include "replication/rules.h"

#define REQUIRE(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rule_holds(struct arena *arena, const struct rules *rules, const struct rules_answer *answer,
                       const struct rules_id *id)
{
	struct rule rule, back;
	struct rule_match m;
	struct rules *more;
	struct rules_id again;
	struct buf json;

	if (rules_learn(arena, rules, id, &rule))
		return;
	buf_init(&json, NULL, 0);
	rule_add_json(&rule, &json);
	REQUIRE(!rule_of_json(arena, rule.collection, buf_span(&json), true, &back, NULL));
	REQUIRE(span_eq(back.id_place, rule.id_place) && back.meta_id == rule.meta_id);
	buf_fini(&json);
	if (rules_add_learned(rules, &rule, &more))
		return; /* declared */
	REQUIRE(rules_match(more, id->collection, &m) && !m.id.n);
	/* a child's pattern may be learned of what was taken for an item, but at the path itself nothing changes */
	if (rules_match(more, answer->path, &m) && span_eq(m.rule->collection, rule.collection) && !m.id.n)
		REQUIRE(rules_new_id(arena, &m, answer, &again) == RULES_ONE && span_eq(again.id, id->id));
	rules_unref(&more);
}

static void answer_holds(struct arena *arena, const struct rules *rules, struct rules_answer *answer)
{
	static const unsigned statuses[] = { 200, 201, 202, 204, 207, 303, 404 };
	static const char *const methods[] = { "POST", "PUT" };
	struct rule_match m;
	struct rules_id id;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]) * 2; i++) {
		answer->method = span_of(methods[i & 1]);
		answer->status = statuses[i / 2];
		rules_match(rules, answer->path, &m);
		if (rules_new_id(arena, &m, answer, &id) != RULES_ONE) {
			REQUIRE(!id.id.n && !id.collection.n && !id.number && !id.opaque);
			continue;
		}
		REQUIRE(id.id.n && id.id.n <= RULE_ID_BYTES && id.collection.n && id.collection.p[0] == '/');
		for (size_t k = 0; k < id.id.n; k++)
			REQUIRE((unsigned char)id.id.p[k] >= ' ');
		rule_holds(arena, rules, answer, &id);
	}
}

/* What is put at a place is found there, and the rest of the document is as it was. */
static void member_holds(struct span doc, const char *place)
{
	struct span before, after, value = SPAN("[7]");
	bool there = member_find(doc, span_of(place), &before);
	struct buf out;

	buf_init(&out, NULL, 0);
	if (member_set(doc, span_of(place), value, &out)) {
		REQUIRE(member_find(buf_span(&out), span_of(place), &after) && span_eq(after, value));
		REQUIRE(!there || buf_len(&out) == doc.n - before.n + value.n);
	} else {
		REQUIRE(!there && !buf_len(&out));
	}
	buf_fini(&out);
}

static void members_hold(struct arena *arena, const struct rules *rules, struct span path, struct span body)
{
	const struct rule *rule = rules_get(rules, 0);
	struct span element, id, first;
	struct buf target;
	size_t count;

	member_holds(body, "$.id");
	member_holds(body, "$.server.id");
	member_holds(body, "$.a['b c'].d");
	if (member_list(body, &first, &count) && count)
		REQUIRE(first.n && first.p >= body.p && first.p + first.n <= body.p + body.n);
	buf_init(&target, NULL, 0);
	if (rule_find_target(arena, rule, path, body, &target))
		for (size_t i = 0; i < buf_len(&target); i++)
			REQUIRE((unsigned char)buf_span(&target).p[i] > ' ' && (unsigned char)buf_span(&target).p[i] < 0x7f);
	buf_fini(&target);
	if (rule_find_judge(arena, rule, body, body, &element, &id) == RULE_FIND_ONE)
		REQUIRE(id.n && element.n);
	(void)rule_ready_judge(arena, rule, body);
}

static void texts_hold(struct arena *arena, struct span text)
{
	const struct rules_request request = { SPAN("PATCH"), SPAN("application/json-patch+json"), text };
	const struct rule_match none = { .rule = NULL };
	struct rule_request m;
	struct rule rule;
	bool independent;

	(void)!rule_of_json(arena, SPAN("/a"), text, false, &rule, NULL);
	(void)!rule_check_collection(text, NULL);
	(void)!rule_check_place(text, NULL);
	(void)!rule_check_find(text, NULL);
	(void)!rule_read_request(text, &m, NULL);
	(void)rules_kind(&none, &request, &independent);
}

static struct rules *make_rules(void)
{
	const struct rule declared[] = {
		{ .collection = SPAN("/d"), .id_place = SPAN("$.server.id"), .class = CLASS_EVENTUAL,
		  .find = SPAN("/d?name={$.name}&id={$.server.id}"), .ready = { .path = SPAN("$.server.status") } },
		{ .collection = SPAN("/l"), .id_place = SPAN(""), .class = CLASS_EVENTUAL },
	};
	const struct rule learned = { .collection = SPAN("/n/{id}/items"), .id_place = SPAN("$.uuid"), .class = CLASS_EVENTUAL };
	struct rules *first, *rules;

	REQUIRE(!rules_new(declared, 2, &first));
	REQUIRE(!rules_add_learned(first, &learned, &rules));
	rules_unref(&first);
	return rules;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rules *rules;
	struct span in = { (const char *)data, size };
	struct rules_answer answer = { .content_type = SPAN("application/json"), .canonical = SPAN("") };
	struct arena arena;

	if (size > 64 << 10)
		return 0;
	if (!rules)
		rules = make_rules();
	arena_init(&arena, NULL, 0, 0);
	texts_hold(&arena, in);
	answer.location = span_head(in, span_find(in, '\n'));
	in = span_from(in, answer.location.n + 1);
	answer.path = span_head(in, span_find(in, '\n'));
	answer.body = span_from(in, answer.path.n + 1);
	answer_holds(&arena, rules, &answer);
	members_hold(&arena, rules, answer.path, answer.body);
	arena_fini(&arena);
	return 0;
}
