/* A scope given as words of the command line: `--scope image: dc1, compute: DC 2 URL`. */
#ifndef CLI_SCOPE_ARGS_H
#define CLI_SCOPE_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define SCOPE_ARGS_WORDS 1024

/* {0} to begin. Words are borrowed. */
struct scope_args {
	bool given, open;
	const char *words[SCOPE_ARGS_WORDS];
	size_t count;
};

/* --scope with its first word. ERR_EXISTS when it was given before. */
int scope_args_begin(struct scope_args *a, const char *word) MUST_CHECK;
/* True when a word that belongs to no option continues the scope. */
bool scope_args_take(struct scope_args *a, const char *word);
/* Another option came: the scope's words are over. */
void scope_args_end(struct scope_args *a);

/* The first `words` words with single blanks between them. */
void scope_args_join(const struct scope_args *a, size_t words, struct buf *text_r);

/* Finds the scope: all words but the last `leave`, which are no part of it (the URL of a request
 * that has no other). Appends its canonical text. 0; ERR_INVALID when the words are no scope, but
 * fewer of them are one (*parsed_r says how many); ERR_SYNTAX when no beginning of them is a
 * scope: the complaint (message, text, caret, hint) was printed to complain. */
int scope_args_settle(const struct scope_args *a, size_t leave, struct buf *canonical_r,
                      size_t *parsed_r, FILE *complain) MUST_CHECK;

/* Checks a scope: appends the canonical text and its tree (both may be NULL), or prints what is
 * wrong to complain (may be NULL). 0, ERR_SYNTAX (no scope), ERR_NOMEM. */
int scope_text_read(struct span text, struct buf *canonical_r, struct buf *tree_r,
                    FILE *complain) MUST_CHECK;

#endif
