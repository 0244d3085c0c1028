/* scopectl ca init, issue, revoke: a private authority without openssl's command line (cli/ca.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/ca.h"
#include "cli/cli.h"
#include "cli/table.h"

#define DEFAULT_DIR "scopemesh-ca"
#define MOST_DAYS 36500 /* a certificate ends with the authority at the latest */

enum { OPT_DIR = CLI_OPT_FIRST_OWN, OPT_DAYS };

struct ca_call {
	const struct cli_verb *verb;
	const char *action, *site, *dir, *days;
};

static int take(void *arg, int c)
{
	struct ca_call *call = arg;

	switch (c) {
	case OPT_DIR:
		call->dir = optarg;
		return CLI_DONE;
	case OPT_DAYS:
		call->days = optarg;
		return CLI_DONE;
	default:
		if (!call->action)
			call->action = optarg;
		else if (!call->site)
			call->site = optarg;
		else
			return cli_usage(call->verb, "a word too many: \"%s\"", optarg);
		return CLI_DONE;
	}
}

static int failed(const struct err *e)
{
	cli_complain("ca: %s", e->text);
	return e->code == ERR_INVALID ? CLI_USAGE : CLI_FAILED;
}

static void say(const char *before, const char *dir, const char *name, const char *after)
{
	fputs(before, stdout);
	table_put_clean(stdout, dir);
	putchar('/');
	table_put_clean(stdout, name);
	fputs(after, stdout);
}

static int init(const struct ca_call *call)
{
	struct err e;

	if (call->site || call->days)
		return cli_usage(call->verb, "init takes no site and no --days");
	if (ca_init(call->dir, &e))
		return failed(&e);
	say("", call->dir, "ca", ".pem   for every site: mesh.tls.ca\n");
	say("", call->dir, "ca", ".key   stays here, and in a safe place\n");
	return CLI_DONE;
}

static int days_of(const struct ca_call *call, int *days_r)
{
	unsigned long long n = (unsigned long long)*days_r;

	if (call->days && (!span_to_u64(span_of(call->days), MOST_DAYS, &n) || !n))
		return cli_usage(call->verb, "--days takes a number from 1 to %d", MOST_DAYS);
	*days_r = (int)n;
	return CLI_DONE;
}

static int issue(const struct ca_call *call)
{
	struct ca_issued issued;
	struct err e;
	int days = CA_SITE_DAYS, rc = days_of(call, &days);

	if (rc != CLI_DONE)
		return rc;
	if (ca_issue(call->dir, call->site, days, &issued, &e))
		return failed(&e);
	say("", call->dir, call->site, ".pem");
	printf("   valid until %s: mesh.tls.cert\n", issued.until);
	say("", call->dir, call->site, ".key   mesh.tls.key\n");
	if (issued.shortened)
		fprintf(stderr, "scopectl: ca: it ends with the authority\n");
	if (issued.replaced)
		fprintf(stderr, "scopectl: ca: the files of an earlier certificate were replaced; it stays valid until it ends "
		                "or is revoked\n");
	return CLI_DONE;
}

static int revoke_site(const struct ca_call *call)
{
	unsigned count;
	struct err e;

	if (call->days)
		return cli_usage(call->verb, "revoke takes no --days");
	if (ca_revoke(call->dir, call->site, &count, &e))
		return failed(&e);
	say("", call->dir, "crl", ".pem   for every site: mesh.tls.crl\n");
	printf("%u certificate%s of this site %s on it\n", count, count == 1 ? "" : "s", count == 1 ? "is" : "are");
	return CLI_DONE;
}

static int run(const struct ca_call *call)
{
	struct nearest near = { 0 };

	if (!call->action)
		return cli_usage(call->verb, "init, issue or revoke is missing");
	if (!strcmp(call->action, "init"))
		return init(call);
	if (strcmp(call->action, "issue") != 0 && strcmp(call->action, "revoke") != 0) {
		nearest_offer(&near, span_of(call->action), SPAN("init"));
		nearest_offer(&near, span_of(call->action), SPAN("issue"));
		nearest_offer(&near, span_of(call->action), SPAN("revoke"));
		return near.best.n ? cli_usage(call->verb, "\"%s\" is none of init, issue, revoke; did you mean %.*s?",
		                               call->action, SPAN_ARG(near.best))
		                   : cli_usage(call->verb, "\"%s\" is none of init, issue, revoke", call->action);
	}
	if (!call->site)
		return cli_usage(call->verb, "%s: a site is missing", call->action);
	return *call->action == 'i' ? issue(call) : revoke_site(call);
}

int cmd_ca(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "dir", required_argument, NULL, OPT_DIR },
		                               { "days", required_argument, NULL, OPT_DAYS },
		                               CLI_COMMON_OPTIONS };
	struct ca_call call = { .verb = verb, .dir = DEFAULT_DIR };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	int rc = cli_args_each(&args, NULL, take, &call);

	for (int i = optind; rc == CLI_DONE && i < argc; i++) {
		optarg = argv[i];
		rc = take(&call, CLI_ARGS_WORD);
	}
	return rc == CLI_DONE ? run(&call) : cli_args_status(rc);
}
