/* scopectl run: a tool with a local proxy in its environment.
 *
 * Order: command line, listeners, environment, fork and exec, event loop until the tool ends.  The
 * tool's exit status is ours; a wrong command line is 2, as everywhere in scopectl, and our own
 * trouble 125.  https is never broken open, so a tool that speaks only https gets no scope; that is
 * told at the end, since silence would look like success. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/relay.h"
#include "cli/scope_args.h"

#define TO_MAX 64
#define MAPS_MAX 64
#define TOKEN_BYTES 16

struct map {
	struct span variable, authority, path;
	struct relay_host host;
	bool tls;
};

struct run {
	const struct cli_verb *verb;
	struct scope_args scope;
	struct buf canonical, credentials;
	char token[2 * TOKEN_BYTES + 1];
	struct relay_host to[TO_MAX];
	struct map maps[MAPS_MAX];
	size_t to_count, map_count;
	bool verbose;
	char **command;
	struct relay_rules rules;
	struct event_base *base;
	struct event *stopped; /* the tool seemed to have stopped: look again */
	struct relay *relay;
	struct environment env;
	pid_t pid;
	bool ended;
	int status;
};

/* ---- command line --------------------------------------------------------------------------------- */

static int add_to(struct run *r, const char *text)
{
	if (r->to_count == TO_MAX)
		return cli_usage(r->verb, "more than %d times --to", TO_MAX);
	if (relay_host_parse(span_of(text), 0, &r->to[r->to_count]))
		return cli_usage(r->verb, "--to \"%s\": expected HOST or HOST:PORT", text);
	r->to_count++;
	return CLI_DONE;
}

static int add_map(struct run *r, const char *text)
{
	struct map *map = &r->maps[r->map_count];
	struct span all = span_of(text), url;

	if (r->map_count == MAPS_MAX)
		return cli_usage(r->verb, "more than %d times --map", MAPS_MAX);
	map->variable = span_head(all, span_find(all, '='));
	url = span_from(all, map->variable.n + 1);
	map->tls = span_istarts(url, SPAN("https://"));
	if (!map->variable.n || strspn(text, ENVIRONMENT_NAME_OK) != map->variable.n ||
	    (*text >= '0' && *text <= '9') || (!map->tls && !span_istarts(url, SPAN("http://"))))
		return cli_usage(r->verb, "--map \"%s\": expected VAR=https://HOST[:PORT][/PATH]", text);
	url = span_from(url, map->tls ? 8 : 7);
	map->authority = span_head(url, span_find(url, '/'));
	map->path = span_from(url, map->authority.n);
	if (memchr(url.p, '?', url.n) || memchr(url.p, '#', url.n) || strpbrk(text, "\r\n \t") ||
	    relay_host_parse(map->authority, map->tls ? 443 : 80, &map->host))
		return cli_usage(r->verb, "--map \"%s\": the URL has a host and perhaps a port and path",
		                 text);
	r->map_count++;
	return CLI_DONE;
}

enum { OPT_SCOPE = CLI_OPT_FIRST_OWN, OPT_TO, OPT_MAP };

static int take_option(void *arg, int c)
{
	struct run *r = arg;

	switch (c) {
	case OPT_SCOPE:
		if (scope_args_begin(&r->scope, optarg))
			return cli_usage(r->verb, "--scope is given twice");
		return CLI_DONE;
	case OPT_TO:
		return add_to(r, optarg);
	case OPT_MAP:
		return add_map(r, optarg);
	case CLI_ARGS_WORD:
		if (scope_args_take(&r->scope, optarg))
			return CLI_DONE;
		return cli_usage(r->verb, "\"%s\": the command comes behind --", optarg);
	default:
		r->verbose = true;
		return CLI_DONE;
	}
}

static int settle(struct run *r, bool dashes)
{
	size_t parsed;
	int rc;

	if (!r->scope.given)
		return cli_usage(r->verb, "--scope is missing");
	rc = scope_args_settle(&r->scope, 0, &r->canonical, &parsed, stderr);
	if (rc == ERR_INVALID)
		return cli_usage(r->verb, "\"%s\" is no part of the scope; the command comes behind --",
		                 r->scope.words[parsed]);
	if (rc)
		return rc == ERR_SYNTAX ? CLI_USAGE : CLI_OWN_FAILURE;
	if (!dashes || !*r->command)
		return cli_usage(r->verb, "the command is missing; it comes behind --");
	return CLI_DONE;
}

