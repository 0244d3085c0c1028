/* Its life, what comes in, who waits for what, and the clock that looks at what waits. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/server.h"
#include "replication/spool.h"

#define ANSWER_ARENA (4u << 20)

struct replicator_submission {
	struct post post;
	struct replicator *r;
	struct operation *op;
	enum replicator_task task;
	struct replicator_wait *wait;
	STAILQ_ENTRY(replicator_submission) link;
};

/* ---- answers ------------------------------------------------------------------------------------------------------ */

struct replicator_answer *answer_new(void)
{
	struct replicator_answer *a = calloc(1, sizeof(*a));

	if (a)
		arena_init(&a->arena, NULL, 0, ANSWER_ARENA);
	return a;
}

struct replicator_answer *answer_problem(unsigned status, const char *type, const char *detail)
{
	struct replicator_answer *a = answer_new();

	if (!a)
		return NULL;
	a->status = status;
	a->problem = type;
	a->detail = detail;
	return a;
}

void replicator_answer_free(struct replicator_answer **ap)
{
	struct replicator_answer *a = *ap;

	*ap = NULL;
	if (!a)
		return;
	arena_fini(&a->arena);
	free(a);
}

static void run_answered(struct post *post)
{
	struct replicator_wait *wait = container_of(post, struct replicator_wait, post);

	wait->answered(wait);
}

/* A worker that has ended has no exchange left that would mind on which thread it is. */
static void hand_over(struct replicator *r, struct replicator_wait *wait, struct replicator_answer *answer)
{
	atomic_fetch_sub(&r->waiting, 1);
	wait->answer = answer;
	wait->post.run = run_answered;
	if (!worker_post(wait->w, &wait->post))
		wait->answered(wait);
}

void work_answer_one(struct work *k, struct replicator_answer *answer)
{
	struct replicator_wait *wait;

	STAILQ_FOREACH(wait, &k->waits, link)
		if (wait->task == REPLICATOR_ADMIT)
			break;
	if (wait) {
		STAILQ_REMOVE(&k->waits, wait, replicator_wait, link);
		hand_over(k->r, wait, answer);
	} else {
		replicator_answer_free(&answer);
	}
}

void work_answer(struct work *k, struct replicator_answer *answer)
{
	struct replicator_wait *wait, *next;

	k->answered = true;
	for (wait = STAILQ_FIRST(&k->waits); wait; wait = next) {
		next = STAILQ_NEXT(wait, link);
		if (wait->task != REPLICATOR_ADMIT)
			continue;
		STAILQ_REMOVE(&k->waits, wait, replicator_wait, link);
		hand_over(k->r, wait, answer);
		/* whoever came with the same key meanwhile */
		answer = answer_problem(409, "in-progress", "a request with this Idempotency-Key was under way");
	}
	replicator_answer_free(&answer);
}

static struct replicator_answer *peer_answer(struct work *k)
{
	struct replicator_answer *a = answer_new();
	const struct leg *leg = work_own_leg(k);
	struct name name;
	const struct names_where where = { .kind = names_kind(k->r->rep->names, k->op->key.service, k->op->key.collection) };

	if (!a || !leg)
		return a;
	a->status = 200;
	a->canonical = true;
	a->result = (struct operation_result){ .state = leg->state == DELIVERY_SENT ? DELIVERY_QUEUED : leg->state,
		.status = leg->status };
	if (leg->error)
		a->result.reason = arena_dup(&a->arena, span_of(leg->error));
	if (where.kind && names_by_meta(k->r->rep->names, &where, k->op->key.meta, &name) && name.local_n)
		a->result.local = arena_dup(&a->arena, span_make(name.local, name.local_n));
	return a;
}

void work_tell_peers(struct work *k, bool all)
{
	struct replicator_wait *wait, *next;
	int64_t now = clock_mono_us();

	for (wait = STAILQ_FIRST(&k->waits); wait; wait = next) {
		next = STAILQ_NEXT(wait, link);
		if (wait->task == REPLICATOR_ADMIT || (!all && wait->until_us > now))
			continue;
		STAILQ_REMOVE(&k->waits, wait, replicator_wait, link);
		hand_over(k->r, wait, peer_answer(k));
	}
}

