/* Option tables: one row per option says all there is to know about it, and reading, checking,
 * printing and the manual are made from the rows.
 *
 * A path like "services.*.health.interval" names a place in a YAML file.  What stands before a dot
 * is a section.  "services.*" with the type opt_group is a map of names: its row says how large an
 * element is, and the rows below it hold offsets into the element (whose first member is the
 * struct span with the name).  "services.*.resources.[]" with the type opt_items is a list of maps; the first member of
 * its elements is the struct span that tells them apart, and a required row reads it. */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "base/yaml.h"

struct opt;
struct opt_reader;

/* How one value is read and written.  Size: bytes of the value in memory. */
struct opt_type {
	const char *name; /* as the manual says it */
	size_t size;
	/* Reads a scalar's text. 0, or ERR_* with the reason in e ("expected ..."). */
	int (*parse)(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e);
	/* As parse reads it, in YAML; writes nothing when the value is not set. */
	void (*print)(const struct opt *o, const void *value, struct buf *out);
	/* Instead of parse, for values that are no scalar: says itself what is wrong. May be NULL. */
	void (*parse_node)(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *value);
};

enum opt_flags {
	OPT_RESTART = 1 << 0, /* a change needs a restart; otherwise a reload takes it */
	OPT_LATER = 1 << 1,   /* known, but not in this version: must be empty */
	OPT_LIST = 1 << 2,    /* a list; a single value counts as a list of one */
	OPT_PAIRS = 1 << 3,   /* a map of names to values of the type: struct opt_pair each */
	OPT_REQUIRED = 1 << 4,
	OPT_FILLED = 1 << 5,  /* must not be empty where it is given */
};

struct opt {
	const char *path;
	const struct opt_type *type;
	unsigned flags;
	size_t offset, count_offset; /* count: of lists, pairs, groups and items (size_t) */
	size_t element;              /* of groups and items: bytes of one */
	uint64_t min, max;           /* of numbers, in their unit; of texts the longest, 0: no limit */
	const char *words;           /* of opt_word and carriers: "a|b|c" */
	const char *later;           /* those of them that need a later version */
	const char *value;           /* default as text; of lists separated by ", "; NULL: empty */
	const char *value_text;      /* what the manual says of it instead, or NULL */
	const char *doc;             /* one sentence */
};

/* "key: value" of a map of texts. */
struct opt_pair {
	struct span key, value;
};

struct opt_table {
	const struct opt *rows;
	size_t count;
};

struct opt_reader {
	const struct opt_table *table;
	struct yaml *yaml;
	struct arena *arena; /* values live here */
	struct span dir;     /* what relative paths are relative to, "" or ending in "/" */
	struct opt_where *places;
	bool nomem;
};

extern const struct opt_type opt_bool;     /* bool */
extern const struct opt_type opt_count;    /* uint64_t */
extern const struct opt_type opt_uint;     /* unsigned */
extern const struct opt_type opt_duration; /* int64_t microseconds: us ms s m h d */
extern const struct opt_type opt_size;     /* uint64_t bytes: k m g powers of 1024 */
extern const struct opt_type opt_text;     /* struct span, any text without control characters */
extern const struct opt_type opt_name;     /* struct span, 1 to 64 bytes without control characters */
extern const struct opt_type opt_path;     /* struct span, made absolute with dir */
extern const struct opt_type opt_word;     /* int, index in words */
extern const struct opt_type opt_addr;     /* struct addr; min 1: port 0 is refused */
extern const struct opt_type opt_group;    /* see above */
extern const struct opt_type opt_items;    /* see above */

/* Fills the struct at base from the document: first every default, then what it says.  What is
 * wrong becomes problems of the document; reading goes on after each.  ERR_NOMEM or 0. */
int opt_read(struct opt_reader *r, void *base) MUST_CHECK;

/* Where a value (a member's address, or a list element's) was written; NULL when it was not. */
const struct yaml_node *opt_where(const struct opt_reader *r, const void *value);
/* The place of opt_where, or that of the key above it, or {0, 0}. */
struct yaml_place opt_place(const struct opt_reader *r, const void *value);

/* All of it as YAML. */
void opt_print(const struct opt_table *table, const void *base, struct buf *out);
/* A table in Markdown for each section. */
void opt_print_manual(const struct opt_table *table, struct buf *out);
/* A line for each option whose value differs.  restart: of those with OPT_RESTART ("site: changing it from dc1
 * to dc2 needs a restart"), else of the others ("timeouts.idle: from 60s to 5s", "services.b: added"). */
void opt_diff(const struct opt_table *table, const void *before, const void *after, bool restart,
              struct buf *out);

/* Helpers for types of one's own. 0 or ERR_INVALID. Microseconds; bytes. */
int opt_parse_duration(struct span text, int64_t *us_r, struct err *e) MUST_CHECK;
int opt_parse_size(struct span text, uint64_t *bytes_r, struct err *e) MUST_CHECK;
void opt_print_duration(int64_t us, struct buf *out);
void opt_print_size(uint64_t bytes, struct buf *out);
/* True when text is 1 to 64 bytes without control characters: what names sites and services. */
bool opt_is_name(struct span text);
/* dir/path in the arena, or path when absolute; .p NULL: no memory. */
struct span opt_resolve(struct arena *arena, struct span dir, struct span path) MUST_CHECK;
/* Remembers where a value was written, for opt_where. */
void opt_note(struct opt_reader *r, const void *value, const struct yaml_node *node);
/* Reads a list (or one value) of a type; for parse_node. Elements in the arena. */
void *opt_read_list(struct opt_reader *r, const struct opt *o, const struct opt_type *type,
                    const struct yaml_node *node, size_t *count_r);

#endif
