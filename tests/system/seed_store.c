/* Fills the store of a site that is not running: seed_store FOLDER SITE <LINES.  A line is a word and its values, apart
 * by tabs; lines are committed together, up to 1,000.  What a value means is written beside each row below. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/store.h"

#define VALUES 16
#define BATCH_LINES 1000

static struct span v[VALUES];

static _Noreturn void die(const char *what, const char *text)
{
	fprintf(stderr, "seed_store: %s: %s\n", what, text);
	exit(1);
}

static int64_t number(struct span s)
{
	char text[32];

	snprintf(text, sizeof(text), "%.*s", SPAN_ARG(s));
	return strtoll(text, NULL, 10);
}

static struct op_id op_id(struct span s)
{
	struct op_id id;

	if (!op_id_parse(s, &id))
		die("no operation", s.p);
	return id;
}

static enum delivery_state delivery_state(struct span s)
{
	enum delivery_state state;

	if (!delivery_state_parse(s, &state))
		die("no state", s.p);
	return state;
}

static enum consistency class(struct span s)
{
	enum consistency value;

	if (!consistency_parse(s, &value))
		die("no class", s.p);
	return value;
}

/* Sites apart by "|" become those of the store, apart by line feeds. */
static struct span sites(struct span s)
{
	static char text[4096];

	if (s.n >= sizeof(text))
		die("too many sites", s.p);
	for (size_t i = 0; i < s.n; i++)
		text[i] = s.p[i] == '|' ? '\n' : s.p[i];
	return span_make(text, s.n);
}

static struct store_key_of key(void)
{
	return (struct store_key_of){ v[0], v[1], v[2] };
}

/* service collection meta class sites created deleted */
static void put_resource(struct store_batch *b)
{
	struct store_resource r = { .key = key(), .class = class(v[3]), .sites = sites(v[4]), .created_ms = number(v[5]),
		.deleted = (uint64_t)number(v[6]) };

	store_put_resource(b, &r);
}

/* service collection meta site local state reason */
static void put_replica(struct store_batch *b)
{
	struct store_replica r = { .key = key(), .site = v[3], .local = v[4], .reason = v[6] };

	if (!replica_state_parse(v[5], &r.state))
		die("no state", v[5].p);
	store_put_replica(b, &r);
}

/* service collection meta op kind clock method path created body-bytes; the headers are no secret that is shown */
static void put_operation(struct store_batch *b)
{
	struct store_operation op = { .key = key(), .id = op_id(v[3]), .clock = (uint64_t)number(v[5]), .method = v[6],
		.path = v[7], .created_ms = number(v[8]), .body_bytes = number(v[9]),
		.headers = SPAN("Authorization: never-shown\r\n"), .body = SPAN("never-shown") };

	if (!operation_kind_parse(v[4], &op.kind))
		die("no kind", v[4].p);
	store_put_operation(b, &op);
}

/* op target state attempts status next expires error */
static void put_delivery(struct store_batch *b)
{
	struct store_delivery d = { .op = op_id(v[0]), .target = v[1], .state = delivery_state(v[2]),
		.attempts = (unsigned)number(v[3]), .status = (unsigned)number(v[4]), .next_ms = number(v[5]),
		.expires_ms = number(v[6]), .error = v[7] };

	store_put_delivery(b, &d);
}

/* op class sites at stage since */
static void put_intent(struct store_batch *b)
{
	struct store_intent i = { .op = op_id(v[0]), .class = class(v[1]), .sites = sites(v[2]), .at = v[3],
		.stage = delivery_state(v[4]), .since_ms = number(v[5]) };

	store_put_intent(b, &i);
}

/* service collection json pinned */
static void put_rule(struct store_batch *b)
{
	struct store_rule r = { v[0], v[1], v[2], number(v[3]) != 0 };

	store_put_rule(b, &r);
}

static const struct {
	const char *word;
	void (*put)(struct store_batch *b);
} rows[] = {
	{ "resource", put_resource }, { "replica", put_replica }, { "operation", put_operation },
	{ "delivery", put_delivery }, { "intent", put_intent },   { "rule", put_rule },
};

static void take_line(struct store_batch *b, struct span line)
{
	struct span word = SPAN(""), none = SPAN("");

	(void)span_split(&line, '\t', &word);
	for (size_t i = 0; i < VALUES; i++)
		if (!span_split(&line, '\t', &v[i]))
			v[i] = none;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (span_eq(word, span_of(rows[i].word))) {
			rows[i].put(b);
			return;
		}
	}
	die("no such word", word.p);
}

static void on_done(void *durable, int rc)
{
	if (rc)
		die("not committed", err_text(rc));
	sem_post(durable);
}

/* One at a time: the store takes in only so much. */
static void submit(struct store *s, struct store_batch **b)
{
	sem_t durable;
	int rc;

	sem_init(&durable, 0, 0);
	rc = store_submit(s, b, NULL, on_done, &durable);
	if (rc)
		die("not submitted", err_text(rc));
	sem_wait(&durable);
	sem_destroy(&durable);
}

static void fill(struct store *s)
{
	struct store_batch *b = NULL;
	size_t room = 0, lines = 0;
	char *line = NULL;
	ssize_t n;

	while ((n = getline(&line, &room, stdin)) > 0) {
		if (!b && !(b = store_batch_new()))
			die("no memory", "a batch");
		line[n - 1] = '\0';
		take_line(b, span_make(line, (size_t)n - 1));
		if (++lines % BATCH_LINES == 0)
			submit(s, &b);
	}
	if (b)
		submit(s, &b);
	free(line);
}

int main(int argc, char **argv)
{
	struct store_options options = { .folder = argc == 3 ? argv[1] : NULL, .site = argc == 3 ? argv[2] : NULL };
	struct store *s;
	struct err e;

	if (argc != 3)
		die("usage", "seed_store FOLDER SITE <LINES");
	if (store_open(&s, &options, &e))
		die("not opened", e.text);
	fill(s);
	store_close(&s);
	return 0;
}
