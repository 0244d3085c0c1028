/* scopectl replicas: /v1/replicas as a table, one replica in full, and the rules that were learned. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/percent.h"
#include "cli/admin.h"
#include "cli/cli.h"

enum { OPT_SERVICE = CLI_OPT_FIRST_OWN, OPT_SITE, OPT_STATE };

#define WORDS_MOST 3

struct replicas_words {
	const struct cli_verb *verb;
	const char *words[WORDS_MOST];
	size_t count;
	const char *service, *site, *state;
};

static void add_parameter(struct buf *path, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(path, "%c%s=", span_find(buf_span(path), '?') < buf_len(path) ? '&' : '?', name);
	percent_encode(span_of(value), "-._~", path);
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

/* "dc1 synced, dc2 queued (unreachable)" */
static void sites_text(const json_t *sites, struct buf *out)
{
	const char *name, *between = "";
	json_t *o;

	json_object_foreach((json_t *)(uintptr_t)sites, name, o) {
		const char *state = admin_text(o, "state"), *reason = admin_text(o, "reason");

		buf_addf(out, "%s%s %s", between, name, state ? state : "unknown");
		if (reason)
			buf_addf(out, " (%s)", reason);
		between = ", ";
	}
}

static enum table_look sites_look(const json_t *sites)
{
	enum table_look look = LOOK_GOOD;
	const char *name;
	json_t *o;

	json_object_foreach((json_t *)(uintptr_t)sites, name, o) {
		const char *state = admin_text(o, "state");
		enum table_look one = table_state_look(state ? state : "unknown");

		if (one == LOOK_BAD || (one == LOOK_WARN && look == LOOK_GOOD))
			look = one;
	}
	return look;
}

static void add_sites(struct table *t, const json_t *sites)
{
	struct buf text;

	buf_init(&text, NULL, 0);
	sites_text(sites, &text);
	table_add(t, buf_span(&text), sites_look(sites));
	buf_fini(&text);
}

static void on_replicas(struct table *t, const json_t *page)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(page, "replicas"), i, o) {
		table_add(t, span_of(admin_text(o, "meta_id")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "service")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "collection")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "consistency")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "created")), LOOK_PLAIN);
		add_sites(t, json_object_get(o, "sites"));
	}
}

static int print_list(const struct cli *cli, const struct replicas_words *w)
{
	static const char *const heads[] = { "META ID", "SERVICE", "COLLECTION", "CONSISTENCY", "CREATED", "SITES" };
	bool filtered = w->service || w->site || w->state;
	struct buf path;
	struct table t;
	int rc = CLI_FAILED;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/replicas?limit=1000");
	add_parameter(&path, "service", w->service);
	add_parameter(&path, "site", w->site);
	add_parameter(&path, "state", w->state);
	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	if (buf_cstr(&path))
		rc = admin_get_list(cli, buf_cstr(&path), "replicas", on_replicas, &t);
	if (rc == CLI_DONE)
		rc = admin_print_table(cli, &t, filtered ? "no replica is like that" : "there are no replicas at this site");
	table_fini(&t);
	buf_fini(&path);
	return rc;
}

/* ---- one ---------------------------------------------------------------------------------------------------------- */

static void print_sites(const struct cli *cli, const json_t *sites)
{
	static const char *const heads[] = { "SITE", "STATE", "REASON", "LOCAL ID" };
	const char *name;
	struct table t;
	json_t *o;

	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	json_object_foreach((json_t *)(uintptr_t)sites, name, o) {
		const char *state = admin_text(o, "state");

		table_add(&t, span_of(name), LOOK_PLAIN);
		table_add(&t, span_of(state ? state : "unknown"), table_state_look(state ? state : "unknown"));
		table_add(&t, span_of(admin_text(o, "reason")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "local_id")), LOOK_PLAIN);
	}
	putchar('\n');
	if (table_print(&t, stdout, cli->colour))
		cli_complain("no memory");
	table_fini(&t);
}

static void print_operations(const struct cli *cli, const json_t *operations)
{
	static const char *const heads[] = { "OPERATION", "KIND", "METHOD", "PATH", "CREATED", "SITES" };
	const json_t *o;
	struct table t;
	size_t i;

	if (!json_array_size(operations))
		return;
	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	json_array_foreach(operations, i, o) {
		table_add(&t, span_of(admin_text(o, "op")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "kind")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "method")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "path")), LOOK_PLAIN);
		table_add(&t, span_of(admin_text(o, "created")), LOOK_PLAIN);
		add_sites(&t, json_object_get(o, "sites"));
	}
	putchar('\n');
	if (table_print(&t, stdout, cli->colour))
		cli_complain("no memory");
	table_fini(&t);
}

static void print_replica(const struct cli *cli, const json_t *o)
{
	table_put_field(stdout, "meta id", admin_text(o, "meta_id"));
	table_put_field(stdout, "service", admin_text(o, "service"));
	table_put_field(stdout, "collection", admin_text(o, "collection"));
	table_put_field(stdout, "consistency", admin_text(o, "consistency"));
	table_put_field(stdout, "created", admin_text(o, "created"));
	if (admin_text(o, "deleted"))
		table_put_field(stdout, "deleted", admin_text(o, "deleted"));
	print_sites(cli, json_object_get(o, "sites"));
	print_operations(cli, json_object_get(o, "operations"));
}

