#include "proxy/piggyback.h"

/* Where the mark begins, or value.n. */
static size_t mark_in(struct span value)
{
	struct span mark = SPAN(PIGGYBACK_MARK);

	for (size_t i = span_find(value, '!'); i + mark.n <= value.n; i++)
		if (span_starts(span_from(value, i), mark))
			return i;
	return value.n;
}

static bool is_named(const struct http_field *f, struct span name)
{
	return span_ieq(f->name, name);
}

bool piggyback_find(const struct http_head *head, struct span name, struct span *scope_r)
{
	for (size_t i = 0; i < head->field_count; i++) {
		struct span value = head->fields[i].value;
		size_t at;

		if (!is_named(&head->fields[i], name))
			continue;
		at = mark_in(value);
		if (at == value.n)
			continue;
		*scope_r = span_trim(span_from(value, at + sizeof(PIGGYBACK_MARK) - 1));
		return true;
	}
	return false;
}

bool piggyback_names(const struct conf *conf, struct span name)
{
	for (size_t i = 0; i < conf->carrier_count; i++)
		if (conf->carriers[i].kind == CONF_CARRIER_PIGGYBACK && span_ieq(conf->carriers[i].name, name))
			return true;
	return false;
}

void piggyback_bare(struct http_head *head, const struct conf *conf)
{
	for (size_t c = 0; c < conf->carrier_count; c++) {
		if (conf->carriers[c].kind != CONF_CARRIER_PIGGYBACK)
			continue;
		for (size_t i = 0; i < head->field_count; i++) {
			struct http_field *f = &head->fields[i];

			if (is_named(f, conf->carriers[c].name))
				f->value = span_trim(span_head(f->value, mark_in(f->value)));
		}
	}
}

void piggyback_put(const struct http_head *head, struct span name, struct span scope, struct buf *out)
{
	for (size_t i = 0; i < head->field_count; i++) {
		const struct http_field *f = &head->fields[i];

		if (!is_named(f, name))
			continue;
		buf_add_span(out, f->name);
		buf_add_z(out, ": ");
		buf_add_span(out, f->value);
		/* Nothing can ride on an empty value: it would be all there is. */
		if (f->value.n && f->value.n + sizeof(PIGGYBACK_MARK) + scope.n <= PIGGYBACK_BYTES) {
			buf_add_z(out, PIGGYBACK_MARK);
			buf_add_span(out, scope);
		}
		buf_add_z(out, "\r\n");
	}
}
