/* scopectl site VERB NAME: an operator's marks, POST /v1/sites/NAME/VERB. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/percent.h"
#include "cli/admin.h"
#include "cli/cli.h"

static const char *const site_verbs[] = { "fence", "unfence", "detach", "autonomous", "attended" };
#define SITE_VERBS (sizeof(site_verbs) / sizeof(site_verbs[0]))

struct site_words { const struct cli_verb *verb; const char *action, *name; };

static int take_word(void *arg, int c)
{
	struct site_words *w = arg;

	(void)c;
	if (w->name) {
		cli_usage(w->verb, "takes one site; found \"%s\" too", optarg);
		return CLI_ARGS_BAD;
	}
	*(w->action ? &w->name : &w->action) = optarg;
	return CLI_DONE;
}

static bool is_site_verb(const char *action)
{
	for (size_t i = 0; i < SITE_VERBS; i++)
		if (strcmp(site_verbs[i], action) == 0)
			return true;
	return false;
}

static int unknown_action(const struct cli_verb *verb, const char *action)
{
	struct nearest near = { 0 };

	for (size_t i = 0; i < SITE_VERBS; i++)
		nearest_offer(&near, span_of(action), span_of(site_verbs[i]));
	if (near.best.n)
		return cli_usage(verb, "unknown verb \"%s\" for a site; did you mean %.*s?", action,
		                 SPAN_ARG(near.best));
	return cli_usage(verb, "unknown verb \"%s\" for a site", action);
}

static int mark(const struct cli *cli, const char *action, const char *name)
{
	struct admin_answer answer;
	struct buf path;
	const char *text;
	int rc;

	buf_init(&path, NULL, 0);
	buf_add_z(&path, "/v1/sites/");
	percent_encode(span_of(name), "-._~", &path);
	buf_addf(&path, "/%s", action);
	text = buf_cstr(&path);
	if (!text) {
		buf_fini(&path);
		cli_complain("no memory");
		return CLI_FAILED;
	}
	rc = admin_send(cli, "POST", text, "{}", &answer);
	if (rc == CLI_DONE && cli->json)
		fwrite(buf_span(&answer.body).p, 1, buf_len(&answer.body), stdout);
	if (rc == CLI_DONE && answer.status / 100 != 2) {
		rc = admin_complain(cli, text, &answer);
	} else if (rc == CLI_DONE && !cli->json) {
		const char *state = admin_text(answer.json, "state");

		table_put_clean(stdout, name);
		printf(": ");
		table_put_clean(stdout, state ? state : action);
		putchar('\n');
	}
	admin_answer_fini(&answer);
	buf_fini(&path);
	return rc;
}

int cmd_site(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct site_words words = { verb, NULL, NULL };
	int rc = cli_args_each(&args, NULL, take_word, &words);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	if (!words.action)
		return cli_usage(verb, "what to do is missing: fence, unfence, detach, autonomous or attended");
	if (!is_site_verb(words.action))
		return unknown_action(verb, words.action);
	if (!words.name)
		return cli_usage(verb, "the site is missing");
	return mark(cli, words.action, words.name);
}
