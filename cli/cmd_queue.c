/* scopectl queue: what is yet to be executed where; one operation in full, and what is to be done with it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/percent.h"
#include "cli/admin.h"
#include "cli/cli.h"

static void add_attempts(struct table *t, const json_t *o)
{
	table_addf(t, "%lld", (long long)json_integer_value(json_object_get(o, "attempts")));
}

static void on_queue(struct table *t, const json_t *page)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(page, "queue"), i, o) {
		const char *state = admin_text(o, "state");

		table_add(t, span_of(admin_text(o, "op")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "target")), LOOK_PLAIN);
		table_add(t, span_of(state), table_state_look(state ? state : ""));
		table_add(t, span_of(admin_text(o, "service")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "method")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "path")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "since")), LOOK_PLAIN);
		add_attempts(t, o);
		table_add(t, span_of(admin_text(o, "last_error")), LOOK_PLAIN);
	}
}

static int print_queue(const struct cli *cli)
{
	static const char *const heads[] = { "OPERATION", "TARGET", "STATE",     "SERVICE",   "METHOD",
		                             "PATH",      "SINCE",  ">ATTEMPTS", "LAST ERROR" };
	struct table t;
	int rc;

	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	rc = admin_get_list(cli, "/v1/queue?limit=1000", "queue", on_queue, &t);
	if (rc == CLI_DONE)
		rc = admin_print_table(cli, &t, "the queue is empty: nothing waits for any site");
	table_fini(&t);
	return rc;
}

/* ---- one ---------------------------------------------------------------------------------------------------------- */

static void print_targets(const struct cli *cli, const json_t *sites)
{
	static const char *const heads[] = { "TARGET", "STATE", ">STATUS", ">ATTEMPTS", "NEXT ATTEMPT", "EXPIRES", "LAST ERROR" };
	const char *name;
	struct table t;
	json_t *o;

	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	json_object_foreach((json_t *)(uintptr_t)sites, name, o) {
		const char *state = admin_text(o, "state");
		const json_t *status = json_object_get(o, "status");

		table_add(&t, span_of(name), LOOK_PLAIN);
		table_add(&t, span_of(state), table_state_look(state ? state : ""));
		if (json_is_integer(status))
			table_addf(&t, "%lld", (long long)json_integer_value(status));
		else
			table_add(&t, SPAN(""), LOOK_DIM);
		add_attempts(&t, o);
		table_add(&t, span_of(admin_text(o, "next_attempt")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "expires")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "last_error")), LOOK_PLAIN);
	}
	putchar('\n');
	if (table_print(&t, stdout, cli->colour))
		cli_complain("no memory");
	table_fini(&t);
}

static void print_operation(const struct cli *cli, const json_t *o)
{
	const json_t *admission = json_object_get(o, "admission");
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "%lld bytes", (long long)json_integer_value(json_object_get(o, "body_bytes")));
	table_put_field(stdout, "operation", admin_text(o, "op"));
	table_put_field(stdout, "meta id", admin_text(o, "meta_id"));
	table_put_field(stdout, "service", admin_text(o, "service"));
	table_put_field(stdout, "collection", admin_text(o, "collection"));
	table_put_field(stdout, "kind", admin_text(o, "kind"));
	table_put_field(stdout, "method", admin_text(o, "method"));
	table_put_field(stdout, "path", admin_text(o, "path"));
	table_put_field(stdout, "content", bytes);
	table_put_field(stdout, "created", admin_text(o, "created"));
	if (admin_text(o, "parent"))
		table_put_field(stdout, "made by", admin_text(o, "parent"));
	if (json_is_object(admission)) {
		table_put_field(stdout, "admission", admin_text(admission, "stage"));
		table_put_field(stdout, "sent to", admin_text(admission, "site"));
	}
	if (json_object_size(json_object_get(o, "sites")))
		print_targets(cli, json_object_get(o, "sites"));
}

static int show(const struct cli *cli, const char *op)
{
	struct buf path;
	int rc;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/queue/");
	percent_encode(span_of(op), "-._~", &path);
	rc = admin_show(cli, &path, print_operation);
	buf_fini(&path);
	return rc;
}

/* ---- verbs -------------------------------------------------------------------------------------------------------- */

