/* Which site is asked for a page, with which query, and how the client comes back. */
#include "proxy/listing.h"

#include "base/clock.h"
#include "base/percent.h"

#define AT SPAN("scope-at")
#define OF SPAN("scope-of")

/* ---- queries ----------------------------------------------------------------------------------------------------- */

/* "?…" without the members of these names; spans of the query's arena. p NULL: no memory. */
static struct span query_without(struct arena *arena, struct span query, const struct span *names, size_t count)
{
	struct span rest = span_from(query, 1), member, copy = { NULL, 0 };
	struct buf text;

	buf_init(&text, NULL, 0);
	while (rest.n && span_split(&rest, '&', &member)) {
		struct span name = span_head(member, span_find(member, '='));
		bool drop = false;

		for (size_t i = 0; i < count; i++)
			drop |= span_eq(name, names[i]);
		if (drop)
			continue;
		buf_add_char(&text, buf_len(&text) ? '&' : '?');
		buf_add_span(&text, member);
	}
	if (!text.failed)
		copy = arena_dup(arena, buf_span(&text));
	buf_fini(&text);
	return copy;
}

/* What may stand in a document or in a field without an escape. */
static void add_safe(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"\\<>", c))
			buf_addf(out, "%%%02X", c);
		else
			buf_add_char(out, (char)c);
	}
}

/* What a client hands back is no more than a query. */
static struct span query_of(struct arena *arena, struct span text)
{
	struct span copy = { NULL, 0 };
	struct buf out;

	buf_init(&out, NULL, 0);
	if (text.n)
		buf_add_char(&out, '?');
	add_safe(&out, span_head(text, span_find(text, '#')));
	if (!out.failed)
		copy = arena_dup(arena, buf_span(&out));
	buf_fini(&out);
	return copy;
}

static size_t place_of(const struct listing *l, size_t site)
{
	size_t i = 0;

	while (i < l->count && l->site[i] != site)
		i++;
	return i;
}

static uint64_t bit_of(const struct listing *l, size_t site)
{
	size_t i = place_of(l, site);

	return i < l->count ? UINT64_C(1) << i : 0;
}

static void mark_shown(struct listing *l, size_t site)
{
	uint64_t bit = bit_of(l, site);

	if (!bit || (l->shown & bit))
		return;
	l->shown |= bit;
	l->turn[l->turns++] = site;
}

/* ---- where the client is ----------------------------------------------------------------------------------------- */

/* scope-at=A,B: A was shown, B is the one. False: that is none of ours. */
static bool read_at(struct exchange *x, struct listing *l, struct span text)
{
	struct span rest = text, token;
	bool found = false;

	while (rest.n && span_split(&rest, ',', &token)) {
		size_t i = 0;

		while (i < l->count && !heads_is_token(x, token, x->view->reg->sites[l->site[i]].name))
			i++;
		if (found)
			mark_shown(l, l->first);
		found = i < l->count; /* a scope may lose sites between two pages */
		if (found)
			l->first = l->site[i];
	}
	return found && !(l->shown & bit_of(l, l->first));
}

/* Puts the sites that are left into x->sites, in their order, `first` before all. */
static void set_sites(struct exchange *x, const struct listing *l, bool has_first)
{
	size_t count = 0, n = 0;
	size_t left[OPERATION_SITES];

	for (size_t i = 0; i < x->site_count; i++)
		if (x->sites[i] != l->first && !(l->shown & bit_of(l, x->sites[i])))
			left[n++] = x->sites[i];
	if (has_first)
		x->sites[count++] = l->first;
	memcpy(x->sites + count, left, n * sizeof(*left));
	x->site_count = count + n;
	x->op = x->sites[0] == x->view->reg->local ? OP_LOCAL : OP_FORWARD;
}

static bool holds(struct exchange *x, struct span sites, size_t site)
{
	struct span word;

	while (sites.n && span_split(&sites, '\n', &word))
		if (span_eq(word, x->view->reg->sites[site].name))
			return true;
	return false;
}

