/* The types of options: how one value is read from a scalar's text, checked against the range of
 * its row, and written back.  Numbers with units are exact: a text that does not come out whole in
 * the smallest unit is refused. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/opt_int.h"

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

/* As a scope's names may have none: C0, DEL, and C1, which is c2 80 to c2 9f in UTF-8. */
static bool has_control(struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c < ' ' || c == 127)
			return true;
		if (c == 0xc2 && i + 1 < text.n && (unsigned char)text.p[i + 1] <= 0x9f)
			return true;
	}
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
	struct span path = text.n ? opt_resolve(r->arena, r->dir, text) : SPAN("");

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
const struct opt_type opt_items = { "list of maps", 0, NULL, NULL, NULL };

bool opt_is_text(const struct opt_type *type)
{
	return type->size == sizeof(struct span) && (type->print == print_text || type->print == print_name);
}

void (*opt_number_printer(const struct opt_type *type))(uint64_t, struct buf *)
{
	if (type == &opt_duration)
		return print_duration_u64;
	if (type == &opt_size)
		return opt_print_size;
	return type == &opt_count || type == &opt_uint ? print_number : NULL;
}
