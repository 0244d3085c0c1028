/* What replication keeps through crashes and power cuts: one SQLite database, FOLDER/store.db, in WAL mode with
 * synchronous=FULL.  It holds what resources and replicas there are, operations and where each stands at each site,
 * and what was meant (intent) and begun (sent) before anything goes out.
 *
 * Changes are put together in a batch, which is applied as a whole or not at all, and submitted from any thread.  The
 * commit thread takes all batches that wait into one transaction.  Its answer comes through an inbox of the caller's
 * event loop.  What is reported durable is durable; of anything else the next start finds the whole or nothing.
 *
 * Names (replication/names.h) are looked up in memory, without leaving the thread.  All other reading is done in jobs
 * of the reader thread, so that no event loop waits for a disk. */
#ifndef REPLICATION_STORE_H
#define REPLICATION_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/span.h"
#include "replication/inbox.h"
#include "replication/names.h"
#include "replication/op_id.h"
#include "replication/states.h"

struct store;
struct store_batch;
struct store_reader;

struct store_options {
	const char *folder;   /* exists, and is locked by this process */
	const char *site;     /* this site's name; a database of another one is refused */
	const char *vfs;      /* NULL: the system's files; for tests */
};

/* Opens, checks and migrates, or makes it; begins a new incarnation, durably. 0; ERR_INVALID: damaged, or of another
 * site; ERR_UNSUPPORTED: of a newer version; ERR_IO; ERR_NOMEM; ERR_BUSY. e says what to do about it. */
int store_open(struct store **s_r, const struct store_options *options, struct err *e) MUST_CHECK;
/* Ends when what was submitted has been answered: to inboxes, or by calling done. */
void store_close(struct store **sp);

uint64_t store_incarnation(const struct store *s);
/* The greatest clock of an operation that was durable at the start: hlc_init. */
uint64_t store_clock(const struct store *s);
struct names *store_names(struct store *s);
/* 0, or why the writer has stopped: nothing is durable any more until a restart. */
int store_stopped(struct store *s, struct err *e);

/* What the commit thread counts. */
struct store_counts {
	struct histogram commits;   /* how long each took, with its sync */
	counter batches, failed;    /* answered: durable, and not */
};
/* Any thread. */
const struct store_counts *store_counts(const struct store *s);
/* Any thread: of what waits for a commit. */
size_t store_waiting_bytes(struct store *s);

/* Batches. ---------------------------------------------------------------------------------------------------------- */

#define STORE_BATCH_BYTES (4u << 20)   /* of one batch; bodies beyond are spooled */
#define STORE_QUEUE_BYTES (64u << 20)  /* of all that wait; then store_submit says ERR_LIMIT */

/* NULL: no memory. */
struct store_batch *store_batch_new(void) MUST_CHECK;
void store_batch_free(struct store_batch **batchp);
/* Takes the batch in any case. 0: done will be called (inbox NULL: on the commit thread); else it will not:
 * ERR_NOMEM, ERR_LIMIT (also of what was added before), ERR_CLOSED.
 *
 * The answer: 0 durable.  Nothing of it was or will be done: ERR_EXISTS (an operation or a local id that is there
 * already), ERR_NOT_FOUND (a resource or operation it speaks of is not there), ERR_INVALID, ERR_CLOSED (the writer has
 * stopped before).  Not durable, and after a crash whole or absent: ERR_NOMEM, ERR_LIMIT (disk full), ERR_BUSY, and
 * ERR_IO, with which the writer stops. */
int store_submit(struct store *s, struct store_batch **batchp, struct store_inbox *inbox, store_done *done,
                 void *arg) MUST_CHECK;

/* What a change is about. */
struct store_key_of { struct span service, collection, meta; };

struct store_resource {
	struct store_key_of key;
	enum consistency class;
	struct span sites;          /* names in order, a line feed between: a name may hold blanks, and no control */
	struct span vector;         /* the version vector, as its module writes it */
	int64_t created_ms;
	uint64_t deleted;           /* clock of the delete that stands; 0: lives */
};

struct store_replica {
	struct store_key_of key;
	struct span site, local;    /* local empty: not given yet, or as it was; then "synced" or "queued" without a reason lifts neither
	                               "failed" nor "in-doubt" */
	enum replica_state state;
	struct span reason;
	bool lacks;                 /* of another site: the create is this site's to bring there (name.lacks) */
};

struct store_operation {
	struct op_id id;
	struct store_key_of key;
	enum operation_kind kind;
	uint64_t clock;
	struct span method, path, query;
	struct span headers;        /* sealed by the caller where they hold credentials */
	struct span body, spool;    /* one of them at most; spool: a file of the spool folder, synced before */
	int64_t body_bytes;
	struct span vector, refs;   /* of the resource; of the resources it names */
	struct span parent;         /* the operation whose execution made this one, as text */
	struct span principal;
	int64_t created_ms;
};

struct store_delivery {
	struct op_id op;
	struct span target;
	enum delivery_state state;
	unsigned attempts, status;  /* status: of the last answer, 0 none */
	int64_t next_ms, expires_ms; /* wall clock; 0: at once, never */
	struct span error;
};

/* An operation that is meant and not admitted yet. */
struct store_intent {
	struct op_id op;
	enum consistency class;
	struct span sites, at;      /* at: the site that it was sent to for admission, empty before */
	enum delivery_state stage;  /* queued, sent, in-doubt, undoing */
	int64_t since_ms;
};

struct store_frontier {
	struct span holder, origin; /* what holder has of origin */
	uint64_t incarnation, number;
	struct span beyond;         /* what it has after a gap, as its module writes it */
};