void leg_tell_hooks(const struct leg *leg, enum hook_event event, const char *reason)
{
	const struct work *k = leg->work;
	const struct operation *op = k->op;
	struct hook_news news = { .event = event, .site = k->r->rep->site,
		.target = span_make(leg->target->site, leg->target->site_n), .service = op->key.service, .meta = op->key.meta,
		.op = span_of(k->text), .method = op->method, .path = operation_path(op),
		.reason = span_of(reason ? reason : leg->error ? leg->error : "") };

	hooks_tell(k->r->rep->hooks, k->r->w->view->conf, &news);
}

/* ---- works -------------------------------------------------------------------------------------------------------- */

struct work *work_find(struct replicator *r, const struct op_id *id)
{
	char text[OP_ID_TEXT_BYTES];
	struct work *k;

	op_id_format(id, text);
	HASH_FIND_STR(r->works, text, k);
	return k;
}

struct work *work_new(struct replicator *r, struct operation *op)
{
	struct work *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->legs = calloc(op->site_count, sizeof(*k->legs));
	if (!k->legs) {
		free(k);
		return NULL;
	}
	k->r = r;
	k->op = operation_ref(op);
	k->leg_count = op->site_count;
	op_id_format(&op->id, k->text);
	STAILQ_INIT(&k->waits);
	for (size_t i = 0; i < k->leg_count; i++) {
		k->legs[i].work = k;
		k->legs[i].state = DELIVERY_QUEUED;
		buf_init(&k->legs[i].fields, NULL, 0);
		buf_init(&k->legs[i].operation, NULL, 0);
		buf_init(&k->legs[i].place_of, NULL, 0);
	}
	HASH_ADD_STR(r->works, text, k);
	if (!k->hh.tbl) { /* uthash had no memory for its table */
		operation_unref(&k->op);
		free(k->legs);
		free(k);
		return NULL;
	}
	r->content += op->fields.n + op->body.n;
	/* of one that is read back its body is still in the store; a spooled one counts there */
	k->weight = REPLICATOR_WEIGHT + op->fields.n + (op->spool.n ? 0 : op->body_bytes);
	r->weight += k->weight;
	return k;
}

static void work_free(struct work *k)
{
	struct replicator *r = k->r;

	HASH_DEL(r->works, k);
	if (k->is_again)
		TAILQ_REMOVE(&r->again, k, again);
	if (k->waited_for)
		TAILQ_REMOVE(&r->waited_for, k, waiting);
	for (size_t i = 0; i < k->leg_count; i++) {
		struct leg *leg = &k->legs[i];

		if (leg->lane)
			leg_leave(leg);
		buf_fini(&leg->fields);
		buf_fini(&leg->operation);
		buf_fini(&leg->place_of);
		free(leg->error);
		free(leg->local);
	}
	if (!k->logged && !k->unsynced && !r->closed && k->op->spool.n)
		spool_drop(r->rep->spool, k->op->spool); /* no row names it */
	r->content -= k->op->fields.n + k->op->body.n;
	r->weight -= k->weight;
	replicator_answer_free(&k->answer);
	arena_fini(&k->later_arena);
	operation_unref(&k->op);
	free(k->legs);
	free(k);
}

struct leg *work_own_leg(struct work *k)
{
	for (size_t i = 0; i < k->leg_count; i++)
		if (span_eq(k->op->sites[i], k->r->rep->site))
			return &k->legs[i];
	return NULL;
}

struct dropped_spool {
	struct replicator *r;
	size_t n;
	char name[];
};

static void on_spool_forgotten(void *arg, int rc)
{
	struct dropped_spool *d = arg;

	if (!rc && !d->r->closed)
		spool_drop(d->r->rep->spool, span_make(d->name, d->n));
	free(d);
}

