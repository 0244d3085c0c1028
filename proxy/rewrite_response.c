/* The way down: an instance's answer, its local ids become M in textual content, Location, Content-Location and Link.
 *
 * What of its head is true of the content as it was is not of the content as it will be:
 *
 *   Content-Length              of up to REWRITE_GATHER bytes the new one, for longer content chunks; HEAD and 304: none
 *   Content-Encoding: gzip      inflated, though identity was asked for; any other coding of text is refused (502)
 *   ETag                        with this site at its end (rewrite_request.c)
 *   Content-MD5, Digest, ...    dropped
 *   206                         a part may begin within an id, and counts bytes that nobody else sees: the whole is asked
 *                               for again without Range, which RFC 9110 14.2 allows; parts of what is no text stay parts
 *
 * Content of unknown length goes on as it comes, since it may be a stream of events. */
#include "proxy/listing.h"

static bool has_body(const struct exchange *x)
{
	return x->res.framing != HTTP_NO_BODY;
}

static bool is_of_ranges(const struct http_head *res)
{
	const struct http_field *type = http_find(res, HTTP_CONTENT_TYPE);

	return type && span_istarts(type->value, SPAN("multipart/"));
}

/* 206: what ought to be done instead. */
static enum rewrite_verdict judge_part(struct exchange *x, const char **why_r)
{
	struct rewrite *rw = x->rw;

	if (rw->down_body == SPLICE_NONE && !is_of_ranges(&x->res))
		return REWRITE_GOOD;
	if (!rw->no_range && !x->replay_lost && exchange_is_safe(x)) {
		rw->no_range = true;
		return REWRITE_WHOLE;
	}
	*why_r = "it is a part of a text, in which identifiers cannot be found";
	return REWRITE_BAD;
}

/* Nothing but identity, or what can be taken off. */
static enum rewrite_verdict judge_coding(struct exchange *x, const char **why_r)
{
	struct http_field *coding = http_find(&x->res, HTTP_CONTENT_ENCODING);

	if (!coding || span_ieq(coding->value, SPAN("identity")))
		return REWRITE_GOOD;
	if (http_count(&x->res, HTTP_CONTENT_ENCODING) > 1 ||
	    (!span_ieq(coding->value, SPAN("gzip")) && !span_ieq(coding->value, SPAN("x-gzip")))) {
		*why_r = "its text is in a content coding in which identifiers cannot be found";
		return REWRITE_BAD;
	}
	coding->drop = true;
	if (!has_body(x))
		return REWRITE_GOOD;
	x->rw->inflate = rewrite_inflate_new();
	return x->rw->inflate ? REWRITE_GOOD : REWRITE_NOMEM;
}

static int begin(struct exchange *x)
{
	struct rewrite *rw = x->rw;
	const struct splice_rules *rules;

	rewrite_target_list(x->w->names, x->svc->name, &rw->target); /* there may be one by now */
	if (!rw->down_look)
		rw->down_look = arena_zalloc(&x->arena, sizeof(*rw->down_look));
	if (!rw->down_look ||
	    rewrite_look_init(rw->down_look, x->w, x->svc, REWRITE_DOWN, &rw->target, &rules))
		return ERR_NOMEM;
	rw->down = splice_new(rw->down_body, rules, rewrite_look_up, rw->down_look);
	if (!rw->down)
		return ERR_NOMEM;
	if (x->list && x->res.status == 200 && rw->down_body == SPLICE_JSON && listing_page_begin(x))
		return ERR_NOMEM;
	rw->gather = x->res.framing == HTTP_LENGTH && x->res.content_length <= REWRITE_GATHER && !rw->inflate;
	return 0;
}

void rewrite_down_forget(struct exchange *x)
{
	struct rewrite *rw = x->rw;

	splice_free(&rw->down);
	if (x->list)
		listing_page_end(x->list);
	buf_fini(&rw->down_out);
	rw->ended = false;
	if (rw->down_look)
		rewrite_look_fini(rw->down_look);
	rewrite_inflate_free(&rw->inflate);
	rw->gather = false;
}

enum rewrite_verdict rewrite_judge(struct exchange *x, const char **why_r)
{
	struct rewrite *rw = x->rw;
	const struct http_field *type = http_find(&x->res, HTTP_CONTENT_TYPE);
	enum rewrite_verdict verdict = REWRITE_GOOD;

	rewrite_down_forget(x);
	rw->down_body = type ? splice_body_of(type->value) : SPLICE_NONE;
	if (!rw->answers)
		rw->down_body = SPLICE_NONE;
	else if (x->res.status == 206)
		verdict = judge_part(x, why_r);
	if (verdict == REWRITE_GOOD && rw->down_body != SPLICE_NONE)
		verdict = judge_coding(x, why_r);
	if (verdict == REWRITE_GOOD && rw->down_body != SPLICE_NONE && has_body(x) && begin(x))
		verdict = REWRITE_NOMEM;
	return verdict;
}

/* ---- fields ---- */

static bool is_digest(struct span name)
{
	return span_ieq(name, SPAN("Content-MD5")) || span_ieq(name, SPAN("Digest")) ||
	       span_ieq(name, SPAN("Content-Digest")) || span_ieq(name, SPAN("Repr-Digest"));
}

static bool is_link(const struct http_field *f)
{
	return f->id == HTTP_LOCATION || span_ieq(f->name, SPAN("Content-Location")) || span_ieq(f->name, SPAN("Link"));
}

