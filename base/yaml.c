/* YAML with places.
 *
 * libfyaml's events become a tree of our own in one arena: its nodes are plain structs with line
 * and column, so nothing else in the tree needs to know the library, and the checks that follow
 * cannot fail half-way.  libfyaml's own document tree was rejected because it resolves aliases
 * (a few lines of text expand to gigabytes) and stops at the first duplicate key.
 *
 * Refused although they are YAML: anchors and aliases, tags, more than one document, keys that are
 * no scalars, duplicate keys, control characters.  Nesting is bounded by DEPTH_MAX; a text that
 * gets past libfyaml is at most YAML_FILE_BYTES long.
 *
 * Problems are kept in a list and reported at the end, sorted by place, so that a person sees all
 * of them at once and from top to bottom:
 *
 *     site.yaml:4:5: unknown key "instnces"
 *         instnces: []
 *         ^
 *     hint: did you mean "instances"? */
#include "base/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 32
#define PROBLEMS_MAX 1000 /* what more there is, is counted only */
#define EXCERPT_BEFORE 100
#define EXCERPT_AFTER 60

struct yaml_problem {
	struct yaml_problem *next;
	struct yaml_place at;
	size_t order;
	const char *text, *hint;
};

/* ---- problems ---------------------------------------------------------------------------- */

void yaml_problem(struct yaml *y, struct yaml_place at, const char *hint, const char *fmt, ...)
{
	struct yaml_problem *p;
	char text[1024];
	va_list ap;

	if (y->problem_count++ >= PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p = arena_zalloc(&y->arena, sizeof(*p));
	if (!p) {
		y->nomem = true;
		return;
	}
	p->at = at;
	p->order = y->problem_count;
	p->text = arena_dup(&y->arena, span_of(text)).p;
	p->hint = hint ? arena_dup(&y->arena, span_of(hint)).p : NULL;
	if (!p->text || (hint && !p->hint))
		y->nomem = true;
	p->next = y->problems;
	y->problems = p;
}

static int problem_order(const void *a, const void *b)
{
	const struct yaml_problem *x = *(struct yaml_problem *const *)a;
	const struct yaml_problem *z = *(struct yaml_problem *const *)b;

	if (x->at.line != z->at.line)
		return x->at.line < z->at.line ? -1 : 1;
	if (x->at.column != z->at.column)
		return x->at.column < z->at.column ? -1 : 1;
	return x->order < z->order ? -1 : 1;
}

/* The line with this number, without its end. */
static struct span line_of(struct span text, unsigned line)
{
	size_t at = 0, end;

	for (unsigned i = 1; i < line && at < text.n; at++) {
		if (text.p[at] == '\n' ||
		    (text.p[at] == '\r' && (at + 1 == text.n || text.p[at + 1] != '\n')))
			i++;
	}
	for (end = at; end < text.n && text.p[end] != '\n' && text.p[end] != '\r'; end++)
		;
	return span_make(text.p + at, end - at);
}

static bool starts_char(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* The line, cut to the neighbourhood of the column, and the caret under it.  Control characters
 * become blanks (a terminal shall not obey a file); a tab stays one in both lines. */
static void add_excerpt(struct span line, unsigned column, struct buf *out)
{
	unsigned from = column > EXCERPT_BEFORE ? column - EXCERPT_BEFORE : 1;
	unsigned to = column + EXCERPT_AFTER, at = 0;
	char caret[EXCERPT_BEFORE + 8];
	size_t caret_bytes = 0;

	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];

		at += starts_char(c);
		if (at < from || at > to)
			continue;
		if (starts_char(c) && at < column && caret_bytes < sizeof(caret))
			caret[caret_bytes++] = c == '\t' ? '\t' : ' ';
		buf_add_char(out, ((unsigned char)c < ' ' && c != '\t') || c == 127 ? ' ' : c);
	}
	while (at + 1 < column && caret_bytes < sizeof(caret) && at >= from) {
		caret[caret_bytes++] = ' ';
		at++;
	}
	buf_add_char(out, '\n');
	buf_add(out, caret, caret_bytes);
	buf_add_z(out, "^\n");
}

