/* replication/spool: what is answered is on the disk, whole and in order; what is not, or is given up, is gone; bytes are
 * counted and bounded; what fails fails that file alone, for ever; what no row names goes at a start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/log.h"
#include "tests/unit/replication/spool_bed.h"
#include "tests/unit/replication/spool_calls.h"

#define MIB (1u << 20)

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

enum call { CALL_NONE, CALL_WRITE, CALL_SYNC_FILE, CALL_SYNC_FOLDER, CALL_RENAME, CALL_MAKE, CALL_OPEN, CALL_UNLINK,
	CALL_READ };

/* Of this call the next `skip` work, then it says this errno until it is healed. */
static atomic_int broken_call, broken_errno, broken_skip, write_most;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: no write begins */

static void breaks(enum call call, int skip, int error)
{
	atomic_store(&broken_skip, skip);
	atomic_store(&broken_errno, error);
	atomic_store(&broken_call, (int)call);
}

static void heals(void)
{
	atomic_store(&broken_call, CALL_NONE);
	atomic_store(&write_most, 0);
}

static bool is_broken(enum call call)
{
	if (atomic_load(&broken_call) != (int)call || atomic_fetch_sub(&broken_skip, 1) > 0)
		return false;
	errno = atomic_load(&broken_errno);
	return true;
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	size_t most = (size_t)atomic_load(&write_most);
	static atomic_uint turn;

	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	if (is_broken(CALL_WRITE)) {
		(void)!__real_pwrite(fd, p, n / 2, at);
		return -1;
	}
	if (!most)
		return __real_pwrite(fd, p, n, at);
	if (atomic_fetch_add(&turn, 1) % 3 == 0) {
		errno = EINTR;
		return -1;
	}
	return __real_pwrite(fd, p, n < most ? n : most, at);
}

ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at)
{
	size_t most = (size_t)atomic_load(&write_most);

	return is_broken(CALL_READ) ? -1 : __real_pread(fd, p, most && most < n ? most : n, at);
}

int __wrap_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	return is_broken(S_ISDIR(st.st_mode) ? CALL_SYNC_FOLDER : CALL_SYNC_FILE) ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
	return is_broken(CALL_RENAME) ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
	return is_broken(CALL_UNLINK) ? -1 : __real_unlinkat(fd, name, flags);
}

int __wrap_openat(int fd, const char *name, int flags, mode_t mode)
{
	return is_broken(flags & O_CREAT ? CALL_MAKE : CALL_OPEN) ? -1 : __real_openat(fd, name, flags, mode);
}

/* ---- bed --------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	static struct bed bed;

	heals();
	bed_folder(&bed);
	*state = &bed;
	return bed_open(&bed, 300 * MIB);
}

static int tear_down(void **state)
{
	heals();
	bed_fini(*state);
	return 0;
}

static int reopen(struct bed *b, uint64_t limit)
{
	spool_close(&b->spool);
	return bed_open(b, limit);
}

static struct spool_file *create(struct bed *b)
{
	struct spool_file *f;

	assert_int_equal(spool_create(b->spool, &f), 0);
	return f;
}

static int there(const struct bed *b, struct span name, const char *suffix)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%.*s%s", b->path, SPAN_ARG(name), suffix);
	return access(path, F_OK) == 0;
}

static void no_answer(void *arg, int rc)
{
	(void)arg;
	fail_msg("a caller who is gone was called with %d", rc);
}

/* ---- writing and reading ----------------------------------------------------------------------------------------- */

static void a_body_comes_back(void **state)
{
	struct bed *b = *state;
	const size_t sizes[] = { 0, 1, 4095, 70000, MIB + 3 };
	char name[64];

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(bed_make(b, i, sizes[i], name), 0);
		assert_int_equal(bed_check(b, span_of(name), i, sizes[i], 1 + sizes[i] / 7), 0);
		assert_int_equal(bed_check(b, span_of(name), i, sizes[i], MIB), 0);
	}
	assert_int_equal(spool_bytes(b->spool), 0 + 1 + 4095 + 70000 + MIB + 3);
}