/* An Idempotency-Key, or what stands for it, and the answer once there is one. */
struct store_answer {
	struct span key, fingerprint; /* hashes: of what makes the key, of the body */
	struct op_id op;
	unsigned status;            /* 0: still running */
	struct span headers, body;
	int64_t expires_ms;
};

struct store_rule {
	struct span service, collection, rule; /* rule: JSON */
	bool pinned;
};

/* Each copies what it is given; what goes wrong shows at store_submit, or in the answer. "put" makes or replaces, but
 * for an operation, which is never replaced. */
void store_put_resource(struct store_batch *b, const struct store_resource *r);
void store_set_vector(struct store_batch *b, const struct store_key_of *key, struct span vector);
/* deleted: the clock, 0 to begin a new life. */
void store_set_deleted(struct store_batch *b, const struct store_key_of *key, uint64_t deleted);
void store_drop_resource(struct store_batch *b, const struct store_key_of *key);
void store_put_replica(struct store_batch *b, const struct store_replica *r);
void store_drop_replica(struct store_batch *b, const struct store_key_of *key, struct span site);
void store_put_operation(struct store_batch *b, const struct store_operation *op);
/* With its deliveries and intent. */
void store_drop_operation(struct store_batch *b, const struct op_id *id);
/* Empty: none are kept. */
void store_set_headers(struct store_batch *b, const struct op_id *id, struct span sealed);
/* Its spooled body is not needed any more. */
void store_forget_spool(struct store_batch *b, const struct op_id *id);
void store_put_delivery(struct store_batch *b, const struct store_delivery *d);
void store_put_intent(struct store_batch *b, const struct store_intent *i);
void store_drop_intent(struct store_batch *b, const struct op_id *id);
void store_put_frontier(struct store_batch *b, const struct store_frontier *f);
/* ERR_EXISTS when the key is there already. */
void store_add_answer(struct store_batch *b, const struct store_answer *a);
/* ERR_NOT_FOUND when it is not. */
void store_set_answer(struct store_batch *b, const struct store_answer *a);
void store_drop_answers(struct store_batch *b, int64_t expired_before_ms);
void store_put_rule(struct store_batch *b, const struct store_rule *r);
/* A pinned rule is neither forgotten nor learned anew. ERR_NOT_FOUND when there is none. */
void store_pin_rule(struct store_batch *b, struct span service, struct span collection, bool pinned);
void store_drop_rule(struct store_batch *b, struct span service, struct span collection);

/* Reading. ---------------------------------------------------------------------------------------------------------- */

/* What a job does, on the reader thread; its result is that of done. */
typedef int store_read(struct store_reader *reader, void *arg);
/* 0, ERR_NOMEM, ERR_CLOSED. inbox NULL: done is called on the reader thread. */
int store_submit_read(struct store *s, store_read *read, struct store_inbox *inbox, store_done *done,
                      void *arg) MUST_CHECK;

/* Within a job.  Spans of what is found are the arena's (read_operation, read_answer), or last until the callback
 * returns.  A callback that returns other than 0 ends the reading, with that.  `limit` rows at most, after the cursor;
 * ERR_NOT_FOUND where one thing is asked for; ERR_IO when the database cannot be read. */
int store_read_operation(struct store_reader *r, const struct op_id *id, struct arena *arena,
                         struct store_operation *op_r) MUST_CHECK;
int store_read_answer(struct store_reader *r, struct span key, struct arena *arena, struct store_answer *a_r) MUST_CHECK;
int store_read_resource(struct store_reader *r, const struct store_key_of *key, struct arena *arena,
                        struct store_resource *r_r) MUST_CHECK;

typedef int store_on_resource(void *arg, int64_t cursor, const struct store_resource *r);
int store_read_resources(struct store_reader *r, struct span service, int64_t after, int limit, store_on_resource *on,
                         void *arg) MUST_CHECK;
typedef int store_on_replica(void *arg, const struct store_replica *r);
/* Of one resource, in the order of sites' names; this site's too. */
int store_read_replicas(struct store_reader *r, const struct store_key_of *key, store_on_replica *on,
                        void *arg) MUST_CHECK;
typedef int store_on_delivery(void *arg, int64_t cursor, const struct store_delivery *d,
                              const struct store_operation *op);
/* What is not over, in the order it came; target empty: all. op: without headers, body and vectors. */
int store_read_queue(struct store_reader *r, struct span target, int64_t after, int limit, store_on_delivery *on,
                     void *arg) MUST_CHECK;
/* The operations of one resource, newest first by clock. op as above. */
typedef int store_on_operation(void *arg, const struct store_operation *op);
int store_read_history(struct store_reader *r, const struct store_key_of *key, int limit, store_on_operation *on,
                       void *arg) MUST_CHECK;
typedef int store_on_intent(void *arg, const struct store_intent *i);
int store_read_intents(struct store_reader *r, store_on_intent *on, void *arg) MUST_CHECK;
/* Of all operations. */
typedef int store_on_spool(void *arg, struct span name);
int store_read_spools(struct store_reader *r, store_on_spool *on, void *arg) MUST_CHECK;
typedef int store_on_frontier(void *arg, const struct store_frontier *f);
int store_read_frontiers(struct store_reader *r, store_on_frontier *on, void *arg) MUST_CHECK;
typedef int store_on_rule(void *arg, const struct store_rule *rule);
int store_read_rules(struct store_reader *r, store_on_rule *on, void *arg) MUST_CHECK;

#endif
