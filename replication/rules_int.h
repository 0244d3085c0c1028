/* What the files of the rules share. */
#ifndef REPLICATION_RULES_INT_H
#define REPLICATION_RULES_INT_H

#include "replication/rules.h"

/* ---- rules_path.c ---- */

/* Takes "/segment" off the path: false when there is none left.  "/a/" has the segments "a" and "". */
bool rule_take_segment(struct span *path, struct span *segment_r);
size_t rule_count_segments(struct span path);
/* Whether two segments are the same once decoded. */
bool rule_segment_eq(struct span a, struct span b);
/* "." or "..", also encoded: such a segment names nothing. */
bool rule_segment_is_dots(struct span segment);
/* Whether a pattern fits the beginning of a path, in whole segments; used_r: bytes of it. */
bool rule_pattern_fits(struct span pattern, struct span path, size_t *used_r);
/* Whether a pattern of a request fits all of a path; a slash at the end does not count. */
bool rule_pattern_is(struct span pattern, struct span id, struct span rest);
/* Without slashes at its end. */
struct span rule_trim_slash(struct span path);

/* ---- rules_scan.c ---- */

/* Where an id may be, in the order of their weight. */
enum rule_found_at {
	RULE_FOUND_TOP,       /* at the place; without one, a member of the document */
	RULE_FOUND_WITHIN,    /* a member of an object that is a member of the document */
	RULE_FOUND_ELEMENT,   /* of an element of the document, an array */
	RULE_FOUND_LISTED,    /* of an element of an array that is a member of the document */
	RULE_FOUND_
};

#define RULE_FOUND_MOST 8 /* different ids that are kept of one kind */

struct rule_found {
	struct span id;
	struct span place;
	bool number;
};

struct rule_scan {
	struct arena *arena;
	struct rule_found found[RULE_FOUND_][RULE_FOUND_MOST];
	size_t count[RULE_FOUND_]; /* of different ids; RULE_FOUND_MOST: so many or more */
	bool nomem;
};

/* Looks for ids: at a place ("" for id, uuid and _id). */
void rule_scan(struct rule_scan *scan, struct arena *arena, struct span place, struct span content_type,
               struct span body);
/* The one that has this id, of the document or of an object in it; NULL: none. */
const struct rule_found *rule_scan_has(const struct rule_scan *scan, struct span id);

/* ---- rules_location.c ---- */

struct rule_location {
	struct span path;   /* of the Location; empty: there is none, or it has none */
	struct span before; /* its path up to the last segment */
	struct span id;     /* that last segment, decoded; empty: it cannot be an id */
};

/* base: the path of the request, that a relative one is relative to.  Without memory it is as if there were none. */
void rule_location_read(struct arena *arena, struct span location, struct span base, struct rule_location *l_r);
/* Whether its path is, behind whatever a public URL puts before it, this path and one segment. */
bool rule_location_is_below(const struct rule_location *l, struct span path);
/* What can be an id: 1 to RULE_ID_BYTES bytes, none of them a control character, not "." or "..". */
bool rule_is_id(struct span text);

#endif
