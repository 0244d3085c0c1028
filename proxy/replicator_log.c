/* What is made durable, and read back.  A step is one batch of the store; its answer comes on the replicator's thread,
 * after which the leg goes on.  When the worker has ended, answers are for nobody. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "replication/seal.h"
#include "replication/store_view.h"

struct log_step {
	struct replicator *r;
	struct work *k;
	struct leg *leg;
	log_done *done;
};

static void on_logged(void *arg, int rc)
{
	struct log_step step = *(struct log_step *)arg;

	free(arg);
	if (step.r->closed)
		return;
	step.done(step.k, step.leg, rc);
	replicator_go(step.r);
}

static bool submit(struct work *k, struct leg *leg, struct store_batch *batch, log_done *done)
{
	struct log_step *step = calloc(1, sizeof(*step));
	int rc;

	if (!step) {
		store_batch_free(&batch);
		return false;
	}
	*step = (struct log_step){ k->r, k, leg, done };
	rc = store_submit(k->r->rep->store, &batch, k->r->w->answers, on_logged, step);
	if (rc)
		free(step);
	return !rc;
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static struct span site_of(const struct leg *leg)
{
	return span_make(leg->target->site, leg->target->site_n);
}

/* What is sealed: the fields, and content that is secret, behind an empty line. */
static void add_sealed_text(const struct operation *op, struct buf *out)
{
	buf_add_span(out, op->fields);
	if (!op->secret)
		return;
	buf_add_z(out, "\r\n");
	buf_add_span(out, op->body);
}

static void take_sealed_text(struct span text, struct span *fields_r, struct span *body_r)
{
	const char *line = memmem(text.p, text.n, "\r\n\r\n", 4);

	*fields_r = text;
	*body_r = span_make(NULL, 0);
	if (!line)
		return;
	*fields_r = span_head(text, (size_t)(line - text.p) + 2);
	*body_r = span_from(text, fields_r->n + 2);
}

static bool put_operation(struct store_batch *b, struct work *k)
{
	const struct operation *op = k->op;
	struct span path = operation_path(op);
	struct store_operation row = { .id = op->id, .key = op->key, .kind = op->kind, .clock = op->clock,
		.method = op->method, .path = path, .query = span_from(op->target, path.n),
		.body = op->secret ? SPAN("") : op->body,
		.spool = op->spool, .body_bytes = (int64_t)op->body_bytes, .created_ms = op->created_ms };
	struct buf plain, sealed;
	bool good;

	buf_init(&plain, NULL, 0);
	buf_init(&sealed, NULL, 0);
	add_sealed_text(op, &plain);
	good = !plain.failed && !seal_add(k->r->rep->seal, buf_span(&plain), span_of(k->text), &sealed) && !sealed.failed;
	seal_wipe(&plain);
	row.headers = buf_span(&sealed);
	if (good)
		store_put_operation(b, &row);
	buf_fini(&sealed);
	return good;
}

static void put_delivery(struct store_batch *b, const struct leg *leg, struct span site)
{
	const struct store_delivery d = { .op = leg->work->op->id, .target = site, .state = leg->state,
		.attempts = leg->attempts, .status = leg->status, .error = span_of(leg->error ? leg->error : ""),
		.expires_ms = leg->state == DELIVERY_QUEUED || leg->state == DELIVERY_HELD
		                  ? expires_ms(leg->work->r, site, leg->work->op->created_ms) : 0 };

	store_put_delivery(b, &d);
}

static void put_replica(struct store_batch *b, const struct work *k, struct span site, struct span local,
                        enum replica_state state, const char *reason)
{
	const struct store_replica row = { .key = k->op->key, .site = site, .local = local, .state = state,
		.reason = span_of(reason), .lacks = k->creates && !k->received && k->phase == WORK_COMMITTING };

	store_put_replica(b, &row);
}

static bool put_resource(struct store_batch *b, const struct work *k)
{
	struct store_resource row = { .key = k->op->key, .class = k->op->class, .created_ms = k->op->created_ms };
	struct buf sites;
	bool good;

	buf_init(&sites, NULL, 0);
	operation_add_sites(k->op, &sites);
	row.sites = buf_span(&sites);
	good = !sites.failed;
	store_put_resource(b, &row);
	buf_fini(&sites);
	return good;
}

static void put_intent(struct store_batch *b, const struct work *k, const struct leg *leg)
{
	struct store_intent row = { .op = k->op->id, .class = k->op->class, .at = site_of(leg), .stage = leg->state,
		.since_ms = k->op->created_ms };
	struct buf sites;

	buf_init(&sites, NULL, 0);
	operation_add_sites(k->op, &sites);
	row.sites = buf_span(&sites);
	store_put_intent(b, &row);
	buf_fini(&sites);
}

