/* GET /v1/queue and /v1/queue/OP: what is yet to be executed where. */
#include "proxy/admin_int.h"

#include "base/percent.h"
#include "proxy/replication.h"

/* What went wrong last: in words, or the status alone. */
static json_t *error_json(const struct store_delivery *d)
{
	char text[32];

	if (d->error.n)
		return admin_text_json(d->error);
	if (d->status < 300)
		return json_null();
	snprintf(text, sizeof(text), "answered %u", d->status);
	return json_string(text);
}

json_t *admin_operation_json(const struct store_operation *op)
{
	char id[OP_ID_TEXT_BYTES];

	op_id_format(&op->id, id);
	return json_pack("{s:o,s:s,s:o,s:o,s:o,s:I}", "op", admin_text_json(span_of(id)), "kind", operation_kind_text(op->kind), "method",
	                 admin_text_json(op->method), "path", admin_text_json(op->path), "created",
	                 admin_time_json(op->created_ms), "body_bytes", (json_int_t)op->body_bytes);
}

static json_t *delivery_json(const struct store_delivery *d)
{
	return json_pack("{s:s,s:o,s:i,s:o,s:o,s:o}", "state", delivery_state_text(d->state), "status",
	                 d->status ? json_integer(d->status) : json_null(), "attempts", (int)d->attempts,
	                 "next_attempt", admin_time_json(d->next_ms), "expires", admin_time_json(d->expires_ms),
	                 "last_error", error_json(d));
}

static int add_target(void *arg, const struct store_delivery *d)
{
	char name[OP_SITE_BYTES];
	struct span site = span_head(d->target, sizeof(name) - 1);

	memcpy(name, site.p, site.n);
	name[site.n] = '\0';
	return json_object_set_new(arg, name, delivery_json(d)) ? ERR_NOMEM : 0;
}

int admin_add_deliveries(struct store_reader *r, const struct op_id *id, json_t **sites_r)
{
	int rc;

	*sites_r = json_object();
	rc = store_view_deliveries(r, id, add_target, *sites_r);
	if (rc) {
		json_decref(*sites_r);
		*sites_r = NULL;
	}
	return rc;
}

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

/* A page ends anywhere among an operation's targets: the cursor is ROW:TARGET of the last entry shown. */
struct page {
	struct admin_reading *rd;
	struct span last_target;
	int64_t last;
	bool more;
};

static int add_entry(void *arg, int64_t row, const struct store_delivery *d, const struct store_operation *op)
{
	struct page *p = arg;
	char id[OP_ID_TEXT_BYTES];
	json_t *list = p->rd->list, *o;

	if ((int)json_array_size(list) == p->rd->page.limit) {
		p->more = true;
		return 0;
	}
	op_id_format(&op->id, id);
	o = json_pack("{s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:s,s:o,s:i,s:o,s:o,s:o}", "op", admin_text_json(span_of(id)),
	              "meta_id", admin_text_json(op->key.meta), "service", admin_text_json(op->key.service), "target",
	              admin_maybe_json(d->target), "kind", operation_kind_text(op->kind), "method",
	              admin_text_json(op->method), "path", admin_text_json(op->path), "state",
	              delivery_state_text(d->state), "since", admin_time_json(op->created_ms), "attempts",
	              (int)d->attempts, "next_attempt", admin_time_json(d->next_ms), "expires",
	              admin_time_json(d->expires_ms), "last_error", error_json(d));
	if (json_array_append_new(list, o))
		return ERR_NOMEM;
	p->last = row;
	if ((int)json_array_size(list) == p->rd->page.limit)
		p->last_target = arena_dup(&p->rd->arena, d->target);
	return 0;
}

static json_t *next_json(const struct page *p)
{
	char text[24 + OP_SITE_BYTES];

	if (!p->more)
		return json_null();
	snprintf(text, sizeof(text), "%lld:%.*s", (long long)p->last, SPAN_ARG(p->last_target));
	return json_string(text);
}

