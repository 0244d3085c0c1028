/* Printing values by an option table, the manual of the table, and what differs between two sets of
 * values.
 *
 * Printing walks the table, section by section in the order of the rows; a value that prints nothing
 * is left out, and so is a section of such values.  Two values are the same when they print the
 * same, which is how opt_diff compares without a comparer per type. */
#include <string.h>

#include "base/opt_int.h"

#define INDENT 2

/* ---- printing ---------------------------------------------------------------------------- */

static void print_list(const struct opt *o, const void *list, size_t n, struct buf *out)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < n; i++) {
		buf_add_z(out, i ? ", " : "");
		o->type->print(o, (const char *)list + i * o->type->size, out);
	}
	buf_add_char(out, ']');
}

static void print_pairs(const struct opt *o, const struct opt_pair *pairs, size_t n, struct buf *out)
{
	buf_add_char(out, '{');
	for (size_t i = 0; i < n; i++) {
		buf_add_z(out, i ? ", " : "");
		yaml_print_scalar(pairs[i].key, out);
		buf_add_z(out, ": ");
		o->type->print(o, &pairs[i].value, out);
	}
	buf_add_char(out, '}');
}

static void print_value(const struct opt *o, const void *base, struct buf *out)
{
	const void *value = opt_member_const(base, o->offset);
	size_t n;

	if (!(o->flags & (OPT_LIST | OPT_PAIRS))) {
		o->type->print(o, value, out);
		return;
	}
	n = *(const size_t *)opt_member_const(base, o->count_offset);
	if (o->flags & OPT_LIST)
		print_list(o, *(void *const *)value, n, out);
	else
		print_pairs(o, *(void *const *)value, n, out);
}

static void print_section(const struct opt_table *t, const char *prefix, const void *base,
                          unsigned indent, struct buf *out);

