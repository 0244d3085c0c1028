/* A batch is a list of changes in the order they were added; a change is a statement of store_sql.c with its values, and
 * what it does to the names in memory.  All of it is the batch's arena's. */
#include "replication/store_int.h"

#include <stdlib.h>

static void retire(struct store_job *job)
{
	struct store_batch *b = (struct store_batch *)job; /* its first member */

	store_batch_free(&b);
}

struct store_batch *store_batch_new(void)
{
	struct store_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	arena_init(&b->arena, NULL, 0, 2 * STORE_BATCH_BYTES);
	b->last = &b->first;
	b->job.retire = retire;
	return b;
}

void store_batch_free(struct store_batch **batchp)
{
	struct store_batch *b = *batchp;

	*batchp = NULL;
	if (!b)
		return;
	arena_fini(&b->arena);
	free(b);
}

int store_submit(struct store *s, struct store_batch **batchp, struct store_inbox *inbox, store_done *done, void *arg)
{
	struct store_batch *b = *batchp;
	int rc;

	*batchp = NULL;
	if (!b)
		return ERR_NOMEM;
	b->job.inbox = inbox;
	b->job.done = done;
	b->job.arg = arg;
	b->job.bytes = sizeof(*b) + b->bytes;
	rc = b->rc ? b->rc : lane_put(&s->writer, &b->job);
	if (rc)
		store_batch_free(&b);
	return rc;
}

/* ---- changes ------------------------------------------------------------------------------------------------------ */

