/* The schema, a step for each version, and the text of every change.  A step that has been released never changes.
 *
 *	resources    what lives under which meta-identifier, with this site's own replica: all of it is read at a start,
 *	             so it is one narrow table
 *	replicas     what is known of the replicas at the other sites
 *	operations   the log: those that entered here, and those that others sent
 *	deliveries   where each of them stands at each site, this one's application too
 *	intents      which are meant and not admitted yet
 *	frontiers    what each site has of each origin's incarnation
 *	answers      Idempotency-Keys and what was answered
 *	rules        learned or pinned kinds of resources
 *
 * Ids of resources are text, as the application writes them, so that `sqlite3 store.db` can be read by an operator.
 * Operations name their resource by its key, not its row: they may be there before it and after it. */
#include "replication/store_int.h"

#define STORE_ROW(name, none, text) { text, none },
const struct change_row store_changes[CHANGE_KINDS] = { STORE_CHANGES(STORE_ROW) };
#undef STORE_ROW

static const char version_1[] =
	"CREATE TABLE settings(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"
	"INSERT INTO settings VALUES('clock', 0);"
	"CREATE TABLE incarnations(incarnation INTEGER PRIMARY KEY, started INTEGER NOT NULL) STRICT;"
	"CREATE TABLE resources(rid INTEGER PRIMARY KEY, service TEXT NOT NULL, collection TEXT NOT NULL,"
	" meta TEXT NOT NULL, class INTEGER NOT NULL, sites TEXT NOT NULL, here INTEGER NOT NULL DEFAULT 0,"
	" local TEXT NOT NULL DEFAULT '', state INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
	" deleted INTEGER NOT NULL, created INTEGER NOT NULL, vector BLOB,"
	" UNIQUE(service, collection, meta)) STRICT;"
	"CREATE TABLE replicas(rid INTEGER NOT NULL, site TEXT NOT NULL, local TEXT NOT NULL, state INTEGER NOT NULL,"
	" reason TEXT NOT NULL, PRIMARY KEY(rid, site)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE operations(oid INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, incarnation INTEGER NOT NULL,"
	" number INTEGER NOT NULL, service TEXT NOT NULL, collection TEXT NOT NULL, meta TEXT NOT NULL,"
	" kind INTEGER NOT NULL, clock INTEGER NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, query TEXT,"
	" spool TEXT, body_bytes INTEGER NOT NULL, parent TEXT, principal TEXT, created INTEGER NOT NULL,"
	" vector BLOB, refs BLOB, headers BLOB, body BLOB, UNIQUE(site, incarnation, number)) STRICT;"
	"CREATE INDEX operations_of ON operations(meta, clock);"
	"CREATE TABLE deliveries(oid INTEGER NOT NULL, target TEXT NOT NULL, state INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL, status INTEGER NOT NULL, next INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" error TEXT, PRIMARY KEY(oid, target)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX deliveries_open ON deliveries(oid, target) WHERE state NOT IN (2, 7);" /* done, dropped */
	"CREATE TABLE intents(oid INTEGER PRIMARY KEY, class INTEGER NOT NULL, sites TEXT NOT NULL, at TEXT,"
	" stage INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;"
	"CREATE TABLE frontiers(holder TEXT NOT NULL, origin TEXT NOT NULL, incarnation INTEGER NOT NULL,"
	" number INTEGER NOT NULL, beyond BLOB, PRIMARY KEY(holder, origin, incarnation)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE answers(key BLOB NOT NULL PRIMARY KEY, fingerprint BLOB NOT NULL, op_site TEXT NOT NULL,"
	" op_incarnation INTEGER NOT NULL, op_number INTEGER NOT NULL, status INTEGER NOT NULL,"
	" expires INTEGER NOT NULL, headers BLOB, body BLOB) STRICT;"
	"CREATE INDEX answers_expire ON answers(expires);"
	"CREATE TABLE rules(service TEXT NOT NULL, collection TEXT NOT NULL, rule TEXT NOT NULL,"
	" pinned INTEGER NOT NULL, PRIMARY KEY(service, collection)) STRICT, WITHOUT ROWID;";

static const char *const steps[] = { version_1 };
const struct store_steps store_schema = { steps, sizeof(steps) / sizeof(steps[0]) };

int store_bind(sqlite3_stmt *stmt, const struct value *values, int count)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < count && rc == SQLITE_OK; i++) {
		const struct value *v = &values[i];

		switch (v->type) {
		case VALUE_INT:
			rc = sqlite3_bind_int64(stmt, i + 1, v->i);
			break;
		case VALUE_TEXT:
			rc = sqlite3_bind_text64(stmt, i + 1, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC, SQLITE_UTF8);
			break;
		case VALUE_BLOB:
			rc = sqlite3_bind_blob64(stmt, i + 1, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
			break;
		case VALUE_NULL:
			rc = sqlite3_bind_null(stmt, i + 1);
			break;
		}
	}
	return rc;
}