static void add_problem(const struct yaml *y, const struct yaml_problem *p, struct buf *out)
{
	buf_add_span(out, y->file);
	if (p->at.line)
		buf_addf(out, ":%u:%u", p->at.line, p->at.column);
	buf_addf(out, ": %s\n", p->text ? p->text : "out of memory");
	if (p->at.line)
		add_excerpt(line_of(y->text, p->at.line), p->at.column, out);
	if (p->hint)
		buf_addf(out, "hint: %s\n", p->hint);
}

void yaml_report(struct yaml *y, struct buf *out)
{
	size_t n = y->problem_count < PROBLEMS_MAX ? y->problem_count : PROBLEMS_MAX, i = 0;
	struct yaml_problem **list = n ? arena_alloc(&y->arena, n * sizeof(struct yaml_problem *)) : NULL;

	if (y->nomem || (n && !list))
		buf_add_z(out, "out of memory: not every problem is shown\n");
	if (!list)
		return;
	for (struct yaml_problem *p = y->problems; p && i < n; p = p->next)
		list[i++] = p;
	n = i;
	qsort(list, n, sizeof(struct yaml_problem *), problem_order);
	for (i = 0; i < n; i++)
		add_problem(y, list[i], out);
	if (y->problem_count > PROBLEMS_MAX) {
		buf_add_span(out, y->file);
		buf_addf(out, ": and %zu more\n", y->problem_count - PROBLEMS_MAX);
	}
}

/* ---- from events to a tree --------------------------------------------------------------- */

struct builder {
	struct yaml *y;
	struct fy_parser *parser;
	int error; /* ERR_NOMEM, or ERR_SYNTAX: the events ended too early */
};

/* Where the value begins; of one in quotes libfyaml says where the text behind the quote does. */
static struct yaml_place place_of(struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);
	enum fy_scalar_style style = FYSS_ANY;

	if (!mark)
		return (struct yaml_place){ 0, 0 };
	if (event->type == FYET_SCALAR && event->scalar.value)
		style = fy_token_scalar_style(event->scalar.value);
	if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && mark->column > 0)
		return (struct yaml_place){ (unsigned)mark->line + 1, (unsigned)mark->column };
	return (struct yaml_place){ (unsigned)mark->line + 1, (unsigned)mark->column + 1 };
}

static struct yaml_node *node_new(struct builder *b, struct fy_event *event, enum yaml_kind kind)
{
	struct yaml_node *node = arena_zalloc(&b->y->arena, sizeof(*node));

	if (!node) {
		b->error = ERR_NOMEM;
		return NULL;
	}
	node->kind = kind;
	node->at = place_of(event);
	return node;
}

static void refuse_extras(struct builder *b, struct fy_event *event, const struct fy_token *anchor,
                          const struct fy_token *tag)
{
	if (anchor)
		yaml_problem(b->y, place_of(event),
		             "write the value out, or put it in quotes if it begins with \"&\"",
		             "anchors are not supported");
	if (tag)
		yaml_problem(b->y, place_of(event), "put the value in quotes if it begins with \"!\"",
		             "tags are not supported");
}

static struct yaml_node *build_scalar(struct builder *b, struct fy_event *event)
{
	struct yaml_node *node = node_new(b, event, YAML_SCALAR);
	struct fy_token *value = event->scalar.value;
	const char *text = NULL;
	size_t n = 0;

	if (!node)
		return NULL;
	refuse_extras(b, event, event->scalar.anchor, event->scalar.tag);
	if (value)
		text = fy_token_get_text(value, &n);
	node->plain = !value || fy_token_scalar_style(value) == FYSS_PLAIN;
	node->text = arena_dup(&b->y->arena, span_make(text ? text : "", text ? n : 0));
	if (!node->text.p)
		b->error = ERR_NOMEM;
	return node;
}

static struct yaml_node *build(struct builder *b, struct fy_event *event, unsigned depth);

