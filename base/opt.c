/* Option tables.
 *
 * Reading walks the document, not the table: each key is looked up under the pattern of the section
 * it stands in, so that an unknown one is found where it stands and compared with the words that
 * would have been right there.  Defaults are put in first, by the same parsers that read the file:
 * a default that its own type refuses is a programmer's error and asserts.
 *
 * Printing walks the table, section by section in the order of the rows; a value that prints nothing
 * is left out, and so is a section of such values.  Two values are the same when they print the
 * same, which is how opt_diff compares without a comparer per type. */
#include "base/opt.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/nearest.h"

#define PATH_MAX_BYTES 128
#define INDENT 2

struct opt_where {
	struct opt_where *next;
	const void *value;
	const struct yaml_node *node;
};

/* ---- numbers with units ------------------------------------------------------------------ */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit duration_units[] = { { "us", 1 },       { "ms", 1000 },
	                                      { "s", 1000000 },  { "m", 60000000 },
	                                      { "h", 3600000000 }, { "d", 86400000000 } };
static const struct unit size_units[] = { { "", 1 }, { "k", 1u << 10 }, { "m", 1u << 20 }, { "g", 1u << 30 } };

#define UNITS(list) list, sizeof(list) / sizeof((list)[0])

/* whole [ "." fraction ] unit, in the smallest unit; false when it is none or does not come out whole. */
static bool number_with_unit(struct span text, const struct unit *units, size_t n, uint64_t *value_r)
{
	size_t digits = 0, point, scale_digits;
	unsigned long long whole, fraction = 0, scale = 1;
	uint64_t factor = 0;

	while (digits < text.n && ((text.p[digits] >= '0' && text.p[digits] <= '9') || text.p[digits] == '.'))
		digits++;
	for (size_t i = 0; i < n; i++)
		if (span_ieq(span_from(text, digits), span_of(units[i].name)))
			factor = units[i].factor;
	text = span_head(text, digits);
	point = span_find(text, '.');
	scale_digits = point < text.n ? text.n - point - 1 : 0;
	if (!factor || !span_to_u64(span_head(text, point), INT64_MAX / factor, &whole))
		return false;
	if (point < text.n) {
		if (scale_digits > 9 || !span_to_u64(span_from(text, point + 1), 999999999, &fraction))
			return false;
		for (size_t i = 0; i < scale_digits; i++)
			scale *= 10;
		/* factor is below 2^37 and fraction below 2^30: no overflow */
		if (fraction * factor % scale)
			return false;
	}
	*value_r = whole * factor + fraction * factor / scale;
	return *value_r <= INT64_MAX;
}

int opt_parse_duration(struct span text, int64_t *us_r, struct err *e)
{
	uint64_t value;

	if (span_eq(text, SPAN("0"))) {
		*us_r = 0;
		return 0;
	}
	if (!number_with_unit(text, UNITS(duration_units), &value))
		return err_set(e, ERR_INVALID,
		               "\"%.*s\" is no duration; expected a number and us, ms, s, m, h or d",
		               SPAN_ARG(text));
	*us_r = (int64_t)value;
	return 0;
}

int opt_parse_size(struct span text, uint64_t *bytes_r, struct err *e)
{
	if (!number_with_unit(text, UNITS(size_units), bytes_r))
		return err_set(e, ERR_INVALID,
		               "\"%.*s\" is no size; expected bytes, or a number and k, m or g",
		               SPAN_ARG(text));
	return 0;
}

