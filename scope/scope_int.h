/* Private to scope/: the tree, the lexer, the parser and the table of functions. */
#ifndef SCOPE_SCOPE_INT_H
#define SCOPE_SCOPE_INT_H

#include "scope/scope.h"

struct scope_function;

struct scope_location {
	enum scope_node_kind kind;
	unsigned column;
	struct span name;
	const struct scope_function *function;
	struct scope_location *first, *last, *next; /* children, sibling */
	int64_t duration_us;
	struct scope_label *labels;
};

struct scope {
	struct scope_binding *bindings;
	size_t count, cap;
	bool names; /* an @name somewhere */
};

/* Lexer (lex.c) ------------------------------------------------------------------------------ */

enum token {
	TOKEN_END = 0, /* single characters are their own tokens: ( ) { } , : = @ * */
	TOKEN_NAME = 256,
	TOKEN_QUOTED,
	TOKEN_AND,    /* & + and */
	TOKEN_ELSE,   /* ; / else */
	TOKEN_DIFFER, /* != */
	TOKEN_BAD,    /* the error is told already */
};

struct lex {
	struct span text;
	size_t at;             /* behind the token */
	size_t more;           /* UTF-8 continuation bytes before `at` */
	unsigned base;         /* column of text's first character */
	const uint16_t *map;   /* columns of all bytes and of the end, where JSON escapes shift them */
	struct arena *arena;   /* for quoted names with escapes */
	struct scope_error *err;
	int code; /* of the error behind TOKEN_BAD */
	enum token token;
	size_t start; /* of the token */
	unsigned column;
	struct span name; /* of TOKEN_NAME, TOKEN_QUOTED */
};

void lex_init(struct lex *lx, struct arena *arena, struct span text, unsigned base,
	      const uint16_t *map, struct scope_error *err);
void lex_next(struct lex *lx);
unsigned lex_column_at(const struct lex *lx, size_t at);
/* A duration in place of the current token; false when there is none, with the offset and
 * sentence of the trouble. Moves to the token behind it. */
bool lex_duration(struct lex *lx, int64_t *us_r, size_t *bad_at_r, const char **why_r);
bool lex_is_bare(struct span name);
bool lex_is_reserved(struct span name);
bool lex_is_space(char c);
/* Bytes of the character at s, 0 for what is no UTF-8 or a control character. */
size_t lex_char_bytes(struct span s, unsigned *point_r);
/* Offset of the first control character or byte that is no UTF-8, or name.n. */
size_t lex_bad_char(struct span name);

/* Parser (parse.c) and JSON form (json.c) ------------------------------------------------------ */

struct parser {
	struct arena *arena;
	struct scope_limits limits;
	struct lex lex;
	struct scope *scope;     /* NULL when a location is parsed alone */
	struct scope_error *err;
	struct span text;
	int pending;             /* code of the leftmost error so far that is not of syntax */
	unsigned depth, sites;
	bool classes, names;     /* a class function, an @name was seen in this binding */
	uint16_t *seen;          /* hash of the services bound, once they are many */
};

/* A location up to the end of the text or what cannot belong to it. */
int parse_location(struct parser *p, struct scope_location **location_r) MUST_CHECK;
/* A location that is the whole text of the lexer. */
int parse_whole(struct parser *p, struct scope_location **location_r) MUST_CHECK;
int parse_add_binding(struct parser *p, struct scope_binding binding) MUST_CHECK;
int parse_syntax(struct parser *p, unsigned column, const char *expected, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
int parse_unexpected(struct parser *p, const char *expected);
int parse_nomem(struct parser *p);
void node_append(struct scope_location *parent, struct scope_location *child);

bool json_is_scope(struct span text);
int json_parse(struct parser *p) MUST_CHECK;

/* Checks (check.c), names (names.c) ------------------------------------------------------------ */

struct name_chain {
	struct span name;
	const struct name_chain *up;
};

/* Class functions only, of one location. */
int check_classes(const struct scope_location *location, struct scope_error *err) MUST_CHECK;
int check_class_error(struct scope_error *err, const struct scope_location *node, unsigned column,
		      const struct scope_location *around, const struct name_chain *chain);
int check_unknown_site(struct scope_error *err, const struct scope_lookup *lookup,
		       struct span name, unsigned column);
/* True when the site is known; *index_r may be SCOPE_SITE_UNNUMBERED. */
bool lookup_site(const struct scope_lookup *lookup, struct span name, size_t *index_r);

/* The location that @name stands for, parsed into the arena; *budget counts such steps down.
 * Errors are placed at node's column. */
int name_resolve(struct arena *arena, const struct scope_lookup *lookup,
		 const struct scope_limits *limits, const struct scope_location *node,
		 const struct name_chain *chain, unsigned *budget,
		 struct scope_location **location_r, struct scope_error *err) MUST_CHECK;

/* Expansion (expand.c) and functions (function.c) ---------------------------------------------- */

struct expand {
	struct arena *arena;
	const struct scope_lookup *lookup;
	struct scope_limits limits;
	struct scope_error *err;
	const struct scope_location *no_match; /* leftmost function that found nothing */
	unsigned no_match_column;
	unsigned column;                       /* != 0: inside an @name at that column */
	unsigned sites, names;                 /* how many more of each */
	const struct name_chain *chain;
	const struct scope_location *klass, *conj; /* class function, `&` around this place */
};

/* *plan_r NULL: nothing matches. */
int expand_node(struct expand *x, const struct scope_location *node,
		struct scope_plan **plan_r) MUST_CHECK;
struct scope_plan *expand_site(struct expand *x, struct span name, size_t index);
int expand_failed(struct expand *x);
/* Over the items; takes care of flattening and repetition. */
struct scope_plan *expand_list(struct expand *x, enum scope_op op, struct scope_plan **items,
			       size_t count);
unsigned expand_column(const struct expand *x, const struct scope_location *node);

enum scope_arguments { SCOPE_ARGS_LOCATION, SCOPE_ARGS_LOCATION_DURATION, SCOPE_ARGS_LABELS };

struct scope_function {
	struct span name;
	enum scope_arguments arguments;
	enum scope_class klass;
	int (*expand)(struct expand *x, const struct scope_location *node,
		      struct scope_plan **plan_r);
};

const struct scope_function *function_find(struct span name);
/* Fills known and nearest for an unknown one. */
void function_suggest(struct scope_error *err, struct span name);

/* Errors (error.c), printing (print.c) --------------------------------------------------------- */

/* Fills err and returns the code of its kind. */
int error_set(struct scope_error *err, enum scope_error_kind kind, unsigned column,
	      const char *expected, const char *fmt, ...) PRINTF_LIKE(5, 6);
int error_vset(struct scope_error *err, enum scope_error_kind kind, unsigned column,
	       const char *expected, const char *fmt, va_list ap) PRINTF_LIKE(5, 0);
/* expected: NULL for nothing */
void error_expect(struct scope_error *err, const char *expected);
int error_nomem(struct scope_error *err);
int error_code(enum scope_error_kind kind);
void error_hint(struct scope_error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Offers a known word to the list of err. */
void error_known(struct scope_error *err, struct span word, size_t count,
		 struct span (*name)(void *ctx, size_t i), void *ctx);
/* Limits as they hold: none above the default. */
struct scope_limits limits_clamped(const struct scope_limits *limits);
void print_location_plain(const struct scope_location *node, struct buf *out); /* no classes */

#endif
