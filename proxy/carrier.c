#include "proxy/carrier.h"

#include "base/percent.h"
#include "proxy/piggyback.h"

static enum carrier_found header_get(struct arena *arena, const struct http_head *head, struct span name,
                                     struct span *text_r, const char **why_r)
{
	const struct http_field *f = http_find(head, HTTP_X_SCOPE);

	(void)arena;
	(void)name;
	(void)why_r;
	if (!f)
		return CARRIER_NONE;
	*text_r = f->value;
	return CARRIER_SCOPE;
}

static void drop_field(struct http_field *f, bool drop)
{
	f->drop = (uint8_t)(drop ? f->drop | CARRIER_DROP : f->drop & ~CARRIER_DROP);
}

static void drop_all(struct http_head *head, enum http_field_id id, bool drop)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].id == id)
			drop_field(&head->fields[i], drop);
}

static void header_drop(struct http_head *head, struct span name, bool drop)
{
	(void)name;
	drop_all(head, HTTP_X_SCOPE, drop);
}

static void header_put(const struct http_head *head, struct span name, struct span scope, struct buf *out)
{
	(void)head;
	(void)name;
	buf_add_z(out, "X-Scope: ");
	buf_add_span(out, scope);
	buf_add_z(out, "\r\n");
}

/* ---- W3C baggage: list of key=value;properties, values percent-encoded ---------------------------- */

static bool member_is_scope(struct span member)
{
	return span_eq(span_trim(span_head(member, span_find(member, '='))), SPAN("scope"));
}

static enum carrier_found baggage_get(struct arena *arena, const struct http_head *head, struct span name,
                                      struct span *text_r, const char **why_r)
{
	enum carrier_found found = CARRIER_NONE;

	(void)name;
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

static void baggage_drop(struct http_head *head, struct span name, bool drop)
{
	(void)name;
	drop_all(head, HTTP_BAGGAGE, drop);
}

/* baggage-octets that no library encodes differently in a way that matters; "%" itself is encoded. */
#define BAGGAGE_PLAIN "-._~:&()=@*+/!"

/* Our member first: lists that are too long are cut at their end. */
static void baggage_put(const struct http_head *head, struct span name, struct span scope, struct buf *out)
{
	size_t begin, members = 1;

	(void)name;
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

/* ---- piggyback:NAME --------------------------------------------------------------------------------- */

static enum carrier_found ride_get(struct arena *arena, const struct http_head *head, struct span name,
                                   struct span *text_r, const char **why_r)
{
	(void)arena;
	(void)why_r;
	return piggyback_find(head, name, text_r) ? CARRIER_SCOPE : CARRIER_NONE;
}

static void ride_drop(struct http_head *head, struct span name, bool drop)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (span_ieq(head->fields[i].name, name))
			drop_field(&head->fields[i], drop);
}

static void ride_put(const struct http_head *head, struct span name, struct span scope, struct buf *out)
{
	piggyback_put(head, name, scope, out);
}

const struct carrier carrier_table[CONF_CARRIER_KINDS] = {
	[CONF_CARRIER_HEADER] = { true, header_get, header_drop, header_put },
	[CONF_CARRIER_BAGGAGE] = { false, baggage_get, baggage_drop, baggage_put },
	[CONF_CARRIER_PIGGYBACK] = { false, ride_get, ride_drop, ride_put },
	[CONF_CARRIER_CORRELATE] = { false, NULL, NULL, NULL },
};

/* The service that checks piggybacked values gets them bare, as they are within the proxy. */
static bool writes(const struct conf_carrier *c, const struct conf_service *svc)
{
	return carrier_table[c->kind].put && !(c->kind == CONF_CARRIER_PIGGYBACK && svc->piggyback_strip);
}

void carriers_drop(const struct conf *conf, const struct conf_service *svc, struct http_head *head, bool drop)
{
	for (size_t i = 0; i < conf->carrier_count; i++)
		if (writes(&conf->carriers[i], svc))
			carrier_table[conf->carriers[i].kind].drop(head, conf->carriers[i].name, drop);
}

void carriers_put(const struct conf *conf, const struct conf_service *svc, const struct http_head *head,
                  struct span scope, struct buf *out)
{
	for (size_t i = 0; i < conf->carrier_count; i++)
		if (writes(&conf->carriers[i], svc))
			carrier_table[conf->carriers[i].kind].put(head, conf->carriers[i].name, scope, out);
}
