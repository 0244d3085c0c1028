/* What is known of a service's resources (replication.md 9): behind which paths their ids stand, what a request does to
 * one, and which id the answer to a create shows.  Rules are declared in the configuration, or learned from answers.
 * No I/O, no clock, no state but the set of rules, which never changes: adding one makes another set.
 *
 * A collection is a path, "/v2/images" or "/v2/images/{id}/members"; "{id}" stands for any one segment that is not
 * empty.  What follows behind it is the id, and behind that the rest:
 *
 *     /v2/images/aef1/file        collection "/v2/images", id "aef1", rest "/file"
 *     /v2/images/aef1/members/b   collection "/v2/images/aef1/members", id "b", rest ""
 *     /v2/images?limit=3          collection "/v2/images", id "", rest ""      (the caller cuts the query off)
 *
 * Percent-encoding does not tell segments apart (RFC 3986 6.2.2), so "/v2/im%61ges" is that collection too. */
#ifndef REPLICATION_RULES_H
#define REPLICATION_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "replication/metaid.h"
#include "replication/states.h"

#define RULES_DECLARED_MOST 64     /* of one service */
#define RULES_LEARNED_MOST 256     /* and as many of these; what comes then is not learned */
#define RULE_COLLECTION_BYTES 256  /* of a pattern */
#define RULE_SEGMENTS 16           /* of a pattern */
#define RULE_ID_BYTES 1024         /* a longer one is none: as many as a name may have (names.h) */
#define RULE_JSON_BYTES 4096       /* of a learned rule */
#define RULES_BODY_BYTES (1u << 20) /* how far into an answer ids are looked for */
#define RULES_PATCH_BYTES (16u << 10) /* a longer JSON Patch is not read, and counts as an append */

/* "PUT /{id}/file": path is relative to the collection, "/" is the collection itself. */
struct rule_request {
	struct span text, method, path;
};

struct rule_operation {
	struct rule_request match;
	enum operation_kind kind;  /* never OPERATION_CREATE: that is what the answer tells */
	bool independent;          /* not in order with the resource's other operations */
};

enum rule_hidden { RULE_HIDDEN_NOT_FOUND, RULE_HIDDEN_ALIAS };
enum rule_bulk { RULE_BULK_REFUSE, RULE_BULK_ALLOW };
enum rule_in_doubt { RULE_IN_DOUBT_HOLD, RULE_IN_DOUBT_RETRY };

/* Where a representation says how far its application is, and what that is when it is done, or will never be. */
struct rule_ready {
	struct span path;          /* "$.status"; empty: a create is done when it is answered */
	struct span *ok, *failed;
	size_t ok_count, failed_count;
	int64_t within_us;         /* then it is taken for failed */
};

/* How the lists of several sites become one: where a page has its elements, its link to the next one, and which member of
 * a query says behind which element a page begins. */
struct rule_list {
	struct span items;         /* "$.images", "$": the document is the array; empty: not merged */
	struct span next;          /* "$.next"; empty: the link is in Link, or there are no pages */
	struct span marker;        /* "marker"; empty: links alone lead on */
};

struct rule {
	struct span collection;
	struct span id_place;      /* "$.id", where representations have it; empty: only Location shows it ("location") */
	struct span assign;        /* "$.id", where a request may choose it; empty: it may not */
	enum metaid_kind meta_id;
	enum consistency class;
	enum rule_hidden hidden;   /* what a path gets that names a replica by its local id */
	enum rule_bulk bulk;       /* writes to the collection itself */
	struct rule_operation *operations; /* the first that matches wins */
	size_t operation_count;
	struct span *volatile_;    /* places that differ between replicas that are equal */
	size_t volatile_count;
	struct span *echo;         /* places of an admitting answer whose values the other sites' requests are given */
	size_t echo_count;
	struct span find;          /* "/notes?uid={$.uid}", where a create of unknown outcome is looked up; empty: nowhere */
	enum rule_in_doubt in_doubt;
	struct rule_ready ready;
	struct rule_list list;
	bool learned, pinned;      /* pinned: an operator stands behind what was learned, so it counts as declared */
};

/* Whether these are what they should be; e says what is wrong. 0; ERR_INVALID; ERR_NOMEM. */
int rule_check_collection(struct span text, struct err *e) MUST_CHECK;
int rule_check_place(struct span text, struct err *e) MUST_CHECK;
int rule_check_find(struct span text, struct err *e) MUST_CHECK;
/* Fills match_r with spans of the text. 0 or ERR_INVALID. */
int rule_read_request(struct span text, struct rule_request *match_r, struct err *e) MUST_CHECK;

/* ---- the rules of one service ------------------------------------------------------------------------------------ */

/* Immutable and counted; any thread. */
struct rules;

/* Copies all of it.  At most RULES_DECLARED_MOST. 0, ERR_LIMIT, ERR_NOMEM. */
int rules_new(const struct rule *declared, size_t count, struct rules **rules_r) MUST_CHECK;
/* Another set, with this rule as well, or in place of a learned one with its collection. 0; ERR_EXISTS: declared;
 * ERR_LIMIT; ERR_NOMEM. */
int rules_add_learned(const struct rules *rules, const struct rule *learned, struct rules **rules_r) MUST_CHECK;
/* Another set: this one, and every learned rule of the other whose collection it has not declared. 0; ERR_NOMEM. */
int rules_join(const struct rules *rules, const struct rules *learned, struct rules **rules_r) MUST_CHECK;
/* The one of this very collection, or NULL. */
const struct rule *rules_find(const struct rules *rules, struct span collection);
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules **rulesp);
/* Declared ones first, then learned ones as they came. */
size_t rules_count(const struct rules *rules);
const struct rule *rules_get(const struct rules *rules, size_t i);

