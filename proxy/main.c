/* scopemeshd: arguments, then server.c. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "proxy/conf.h"
#include "proxy/server.h"

static const char usage[] =
	"usage: scopemeshd -c FILE            run in the foreground, log to standard error\n"
	"       scopemeshd --check -c FILE    (or -t) check the configuration and touch nothing\n"
	"       scopemeshd --print -c FILE    show the effective configuration\n"
	"       scopemeshd --manual           print the reference manual of all options\n"
	"       scopemeshd --version | --help\n";

enum action { ACTION_RUN, ACTION_CHECK, ACTION_PRINT, ACTION_MANUAL };

static int load(const char *path, struct conf **conf_r, struct collect **sites_r)
{
	struct buf errors;
	int rc;

	buf_init(&errors, NULL, 0);
	rc = conf_load(path, conf_r, &errors);
	if (!rc) {
		struct conf *conf = *conf_r;

		rc = collect_open(&source_file, conf->registry_file, conf->site, conf->labels, conf->label_count, NULL,
		                  sites_r, &errors);
		if (rc)
			conf_unref(conf_r);
	}
	if (rc && !buf_len(&errors))
		fprintf(stderr, "%s: %s\n", path, err_text(rc));
	else if (buf_len(&errors))
		fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&errors)));
	buf_fini(&errors);
	return rc;
}

static int print_text(void (*print)(struct buf *), const struct conf *conf)
{
	struct buf out;
	bool whole;

	buf_init(&out, NULL, 0);
	if (print)
		print(&out);
	else
		conf_print(conf, &out);
	whole = !out.failed && fwrite(buf_span(&out).p, 1, buf_len(&out), stdout) == buf_len(&out) && !fflush(stdout);
	if (!whole)
		fprintf(stderr, "scopemeshd: %s\n", out.failed ? err_text(ERR_NOMEM) : strerror(errno));
	buf_fini(&out);
	return whole ? EXIT_STOPPED : EXIT_CONFIG;
}

static int wrong_usage(const char *what)
{
	fprintf(stderr, "scopemeshd: %s\n%s", what, usage);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 't' },
		{ "print", no_argument, NULL, 'p' },        { "manual", no_argument, NULL, 'm' },
		{ "version", no_argument, NULL, 'V' },      { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	enum action action = ACTION_RUN;
	const char *path = NULL;
	struct collect *sites = NULL;
	struct conf *conf = NULL;
	int c, rc;

	while ((c = getopt_long(argc, argv, "c:tpVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 't':
			action = ACTION_CHECK;
			break;
		case 'p':
			action = ACTION_PRINT;
			break;
		case 'm':
			action = ACTION_MANUAL;
			break;
		case 'V':
			printf("scopemeshd %s\n", PACKAGE_VERSION);
			return EXIT_STOPPED;
		case 'h':
			fputs(usage, stdout);
			return EXIT_STOPPED;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return wrong_usage("words that are no options");
	if (action == ACTION_MANUAL)
		return print_text(conf_print_manual, NULL);
	if (!path)
		return wrong_usage("no configuration: -c FILE is required");
	if (load(path, &conf, &sites))
		return EXIT_CONFIG;
	if (action == ACTION_RUN)
		return server_run(path, conf, sites);
	rc = EXIT_STOPPED;
	if (action == ACTION_PRINT)
		rc = print_text(NULL, conf);
	collect_close(&sites);
	conf_unref(&conf);
	return rc;
}
