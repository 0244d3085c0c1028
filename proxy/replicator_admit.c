/* Admission (replication.md 1): one site executes first, and its answer decides.
 *
 *	                 executed, shows an id / a write    durable for every site of the set, then answered
 *	this site's  ──► executed, nothing to replicate     nothing elsewhere
 *	application      refused                            nothing anywhere
 *	                 not executed for certain           the next site is asked to admit
 *	                 unknown                            the next site is asked; none: it stays in doubt, 504
 *
 * A site that was asked and admitted delivers to the rest itself, this one included. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "replication/spool.h"

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static struct span keep(struct replicator_answer *a, struct span s)
{
	struct span copy = arena_dup(&a->arena, s);

	return copy.p ? copy : SPAN("");
}

static struct replicator_site site_of(struct replicator_answer *a, const struct work *k, size_t i, bool plain)
{
	const struct leg *leg = &k->legs[i];
	struct replicator_site s = { .site = keep(a, k->op->sites[i]), .us = leg->took_us };

	if ((leg->state == DELIVERY_DONE || leg->building) && leg->status)
		s.status = leg->status;
	else
		s.state = plain ? "not-replicated"
		          : leg->state == DELIVERY_DONE || leg->state == DELIVERY_SENT ? delivery_state_text(DELIVERY_QUEUED)
		                                                                       : delivery_state_text(leg->state);
	return s;
}

/* The other site's word on where it is. */
static void relay_fields(struct replicator_answer *a)
{
	const struct http_field *meta = http_find_name(&a->head, SPAN("X-Scope-Meta-Id")),
	                        *replicas = http_find_name(&a->head, SPAN("X-Scope-Replicas"));
	struct span rest = replicas ? replicas->value : SPAN(""), member;
	unsigned long long status;

	a->meta = meta ? meta->value : SPAN("");
	while (a->site_count < OPERATION_SITES && http_list_next(&rest, &member)) {
		struct replicator_site *s = &a->sites[a->site_count++];
		struct span state;

		s->site = span_head(member, span_find(member, '='));
		state = span_from(member, s->site.n + 1);
		if (span_to_u64(state, 999, &status))
			s->status = (unsigned)status;
		else
			s->state = keep(a, state).p;
	}
}

/* What k->answer says beside what the application said. */
static struct replicator_answer *complete(struct work *k, enum admission admission)
{
	struct replicator_answer *a = k->answer;
	bool replicated = admission == ADMISSION_DONE || admission == ADMISSION_UNKNOWN;

	k->answer = NULL;
	replicator_count_admission(&k->r->rep->stats, k->op, admission);
	if (!a)
		return NULL;
	a->result.admission = admission;
	a->result.status = a->status;
	a->result.state = admission == ADMISSION_DONE ? DELIVERY_DONE : DELIVERY_QUEUED;
	if (k->relayed) {
		relay_fields(a);
		return a;
	}
	if (replicated)
		a->meta = keep(a, k->op->key.meta);
	if (replicated || admission == ADMISSION_PLAIN)
		for (a->site_count = 0; a->site_count < k->leg_count; a->site_count++)
			a->sites[a->site_count] = site_of(a, k, a->site_count, admission == ADMISSION_PLAIN);
	return a;
}

static void set_problem(struct work *k, unsigned status, const char *type, const char *detail)
{
	replicator_answer_free(&k->answer);
	k->answer = answer_problem(status, type, detail);
}

static void end_with(struct work *k, enum admission admission)
{
	k->phase = WORK_OVER;
	work_answer(k, complete(k, admission));
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].lane)
			leg_leave(&k->legs[i]);
	work_end_if_over(k);
}

/* ---- nothing is left of it -------------------------------------------------------------------------------------------- */

static void forget(struct work *k, enum admission admission);

static void on_forgotten(struct work *k, struct leg *leg, int rc)
{
	(void)leg;
	if (rc) {
		log_warn("operation %s cannot be taken back: %s", k->text, err_text(rc));
		if (k->forgotten != ADMISSION_PLAIN)
			set_problem(k, 504, "outcome-unknown", "the application's answer could not be recorded");
	} else if (k->op->spool.n) {
		spool_drop(k->r->rep->spool, k->op->spool);
	}
	end_with(k, k->forgotten);
}

