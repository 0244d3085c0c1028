/* The rewrite stage: what a request names, and the exchange of identifiers in what passes (replication.md 2.2 to 2.5).
 *
 *	client            M in path, query, body        M in body, Location, Link
 *	                        | way up                        ^ way down
 *	this site's proxy       v                               |
 *	its instance      local ids; other services' M    local ids
 *
 * The site that owns the instance translates; between sites everything is canonical: the id of every known replica is its
 * meta-identifier M.  Everything here is off where the worker has no names (worker->names NULL). */
#ifndef PROXY_REWRITE_H
#define PROXY_REWRITE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "replication/names.h"
#include "replication/splice.h"

struct worker;

/* What a path names, the graver one where it names several things. */
enum rewrite_seen {
	REWRITE_NOTHING, /* no resource that is known to have a mesh id */
	REWRITE_KNOWN,   /* M, known here */
	REWRITE_UNKNOWN, /* M, not known here */
	REWRITE_DELETED, /* M, a tombstone */
	REWRITE_HIDDEN,  /* the local id of a replica */
};

struct rewrite_target {
	enum rewrite_seen seen;
	const struct name *name;     /* of the innermost resource that is known; NULL: of none */
	struct span meta;            /* M as the path has it; of REWRITE_UNKNOWN the one that is not known */
	struct span collection, id, rest; /* around the innermost: "/v2/images", "M", "/file"; canonical. Else empty */
	struct span canonical;       /* the whole path, every known id as its M */
	struct span local;           /* as the instance here knows it; p NULL: it does not know all of it */
	uint32_t listed;             /* the kind that the whole path is the collection of; 0: of none */
};

/* path: without query.  The service's own ids, and other services' local ones where `foreign`.  False: no memory. */
bool rewrite_path_target(struct names *n, struct arena *arena, struct span service, struct span path, bool foreign,
                         struct rewrite_target *target_r) MUST_CHECK;

/* ---- whole texts; body: SPLICE_LINK for a path with its query and for a field's value.  False: no memory.
 * On the worker's thread. ---- */

/* Other services' local ids become M: what goes into the log, or to another site. */
bool rewrite_canonical(struct worker *w, struct span service, enum splice_body body, struct span in,
                       struct buf *out) MUST_CHECK;
/* This service's local ids become M: an answer on its way to a client.  path: of the request, canonical. */
bool rewrite_answer(struct worker *w, struct span service, struct span path, enum splice_body body, struct span in,
                    struct buf *out) MUST_CHECK;

#endif
