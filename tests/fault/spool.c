/* Files are written, finished, read and dropped in a spool again and again, the first time counting, then with the n-th
 * write, sync, rename, removal, opening, reading or allocation failing, for every n: alone, and with all after it.  What
 * must hold:
 *
 *	every question that was taken is answered once
 *	what was answered as finished is there when the spool is opened again, whole; what was not, is not under its name,
 *	or a sweep takes it
 *	the count is that of the files that are there, as soon as the disk is well
 *	nothing crashes, and a healthy start opens the folder again
 *
 * Calls fail through the linker (--wrap).  Syncs are counted and not done: nothing here cuts the power. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#include "base/log.h"
#include "tests/unit/replication/spool_bed.h"
#include "tests/unit/replication/spool_calls.h"

enum fault { FAULT_WRITE, FAULT_FULL, FAULT_SYNC, FAULT_RENAME, FAULT_UNLINK, FAULT_OPEN, FAULT_READ, FAULT_MEMORY, FAULTS };
static const char *const fault_names[] = { "write", "disk full", "sync", "rename", "removal", "open", "read",
	"allocation" };

static atomic_bool armed;
static atomic_ulong made, fail_at;
static atomic_int kind;
static bool all_after;
static unsigned long runs, failures;

static bool refuses(enum fault f)
{
	unsigned long n;

	if (!atomic_load(&armed) || atomic_load(&kind) != (int)f)
		return false;
	n = atomic_fetch_add(&made, 1) + 1;
	if (!atomic_load(&fail_at) || !(n == atomic_load(&fail_at) || (all_after && n > atomic_load(&fail_at))))
		return false;
	errno = f == FAULT_FULL ? ENOSPC : f == FAULT_MEMORY ? ENOMEM : EIO;
	return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);

/* Half of it is written before it fails. */
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (refuses(FAULT_WRITE) || refuses(FAULT_FULL)) {
		int error = errno;

		(void)!__real_pwrite(fd, p, n / 2, at);
		errno = error;
		return -1;
	}
	return __real_pwrite(fd, p, n, at);
}

ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at)
{
	return refuses(FAULT_READ) ? -1 : __real_pread(fd, p, n, at);
}

int __wrap_fsync(int fd)
{
	(void)fd;
	return refuses(FAULT_SYNC) ? -1 : 0;
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
	return refuses(FAULT_RENAME) ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
	return refuses(FAULT_UNLINK) ? -1 : __real_unlinkat(fd, name, flags);
}

int __wrap_openat(int fd, const char *name, int flags, mode_t mode)
{
	return refuses(FAULT_OPEN) ? -1 : __real_openat(fd, name, flags, mode);
}

void *__wrap_malloc(size_t bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : __real_calloc(count, bytes);
}

/* ---- what is asked -------------------------------------------------------------------------------------------------- */

#define FILES 6
#define PIECES 3
#define PIECE 3000
#define BYTES (PIECES * PIECE)

struct asked {
	int taken, answers, rc;
};

struct play {
	struct bed bed;
	char names[FILES][64];
	bool finished[FILES], dropped[FILES];
	struct asked asked[FILES * (PIECES + 2)];
	struct buf out[FILES];
	unsigned count;
};

static void on_answer(void *arg, int rc)
{
	struct asked *a = arg;

	a->answers++;
	a->rc = rc;
}

static struct asked *next_asked(struct play *p)
{
	return &p->asked[p->count++];
}

/* The n-th file; the answers are waited for by reading, since any of them may be missing. */
static struct spool_file *write_file(struct play *p, unsigned n, struct asked **finish_r)
{
	struct spool_file *f;

	if (spool_create(p->bed.spool, &f))
		return NULL;
	snprintf(p->names[n], sizeof(p->names[n]), "%.*s", SPAN_ARG(spool_name(f)));
	for (unsigned i = 0; i < PIECES; i++) {
		struct asked *a = next_asked(p);
		struct buf bytes;

		buf_init(&bytes, NULL, 0);
		for (unsigned k = 0; k < PIECE; k++)
			buf_add_char(&bytes, bed_byte(n, i * PIECE + k));
		a->taken = !spool_write(f, &bytes, p->bed.inbox, on_answer, a);
		buf_fini(&bytes);
		if (!a->taken)
			return f;
	}
	*finish_r = next_asked(p);
	(*finish_r)->taken = !spool_finish(f, p->bed.inbox, on_answer, *finish_r);
	return f;
}

static void drain(struct play *p)
{
	struct pollfd fd = { .fd = store_inbox_fd(p->bed.inbox), .events = POLLIN };
	unsigned waits;

	do {
		waits = 0;
		for (unsigned i = 0; i < p->count; i++)
			waits += p->asked[i].taken && !p->asked[i].answers;
		if (waits && poll(&fd, 1, 10000) <= 0)
			return;
		store_inbox_run(p->bed.inbox);
	} while (waits);
}

