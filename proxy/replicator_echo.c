/* `echo` (replication.md 6): values that the application made up when it admitted a create, a password say, are given to
 * the requests of the other sites, so that the replicas have the same.  They stand at the same places of the answer and
 * of the request.  Only the content of copies changes; it is sealed in the store from then on (operation.secret).
 *
 * Where it cannot be done, the create is as if nothing were declared, and the log says which place is concerned, never
 * what is there. */
#include "proxy/replicator_int.h"

#include "base/log.h"
#include "proxy/rewrite_exchange.h"
#include "replication/member.h"
#include "replication/seal.h"
#include "replication/splice.h"

/* What rewrite_body_of looks at: the fields of the operation. */
static bool read_fields(struct arena *arena, struct span lines, struct http_head *head_r)
{
	struct span line;
	size_t count = 1;

	for (size_t i = 0; i < lines.n; i++)
		count += lines.p[i] == '\r';
	*head_r = (struct http_head){ .framing = HTTP_LENGTH };
	head_r->fields = arena_zalloc(arena, count * sizeof(*head_r->fields));
	while (head_r->fields && lines.n && span_split(&lines, '\r', &line)) {
		struct http_field *f = &head_r->fields[head_r->field_count];

		lines = span_from(lines, 1); /* the line feed */
		f->name = span_head(line, span_find(line, ':'));
		f->value = span_trim(span_from(line, f->name.n + 1));
		f->id = http_field_id(f->name);
		head_r->field_count += f->name.n > 0;
	}
	return head_r->fields != NULL;
}

/* Why the content of copies stays as it is; NULL: it may be changed. */
static const char *obstacle(const struct work *k, struct arena *arena)
{
	struct http_head head;

	if (!k->answer || k->answer->problem || k->answer->content_cut)
		return "the answer is not at hand";
	if (k->op->spool.n)
		return "the request is too long";
	if (!read_fields(arena, k->op->fields, &head))
		return "no memory";
	return rewrite_body_of(&head) == SPLICE_JSON ? NULL : "the request is no JSON, or signed";
}

static bool put(struct work *k, struct span content)
{
	struct operation *op = operation_with_key(k->op, &k->op->key, k->op->kind);

	if (!op || !operation_keep(op, &op->body, content)) {
		operation_unref(&op);
		return false;
	}
	op->body_bytes = op->body.n;
	op->secret = true;
	k->r->content += op->body.n - k->op->body.n;
	operation_unref(&k->op);
	k->op = op;
	return true;
}

static void echo_one(struct work *k, struct span place)
{
	const char *why = NULL;
	struct span value;
	struct buf content;

	buf_init(&content, NULL, 0);
	if (!member_find(k->answer->content, place, &value))
		why = "the answer has none";
	else if (!member_set(k->op->body, place, value, &content))
		why = "the request has no room for it";
	else if (buf_len(&content) > OPERATION_BODY)
		why = "the request would be too long";
	else if (content.failed || !put(k, buf_span(&content)))
		why = "no memory";
	if (why)
		log_warn("operation %s: echo of %.*s: %s", k->text, SPAN_ARG(place), why);
	seal_wipe(&content);
}

void echo_apply(struct work *k)
{
	struct rule_match m;
	struct rules *rules = work_rules(k, &m);
	const char *why;
	struct arena arena;

	if (m.rule && m.rule->echo_count && k->op->site_count > 1 && (k->op->body.n || k->op->spool.n)) {
		arena_init(&arena, NULL, 0, 1 << 20);
		why = obstacle(k, &arena);
		if (why)
			log_warn("operation %s: echo: %s", k->text, why);
		for (size_t i = 0; !why && i < m.rule->echo_count; i++)
			echo_one(k, m.rule->echo[i]);
		arena_fini(&arena);
	}
	rules_unref(&rules);
}