static int print_one(const struct cli *cli, const struct replicas_words *w)
{
	struct buf path;
	int rc;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/replicas/");
	percent_encode(span_of(w->words[0]), "-._~", &path);
	add_parameter(&path, "service", w->service);
	rc = admin_show(cli, &path, print_replica);
	buf_fini(&path);
	return rc;
}

/* ---- rules -------------------------------------------------------------------------------------------------------- */

static void on_rules(struct table *t, const json_t *page)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(page, "rules"), i, o) {
		char *rule = json_dumps(json_object_get(o, "rule"), JSON_COMPACT | JSON_ENCODE_ANY);

		table_add(t, span_of(admin_text(o, "service")), LOOK_PLAIN);
		table_add(t, span_of(admin_text(o, "collection")), LOOK_PLAIN);
		table_add(t, json_is_true(json_object_get(o, "pinned")) ? SPAN("yes") : SPAN("no"), LOOK_PLAIN);
		table_add(t, span_of(rule ? rule : "?"), LOOK_PLAIN);
		free(rule);
	}
}

static int print_rules(const struct cli *cli, const struct replicas_words *w)
{
	static const char *const heads[] = { "SERVICE", "COLLECTION", "PINNED", "RULE" };
	struct buf path;
	struct table t;
	int rc = CLI_FAILED;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/rules?limit=1000");
	add_parameter(&path, "service", w->service);
	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	if (buf_cstr(&path))
		rc = admin_get_list(cli, buf_cstr(&path), "rules", on_rules, &t);
	if (rc == CLI_DONE)
		rc = admin_print_table(cli, &t, "no rules have been learned");
	table_fini(&t);
	buf_fini(&path);
	return rc;
}

static void print_pinned(const struct cli *cli, const json_t *rule)
{
	(void)cli;
	table_put_clean(stdout, admin_text(rule, "service") ?: "?");
	putchar(' ');
	table_put_clean(stdout, admin_text(rule, "collection") ?: "?");
	printf(": %s\n", json_is_true(json_object_get(rule, "pinned")) ? "pinned" : "not pinned");
}

static int pin(const struct cli *cli, const struct replicas_words *w)
{
	json_t *content = json_pack("{s:s,s:s}", "service", w->service, "collection", w->words[2]);
	char *text = content ? json_dumps(content, 0) : NULL;
	char path[64];
	int rc = CLI_FAILED;

	snprintf(path, sizeof(path), "/v1/rules/%s", w->words[1]);
	if (text)
		rc = admin_change(cli, path, text, print_pinned);
	else
		cli_complain("the service or the collection is no UTF-8 text");
	free(text);
	json_decref(content);
	return rc;
}

static int rules(const struct cli *cli, const struct replicas_words *w)
{
	if (w->site || w->state)
		return cli_usage(w->verb, "rules takes neither --site nor --state");
	if (w->count == 1)
		return print_rules(cli, w);
	if (strcmp(w->words[1], "pin") != 0 && strcmp(w->words[1], "unpin") != 0)
		return cli_usage(w->verb, "rules takes pin or unpin; found \"%s\"", w->words[1]);
	if (w->count == 2)
		return cli_usage(w->verb, "the collection is missing");
	if (!w->service)
		return cli_usage(w->verb, "whose collection? --service is missing");
	return pin(cli, w);
}

/* ---- words -------------------------------------------------------------------------------------------------------- */

static int take(void *arg, int c)
{
	struct replicas_words *w = arg;

	switch (c) {
	case OPT_SERVICE:
		w->service = optarg;
		return CLI_DONE;
	case OPT_SITE:
		w->site = optarg;
		return CLI_DONE;
	case OPT_STATE:
		w->state = optarg;
		return CLI_DONE;
	default:
		if (w->count == WORDS_MOST || (w->count && strcmp(w->words[0], "rules") != 0)) {
			cli_usage(w->verb, "takes one identifier, or rules; found \"%s\" too", optarg);
			return CLI_ARGS_BAD;
		}
		w->words[w->count++] = optarg;
		return CLI_DONE;
	}
}

/* Verbs that act on a replica are a later version's: none of them is an identifier. */
static bool is_later(const char *word)
{
	static const char *const later[] = { "extend", "shrink", "move", "repair", "adopt" };

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(later[i], word) == 0)
			return true;
	return false;
}

int cmd_replicas(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "service", required_argument, NULL, OPT_SERVICE },
		                               { "site", required_argument, NULL, OPT_SITE },
		                               { "state", required_argument, NULL, OPT_STATE },
		                               CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct replicas_words w = { .verb = verb };
	int rc = cli_args_each(&args, NULL, take, &w);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	if (!w.count)
		return print_list(cli, &w);
	if (is_later(w.words[0]))
		return cli_usage(verb, "%s: not in this version", w.words[0]);
	if (strcmp(w.words[0], "rules") == 0)
		return rules(cli, &w);
	if (w.site || w.state)
		return cli_usage(verb, "--site and --state are for the list, not for one replica");
	return print_one(cli, &w);
}
