/* GET /v1/rules, POST /v1/rules/pin and unpin: what was learned of undeclared resources. */
#include "proxy/admin_int.h"

#include "base/log.h"
#include "base/percent.h"
#include "proxy/replication.h"

/* A learned rule is JSON text. */
static json_t *rule_json(const struct store_rule *r)
{
	json_t *rule = json_loadb(r->rule.p ? r->rule.p : "", r->rule.n, JSON_REJECT_DUPLICATES, NULL);

	return json_pack("{s:o,s:o,s:b,s:o}", "service", admin_text_json(r->service), "collection",
	                 admin_text_json(r->collection), "pinned", (int)r->pinned, "rule", rule ? rule : json_null());
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

struct listing {
	struct admin_reading *rd;
	struct span next_service, next_collection;
	bool more;
};

/* Rules come by service and collection; the cursor is "SERVICE COLLECTION" with a tab between, since no name holds
 * one. */
static bool is_after(const struct store_rule *r, struct span after)
{
	size_t tab = span_find(after, '\t');
	int c = span_compare(r->service, span_head(after, tab));

	return !after.n || c > 0 || (!c && span_compare(r->collection, span_from(after, tab + 1)) > 0);
}

static int add_rule(void *arg, const struct store_rule *r)
{
	struct listing *l = arg;
	struct admin_reading *rd = l->rd;

	if (l->more || !is_after(r, rd->page.after) || (rd->key.service.n && !span_eq(rd->key.service, r->service)))
		return 0;
	if ((int)json_array_size(rd->list) == rd->page.limit) {
		l->more = true;
		return 0;
	}
	if ((int)json_array_size(rd->list) == rd->page.limit - 1) {
		l->next_service = arena_dup(&rd->arena, r->service);
		l->next_collection = arena_dup(&rd->arena, r->collection);
	}
	return json_array_append_new(rd->list, rule_json(r)) ? ERR_NOMEM : 0;
}

static int read_rules(struct store_reader *reader, struct admin_reading *rd)
{
	struct listing l = { .rd = rd };
	int rc = store_read_rules(reader, add_rule, &l);
	json_t *next;

	if (rc)
		return rc;
	next = l.more ? json_sprintf("%.*s\t%.*s", SPAN_ARG(l.next_service), SPAN_ARG(l.next_collection)) : json_null();
	rd->answer = json_pack("{s:O,s:o}", "rules", rd->list, "next", next);
	return 0;
}

void admin_get_rules(struct exchange *x)
{
	struct admin_reading *rd;
	struct admin_page page;
	struct span service;

	if (!admin_page_of(x, &page) || !admin_query_get(x, "service", &service))
		return;
	rd = admin_reading_new(x, read_rules);
	if (!rd)
		return;
	rd->page.limit = page.limit;
	if (!admin_reading_keep(rd, &rd->page.after, page.after) ||
	    !admin_reading_keep(rd, &rd->key.service, service))
		return;
	rd->list = json_array();
	admin_reading_start(rd);
}

/* ---- pinning ------------------------------------------------------------------------------------------------------ */

static int take_rule(void *arg, const struct store_rule *r)
{
	struct admin_reading *rd = arg;

	if (span_eq(r->service, rd->key.service) && span_eq(r->collection, rd->key.collection))
		rd->answer = rule_json(r);
	return 0;
}

static int read_rule(struct store_reader *reader, struct admin_reading *rd)
{
	int rc = store_read_rules(reader, take_rule, rd);

	if (!rc && !rd->answer)
		return ERR_NOT_FOUND;
	if (!rc)
		replication_pin_rule(rd->rep, rd->key.service, rd->key.collection, rd->pinned);
	if (!rc)
		log_info("the rule of %.*s, collection %.*s, is %s by an operator", SPAN_ARG(rd->key.service),
		         SPAN_ARG(rd->key.collection), rd->pinned ? "pinned" : "no longer pinned");
	return rc;
}

static struct span text_of(const json_t *doc, const char *name)
{
	const json_t *value = json_object_get(doc, name);

	return json_is_string(value) ? span_make(json_string_value(value), json_string_length(value)) : SPAN("");
}

static void change(struct exchange *x, struct span service, struct span collection)
{
	struct admin_reading *rd = admin_reading_new(x, read_rule);
	struct store_batch *batch;

	if (!rd || !admin_reading_keep(rd, &rd->key.service, service) ||
	    !admin_reading_keep(rd, &rd->key.collection, collection))
		return;
	rd->pinned = span_eq(x->req.path, SPAN("/v1/rules/pin"));
	batch = store_batch_new();
	if (batch)
		store_pin_rule(batch, rd->key.service, rd->key.collection, rd->pinned);
	admin_reading_write(rd, batch);
}

void admin_post_rule(struct exchange *x)
{
	struct span content = buf_span(&x->replay);
	json_t *doc = json_loadb(content.p ? content.p : "", content.n, JSON_REJECT_DUPLICATES, NULL);
	struct span service = text_of(doc, "service"), collection = text_of(doc, "collection");

	if (!service.n || !collection.n || json_object_size(doc) != 2) {
		struct problem p = { .status = 400, .type = "bad-request",
			             .detail = "the content is no object that names a service and a collection",
			             .expected = "{\"service\": \"image\", \"collection\": \"/v2/images\"}" };

		exchange_problem(x, &p);
	} else {
		change(x, service, collection);
	}
	json_decref(doc);
}
