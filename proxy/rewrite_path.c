/* Which resources a path names: it is walked from left to right, each segment looked up in the collection that the
 * segments before it spell.
 *
 *	/v2/notes/M1/items/7      /v2/notes has names: M1 is one of them
 *	                          /v2/notes/M1/items has names: 7 is one's local id
 *
 * A short id means something in its collection only; one of NAME_LONG bytes is found in any of the service.  The
 * collections come from the names themselves, so nothing has to be declared for this. */
#include "proxy/rewrite_int.h"

#include "base/percent.h"
#include "replication/metaid.h"

#define PATH_MOST 4096 /* behind it nothing is looked up by collection: none has a longer name */

struct walk {
	struct names *n;
	const struct rules *rules; /* may be NULL */
	struct arena *arena;
	struct span service;
	uint32_t number;         /* of the service */
	bool foreign;
	struct buf canonical, local;
	bool has_local, nomem;
	size_t collection_n, id_n; /* in canonical: of the innermost */
	struct rewrite_target *r;
};

static void see(struct walk *k, enum rewrite_seen seen)
{
	if (seen > k->r->seen)
		k->r->seen = seen;
}

static struct span meta_of(const struct name *name)
{
	return span_make(name->meta, name->meta_n);
}

/* The rule of a collection itself, or NULL. */
static const struct rule *rule_of(const struct walk *k, struct span collection)
{
	struct rule_match m;

	return rules_match(k->rules, collection, &m) && !m.id.n ? m.rule : NULL;
}

/* Its application may call itself by its own ids. */
static bool is_alias(const struct walk *k, const struct name *name)
{
	const struct rule *rule = rule_of(k, name->collection);

	return rule && rule->hidden == RULE_HIDDEN_ALIAS;
}

static void see_known(struct walk *k, const struct name *name, bool by_local)
{
	struct name *copy = arena_alloc(k->arena, sizeof(*copy));
	bool hidden = by_local && !is_alias(k, name);

	if (!copy) {
		k->nomem = true;
		return;
	}
	*copy = *name;
	k->r->name = copy;
	if (k->r->seen != REWRITE_UNKNOWN)
		k->r->meta = meta_of(copy);
	see(k, hidden ? REWRITE_HIDDEN : name->deleted ? REWRITE_DELETED : REWRITE_KNOWN);
}

/* Integers are meta-identifiers behind a collection that has names, or a rule that says so. */
static bool takes_integers(const struct walk *k, uint32_t kind, struct span collection)
{
	const struct rule *rule = kind ? NULL : rule_of(k, collection);

	return kind || (rule && rule->meta_id == METAID_INTEGER);
}

/* An M that is nobody's here.  collection: that it stands behind, empty: none. */
static bool is_unknown_meta(const struct walk *k, struct span id, uint32_t kind, struct span collection)
{
	struct metaid m;

	return id.n >= 16 && id.n <= METAID_TEXT_BYTES && metaid_parse(id, &m) &&
	       (m.kind == METAID_UUID || (m.kind == METAID_INTEGER && collection.n && takes_integers(k, kind, collection)));
}

static bool see_unknown(struct walk *k, struct span id)
{
	struct span copy = arena_dup(k->arena, id);

	if (!copy.p)
		k->nomem = true;
	else
		k->r->meta = copy;
	see(k, REWRITE_UNKNOWN);
	return copy.p != NULL;
}

/* Looks one id up; true: it means something here, and name_r says what.  kind: of the collection, 0 for none. */
static bool look(struct walk *k, uint32_t kind, struct span id, struct name *name_r, bool *hidden_r)
{
	const struct names_where in = { .kind = kind }, of = { .service = k->number };

	*hidden_r = false;
	if (kind && names_by_meta(k->n, &in, id, name_r))
		return true;
	if (id.n >= NAME_LONG && k->number && names_by_meta(k->n, &of, id, name_r))
		return true;
	*hidden_r = true;
	return (kind && names_by_local(k->n, &in, id, name_r)) ||
	       (id.n >= NAME_LONG && k->number && names_by_local(k->n, &of, id, name_r));
}

static bool look_foreign(struct walk *k, struct span id, struct name *name_r)
{
	const struct names_where others = { .not_service = k->number };

	return k->foreign && id.n >= NAME_LONG && names_by_local(k->n, &others, id, name_r);
}

struct span rewrite_opaque_path(struct span local)
{
	struct span path = local;
	const char *authority;

	if (!local.n || local.p[0] != '/') {
		authority = memmem(local.p, local.n, "://", 3);
		path = authority ? span_from(local, (size_t)(authority - local.p) + 3) : SPAN("");
		path = span_from(path, span_find(path, '/'));
	}
	return path.n && span_find(path, '?') == path.n && span_find(path, '#') == path.n ? path : span_make(NULL, 0);
}

/* An id that the client chose is the same everywhere, before it was executed here too. */
static bool is_chosen(const struct name *name)
{
	struct metaid m;

	return !metaid_parse(meta_of(name), &m);
}

static void put_local(struct walk *k, const struct name *name)
{
	struct span local = span_make(name->local, name->local_n), path = rewrite_opaque_path(local);

	if (!path.p) {
		percent_encode(local, "-._~", &k->local);
		return;
	}
	buf_fini(&k->local); /* all that stands before the id was its collection, which its URL need not lie in */
	buf_add_span(&k->local, path);
}