/* ---- steps -------------------------------------------------------------------------------------------------------- */

bool log_begin(struct work *k, struct leg *leg, log_done *done)
{
	struct store_batch *b = store_batch_new();

	if (!b || !put_operation(b, k)) {
		store_batch_free(&b);
		return false;
	}
	put_delivery(b, leg, site_of(leg));
	for (const struct late_op *o = k->later; o; o = o->next) {
		const struct store_delivery again = { .op = o->row.id, .target = k->r->rep->site, .state = DELIVERY_QUEUED };

		store_put_delivery(b, &again);
	}
	if (!k->received) {
		put_intent(b, k, leg);
		if (k->op->answer_key.n) {
			const struct store_answer row = kept_row(k);

			store_drop_answers(b, clock_wall_ms());
			if (k->answer_is_there)
				store_set_answer(b, &row);
			else
				store_add_answer(b, &row);
		}
	} else if (k->op->kind == OPERATION_CREATE) {
		if (!put_resource(b, k))
			goto nomem;
		for (size_t i = 0; i < k->op->site_count; i++)
			put_replica(b, k, k->op->sites[i], SPAN(""),
			            span_eq(k->op->sites[i], k->op->admitted) ? REPLICA_SYNCED : REPLICA_QUEUED, "");
	}
	return submit(k, leg, b, done);
nomem:
	store_batch_free(&b);
	return false;
}

bool log_sent(struct leg *leg, log_done *done)
{
	struct work *k = leg->work;
	struct store_batch *b = store_batch_new();

	if (!b)
		return false;
	for (size_t i = 0; i < k->leg_count; i++) /* those that were asked before have not executed it, or may have */
		if (&k->legs[i] != leg && k->legs[i].durable && k->phase == WORK_ADMITTING)
			put_delivery(b, &k->legs[i], k->op->sites[i]);
	put_delivery(b, leg, site_of(leg));
	if (k->phase == WORK_ADMITTING || (!k->received && !k->answered)) /* of one that is not admitted */
		put_intent(b, k, leg);
	if (leg->state == DELIVERY_IN_DOUBT && k->op->kind == OPERATION_CREATE && !k->received) {
		if (!put_resource(b, k)) {
			store_batch_free(&b);
			return false;
		}
		put_replica(b, k, site_of(leg), SPAN(""), REPLICA_IN_DOUBT, "outcome-unknown");
	}
	return submit(k, leg, b, done);
}