static void writes_are_in_order_whatever_waits(void **state)
{
	struct bed *b = *state;
	struct spool_file *files[3];
	int rc[3][101], finished[3];
	char name[64];

	pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < 3; i++)
		files[i] = create(b);
	for (unsigned k = 0; k <= 100; k++)
		for (unsigned i = 0; i < 3; i++) {
			struct buf bytes = bed_bytes(i, spool_file_bytes(files[i]), k * 13);

			rc[i][k] = WAITS;
			assert_int_equal(spool_write(files[i], &bytes, b->inbox, bed_on_done, &rc[i][k]), 0);
			assert_int_equal(buf_len(&bytes), 0);
		}
	for (unsigned i = 0; i < 3; i++) {
		finished[i] = WAITS;
		assert_int_equal(spool_finish(files[i], b->inbox, bed_on_done, &finished[i]), 0);
	}
	pthread_mutex_unlock(&gate);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(bed_wait(b, &finished[i]), 0);
		for (unsigned k = 0; k <= 100; k++)
			assert_int_equal(rc[i][k], 0);
		snprintf(name, sizeof(name), "%.*s", SPAN_ARG(spool_name(files[i])));
		spool_keep(&files[i]);
		assert_int_equal(bed_check(b, span_of(name), i, 13 * 5050, 4096), 0);
	}
}

static void a_slow_disk_that_takes_a_little_at_a_time_gets_it_all(void **state)
{
	struct bed *b = *state;
	char name[64];

	atomic_store(&write_most, 777);
	assert_int_equal(bed_make(b, 3, 50000, name), 0);
	assert_int_equal(bed_check(b, span_of(name), 3, 50000, 20000), 0);
}

static void nothing_has_its_name_before_it_is_finished(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	struct stat st;
	char path[300];
	struct buf out;

	buf_init(&out, NULL, 0);
	assert_int_equal(bed_names(b, NULL), 0);
	assert_int_equal(bed_write(b, f, 0, 100), 0);
	assert_true(there(b, spool_name(f), ".part") && !there(b, spool_name(f), ""));
	assert_int_equal(bed_read(b, spool_name(f), 0, 100, &out), ERR_NOT_FOUND);
	assert_int_equal(bed_finish(b, f), 0);
	assert_true(!there(b, spool_name(f), ".part") && there(b, spool_name(f), ""));
	snprintf(path, sizeof(path), "%s/%.*s", b->path, SPAN_ARG(spool_name(f)));
	assert_true(!stat(path, &st) && (st.st_mode & 07777) == 0600);
	assert_true(!stat(b->path, &st) && (st.st_mode & 07777) == 0700);
	spool_keep(&f);
	assert_null(f);
}

/* What the reader has not sent yet stays before what comes. */
static void a_piece_is_added_to_what_is_there(void **state)
{
	struct bed *b = *state;
	struct buf out;
	char name[64];

	assert_int_equal(bed_make(b, 0, 1000, name), 0);
	buf_init(&out, NULL, 0);
	assert_int_equal(bed_read(b, span_of(name), 0, 600, &out), 0);
	assert_int_equal(buf_len(&out), 600);
	assert_int_equal(bed_read(b, span_of(name), 600, 600, &out), 0);
	assert_int_equal(buf_len(&out), 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(out.mem[out.rd + i], bed_byte(0, i));
	assert_int_equal(bed_read(b, span_of(name), 1000, 600, &out), 0);
	assert_int_equal(bed_read(b, span_of(name), UINT64_C(1) << 40, 600, &out), 0);
	assert_int_equal(buf_len(&out), 1000);
	buf_fini(&out);
	/* a buffer with a bound that it does not fit into */
	buf_init(&out, NULL, 10);
	assert_int_equal(bed_read(b, span_of(name), 0, 600, &out), ERR_NOMEM);
	buf_fini(&out);
}

static void a_buffer_goes_back_to_its_pool(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	struct buf_pool pool;
	struct buf bytes;
	int rc = WAITS;

	buf_pool_init(&pool, 16384, 8);
	buf_init(&bytes, &pool, 0);
	buf_add_z(&bytes, "a body");
	assert_int_equal(spool_write(f, &bytes, b->inbox, bed_on_done, &rc), 0);
	assert_null(bytes.mem);
	assert_int_equal(pool.kept, 0);
	assert_int_equal(bed_wait(b, &rc), 0);
	assert_int_equal(pool.kept, 1);
	buf_add_z(&bytes, ", used again");
	assert_int_equal(pool.kept, 0);
	buf_fini(&bytes);
	spool_abandon(&f);
	buf_pool_fini(&pool);
}

static void a_name_leads_nowhere_else(void **state)
{
	struct bed *b = *state;
	const char *names[] = { "", ".", "..", "0123456789abcdef-1/../../0123456789abc-1", "0123456789abcdef-",
		"0123456789ABCDEF-1", "0123456789abcdef-1.part", "0123456789abcdef-99999999999999999999999999999999999999999",
		"/etc/passwd", "0123456789abcdef-18446744073709551616", "../0123456789abc-1" };
	char path[300], link[300];
	struct buf out;
	int fd;

	snprintf(path, sizeof(path), "%s/0123456789abc-1", b->folder);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, "x", 1) == 1 && !close(fd));
	buf_init(&out, NULL, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(bed_read(b, span_of(names[i]), 0, 10, &out), ERR_NOT_FOUND);
		spool_drop(b->spool, span_of(names[i]));
	}
	snprintf(link, sizeof(link), "%s/0123456789abcdef-1", b->path);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(bed_read(b, SPAN("0123456789abcdef-1"), 0, 10, &out), ERR_IO);
	assert_null(out.mem);
	spool_drop(b->spool, SPAN("0123456789abcdef-1"));
	bed_settle(b);
	assert_int_equal(bed_names(b, NULL), 0);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
}

