/* Reads a configuration and plays every scenario again and again, the first time counting the allocations that the
 * proxy makes, then with the n-th one failing, for every n: alone, and with all that come after it until it is over.
 * What the scenario expects does not come about then, and is not looked at.  What must hold:
 *
 *	nothing crashes and no assertion fails (they are on in release builds too)
 *	no request hangs: past every time limit none is under way
 *	nothing of the scenario is left in memory when it is over
 *	with memory again, a new client is served: its request reaches an instance or gets an answer
 *
 * The linker puts fault_* between the proxy and the C library (--wrap), libevent and jansson are given them. */
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "tests/scenario/double.h"
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
void *__real_arena_alloc(struct arena *a, size_t bytes);
void *__real_arena_zalloc(struct arena *a, size_t bytes);
struct span __real_arena_dup(struct arena *a, struct span s);
void *__wrap_arena_alloc(struct arena *a, size_t bytes);
void *__wrap_arena_zalloc(struct arena *a, size_t bytes);
struct span __wrap_arena_dup(struct arena *a, struct span s);

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

/* Arenas take memory from the system now and then only: here each piece may be the one for which there is none. */

static bool refuses_piece(struct arena *a)
{
	if (!refuses())
		return false;
	a->nomem = true;
	return true;
}

void *__wrap_arena_alloc(struct arena *a, size_t bytes)
{
	return refuses_piece(a) ? NULL : __real_arena_alloc(a, bytes);
}

void *__wrap_arena_zalloc(struct arena *a, size_t bytes)
{
	return refuses_piece(a) ? NULL : __real_arena_zalloc(a, bytes);
}

struct span __wrap_arena_dup(struct arena *a, struct span s)
{
	return refuses_piece(a) ? span_make(NULL, 0) : __real_arena_dup(a, s);
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
	double_answer_all(); /* of which the replicator is one */
	bed_advance(&p->bed, 130000000);

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
	play_end(&p);
	if (live != before)
		wrong = "memory is left";
	return wrong;
}

static void perform(const struct script *script)
{
	uint64_t count;
	const char *wrong = play_once(script, 0);

	count = made;
	if (wrong)
		printf("FAIL %s: with all its memory: %s\n", script->name, wrong);
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

/* ---- reading a configuration, as a reload does ------------------------------------------------------------------ */

static const char conf_text[] =
	"site: dc1\nlabels: {region: eu}\nservices:\n"
	"  image: {listen: [127.0.0.1:1, '[::1]:1'], instances: ['http://127.0.0.1:2', 'http://127.0.0.1:3'],\n"
	"          scope: 'image: dc1; dc2', scope_from: [10.0.0.0/8], sites: [dc2], fallback_on: [500]}\n"
	"  compute: {listen: 127.0.0.1:1, prefix: /c, default: '@both', health: {path: /h}}\n"
	"mesh: {listen: 127.0.0.1:4, tls: {insecure: true}}\nregistry: {file: sites.yaml}\n"
	"scope: {named: {both: 'dc1 ; dc2'}}\nlog: {redact: [X-Secret]}\n";
static const char bad_text[] = "site: dc1\nservices: {a: {listen: x, prefx: /, default: 'dc9'}}\nworkers: -1\n";
static const char sites_text[] =
	"sites: {dc1: {mesh: '127.0.0.1:4', labels: {region: eu}}, dc2: {mesh: '127.0.0.2:4'}}\n";

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static const char *load_once(uint64_t fails, bool good)
{
	struct registry *reg = NULL;
	struct conf *conf = NULL;
	struct buf errors;
	long before = live;
	int rc;

	plenty = false;
	made = 0;
	fail_at = fails;
	runs++;
	buf_init(&errors, NULL, 0);
	armed = true;
	rc = conf_load("conf.yaml", &conf, &errors);
	if (!rc)
		rc = registry_file_load(conf->registry_file.p, conf->site, conf->labels, conf->label_count, NULL, &reg, &errors);
	armed = false;
	if (reg)
		registry_unref(&reg);
	if (conf)
		conf_unref(&conf);
	buf_fini(&errors);
	if (live != before)
		return "memory is left";
	if (fails && good)
		return rc ? NULL : "it was loaded";
	return rc == (good ? 0 : ERR_INVALID) || (fails && rc) ? NULL : "it was read wrongly";
}

static void fail_loading(const char *name, const char *text, bool good)
{
	const char *wrong;
	uint64_t count;

	write_text("conf.yaml", text);
	wrong = load_once(0, good);
	count = made;
	for (uint64_t n = 2; n < 2 * count + 2 && !wrong; n++) {
		all_after = n % 2;
		wrong = load_once(n / 2, good);
		if (wrong)
			printf("FAIL %s: allocation %llu of %llu%s fails: %s\n", name, (unsigned long long)n / 2,
			       (unsigned long long)count, all_after ? " and all after it" : "", wrong);
	}
	if (!wrong)
		printf("ok %s: %llu allocations\n", name, (unsigned long long)count);
	else if (!count)
		printf("FAIL %s: %s\n", name, wrong);
	passed += !wrong;
	failures += wrong != NULL;
}

static void fail_all_loading(void)
{
	char dir[] = "/tmp/fault-XXXXXX";

	if (!mkdtemp(dir) || chdir(dir)) {
		perror(dir);
		exit(1);
	}
	write_text("sites.yaml", sites_text);
	fail_loading("a configuration is read", conf_text, true);
	fail_loading("a configuration with mistakes is read", bad_text, false);
	unlink("sites.yaml");
	unlink("conf.yaml");
	if (chdir("/") || rmdir(dir))
		perror(dir);
}

int main(int argc, char **argv)
{
	bed_on_proxy = on_proxy;
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
	json_set_alloc_funcs(__wrap_malloc, __wrap_free);
	log_set_level(LOG_ERROR);
	if (!getenv("FAULT_LOG") && !freopen("/dev/null", "w", stderr))
		return 1;
	for (int i = 1; i < argc; i++)
		play_file(argv[i], perform);
	fail_all_loading();
	printf("%llu runs\n", (unsigned long long)runs);
	printf("%d passed, %d failed, 0 skipped\n", passed, failures);
	return failures || !passed;
}
