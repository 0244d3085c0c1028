/* Choosing the next place for a request and judging attempts that brought no answer (spec section 3: certainty of
 * execution).  Not executed for certain: on to the next place.  Outcome unknown: a safe request goes to the next
 * place, an idempotent one to the same again, any other ends in 504 at once. */
#include "proxy/rewrite_exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/io_tls.h"
#include "proxy/listing.h"

bool exchange_is_local(const struct exchange *x)
{
	return x->site == x->view->reg->local;
}

bool exchange_is_safe(const struct exchange *x)
{
	return x->req.method_kind == HTTP_METHOD_SAFE && !x->once;
}

bool exchange_is_repeatable(const struct exchange *x)
{
	if (x->inner)
		return !x->once;
	/* of a replica a key is the application's own: the site that takes the write knows it for a new one */
	return x->req.method_kind != HTTP_METHOD_OTHER ||
	       (http_find((const struct http_head *)&x->req, HTTP_IDEMPOTENCY_KEY) && !rewrite_names_resource(x));
}

/* Somewhere else to go when this attempt brings nothing. */
bool exchange_more_places(const struct exchange *x)
{
	return x->site_at < x->site_count && !(x->site_at == x->site_count - 1 && exchange_is_local(x));
}

static struct exchange_target *target_begin(struct exchange *x)
{
	struct exchange_target *t;

	if (x->target_count == EXCHANGE_TARGETS)
		x->target_count--; /* the last one is overwritten: attempts tells the number */
	t = &x->targets[x->target_count++];
	*t = (struct exchange_target){ .site = x->view->reg->sites[x->site].name,
		                       .started_us = clock_mono_us() };
	x->attempts++;
	return t;
}

struct exchange_target *exchange_target_now(struct exchange *x)
{
	return x->target_count ? &x->targets[x->target_count - 1] : NULL;
}

void exchange_target_end(struct exchange *x, const char *reason)
{
	struct exchange_target *t = exchange_target_now(x);

	if (!t || t->ended_us)
		return;
	t->ended_us = clock_mono_us();
	t->reason = reason;
}

static size_t pick_instance(struct exchange *x)
{
	return instance_choose(&x->view->group[x->svc_index], x->instances_tried, clock_mono_us(), &x->w->random);
}

void exchange_note_instance(struct exchange *x, enum instance_event event)
{
	if (x->pool && !x->pool->mesh)
		instance_note(x->pool->instance, &x->view->group[x->svc_index], event, clock_mono_us());
}

static unsigned outcome_status(const struct exchange *x)
{
	const struct exchange_target *t = x->target_count ? &x->targets[x->target_count - 1] : NULL;
	bool timeout = t && t->reason && !strcmp(t->reason, "timeout");

	return x->bad_answer || (exchange_is_safe(x) && !timeout) ? 502 : 504;
}

/* One line on each site that was tried: "dc2: refused; dc3: timeout". */
static const char *tried(struct exchange *x)
{
	struct buf text;
	struct span copy;

	buf_init(&text, NULL, 2048);
	for (unsigned i = 0; i < x->target_count; i++)
		buf_addf(&text, "%s%.*s: %s", i ? "; " : "", SPAN_ARG(x->targets[i].site),
		         x->targets[i].reason ? x->targets[i].reason : "no answer");
	copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	return copy.p;
}

/* Every alternative failed. */
static void exhausted(struct exchange *x)
{
	const char *list = tried(x);
	struct problem p = {
		.site = x->view->reg->sites[x->site].name,
		.attempt = x->attempts,
		.attempts = x->attempts,
		.elapsed_ms = (clock_mono_us() - x->start_us) / 1000,
	};
	bool no_instance = x->site_count == 1 && exchange_is_local(x);

	if (x->list && listing_ends(x))
		return;
	if (x->outcome_unknown) {
		p.status = outcome_status(x);
		p.type = x->bad_answer ? "bad-response" : "outcome-unknown";
		p.detail = arena_printf(&x->arena,
		                        "The request was sent and %s%s, so whether it was executed is not known. "
		                        "Tried: %s.",
		                        x->bad_answer ? "its answer was refused: " : "no whole answer came",
		                        x->bad_answer ? x->bad_answer : "", list ? list : "");
	} else {
		p.status = 503;
		p.type = no_instance ? "no-instance" : "unreachable";
		p.detail = arena_printf(&x->arena, "Nothing was executed: %s. Tried: %s.",
		                        no_instance ? "no instance of the service answers here"
		                                    : "no site of the scope can be reached",
		                        list && *list ? list : "nothing");
	}
	exchange_problem(x, &p);
}

