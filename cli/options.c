/* Options of scopectl: getopt_long with the options that all verbs have, and complaints that name
 * the nearest option.  getopt keeps global state; one pass at a time, which one process that reads
 * its own command line once is content with. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/scope_args.h"

void cli_complain(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++) {
		if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
			*p = '?';
	}
	fprintf(stderr, "scopectl: %s\n", text);
}

int cli_usage(const struct cli_verb *verb, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_complain("%s%s%s", verb ? verb->name : "", verb ? ": " : "", text);
	if (verb)
		fprintf(stderr, "usage: scopectl %s %s\n", verb->name, verb->usage);
	fprintf(stderr, "hint: scopectl %s%s--help\n", verb ? verb->name : "", verb ? " " : "");
	return CLI_USAGE;
}

static void print_verb_help(const struct cli_verb *verb)
{
	printf("usage: scopectl %s %s\n\n%s\n", verb->name, verb->usage, verb->summary);
	if (verb->help && *verb->help)
		printf("\n%s", verb->help);
	printf("\n  --admin URL   the daemon's admin interface (SCOPEMESH_ADMIN; "
	       "default http://127.0.0.1:7401)\n"
	       "  --json        print the daemon's answer as it came\n");
}

static int bad_option(const struct cli_args *args)
{
	const char *word = args->argv[optind - 1];
	struct span name = span_of(word);
	struct nearest near = { 0 };

	if (optopt && optopt < CLI_ARGS_HELP && strncmp(word, "--", 2) != 0) {
		cli_usage(args->verb, "unknown option -%c", optopt);
		return CLI_ARGS_BAD;
	}
	name = span_head(name, span_find(name, '='));
	for (const struct option *o = args->longs; o->name; o++)
		nearest_offer(&near, span_from(name, 2), span_of(o->name));
	if (near.best.n)
		cli_usage(args->verb, "unknown option %.*s; did you mean --%.*s?", SPAN_ARG(name),
		          SPAN_ARG(near.best));
	else
		cli_usage(args->verb, "unknown option %.*s", SPAN_ARG(name));
	return CLI_ARGS_BAD;
}

int cli_args_next(struct cli_args *args)
{
	if (!args->begun) {
		args->begun = true;
		optind = 0; /* glibc: begin anew */
		opterr = 0;
	}
	for (;;) {
		int c = getopt_long(args->argc, args->argv, args->shorts, args->longs, NULL);

		switch (c) {
		case CLI_OPT_ADMIN:
			args->cli->admin = optarg;
			continue;
		case CLI_OPT_JSON:
			args->cli->json = true;
			continue;
		case CLI_OPT_HELP:
			if (args->verb)
				print_verb_help(args->verb);
			return CLI_ARGS_HELP;
		case ':':
			cli_usage(args->verb, "%s needs a value", args->argv[optind - 1]);
			return CLI_ARGS_BAD;
		case '?':
			return bad_option(args);
		default:
			return c;
		}
	}
}

int cli_args_each(struct cli_args *args, struct scope_args *scope, int (*take)(void *arg, int c),
                  void *arg)
{
	int c, rc = CLI_DONE;

	while (rc == CLI_DONE && (c = cli_args_next(args)) != CLI_ARGS_END) {
		if (c == CLI_ARGS_HELP || c == CLI_ARGS_BAD)
			return c;
		if (scope && c != CLI_ARGS_WORD)
			scope_args_end(scope);
		rc = take(arg, c);
	}
	return rc;
}

int cli_args_status(int rc)
{
	if (rc == CLI_ARGS_HELP)
		return CLI_DONE;
	return rc == CLI_ARGS_BAD ? CLI_USAGE : rc;
}

static int refuse_word(void *verb, int c)
{
	(void)c;
	cli_usage(verb, "takes no words; found \"%s\"", optarg);
	return CLI_ARGS_BAD;
}

int cli_args_none(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct cli_verb own = *verb;
	int rc = cli_args_each(&args, NULL, refuse_word, &own);

	if (rc == CLI_DONE && optind < argc) {
		cli_usage(verb, "takes no words; found \"%s\"", argv[optind]);
		return CLI_ARGS_BAD;
	}
	return rc;
}