static void forget(struct work *k, enum admission admission)
{
	k->phase = WORK_COMMITTING;
	k->forgotten = admission;
	if (!k->logged || !log_forget(k, on_forgotten))
		on_forgotten(k, NULL, k->logged ? ERR_NOMEM : 0);
}

/* ---- who is asked ------------------------------------------------------------------------------------------------------- */

static bool is_usable_here(const struct work *k)
{
	const struct store_key_of *key = &k->op->key;
	const struct names_where where = { .kind = names_kind(k->r->rep->names, key->service, key->collection) };
	struct name name;

	if (k->op->kind == OPERATION_CREATE)
		return true;
	return where.kind && names_by_meta(k->r->rep->names, &where, key->meta, &name) && name.here && name.local_n &&
	       (name.state != REPLICA_QUEUED || name_is_building(&name));
}

/* This site first, then by distance; those that are known not to answer last. */
static int64_t cost_of(struct work *k, size_t i)
{
	const struct registry *reg = k->r->w->view->reg;
	const struct site_live *live;
	int64_t us;
	size_t site;

	if (span_eq(k->op->sites[i], k->r->rep->site))
		return -1;
	if (!registry_find(reg, k->op->sites[i], &site))
		return INT64_MAX;
	live = reg->sites[site].live;
	us = atomic_load_explicit(&live->rtt_us, memory_order_relaxed);
	if (us < 0)
		us = INT64_MAX / 4;
	return site_live_reach(live) == REACH_DOWN || site_live_reach(live) == REACH_FAILED ? INT64_MAX / 2 + us / 2 : us;
}

static void choose(struct work *k)
{
	k->candidate_count = k->candidate_at = 0;
	for (size_t i = 0; i < k->leg_count; i++) {
		bool own = span_eq(k->op->sites[i], k->r->rep->site);
		size_t at = k->candidate_count;

		if (own ? !is_usable_here(k) : k->op->only_here)
			continue;
		while (at && cost_of(k, k->candidate[at - 1]) > cost_of(k, i)) {
			k->candidate[at] = k->candidate[at - 1];
			at--;
		}
		k->candidate[at] = i;
		k->candidate_count++;
	}
}

/* ---- no site has said what came of it ------------------------------------------------------------------------------------- */

static struct leg *doubtful(struct work *k)
{
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].state == DELIVERY_IN_DOUBT)
			return &k->legs[i];
	return NULL;
}

static void on_doubt_logged(struct work *k, struct leg *leg, int rc)
{
	(void)leg;
	if (rc)
		log_warn("operation %s is in doubt, which cannot be recorded: %s", k->text, err_text(rc));
	leg_tell_hooks(doubtful(k), HOOK_IN_DOUBT, NULL);
	end_with(k, ADMISSION_UNKNOWN);
}

static bool is_unknown(struct work *k)
{
	const struct leg *own = work_own_leg(k);

	return k->unknown || (own && own->was_sent && operation_is_once(k->op));
}

/* The client is told that it is not known; who is to execute it is asked anew, as after a restart. */
static bool admit_once_more(struct work *k)
{
	struct leg *leg;

	if (!k->answered)
		work_answer(k, complete(k, ADMISSION_UNKNOWN));
	replicator_answer_free(&k->answer);
	k->phase = WORK_ADMITTING;
	choose(k);
	if (!k->candidate_count)
		return false;
	leg = &k->legs[k->candidate[0]];
	leg->target = target_of_site(k->r, k->op->sites[k->candidate[0]]);
	if (!leg->target || !leg_enter(leg))
		work_again(k);
	else if (leg->place == LEG_READY)
		leg_park(leg, leg_pause_us(leg));
	return true;
}

/* What is harmless to do again goes forward, to every site; the rest is looked for, or an operator's to settle. */
static void stay_in_doubt(struct work *k)
{
	struct leg *leg = work_own_leg(k);

	set_problem(k, 504, "outcome-unknown", "it is not known whether this was executed; /v1/replicas tells what becomes of it");
	if (leg && leg->was_sent && doubt_goes_on(k)) {
		if (admit_once_more(k))
			return;
		leg->state = DELIVERY_IN_DOUBT; /* its resource is not here any more */
	}
	leg = doubtful(k);
	if (!leg) {
		k->creates = k->is_named = k->op->kind == OPERATION_CREATE; /* under the name that it has so far */
		k->shown = (struct rules_id){ .id = SPAN(""), .collection = SPAN(""), .place = SPAN("") };
		admit_commit(k);
		return;
	}
	if (!log_sent(leg, on_doubt_logged))
		on_doubt_logged(k, leg, ERR_NOMEM);
}

