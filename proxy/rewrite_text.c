/* What a splicer is told of an id that it found: what stands for it on this way. */
#include "proxy/rewrite_int.h"

#include <stddef.h>

#include "proxy/worker.h"
#include "replication/metaid.h"

#define PATH_ROOM 8192 /* of a parent's path in a link, and what is known of the parent */

/* What the answer is about, where that is known. */
static void choose_places(struct rewrite_look *l, const struct rewrite_target *t, const struct splice_rules **rules_r)
{
	struct span service, collection;
	const struct rewrite_place *place;

	*rules_r = l->rules->links;
	if (!l->kind && t && t->id.n && !t->rest.n)
		l->kind = names_kind(l->n, l->service, t->collection);
	if (!l->kind)
		return;
	names_kind_text(l->n, l->kind, &service, &collection);
	place = rewrite_rules_place(l->rules, collection);
	if (place)
		*rules_r = t->listed ? place->list : place->item;
}

int rewrite_look_init(struct rewrite_look *l, struct worker *w, const struct conf_service *svc, enum rewrite_way way,
                      const struct rewrite_target *t, const struct splice_rules **rules_r)
{
	*l = (struct rewrite_look){ .n = w->names, .way = way, .foreign = true, .kind = t ? t->listed : 0 };
	*rules_r = NULL;
	if (!svc)
		return 0;
	l->service = svc->name;
	l->number = names_service(w->names, svc->name);
	if (way == REWRITE_ACROSS || !l->number)
		return 0;
	l->rules = rewrite_rules_get(w, svc);
	if (!l->rules)
		return ERR_NOMEM;
	choose_places(l, t, rules_r);
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
	case SPLICE_QUERY: /* a marker, of a page of the list that is asked for */
		return look_in(l, l->kind, id, new_r);
	case SPLICE_TOKEN:
		break;
	}
	return look_anywhere(l, id, new_r);
}

/* ---- links --------------------------------------------------------------------------------------------------------- */

/* "http://host" of a URL; nothing of a path. */
static struct span origin_of(struct span url)
{
	struct span path = rewrite_opaque_path(url);

	return path.p ? span_head(url, url.n - path.n) : SPAN("");
}

/* Where the whole link is the id of a resource (id: location). */
static bool is_whole_id(struct rewrite_look *l, struct span in)
{
	const struct names_where own = { .service = l->number }, of = { .kind = l->kind };

	return l->way == REWRITE_DOWN && l->number && rewrite_opaque_path(in).p &&
	       ((l->kind && names_by_local(l->n, &of, in, &l->found)) ||
	        (in.n >= NAME_LONG && names_by_local(l->n, &own, in, &l->found)));
}

bool rewrite_look_link(struct rewrite_look *l, const struct splice_rules *rules, struct span in, struct buf *out)
{
	if (!is_whole_id(l, in))
		return splice_once(SPLICE_LINK, rules, rewrite_look_up, l, in, out);
	buf_add_span(out, origin_of(in));
	buf_add_span(out, l->found.collection);
	buf_add_char(out, '/');
	buf_add(out, l->found.meta, l->found.meta_n);
	return !out->failed;
}

/* ---- whole texts ---- */

static const struct conf_service *find_service(const struct worker *w, struct span name)
{
	const struct conf *conf = w->view->conf;

	for (size_t i = 0; i < conf->service_count; i++)
		if (span_eq(conf->services[i].name, name))
			return &conf->services[i];
	return NULL;
}

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
		good = !rewrite_look_init(&l, w, find_service(w, service), way, &t, &rules) &&
		       (body == SPLICE_LINK ? rewrite_look_link(&l, rules, in, out)
		                            : splice_once(body, rules, rewrite_look_up, &l, in, out));
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
