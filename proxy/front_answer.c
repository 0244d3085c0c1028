/* What the replicator says of a write becomes the answer to who waits: the application's, with meta-identifiers in place
 * of this site's local ids, or one of the proxy's own.  Both tell of the replicas. */
#include "proxy/front_int.h"

/* Executed, and the answer cannot be passed on: it says so. */
static void not_passed_on(struct exchange *x, const char *why)
{
	struct problem_member meta = { "meta_id", x->front->wait.answer->meta };
	struct problem p = { .status = 502, .type = "bad-response", .detail = why, .more = &meta,
		             .more_count = meta.text.n > 0 };

	exchange_problem(x, &p);
}

static void own_answer(struct exchange *x, const struct replicator_answer *a)
{
	struct problem_member meta = { "meta_id", a->meta };
	struct problem p = { .status = a->status, .type = a->problem, .detail = a->detail, .more = &meta,
		             .more_count = a->meta.n > 0 };

	exchange_problem(x, &p);
}

/* ---- the application's ---- */

static bool is_coded(const struct http_head *res)
{
	const struct http_field *coding = http_find(res, HTTP_CONTENT_ENCODING);

	return coding && !span_ieq(coding->value, SPAN("identity"));
}

/* The exchange's part in the stage; it has none where nothing was known when the request came. */
static bool has_stage(struct exchange *x)
{
	if (!x->rw)
		x->rw = arena_zalloc(&x->arena, sizeof(*x->rw));
	if (!x->rw)
		return false;
	x->rw->answers = names_service(x->w->names, x->svc->name) != 0;
	x->rw->gather = true;
	return true;
}

/* Local ids of this site in the head become meta-identifiers, and in content of this kind. */
static bool exchange_ids(struct exchange *x, const struct replicator_answer *a, enum splice_body body)
{
	if (a->canonical || !x->w->names) {
		buf_add_span(&x->reply, a->content);
		return true;
	}
	if (!has_stage(x))
		return false;
	x->rw->down_body = body;
	return !rewrite_response_fields(x) &&
	       rewrite_answer(x->w, x->svc->name, operation_path(x->front->op), body, a->content, &x->reply);
}

static bool is_queued_somewhere(const struct replicator_answer *a)
{
	for (size_t i = 0; i < a->site_count; i++)
		if (!a->sites[i].status && a->sites[i].state && !strcmp(a->sites[i].state, "queued"))
			return true;
	return false;
}

static void passed_on(struct exchange *x, struct replicator_answer *a)
{
	const struct http_field *type = http_find(&a->head, HTTP_CONTENT_TYPE);
	enum splice_body body = type ? splice_body_of(type->value) : SPLICE_NONE;
	const char *why;
	bool good;

	if (a->content_cut) {
		why = arena_printf(&x->arena, "it was executed, and the application answered %u; that answer is longer than the 1 MiB that "
		                   "are kept of one, and was not passed on: read what it is about instead", a->status);
		not_passed_on(x, why ? why : "it was executed, but its answer is longer than what is kept of one");
		return;
	}
	if (!a->canonical && body != SPLICE_NONE && is_coded(&a->head)) {
		not_passed_on(x, "it was executed, but the answer is in a content coding in which identifiers cannot be found");
		return;
	}
	x->res = a->head;
	x->res.status = a->status;
	if (x->svc->queued_status == CONF_QUEUED_202 && a->status / 100 == 2 && is_queued_somewhere(a)) {
		x->res.status = 202;
		x->res.reason = SPAN("Accepted");
	}
	x->served_by = a->served_by.n ? a->served_by : local_site(x);
	buf_fini(&x->reply);
	good = exchange_ids(x, a, body) && !x->reply.failed;
	if (good)
		exchange_reply_answer(x);
	else
		not_passed_on(x, "it was executed, but there is no memory to pass the answer on");
}

static void delivered(struct exchange *x)
{
	x->res = (struct http_head){ .status = 200, .reason = SPAN("OK") };
	x->served_by = local_site(x);
	buf_fini(&x->reply);
	exchange_reply_answer(x);
}

void front_answer(struct exchange *x)
{
	struct replicator_answer *a = x->front->wait.answer;
	struct problem p = { .status = 504, .type = "outcome-unknown",
		             .detail = "there was no memory to answer; whether it was executed is not known" };

	if (!a)
		exchange_problem(x, &p);
	else if (x->front->task != REPLICATOR_ADMIT)
		delivered(x);
	else if (a->problem)
		own_answer(x, a);
	else
		passed_on(x, a);
}

/* ---- fields ---- */

/* NULL: there is none as yet. Until it is told, the replicator may write it on a thread of its own: an exchange whose client
 * has left, or that waited long enough, ends without it. */
static const struct replicator_answer *told(const struct exchange *x)
{
	return x->front->answered ? x->front->wait.answer : NULL;
}

struct span front_meta_id(const struct exchange *x)
{
	const struct replicator_answer *a = told(x);

	return a ? a->meta : span_make(NULL, 0);
}

/* What was admitted for a peer, or delivered by one, was executed here if anywhere. */
static bool own_target(const struct exchange *x, const struct replicator_answer *a, struct front_target *t_r)
{
	*t_r = (struct front_target){ .site = x->view->reg->sites[x->view->reg->local].name, .status = a->result.status,
		.state = delivery_state_text(a->result.state), .us = -1, .bytes = -1 };
	return x->front->task != REPLICATOR_ADMIT && !a->problem;
}

bool front_target(const struct exchange *x, size_t i, struct front_target *t_r)
{
	const struct replicator_answer *a = told(x);
	const struct replicator_site *s;

	if (!a || i >= a->site_count)
		return a && !i && own_target(x, a, t_r);
	s = &a->sites[i];
	*t_r = (struct front_target){ .site = s->site, .status = s->status, .state = s->state, .us = s->us ? s->us : -1,
		.bytes = span_eq(s->site, a->served_by) ? (int64_t)a->content.n : -1 };
	return true;
}

static void add_replicas(const struct replicator_answer *a, struct buf *out)
{
	for (size_t i = 0; i < a->site_count; i++) {
		const struct replicator_site *s = &a->sites[i];

		buf_add_z(out, i ? ", " : "X-Scope-Replicas: ");
		heads_add_token(out, s->site);
		buf_add_char(out, '=');
		if (s->status)
			buf_add_number(out, s->status);
		else
			buf_add_z(out, s->state ? s->state : "unknown");
	}
	if (a->site_count)
		buf_add_z(out, "\r\n");
}

void front_add_answer_fields(struct exchange *x, struct buf *out)
{
	const struct replicator_answer *a = told(x);

	if (!a)
		return;
	if (a->meta.n) {
		buf_add_z(out, "X-Scope-Meta-Id: ");
		buf_add_span(out, a->meta);
		buf_add_z(out, "\r\n");
	}
	add_replicas(a, out);
	if (x->front->by_peer) {
		buf_add_z(out, "X-Scopemesh-Operation: ");
		operation_add_result(&a->result, out);
		buf_add_z(out, "\r\n");
	}
}
