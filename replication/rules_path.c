/* Patterns of paths: "/v2/images/{id}/members", and how they are held against a path. */
#include "replication/rules_int.h"

#include "base/percent.h"
#include "replication/splice.h"

#define ANY SPAN("{id}")

bool rule_take_segment(struct span *path, struct span *segment_r)
{
	struct span behind;

	if (!path->n || path->p[0] != '/')
		return false;
	behind = span_from(*path, 1);
	*segment_r = span_head(behind, span_find(behind, '/'));
	*path = span_from(behind, segment_r->n);
	return true;
}

size_t rule_count_segments(struct span path)
{
	struct span s;
	size_t n = 0;

	while (rule_take_segment(&path, &s))
		n++;
	return n;
}

bool rule_segment_eq(struct span a, struct span b)
{
	size_t i = 0, j = 0;

	if (span_eq(a, b))
		return true;
	if (span_find(a, '%') == a.n && span_find(b, '%') == b.n)
		return false;
	while (i < a.n && j < b.n)
		if (percent_next(a, &i) != percent_next(b, &j))
			return false;
	return i == a.n && j == b.n;
}

bool rule_segment_is_dots(struct span segment)
{
	return rule_segment_eq(segment, SPAN(".")) || rule_segment_eq(segment, SPAN(".."));
}

bool rule_pattern_fits(struct span pattern, struct span path, size_t *used_r)
{
	struct span rest = path, want, got;

	while (rule_take_segment(&pattern, &want)) {
		if (!rule_take_segment(&rest, &got) || !got.n)
			return false;
		if (!span_eq(want, ANY) && !rule_segment_eq(want, got))
			return false;
	}
	*used_r = path.n - rest.n;
	return true;
}

bool rule_pattern_is(struct span pattern, struct span id, struct span rest)
{
	struct span want;
	size_t used;

	pattern = rule_trim_slash(pattern);
	rest = rule_trim_slash(rest);
	if (!rule_take_segment(&pattern, &want))
		return !id.n && !rest.n;
	if (!id.n || (!span_eq(want, ANY) && !rule_segment_eq(want, id)))
		return false;
	return rule_pattern_fits(pattern, rest, &used) && used == rest.n;
}

struct span rule_trim_slash(struct span path)
{
	while (path.n && path.p[path.n - 1] == '/')
		path.n--;
	return path;
}

/* ---- what a person, or the store, may give ----------------------------------------------------------------------- */

/* Characters of a path (RFC 3986 3.3), "{" and "}" only around a whole segment's "id". */
static bool segment_is_good(struct span s)
{
	if (span_eq(s, ANY))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] == 127 || strchr("?#\"<>\\^`{|}", s.p[i]))
			return false;
	return s.n && !rule_segment_is_dots(s);
}

static int check_pattern(struct span text, struct span rest, const char *expected, struct err *e)
{
	size_t segments = 0;
	struct span s;

	if (text.n > RULE_COLLECTION_BYTES)
		return err_set(e, ERR_INVALID, "a path of at most %d bytes is expected", RULE_COLLECTION_BYTES);
	for (; rule_take_segment(&rest, &s); segments++) {
		if (!segment_is_good(s) && span_find(s, '{') < s.n)
			return err_set(e, ERR_INVALID, "\"%.*s\": only {id} may stand for a segment, and for a whole one",
			               SPAN_ARG(text));
		if (!segment_is_good(s))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no path; expected e.g. %s", SPAN_ARG(text), expected);
	}
	if (segments > RULE_SEGMENTS)
		return err_set(e, ERR_INVALID, "a path of at most %d segments is expected", RULE_SEGMENTS);
	return 0;
}

int rule_check_collection(struct span text, struct err *e)
{
	struct span rest = text, s, last = SPAN("");
	int rc;

	if (!text.n || text.p[0] != '/')
		return err_set(e, ERR_INVALID, "\"%.*s\" does not begin with a slash; expected a path such as /v2/images",
		               SPAN_ARG(text));
	if (text.n == 1)
		return err_set(e, ERR_INVALID, "ids right behind the first slash cannot be told from other paths; expected "
		               "a path such as /v2/images");
	if (text.p[text.n - 1] == '/')
		return err_set(e, ERR_INVALID, "\"%.*s\" ends in a slash: the id follows behind one in any case",
		               SPAN_ARG(text));
	rc = check_pattern(text, text, "/v2/images", e);
	while (!rc && rule_take_segment(&rest, &s))
		last = s;
	if (!rc && span_eq(last, ANY))
		return err_set(e, ERR_INVALID, "\"%.*s\" ends in {id}: the path that ids follow behind is expected, e.g. "
		               "/v2/images or /v2/images/{id}/members", SPAN_ARG(text));
	return rc;
}

int rule_check_place(struct span text, struct err *e)
{
	struct splice_rules *scratch = splice_rules_new();
	struct err why = { 0, "" };
	int rc;

	if (!scratch)
		return err_set(e, ERR_NOMEM, "out of memory");
	rc = splice_rules_add_place(scratch, text, SPLICE_COLLECTION, 0, &why);
	splice_rules_free(&scratch);
	return !rc ? 0 : err_set(e, rc == ERR_NOMEM ? ERR_NOMEM : ERR_INVALID, "%s", why.text);
}

/* A method is a token (RFC 9110 9.1), here without the lower case that none has. */
static bool method_is_good(struct span m)
{
	for (size_t i = 0; i < m.n; i++)
		if (!((m.p[i] >= 'A' && m.p[i] <= 'Z') || (m.p[i] >= '0' && m.p[i] <= '9') || m.p[i] == '-' || m.p[i] == '_'))
			return false;
	return m.n > 0 && m.n <= 32;
}

int rule_read_request(struct span text, struct rule_request *match_r, struct err *e)
{
	size_t blank = span_find(text, ' ');
	struct rule_request m = { text, span_head(text, blank), span_trim(span_from(text, blank)) };

	*match_r = (struct rule_request){ text, SPAN(""), SPAN("") };
	if (!method_is_good(m.method))
		return err_set(e, ERR_INVALID, "\"%.*s\" does not begin with a method; expected e.g. PUT /{id}/file",
		               SPAN_ARG(text));
	if (!m.path.n || m.path.p[0] != '/')
		return err_set(e, ERR_INVALID, "\"%.*s\" has no path behind the method; expected e.g. PUT /{id}/file",
		               SPAN_ARG(text));
	if (check_pattern(text, rule_trim_slash(m.path), "PUT /{id}/file", e))
		return ERR_INVALID;
	*match_r = m;
	return 0;
}
