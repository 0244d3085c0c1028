/* Opening: is it ours, of this site, of a version we know, whole?  Then migrate, begin an incarnation, read the names.
 *
 * What is checked must not take longer than a start may: a million resources in two seconds.  So not every page is read,
 * but: the head, the length of the file against what the head says, the small tables whole (quick_check), every
 * statement against the schema, and every resource, since their names are read anyway.  The rest of the log shows its
 * damage when it is read; that stops the writer. */
#include "replication/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define BUSY_MS 2000
#define WAY_OUT "put a backup of it in its place; without one stop, move store.db* away and start: the site then begins empty, and " \
	"does not know its replicas any more (docs/replication.md)"

int store_fail(const struct store *s, sqlite3 *db, int code, const char *what, struct err *e)
{
	int extended = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM, primary = extended & 0xff;
	bool damaged = primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
	int os = db && primary == SQLITE_IOERR ? sqlite3_system_errno(db) : 0;

	if (damaged)
		code = ERR_INVALID;
	return err_set(e, code ? code : ERR_IO, "%s: %s: %s (SQLite %d)%s%s%s%s", s->path, what,
	               db ? sqlite3_errmsg(db) : "no memory", extended, os ? ": " : "", os ? strerror(os) : "",
	               damaged ? "; the database is damaged: " : "", damaged ? WAY_OUT : "");
}

static int damaged(const struct store *s, struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "%s: %s; the database is damaged: %s", s->path, what, WAY_OUT);
}

static int execute(const struct store *s, sqlite3 *db, const char *sql, const char *what, struct err *e)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : store_fail(s, db, store_code(sqlite3_extended_errcode(db), NULL), what, e);
}

/* The first column of the first row; 0 when there is none. */
static int ask(const struct store *s, sqlite3 *db, const char *sql, int64_t *value_r, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	*value_r = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*value_r = sqlite3_column_int64(stmt, 0);
	rc = sqlite3_finalize(stmt);
	return rc == SQLITE_OK ? 0 : store_fail(s, db, store_code(rc, NULL), "cannot be read", e);
}

