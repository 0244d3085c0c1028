/* The words of replication: log, admin interface, command line and database use the same.  A number is what the
 * database holds: it never changes its meaning, new ones go to the end of their list. */
#ifndef REPLICATION_STATES_H
#define REPLICATION_STATES_H

#include <stdbool.h>

#include "base/span.h"

/* A replica (replication.md, 9). */
#define REPLICA_STATES(X) \
	X(REPLICA_SYNCED, "synced") \
	X(REPLICA_QUEUED, "queued") \
	X(REPLICA_IN_DOUBT, "in-doubt") \
	X(REPLICA_HELD, "held") \
	X(REPLICA_UNDOING, "undoing") \
	X(REPLICA_CONFLICT, "conflict") \
	X(REPLICA_FAILED, "failed")

/* Reasons: the application has it, and is not done with it, or has failed to be; it lacks what was written later. */
#define REPLICA_BUILDING "building"
#define REPLICA_BUILD_FAILED "build-failed"
#define REPLICA_NOT_READY "not-ready"
#define REPLICA_WRITES_WAIT "writes-wait"

/* An operation on its way to one site.  The site's own application is a target like any other: "sent" is durable
 * before its first byte goes out. */
#define DELIVERY_STATES(X) \
	X(DELIVERY_QUEUED, "queued") \
	X(DELIVERY_SENT, "sent") \
	X(DELIVERY_DONE, "done") \
	X(DELIVERY_FAILED, "failed") \
	X(DELIVERY_HELD, "held") \
	X(DELIVERY_IN_DOUBT, "in-doubt") \
	X(DELIVERY_UNDOING, "undoing") \
	X(DELIVERY_DROPPED, "dropped")

/* What an operation means (replication.md, 4). */
#define OPERATION_KINDS(X) \
	X(OPERATION_CREATE, "create") \
	X(OPERATION_UPDATE, "update") \
	X(OPERATION_APPEND, "append") \
	X(OPERATION_REPLACE, "replace") \
	X(OPERATION_DELETE, "delete") \
	X(OPERATION_MEMBERS, "members")

/* Consistency classes (replication.md, 5). */
#define CLASSES(X) \
	X(CLASS_WEAK, "weak") \
	X(CLASS_EVENTUAL, "eventual") \
	X(CLASS_QUORUM, "quorum") \
	X(CLASS_STRONG, "strong")

#define STATES_VALUE(name, text) name,
enum replica_state { REPLICA_STATES(STATES_VALUE) REPLICA_STATES_ };
enum delivery_state { DELIVERY_STATES(STATES_VALUE) DELIVERY_STATES_ };
enum operation_kind { OPERATION_KINDS(STATES_VALUE) OPERATION_KINDS_ };
enum consistency { CLASSES(STATES_VALUE) CLASSES_ };
#undef STATES_VALUE

/* Whether a site whose replica stands so may not have executed its create. */
bool replica_lacks_create(enum replica_state state, struct span reason);

/* The word; "unknown" for what is none. */
const char *replica_state_text(enum replica_state state);
const char *delivery_state_text(enum delivery_state state);
const char *operation_kind_text(enum operation_kind kind);
const char *consistency_text(enum consistency class);
/* False when it is no word. */
bool replica_state_parse(struct span word, enum replica_state *state_r);
bool delivery_state_parse(struct span word, enum delivery_state *state_r);
bool operation_kind_parse(struct span word, enum operation_kind *kind_r);
bool consistency_parse(struct span word, enum consistency *class_r);

#endif
