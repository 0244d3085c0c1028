/* scopectl: the command line of Scopemesh for operators and clients.  This file owns the table of
 * verbs, from which help is printed, and finds the verb; each verb is a file of its own. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "cli/cli.h"

#define DEFAULT_ADMIN "http://127.0.0.1:7401"

static const struct cli_verb verbs[] = {
	{ "status", "", "Is the daemon ready, which sites and services does it see", "", cmd_status },
	{ "sites", "", "The sites, their state and distance",
	  "The site whose proxy answers is marked with *.\n", cmd_sites },
	{ "services", "", "The services of every site and their instances", "", cmd_services },
	{ "replicas", "[META | rules [pin|unpin COLLECTION]] [--service S] [--site SITE] [--state STATE]",
	  "What is replicated where, and in which state",
	  "With META one replica and its last operations; rules: what was learned of undeclared resources.\n\n"
	  "  --service S           of this service only; needed where several have META, and to pin a rule\n"
	  "  --site SITE           with a replica at this site\n"
	  "  --state STATE         with a replica in this state (at SITE, where that is given): synced, queued,\n"
	  "                        in-doubt, held, undoing, conflict, failed\n"
	  "  rules pin COLLECTION    keep a learned rule as it is; unpin: let it be learned anew\n",
	  cmd_replicas },
	{ "queue", "[show|retry|drop OP | settle OP --as done|retry|drop] [--site SITE] [--local-id ID]",
	  "What is yet to be executed at which site",
	  "show OP: one operation, and where it stands at each site.\n"
	  "retry OP: what is queued, held or failed is tried at once. drop OP: never.\n"
	  "settle OP: what is in doubt. Look at the application of that site first.\n\n"
	  "  --as done             it was executed; of a create the application's id is needed:\n"
	  "  --local-id ID         what the application calls what it made\n"
	  "  --as retry            it was not: execute it once more; --as drop: give it up\n"
	  "  --site SITE           at this site only; by default wherever the verb can act\n",
	  cmd_queue },
	{ "watch", "[--interval SECONDS] [--count N]", "What changes of sites and instances, line by line",
	  "First what there is, then a line per change, until it is stopped. With --json a line is an object.\n\n"
	  "  --interval SECONDS    between two looks (1)\n"
	  "  --count N             looks in all; without it, until it is stopped\n",
	  cmd_watch },
	{ "site", "fence|unfence|detach|autonomous|attended SITE", "Mark a site",
	  "fence: nothing goes to the site or comes from it, until unfence.\n"
	  "autonomous: the site is known to work offline, what waits for it never expires; until attended.\n"
	  "detach: the site is gone for good; it returns only as an empty site.\n",
	  cmd_site },
	{ "reload", "", "Let the daemon take its configuration again",
	  "Prints what changed and what needs a restart. When the file is refused, everything stays as\n"
	  "it was, the errors are printed, and it exits 1.\n", cmd_reload },
	{ "loglevel", "error|warn|info|debug", "What the daemon logs, until the next reload", "", cmd_loglevel },
	{ "ca", "init|issue SITE|revoke SITE [--dir DIR] [--days N]",
	  "A private authority for the certificates between sites",
	  "  init            DIR/ca.pem and DIR/ca.key; creates DIR, never overwrites an authority\n"
	  "  issue SITE      DIR/SITE.pem and DIR/SITE.key; replaces the files of an earlier one\n"
	  "  revoke SITE     puts all certificates issued to SITE so far on DIR/crl.pem\n\n"
	  "  --dir DIR       the authority's folder (default: scopemesh-ca)\n"
	  "  --days N        how long a site's certificate is valid (default: 825)\n\n"
	  "ca.key and the keys of other sites never leave the folder; a site gets ca.pem, its own two\n"
	  "files and, once there is one, crl.pem. Daemons read them again when they change.\n",
	  cmd_ca },
	{ "explain", "TEXT...", "What a scope means here, and what is wrong with it",
	  "The words are one scope. A text that is no scope exits 2, without any daemon; when the\n"
	  "daemon cannot be reached the text is still checked and its tree printed, and it exits 3.\n",
	  cmd_explain },
	{ "doctor", "[--service S [--path PATH] [-X METHOD] [-d DATA] [-H HEADER]... [--wait SECONDS]]",
	  "What is wrong, with a hint per failure",
	  "Checks the daemon, its configuration, addresses, certificates, files and limits, the ways to\n"
	  "and from the other sites, clocks, releases, instances and carriers. With --service it sends a marked\n"
	  "request to the service and watches its calls: which carriers survive the application?\n\n"
	  "  --service S           a service of this site\n"
	  "  --path PATH           of a request on which it calls other services; its prefix by default\n"
	  "  -X METHOD, -d DATA, -H 'NAME: VALUE'  as of request\n"
	  "  --wait SECONDS        how long calls are waited for (10)\n\n"
	  "Exits 1 when a check fails, 3 when the daemon cannot be reached.\n",
	  cmd_doctor },
	{ "request", "[--scope TEXT] [OPTION...] URL", "One HTTP request with a scope, as curl does it",
	  "The body goes to standard output, the rest to standard error: on a terminal also how far it\n"
	  "is, where the body goes elsewhere. Exits 0 on 1xx-3xx, 1 on 4xx, 5xx or no answer.\n\n"
	  "  --scope TEXT          words up to the next option or the URL\n"
	  "  -X METHOD             method\n"
	  "  -d, --data DATA       body; @FILE streams the file as it is, @- standard input\n"
	  "      --data-binary DATA  the same\n"
	  "  -T FILE               PUT the file (- is standard input)\n"
	  "  -H 'NAME: VALUE'      header\n"
	  "  -o FILE               body into FILE\n"
	  "  -i                    heads to standard output too\n"
	  "  -I                    HEAD\n"
	  "  -s                    no line about errors; -S: but for no answer\n"
	  "  -v                    show the exchange and which site served it\n"
	  "  --max-time SECONDS, --connect-timeout SECONDS\n",
	  cmd_request },
	{ "run", "--scope TEXT [--to HOST[:PORT]]... [--map VAR=URL]... -- COMMAND [ARG...]",
	  "Start a tool whose HTTP requests get the scope",
	  "The tool finds a local proxy in http_proxy and HTTP_PROXY, and the scope in SCOPE, OS_SCOPE\n"
	  "and BAGGAGE; no_proxy is taken away. https is never broken open.\n\n"
	  "  --scope TEXT          words up to the next option\n"
	  "  --to HOST[:PORT]      scope only requests to HOST; repeatable\n"
	  "  --map VAR=URL         set VAR to a local plain address that stands for the https URL\n"
	  "  -v                    say on standard error what happens to each request\n\n"
	  "Exits as the tool does, 128+N when signal N ended it, 125 when scopectl fails, 126 when\n"
	  "the command cannot be started, 127 when it is not found.\n",
	  cmd_run },
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* Verbs of the contract that this version does not have yet. */
static const char *const later[] = { "conflicts", "tap", "backup", "completion" };