static void print_with_unit(uint64_t value, const struct unit *units, size_t n, struct buf *out)
{
	size_t i = n - 1;

	while (i && value % units[i].factor)
		i--;
	buf_addf(out, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
}

void opt_print_duration(int64_t us, struct buf *out)
{
	if (!us)
		buf_add_z(out, "0s");
	else
		print_with_unit((uint64_t)us, UNITS(duration_units), out);
}

void opt_print_size(uint64_t bytes, struct buf *out)
{
	if (!bytes)
		buf_add_char(out, '0');
	else
		print_with_unit(bytes, UNITS(size_units), out);
}

/* ---- types ------------------------------------------------------------------------------- */

static int check_range(const struct opt *o, uint64_t value, void (*print)(uint64_t, struct buf *),
                       struct err *e)
{
	struct buf b;
	int error = 0;

	if (value >= o->min && (!o->max || value <= o->max))
		return 0;
	buf_init(&b, NULL, 0);
	print(value, &b);
	buf_add_z(&b, value < o->min ? " is too small; expected " : " is too large; expected ");
	if (o->max) {
		print(o->min, &b);
		buf_add_z(&b, " to ");
		print(o->max, &b);
	} else {
		buf_add_z(&b, "at least ");
		print(o->min, &b);
	}
	error = err_set(e, ERR_INVALID, "%s", b.failed ? "out of range" : buf_cstr(&b));
	buf_fini(&b);
	return error;
}

static void print_number(uint64_t value, struct buf *out)
{
	buf_addf(out, "%" PRIu64, value);
}

static void print_duration_u64(uint64_t value, struct buf *out)
{
	opt_print_duration((int64_t)value, out);
}

static int parse_bool(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	(void)r;
	(void)o;
	*(bool *)value = span_eq(text, SPAN("true"));
	if (*(bool *)value || span_eq(text, SPAN("false")))
		return 0;
	return err_set(e, ERR_INVALID, "\"%.*s\" is neither true nor false", SPAN_ARG(text));
}

static void print_bool(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	buf_add_z(out, *(const bool *)value ? "true" : "false");
}

static int parse_count(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                       struct err *e)
{
	unsigned long long v;

	(void)r;
	if (!span_to_u64(text, INT64_MAX, &v))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no whole number", SPAN_ARG(text));
	*(uint64_t *)value = v;
	return check_range(o, v, print_number, e);
}

static void print_count(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	print_number(*(const uint64_t *)value, out);
}

static int parse_uint(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	struct opt narrow = *o;
	uint64_t v = 0;
	int error;

	if (!narrow.max || narrow.max > UINT32_MAX)
		narrow.max = UINT32_MAX;
	error = parse_count(r, &narrow, text, &v, e);
	if (!error)
		*(unsigned *)value = (unsigned)v;
	return error;
}

static void print_uint(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	print_number(*(const unsigned *)value, out);
}

static int parse_duration(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                          struct err *e)
{
	int64_t us = 0;

	(void)r;
	if (opt_parse_duration(text, &us, e))
		return ERR_INVALID;
	*(int64_t *)value = us;
	return check_range(o, (uint64_t)us, print_duration_u64, e);
}

static void print_duration(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	opt_print_duration(*(const int64_t *)value, out);
}

static int parse_size(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	uint64_t bytes;

	(void)r;
	if (opt_parse_size(text, &bytes, e))
		return ERR_INVALID;
	*(uint64_t *)value = bytes;
	return check_range(o, bytes, opt_print_size, e);
}

static void print_size(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	opt_print_size(*(const uint64_t *)value, out);
}

static bool has_control(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 127)
			return true;
	return false;
}

bool opt_is_name(struct span text)
{
	return text.n > 0 && text.n <= 64 && !has_control(text);
}

static int keep(struct opt_reader *r, struct span text, void *value)
{
	*(struct span *)value = arena_dup(r->arena, text);
	if (((struct span *)value)->p)
		return 0;
	*(struct span *)value = SPAN("");
	r->nomem = true;
	return ERR_NOMEM;
}

static int parse_text(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	if (has_control(text))
		return err_set(e, ERR_INVALID, "control characters are not allowed");
	if (o->max && text.n > o->max)
		return err_set(e, ERR_INVALID, "longer than %" PRIu64 " bytes", o->max);
	return keep(r, text, value);
}

static int parse_name(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	(void)o;
	if (!opt_is_name(text))
		return err_set(e, ERR_INVALID,
		               text.n ? "a name has at most 64 bytes and no control characters"
		                      : "a name is missing");
	return keep(r, text, value);
}

static void print_text(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(*(const struct span *)value, out);
}