static void exhausted(struct work *k)
{
	if (is_unknown(k)) {
		stay_in_doubt(k);
		return;
	}
	if (!k->answer)
		set_problem(k, 503, "unreachable", "no site of the replica set can execute this at present; nothing was done");
	forget(k, ADMISSION_NOT_EXECUTED);
}

/* ---- asking ----------------------------------------------------------------------------------------------------------------- */

/* The candidate, or the next one that can be asked. */
void admit_step(struct work *k)
{
	struct leg *leg;

	if (k->phase == WORK_COMMITTING) {
		admit_commit(k);
		return;
	}
	if (k->phase == WORK_DELIVERING) {
		deliver_record(k);
		return;
	}
	k->phase = WORK_ADMITTING;
	for (; k->candidate_at < k->candidate_count; k->candidate_at++) {
		leg = &k->legs[k->candidate[k->candidate_at]];
		leg->target = target_of_site(k->r, k->op->sites[k->candidate[k->candidate_at]]);
		if (leg->target && leg_enter(leg))
			return;
	}
	exhausted(k);
}

static void next(struct work *k, struct leg *leg)
{
	leg_leave(leg);
	k->candidate_at++;
	admit_step(k);
}

void admit_skip(struct leg *leg)
{
	next(leg->work, leg);
}

static void on_repeated(struct work *k, struct leg *leg, int rc);
static void on_known(struct work *k, struct leg *leg, int rc);

/* Nothing is left of the operation: it is done anew.  Else what is known of it. */
static void on_unanswered(struct work *k, struct leg *leg, int rc)
{
	replicator_answer_free(&k->answer);
	if (rc != ERR_NOT_FOUND) {
		on_known(k, leg, rc);
		return;
	}
	k->answer_is_there = true;
	choose(k);
	admit_step(k);
}

static void on_found(struct work *k, struct leg *leg, int rc)
{
	(void)leg;
	if (rc == ERR_NOT_FOUND) {
		choose(k);
		admit_step(k);
		return;
	}
	if (!rc && k->answer && k->answer->problem && k->answer->status == 409 && log_ask(k, on_unanswered))
		return; /* a restart came between the operation and its answer */
	if (rc)
		set_problem(k, 503, "no-memory", "the log of replication cannot be read");
	k->phase = WORK_OVER;
	work_answer_one(k, k->answer);
	k->answer = NULL;
	for (const struct replicator_wait *w = STAILQ_FIRST(&k->waits); w && !rc; w = STAILQ_NEXT(w, link))
		if (w->task == REPLICATOR_ADMIT && !log_find_answer(k, k->op, on_repeated)) /* each has a copy of its own */
			break;
	work_end_if_over(k);
}

/* The operation is known already; its answer may be. */
static void on_repeated(struct work *k, struct leg *leg, int rc)
{
	(void)leg;
	if (rc)
		set_problem(k, 409, "in-progress", "this request was executed, and its answer is not kept at this site");
	work_answer_one(k, k->answer);
	k->answer = NULL;
	work_end_if_over(k);
}

void admit_begin(struct work *k)
{
	/* unless a peer does; the front looks at it no more */
	if (!operation_keep(k->op, &k->op->admitted, k->r->rep->site)) {
		set_problem(k, 503, "no-memory", "no memory");
		end_with(k, ADMISSION_NOT_EXECUTED);
		return;
	}
	if (k->op->answer_key.n) {
		if (!log_find_answer(k, k->op, on_found))
			on_found(k, NULL, ERR_NOMEM);
		return;
	}
	choose(k);
	admit_step(k);
}

void admit_repeat(struct work *k, const struct operation *op)
{
	const struct leg *own = work_own_leg(k);

	if (!op->answer_key.n) { /* a peer's, which asks again what it did not hear */
		k->answer = answer_new();
		if (k->answer && own)
			k->answer->status = own->status;
		work_answer_one(k, complete(k, ADMISSION_DONE));
		return;
	}
	if (!log_find_answer(k, op, on_repeated))
		on_repeated(k, NULL, ERR_NOMEM);
}

