/* The commit thread: a group of batches, one transaction.
 *
 *	take all that wait → BEGIN → each batch in a savepoint → COMMIT (the WAL is synced) → names → answers
 *
 * What holds:
 *  1. No answer before the commit, none durable without it.
 *  2. A batch that fails alone is rolled back alone.  When the transaction as a whole is gone, everybody of the group is
 *     told the same, and names are as before the group.
 *  3. Memory that the names need is had before the commit: after it nothing can fail.
 *  4. A failed write, sync or checkpoint stops the writer for good.  The kernel may have dropped what it could not
 *     write, so that a later sync would succeed for bytes that are gone; nothing is checkpointed any more, not even at
 *     the close, so that the next start reads the log as the disk has it. */
#include "replication/store_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define CHECKPOINT_FRAMES 2000 /* 8 MiB of log */

int store_code(int extended, bool *fatal_r)
{
	bool unused = false, *fatal = fatal_r ? fatal_r : &unused;

	*fatal = false;
	switch (extended) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_IOERR_NOMEM:
		return ERR_NOMEM;
	case SQLITE_CONSTRAINT_NOTNULL:
		return ERR_NOT_FOUND; /* the row that a change speaks of */
	}
	switch (extended & 0xff) {
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_FULL:
	case SQLITE_TOOBIG:
		return ERR_LIMIT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_CONSTRAINT:
		return (extended >> 8) == (SQLITE_CONSTRAINT_DATATYPE >> 8) ? ERR_INVALID : ERR_EXISTS;
	case SQLITE_MISMATCH:
		return ERR_INVALID;
	default:
		*fatal = true;
		return ERR_IO;
	}
}

int store_stopped(struct store *s, struct err *e)
{
	int code;

	pthread_mutex_lock(&s->stop_lock);
	code = s->stopped.code;
	if (code)
		err_set(e, code, "%s", s->stopped.text);
	pthread_mutex_unlock(&s->stop_lock);
	return code;
}

const struct store_counts *store_counts(const struct store *s)
{
	return &s->counts;
}

size_t store_waiting_bytes(struct store *s)
{
	return lane_bytes(&s->writer);
}

static void stop(struct store *s, const char *what)
{
	struct err e;

	store_fail(s, s->db, ERR_IO, what, &e);
	log_error("%s; nothing is replicated until a restart", e.text);
	pthread_mutex_lock(&s->stop_lock);
	s->stopped = e;
	pthread_mutex_unlock(&s->stop_lock);
	lane_refuse(&s->writer);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

/* Runs a statement without rows; SQLite's extended code. */
static int run(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt), reset = sqlite3_reset(stmt);

	return rc == SQLITE_DONE || rc == SQLITE_ROW ? reset : rc;
}

/* ---- a change ----------------------------------------------------------------------------------------------------- */

static bool is_own(const struct store *s, const struct change *c)
{
	return c->of_site && span_eq(c->values[3].s, span_of(s->site));
}

static enum change_kind statement_of(const struct store *s, const struct change *c)
{
	if (!is_own(s, c))
		return c->kind;
	return c->kind == CHANGE_PUT_REPLICA ? CHANGE_PUT_OWN : CHANGE_DROP_OWN;
}

static void set_local(struct name *v, struct span local)
{
	v->local_n = (uint16_t)local.n;
	memcpy(v->local, local.p, local.n);
}

/* STORE_STAYS. */
static bool stays(const struct change *c, const struct name *v)
{
	return (c->values[5].i == REPLICA_SYNCED || c->values[5].i == REPLICA_QUEUED) && !c->values[4].s.n && !c->values[6].s.n &&
	       (v->state == REPLICA_IN_DOUBT || v->state == REPLICA_FAILED);
}

/* What the name is after the change; 0, ERR_NOT_FOUND, ERR_LIMIT. */
static int change_name(const struct change *c, bool known, struct name *v)
{
	struct span meta = c->values[2].s;

	if (!known && c->effect != NAMES_RESOURCE)
		return ERR_NOT_FOUND;
	if (!known) {
		if (!meta.n || meta.n > NAME_MOST)
			return ERR_LIMIT;
		v->meta_n = (uint16_t)meta.n;
		memcpy(v->meta, meta.p, meta.n);
		v->service = c->values[0].s;
		v->collection = c->values[1].s;
		v->local_n = 0;
		v->here = false;
		v->reason = SPAN("");
		v->state = REPLICA_SYNCED;
		v->lacks = 0;
	}
	switch (c->effect) {
	case NAMES_RESOURCE:
		if (known && !span_eq(v->sites, c->values[4].s))
			v->lacks = 0;
		v->class = (enum consistency)c->values[3].i;
		v->sites = c->values[4].s;
		v->deleted = c->values[7].i != 0;
		return 0;
	case NAMES_DELETED:
		v->deleted = c->values[3].i != 0;
		return 0;
	case NAMES_REPLICA:
		if (c->values[4].s.n > NAME_MOST)
			return ERR_LIMIT;
		v->here = true;
		if (!stays(c, v)) {
			v->state = (enum replica_state)c->values[5].i;
			v->reason = c->values[6].s;
		}
		if (c->values[4].s.n)
			set_local(v, c->values[4].s);
		return 0;
	default:
		v->here = false;
		v->state = REPLICA_SYNCED;
		v->reason = SPAN("");
		v->local_n = 0;
		return 0;
	}
}

