/* Private to base/opt*.c: rows of a table by place, and what types tell about themselves. */
#ifndef BASE_OPT_INT_H
#define BASE_OPT_INT_H

#include "base/opt.h"

#define PATH_MAX_BYTES 128 /* of a row's path, with its dots */
#define OPT_NESTED_MOST 4  /* groups and items in each other */

/* opt.c.  prefix: the pattern of a section with its last dot, "" for the whole file. */

/* The part of a row's path behind the section's pattern; .p NULL when it is not below it. */
struct span opt_row_below(const struct opt *o, const char *prefix);
/* The last part of its path. */
struct span opt_row_key(const struct opt *o);
const struct opt *opt_row_find(const struct opt_table *t, const char *prefix, struct span key);
/* Whether rows stand below prefix + key + ".". */
bool opt_is_section(const struct opt_table *t, const char *prefix, struct span key);
/* True for the first row of its key below prefix: what iterates over the keys of a section. */
bool opt_first_of_key(const struct opt_table *t, size_t row, const char *prefix, struct span *key_r);
/* The row of the elements of a section, a group or items; NULL when it holds keys. */
const struct opt *opt_row_elements(const struct opt_table *t, const char *prefix);
/* Whether this part of a path stands for an element. */
bool opt_is_element(struct span part);
/* Of the rows that belong to the struct at base: below prefix, and no group in between. */
bool opt_row_of_struct(const struct opt *o, const char *prefix, struct span *rest_r);
/* Whether it is one of "a|b|c" (NULL: of none). */
bool opt_has_word(const char *words, struct span word);
/* prefix + key + "." */
void opt_join_path(char path[PATH_MAX_BYTES], const char *prefix, struct span key);

static inline void *opt_member(void *base, size_t offset)
{
	return (char *)base + offset;
}

static inline const void *opt_member_const(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* opt_value.c */

/* A struct span that is empty when it was not set. */
bool opt_is_text(const struct opt_type *type);
/* How the ends of a number's range are printed; NULL for what is no number. */
void (*opt_number_printer(const struct opt_type *type))(uint64_t, struct buf *);

#endif
