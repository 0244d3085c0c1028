/* What holds:
 *
 *	1. NAME is whole and synced; until then the file is NAME.part, which no start believes.  Its maker is told once the
 *	   folder is synced as well.
 *	2. A file has one descriptor from its first write to its sync, so that the sync tells of every write that failed
 *	   (a descriptor opened later may not be told).  What failed once is removed and never tried again.
 *	3. Names hold a number drawn at each start, so that a sweep touches nothing that is being made.
 *	4. Bytes count from spool_write on until the file is off the disk. What cannot be removed goes on to count.
 *	5. The members of a file are the maker's or the spool thread's, as marked; jobs and handle hold it, and the answer
 *	   of a job, on the maker's thread, asks whether the maker is gone before it calls him.
 *
 * One thread is enough for a disk, and keeps a file's writes in order without a word; a sync holds up what comes after it,
 * so the kernel is told every few megabytes to begin writing, and little is left for the sync.  Readers hold no descriptor
 * between pieces: the sites that are behind may be many, for days. */
#include "replication/spool_int.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static bool take_room(struct spool *spool, uint64_t n)
{
	uint64_t have = atomic_load(&spool->bytes), limit;

	do {
		limit = atomic_load(&spool->limit);
		if (have > limit || n > limit - have)
			return false;
	} while (!atomic_compare_exchange_weak(&spool->bytes, &have, have + n));
	return true;
}

uint64_t spool_bytes(const struct spool *spool)
{
	return atomic_load(&spool->bytes);
}

void spool_set_limit(struct spool *spool, uint64_t limit_bytes)
{
	atomic_store(&spool->limit, limit_bytes);
}

