/* The way up: path, query, content and a few fields of a request for the place it is sent to.
 *
 * To an instance here the service's M become local ids; to another site they stay.  Other services' local ids become M in
 * both cases, since nobody else knows them.  Content is kept as it came (x->replay), so that each attempt has its own
 * version of it.  What is at most REPLAY_BYTES long is waited for, since many an instance takes nothing that is chunked;
 * longer content goes out in chunks, a splicer and a slice in memory.
 *
 * Entity tags: what comes down rewritten is another representation than the instance's, so its tag is another one too
 * (RFC 9110 8.8.1, 8.8.3.3): the instance's with "@SITE" at its end.  It stays a strong one, so that If-Match goes on to
 * work, which weak ones never match (13.1.1), and it is the instance's own again on its way up. */
#include "proxy/rewrite_exchange.h"

#include "proxy/listing.h"

bool rewrite_gathers(const struct exchange *x)
{
	return x->rw && x->rw->up_body != SPLICE_NONE && !x->req_done &&
	       (x->req.framing == HTTP_CHUNKED || x->req.content_length <= REPLAY_BYTES);
}

/* ---- content ---- */

static void up_forget(struct rewrite *rw)
{
	splice_free(&rw->up);
	if (rw->up_look)
		rewrite_look_fini(rw->up_look);
	buf_fini(&rw->up_out);
	rw->up_whole = false;
}

void rewrite_up_feed(struct exchange *x, struct span data)
{
	splice_feed(x->rw->up, data, 0, &x->rw->up_out);
}

void rewrite_up_end(struct exchange *x)
{
	splice_end(x->rw->up, &x->rw->up_out);
}

/* Nothing is exchanged on this way. */
static bool is_idle(const struct exchange *x)
{
	return !exchange_is_local(x) && x->from_mesh;
}

bool rewrite_may_show_ids(const struct exchange *x)
{
	return names_service(x->w->names, x->svc->name) ||
	       (x->w->replication && replication_creates(x->w->replication, x->svc->name));
}

int rewrite_up_begin(struct exchange *x)
{
	struct rewrite *rw = x->rw;
	const struct splice_rules *rules;

	up_forget(rw);
	rw->answers = exchange_is_local(x) && !x->inner && (x->list || rewrite_may_show_ids(x));
	if (rw->up_body == SPLICE_NONE || is_idle(x))
		return 0;
	if (!rw->up_look)
		rw->up_look = arena_zalloc(&x->arena, sizeof(*rw->up_look));
	if (!rw->up_look || rewrite_look_init(rw->up_look, x->w, x->svc,
	                                      exchange_is_local(x) ? REWRITE_UP : REWRITE_ACROSS, &rw->target, &rules))
		return ERR_NOMEM;
	rw->up_look->foreign = !x->from_mesh && !x->inner;
	rw->up = splice_new(rw->up_body, rules, rewrite_look_up, rw->up_look);
	if (!rw->up)
		return ERR_NOMEM;
	rw->up_whole = x->req_done;
	x->up_chunked = !rw->up_whole;
	if (!rw->up_whole)
		return 0;
	rewrite_up_feed(x, buf_span(&x->replay));
	rewrite_up_end(x);
	x->replay_sent = buf_len(&x->replay);
	return rw->up_out.failed ? ERR_NOMEM : 0;
}

/* ---- path and query ---- */

static bool add_query(struct exchange *x, struct span query, struct buf *out)
{
	struct rewrite *rw = x->rw;
	const struct splice_rules *rules;
	struct rewrite_look *l = arena_zalloc(&x->arena, sizeof(*l));
	bool good;

	if (!query.n || is_idle(x)) {
		buf_add_span(out, query);
		return true;
	}
	if (!l)
		return false;
	good = !rewrite_look_init(l, x->w, x->svc, exchange_is_local(x) ? REWRITE_UP : REWRITE_ACROSS, &rw->target,
	                          &rules);
	l->foreign = !x->from_mesh && !x->inner;
	good = good && splice_once(SPLICE_LINK, rules, rewrite_look_up, l, query, out);
	rewrite_look_fini(l);
	return good;
}

struct span rewrite_path_query(struct exchange *x)
{
	const struct rewrite_target *t = &x->rw->target;
	struct span path = exchange_is_local(x) && t->local.p ? t->local : t->canonical, copy = { NULL, 0 };
	struct buf text;

	buf_init(&text, NULL, 0);
	buf_add_span(&text, path);
	if (add_query(x, x->list ? listing_query(x) : span_from(x->req.path_query, x->req.path.n), &text) && !text.failed)
		copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	return copy;
}

/* ---- fields ---- */

/* Adds a list of entity tags, those of this site as the instance knows them.  True: there was one. */
static bool add_tags(struct exchange *x, struct span list, struct buf *out)
{
	struct buf tail;
	struct span member, end;
	bool first = true, ours = false;

	buf_init(&tail, NULL, 0);
	buf_add_char(&tail, '@');
	heads_add_token(&tail, local_site(x));
	buf_add_char(&tail, '"');
	end = buf_span(&tail);
	while (http_list_next(&list, &member)) {
		if (!first)
			buf_add_z(out, ", ");
		first = false;
		if (member.n > end.n && span_eq(span_from(member, member.n - end.n), end)) {
			buf_add(out, member.p, member.n - end.n);
			buf_add_char(out, '"');
			ours = true;
		} else {
			buf_add_span(out, member);
		}
	}
	out->failed |= tail.failed;
	buf_fini(&tail);
	return ours;
}

static bool holds_tags(const struct http_field *f)
{
	return span_ieq(f->name, SPAN("If-Match")) || span_ieq(f->name, SPAN("If-None-Match")) ||
	       span_ieq(f->name, SPAN("If-Range"));
}

#define OURS 2 /* of http_field.drop: for this attempt only */

void rewrite_request_fields(struct exchange *x, struct buf *out)
{
	struct rewrite *rw = x->rw;
	bool answers = rw->answers || (x->inner && exchange_is_local(x)); /* tags of ours come back by the log too */

	if (rw->named && !exchange_is_local(x))
		buf_add_z(out, "X-Scopemesh-Named: 1\r\n");
	for (size_t i = 0; i < x->req.field_count; i++) {
		struct http_field *f = &x->req.fields[i];
		bool range = span_ieq(f->name, SPAN("Range")) || span_ieq(f->name, SPAN("If-Range"));

		if (f->drop == 1 || !(range || f->id == HTTP_ACCEPT_ENCODING || holds_tags(f)))
			continue;
		/* as it came where another site is asked, perhaps after this one */
		f->drop = answers && (rw->no_range || !span_ieq(f->name, SPAN("Range"))) ? OURS : 0;
		if (!f->drop || !holds_tags(f) || (range && rw->no_range))
			continue;
		buf_add_span(out, f->name);
		buf_add_z(out, ": ");
		rw->etag_came |= add_tags(x, f->value, out);
		buf_add_z(out, "\r\n");
	}
	if (answers)
		buf_add_z(out, "Accept-Encoding: identity\r\n");
}
