/* The parts of the store: store_open.c opens and checks, store_sql.c holds schema and statements, store_batch.c puts
 * changes together, store_writer.c commits them, store_read.c reads, store_view.c too, for operators; threads and inboxes
 * are lane.c's. */
#ifndef REPLICATION_STORE_INT_H
#define REPLICATION_STORE_INT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "replication/lane_int.h"
#include "replication/store.h"

/* ---- values and statements ------------------------------------------------------------------------------------- */

enum value_type { VALUE_NULL, VALUE_INT, VALUE_TEXT, VALUE_BLOB };

struct value {
	enum value_type type;
	int64_t i;
	struct span s;
};

/* name, what no change of a row means (0: nothing wrong), text. */
#define STORE_CHANGES(X) \
	X(PUT_RESOURCE, 0, "INSERT INTO resources(service, collection, meta, class, sites, vector, created, deleted)" \
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET class = ?4, sites = ?5, vector = ?6," \
		" created = ?7, deleted = ?8") \
	X(SET_VECTOR, ERR_NOT_FOUND, "UPDATE resources SET vector = ?4 WHERE " STORE_KEY) \
	X(SET_DELETED, ERR_NOT_FOUND, "UPDATE resources SET deleted = ?4 WHERE " STORE_KEY) \
	X(DROP_REPLICAS, 0, "DELETE FROM replicas WHERE rid = " STORE_RID) \
	X(DROP_RESOURCE, 0, "DELETE FROM resources WHERE " STORE_KEY) \
	X(PUT_OWN, ERR_NOT_FOUND, "UPDATE resources SET here = 1, local = iif(?5 = '', local, ?5), state = " STORE_STATE ", reason = " STORE_REASON " WHERE " STORE_KEY \
		" AND ?4 IS NOT NULL") \
	X(DROP_OWN, 0, "UPDATE resources SET here = 0, local = '', state = 0, reason = '' WHERE " STORE_KEY \
		" AND ?4 IS NOT NULL") \
	X(PUT_REPLICA, 0, "INSERT INTO replicas(rid, site, local, state, reason) VALUES(" STORE_RID ", ?4, ?5, ?6, ?7)" \
		" ON CONFLICT DO UPDATE SET local = iif(?5 = '', local, ?5), state = " STORE_STATE ", reason = " STORE_REASON) \
	X(DROP_REPLICA, 0, "DELETE FROM replicas WHERE rid = " STORE_RID " AND site = ?4") \
	X(PUT_OPERATION, 0, "INSERT INTO operations(site, incarnation, number, service, collection, meta, kind, clock," \
		" method, path, query, headers, body, spool, body_bytes, vector, refs, parent, principal, created)" \
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)") \
	X(DROP_DELIVERIES, 0, "DELETE FROM deliveries WHERE oid = " STORE_OID) \
	X(DROP_INTENT, 0, "DELETE FROM intents WHERE oid = " STORE_OID) \
	X(DROP_OPERATION, 0, "DELETE FROM operations WHERE site = ?1 AND incarnation = ?2 AND number = ?3") \
	X(SET_HEADERS, 0, "UPDATE operations SET headers = ?4 WHERE site = ?1 AND incarnation = ?2 AND number = ?3") \
	X(FORGET_SPOOL, 0, "UPDATE operations SET spool = NULL WHERE site = ?1 AND incarnation = ?2 AND number = ?3") \
	X(PUT_DELIVERY, 0, "INSERT INTO deliveries(oid, target, state, attempts, status, next, expires, error)" \
		" VALUES(" STORE_OID ", ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET state = ?5," \
		" attempts = ?6, status = ?7, next = ?8, expires = ?9, error = ?10") \
	X(PUT_INTENT, 0, "INSERT INTO intents(oid, class, sites, at, stage, since) VALUES(" STORE_OID \
		", ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET class = ?4, sites = ?5, at = ?6, stage = ?7, since = ?8") \
	X(PUT_FRONTIER, 0, "INSERT INTO frontiers(holder, origin, incarnation, number, beyond)" \
		" VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET number = ?4, beyond = ?5") \
	X(ADD_ANSWER, 0, "INSERT INTO answers(key, fingerprint, op_site, op_incarnation, op_number, status, headers," \
		" body, expires) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)") \
	X(SET_ANSWER, ERR_NOT_FOUND, "UPDATE answers SET fingerprint = ?2, op_site = ?3, op_incarnation = ?4," \
		" op_number = ?5, status = ?6, headers = ?7, body = ?8, expires = ?9 WHERE key = ?1") \
	X(DROP_ANSWERS, 0, "DELETE FROM answers WHERE expires < ?1") \
	X(PUT_RULE, 0, "INSERT INTO rules(service, collection, rule, pinned) VALUES(?1, ?2, ?3, ?4)" \
		" ON CONFLICT DO UPDATE SET rule = ?3, pinned = ?4") \
	X(PIN_RULE, ERR_NOT_FOUND, "UPDATE rules SET pinned = ?3 WHERE service = ?1 AND collection = ?2") \
	X(DROP_RULE, 0, "DELETE FROM rules WHERE service = ?1 AND collection = ?2") \
	X(SET_CLOCK, ERR_NOT_FOUND, "UPDATE settings SET value = max(value, ?1) WHERE name = 'clock'")

