/* Plays scenario files (*.scn) against the request machine: no sockets, no time but the scenario's.
 *
 * A file holds a configuration, then scenarios:
 *
 *	config
 *	  site: dc1
 *	  ...
 *	sites
 *	  sites: ...
 *	scenario NAME
 *	  client c ADDRESS           a client connects to this listener
 *	  c send "BYTES"             C escapes
 *	  c send 100000 "x"          the text that many times
 *	  c end | c reset            the client ends its side, or resets
 *	  c room N                   the client takes N bytes more (none: "c room 0"; all: "c room all")
 *	  dial u ADDRESS             the proxy is connecting there; from here on that connection is called u
 *	  u accept | u refuse | u unreachable
 *	  c expect "TEXT"            what came holds TEXT; everything up to its end is consumed
 *	  c expect-not "TEXT"
 *	  c expect-nothing
 *	  c expect-open | expect-end | expect-close | expect-reset
 *	  no-dial                    the proxy is connecting nowhere
 *	  time 1500ms                time passes
 *
 * Prints "ok NAME" or "FAIL NAME: LINE: why" and ends in "N passed, N failed, 0 skipped". */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/scenario/bed.h"

struct play {
	const char *file;
	struct buf conf, sites;
	struct bed bed;
	bool running;
	struct { char name[16]; struct bed_end *end; } names[BED_ENDS];
	size_t name_count, dials_seen;
	char scenario[128], why[512];
	bool failed;
	int passed, failures;
};

static void fail(struct play *p, int line, const char *what, const char *detail)
{
	if (p->failed)
		return;
	p->failed = true;
	snprintf(p->why, sizeof(p->why), "%s:%d: %s %.400s", p->file, line, what, detail);
}

static void write_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(b->mem + b->rd, 1, buf_len(b), f) != buf_len(b) || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static void load(struct play *p, struct conf **conf_r, struct registry **reg_r)
{
	char dir[] = "/tmp/scenario-XXXXXX", conf_path[64], sites_path[64];
	struct buf errors;

	if (!mkdtemp(dir)) {
		perror(dir);
		exit(1);
	}
	snprintf(conf_path, sizeof(conf_path), "%s/conf.yaml", dir);
	snprintf(sites_path, sizeof(sites_path), "%s/sites.yaml", dir);
	write_file(conf_path, &p->conf);
	write_file(sites_path, &p->sites);
	buf_init(&errors, NULL, 0);
	if (conf_load(conf_path, conf_r, &errors) ||
	    registry_file_load(buf_len(&p->sites) ? sites_path : NULL, (*conf_r)->site, (*conf_r)->labels,
	                       (*conf_r)->label_count, NULL, reg_r, &errors)) {
		fprintf(stderr, "%s: %.*s\n", p->file, SPAN_ARG(buf_span(&errors)));
		exit(1);
	}
	buf_fini(&errors);
	unlink(conf_path);
	unlink(sites_path);
	rmdir(dir);
}

static void finish(struct play *p)
{
	if (!p->running)
		return;
	bed_fini(&p->bed);
	p->running = false;
	if (p->failed) {
		printf("FAIL %s: %s\n", p->scenario, p->why);
		p->failures++;
	} else {
		printf("ok %s\n", p->scenario);
		p->passed++;
	}
}

static void begin(struct play *p, const char *name)
{
	struct registry *reg;
	struct conf *conf;

	finish(p);
	snprintf(p->scenario, sizeof(p->scenario), "%s", name);
	p->failed = false;
	p->name_count = p->dials_seen = 0;
	load(p, &conf, &reg);
	if (bed_init(&p->bed, conf, reg)) {
		fprintf(stderr, "no bed\n");
		exit(1);
	}
	p->running = true;
}

static struct bed_end *find(struct play *p, const char *name)
{
	for (size_t i = p->name_count; i-- > 0;)
		if (!strcmp(p->names[i].name, name))
			return p->names[i].end;
	return NULL;
}

static void give_name(struct play *p, const char *name, struct bed_end *e)
{
	if (p->name_count == BED_ENDS)
		return;
	snprintf(p->names[p->name_count].name, sizeof(p->names[0].name), "%s", name);
	p->names[p->name_count++].end = e;
}

/* Reads a C string with its quotes at *at. */
static bool read_string(const char **at, struct buf *out)
{
	const char *s = *at;

	if (*s++ != '"')
		return false;
	for (; *s && *s != '"'; s++) {
		char c = *s;

		if (c == '\\') {
			c = *++s;
			if (c == 'r')
				c = '\r';
			else if (c == 'n')
				c = '\n';
			else if (c == 't')
				c = '\t';
			else if (c == '0')
				c = '\0';
		}
		buf_add_char(out, c);
	}
	*at = s + 1;
	return *s == '"';
}

static size_t position(struct span in, struct span what)
{
	for (size_t i = 0; i + what.n <= in.n; i++)
		if (!memcmp(in.p + i, what.p, what.n))
			return i;
	return (size_t)-1;
}

static void expect(struct play *p, int line, struct bed_end *e, const char *arg, bool want)
{
	struct buf text;
	size_t at;

	buf_init(&text, NULL, 0);
	if (!read_string(&arg, &text))
		fail(p, line, "no string:", arg);
	at = position(buf_span(&e->from_proxy), buf_span(&text));
	if (want != (at != (size_t)-1))
		fail(p, line, want ? "expected text did not come; there is:" : "unexpected text:",
		     buf_cstr(&e->from_proxy));
	else if (want)
		buf_consume(&e->from_proxy, at + buf_len(&text));
	buf_fini(&text);
}

