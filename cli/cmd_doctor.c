/* scopectl doctor: the table of checks, and the form of what they say.
 *
 *	✓ daemon        ready; scopemeshd 0.1.0 of site dc1
 *	✗ site dc3      disconnected; silent: its host takes the connection, and it does not answer
 *	                hint: is its daemon running, and is its mesh address reachable from here?
 *
 * With --json one object: {"good": true|false, "findings": [{"check", "outcome": "good|bad|note", "text", "hint"}]}. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "config.h"

/* ---- what checks say ------------------------------------------------------------------------------------------------ */

#define CHECK_WIDTH 14

static void print_finding(struct doctor *d, const char *mark, enum table_look look, const char *check, const char *text,
                          const char *hint)
{
	int width = (int)strlen(check);

	table_put(stdout, d->cli->colour, look, mark);
	putchar(' ');
	table_put_clean(stdout, check);
	printf("%*s", width < CHECK_WIDTH ? CHECK_WIDTH - width : 1, "");
	table_put_clean(stdout, text);
	putchar('\n');
	if (hint) {
		printf("%*s", CHECK_WIDTH + 2, "");
		table_put_clean(stdout, hint);
		putchar('\n');
	}
	fflush(stdout);
}

static void say(struct doctor *d, const char *outcome, const char *check, const char *hint, const char *fmt, va_list args)
{
	char text[1024], line[600];

	vsnprintf(text, sizeof(text), fmt, args);
	if (hint)
		snprintf(line, sizeof(line), "hint: %s", hint);
	if (d->findings)
		json_array_append_new(d->findings, json_pack("{s:s,s:s,s:s,s:s?}", "check", check, "outcome", outcome, "text",
		                                             text, "hint", hint));
	else if (*outcome == 'g')
		print_finding(d, "\xe2\x9c\x93", LOOK_GOOD, check, text, NULL);
	else if (*outcome == 'b')
		print_finding(d, "\xe2\x9c\x97", LOOK_BAD, check, text, hint ? line : NULL);
	else
		print_finding(d, "\xc2\xb7", LOOK_DIM, check, text, NULL);
}

void doctor_good(struct doctor *d, const char *check, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(d, "good", check, NULL, fmt, args);
	va_end(args);
}

void doctor_bad(struct doctor *d, const char *check, const char *hint, const char *fmt, ...)
{
	va_list args;

	d->bad = true;
	va_start(args, fmt);
	say(d, "bad", check, hint, fmt, args);
	va_end(args);
}

void doctor_note(struct doctor *d, const char *check, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(d, "note", check, NULL, fmt, args);
	va_end(args);
}

bool doctor_get(struct doctor *d, const char *check, const char *path, struct admin_answer *answer_r)
{
	d->status = admin_get(d->cli, path, answer_r);
	if (d->status != CLI_DONE) {
		d->bad = true;
		return false;
	}
	if (answer_r->status == 200 && answer_r->json)
		return true;
	doctor_bad(d, check, "is this the admin interface of a scopemeshd of this version?", "%s answers %ld", path,
	           answer_r->status);
	return false;
}

static void pass_on(struct doctor *d, const json_t *finding)
{
	const char *check = admin_text(finding, "check"), *outcome = admin_text(finding, "outcome");
	const char *text = admin_text(finding, "text"), *hint = admin_text(finding, "hint");

	if (!check || !outcome || !text)
		return;
	if (!strcmp(outcome, "good"))
		doctor_good(d, check, "%s", text);
	else if (!strcmp(outcome, "bad"))
		doctor_bad(d, check, hint, "%s", text);
	else
		doctor_note(d, check, "%s", text);
}

/* ---- checks ----------------------------------------------------------------------------------------------------------- */

/* What the daemon finds when it looks at itself and at the other sites (proxy/doctor.c). */
static void check_daemon(struct doctor *d)
{
	struct admin_answer answer;

	if (doctor_get(d, "daemon", "/v1/doctor", &answer)) {
		const char *release = admin_text(answer.json, "release");
		const json_t *finding;
		size_t i;

		json_array_foreach(json_object_get(answer.json, "findings"), i, finding)
			pass_on(d, finding);
		if (release && strcmp(release, PACKAGE_VERSION) != 0)
			doctor_note(d, "scopectl", "of release %s, and the daemon of %s", PACKAGE_VERSION, release);
	}
	admin_answer_fini(&answer);
}