/* A marker of the client's own.  What is a replica here was shown by the first site that has it. */
static void seek(struct exchange *x, struct listing *l, struct span marker)
{
	const struct names_where in = { .kind = x->rw->target.listed };
	struct name *name = arena_alloc(&x->arena, sizeof(*name));

	l->seeks = true;
	if (!name || !in.kind || !names_by_meta(x->w->names, &in, marker, name))
		return;
	for (size_t i = 0; i < x->site_count; i++) {
		if (!holds(x, name->sites, x->sites[i]) || route_is_known_down(x, x->sites[i]))
			continue;
		for (size_t j = 0; j < i; j++)
			if (!route_is_known_down(x, x->sites[j]))
				mark_shown(l, x->sites[j]);
		l->first = x->sites[i];
		set_sites(x, l, true);
		return;
	}
}

static int read_query(struct exchange *x, struct listing *l)
{
	const struct span ours[] = { AT, OF }, all[] = { AT, OF, l->rule.marker };
	struct span query = span_from(x->req.path_query, x->req.path.n), at, of = SPAN(""), marker;
	bool found, continues = percent_query_get(x->req.path_query, AT, &at);

	l->native = query_without(&x->arena, query, ours, 2);
	l->base = query_without(&x->arena, query, all, l->rule.marker.n ? 3 : 2);
	if (!l->native.p || !l->base.p)
		return front_no_memory(x);
	if (!continues) {
		found = l->rule.marker.n && percent_query_get(x->req.path_query, l->rule.marker, &marker) &&
		        percent_decode(&x->arena, marker, &marker) && marker.n;
		if (found)
			seek(x, l, marker);
		return 0;
	}
	if (!percent_decode(&x->arena, at, &at) || !read_at(x, l, at))
		return front_refuse(x, 400, "bad-request", "scope-at, which leads from page to page, names no site of the scope "
		                                           "last: was the link followed with another scope?");
	if (percent_query_get(x->req.path_query, OF, &of) && !percent_decode(&x->arena, of, &of))
		of = SPAN("");
	l->base = query_of(&x->arena, of);
	if (!l->base.p)
		return front_no_memory(x);
	set_sites(x, l, true);
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static struct listing *listing_new(struct exchange *x, const struct rule *rule)
{
	struct listing *l = arena_zalloc(&x->arena, sizeof(*l));

	if (!l || rewrite_force(x))
		return NULL;
	l->rule = (struct rule_list){ arena_dup(&x->arena, rule->list.items), arena_dup(&x->arena, rule->list.next),
		                      arena_dup(&x->arena, rule->list.marker) };
	l->id_place = arena_dup(&x->arena, rule->id_place);
	if (!l->rule.items.p || !l->rule.next.p || !l->rule.marker.p || !l->id_place.p)
		return NULL;
	return l;
}

/* What the page becomes is not what they speak of. */
static void drop_conditions(struct exchange *x)
{
	static const char *const names[] = { "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range",
		                             "Range" };

	for (size_t i = 0; i < x->req.field_count; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (span_ieq(x->req.fields[i].name, span_of(names[k])))
				x->req.fields[i].drop = 1;
}

int listing_begin(struct exchange *x, const struct front_set *set, const struct rule_match *m)
{
	struct listing *l = listing_new(x, m->rule);

	if (!l)
		return front_no_memory(x);
	l->asks = true;
	memcpy(l->site, set->sites, set->count * sizeof(*l->site));
	l->count = set->count;
	l->first = x->sites[0];
	drop_conditions(x);
	x->list = l;
	return read_query(x, l);
}

/* Takes one word; "-" stands for none.  False: it could not stand in a document. */
static bool take_word(struct span *rest, struct span *word_r)
{
	size_t n = span_find(*rest, ' ');

	*word_r = span_head(*rest, n);
	*rest = span_from(*rest, n + 1);
	for (size_t i = 0; i < word_r->n; i++)
		if ((unsigned char)word_r->p[i] <= ' ' || (unsigned char)word_r->p[i] >= 0x7f || strchr("\"\\<>", word_r->p[i]))
			return false;
	if (span_eq(*word_r, SPAN("-")))
		*word_r = SPAN("");
	return true;
}

/* Each is held against the replica set of each element. */
static bool are_too_many(struct span tokens)
{
	struct span token;
	size_t count = 0;

	while (tokens.n && span_split(&tokens, ',', &token))
		count++;
	return count > OPERATION_SITES;
}

int listing_begin_for_peer(struct exchange *x, struct span field)
{
	struct rules *rules = front_rules(x);
	struct rule_match m;
	struct listing *l = NULL;
	bool found;

	if (!rules)
		return ERR_NOMEM;
	found = rules_match(rules, front_path(x), &m) && !m.id.n && m.rule->list.items.n;
	if (found)
		l = listing_new(x, m.rule);
	rules_unref(&rules);
	if (!found)
		return front_refuse(x, 503, "not-declared", "the list of this collection is to be one of several sites', and this site "
		                                            "declares no resources.list for it");
	if (!l)
		return front_no_memory(x);
	if (!take_word(&field, &l->peer_shown) || are_too_many(l->peer_shown) || !take_word(&field, &l->peer_here) || !take_word(&field, &l->peer_end))
		return front_refuse(x, 400, "bad-request", "X-Scopemesh-List cannot be read");
	x->list = l;
	return 0;
}

void listing_fini(struct exchange *x)
{
	listing_page_end(x->list);
	x->list = NULL;
}

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

struct span listing_query(const struct exchange *x)
{
	const struct listing *l = x->list;

	if (l->again.p)
		return l->again;
	if (!l->asks)
		return span_from(x->req.path_query, x->req.path.n);
	return l->seeks || x->site == l->first ? l->native : l->base;
}

/* It cannot be asked, as far as this request knows; `now`: the one that is being asked. */
static bool is_unreachable(const struct exchange *x, size_t site, bool any_now)
{
	for (size_t i = 0; any_now && i < x->site_count && x->sites[i] != x->site; i++)
		if (x->sites[i] == site)
			return true; /* tried before */
	return !any_now || route_is_known_down(x, site);
}

static bool is_left(const struct exchange *x, size_t i, bool any_now)
{
	const struct listing *l = x->list;

	return !(l->shown >> i & 1) && !(any_now && l->site[i] == x->site);
}

/* The next site whose first page follows; false: this is the last. */
static bool next_site(const struct exchange *x, size_t *site_r)
{
	const struct listing *l = x->list;

	for (size_t i = 0; i < x->site_count; i++) {
		size_t at = place_of(l, x->sites[i]);

		if (!is_left(x, at, true) || (l->undeclared >> at & 1) || is_unreachable(x, x->sites[i], true))
			continue;
		*site_r = x->sites[i];
		return true;
	}
	return false;
}

/* "scope-at=dc1,dc2&scope-of=limit%3D2" */
static void add_member(struct exchange *x, const size_t *more, struct buf *out)
{
	const struct listing *l = x->list;
	struct buf sites;

	buf_init(&sites, NULL, 0);
	for (size_t i = 0; i < l->turns; i++) {
		heads_add_token(&sites, x->view->reg->sites[l->turn[i]].name);
		buf_add_char(&sites, ',');
	}
	heads_add_token(&sites, x->view->reg->sites[x->site].name);
	if (more) {
		buf_add_char(&sites, ',');
		heads_add_token(&sites, x->view->reg->sites[*more].name);
	}
	buf_add_span(out, AT);
	buf_add_char(out, '=');
	percent_encode(buf_span(&sites), "-._~,", out);
	out->failed |= sites.failed;
	buf_fini(&sites);
	if (l->base.n < 2)
		return;
	buf_add_char(out, '&');
	buf_add_span(out, OF);
	buf_add_char(out, '=');
	percent_encode(span_from(l->base, 1), "-._~", out);
}

static void add_shown(struct exchange *x, struct buf *out)
{
	const struct listing *l = x->list;

	for (size_t i = 0; i < l->turns; i++) {
		if (i)
			buf_add_char(out, ',');
		heads_add_token(out, x->view->reg->sites[l->turn[i]].name);
	}
}

/* The link to the first page of the next site. */
static void add_end(struct exchange *x, struct buf *out)
{
	size_t next;

	if (!next_site(x, &next))
		return;
	add_safe(out, x->req.path);
	add_safe(out, x->list->base);
	buf_add_char(out, x->list->base.n ? '&' : '?');
	add_member(x, &next, out);
}

static struct span made(struct exchange *x, void (*add)(struct exchange *, struct buf *))
{
	struct span copy = { NULL, 0 };
	struct buf text;

	buf_init(&text, NULL, 0);
	add(x, &text);
	if (!text.failed)
		copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	return copy;
}

static void add_here(struct exchange *x, struct buf *out)
{
	add_member(x, NULL, out);
}

int listing_way(struct exchange *x, struct listing_way *way_r)
{
	const struct listing *l = x->list;

	if (l->asks)
		*way_r = (struct listing_way){ made(x, add_shown), made(x, add_here), made(x, add_end) };
	else
		*way_r = (struct listing_way){ l->peer_shown, l->peer_here, l->peer_end };
	return way_r->shown.p && way_r->here.p && way_r->end.p ? 0 : ERR_NOMEM;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static void add_word(struct buf *out, const char *before, struct span word)
{
	buf_add_z(out, before);
	buf_add_span(out, word.n ? word : SPAN("-"));
}

void listing_add_mesh_field(struct exchange *x, struct buf *out)
{
	struct listing_way way;

	if (!x->list->asks)
		return;
	if (listing_way(x, &way)) {
		out->failed = true;
		return;
	}
	add_word(out, "X-Scopemesh-List: ", way.shown);
	add_word(out, " ", way.here);
	add_word(out, " ", way.end);
	buf_add_z(out, "\r\n");
}

static void add_partial(struct exchange *x, bool any_now, struct buf *out)
{
	const struct listing *l = x->list;
	const char *before = "X-Scope-Partial: ";

	for (size_t i = 0; i < l->count; i++) {
		bool undeclared = l->undeclared >> i & 1;

		if (!is_left(x, i, any_now) || !(undeclared || is_unreachable(x, l->site[i], any_now)))
			continue;
		buf_add_z(out, before);
		heads_add_token(out, x->view->reg->sites[l->site[i]].name);
		buf_add_z(out, undeclared ? "=not-declared" : "=unreachable");
		before = ", ";
	}
	if (*before == ',')
		buf_add_z(out, "\r\n");
}

void listing_add_partial_field(struct exchange *x, struct buf *out)
{
	if (x->list->asks)
		add_partial(x, x->pool != NULL, out);
	else if (listing_serves(x) && x->list->page && page_is_empty(x->list->page) && listing_is_last(x))
		buf_add_z(out, "X-Scopemesh-List: empty\r\n");
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* {"images": []} */
static void add_empty_page(struct span items, struct buf *out)
{
	struct span rest = span_from(items, 1), name;
	size_t depth = 0;

	while (rest.n) { /* names only: page_check_items */
		bool quoted = rest.p[0] == '[';
		struct span behind = span_from(rest, quoted ? 2 : 1);

		name = span_head(behind, quoted ? span_find(behind, rest.p[1]) : span_find(behind, '.'));
		if (!quoted)
			name = span_head(name, span_find(name, '['));
		rest = span_from(behind, name.n + (quoted ? 2 : 0));
		buf_add_z(out, "{\"");
		add_safe(out, name);
		buf_add_z(out, "\": ");
		depth++;
	}
	buf_add_z(out, "[]");
	while (depth--)
		buf_add_char(out, '}');
}

bool listing_ends(struct exchange *x)
{
	const struct listing *l = x->list;

	if (!l->asks || !l->shown)
		return false;
	x->pool = NULL;
	buf_fini(&x->reply);
	add_empty_page(l->rule.items, &x->reply);
	exchange_reply(x, 200, "application/json");
	return true;
}

/* This site's part of the list is over, or none of it is what the client means. */
static void leave_site(struct exchange *x)
{
	x->list->again = span_make(NULL, 0);
	if (exchange_is_local(x))
		x->instances_tried = ~(uint64_t)0;
	exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_STATUS);
}

/* Content that is not in replay cannot be sent to another one. */
static bool has_more(const struct exchange *x)
{
	return !x->replay_lost && exchange_more_places(x);
}

static bool is_refusal(unsigned status)
{
	return status == 400 || status == 404 || status == 422;
}

static bool is_no_answer(unsigned status)
{
	return status == 502 || status == 503 || status == 504;
}

bool listing_moves_on(struct exchange *x, const struct http_field *error)
{
	struct listing *l = x->list;
	const struct http_field *f = x->pool->mesh ? http_find_name(&x->res, SPAN("X-Scopemesh-List")) : NULL;

	if (!l->asks)
		return false;
	if (error && span_eq(error->value, SPAN("not-declared")))
		l->undeclared |= bit_of(l, x->site);
	if (error && is_no_answer(x->res.status) && l->shown && !exchange_more_places(x)) { /* the others' pages were all there is */
		exchange_attempt_failed(x, OUTCOME_NOT_EXECUTED, REASON_PROXY_503);
		return true;
	}
	if (!has_more(x))
		return false;
	if (l->seeks && !error && is_refusal(x->res.status)) {
		mark_shown(l, x->site);
		leave_site(x);
		return true;
	}
	if (!f || !span_eq(f->value, SPAN("empty")))
		return false;
	mark_shown(l, x->site);
	l->seeks = false;
	leave_site(x);
	return true;
}

/* Behind its link, or, where there are no links, behind its last element. */
struct span listing_behind(struct exchange *x)
{
	const struct listing *l = x->list;
	struct span link = l->link.p ? l->link : page_next(l->page), last = page_last_id(l->page), query;
	struct buf text;

	if (!listing_is_last(x)) {
		link = span_from(link, span_find(link, '?') + 1);
		return link.n ? query_of(&x->arena, link) : span_make(NULL, 0);
	}
	if (!l->rule.marker.n || !last.n)
		return span_make(NULL, 0);
	query = query_without(&x->arena, listing_query(x), &l->rule.marker, 1);
	buf_init(&text, NULL, 0);
	buf_add_span(&text, query);
	buf_add_char(&text, query.n ? '&' : '?');
	buf_add_span(&text, l->rule.marker);
	buf_add_char(&text, '=');
	percent_encode(last, "-._~", &text);
	query = query.p && !text.failed ? arena_dup(&x->arena, buf_span(&text)) : span_make(NULL, 0);
	buf_fini(&text);
	return query;
}

/* A client that takes an empty page for the end would miss what comes behind it. */
static bool again(struct exchange *x)
{
	struct listing *l = x->list;
	int64_t half_us = x->view->conf->timeout_response_us / 2;
	struct span query;

	if (x->replay_lost || l->again_count >= LISTING_AGAIN || clock_mono_us() > x->start_us + half_us)
		return false;
	query = listing_behind(x);
	if (!query.p || span_eq(query, listing_query(x)))
		return false;
	l->again = query;
	l->again_count++;
	exchange_same_again(x);
	return true;
}

bool listing_page_is_over(struct exchange *x)
{
	struct listing *l = x->list;

	if (!page_is_empty(l->page))
		return false;
	if (again(x))
		return true;
	if (!l->asks || !listing_is_last(x) || !has_more(x))
		return false;
	mark_shown(l, x->site);
	l->seeks = false;
	leave_site(x);
	return true;
}
