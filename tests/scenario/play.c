/* The language of scenario files (*.scn), which are played against the request machine: no sockets, no time but the
 * scenario's.
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
 *	  dial-any u                 the same wherever it is, as of several instances
 *	  u accept | u refuse | u unreachable
 *	  c expect "TEXT"            what came holds TEXT; everything up to its end is consumed
 *	  c expect-not "TEXT"
 *	  c expect-nothing
 *	  u expect-unread            the proxy has left something unread
 *	  c expect-open | expect-end | expect-close | expect-reset
 *	  u drip "BYTES"             the same as send, byte for byte
 *	  names                      this site takes part in replication, and knows of nothing so far
 *	  name SERVICE COLLECTION META LOCAL SITES STATE
 *	                             it knows this resource; LOCAL "-": none here; SITES: dc1,dc2, "+" for a blank;
 *	                             STATE also "deleted"
 *	  create N SERVICE           create number N (0 to 7) begins at this site's application: its name is on its way
 *	  created N SERVICE          it has its name now, or will have none
 *	  no-dial                    the proxy is connecting nowhere
 *	  replicator                 this site replicates: "replicator full", and takes nothing more
 *	  operation "TEXT"           the oldest operation that waits, as double.c shows it, holds TEXT; also operation-not
 *	  no-operation
 *	  answer STATUS SITES META "FIELDS" "CONTENT"   its admission here: dc1=201,dc2=queued; "-" for none
 *	  answer-canonical ...       the same from dc2
 *	  answer-cut ...             the same, and not all of the content was kept
 *	  answer-problem STATUS TYPE SITES META
 *	  answer-result STATE STATUS to a peer
 *	  answer-nothing
 *	  time 1500ms                time passes
 */
#include "tests/scenario/play.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/replication.h"

#include "tests/scenario/double.h"

#define LINE_BYTES 4096

static void fail(struct play *p, int line, const char *what, const char *detail)
{
	if (p->failed || p->tolerant)
		return;
	p->failed = true;
	snprintf(p->why, sizeof(p->why), "%s:%d: %s %.400s", p->script->file, line, what, detail ? detail : "");
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

static void drip_bytes(struct play *p, int line, struct bed_end *e, const char *arg)
{
	struct buf text;

	buf_init(&text, NULL, 0);
	if (!read_string(&arg, &text))
		fail(p, line, "no string:", arg);
	for (; buf_len(&text); buf_consume(&text, 1)) {
		buf_add(&e->to_proxy, buf_span(&text).p, 1);
		bed_settle(&p->bed);
	}
	buf_fini(&text);
}

/* "notes /notes M 3 dc1,dc2 synced" */
static void add_name(struct play *p, int line, const char *arg)
{
	char room[LINE_BYTES], *rest = room, *word[6];
	struct name v = { .class = CLASS_EVENTUAL };

	snprintf(room, sizeof(room), "%s", arg);
	for (size_t i = 0; i < 6; i++)
		if (!(word[i] = strsep(&rest, " ")) || strlen(word[i]) > NAME_MOST) {
			fail(p, line, "six words are expected:", arg);
			return;
		}
	v.service = span_of(word[0]);
	v.collection = span_of(word[1]);
	for (char *at = word[4]; *at; at++)
		*at = *at == ',' ? '\n' : *at == '+' ? ' ' : *at;
	v.sites = span_of(word[4]);
	v.deleted = !strcmp(word[5], "deleted");
	v.meta_n = (uint16_t)strlen(word[2]);
	memcpy(v.meta, word[2], v.meta_n);
	v.here = strcmp(word[3], "-") || strstr(word[4], "dc1");
	v.local_n = strcmp(word[3], "-") ? (uint16_t)strlen(word[3]) : 0;
	memcpy(v.local, word[3], v.local_n);
	if ((!v.deleted && !replica_state_parse(span_of(word[5]), &v.state)) || bed_name(&p->bed, &v))
		fail(p, line, "no name:", arg);
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
	else if (!strcmp(verb, "drip"))
		drip_bytes(p, line, e, arg);
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
	} else if (!strcmp(verb, "expect-unread")) {
		if (!buf_len(&e->to_proxy))
			fail(p, line, "all was read", "");
	} else if (!strncmp(verb, "expect-", 7))
		expect_state(p, line, e, verb);
	else
		return false;
	return true;
}

