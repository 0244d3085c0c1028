/* Puts changes into a store again and again, the first time counting, then with the n-th write, sync, truncation, file
 * opened or allocation failing, for every n: alone, and with all after it.  What must hold:
 *
 *	what was reported durable is there when the store is opened again, whole
 *	what was not is whole or absent; what was refused for what it is, is absent
 *	names in memory show what was reported durable and nothing else
 *	nothing crashes, every batch is answered, and a healthy store opens the files again
 *
 *	tests/fault/store [STRIDE] tries every STRIDE-th allocation of an opening (there are thousands), and a tenth as
 *	far apart those of the changes.
 *
 * Files go through a VFS of this program that counts and fails; SQLite's allocations through its own hooks, ours through
 * the linker's (--wrap).  Syncs are counted and not done: nothing here cuts the power. */
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "tests/unit/replication/bed.h"

enum fault { FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE, FAULT_OPEN, FAULT_FULL, FAULT_MEMORY, FAULTS };
static const char *const names[] = { "write", "sync", "truncate", "open", "disk full", "allocation" };

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
	return atomic_load(&fail_at) && (n == atomic_load(&fail_at) || (all_after && n > atomic_load(&fail_at)));
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : __real_calloc(count, bytes);
}

char *__wrap_strdup(const char *s)
{
	return refuses(FAULT_MEMORY) ? NULL : __real_strdup(s);
}

static sqlite3_mem_methods memory;

static void *mem_malloc(int bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : memory.xMalloc(bytes);
}

static void *mem_realloc(void *p, int bytes)
{
	return refuses(FAULT_MEMORY) ? NULL : memory.xRealloc(p, bytes);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

struct file {
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_file *real(sqlite3_file *f)
{
	return ((struct file *)f)->real;
}

#define PASS(name, ...) return real(f)->pMethods->name(real(f), ##__VA_ARGS__)
static int f_close(sqlite3_file *f)
{
	int rc = real(f)->pMethods->xClose(real(f));

	free(real(f));
	return rc;
}

static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	PASS(xRead, p, n, at);
}

/* Half of it is written before it fails. */
static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	bool full = refuses(FAULT_FULL);

	if (full || refuses(FAULT_WRITE)) {
		(void)!real(f)->pMethods->xWrite(real(f), p, n / 2, at);
		return full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	}
	PASS(xWrite, p, n, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	if (refuses(FAULT_TRUNCATE))
		return SQLITE_IOERR_TRUNCATE;
	PASS(xTruncate, size);
}

static int f_sync(sqlite3_file *f, int flags)
{
	(void)f;
	(void)flags;
	return refuses(FAULT_SYNC) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size) { PASS(xFileSize, size); }
static int f_lock(sqlite3_file *f, int lock) { PASS(xLock, lock); }
static int f_unlock(sqlite3_file *f, int lock) { PASS(xUnlock, lock); }
static int f_check(sqlite3_file *f, int *out) { PASS(xCheckReservedLock, out); }
static int f_control(sqlite3_file *f, int op, void *arg) { PASS(xFileControl, op, arg); }
static int f_sector(sqlite3_file *f) { PASS(xSectorSize); }
static int f_device(sqlite3_file *f) { PASS(xDeviceCharacteristics); }
static int f_shm_map(sqlite3_file *f, int page, int n, int extend, void volatile **p) { PASS(xShmMap, page, n, extend, p); }
static int f_shm_lock(sqlite3_file *f, int at, int n, int flags) { PASS(xShmLock, at, n, flags); }
static void f_shm_barrier(sqlite3_file *f) { real(f)->pMethods->xShmBarrier(real(f)); }
static int f_shm_unmap(sqlite3_file *f, int del) { PASS(xShmUnmap, del); }

static const sqlite3_io_methods methods = { 2, f_close, f_read, f_write, f_truncate, f_sync, f_size, f_lock, f_unlock,
	f_check, f_control, f_sector, f_device, f_shm_map, f_shm_lock, f_shm_barrier, f_shm_unmap, NULL, NULL };

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *flags_r)
{
	sqlite3_vfs *system = vfs->pAppData;
	struct file *file = (struct file *)f;
	int rc;

	file->base.pMethods = NULL;
	if (refuses(FAULT_OPEN))
		return SQLITE_CANTOPEN;
	file->real = __real_calloc(1, (size_t)system->szOsFile);
	if (!file->real)
		return SQLITE_NOMEM;
	rc = system->xOpen(system, name, file->real, flags, flags_r);
	if (rc != SQLITE_OK)
		free(file->real);
	else
		file->base.pMethods = &methods;
	return rc;
}

