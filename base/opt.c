/* Looking rows of an option table up by the place in a file that they describe. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/opt_int.h"

struct span opt_row_below(const struct opt *o, const char *prefix)
{
	struct span path = span_of(o->path);

	if (!span_starts(path, span_of(prefix)))
		return (struct span){ NULL, 0 };
	return span_from(path, strlen(prefix));
}

struct span opt_row_key(const struct opt *o)
{
	const char *dot = strrchr(o->path, '.');

	return span_of(dot ? dot + 1 : o->path);
}

const struct opt *opt_row_find(const struct opt_table *t, const char *prefix, struct span key)
{
	for (size_t i = 0; i < t->count; i++)
		if (span_eq(opt_row_below(&t->rows[i], prefix), key) && key.n)
			return &t->rows[i];
	return NULL;
}

bool opt_is_section(const struct opt_table *t, const char *prefix, struct span key)
{
	for (size_t i = 0; i < t->count; i++) {
		struct span rest = opt_row_below(&t->rows[i], prefix);

		if (key.n && rest.n > key.n && span_starts(rest, key) && rest.p[key.n] == '.')
			return true;
	}
	return false;
}

bool opt_first_of_key(const struct opt_table *t, size_t row, const char *prefix, struct span *key_r)
{
	struct span rest = opt_row_below(&t->rows[row], prefix), other;

	if (!rest.n)
		return false;
	*key_r = span_head(rest, span_find(rest, '.'));
	for (size_t i = 0; i < row; i++) {
		other = opt_row_below(&t->rows[i], prefix);
		if (other.n && span_eq(span_head(other, span_find(other, '.')), *key_r))
			return false;
	}
	return true;
}

void opt_join_path(char path[PATH_MAX_BYTES], const char *prefix, struct span key)
{
	int n = snprintf(path, PATH_MAX_BYTES, "%s%.*s.", prefix, SPAN_ARG(key));

	assert(n > 0 && n < PATH_MAX_BYTES);
}

bool opt_row_of_struct(const struct opt *o, const char *prefix, struct span *rest_r)
{
	*rest_r = opt_row_below(o, prefix);
	return rest_r->n && span_find(*rest_r, '*') == rest_r->n && span_find(*rest_r, '[') == rest_r->n;
}

bool opt_is_element(struct span part)
{
	return span_eq(part, SPAN("*")) || span_eq(part, SPAN("[]"));
}

const struct opt *opt_row_elements(const struct opt_table *t, const char *prefix)
{
	const struct opt *group = opt_row_find(t, prefix, SPAN("*"));

	return group ? group : opt_row_find(t, prefix, SPAN("[]"));
}

bool opt_has_word(const char *words, struct span word)
{
	struct span rest = span_of(words), part;

	while (span_split(&rest, '|', &part))
		if (span_eq(part, word))
			return true;
	return false;
}