/* The next connection that the proxy dials and that no line has named yet. */
struct bed_end *play_next_dial(struct play *p)
{
	while (p->dials_seen < p->bed.end_count) {
		struct bed_end *e = &p->bed.ends[p->dials_seen++];

		if (!e->client)
			return e;
	}
	return NULL;
}

/* ---- replicated writes ---- */

static void expect_operation(struct play *p, int line, const char *arg, bool want)
{
	struct buf text, is;

	buf_init(&text, NULL, 0);
	buf_init(&is, NULL, 0);
	if (!read_string(&arg, &text))
		fail(p, line, "no string:", arg);
	if (!double_show(&is))
		fail(p, line, "no operation was handed over", "");
	else if (want != (position(buf_span(&is), buf_span(&text)) != (size_t)-1))
		fail(p, line, want ? "expected in the operation; there is:" : "unexpected in the operation:", buf_cstr(&is));
	buf_fini(&text);
	buf_fini(&is);
}

static struct replicator_answer *made_answer(struct play *p, int line, char *arg)
{
	char *status = strsep(&arg, " "), *sites = strsep(&arg, " "), *meta = arg ? strsep(&arg, " ") : NULL;
	struct replicator_answer *a = NULL;
	const char *at = arg;
	struct buf fields, content;

	buf_init(&fields, NULL, 0);
	buf_init(&content, NULL, 0);
	if (at && read_string(&at, &fields) && *at++ == ' ' && read_string(&at, &content))
		a = double_make((unsigned)strtoul(status, NULL, 10), sites, meta, buf_span(&fields), buf_span(&content));
	if (!a)
		fail(p, line, "no answer:", arg);
	buf_fini(&fields);
	buf_fini(&content);
	return a;
}

static struct replicator_answer *problem_answer(char *arg)
{
	char *status = strsep(&arg, " "), *type = strsep(&arg, " "), *sites = arg ? strsep(&arg, " ") : NULL;
	struct replicator_answer *a = arg ? double_make((unsigned)strtoul(status, NULL, 10), sites, arg, SPAN(""), SPAN(""))
	                                  : NULL;

	if (a)
		a->problem = arena_dup(&a->arena, span_of(type)).p;
	return a;
}

static struct replicator_answer *result_answer(char *arg)
{
	char *state = strsep(&arg, " ");
	struct replicator_answer *a = double_make(200, "-", "-", SPAN(""), SPAN(""));

	if (!a || !arg || !delivery_state_parse(span_of(state), &a->result.state))
		replicator_answer_free(&a);
	else
		a->result.status = (unsigned)strtoul(arg, NULL, 10);
	return a;
}

static void answer(struct play *p, int line, const char *how, char *arg)
{
	struct replicator_answer *a = NULL;

	if (!strcmp(how, "answer-problem"))
		a = problem_answer(arg);
	else if (!strcmp(how, "answer-result"))
		a = result_answer(arg);
	else if (strcmp(how, "answer-nothing"))
		a = made_answer(p, line, arg);
	if (!a && strcmp(how, "answer-nothing"))
		fail(p, line, "no answer:", how);
	if (a && !strcmp(how, "answer-canonical")) {
		a->canonical = true;
		a->served_by = SPAN("dc2");
	}
	if (a)
		a->content_cut = !strcmp(how, "answer-cut");
	if (!double_answer(a))
		fail(p, line, "no operation waits", "");
}

