/* Lets a replicator with a store of its own, a scripted application and a scripted other site live through writes, again
 * and again, the first time counting the allocations that the proxy makes, then with the n-th one failing, for every n:
 * alone, and with all after it until there is memory again.  Each run has a restart in it, which reads the log back.
 * What must hold once there is memory again and nothing moves any more:
 *
 *	nothing crashes, everybody who asked is answered once, no memory is left
 *	what must be executed once was, at most, at each site
 *	what was answered 2xx is at both sites, or shown as in doubt here, as failed what came after that
 *	what the proxy refused (4xx, 503, 507) was not executed and is in no log
 *	what was executed at one site alone is in the log as not over
 *	a repeated Idempotency-Key gets the first answer, or a refusal
 *	what was made here has its name; of updates the one with the later clock stays
 *
 *	tests/fault/replicator [STRIDE [SCENARIO [FIRST]]] tries every STRIDE-th allocation, from the first on.
 *
 * The linker puts fault_* between the program and the C library (--wrap), as in memory.c.  The store's own threads are
 * spared but for what reads the log (tests/fault/store.c fails the rest).  Time is the bed's. */
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/replication.h"
#include "proxy/replicator_int.h"
#include "replication/store_view.h"
#include "tests/scenario/bed.h"

/* ---- what fails --------------------------------------------------------------------------------------------------- */

static _Thread_local bool armed; /* the proxy's code runs */
static bool all_after, plenty;
static atomic_ulong made;
static unsigned long fail_at;
static atomic_long live;
static unsigned long runs, failures;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
static int format_counted(char **text_r, const char *form, va_list args) __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **text_r, const char *form, ...) __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **text_r, int flag, const char *form, ...) __attribute__((format(printf, 3, 4)));
char *__wrap_strndup(const char *s, size_t most);
json_t *__real_json_loadb(const char *text, size_t bytes, size_t flags, json_error_t *e);
json_t *__wrap_json_loadb(const char *text, size_t bytes, size_t flags, json_error_t *e);
void *__real_arena_alloc(struct arena *a, size_t bytes);
void *__real_arena_zalloc(struct arena *a, size_t bytes);
struct span __real_arena_dup(struct arena *a, struct span s);
void *__wrap_arena_alloc(struct arena *a, size_t bytes);
void *__wrap_arena_zalloc(struct arena *a, size_t bytes);
struct span __wrap_arena_dup(struct arena *a, struct span s);
int __real_store_submit(struct store *s, struct store_batch **b, struct store_inbox *inbox, store_done *done, void *arg);
int __wrap_store_submit(struct store *s, struct store_batch **b, struct store_inbox *inbox, store_done *done, void *arg);
int __real_store_submit_read(struct store *s, store_read *read, struct store_inbox *inbox, store_done *done, void *arg);
int __wrap_store_submit_read(struct store *s, store_read *read, struct store_inbox *inbox, store_done *done, void *arg);

static bool refuses(void)
{
	unsigned long n;

	if (!armed || plenty)
		return false;
	n = atomic_fetch_add(&made, 1) + 1;
	if (!fail_at || n < fail_at || (n > fail_at && !all_after))
		return false;
	errno = ENOMEM;
	return true;
}

static void *counted(void *p)
{
	atomic_fetch_add(&live, p != NULL);
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
	atomic_fetch_add(&live, !p && q);
	return q;
}

