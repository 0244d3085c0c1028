/* Fields: names to ids, look-up in a head, lists, and what may not travel on.
 *
 * A name is found by its length first: no length has more than six known names, so a name costs
 * one or two comparisons of its first byte and seldom more than one of the whole.  The names and
 * ids are stated once, in HTTP_FIELDS; the test looks every one of them up, so that a name that
 * was forgotten in by_length fails there. */
#include "http/message.h"

#define LONGEST_NAME 21
#define SAME_LENGTH_MAX 6

static const struct span names[] = {
	[HTTP_OTHER] = { NULL, 0 },
#define FIELD_NAME(id, name) [id] = { name, sizeof(name) - 1 },
	HTTP_FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

/* Ids by length of name; HTTP_OTHER (0) ends a row. */
static const uint8_t by_length[LONGEST_NAME + 1][SAME_LENGTH_MAX] = {
	[2] = { HTTP_TE },
	[3] = { HTTP_VIA },
	[4] = { HTTP_HOST, HTTP_DATE },
	[6] = { HTTP_COOKIE, HTTP_EXPECT, HTTP_ORIGIN, HTTP_SERVER },
	[7] = { HTTP_X_SCOPE, HTTP_BAGGAGE, HTTP_UPGRADE, HTTP_TRAILER },
	[8] = { HTTP_LOCATION },
	[9] = { HTTP_FORWARDED },
	[10] = { HTTP_CONNECTION, HTTP_KEEP_ALIVE },
	[11] = { HTTP_TRACEPARENT, HTTP_RETRY_AFTER },
	[12] = { HTTP_CONTENT_TYPE, HTTP_X_REQUEST_ID, HTTP_PROXY_STATUS, HTTP_MAX_FORWARDS },
	[13] = { HTTP_AUTHORIZATION },
	[14] = { HTTP_CONTENT_LENGTH },
	[15] = { HTTP_ACCEPT_ENCODING, HTTP_X_FORWARDED_FOR, HTTP_IDEMPOTENCY_KEY },
	[16] = { HTTP_CONTENT_ENCODING, HTTP_X_FORWARDED_HOST, HTTP_PROXY_CONNECTION },
	[17] = { HTTP_TRANSFER_ENCODING, HTTP_X_FORWARDED_PROTO, HTTP_X_SCOPEMESH_SCOPE,
	         HTTP_X_SCOPEMESH_TRACE, HTTP_X_SCOPEMESH_ERROR },
	[18] = { HTTP_PROXY_AUTHENTICATE },
	[19] = { HTTP_PROXY_AUTHORIZATION, HTTP_X_SCOPEMESH_SERVICE },
	[21] = { HTTP_X_SCOPEMESH_OPERATION, HTTP_X_SCOPEMESH_REPLICATE },
};

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Eight bytes of a name with letters in lower case: bit 5 is set where bit 6 is, by which nothing but a letter becomes
 * one, and a hyphen stays what it is. */
static uint64_t eight(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w | (w & UINT64_C(0x4040404040404040)) >> 1;
}

static uint64_t eight_of(const char *lower_name)
{
	uint64_t w;

	memcpy(&w, lower_name, sizeof(w));
	return w;
}

/* Names of letters and hyphens only, the whole of names[].  Eight bytes at a time, the last ones once more. */
static bool is_name(struct span s, const char *lower_name)
{
	size_t i;

	if (s.n < 8) {
		for (i = 0; i < s.n; i++)
			if (lower(s.p[i]) != (unsigned char)lower_name[i])
				return false;
		return true;
	}
	for (i = 0; i + 8 < s.n; i += 8)
		if (eight(s.p + i) != eight_of(lower_name + i))
			return false;
	return eight(s.p + s.n - 8) == eight_of(lower_name + s.n - 8);
}

enum http_field_id http_field_id(struct span name)
{
	const uint8_t *row;

	if (name.n == 0)
		return HTTP_OTHER;
	if (name.n <= LONGEST_NAME) {
		row = by_length[name.n];
		for (size_t i = 0; i < SAME_LENGTH_MAX && row[i]; i++)
			if (is_name(name, names[row[i]].p))
				return (enum http_field_id)row[i];
	}
	if (name.n < 8 || lower(*name.p) != 'x')
		return HTTP_OTHER;
	if (is_name(span_head(name, 8), "x-scope-"))
		return HTTP_X_SCOPE_ANY;
	if (name.n >= 12 && is_name(span_head(name, 12), "x-scopemesh-"))
		return HTTP_X_SCOPEMESH_ANY;
	return HTTP_OTHER;
}

struct http_field *http_find(const struct http_head *head, enum http_field_id id)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].id == id)
			return &head->fields[i];
	return NULL;
}

