/* An update that comes late (replication.md 4.3): others with a later position, (clock, id), were executed here before it.
 * It is executed, and then they are once more, in their order, so that every replica ends with what the last one wrote.
 *
 * What waits in the lane is put behind it.  When its turn comes nothing of the resource runs here, so the store tells what
 * was executed: that is queued anew, durably together with the late one.  A delete stands (is_premature), an append is executed
 * once, whenever it comes.  Spooled content is forgotten when every site has it.  What wrote it cannot be executed again, so
 * nothing that is earlier than it is executed again at its path; a late PUT of just what a forgotten PUT wrote is covered
 * by it, and passed over.
 *
 * A JSON Patch of other members than those that are executed after it was not disturbed, and is not executed again: its
 * application may refuse to remove twice what is not there any more (RFC 6902 4.2). */
#include "proxy/replicator_int.h"

#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "replication/rules.h"
#include "replication/store_view.h"

/* That are compared with each other; with more, all are executed again.  The comparison is on the store's only reader thread:
 * some 20 ms for 32 KiB of patches that name as much as can be. */
#define PATCHES_MOST 64
#define PATCHES_BYTES (256u << 10)

struct forgotten {
	struct forgotten *next;
	struct span path;
};

struct late {
	struct work *k;
	struct replicator *r;
	struct op_id id;
	uint64_t clock;
	struct store_key_of key;
	struct span site;
	struct span method, path, query, body; /* the late one's */
	struct arena arena;
	struct late_op *first;    /* in the order of their positions: they are found newest first */
	struct store_reader *reader;
	struct span again[PATCHES_MOST]; /* patches that are executed after the late one, and its own */
	size_t again_count, compared; /* compared: bytes */
	bool executed, open;      /* what is being looked at: here; not yet everywhere */
	struct forgotten *forgotten; /* what cannot be executed again: later than what is being looked at */
	bool covered;             /* by one of these */
};

bool operation_is_later(uint64_t clock, const struct op_id *id, uint64_t than_clock, const struct op_id *than)
{
	return clock != than_clock ? clock > than_clock : op_id_compare(id, than) > 0;
}

static bool overwrites(enum operation_kind kind)
{
	return kind == OPERATION_UPDATE || kind == OPERATION_REPLACE;
}

/* A create under the client's name overwrites what has that name. */
static bool is_named(const struct store_operation *row)
{
	return row->kind == OPERATION_CREATE && span_eq(row->method, SPAN("PUT"));
}

/* Its content was spooled, and is gone, or about to be since every site has it (work_drop_spool). */
static bool is_forgotten(const struct late *l, const struct store_operation *row)
{
	return row->body_bytes > OPERATION_BODY && (!row->spool.n || !l->open);
}

static bool is_behind_forgotten(const struct late *l, struct span path)
{
	const struct forgotten *f = l->forgotten;

	while (f && !span_eq(f->path, path))
		f = f->next;
	return f != NULL;
}

static int note_forgotten(struct late *l, const struct store_operation *row)
{
	struct forgotten *f = arena_zalloc(&l->arena, sizeof(*f));

	if (f)
		f->path = arena_dup(&l->arena, row->path);
	if (!f || !f->path.p)
		return ERR_NOMEM;
	f->next = l->forgotten;
	l->forgotten = f;
	if (span_eq(row->method, SPAN("PUT")) && span_eq(row->method, l->method) && span_eq(row->path, l->path) &&
	    span_eq(row->query, l->query))
		l->covered = true;
	else if (span_eq(row->path, l->path))
		log_warn("%.*s %.*s comes late: a later write of over 64 KiB is not in the log any more, so that this one is "
		         "executed last here; what both write may differ between the sites", SPAN_ARG(l->method), SPAN_ARG(l->path));
	return 0;
}

/* ---- on the reader thread ---- */

static int on_target(void *arg, const struct store_delivery *d)
{
	struct late *l = arg;

	l->executed |= span_eq(d->target, l->site) && d->state == DELIVERY_DONE;
	l->open |= d->state != DELIVERY_DONE && d->state != DELIVERY_DROPPED;
	return 0;
}

static int on_operation(void *arg, const struct store_operation *row)
{
	struct late *l = arg;
	struct late_op *o;
	int rc;

	if (!operation_is_later(row->clock, &row->id, l->clock, &l->id))
		return ERR_EXISTS; /* the rest is earlier */
	l->executed = l->open = false;
	rc = (overwrites(row->kind) || is_named(row)) ? store_view_deliveries(l->reader, &row->id, on_target, l) : 0;
	if (rc || !l->executed)
		return rc;
	if (is_forgotten(l, row))
		return note_forgotten(l, row);
	if (is_behind_forgotten(l, row->path))
		return 0;
	o = arena_zalloc(&l->arena, sizeof(*o));
	if (!o)
		return ERR_NOMEM;
	o->row = *row;
	o->row.method = arena_dup(&l->arena, row->method);
	o->row.path = arena_dup(&l->arena, row->path);
	o->row.query = arena_dup(&l->arena, row->query);
	o->row.spool = arena_dup(&l->arena, row->spool);
	o->row.key = l->key;
	o->next = l->first;
	l->first = o;
	return o->row.method.p && o->row.path.p && o->row.query.p && o->row.spool.p ? 0 : ERR_NOMEM;
}