void admit_revive(struct work *k, struct span at)
{
	struct leg *own = work_own_leg(k);

	if (own && own->state == DELIVERY_IN_DOUBT) { /* an operator's, who has it read back again */
		k->phase = WORK_OVER;
		work_end_if_over(k);
		return;
	}
	for (size_t i = 0; i < k->leg_count; i++)
		if (!own || &k->legs[i] != own || !own->was_sent)
			k->legs[i].state = DELIVERY_QUEUED;
	choose(k);
	for (size_t c = 0; c < k->candidate_count; c++) /* who was asked is asked again: it knows the operation */
		if (span_eq(k->op->sites[k->candidate[c]], at)) {
			size_t i = k->candidate[c];

			memmove(k->candidate + 1, k->candidate, c * sizeof(k->candidate[0]));
			k->candidate[0] = i;
			break;
		}
	admit_step(k);
}

void admit_anew(struct work *k)
{
	for (size_t i = 0; i < k->leg_count; i++)
		k->legs[i].state = DELIVERY_QUEUED;
	choose(k);
	admit_step(k);
}

static void on_known(struct work *k, struct leg *leg, int rc)
{
	leg = work_own_leg(k);
	if (!rc && leg && leg->state == DELIVERY_DONE) {
		k->answer = answer_new();
		if (k->answer)
			k->answer->status = leg->status;
		end_with(k, ADMISSION_DONE);
		return;
	}
	set_problem(k, 504, "outcome-unknown", "the operation is known here, and it is not known what came of it");
	end_with(k, ADMISSION_UNKNOWN);
}

static void on_logged(struct work *k, struct leg *leg, int rc)
{
	if (rc == ERR_EXISTS && !k->logged) {
		if (!log_ask(k, on_known))
			on_known(k, leg, ERR_NOMEM);
		return;
	}
	if (rc == ERR_IO && !k->logged) { /* the disk failed; what reached it is read back after a restart */
		k->unsynced = true;
		set_problem(k, 504, "outcome-unknown", "the disk failed while this was made durable: a restart tells whether it is");
		end_with(k, ADMISSION_UNKNOWN);
		return;
	}
	if (rc) {
		if (rc == ERR_LIMIT)
			set_problem(k, 507, "queue-full", "the disk with the log of replication is full; nothing was done");
		else
			set_problem(k, 503, "not-durable", "the operation cannot be made durable here; nothing was done");
		k->logged ? exhausted(k) : end_with(k, ADMISSION_NOT_EXECUTED);
		return;
	}
	k->logged = leg->durable = true;
	fault_point("admit-logged");
	if (!leg_send(leg, SEND_ADMISSION)) {
		leg->state = DELIVERY_QUEUED;
		next(k, leg);
	}
}

/* It may have been executed, and there is no way to tell. */
static void stays(struct leg *leg)
{
	leg->was_sent = false;
	leg->state = DELIVERY_IN_DOUBT;
	leg_leave(leg);
	stay_in_doubt(leg->work);
}

void admit_run(struct leg *leg)
{
	struct work *k = leg->work;

	switch (leg->target->own ? doubt_step(leg) : DOUBT_EXECUTE) {
	case DOUBT_LOOK:
		if (!leg_send(leg, SEND_LOOK))
			leg_park(leg, leg_pause_us(leg));
		return;
	case DOUBT_STAYS:
		stays(leg);
		return;
	case DOUBT_EXECUTE:
		break;
	}
	fault_point("admit-log");
	leg->state = !leg->target->own || operation_is_once(k->op) ? DELIVERY_SENT : DELIVERY_QUEUED;
	if (!(k->logged ? log_sent(leg, on_logged) : log_begin(k, leg, on_logged)))
		on_logged(k, leg, ERR_NOMEM);
}

/* ---- what was answered --------------------------------------------------------------------------------------------------- */

/* What is shown lies in what came, or in the operation, which gives way to one with another name. */
static bool keep_shown(struct work *k)
{
	if (!k->answer)
		return false;
	k->shown.id = arena_dup(&k->answer->arena, k->shown.id);
	k->shown.collection = arena_dup(&k->answer->arena, k->shown.collection);
	k->shown.place = arena_dup(&k->answer->arena, k->shown.place);
	return k->shown.id.p && k->shown.collection.p && k->shown.place.p;
}