int store_connect(const struct store *s, bool write, sqlite3 **db_r, struct err *e)
{
	int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE;
	int rc = sqlite3_open_v2(s->path, db_r, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, s->vfs);

	if (rc != SQLITE_OK)
		return store_fail(s, *db_r, store_code(rc, NULL), "cannot be opened", e);
	sqlite3_busy_timeout(*db_r, BUSY_MS);
	return execute(s, *db_r, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
	               " PRAGMA cache_size = -4000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	               " PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864", "cannot be opened", e);
}

/* ---- versions ----------------------------------------------------------------------------------------------------- */

static int migrate_one(const struct store *s, sqlite3 *db, const struct store_steps *steps, int version, struct err *e)
{
	char done[128];
	int rc = execute(s, db, "BEGIN IMMEDIATE", "cannot be migrated", e);

	if (rc)
		return rc;
	snprintf(done, sizeof(done), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
	         STORE_APPLICATION_ID, version + 1);
	rc = execute(s, db, steps->sql[version], "cannot be migrated", e);
	if (!rc)
		rc = execute(s, db, done, "cannot be migrated", e);
	if (rc && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

int store_migrate(const struct store *s, sqlite3 *db, const struct store_steps *steps, struct err *e)
{
	int64_t application, version, tables;
	int rc = ask(s, db, "PRAGMA application_id", &application, e);

	if (!rc)
		rc = ask(s, db, "PRAGMA user_version", &version, e);
	if (!rc)
		rc = ask(s, db, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (rc)
		return rc;
	if (application != STORE_APPLICATION_ID && (application || tables || version))
		return err_set(e, ERR_INVALID, "%s: a database of another program; move it away, or name another state folder",
		               s->path);
	if (application == STORE_APPLICATION_ID && version < 1)
		return damaged(s, e, "it has no version");
	if (version > steps->count)
		return err_set(e, ERR_UNSUPPORTED, "%s: written by a newer scopemeshd (version %d of the store, this one knows "
		               "%d); install that again, or put a backup of before in its place", s->path, (int)version,
		               steps->count);
	for (; version < steps->count && !rc; version++)
		rc = migrate_one(s, db, steps, (int)version, e);
	return rc;
}

/* ---- damage ------------------------------------------------------------------------------------------------------- */

static int check_small(struct store *s, const char *table, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	char sql[64];
	int rc;
	bool good;

	snprintf(sql, sizeof(sql), "PRAGMA quick_check(%s)", table);
	rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	good = rc == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(stmt, 0) ?: "", "ok");
	if (rc == SQLITE_ROW && !good)
		rc = damaged(s, e, (const char *)sqlite3_column_text(stmt, 0) ?: "quick_check failed");
	else if (!good)
		rc = store_fail(s, s->db, store_code(rc, NULL), "cannot be read", e);
	sqlite3_finalize(stmt);
	return good ? 0 : rc;
}

/* All of the log is in the file then, so its length can be held against what its head says. */
static int check_length(struct store *s, struct err *e)
{
	int64_t pages, page_bytes;
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	struct stat st;

	if (rc != SQLITE_OK)
		return store_fail(s, s->db, store_code(rc, NULL), "its log cannot be taken in", e);
	rc = ask(s, s->db, "PRAGMA page_count", &pages, e);
	if (!rc)
		rc = ask(s, s->db, "PRAGMA page_size", &page_bytes, e);
	if (rc)
		return rc;
	if (stat(s->path, &st))
		return err_set(e, ERR_IO, "%s: %s", s->path, strerror(errno));
	return st.st_size < pages * page_bytes ? damaged(s, e, "it has been cut short") : 0;
}

static int check(struct store *s, struct err *e)
{
	static const char *const small[] = { "settings", "incarnations", "intents", "frontiers", "rules" };
	int rc = check_length(s, e);

	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]) && !rc; i++)
		rc = check_small(s, small[i], e);
	return rc;
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

static struct span column(sqlite3_stmt *stmt, int i)
{
	const char *p = (const char *)sqlite3_column_text(stmt, i);

	return span_make(p ? p : "", p ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
}

static bool take_row(sqlite3_stmt *stmt, struct name *v)
{
	struct span meta = column(stmt, 2), local = column(stmt, 5);
	int64_t class = sqlite3_column_int64(stmt, 3), state = sqlite3_column_int64(stmt, 6);

	if (!meta.n || meta.n > NAME_MOST || local.n > NAME_MOST || class < 0 || class >= CLASSES_ || state < 0 ||
	    state >= REPLICA_STATES_)
		return false;
	v->service = column(stmt, 0);
	v->collection = column(stmt, 1);
	v->class = (enum consistency)class;
	v->sites = column(stmt, 4);
	v->state = (enum replica_state)state;
	v->reason = column(stmt, 7);
	v->here = sqlite3_column_int(stmt, 8);
	v->lacks = 0;
	v->deleted = sqlite3_column_int64(stmt, 9) != 0;
	v->meta_n = (uint16_t)meta.n;
	v->local_n = (uint16_t)local.n;
	memcpy(v->meta, meta.p, meta.n);
	memcpy(v->local, local.p, local.n);
	return true;
}

static int load_rows(struct store *s, sqlite3_stmt *stmt, struct err *e)
{
	struct name v;
	int rc, sqlite;

	while ((sqlite = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (!take_row(stmt, &v))
			return damaged(s, e, "a resource in it makes no sense");
		rc = names_load(s->names, &v);
		if (rc == ERR_NOMEM)
			return err_set(e, rc, "%s: no memory for its names", s->path);
		if (rc)
			return damaged(s, e, "two resources in it have one name");
	}
	return sqlite == SQLITE_DONE ? 0 : store_fail(s, s->db, store_code(sqlite, NULL), "cannot be read", e);
}

/* Sites that had not executed a create which this one had admitted when it stopped. */
static int load_lacking(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, "SELECT service, collection, meta, target FROM deliveries JOIN operations USING(oid)"
	                            " WHERE state NOT IN (2, 7) AND kind = 0", -1, &stmt, NULL); /* deliveries_open */

	while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		names_load_lacking(s->names, column(stmt, 0), column(stmt, 1), column(stmt, 2), column(stmt, 3));
		rc = SQLITE_OK;
	}
	rc = rc == SQLITE_DONE ? 0 : store_fail(s, s->db, store_code(rc, NULL), "cannot be read", e);
	sqlite3_finalize(stmt);
	return rc;
}

int store_load_names(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int64_t most;
	int rc = ask(s, s->db, "SELECT max(rid) FROM resources", &most, e);

	if (rc)
		return rc;
	if (names_reserve(s->names, most > 0 ? (size_t)most : 0))
		return err_set(e, ERR_NOMEM, "%s: no memory for its names", s->path);
	/* the table's own order: one pass from the first page to the last */
	rc = sqlite3_prepare_v2(s->db, "SELECT service, collection, meta, class, sites, local, state, reason, here,"
	                        " deleted FROM resources NOT INDEXED", -1, &stmt, NULL);
	rc = rc == SQLITE_OK ? load_rows(s, stmt, e) : store_fail(s, s->db, store_code(rc, NULL), "cannot be read", e);
	sqlite3_finalize(stmt);
	return rc ? rc : load_lacking(s, e);
}

/* ---- identity ----------------------------------------------------------------------------------------------------- */

static int check_site(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	struct value values[] = { { .type = VALUE_TEXT, .s = span_of(s->site) } };
	int rc = sqlite3_prepare_v2(s->db, "INSERT INTO settings VALUES('site', ?1) ON CONFLICT DO UPDATE SET value = value"
	                            " RETURNING value", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = store_bind(stmt, values, 1);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		rc = store_fail(s, s->db, store_code(rc, NULL), "cannot be written", e);
	else if (!span_eq(column(stmt, 0), span_of(s->site)))
		rc = err_set(e, ERR_INVALID, "%s: belongs to site \"%.*s\", not to \"%s\"; name another state folder (key state),"
		             " or the site as it was", s->path, SPAN_ARG(column(stmt, 0)), s->site);
	else
		rc = sqlite3_step(stmt) == SQLITE_DONE ? 0 : store_fail(s, s->db, ERR_IO, "cannot be written", e);
	sqlite3_finalize(stmt);
	return rc;
}

/* Random, so that a database that was set back does not give an operation's id twice; from the kernel itself, since a
 * stock of random bytes may be shared with a process this one was forked from. */
static int begin_incarnation(struct store *s, struct err *e)
{
	char sql[128];
	int64_t clock;
	int rc;

	do {
		if (getrandom(&s->incarnation, sizeof(s->incarnation), 0) != (ssize_t)sizeof(s->incarnation))
			return err_set(e, ERR_IO, "no random bytes for the store's incarnation");
		s->incarnation >>= 1;
	} while (!s->incarnation);
	snprintf(sql, sizeof(sql), "INSERT INTO incarnations VALUES(%lld, %lld)", (long long)s->incarnation,
	         (long long)clock_wall_ms());
	rc = execute(s, s->db, sql, "cannot be written", e);
	if (!rc)
		rc = ask(s, s->db, "SELECT value FROM settings WHERE name = 'clock'", &clock, e);
	s->clock = rc ? 0 : (uint64_t)clock;
	return rc;
}

/* A file that was just made is to be found after a power cut. */
static int sync_folder(const struct store *s, struct err *e)
{
	int fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd))
		rc = err_set(e, ERR_IO, "%s: cannot be synced: %s", s->folder, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- open, close -------------------------------------------------------------------------------------------------- */

static int wal_grew(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct store *s = arg;

	(void)db;
	(void)name;
	s->wal_frames = frames;
	return SQLITE_OK;
}

static int open_files(struct store *s, struct err *e)
{
	int rc = store_connect(s, true, &s->db, e);

	if (!rc)
		rc = store_migrate(s, s->db, &store_schema, e);
	if (!rc)
		rc = check(s, e);
	if (!rc)
		rc = check_site(s, e);
	if (!rc)
		rc = store_prepare_all(s, e);
	if (!rc)
		rc = store_load_names(s, e);
	if (!rc)
		rc = begin_incarnation(s, e);
	if (!rc)
		rc = sync_folder(s, e);
	if (!rc)
		rc = store_connect(s, false, &s->reader.db, e);
	return rc;
}

static int start(struct store *s, struct err *e)
{
	int rc;

	sqlite3_wal_hook(s->db, wal_grew, s);
	s->reader.store = s;
	rc = lane_start(&s->writer, STORE_QUEUE_BYTES, store_write, s);
	if (!rc)
		rc = lane_start(&s->readers, STORE_QUEUE_BYTES, store_read_jobs, s);
	return rc ? err_set(e, rc, "no thread for the store") : 0;
}

int store_open(struct store **s_r, const struct store_options *options, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	*s_r = NULL;
	if (!s)
		return err_set(e, ERR_NOMEM, "no memory for the store");
	pthread_mutex_init(&s->stop_lock, NULL);
	s->vfs = options->vfs;
	s->site = strdup(options->site);
	s->folder = strdup(options->folder);
	s->names = names_new();
	if (asprintf(&s->path, "%s/store.db", options->folder) < 0)
		s->path = NULL;
	if (!s->site || !s->folder || !s->path || !s->names)
		rc = err_set(e, ERR_NOMEM, "no memory for the store");
	else
		rc = open_files(s, e);
	if (!rc)
		rc = start(s, e);
	if (rc)
		store_close(&s);
	*s_r = s;
	return rc;
}

void store_close(struct store **sp)
{
	struct store *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	lane_end(&s->writer);
	lane_end(&s->readers);
	sqlite3_close(s->reader.db);
	store_finalize_all(s);
	sqlite3_close(s->db);
	names_free(&s->names);
	pthread_mutex_destroy(&s->stop_lock);
	free(s->path);
	free(s->site);
	free(s->folder);
	free(s);
}

uint64_t store_incarnation(const struct store *s)
{
	return s->incarnation;
}

uint64_t store_clock(const struct store *s)
{
	return s->clock;
}

struct names *store_names(struct store *s)
{
	return s->names;
}