/* A replica that lacks a write, or may, is not synced because a later one came (store_put_replica): 2 in doubt, 6 failed. */
#define STORE_STAYS "?6 IN (0, 1) AND ?5 = '' AND ?7 = '' AND state IN (2, 6)"
#define STORE_STATE "iif(" STORE_STAYS ", state, ?6)"
#define STORE_REASON "iif(" STORE_STAYS ", reason, ?7)"
_Static_assert(REPLICA_SYNCED == 0 && REPLICA_QUEUED == 1 && REPLICA_IN_DOUBT == 2 && REPLICA_FAILED == 6, "in STORE_STAYS");
#define STORE_KEY "service = ?1 AND collection = ?2 AND meta = ?3"
#define STORE_RID "(SELECT rid FROM resources WHERE " STORE_KEY ")"
#define STORE_OID "(SELECT oid FROM operations WHERE site = ?1 AND incarnation = ?2 AND number = ?3)"

#define STORE_ENUM(name, none, text) CHANGE_##name,
enum change_kind { STORE_CHANGES(STORE_ENUM) CHANGE_KINDS };
#undef STORE_ENUM

struct change_row {
	const char *sql;
	int none; /* the answer when it changed no row */
};
extern const struct change_row store_changes[CHANGE_KINDS];

/* One step of the schema: from version i to i + 1 in store_steps[i]. */
struct store_steps {
	const char *const *sql;
	int count; /* the version it leads to */
};
extern const struct store_steps store_schema;
#define STORE_APPLICATION_ID 0x53634d73

/* ---- batches ---------------------------------------------------------------------------------------------------- */

/* What a change does to the names in memory. */
enum names_effect { NAMES_NONE, NAMES_RESOURCE, NAMES_DELETED, NAMES_DROP, NAMES_REPLICA, NAMES_NO_REPLICA };

#define CHANGE_VALUES 20

struct change {
	struct change *next;
	enum change_kind kind;
	enum names_effect effect;
	bool of_site;              /* value 4 is a site: this one's replica is kept with the resource */
	bool lacks;                /* store_replica.lacks */
	bool prepared;
	struct names_change names;
	int count;
	struct value values[];
};

struct store_batch {
	struct store_job job;
	struct arena arena;
	struct change *first, **last;
	size_t bytes;
	uint64_t clock;            /* the greatest of its operations' */
	int rc;                    /* what went wrong while it was put together */
};

/* ---- the store -------------------------------------------------------------------------------------------------- */

struct store_reader {
	struct store *store;
	sqlite3 *db;
};

struct store {
	char *path, *site, *folder;
	const char *vfs;
	uint64_t incarnation, clock;
	struct names *names;
	/* the commit thread's */
	sqlite3 *db;
	sqlite3_stmt *changes[CHANGE_KINDS], *begin, *commit, *rollback, *save, *release, *undo;
	int wal_frames;
	struct store_counts counts;
	struct store_lane writer;
	/* the reader thread's */
	struct store_reader reader;
	struct store_lane readers;
	/* why the writer stopped */
	pthread_mutex_t stop_lock;
	struct err stopped;
};

/* Our code for SQLite's; *fatal_r (may be NULL): nothing more is to be written. */
int store_code(int extended, bool *fatal_r);
/* The failing call's text, with code and errno, into e; returns code. */
int store_fail(const struct store *s, sqlite3 *db, int code, const char *what, struct err *e);
int store_connect(const struct store *s, bool write, sqlite3 **db_r, struct err *e);
int store_migrate(const struct store *s, sqlite3 *db, const struct store_steps *steps, struct err *e);
int store_load_names(struct store *s, struct err *e);
int store_bind(sqlite3_stmt *stmt, const struct value *values, int count);
void *store_write(void *store);
void *store_read_jobs(void *store);
int store_prepare_all(struct store *s, struct err *e);
void store_finalize_all(struct store *s);

#endif
