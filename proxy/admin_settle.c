/* POST /v1/queue/OP/retry, drop and settle.  The request waits (admin_read.c) while the replicator does it; what it is
 * answered with is the operation as it stands then. */
#include "proxy/admin_int.h"

#include "base/percent.h"
#include "proxy/replication.h"
#include "proxy/replicator.h"

struct asked {
	struct replicator_settle settle;
	struct admin_reading *rd;
};

static const struct { const char *verb, *as; enum replicator_verb does; } verbs[] = {
	{ "retry", NULL, REPLICATOR_RETRY },
	{ "drop", NULL, REPLICATOR_DROP },
	{ "settle", "done", REPLICATOR_SETTLE_DONE },
	{ "settle", "retry", REPLICATOR_SETTLE_RETRY },
	{ "settle", "drop", REPLICATOR_SETTLE_DROP },
};

/* "" too: what a client without anything to say may send. */
static json_t *content_of(const struct exchange *x)
{
	struct span content = span_trim(buf_span(&x->replay));

	return content.n ? json_loadb(content.p, content.n, JSON_REJECT_DUPLICATES, NULL) : json_object();
}

static bool is_text(const json_t *value)
{
	return json_is_string(value) && json_string_length(value) && json_string_length(value) <= NAME_MOST;
}

/* Text, or a number as an application writes ids. */
static struct span id_text(struct exchange *x, const json_t *value)
{
	const char *text;

	if (is_text(value))
		return span_make(json_string_value(value), json_string_length(value));
	text = json_is_integer(value) ? arena_printf(&x->arena, "%lld", (long long)json_integer_value(value)) : NULL;
	return text ? span_of(text) : span_make(NULL, 0);
}

static bool verb_of(struct span word, const json_t *doc, enum replicator_verb *verb_r)
{
	const json_t *as = json_object_get(doc, "as");

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (span_eq(word, span_of(verbs[i].verb)) &&
		    (verbs[i].as ? json_is_string(as) && strcmp(json_string_value(as), verbs[i].as) == 0 : !as)) {
			*verb_r = verbs[i].does;
			return true;
		}
	return false;
}

/* False: answered. */
static bool read_content(struct exchange *x, struct span word, const json_t *doc, struct replicator_settle *s)
{
	const json_t *target = json_object_get(doc, "target"), *local = json_object_get(doc, "local_id");
	struct problem p = { .status = 400, .type = "bad-request", .detail = "the content is no object that this verb takes",
		             .expected = span_eq(word, SPAN("settle"))
		                             ? "{\"as\": \"done\", \"local_id\": ID}, {\"as\": \"retry\"} or {\"as\": \"drop\"}; "
		                               "\"target\": SITE picks one site"
		                             : "{}, or {\"target\": SITE} for one site" };
	size_t known = (target != NULL) + (local != NULL) + (json_object_get(doc, "as") != NULL);

	if (!admin_query_get(x, "target", &s->target))
		return false;
	if (json_is_object(doc) && json_object_size(doc) == known && verb_of(word, doc, &s->verb) &&
	    (!target || is_text(target)) &&
	    (!local || (s->verb == REPLICATOR_SETTLE_DONE && (s->local = id_text(x, local)).n))) {
		if (target)
			s->target = span_make(json_string_value(target), json_string_length(target));
		return true;
	}
	exchange_problem(x, &p);
	return false;
}

static void on_settled(struct replicator_settle *s)
{
	struct asked *a = (struct asked *)s; /* its first member */
	struct admin_reading *rd = a->rd;

	if (s->status != 200)
		rd->problem = (struct problem){ .status = s->status, .type = s->type, .detail = s->detail };
	admin_reading_awaited(rd);
}

static void ask(struct exchange *x, const struct replicator_settle *wanted)
{
	struct admin_reading *rd = admin_reading_new(x, admin_read_operation);
	struct asked *a;

	if (!rd)
		return;
	a = arena_zalloc(&rd->arena, sizeof(*a));
	if (!a || !admin_reading_keep(rd, &a->settle.target, wanted->target)) {
		if (!a) {
			admin_problem(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
			admin_reading_drop(&rd);
		}
		return;
	}
	if (!admin_reading_keep(rd, &a->settle.local, wanted->local))
		return;
	rd->op = a->settle.op = wanted->op;
	a->rd = rd;
	a->settle.verb = wanted->verb;
	a->settle.w = x->w;
	a->settle.settled = on_settled;
	if (!rd->rep->replicator || !replicator_settle(rd->rep->replicator, &a->settle)) {
		admin_problem(x, 503, "not-ready", "the proxy stops; nothing was changed");
		admin_reading_drop(&rd);
		return;
	}
	admin_reading_await(rd);
}

void admin_post_operation(struct exchange *x)
{
	struct span rest = span_from(x->req.path, SPAN("/v1/queue/").n), op, word;
	struct replicator_settle s = { .target = SPAN(""), .local = SPAN("") };
	json_t *doc;

	/* the row of paths has made sure of its form */
	if (!span_split(&rest, '/', &op) || !span_split(&rest, '/', &word) || !admin_operation_of(x, op, &s.op))
		return;
	doc = content_of(x);
	if (read_content(x, word, doc, &s))
		ask(x, &s);
	json_decref(doc);
}