static void what_is_dropped_is_gone_after_what_was_asked_before(void **state)
{
	struct bed *b = *state;
	struct buf out;
	char name[64], other[64];
	int rc = WAITS;

	assert_int_equal(bed_make(b, 0, 1000, name), 0);
	assert_int_equal(bed_make(b, 1, 2000, other), 0);
	buf_init(&out, NULL, 0);
	assert_int_equal(spool_read(b->spool, span_of(name), 0, &out, 1000, b->inbox, bed_on_done, &rc), 0);
	spool_drop(b->spool, span_of(name));
	spool_drop(b->spool, span_of(name));
	assert_int_equal(bed_wait(b, &rc), 0);
	assert_int_equal(buf_len(&out), 1000);
	assert_int_equal(bed_read(b, span_of(name), 0, 1000, &out), ERR_NOT_FOUND);
	assert_int_equal(spool_bytes(b->spool), 2000);
	assert_int_equal(bed_check(b, span_of(other), 1, 2000, 999), 0);
	buf_fini(&out);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static void the_limit_is_for_all_files_and_from_the_handing_over_on(void **state)
{
	struct bed *b = *state;
	struct spool_file *f, *g, *h;
	struct buf bytes = bed_bytes(0, 0, 501);
	int rc = WAITS;

	assert_int_equal(reopen(b, 1000), 0);
	f = create(b);
	g = create(b);
	pthread_mutex_lock(&gate);
	assert_int_equal(spool_write(f, &(struct buf){ 0 }, b->inbox, bed_on_done, &rc), 0);
	assert_true(spool_has_room(b->spool, 1000) && !spool_has_room(b->spool, 1001));
	pthread_mutex_unlock(&gate);
	assert_int_equal(bed_write(b, f, 0, 500), 0);
	assert_int_equal(spool_write(g, &bytes, b->inbox, no_answer, NULL), ERR_LIMIT);
	assert_int_equal(buf_len(&bytes), 501);
	buf_consume(&bytes, 1);
	rc = WAITS;
	assert_int_equal(spool_write(g, &bytes, b->inbox, bed_on_done, &rc), 0);
	assert_int_equal(bed_wait(b, &rc), 0);
	assert_int_equal(spool_bytes(b->spool), 1000);
	assert_int_equal(spool_create(b->spool, &h), ERR_LIMIT);
	assert_null(h);
	/* a refusal for want of room harms nothing that is there */
	assert_int_equal(bed_finish(b, f), 0);
	spool_keep(&f);
	spool_abandon(&g);
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 500);
	/* lowered: what is there stays, nothing comes in */
	spool_set_limit(b->spool, 100);
	assert_false(spool_has_room(b->spool, 0));
	assert_int_equal(spool_create(b->spool, &h), ERR_LIMIT);
	spool_set_limit(b->spool, 501);
	assert_int_equal(spool_create(b->spool, &h), 0);
	spool_abandon(&h);
}

static void what_waits_is_bounded(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	struct buf big = bed_bytes(0, 0, SPOOL_WAITING_BYTES - 10), more;
	int rc[3] = { WAITS, WAITS, WAITS };

	pthread_mutex_lock(&gate);
	assert_int_equal(spool_write(f, &big, b->inbox, bed_on_done, &rc[0]), 0);
	more = bed_bytes(0, spool_file_bytes(f), 11);
	assert_int_equal(spool_write(f, &more, b->inbox, no_answer, NULL), ERR_BUSY);
	assert_int_equal(buf_len(&more), 11);
	buf_consume(&more, 1);
	assert_int_equal(spool_write(f, &more, b->inbox, bed_on_done, &rc[1]), 0);
	more = bed_bytes(0, 0, 1);
	assert_int_equal(spool_write(f, &more, b->inbox, no_answer, NULL), ERR_BUSY);
	assert_int_equal(spool_file_bytes(f), SPOOL_WAITING_BYTES);
	assert_int_equal(spool_bytes(b->spool), SPOOL_WAITING_BYTES);
	pthread_mutex_unlock(&gate);
	assert_int_equal(bed_wait(b, &rc[1]), 0);
	assert_int_equal(rc[0], 0);
	assert_int_equal(spool_write(f, &more, b->inbox, bed_on_done, &rc[2]), 0);
	assert_int_equal(bed_wait(b, &rc[2]), 0);
	/* a larger one, when nothing waits */
	assert_int_equal(bed_write(b, f, 0, 3 * SPOOL_WAITING_BYTES), 0);
	spool_abandon(&f);
}