static void play(struct play *p)
{
	struct spool_file *files[FILES] = { NULL };
	struct asked *finish[FILES] = { NULL };

	for (unsigned n = 0; n < FILES; n++)
		files[n] = write_file(p, n, &finish[n]);
	drain(p);
	for (unsigned n = 0; n < FILES; n++) {
		p->finished[n] = finish[n] && finish[n]->taken && finish[n]->answers && !finish[n]->rc;
		if (!p->finished[n] || n % 3 == 2) { /* the row did not come to be */
			p->finished[n] = false;
			spool_abandon(&files[n]);
			continue;
		}
		spool_keep(&files[n]);
	}
	for (unsigned n = 0; n < FILES; n++) {
		struct asked *a = next_asked(p);

		a->taken = !spool_read(p->bed.spool, span_of(p->names[n]), 0, &p->out[n], 2 * BYTES, p->bed.inbox, on_answer, a);
		if (n % 3 == 1) {
			p->dropped[n] = true;
			spool_drop(p->bed.spool, span_of(p->names[n]));
		}
	}
	drain(p);
}

/* ---- what must hold --------------------------------------------------------------------------------------------------- */

static void fault_failed(int n, const char *what)
{
	failures++;
	printf("%s %lu%s, %d: %s\n", fault_names[atomic_load(&kind)], atomic_load(&fail_at),
	       all_after ? " and all after" : "", n, what);
}

static bool is_of_a_row(void *arg, struct span name)
{
	const struct play *p = arg;

	for (unsigned n = 0; n < FILES; n++)
		if (p->finished[n] && !p->dropped[n] && span_eq(name, span_of(p->names[n])))
			return true;
	return false;
}

static void judge_answers(struct play *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->asked[i].answers != (p->asked[i].taken ? 1 : 0))
			fault_failed((int)i, "not answered, or not once");
	for (unsigned n = 0; n < FILES; n++) {
		if (buf_len(&p->out[n]) && buf_len(&p->out[n]) != BYTES)
			fault_failed((int)n, "half of it was read");
		for (size_t i = 0; i < buf_len(&p->out[n]); i++)
			if (p->out[n].mem[p->out[n].rd + i] != bed_byte(n, i)) {
				fault_failed((int)n, "something else was read");
				break;
			}
		buf_fini(&p->out[n]);
	}
}

static void judge_files(struct play *p)
{
	uint64_t bytes = 0;

	if (bed_open(&p->bed, 1 << 20) || spool_sweep(p->bed.spool, is_of_a_row, p, &p->bed.e)) {
		fault_failed(-1, p->bed.e.text);
		return;
	}
	for (unsigned n = 0; n < FILES; n++) {
		bool row = p->finished[n] && !p->dropped[n];
		int rc = p->names[n][0] ? bed_check(&p->bed, span_of(p->names[n]), n, BYTES, 2 * BYTES) : ERR_NOT_FOUND;

		bytes += row ? BYTES : 0;
		if (row && rc)
			fault_failed((int)n, "finished, and lost");
		if (!row && rc != ERR_NOT_FOUND)
			fault_failed((int)n, "not finished or dropped, and there");
	}
	if (spool_bytes(p->bed.spool) != bytes)
		fault_failed(-1, "counted wrong after a start");
}

static uint64_t bytes_there;

static void add_bytes(const char *path)
{
	struct stat st;

	if (!stat(path, &st))
		bytes_there += (uint64_t)st.st_size;
}

static void run_once(enum fault f, unsigned long n, bool in_opening)
{
	struct play *p = __real_calloc(1, sizeof(*p));

	if (!p)
		abort();
	runs++;
	bed_folder(&p->bed);
	atomic_store(&kind, (int)f);
	atomic_store(&fail_at, n);
	atomic_store(&made, 0);
	atomic_store(&armed, in_opening);
	if (!bed_open(&p->bed, 1 << 20)) {
		atomic_store(&armed, !in_opening);
		play(p);
		atomic_store(&armed, false);
		judge_answers(p);
		bed_settle(&p->bed);
		bytes_there = 0;
		bed_names(&p->bed, add_bytes);
		/* what cannot be removed may have a piece that was cut behind what counts */
		if (spool_bytes(p->bed.spool) > bytes_there || spool_bytes(p->bed.spool) + BYTES < bytes_there)
			fault_failed(-1, "counted wrong");
		if (spool_bytes(p->bed.spool) != bytes_there && f != FAULT_UNLINK)
			fault_failed(-1, "counted wrong, though all could be removed");
	} else if (!in_opening) {
		fault_failed(-1, "not opened");
	}
	atomic_store(&armed, false);
	spool_close(&p->bed.spool);
	judge_files(p);
	bed_fini(&p->bed);
	free(p);
}

static void run_all(enum fault f, bool in_opening)
{
	unsigned long count, before = runs;

	all_after = false;
	run_once(f, 0, in_opening);
	count = atomic_load(&made);
	for (unsigned long n = 1; n <= count; n++)
		for (int after = 0; after < 2; after++) {
			all_after = after;
			run_once(f, n, in_opening);
		}
	printf("%s%s: %lu places, %lu runs\n", fault_names[f], in_opening ? " while opening" : "", count, runs - before);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level((enum log_level)-1);
	for (int f = 0; f < FAULTS; f++)
		for (int in_opening = 0; in_opening < 2; in_opening++)
			run_all((enum fault)f, in_opening);
	printf("%lu passed, %lu failed, 0 skipped\n", runs - (failures < runs ? failures : runs), failures);
	return failures != 0;
}