/* What became of a create at another site: who has executed it may lack what was written later, and has the resource. */
static int prepare_lacking(struct store *s, struct change *c)
{
	enum replica_state state = (enum replica_state)c->values[5].i;
	bool waits = replica_lacks_create(state, c->values[6].s);
	struct name v;
	uint8_t bit;
	int rc;

	if (c->effect != NAMES_REPLICA || !names_latest(s->names, c->values[0].s, c->values[1].s, c->values[2].s, &v))
		return 0;
	bit = names_lacks_bit(v.sites, c->values[3].s);
	if (!bit || (v.lacks & bit ? waits : !waits || !c->lacks))
		return 0;
	v.lacks ^= bit;
	rc = names_prepare(s->names, &v, &c->names);
	c->prepared = !rc;
	return rc;
}

static int prepare_name(struct store *s, struct change *c)
{
	struct span service, collection, meta;
	struct name v;
	bool known;
	int rc;

	if (c->of_site && !is_own(s, c))
		return prepare_lacking(s, c);
	if (c->effect == NAMES_NONE)
		return 0;
	service = c->values[0].s;
	collection = c->values[1].s;
	meta = c->values[2].s;
	if (c->effect == NAMES_DROP) {
		names_prepare_removal(s->names, service, collection, meta, &c->names);
		c->prepared = true;
		return 0;
	}
	known = names_latest(s->names, service, collection, meta, &v);
	if (!known && c->effect == NAMES_NO_REPLICA)
		return 0;
	rc = change_name(c, known, &v);
	if (!rc)
		rc = names_prepare(s->names, &v, &c->names);
	c->prepared = !rc;
	return rc;
}

static int apply(struct store *s, struct change *c, int *sqlite_r)
{
	enum change_kind kind = statement_of(s, c);
	sqlite3_stmt *stmt = s->changes[kind];
	int rc = store_bind(stmt, c->values, c->count);

	if (rc == SQLITE_OK)
		rc = run(stmt);
	sqlite3_clear_bindings(stmt);
	*sqlite_r = rc;
	if (rc != SQLITE_OK)
		return store_code(rc, NULL);
	if (store_changes[kind].none && !sqlite3_changes(s->db))
		return store_changes[kind].none;
	return prepare_name(s, c);
}

/* ---- a batch ------------------------------------------------------------------------------------------------------ */

static struct change *reversed(struct change *c)
{
	struct change *done = NULL, *next;

	for (; c; c = next) {
		next = c->next;
		c->next = done;
		done = c;
	}
	return done;
}

/* In the opposite order. */
static void abort_names(struct store *s, struct store_batch *b)
{
	struct change *last = reversed(b->first);

	for (struct change *c = last; c; c = c->next) {
		if (c->prepared)
			names_abort(s->names, &c->names);
		c->prepared = false;
	}
	b->first = reversed(last);
}

static void commit_names(struct store *s, struct change *c)
{
	for (; c; c = c->next)
		if (c->prepared)
			names_commit(s->names, &c->names);
}

/* A batch within the group's transaction; *sqlite_r: why it failed, where SQLite did. */
static int apply_batch(struct store *s, struct store_batch *b, int *sqlite_r)
{
	int rc;

	*sqlite_r = run(s->save);
	rc = store_code(*sqlite_r, NULL);
	for (struct change *c = b->first; c && !rc; c = c->next)
		rc = apply(s, c, sqlite_r);
	if (!rc) {
		*sqlite_r = run(s->release);
		rc = store_code(*sqlite_r, NULL);
	}
	if (!rc)
		return 0;
	abort_names(s, b);
	if (!sqlite3_get_autocommit(s->db) && (run(s->undo) != SQLITE_OK || run(s->release) != SQLITE_OK))
		run(s->rollback);
	return rc;
}

/* ---- a group ------------------------------------------------------------------------------------------------------ */

static struct store_batch *batch_of(struct store_job *job)
{
	return (struct store_batch *)job;
}

static struct store_job *jobs_reversed(struct store_job *job)
{
	struct store_job *done = NULL, *next;

	for (; job; job = next) {
		next = job->next;
		job->next = done;
		done = job;
	}
	return done;
}

/* Everybody of the group that had not failed by itself has. The group in its order. */
static struct store_job *abort_group(struct store *s, struct store_job *jobs, int rc)
{
	struct store_job *last = jobs_reversed(jobs);