static void set_up_sqlite(void)
{
	static sqlite3_vfs vfs;
	sqlite3_mem_methods own;

	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
	own = memory;
	own.xMalloc = mem_malloc;
	own.xRealloc = mem_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &own);
	sqlite3_initialize();
	vfs = *sqlite3_vfs_find(NULL);
	vfs.pAppData = sqlite3_vfs_find(NULL);
	vfs.zName = "faulty";
	vfs.szOsFile = sizeof(struct file);
	vfs.xOpen = vfs_open;
	vfs.pNext = NULL;
	sqlite3_vfs_register(&vfs, 0);
}

/* ---- what is put in ------------------------------------------------------------------------------------------------ */

#define BATCHES 12
#define GROUP 4    /* of these are under way at once */
#define BODY 6000  /* a page and a half: a batch is several writes */

struct play {
	struct bed bed;
	uint64_t incarnation; /* of the operations */
	int rc[BATCHES];      /* BED_WAITS: not submitted */
};

static void texts(int i, char meta[64], char local[64])
{
	snprintf(meta, 64, "018f3a5c-0000-8000-8000-%012d", i);
	snprintf(local, 64, "7d1c6a52-3b0e-4a63-9f10-%012d", i);
}

/* Each third one is refused for what it is: its delivery is of no operation. */
static bool is_bad(int i)
{
	return i % 3 == 2;
}

static void submit(struct play *p, int i)
{
	static const char body[BODY] = "x";
	struct store_batch *batch = store_batch_new();
	struct store_operation op;
	struct store_delivery d = { .target = SPAN("dc2") };
	char meta[64], local[64];
	int rc;

	if (!batch) {
		p->rc[i] = ERR_NOMEM;
		return;
	}
	texts(i, meta, local);
	op = bed_operation(&p->bed, meta, (uint64_t)i + 1);
	op.id.incarnation = p->incarnation;
	op.body = span_make(body, sizeof(body));
	d.op = op.id;
	d.op.number += is_bad(i) ? 1000 : 0;
	store_put_operation(batch, &op);
	bed_put_mapping(batch, meta, local);
	store_put_delivery(batch, &d);
	rc = store_submit(p->bed.store, &batch, p->bed.inbox, bed_on_done, &p->rc[i]);
	if (rc)
		p->rc[i] = rc;
}

static void play(struct play *p)
{
	for (int i = 0; i < BATCHES; i += GROUP) {
		for (int k = i; k < i + GROUP; k++)
			submit(p, k);
		for (int k = i; k < i + GROUP; k++)
			if (p->rc[k] == BED_WAITS)
				bed_wait(&p->bed, &p->rc[k]);
	}
}

/* ---- what must hold ------------------------------------------------------------------------------------------------- */

struct looked {
	struct play *play;
	int i;
	bool op, delivery, other;
};

static int see_delivery(void *arg, int64_t cursor, const struct store_delivery *d, const struct store_operation *op)
{
	struct looked *l = arg;

	(void)cursor;
	(void)d;
	l->delivery |= op->id.number == (uint64_t)l->i + 1;
	return 0;
}

static int see_replica(void *arg, const struct store_replica *r)
{
	((struct looked *)arg)->other |= span_eq(r->site, SPAN("dc2"));
	return 0;
}