static struct yaml_node *build_next(struct builder *b, unsigned depth, bool *end_r)
{
	struct fy_event *event = fy_parser_parse(b->parser);
	struct yaml_node *node = NULL;

	*end_r = false;
	if (!event) {
		b->error = ERR_SYNTAX;
		return NULL;
	}
	if (event->type == FYET_SEQUENCE_END || event->type == FYET_MAPPING_END)
		*end_r = true;
	else
		node = build(b, event, depth);
	fy_parser_event_free(b->parser, event);
	return node;
}

/* One element of a list, or key and value of a map. False at the end of either, and on errors. */
static bool build_element(struct builder *b, struct yaml_node *in, struct yaml_node ***tail,
                          unsigned depth)
{
	bool end;
	struct yaml_node *node = build_next(b, depth, &end);

	if (end || b->error || !node)
		return false;
	if (in->kind == YAML_MAP) {
		if (node->kind != YAML_SCALAR)
			yaml_problem(b->y, node->at, NULL, "a key must be a name");
		node->value = build_next(b, depth, &end);
		if (!node->value)
			return false;
		if (!node->value->at.line) /* "key:" and nothing: the event stands nowhere */
			node->value->at = node->at;
	}
	**tail = node;
	*tail = &node->next;
	in->count++;
	return true;
}

static int key_order(const void *a, const void *b)
{
	const struct yaml_node *x = *(struct yaml_node *const *)a, *z = *(struct yaml_node *const *)b;
	int c = memcmp(x->text.p, z->text.p, x->text.n < z->text.n ? x->text.n : z->text.n);

	if (c || x->text.n != z->text.n)
		return c ? c : (x->text.n < z->text.n ? -1 : 1);
	return x->at.line != z->at.line ? (x->at.line < z->at.line ? -1 : 1)
	                                : (x->at.column < z->at.column ? -1 : 1);
}

/* By sorting: maps of a hostile file may be long. */
static void find_duplicates(struct builder *b, const struct yaml_node *map)
{
	struct yaml_node **keys = NULL;
	size_t n = 0;

	if (map->count < 2)
		return;
	keys = calloc(map->count, sizeof(struct yaml_node *));
	if (!keys) {
		b->error = ERR_NOMEM;
		return;
	}
	for (struct yaml_node *key = map->first; key; key = key->next)
		if (key->kind == YAML_SCALAR)
			keys[n++] = key;
	qsort(keys, n, sizeof(struct yaml_node *), key_order);
	for (size_t i = 1; i < n; i++)
		if (span_eq(keys[i]->text, keys[i - 1]->text))
			yaml_problem(b->y, keys[i]->at, NULL, "\"%.*s\" is there twice (first in line %u)",
			             SPAN_ARG(keys[i]->text), keys[i - 1]->at.line);
	free(keys);
}

static struct yaml_node *build_collection(struct builder *b, struct fy_event *event,
                                          enum yaml_kind kind, unsigned depth)
{
	struct yaml_node *node = node_new(b, event, kind), **tail;

	if (!node)
		return NULL;
	if (depth >= DEPTH_MAX) {
		yaml_problem(b->y, node->at, NULL, "nested more than %d deep", DEPTH_MAX);
		b->error = ERR_SYNTAX;
		return NULL;
	}
	tail = &node->first;
	while (build_element(b, node, &tail, depth + 1))
		;
	if (b->error)
		return NULL;
	if (kind == YAML_MAP)
		find_duplicates(b, node);
	return node;
}

/* The node that begins with this event; NULL with b->error set. */
static struct yaml_node *build(struct builder *b, struct fy_event *event, unsigned depth)
{
	switch (event->type) {
	case FYET_SCALAR:
		return build_scalar(b, event);
	case FYET_SEQUENCE_START:
		refuse_extras(b, event, event->sequence_start.anchor, event->sequence_start.tag);
		return build_collection(b, event, YAML_LIST, depth);
	case FYET_MAPPING_START:
		refuse_extras(b, event, event->mapping_start.anchor, event->mapping_start.tag);
		return build_collection(b, event, YAML_MAP, depth);
	case FYET_ALIAS:
		yaml_problem(b->y, place_of(event),
		             "write the value out, or put it in quotes if it begins with \"*\"",
		             "aliases are not supported");
		return node_new(b, event, YAML_SCALAR);
	default:
		b->error = ERR_SYNTAX;
		return NULL;
	}
}