/* With --service that much is enough: the rest of the application is looked at. */
static void check_ready(struct doctor *d)
{
	struct admin_answer answer;

	d->status = admin_get(d->cli, "/readyz", &answer);
	if (d->status == CLI_DONE && answer.status == 200)
		doctor_good(d, "daemon", "ready");
	else if (d->status == CLI_DONE)
		doctor_bad(d, "daemon", "it is starting or about to stop", "not ready (%ld)", answer.status);
	else
		d->bad = true;
	admin_answer_fini(&answer);
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* What was not given a scope that it may have been meant to have. */
static void check_carriers(struct doctor *d)
{
	struct admin_answer answer;

	if (doctor_get(d, "carriers", "/v1/carriers", &answer)) {
		const json_t *correlation = json_object_get(answer.json, "correlation");
		const json_t *lookups = json_object_get(correlation, "lookups");
		json_int_t ambiguous = number(lookups, "ambiguous"), strangers = number(lookups, "stranger");
		json_int_t dropped = number(correlation, "dropped_room");
		struct buf names;

		buf_init(&names, NULL, 0);
		admin_join(json_object_get(answer.json, "carriers"), ", ", &names);
		if (ambiguous)
			doctor_bad(d, "carriers", "several scopes within one trace need a carrier that says the scope itself: "
			           "baggage, or a header; see docs/carriers.md",
			           "%lld calls had only ids that came in with two scopes", (long long)ambiguous);
		if (strangers)
			doctor_bad(d, "carriers", "if they are this site's instances, name their addresses in scope.neighbours",
			           "%lld calls with known ids came from addresses that are no instance's",
			           (long long)strangers);
		if (dropped)
			doctor_bad(d, "carriers", "fewer carriers, or baggage instead of correlation",
			           "%lld ids were forgotten before their time, for lack of room", (long long)dropped);
		if (!ambiguous && !strangers && !dropped)
			doctor_good(d, "carriers", "%s", buf_len(&names) ? buf_cstr(&names) : "none");
		buf_fini(&names);
	}
	admin_answer_fini(&answer);
}

/* In the order in which they are made.  of_service: with --service only these. */
static const struct {
	void (*run)(struct doctor *d);
	bool without_service, of_service;
} checks[] = {
	{ check_ready, false, true },
	{ check_daemon, true, false },
	{ check_carriers, true, false },
	{ doctor_check_service, false, true },
};

/* ---- the verb -------------------------------------------------------------------------------------------------------- */

enum { OPT_SERVICE = CLI_OPT_FIRST_OWN, OPT_PATH, OPT_WAIT };

static int take_option(void *arg, int c)
{
	struct doctor *d = arg;
	char *end;

	switch (c) {
	case OPT_SERVICE:
		d->service = optarg;
		return CLI_DONE;
	case OPT_PATH:
		d->path = optarg;
		return *optarg == '/' ? CLI_DONE : cli_usage(d->verb, "--path \"%s\" does not begin with /", optarg);
	case OPT_WAIT:
		d->wait_s = strtod(optarg, &end);
		if (end == optarg || *end || !(d->wait_s > 0 && d->wait_s <= 300))
			return cli_usage(d->verb, "\"%s\" is no number of seconds up to 300", optarg);
		return CLI_DONE;
	case 'X':
		d->method = optarg;
		return CLI_DONE;
	case 'd':
		d->data = optarg;
		return CLI_DONE;
	case 'H':
		if (d->header_count == DOCTOR_HEADERS)
			return cli_usage(d->verb, "more than %d headers", DOCTOR_HEADERS);
		if (!strchr(optarg, ':') || strpbrk(optarg, "\r\n"))
			return cli_usage(d->verb, "header \"%s\"; expected 'NAME: VALUE'", optarg);
		d->headers[d->header_count++] = optarg;
		return CLI_DONE;
	default:
		return cli_usage(d->verb, "takes no words; found \"%s\"", optarg);
	}
}

static int read_command_line(struct doctor *d, int argc, char **argv)
{
	static const struct option longs[] = { { "service", required_argument, NULL, OPT_SERVICE },
		                               { "path", required_argument, NULL, OPT_PATH },
		                               { "wait", required_argument, NULL, OPT_WAIT },
		                               { "request", required_argument, NULL, 'X' },
		                               { "data", required_argument, NULL, 'd' },
		                               { "header", required_argument, NULL, 'H' },
		                               CLI_COMMON_OPTIONS };
	struct cli_args args = { d->cli, d->verb, argc, argv, "-:X:d:H:", longs, false };
	int rc = cli_args_each(&args, NULL, take_option, d);

	if (rc == CLI_DONE && !d->service && (d->path || d->method || d->data || d->header_count))
		return cli_usage(d->verb, "a request is made with --service only");
	return rc;
}

static int finish(struct doctor *d)
{
	if (d->findings) {
		json_t *all = json_pack("{s:b,s:o}", "good", (int)!d->bad, "findings", d->findings);

		if (d->status != CLI_NO_DAEMON) {
			json_dumpf(all, stdout, JSON_INDENT(2));
			putchar('\n');
		}
		json_decref(all);
	}
	return d->status != CLI_DONE ? d->status : d->bad ? CLI_FAILED : CLI_DONE;
}

int cmd_doctor(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct doctor d = { .cli = cli, .verb = verb, .wait_s = 10 };
	int rc = read_command_line(&d, argc, argv);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	d.findings = cli->json ? json_array() : NULL;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && d.status == CLI_DONE; i++)
		if (d.service ? checks[i].of_service : checks[i].without_service)
			checks[i].run(&d);
	return finish(&d);
}