/* Adds what stands for an id that was found to both paths. */
static void put(struct walk *k, const struct name *name, struct span raw)
{
	percent_encode(meta_of(name), "-._~", &k->canonical);
	if (name->local_n && !name->deleted)
		put_local(k, name);
	else
		buf_add_span(&k->local, raw);
	k->has_local &= name->local_n || name->deleted || is_chosen(name);
}

/* A token within a segment that is no id as a whole: "M.json", "(guid'M')".  ctx: the walk; which of both paths is
 * being written is told by `other`. */
struct within {
	struct walk *k;
	bool local;
	struct name name;
};

static bool look_within(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	struct within *w = ctx;
	bool hidden;

	if (look(w->k, 0, id->text, &w->name, &hidden)) {
		see_known(w->k, &w->name, hidden);
		w->k->has_local &= w->name.local_n > 0;
		if (w->local && !w->name.local_n)
			return false;
		new_r->text = w->local ? span_make(w->name.local, w->name.local_n) : meta_of(&w->name);
		return true;
	}
	if (look_foreign(w->k, id->text, &w->name)) {
		new_r->text = meta_of(&w->name);
		return true;
	}
	if (is_unknown_meta(w->k, id->text, 0, SPAN("")))
		see_unknown(w->k, id->text);
	return false;
}

static void take_within(struct walk *k, struct span raw)
{
	struct within w = { .k = k };

	if (raw.n < SPLICE_TOKEN_LEAST) {
		buf_add_span(&k->canonical, raw);
		buf_add_span(&k->local, raw);
		return;
	}
	k->nomem |= !splice_once(SPLICE_LINK, NULL, look_within, &w, raw, &k->canonical);
	w.local = true;
	k->nomem |= !splice_once(SPLICE_LINK, NULL, look_within, &w, raw, &k->local);
}

static void take_segment(struct walk *k, struct span raw)
{
	struct span id = raw, collection = buf_span(&k->canonical);
	uint32_t kind;
	struct name name;
	bool hidden;

	collection.n--; /* its slash */
	kind = collection.n <= PATH_MOST ? names_kind(k->n, k->service, collection) : 0;
	if (span_find(raw, '%') < raw.n && !percent_decode(k->arena, raw, &id))
		id = raw; /* what is no percent-encoding stands for itself */
	if (!id.n || id.n > NAME_MOST || (!kind && id.n < NAME_LONG)) { /* NOLINT(bugprone-branch-clone): not looked up */
		take_within(k, raw);
	} else if (look(k, kind, id, &name, &hidden)) {
		see_known(k, &name, hidden);
		k->collection_n = collection.n;
		put(k, &name, raw);
		k->id_n = buf_len(&k->canonical) - collection.n - 1;
	} else if (look_foreign(k, id, &name)) {
		percent_encode(meta_of(&name), "-._~", &k->canonical);
		percent_encode(meta_of(&name), "-._~", &k->local);
	} else if (is_unknown_meta(k, id, kind, collection)) {
		see_unknown(k, id);
		k->collection_n = collection.n;
		buf_add_span(&k->canonical, raw);
		buf_add_span(&k->local, raw);
		k->id_n = raw.n;
	} else {
		take_within(k, raw);
	}
}

void rewrite_target_list(struct names *n, struct span service, struct rewrite_target *t)
{
	struct span whole = t->canonical;

	if (whole.n > 1 && whole.n <= PATH_MOST)
		t->listed = names_kind(n, service, whole.p[whole.n - 1] == '/' ? span_head(whole, whole.n - 1) : whole);
}

static bool finish(struct walk *k)
{
	struct rewrite_target *r = k->r;
	struct span whole = arena_dup(k->arena, buf_span(&k->canonical)), local = arena_dup(k->arena, buf_span(&k->local));

	if (!whole.p || !local.p || k->nomem || k->canonical.failed || k->local.failed)
		return false;
	r->canonical = whole;
	r->local = k->has_local ? local : span_make(NULL, 0);
	if (k->id_n) {
		r->collection = span_head(whole, k->collection_n);
		r->id = span_head(span_from(whole, k->collection_n + 1), k->id_n);
		r->rest = span_from(whole, k->collection_n + 1 + k->id_n);
	}
	rewrite_target_list(k->n, k->service, r);
	return true;
}

bool rewrite_path_target(struct names *n, struct arena *arena, struct span service, struct span path, bool foreign,
                         struct rewrite_target *target_r)
{
	return rewrite_walk(n, NULL, arena, service, path, foreign, target_r);
}

bool rewrite_walk(struct names *n, const struct rules *rules, struct arena *arena, struct span service, struct span path,
                  bool foreign, struct rewrite_target *target_r)
{
	struct walk k = { .n = n, .rules = rules, .arena = arena, .service = service, .number = names_service(n, service),
		          .foreign = foreign, .has_local = true, .r = target_r };
	struct span rest = span_from(path, 1), segment;
	bool good;

	*target_r = (struct rewrite_target){ .canonical = path, .local = path };
	if (!path.n || path.p[0] != '/')
		return true;
	buf_init(&k.canonical, NULL, 0);
	buf_init(&k.local, NULL, 0);
	for (bool more = true; more;) {
		size_t at = span_find(rest, '/');

		more = at < rest.n;
		segment = span_head(rest, at);
		rest = span_from(rest, more ? at + 1 : at);
		buf_add_char(&k.canonical, '/');
		buf_add_char(&k.local, '/');
		take_segment(&k, segment);
	}
	good = finish(&k);
	buf_fini(&k.canonical);
	buf_fini(&k.local);
	return good;
}