static int read_command_line(struct run *r, struct cli *cli, int argc, char **argv)
{
	static const struct option longs[] = { { "scope", required_argument, NULL, OPT_SCOPE },
		                               { "to", required_argument, NULL, OPT_TO },
		                               { "map", required_argument, NULL, OPT_MAP },
		                               { "verbose", no_argument, NULL, 'v' },
		                               CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, r->verb, argc, argv, "-:v", longs, false };
	int rc = cli_args_each(&args, &r->scope, take_option, r);

	if (rc != CLI_DONE)
		return rc;
	r->command = argv + optind;
	return settle(r, strcmp(argv[optind - 1], "--") == 0);
}

/* ---- proxy and environment -------------------------------------------------------------------- */

static int make_token(struct run *r)
{
	unsigned char bytes[TOKEN_BYTES];
	char text[sizeof("scope:") + sizeof(r->token)];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return ERR_IO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(r->token + 2 * i, 3, "%02x", bytes[i]);
	snprintf(text, sizeof(text), "scope:%s", r->token);
	relay_base64(span_of(text), &r->credentials);
	return r->credentials.failed ? ERR_NOMEM : 0;
}

static int set_proxy(struct run *r, uint16_t port)
{
	char url[128];

	snprintf(url, sizeof(url), "http://scope:%s@127.0.0.1:%u", r->token, port);
	if (r->verbose &&
	    (environment_get(&r->env, "no_proxy") || environment_get(&r->env, "NO_PROXY")))
		cli_complain("no_proxy is taken out of the tool's environment");
	environment_unset(&r->env, "no_proxy");
	environment_unset(&r->env, "NO_PROXY");
	if (environment_set(&r->env, "http_proxy", span_of(url)) ||
	    environment_set(&r->env, "HTTP_PROXY", span_of(url)))
		return ERR_NOMEM;
	return 0;
}

static int set_scope(struct run *r)
{
	struct span scope = buf_span(&r->canonical);
	struct buf baggage;
	int rc;

	buf_init(&baggage, NULL, 0);
	environment_baggage(scope, environment_get(&r->env, "BAGGAGE"), &baggage);
	rc = baggage.failed ? ERR_NOMEM : environment_set(&r->env, "BAGGAGE", buf_span(&baggage));
	buf_fini(&baggage);
	if (rc || environment_set(&r->env, "SCOPE", scope) ||
	    environment_set(&r->env, "OS_SCOPE", scope))
		return ERR_NOMEM;
	return 0;
}

static int set_map(struct run *r, const struct map *map, struct err *e)
{
	char name[256];
	struct buf url;
	uint16_t port;
	int rc;

	if (map->variable.n >= sizeof(name))
		return err_set(e, ERR_INVALID, "--map: the variable's name is too long");
	rc = relay_map(r->relay, &map->host, map->authority, map->tls, &port, e);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "%.*s", SPAN_ARG(map->variable));
	buf_init(&url, NULL, 0);
	buf_addf(&url, "http://127.0.0.1:%u", port);
	buf_add_span(&url, map->path);
	rc = url.failed ? ERR_NOMEM : environment_set(&r->env, name, buf_span(&url));
	if (r->verbose && !rc)
		cli_complain("%s=%.*s stands for %.*s", name, SPAN_ARG(buf_span(&url)),
		             SPAN_ARG(map->authority));
	buf_fini(&url);
	return rc;
}