static int rewrite_link(struct exchange *x, struct http_field *f)
{
	struct rewrite_look *l = arena_zalloc(&x->arena, sizeof(*l));
	const struct splice_rules *rules;
	struct span copy = { NULL, 0 };
	struct buf text;
	bool good;

	if (!l)
		return ERR_NOMEM;
	buf_init(&text, NULL, 0);
	good = !rewrite_look_init(l, x->w, x->svc, REWRITE_DOWN, &x->rw->target, &rules) &&
	       rewrite_look_link(l, rules, f->value, &text);
	rewrite_look_fini(l);
	if (good && span_eq(buf_span(&text), f->value))
		copy = f->value; /* as it came, to the last byte of its line */
	else if (good)
		copy = arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	if (!copy.p)
		return ERR_NOMEM;
	f->value = copy;
	return 0;
}

/* "tag" -> "tag@SITE"; what is no entity tag stays. */
static int mark_tag(struct exchange *x, struct http_field *f)
{
	struct span copy;
	struct buf text;

	if (f->value.n < 2 || f->value.p[f->value.n - 1] != '"')
		return 0;
	buf_init(&text, NULL, 0);
	buf_add(&text, f->value.p, f->value.n - 1);
	buf_add_char(&text, '@');
	heads_add_token(&text, local_site(x));
	buf_add_char(&text, '"');
	copy = text.failed ? span_make(NULL, 0) : arena_dup(&x->arena, buf_span(&text));
	buf_fini(&text);
	if (!copy.p)
		return ERR_NOMEM;
	f->value = copy;
	return 0;
}

int rewrite_response_fields(struct exchange *x)
{
	struct rewrite *rw = x->rw;
	bool text = rw->down_body != SPLICE_NONE, same = x->res.status == 304 && rw->etag_came;
	int rc = 0;

	if (!rw->answers)
		return 0;
	if (x->list && listing_serves(x))
		rc = listing_fields(x);
	for (size_t i = 0; !rc && i < x->res.field_count; i++) {
		struct http_field *f = &x->res.fields[i];

		if (is_link(f))
			rc = rewrite_link(x, f);
		else if ((text || same) && span_ieq(f->name, SPAN("ETag")))
			rc = mark_tag(x, f);
		else if (text && is_digest(f->name))
			f->drop = true;
	}
	if (text && !rw->gather)
		x->res.has_content_length = false; /* in chunks, or until the end of the connection; HEAD, 304: not known */
	return rc;
}

void rewrite_add_fields(struct exchange *x, struct buf *out)
{
	const struct rewrite *rw = x->rw;
	const struct rewrite_target *t = &rw->target;

	if (t->seen == REWRITE_KNOWN && t->id.n && !t->listed &&
	    !(x->pool->mesh && http_find_name(&x->res, SPAN("X-Scope-Meta-Id")))) {
		buf_add_z(out, "X-Scope-Meta-Id: ");
		buf_add_span(out, t->id); /* as paths have it */
		buf_add_z(out, "\r\n");
	}
	if (rw->stale && exchange_is_local(x))
		buf_add_z(out, "X-Scope-Stale: 1\r\n");
}

/* ---- content ---- */

/* Bytes of the message that are looked at in one go. */
static size_t slice_of(const struct rewrite *rw)
{
	return rw->inflate ? REWRITE_GZIP_SLICE : REWRITE_SLICE;
}

/* What of a page is left, then its ids. */
static int take_apart(struct exchange *x, struct span data)
{
	struct rewrite *rw = x->rw;
	struct buf left;

	if (!x->list || !x->list->page) {
		splice_feed(rw->down, data, 0, &rw->down_out);
		return rw->down_out.failed ? ERR_NOMEM : 0;
	}
	buf_init(&left, NULL, 0);
	page_feed(x->list->page, data, &left);
	splice_feed(rw->down, buf_span(&left), 0, &rw->down_out);
	rw->down_out.failed |= left.failed;
	buf_fini(&left);
	return rw->down_out.failed ? ERR_NOMEM : 0;
}

static int feed(struct exchange *x, struct span data)
{
	struct buf plain;
	int rc;

	if (!x->rw->inflate)
		return take_apart(x, data);
	buf_init(&plain, NULL, 0);
	rc = rewrite_inflate_feed(x->rw->inflate, data, &plain);
	if (!rc)
		rc = take_apart(x, buf_span(&plain));
	buf_fini(&plain);
	return rc;
}

enum http_body_event rewrite_down_next(struct exchange *x, struct span *in, const char **why_r)
{
	struct span slice = span_head(*in, slice_of(x->rw)), data;
	size_t before = slice.n;
	enum http_body_event ev = http_body_next(&x->res_body, &slice, &data, why_r);

	if (ev == HTTP_BODY_DATA && feed(x, data)) {
		*why_r = "its text cannot be taken apart";
		ev = HTTP_BODY_BAD;
	}
	*in = span_from(*in, before - slice.n);
	if (ev == HTTP_BODY_MORE && in->n)
		ev = HTTP_BODY_DATA; /* of this slice only */
	return ev;
}

int rewrite_down_end(struct exchange *x)
{
	struct rewrite *rw = x->rw;

	if (rw->inflate && !rewrite_inflate_is_whole(rw->inflate))
		return ERR_SYNTAX;
	if (x->list && x->list->page) {
		struct buf left;

		buf_init(&left, NULL, 0);
		page_end(x->list->page, &left);
		splice_feed(rw->down, buf_span(&left), 0, &rw->down_out);
		rw->down_out.failed |= left.failed;
		buf_fini(&left);
	}
	splice_end(rw->down, &rw->down_out);
	rw->ended = true;
	return rw->down_out.failed ? ERR_NOMEM : 0;
}
