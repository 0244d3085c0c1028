/* replication/seal: what was sealed comes back for its own context alone; a touched byte anywhere, another context or
 * key and it does not; the key file is made for its owner alone and refused as anything else, with a way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replication/seal.h"

#define SECRET SPAN("Authorization: Bearer gAAAAABl\r\nX-Auth-Token: 0\r\n")
#define CONTEXT SPAN("dc1/00000000000000a1/12")

struct fixture {
	char folder[128], key[160], beside[170];
	struct seal *seal;
	struct err e;
};

static int open_again(struct fixture *f)
{
	seal_close(&f->seal);
	f->e.text[0] = '\0';
	return seal_open(f->folder, &f->seal, &f->e);
}

static int set_up(void **state)
{
	static struct fixture f;
	const char *tmp = getenv("TMPDIR");

	f = (struct fixture){ .seal = NULL };
	snprintf(f.folder, sizeof(f.folder), "%s/sealXXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(f.folder))
		return -1;
	snprintf(f.key, sizeof(f.key), "%s/seal.key", f.folder);
	snprintf(f.beside, sizeof(f.beside), "%s.new", f.key);
	*state = &f;
	return open_again(&f);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	seal_close(&f->seal);
	unlink(f->key);
	unlink(f->beside);
	return rmdir(f->folder);
}

static struct buf sealed_of(struct fixture *f, struct span plain, struct span context)
{
	struct buf b;

	buf_init(&b, NULL, 0);
	assert_int_equal(seal_add(f->seal, plain, context, &b), 0);
	assert_int_equal(buf_len(&b), plain.n + SEAL_OVERHEAD);
	return b;
}

/* What unsealing says; the content, when it says 0, has to be plain, else nothing. */
static int unseal(struct fixture *f, struct span sealed, struct span context, struct span plain)
{
	struct buf out;
	int rc;

	buf_init(&out, NULL, 0);
	buf_add_z(&out, "before ");
	rc = seal_remove(f->seal, sealed, context, &out);
	assert_true(span_starts(buf_span(&out), SPAN("before ")));
	assert_true(span_eq(span_from(buf_span(&out), 7), rc ? SPAN("") : plain));
	seal_wipe(&out);
	assert_null(out.mem);
	return rc;
}

static void a_secret_comes_back(void **state)
{
	struct fixture *f = *state;
	static char big[300000];
	const struct span plains[] = { SECRET, SPAN(""), SPAN("x"), SPAN("a\0b"), { big, sizeof(big) } };

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7);
	for (size_t i = 0; i < sizeof(plains) / sizeof(plains[0]); i++) {
		struct buf b = sealed_of(f, plains[i], CONTEXT), bare = sealed_of(f, plains[i], SPAN(""));

		assert_int_equal(unseal(f, buf_span(&b), CONTEXT, plains[i]), 0);
		assert_int_equal(unseal(f, buf_span(&bare), SPAN(""), plains[i]), 0);
		assert_int_equal(open_again(f), 0);
		assert_int_equal(unseal(f, buf_span(&b), CONTEXT, plains[i]), 0);
		buf_fini(&b);
		buf_fini(&bare);
	}
}

/* Every bit of every byte: version, nonce, text and tag. */
static void a_touched_byte_is_found_wherever_it_is(void **state)
{
	struct fixture *f = *state;
	struct buf b = sealed_of(f, SECRET, CONTEXT);

	for (size_t i = 0; i < buf_len(&b); i++)
		for (int bit = 0; bit < 8; bit++) {
			b.mem[b.rd + i] = (char)(b.mem[b.rd + i] ^ 1 << bit);
			assert_int_equal(unseal(f, buf_span(&b), CONTEXT, SPAN("")), ERR_INVALID);
			b.mem[b.rd + i] = (char)(b.mem[b.rd + i] ^ 1 << bit);
		}
	assert_int_equal(unseal(f, buf_span(&b), CONTEXT, SECRET), 0);
	buf_fini(&b);
}

