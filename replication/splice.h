/* The byte splicer: exchanges identifiers in a body, a path or a header's value, and nothing else (replication.md 2.4,
 * 2.5).  Every other byte goes through as it came: long integers, escapes, doubled keys, blanks, 1.10.
 *
 * What is exchanged, where the caller's look-up knows it:
 *
 *   token   a run of at least 16 of [A-Za-z0-9_-], not digits alone, anywhere in text: in JSON in any string, keys too
 *   place   the whole string, or the whole number, at a declared place of a JSON document ("$.id")
 *   path    a whole path segment, however short, behind the path of a collection ("/notes/3", "http://h/api/notes/3?x")
 *   query   the whole value of a declared query member ("?marker=3")
 *
 * \u0061 in a JSON string, and %61 in a link or form, count as the character they stand for.  Not seen: what is encoded
 * in base64 or encrypted, ids within a percent-encoded link within JSON or plain text that are shorter than 16, a path
 * segment with more than the id in it ("3.json").  Who decides that a body may be touched at all (signed, multipart,
 * another content coding, a part of a range) is the caller; splice_body_of judges the content type.
 *
 * Streaming: input may be cut anywhere, the output is the same.  Memory is constant, SPLICE_BYTES, whatever comes. */
#ifndef REPLICATION_SPLICE_H
#define REPLICATION_SPLICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define SPLICE_BYTES 4096     /* of one splicer, at most; asserted */
#define SPLICE_ID_BYTES 256   /* no longer id is looked up */
#define SPLICE_TOKEN_LEAST 16 /* no shorter id is looked for everywhere */
#define SPLICE_HELD_BYTES (6 * SPLICE_ID_BYTES + 8) /* an id whose every character is an escape, and one more escape */

enum splice_body {
	SPLICE_NONE, /* not to be touched */
	SPLICE_JSON, /* also several documents one after the other */
	SPLICE_TEXT,
	SPLICE_LINK, /* percent-encoded: paths, Location, Link, forms */
};

/* What a body of this type is; a charset that is not ASCII below 128, and no type at all, make it SPLICE_NONE. */
enum splice_body splice_body_of(struct span content_type);

/* ---- rules: immutable once made, for any number of splicers ---- */

#define SPLICE_PLACES 32 /* one with SPLICE_COLLECTION takes two */
#define SPLICE_DEPTH 8   /* steps of a place */
#define SPLICE_TRAILS 32 /* paths and query members */
#define SPLICE_TRAIL_BYTES 512 /* how far back a path is looked for, the ids in it included */

enum splice_answer {
	SPLICE_SINGLE,     /* the place is relative to the document */
	SPLICE_COLLECTION, /* and to each object of an array that is the document or a member of it */
};

struct splice_rules;

struct splice_rules *splice_rules_new(void);
void splice_rules_free(struct splice_rules **rules);
/* "$.id", "$.image.id", "$.images[*].id", "$.*.id", "$['a.b']".  rule: a number of the caller's, told to the look-up;
 * where several places fit, it is the one's that names more of its steps.  ERR_SYNTAX, ERR_LIMIT, ERR_NOMEM, with a
 * text. */
int splice_rules_add_place(struct splice_rules *rules, struct span place, enum splice_answer answer, unsigned rule,
                           struct err *e) MUST_CHECK;
/* "/v2/images", "/v2/images/{id}/members": what follows behind a slash is the id. */
int splice_rules_add_path(struct splice_rules *rules, struct span collection, unsigned rule, struct err *e) MUST_CHECK;
int splice_rules_add_query(struct splice_rules *rules, struct span name, unsigned rule, struct err *e) MUST_CHECK;

/* ---- splicers ---- */

enum splice_where { SPLICE_TOKEN, SPLICE_PLACE, SPLICE_PATH, SPLICE_QUERY };

struct splice_id {
	struct span text; /* decoded; valid during the call */
	enum splice_where where;
	unsigned rule; /* of the place, path or query member; 0 for a token */
	bool number;   /* a JSON number, at a place; in a string it is false */
	struct span before; /* of a path: what of the string lies before it, as it came, SPLICE_TRAIL_BYTES at most */
};

struct splice_new {
	struct span text; /* plain, at most SPLICE_ID_BYTES; valid until the next call; the splicer encodes it as is needed */
	bool number;      /* at a place: a JSON number, its text is one */
};

/* True: put this in its stead.  Called for what looks like an id; must not block. */
typedef bool splice_look(void *ctx, const struct splice_id *id, struct splice_new *new_r);

struct splice;

/* rules may be NULL: tokens alone.  NULL without memory.  body is not SPLICE_NONE. */
struct splice *splice_new(enum splice_body body, const struct splice_rules *rules, splice_look *look, void *ctx);
void splice_free(struct splice **s);
/* Takes input and adds to out.  Returns how much it took: all of it, unless an id was exchanged when out held `most`
 * bytes or more (0: no bound); then empty out and come again with the rest.  Out grows by no more than what was taken,
 * what was held back, and the ids.  A failure of memory is out->failed. */
size_t splice_feed(struct splice *s, struct span in, size_t most, struct buf *out);
/* The end of the input: gives out what was held back. */
void splice_end(struct splice *s, struct buf *out);
/* Bytes of the input that are not in the output yet. */
size_t splice_held(const struct splice *s);

/* All at once, for a path with its query or the value of a header.  False: no memory. */
bool splice_once(enum splice_body body, const struct splice_rules *rules, splice_look *look, void *ctx, struct span in,
                 struct buf *out) MUST_CHECK;

#endif