static void next_local(struct exchange *x)
{
	size_t i = pick_instance(x);

	x->pool = NULL;
	if (i == INSTANCE_NONE) {
		if (!x->instances_tried) {
			target_begin(x);
			exchange_target_end(x, "no instance");
		}
		x->site_at++;
		return;
	}
	x->instances_tried |= (uint64_t)1 << i;
	x->instance_at = (size_t)i;
	x->pool = x->view->instance[x->svc_index][i];
}

static void next_remote(struct exchange *x)
{
	const struct site_live *live = x->view->reg->sites[x->site].live;

	x->pool = site_live_is_barred(live) ? NULL : x->view->site[x->site];
	x->site_at++;
	if (x->pool)
		return;
	target_begin(x);
	exchange_target_end(x, site_live_is_barred(live)                    ? "fenced"
	                       : x->view->reg->sites[x->site].has_mesh ? "no certificate"
	                                                               : "no mesh address");
}

enum exchange_step exchange_step_pick(struct exchange *x)
{
	if (x->retry_ticks)
		return STEP_WAIT;
	if (x->site_at >= x->site_count || x->replay_lost) {
		exhausted(x);
		return STEP_NEXT;
	}
	x->site = x->sites[x->site_at];
	if (exchange_is_local(x))
		next_local(x);
	else
		next_remote(x);
	if (x->pool)
		x->state = X_CONNECT;
	return STEP_NEXT;
}

/* ---- attempts ------------------------------------------------------------------------------------------- */

static void count_reason(struct exchange *x, enum stats_reason reason, bool fallback)
{
	counter_add(fallback ? &x->w->stats.fallbacks[reason] : &x->w->stats.retries[reason], 1);
}

/* The same place once more: the local service's instances all count as untried, a site is stepped back to. */
static void same_place(struct exchange *x)
{
	x->instances_tried = 0;
	if (!exchange_is_local(x))
		x->site_at--;
	x->state = X_PICK;
}

void exchange_same_again(struct exchange *x)
{
	exchange_target_end(x, stats_reason_text(REASON_STATUS));
	upstream_drop(&x->up, true);
	x->replay_sent = 0;
	same_place(x);
}

/* After an unknown outcome a request that may be executed again is sent to the same place, at once when a kept
 * connection died under it, else after a pause that doubles. */
static void repeat_same(struct exchange *x, bool at_once)
{
	int64_t now = clock_mono_us();

	if (now >= x->give_up_us) {
		x->site_at = x->site_count;
		x->state = X_PICK;
		return;
	}
	same_place(x);
	if (!at_once) {
		x->retry_ticks = 1u << (x->repeats < 6 ? x->repeats : 6);
		x->repeats++;
		worker_deadline(x->w, &x->s->deadline, DEADLINE_RETRY, now);
	}
}

void exchange_move_on(struct exchange *x, enum stats_reason reason)
{
	bool more_here = exchange_is_local(x) && pick_instance(x) != INSTANCE_NONE;

	if (exchange_is_local(x) && !more_here)
		x->site_at++;
	if (more_here)
		count_reason(x, reason, false);
	else if (x->site_at < x->site_count)
		count_reason(x, reason, true);
	x->state = X_PICK;
}