/* Every site has its body: it is not needed any more. */
static void work_drop_spool(struct work *k)
{
	struct store_batch *b;
	struct dropped_spool *d;

	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].state != DELIVERY_DONE && k->legs[i].state != DELIVERY_DROPPED &&
		    (!k->received || &k->legs[i] == work_own_leg(k)))
			return;
	if (!k->op->spool.n || !k->logged || k->r->closed)
		return;
	d = malloc(sizeof(*d) + k->op->spool.n);
	b = d ? store_batch_new() : NULL;
	if (!b) {
		free(d);
		return;
	}
	d->r = k->r;
	d->n = k->op->spool.n;
	memcpy(d->name, k->op->spool.p, d->n);
	store_forget_spool(b, &k->op->id);
	if (store_submit(k->r->rep->store, &b, k->r->w->answers, on_spool_forgotten, d))
		free(d);
}

void work_end_if_over(struct work *k)
{
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].busy || k->legs[i].lane)
			return;
	if (k->loading || (k->phase != WORK_DELIVERING && k->phase != WORK_OVER))
		return;
	work_tell_peers(k, true);
	work_drop_spool(k);
	if (!STAILQ_EMPTY(&k->waits)) /* whoever asked to admit, and cannot be told otherwise */
		work_answer(k, answer_problem(503, "no-memory", "no memory"));
	work_free(k);
}

void work_unload(struct work *k)
{
	struct replicator *r = k->r;
	struct operation *op;

	if (r->content <= REPLICATOR_CONTENT || !k->logged || k->phase != WORK_DELIVERING)
		return;
	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].busy)
			return;
	op = operation_without_content(k->op);
	if (!op)
		return;
	r->content -= k->op->fields.n + k->op->body.n;
	operation_unref(&k->op);
	k->op = op;
}

void work_again(struct work *k)
{
	if (k->is_again)
		return;
	k->is_again = true;
	TAILQ_INSERT_TAIL(&k->r->again, k, again);
}

const struct conf_service *replicator_service(const struct replicator *r, struct span name)
{
	const struct conf *conf = r->w->view->conf;

	for (size_t i = 0; i < conf->service_count; i++)
		if (span_eq(conf->services[i].name, name))
			return &conf->services[i];
	return NULL;
}

/* ---- what comes in -------------------------------------------------------------------------------------------------- */

static void refuse(struct replicator *r, struct replicator_wait *wait, const char *detail)
{
	hand_over(r, wait, answer_problem(503, "no-memory", detail));
}

static void await(struct work *k, struct replicator_wait *wait)
{
	STAILQ_INSERT_TAIL(&k->waits, wait, link);
	if (!k->waited_for)
		TAILQ_INSERT_TAIL(&k->r->waited_for, k, waiting);
	k->waited_for = true;
}

/* It is known already: a peer's delivery joins it, a client's repetition meets it under way. */
static void join(struct work *k, const struct operation *op, struct replicator_wait *wait)
{
	struct leg *leg = work_own_leg(k);
	bool differs = k->op->fingerprint.n && !span_eq(op->fingerprint, k->op->fingerprint);

	if (wait->task == REPLICATOR_ADMIT && differs) {
		hand_over(k->r, wait, answer_problem(422, "idempotency-key", "this Idempotency-Key was used with another body"));
		return;
	}
	if (wait->task == REPLICATOR_ADMIT && k->phase == WORK_NEW && k->loading) { /* its answer is being looked up */
		await(k, wait);
		return;
	}
	if (wait->task == REPLICATOR_ADMIT && k->phase != WORK_DELIVERING) {
		hand_over(k->r, wait, answer_problem(409, "in-progress", "a request with this Idempotency-Key is under way"));
		return;
	}
	await(k, wait);
	if (op->retry && leg && wait->task == REPLICATOR_DELIVER)
		leg_retry(leg);
	if (wait->task == REPLICATOR_ADMIT)
		admit_repeat(k, op);
	else if (leg && !leg->busy && leg->durable && !leg_is_ready(leg))
		work_tell_peers(k, true);
}

static void begin_wait(const struct replicator *r, struct replicator_wait *wait, enum replicator_task task)
{
	wait->task = task;
	wait->until_us = clock_mono_us() + (task == REPLICATOR_ADMIT ? r->w->view->conf->timeout_response_us
	                                                             : REPLICATOR_PATIENCE_US);
}

