/* The rules of a service for its splicers: behind which paths its short ids stand, and at which place of a document.
 *
 * A collection of children has a name of its own for each parent ("/notes/M/items"); what they have in common is the
 * pattern "/notes/{id}/items".  Names only grow, so each kind is looked at once; what is new makes a new set of rules,
 * and the old one lives on with the splicers that use it. */
#include "proxy/rewrite_int.h"

#include <stdlib.h>

#include "proxy/worker.h"
#include "replication/metaid.h"

void rewrite_rules_unref(struct rewrite_rules **rp)
{
	struct rewrite_rules *r = *rp;

	*rp = NULL;
	if (!r || --r->refs)
		return;
	splice_rules_free(&r->item);
	splice_rules_free(&r->list);
	splice_rules_free(&r->links);
	arena_fini(&r->arena);
	free(r);
}

void rewrite_rules_fini(struct worker *w)
{
	struct rewrite_rules *r;

	while ((r = w->rewrite_rules)) {
		w->rewrite_rules = r->next;
		rewrite_rules_unref(&r);
	}
}

/* Whether the segment behind this collection is the id of one of its resources. */
static bool is_id(struct names *n, struct span service, struct span collection, struct span segment)
{
	const struct names_where in = { .kind = names_kind(n, service, collection) };
	struct metaid m;
	struct name name;

	return in.kind && (names_by_meta(n, &in, segment, &name) || metaid_parse(segment, &m));
}

/* "/notes/M/items" -> "/notes/{id}/items". */
static void generalise(struct names *n, struct span service, struct span collection, struct buf *out)
{
	struct span rest = span_from(collection, 1), segment;
	size_t before = 0;

	while (rest.n && span_split(&rest, '/', &segment)) {
		buf_add_char(out, '/');
		if (before && is_id(n, service, span_head(collection, before), segment))
			buf_add_z(out, "{id}");
		else
			buf_add_span(out, segment);
		before += 1 + segment.n;
	}
}

static bool has_pattern(const struct rewrite_rules *r, struct span path)
{
	for (unsigned i = 0; i < r->pattern_count; i++)
		if (span_eq(r->pattern[i].path, path))
			return true;
	return false;
}

static int add_pattern(struct rewrite_rules *r, struct span path)
{
	struct rewrite_pattern *p = &r->pattern[r->pattern_count];
	struct err e;

	p->path = arena_dup(&r->arena, path);
	if (!p->path.p)
		return ERR_NOMEM;
	p->plain = span_find(path, '{') == path.n;
	/* what is no path of a collection has no links to be found: an id in it is found as a token, or not at all */
	if (splice_rules_add_path(r->links, path, r->pattern_count, &e))
		return e.code == ERR_NOMEM ? ERR_NOMEM : 0;
	if (splice_rules_add_path(r->item, path, r->pattern_count, &e) ||
	    splice_rules_add_path(r->list, path, r->pattern_count, &e))
		return ERR_NOMEM;
	r->pattern_count++;
	return 0;
}

static struct rewrite_rules *empty_rules(struct span service)
{
	struct rewrite_rules *r = calloc(1, sizeof(*r));
	struct err e;

	if (!r)
		return NULL;
	r->refs = 1;
	arena_init(&r->arena, NULL, 0, 0);
	r->service = arena_dup(&r->arena, service);
	r->item = splice_rules_new();
	r->list = splice_rules_new();
	r->links = splice_rules_new();
	if (!r->service.p || !r->item || !r->list || !r->links ||
	    splice_rules_add_place(r->item, SPAN("$.id"), SPLICE_SINGLE, 0, &e) ||
	    splice_rules_add_place(r->list, SPAN("$.id"), SPLICE_COLLECTION, 0, &e))
		rewrite_rules_unref(&r);
	return r;
}

/* old, and this pattern. */
static struct rewrite_rules *rules_with(const struct rewrite_rules *old, struct span service, struct span path)
{
	struct rewrite_rules *r = empty_rules(service);
	int rc = r ? 0 : ERR_NOMEM;

	for (unsigned i = 0; !rc && old && i < old->pattern_count; i++)
		rc = add_pattern(r, old->pattern[i].path);
	if (!rc && path.n)
		rc = add_pattern(r, path);
	if (rc)
		rewrite_rules_unref(&r);
	else
		r->kinds_seen = old ? old->kinds_seen : 0;
	return r;
}

/* Puts `r` in place of *at. */
static void replace(struct rewrite_rules **at, struct rewrite_rules *r)
{
	struct rewrite_rules *old = *at;

	r->next = old ? old->next : NULL;
	*at = r;
	rewrite_rules_unref(&old);
}

/* Looks at one kind; ERR_NOMEM: not looked at. */
static int learn(struct worker *w, struct rewrite_rules **at, uint32_t kind)
{
	struct rewrite_rules *r = *at, *with;
	struct span service, collection, path;
	struct buf text;
	int rc = 0;

	names_kind_text(w->names, kind, &service, &collection);
	if (!span_eq(service, r->service) || r->pattern_count == SPLICE_TRAILS || collection.n < 2 ||
	    collection.p[0] != '/')
		return 0;
	buf_init(&text, NULL, 0);
	generalise(w->names, service, collection, &text);
	path = buf_span(&text);
	if (text.failed) {
		rc = ERR_NOMEM;
	} else if (!has_pattern(r, path)) {
		with = rules_with(r, r->service, path);
		if (with)
			replace(at, with);
		else
			rc = ERR_NOMEM;
	}
	buf_fini(&text);
	return rc;
}

struct rewrite_rules *rewrite_rules_get(struct worker *w, struct span service)
{
	uint32_t kinds = names_kinds(w->names);
	struct rewrite_rules **at = &w->rewrite_rules;

	while (*at && !span_eq((*at)->service, service))
		at = &(*at)->next;
	if (!*at) {
		struct rewrite_rules *r = empty_rules(service);

		if (!r)
			return NULL;
		*at = r;
	}
	for (uint32_t kind = (*at)->kinds_seen + 1; kind <= kinds; kind++) {
		if (learn(w, at, kind))
			return NULL;
		(*at)->kinds_seen = kind;
	}
	(*at)->refs++;
	return *at;
}