static void files_under_way_are_bounded(void **state)
{
	struct bed *b = *state;
	struct spool_file *files[SPOOL_FILES], *more;

	for (size_t i = 0; i < SPOOL_FILES; i++)
		files[i] = create(b);
	assert_int_equal(spool_create(b->spool, &more), ERR_BUSY);
	spool_abandon(&files[7]);
	files[7] = create(b);
	assert_int_equal(bed_write(b, files[8], 0, 1), 0);
	assert_int_equal(bed_finish(b, files[8]), 0);
	assert_int_equal(spool_create(b->spool, &more), ERR_BUSY);
	spool_keep(&files[8]);
	files[8] = create(b);
	for (size_t i = 0; i < SPOOL_FILES; i++)
		spool_abandon(&files[i]);
}

/* KiB in memory, as the kernel counts it. */
static long resident(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_true(f && fscanf(f, "%*d %ld", &pages) == 1);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void two_hundred_mebibytes_go_through_in_bounded_memory(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	long before, most = 0;
	char name[64];

	assert_int_equal(bed_write(b, f, 5, 65536), 0);
	before = resident();
	while (spool_file_bytes(f) < 200 * MIB) {
		assert_int_equal(bed_write(b, f, 5, 65536), 0);
		most = resident() > most ? resident() : most;
	}
	assert_int_equal(bed_finish(b, f), 0);
	snprintf(name, sizeof(name), "%.*s", SPAN_ARG(spool_name(f)));
	spool_keep(&f);
	assert_int_equal(bed_check(b, span_of(name), 5, 200 * MIB, SPOOL_PIECE_BYTES), 0);
	most = resident() > most ? resident() : most;
	print_message("# 200 MiB in and out: %ld KiB more in memory\n", most - before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep what was freed */
	assert_true(most - before < 4096);
#endif
}

/* ---- callers that go away ---------------------------------------------------------------------------------------- */

static void abandoning_at_any_time_leaves_nothing(void **state)
{
	struct bed *b = *state;

	for (int stage = 0; stage < 6; stage++) {
		struct spool_file *f = create(b);
		struct buf bytes;

		if (stage >= 1)
			assert_int_equal(bed_write(b, f, 0, 10), 0);
		if (stage >= 2)
			pthread_mutex_lock(&gate);
		for (int i = 0; stage >= 2 && i < 3; i++) {
			bytes = bed_bytes(0, 0, 1000);
			assert_int_equal(spool_write(f, &bytes, b->inbox, no_answer, NULL), 0);
		}
		if (stage >= 3)
			assert_int_equal(spool_finish(f, b->inbox, no_answer, NULL), 0);
		/* while it waits; when it may be done and its answer waits; when it is */
		if (stage == 4)
			pthread_mutex_unlock(&gate);
		if (stage == 5) {
			struct stat st;
			char path[300];

			snprintf(path, sizeof(path), "%s/%.*s", b->path, SPAN_ARG(spool_name(f)));
			pthread_mutex_unlock(&gate);
			while (stat(path, &st))
				usleep(200);
		}
		spool_abandon(&f);
		assert_null(f);
		if (stage == 2 || stage == 3)
			pthread_mutex_unlock(&gate);
		bed_settle(b);
		assert_int_equal(bed_names(b, NULL), 0);
		assert_int_equal(spool_bytes(b->spool), 0);
	}
}

static void a_finished_file_can_be_abandoned_still(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b), *none = NULL;

	assert_int_equal(bed_write(b, f, 0, 10), 0);
	assert_int_equal(bed_finish(b, f), 0);
	assert_int_equal(bed_names(b, NULL), 1);
	spool_abandon(&f);
	spool_abandon(&none);
	bed_settle(b);
	assert_int_equal(bed_names(b, NULL), 0);
	assert_int_equal(spool_bytes(b->spool), 0);
}

struct leaver {
	struct spool_file *f;
	int calls;
};

static void leave(void *arg, int rc)
{
	struct leaver *l = arg;

	assert_int_equal(rc, 0);
	l->calls++;
	spool_abandon(&l->f);
}

/* Its other answers may be behind it in the same inbox. */
static void a_caller_may_go_from_within_an_answer(void **state)
{
	struct bed *b = *state;
	struct leaver l = { .f = create(b) };
	struct buf bytes;

	pthread_mutex_lock(&gate);
	for (int i = 0; i < 5; i++) {
		bytes = bed_bytes(0, 0, 100);
		assert_int_equal(spool_write(l.f, &bytes, b->inbox, leave, &l), 0);
	}
	assert_int_equal(spool_finish(l.f, b->inbox, leave, &l), 0);
	pthread_mutex_unlock(&gate);
	bed_settle(b);
	bed_settle(b);
	assert_int_equal(l.calls, 1);
	assert_int_equal(bed_names(b, NULL), 0);
	assert_int_equal(spool_bytes(b->spool), 0);
}

/* What was asked is answered before the spool goes; what was abandoned is not. */
static void closing_answers_everybody(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	struct buf out[20], bytes = bed_bytes(0, 0, 100);
	char name[64];
	int rc[20];

	assert_int_equal(bed_make(b, 0, 100, name), 0);
	for (int i = 0; i < 20; i++) {
		rc[i] = WAITS;
		buf_init(&out[i], NULL, 0);
		assert_int_equal(spool_read(b->spool, span_of(name), (uint64_t)i, &out[i], 50, b->inbox, bed_on_done, &rc[i]), 0);
	}
	assert_int_equal(spool_write(f, &bytes, b->inbox, no_answer, NULL), 0);
	spool_abandon(&f);
	spool_close(&b->spool);
	store_inbox_run(b->inbox);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(rc[i], 0);
		assert_int_equal(buf_len(&out[i]), 50);
		buf_fini(&out[i]);
	}
	assert_int_equal(bed_names(b, NULL), 1);
}