/* What was said of the leg, where that is a reason. */
static const char *reason_of(const struct leg *leg)
{
	static const char *const reasons[] = { REPLICATOR_OCCUPIED, REPLICA_BUILDING, REPLICATOR_NOT_READY, REPLICATOR_BROKEN,
		REPLICATOR_EXPIRED };

	for (size_t i = 0; leg->error && i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (!strcmp(leg->error, reasons[i]))
			return reasons[i];
	return NULL;
}

/* Where the resource stands at a site, now that this leg is as it is. */
static void put_standing(struct store_batch *b, const struct leg *leg, struct span site, struct span local)
{
	static const struct { enum replica_state state; const char *reason; } standing[DELIVERY_STATES_] = {
		[DELIVERY_QUEUED] = { REPLICA_QUEUED, "" },
		[DELIVERY_SENT] = { REPLICA_QUEUED, "" },
		[DELIVERY_DONE] = { REPLICA_SYNCED, "" },
		[DELIVERY_FAILED] = { REPLICA_FAILED, "refused" },
		[DELIVERY_HELD] = { REPLICA_HELD, "credentials" },
		[DELIVERY_IN_DOUBT] = { REPLICA_IN_DOUBT, "outcome-unknown" },
		[DELIVERY_UNDOING] = { REPLICA_UNDOING, "" },
		[DELIVERY_DROPPED] = { REPLICA_FAILED, "dropped" },
	};
	const struct work *k = leg->work;
	/* while others of its lane wait, it is not there yet */
	const struct leg *next = leg->state == DELIVERY_DONE && leg->lane ? TAILQ_NEXT(leg, in_lane) : NULL;
	bool more = next && next->work->phase == WORK_DELIVERING && !next->work->received;
	const char *said = reason_of(leg);

	put_replica(b, k, site, local, more ? REPLICA_QUEUED : standing[leg->state].state,
	            more ? REPLICA_WRITES_WAIT : said ? said : standing[leg->state].reason);
}

/* A deleted resource has no standing any more; a weak one that was tried in vain no replica. */
static void put_after(struct store_batch *b, const struct leg *leg, struct span site, struct span local)
{
	const struct work *k = leg->work;
	const struct operation *op = k->op;

	if (op->kind == OPERATION_DELETE) { /* until it is executed here, others are asked, who know that it is gone */
		if (leg->state == DELIVERY_QUEUED && leg->target && leg->target->own)
			put_standing(b, leg, site, local);
		return;
	}
	if (leg->state == DELIVERY_DROPPED && op->class == CLASS_WEAK && op->kind == OPERATION_CREATE)
		store_drop_replica(b, &op->key, site);
	else
		put_standing(b, leg, site, local);
}

/* An operator's word: what was in doubt is not any more, whatever the replica was called. */
static void put_settled(struct store_batch *b, const struct leg *leg, struct span site)
{
	if (leg->settle && leg->work->op->kind != OPERATION_DELETE)
		put_replica(b, leg->work, site, SPAN(""), REPLICA_QUEUED, "settled"); /* STORE_STAYS: with a reason it lifts */
}

/* This site's application has yet to execute it. */
static bool own_waits(struct work *k)
{
	const struct leg *own = work_own_leg(k);

	return own && own->state == DELIVERY_QUEUED;
}

/* A rule that the answer stands for, where there is none. */
static void put_learned(struct store_batch *b, struct work *k)
{
	const struct conf_service *svc = replicator_service(k->r, k->op->key.service);
	struct store_rule row;

	if (svc && k->answer && k->shown.id.n && replication_learn(k->r->rep, svc, &k->shown, &k->answer->arena, &row))
		store_put_rule(b, &row);
}

bool log_admitted(struct work *k, log_done *done)
{
	struct store_batch *b = store_batch_new();
	const struct operation *op = k->op;
	bool good = b != NULL;

	if (good && k->creates) {
		store_drop_operation(b, &op->id);
		good = put_operation(b, k) && put_resource(b, k);
	} else if (good) {
		store_drop_intent(b, &op->id);
	}
	if (good && k->creates && !k->followed)
		put_learned(b, k);
	for (size_t i = 0; good && i < k->leg_count; i++) {
		struct leg *leg = &k->legs[i];
		bool own = span_eq(op->sites[i], k->r->rep->site);

		if (k->followed && !own) { /* the peer's to deliver */
			if (leg->durable)
				put_delivery(b, leg, op->sites[i]);
			put_replica(b, k, op->sites[i], SPAN(""), REPLICA_SYNCED, "");
			continue;
		}
		if (!own && leg->state == DELIVERY_QUEUED && work_has_expired(k, op->sites[i])) {
			leg->state = DELIVERY_DROPPED;
			free(leg->error);
			leg->error = strdup(REPLICATOR_EXPIRED);
		}
		put_delivery(b, leg, op->sites[i]);
		put_settled(b, leg, op->sites[i]);
		put_after(b, leg, op->sites[i], own && k->creates ? k->shown.id : SPAN(""));
	}
	if (good && op->kind == OPERATION_DELETE && !own_waits(k))
		store_set_deleted(b, &op->key, op->clock);
	if (good && op->answer_key.n && k->answer && !k->answer->problem)
		good = kept_put(b, k);
	if (!good) {
		store_batch_free(&b);
		return false;
	}
	return submit(k, NULL, b, done);
}

bool log_forget(struct work *k, log_done *done)
{
	struct store_batch *b = store_batch_new();

	if (!b)
		return false;
	store_drop_operation(b, &k->op->id);
	if (k->undecided && k->op->kind == OPERATION_CREATE) /* what was shown in doubt */
		store_drop_resource(b, &k->op->key);
	if (k->op->answer_key.n) { /* the same request may be made anew */
		struct store_answer row = kept_row(k);

		row.expires_ms = 1;
		store_set_answer(b, &row);
		store_drop_answers(b, clock_wall_ms());
	}
	return submit(k, NULL, b, done);
}

/* Without what is a client's secret; false: there is nothing of it. */
static bool add_bare_fields(const struct work *k, struct buf *out)
{
	struct span lines = k->op->fields, line;
	bool any = false;

	while (lines.n && span_split(&lines, '\n', &line)) {
		if (conf_is_secret(k->r->w->view->conf, span_head(line, span_find(line, ':')))) {
			any = true;
		} else if (line.n) {
			buf_add_span(out, line);
			buf_add_char(out, '\n');
		}
	}
	if (k->op->secret) {
		buf_add_z(out, "\r\n");
		buf_add_span(out, k->op->body);
	}
	return any;
}

/* Whether something that comes late may have it executed once more. */
static bool may_be_again(const struct operation *op)
{
	return !op->secret && (op->kind == OPERATION_UPDATE || op->kind == OPERATION_REPLACE ||
	                       (op->kind == OPERATION_CREATE && op->named));
}

/* Every site has it: its credentials are forgotten but for a while in memory, since something may come late
 * (replicator_recent.c).  What is not in memory is not read for this: then it goes without any field. */
static void put_forgotten(struct store_batch *b, struct work *k)
{
	struct buf bare, sealed;

	for (size_t i = 0; i < k->leg_count; i++)
		if (k->legs[i].state != DELIVERY_DONE && k->legs[i].state != DELIVERY_DROPPED &&
		    (!k->received || k->legs[i].target))
			return;
	buf_init(&bare, NULL, 0);
	buf_init(&sealed, NULL, 0);
	if (!k->op->fields.n && !k->op->secret)
		store_set_headers(b, &k->op->id, SPAN(""));
	else if (add_bare_fields(k, &bare) &&
	         !seal_add(k->r->rep->seal, buf_span(&bare), span_of(k->text), &sealed) && !bare.failed && !sealed.failed) {
		store_set_headers(b, &k->op->id, buf_span(&sealed));
		if (may_be_again(k->op))
			recent_keep(k);
	}
	seal_wipe(&bare);
	buf_fini(&sealed);
}

/* What was never admitted is given up: who else was asked to admit it is not to get it. */
static void put_end(struct store_batch *b, const struct leg *leg)
{
	struct work *k = leg->work;

	store_drop_intent(b, &k->op->id);
	for (size_t i = 0; i < k->leg_count; i++)
		if (&k->legs[i] != leg && k->legs[i].durable) {
			k->legs[i].state = DELIVERY_DROPPED;
			put_delivery(b, &k->legs[i], k->op->sites[i]);
		}
}

bool log_leg(struct leg *leg, struct span local, log_done *done)
{
	struct work *k = leg->work;
	struct store_batch *b = store_batch_new();

	if (!b)
		return false;
	put_delivery(b, leg, site_of(leg));
	put_settled(b, leg, site_of(leg));
	put_after(b, leg, site_of(leg), local);
	put_forgotten(b, k);
	if (k->undecided)
		put_end(b, leg);
	if (k->op->kind == OPERATION_DELETE && leg->target->own && leg->state == DELIVERY_DONE)
		store_set_deleted(b, &k->op->key, k->op->clock);
	return submit(k, leg, b, done);
}

/* The outermost resource's replica, which may be none of those the operations are of. */
static void put_root_expired(struct store_batch *b, struct work *k, struct span site)
{
	struct store_replica row = { .site = site, .local = SPAN(""), .state = REPLICA_FAILED,
		.reason = SPAN(REPLICATOR_EXPIRED), .key = { .service = k->op->key.service } };
	struct buf root;
	struct span text;

	buf_init(&root, NULL, 0);
	work_add_root(k, &root);
	text = buf_span(&root);
	row.key.collection = span_head(text, span_find(text, '\0'));
	row.key.meta = span_from(text, row.key.collection.n + 1);
	if (!root.failed)
		store_put_replica(b, &row);
	buf_fini(&root);
}

bool log_expired(struct replicator *r, struct leg **legs, size_t count, store_done *done, void *arg)
{
	struct store_batch *b = store_batch_new();

	if (!b)
		return false;
	for (size_t i = 0; i < count; i++) {
		put_delivery(b, legs[i], site_of(legs[i]));
		put_after(b, legs[i], site_of(legs[i]), SPAN(""));
	}
	put_root_expired(b, legs[0]->work, site_of(legs[0]));
	return !store_submit(r->rep->store, &b, r->w->answers, done, arg);
}

/* ---- content ------------------------------------------------------------------------------------------------------ */

struct content {
	struct log_step step;
	struct op_id id;
	struct arena arena;
	struct store_operation row;
};

static int read_content(struct store_reader *reader, void *arg)
{
	struct content *c = arg;

	return store_read_operation(reader, &c->id, &c->arena, &c->row);
}

/* The row's content into the work's operation, which so far says only what it is. */
static int take_content(struct work *k, const struct store_operation *row)
{
	struct operation *op = k->op;
	struct span fields, body;
	struct buf text;
	int rc;

	buf_init(&text, NULL, 0);
	rc = row->headers.n ? seal_remove(k->r->rep->seal, row->headers, span_of(k->text), &text) : 0;
	if (!row->headers.n) /* forgotten, with the credentials in them */
		buf_addf(&text, "Host: %.*s\r\n", SPAN_ARG(op->key.service));
	take_sealed_text(buf_span(&text), &fields, &body);
	if (recent_fields(k).n)
		fields = recent_fields(k);
	op->secret = body.p != NULL;
	if (!rc && (!operation_keep(op, &op->fields, fields) || !operation_keep(op, &op->body, op->secret ? body : row->body) ||
	            !operation_keep(op, &op->spool, row->spool)))
		rc = ERR_NOMEM;
	if (!rc)
		k->r->content += op->fields.n + op->body.n;
	seal_wipe(&text);
	op->body_bytes = (uint64_t)row->body_bytes;
	return rc;
}

static void on_content(void *arg, int rc)
{
	struct content *c = arg;
	struct log_step step = c->step;

	if (!step.r->closed) {
		step.k->loading--;
		if (!rc && !step.k->op->fields.n)
			rc = take_content(step.k, &c->row);
		step.done(step.k, step.leg, rc);
		replicator_go(step.r);
	}
	arena_fini(&c->arena);
	free(c);
}

bool log_load_content(struct leg *leg, log_done *done)
{
	struct work *k = leg->work;
	struct content *c = calloc(1, sizeof(*c));

	if (!c)
		return false;
	c->step = (struct log_step){ k->r, k, leg, done };
	c->id = k->op->id;
	arena_init(&c->arena, NULL, 0, 4u << 20);
	if (store_submit_read(k->r->rep->store, read_content, k->r->w->answers, on_content, c)) {
		arena_fini(&c->arena);
		free(c);
		return false;
	}
	k->loading++;
	return true;
}

/* ---- what is known of one that comes once more --------------------------------------------------------------------- */

struct known {
	struct log_step step;
	struct span site;
	struct op_id id;
	struct arena arena;
	struct store_delivery d;
	bool found;
	struct store_answer answer;
	struct span key, fingerprint;
};

static int take_delivery(void *arg, const struct store_delivery *d)
{
	struct known *n = arg;

	if (!span_eq(d->target, n->site))
		return 0;
	n->d = *d;
	n->found = true;
	n->d.error = arena_dup(&n->arena, d->error);
	return n->d.error.p ? 0 : ERR_NOMEM;
}

static int read_known(struct store_reader *reader, void *arg)
{
	struct known *n = arg;

	int rc;

	if (n->key.n)
		return store_read_answer(reader, n->key, &n->arena, &n->answer);
	rc = store_view_deliveries(reader, &n->id, take_delivery, n);
	return rc || n->found ? rc : ERR_NOT_FOUND;
}

static void set_error(struct leg *leg, struct span error)
{
	free(leg->error);
	leg->error = error.n ? strndup(error.p, error.n) : NULL;
}

static void on_known(void *arg, int rc)
{
	struct known *n = arg;
	struct log_step step = n->step;
	struct leg *own;

	if (!step.r->closed) {
		own = work_own_leg(step.k);
		step.k->loading--;
		if (!rc && n->key.n) {
			rc = kept_take(step.k, &n->answer, n->fingerprint);
		} else if (!rc && own) {
			own->state = n->d.state;
			own->status = n->d.status;
			set_error(own, n->d.error);
		}
		step.done(step.k, step.leg, rc);
		replicator_go(step.r);
	}
	arena_fini(&n->arena);
	free(n);
}

static bool ask(struct work *k, struct span key, struct span fingerprint, log_done *done)
{
	struct known *n = calloc(1, sizeof(*n));

	if (!n)
		return false;
	n->step = (struct log_step){ k->r, k, NULL, done };
	n->site = k->r->rep->site;
	n->id = k->op->id;
	arena_init(&n->arena, NULL, 0, 4u << 20);
	n->key = arena_dup(&n->arena, key);
	n->fingerprint = arena_dup(&n->arena, fingerprint);
	if (!n->key.p || !n->fingerprint.p || store_submit_read(k->r->rep->store, read_known, k->r->w->answers, on_known, n)) {
		arena_fini(&n->arena);
		free(n);
		return false;
	}
	k->loading++;
	return true;
}

bool log_ask(struct work *k, log_done *done)
{
	return ask(k, SPAN(""), SPAN(""), done);
}

bool log_find_answer(struct work *k, const struct operation *op, log_done *done)
{
	return ask(k, op->answer_key, op->fingerprint, done);
}
