/* Meta-identifiers: the one name of a resource that has another local id at each site (scope-lang paper 3.4).
 *
 * A UUID version 8 (RFC 9562 5.8), lower case, dashed; every proxy knows one, and its home, without a directory:
 *
 *     48 bits          4     12           2    8           38        16
 *     milliseconds     1000  tag (upper)  10   tag (lower) random    check
 *
 * tag: 20 bits of a hash of the home site's name.  check: CRC-16 over the other bits, so that a UUID of version 8
 * that is none of ours passes for one with probability 2^-16, and with a tag of one of n sites n * 2^-36.  A change
 * within 16 neighbouring bits is always found: one changed character, two neighbouring ones exchanged.
 *
 * An integer, for applications that take nothing else, from 2^52 on, below 2^53 (so it is exact in a double):
 *
 *     1     12    1        39
 *     1     tag   derived  ticks of 2 ms since 2025-01-01 (until 2059), or bits of a hash
 *
 * and a UUID version 4 for applications that check the version: no home, so only scopes find it. */
#ifndef REPLICATION_METAID_H
#define REPLICATION_METAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum metaid_kind { METAID_UUID, METAID_UUID4, METAID_INTEGER };

#define METAID_TEXT_BYTES 36 /* of a UUID; an integer has 16 digits */
#define METAID_TAG_BITS 20
#define METAID_INTEGER_TAG_BITS 12 /* the upper ones of the tag */
#define METAID_OPERATION_BYTES 16

struct metaid {
	enum metaid_kind kind;
	uint32_t tag;   /* METAID_TAG_BITS, or METAID_INTEGER_TAG_BITS; 0 for uuid4 */
	int64_t wall_ms; /* when it was made; 0 for uuid4 and derived integers, of a derived UUID bits of its hash */
};

/* The tag of a site's name; the same for ever. */
uint32_t metaid_tag(struct span site);

/* wall_ms: 0 to 2^48 - 1, what lies outside is cut.  Later milliseconds compare as later texts. */
void metaid_make(uint32_t tag, int64_t wall_ms, char text_r[METAID_TEXT_BYTES]);
void metaid_make_uuid4(char text_r[METAID_TEXT_BYTES]);

/* True when the text, to its last byte, is a meta-identifier that carries its home: a UUID version 8 with right check
 * bits, or an integer of the range.  Upper case, blanks, signs and leading zeros are none.  Whether the tag is a site's
 * is for metaid_home to say, and an integer counts only where the application's ids are integers. */
bool metaid_parse(struct span text, struct metaid *id_r);

/* The source of integers of one site.  Not thread-safe.  What it gave out is never given again, though the database
 * was restored, because it depends on the time alone: an integer is at most METAID_AHEAD_MS ahead of the clock, and a
 * new source begins where an earlier one could have ended. */
#define METAID_AHEAD_MS 8000

struct metaid_source {
	uint32_t tag;
	uint64_t next; /* tick */
};

/* highest: the greatest integer this site is known to have given (0: none); it protects against a clock set back. */
void metaid_source_init(struct metaid_source *s, uint32_t tag, int64_t wall_ms, uint64_t highest);
/* 500 a second, and what the time since the last ones saved up, at most 4000 at once.  ERR_BUSY: too fast, ask again in
 * 2 ms; ERR_LIMIT: the clock stands outside 2025 to 2059. */
int metaid_source_next(struct metaid_source *s, int64_t wall_ms, uint64_t *id_r) MUST_CHECK;

/* What a create with an Idempotency-Key is known by, wherever it is sent again (replication.md 1.6). */
struct metaid_seed {
	struct span service, path, key, principal; /* principal: or the credentials */
	const struct span *sites;                  /* the replica set, in any order; names twice count once */
	size_t site_count;
};

struct metaid_derived {
	uint8_t operation[METAID_OPERATION_BYTES];
	size_t home; /* index into sites: the first of the sorted set; the integer and UUID carry its tag */
	char text[METAID_TEXT_BYTES];
	size_t text_bytes;
};

/* The same seed gives the same ids.  A derived integer has 39 bits of hash only: among 100,000 of one home two meet
 * with probability 0.9 %, so the store, which knows the operation, must refuse an M that is another operation's.
 * ERR_INVALID without sites, ERR_NOMEM. */
int metaid_derive(enum metaid_kind kind, const struct metaid_seed *seed, struct metaid_derived *derived_r) MUST_CHECK;

/* Which of a set of sites a tag means.  Immutable once made, 8 bytes for each site. */
struct metaid_homes;

/* names are not kept: what is found is an index into them.  ERR_EXISTS when two names have one tag (with integers: one
 * tag of 12 bits), the error names both; ERR_NOMEM. */
int metaid_homes_new(const struct span *names, size_t count, bool integers, struct metaid_homes **homes_r,
                     struct err *e) MUST_CHECK;
void metaid_homes_free(struct metaid_homes **homes);
/* False for uuid4, for a tag of no site, and for an integer where the homes were made without integers. */
bool metaid_home(const struct metaid_homes *homes, const struct metaid *id, size_t *index_r);

#endif