/* A name that was never set is left out. */
static void print_name(const struct opt *o, const void *value, struct buf *out)
{
	if (((const struct span *)value)->n)
		print_text(o, value, out);
}

struct span opt_resolve(struct arena *arena, struct span dir, struct span path)
{
	char *p;

	while (span_starts(path, SPAN("./")) && path.n > 2 && path.p[2] != '/')
		path = span_from(path, 2);
	if (!path.n || path.p[0] == '/' || !dir.n)
		return arena_dup(arena, path);
	p = arena_printf(arena, "%.*s%s%.*s", SPAN_ARG(dir), dir.p[dir.n - 1] == '/' ? "" : "/", SPAN_ARG(path));
	return span_of(p);
}

static int parse_path(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	struct span path = opt_resolve(r->arena, r->dir, text);

	(void)o;
	if (has_control(text))
		return err_set(e, ERR_INVALID, "control characters are not allowed in a path");
	if (!path.p) {
		r->nomem = true;
		return ERR_NOMEM;
	}
	if (path.n >= 4096)
		return err_set(e, ERR_INVALID, "the path is longer than 4095 bytes");
	*(struct span *)value = path;
	return 0;
}

static int parse_word(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	struct span rest = span_of(o->words), word;
	int index = 0;

	(void)r;
	for (; span_split(&rest, '|', &word); index++)
		if (span_eq(word, text)) {
			*(int *)value = index;
			return 0;
		}
	err_set(e, ERR_INVALID, "\"%.*s\" is none of ", SPAN_ARG(text));
	rest = span_of(o->words);
	for (const char *sep = ""; e && span_split(&rest, '|', &word); sep = ", ")
		snprintf(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text), "%s%.*s", sep,
		         SPAN_ARG(word));
	return ERR_INVALID;
}

static void print_word(const struct opt *o, const void *value, struct buf *out)
{
	struct span rest = span_of(o->words), word = { 0 };

	for (int i = 0; i <= *(const int *)value; i++)
		if (!span_split(&rest, '|', &word))
			return;
	buf_add_span(out, word);
}

static int parse_addr(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	(void)r;
	if (span_starts(text, SPAN("unix:")))
		return err_set(e, ERR_INVALID, "a unix socket cannot be used here; expected ADDRESS:PORT");
	return addr_parse(text, o->min == 0, value, e);
}

static void print_addr(const struct opt *o, const void *value, struct buf *out)
{
	char text[ADDR_TEXT_BYTES];

	(void)o;
	if (!((const struct addr *)value)->len)
		return;
	addr_format(value, text);
	buf_addf(out, "\"%s\"", text);
}

const struct opt_type opt_bool = { "true or false", sizeof(bool), parse_bool, print_bool, NULL };
const struct opt_type opt_count = { "number", sizeof(uint64_t), parse_count, print_count, NULL };
const struct opt_type opt_uint = { "number", sizeof(unsigned), parse_uint, print_uint, NULL };
const struct opt_type opt_duration = { "duration", sizeof(int64_t), parse_duration, print_duration, NULL };
const struct opt_type opt_size = { "size", sizeof(uint64_t), parse_size, print_size, NULL };
const struct opt_type opt_text = { "text", sizeof(struct span), parse_text, print_text, NULL };
const struct opt_type opt_name = { "name", sizeof(struct span), parse_name, print_name, NULL };
const struct opt_type opt_path = { "path", sizeof(struct span), parse_path, print_name, NULL };
const struct opt_type opt_word = { "word", sizeof(int), parse_word, print_word, NULL };
const struct opt_type opt_addr = { "address", sizeof(struct addr), parse_addr, print_addr, NULL };
const struct opt_type opt_group = { "map of names", 0, NULL, NULL, NULL };

/* ---- the table --------------------------------------------------------------------------- */

/* The part of a row's path behind the section's pattern; .p NULL when it is not below it. */
static struct span below(const struct opt *o, const char *prefix)
{
	struct span path = span_of(o->path);

	if (!span_starts(path, span_of(prefix)))
		return (struct span){ NULL, 0 };
	return span_from(path, strlen(prefix));
}