static void print_group(const struct opt_table *t, const struct opt *o, const void *base,
                        unsigned indent, struct buf *out)
{
	const char *elements = *(char *const *)opt_member_const(base, o->offset);
	size_t n = *(const size_t *)opt_member_const(base, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	opt_join_path(prefix, "", span_of(o->path));
	for (size_t i = 0; i < n; i++) {
		const void *element = elements + i * o->element;

		buf_addf(out, "%*s", (int)indent, "");
		yaml_print_scalar(*(const struct span *)element, out);
		buf_add_z(out, ":\n");
		print_section(t, prefix, element, indent + INDENT, out);
	}
}

/* "key: value", or "key:" and what stands below it; nothing when that is nothing. */
static void print_key(const struct opt_table *t, const char *prefix, struct span key, const void *base,
                      unsigned indent, struct buf *out)
{
	const struct opt *o = opt_row_find(t, prefix, key);
	char path[PATH_MAX_BYTES];
	struct buf b;

	if (o && o->flags & OPT_LATER)
		return;
	buf_init(&b, NULL, 0);
	if (o) {
		print_value(o, base, &b);
	} else {
		opt_join_path(path, prefix, key);
		print_section(t, path, base, indent + INDENT, &b);
	}
	if (b.failed)
		out->failed = true;
	if (buf_len(&b)) {
		buf_addf(out, "%*s%.*s:%s", (int)indent, "", SPAN_ARG(key), o ? " " : "\n");
		buf_add_span(out, buf_span(&b));
		buf_add_z(out, o ? "\n" : "");
	}
	buf_fini(&b);
}

static void print_section(const struct opt_table *t, const char *prefix, const void *base,
                          unsigned indent, struct buf *out)
{
	const struct opt *group = opt_row_find(t, prefix, SPAN("*"));
	struct span key;

	if (group) {
		print_group(t, group, base, indent, out);
		return;
	}
	for (size_t i = 0; i < t->count; i++)
		if (opt_first_of_key(t, i, prefix, &key))
			print_key(t, prefix, key, base, indent, out);
}

void opt_print(const struct opt_table *t, const void *base, struct buf *out)
{
	print_section(t, "", base, 0, out);
}

/* ---- the manual -------------------------------------------------------------------------- */

/* "services.NAME.health.interval" for the path of a row. */
static void manual_path(struct span path, struct buf *out)
{
	struct span part;

	for (bool first = true; span_split(&path, '.', &part); first = false) {
		buf_add_z(out, first ? "" : ".");
		buf_add_span(out, span_eq(part, SPAN("*")) ? SPAN("NAME") : part);
	}
}

static void manual_range(const struct opt *o, struct buf *out)
{
	void (*print)(uint64_t, struct buf *) = opt_number_printer(o->type);

	if (o->flags & OPT_LIST)
		buf_add_z(out, "list of ");
	if (o->flags & OPT_PAIRS)
		buf_add_z(out, "map of names to ");
	buf_add_z(out, o->type->name);
	if (print && o->max) {
		buf_add_z(out, ", ");
		print(o->min, out);
		buf_add_z(out, " to ");
		print(o->max, out);
	} else if (print && o->min) {
		buf_add_z(out, ", at least ");
		print(o->min, out);
	}
	if (o->words) {
		struct span rest = span_of(o->words), word;
		const char *sep = ": ";

		for (; span_split(&rest, '|', &word); sep = ", ")
			buf_addf(out, "%s`%.*s`", sep, SPAN_ARG(word));
	}
}

static void manual_row(const struct opt *o, struct buf *out)
{
	buf_add_z(out, "| `");
	manual_path(span_of(o->path), out);
	buf_add_z(out, "` | ");
	manual_range(o, out);
	buf_add_z(out, " | ");
	if (o->value_text)
		buf_add_z(out, o->value_text);
	else if (o->flags & OPT_REQUIRED)
		buf_add_z(out, "required");
	else if (o->value && o->value[0])
		buf_addf(out, "`%s`", o->value);
	else
		buf_add_z(out, "empty");
	buf_addf(out, " | %s | %s |\n",
	         o->flags & OPT_LATER ? "later version" : o->flags & OPT_RESTART ? "restart" : "reload", o->doc);
}

void opt_print_manual(const struct opt_table *t, struct buf *out)
{
	struct span section = SPAN("?"), path, head;
	size_t dot;

	for (size_t i = 0; i < t->count; i++) {
		path = span_of(t->rows[i].path);
		dot = span_find(path, '.');
		head = dot < path.n ? span_head(path, dot) : SPAN("");
		if (!span_eq(head, section)) {
			section = head;
			buf_add_z(out, "\n## ");
			buf_add_span(out, head.n ? head : SPAN("The site"));
			buf_add_z(out, "\n\n| key | value | default | takes effect | meaning |\n|---|---|---|---|---|\n");
		}
		manual_row(&t->rows[i], out);
	}
}

/* ---- differences ------------------------------------------------------------------------- */

/* What is looked for, and where it goes. */
struct diff {
	const struct opt_table *table;
	bool restart; /* options that need a restart; else those that a reload takes */
	struct buf *out;
};

static bool diff_wants(const struct diff *d, const struct opt *o)
{
	return !(o->flags & OPT_LATER) && !(o->flags & OPT_RESTART) == !d->restart;
}

static void diff_row(const struct diff *d, const struct opt *o, struct span name, const void *before,
                     const void *after)
{
	struct buf *out = d->out;
	struct buf was, is;
	struct span rest = span_of(o->path), part;

	buf_init(&was, NULL, 0);
	buf_init(&is, NULL, 0);
	print_value(o, before, &was);
	print_value(o, after, &is);
	if (was.failed || is.failed) {
		out->failed = true;
	} else if (!span_eq(buf_span(&was), buf_span(&is))) {
		for (bool first = true; span_split(&rest, '.', &part); first = false) {
			buf_add_z(out, first ? "" : ".");
			buf_add_span(out, span_eq(part, SPAN("*")) ? name : part);
		}
		buf_addf(out, d->restart ? ": changing it from %.*s to %.*s needs a restart\n" : ": from %.*s to %.*s\n",
		         buf_len(&was) ? (int)buf_len(&was) : 7, buf_len(&was) ? buf_span(&was).p : "nothing",
		         buf_len(&is) ? (int)buf_len(&is) : 7, buf_len(&is) ? buf_span(&is).p : "nothing");
	}
	buf_fini(&was);
	buf_fini(&is);
}

static void diff_struct(const struct diff *d, const char *prefix, struct span name, const void *before,
                        const void *after);

static const void *element_find(const struct opt *o, const void *base, struct span name)
{
	const char *elements = *(char *const *)opt_member_const(base, o->offset);
	size_t n = *(const size_t *)opt_member_const(base, o->count_offset);

	for (size_t i = 0; i < n; i++)
		if (span_eq(*(const struct span *)(const void *)(elements + i * o->element), name))
			return elements + i * o->element;
	return NULL;
}

/* Elements on one side only need a restart when the group's row says so. */
static void diff_group(const struct diff *d, const struct opt *o, const void *before, const void *after,
                       bool forward)
{
	const char *elements = *(char *const *)opt_member_const(before, o->offset);
	size_t n = *(const size_t *)opt_member_const(before, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	opt_join_path(prefix, "", span_of(o->path));
	for (size_t i = 0; i < n; i++) {
		const void *element = elements + i * o->element, *other;
		struct span name = *(const struct span *)element;

		other = element_find(o, after, name);
		if (other && forward)
			diff_struct(d, prefix, name, element, other);
		else if (!other && diff_wants(d, o))
			buf_addf(d->out, d->restart ? "%.*s.%.*s: %sing it needs a restart\n" : "%.*s.%.*s: %sed\n",
			         (int)strcspn(o->path, "."), o->path, SPAN_ARG(name),
			         forward ? "remov" : "add");
	}
}

static void diff_struct(const struct diff *d, const char *prefix, struct span name, const void *before,
                        const void *after)
{
	for (size_t i = 0; i < d->table->count; i++) {
		const struct opt *o = &d->table->rows[i];
		struct span rest;

		if (opt_row_of_struct(o, prefix, &rest)) {
			if (diff_wants(d, o))
				diff_row(d, o, name, before, after);
		} else if (o->type == &opt_group && rest.n > 2 && span_find(rest, '*') == rest.n - 1) {
			diff_group(d, o, before, after, true);
			diff_group(d, o, after, before, false);
		}
	}
}

void opt_diff(const struct opt_table *t, const void *before, const void *after, bool restart, struct buf *out)
{
	struct diff d = { t, restart, out };

	diff_struct(&d, "", SPAN(""), before, after);
}