static void a_text_that_was_cut_or_made_longer_is_found(void **state)
{
	struct fixture *f = *state;
	struct buf b = sealed_of(f, SECRET, CONTEXT);

	for (size_t n = 0; n < buf_len(&b); n++)
		assert_int_equal(unseal(f, span_head(buf_span(&b), n), CONTEXT, SPAN("")), ERR_INVALID);
	buf_add_char(&b, 0);
	assert_int_equal(unseal(f, buf_span(&b), CONTEXT, SPAN("")), ERR_INVALID);
	buf_fini(&b);
}

static void it_cannot_be_lent_to_another_operation(void **state)
{
	struct fixture *f = *state;
	struct buf b = sealed_of(f, SECRET, CONTEXT);
	const struct span others[] = { SPAN("dc1/00000000000000a1/13"), SPAN("dc1/00000000000000a1/1"), SPAN(""),
		SPAN("dc1/00000000000000a1/12\0"), SPAN("dc2/00000000000000a1/12") };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(unseal(f, buf_span(&b), others[i], SPAN("")), ERR_INVALID);
	buf_fini(&b);
}

static void another_key_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct buf b = sealed_of(f, SECRET, CONTEXT);

	assert_int_equal(unlink(f->key), 0);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(unseal(f, buf_span(&b), CONTEXT, SPAN("")), ERR_INVALID);
	buf_fini(&b);
}

static void the_same_secret_twice_does_not_look_the_same(void **state)
{
	struct fixture *f = *state;
	struct buf a = sealed_of(f, SECRET, CONTEXT), b = sealed_of(f, SECRET, CONTEXT);

	assert_memory_not_equal(a.mem + 1, b.mem + 1, 12);
	assert_memory_not_equal(a.mem + 13, b.mem + 13, SECRET.n);
	assert_null(memmem(a.mem, buf_len(&a), "gAAAAABl", 8));
	buf_fini(&a);
	buf_fini(&b);
}

static void a_process_and_its_child_share_no_nonce(void **state)
{
	struct fixture *f = *state;
	struct buf before = sealed_of(f, SECRET, CONTEXT), own;
	char others[13];
	int pipes[2], status;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	own = sealed_of(f, SECRET, CONTEXT);
	if (!child)
		_exit(write(pipes[1], own.mem, sizeof(others)) != sizeof(others));
	assert_int_equal(read(pipes[0], others, sizeof(others)), sizeof(others));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_memory_not_equal(own.mem + 1, others + 1, 12);
	close(pipes[0]);
	close(pipes[1]);
	buf_fini(&before);
	buf_fini(&own);
}

static void bounds_are_kept(void **state)
{
	struct fixture *f = *state;
	char *p = calloc(1, SEAL_BYTES + SEAL_OVERHEAD + 1);
	struct buf out, small;

	assert_non_null(p);
	buf_init(&out, NULL, 0);
	assert_int_equal(seal_add(f->seal, span_make(p, SEAL_BYTES + 1), CONTEXT, &out), ERR_LIMIT);
	assert_int_equal(seal_add(f->seal, SECRET, span_make(p, SEAL_BYTES + 1), &out), ERR_LIMIT);
	assert_int_equal(seal_remove(f->seal, span_make(p, SEAL_BYTES + SEAL_OVERHEAD + 1), CONTEXT, &out), ERR_LIMIT);
	assert_int_equal(seal_add(f->seal, span_make(p, SEAL_BYTES), CONTEXT, &out), 0);
	buf_init(&small, NULL, 0);
	assert_int_equal(seal_remove(f->seal, buf_span(&out), CONTEXT, &small), 0);
	assert_int_equal(buf_len(&small), SEAL_BYTES);
	seal_wipe(&small);
	buf_fini(&out);
	free(p);
}

/* ---- the key file ------------------------------------------------------------------------------------------------ */

static void the_key_is_for_its_owner_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	assert_int_not_equal(access(f->beside, F_OK), 0);
}