static struct value whole(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

static struct value text(struct span s)
{
	return (struct value){ .type = VALUE_TEXT, .s = s };
}

/* Empty: none. */
static struct value text_or_null(struct span s)
{
	return (struct value){ .type = s.n ? VALUE_TEXT : VALUE_NULL, .s = s };
}

static struct value blob(struct span s)
{
	return (struct value){ .type = VALUE_BLOB, .s = s };
}

static struct value blob_or_null(struct span s)
{
	return (struct value){ .type = s.n ? VALUE_BLOB : VALUE_NULL, .s = s };
}

static bool copy(struct store_batch *b, struct change *c)
{
	for (int i = 0; i < c->count; i++) {
		struct value *v = &c->values[i];

		if (v->type != VALUE_TEXT && v->type != VALUE_BLOB)
			continue;
		b->bytes += v->s.n;
		if (b->bytes > STORE_BATCH_BYTES)
			return b->rc = ERR_LIMIT, false;
		v->s = arena_dup(&b->arena, v->s);
		if (!v->s.p)
			return b->rc = ERR_NOMEM, false;
	}
	return true;
}

static struct change *add(struct store_batch *b, enum change_kind kind, const struct value *values, size_t count)
{
	size_t bytes = sizeof(struct change) + count * sizeof(*values);
	struct change *c = b && !b->rc ? arena_zalloc(&b->arena, bytes) : NULL;

	if (!c) {
		if (b && !b->rc)
			b->rc = b->arena.nomem ? ERR_NOMEM : ERR_LIMIT;
		return NULL;
	}
	c->kind = kind;
	c->count = (int)count;
	memcpy(c->values, values, count * sizeof(*values));
	b->bytes += bytes;
	if (!copy(b, c))
		return NULL;
	*b->last = c;
	b->last = &c->next;
	return c;
}

#define ADD(b, kind, ...) \
	add(b, kind, (struct value[]){ __VA_ARGS__ }, sizeof((struct value[]){ __VA_ARGS__ }) / sizeof(struct value))
#define KEY(k) text((k)->service), text((k)->collection), text((k)->meta)
#define OP(id) text(span_of((id)->site)), whole((int64_t)(id)->incarnation), whole((int64_t)(id)->number)

static void affects(struct change *c, enum names_effect effect)
{
	if (c)
		c->effect = effect;
}

void store_put_resource(struct store_batch *b, const struct store_resource *r)
{
	affects(ADD(b, CHANGE_PUT_RESOURCE, KEY(&r->key), whole((int64_t)r->class), text(r->sites),
	            blob_or_null(r->vector), whole(r->created_ms), whole((int64_t)r->deleted)), NAMES_RESOURCE);
}

void store_set_vector(struct store_batch *b, const struct store_key_of *key, struct span vector)
{
	ADD(b, CHANGE_SET_VECTOR, KEY(key), blob_or_null(vector));
}

void store_set_deleted(struct store_batch *b, const struct store_key_of *key, uint64_t deleted)
{
	affects(ADD(b, CHANGE_SET_DELETED, KEY(key), whole((int64_t)deleted)), NAMES_DELETED);
}

void store_drop_resource(struct store_batch *b, const struct store_key_of *key)
{
	ADD(b, CHANGE_DROP_REPLICAS, KEY(key));
	affects(ADD(b, CHANGE_DROP_RESOURCE, KEY(key)), NAMES_DROP);
}

static void of_site(struct change *c, enum names_effect effect)
{
	affects(c, effect);
	if (c)
		c->of_site = true;
}

void store_put_replica(struct store_batch *b, const struct store_replica *r)
{
	struct change *c = ADD(b, CHANGE_PUT_REPLICA, KEY(&r->key), text(r->site), text(r->local), whole((int64_t)r->state),
	                       text(r->reason));

	of_site(c, NAMES_REPLICA);
	if (c)
		c->lacks = r->lacks;
}

void store_drop_replica(struct store_batch *b, const struct store_key_of *key, struct span site)
{
	of_site(ADD(b, CHANGE_DROP_REPLICA, KEY(key), text(site)), NAMES_NO_REPLICA);
}

void store_put_operation(struct store_batch *b, const struct store_operation *op)
{
	if (ADD(b, CHANGE_PUT_OPERATION, OP(&op->id), KEY(&op->key), whole((int64_t)op->kind),
	        whole((int64_t)op->clock), text(op->method), text(op->path), text_or_null(op->query),
	        blob_or_null(op->headers), blob_or_null(op->body), text_or_null(op->spool), whole(op->body_bytes),
	        blob_or_null(op->vector), blob_or_null(op->refs), text_or_null(op->parent),
	        text_or_null(op->principal), whole(op->created_ms)) && op->clock > b->clock)
		b->clock = op->clock;
}

void store_drop_operation(struct store_batch *b, const struct op_id *id)
{
	ADD(b, CHANGE_DROP_DELIVERIES, OP(id));
	ADD(b, CHANGE_DROP_INTENT, OP(id));
	ADD(b, CHANGE_DROP_OPERATION, OP(id));
}

void store_set_headers(struct store_batch *b, const struct op_id *id, struct span sealed)
{
	ADD(b, CHANGE_SET_HEADERS, OP(id), blob_or_null(sealed));
}

void store_forget_spool(struct store_batch *b, const struct op_id *id)
{
	ADD(b, CHANGE_FORGET_SPOOL, OP(id));
}

void store_put_delivery(struct store_batch *b, const struct store_delivery *d)
{
	ADD(b, CHANGE_PUT_DELIVERY, OP(&d->op), text(d->target), whole((int64_t)d->state), whole(d->attempts),
	    whole(d->status), whole(d->next_ms), whole(d->expires_ms), text_or_null(d->error));
}

void store_put_intent(struct store_batch *b, const struct store_intent *i)
{
	ADD(b, CHANGE_PUT_INTENT, OP(&i->op), whole((int64_t)i->class), text(i->sites), text_or_null(i->at),
	    whole((int64_t)i->stage), whole(i->since_ms));
}

void store_drop_intent(struct store_batch *b, const struct op_id *id)
{
	ADD(b, CHANGE_DROP_INTENT, OP(id));
}

void store_put_frontier(struct store_batch *b, const struct store_frontier *f)
{
	ADD(b, CHANGE_PUT_FRONTIER, text(f->holder), text(f->origin), whole((int64_t)f->incarnation),
	    whole((int64_t)f->number), blob_or_null(f->beyond));
}

static void put_answer(struct store_batch *b, enum change_kind kind, const struct store_answer *a)
{
	ADD(b, kind, blob(a->key), blob(a->fingerprint), OP(&a->op), whole(a->status), blob_or_null(a->headers),
	    blob_or_null(a->body), whole(a->expires_ms));
}

void store_add_answer(struct store_batch *b, const struct store_answer *a)
{
	put_answer(b, CHANGE_ADD_ANSWER, a);
}

void store_set_answer(struct store_batch *b, const struct store_answer *a)
{
	put_answer(b, CHANGE_SET_ANSWER, a);
}

void store_drop_answers(struct store_batch *b, int64_t expired_before_ms)
{
	ADD(b, CHANGE_DROP_ANSWERS, whole(expired_before_ms));
}

void store_put_rule(struct store_batch *b, const struct store_rule *r)
{
	ADD(b, CHANGE_PUT_RULE, text(r->service), text(r->collection), text(r->rule), whole(r->pinned));
}

void store_pin_rule(struct store_batch *b, struct span service, struct span collection, bool pinned)
{
	ADD(b, CHANGE_PIN_RULE, text(service), text(collection), whole(pinned));
}

void store_drop_rule(struct store_batch *b, struct span service, struct span collection)
{
	ADD(b, CHANGE_DROP_RULE, text(service), text(collection));
}