/* ---- disks that fail --------------------------------------------------------------------------------------------- */

/* The file is gone with its bytes, and no other file minds. */
static void is_gone_for_ever(struct bed *b, struct spool_file *f)
{
	struct buf out;
	char name[64];

	heals();
	buf_init(&out, NULL, 0);
	assert_int_equal(bed_names(b, NULL), 0);
	assert_int_equal(spool_bytes(b->spool), 0);
	assert_int_equal(bed_read(b, spool_name(f), 0, 10, &out), ERR_NOT_FOUND);
	assert_int_equal(bed_make(b, 9, 1000, name), 0);
	assert_int_equal(bed_check(b, span_of(name), 9, 1000, 1000), 0);
	spool_drop(b->spool, span_of(name));
	assert_false(there(b, spool_name(f), ""));
	spool_abandon(&f);
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 0);
}

static void a_write_that_fails(struct bed *b, enum call call, int error, int code)
{
	struct spool_file *f = create(b);
	struct buf bytes;
	int rc[4] = { WAITS, WAITS, WAITS, WAITS };

	pthread_mutex_lock(&gate);
	breaks(call, call == CALL_WRITE ? 1 : 0, error);
	for (int i = 0; i < 3; i++) {
		bytes = bed_bytes(0, spool_file_bytes(f), 5000);
		assert_int_equal(spool_write(f, &bytes, b->inbox, bed_on_done, &rc[i]), 0);
	}
	pthread_mutex_unlock(&gate);
	assert_int_equal(bed_wait(b, &rc[2]), code);
	assert_int_equal(rc[0], call == CALL_WRITE ? 0 : code);
	assert_int_equal(rc[1], code);
	heals();
	/* though the disk is well again */
	assert_int_equal(bed_write(b, f, 0, 10), code);
	assert_int_equal(bed_finish(b, f), code);
	is_gone_for_ever(b, f);
}

static void a_full_disk_is_a_limit(void **state)
{
	a_write_that_fails(*state, CALL_WRITE, ENOSPC, ERR_LIMIT);
	a_write_that_fails(*state, CALL_WRITE, EDQUOT, ERR_LIMIT);
	a_write_that_fails(*state, CALL_WRITE, EFBIG, ERR_LIMIT);
	a_write_that_fails(*state, CALL_MAKE, ENOSPC, ERR_LIMIT);
}

static void a_disk_that_fails_is_told(void **state)
{
	a_write_that_fails(*state, CALL_WRITE, EIO, ERR_IO);
	a_write_that_fails(*state, CALL_MAKE, EROFS, ERR_IO);
	a_write_that_fails(*state, CALL_MAKE, EMFILE, ERR_NOMEM);
}

