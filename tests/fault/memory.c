/* Plays every scenario again and again, the first time counting the allocations that the proxy makes, then with the n-th
 * one failing, for every n: alone, and with all that come after it until the scenario is over.  What the scenario expects
 * does not come about then, and is not looked at.  What must hold:
 *
 *	nothing crashes and no assertion fails (they are on in release builds too)
 *	no request hangs: past every time limit none is under way
 *	nothing of the scenario is left in memory when it is over
 *	with memory again, a new client is served: its request reaches an instance or gets an answer
 *
 * The linker puts fault_* between the proxy and the C library (--wrap), libevent is given them. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tests/scenario/play.h"

static bool armed;          /* the proxy's code runs */
static bool all_after;      /* from fail_at on all fail, not this one alone */
static bool plenty;         /* none fails */
static uint64_t made, fail_at;
static long live;           /* blocks that were not freed */
static int passed, failures;
static uint64_t runs;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t most);

static bool refuses(void)
{
	if (!armed || plenty)
		return false;
	made++;
	if (!fail_at || made < fail_at || (made > fail_at && !all_after))
		return false;
	errno = ENOMEM;
	return true;
}

static void *counted(void *p)
{
	live += p != NULL;
	return p;
}

void *__wrap_malloc(size_t bytes)
{
	return refuses() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refuses() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *p, size_t bytes)
{
	void *q;

	if (refuses())
		return NULL;
	q = __real_realloc(p, bytes);
	live += !p && q;
	return q;
}

void __wrap_free(void *p)
{
	live -= p != NULL;
	__real_free(p);
}

char *__wrap_strndup(const char *s, size_t most)
{
	size_t n = strnlen(s, most);
	char *copy = __wrap_malloc(n + 1);

	if (copy) {
		memcpy(copy, s, n);
		copy[n] = '\0';
	}
	return copy;
}

char *__wrap_strdup(const char *s)
{
	return __wrap_strndup(s, SIZE_MAX);
}

static void on_proxy(bool begins)
{
	armed = begins;
}

/* After the scenario, with memory again: what is wrong, or NULL. */
static const char *look_after(struct play *p)
{
	struct bed_end *c, *up;

	plenty = true;
	bed_advance(&p->bed, 130000000); /* past every time limit */

	if (p->bed.worker.busy_count)
		return "an exchange does not end";
	while (play_next_dial(p))
		;
	c = bed_client(&p->bed, &p->script->conf->services[0].listen[0]);
	if (!c)
		return "a client is not let in afterwards";
	buf_add_z(&c->to_proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	bed_settle(&p->bed);
	up = play_next_dial(p);
	return up || buf_len(&c->from_proxy) ? NULL : "a client is not served afterwards";
}

/* What is wrong, or NULL. */
static const char *play_once(const struct script *script, uint64_t fails)
{
	static struct play p;
	const char *wrong = NULL;
	long before = live;

	p.tolerant = true;
	plenty = false;
	made = 0;
	fail_at = fails;
	runs++;
	if (play_begin(&p, script) == 0) {
		play_lines(&p);
		if (p.bed.end_count + 4 < BED_ENDS)
			wrong = look_after(&p);
	}
	plenty = true;
	bed_fini(&p.bed);
	if (live != before)
		wrong = "memory is left";
	return wrong;
}

static void perform(const struct script *script)
{
	uint64_t count;
	const char *wrong = play_once(script, 0);

	count = made;
	for (uint64_t n = 1; n <= count && !wrong; n++) {
		all_after = false;
		wrong = play_once(script, n);
		if (!wrong) {
			all_after = true;
			wrong = play_once(script, n);
		}
		if (wrong)
			printf("FAIL %s: allocation %llu of %llu%s fails: %s\n", script->name, (unsigned long long)n,
			       (unsigned long long)count, all_after ? " and all after it" : "", wrong);
	}
	if (!wrong)
		printf("ok %s: %llu allocations\n", script->name, (unsigned long long)count);
	passed += !wrong;
	failures += wrong != NULL;
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bed_on_proxy = on_proxy;
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
	log_set_level(LOG_ERROR);
	if (!getenv("FAULT_LOG") && !freopen("/dev/null", "w", stderr))
		return 1;
	for (int i = 1; i < argc; i++)
		play_file(argv[i], perform);
	printf("%llu runs\n", (unsigned long long)runs);
	printf("%d passed, %d failed, 0 skipped\n", passed, failures);
	return failures || !passed;
}
