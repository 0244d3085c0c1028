/* The scope language: where each service of a workflow runs.
 *
 *     compute: dc1, image: around(dc2, 10ms)
 *
 * A text is parsed into a tree (scope_parse), held against what is known (scope_check), a binding
 * is chosen (scope_bind) and expanded (scope_expand) to a plan of three things only: a site, `&`
 * over plans, `;` over plans.  No I/O, no globals that change: every function may be called from
 * any thread, as long as an arena is used by one at a time.
 *
 * Memory: all of a tree lies in the caller's arena; its spans point into the text or the arena, so
 * both must outlive it.  Fallible functions return 0 or a negative ERR_* (which one says the
 * table SCOPE_ERRORS) and fill the scope_error, which may be NULL.
 *
 * Source: "Geo-Distribute Cloud Applications at the Edge" (Euro-Par 2021), section 3: the
 * operators `&`, `;` and `around`. */
#ifndef SCOPE_SCOPE_H
#define SCOPE_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* kind, name as in urn:scopemesh:NAME, code returned */
#define SCOPE_ERRORS(X) \
	X(SCOPE_SYNTAX, "scope-syntax", ERR_SYNTAX) \
	X(SCOPE_DUPLICATE, "scope-duplicate", ERR_EXISTS) \
	X(SCOPE_LIMIT, "scope-limit", ERR_LIMIT) \
	X(SCOPE_UNKNOWN_SITE, "unknown-site", ERR_NOT_FOUND) \
	X(SCOPE_UNKNOWN_FUNCTION, "unknown-function", ERR_NOT_FOUND) \
	X(SCOPE_UNKNOWN_NAME, "unknown-name", ERR_NOT_FOUND) \
	X(SCOPE_NO_MATCH, "no-match", ERR_INVALID) \
	X(SCOPE_CLASS_NESTED, "class-nested", ERR_INVALID) \
	X(SCOPE_NOMEM, "out-of-memory", ERR_NOMEM)

enum scope_error_kind {
#define SCOPE_ERROR_VALUE(kind, name, code) kind,
	SCOPE_ERRORS(SCOPE_ERROR_VALUE)
#undef SCOPE_ERROR_VALUE
};

const char *scope_error_name(enum scope_error_kind kind);

#define SCOPE_KNOWN_MAX 8

/* All texts are NUL-terminated, free of control characters, and empty where there is nothing to
 * say.  nearest and known are borrowed from the lookup (or constants of this library): valid as
 * long as the lookup's names are, however the struct is copied. */
struct scope_error {
	enum scope_error_kind kind;
	unsigned column;    /* 1-based, in characters (UTF-8) */
	char message[256];  /* what is wrong */
	char expected[160]; /* what may stand at the column */
	char hint[256];     /* what to do about it */
	struct span nearest;
	struct span known[SCOPE_KNOWN_MAX]; /* the nearest first, when one is near */
	unsigned known_count;
};

/* Two lines without line ends: the text (control characters as blanks, cut around the column when
 * long) and a line with ^ under the column. */
void scope_error_caret(struct span text, unsigned column, struct buf *line_r,
		       struct buf *caret_r);

/* A member of 0, or above the default, counts as the default. */
struct scope_limits {
	size_t text_bytes;
	unsigned depth; /* open parentheses, those of functions included */
	unsigned sites; /* written, or expanded, per binding */
};

extern const struct scope_limits scope_limits_default; /* 8192, 32, 256 */

enum scope_site_state {
	SCOPE_SITE_ALIVE,
	SCOPE_SITE_DISCONNECTED,
	SCOPE_SITE_FAILED,
	SCOPE_SITE_FENCED,
};

/* What the interpreting site knows; NULL members know nothing.  Sites are numbered by name. */
struct scope_lookup {
	void *ctx;
	struct span local; /* the interpreting site, known even where site_find does not find it */
	size_t (*site_count)(void *ctx);
	struct span (*site_name)(void *ctx, size_t i);
	bool (*site_find)(void *ctx, struct span name, size_t *i_r);
	bool (*label_get)(void *ctx, size_t i, struct span key, struct span *value_r);
	enum scope_site_state (*state)(void *ctx, size_t i);
	/* microseconds; false: unmeasured. Not asked for from == to. */
	bool (*rtt_us)(void *ctx, size_t from, size_t to, int64_t *us_r);
	/* scope.named: the text of a location */
	bool (*named)(void *ctx, struct span name, struct span *location_text_r);
	size_t (*named_count)(void *ctx);
	struct span (*named_name)(void *ctx, size_t i);
};

struct scope;
struct scope_location;

struct scope_binding {
	struct span service; /* empty for others */
	bool others;         /* "*": every service not named */
	const struct scope_location *location;
	unsigned column;
};

/* Parses a text (JSON form included).  limits: NULL for the default.  ERR_SYNTAX first, else
 * the leftmost of the other errors; one exception: nothing is read beyond too many parentheses
 * or bytes. */
