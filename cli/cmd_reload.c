/* scopectl reload and loglevel: POST /v1/reload, PUT /v1/log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"

/* ---- reload ------------------------------------------------------------------------------------------------------ */

static void print_each(const char *label, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line) {
		fputs(label, stdout);
		table_put_clean(stdout, json_string_value(line));
		putchar('\n');
	}
}

/* An error is some lines of text, which stay lines. */
static void print_error(const char *text)
{
	char line[512];

	while (text && *text) {
		size_t n = strcspn(text, "\n");

		snprintf(line, sizeof(line), "%.*s", (int)n, text);
		table_put_clean(stderr, line);
		fputc('\n', stderr);
		text += n + (text[n] == '\n');
	}
}

static int refused(const struct cli *cli, const struct admin_answer *answer)
{
	const json_t *errors = json_object_get(answer->json, "errors"), *error;
	size_t i;

	admin_complain(cli, "/v1/reload", answer);
	json_array_foreach(errors, i, error)
		print_error(json_string_value(error));
	return CLI_FAILED;
}

int cmd_reload(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct admin_answer answer;
	int rc = cli_args_none(cli, verb, argc, argv);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	rc = admin_send(cli, "POST", "/v1/reload", "{}", &answer);
	if (rc != CLI_DONE) {
		admin_answer_fini(&answer);
		return rc;
	}
	if (cli->json)
		fwrite(buf_span(&answer.body).p, 1, buf_len(&answer.body), stdout);
	if (answer.status / 100 != 2) {
		rc = cli->json ? CLI_FAILED : refused(cli, &answer);
	} else if (!cli->json) {
		const char *file = admin_text(answer.json, "file");

		printf("reloaded ");
		table_put_clean(stdout, file ? file : "");
		putchar('\n');
		print_each("changed: ", json_object_get(answer.json, "changed"));
		print_each("listening on ", json_object_get(answer.json, "opened"));
		print_each("no longer listening on ", json_object_get(answer.json, "closed"));
		print_each("", json_object_get(answer.json, "restart"));
	}
	admin_answer_fini(&answer);
	return rc;
}

/* ---- loglevel ---------------------------------------------------------------------------------------------------- */

struct level_word { const struct cli_verb *verb; const char *text; };

static int take_word(void *arg, int c)
{
	struct level_word *w = arg;

	(void)c;
	if (w->text) {
		cli_usage(w->verb, "takes one word; found \"%s\" too", optarg);
		return CLI_ARGS_BAD;
	}
	w->text = optarg;
	return CLI_DONE;
}

static int set_level(const struct cli *cli, const char *level)
{
	struct admin_answer answer;
	json_t *doc = json_pack("{s:s}", "level", level);
	char *content = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	int rc = CLI_FAILED;

	json_decref(doc);
	if (!content) {
		cli_complain("\"%s\" is no text", level);
		return CLI_USAGE;
	}
	rc = admin_send(cli, "PUT", "/v1/log", content, &answer);
	free(content);
	if (rc == CLI_DONE && cli->json)
		fwrite(buf_span(&answer.body).p, 1, buf_len(&answer.body), stdout);
	else if (rc == CLI_DONE && answer.status == 200)
		printf("log level: %s (was %s)\n", admin_text(answer.json, "level"), admin_text(answer.json, "was"));
	if (rc == CLI_DONE && answer.status != 200)
		rc = admin_complain(cli, "/v1/log", &answer);
	admin_answer_fini(&answer);
	return rc;
}

int cmd_loglevel(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct level_word word = { verb, NULL };
	int rc = cli_args_each(&args, NULL, take_word, &word);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	if (!word.text)
		return cli_usage(verb, "a level is missing: error, warn, info or debug");
	return set_level(cli, word.text);
}