static int look(struct store_reader *r, void *arg)
{
	struct looked *l = arg;
	struct op_id id = { "dc1", l->play->incarnation, (uint64_t)l->i + 1 };
	struct store_operation op;
	struct arena arena;
	char meta[64], local[64];
	struct store_key_of key;
	int rc;

	texts(l->i, meta, local);
	key = bed_key(meta);
	arena_init(&arena, NULL, 0, 0);
	rc = store_read_operation(r, &id, &arena, &op);
	l->op = !rc && op.body.n == BODY;
	arena_fini(&arena);
	if (rc && rc != ERR_NOT_FOUND)
		return rc;
	rc = store_read_queue(r, SPAN("dc2"), 0, 1000, see_delivery, l);
	return rc ? rc : store_read_replicas(r, &key, see_replica, l);
}

static void fault_failed(int i, const char *what)
{
	failures++;
	printf("%s %lu%s, step %d: %s\n", names[atomic_load(&kind)], atomic_load(&fail_at), all_after ? " and all after" : "",
	       i, what);
}

static bool visible(struct play *p, int i)
{
	char meta[64], local[64];

	texts(i, meta, local);
	return bed_has(&p->bed, meta, local);
}

static void judge(struct play *p, int i)
{
	struct looked l = { .play = p, .i = i };
	bool name = visible(p, i), all, none;

	if (bed_read(&p->bed, look, &l)) {
		fault_failed(i, "cannot be read");
		return;
	}
	all = name && l.op && l.delivery && l.other;
	none = !name && !l.op && !l.delivery && !l.other;
	if (!all && !none)
		fault_failed(i, "half there");
	if (p->rc[i] == 0 && !all)
		fault_failed(i, "reported durable, and lost");
	if ((is_bad(i) || p->rc[i] == ERR_NOT_FOUND || p->rc[i] == ERR_CLOSED) && !none)
		fault_failed(i, "refused, and there");
}

static void run_once(enum fault f, unsigned long n, bool in_opening)
{
	struct play p = { .incarnation = 77 };
	int rc;

	runs++;
	bed_folder(&p.bed);
	for (int i = 0; i < BATCHES; i++)
		p.rc[i] = BED_WAITS;
	atomic_store(&kind, (int)f);
	atomic_store(&fail_at, n);
	atomic_store(&made, 0);
	atomic_store(&armed, in_opening);
	rc = bed_open_vfs(&p.bed, "faulty");
	atomic_store(&armed, !in_opening);
	if (!rc)
		play(&p);
	for (int i = 0; i < BATCHES && !rc; i++)
		if (visible(&p, i) != (p.rc[i] == 0))
			fault_failed(i, "names in memory tell another tale");
	store_close(&p.bed.store);
	atomic_store(&armed, false);
	if (bed_open_vfs(&p.bed, "faulty")) {
		fault_failed(-1, p.bed.e.text);
	} else {
		for (int i = 0; i < BATCHES; i++)
			judge(&p, i);
	}
	bed_fini(&p.bed);
}

static void run_all(enum fault f, bool in_opening, unsigned long stride)
{
	unsigned long count, before = runs;

	run_once(f, 0, in_opening);
	count = atomic_load(&made);
	for (unsigned long n = 1; n <= count; n += stride)
		for (int after = 0; after < 2; after++) {
			all_after = after;
			run_once(f, n, in_opening);
		}
	all_after = false;
	printf("%s%s: %lu places, %lu runs\n", names[f], in_opening ? " while opening" : "", count, runs - before);
}

int main(int argc, char **argv)
{
	unsigned long stride = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up_sqlite();
	log_set_level((enum log_level)-1);
	for (int f = 0; f < FAULTS; f++) {
		run_all((enum fault)f, false, f == FAULT_MEMORY ? (stride + 9) / 10 : 1);
		run_all((enum fault)f, true, f == FAULT_MEMORY ? stride : 1);
	}
	printf("%lu passed, %lu failed, 0 skipped\n", runs - (failures < runs ? failures : runs), failures);
	return failures != 0;
}
