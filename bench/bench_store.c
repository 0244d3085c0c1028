/* The store with many mappings: start, look-ups, resident memory; commits of one, tens, hundreds.
 *
 *	bench/bench_store [MAPPINGS] [FOLDER]
 *
 * The folder's disk matters for the commits only. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "replication/store.h"

#define LOOKUPS 200000
#define IN_BATCH 1000

static struct store_inbox *inbox;
static uint64_t seed = 88172645463325252u;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_store: %s: %s\n", what, why);
	exit(1);
}

/* Local ids are random, meta-identifiers begin with their time; both are known again by their number. */
static void uuid_of(char out[37], char kind, uint64_t i)
{
	uint64_t h = i * 0x9e3779b97f4a7c15u, first = kind == 'a' ? 0x19a00000000u + i / 50 : h >> 16;

	snprintf(out, 37, "%08x-%04x-8%03x-8%03x-%c%011llx", (unsigned)(first >> 16), (unsigned)(first & 0xffff),
	         (unsigned)(h & 0xfff), (unsigned)(i & 0xfff), kind, (unsigned long long)i & 0xfffffffffffu);
}

static double resident_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long unused, pages = 0;

	if (!f || fscanf(f, "%ld %ld", &unused, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void on_done(void *arg, int rc)
{
	if (rc)
		die("a batch", err_text(rc));
	--*(int *)arg;
}

static void wait_below(int *waiting, int most)
{
	struct pollfd p = { .fd = store_inbox_fd(inbox), .events = POLLIN };

	while (*waiting > most) {
		poll(&p, 1, -1);
		store_inbox_run(inbox);
	}
}

static void submit(struct store *s, struct store_batch *b, int *waiting)
{
	++*waiting;
	if (store_submit(s, &b, inbox, on_done, waiting))
		die("submit", "refused");
}

static void add_mapping(struct store_batch *b, uint64_t i)
{
	char meta[37], local[37];
	struct store_resource r = { .class = CLASS_EVENTUAL, .sites = SPAN("dc1\ndc2\ndc3"), .vector = SPAN("dc1 1 1") };
	struct store_replica own = { .site = SPAN("dc1") };

	uuid_of(meta, 'a', i);
	uuid_of(local, 'b', i);
	own.key = r.key = (struct store_key_of){ SPAN("image"), SPAN("/v2/images"), span_of(meta) };
	own.local = span_of(local);
	store_put_resource(b, &r);
	store_put_replica(b, &own);
}

static void fill(struct store *s, uint64_t count)
{
	int64_t start = clock_mono_us();
	int waiting = 0;

	for (uint64_t i = 0; i < count;) {
		struct store_batch *b = store_batch_new();

		for (uint64_t n = 0; n < IN_BATCH && i < count; n++, i++)
			add_mapping(b, i);
		submit(s, b, &waiting);
		wait_below(&waiting, 20);
	}
	wait_below(&waiting, 0);
	printf("fill: %.2f s, %.2f us a mapping\n", (double)(clock_mono_us() - start) / 1e6,
	       (double)(clock_mono_us() - start) / (double)count);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum look { BY_META, BY_LOCAL, UNKNOWN };

static void look_up(struct names *n, uint64_t count, enum look look, const char *what)
{
	static uint32_t took[LOOKUPS];
	struct names_where any = { .kind = 0 };
	struct name v;
	char id[37];

	for (size_t i = 0; i < LOOKUPS; i++) {
		int64_t start;
		bool found;

		uuid_of(id, look == BY_META ? 'a' : look == BY_LOCAL ? 'b' : 'c', random_number() % count);
		start = nanoseconds();
		found = look == BY_META ? names_by_meta(n, &any, span_of(id), &v) : names_by_local(n, &any, span_of(id), &v);
		took[i] = (uint32_t)(nanoseconds() - start);
		if (found != (look != UNKNOWN))
			die(what, "wrong");
	}
	qsort(took, LOOKUPS, sizeof(took[0]), compare);
	printf("look-up %s: median %.2f us, p99 %.2f us\n", what, took[LOOKUPS / 2] / 1e3, took[LOOKUPS / 100 * 99] / 1e3);
}

/* Operations, as an eventual create makes them, so many at once. */
static void commits(struct store *s, int at_once, int total)
{
	static uint64_t number;
	int64_t start = clock_mono_us();
	int waiting = 0;

	for (int i = 0; i < total; i++) {
		struct store_batch *b = store_batch_new();
		struct store_operation op = { .id = { "dc1", store_incarnation(s), ++number }, .kind = OPERATION_CREATE,
			.key = { SPAN("image"), SPAN("/v2/images"), SPAN("018f3a5c-0000-8000-8000-000000000001") },
			.clock = number, .method = SPAN("POST"), .path = SPAN("/v2/images"), .body = SPAN("{\"name\":\"a\"}") };
		struct store_delivery d = { .op = op.id, .target = SPAN("dc2") };

		store_put_operation(b, &op);
		store_put_delivery(b, &d);
		submit(s, b, &waiting);
		if (waiting == at_once)
			wait_below(&waiting, 0);
	}
	wait_below(&waiting, 0);
	printf("commits, %d at once: %.1f us an operation\n", at_once, (double)(clock_mono_us() - start) / total);
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	char folder[256];
	struct store_options options = { .folder = folder, .site = "dc1" };
	struct store *s;
	struct err e;
	int64_t start;
	double before;
	clock_t cpu;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(folder, sizeof(folder), "%s/benchstoreXXXXXX", argc > 2 ? argv[2] : "/tmp");
	if (!count || !mkdtemp(folder) || store_inbox_new(&inbox))
		die(folder, "cannot be made");
	if (store_open(&s, &options, &e))
		die("open", e.text);
	fill(s, count);
	store_close(&s);
	before = resident_mib();
	start = clock_mono_us();
	cpu = clock();
	if (store_open(&s, &options, &e))
		die("open", e.text);
	printf("start with %llu mappings: %.2f s, of a processor %.2f s; names %.1f MiB, resident %.1f MiB (%.1f before)\n",
	       (unsigned long long)count, (double)(clock_mono_us() - start) / 1e6,
	       (double)(clock() - cpu) / CLOCKS_PER_SEC, (double)names_bytes(store_names(s)) / 1048576, resident_mib(), before);
	look_up(store_names(s), count, BY_META, "by meta-identifier");
	look_up(store_names(s), count, BY_LOCAL, "by local id");
	look_up(store_names(s), count, UNKNOWN, "of an unknown id");
	commits(s, 1, 300);
	commits(s, 10, 2000);
	commits(s, 100, 20000);
	store_close(&s);
	store_inbox_free(&inbox);
	snprintf(folder + strlen(folder), sizeof(folder) - strlen(folder), "/store.db");
	unlink(folder);
	*strrchr(folder, '/') = '\0';
	return rmdir(folder) ? 1 : 0;
}