static void send_bytes(struct play *p, int line, struct bed_end *e, const char *arg)
{
	unsigned long times = isdigit((unsigned char)*arg) ? strtoul(arg, NULL, 10) : 1;
	struct buf text;

	while (isdigit((unsigned char)*arg) || *arg == ' ')
		arg++;
	buf_init(&text, NULL, 0);
	if (!read_string(&arg, &text))
		fail(p, line, "no string:", arg);
	while (times--)
		buf_add_span(&e->to_proxy, buf_span(&text));
	buf_fini(&text);
}

static void expect_state(struct play *p, int line, struct bed_end *e, const char *verb)
{
	const char *is = e->reset ? "reset" : e->closed ? "closed" : e->ended ? "ended" : "open";
	bool good = !strcmp(verb, "expect-open")    ? !e->closed && !e->ended
	            : !strcmp(verb, "expect-end")   ? e->ended && !e->reset
	            : !strcmp(verb, "expect-close") ? e->closed && !e->reset
	                                            : e->reset;

	if (!good)
		fail(p, line, verb, is);
}

static bool end_verb(struct play *p, int line, struct bed_end *e, const char *verb, const char *arg)
{
	if (!strcmp(verb, "send"))
		send_bytes(p, line, e, arg);
	else if (!strcmp(verb, "end"))
		e->end_to_proxy = true;
	else if (!strcmp(verb, "reset"))
		e->reset_to_proxy = true;
	else if (!strcmp(verb, "room"))
		e->room = !strcmp(arg, "all") ? SIZE_MAX : strtoul(arg, NULL, 10);
	else if (!strcmp(verb, "accept"))
		e->connect = 0;
	else if (!strcmp(verb, "refuse"))
		e->connect = -ECONNREFUSED;
	else if (!strcmp(verb, "unreachable"))
		e->connect = -EHOSTUNREACH;
	else if (!strcmp(verb, "expect"))
		expect(p, line, e, arg, true);
	else if (!strcmp(verb, "expect-not"))
		expect(p, line, e, arg, false);
	else if (!strcmp(verb, "expect-nothing")) {
		if (buf_len(&e->from_proxy))
			fail(p, line, "unexpected bytes:", buf_cstr(&e->from_proxy));
	} else if (!strncmp(verb, "expect-", 7))
		expect_state(p, line, e, verb);
	else
		return false;
	return true;
}

/* The next connection that the proxy dials and that no line has named yet. */
static struct bed_end *next_dial(struct play *p)
{
	while (p->dials_seen < p->bed.end_count) {
		struct bed_end *e = &p->bed.ends[p->dials_seen++];

		if (!e->client)
			return e;
	}
	return NULL;
}

static int64_t read_time(const char *arg)
{
	char *unit;
	double n = strtod(arg, &unit);

	return (int64_t)(n * (!strcmp(unit, "us") ? 1 : !strcmp(unit, "ms") ? 1000 : 1000000));
}

static void command(struct play *p, int line, char *text)
{
	char *word = strsep(&text, " "), *verb = text ? strsep(&text, " ") : NULL;
	const char *arg = text ? text : "";
	struct bed_end *e;
	struct addr a, b;

	if (!strcmp(word, "client") && verb) {
		e = addr_parse(span_of(arg), false, &a, NULL) ? NULL : bed_client(&p->bed, &a);
		if (e)
			give_name(p, verb, e);
		else
			fail(p, line, "no listener", arg);
	} else if (!strcmp(word, "dial") && verb) {
		e = next_dial(p);
		if (!e)
			fail(p, line, "the proxy dials nowhere", "");
		else if (addr_parse(span_of(arg), false, &b, NULL) || !addr_eq(&e->to, &b))
			fail(p, line, "the proxy dials another address than", arg);
		else
			give_name(p, verb, e);
	} else if (!strcmp(word, "no-dial")) {
		if (next_dial(p))
			fail(p, line, "the proxy dials", "");
	} else if (!strcmp(word, "time") && verb) {
		bed_advance(&p->bed, read_time(verb));
	} else if (!strcmp(word, "drain") && verb) {
		bed_drain(&p->bed, strcmp(verb, "last") ? DRAIN_BEGUN : DRAIN_LAST);
	} else {
		e = find(p, word);
		if (!e || !verb || !end_verb(p, line, e, verb, arg))
			fail(p, line, "unknown command:", word);
	}
	bed_settle(&p->bed);
}

static void play_line(struct play *p, int line, char *text, struct buf **section)
{
	char *body = text + strspn(text, " ");
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	if (!*body || *body == '#')
		return;
	if (!strcmp(text, "config") || !strcmp(text, "sites")) {
		finish(p);
		*section = *text == 'c' ? &p->conf : &p->sites;
		if (*text == 'c')
			buf_fini(&p->sites);
		buf_fini(*section);
	} else if (!strncmp(text, "scenario ", 9)) {
		*section = NULL;
		begin(p, text + 9);
	} else if (*section) {
		buf_addf(*section, "%s\n", text + (n > 2 ? 2 : 0));
	} else if (p->running && !p->failed) {
		command(p, line, body);
	}
}

static void play_file(struct play *p, const char *path)
{
	struct buf *section = NULL;
	char *text = NULL;
	size_t room = 0;
	int line = 0;
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		exit(1);
	}
	p->file = path;
	while (getline(&text, &room, f) > 0)
		play_line(p, ++line, text, &section);
	finish(p);
	free(text);
	fclose(f);
	buf_fini(&p->conf);
	buf_fini(&p->sites);
}

int main(int argc, char **argv)
{
	static struct play p;

	log_set_level(LOG_ERROR);
	for (int i = 1; i < argc; i++)
		play_file(&p, argv[i]);
	printf("%d passed, %d failed, 0 skipped\n", p.passed, p.failures);
	return p.failures || !p.passed;
}
