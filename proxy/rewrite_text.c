/* What a splicer is told of an id that it found: what stands for it on this way. */
#include "proxy/rewrite_int.h"

#include <stddef.h>

#include "proxy/worker.h"
#include "replication/metaid.h"

#define PATH_ROOM 8192 /* of a parent's path in a link, and what is known of the parent */

int rewrite_look_init(struct rewrite_look *l, struct worker *w, struct span service, enum rewrite_way way,
                      const struct rewrite_target *t, const struct splice_rules **rules_r)
{
	l->n = w->names;
	l->service = service;
	l->number = names_service(w->names, service);
	l->way = way;
	l->foreign = true;
	l->kind = t && t->listed ? t->listed : 0;
	l->rules = NULL;
	*rules_r = NULL;
	if (way == REWRITE_ACROSS || !l->number)
		return 0;
	l->rules = rewrite_rules_get(w, service);
	if (!l->rules)
		return ERR_NOMEM;
	*rules_r = l->rules->links;
	if (l->kind) {
		*rules_r = l->rules->list;
	} else if (t && t->id.n && !t->rest.n) {
		l->kind = names_kind(w->names, service, t->collection);
		*rules_r = l->kind ? l->rules->item : l->rules->links;
	}
	return 0;
}

void rewrite_look_fini(struct rewrite_look *l)
{
	rewrite_rules_unref(&l->rules);
}

static bool give(struct rewrite_look *l, bool local, const struct splice_id *id, struct splice_new *new_r)
{
	new_r->text = local ? span_make(l->found.local, l->found.local_n) : span_make(l->found.meta, l->found.meta_n);
	if (!new_r->text.n || new_r->text.n > SPLICE_ID_BYTES)
		return false;
	if (id->where == SPLICE_PLACE) { /* a number only where the new id is one, which a document shows without quotes */
		new_r->number = id->number;
		for (size_t i = 0; i < new_r->text.n; i++)
			new_r->number &= new_r->text.p[i] >= '0' && new_r->text.p[i] <= '9';
	}
	return true;
}

/* The last segments of what lies before an id: as many as the pattern has. */
static struct span tail_of(struct span before, struct span pattern)
{
	size_t slashes = 1, i = before.n;

	for (size_t k = 0; k < pattern.n; k++)
		slashes += pattern.p[k] == '/';
	while (i) {
		if (before.p[i - 1] == '/' && --slashes == 0)
			return span_make(before.p + i - 1, before.n - i);
		i--;
	}
	return span_make("", 0);
}

/* The kind of the collection in whose path a short id stands: that of a pattern, or with the parent's M in it. */
static uint32_t kind_before(const struct rewrite_look *l, const struct splice_id *id)
{
	const struct rewrite_pattern *p = &l->rules->pattern[id->rule];
	max_align_t room[PATH_ROOM / sizeof(max_align_t)];
	struct rewrite_target t;
	struct arena arena;
	uint32_t kind = 0;

	if (p->plain)
		return names_kind(l->n, l->service, p->path);
	arena_init(&arena, room, sizeof(room), 16384);
	if (rewrite_path_target(l->n, &arena, l->service, tail_of(id->before, p->path), false, &t))
		kind = t.listed;
	arena_fini(&arena);
	return kind;
}

/* In a collection that is known. */
static bool look_in(struct rewrite_look *l, uint32_t kind, const struct splice_id *id, struct splice_new *new_r)
{
	const struct names_where in = { .kind = kind };

	if (!kind)
		return false;
	if (l->way == REWRITE_DOWN)
		return names_by_local(l->n, &in, id->text, &l->found) && give(l, false, id, new_r);
	return names_by_meta(l->n, &in, id->text, &l->found) && !l->found.deleted && give(l, true, id, new_r);
}

static bool look_anywhere(struct rewrite_look *l, const struct splice_id *id, struct splice_new *new_r)
{
	const struct names_where own = { .service = l->number }, others = { .not_service = l->number };

	if (l->way == REWRITE_DOWN)
		return names_by_local(l->n, &own, id->text, &l->found) && give(l, false, id, new_r);
	if (l->way == REWRITE_UP && l->number && names_by_meta(l->n, &own, id->text, &l->found))
		return !l->found.deleted && give(l, true, id, new_r);
	return l->foreign && names_by_local(l->n, &others, id->text, &l->found) && give(l, false, id, new_r);
}

bool rewrite_look_up(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	struct rewrite_look *l = ctx;

	switch (id->where) {
	case SPLICE_PLACE:
		return look_in(l, l->kind, id, new_r);
	case SPLICE_PATH:
		return look_in(l, kind_before(l, id), id, new_r);
	case SPLICE_QUERY:
		return false;
	case SPLICE_TOKEN:
		break;
	}
	return look_anywhere(l, id, new_r);
}

/* ---- whole texts ---- */

static bool rewrite(struct worker *w, struct span service, struct span path, enum rewrite_way way, enum splice_body body,
                    struct span in, struct buf *out)
{
	struct rewrite_target t = { .seen = REWRITE_NOTHING };
	const struct splice_rules *rules;
	struct rewrite_look l;
	struct arena arena;
	bool good;

	if (!w->names || !names_count(w->names) || body == SPLICE_NONE) {
		buf_add_span(out, in);
		return !out->failed;
	}
	arena_init(&arena, NULL, 0, 0);
	good = !path.n || rewrite_path_target(w->names, &arena, service, path, false, &t);
	if (good) {
		good = !rewrite_look_init(&l, w, service, way, &t, &rules) &&
		       splice_once(body, rules, rewrite_look_up, &l, in, out);
		rewrite_look_fini(&l);
	}
	arena_fini(&arena);
	return good;
}

bool rewrite_canonical(struct worker *w, struct span service, enum splice_body body, struct span in, struct buf *out)
{
	return rewrite(w, service, SPAN(""), REWRITE_ACROSS, body, in, out);
}

bool rewrite_answer(struct worker *w, struct span service, struct span path, enum splice_body body, struct span in,
                    struct buf *out)
{
	return rewrite(w, service, path, REWRITE_DOWN, body, in, out);
}

bool rewrite_localise(struct worker *w, struct span service, struct span path, enum splice_body body, struct span in,
                      struct buf *out)
{
	return rewrite(w, service, path, REWRITE_UP, body, in, out);
}