void __wrap_free(void *p)
{
	atomic_fetch_sub(&live, p != NULL);
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

/* The C library's own memory, and freed here; either name, as it is compiled. */
static int format_counted(char **text_r, const char *form, va_list args)
{
	int n = refuses() ? -1 : vasprintf(text_r, form, args);

	atomic_fetch_add(&live, n >= 0);
	return n;
}

int __wrap_asprintf(char **text_r, const char *form, ...)
{
	va_list args;
	int n;

	va_start(args, form);
	n = format_counted(text_r, form, args);
	va_end(args);
	return n;
}

int __wrap___asprintf_chk(char **text_r, int flag, const char *form, ...)
{
	va_list args;
	int n;

	(void)flag;
	va_start(args, form);
	n = format_counted(text_r, form, args);
	va_end(args);
	return n;
}

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

/* Jansson 2.14 reads beyond its buffer when that cannot grow (lex_save ignores it): it fails as a whole or not at all. */
json_t *__wrap_json_loadb(const char *text, size_t bytes, size_t flags, json_error_t *e)
{
	bool was = armed, fails = refuses();
	json_t *doc;

	if (fails) {
		*e = (json_error_t){ .line = -1 };
		e->text[sizeof(e->text) - 1] = json_error_out_of_memory;
		return NULL;
	}
	armed = false;
	doc = __real_json_loadb(text, bytes, flags, e);
	armed = was;
	return doc;
}

static void on_proxy(bool begins)
{
	armed = begins;
}

/* ---- the store's answers are awaited ------------------------------------------------------------------------------- */

struct awaited {
	store_done *done;
	store_read *read;
	void *arg;
};

static unsigned pending; /* of this thread */

static void on_store(void *arg, int rc)
{
	struct awaited a = *(struct awaited *)arg;

	__real_free(arg);
	pending--;
	a.done(a.arg, rc);
}

static int on_reading(struct store_reader *reader, void *arg)
{
	const struct awaited *a = arg;
	int rc;

	armed = true;
	rc = a->read(reader, a->arg);
	armed = false;
	return rc;
}

static struct awaited *await(store_done *done, store_read *read, void *arg)
{
	struct awaited *a = __real_malloc(sizeof(*a));

	if (!a)
		abort();
	*a = (struct awaited){ done, read, arg };
	pending++;
	return a;
}

int __wrap_store_submit(struct store *s, struct store_batch **b, struct store_inbox *inbox, store_done *done, void *arg)
{
	struct awaited *a;
	int rc;

	if (!inbox) /* nobody waits for it */
		return __real_store_submit(s, b, inbox, done, arg);
	a = await(done, NULL, arg);
	rc = __real_store_submit(s, b, inbox, on_store, a);
	if (rc) {
		pending--;
		__real_free(a);
	}
	return rc;
}

int __wrap_store_submit_read(struct store *s, store_read *read, struct store_inbox *inbox, store_done *done, void *arg)
{
	struct awaited *a = await(done, read, arg);
	int rc = __real_store_submit_read(s, on_reading, inbox, on_store, a);

	if (rc) {
		pending--;
		__real_free(a);
	}
	return rc;
}

/* ---- the run --------------------------------------------------------------------------------------------------------- */

#define OPS 8
#define STEP_US 100000
#define STEPS 1200 /* two minutes */

/* Somebody who asks: a front. */
struct asker {
	struct replicator_wait wait;
	bool asked;
	unsigned answers, status;
	bool nothing;               /* the answer was no memory */
	bool problem;
	enum delivery_state state;  /* to a peer */
	char content[256], meta[64];
};

struct written {
	bool used, once, received;
	struct op_id id;
	char text[OP_ID_TEXT_BYTES], meta[64], uid[16];
	struct asker askers[4];
	unsigned asked;
	unsigned here, there;       /* executions */
};

static struct {
	struct bed bed;
	char folder[64];
	struct replication *rep;
	struct written ops[OPS];
	bool away;                  /* dc2 is not reached */
	bool drops;                 /* the application executes, and does not answer */
	bool building;              /* it is at work on what it has made */
	unsigned notes;             /* made here */
	char value[32];             /* of the last PUT here */
	bool deleted;
	const char *last;           /* what the last PUT is to be, in the order of their clocks */
	const char *wrong;
	char why[200];
} it;

static struct conf *conf;
static struct registry *reg;

static void wrong(const char *what, const struct written *o)
{
	if (it.wrong)
		return;
	snprintf(it.why, sizeof(it.why), "%s (operation %d)", what, o ? (int)(o - it.ops) : -1);
	it.wrong = it.why;
}

static bool told_success(const struct asker *a)
{
	return a->answers && !a->nothing && !a->problem && a->status >= 200 && a->status < 300;
}

/* ---- the application and the other site's proxy ------------------------------------------------------------------------ */

static bool holds(struct span text, const char *what)
{
	return memmem(text.p, text.n, what, strlen(what)) != NULL;
}

static struct written *op_of_text(struct span text)
{
	for (size_t i = 0; i < OPS; i++)
		if (it.ops[i].used && holds(text, it.ops[i].text))
			return &it.ops[i];
	return NULL;
}

static struct written *op_of_uid(struct span text)
{
	for (size_t i = 0; i < OPS; i++)
		if (it.ops[i].used && holds(text, it.ops[i].uid))
			return &it.ops[i];
	return NULL;
}

static void reply(struct bed_end *e, const char *head, const char *body)
{
	buf_addf(&e->to_proxy, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", head, strlen(body),
	         body);
}

static void get_here(struct bed_end *e, struct span path)
{
	struct written *o = op_of_uid(path); /* find */
	char body[128];

	if (o)
		snprintf(body, sizeof(body), o->here ? "[{\"id\": 17, \"uid\": \"%s\"}]" : "[]", o->uid);
	else
		snprintf(body, sizeof(body), "{\"id\": 17, \"status\": \"%s\"}", it.building ? "building" : "active");
	it.building = false;
	reply(e, "200 OK", body);
}

static void serve_here(struct bed_end *e, struct span method, struct span path, struct span body)
{
	struct written *o = op_of_uid(body);
	char text[128];

	if (span_eq(method, SPAN("GET"))) {
		get_here(e, path);
		return;
	}
	if (span_eq(method, SPAN("DELETE"))) {
		o = op_of_uid(path);
		it.deleted = true;
	}
	if (!o) {
		reply(e, "400 Bad Request", "{}");
		return;
	}
	o->here++;
	if (it.drops) {
		it.drops = false;
		e->end_to_proxy = true;
	} else if (span_eq(method, SPAN("POST"))) {
		snprintf(text, sizeof(text), "{\"id\": 17, \"uid\": \"%s\", \"pass\": \"p17\"}", o->uid);
		it.notes++;
		reply(e, "201 Created", text);
	} else {
		snprintf(it.value, sizeof(it.value), "%s", o->uid);
		reply(e, "200 OK", "{}");
	}
}

static void serve_there(struct bed_end *e, struct span head, struct span body)
{
	struct written *o = op_of_text(head);
	bool admit = holds(head, "\"admit\":true");
	char text[512];

	(void)body;
	if (!o) {
		reply(e, "400 Bad Request", "{}");
		return;
	}
	o->there += !o->there || admit; /* it knows the operation when that comes again */
	o->there = o->there > 1 ? 1 : o->there;
	snprintf(text, sizeof(text), "%s\r\nX-Scope-Meta-Id: %s\r\nX-Scopemesh-Operation: {\"admission\":\"%s\",\"state\":\"done\","
	         "\"status\":201,\"local\":\"%s\",\"reason\":\"\",\"retry_after_ms\":0}", admit ? "201 Created" : "200 OK",
	         o->meta, admit ? "done" : "", o->once ? "p1" : "");
	reply(e, text, "{\"id\": \"there\"}");
}

/* A request that has come whole is answered. */
static bool serve(struct bed_end *e)
{
	struct span all = buf_span(&e->from_proxy), head, line, method, path, body;
	const char *end = all.n ? memmem(all.p, all.n, "\r\n\r\n", 4) : NULL, *length;
	size_t n = 0;
	bool here = e->to.len && ((const struct sockaddr_in *)(const void *)&e->to.ss)->sin_port == htons(19292);

	if (e->connect == -EAGAIN && e->io) {
		e->connect = !here && it.away ? -ECONNREFUSED : 0;
		return true;
	}
	if (!end || !e->io)
		return false;
	head = span_head(all, (size_t)(end - all.p) + 4);
	length = memmem(head.p, head.n, "Content-Length: ", 16);
	if (length)
		n = strtoul(length + 16, NULL, 10);
	if (all.n < head.n + n)
		return false;
	body = span_head(span_from(all, head.n), n);
	line = head;
	method = span_head(line, span_find(line, ' '));
	path = span_from(line, method.n + 1);
	path = span_head(path, span_find(path, ' '));
	if (here)
		serve_here(e, method, path, body);
	else
		serve_there(e, head, body);
	buf_consume(&e->from_proxy, head.n + n);
	return true;
}

/* ---- time -------------------------------------------------------------------------------------------------------------- */

static void wait_for_store(void)
{
	struct worker *w = &it.bed.worker;
	struct pollfd fd = { .fd = store_inbox_fd(w->answers), .events = POLLIN };

	if (poll(&fd, 1, 10000) <= 0)
		wrong("the store does not answer", NULL);
	on_proxy(true);
	store_inbox_run(w->answers);
	on_proxy(false);
}

static void settle(void)
{
	struct worker *w = &it.bed.worker;
	bool again = true;

	for (unsigned turns = 0; again && turns < 10000 && !it.wrong; turns++) {
		again = false;
		on_proxy(true);
		event_base_loop(w->loop.base, EVLOOP_NONBLOCK);
		on_proxy(false);
		bed_settle(&it.bed);
		for (size_t i = 0; i < it.bed.end_count; i++)
			again |= serve(&it.bed.ends[i]);
		if (pending && !it.wrong) {
			wait_for_store();
			again = true;
		}
	}
}

static void step(void)
{
	struct replicator *r = it.rep->replicator;

	settle();
	bed_advance(&it.bed, STEP_US);
	if (r && r->tick && event_pending(r->tick, EV_TIMEOUT, NULL))
		event_active(r->tick, EV_TIMEOUT, 1);
	settle();
}

static bool all_answered(void)
{
	for (size_t i = 0; i < OPS; i++)
		for (size_t a = 0; a < it.ops[i].asked; a++)
			if (it.ops[i].askers[a].asked && !it.ops[i].askers[a].answers)
				return false;
	return true;
}

static void until_answered(void)
{
	settle();
	for (int i = 0; i < STEPS && !all_answered() && !it.wrong; i++)
		step();
	if (!all_answered())
		wrong("somebody is not answered", NULL);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static void begin_worker(void)
{
	struct worker *w = &it.bed.worker;
	struct err e = { .text = "no memory" };
	bool had_plenty = plenty;
	int rc;

	plenty = true; /* a process without a store does not begin */
	if (bed_init(&it.bed, conf_ref(conf), registry_ref(reg)) ||
	    replication_open(&it.rep, SPAN("dc1"), it.folder, 1 << 30, &e) || store_inbox_new(&w->answers)) {
		printf("%s\n", e.text);
		exit(1);
	}
	w->replication = it.rep;
	w->names = it.rep->names;
	plenty = had_plenty;
	on_proxy(true);
	rc = replicator_start(&it.rep->replicator, it.rep, w);
	on_proxy(false);
	if (rc && replicator_start(&it.rep->replicator, it.rep, w))
		wrong("the replicator does not start", NULL);
}

static void end_worker(void)
{
	struct worker *w = &it.bed.worker;
	struct replicator *r = it.rep->replicator;

	on_proxy(true);
	replicator_stop(r);
	while (!TAILQ_EMPTY(&w->sessions))
		session_abort(TAILQ_FIRST(&w->sessions));
	worker_turn(w);
	event_base_loop(w->loop.base, EVLOOP_NONBLOCK);
	worker_turn(w);
	on_proxy(false);
	replication_close(&w->replication);
	it.bed.worker.names = NULL;
	store_inbox_run(w->answers);
	bed_fini(&it.bed);
	replicator_free(&r);
	if (pending)
		wrong("the store did not answer", NULL);
	pending = 0;
}

/* Another process reads the log. */
static void restart(void)
{
	end_worker();
	begin_worker();
	settle();
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", it.folder);
	if (system(command))
		perror(it.folder);
}

/* ---- what is asked ---------------------------------------------------------------------------------------------------------- */

static void on_answered(struct replicator_wait *wait)
{
	struct asker *a = container_of(wait, struct asker, wait);
	const struct replicator_answer *answer = wait->answer;

	armed = false;
	a->answers++;
	a->nothing = !answer;
	if (answer) {
		a->status = answer->status;
		a->problem = answer->problem != NULL;
		a->state = answer->result.state;
		snprintf(a->content, sizeof(a->content), "%.*s", SPAN_ARG(answer->content));
		snprintf(a->meta, sizeof(a->meta), "%.*s", SPAN_ARG(answer->meta));
	}
	replicator_answer_free(&wait->answer);
	armed = true;
}

struct what {
	enum operation_kind kind;
	const char *method, *target, *collection, *meta;
	uint64_t clock;             /* 0: this site's */
	bool keyed;                 /* with an Idempotency-Key */
};

static struct operation *operation_of(struct written *o, const struct what *w)
{
	struct operation *op = operation_new();
	char text[128];
	bool good;

	if (!op)
		abort();
	op->id = o->id;
	op->kind = w->kind;
	op->class = CLASS_EVENTUAL;
	op->clock = w->clock;
	op->created_ms = clock_wall_ms();
	op->meta_id = METAID_UUID;
	op->declared = true;
	snprintf(text, sizeof(text), "{\"uid\": \"%s\", \"pass\": \"\"}", o->uid);
	good = operation_keep(op, &op->key.service, SPAN("image")) &&
	       operation_keep(op, &op->key.collection, span_of(w->collection)) &&
	       operation_keep(op, &op->key.meta, span_of(o->meta)) && operation_keep(op, &op->method, span_of(w->method)) &&
	       operation_keep(op, &op->target, span_of(w->target)) && operation_add_site(op, SPAN("dc1")) &&
	       operation_add_site(op, SPAN("dc2")) &&
	       operation_keep(op, &op->fields, SPAN("Host: image\r\nContent-Type: application/json\r\n")) &&
	       operation_keep(op, &op->admitted, o->received ? SPAN("dc2") : SPAN("")) &&
	       (w->kind == OPERATION_DELETE || operation_keep(op, &op->body, span_of(text)));
	if (good && w->keyed)
		good = operation_keep(op, &op->answer_key, SPAN("key")) && operation_keep(op, &op->fingerprint, SPAN("print"));
	op->body_bytes = op->body.n;
	if (!good)
		abort();
	return op;
}

/* The operation with this number, once more. */
static struct asker *ask(size_t n, const struct what *w)
{
	struct written *o = &it.ops[n];
	struct asker *a = &o->askers[o->asked++];
	struct operation *op = operation_of(o, w);

	a->wait.w = &it.bed.worker;
	a->wait.answered = on_answered;
	on_proxy(true);
	a->asked = replicator_submit(it.rep->replicator, op, o->received ? REPLICATOR_DELIVER : REPLICATOR_ADMIT, &a->wait);
	on_proxy(false);
	operation_unref(&op);
	return a;
}

/* clock of w: 0, a client's here; else the other site's. */
static struct written *begin(size_t n, struct what *w)
{
	struct written *o = &it.ops[n];
	size_t bytes;

	*o = (struct written){ .used = true, .once = w->kind == OPERATION_CREATE || w->kind == OPERATION_APPEND,
		.received = w->clock != 0 };
	snprintf(o->uid, sizeof(o->uid), "uid-%zu", n);
	if (o->received) {
		o->id = (struct op_id){ "dc2", 5, n + 1 };
		w->clock += hlc_of_wall(1767225600000); /* when the bed begins */
	} else {
		replication_new_operation(it.rep, &o->id, &w->clock);
	}
	op_id_format(&o->id, o->text);
	if (w->meta)
		snprintf(o->meta, sizeof(o->meta), "%s", w->meta);
	else if (replication_new_meta(it.rep, METAID_UUID, o->meta, &bytes))
		abort();
	else
		o->meta[bytes] = '\0';
	return o;
}

static struct asker *write_and_wait(size_t n, struct what w)
{
	struct asker *a;

	begin(n, &w);
	a = ask(n, &w);
	until_answered();
	return a;
}

/* As the other site does until it knows. */
static struct asker *deliver_until_known(size_t n, struct what w)
{
	struct written *o = begin(n, &w);
	struct asker *a = NULL;

	for (int i = 0; i < 3 && !it.wrong; i++) {
		a = ask(n, &w);
		until_answered();
		if (a->answers && !a->nothing && !a->problem && a->state == DELIVERY_DONE)
			break;
	}
	(void)o;
	return a;
}

/* ---- scenarios ------------------------------------------------------------------------------------------------------------- */

static struct what create_in(const char *collection)
{
	return (struct what){ .kind = OPERATION_CREATE, .method = "POST", .target = collection, .collection = collection };
}

/* A write to what operation 0 has made; its uid is in the query, for the application to know it by. */
static struct what write_to(enum operation_kind kind, const char *method, size_t n)
{
	static char targets[OPS][160];

	snprintf(targets[n], sizeof(targets[n]), "/v2/notes/%s?n=uid-%zu", it.ops[0].meta, n);
	return (struct what){ .kind = kind, .method = method, .target = targets[n], .collection = "/v2/notes",
		              .meta = it.ops[0].meta };
}

static void create_and_repeat(void)
{
	struct what w = create_in("/v2/notes");
	struct asker *first, *second;

	w.keyed = true;
	begin(0, &w);
	first = ask(0, &w);
	until_answered();
	second = ask(0, &w);
	until_answered();
	if (told_success(first) && told_success(second) && strcmp(first->content, second->content))
		wrong("a repetition gets another answer", &it.ops[0]);
}

static void update_and_delete(void)
{
	if (!told_success(write_and_wait(0, create_in("/v2/notes"))))
		return;
	write_and_wait(1, write_to(OPERATION_UPDATE, "PUT", 1));
	write_and_wait(2, write_to(OPERATION_APPEND, "POST", 2));
	write_and_wait(3, write_to(OPERATION_DELETE, "DELETE", 3));
}

static void deliveries(void)
{
	struct what w = create_in("/v2/notes");

	w.clock = 1;
	if (deliver_until_known(0, w)->state != DELIVERY_DONE)
		return;
	w = write_to(OPERATION_UPDATE, "PUT", 1);
	w.clock = 2;
	deliver_until_known(1, w);
}

static void a_late_update(void)
{
	struct what w = create_in("/v2/notes");

	w.clock = 1;
	if (deliver_until_known(0, w)->state != DELIVERY_DONE)
		return;
	w = write_to(OPERATION_UPDATE, "PUT", 1);
	w.clock = 3;
	if (deliver_until_known(1, w)->state != DELIVERY_DONE)
		return;
	it.last = it.ops[1].uid;
	w = write_to(OPERATION_UPDATE, "PUT", 2);
	w.clock = 2;
	deliver_until_known(2, w);
}

static void an_echo(void)
{
	write_and_wait(0, create_in("/v2/echoed"));
}

static void found(void)
{
	it.drops = true;
	it.away = true;
	write_and_wait(0, create_in("/v2/found"));
	it.away = false;
}

static void built(void)
{
	it.building = true;
	write_and_wait(0, create_in("/v2/built"));
	for (int i = 0; i < 10; i++)
		step();
}

static void not_found(void)
{
	it.drops = true;
	write_and_wait(0, create_in("/v2/notes"));
}

static void while_the_other_is_away(void)
{
	it.away = true;
	if (!told_success(write_and_wait(0, create_in("/v2/notes"))))
		return;
	write_and_wait(1, write_to(OPERATION_UPDATE, "PUT", 1));
	restart();
	for (int i = 0; i < 5; i++)
		step();
	it.away = false;
}

static const struct scenario {
	const char *name;
	void (*play)(void);
} scenarios[] = {
	{ "create, and its key once more", create_and_repeat },
	{ "update, append, delete", update_and_delete },
	{ "deliveries", deliveries },
	{ "a late update", a_late_update },
	{ "echo", an_echo },
	{ "find", found },
	{ "ready", built },
	{ "an unknown outcome", not_found },
	{ "the other site is away", while_the_other_is_away },
};

/* ---- what must hold ---------------------------------------------------------------------------------------------------------- */

struct stand {
	const struct written *o;
	bool known, here, there;    /* a row of the operation; of its deliveries */
	enum delivery_state own, other;
};

static int on_delivery(void *arg, const struct store_delivery *d)
{
	struct stand *s = arg;

	if (span_eq(d->target, SPAN("dc1"))) {
		s->here = true;
		s->own = d->state;
	} else {
		s->there = true;
		s->other = d->state;
	}
	return 0;
}

static int look(struct store_reader *r, void *arg)
{
	struct stand *s = arg;
	struct store_operation row;
	struct arena arena;
	int rc;

	armed = false;
	arena_init(&arena, NULL, 0, 0);
	rc = store_read_operation(r, &s->o->id, &arena, &row);
	s->known = !rc;
	arena_fini(&arena);
	return rc == ERR_NOT_FOUND ? 0 : rc ? rc : store_view_deliveries(r, &s->o->id, on_delivery, s);
}

static int read_rc;

static void on_looked(void *arg, int rc)
{
	(void)arg;
	read_rc = rc;
}

/* Its name is known here. */
static bool is_named(const struct written *o)
{
	const struct names_where any = { .kind = 0 };
	struct name name;

	return names_by_meta(it.rep->names, &any, span_of(o->meta), &name) && name.local_n;
}

static void judge(const struct written *o)
{
	struct stand s = { .o = o };
	bool told = false, refused = false;

	read_rc = 1;
	if (store_submit_read(it.rep->store, look, it.bed.worker.answers, on_looked, &s))
		wrong("the store cannot be asked", o);
	settle();
	if (read_rc)
		wrong("the store cannot be read", o);
	for (size_t i = 0; i < o->asked; i++) {
		const struct asker *a = &o->askers[i];

		if (a->answers > 1 || (!a->asked && a->answers))
			wrong("answered twice", o);
		if (told_success(a) && (!o->received || a->state == DELIVERY_DONE))
			told = true;
		if (!a->asked || (a->answers && !a->nothing && a->problem && a->status != 504 && a->status != 409))
			refused = true;
	}
	if (o->once && o->here > 1)
		wrong("executed twice here", o);
	if (told && !o->here && !(s.here && (s.own == DELIVERY_IN_DOUBT || (o != it.ops && s.own == DELIVERY_FAILED))))
		wrong("acknowledged, and not executed here", o);
	if (told && o == it.ops && s.own == DELIVERY_DONE && !it.deleted && !is_named(o))
		wrong("acknowledged, and its name is not known", o);
	if (told && !o->received && !o->there)
		wrong("acknowledged, and not executed at the other site", o);
	if (refused && o->asked == 1 && !o->received && (o->here || o->there || s.known))
		wrong("refused, and something is left of it", o);
	if (!o->received && (o->here != 0) != (o->there != 0) && !(s.here && s.own != DELIVERY_DONE))
		wrong("executed at one site, and nothing shows it", o);
}

static bool is_at_rest(void)
{
	return it.rep->replicator && it.rep->replicator->loaded && !it.rep->replicator->works && !pending;
}

/* With memory again. */
static void heal(void)
{
	plenty = true;
	it.away = it.drops = it.building = false;
	for (int i = 0; i < STEPS && !is_at_rest() && !it.wrong; i++)
		step();
	if (!is_at_rest())
		wrong("it does not come to rest", NULL);
}

static void play_once(const struct scenario *s, unsigned long fails)
{
	long before = atomic_load(&live);

	memset(&it, 0, sizeof(it));
	runs++;
	plenty = true;
	atomic_store(&made, 0);
	fail_at = fails;
	snprintf(it.folder, sizeof(it.folder), "%s/replicator-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(it.folder))
		abort();
	begin_worker();
	plenty = false;
	s->play();
	if (!it.wrong)
		restart();
	heal();
	if (!it.wrong) {
		restart();
		heal();
	}
	for (size_t i = 0; i < OPS && !it.wrong; i++)
		if (it.ops[i].used)
			judge(&it.ops[i]);
	if (it.last && strcmp(it.value, it.last))
		wrong("the last one written is not what stays", NULL);
	end_worker();
	remove_folder();
	if (atomic_load(&live) != before)
		wrong("memory is left", NULL);
}

static void perform(const struct scenario *s, unsigned long first, unsigned long stride)
{
	unsigned long count, before = failures;

	all_after = false;
	play_once(s, 0);
	count = atomic_load(&made);
	if (it.wrong) {
		failures++;
		printf("FAIL %s: with all its memory: %s\n", s->name, it.wrong);
		return;
	}
	for (unsigned long n = first; n <= count; n += stride)
		for (int after = 0; after < 2; after++) {
			all_after = after;
			play_once(s, n);
			if (!it.wrong)
				continue;
			failures++;
			printf("FAIL %s: allocation %lu of %lu%s fails: %s\n", s->name, n, count, after ? " and all after it" : "",
			       it.wrong);
		}
	printf("%s %s: %lu allocations\n", failures == before ? "ok" : "--", s->name, count);
}

static void load(void)
{
	static const char text[] =
		"site: dc1\ntimeouts: {response: 2s}\nqueue: {settle: 1s}\nservices:\n  image:\n    listen: 127.0.0.1:9292\n"
		"    instances: ['http://127.0.0.1:19292']\n    resources:\n"
		"      - {collection: /v2/notes, id: $.id}\n"
		"      - {collection: /v2/echoed, id: $.id, echo: [$.pass]}\n"
		"      - {collection: /v2/found, id: $.id, find: '/v2/found?uid={$.uid}'}\n"
		"      - {collection: /v2/built, id: $.id, ready: {path: $.status, ok: [active], within: 1m}}\n"
		"mesh: {listen: '127.0.0.1:7400', tls: {insecure: true}}\n";
	static const char sites[] = "sites:\n  dc1: {mesh: '127.0.0.1:7400'}\n  dc2: {mesh: '127.0.0.2:7400'}\n";
	char path[] = "/tmp/fault-conf-XXXXXX", sites_path[] = "/tmp/fault-sites-XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w"), *g = fdopen(mkstemp(sites_path), "w");
	struct buf errors;

	buf_init(&errors, NULL, 0);
	if (!f || !g || fputs(text, f) < 0 || fclose(f) || fputs(sites, g) < 0 || fclose(g) || conf_load(path, &conf, &errors) ||
	    registry_file_load(sites_path, conf->site, conf->labels, conf->label_count, NULL, &reg, &errors)) {
		printf("%.*s\n", SPAN_ARG(buf_span(&errors)));
		exit(1);
	}
	unlink(path);
	unlink(sites_path);
	buf_fini(&errors);
}

int main(int argc, char **argv)
{
	unsigned long stride = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	bed_on_proxy = on_proxy;
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
	json_set_alloc_funcs(__wrap_malloc, __wrap_free);
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(getenv("FAULT_LOG") ? LOG_DEBUG : (enum log_level)-1);
	load();
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		if (argc < 3 || strstr(scenarios[i].name, argv[2]))
			perform(&scenarios[i], argc > 3 ? strtoul(argv[3], NULL, 10) : 1, stride ? stride : 1);
	conf_unref(&conf);
	registry_unref(&reg);
	printf("%lu passed, %lu failed, 0 skipped\n", runs - (failures < runs ? failures : runs), failures);
	return failures || !runs;
}