/* A crash while it was made leaves the file beside it. */
static void what_a_crash_left_beside_it_does_not_matter(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(rename(f->key, f->beside), 0);
	assert_int_equal(truncate(f->beside, 5), 0);
	assert_int_equal(open_again(f), 0);
	the_key_is_for_its_owner_alone(state);
	/* and where others may read what was left, the key made of it is refused */
	unlink(f->key);
	fd = open(f->beside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && !fchmod(fd, 0644) && !close(fd));
	assert_int_equal(open_again(f), ERR_DENIED);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
	struct fixture *f = *state;
	const mode_t modes[] = { 0640, 0604, 0620, 0601, 0777 };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(f->key, modes[i]), 0);
		assert_int_equal(open_again(f), ERR_DENIED);
		assert_null(f->seal);
		assert_non_null(strstr(f->e.text, f->key));
		assert_non_null(strstr(f->e.text, "chmod 600"));
	}
	assert_int_equal(chmod(f->key, 0600), 0);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(chmod(f->key, 0400), 0);
	assert_int_equal(open_again(f), 0);
}

static void a_key_of_another_length_is_refused(void **state)
{
	struct fixture *f = *state;
	const off_t lengths[] = { 0, 31, 33, 4096 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(truncate(f->key, lengths[i]), 0);
		assert_int_equal(open_again(f), ERR_INVALID);
		assert_non_null(strstr(f->e.text, "remove it"));
	}
}

static void what_is_no_file_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rename(f->key, f->beside), 0);
	assert_int_equal(symlink(f->beside, f->key), 0);
	assert_int_equal(open_again(f), ERR_INVALID);
	assert_int_equal(unlink(f->key), 0);
	assert_int_equal(mkfifo(f->key, 0600), 0);
	assert_int_equal(open_again(f), ERR_INVALID);
	assert_int_equal(unlink(f->key), 0);
	assert_int_equal(mkdir(f->key, 0700), 0);
	assert_int_equal(open_again(f), ERR_INVALID);
	assert_int_equal(rmdir(f->key), 0);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
	struct fixture *f = *state;
	struct seal *seal = f->seal;

	assert_int_equal(seal_open("/nonexistent", &seal, &f->e), ERR_IO);
	assert_null(seal);
	assert_non_null(strstr(f->e.text, "/nonexistent/seal.key"));
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	const struct seal *seal;
	int wrong;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct buf sealed, plain;

	for (int i = 0; i < 300; i++) {
		char context[32];

		snprintf(context, sizeof(context), "dc1/a1/%d", i);
		buf_init(&sealed, NULL, 0);
		buf_init(&plain, NULL, 0);
		w->wrong += seal_add(w->seal, SECRET, span_of(context), &sealed) ||
		            seal_remove(w->seal, buf_span(&sealed), span_of(context), &plain) ||
		            !span_eq(buf_span(&plain), SECRET);
		buf_fini(&sealed);
		seal_wipe(&plain);
	}
	return NULL;
}

static void threads_seal_at_once(void **state)
{
	struct fixture *f = *state;
	struct worker workers[4];

	for (size_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){ .seal = f->seal };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_secret_comes_back),
		TEST(a_touched_byte_is_found_wherever_it_is),
		TEST(a_text_that_was_cut_or_made_longer_is_found),
		TEST(it_cannot_be_lent_to_another_operation),
		TEST(another_key_opens_nothing),
		TEST(the_same_secret_twice_does_not_look_the_same),
		TEST(a_process_and_its_child_share_no_nonce),
		TEST(bounds_are_kept),
		TEST(the_key_is_for_its_owner_alone),
		TEST(what_a_crash_left_beside_it_does_not_matter),
		TEST(a_key_that_others_may_read_is_refused),
		TEST(a_key_of_another_length_is_refused),
		TEST(what_is_no_file_is_refused),
		TEST(a_folder_that_is_not_there_is_told),
		TEST(threads_seal_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
