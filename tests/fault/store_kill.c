/* A child commits groups and tells through a pipe what was reported durable, until it is killed (SIGKILL), a few
 * milliseconds later each time.  Every batch it was told of must be there, every other whole or absent; the same files
 * go on to the next round. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/unit/replication/bed.h"

#define ROUNDS 30
#define AT_ONCE 16
#define MOST 4096 /* batches of a round; more are not begun */

static void texts(int round, int i, char meta[64], char local[64])
{
	snprintf(meta, 64, "018f3a5c-0000-8000-8000-%04d%08d", round, i);
	snprintf(local, 64, "7d1c6a52-3b0e-4a63-9f10-%04d%08d", round, i);
}

struct sent {
	int pipe, i, *under_way;
};

static void on_done(void *arg, int rc)
{
	struct sent *s = arg;

	--*s->under_way;
	if (!rc && write(s->pipe, &s->i, sizeof(s->i)) != sizeof(s->i))
		_exit(3);
}

static void commit_until_killed(struct bed *b, int round, int pipe)
{
	static struct sent sent[MOST];
	int under_way = 0, rc = BED_WAITS;

	if (bed_open(b))
		_exit(4);
	for (int i = 0; i < MOST; i++) {
		struct store_batch *batch = store_batch_new();
		struct store_operation op;
		char meta[64], local[64];

		texts(round, i, meta, local);
		op = bed_operation(b, meta, (uint64_t)i + 1);
		op.id.incarnation = (uint64_t)round + 1;
		store_put_operation(batch, &op);
		bed_put_mapping(batch, meta, local);
		sent[i] = (struct sent){ .pipe = pipe, .i = i, .under_way = &under_way };
		under_way++;
		if (store_submit(b->store, &batch, b->inbox, on_done, &sent[i]))
			_exit(5);
		while (under_way >= AT_ONCE) {
			struct pollfd p = { .fd = store_inbox_fd(b->inbox), .events = POLLIN };

			poll(&p, 1, -1);
			store_inbox_run(b->inbox);
		}
	}
	bed_wait(b, &rc); /* for the end */
}

struct looked {
	struct op_id id;
	bool op;
};

static int look(struct store_reader *r, void *arg)
{
	struct looked *l = arg;
	struct store_operation op;
	struct arena arena;
	int rc;

	arena_init(&arena, NULL, 0, 0);
	rc = store_read_operation(r, &l->id, &arena, &op);
	arena_fini(&arena);
	l->op = !rc;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int judge(struct bed *b, int round, const bool durable[MOST], int last)
{
	int wrong = 0;

	for (int i = 0; i <= last + AT_ONCE && i < MOST; i++) {
		struct looked l = { .id = { "dc1", (uint64_t)round + 1, (uint64_t)i + 1 } };
		char meta[64], local[64];
		bool name;

		texts(round, i, meta, local);
		name = bed_has(b, meta, local);
		if (bed_read(b, look, &l) || l.op != name || (durable[i] && !name)) {
			printf("round %d, batch %d: %s\n", round, i, l.op == name ? "reported durable, and lost" : "half there");
			wrong++;
		}
	}
	return wrong;
}

static int run(struct bed *b, int round)
{
	static bool durable[MOST];
	int ends[2], i, last = -1, told = 0, wrong, status;
	pid_t child;

	memset(durable, 0, sizeof(durable));
	if (pipe(ends) || (child = fork()) < 0)
		abort();
	if (!child) {
		close(ends[0]);
		commit_until_killed(b, round, ends[1]);
		_exit(6);
	}
	close(ends[1]);
	/* at least one answer, then some time more */
	while (told <= round * 7 && read(ends[0], &i, sizeof(i)) == sizeof(i)) {
		durable[i] = true;
		last = i > last ? i : last;
		told++;
	}
	usleep((useconds_t)(round * 700));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	for (; read(ends[0], &i, sizeof(i)) == sizeof(i); told++) {
		durable[i] = true;
		last = i > last ? i : last;
	}
	close(ends[0]);
	if (!WIFSIGNALED(status) || bed_open(b)) {
		printf("round %d: status %x: %s\n", round, (unsigned)status, b->e.text);
		return 1;
	}
	wrong = judge(b, round, durable, last);
	store_close(&b->store);
	if (!told)
		printf("round %d: nothing was committed\n", round);
	return wrong || !told;
}

int main(void)
{
	struct bed bed;
	int failed = 0;

	bed_folder(&bed);
	for (int round = 0; round < ROUNDS; round++)
		failed += run(&bed, round);
	bed_fini(&bed);
	printf("%d passed, %d failed, 0 skipped\n", ROUNDS - failed, failed);
	return failed != 0;
}