static struct span last_part(const struct opt *o)
{
	const char *dot = strrchr(o->path, '.');

	return span_of(dot ? dot + 1 : o->path);
}

static const struct opt *row_find(const struct opt_table *t, const char *prefix, struct span key)
{
	for (size_t i = 0; i < t->count; i++)
		if (span_eq(below(&t->rows[i], prefix), key) && key.n)
			return &t->rows[i];
	return NULL;
}

/* Whether rows stand below prefix + key + ".". */
static bool is_section(const struct opt_table *t, const char *prefix, struct span key)
{
	for (size_t i = 0; i < t->count; i++) {
		struct span rest = below(&t->rows[i], prefix);

		if (key.n && rest.n > key.n && span_starts(rest, key) && rest.p[key.n] == '.')
			return true;
	}
	return false;
}

/* True for the first row of its key below prefix: what iterates over the keys of a section. */
static bool first_of_key(const struct opt_table *t, size_t row, const char *prefix, struct span *key_r)
{
	struct span rest = below(&t->rows[row], prefix), other;

	if (!rest.n)
		return false;
	*key_r = span_head(rest, span_find(rest, '.'));
	for (size_t i = 0; i < row; i++) {
		other = below(&t->rows[i], prefix);
		if (other.n && span_eq(span_head(other, span_find(other, '.')), *key_r))
			return false;
	}
	return true;
}

static void join(char path[PATH_MAX_BYTES], const char *prefix, struct span key)
{
	int n = snprintf(path, PATH_MAX_BYTES, "%s%.*s.", prefix, SPAN_ARG(key));

	assert(n > 0 && n < PATH_MAX_BYTES);
}

static void *member(void *base, size_t offset)
{
	return (char *)base + offset;
}

