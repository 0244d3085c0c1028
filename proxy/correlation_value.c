/* Trace ids of the three tracing headers are one space, 32 digits each, so that a scope that came in with one of them is
 * found by another: tracing libraries translate between them.  A trace-id of 64 bits is the lower half of one (B3). */
#include "proxy/correlation_value.h"

#include "base/random.h"

/* No header has such a name. */
#define SPACE_TRACE SPAN(":trace")
#define SPACE_PARENT SPAN(":parent")

enum correlation_kind correlation_kind_of(struct span name)
{
	static const struct { const char *name; enum correlation_kind kind; } kinds[] = {
		{ "traceparent", CORRELATION_TRACEPARENT },
		{ "b3", CORRELATION_B3 },
		{ "x-b3-traceid", CORRELATION_B3_TRACEID },
		{ "x-openstack-request-id", CORRELATION_OPENSTACK },
		{ "authorization", CORRELATION_CREDENTIAL },
		{ "proxy-authorization", CORRELATION_CREDENTIAL },
		{ "cookie", CORRELATION_CREDENTIAL },
		{ "x-auth-token", CORRELATION_CREDENTIAL },
		{ "x-subject-token", CORRELATION_CREDENTIAL },
		{ "x-service-token", CORRELATION_CREDENTIAL },
		{ "x-api-key", CORRELATION_CREDENTIAL },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (span_ieq(name, span_of(kinds[i].name)))
			return kinds[i].kind;
	return CORRELATION_OPAQUE;
}

unsigned correlation_values_most(enum correlation_kind kind)
{
	return kind == CORRELATION_TRACEPARENT || kind == CORRELATION_B3 ? 2 : 1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static bool is_hex(struct span s, size_t digits)
{
	return s.n == digits && hex_is(s);
}

/* Of ids, which are seldom so: the first digit decides as a rule. */
static bool is_zero(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '0')
			return false;
	return true;
}

static void add_trace(struct correlation_values *v, struct span trace, struct span parent)
{
	size_t fill = TRACE_HEX - trace.n;

	memset(v->room, '0', fill);
	memcpy(v->room + fill, trace.p, trace.n);
	if (parent.n) {
		v->room[TRACE_HEX] = '-';
		memcpy(v->room + TRACE_HEX + 1, parent.p, parent.n);
		v->key[v->count++] = (struct correlation_key){ SPACE_PARENT, span_make(v->room, sizeof(v->room)) };
	}
	v->key[v->count++] = (struct correlation_key){ SPACE_TRACE, span_make(v->room, TRACE_HEX) };
}

/* W3C Trace Context 3.2.2: version "-" trace-id "-" parent-id "-" flags.  Of version 00 nothing follows; of a later one
 * something may, behind a dash; ff is none.  Capital digits and zeros throughout are invalid. */
static void read_traceparent(struct span s, struct correlation_values *v)
{
	struct span version = span_head(s, 2), trace, parent;

	if (s.n < 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
		return;
	trace = span_make(s.p + 3, TRACE_HEX);
	parent = span_make(s.p + 36, PARENT_HEX);
	if (!is_hex(version, 2) || span_eq(version, SPAN("ff")) || !is_hex(trace, TRACE_HEX) || is_zero(trace) ||
	    !is_hex(parent, PARENT_HEX) || is_zero(parent) || !is_hex(span_make(s.p + 53, 2), 2))
		return;
	if (s.n > 55 && (span_eq(version, SPAN("00")) || s.p[55] != '-'))
		return;
	add_trace(v, trace, parent);
}

static bool is_b3_trace(struct span s)
{
	return (is_hex(s, TRACE_HEX) || is_hex(s, TRACE_HEX / 2)) && !is_zero(s);
}

/* {TraceId}-{SpanId}[-{SamplingState}[-{ParentSpanId}]]; a sampling state alone has no ids. */
static void read_b3(struct span s, struct correlation_values *v)
{
	struct span rest = s, trace, span, state, parent;

	if (!span_split(&rest, '-', &trace) || !span_split(&rest, '-', &span) || !is_b3_trace(trace) ||
	    !is_hex(span, PARENT_HEX) || is_zero(span))
		return;
	if (span_split(&rest, '-', &state) && (state.n != 1 || !strchr("01d", *state.p)))
		return;
	if (span_split(&rest, '-', &parent) && !is_hex(parent, PARENT_HEX))
		return;
	if (!rest.p)
		add_trace(v, trace, span);
}

/* "req-" and 8-4-4-4-12 lower-case digits. */
static bool is_openstack(struct span s)
{
	if (s.n != 40 || !span_starts(s, SPAN("req-")))
		return false;
	for (size_t i = 4; i < s.n; i++) {
		bool dash = i == 12 || i == 17 || i == 22 || i == 27;

		if (dash ? s.p[i] != '-' : !hex_is(span_make(s.p + i, 1)))
			return false;
	}
	return true;
}

static bool is_opaque(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
			return false;
	return s.n && s.n <= CORRELATION_VALUE_BYTES;
}

void correlation_values_get(enum correlation_kind kind, struct span name, struct span value,
                            struct correlation_values *values_r)
{
	values_r->count = 0;
	switch (kind) {
	case CORRELATION_TRACEPARENT:
		read_traceparent(value, values_r);
		return;
	case CORRELATION_B3:
		read_b3(value, values_r);
		return;
	case CORRELATION_B3_TRACEID:
		if (is_b3_trace(value))
			add_trace(values_r, value, span_make(NULL, 0));
		return;
	case CORRELATION_OPENSTACK:
		if (!is_openstack(value))
			return;
		break;
	case CORRELATION_OPAQUE:
	case CORRELATION_CREDENTIAL:
		if (!is_opaque(value))
			return;
	}
	values_r->key[values_r->count++] = (struct correlation_key){ name, value };
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

/* The id of requests is a UUID of version 4 (RFC 9562): six of its 128 bits are fixed, and whoever expects one reads it. */
static void write_uuid(uint8_t id[16], char out[36])
{
	static const uint8_t groups[] = { 4, 2, 2, 2, 6 };

	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof(groups); i++) {
		hex_write(id, groups[i], out);
		id += groups[i];
		out += 2 * groups[i];
		if (i + 1 < sizeof(groups))
			*out++ = '-';
	}
}

void correlation_ids_make(struct correlation_ids *ids_r)
{
	struct { uint8_t trace[16], parent[8], id[16]; } raw;

	random_bytes(&raw, sizeof(raw));
	raw.parent[7] |= 1; /* all zeros are none */
	raw.trace[15] |= 1;
	hex_write(raw.trace, sizeof(raw.trace), ids_r->trace);
	hex_write(raw.parent, sizeof(raw.parent), ids_r->parent);
	write_uuid(raw.id, ids_r->uuid);
}

void correlation_ids_join(struct correlation_ids *ids, const struct correlation_values *values)
{
	for (unsigned i = 0; i < values->count; i++)
		if (span_eq(values->key[i].space, SPACE_TRACE))
			memcpy(ids->trace, values->key[i].value.p, TRACE_HEX);
}

/* The flags say sampled, as a tracing library does that starts a trace: with 00 the request would vanish from the
 * application's traces because it has a scope.  A b3 that was a sampling state alone keeps it. */
void correlation_value_make(enum correlation_kind kind, const struct correlation_ids *ids, struct span before,
                            struct buf *out)
{
	switch (kind) {
	case CORRELATION_TRACEPARENT:
		buf_addf(out, "00-%.*s-%.*s-01", TRACE_HEX, ids->trace, PARENT_HEX, ids->parent);
		return;
	case CORRELATION_B3:
		buf_addf(out, "%.*s-%.*s", TRACE_HEX, ids->trace, PARENT_HEX, ids->parent);
		if (before.n == 1 && strchr("01d", *before.p))
			buf_addf(out, "-%c", *before.p);
		return;
	case CORRELATION_B3_TRACEID:
		buf_add(out, ids->trace, TRACE_HEX);
		return;
	case CORRELATION_OPENSTACK:
		buf_add_z(out, "req-");
		buf_add(out, ids->uuid, sizeof(ids->uuid));
		return;
	case CORRELATION_OPAQUE:
		buf_add(out, ids->uuid, sizeof(ids->uuid));
		return;
	case CORRELATION_CREDENTIAL:
		return;
	}
}