/* True: it was one of these. */
static bool replication_command(struct play *p, int line, const char *word, char *rest)
{
	struct buf none;

	buf_init(&none, NULL, 0);
	if (!strcmp(word, "replicator") && rest && !strcmp(rest, "full"))
		double_fill();
	else if (!strcmp(word, "replicator") && double_begin(&p->bed))
		fail(p, line, "no replicator", "");
	else if (!strcmp(word, "operation") || !strcmp(word, "operation-not"))
		expect_operation(p, line, rest ? rest : "", !word[sizeof("operation") - 1]);
	else if (!strcmp(word, "no-operation") && double_show(&none))
		fail(p, line, "an operation was handed over:", buf_cstr(&none));
	else if (!strncmp(word, "answer", 6))
		answer(p, line, word, rest);
	buf_fini(&none);
	return !strcmp(word, "replicator") || strstr(word, "operation") || !strncmp(word, "answer", 6);
}

static int64_t read_time(const char *arg)
{
	char *unit;
	double n = strtod(arg, &unit);

	return (int64_t)(n * (!strcmp(unit, "us") ? 1 : !strcmp(unit, "ms") ? 1000 : 1000000));
}

/* "0 notes" */
static void create(struct play *p, int line, const char *verb, const char *service, bool begins)
{
	unsigned n = (unsigned)(*verb - '0');
	struct replication *rep = n < PLAY_CREATES ? bed_replication(&p->bed) : NULL;

	if (!rep)
		fail(p, line, "no create:", verb);
	else if (begins)
		p->creates[n] = replication_create_begins(rep, span_of(service));
	else
		replication_create_ended(rep, span_of(service), p->creates[n]);
}

