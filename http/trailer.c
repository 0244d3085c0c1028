/* Trailers as fields: which of them may travel on as such.
 *
 * RFC 9110 6.5.1: a trailer must not be taken for a header unless its definition permits it, and
 * fields for framing, routing, authentication, request modifiers, response controls and the
 * content's form never may.  All field names the proxy acts on are of these kinds, but for
 * Proxy-Status (RFC 9209 2 allows it); the others are listed. */
#include "http/guard_int.h"

/* Lower case; "x-*" stands for every name with this beginning. */
static const struct span refused_names[] = {
	SPAN("access-control-*"), SPAN("age"), SPAN("alt-svc"), SPAN("cache-control"),
	SPAN("content-*"), SPAN("expires"), SPAN("if-*"), SPAN("pragma"), SPAN("range"),
	SPAN("set-cookie"), SPAN("strict-transport-security"), SPAN("tracestate"), SPAN("vary"),
	SPAN("warning"), SPAN("www-authenticate"),
};

static bool is_refused(const struct http_field *f)
{
	struct span name;

	if (f->id != HTTP_OTHER)
		return f->id != HTTP_PROXY_STATUS;
	for (size_t i = 0; i < sizeof(refused_names) / sizeof(refused_names[0]); i++) {
		name = refused_names[i];
		if (name.p[name.n - 1] == '*' ? span_istarts(f->name, span_head(name, name.n - 1))
		                              : span_ieq(f->name, name))
			return true;
	}
	return false;
}

/* Number of lines, or 0 when raw is no sequence of whole field lines. */
static size_t count_lines(struct span raw)
{
	struct head_guard guard;
	const char *reason;
	size_t lines = 0;

	guard_begin_fields(&guard);
	if (guard_feed_piece(&guard, raw, &reason) != GUARD_MORE || raw.p[raw.n - 1] != '\n')
		return 0;
	for (size_t i = 0; i < raw.n; i++)
		lines += raw.p[i] == '\n';
	return lines;
}

static struct http_field read_line(struct span line)
{
	size_t colon = span_find(line, ':');
	struct http_field f = {
		.name = span_head(line, colon),
		.value = span_trim(span_from(line, colon + 1)),
	};

	f.id = (uint8_t)http_field_id(f.name);
	return f;
}

int http_trailers_parse(struct arena *arena, struct span raw, struct http_field **fields_r,
                        size_t *count_r)
{
	struct http_field *fields, f;
	size_t lines, count = 0, n;

	*fields_r = NULL;
	*count_r = 0;
	if (!raw.n)
		return 0;
	lines = count_lines(raw);
	if (!lines)
		return ERR_SYNTAX;
	fields = arena_alloc(arena, lines * sizeof(*fields));
	if (!fields)
		return ERR_NOMEM;
	for (; raw.n; raw = span_from(raw, n + 1)) {
		n = span_find(raw, '\n');
		f = read_line(span_head(raw, n - 1));
		if (!is_refused(&f))
			fields[count++] = f;
	}
	*fields_r = fields;
	*count_r = count;
	return 0;
}
