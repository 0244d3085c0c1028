/* Reading a document by an option table.
 *
 * Reading walks the document, not the table: each key is looked up under the pattern of the section
 * it stands in, so that an unknown one is found where it stands and compared with the words that
 * would have been right there.  Defaults are put in first, by the same parsers that read the file:
 * a default that its own type refuses is a programmer's error and asserts. */
#include <assert.h>
#include <string.h>

#include "base/nearest.h"
#include "base/opt_int.h"

struct opt_where {
	struct opt_where *next;
	const void *value;
	const struct yaml_node *node;
};

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
	struct span key = opt_row_key(o);
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
	struct span key = opt_row_key(o);

	opt_note(r, value, node);
	if (node->kind != YAML_SCALAR)
		yaml_problem(r->yaml, node->at, NULL, "%.*s: expected %s %s, not a %s", SPAN_ARG(key),
		             strchr("aeiou", type->name[0]) ? "an" : "a", type->name,
		             node->kind == YAML_LIST ? "list" : "map");
	else if ((o->flags & OPT_FILLED) && !node->text.n)
		yaml_problem(r->yaml, node->at, NULL, "%.*s: a value is missing", SPAN_ARG(key));
	else if (type->parse(r, o, node->text, value, &e) && !r->nomem)
		problem_scalar(r, o, node, &e);
	else if (opt_has_word(o->later, node->text))
		yaml_problem(r->yaml, node->at, "leave it out", "%.*s: \"%.*s\" needs a later version", SPAN_ARG(key),
		             SPAN_ARG(node->text));
}

void *opt_read_list(struct opt_reader *r, const struct opt *o, const struct opt_type *type,
                    const struct yaml_node *node, size_t *count_r)
{
	struct span key = opt_row_key(o);
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
	struct span key = opt_row_key(o);
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
	struct span key = opt_row_key(o);

	if (yaml_is_empty(node) || (node->kind == YAML_SCALAR && span_eq(node->text, SPAN("false"))))
		return;
	if (o->value && node->kind == YAML_SCALAR && span_eq(node->text, span_of(o->value)))
		return;
	yaml_problem(r->yaml, node->at, "leave it out, or empty", "%.*s: this needs a later version",
	             SPAN_ARG(key));
}

static void read_row(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *base)
{
	void *value = opt_member(base, o->offset);
	size_t count;

	if (o->flags & OPT_LATER) {
		read_later(r, o, node);
	} else if (o->flags & (OPT_PAIRS | OPT_LIST)) {
		opt_note(r, value, node);
		*(void **)value = o->flags & OPT_PAIRS ? (void *)read_pairs(r, o, node, &count)
		                                       : opt_read_list(r, o, o->type, node, &count);
		*(size_t *)opt_member(base, o->count_offset) = count;
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
		if (opt_first_of_key(r->table, i, prefix, &word)) {
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
			if (opt_first_of_key(r->table, i, prefix, &word))
				buf_addf(&words, "%s%.*s", buf_len(&words) ? ", " : "known here: ", SPAN_ARG(word));
		hint = words.failed ? NULL : buf_cstr(&words);
	}
	yaml_problem(r->yaml, key->at, hint, "unknown key \"%.*s\"", SPAN_ARG(key->text));
	buf_fini(&words);
}

static void set_default(struct opt_reader *r, const struct opt *o, void *base)
{
	void *value = opt_member(base, o->offset);
	struct err e;
	int error = 0;

	if (o->flags & OPT_LIST && o->value) {
		struct span rest = span_of(o->value), part;
		size_t n = 0;
		char *list = arena_zalloc(r->arena, (strlen(o->value) + 1) * o->type->size);

		*(void **)value = list;
		while (list && span_split(&rest, ',', &part))
			error |= o->type->parse(r, o, span_trim(part), list + n++ * o->type->size, &e);
		*(size_t *)opt_member(base, o->count_offset) = n;
		r->nomem |= !list;
	} else if (o->value && o->type->parse) {
		error = o->type->parse(r, o, span_of(o->value), value, &e);
	} else if (opt_is_text(o->type) && !(o->flags & (OPT_LIST | OPT_PAIRS))) {
		*(struct span *)value = SPAN("");
	}
	assert(!error || r->nomem);
}

static void set_defaults(struct opt_reader *r, const char *prefix, void *base)
{
	struct span rest;

	for (size_t i = 0; i < r->table->count; i++)
		if (opt_row_of_struct(&r->table->rows[i], prefix, &rest) && !(r->table->rows[i].flags & OPT_LATER))
			set_default(r, &r->table->rows[i], base);
}

static void check_required(struct opt_reader *r, const char *prefix, void *base, struct yaml_place at)
{
	struct span rest;

	for (size_t i = 0; i < r->table->count; i++) {
		const struct opt *o = &r->table->rows[i];

		if (opt_row_of_struct(o, prefix, &rest) && o->flags & OPT_REQUIRED &&
		    !opt_where(r, opt_member(base, o->offset)))
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
	opt_join_path(prefix, "", span_of(o->path));
	for (const struct yaml_node *k = node->first; k; k = k->next) {
		void *element = elements + i * o->element;

		if (k->kind != YAML_SCALAR)
			continue; /* said already */
		set_defaults(r, prefix, element);
		*(struct span *)element = SPAN("");
		read_scalar(r, o, &opt_name, k, element);
		read_section(r, k->value, prefix, element);
		if (k->value->kind == YAML_MAP || yaml_is_empty(k->value)) /* else it is said already */
			check_required(r, prefix, element, k->at);
		i++;
	}
	*(void **)opt_member(base, o->offset) = elements;
	*(size_t *)opt_member(base, o->count_offset) = i;
}

/* A map is a list of one. */
static void read_items(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *base)
{
	size_t n = yaml_is_empty(node) ? 0 : node->kind == YAML_LIST ? node->count : 1;
	const struct yaml_node *item = node->kind == YAML_LIST ? node->first : node;
	char *elements = arena_zalloc(r->arena, n * o->element);
	char prefix[PATH_MAX_BYTES];

	if (!elements) {
		r->nomem = true;
		return;
	}
	opt_join_path(prefix, "", span_of(o->path));
	for (size_t i = 0; i < n; i++, item = item->next) {
		void *element = elements + i * o->element;

		*(struct span *)element = SPAN("");
		set_defaults(r, prefix, element);
		read_section(r, item, prefix, element);
		if (item->kind == YAML_MAP || yaml_is_empty(item)) /* else it is said already */
			check_required(r, prefix, element, item->at.line ? item->at : node->at);
	}
	*(void **)opt_member(base, o->offset) = elements;
	*(size_t *)opt_member(base, o->count_offset) = n;
}

static void read_section(struct opt_reader *r, const struct yaml_node *node, const char *prefix,
                         void *base)
{
	const struct opt *group = opt_row_elements(r->table, prefix);
	char path[PATH_MAX_BYTES];

	if (group && group->type == &opt_items) {
		read_items(r, group, node, base);
		return;
	}
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
		const struct opt *o = k->kind == YAML_SCALAR ? opt_row_find(r->table, prefix, k->text) : NULL;

		if (o) {
			read_row(r, o, k->value, base);
		} else if (k->kind == YAML_SCALAR && opt_is_section(r->table, prefix, k->text)) {
			opt_join_path(path, prefix, k->text);
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