	for (struct store_job *job = last; job; job = job->next) {
		if (job->rc)
			continue;
		abort_names(s, batch_of(job));
		job->rc = rc;
	}
	return jobs_reversed(last);
}

static int set_clock(struct store *s, uint64_t clock)
{
	struct value value = { .type = VALUE_INT, .i = (int64_t)clock };
	int rc = clock ? store_bind(s->changes[CHANGE_SET_CLOCK], &value, 1) : SQLITE_OK;

	return rc == SQLITE_OK && clock ? run(s->changes[CHANGE_SET_CLOCK]) : rc;
}

/* 0 with job->rc of each set; else SQLite's code, and the group is lost. */
static int apply_group(struct store *s, struct store_job *jobs)
{
	uint64_t clock = 0;
	int rc = run(s->begin), sqlite;
	bool fatal;

	if (rc != SQLITE_OK)
		return rc;
	for (struct store_job *job = jobs; job; job = job->next) {
		job->rc = apply_batch(s, batch_of(job), &sqlite);
		if (!job->rc && batch_of(job)->clock > clock)
			clock = batch_of(job)->clock;
		store_code(sqlite, &fatal);
		if (fatal || sqlite3_get_autocommit(s->db))
			return sqlite != SQLITE_OK ? sqlite : SQLITE_IOERR;
	}
	return set_clock(s, clock);
}

static int commit_group(struct store *s, struct store_job *jobs)
{
	int rc = apply_group(s, jobs);

	if (rc == SQLITE_OK)
		rc = run(s->commit);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(s->db) && run(s->rollback) != SQLITE_OK)
		rc = SQLITE_IOERR;
	return rc;
}

static void checkpoint(struct store *s)
{
	bool fatal;
	int rc;

	if (s->wal_frames < CHECKPOINT_FRAMES)
		return;
	s->wal_frames = 0;
	rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	store_code(rc == SQLITE_OK ? rc : sqlite3_extended_errcode(s->db), &fatal);
	if (fatal)
		stop(s, "a checkpoint failed");
}

static void write_group(struct store *s, struct store_job *jobs)
{
	int64_t begun_us = clock_mono_us();
	struct store_job *next;
	bool fatal;
	int rc, code;

	for (struct store_job *job = jobs; job; job = job->next)
		job->rc = 0;
	rc = commit_group(s, jobs);
	histogram_add(&s->counts.commits, clock_mono_us() - begun_us);
	code = store_code(rc, &fatal);
	if (code)
		jobs = abort_group(s, jobs, code);
	if (fatal)
		stop(s, "a commit failed");
	for (struct store_job *job = jobs; job; job = job->next)
		if (!job->rc)
			commit_names(s, batch_of(job)->first);
	for (struct store_job *job = jobs; job; job = next) {
		next = job->next;
		counter_add(job->rc ? &s->counts.failed : &s->counts.batches, 1);
		job_answer(job, job->rc);
	}
	if (!code)
		checkpoint(s);
}

void *store_write(void *arg)
{
	struct store *s = arg;
	struct store_job *jobs, *next;

	while ((jobs = lane_take(&s->writer, true))) {
		if (!store_stopped(s, NULL)) {
			write_group(s, jobs);
			continue;
		}
		for (; jobs; jobs = next) {
			next = jobs->next;
			counter_add(&s->counts.failed, 1);
			job_answer(jobs, ERR_CLOSED);
		}
	}
	return NULL;
}

/* ---- statements --------------------------------------------------------------------------------------------------- */

static int prepare(struct store *s, const char *sql, sqlite3_stmt **stmt_r)
{
	return sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt_r, NULL);
}

int store_prepare_all(struct store *s, struct err *e)
{
	const struct { const char *sql; sqlite3_stmt **stmt; } rows[] = {
		{ "BEGIN IMMEDIATE", &s->begin }, { "COMMIT", &s->commit }, { "ROLLBACK", &s->rollback },
		{ "SAVEPOINT batch", &s->save }, { "RELEASE batch", &s->release }, { "ROLLBACK TO batch", &s->undo },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && rc == SQLITE_OK; i++)
		rc = prepare(s, rows[i].sql, rows[i].stmt);
	for (size_t i = 0; i < CHANGE_KINDS && rc == SQLITE_OK; i++)
		rc = prepare(s, store_changes[i].sql, &s->changes[i]);
	return rc == SQLITE_OK ? 0 : store_fail(s, s->db, store_code(rc, NULL), "a statement does not fit it", e);
}

void store_finalize_all(struct store *s)
{
	sqlite3_stmt *stmts[] = { s->begin, s->commit, s->rollback, s->save, s->release, s->undo };

	for (size_t i = 0; i < sizeof(stmts) / sizeof(stmts[0]); i++)
		sqlite3_finalize(stmts[i]);
	for (size_t i = 0; i < CHANGE_KINDS; i++)
		sqlite3_finalize(s->changes[i]);
}
