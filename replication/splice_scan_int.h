/* One splicer, and what its two parts want of each other: splice.c (units, tokens, strings) and splice_json.c (what is
 * between strings, strings as a whole, numbers). */
#ifndef REPLICATION_SPLICE_SCAN_INT_H
#define REPLICATION_SPLICE_SCAN_INT_H

#include "replication/splice_walk_int.h"

enum mode { BETWEEN, STRING, WHOLE, SCALAR };

struct splice {
	const struct splice_rules *rules;
	splice_look *look;
	void *ctx;
	struct buf *out;
	size_t most;
	bool full; /* an id was exchanged, and out holds `most` */
	enum splice_body body;
	enum mode mode;

	const char *from, *unit;      /* into the chunk */
	bool open, escaped, lost;     /* the unit: there is one; an escape is in it; too long to be an id */
	unsigned char esc;            /* of an escape: how many bytes of it there are, 0 for none */
	unsigned char before;         /* the character before the unit */
	int escape;                   /* the character that begins one, -1 for none */
	unsigned code;                /* what it stands for, so far */
	size_t esc_at;                /* where in the unit it began */
	size_t held_bytes;

	const char *seen;             /* into the chunk: of the string, what is not in trail yet */
	size_t trail_bytes;

	struct splice_walk walk;

	char held[SPLICE_HELD_BYTES];
	char trail[2 * SPLICE_TRAIL_BYTES];
};

/* p: where to go on, end: where the chunk ends; they return how far they came. */
const char *splice_scan(struct splice *s, const char *p, const char *end);
const char *splice_scan_between(struct splice *s, const char *p, const char *end);
const char *splice_scan_whole(struct splice *s, const char *p, const char *end);
const char *splice_scan_scalar(struct splice *s, const char *p, const char *end);
const char *splice_whole_again(struct splice *s, const char *p);
void splice_scalar_end(struct splice *s, const char *p);

void splice_unit_open(struct splice *s, const char *at);
/* All bytes of the unit, whose end is p; those of a lost one are not known. */
struct span splice_unit_raw(struct splice *s, const char *p);
/* Ends the unit: gives `new` for the bytes [skip, n) of its raw text, or what was there. */
void splice_unit_close(struct splice *s, struct span raw, size_t skip, size_t n, const struct splice_new *new,
                       enum splice_where where);
bool splice_ask(struct splice *s, const struct splice_id *id, struct splice_new *new_r);
/* A string begins at `at`, behind its quote. */
void splice_string_begin(struct splice *s, const char *at);
/* Where the next quote or escape is, or end. */
const char *splice_find_special(const struct splice *s, const char *p, const char *end);
/* Whether an id shorter than a token may stand in there, behind a path or a query member's name. */
bool splice_may_hold_short(const struct splice *s, const char *p, const char *to);

#endif