/* The failure comes when finishing was asked already, with a write before it. */
static void a_finish_behind_a_failed_write_says_so(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	struct buf bytes = bed_bytes(0, 0, 100);
	int rc[2] = { WAITS, WAITS };

	pthread_mutex_lock(&gate);
	breaks(CALL_WRITE, 0, EIO);
	assert_int_equal(spool_write(f, &bytes, b->inbox, bed_on_done, &rc[0]), 0);
	assert_int_equal(spool_finish(f, b->inbox, bed_on_done, &rc[1]), 0);
	pthread_mutex_unlock(&gate);
	assert_int_equal(bed_wait(b, &rc[1]), ERR_IO);
	assert_int_equal(rc[0], ERR_IO);
	is_gone_for_ever(b, f);
}

static void a_failed_sync_makes_the_file_unusable_for_ever(void **state)
{
	struct bed *b = *state;
	const struct { enum call call; int error, code; } rows[] = {
		{ CALL_SYNC_FILE, EIO, ERR_IO }, { CALL_SYNC_FILE, ENOSPC, ERR_LIMIT }, { CALL_SYNC_FOLDER, EIO, ERR_IO },
		{ CALL_RENAME, EIO, ERR_IO }, { CALL_RENAME, ENOSPC, ERR_LIMIT } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spool_file *f = create(b);

		assert_int_equal(bed_write(b, f, 0, 5000), 0);
		breaks(rows[i].call, 0, rows[i].error);
		assert_int_equal(bed_finish(b, f), rows[i].code);
		is_gone_for_ever(b, f);
	}
}

/* It goes on to count, since it is on the disk, until a start can remove it. */
static void what_cannot_be_removed_counts(void **state)
{
	struct bed *b = *state;
	struct spool_file *f = create(b);
	char name[64];

	assert_int_equal(bed_write(b, f, 0, 5000), 0);
	assert_int_equal(bed_make(b, 0, 3000, name), 0);
	breaks(CALL_UNLINK, 0, EIO);
	spool_abandon(&f);
	spool_drop(b->spool, span_of(name));
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 8000);
	assert_int_equal(bed_names(b, NULL), 2);
	assert_int_equal(reopen(b, 300 * MIB), ERR_IO);
	assert_non_null(strstr(b->e.text, ".part"));
	heals();
	assert_int_equal(reopen(b, 300 * MIB), 0);
	assert_int_equal(spool_bytes(b->spool), 3000);
	assert_int_equal(bed_names(b, NULL), 1);
}

static void a_reading_that_fails_is_told_and_may_be_repeated(void **state)
{
	struct bed *b = *state;
	char name[64];
	struct buf out;

	buf_init(&out, NULL, 0);
	assert_int_equal(bed_make(b, 0, 3000, name), 0);
	breaks(CALL_READ, 0, EIO);
	assert_int_equal(bed_read(b, span_of(name), 0, 1000, &out), ERR_IO);
	breaks(CALL_OPEN, 0, EMFILE);
	assert_int_equal(bed_read(b, span_of(name), 0, 1000, &out), ERR_NOMEM);
	breaks(CALL_OPEN, 0, EIO);
	assert_int_equal(bed_read(b, span_of(name), 0, 1000, &out), ERR_IO);
	assert_null(out.mem);
	heals();
	assert_int_equal(bed_check(b, span_of(name), 0, 3000, 1000), 0);
}

static void a_folder_that_cannot_be_had_is_told(void **state)
{
	struct bed *b = *state;

	breaks(CALL_SYNC_FOLDER, 0, EIO);
	assert_int_equal(reopen(b, 1), ERR_IO);
	heals();
	assert_int_equal(rmdir(b->path), 0);
	assert_int_equal(symlink("/nonexistent", b->path), 0);
	assert_int_equal(bed_open(b, 1), ERR_IO);
	assert_non_null(strstr(b->e.text, b->path));
	assert_null(b->spool);
	assert_int_equal(unlink(b->path), 0);
}

/* ---- starts ------------------------------------------------------------------------------------------------------ */

static bool is_that_one(void *arg, struct span name)
{
	return span_eq(name, span_of(arg));
}

static bool is_none(void *arg, struct span name)
{
	(void)arg;
	(void)name;
	return false;
}

/* Tells the names of what is finished, and dies with one file written and one synced whose row is not there. */
static void write_and_die(struct bed *b, int pipe)
{
	struct spool_file *f, *g;
	char name[64] = "";

	if (bed_open(b, 300 * MIB) || bed_make(b, 1, 40000, name) || write(pipe, name, sizeof(name)) != sizeof(name))
		_exit(3);
	if (spool_create(b->spool, &f) || bed_write(b, f, 2, 100000) || spool_create(b->spool, &g) ||
	    bed_write(b, g, 3, 7000) || bed_finish(b, g))
		_exit(4);
	raise(SIGKILL);
}