static int read_queue(struct store_reader *reader, struct admin_reading *rd)
{
	struct page p = { .rd = rd, .last_target = SPAN("") };
	int64_t pending;
	int rc = store_view_queue(reader, rd->cursor, rd->page.after, rd->page.limit + 1, add_entry, &p);

	if (!rc && !p.last_target.p)
		rc = ERR_NOMEM;
	if (!rc)
		rc = store_view_unfinished(reader, &pending);
	if (!rc)
		rd->answer = json_pack("{s:I,s:O,s:o}", "pending", (json_int_t)pending, "queue", rd->list, "next",
		                       next_json(&p));
	return rc;
}

static bool cursor_of(struct exchange *x, struct span after, int64_t *row_r, struct span *target_r)
{
	size_t colon = span_find(after, ':');
	unsigned long long row = 0;

	*target_r = span_from(after, colon + 1);
	if (after.n && (colon == after.n || target_r->n >= OP_SITE_BYTES ||
	                !span_to_u64(span_head(after, colon), INT64_MAX, &row))) {
		admin_problem(x, 400, "bad-request", "after is what a page before named as next");
		return false;
	}
	*row_r = (int64_t)row;
	return true;
}

void admin_get_queue(struct exchange *x)
{
	struct admin_reading *rd;
	struct admin_page page;
	struct span target;
	int64_t row;

	if (!admin_page_of(x, &page) || !cursor_of(x, page.after, &row, &target))
		return;
	rd = admin_reading_new(x, read_queue);
	if (!rd)
		return;
	rd->page.limit = page.limit;
	if (!admin_reading_keep(rd, &rd->page.after, target))
		return;
	rd->cursor = row;
	rd->list = json_array();
	admin_reading_start(rd);
}

/* ---- one operation ------------------------------------------------------------------------------------------------ */

static int add_intent(void *arg, const struct store_intent *i)
{
	json_t *sites = json_array();
	struct span rest = i->sites, site;

	while (rest.n && span_split(&rest, '\n', &site))
		json_array_append_new(sites, admin_text_json(site));
	return json_object_set_new(arg, "admission",
	                           json_pack("{s:s,s:o,s:s,s:o,s:o}", "stage", delivery_state_text(i->stage), "site",
	                                     admin_maybe_json(i->at), "consistency", consistency_text(i->class), "since",
	                                     admin_time_json(i->since_ms), "sites", sites)) ?
	       ERR_NOMEM : 0;
}

int admin_read_operation(struct store_reader *reader, struct admin_reading *rd)
{
	struct store_operation op;
	json_t *sites, *o;
	int rc = store_read_operation(reader, &rd->op, &rd->arena, &op);

	if (!rc)
		rc = admin_add_deliveries(reader, &rd->op, &sites);
	if (rc)
		return rc;
	o = admin_operation_json(&op);
	json_object_set_new(o, "meta_id", admin_text_json(op.key.meta));
	json_object_set_new(o, "service", admin_text_json(op.key.service));
	json_object_set_new(o, "collection", admin_maybe_json(op.key.collection));
	json_object_set_new(o, "parent", admin_maybe_json(op.parent));
	json_object_set_new(o, "sites", sites);
	json_object_set_new(o, "admission", json_null());
	rc = store_view_intent(reader, &rd->op, add_intent, o);
	rd->answer = o;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

bool admin_operation_of(struct exchange *x, struct span text, struct op_id *id_r)
{
	struct problem p = { .status = 400, .type = "bad-request", .detail = "this is no identifier of an operation",
		             .expected = "SITE-INCARNATION-NUMBER, as /v1/queue shows it" };

	if (percent_decode(&x->arena, text, &text) && op_id_parse(text, id_r))
		return true;
	p.text = text;
	exchange_problem(x, &p);
	return false;
}

void admin_get_operation(struct exchange *x)
{
	struct admin_reading *rd;
	struct op_id id;

	if (!admin_operation_of(x, span_from(x->req.path, SPAN("/v1/queue/").n), &id))
		return;
	rd = admin_reading_new(x, admin_read_operation);
	if (!rd)
		return;
	rd->op = id;
	admin_reading_start(rd);
}
