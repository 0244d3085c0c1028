/* Problem documents (RFC 9457), printed by jansson.
 *
 * Texts come from requests, so they may hold any byte: what is no UTF-8 becomes U+FFFD, one for
 * each maximal ill-formed part as Unicode recommends (3.9, table 3-8).  Failure of memory shows in
 * out->failed. */
#include "http/problem.h"

#include <jansson.h>

#include "http/message.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the well-formed sequence at s, or minus those of the ill-formed part. */
static int utf8_sequence(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char low = 0x80, high = 0xbf;
	int more, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return -1;
	more = p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
	if (p[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f; /* above U+10FFFF */
	for (i = 1; i <= more; i++, low = 0x80, high = 0xbf)
		if ((size_t)i >= s.n || p[i] < low || p[i] > high)
			return -i;
	return i;
}

static json_t *text_value(struct span s)
{
	struct buf clean;
	json_t *value = NULL;
	int n;

	buf_init(&clean, NULL, 0);
	while (s.n) {
		n = utf8_sequence(s);
		if (n > 0)
			buf_add(&clean, s.p, (size_t)n);
		else
			buf_add_z(&clean, REPLACEMENT);
		s = span_from(s, (size_t)(n > 0 ? n : -n));
	}
	if (!clean.failed)
		value = json_stringn(buf_span(&clean).p, buf_len(&clean));
	buf_fini(&clean);
	return value;
}

/* The document in the making; ok falls when memory does. */
struct document {
	json_t *object;
	bool ok;
};

/* Takes value over, also when it fails. */
static void put(struct document *d, const char *name, json_t *value)
{
	if (json_object_set_new(d->object, name, value))
		d->ok = false;
}

static void put_text(struct document *d, const char *name, struct span text)
{
	if (text.n)
		put(d, name, text_value(text));
}

static void put_number(struct document *d, const char *name, unsigned number)
{
	if (number)
		put(d, name, json_integer(number));
}

static void put_list(struct document *d, const char *name, const struct span *texts, unsigned count)
{
	json_t *list;

	if (!count)
		return;
	list = json_array();
	for (unsigned i = 0; i < count; i++)
		if (json_array_append_new(list, text_value(texts[i])))
			d->ok = false;
	put(d, name, list);
}

static void put_type(struct document *d, const struct problem *p)
{
	struct buf type;

	buf_init(&type, NULL, 0);
	if (p->type)
		buf_addf(&type, "urn:scopemesh:%s", p->type);
	else
		buf_add_z(&type, "about:blank");
	put_text(d, "type", buf_span(&type));
	buf_fini(&type);
	put_text(d, "title", span_of(p->title ? p->title : http_reason(p->status)));
	put_number(d, "status", p->status);
	put_text(d, "detail", span_of(p->detail));
}

static void put_scope_members(struct document *d, const struct problem *p)
{
	put_text(d, "text", p->text);
	put_number(d, "column", p->column);
	if (p->caret[1].n)
		put_list(d, "caret", p->caret, 2);
	put_text(d, "expected", span_of(p->expected));
	put_text(d, "hint", span_of(p->hint));
	put_list(d, "known", p->known,
	         p->known_count < PROBLEM_KNOWN_MAX ? p->known_count : PROBLEM_KNOWN_MAX);
	put_text(d, "nearest", p->nearest);
}

static void put_route_members(struct document *d, const struct problem *p)
{
	put_text(d, "service", p->service);
	put_text(d, "from", p->from);
	put_text(d, "site", p->site);
	put_number(d, "attempt", p->attempt);
	put_number(d, "attempts", p->attempts);
	/* Nothing was tried in no time: a caller that left the member alone. */
	if (p->elapsed_ms > 0 || (p->elapsed_ms == 0 && p->attempt))
		put(d, "elapsed_ms", json_integer(p->elapsed_ms));
	put_text(d, "key", p->key);
	for (unsigned i = 0; i < p->more_count; i++)
		put_text(d, p->more[i].name, p->more[i].text);
}

static int add_piece(const char *piece, size_t n, void *out)
{
	buf_add(out, piece, n);
	return 0;
}

void problem_print(const struct problem *p, struct buf *out)
{
	struct document d = { .object = json_object(), .ok = true };

	put_type(&d, p);
	put_scope_members(&d, p);
	put_route_members(&d, p);
	if (json_dump_callback(d.object, add_piece, out, JSON_INDENT(2)) || !d.ok)
		out->failed = true;
	buf_add_char(out, '\n');
	json_decref(d.object);
}