static void a_kill_between_write_and_finish_leaves_what_a_start_sweeps(void **state)
{
	struct bed *b = *state;
	int pipes[2], status;
	char name[64], own[64];
	pid_t child;

	spool_close(&b->spool);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child)
		write_and_die(b, pipes[1]);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], name, sizeof(name)), sizeof(name));
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(bed_names(b, NULL), 3);
	assert_int_equal(bed_open(b, 300 * MIB), 0);
	assert_int_equal(bed_names(b, NULL), 2);
	assert_int_equal(spool_bytes(b->spool), 47000);
	/* what this start makes is named by no row yet, and is not swept */
	assert_int_equal(bed_make(b, 4, 500, own), 0);
	assert_int_equal(spool_sweep(b->spool, is_that_one, name, &b->e), 0);
	assert_int_equal(spool_bytes(b->spool), 40500);
	assert_int_equal(bed_check(b, span_of(name), 1, 40000, 4096), 0);
	assert_int_equal(bed_check(b, span_of(own), 4, 500, 4096), 0);
	assert_int_equal(bed_names(b, NULL), 2);
	assert_int_equal(spool_sweep(b->spool, is_none, NULL, &b->e), 0);
	assert_int_equal(spool_bytes(b->spool), 500);
}

static void what_stays_counts_against_the_limit_after_a_start(void **state)
{
	struct bed *b = *state;
	struct spool_file *f;
	char name[64];

	assert_int_equal(bed_make(b, 0, 900, name), 0);
	assert_int_equal(reopen(b, 1000), 0);
	assert_int_equal(spool_bytes(b->spool), 900);
	f = create(b);
	assert_int_equal(bed_write(b, f, 0, 101), ERR_LIMIT);
	assert_int_equal(bed_write(b, f, 0, 100), 0);
	spool_abandon(&f);
	assert_int_equal(reopen(b, 800), 0);
	assert_int_equal(spool_create(b->spool, &f), ERR_LIMIT);
	assert_int_equal(bed_check(b, span_of(name), 0, 900, 100), 0);
	spool_drop(b->spool, span_of(name));
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 0);
}

static void what_is_not_the_spools_is_left_alone(void **state)
{
	struct bed *b = *state;
	const char *names[] = { "README", "0123456789abcdef", "x.part", "0123456789abcdef-1.bak" };
	char path[300];

	for (size_t i = 0; i < 4; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%s", b->path, names[i]);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		assert_true(fd >= 0 && write(fd, "x", 1) == 1 && !close(fd));
	}
	assert_int_equal(reopen(b, 1000), 0);
	assert_int_equal(spool_sweep(b->spool, is_none, NULL, &b->e), 0);
	assert_int_equal(bed_names(b, NULL), 4);
	assert_int_equal(spool_bytes(b->spool), 0);
}

/* Somebody made it longer: what it gives back is what was taken. */
static void the_count_never_wraps(void **state)
{
	struct bed *b = *state;
	char name[64], path[300];

	assert_int_equal(bed_make(b, 0, 10, name), 0);
	snprintf(path, sizeof(path), "%s/%s", b->path, name);
	assert_int_equal(truncate(path, 100000), 0);
	spool_drop(b->spool, span_of(name));
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 0);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define EACH 12

struct worker {
	pthread_t thread;
	struct bed bed; /* the spool is shared, the inbox its own */
	unsigned index;
	int wrong;
	uint64_t taken;
	_Atomic(char *) last; /* its last finished file, for the others to read */
	char names[EACH][64];
};

static struct worker workers[THREADS];

static size_t size_of(unsigned seed)
{
	return 1000 + seed % 17 * 9973;
}

static int write_one(struct worker *w, unsigned i)
{
	unsigned seed = w->index * EACH + i;
	size_t n = size_of(seed), at = 0;
	struct spool_file *f;
	int rc = spool_create(w->bed.spool, &f);

	while (!rc && at < n) {
		size_t piece = n - at < 8192 ? n - at : 8192;

		rc = bed_write(&w->bed, f, seed, piece);
		at += piece;
	}
	if (!rc && i % 4 == 3) { /* gives up, with something still waiting */
		struct buf bytes = bed_bytes(seed, 0, 100);

		rc = spool_write(f, &bytes, w->bed.inbox, bed_on_done, NULL);
		spool_abandon(&f);
		return rc;
	}
	if (!rc)
		rc = bed_finish(&w->bed, f);
	if (rc) {
		spool_abandon(&f);
		return rc;
	}
	snprintf(w->names[i], sizeof(w->names[i]), "%.*s", SPAN_ARG(spool_name(f)));
	atomic_store(&w->last, w->names[i]);
	spool_keep(&f);
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg, *other = &workers[(w->index + 1) % THREADS];

	for (unsigned i = 0; i < EACH; i++) {
		char *name;

		w->wrong += write_one(w, i) != 0;
		name = atomic_load(&other->last);
		if (name) {
			unsigned seed = other->index * EACH + (unsigned)((name - other->names[0]) / 64);

			w->wrong += bed_check(&w->bed, span_of(name), seed, size_of(seed), 7000) != 0;
		}
	}
	return NULL;
}

