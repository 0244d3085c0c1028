/* The list race (replication.md 2.6): between a create at this site's own application and its name there is a moment in
 * which a list shows an id that nobody can exchange.  An answer that may show one waits at its head, unread, for the
 * creates that were under way when it came; HOLD_US at most, since a create may take for ever.  Looked at at each tick. */
#include "proxy/rewrite_exchange.h"

#include "base/clock.h"
#include "proxy/replication.h"

#define HOLD_US 5000000

/* A list of a collection that is known, or, where nothing is declared, of any. */
static bool may_show_new_ids(const struct exchange *x, const struct rules *rules)
{
	const struct rewrite_target *t = &x->rw->target;
	struct rule_match m;

	if (t->id.n && !t->rest.n)
		return false;
	if (t->listed)
		return true;
	if (!rules_match(rules, t->canonical, &m))
		return !rules_count(x->svc->rules);
	return !m.id.n || x->req.method_kind != HTTP_METHOD_SAFE;
}

/* Content of an answer to a question: a POST with 200 may be a search. */
static bool is_answer(const struct exchange *x)
{
	bool asks = span_eq(x->req.method, SPAN("GET")) || (span_eq(x->req.method, SPAN("POST")) && x->res.status == 200);
	const struct http_field *type = http_find((const struct http_head *)&x->res, HTTP_CONTENT_TYPE);

	return asks && x->res.status / 100 == 2 && x->res.framing != HTTP_NO_BODY && x->upstream_req_done && type &&
	       splice_body_of(type->value) != SPLICE_NONE;
}

/* The first look. */
static uint64_t ticket_of(struct exchange *x)
{
	uint64_t newest = replication_creates(x->w->replication, x->svc->name);
	struct rules *rules = newest && is_answer(x) ? replication_rules(x->w->replication, x->svc) : NULL;
	bool shows = rules && may_show_new_ids(x, rules);

	rules_unref(&rules);
	return shows ? newest : 0;
}

int rewrite_join_late(struct exchange *x)
{
	if (!x->w->replication || !exchange_is_local(x) || x->inner || (x->rw && x->rw->answers) || !rewrite_may_show_ids(x))
		return 0;
	if (!x->rw) {
		if (rewrite_join(x))
			return ERR_NOMEM;
		if (!x->rw)
			return 0;
		x->rw->up_body = SPLICE_NONE; /* its request has gone out as it was */
	}
	x->rw->answers = true;
	return 0;
}

bool rewrite_holds(struct exchange *x)
{
	struct rewrite *rw = x->rw;
	int64_t now = clock_mono_us();

	if (!rw || !rw->answers || x->pool->mesh || !x->w->replication)
		return false;
	if (!rw->hold_until_us) {
		rw->hold_ticket = ticket_of(x);
		rw->hold_until_us = now + HOLD_US;
	}
	return rw->hold_ticket && now < rw->hold_until_us &&
	       replication_creates_until(x->w->replication, x->svc->name, rw->hold_ticket);
}

enum exchange_step exchange_step_hold(struct exchange *x)
{
	if (x->retry_ticks)
		return STEP_WAIT;
	if (!rewrite_holds(x)) {
		deadline_clear(&x->w->deadlines, &x->s->deadline);
		exchange_pass_response(x);
		return STEP_NEXT;
	}
	deadline_clear(&x->w->deadlines, &x->up->deadline);
	if (io_want_read(&x->up->c.io, false)) {
		exchange_attempt_failed(x, OUTCOME_UNKNOWN, REASON_NO_MEMORY);
		return STEP_NEXT;
	}
	x->retry_ticks = 1;
	worker_deadline(x->w, &x->s->deadline, DEADLINE_RETRY, clock_mono_us());
	return STEP_WAIT;
}