static int print_help(void)
{
	printf("usage: scopectl [--admin URL] [--json] VERB [ARG...]\n\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
	printf("\n  --admin URL   the daemon's admin interface (SCOPEMESH_ADMIN; default %s)\n"
	       "  --json        print the daemon's answer as it came\n"
	       "  --version     print the version\n\n"
	       "scopectl VERB --help says more about a verb.\n",
	       DEFAULT_ADMIN);
	return CLI_DONE;
}

static const struct cli_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

static int unknown_verb(const char *name)
{
	struct nearest near = { 0 };

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		if (strcmp(later[i], name) == 0) {
			cli_complain("%s: not in this version", name);
			return CLI_USAGE;
		}
	}
	for (size_t i = 0; i < VERBS; i++)
		nearest_offer(&near, span_of(name), span_of(verbs[i].name));
	nearest_offer(&near, span_of(name), SPAN("help"));
	if (near.best.n)
		return cli_usage(NULL, "unknown verb \"%s\"; did you mean %.*s?", name,
		                 SPAN_ARG(near.best));
	return cli_usage(NULL, "unknown verb \"%s\"", name);
}

static int help(int argc, char **argv, struct cli *cli)
{
	static char help_option[] = "--help";
	const struct cli_verb *verb;
	char *args[] = { NULL, help_option, NULL };

	if (argc < 2)
		return print_help();
	verb = find_verb(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	args[0] = argv[1];
	return verb->run(cli, verb, 2, args);
}

static int run_verb(struct cli *cli, int argc, char **argv)
{
	const struct cli_verb *verb;

	if (argc < 1)
		return cli_usage(NULL, "a verb is missing");
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv, cli);
	verb = find_verb(argv[0]);
	return verb ? verb->run(cli, verb, argc, argv) : unknown_verb(argv[0]);
}

static void settings_from_environment(struct cli *cli)
{
	const char *admin = getenv("SCOPEMESH_ADMIN"), *no_colour = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	cli->admin = admin && *admin ? admin : DEFAULT_ADMIN;
	cli->colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour) &&
	              !(term && strcmp(term, "dumb") == 0);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "version", no_argument, NULL, CLI_OPT_FIRST_OWN },
		                               CLI_COMMON_OPTIONS };
	struct cli cli = { 0 };
	struct cli_args args = { &cli, NULL, argc, argv, "+:h", longs, false };
	int c, status;

	settings_from_environment(&cli);
	while ((c = cli_args_next(&args)) != CLI_ARGS_END) {
		if (c == CLI_ARGS_HELP || c == 'h')
			return print_help();
		if (c == CLI_ARGS_BAD)
			return CLI_USAGE;
		printf("scopectl %s\n", PACKAGE_VERSION);
		return CLI_DONE;
	}
	status = run_verb(&cli, argc - optind, argv + optind);
	if (fflush(stdout) && status == CLI_DONE)
		status = CLI_FAILED;
	return status;
}
