/* What every verb of scopectl shares: settings, exit statuses, the table of verbs, options. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum cli_status {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NO_DAEMON = 3,
	CLI_OWN_FAILURE = 125, /* run: scopectl itself failed, not the tool */
	CLI_CANNOT_EXEC = 126, /* run: found, but cannot be started */
	CLI_NO_COMMAND = 127,  /* run: not found */
};

struct cli {
	const char *admin; /* URL of the admin interface, or unix:/PATH */
	bool json;         /* print the daemon's answers as they came */
	bool colour;       /* standard output is a terminal and NO_COLOR is not set */
};

struct cli_verb {
	const char *name;
	const char *usage;   /* arguments, behind the name */
	const char *summary; /* one line for the list of verbs */
	const char *help;    /* what --help prints below the usage */
	int (*run)(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
};

int cmd_status(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_sites(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_services(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_explain(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_request(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_reload(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_loglevel(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_ca(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_site(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_watch(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_doctor(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_replicas(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_queue(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
int cmd_run(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);

/* "scopectl: " and the text on standard error, control characters made visible. */
void cli_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- options ------------------------------------------------------------------------------- */

enum {
	CLI_ARGS_END = -1,
	CLI_ARGS_WORD = 1, /* optarg is a word that belongs to no option */
	CLI_ARGS_HELP = 1000, /* help was printed */
	CLI_ARGS_BAD,         /* the complaint was printed */
	CLI_OPT_ADMIN,
	CLI_OPT_JSON,
	CLI_OPT_HELP,
	CLI_OPT_FIRST_OWN, /* values for a verb's own long options begin here */
};

/* Rows that every verb's table of long options ends with. */
#define CLI_COMMON_OPTIONS \
	{ "admin", required_argument, NULL, CLI_OPT_ADMIN }, \
	{ "json", no_argument, NULL, CLI_OPT_JSON }, { "help", no_argument, NULL, CLI_OPT_HELP }, \
	{ NULL, 0, NULL, 0 }

struct cli_args {
	struct cli *cli;
	const struct cli_verb *verb; /* NULL: the words before the verb */
	int argc;
	char **argv;
	const char *shorts; /* getopt's, beginning with "-:" (words in order) or "+:" (up to the verb) */
	const struct option *longs;
	bool begun;
};

/* Next option (its value), CLI_ARGS_WORD, or one of the ends. The common options are taken care of.
 * After CLI_ARGS_END optind is the first word behind "--". */
int cli_args_next(struct cli_args *args);
/* Every option and word to take(), which returns CLI_DONE to go on; scope (may be NULL) ends at
 * each option. CLI_DONE, CLI_ARGS_HELP, CLI_ARGS_BAD, or what take returned. */
struct scope_args;
int cli_args_each(struct cli_args *args, struct scope_args *scope, int (*take)(void *arg, int c),
                  void *arg) MUST_CHECK;
/* The exit status for a result of cli_args_each or cli_args_none. */
int cli_args_status(int rc);
/* For verbs without words or options of their own: CLI_DONE, or CLI_ARGS_HELP or CLI_ARGS_BAD. */
int cli_args_none(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
/* Complains, points to the verb's --help, and returns CLI_USAGE. */
int cli_usage(const struct cli_verb *verb, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
