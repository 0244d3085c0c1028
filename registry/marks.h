/* What an operator of this site has said of other sites, and who this site is: two small files of the state folder,
 * synced before anything is said to be done, so that both survive a crash and a power cut.  Main thread only. */
#ifndef REGISTRY_MARKS_H
#define REGISTRY_MARKS_H

#include "registry/announce.h"

#define MARKS_MOST 4096 /* sites with a mark */

struct marked {
	char site[65];
	unsigned marks;       /* enum site_mark */
	char incarnation[ANNOUNCE_INCARNATION_BYTES + 1]; /* detached: of the one that is gone; "" not known */
};

struct marks {
	char *path;
	struct marked *items; /* in the order they came */
	size_t count;
};

/* Reads FOLDER/marks.json; none there: no marks.  A file that cannot be read or makes no sense is an error, since
 * without it traffic would flow that was forbidden.  0; ERR_IO, ERR_INVALID with the reason in e; ERR_NOMEM. */
int marks_open(struct marks *m, const char *folder, struct err *e) MUST_CHECK;
void marks_close(struct marks *m);
unsigned marks_of(const struct marks *m, struct span site);
/* Sets and clears, durably; on an error (ERR_IO, ERR_LIMIT, ERR_NOMEM) everything is as it was.  incarnation: for
 * MARK_DETACHED. */
int marks_change(struct marks *m, struct span site, unsigned set, unsigned clear, struct span incarnation,
                 struct err *e) MUST_CHECK;
/* A site is heard as this incarnation.  True: it was detached, and this is another one, so the mark has been taken off.
 * A detached one whose incarnation was not known is taken for the one that is gone. */
bool marks_meet(struct marks *m, struct span site, struct span incarnation);
/* Puts the marks on the sites of a snapshot. */
void marks_apply(const struct marks *m, const struct registry *reg);

/* FOLDER/identity.json: {"incarnation", "epoch"}. */
struct identity {
	char *path;
	char incarnation[ANNOUNCE_INCARNATION_BYTES + 1]; /* random, made with the state folder */
	uint64_t epoch;       /* greater than any this state folder has had */
};

/* Reads it, or makes it, and begins a new epoch: now_ms (wall clock), or one more than the last where that is not
 * greater.  Errors as of marks_open. */
int identity_open(struct identity *id, const char *folder, int64_t now_ms, struct err *e) MUST_CHECK;
/* Begins an epoch after `heard`, which others believe to be ours. */
int identity_outdo(struct identity *id, uint64_t heard, struct err *e) MUST_CHECK;
void identity_close(struct identity *id);

#endif
