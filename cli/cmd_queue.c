/* scopectl queue: what is yet to be executed where; one operation in full. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

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

/* ---- words -------------------------------------------------------------------------------------------------------- */

struct queue_words {
	const struct cli_verb *verb;
	const char *action, *op;
};

static int take_word(void *arg, int c)
{
	struct queue_words *w = arg;

	(void)c;
	if (w->op) {
		cli_usage(w->verb, "takes one operation; found \"%s\" too", optarg);
		return CLI_ARGS_BAD;
	}
	*(w->action ? &w->op : &w->action) = optarg;
	return CLI_DONE;
}

int cmd_queue(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	static const char *const later[] = { "retry", "drop", "settle" };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct queue_words w = { verb, NULL, NULL };
	int rc = cli_args_each(&args, NULL, take_word, &w);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	if (!w.action)
		return print_queue(cli);
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(later[i], w.action) == 0)
			return cli_usage(verb, "%s: not in this version", w.action);
	if (strcmp(w.action, "show") != 0)
		return cli_usage(verb, "unknown verb \"%s\" for the queue; did you mean show?", w.action);
	if (!w.op)
		return cli_usage(verb, "the operation is missing");
	return show(cli, w.op);
}
