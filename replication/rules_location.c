/* Which id a Location (RFC 9110 10.2.2) shows: the last segment of its path. */
#include "replication/rules_int.h"

#include "base/percent.h"

bool rule_is_id(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 127)
			return false;
	return text.n && text.n <= RULE_ID_BYTES && !span_eq(text, SPAN(".")) && !span_eq(text, SPAN(".."));
}

/* "http:" and what else a scheme may be (RFC 3986 3.1); 0: there is none. */
static size_t scheme_bytes(struct span s)
{
	size_t n = span_find(s, ':');

	for (size_t i = 0; i < n; i++)
		if (strchr("/?#", s.p[i]))
			return 0;
	return n < s.n ? n + 1 : 0;
}

/* The path of a reference, without what stands before and behind it; relative to the folder of the request's. */
static struct span path_of(struct arena *arena, struct span location, struct span base)
{
	struct span s = span_from(location, scheme_bytes(location));
	size_t folder = base.n;

	if (span_starts(s, SPAN("//"))) {
		s = span_from(s, 2);
		s = span_from(s, span_find(s, '/'));
	} else if (s.n < location.n) {
		return SPAN(""); /* mailto:, urn: */
	}
	s = span_head(s, span_find(s, '#'));
	s = span_head(s, span_find(s, '?'));
	if (!s.n || s.p[0] == '/')
		return s;
	while (folder && base.p[folder - 1] != '/')
		folder--;
	s = span_of(arena_printf(arena, "%.*s%.*s", (int)folder, base.p, SPAN_ARG(s)));
	return s.p ? s : SPAN("");
}

void rule_location_read(struct arena *arena, struct span location, struct span base, struct rule_location *l_r)
{
	struct rule_location l = { .before = SPAN(""), .id = SPAN("") };
	struct span id;
	size_t at;

	*l_r = l;
	if (location.n > 2 * RULE_ID_BYTES)
		return;
	l.path = l_r->path = rule_trim_slash(path_of(arena, span_trim(location), base));
	for (at = l.path.n; at && l.path.p[at - 1] != '/'; at--)
		;
	if (!at || !percent_decode(arena, span_from(l.path, at), &id) || !rule_is_id(id))
		return;
	l.before = span_head(l.path, at - 1);
	l.id = id;
	*l_r = l;
}

bool rule_location_is_below(const struct rule_location *l, struct span path)
{
	size_t more = rule_count_segments(l->before), least, used;
	struct span tail = l->before, public;

	path = rule_trim_slash(path);
	least = rule_count_segments(path);
	if (!l->id.n || !least)
		return false;
	for (; more > least && rule_take_segment(&tail, &public); more--)
		;
	return more == least && rule_pattern_fits(path, tail, &used) && used == tail.n;
}
