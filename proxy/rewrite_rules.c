/* The rules of a service for its splicers: behind which paths its short ids stand, and at which place of a document.
 *
 * Only collections that hold a name are of interest.  A rule, declared or learned (replication/rules.h), says what they
 * have in common and where documents show the id; where there is none it is "$.id", and of children, which have a
 * collection for each parent ("/notes/M/items"), the pattern "/notes/{id}/items".  Names only grow, so each kind is
 * looked at once; what is new makes a new set of rules, and the old one lives on with the splicers that use it. */
#include "proxy/rewrite_int.h"

#include <stdlib.h>

#include "proxy/replication.h"
#include "proxy/worker.h"

void rewrite_rules_unref(struct rewrite_rules **rp)
{
	struct rewrite_rules *r = *rp;

	*rp = NULL;
	if (!r || --r->refs)
		return;
	for (unsigned i = 0; i < r->place_count; i++) {
		splice_rules_free(&r->place[i].item);
		splice_rules_free(&r->place[i].list);
	}
	splice_rules_free(&r->links);
	rules_unref(&r->declared);
	rules_unref(&r->rules);
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

/* The rule of a collection itself, or NULL. */
static const struct rule *rule_of(const struct rules *rules, struct span collection)
{
	struct rule_match m;

	return rules_match(rules, collection, &m) && !m.id.n ? m.rule : NULL;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static struct span place_of(const struct rules *rules, struct span collection)
{
	const struct rule *rule = rule_of(rules, collection);

	return rule ? rule->id_place : SPAN("$.id");
}

const struct rewrite_place *rewrite_rules_place(const struct rewrite_rules *r, struct span collection)
{
	struct span text = place_of(r->rules, collection);

	for (unsigned i = 0; i < r->place_count; i++)
		if (span_eq(r->place[i].text, text))
			return &r->place[i];
	return NULL;
}

/* A place that splicers do not know is none: the id is found as a token, or not at all. */
static int add_place(struct splice_rules *rules, struct span place, enum splice_answer answer)
{
	struct err e;
	int rc = splice_rules_add_place(rules, place, answer, 0, &e);

	return rc == ERR_NOMEM ? rc : 0;
}

static int add_path(struct splice_rules *rules, struct span path, unsigned pattern)
{
	struct err e;
	int rc = splice_rules_add_path(rules, path, pattern, &e);

	return rc == ERR_NOMEM ? rc : 0;
}

/* What is wrapped when it is alone ("$.server.id") is not always where it is one of many: there "$.id" is its place too. */
static int add_list_places(struct rewrite_place *p)
{
	size_t dot = p->text.n, plain = span_find(p->text, '[') == p->text.n && span_find(p->text, '*') == p->text.n;
	char last[SPLICE_ID_BYTES];
	int rc = add_place(p->list, p->text, SPLICE_COLLECTION);

	while (dot && p->text.p[dot - 1] != '.')
		dot--;
	if (rc || !plain || dot <= 2 || p->text.n - dot + 2 > sizeof(last))
		return rc;
	memcpy(last, "$.", 2); /* NOLINT(bugprone-not-null-terminated-result): of a span */
	memcpy(last + 2, p->text.p + dot, p->text.n - dot);
	return add_place(p->list, span_make(last, p->text.n - dot + 2), SPLICE_COLLECTION);
}

/* By which members of a query lists are gone through. */
static int add_markers(struct splice_rules *rules, const struct rules *of)
{
	struct err e;
	int rc = 0;

	for (size_t i = 0; !rc && i < rules_count(of); i++) {
		struct span marker = rules_get(of, i)->list.marker;

		if (marker.n && splice_rules_add_query(rules, marker, 0, &e) == ERR_NOMEM)
			rc = ERR_NOMEM;
	}
	return rc;
}

static int make_place(struct rewrite_rules *r, struct span text)
{
	struct rewrite_place *p = &r->place[r->place_count++];
	int rc;

	*p = (struct rewrite_place){ arena_dup(&r->arena, text), splice_rules_new(), splice_rules_new() };
	if (!p->text.p || !p->item || !p->list)
		return ERR_NOMEM;
	rc = add_place(p->item, p->text, SPLICE_SINGLE);
	if (!rc)
		rc = add_list_places(p);
	if (!rc)
		rc = add_markers(p->list, r->rules);
	for (unsigned i = 0; !rc && i + 1 < r->pattern_count; i++) {
		rc = add_path(p->item, r->pattern[i].path, i);
		if (!rc)
			rc = add_path(p->list, r->pattern[i].path, i);
	}
	return rc;
}

/* ---- patterns ----------------------------------------------------------------------------------------------------- */

static bool has_pattern(const struct rewrite_rules *r, struct span path)
{
	for (unsigned i = 0; i < r->pattern_count; i++)
		if (span_eq(r->pattern[i].path, path))
			return true;
	return false;
}

static int add_pattern(struct rewrite_rules *r, struct span path)
{
	unsigned at = r->pattern_count++;
	struct rewrite_pattern *p = &r->pattern[at];
	struct span place = place_of(r->rules, path);
	int rc;

	p->path = arena_dup(&r->arena, path);
	if (!p->path.p)
		return ERR_NOMEM;
	p->plain = span_find(path, '{') == path.n;
	if (place.n && !rewrite_rules_place(r, path) && (rc = make_place(r, place)))
		return rc;
	rc = add_path(r->links, path, at);
	for (unsigned i = 0; !rc && i < r->place_count; i++) {
		rc = add_path(r->place[i].item, path, at);
		if (!rc)
			rc = add_path(r->place[i].list, path, at);
	}
	return rc;
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */

/* Takes the reference to rules. */
static struct rewrite_rules *empty_rules(const struct conf_service *svc, struct rules *rules, uint64_t generation)
{
	struct rewrite_rules *r = calloc(1, sizeof(*r));

	if (!r) {
		rules_unref(&rules);
		return NULL;
	}
	r->refs = 1;
	r->declared = rules_ref(svc->rules);
	r->rules = rules;
	r->generation = generation;
	arena_init(&r->arena, NULL, 0, 0);
	r->service = arena_dup(&r->arena, svc->name);
	r->links = splice_rules_new();
	if (!r->service.p || !r->links)
		rewrite_rules_unref(&r);
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

/* *at with these rules (a reference, taken; NULL: no memory) and the patterns of before, and one more where path is not
 * empty. */
static int make_anew(struct rewrite_rules **at, const struct conf_service *svc, struct rules *rules, uint64_t generation,
                     struct span path)
{
	const struct rewrite_rules *old = *at;
	struct rewrite_rules *r = rules ? empty_rules(svc, rules, generation) : NULL;
	int rc = r ? 0 : ERR_NOMEM;

	for (unsigned i = 0; !rc && old && i < old->pattern_count; i++)
		rc = add_pattern(r, old->pattern[i].path);
	if (!rc && path.n)
		rc = add_pattern(r, path);
	if (rc) {
		rewrite_rules_unref(&r);
		return rc;
	}
	r->kinds_seen = old ? old->kinds_seen : 0;
	replace(at, r);
	return 0;
}

/* Looks at one kind; ERR_NOMEM: not looked at. */
static int learn(struct worker *w, struct rewrite_rules **at, const struct conf_service *svc, uint32_t kind)
{
	struct rewrite_rules *r = *at;
	struct span service, collection, path;
	const struct rule *rule;
	struct buf text;
	int rc = 0;

	names_kind_text(w->names, kind, &service, &collection);
	if (!span_eq(service, r->service) || r->pattern_count == SPLICE_TRAILS || collection.n < 2 ||
	    collection.p[0] != '/')
		return 0;
	buf_init(&text, NULL, 0);
	rule = rule_of(r->rules, collection);
	if (rule)
		buf_add_span(&text, rule->collection);
	else
		generalise(w->names, service, collection, &text);
	path = buf_span(&text);
	if (text.failed)
		rc = ERR_NOMEM;
	else if (!has_pattern(r, path))
		rc = make_anew(at, svc, rules_ref(r->rules), r->generation, path);
	buf_fini(&text);
	return rc;
}

/* The rules are those of now, in this configuration. */
static int refresh(struct worker *w, struct rewrite_rules **at, const struct conf_service *svc)
{
	uint64_t generation = replication_rules_generation(w->replication);

	if (*at && (*at)->declared == svc->rules && (*at)->generation == generation)
		return 0;
	return make_anew(at, svc, replication_rules(w->replication, svc), generation, SPAN(""));
}

struct rewrite_rules *rewrite_rules_get(struct worker *w, const struct conf_service *svc)
{
	uint32_t kinds = names_kinds(w->names);
	struct rewrite_rules **at = &w->rewrite_rules;

	while (*at && !span_eq((*at)->service, svc->name))
		at = &(*at)->next;
	if (refresh(w, at, svc))
		return NULL;
	for (uint32_t kind = (*at)->kinds_seen + 1; kind <= kinds; kind++) {
		if (learn(w, at, svc, kind))
			return NULL;
		(*at)->kinds_seen = kind;
	}
	(*at)->refs++;
	return *at;
}