size_t http_count(const struct http_head *head, enum http_field_id id)
{
	size_t n = 0;

	for (size_t i = 0; i < head->field_count; i++)
		n += head->fields[i].id == id;
	return n;
}

struct http_field *http_find_name(const struct http_head *head, struct span name)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (span_ieq(head->fields[i].name, name))
			return &head->fields[i];
	return NULL;
}

/* Length of the first member, quoted strings with their commas included. */
static size_t member_length(struct span s)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == ',' && !quoted)
			break;
	}
	return i < s.n ? i : s.n;
}

bool http_list_next(struct span *rest, struct span *member_r)
{
	size_t n;

	while (rest->n) {
		n = member_length(*rest);
		*member_r = span_trim(span_head(*rest, n));
		*rest = span_from(*rest, n + 1);
		if (member_r->n)
			return true;
	}
	return false;
}

bool http_list_has(struct span list, struct span token)
{
	struct span member;

	while (http_list_next(&list, &member))
		if (span_ieq(member, token))
			return true;
	return false;
}

bool http_upgrade_next(struct span *rest, struct span *protocol_r)
{
	while (http_list_next(rest, protocol_r))
		if (!span_ieq(*protocol_r, SPAN("h2c")))
			return true;
	return false;
}

static bool is_hop_by_hop(enum http_field_id id)
{
	switch (id) {
	case HTTP_CONNECTION:
	case HTTP_CONTENT_LENGTH:
	case HTTP_KEEP_ALIVE:
	case HTTP_PROXY_AUTHENTICATE:
	case HTTP_PROXY_AUTHORIZATION:
	case HTTP_PROXY_CONNECTION:
	case HTTP_TE:
	case HTTP_TRAILER:
	case HTTP_TRANSFER_ENCODING:
	case HTTP_UPGRADE:
		return true;
	default:
		return false;
	}
}

/* What every recipient needs: naming it in Connection is an error of the sender (RFC 9110 7.6.1) or an attempt to
 * strip it on the way, so it stays. */
static bool is_end_to_end(enum http_field_id id)
{
	switch (id) {
	case HTTP_AUTHORIZATION:
	case HTTP_CONTENT_ENCODING:
	case HTTP_CONTENT_TYPE:
	case HTTP_COOKIE:
	case HTTP_FORWARDED:
	case HTTP_HOST:
	case HTTP_IDEMPOTENCY_KEY:
	case HTTP_VIA:
	case HTTP_X_FORWARDED_FOR:
	case HTTP_X_FORWARDED_HOST:
	case HTTP_X_FORWARDED_PROTO:
	case HTTP_X_SCOPE:
	case HTTP_X_SCOPE_ANY:
	case HTTP_X_SCOPEMESH_ANY:
	case HTTP_X_SCOPEMESH_ERROR:
	case HTTP_X_SCOPEMESH_OPERATION:
	case HTTP_X_SCOPEMESH_REPLICATE:
	case HTTP_X_SCOPEMESH_SCOPE:
	case HTTP_X_SCOPEMESH_SERVICE:
	case HTTP_X_SCOPEMESH_TRACE:
		return true;
	default:
		return false;
	}
}

static void drop_named(struct http_head *head, struct span option)
{
	enum http_field_id id = http_field_id(option);

	if (is_end_to_end(id))
		return;
	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].id == id && (id != HTTP_OTHER || span_ieq(head->fields[i].name, option)))
			head->fields[i].drop = 1;
}

void http_drop_hop_by_hop(struct http_head *head)
{
	struct span rest, option;

	for (size_t i = 0; i < head->field_count; i++) {
		if (is_hop_by_hop((enum http_field_id)head->fields[i].id))
			head->fields[i].drop = 1;
		if (head->fields[i].id != HTTP_CONNECTION)
			continue;
		rest = head->fields[i].value;
		while (http_list_next(&rest, &option))
			drop_named(head, option);
	}
}

int http_head_copy(struct arena *arena, const struct http_head *from, struct http_head *to)
{
	*to = *from;
	to->reason = arena_dup(arena, from->reason);
	to->fields = arena_alloc(arena, (from->field_count + 1) * sizeof(*to->fields));
	if (!to->fields || !to->reason.p)
		return ERR_NOMEM;
	for (size_t i = 0; i < from->field_count; i++) {
		to->fields[i] = from->fields[i];
		to->fields[i].name = arena_dup(arena, from->fields[i].name);
		to->fields[i].value = arena_dup(arena, from->fields[i].value);
		if (!to->fields[i].name.p || !to->fields[i].value.p)
			return ERR_NOMEM;
	}
	return 0;
}