/* A create, if what it made can be kept; else it is as if nobody had seen its answer. */
static enum admission made(struct work *k)
{
	k->creates = keep_shown(k);
	return k->creates ? ADMISSION_DONE : ADMISSION_UNKNOWN;
}

static enum admission judge_write(struct work *k, const struct inner_answer *a)
{
	const struct operation *op = k->op;

	if (op->kind != OPERATION_CREATE && op->kind != OPERATION_APPEND)
		return ADMISSION_DONE;
	switch (send_shown(k, &k->answer->arena, a, &k->shown)) {
	case RULES_ONE:
		return made(k);
	case RULES_SEVERAL:
		return ADMISSION_PLAIN;
	case RULES_UNREAD:
		return ADMISSION_UNKNOWN;
	case RULES_NONE:
		break;
	}
	if (op->named && op->kind == OPERATION_CREATE) { /* under the name that the client chose */
		k->shown = (struct rules_id){ .id = op->key.meta, .collection = op->key.collection, .place = SPAN("") };
		return made(k);
	}
	return op->kind == OPERATION_APPEND ? ADMISSION_DONE : ADMISSION_PLAIN;
}

/* It speaks of the request alone: the first time it was said as well. */
static bool is_of_request(unsigned status)
{
	return status == 400 || status == 401 || status == 403 || status == 405 || status == 411 || status == 413 ||
	       status == 414 || status == 415 || status == 431;
}

static enum admission judge_own(struct work *k, const struct inner_answer *a)
{
	if (a->result == INNER_NOT_EXECUTED)
		return ADMISSION_NOT_EXECUTED;
	if (a->result == INNER_UNKNOWN || a->status == 500 || a->status == 502 || a->status == 504)
		return ADMISSION_UNKNOWN;
	if (a->repeated && a->status >= 400 && !is_of_request(a->status)) /* of the first time that says nothing */
		return ADMISSION_UNKNOWN;
	if (a->status == 503)
		return ADMISSION_NOT_EXECUTED;
	if (k->op->kind == OPERATION_DELETE && (a->status == 404 || a->status == 410) && (k->revived || k->unknown))
		return ADMISSION_DONE; /* it was this operation that took it away */
	return (a->status >= 200 && a->status < 300) || a->status == 303 ? judge_write(k, a) : ADMISSION_REFUSED;
}

static enum admission judge_peer(struct work *k, const struct inner_answer *a, struct operation_result *result_r)
{
	const struct http_field *f = a->head ? http_find(a->head, HTTP_X_SCOPEMESH_OPERATION) : NULL;

	if (f && !operation_result_of_field(&k->answer->arena, f->value, result_r) && result_r->admission)
		return result_r->admission;
	return a->result == INNER_NOT_EXECUTED ? ADMISSION_NOT_EXECUTED : ADMISSION_UNKNOWN;
}

/* A peer has admitted it, under the same meta-identifier: this site executes it as well. */
static void follow(struct work *k, struct leg *leg)
{
	struct leg *own = work_own_leg(k);

	k->followed = true;
	k->creates = k->op->kind == OPERATION_CREATE;
	k->shown = (struct rules_id){ .id = SPAN(""), .collection = SPAN(""), .place = SPAN("") };
	for (size_t i = 0; i < k->leg_count; i++)
		if (&k->legs[i] != own && &k->legs[i] != leg) {
			k->legs[i].state = DELIVERY_DONE; /* the peer's to deliver */
			k->legs[i].status = 0;
		}
	admit_commit(k);
}

/* A peer has made it under a name of its own, which the operation has from now on. */
static bool take_its_name(struct work *k, const struct inner_answer *a, struct span meta)
{
	struct store_key_of key = k->op->key;
	struct operation *op;

	if (send_shown(k, &k->answer->arena, a, &k->shown) != RULES_ONE || !span_eq(k->shown.id, meta))
		return false;
	key.collection = k->shown.collection;
	key.meta = meta;
	op = operation_with_key(k->op, &key, OPERATION_CREATE);
	if (!op)
		return false;
	operation_unref(&k->op);
	k->op = op;
	k->is_named = true;
	return true;
}