static void build_documents(struct builder *b)
{
	unsigned documents = 0;
	bool end = false;

	while (!end && !b->error) {
		struct fy_event *event = fy_parser_parse(b->parser);

		if (!event) {
			b->error = ERR_SYNTAX;
			return;
		}
		end = event->type == FYET_STREAM_END;
		if (event->type == FYET_DOCUMENT_START && documents++ == 1)
			yaml_problem(b->y, place_of(event), NULL, "only one document can be in a file");
		if (event->type == FYET_SCALAR || event->type == FYET_SEQUENCE_START ||
		    event->type == FYET_MAPPING_START || event->type == FYET_ALIAS) {
			struct yaml_node *root = build(b, event, 0);

			if (documents == 1)
				b->y->root = root;
		}
		fy_parser_event_free(b->parser, event);
	}
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Bytes of one well-formed UTF-8 sequence (RFC 3629) at p, or 0. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (!want || want > n)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return want;
}

/* Text that is none is found here, with its place, and not by libfyaml. */
static int check_text(struct yaml *y)
{
	const unsigned char *p = (const unsigned char *)y->text.p;
	struct yaml_place at = { 1, 1 };

	for (size_t i = 0; i < y->text.n;) {
		size_t n = utf8_length(p + i, y->text.n - i);
		bool control = n == 1 && ((p[i] < ' ' && !strchr("\t\r\n", p[i])) || p[i] == 127);

		if (!n || control || !p[i]) {
			yaml_problem(y, at, NULL, n ? "control character 0x%02x" : "byte 0x%02x is no UTF-8",
			             p[i]);
			return ERR_SYNTAX;
		}
		if (p[i] == '\n' || (p[i] == '\r' && (i + 1 == y->text.n || p[i + 1] != '\n')))
			at = (struct yaml_place){ at.line + 1, 1 };
		else
			at.column++;
		i += n;
	}
	return 0;
}

/* libfyaml says several things for one mistake; the first one is the mistake. */
static void report_syntax(struct yaml *y, struct fy_diag *diag)
{
	void *at = NULL;
	struct fy_diag_error *e;

	while ((e = fy_diag_errors_iterate(diag, &at))) {
		struct yaml_place place = { e->line > 0 ? (unsigned)e->line : 1,
			                    e->column > 0 ? (unsigned)e->column : 1 };

		if (e->type != FYET_ERROR)
			continue;
		yaml_problem(y, place, NULL, "YAML: %s", e->msg);
		return;
	}
	if (!y->problem_count)
		yaml_problem(y, (struct yaml_place){ 0, 0 }, NULL, "cannot be read as YAML");
}

static int parse_text(struct yaml *y, struct fy_diag *diag)
{
	struct fy_parse_cfg cfg = {
		.flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_JSON_NONE, .diag = diag
	};
	struct builder b = { .y = y, .parser = fy_parser_create(&cfg) };

	if (!b.parser)
		return ERR_NOMEM;
	if (fy_parser_set_string(b.parser, y->text.p, y->text.n))
		b.error = ERR_NOMEM;
	else
		build_documents(&b);
	if (b.error == ERR_SYNTAX)
		report_syntax(y, diag);
	fy_parser_destroy(b.parser);
	return b.error;
}