static const void *member_const(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* ---- reading ----------------------------------------------------------------------------- */

void opt_note(struct opt_reader *r, const void *value, const struct yaml_node *node)
{
	struct opt_where *w = arena_alloc(&r->yaml->arena, sizeof(*w));

	if (!w) {
		r->nomem = true;
		return;
	}
	*w = (struct opt_where){ r->places, value, node };
	r->places = w;
}

const struct yaml_node *opt_where(const struct opt_reader *r, const void *value)
{
	for (const struct opt_where *w = r->places; w; w = w->next)
		if (w->value == value)
			return w->node;
	return NULL;
}

struct yaml_place opt_place(const struct opt_reader *r, const void *value)
{
	const struct yaml_node *node = opt_where(r, value);

	return node ? node->at : (struct yaml_place){ 0, 0 };
}

/* "did you mean" among the words of a row, or the keys of a section; else what is known. */
static const char *hint_word(struct opt_reader *r, const char *words, struct span got)
{
	struct span rest = span_of(words), word;
	struct nearest near = { { 0 }, 0 };

	while (span_split(&rest, '|', &word))
		nearest_offer(&near, got, word);
	return near.best.n ? arena_printf(&r->yaml->arena, "did you mean \"%.*s\"?", SPAN_ARG(near.best)) : NULL;
}

static void problem_scalar(struct opt_reader *r, const struct opt *o, const struct yaml_node *node,
                           const struct err *e)
{
	struct span key = last_part(o);
	const char *hint = o->words ? hint_word(r, o->words, node->text)
	                   : o->type == &opt_bool ? hint_word(r, "true|false", node->text) : NULL;

	if (span_eq(key, SPAN("*")))
		yaml_problem(r->yaml, node->at, hint, "%s", e->text);
	else
		yaml_problem(r->yaml, node->at, hint, "%.*s: %s", SPAN_ARG(key), e->text);
}

static void read_scalar(struct opt_reader *r, const struct opt *o, const struct opt_type *type,
                        const struct yaml_node *node, void *value)
{
	struct err e = { 0, "" };
	struct span key = last_part(o);

	opt_note(r, value, node);
	if (node->kind != YAML_SCALAR)
		yaml_problem(r->yaml, node->at, NULL, "%.*s: expected %s %s, not a %s", SPAN_ARG(key),
		             strchr("aeiou", type->name[0]) ? "an" : "a", type->name,
		             node->kind == YAML_LIST ? "list" : "map");
	else if ((o->flags & OPT_FILLED) && !node->text.n)
		yaml_problem(r->yaml, node->at, NULL, "%.*s: a value is missing", SPAN_ARG(key));
	else if (type->parse(r, o, node->text, value, &e) && !r->nomem)
		problem_scalar(r, o, node, &e);
}

void *opt_read_list(struct opt_reader *r, const struct opt *o, const struct opt_type *type,
                    const struct yaml_node *node, size_t *count_r)
{
	struct span key = last_part(o);
	size_t n = node->kind == YAML_LIST ? node->count : yaml_is_empty(node) ? 0 : 1, i = 0;
	char *list;

	*count_r = 0;
	if (node->kind == YAML_MAP && node->count)
		yaml_problem(r->yaml, node->at, NULL, "%.*s: expected a list, not a map", SPAN_ARG(key));
	if (node->kind == YAML_MAP || !n)
		return NULL;
	list = arena_zalloc(r->arena, n * type->size);
	if (!list) {
		r->nomem = true;
		return NULL;
	}
	if (node->kind == YAML_SCALAR)
		read_scalar(r, o, type, node, list);
	else
		for (const struct yaml_node *at = node->first; at; at = at->next)
			read_scalar(r, o, type, at, list + i++ * type->size);
	*count_r = n;
	return list;
}

static struct opt_pair *read_pairs(struct opt_reader *r, const struct opt *o,
                                   const struct yaml_node *node, size_t *count_r)
{
	struct span key = last_part(o);
	struct opt_pair *pairs;
	size_t i = 0;

	*count_r = 0;
	if (node->kind != YAML_MAP && !yaml_is_empty(node))
		yaml_problem(r->yaml, node->at, NULL, "%.*s: expected a map of names", SPAN_ARG(key));
	if (node->kind != YAML_MAP || !node->count)
		return NULL;
	pairs = arena_zalloc(r->arena, node->count * sizeof(*pairs));
	if (!pairs) {
		r->nomem = true;
		return NULL;
	}
	for (const struct yaml_node *k = node->first; k; k = k->next, i++) {
		pairs[i].key = pairs[i].value = SPAN("");
		if (k->kind != YAML_SCALAR)
			continue; /* said already */
		read_scalar(r, o, &opt_name, k, &pairs[i].key);
		read_scalar(r, o, o->type, k->value, &pairs[i].value);
	}
	*count_r = i;
	return pairs;
}

static void read_later(struct opt_reader *r, const struct opt *o, const struct yaml_node *node)
{
	struct span key = last_part(o);

	if (yaml_is_empty(node) || (node->kind == YAML_SCALAR && span_eq(node->text, SPAN("false"))))
		return;
	if (o->value && node->kind == YAML_SCALAR && span_eq(node->text, span_of(o->value)))
		return;
	yaml_problem(r->yaml, node->at, "leave it out, or empty", "%.*s: this needs a later version",
	             SPAN_ARG(key));
}

static void read_row(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *base)
{
	void *value = member(base, o->offset);
	size_t count;

	if (o->flags & OPT_LATER) {
		read_later(r, o, node);
	} else if (o->flags & (OPT_PAIRS | OPT_LIST)) {
		opt_note(r, value, node);
		*(void **)value = o->flags & OPT_PAIRS ? (void *)read_pairs(r, o, node, &count)
		                                       : opt_read_list(r, o, o->type, node, &count);
		*(size_t *)member(base, o->count_offset) = count;
	} else if (o->type->parse_node) {
		opt_note(r, value, node);
		o->type->parse_node(r, o, node, value);
	} else {
		read_scalar(r, o, o->type, node, value);
	}
}

static void read_section(struct opt_reader *r, const struct yaml_node *node, const char *prefix,
                         void *base);

static void unknown_key(struct opt_reader *r, const struct yaml_node *key, const char *prefix)
{
	struct buf words;
	struct span word;
	const char *hint;

	buf_init(&words, NULL, 0);
	for (size_t i = 0; i < r->table->count; i++)
		if (first_of_key(r->table, i, prefix, &word)) {
			buf_add_z(&words, buf_len(&words) ? "|" : "");
			buf_add_span(&words, word);
		}
	if (words.failed || !buf_cstr(&words)) {
		r->nomem = true;
		buf_fini(&words);
		return;
	}
	hint = hint_word(r, buf_cstr(&words), key->text);
	if (!hint) {
		buf_fini(&words);
		buf_init(&words, NULL, 0);
		for (size_t i = 0; i < r->table->count; i++)
			if (first_of_key(r->table, i, prefix, &word))
				buf_addf(&words, "%s%.*s", buf_len(&words) ? ", " : "known here: ", SPAN_ARG(word));
		hint = words.failed ? NULL : buf_cstr(&words);
	}
	yaml_problem(r->yaml, key->at, hint, "unknown key \"%.*s\"", SPAN_ARG(key->text));
	buf_fini(&words);
}

static void set_default(struct opt_reader *r, const struct opt *o, void *base)
{
	void *value = member(base, o->offset);
	struct err e;
	int error = 0;

	if (o->flags & OPT_LIST && o->value) {
		struct span rest = span_of(o->value), part;
		size_t n = 0;
		char *list = arena_zalloc(r->arena, (strlen(o->value) + 1) * o->type->size);

		*(void **)value = list;
		while (list && span_split(&rest, ',', &part))
			error |= o->type->parse(r, o, span_trim(part), list + n++ * o->type->size, &e);
		*(size_t *)member(base, o->count_offset) = n;
		r->nomem |= !list;
	} else if (o->value && o->type->parse) {
		error = o->type->parse(r, o, span_of(o->value), value, &e);
	} else if (o->type->size == sizeof(struct span) && (o->type->print == print_text || o->type->print == print_name) &&
	           !(o->flags & (OPT_LIST | OPT_PAIRS))) {
		*(struct span *)value = SPAN("");
	}
	assert(!error || r->nomem);
}

/* Of the rows that belong to the struct at base: below prefix, and no group in between. */
static bool of_struct(const struct opt *o, const char *prefix, struct span *rest_r)
{
	*rest_r = below(o, prefix);
	return rest_r->n && span_find(*rest_r, '*') == rest_r->n;
}

static void set_defaults(struct opt_reader *r, const char *prefix, void *base)
{
	struct span rest;

	for (size_t i = 0; i < r->table->count; i++)
		if (of_struct(&r->table->rows[i], prefix, &rest) && !(r->table->rows[i].flags & OPT_LATER))
			set_default(r, &r->table->rows[i], base);
}

static void check_required(struct opt_reader *r, const char *prefix, void *base, struct yaml_place at)
{
	struct span rest;

	for (size_t i = 0; i < r->table->count; i++) {
		const struct opt *o = &r->table->rows[i];

		if (of_struct(o, prefix, &rest) && o->flags & OPT_REQUIRED &&
		    !opt_where(r, member(base, o->offset)))
			yaml_problem(r->yaml, at, NULL, "\"%.*s\" is missing: %s", SPAN_ARG(rest), o->doc);
	}
}

static void read_group(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *base)
{
	char prefix[PATH_MAX_BYTES];
	size_t i = 0;
	char *elements = arena_zalloc(r->arena, node->count * o->element);

	if (!elements) {
		r->nomem = true;
		return;
	}
	join(prefix, "", span_of(o->path));
	for (const struct yaml_node *k = node->first; k; k = k->next) {
		void *element = elements + i * o->element;

		if (k->kind != YAML_SCALAR)
			continue; /* said already */
		set_defaults(r, prefix, element);
		*(struct span *)element = SPAN("");
		read_scalar(r, o, &opt_name, k, element);
		read_section(r, k->value, prefix, element);
		check_required(r, prefix, element, k->at);
		i++;
	}
	*(void **)member(base, o->offset) = elements;
	*(size_t *)member(base, o->count_offset) = i;
}

static void read_section(struct opt_reader *r, const struct yaml_node *node, const char *prefix,
                         void *base)
{
	const struct opt *group = row_find(r->table, prefix, SPAN("*"));
	char path[PATH_MAX_BYTES];

	if (node->kind != YAML_MAP) {
		if (!yaml_is_empty(node))
			yaml_problem(r->yaml, node->at, NULL, "expected a map of keys and values");
		return;
	}
	if (group) {
		if (node->count)
			read_group(r, group, node, base);
		return;
	}
	for (const struct yaml_node *k = node->first; k; k = k->next) {
		const struct opt *o = k->kind == YAML_SCALAR ? row_find(r->table, prefix, k->text) : NULL;

		if (o) {
			read_row(r, o, k->value, base);
		} else if (k->kind == YAML_SCALAR && is_section(r->table, prefix, k->text)) {
			join(path, prefix, k->text);
			read_section(r, k->value, path, base);
		} else if (k->kind == YAML_SCALAR) {
			unknown_key(r, k, prefix);
		}
	}
}

int opt_read(struct opt_reader *r, void *base)
{
	set_defaults(r, "", base);
	if (r->yaml->root)
		read_section(r, r->yaml->root, "", base);
	if (!r->yaml->root || r->yaml->root->kind == YAML_MAP || yaml_is_empty(r->yaml->root))
		check_required(r, "", base, (struct yaml_place){ 1, 1 });
	return r->nomem || r->yaml->nomem ? ERR_NOMEM : 0;
}

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
	const void *value = member_const(base, o->offset);
	size_t n;

	if (!(o->flags & (OPT_LIST | OPT_PAIRS))) {
		o->type->print(o, value, out);
		return;
	}
	n = *(const size_t *)member_const(base, o->count_offset);
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
	const char *elements = *(char *const *)member_const(base, o->offset);
	size_t n = *(const size_t *)member_const(base, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	join(prefix, "", span_of(o->path));
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
	const struct opt *o = row_find(t, prefix, key);
	char path[PATH_MAX_BYTES];
	struct buf b;

	if (o && o->flags & OPT_LATER)
		return;
	buf_init(&b, NULL, 0);
	if (o) {
		print_value(o, base, &b);
	} else {
		join(path, prefix, key);
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
	const struct opt *group = row_find(t, prefix, SPAN("*"));
	struct span key;

	if (group) {
		print_group(t, group, base, indent, out);
		return;
	}
	for (size_t i = 0; i < t->count; i++)
		if (first_of_key(t, i, prefix, &key))
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
	void (*print)(uint64_t, struct buf *) = o->type == &opt_duration ? print_duration_u64
	                                        : o->type == &opt_size   ? opt_print_size
	                                                                 : print_number;
	bool number = o->type == &opt_duration || o->type == &opt_size || o->type == &opt_count || o->type == &opt_uint;

	if (o->flags & OPT_LIST)
		buf_add_z(out, "list of ");
	if (o->flags & OPT_PAIRS)
		buf_add_z(out, "map of names to ");
	buf_add_z(out, o->type->name);
	if (number && o->max) {
		buf_add_z(out, ", ");
		print(o->min, out);
		buf_add_z(out, " to ");
		print(o->max, out);
	} else if (number && o->min) {
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
	const char *elements = *(char *const *)member_const(base, o->offset);
	size_t n = *(const size_t *)member_const(base, o->count_offset);

	for (size_t i = 0; i < n; i++)
		if (span_eq(*(const struct span *)(const void *)(elements + i * o->element), name))
			return elements + i * o->element;
	return NULL;
}

/* Elements on one side only need a restart when the group's row says so. */
static void diff_group(const struct diff *d, const struct opt *o, const void *before, const void *after,
                       bool forward)
{
	const char *elements = *(char *const *)member_const(before, o->offset);
	size_t n = *(const size_t *)member_const(before, o->count_offset);
	char prefix[PATH_MAX_BYTES];

	join(prefix, "", span_of(o->path));
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

		if (of_struct(o, prefix, &rest)) {
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