static void many_write_and_read_at_once(void **state)
{
	struct bed *b = *state;
	uint64_t bytes = 0;
	int files = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].bed.spool = b->spool;
		workers[i].index = i;
		assert_int_equal(store_inbox_new(&workers[i].bed.inbox), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	bed_settle(b);
	for (unsigned i = 0; i < THREADS; i++) {
		store_inbox_run(workers[i].bed.inbox);
		store_inbox_free(&workers[i].bed.inbox);
		for (unsigned k = 0; k < EACH; k++)
			if (workers[i].names[k][0]) {
				files++;
				bytes += size_of(i * EACH + k);
			}
	}
	assert_int_equal(files, THREADS * EACH * 3 / 4);
	assert_int_equal(bed_names(b, NULL), files);
	assert_int_equal(spool_bytes(b->spool), bytes);
	assert_int_equal(reopen(b, 1), 0);
	assert_int_equal(spool_bytes(b->spool), bytes);
}

static void *fill(void *arg)
{
	struct worker *w = arg;
	struct spool_file *f;
	int rc = spool_create(w->bed.spool, &f);

	while (!rc) {
		struct buf bytes = bed_bytes(0, 0, 1);

		rc = spool_write(f, &bytes, w->bed.inbox, no_answer, NULL);
		buf_fini(&bytes);
		w->wrong += spool_bytes(w->bed.spool) > 20000;
	}
	w->wrong += rc != ERR_LIMIT;
	w->taken = spool_file_bytes(f);
	spool_abandon(&f);
	return NULL;
}

/* None of them is on the disk before all have been refused. */
static void writers_at_once_never_pass_the_limit(void **state)
{
	struct bed *b = *state;
	uint64_t taken = 0;

	assert_int_equal(reopen(b, 20000), 0);
	pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < THREADS; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].bed.spool = b->spool;
		assert_int_equal(store_inbox_new(&workers[i].bed.inbox), 0);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, fill, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
		taken += workers[i].taken;
	}
	pthread_mutex_unlock(&gate);
	assert_int_equal(taken, 20000);
	bed_settle(b);
	assert_int_equal(spool_bytes(b->spool), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		store_inbox_run(workers[i].bed.inbox);
		store_inbox_free(&workers[i].bed.inbox);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_body_comes_back),
		TEST(writes_are_in_order_whatever_waits),
		TEST(a_slow_disk_that_takes_a_little_at_a_time_gets_it_all),
		TEST(nothing_has_its_name_before_it_is_finished),
		TEST(a_piece_is_added_to_what_is_there),
		TEST(a_buffer_goes_back_to_its_pool),
		TEST(a_name_leads_nowhere_else),
		TEST(what_is_dropped_is_gone_after_what_was_asked_before),
		TEST(the_limit_is_for_all_files_and_from_the_handing_over_on),
		TEST(writers_at_once_never_pass_the_limit),
		TEST(what_waits_is_bounded),
		TEST(files_under_way_are_bounded),
		TEST(two_hundred_mebibytes_go_through_in_bounded_memory),
		TEST(abandoning_at_any_time_leaves_nothing),
		TEST(a_finished_file_can_be_abandoned_still),
		TEST(a_caller_may_go_from_within_an_answer),
		TEST(closing_answers_everybody),
		TEST(a_full_disk_is_a_limit),
		TEST(a_disk_that_fails_is_told),
		TEST(a_finish_behind_a_failed_write_says_so),
		TEST(a_failed_sync_makes_the_file_unusable_for_ever),
		TEST(what_cannot_be_removed_counts),
		TEST(a_reading_that_fails_is_told_and_may_be_repeated),
		TEST(a_folder_that_cannot_be_had_is_told),
		TEST(a_kill_between_write_and_finish_leaves_what_a_start_sweeps),
		TEST(what_stays_counts_against_the_limit_after_a_start),
		TEST(what_is_not_the_spools_is_left_alone),
		TEST(the_count_never_wraps),
		TEST(many_write_and_read_at_once),
	};

	log_set_level((enum log_level)-1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