static bool is_patch(const struct late *l, struct span method, struct span path, struct span body)
{
	return span_eq(method, SPAN("PATCH")) && span_eq(path, l->path) && body.n && body.n <= RULES_PATCH_BYTES;
}

/* What it patches is named by none of those before it that are executed (again).  Else it is one of them. */
static int judge_patch(struct late *l, const struct late_op *o, bool *apart_r)
{
	struct store_operation row;
	int rc = store_read_operation(l->reader, &o->row.id, &l->arena, &row);

	*apart_r = !rc && is_patch(l, row.method, row.path, row.body);
	for (size_t i = 0; *apart_r && i < l->again_count; i++) {
		l->compared += l->again[i].n + row.body.n;
		*apart_r = l->compared <= PATCHES_BYTES && rules_patches_apart(l->again[i], row.body);
	}
	if (!rc && !*apart_r && l->again_count < PATCHES_MOST)
		l->again[l->again_count++] = row.body; /* of what is no patch too: from that nothing is apart */
	return rc;
}

/* Takes out what need not be executed again. */
static int leave_apart(struct late *l)
{
	struct late_op **op = &l->first;
	size_t count = 0;
	bool apart;
	int rc = 0;

	for (const struct late_op *o = l->first; o; o = o->next)
		count++;
	if (!is_patch(l, l->method, l->path, l->body) || count >= PATCHES_MOST)
		return 0;
	l->again[l->again_count++] = l->body;
	while (*op && !rc) {
		rc = judge_patch(l, *op, &apart);
		if (apart)
			*op = (*op)->next;
		else
			op = &(*op)->next;
	}
	return rc;
}

static int read_later(struct store_reader *reader, void *arg)
{
	struct late *l = arg;
	int rc;

	l->reader = reader;
	rc = store_read_history(reader, &l->key, INT_MAX, on_operation, l);
	if (rc && rc != ERR_EXISTS)
		return rc;
	return leave_apart(l);
}

/* ---- on the replicator's ---- */

/* What waits already is behind the late one, or comes there. */
static bool queue_anew(struct work *late, const struct late_op *o)
{
	struct work *k = work_find(late->r, &o->row.id);
	struct leg *own;

	if (!k && !log_revive_own(late->r, &o->row, late->op))
		return false;
	k = k ? k : work_find(late->r, &o->row.id);
	own = k ? work_own_leg(k) : NULL;
	if (!own)
		return true;
	own->asked = true; /* what has its name is what it made */
	if (own->lane)
		return true;
	own->state = DELIVERY_QUEUED;
	own->target = late->r->own; /* which one that was over here when it was read back has not */
	return leg_enter(own);
}

static void on_read(void *arg, int rc)
{
	struct late *l = arg;
	struct work *k = l->k;
	struct replicator *r = l->r;

	if (r->closed) {
		arena_fini(&l->arena);
	} else {
		k->loading--;
		k->later = l->covered ? NULL : l->first;
		k->later_arena = l->arena;
		k->covered = l->covered;
		for (const struct late_op *o = k->later; o && !rc; o = o->next)
			if (!queue_anew(k, o))
				rc = ERR_NOMEM;
		late_read(work_own_leg(k), rc);
		replicator_go(r);
	}
	free(l);
}

bool late_begin(struct work *k)
{
	struct late *l;

	if (!k->received || k->logged || k->looked || !overwrites(k->op->kind) || k->op->independent)
		return false;
	l = calloc(1, sizeof(*l));
	if (!l) {
		late_read(work_own_leg(k), ERR_NOMEM);
		return true;
	}
	*l = (struct late){ .k = k, .r = k->r, .id = k->op->id, .clock = k->op->clock, .site = k->r->rep->site };
	arena_init(&l->arena, NULL, 0, 64u << 20);
	l->key.service = arena_dup(&l->arena, k->op->key.service);
	l->key.collection = arena_dup(&l->arena, k->op->key.collection);
	l->key.meta = arena_dup(&l->arena, k->op->key.meta);
	l->method = arena_dup(&l->arena, k->op->method);
	l->path = arena_dup(&l->arena, operation_path(k->op));
	l->query = arena_dup(&l->arena, span_from(k->op->target, operation_path(k->op).n));
	l->body = k->op->body.n <= RULES_PATCH_BYTES ? arena_dup(&l->arena, k->op->body) : SPAN("");
	if (!l->method.p || !l->path.p || !l->query.p || !l->body.p || !l->key.service.p || !l->key.collection.p || !l->key.meta.p ||
	    store_submit_read(k->r->rep->store, read_later, k->r->w->answers, on_read, l)) {
		arena_fini(&l->arena);
		free(l);
		late_read(work_own_leg(k), ERR_NOMEM);
		return true;
	}
	k->looked = true;
	k->loading++;
	return true;
}
