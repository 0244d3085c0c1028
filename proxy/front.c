/* Which requests are replicated writes, and the state of the exchange that waits for one.
 *
 * What holds:
 *  1. Before replicator_submit nothing is done: whatever goes wrong until then is answered as such, and no file stays.
 *  2. After it no answer of ours says what was or was not executed but by the replicator's word.
 *  3. x->front->x is x, or NULL once the exchange is over; the callbacks of the replicator and of the spool look. */
#include "proxy/listing.h"

#include <stdlib.h>

#include "base/clock.h"

int front_refuse(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	exchange_problem(x, &p);
	return ERR_DENIED;
}

int front_no_memory(struct exchange *x)
{
	front_refuse(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	return ERR_NOMEM;
}

bool front_is_name(struct span id)
{
	for (size_t i = 0; i < id.n; i++)
		if ((unsigned char)id.p[i] < ' ' || id.p[i] == 0x7f)
			return false;
	return id.n && id.n <= NAME_MOST;
}

struct rules *front_rules(struct exchange *x)
{
	struct rules *rules = replication_rules(front_replication(x), x->svc);

	if (!rules)
		front_no_memory(x);
	return rules;
}

/* ---- life ---- */

int front_new(struct exchange *x, enum replicator_task task)
{
	struct front *f = calloc(1, sizeof(*f));

	if (f && !(f->op = operation_new())) {
		free(f);
		f = NULL;
	}
	if (!f)
		return front_no_memory(x);
	f->x = x;
	f->rep = front_replication(x);
	f->task = task;
	buf_init(&f->text, NULL, 0);
	x->front = f;
	x->site = x->view->reg->local;
	return 0;
}

static void front_free(struct front *f)
{
	front_body_fini(f);
	operation_unref(&f->op);
	rules_unref(&f->rules);
	replicator_answer_free(&f->wait.answer);
	free(f);
}

void front_leave(struct exchange *x)
{
	struct front *f = x->front;

	x->front = NULL;
	f->x = NULL;
	front_body_fini(f);
	if (!f->submitted || f->answered)
		front_free(f);
}

bool front_is_submitted(const struct exchange *x)
{
	return x->front && x->front->submitted;
}

/* ---- which ---- */

bool front_is_write(const struct exchange *x)
{
	return front_replication(x) && x->req.method_kind != HTTP_METHOD_SAFE;
}

int front_note_plan(struct exchange *x, const struct scope_plan *plan, bool others)
{
	if (!front_replication(x) || !front_plan_replicates(plan))
		return 0;
	x->replicated = arena_zalloc(&x->arena, sizeof(*x->replicated));
	if (!x->replicated)
		return front_no_memory(x);
	x->replicated->others = others;
	if (front_plan_replicates(front_choose(x, plan)))
		x->replicated->plan = plan;
	return 0;
}

/* A write to a collection that holds replicas, other than a create in it: it would change replicas here alone. 0, or
 * answered. */
static int judge_bulk(struct exchange *x)
{
	const struct span method = x->req.method;
	struct span path = front_path(x);
	struct rule_match m;
	struct rules *rules;
	bool allowed;

	if (!x->rw || !x->rw->target.listed ||
	    !(span_eq(method, SPAN("PUT")) || span_eq(method, SPAN("PATCH")) || span_eq(method, SPAN("DELETE"))))
		return 0;
	rules = front_rules(x);
	if (!rules)
		return ERR_NOMEM;
	if (path.n > 1 && path.p[path.n - 1] == '/')
		path.n--;
	allowed = rules_match(rules, path, &m) && !m.id.n && m.rule->bulk == RULE_BULK_ALLOW;
	rules_unref(&rules);
	if (allowed)
		return 0;
	return front_refuse(x, 409, "bulk", "this collection holds replicated resources, which a write to all of it would change "
	                                    "at this site alone; resources.bulk: allow lets it through");
}

/* Sites, class and key are the replica's; its kind shows with its content. */
static int coordinate(struct exchange *x, const struct name *name)
{
	struct front *f;
	struct operation *op;

	if (front_new(x, REPLICATOR_ADMIT))
		return ERR_NOMEM;
	f = x->front;
	op = f->op;
	f->known = true;
	op->class = name->class;
	op->created_ms = clock_wall_ms();
	replication_new_operation(f->rep, &op->id, &op->clock);
	x->op = OP_REPLICATE;
	return operation_set_sites(op, name->sites) && operation_keep(op, &op->key.service, x->svc->name) &&
	               operation_keep(op, &op->key.collection, name->collection) &&
	               operation_keep(op, &op->key.meta, span_make(name->meta, name->meta_n))
	           ? 0
	           : front_no_memory(x);
}

/* What lacks a write that others have, or may, is read elsewhere; its next writes can be taken all the same. */
static bool is_writable_here(const struct name *name)
{
	return name->here && name->local_n && (name->state != REPLICA_QUEUED || name_is_building(name));
}

static int write_known(struct exchange *x)
{
	const struct name *name = x->rw->target.name;
	struct front_set set;

	if (x->req.upgrade || http_find_name(&x->req, SPAN("Content-Range")))
		return front_refuse(x, 501, "not-implemented", FRONT_NOT_REPLICATED);
	if (x->replicated && x->replicated->plan) {
		front_set_of(x, x->replicated->plan, &set);
		if (set.klass == SCOPE_QUORUM || set.klass == SCOPE_STRONG)
			return front_refuse(x, 501, "not-implemented", FRONT_NO_SUCH_CLASS);
	}
	return is_writable_here(name) ? coordinate(x, name) : 0; /* else rewrite_route finds the site that does */
}

static const struct http_field *peer_field(const struct exchange *x, enum http_field_id id)
{
	return x->from_mesh ? http_find(&x->req, id) : NULL;
}

int front_route(struct exchange *x)
{
	const struct http_field *operation = peer_field(x, HTTP_X_SCOPEMESH_OPERATION),
	                        *set = peer_field(x, HTTP_X_SCOPEMESH_REPLICATE);
	const struct http_field *list = x->from_mesh ? http_find_name(&x->req, SPAN("X-Scopemesh-List")) : NULL;
	enum rewrite_seen seen = x->rw ? x->rw->target.seen : REWRITE_NOTHING;
	bool safe = x->req.method_kind == HTTP_METHOD_SAFE;

	if (!front_replication(x))
		return operation || set ? front_refuse(x, 501, "not-implemented", "this site takes no part in replication") : 0;
	if (operation)
		return front_take_operation(x, operation->value);
	if (seen != REWRITE_NOTHING && seen != REWRITE_KNOWN)
		return 0; /* rewrite_route answers, or knows who does */
	if (!safe && judge_bulk(x))
		return ERR_DENIED;
	if (seen == REWRITE_KNOWN)
		return safe ? 0 : write_known(x);
	if (list && safe)
		return listing_begin_for_peer(x, list->value);
	if (set && !safe)
		return front_create_for_peer(x, set->value);
	return x->replicated && x->replicated->plan ? front_create(x) : 0;
}

/* ---- the state ---- */

static void on_answered(struct replicator_wait *wait)
{
	struct front *f = container_of(wait, struct front, wait);

	f->answered = true;
	if (!f->x)
		front_free(f);
	else if (f->x->state == X_REPLICATE)
		exchange_run(f->x);
}

static enum exchange_step submit(struct exchange *x)
{
	struct front *f = x->front;

	f->wait.w = x->w;
	f->wait.answered = on_answered;
	f->submitted = replicator_submit(f->rep->replicator, f->op, f->task, &f->wait);
	if (!f->submitted) {
		front_refuse(x, 503, "queue-full", "this site has too much to replicate; nothing was executed");
		return STEP_NEXT;
	}
	if (f->file)
		spool_keep(&f->file);
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	return STEP_WAIT;
}

static bool begin(struct exchange *x)
{
	struct front *f = x->front;

	if (f->begun)
		return true;
	if (front_write_head(x)) {
		front_no_memory(x);
		return false;
	}
	f->begun = true;
	return true;
}

enum exchange_step exchange_step_replicate(struct exchange *x)
{
	struct front *f = x->front;
	enum exchange_step step;

	if (f->answered) {
		front_answer(x);
		return STEP_NEXT;
	}
	if (f->submitted)
		return STEP_WAIT;
	if (!begin(x))
		return STEP_NEXT;
	if (!f->whole) {
		step = front_take_content(x);
		if (!f->whole || x->state != X_REPLICATE)
			return step;
	}
	if (front_judge_content(x))
		return STEP_NEXT;
	if (!operation_is_sendable(f->op)) {
		front_refuse(x, 400, "bad-request", "the name of the resource is no UTF-8");
		return STEP_NEXT;
	}
	return submit(x);
}

/* ---- fields ---- */

void front_add_forward_field(const struct exchange *x, struct buf *out)
{
	if (!x->replicated->forward.n)
		return;
	buf_add_z(out, "X-Scopemesh-Replicate: ");
	buf_add_span(out, x->replicated->forward);
	buf_add_z(out, "\r\n");
}

void front_add_partial_field(struct exchange *x, struct buf *out)
{
	const char *before = "X-Scope-Partial: ";

	for (size_t i = 0; i < x->replicated->set_count; i++) {
		if (x->replicated->set[i] == x->site)
			continue;
		buf_add_z(out, before);
		heads_add_token(out, x->view->reg->sites[x->replicated->set[i]].name);
		buf_add_z(out, "=not-asked");
		before = ", ";
	}
	if (*before == ',')
		buf_add_z(out, "\r\n");
}
