#include "proxy/carrier.h"

#include "base/percent.h"

static enum carrier_found header_get(struct arena *arena, const struct http_head *head,
                                     struct span *text_r, const char **why_r)
{
	const struct http_field *f = http_find(head, HTTP_X_SCOPE);

	(void)arena;
	(void)why_r;
	if (!f)
		return CARRIER_NONE;
	*text_r = f->value;
	return CARRIER_SCOPE;
}

static void drop_all(struct http_head *head, enum http_field_id id)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].id == id)
			head->fields[i].drop = true;
}

static void header_drop(struct http_head *head)
{
	drop_all(head, HTTP_X_SCOPE);
}

static void header_put(const struct http_head *head, struct span scope, struct buf *out)
{
	(void)head;
	buf_add_z(out, "X-Scope: ");
	buf_add_span(out, scope);
	buf_add_z(out, "\r\n");
}

/* ---- W3C baggage: list of key=value;properties, values percent-encoded ---------------------------- */

static bool member_is_scope(struct span member)
{
	return span_eq(span_trim(span_head(member, span_find(member, '='))), SPAN("scope"));
}

static enum carrier_found baggage_get(struct arena *arena, const struct http_head *head,
                                      struct span *text_r, const char **why_r)
{
	enum carrier_found found = CARRIER_NONE;

	for (size_t i = 0; i < head->field_count; i++) {
		struct span rest = head->fields[i].value, member;

		if (head->fields[i].id != HTTP_BAGGAGE)
			continue;
		while (span_split(&rest, ',', &member)) {
			struct span value = span_from(member, span_find(member, '=') + 1);

			if (!member_is_scope(member))
				continue;
			if (found == CARRIER_SCOPE) {
				*why_r = "baggage has two members named scope";
				return CARRIER_REFUSED;
			}
			if (span_find(value, ';') < value.n) {
				*why_r = "the baggage member scope has properties; a \";\" inside a scope must be "
				         "written %3B there";
				return CARRIER_REFUSED;
			}
			if (!percent_decode(arena, span_trim(value), text_r)) {
				*why_r = "the baggage member scope is not percent-encoded text";
				return CARRIER_REFUSED;
			}
			found = CARRIER_SCOPE;
		}
	}
	return found;
}

static void baggage_drop(struct http_head *head)
{
	drop_all(head, HTTP_BAGGAGE);
}

/* baggage-octets that no library encodes differently in a way that matters; "%" itself is encoded. */
#define BAGGAGE_PLAIN "-._~:&()=@*+/!"

/* Our member first: lists that are too long are cut at their end. */
static void baggage_put(const struct http_head *head, struct span scope, struct buf *out)
{
	size_t begin, members = 1;

	buf_add_z(out, "baggage: ");
	begin = buf_len(out);
	buf_add_z(out, "scope=");
	percent_encode(scope, BAGGAGE_PLAIN, out);
	for (size_t i = 0; i < head->field_count; i++) {
		struct span rest = head->fields[i].value, member;

		if (head->fields[i].id != HTTP_BAGGAGE)
			continue;
		while (span_split(&rest, ',', &member)) {
			member = span_trim(member);
			if (!member.n || member_is_scope(member) || members >= BAGGAGE_MEMBERS ||
			    buf_len(out) - begin + member.n + 1 > BAGGAGE_BYTES)
				continue;
			buf_add_char(out, ',');
			buf_add_span(out, member);
			members++;
		}
	}
	buf_add_z(out, "\r\n");
}

const struct carrier carrier_table[] = {
	{ "header", true, header_get, header_drop, header_put },
	{ "baggage", false, baggage_get, baggage_drop, baggage_put },
	{ NULL, false, NULL, NULL, NULL },
};

const struct carrier *carrier_find(struct span kind)
{
	for (const struct carrier *c = carrier_table; c->kind; c++)
		if (span_eq(kind, span_of(c->kind)))
			return c;
	return NULL;
}

bool carrier_on(const struct conf *conf, const struct carrier *c)
{
	for (size_t i = 0; i < conf->carrier_count; i++)
		if (span_eq(conf->carriers[i].kind, span_of(c->kind)))
			return true;
	return false;
}
