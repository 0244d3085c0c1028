/* One member of a JSON document, by its place ("$.server.status"): what an application said there, and putting it at the
 * same place of another document.  Byte for byte: no number is read, nothing but the member changes.  The document is
 * taken for what its application takes it for, so it is not checked beyond what is needed to find the way; what cannot be
 * followed has no such member.  Of a name that is there twice the last one counts, as with most readers. */
#ifndef REPLICATION_MEMBER_H
#define REPLICATION_MEMBER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define MEMBER_DEPTH 512        /* brackets within brackets that are followed */
#define MEMBER_TEXT_BYTES 256   /* of a value that is read as text */

/* Whether it means one member: names only. 0, ERR_INVALID. */
int member_check_place(struct span place, struct err *e) MUST_CHECK;
/* The value as it is written, quotes and all; a span of doc. */
bool member_find(struct span doc, struct span place, struct span *raw_r);
/* doc with this value there, in place of what it has or as a further member; objects on the way are made.  False: doc is
 * no object, or has something else on the way; out is then as before.  Memory: out->failed. */
bool member_set(struct span doc, struct span place, struct span raw, struct buf *out) MUST_CHECK;
/* A string unescaped, a number, true or false as it is written.  False: null, an object, an array, longer than
 * MEMBER_TEXT_BYTES, or no memory. */
bool member_text(struct arena *arena, struct span raw, struct span *text_r);

/* The array that a collection's answer is, or that alone is a member of it: how many elements, and the first of them.
 * False: it is neither. */
bool member_list(struct span doc, struct span *first_r, size_t *count_r);

#endif