static const char *const queue_verbs[] = { "show", "retry", "drop", "settle" };
#define QUEUE_VERBS (sizeof(queue_verbs) / sizeof(queue_verbs[0]))

struct queue_words {
	const struct cli_verb *verb;
	const char *action, *op, *site, *as, *local_id;
};

/* NULL: no memory. The caller frees it. */
static char *content_of(const struct queue_words *w)
{
	json_t *doc = json_object();
	char *text;

	if (w->site)
		json_object_set_new(doc, "target", json_string(w->site));
	if (w->as)
		json_object_set_new(doc, "as", json_string(w->as));
	if (w->local_id)
		json_object_set_new(doc, "local_id", json_string(w->local_id));
	text = json_dumps(doc, JSON_COMPACT);
	json_decref(doc);
	return text;
}

static int change(const struct cli *cli, const struct queue_words *w)
{
	char *content = content_of(w);
	struct buf path;
	const char *text;
	int rc = CLI_FAILED;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/queue/");
	percent_encode(span_of(w->op), "-._~", &path);
	buf_addf(&path, "/%s", w->action);
	text = buf_cstr(&path);
	if (text && content)
		rc = admin_change(cli, text, content, print_operation);
	else
		cli_complain("no memory");
	free(content);
	buf_fini(&path);
	return rc;
}

/* ---- words -------------------------------------------------------------------------------------------------------- */

enum { OPT_SITE = CLI_OPT_FIRST_OWN, OPT_AS, OPT_LOCAL_ID };

static int take_word(void *arg, int c)
{
	struct queue_words *w = arg;

	if (c != CLI_ARGS_WORD) {
		*(c == OPT_SITE ? &w->site : c == OPT_AS ? &w->as : &w->local_id) = optarg;
		return CLI_DONE;
	}
	if (w->op) {
		cli_usage(w->verb, "takes one operation; found \"%s\" too", optarg);
		return CLI_ARGS_BAD;
	}
	*(w->action ? &w->op : &w->action) = optarg;
	return CLI_DONE;
}

static int unknown_action(const struct queue_words *w)
{
	struct nearest near = { 0 };

	for (size_t i = 0; i < QUEUE_VERBS; i++)
		nearest_offer(&near, span_of(w->action), span_of(queue_verbs[i]));
	if (near.best.n)
		return cli_usage(w->verb, "unknown verb \"%s\" for the queue; did you mean %.*s?", w->action,
		                 SPAN_ARG(near.best));
	return cli_usage(w->verb, "unknown verb \"%s\" for the queue", w->action);
}

static bool is_action(const char *action)
{
	for (size_t i = 0; i < QUEUE_VERBS; i++)
		if (strcmp(queue_verbs[i], action) == 0)
			return true;
	return false;
}

/* CLI_DONE, or complained about. */
static int check(const struct queue_words *w)
{
	bool settle, done;

	if (!is_action(w->action))
		return unknown_action(w);
	if (!w->op)
		return cli_usage(w->verb, "the operation is missing");
	settle = strcmp(w->action, "settle") == 0;
	done = w->as && strcmp(w->as, "done") == 0;
	if (settle != (w->as != NULL))
		return cli_usage(w->verb, settle ? "settle needs --as done, retry or drop" : "--as is for settle");
	if (settle && !done && strcmp(w->as, "retry") != 0 && strcmp(w->as, "drop") != 0)
		return cli_usage(w->verb, "--as is done, retry or drop, not \"%s\"", w->as);
	if (w->local_id && !done)
		return cli_usage(w->verb, "--local-id is for settle --as done");
	if (w->site && strcmp(w->action, "show") == 0)
		return cli_usage(w->verb, "--site is for retry, drop and settle");
	return CLI_DONE;
}

int cmd_queue(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "site", required_argument, NULL, OPT_SITE },
		                               { "as", required_argument, NULL, OPT_AS },
		                               { "local-id", required_argument, NULL, OPT_LOCAL_ID },
		                               CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct queue_words w = { .verb = verb };
	int rc = cli_args_each(&args, NULL, take_word, &w);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	if (!w.action)
		return w.site || w.as || w.local_id ? cli_usage(verb, "options are for one operation") : print_queue(cli);
	rc = check(&w);
	if (rc != CLI_DONE)
		return rc;
	return strcmp(w.action, "show") == 0 ? show(cli, w.op) : change(cli, &w);
}