int scope_parse(struct arena *arena, struct span text, const struct scope_limits *limits,
		const struct scope **scope_r, struct scope_error *err_r) MUST_CHECK;
/* A location alone, as configuration has it (services.X.default, scope.named). */
int scope_parse_location(struct arena *arena, struct span text, const struct scope_limits *limits,
			 const struct scope_location **location_r,
			 struct scope_error *err_r) MUST_CHECK;
/* scope_parse and scope_check of all bindings in one, for a scope that enters here: of the errors
 * that are not of syntax the leftmost of both is reported. */
int scope_parse_checked(struct arena *arena, struct span text, const struct scope_limits *limits,
			const struct scope_lookup *lookup, const struct scope **scope_r,
			struct scope_error *err_r) MUST_CHECK;

size_t scope_binding_count(const struct scope *scope);
const struct scope_binding *scope_binding_get(const struct scope *scope, size_t i);
/* The binding of service, else that of the others, else NULL: default. */
const struct scope_binding *scope_bind(const struct scope *scope, struct span service);

/* Holds sites and @names against the lookup; only: NULL for all bindings, else that one.  What
 * @names stand for is checked too (cycles, classes), errors there are placed at the @name.
 * Without a lookup only the form is checked. */
int scope_check(const struct scope *scope, const struct scope_binding *only,
		const struct scope_lookup *lookup, struct scope_error *err_r) MUST_CHECK;
int scope_check_location(const struct scope_location *location, const struct scope_lookup *lookup,
			 struct scope_error *err_r) MUST_CHECK;

/* Puts in place of every @name what it stands for; *out_r is in itself when there is none. */
int scope_replace_names(struct arena *arena, const struct scope *in,
			const struct scope_lookup *lookup, const struct scope_limits *limits,
			const struct scope **out_r, struct scope_error *err_r) MUST_CHECK;

enum scope_class { SCOPE_CLASS_NONE, SCOPE_WEAK, SCOPE_EVENTUAL, SCOPE_QUORUM, SCOPE_STRONG };
/* "weak" …; "" for none */
const char *scope_class_name(enum scope_class klass);

enum scope_op { SCOPE_SITE, SCOPE_AND, SCOPE_ELSE };
#define SCOPE_SITE_UNNUMBERED ((size_t)-1) /* a local site that site_find does not find */

/* `&` below `&` and `;` below `;` are flattened; a site twice in one of them stands there once;
 * an `&` or `;` over one item is that item. */
struct scope_plan {
	enum scope_op op;
	enum scope_class klass;
	bool replicated; /* a create is replicated, even at one site; set on the alternatives of `;` */
	struct span site;
	size_t site_index;
	struct scope_plan **items;
	size_t count;
};

/* Expands functions, `local` and @names.  lookup NULL: every site is taken for known, `local`
 * keeps its name, all and any find nothing.  Errors: unknown sites and names, no match, limits. */
int scope_expand(struct arena *arena, const struct scope_location *location,
		 const struct scope_lookup *lookup, const struct scope_limits *limits,
		 const struct scope_plan **plan_r, struct scope_error *err_r) MUST_CHECK;

/* Canonical texts: parsed again they give the same tree. */
void scope_print(const struct scope *scope, struct buf *out);
void scope_print_location(const struct scope_location *location, struct buf *out);
void scope_print_plan(const struct scope_plan *plan, struct buf *out);
/* The tree for people, one node a line, two blanks a level. */
void scope_print_tree(const struct scope *scope, struct buf *out);

/* The tree for programs. */
enum scope_node_kind {
	SCOPE_NODE_SITE,
	SCOPE_NODE_LOCAL,
	SCOPE_NODE_NAMED,    /* @name */
	SCOPE_NODE_AND,      /* two children or more */
	SCOPE_NODE_ELSE,     /* two children or more */
	SCOPE_NODE_FUNCTION, /* around and the classes: one child; all and any: labels */
};

/* "site", "local", "named", "and", "else", "function" */
const char *scope_node_kind_name(enum scope_node_kind kind);
enum scope_node_kind scope_node_kind(const struct scope_location *node);
/* Site, @name or function; empty for the operators. */
struct span scope_node_name(const struct scope_location *node);
unsigned scope_node_column(const struct scope_location *node);
/* First child and next sibling, NULL at the end. */
const struct scope_location *scope_node_child(const struct scope_location *node);
const struct scope_location *scope_node_next(const struct scope_location *node);
/* around: true and its duration in microseconds. */
bool scope_node_duration_us(const struct scope_location *node, int64_t *us_r);

struct scope_label {
	struct span key, value;
	bool differs; /* != */
	const struct scope_label *next;
};
/* all and any: the first of their labels. */
const struct scope_label *scope_node_labels(const struct scope_location *node);

#endif