bool spool_has_room(const struct spool *spool, uint64_t bytes)
{
	uint64_t have = atomic_load(&spool->bytes), limit = atomic_load(&spool->limit);

	return have <= limit && bytes <= limit - have;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* START-NUMBER; what comes from a database may be anything, and nothing of it leads out of the folder. */
static bool is_name(struct span s)
{
	unsigned long long number;

	return s.n > START_DIGITS + 1 && s.n < NAME_BYTES && hex_is(span_head(s, START_DIGITS)) &&
	       s.p[START_DIGITS] == '-' && span_to_u64(span_from(s, START_DIGITS + 1), UINT64_MAX, &number);
}

static bool is_part(struct span s)
{
	size_t n = s.n - (sizeof(PART) - 1);

	return s.n > sizeof(PART) && is_name(span_head(s, n)) && span_eq(span_from(s, n), SPAN(PART));
}

static void *work(void *arg)
{
	struct spool *spool = arg;
	struct store_job *next;

	while ((next = lane_take(&spool->lane, false))) {
		struct spool_job *job = (struct spool_job *)next; /* its first member */

		job_answer(next, job->run(spool, job));
	}
	return NULL;
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static void unref(struct spool_file *f)
{
	if (atomic_fetch_sub(&f->refs, 1) == 1)
		free(f);
}

static void retire(struct store_job *store_job)
{
	struct spool_job *job = (struct spool_job *)store_job;
	struct spool_file *f = job->file;

	buf_fini(&job->bytes);
	if (!f || job != &f->end)
		free(job);
	if (f)
		unref(f);
}

/* On the maker's thread. */
static void on_file_done(void *arg, int rc)
{
	struct spool_job *job = arg;
	struct spool_file *f = job->file;

	f->waiting -= buf_len(&job->bytes);
	if (rc && !f->refused)
		f->refused = rc;
	f->finished = !rc && job->run == spool_run_finish;
	if (!atomic_load(&f->abandoned))
		job->done(job->arg, rc);
}

/* The memory itself where out has none and most of it is used, so that a piece is copied once only. */
static int hand_over(struct buf *from, struct buf *out)
{
	if (out->mem || out->max || out->failed || buf_len(from) < from->cap / 2) {
		buf_add_slowly(out, from->mem + from->rd, buf_len(from));
		return out->failed ? ERR_NOMEM : 0;
	}
	out->mem = from->mem;
	out->rd = from->rd;
	out->wr = from->wr;
	out->cap = from->cap;
	buf_init(from, NULL, 0);
	return 0;
}

static void on_read_done(void *arg, int rc)
{
	struct spool_job *job = arg;

	if (!rc && buf_len(&job->bytes))
		rc = hand_over(&job->bytes, job->out);
	job->done(job->arg, rc);
}

static struct spool_job *job_new(int (*run)(struct spool *, struct spool_job *), struct store_inbox *inbox,
                                 store_done *done, void *arg)
{
	struct spool_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->run = run;
	job->done = done;
	job->arg = arg;
	job->job = (struct store_job){ .inbox = inbox, .arg = job, .retire = retire };
	return job;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

int spool_create(struct spool *spool, struct spool_file **file_r)
{
	struct spool_file *f;

	*file_r = NULL;
	if (!spool_has_room(spool, 1))
		return ERR_LIMIT;
	if (atomic_fetch_add(&spool->files, 1) >= SPOOL_FILES) {
		atomic_fetch_sub(&spool->files, 1);
		return ERR_BUSY;
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		atomic_fetch_sub(&spool->files, 1);
		return ERR_NOMEM;
	}
	f->spool = spool;
	f->fd = -1;
	atomic_init(&f->refs, 1);
	snprintf(f->name, sizeof(f->name), "%s-%llu", spool->start,
	         (unsigned long long)atomic_fetch_add(&spool->numbers, 1));
	snprintf(f->part, sizeof(f->part), "%s" PART, f->name);
	*file_r = f;
	return 0;
}

static int put_of_file(struct spool_file *f, struct spool_job *job)
{
	int rc;

	job->file = f;
	job->job.done = on_file_done;
	atomic_fetch_add(&f->refs, 1);
	rc = lane_put(&f->spool->lane, &job->job);
	assert(!rc); /* what has files is open, and the list has no bound of its own */
	return rc;
}

int spool_write(struct spool_file *f, struct buf *bytes, struct store_inbox *inbox, store_done *done, void *arg)
{
	size_t n = buf_len(bytes);
	struct spool_job *job;

	assert(inbox && !f->finishing);
	if (f->refused)
		return f->refused;
	if (bytes->failed)
		return ERR_NOMEM;
	if (f->waiting && n > SPOOL_WAITING_BYTES - (f->waiting < SPOOL_WAITING_BYTES ? f->waiting : SPOOL_WAITING_BYTES))
		return ERR_BUSY;
	job = job_new(spool_run_write, inbox, done, arg);
	if (!job)
		return ERR_NOMEM;
	if (!take_room(f->spool, n)) {
		free(job);
		return ERR_LIMIT;
	}
	job->bytes = *bytes;
	bytes->mem = NULL;
	bytes->rd = bytes->wr = bytes->cap = 0;
	f->waiting += n;
	f->taken += n;
	return put_of_file(f, job);
}

int spool_finish(struct spool_file *f, struct store_inbox *inbox, store_done *done, void *arg)
{
	struct spool_job *job;

	assert(inbox && !f->finishing);
	if (f->refused)
		return f->refused;
	job = job_new(spool_run_finish, inbox, done, arg);
	if (!job)
		return ERR_NOMEM;
	f->finishing = true;
	return put_of_file(f, job);
}

struct span spool_name(const struct spool_file *f)
{
	return span_of(f->name);
}

uint64_t spool_file_bytes(const struct spool_file *f)
{
	return f->taken;
}

void spool_keep(struct spool_file **filep)
{
	struct spool_file *f = *filep;

	*filep = NULL;
	assert(f->finished);
	atomic_fetch_sub(&f->spool->files, 1);
	unref(f);
}

void spool_abandon(struct spool_file **filep)
{
	struct spool_file *f = *filep;
	int rc;

	*filep = NULL;
	if (!f)
		return;
	atomic_store(&f->abandoned, true);
	/* The job takes over what the handle held. The thread may be through with it before the count below. */
	f->end = (struct spool_job){ .run = spool_run_end, .file = f, .job = { .retire = retire } };
	atomic_fetch_sub(&f->spool->files, 1);
	rc = lane_put(&f->spool->lane, &f->end.job);
	assert(!rc);
	(void)rc;
}

/* ---- by name ----------------------------------------------------------------------------------------------------- */

static void set_name(struct spool_job *job, struct span name)
{
	if (is_name(name))
		memcpy(job->name, name.p, name.n);
}

/* Of a name that none of ours is. */
static int run_not_found(struct spool *spool, struct spool_job *job)
{
	(void)spool;
	(void)job;
	return ERR_NOT_FOUND;
}

int spool_read(struct spool *spool, struct span name, uint64_t offset, struct buf *out, size_t most,
               struct store_inbox *inbox, store_done *done, void *arg)
{
	struct spool_job *job;
	int rc;

	assert(inbox && most);
	job = job_new(is_name(name) ? spool_run_read : run_not_found, inbox, done, arg);
	if (!job)
		return ERR_NOMEM;
	set_name(job, name);
	job->job.done = on_read_done;
	job->out = out;
	job->offset = offset;
	job->most = most < SPOOL_PIECE_BYTES ? most : SPOOL_PIECE_BYTES;
	rc = lane_put(&spool->lane, &job->job);
	if (rc)
		free(job);
	return rc;
}

void spool_drop(struct spool *spool, struct span name)
{
	struct spool_job *job = is_name(name) ? job_new(spool_run_drop, NULL, NULL, NULL) : NULL;

	if (job)
		set_name(job, name);
	if (!job || lane_put(&spool->lane, &job->job)) {
		log_warn("%s/%.*s: not removed before the next start", spool->path, SPAN_ARG(name));
		free(job);
	}
}

/* ---- open, sweep, close ------------------------------------------------------------------------------------------ */

typedef int each_name(struct spool *spool, const char *name, void *arg);

static int cannot(const struct spool *spool, const char *what, struct err *e)
{
	return err_set(e, errno == ENOMEM ? ERR_NOMEM : ERR_IO, "%s: %s: %s", spool->path, what, strerror(errno));
}

static int for_each(struct spool *spool, each_name *each, void *arg, struct err *e)
{
	int fd = openat(spool->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		rc = cannot(spool, "cannot be listed", e);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (errno = 0, entry = readdir(dir))) {
		rc = each(spool, entry->d_name, arg);
		if (rc)
			rc = err_set(e, ERR_IO, "%s/%s: %s; remove it by hand once the disk is well", spool->path, entry->d_name,
			             strerror(errno));
	}
	if (!rc && errno)
		rc = cannot(spool, "cannot be listed", e);
	closedir(dir);
	return rc;
}

/* Removes what was not finished, counts what was; what has another name is nobody's business. */
static int count_file(struct spool *spool, const char *name, void *arg)
{
	struct stat st;

	(void)arg;
	if (is_part(span_of(name)))
		return unlinkat(spool->fd, name, 0);
	if (!is_name(span_of(name)))
		return 0;
	if (fstatat(spool->fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return -1;
	atomic_fetch_add(&spool->bytes, (uint64_t)st.st_size);
	return 0;
}

struct sweep {
	spool_is_named *keep;
	void *arg;
};

static int sweep_file(struct spool *spool, const char *name, void *arg)
{
	const struct sweep *sweep = arg;

	if (!is_name(span_of(name)) || span_starts(span_of(name), span_of(spool->start)) ||
	    sweep->keep(sweep->arg, span_of(name)))
		return 0;
	return spool_remove_name(spool, name);
}

int spool_sweep(struct spool *spool, spool_is_named *keep, void *arg, struct err *e)
{
	struct sweep sweep = { keep, arg };

	return for_each(spool, sweep_file, &sweep, e);
}

/* FOLDER/spool is there after a power cut, too. */
static int open_folder(struct spool *spool, const char *folder, struct err *e)
{
	int fd, rc = 0;

	if (mkdir(spool->path, 0700) && errno != EEXIST)
		return cannot(spool, "cannot be made", e);
	spool->fd = open(spool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (spool->fd < 0)
		return cannot(spool, "cannot be opened", e);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		rc = err_set(e, ERR_IO, "%s: cannot be synced: %s", folder, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* From the kernel itself: a stock of random bytes may be shared with a process that this one was forked from. */
static int draw_start(struct spool *spool, struct err *e)
{
	uint8_t start[START_DIGITS / 2];

	if (getrandom(start, sizeof(start), 0) != (ssize_t)sizeof(start))
		return err_set(e, ERR_IO, "no random bytes for the spool's names");
	hex_write(start, sizeof(start), spool->start);
	return 0;
}

int spool_open(const char *folder, uint64_t limit_bytes, struct spool **spool_r, struct err *e)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int rc;

	*spool_r = NULL;
	if (!spool)
		return err_set(e, ERR_NOMEM, "no memory for the spool");
	spool->fd = -1;
	atomic_store(&spool->limit, limit_bytes);
	if (asprintf(&spool->path, "%s/spool", folder) < 0) {
		spool->path = NULL;
		rc = err_set(e, ERR_NOMEM, "no memory for the spool");
	} else {
		rc = open_folder(spool, folder, e);
	}
	if (!rc)
		rc = draw_start(spool, e);
	if (!rc)
		rc = for_each(spool, count_file, NULL, e);
	if (!rc) {
		rc = lane_start(&spool->lane, SIZE_MAX, work, spool);
		if (rc)
			err_set(e, rc, "no thread for the spool");
	}
	if (rc)
		spool_close(&spool);
	*spool_r = spool;
	return rc;
}

void spool_close(struct spool **spoolp)
{
	struct spool *spool = *spoolp;

	*spoolp = NULL;
	if (!spool)
		return;
	assert(!atomic_load(&spool->files));
	lane_end(&spool->lane);
	if (spool->fd >= 0)
		close(spool->fd);
	free(spool->path);
	free(spool);
}
