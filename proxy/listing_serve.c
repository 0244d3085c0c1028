/* A page of this site's own: what earlier sites have shown is left out of it, and its link leads on. */
#include "proxy/listing.h"

bool listing_serves(const struct exchange *x)
{
	return x->list && exchange_is_local(x);
}

/* ---- Link (RFC 8288) --------------------------------------------------------------------------------------------- */

/* Where the link-value that begins here ends: at its comma, or with the field. */
static size_t value_end(struct span s)
{
	bool quoted = false, uri = false;

	for (size_t i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (!uri && s.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && (s.p[i] == '<' || s.p[i] == '>'))
			uri = s.p[i] == '<';
		else if (!quoted && !uri && s.p[i] == ',')
			return i;
	}
	return s.n;
}

/* Whether its parameters have rel=next, perhaps among others. */
static bool is_next(struct span parameters)
{
	struct span p, word;

	while (span_split(&parameters, ';', &p)) {
		p = span_trim(p);
		if (!span_istarts(p, SPAN("rel=")))
			continue;
		p = span_from(p, 4);
		if (p.n >= 2 && p.p[0] == '"' && p.p[p.n - 1] == '"')
			p = span_make(p.p + 1, p.n - 2);
		while (p.n && span_split(&p, ' ', &word))
			if (span_ieq(word, SPAN("next")))
				return true;
		return false;
	}
	return false;
}

/* The link-value that begins here, and where in it a link to a next page begins and ends; open_r 0: it is none. */
static struct span take_value(struct span *rest, size_t *open_r, size_t *close_r)
{
	size_t end = value_end(*rest), open = span_find(*rest, '<'), close = span_find(*rest, '>');
	struct span value = span_head(*rest, end);
	bool next = open < close && close < end && is_next(span_from(value, close + 1));

	*open_r = next ? open + 1 : 0;
	*close_r = close;
	*rest = span_from(*rest, end);
	return value;
}

/* Link is where this application says what comes next. */
static bool is_ours(const struct listing *l, const struct http_field *f)
{
	return !l->rule.next.n && span_ieq(f->name, SPAN("Link"));
}

/* p NULL: none of them. */
static struct span find_link(const struct exchange *x)
{
	for (size_t i = 0; i < x->res.field_count; i++) {
		struct span rest = x->res.fields[i].value;
		size_t open, close;

		while (is_ours(x->list, &x->res.fields[i]) && rest.n) {
			struct span value = take_value(&rest, &open, &close);

			if (open)
				return span_make(value.p + open, close - open);
			rest = span_from(rest, 1);
		}
	}
	return span_make(NULL, 0);
}

/* ---- what was shown ---------------------------------------------------------------------------------------------- */

/* A look-up's ground; in the exchange's arena. */
struct ground {
	struct exchange *x;
	struct span shown;  /* tokens, by commas, in the order of their turns */
	struct name found;
};

/* The site of a replica set that this is the name of. */
static bool is_of_set(struct exchange *x, struct span set, struct span token, struct span *site_r)
{
	while (set.n && span_split(&set, '\n', site_r))
		if (heads_is_token(x, token, *site_r))
			return true;
	return false;
}

/* A replica is in the list of the first site of its set that had its turn.  Only who admitted it may know that that one has
 * not executed it; all others take it for shown, so that this one shows it, whenever its turn comes. */
static bool is_shown(void *ctx, struct span id)
{
	struct ground *g = ctx;
	const struct names_where in = { .kind = g->x->rw->target.listed };
	struct span shown = g->shown, token, site;

	if (!in.kind || !names_by_local(g->x->w->names, &in, id, &g->found))
		return false;
	while (shown.n && span_split(&shown, ',', &token))
		if (is_of_set(g->x, g->found.sites, token, &site))
			return !(g->found.lacks & names_lacks_bit(g->found.sites, site));
	return false;
}

int listing_page_begin(struct exchange *x)
{
	struct listing *l = x->list;
	struct ground *g = arena_zalloc(&x->arena, sizeof(*g));
	struct page_options o = { .items = l->rule.items, .id = l->id_place, .next = l->rule.next, .shown = is_shown, .ctx = g };
	struct listing_way way;

	if (!g || listing_way(x, &way))
		return ERR_NOMEM;
	g->x = x;
	g->shown = way.shown;
	o.here = way.here;
	o.end = way.end;
	l->page = page_new(&o);
	l->link = find_link(x);
	return l->page ? 0 : ERR_NOMEM;
}

void listing_page_end(struct listing *l)
{
	page_free(&l->page);
	l->link = span_make(NULL, 0);
	l->peeked = false;
}

bool listing_is_last(const struct exchange *x)
{
	return !page_has_next(x->list->page) && !x->list->link.p;
}

bool listing_is_seen(const struct exchange *x)
{
	return page_shows(x->list->page) || buf_len(&x->rw->down_out) >= REWRITE_GATHER;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

/* The value with our member in each link to a next page. */
static int lead_on(struct exchange *x, struct http_field *f, struct span member)
{
	struct span rest = f->value, copy = { NULL, 0 };
	struct buf text;

	buf_init(&text, NULL, 0);
	while (rest.n) {
		size_t open, close;
		struct span value = take_value(&rest, &open, &close);

		if (open) {
			buf_add_span(&text, span_head(value, open));
			page_add_link(span_make(value.p + open, close - open), member, &text);
			buf_add_span(&text, span_from(value, close));
		} else {
			buf_add_span(&text, value);
		}
		buf_add_span(&text, span_head(rest, 1));
		rest = span_from(rest, 1);
	}
	if (!text.failed)
		copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	if (!copy.p)
		return ERR_NOMEM;
	f->value = copy;
	return 0;
}

/* The next site's first page, in a field of its own. */
static int add_link(struct exchange *x, struct span end)
{
	struct http_field *fields;
	char *text;

	if (!end.n)
		return 0;
	fields = arena_alloc(&x->arena, (x->res.field_count + 1) * sizeof(*fields));
	text = arena_alloc(&x->arena, end.n + 16);
	if (!fields || !text)
		return ERR_NOMEM;
	memcpy(fields, x->res.fields, x->res.field_count * sizeof(*fields));
	text[0] = '<';
	memcpy(text + 1, end.p, end.n);
	memcpy(text + 1 + end.n, ">; rel=\"next\"", 14);
	fields[x->res.field_count] = (struct http_field){ .name = SPAN("Link"), .value = span_make(text, end.n + 14) };
	x->res.fields = fields;
	x->res.field_count++;
	return 0;
}

int listing_fields(struct exchange *x)
{
	struct listing *l = x->list;
	struct listing_way way;
	int rc = 0;

	if (x->res.status != 200)
		return 0;
	l->link = find_link(x); /* a HEAD has no page */
	if (listing_way(x, &way))
		return ERR_NOMEM;
	for (size_t i = 0; !rc && i < x->res.field_count; i++) {
		struct http_field *f = &x->res.fields[i];

		if (span_ieq(f->name, SPAN("ETag")) || span_ieq(f->name, SPAN("Last-Modified")))
			f->drop = 1;
		else if (is_ours(l, f))
			rc = lead_on(x, f, way.here);
	}
	return rc || l->rule.next.n || l->link.p ? rc : add_link(x, way.end);
}
