/* The names of this site in memory: every resource known here, by its meta-identifier and by the id that this site's
 * application gave it.  What names.c promises is written there.
 *
 * An id is long when it has NAME_LONG bytes or more: then it is looked for anywhere, whatever its collection.  A short
 * one ("17") means something only in its collection, so it is looked for with a kind only. */
#ifndef REPLICATION_NAMES_H
#define REPLICATION_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "replication/states.h"

#define NAME_LONG 16
#define NAME_LACKS 8     /* sites of a set that are told apart in name.lacks; further ones count as having it */
#define NAME_MOST 1024   /* bytes of an id: an opaque URL may be one */
#define NAMES_MOST (UINT32_C(1) << 26)

struct names;

/* What is known of a resource here. The spans in a value that is found stay until names_free. */
struct name {
	uint32_t kind;               /* service and collection: names_kind */
	struct span service, collection;
	struct span sites;           /* its replica set, in order, as the store has it */
	struct span reason;          /* a short word beside the state */
	enum replica_state state;    /* of the replica here, where there is one */
	enum consistency class;
	bool deleted;                /* a tombstone */
	bool here;                   /* this site has, or is to have, a replica */
	uint8_t lacks;               /* bit i: the i-th of `sites` has not executed the create, as far as this site knows, which
	                                does where it admitted it; of the first eight */
	uint16_t meta_n, local_n;    /* local_n 0: the application here has not given one */
	char meta[NAME_MOST], local[NAME_MOST];
};

/* Its application has it, and is still at work on it. */
static inline bool name_is_building(const struct name *name)
{
	return name->state == REPLICA_QUEUED && span_eq(name->reason, SPAN(REPLICA_BUILDING));
}

struct names *names_new(void);
void names_free(struct names **np);
/* Room for so many without growing. */
int names_reserve(struct names *n, size_t count) MUST_CHECK;

/* Any thread. ------------------------------------------------------------------------------------------------------- */

/* The number of a service's collection (of a child's: with its parent's meta-identifier in it); 0: nothing there. */
uint32_t names_kind(struct names *n, struct span service, struct span collection);
/* The number of a service; 0: it has nothing. */
uint32_t names_service(struct names *n, struct span service);
/* Kinds have the numbers 1 to this; it only grows. */
uint32_t names_kinds(struct names *n);
/* What a number between them means. */
void names_kind_text(struct names *n, uint32_t kind, struct span *service_r, struct span *collection_r);

/* Which resources a look-up means: all members hold; 0 stands for any. */
struct names_where {
	uint32_t kind, service, not_service;
};

/* False: none; r is then untouched.  Several: any of them. */
bool names_by_meta(struct names *n, const struct names_where *where, struct span meta, struct name *r);
bool names_by_local(struct names *n, const struct names_where *where, struct span local, struct name *r);
/* Those that are visible. */
size_t names_count(const struct names *n);
size_t names_bytes(const struct names *n);
/* This site's own replicas that live: services number 1 to what names_tallied says, and 0 for those beyond; service_r is
 * then empty. */
uint32_t names_tallied(struct names *n);
int64_t names_tally(struct names *n, uint32_t service, enum replica_state state, struct span *service_r);

/* One thread, the one that writes the store. ------------------------------------------------------------------------ */

/* What one change does: before -> after, each 0 for none.  Everything that can fail happens in names_prepare; it is
 * seen after names_commit, and as if it had never been after names_abort.  Changes of a group are committed in their
 * order or aborted in the opposite one. */
struct names_change {
	uint32_t before, after;
};

/* The newest of what is known, also what is prepared. */
bool names_latest(struct names *n, struct span service, struct span collection, struct span meta, struct name *r);
/* Puts v (its kind is not read) in place of what is there under its service, collection and meta. 0; ERR_NOMEM;
 * ERR_LIMIT; ERR_EXISTS: another resource of the collection has this local id. */
int names_prepare(struct names *n, const struct name *v, struct names_change *change_r) MUST_CHECK;
/* What is durable already, before anybody looks: seen at once. ERR_EXISTS: a second of its name, nothing to go on with;
 * others as names_prepare. */
int names_load(struct names *n, const struct name *v) MUST_CHECK;
/* Of what is loaded: this site of its set lacks it. */
void names_load_lacking(struct names *n, struct span service, struct span collection, struct span meta, struct span site);
/* The bit of a site in name.lacks; 0: it is none of the set, or not told apart. */
uint8_t names_lacks_bit(struct span sites, struct span site);
/* Takes it away; what is not there is no error. */
void names_prepare_removal(struct names *n, struct span service, struct span collection, struct span meta,
                           struct names_change *change_r);
void names_commit(struct names *n, const struct names_change *change);
void names_abort(struct names *n, const struct names_change *change);

#endif
