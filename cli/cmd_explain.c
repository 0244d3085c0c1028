/* scopectl explain: a linter without a daemon (the scope library judges the text), and with one
 * what the scope means at its site: expansion, state and addresses. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/scope_args.h"
#include "cli/table.h"

static void print_labelled(const char *label, const char *text)
{
	if (!text || !*text)
		return;
	printf("%s", label);
	table_put_clean(stdout, text);
	putchar('\n');
}

static int print_sites(const struct cli *cli, const json_t *sites)
{
	static const char *const heads[] = { "  SITE", "STATE", ">RTT", "ADDRESSES" };
	struct buf addresses;
	const json_t *site;
	struct table t;
	size_t i;
	int rc;

	if (!json_array_size(sites))
		return 0;
	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	buf_init(&addresses, NULL, 0);
	json_array_foreach(sites, i, site) {
		const char *name = admin_text(site, "site"), *state = admin_text(site, "state");
		const json_t *rtt = json_object_get(site, "rtt_ms");

		table_addf(&t, "  %s", name ? name : "?");
		table_add(&t, span_of(state), table_state_look(state ? state : ""));
		if (json_is_number(rtt))
			table_addf(&t, "%.1f ms", json_number_value(rtt));
		else
			table_add(&t, SPAN(""), LOOK_DIM);
		admin_join(json_object_get(site, "addresses"), " ", &addresses);
		table_add(&t, buf_span(&addresses), LOOK_PLAIN);
		buf_fini(&addresses);
	}
	rc = table_print(&t, stdout, cli->colour);
	table_fini(&t);
	return rc;
}

static int print_bindings(const struct cli *cli, const json_t *bindings)
{
	const json_t *binding, *note, *notes;
	size_t i, k;

	json_array_foreach(bindings, i, binding) {
		putchar('\n');
		print_labelled("service   ", admin_text(binding, "service"));
		print_labelled("location  ", admin_text(binding, "location"));
		print_labelled("expansion ", admin_text(binding, "expansion"));
		if (print_sites(cli, json_object_get(binding, "sites")))
			return CLI_FAILED;
		notes = json_object_get(binding, "notes");
		print_labelled("note: ", json_string_value(notes));
		json_array_foreach(notes, k, note)
			print_labelled("note: ", json_string_value(note));
	}
	return CLI_DONE;
}

static int ask_daemon(struct cli *cli, struct span text, struct admin_answer *answer_r)
{
	char *escaped = curl_easy_escape(NULL, text.p, (int)text.n);
	struct buf path;
	int rc = CLI_FAILED;

	/* An empty text has nothing to escape, and a length of 0 would mean strlen. */
	buf_init(&path, NULL, 0);
	buf_addf(&path, "/v1/scope/explain?scope=%s", text.n && escaped ? escaped : "");
	if (escaped && buf_cstr(&path))
		rc = admin_get_object(cli, buf_cstr(&path), "bindings", answer_r);
	curl_free(escaped);
	buf_fini(&path);
	return rc;
}

static int explain(struct cli *cli, struct span text, struct buf *canonical, struct buf *tree)
{
	struct admin_answer answer = { 0 };
	int rc;

	if (scope_text_read(text, canonical, tree, stderr) || !buf_cstr(canonical) || !buf_cstr(tree))
		return CLI_USAGE;
	rc = ask_daemon(cli, text, &answer);
	if (rc == CLI_DONE && cli->json) {
		fwrite(buf_span(&answer.body).p, 1, buf_len(&answer.body), stdout);
	} else if (rc == CLI_DONE || rc == CLI_NO_DAEMON) {
		printf("canonical ");
		table_put_clean(stdout, buf_cstr(canonical));
		/* The tree's lines are ours: names in it hold no control characters (spec 2.2). */
		printf("\n%s", buf_cstr(tree));
		if (rc == CLI_DONE)
			rc = print_bindings(cli, json_object_get(answer.json, "bindings"));
		else
			cli_complain("without the daemon only the text was checked, not its sites");
	}
	admin_answer_fini(&answer);
	return rc;
}

int cmd_explain(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct scope_args words = { 0 };
	struct buf text, canonical, tree;
	int c, rc;

	while ((c = cli_args_next(&args)) != CLI_ARGS_END) {
		if (c != CLI_ARGS_WORD)
			return c == CLI_ARGS_HELP ? CLI_DONE : CLI_USAGE;
		if (!scope_args_take(&words, optarg) && scope_args_begin(&words, optarg))
			return cli_usage(verb, "too many words");
	}
	for (; optind < argc; optind++) {
		if (!scope_args_take(&words, argv[optind]) && scope_args_begin(&words, argv[optind]))
			return cli_usage(verb, "too many words");
	}
	if (!words.given)
		return cli_usage(verb, "a scope is missing");
	buf_init(&text, NULL, 0);
	buf_init(&canonical, NULL, 0);
	buf_init(&tree, NULL, 0);
	scope_args_join(&words, words.count, &text);
	rc = explain(cli, buf_span(&text), &canonical, &tree);
	buf_fini(&text);
	buf_fini(&canonical);
	buf_fini(&tree);
	return rc;
}