static int prepare(struct run *r, struct err *e)
{
	uint16_t port;
	int rc = make_token(r);

	*e = (struct err){ 0 };
	if (rc)
		return err_set(e, rc, "no random token: %s", err_text(rc));
	r->rules = (struct relay_rules){ buf_span(&r->canonical), buf_span(&r->credentials), r->to,
		                         r->to_count };
	r->base = event_base_new();
	r->relay = r->base ? relay_new(r->base, &r->rules, r->verbose) : NULL;
	if (!r->relay || environment_init(&r->env, environ))
		return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	rc = relay_listen(r->relay, &port, e);
	if (rc == 0)
		rc = set_proxy(r, port);
	if (rc == 0)
		rc = set_scope(r);
	for (size_t i = 0; rc == 0 && i < r->map_count; i++)
		rc = set_map(r, &r->maps[i], e);
	if (rc && !*e->text)
		err_set(e, rc, "%s", err_text(rc));
	return rc;
}

/* ---- the tool ---------------------------------------------------------------------------------- */

static void look_at_child(struct run *r, bool again)
{
	static const struct timeval soon = { 0, 20000 };

	switch (child_state(r->pid, &r->status)) {
	case CHILD_RUNS:
		return;
	case CHILD_STOPPED:
		/* The shell may be continuing both of us at this moment, the tool last: what lasts is a stop. */
		if (again)
			child_stop_with(r->pid);
		else
			event_add(r->stopped, &soon);
		return;
	case CHILD_ENDED:
		r->ended = true;
		event_base_loopbreak(r->base);
	}
}

static void on_child(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	look_at_child(arg, false);
}

static void on_stopped(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_at_child(arg, true);
}

static void report(const struct run *r)
{
	struct relay_counts counts = relay_counts_get(r->relay);

	if (counts.scoped)
		return;
	if (counts.plain)
		cli_complain("no request got the scope: none of the %lu went to a host of --to",
		             counts.plain);
	else if (counts.tunnels)
		cli_complain("no request got the scope: https passes through unread; "
		             "give the tool a plain address with --map VAR=https://HOST");
	else
		cli_complain("%s made no request through the proxy: does it use https, or ignore "
		             "http_proxy? --map VAR=URL gives it a plain address",
		             r->command[0]);
}

static int start_failed(const struct run *r, int rc, int error)
{
	if (rc == ERR_BUSY) {
		cli_complain("run: %s", strerror(error));
		return CLI_OWN_FAILURE;
	}
	cli_complain("run: %s: %s", r->command[0], strerror(error));
	return rc == ERR_NOT_FOUND ? CLI_NO_COMMAND : CLI_CANNOT_EXEC;
}

static int run_tool(struct run *r)
{
	struct event *child;
	int rc, error = 0;

	signal(SIGPIPE, SIG_IGN);
	/* Before the fork, so that no end of the tool is missed. */
	child = evsignal_new(r->base, SIGCHLD, on_child, r);
	r->stopped = evtimer_new(r->base, on_stopped, r);
	if (!child || !r->stopped || event_add(child, NULL)) {
		cli_complain("run: %s", err_text(ERR_NOMEM));
		r->status = CLI_OWN_FAILURE;
	} else if ((rc = child_start(r->command, r->env.vars, &r->pid, &error))) {
		r->status = start_failed(r, rc, error);
	} else {
		while (!r->ended && event_base_dispatch(r->base) == 0)
			;
		if (r->ended)
			report(r);
		else
			r->status = CLI_OWN_FAILURE;
	}
	if (child)
		event_free(child);
	if (r->stopped)
		event_free(r->stopped);
	return r->status;
}

static int finish(struct run *r, int status)
{
	relay_free(&r->relay);
	if (r->base)
		event_base_free(r->base);
	environment_fini(&r->env);
	buf_fini(&r->canonical);
	buf_fini(&r->credentials);
	free(r);
	return status;
}

int cmd_run(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct run *r = calloc(1, sizeof(*r));
	struct err e;
	int rc;

	if (!r)
		return CLI_OWN_FAILURE;
	r->verb = verb;
	buf_init(&r->canonical, NULL, 0);
	buf_init(&r->credentials, NULL, 0);
	rc = read_command_line(r, cli, argc, argv);
	if (rc != CLI_DONE)
		return finish(r, cli_args_status(rc));
	if (prepare(r, &e)) {
		cli_complain("run: %s", e.text);
		return finish(r, CLI_OWN_FAILURE);
	}
	return finish(r, run_tool(r));
}
