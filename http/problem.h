/* Problem documents (RFC 9457), the form of every error the proxy itself answers with. */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define PROBLEM_KNOWN_MAX 8

/* Members that are zero, NULL or empty are left out.  Everything is borrowed. */
struct problem {
	unsigned status;
	const char *type;       /* "no-service": urn:scopemesh:no-service */
	const char *title;      /* short, the same for each type; NULL: the status's reason phrase */
	const char *detail;     /* a sentence about this very case */
	struct span text;       /* the scope */
	unsigned column;        /* 1-based, characters */
	struct span caret[2];   /* line of the text, line with the caret */
	const char *expected, *hint;
	struct span known[PROBLEM_KNOWN_MAX];
	unsigned known_count;
	struct span nearest;
	struct span service, from, site;
	unsigned attempt, attempts;
	int64_t elapsed_ms;     /* -1: left out, as 0 is where no attempt was made */
	struct span key;        /* the configuration key that sets the limit */
	/* extension members, e.g. fields of admin answers: name/text pairs */
	const struct problem_member { const char *name; struct span text; } *more;
	unsigned more_count;
};

/* Appends the document, pretty-printed with two blanks, a newline at the end.  Bytes that are no UTF-8
 * are written as U+FFFD. */
void problem_print(const struct problem *p, struct buf *out);

#endif