static void take(struct replicator *r, struct operation *op, enum replicator_task task, struct replicator_wait *wait)
{
	struct work *k = work_find(r, &op->id);

	begin_wait(r, wait, task);
	if (k) {
		if (op->spool.n && !span_eq(op->spool, k->op->spool))
			spool_drop(r->rep->spool, op->spool); /* the content is here already */
		join(k, op, wait);
		return;
	}
	if (task != REPLICATOR_ASK && r->weight >= r->w->view->conf->limit_queue_bytes) { /* a peer keeps it, and comes again */
		if (op->spool.n)
			spool_drop(r->rep->spool, op->spool);
		hand_over(r, wait, answer_problem(507, "queue-full", "too much waits to be replicated (limits.queue_bytes); nothing was done"));
		return;
	}
	k = work_new(r, op);
	if (!k) {
		refuse(r, wait, "no memory");
		return;
	}
	await(k, wait);
	if (task == REPLICATOR_ADMIT)
		admit_begin(k);
	else if (task == REPLICATOR_DELIVER)
		deliver_begin(k);
	else
		deliver_ask(k);
}

static void run_submission(struct post *post)
{
	struct replicator_submission *s = container_of(post, struct replicator_submission, post);
	struct replicator *r = s->r;

	if (r->closed) {
		refuse(r, s->wait, "the proxy stops");
	} else if (!r->loaded) {
		begin_wait(r, s->wait, s->task);
		STAILQ_INSERT_TAIL(&r->early, s, link);
		if (!r->load_asked)
			log_load(r);
		return;
	} else {
		take(r, s->op, s->task, s->wait);
		replicator_go(r);
	}
	operation_unref(&s->op);
	free(s);
}

bool replicator_submit(struct replicator *r, struct operation *op, enum replicator_task task,
                       struct replicator_wait *wait)
{
	struct replicator_submission *s;

	if (atomic_fetch_add(&r->waiting, 1) >= REPLICATOR_WAITING)
		goto no;
	s = calloc(1, sizeof(*s));
	if (!s)
		goto no;
	*s = (struct replicator_submission){ .post = { .run = run_submission }, .r = r, .op = operation_ref(op),
		.task = task, .wait = wait };
	if (worker_post(r->w, &s->post))
		return true;
	operation_unref(&s->op);
	free(s);
no:
	atomic_fetch_sub(&r->waiting, 1);
	return false;
}

/* ---- the clock ------------------------------------------------------------------------------------------------------ */

static bool has_to_look(const struct replicator *r)
{
	if (!r->loaded || !TAILQ_EMPTY(&r->again) || !STAILQ_EMPTY(&r->settles) || atomic_load(&r->waiting))
		return true;
	for (const struct target *t = r->targets; t; t = t->next)
		if (!TAILQ_EMPTY(&t->parked) || !TAILQ_EMPTY(&t->ready) || !TAILQ_EMPTY(&t->behind) || t->flying)
			return true;
	return false;
}

static const struct timeval soon = { 0, REPLICATOR_TICK_US }, seldom = { REPLICATOR_SELDOM_S, 0 };

static void arm(struct replicator *r)
{
	bool looks = !r->closed && has_to_look(r);

	if (r->closed || (event_pending(r->tick, EV_TIMEOUT, NULL) && (!looks || !r->idle)))
		return;
	r->idle = !looks;
	event_add(r->tick, looks ? &soon : &seldom);
}

void replicator_go(struct replicator *r)
{
	targets_run(r);
	arm(r);
}

static void take_early(struct replicator *r)
{
	struct replicator_submission *s;

	while ((s = STAILQ_FIRST(&r->early))) {
		STAILQ_REMOVE_HEAD(&r->early, link);
		run_submission(&s->post);
	}
}

/* The log cannot be read for so long. */
static void refuse_early(struct replicator *r)
{
	struct replicator_submission *s, *next;
	int64_t now = clock_mono_us();

	for (s = STAILQ_FIRST(&r->early); s; s = next) {
		next = STAILQ_NEXT(s, link);
		if (s->wait->until_us > now)
			continue;
		STAILQ_REMOVE(&r->early, s, replicator_submission, link);
		if (s->op->spool.n)
			spool_drop(r->rep->spool, s->op->spool);
		hand_over(r, s->wait, answer_problem(503, "not-durable", "the log of replication cannot be read; nothing was done"));
		operation_unref(&s->op);
		free(s);
	}
}