static void admitted_by_peer(struct work *k, struct leg *leg, const struct inner_answer *a)
{
	const struct http_field *meta = http_find_name(&k->answer->head, SPAN("X-Scope-Meta-Id"));
	const struct leg *own = work_own_leg(k);

	k->answer->canonical = true;
	if (!meta || span_eq(meta->value, k->op->key.meta)) {
		follow(k, leg);
		return;
	}
	if (own && own->was_sent && operation_is_once(k->op)) { /* perhaps it was executed here as well */
		if (take_its_name(k, a, meta->value))
			follow(k, leg);
		else
			stay_in_doubt(k);
		return;
	}
	/* a child of its own name: it comes to this site as a delivery */
	k->relayed = true;
	forget(k, ADMISSION_DONE);
}

static void unknown(struct work *k, struct leg *leg)
{
	bool once = leg->target->own && operation_is_once(k->op);
	bool goes_on = once && doubt_goes_on(k);

	leg->was_sent = leg->target->own;
	leg->asked = false;
	k->unknown |= !goes_on;
	/* a peer that is asked once more knows the operation */
	leg->state = goes_on ? DELIVERY_SENT : once ? DELIVERY_IN_DOUBT : DELIVERY_QUEUED;
	replicator_answer_free(&k->answer);
	next(k, leg);
}

static void refused(struct work *k, struct leg *leg)
{
	leg->state = DELIVERY_DONE;
	if (leg->was_sent && operation_is_once(k->op)) /* perhaps because it was executed before */
		stays(leg);
	else if (is_unknown(k)) /* another one may hold it */
		stay_in_doubt(k);
	else
		forget(k, ADMISSION_REFUSED);
}

/* Of a create the application may be at work on it still. */
static void executed(struct leg *leg)
{
	leg->state = DELIVERY_DONE;
	if (leg->target->own && leg->work->creates && ready_is_declared(leg->work))
		ready_begin(leg);
}

/* What was found is what is left of its answer; its type says that there are ids in it. */
static void take_found(struct replicator_answer *to, const struct inner_answer *a, struct span element)
{
	const struct http_field *type = a->head ? http_find(a->head, HTTP_CONTENT_TYPE) : NULL;

	to->status = to->head.status = a->status;
	to->head.fields = arena_zalloc(&to->arena, sizeof(*to->head.fields));
	if (!type || !to->head.fields)
		return;
	to->head.fields[0] = (struct http_field){ .id = HTTP_CONTENT_TYPE, .name = keep(to, type->name),
		.value = keep(to, type->value) };
	to->head.field_count = 1;
	to->content = keep(to, element);
}

/* This site's application was asked whether it has executed it before. */
static void judge_found(struct leg *leg, const struct inner_answer *a)
{
	struct work *k = leg->work;
	struct span element;

	k->answer = answer_new();
	switch (k->answer ? doubt_judge(leg, a, &k->answer->arena, &element, &k->shown) : DOUBT_NO_ANSWER) {
	case DOUBT_NO_ANSWER:
		leg_set_error(leg, a);
		leg_park(leg, leg_pause_us(leg));
		break;
	case DOUBT_NOT_EXECUTED:
		leg->was_sent = false;
		leg_park(leg, 0);
		break;
	case DOUBT_EXECUTED:
		k->creates = true;
		leg->status = a->status;
		take_found(k->answer, a, element);
		executed(leg);
		admit_commit(k);
		return;
	case DOUBT_UNCLEAR:
		leg_set_error(leg, a);
		replicator_answer_free(&k->answer);
		stays(leg); /* with an answer of its own; it may be over then */
		return;
	}
	replicator_answer_free(&k->answer);
}

void admit_judge(struct leg *leg, const struct inner_answer *a)
{
	struct work *k = leg->work;
	struct operation_result result = { .admission = ADMISSION_NONE };
	enum admission admission;

	fault_point("admit-answered");
	replicator_answer_free(&k->answer);
	if (leg->as == SEND_LOOK) {
		judge_found(leg, a);
		return;
	}
	k->answer = answer_new();
	if (!k->answer || !answer_take(k->answer, a)) {
		replicator_answer_free(&k->answer);
		unknown(k, leg);
		return;
	}
	k->answer->served_by = keep(k->answer, span_make(leg->target->site, leg->target->site_n));
	admission = leg->target->own ? judge_own(k, a) : judge_peer(k, a, &result);
	leg->status = a->status;
	switch (admission) {
	case ADMISSION_DONE:
		executed(leg);
		if (leg->target->own)
			admit_commit(k);
		else
			admitted_by_peer(k, leg, a);
		return;
	case ADMISSION_PLAIN:
	case ADMISSION_REFUSED:
		k->answer->canonical = !leg->target->own;
		leg->state = DELIVERY_DONE;
		if (admission == ADMISSION_PLAIN)
			forget(k, ADMISSION_PLAIN);
		else
			refused(k, leg);
		return;
	case ADMISSION_NOT_EXECUTED:
		if (a->result != INNER_ANSWERED || !leg->target->own) /* else what the application said may be the answer */
			replicator_answer_free(&k->answer);
		leg->state = DELIVERY_QUEUED;
		next(k, leg);
		return;
	default:
		unknown(k, leg);
	}
}