static int parse(struct yaml *y)
{
	/* Collected, not printed; the stream is never written to but the library wants one. */
	struct fy_diag_cfg cfg = { .fp = stderr, .level = FYET_ERROR, .module_mask = ~0u };
	struct fy_diag *diag;
	int error = check_text(y);

	if (error || !y->text.n)
		return error;
	diag = fy_diag_create(&cfg);
	if (!diag)
		return ERR_NOMEM;
	fy_diag_set_collect_errors(diag, true);
	error = parse_text(y, diag);
	fy_diag_destroy(diag);
	if (error)
		y->root = NULL;
	else if (y->problem_count)
		error = ERR_INVALID;
	return error;
}

int yaml_parse(struct yaml *y, struct span file, struct span text)
{
	*y = (struct yaml){ .text = text };
	arena_init(&y->arena, NULL, 0, 0);
	y->file = arena_dup(&y->arena, file);
	y->text = arena_dup(&y->arena, text);
	if (!y->file.p || !y->text.p)
		return ERR_NOMEM;
	return parse(y);
}

/* Also from what is no file but can be read (a pipe). */
static int read_all(int fd, struct yaml *y)
{
	struct buf b;
	ssize_t got = 1;

	buf_init(&b, NULL, YAML_FILE_BYTES + 1);
	while (got > 0 && buf_len(&b) <= YAML_FILE_BYTES && !buf_reserve(&b, 1)) {
		size_t room;
		char *to = buf_room(&b, &room);

		got = read(fd, to, room);
		if (got > 0)
			buf_commit(&b, (size_t)got);
	}
	if (!got)
		y->text = arena_dup(&y->arena, buf_span(&b));
	buf_fini(&b);
	if (got < 0)
		return ERR_IO;
	return got ? ERR_LIMIT : y->text.p ? 0 : ERR_NOMEM;
}

int yaml_open(struct yaml *y, const char *path)
{
	struct yaml_place nowhere = { 0, 0 };
	int fd, error;

	*y = (struct yaml){ .text = SPAN("") };
	arena_init(&y->arena, NULL, 0, 0);
	y->file = arena_dup(&y->arena, span_of(path));
	if (!y->file.p)
		return ERR_NOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		yaml_problem(y, nowhere, NULL, "cannot be opened: %s", strerror(errno));
		return ERR_IO;
	}
	errno = 0;
	error = read_all(fd, y);
	if (error == ERR_IO)
		yaml_problem(y, nowhere, NULL, "cannot be read: %s", strerror(errno));
	if (error == ERR_LIMIT)
		yaml_problem(y, nowhere, NULL, "longer than %u bytes", YAML_FILE_BYTES);
	close(fd);
	return error == ERR_LIMIT ? ERR_IO : error ? error : parse(y);
}

void yaml_close(struct yaml *y)
{
	arena_fini(&y->arena);
	y->root = NULL;
	y->problems = NULL;
}

/* ---- looking ----------------------------------------------------------------------------- */

bool yaml_is_empty(const struct yaml_node *node)
{
	if (!node || node->kind != YAML_SCALAR)
		return !node || !node->count;
	return !node->text.n || (node->plain && (span_eq(node->text, SPAN("~")) ||
	                                         span_eq(node->text, SPAN("null"))));
}

/* What some reader of YAML takes for a number, a truth value or nothing. */
static bool is_no_text(struct span text)
{
	static const char *const words[] = { "y", "n", "yes", "no", "on", "off", "true", "false", "null" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_ieq(text, span_of(words[i])))
			return true;
	return text.n && text.p[0] >= '0' && text.p[0] <= '9';
}

void yaml_print_scalar(struct span text, struct buf *out)
{
	bool plain = text.n > 0 && text.p[0] != '-' && text.p[0] != '.' && !is_no_text(text);

	for (size_t i = 0; i < text.n && plain; i++)
		plain = (text.p[i] >= 'a' && text.p[i] <= 'z') || (text.p[i] >= 'A' && text.p[i] <= 'Z') ||
		        (text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] && strchr("_./-", text.p[i]));
	if (plain) {
		buf_add_span(out, text);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c < ' ' || c == 127)
			buf_addf(out, "\\x%02x", c);
		else if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else
			buf_add_char(out, (char)c);
	}
	buf_add_char(out, '"');
}