static bool is_out_of_patience(const struct work *k)
{
	const struct replicator_wait *wait = STAILQ_FIRST(&k->waits);

	return wait && wait->until_us <= clock_mono_us();
}

/* Somebody waits for it: peers only for a while, clients until its turn cannot be expected any more. */
static void look_after(struct work *k)
{
	work_tell_peers(k, false);
	if (STAILQ_EMPTY(&k->waits)) {
		TAILQ_REMOVE(&k->r->waited_for, k, waiting);
		k->waited_for = false;
		return;
	}
	for (size_t i = 0; k->phase == WORK_ADMITTING && i < k->leg_count; i++) {
		struct leg *leg = &k->legs[i];

		if (leg->lane && !leg->busy && (leg_is_stuck(leg) || is_out_of_patience(k))) {
			admit_skip(leg);
			return;
		}
	}
}

/* Steps that could not be taken, turns that do not come, peers whose patience is over. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct replicator *r = arg;
	TAILQ_HEAD(, work) again = TAILQ_HEAD_INITIALIZER(again);
	struct work *k, *next;

	(void)fd;
	(void)what;
	if (!r->loaded) {
		if (!r->load_asked)
			log_load(r);
		refuse_early(r);
	} else {
		take_early(r);
	}
	TAILQ_CONCAT(&again, &r->again, again);
	while ((k = TAILQ_FIRST(&again))) {
		TAILQ_REMOVE(&again, k, again);
		k->is_again = false;
		admit_step(k);
	}
	settles_run(r);
	inners_leave_down(r->w);
	expire_run(r);
	kept_drop_old(r);
	for (k = TAILQ_FIRST(&r->waited_for); k; k = next) {
		next = TAILQ_NEXT(k, waiting);
		look_after(k);
	}
	replicator_go(r);
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

int replicator_start(struct replicator **r_r, struct replication *rep, struct worker *w)
{
	struct replicator *r = calloc(1, sizeof(*r));

	*r_r = NULL;
	if (!r)
		return ERR_NOMEM;
	r->rep = rep;
	r->w = w;
	r->isolated_us = clock_mono_us();
	pthread_mutex_init(&r->lock, NULL);
	STAILQ_INIT(&r->early);
	STAILQ_INIT(&r->settles);
	TAILQ_INIT(&r->again);
	TAILQ_INIT(&r->waited_for);
	r->tick = evtimer_new(w->loop.base, on_tick, r);
	r->own = target_of_site(r, rep->site);
	/* the log is read from its own loop; once the clock went, the loop has room for it */
	if (!r->tick || !r->own || event_add(r->tick, &soon)) {
		replicator_free(&r);
		return ERR_NOMEM;
	}
	*r_r = r;
	return 0;
}

void replicator_stop(struct replicator *r)
{
	struct work *k, *next;

	if (r->closed)
		return;
	r->closed = true;
	event_free(r->tick);
	r->tick = NULL;
	recents_free(r);
	take_early(r);
	settles_stop(r);
	HASH_ITER(hh, r->works, k, next) {
		work_tell_peers(k, true);
		if (!STAILQ_EMPTY(&k->waits))
			work_answer(k, answer_problem(504, "outcome-unknown", "the proxy stops; the operation is in its log"));
	}
}

void replicator_free(struct replicator **rp)
{
	struct replicator *r = *rp;
	struct work *k, *next;

	*rp = NULL;
	if (!r)
		return;
	HASH_ITER(hh, r->works, k, next)
		work_free(k);
	targets_free(r);
	expired_free(r);
	recents_free(r);
	if (r->tick)
		event_free(r->tick);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

size_t replicator_queued(struct replicator *r, struct span site)
{
	size_t queued = 0;

	pthread_mutex_lock(&r->lock);
	for (struct target *t = r->targets; t; t = t->next)
		if (span_eq(span_make(t->site, t->site_n), site))
			queued = atomic_load(&t->queued);
	pthread_mutex_unlock(&r->lock);
	return queued;
}
