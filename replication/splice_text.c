/* Which content types are text, and what a JSON string says. */
#include "replication/splice_int.h"

static bool one_of(struct span s, const char *const *list)
{
	for (; *list; list++) {
		if (span_ieq(s, span_of(*list)))
			return true;
	}
	return false;
}

static bool span_iends(struct span s, struct span tail)
{
	return s.n > tail.n && span_ieq(span_from(s, s.n - tail.n), tail);
}

/* Charsets whose bytes below 128 are ASCII, wherever they stand. */
static bool charset_fits(struct span parameters)
{
	struct span p;

	while (span_split(&parameters, ';', &p)) {
		p = span_trim(p);
		if (!span_istarts(p, SPAN("charset=")))
			continue;
		p = span_from(p, 8);
		if (p.n >= 2 && p.p[0] == '"' && p.p[p.n - 1] == '"')
			p = span_make(p.p + 1, p.n - 2);
		if (!span_ieq(p, SPAN("utf-8")) && !span_ieq(p, SPAN("utf8")) && !span_ieq(p, SPAN("us-ascii")) &&
		    !span_istarts(p, SPAN("iso-8859-")) && !span_istarts(p, SPAN("windows-125")))
			return false;
	}
	return true;
}

enum splice_body splice_body_of(struct span content_type)
{
	static const char *const json[] = { "application/json", "text/json", "application/x-ndjson", "application/jsonl",
	                                    "application/json-seq", "application/x-json-stream", NULL };
	static const char *const text[] = { "application/xml", "application/javascript", "application/yaml",
	                                    "application/x-yaml", "application/graphql", NULL };
	size_t n = span_find(content_type, ';');
	struct span type = span_trim(span_head(content_type, n));

	if (!charset_fits(span_from(content_type, n)))
		return SPLICE_NONE;
	if (span_ieq(type, SPAN("application/jose+json")))
		return SPLICE_NONE;
	/* Glance has application/openstack-images-v2.1-json-patch */
	if (one_of(type, json) || span_iends(type, SPAN("-json-patch")) ||
	    (span_istarts(type, SPAN("application/")) && span_iends(type, SPAN("+json"))))
		return SPLICE_JSON;
	if (span_ieq(type, SPAN("application/x-www-form-urlencoded")))
		return SPLICE_LINK;
	if (span_istarts(type, SPAN("text/")) || one_of(type, text) || span_iends(type, SPAN("+xml")) ||
	    span_iends(type, SPAN("+yaml")))
		return SPLICE_TEXT;
	return SPLICE_NONE;
}

static bool read_code(struct span raw, size_t at, unsigned *code_r)
{
	*code_r = 0;
	if (raw.n < at + 6 || raw.p[at] != '\\' || raw.p[at + 1] != 'u')
		return false;
	for (size_t i = at + 2; i < at + 6; i++) {
		int digit = splice_hex(raw.p[i]);

		if (digit < 0)
			return false;
		*code_r = *code_r << 4 | (unsigned)digit;
	}
	return true;
}

static size_t put_utf8(unsigned code, char out[4])
{
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (n == 1) {
		out[0] = (char)code;
		return 1;
	}
	for (size_t i = n; --i; code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(lead[n] | code);
	return n;
}

/* The escape at *at, which it steps over; 0 bytes: malformed. */
static size_t put_escape(struct span raw, size_t *at, char out[4])
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	unsigned code, low;
	const char *name;

	if (read_code(raw, *at, &code)) {
		*at += 6;
		if (code < 0xd800 || code > 0xdfff)
			return put_utf8(code, out);
		if (code > 0xdbff || !read_code(raw, *at, &low) || low < 0xdc00 || low > 0xdfff)
			return 0;
		*at += 6;
		return put_utf8(0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff)), out);
	}
	name = *at + 1 < raw.n && raw.p[*at + 1] ? strchr(names, raw.p[*at + 1]) : NULL;
	if (!name)
		return 0;
	*at += 2;
	out[0] = values[name - names];
	return 1;
}

bool splice_unescape(struct span raw, char room[SPLICE_ID_BYTES], size_t *bytes_r)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.n;) {
		char one[4] = { raw.p[i] };
		size_t bytes = 1;

		if (raw.p[i] == '\\')
			bytes = put_escape(raw, &i, one);
		else
			i++;
		if (!bytes || n + bytes > SPLICE_ID_BYTES)
			return false;
		memcpy(room + n, one, bytes);
		n += bytes;
	}
	*bytes_r = n;
	return true;
}
