/* A YAML file as a tree that knows where each piece stands, and the list of what is wrong with it.
 * The only user of libfyaml.  Everything a document holds lives in its arena, so that spans taken
 * from it are good until yaml_close. */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

/* Lines and columns count from 1, columns in characters. */
struct yaml_place {
	unsigned line, column;
};

struct yaml_node {
	enum yaml_kind kind;
	struct yaml_place at;
	struct span text;        /* of a scalar; names are text whatever YAML thinks of "no" */
	bool plain;              /* a scalar without quotes */
	struct yaml_node *next;  /* in its list or map */
	struct yaml_node *first; /* of a list or map; of a map the keys */
	struct yaml_node *value; /* of a key */
	size_t count;            /* elements, or keys */
};

struct yaml_problem;

struct yaml {
	struct arena arena;
	struct span file, text;
	struct yaml_node *root; /* NULL: the file is empty */
	struct yaml_problem *problems;
	size_t problem_count;
	bool nomem;             /* a problem could not be kept */
};

#define YAML_FILE_BYTES (4u << 20) /* the longest file that is read */

/* Reads and parses a file. 0; ERR_SYNTAX, ERR_INVALID (see the problems); ERR_IO (cannot be read, reason
 * among the problems), ERR_NOMEM.  yaml_close in every case. */
int yaml_open(struct yaml *y, const char *path) MUST_CHECK;
/* The same from memory; file is the name that messages give. */
int yaml_parse(struct yaml *y, struct span file, struct span text) MUST_CHECK;
void yaml_close(struct yaml *y);

/* Absent, `key:` without a value or with ~ or null, "", [], {}. */
bool yaml_is_empty(const struct yaml_node *node);

/* Notes a problem at a place ({0, 0}: the file as a whole). hint may be NULL. The text is copied. */
void yaml_problem(struct yaml *y, struct yaml_place at, const char *hint, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* All problems in the order of their places: FILE:LINE:COLUMN: message, the line, a caret, hint. */
void yaml_report(struct yaml *y, struct buf *out);

/* A scalar as YAML: plain where no reader can mistake it, else in double quotes. */
void yaml_print_scalar(struct span text, struct buf *out);

#endif
