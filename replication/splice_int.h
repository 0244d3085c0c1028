/* Rules as the scanner wants them: a bit for each place, and per step the places that have a step of a kind there. */
#ifndef REPLICATION_SPLICE_INT_H
#define REPLICATION_SPLICE_INT_H

#include <stdint.h>

#include "base/arena.h"
#include "replication/splice.h"

struct splice_place {
	struct span step[SPLICE_DEPTH]; /* the member's name, where `named` has the bit */
	unsigned names; /* how many of the steps are named */
	unsigned rule;
};

struct splice_trail {
	struct span text; /* without a slash at its end; or the query member's name */
	bool query;
	unsigned rule;
};

struct splice_rules {
	struct arena arena;
	uint32_t named[SPLICE_DEPTH], any_member[SPLICE_DEPTH], any_index[SPLICE_DEPTH];
	uint32_t ends[SPLICE_DEPTH + 1]; /* places of so many steps */
	uint32_t all;
	size_t place_count, trail_count;
	struct splice_place places[SPLICE_PLACES];
	struct splice_trail trails[SPLICE_TRAILS];
};

/* The rule for an id behind this text (the string so far), the longest that fits; NULL: none. */
const struct splice_trail *splice_trail_find(const struct splice_rules *rules, struct span before);

/* The value of a hexadecimal digit of either case, or -1. */
static inline int splice_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The names of a place that means one member: no ".*", no "[*]". 0, ERR_SYNTAX, ERR_LIMIT, with a text. */
int splice_place_members(struct span place, struct span names[SPLICE_DEPTH], size_t *count_r, struct err *e) MUST_CHECK;

/* The text between the quotes, unescaped into UTF-8; false when it is longer than the room, or malformed. */
bool splice_unescape(struct span raw, char room[SPLICE_ID_BYTES], size_t *bytes_r);

#endif