/* ---- the commit ------------------------------------------------------------------------------------------------------------- */

/* The name under which it goes on: of a create what its answer showed, of a child one of its own. 0, ERR_NOMEM, ERR_BUSY. */
static int name_it(struct work *k)
{
	struct store_key_of key = k->op->key;
	char meta[METAID_TEXT_BYTES];
	struct operation *op;
	int rc = 0;

	if (!k->creates || k->followed || k->is_named)
		return 0;
	if (!keep_shown(k))
		return ERR_NOMEM;
	key.collection = k->shown.collection;
	if (k->op->kind == OPERATION_APPEND) {
		rc = replication_new_meta(k->r->rep, k->op->meta_id, meta, &key.meta.n);
		key.meta.p = meta;
	}
	op = rc ? NULL : operation_with_key(k->op, &key, OPERATION_CREATE);
	if (!op)
		return rc ? rc : ERR_NOMEM;
	operation_unref(&k->op);
	k->op = op;
	k->is_named = true;
	return 0;
}

static void begin_delivery(struct work *k, bool own_over)
{
	struct leg *own = work_own_leg(k);

	if (own && own->lane && own->building)
		leg_park(own, own->pause_us);
	else if (own && own->lane && own_over)
		leg_leave(own);
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].lane && &k->legs[i] != own)
			leg_leave(&k->legs[i]);
	work_unload(k);
	deliver_begin(k);
}

/* The disk is full: the client is told that it is not known, and what came of it is recorded once there is room. */
static void commit_later(struct work *k)
{
	struct replicator_answer *kept = k->answer; /* what is to be recorded lies in it */

	if (!k->answered) {
		log_warn("operation %s was executed and cannot be recorded yet: the disk is full", k->text);
		k->answer = NULL;
		set_problem(k, 504, "outcome-unknown", "this was executed, and is made durable once the disk has room");
		work_answer(k, complete(k, ADMISSION_UNKNOWN));
		k->answer = kept;
	}
	work_again(k);
}

static void on_committed(struct work *k, struct leg *leg, int rc)
{
	struct leg *own = work_own_leg(k);

	(void)leg;
	if (rc == ERR_LIMIT) {
		commit_later(k);
		return;
	}
	if (rc == ERR_EXISTS && k->creates) { /* the id that it shows is another replica's: it made nothing new */
		k->creates = false;
		forget(k, ADMISSION_PLAIN);
		return;
	}
	if (rc) {
		log_error("operation %s was executed and cannot be recorded: %s", k->text, err_text(rc));
		set_problem(k, 504, "outcome-unknown", "this was executed, and could not be made durable");
		end_with(k, ADMISSION_UNKNOWN);
		return;
	}
	fault_point("admit-committed");
	k->phase = WORK_DELIVERING;
	work_answer(k, complete(k, k->unknown && k->answer && k->answer->problem ? ADMISSION_UNKNOWN : ADMISSION_DONE));
	fault_point("admit-told");
	begin_delivery(k, own && own->state != DELIVERY_QUEUED);
}

void admit_commit(struct work *k)
{
	int rc;

	k->phase = WORK_COMMITTING;
	rc = name_it(k);
	if (rc == ERR_BUSY) {
		work_again(k);
		return;
	}
	if (k->answer)
		k->answer->meta = keep(k->answer, k->op->key.meta);
	if (!rc && k->creates)
		echo_apply(k);
	if (rc || !log_admitted(k, on_committed))
		on_committed(k, NULL, rc ? rc : ERR_NOMEM);
}