static void command(struct play *p, int line, char *text)
{
	char *word = strsep(&text, " "), *verb, *arg;
	struct bed_end *e;
	struct addr a, b;

	if (replication_command(p, line, word, text)) {
		bed_settle(&p->bed);
		return;
	}
	verb = text ? strsep(&text, " ") : NULL;
	arg = text ? text : (char *)"";
	if (!strcmp(word, "client") && verb) {
		e = addr_parse(span_of(arg), false, &a, NULL) ? NULL : bed_client(&p->bed, &a);
		if (e)
			give_name(p, verb, e);
		else
			fail(p, line, "no listener", arg);
	} else if (!strcmp(word, "dial") && verb) {
		e = play_next_dial(p);
		if (!e)
			fail(p, line, "the proxy dials nowhere", "");
		else if (addr_parse(span_of(arg), false, &b, NULL) || !addr_eq(&e->to, &b))
			fail(p, line, "the proxy dials another address than", arg);
		else
			give_name(p, verb, e);
	} else if (!strcmp(word, "dial-any") && verb) {
		e = play_next_dial(p);
		if (e)
			give_name(p, verb, e);
		else
			fail(p, line, "the proxy dials nowhere", "");
	} else if (!strcmp(word, "names")) {
		if (bed_name(&p->bed, NULL))
			fail(p, line, "no names", "");
	} else if (!strcmp(word, "name") && verb) {
		text = verb;
		text[strlen(text)] = *arg ? ' ' : '\0'; /* strsep took the blank behind it */
		add_name(p, line, text);
	} else if ((!strcmp(word, "create") || !strcmp(word, "created")) && verb) {
		create(p, line, verb, arg, word[6] != 'd');
	} else if (!strcmp(word, "no-dial")) {
		if (play_next_dial(p))
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

int play_begin(struct play *p, const struct script *script)
{
	p->script = script;
	p->failed = false;
	p->name_count = p->dials_seen = 0;
	return bed_init(&p->bed, conf_ref(script->conf), registry_ref(script->reg));
}

void play_end(struct play *p)
{
	bed_fini(&p->bed);
	double_end();
}

void play_lines(struct play *p)
{
	char line[LINE_BYTES];

	for (size_t i = 0; i < p->script->count && !p->failed; i++) {
		snprintf(line, sizeof(line), "%s", p->script->lines[i].text);
		command(p, p->script->lines[i].number, line);
	}
}

bool play_script(struct play *p, const struct script *script)
{
	if (play_begin(p, script))
		fail(p, 0, "no bed", "");
	else
		play_lines(p);
	play_end(p);
	return !p->failed;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

struct reader {
	const char *file;
	struct buf conf, sites;     /* as written */
	struct script script;       /* being read */
	bool has_script;
	void (*perform)(const struct script *script);
};

static void write_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(b->mem + b->rd, 1, buf_len(b), f) != buf_len(b) || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static void load(struct reader *r)
{
	char dir[] = "/tmp/scenario-XXXXXX", conf_path[64], sites_path[64];
	struct script *s = &r->script;
	struct buf errors;

	if (!mkdtemp(dir)) {
		perror(dir);
		exit(1);
	}
	snprintf(conf_path, sizeof(conf_path), "%s/conf.yaml", dir);
	snprintf(sites_path, sizeof(sites_path), "%s/sites.yaml", dir);
	write_file(conf_path, &r->conf);
	write_file(sites_path, &r->sites);
	buf_init(&errors, NULL, 0);
	if (conf_load(conf_path, &s->conf, &errors) ||
	    registry_file_load(buf_len(&r->sites) ? sites_path : NULL, s->conf->site, s->conf->labels,
	                       s->conf->label_count, NULL, &s->reg, &errors)) {
		fprintf(stderr, "%s: %.*s\n", r->file, SPAN_ARG(buf_span(&errors)));
		exit(1);
	}
	buf_fini(&errors);
	unlink(conf_path);
	unlink(sites_path);
	rmdir(dir);
}

static void unload(struct reader *r)
{
	if (r->script.conf)
		conf_unref(&r->script.conf);
	if (r->script.reg)
		registry_unref(&r->script.reg);
}

static void end_script(struct reader *r)
{
	struct script *s = &r->script;

	if (r->has_script)
		r->perform(s);
	r->has_script = false;
	for (size_t i = 0; i < s->count; i++)
		free(s->lines[i].text);
	free(s->lines);
	s->lines = NULL;
	s->count = 0;
}

static void begin_script(struct reader *r, const char *name)
{
	end_script(r);
	if (!r->script.conf)
		load(r);
	snprintf(r->script.name, sizeof(r->script.name), "%s", name);
	r->has_script = true;
}

static void add_line(struct reader *r, int number, const char *text)
{
	struct script *s = &r->script;

	if (!(s->count & (s->count + 1)))
		s->lines = realloc(s->lines, 2 * (s->count + 1) * sizeof(*s->lines));
	if (!s->lines || strlen(text) >= LINE_BYTES) {
		fprintf(stderr, "%s:%d: too long\n", r->file, number);
		exit(1);
	}
	s->lines[s->count].number = number;
	s->lines[s->count++].text = strdup(text);
}

static void read_line(struct reader *r, int number, char *text, struct buf **section)
{
	char *body = text + strspn(text, " ");
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	if (!*body || *body == '#')
		return;
	if (!strcmp(text, "config") || !strcmp(text, "sites")) {
		end_script(r);
		unload(r);
		*section = *text == 'c' ? &r->conf : &r->sites;
		if (*text == 'c')
			buf_fini(&r->sites);
		buf_fini(*section);
	} else if (!strncmp(text, "scenario ", 9)) {
		*section = NULL;
		begin_script(r, text + 9);
	} else if (*section) {
		buf_addf(*section, "%s\n", text + (n > 2 ? 2 : 0));
	} else if (r->has_script) {
		add_line(r, number, body);
	}
}

void play_file(const char *path, void (*perform)(const struct script *script))
{
	struct reader r = { .file = path, .script.file = path, .perform = perform };
	struct buf *section = NULL;
	char *text = NULL;
	size_t room = 0;
	int line = 0;
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		exit(1);
	}
	buf_init(&r.conf, NULL, 0);
	buf_init(&r.sites, NULL, 0);
	while (getline(&text, &room, f) > 0)
		read_line(&r, ++line, text, &section);
	end_script(&r);
	unload(&r);
	free(text);
	fclose(f);
	buf_fini(&r.conf);
	buf_fini(&r.sites);
}