struct rule_match {
	const struct rule *rule;           /* NULL: of no declared or learned collection */
	struct span collection, id, rest;  /* of the path, as it is written there; id empty: the collection itself */
};

/* The collection of most segments that fits; of several the one that is literal where another has {id}, of equal ones
 * the declared.  False, and a match of nothing, when there is none, when rules is NULL, and for a path whose segment
 * behind the collection is "." or "..", or empty with more behind it. */
bool rules_match(const struct rules *rules, struct span path, struct rule_match *match_r);

/* ---- what a request does ----------------------------------------------------------------------------------------- */

/* What is asked of the item, id and rest as in the match, or of a known replica that no rule is of. */
struct rules_request {
	struct span method, content_type;
	struct span body; /* all of it, or as much as there is; empty: not known */
};

/* The kind of a write (replication.md 4), never a create; the rule's operations first.  Beside that table: a DELETE
 * below an item is an update of it, since the item goes on living, and a JSON Patch that names elements of an array by
 * their index is an append, since done again it would hit others. */
enum operation_kind rules_kind(const struct rule_match *match, const struct rules_request *request,
                               bool *independent_r);
/* Two contents of PATCH are JSON Patches that overwrite members only, and none of the same or within one of the other's:
 * in which order they are executed does not matter.  False where it cannot be told. */
bool rules_patches_apart(struct span one, struct span other);

/* ---- what an answer shows ---------------------------------------------------------------------------------------- */

enum rules_shown { RULES_NONE, RULES_ONE, RULES_SEVERAL, RULES_UNREAD };

/* As the application gave it: nothing exchanged in it. */
struct rules_answer {
	struct span method;
	struct span path;      /* that the application was asked for, without query */
	struct span canonical; /* the same in canonical form (meta-identifiers); empty: it is the same */
	unsigned status;
	struct span location, content_type, body;
};

struct rules_id {
	struct span id;         /* decoded */
	struct span collection; /* canonical where it lies at or below the request's path, else as Location has it */
	struct span place;      /* where the document has it; empty: Location or the path alone shows it */
	bool number;            /* the document has it as a JSON number */
	bool opaque;            /* of an `id: location` elsewhere: the whole Location is the id */
};

/* The id of what a POST or PUT made; match is that of the request's path.
 *
 *   declared   a POST to the collection, answered by 2xx or 303: what the declared place has, else a Location right
 *              below the collection.  With 202 that Location may be a task's: the place counts unless Location speaks
 *              against it, and Location alone does not.
 *   else       a POST answered by 201: a Location right below the request's path, or one elsewhere that a member id, uuid
 *              or _id agrees with (of the document, or of an object in it); else such a member where there is one
 *              only, unless it repeats a segment of the path.  Any other 2xx: both must agree.  303: a Location right
 *              below the path, whose last segment has a digit.
 *   PUT        201 where no item is known (202: where the document agrees): the name that the client chose.
 *
 * RULES_SEVERAL: two or more of them in a list, nothing else.  RULES_UNREAD: there was no memory, or it went over the
 * arena's limit, and what it shows is not known.  Spans are the arena's or the answer's.  Takes some 4 ms for each MiB of body. */
enum rules_shown rules_new_id(struct arena *arena, const struct rule_match *match, const struct rules_answer *answer,
                              struct rules_id *id_r);

/* ---- whether a create was executed (rule->find) ------------------------------------------------------------------ */

/* The target to ask for what this request made; {id} is the parent's in its path.  False: the body lacks a value, or no
 * memory. */
bool rule_find_target(struct arena *arena, const struct rule *rule, struct span path, struct span body,
                      struct buf *out) MUST_CHECK;

enum rule_find {
	RULE_FIND_NONE,    /* certainly not */
	RULE_FIND_ONE,     /* as this, under this id */
	RULE_FIND_UNCLEAR, /* several, another one, or not to be read */
};

/* content: the answer, an array or an object with one.  element_r is a span of it. */
enum rule_find rule_find_judge(struct arena *arena, const struct rule *rule, struct span body, struct span content,
                               struct span *element_r, struct span *id_r);

enum rule_readiness { RULE_BUILDING, RULE_READY, RULE_BROKEN };
/* content: the representation; what is not there, or not known, is building. */
enum rule_readiness rule_ready_judge(struct arena *arena, const struct rule *rule, struct span content);

/* ---- learned rules ----------------------------------------------------------------------------------------------- */

/* The rule that what an answer showed stands for: "/notes/{id}/items" for a child of a known collection, and where the
 * path has a number or a long token.  Spans in the arena. 0; ERR_INVALID: nothing to learn (opaque, or no collection);
 * ERR_LIMIT: too long; ERR_NOMEM. */
int rules_learn(struct arena *arena, const struct rules *rules, const struct rules_id *id, struct rule *rule_r)
	MUST_CHECK;
/* {"id": "$.id", "meta_id": "uuid", "consistency": "eventual"}: store_rule.rule. */
void rule_add_json(const struct rule *rule, struct buf *out);
/* Members that are not known are passed over; those that are not there have their defaults. 0; ERR_INVALID; ERR_LIMIT:
 * longer than RULE_JSON_BYTES; ERR_NOMEM. */
int rule_of_json(struct arena *arena, struct span collection, struct span json, bool pinned, struct rule *rule_r,
                 struct err *e) MUST_CHECK;

#endif
