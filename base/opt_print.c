/* Printing values by an option table, the manual of the table, and what differs between two sets of
 * values.
 *
 * Printing walks the table, section by section in the order of the rows; a value that prints nothing
 * is left out, and so is a section of such values.  Two values are the same when they print the
 * same, which is how opt_diff compares without a comparer per type. */
#include <assert.h>
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

/* "- " in front of the first line of what an element prints. */
static void print_item(const struct opt_table *t, const char *prefix, const void *element, unsigned indent,
                       struct buf *out)
{
	struct buf b;

	buf_init(&b, NULL, 0);
	print_section(t, prefix, element, indent + INDENT, &b);
	out->failed |= b.failed;
	if (buf_len(&b)) {
		buf_addf(out, "%*s- ", (int)indent, "");
		buf_add_span(out, span_from(buf_span(&b), indent + INDENT));
	}
	buf_fini(&b);
}

static void print_elements(const struct opt_table *t, const struct opt *o, const void *base,
                           unsigned indent, struct buf *out)
{
	const char *elements = *(char *const *)opt_member_const(base, o->offset);
	size_t n = *(const size_t *)opt_member_const(base, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	opt_join_path(prefix, "", span_of(o->path));
	for (size_t i = 0; i < n; i++) {
		const void *element = elements + i * o->element;

		if (o->type == &opt_items) {
			print_item(t, prefix, element, indent, out);
			continue;
		}
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
	const struct opt *group = opt_row_elements(t, prefix);
	struct span key;

	if (group) {
		print_elements(t, group, base, indent, out);
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
		buf_add_z(out, first || span_eq(part, SPAN("[]")) ? "" : ".");
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
			buf_addf(out, "%s`%.*s`%s", sep, SPAN_ARG(word), opt_has_word(o->later, word) ? " (later)" : "");
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

/* What is looked for, where it goes, and the names of the elements on the way. */
struct diff {
	const struct opt_table *table;
	bool restart; /* options that need a restart; else those that a reload takes */
	struct buf *out;
	struct span names[OPT_NESTED_MOST];
	size_t depth;
};

static bool diff_wants(const struct diff *d, const struct opt *o)
{
	return !(o->flags & OPT_LATER) && !(o->flags & OPT_RESTART) == !d->restart;
}

/* "services.image.resources[/v2/images].meta_id" */
static void say_path(const struct diff *d, const struct opt *o, struct buf *out)
{
	struct span rest = span_of(o->path), part;
	size_t names = 0;

	for (bool first = true; span_split(&rest, '.', &part); first = false) {
		if (opt_is_element(part) && names < d->depth) {
			const char *around = span_eq(part, SPAN("*")) ? ".%.*s" : "[%.*s]";

			buf_addf(out, around, SPAN_ARG(d->names[names]));
			names++;
		} else if (!opt_is_element(part)) {
			buf_add_z(out, first ? "" : ".");
			buf_add_span(out, part);
		}
	}
}

static void say_values(const struct diff *d, const struct opt *o, const struct buf *was, const struct buf *is)
{
	const char *text = d->restart ? ": changing it from %.*s to %.*s needs a restart\n" : ": from %.*s to %.*s\n";

	say_path(d, o, d->out);
	buf_addf(d->out, text, buf_len(was) ? (int)buf_len(was) : 7, buf_len(was) ? buf_span(was).p : "nothing",
	         buf_len(is) ? (int)buf_len(is) : 7, buf_len(is) ? buf_span(is).p : "nothing");
}

/* How a value is printed, or all of the elements of a group. */
static void print_any(const struct diff *d, const struct opt *o, const void *base, struct buf *out)
{
	if (opt_is_element(opt_row_key(o)))
		print_elements(d->table, o, base, 0, out);
	else
		print_value(o, base, out);
}

/* Whether they print differently; the prints are told to `say` then. */
static bool diff_prints(const struct diff *d, const struct opt *o, const void *before, const void *after,
                        void (*say)(const struct diff *d, const struct opt *o, const struct buf *was,
                                    const struct buf *is))
{
	struct buf was, is;
	bool differ;

	buf_init(&was, NULL, 0);
	buf_init(&is, NULL, 0);
	print_any(d, o, before, &was);
	print_any(d, o, after, &is);
	d->out->failed |= was.failed || is.failed;
	differ = !d->out->failed && !span_eq(buf_span(&was), buf_span(&is));
	if (differ)
		say(d, o, &was, &is);
	buf_fini(&was);
	buf_fini(&is);
	return differ;
}

static void diff_struct(struct diff *d, const char *prefix, const void *before, const void *after);

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
static void say_element(const struct diff *d, const struct opt *o, bool gone)
{
	say_path(d, o, d->out);
	buf_addf(d->out, d->restart ? ": %sing it needs a restart\n" : ": %sed\n", gone ? "remov" : "add");
}

static void diff_elements(struct diff *d, const struct opt *o, const void *before, const void *after, bool forward)
{
	const char *elements = *(char *const *)opt_member_const(before, o->offset);
	size_t n = *(const size_t *)opt_member_const(before, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	opt_join_path(prefix, "", span_of(o->path));
	for (size_t i = 0; i < n; i++) {
		const void *element = elements + i * o->element, *other;
		struct span name = *(const struct span *)element;

		other = element_find(o, after, name);
		d->names[d->depth++] = name;
		if (other && forward)
			diff_struct(d, prefix, element, other);
		else if (!other && diff_wants(d, o))
			say_element(d, o, forward);
		d->depth--;
	}
}

static void say_order(const struct diff *d, const struct opt *o, const struct buf *was, const struct buf *is)
{
	(void)was;
	(void)is;
	say_path(d, o, d->out);
	buf_add_z(d->out, d->restart ? ": another order needs a restart\n" : ": another order\n");
}

/* Of items the order counts, and two may have one name: where nothing is said of an element, that it is. */
static void diff_group(struct diff *d, const struct opt *o, const void *before, const void *after)
{
	size_t said = buf_len(d->out);

	assert(d->depth < OPT_NESTED_MOST);
	diff_elements(d, o, before, after, true);
	diff_elements(d, o, after, before, false);
	if (o->type == &opt_items && diff_wants(d, o) && buf_len(d->out) == said)
		(void)diff_prints(d, o, before, after, say_order);
}

/* Whether it is the row of the elements of a section of this struct. */
static bool is_group_of(const struct opt *o, struct span rest)
{
	struct span key = opt_row_key(o);
	size_t first = span_find(rest, '*'), bracket = span_find(rest, '[');

	return opt_is_element(key) && rest.n > key.n && (first < bracket ? first : bracket) == rest.n - key.n;
}

static void diff_struct(struct diff *d, const char *prefix, const void *before, const void *after)
{
	for (size_t i = 0; i < d->table->count; i++) {
		const struct opt *o = &d->table->rows[i];
		struct span rest;

		if (opt_row_of_struct(o, prefix, &rest)) {
			if (diff_wants(d, o))
				(void)diff_prints(d, o, before, after, say_values);
		} else if (rest.n && is_group_of(o, rest)) {
			diff_group(d, o, before, after);
		}
	}
}

void opt_diff(const struct opt_table *t, const void *before, const void *after, bool restart, struct buf *out)
{
	struct diff d = { .table = t, .restart = restart, .out = out };

	diff_struct(&d, "", before, after);
}