/* The attempt brought no answer that could be passed on. */
void exchange_attempt_failed(struct exchange *x, enum exchange_outcome outcome, enum stats_reason reason)
{
	/* A kept connection may have died while it was idle; one that is silent, or brings a proxy's answer, has not. */
	bool reused = x->up && x->up->reused && (reason == REASON_RESET || reason == REASON_BAD_RESPONSE);

	if (x->up && x->up->connected && !reused &&
	    (reason == REASON_RESET || reason == REASON_TIMEOUT || reason == REASON_BAD_RESPONSE))
		exchange_note_instance(x, INSTANCE_FAILED);
	exchange_target_end(x, stats_reason_text(reason));
	upstream_drop(&x->up, true);
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	x->hold = x->sent_any = false;
	x->replay_sent = 0;
	x->pool = NULL;
	if (x->replay_lost) {
		x->outcome_unknown |= outcome == OUTCOME_UNKNOWN;
		x->state = X_PICK; /* says so */
		return;
	}
	if (outcome == OUTCOME_NOT_EXECUTED && reused && !x->fresh_only) {
		x->fresh_only = true; /* the kept connection was dead, that says nothing of the place */
		count_reason(x, reason, false);
		same_place(x);
		return;
	}
	if (outcome == OUTCOME_NOT_EXECUTED && (!x->outcome_unknown || exchange_is_safe(x))) {
		exchange_move_on(x, reason);
		return;
	}
	x->outcome_unknown = true;
	if (exchange_is_repeatable(x) && reused && !x->fresh_only) {
		x->fresh_only = true;
		count_reason(x, reason, false);
		same_place(x);
	} else if (exchange_is_safe(x)) {
		exchange_move_on(x, reason);
	} else if (exchange_is_repeatable(x) && !x->bad_answer && !x->inner) { /* who answers badly would do so again */
		count_reason(x, reason, false);
		repeat_same(x, false);
	} else {
		x->site_at = x->site_count;
		x->state = X_PICK;
	}
}

static struct tls_target target_of(const struct exchange *x)
{
	if (x->pool->mesh)
		return tls_target_site(x->view->tls, x->view->reg->sites[x->site].name);
	return tls_target_instance(x->view->tls, x->view->conf, x->svc_index, &x->svc->instances[x->instance_at]);
}

/* What this process lacks says nothing of the other side. */
static void note_not_reached(struct exchange *x, int code)
{
	if (code == ERR_LIMIT || code == ERR_NOMEM)
		return;
	if (exchange_is_local(x))
		exchange_note_instance(x, INSTANCE_NOT_REACHED);
	else
		site_live_unreachable(x->view->reg->sites[x->site].live, clock_mono_us());
}

enum exchange_step exchange_step_connect(struct exchange *x)
{
	enum upstream_want want = x->fresh_only || x->once      ? UPSTREAM_FRESH
	                          : exchange_is_repeatable(x) ? UPSTREAM_ANY
	                                                      : UPSTREAM_PROVEN;
	struct tls_target to;
	int rc;

	/* The client is not waited for now: nor may it be what gives way to the connection made for it. */
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	target_begin(x);
	to = target_of(x);
	rc = upstream_take(x->pool, x->w, x, &to, want, &x->up);
	if (rc == ERR_LIMIT && worker_evict(x->w))
		rc = upstream_take(x->pool, x->w, x, &to, want, &x->up);
	if (rc) {
		x->up = NULL;
		note_not_reached(x, rc);
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED,
		               rc == ERR_UNREACHABLE ? REASON_REFUSED : REASON_UNREACHABLE);
		return STEP_NEXT;
	}
	if (!x->up->connected)
		return STEP_WAIT;
	x->state = X_SEND;
	return STEP_NEXT;
}

void exchange_on_upstream_connected(struct exchange *x)
{
	x->connect_us = clock_mono_us() - exchange_target_now(x)->started_us;
	x->state = X_SEND;
	exchange_run(x);
}

static void warn_refused(struct exchange *x)
{
	char text[ADDR_TEXT_BYTES];

	if (!worker_may_warn(&x->w->tls_said_us))
		return;
	addr_format(&x->pool->addr, text);
	log_warn("%.*s at %.*s, %s: no TLS connection: %s", SPAN_ARG(x->svc->name),
	         SPAN_ARG(x->view->reg->sites[x->site].name), text, io_tls_why(&x->up->c.io));
}

void exchange_on_upstream_refused(struct exchange *x)
{
	warn_refused(x);
	exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_CERTIFICATE);
}

void exchange_on_upstream_failed(struct exchange *x, int code)
{
	if (code == ERR_DENIED)
		warn_refused(x);
	note_not_reached(x, code);
	exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED,
	               code == ERR_TIMEOUT       ? REASON_TIMEOUT
	               : code == ERR_DENIED      ? REASON_CERTIFICATE
	               : code == ERR_UNREACHABLE ? REASON_REFUSED
	                                         : REASON_UNREACHABLE);
	exchange_run(x);
}
