/* scopectl watch: what changes, a line (or with --json an object) per change, until it is stopped.
 * It asks for /v1/sites and /v1/services every interval and compares with what it saw before, so that it needs
 * nothing of the daemon that other verbs do not.  A daemon that goes away is a change too. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/admin.h"
#include "cli/cli.h"

#define INTERVAL_MS 1000L
#define INTERVAL_MAX_MS 3600000L

/* what: "site" or "instance"; state as the daemon says it, "gone" for what is not listed any more. */
struct watch {
	struct cli *cli;
	const struct cli_verb *verb;
	long interval_ms;
	unsigned count;   /* rounds, 0: for ever */
	json_t *states;   /* "site dc2" -> "connected" */
	bool reachable;
	bool failed;      /* out of memory */
};

static void now_text(char *out, size_t room)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, room - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* was NULL: seen for the first time. */
static void tell(struct watch *w, const char *what, const char *was, const char *is)
{
	char ts[40];

	now_text(ts, sizeof(ts));
	if (w->cli->json) {
		json_t *line = json_pack("{s:s, s:s, s:s?, s:s}", "ts", ts, "what", what, "was", was, "is", is);

		if (!line || json_dumpf(line, stdout, JSON_COMPACT))
			w->failed = true;
		putchar('\n');
		json_decref(line);
		return;
	}
	printf("%s  ", ts);
	table_put_clean(stdout, what);
	putchar(' ');
	if (was) {
		table_put(stdout, w->cli->colour, table_state_look(was), was);
		fputs(" -> ", stdout);
	}
	table_put(stdout, w->cli->colour, table_state_look(is), is);
	putchar('\n');
}

/* Into seen; told when it differs from what was known. */
static void observe(struct watch *w, json_t *seen, const char *kind, const char *name, const char *state)
{
	struct buf what;
	const char *text, *was;

	buf_init(&what, NULL, 0);
	buf_addf(&what, "%s %s", kind, name ? name : "?");
	text = buf_cstr(&what);
	if (!text || json_object_set_new(seen, text, json_string(state ? state : "unknown"))) {
		w->failed = true;
		buf_fini(&what);
		return;
	}
	was = admin_text(w->states, text);
	if (!was || strcmp(was, admin_text(seen, text)) != 0)
		tell(w, text, was, admin_text(seen, text));
	buf_fini(&what);
}

static void observe_sites(struct watch *w, json_t *seen, const json_t *page)
{
	const json_t *site;
	size_t i;

	json_array_foreach(json_object_get(page, "sites"), i, site)
		observe(w, seen, "site", admin_text(site, "name"), admin_text(site, "state"));
}

static void observe_services(struct watch *w, json_t *seen, const json_t *page)
{
	const json_t *service, *instance;
	struct buf name;
	size_t i, k;

	buf_init(&name, NULL, 0);
	json_array_foreach(json_object_get(page, "services"), i, service)
		json_array_foreach(json_object_get(service, "instances"), k, instance) {
			const char *url = admin_text(instance, "url"), *text = admin_text(service, "service");
			const char *site = admin_text(service, "site");

			buf_consume(&name, buf_len(&name));
			buf_addf(&name, "%s@%s %s", text ? text : "?", site ? site : "?", url ? url : "?");
			observe(w, seen, "instance", buf_cstr(&name), admin_text(instance, "health"));
		}
	buf_fini(&name);
}

static void tell_gone(struct watch *w, const json_t *seen)
{
	const char *what;
	json_t *was;

	json_object_foreach(w->states, what, was)
		if (!json_object_get(seen, what))
			tell(w, what, json_string_value(was), "gone");
}

static int look(struct watch *w)
{
	struct admin_answer sites = { 0 }, services = { 0 };
	json_t *seen = json_object();
	int rc = admin_get_object(w->cli, "/v1/sites?limit=1000", "sites", &sites);

	if (rc == CLI_DONE)
		rc = admin_get_object(w->cli, "/v1/services?limit=1000", "services", &services);
	if (rc == CLI_DONE && seen) {
		observe_sites(w, seen, sites.json);
		observe_services(w, seen, services.json);
		tell_gone(w, seen);
		json_decref(w->states);
		w->states = json_incref(seen);
	}
	if (!seen)
		w->failed = true;
	json_decref(seen);
	admin_answer_fini(&sites);
	admin_answer_fini(&services);
	fflush(stdout);
	return rc;
}

static void wait_for_the_next_round(const struct watch *w)
{
	struct timespec pause = { w->interval_ms / 1000, w->interval_ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

static int watch(struct watch *w)
{
	int rc = CLI_DONE;

	for (unsigned round = 0; (!w->count || round < w->count) && !w->failed && !ferror(stdout); round++) {
		if (round)
			wait_for_the_next_round(w);
		rc = look(w);
		if (rc != CLI_DONE && (rc != CLI_NO_DAEMON || !round))
			return rc;
		if (round && w->reachable != (rc == CLI_DONE))
			tell(w, "daemon", w->reachable ? "reachable" : "unreachable",
			     w->reachable ? "unreachable" : "reachable");
		fflush(stdout);
		w->reachable = rc == CLI_DONE;
	}
	if (w->failed)
		cli_complain("no memory");
	return w->failed || ferror(stdout) ? CLI_FAILED : rc;
}

enum { OPT_INTERVAL = CLI_OPT_FIRST_OWN, OPT_COUNT };

static int take(void *arg, int c)
{
	struct watch *w = arg;
	char *end = NULL;
	double seconds;

	if (c == CLI_ARGS_WORD) {
		cli_usage(w->verb, "takes no words; found \"%s\"", optarg);
		return CLI_ARGS_BAD;
	}
	seconds = strtod(optarg, &end);
	if (end == optarg || *end || !(seconds > 0 && seconds * 1000 <= INTERVAL_MAX_MS)) {
		cli_usage(w->verb, "\"%s\": expected a number above 0, at most 3600", optarg);
		return CLI_ARGS_BAD;
	}
	if (c == OPT_COUNT)
		w->count = seconds < 1 ? 1 : (unsigned)seconds;
	else
		w->interval_ms = seconds * 1000 < 1 ? 1 : (long)(seconds * 1000);
	return CLI_DONE;
}

int cmd_watch(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "interval", required_argument, NULL, OPT_INTERVAL },
		                               { "count", required_argument, NULL, OPT_COUNT },
		                               CLI_COMMON_OPTIONS };
	struct cli_args args = { cli, verb, argc, argv, "-:", longs, false };
	struct watch w = { cli, verb, INTERVAL_MS, 0, NULL, true, false };
	int rc = cli_args_each(&args, NULL, take, &w);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	w.states = json_object();
	if (!w.states)
		w.failed = true;
	rc = watch(&w);
	json_decref(w.states);
	return rc;
}
