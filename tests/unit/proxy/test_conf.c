/* proxy/conf*: what is accepted and read back, what is refused and where, printing, differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/conf.h"
#include "proxy/hooks.h"

static char folder[] = "/tmp/test-conf-XXXXXX";

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int in_new_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chdir(folder))
		return -1;
	unsetenv("STATE_DIRECTORY");
	write_file("sites.yaml", "sites:\n  dc1: {mesh: '127.0.1.1:7400', labels: {region: eu}}\n"
	                         "  dc2: {mesh: '127.0.2.1:7400', labels: {region: us}}\n  DC 3: {}\n");
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	(void)!unlink("sites.yaml");
	(void)!unlink("conf.yaml");
	(void)!unlink("bad-sites.yaml");
	return chdir("/") || rmdir(folder);
}

static int load(const char *text, struct conf **conf_r, struct buf *errors)
{
	write_file("conf.yaml", text);
	buf_init(errors, NULL, 0);
	return conf_load("conf.yaml", conf_r, errors);
}

static struct conf *load_good(const char *text)
{
	struct conf *conf;
	struct buf errors;

	if (load(text, &conf, &errors))
		fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
	assert_int_equal(buf_len(&errors), 0);
	buf_fini(&errors);
	return conf;
}

/* How many lines begin with "conf.yaml:". */
static unsigned count_problems(struct span text)
{
	struct span line;
	unsigned n = 0;

	while (span_split(&text, '\n', &line))
		n += span_starts(line, SPAN("conf.yaml:"));
	return n;
}

/* ---- refused ----------------------------------------------------------------------------- */

/* Two lines in front of the text: a site and one service. */
#define RESOURCES(keys) "site: dc1\nservices: {a: {listen: 127.0.0.1:1, resources: [{" keys "}]}}\n"
#define HEAD "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: []}}\n"
#define REG "registry: {file: sites.yaml}\n"

struct bad {
	const char *text;
	const char *want; /* LINE:COLUMN: and the beginning of the message */
	const char *hint; /* part of the rest, or NULL */
};

static const struct bad bad[] = {
	/* the file as a whole */
	{ "", "1:1: \"site\" is missing", NULL },
	{ "# nothing\n", "1:1: \"site\" is missing", "# nothing\n^\n" },
	{ "[site]\n", "1:1: expected a map", NULL },
	{ "site: [dc1\n", "2:1: YAML: ", NULL },
	{ "site: \"dc1\n", "1:8: YAML: ", NULL },
	{ "site: dc1\n\tstate: x\n", "1:7: YAML: ", NULL },
	{ HEAD "site: dc2\n", "3:1: \"site\" is there twice (first in line 1)", NULL },
	{ HEAD "---\nsite: dc2\n", "3:1: only one document", NULL },
	{ HEAD "labels: &x {a: b}\n", "3:12: anchors are not supported", NULL },
	/* keys */
	{ HEAD "sevices: {}\n", "3:1: unknown key \"sevices\"", "did you mean \"services\"?" },
	{ HEAD "zzz: 1\n", "3:1: unknown key \"zzz\"", "known here: site, labels" },
	{ "site: dc1\nservices:\n  a: {listen: 127.0.0.1:1, instnces: []}\n", "3:28: unknown key \"instnces\"",
	  "did you mean \"instances\"?" },
	{ HEAD "timeouts: {conect: 1s}\n", "3:12: unknown key \"conect\"", "\"connect\"" },
	{ HEAD "timeouts: 5s\n", "3:11: expected a map of keys and values", NULL },
	/* top level */
	{ "site: ''\n", "1:7: site: a value is missing", NULL },
	{ "# x\nsite:\n", "2:1: site: a value is missing", NULL },
	{ "site: \"a\\tb\"\n", "1:7: site: a name has at most 64 bytes", NULL },
	{ "site: \"a\\x85b\"\n", "1:7: site: a name has at most 64 bytes and no control", NULL },
	{ "site: [dc1]\n", "1:7: site: expected a name, not a list", NULL },
	{ "site: dc1\nlabels: [eu]\n", "2:9: labels: expected a map of names", NULL },
	{ "site: dc1\nlabels: {region: [eu]}\n", "2:18: labels: expected a name, not a list", NULL },
	{ "site: dc1\nworkers: many\n", "2:10: workers: \"many\" is no whole number", NULL },
	{ "site: dc1\nworkers: 257\n", "2:10: workers: 257 is too large; expected 0 to 256", NULL },
	{ "site: dc1\nstate: {}\n", "2:8: state: expected a path, not a map", NULL },
	/* services */
	{ "site: dc1\nservices: [a]\n", "2:11: expected a map", NULL },
	{ "site: dc1\nservices: {a: {}}\n", "2:12: \"listen\" is missing", NULL },
	{ "site: dc1\nservices: {a: 127.0.0.1:1}\n", "2:15: expected a map of keys and values", NULL },
	{ "site: dc1\nservices: {a: {listen: []}}\n", "2:24: listen: an address is missing", NULL },
	{ "site: dc1\nservices: {'': {listen: 127.0.0.1:1}}\n", "2:12: a name is missing", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1}}\n", "2:24: listen: \"127.0.0.1\" has no port", NULL },
	{ "site: dc1\nservices: {a: {listen: [127.0.0.1:1, 127.0.0.1:70000]}}\n",
	  "2:38: listen: \"70000\" is no port", NULL },
	{ "site: dc1\nservices: {a: {listen: 'unix:/x'}}\n", "2:24: listen: a unix socket cannot be used", NULL },
	{ "site: dc1\nservices: {a: {listen: [127.0.0.1:1, 127.0.0.1:1]}}\n",
	  "2:38: listen: this address is there twice", NULL },
	{ "site: dc1\nservices:\n  a: {listen: 127.0.0.1:1}\n  b: {listen: 127.0.0.1:1}\n",
	  "4:15: listen: service \"a\" has this address and the prefix / already", "prefix of its own" },
	{ "site: dc1\nservices:\n  a: {listen: 127.0.0.1:1}\n  b: {listen: 0.0.0.0:1, prefix: /v2}\n",
	  "3:15: listen: a service listens at this port of every address already", "by prefix" },
	{ "site: dc1\nservices: {a: {listen: 0.0.0.0:7401}}\n",
	  "2:24: listen: a service listens at this port of every address already", NULL },
	{ "site: dc1\nservices:\n  a: {listen: 127.0.0.1:1, prefix: /v2/}\n  b: {listen: 127.0.0.1:1, prefix: /v2}\n",
	  "4:15: listen: service \"a\" has this address and the prefix /v2 already", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, prefix: v2}}\n", "2:45: prefix: \"v2\" is no path", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, prefix: '/a b'}}\n", "2:45: prefix: \"/a b\" is no path",
	  NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: 127.0.0.1:2}}\n",
	  "2:48: instances: \"127.0.0.1:2\" is no URL", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: [https://]}}\n",
	  "2:49: instances: the address is missing", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: [https://127.0.0.1:2], upstream_tls: {ca: none}}}\n",
	  "2:90: ca: ", "none: No such file" },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: [https://127.0.0.1], upstream_tls: {name: 'a b'}}}\n",
	  "2:90: name: \"a b\" is no host", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://u:p@127.0.0.1:2']}}\n",
	  "2:49: instances: a user name cannot be part", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://127.0.0.1:2/x']}}\n",
	  "2:49: instances: an instance has no path", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://']}}\n",
	  "2:49: instances: the address is missing", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://:80']}}\n",
	  "2:49: instances: the address is missing", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://localhost:2']}}\n",
	  "2:49: instances: \"localhost\" is no address; expected digits", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://127.0.0.1:1']}}\n",
	  "2:49: instances: \"http://127.0.0.1:1\" is where a service listens", "the service itself" },
	{ "site: dc1\nservices: {a: {listen: ':81', instances: ['http://127.0.0.1:81']}}\n",
	  "2:43: instances: \"http://127.0.0.1:81\" is where a service listens", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, instances: ['http://127.0.0.1:7401']}}\n",
	  "2:49: instances: \"http://127.0.0.1:7401\" is where the admin interface listens", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, scope_from: [10.0.0.0/33]}}\n",
	  "2:50: scope_from: \"33\" is no prefix length; expected 0 to 32", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, scope_from: 10.0.0.1/8}}\n",
	  "2:49: scope_from: \"10.0.0.1/8\" has bits behind its prefix; 10.0.0.0/8 is meant?", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, scope_from: [ten]}}\n",
	  "2:50: scope_from: \"ten\" is no range of addresses", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, sites: some}}\n",
	  "2:44: sites: expected all, none or a list", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, sites: []}}\n",
	  "2:44: sites: expected all, none or a list", NULL },
	{ REG "site: dc1\nservices: {a: {listen: 127.0.0.1:1, sites: [dc1, dc22]}}\n",
	  "3:50: sites: unknown site \"dc22\"", "did you mean \"dc2\"?" },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, sites: [elsewhere]}}\n",
	  "2:45: sites: unknown site \"elsewhere\"", "without registry.file" },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, piggyback_strip: yes}}\n",
	  "2:54: piggyback_strip: \"yes\" is neither true nor false", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, health: {path: x}}}\n",
	  "2:52: path: \"x\" is no path", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, health: {interval: 1ms}}}\n",
	  "2:56: interval: 1ms is too small; expected 10ms to 1d", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, health: {rise: 0}}}\n",
	  "2:52: rise: 0 is too small; expected 1 to 100", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, fallback_on: [200]}}\n",
	  "2:51: fallback_on: 200 is too small; expected 400 to 599", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, queued_status: 201}}\n",
	  "2:52: queued_status: \"201\" is none of first, 202", NULL },
	/* what needs a later version */
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, tls: {cert: a}}}\n", "2:49: tls: \"key\" is missing", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, tls: {key: a}}}\n", "2:48: tls: \"cert\" is missing", NULL },
	{ RESOURCES("collection: /a, copy: [{get: /}]"), "2:72: copy: this needs a later version",
	  "leave it out, or empty" },
	{ RESOURCES("collection: /a, refs: {$.x: a}"), "2:72: refs: this needs", NULL },
	{ RESOURCES("collection: /a, conflict: keep-all"), "2:76: conflict: this needs", NULL },
	{ RESOURCES("collection: /a, order: site"), "2:73: order: this needs", NULL },
	{ RESOURCES("collection: /a, consistency: quorum"), "2:79: consistency: \"quorum\" needs a later version",
	  "leave it out" },
	{ RESOURCES("collection: /a, consistency: strong"), "2:79: consistency: \"strong\" needs", NULL },
	/* resources */
	{ RESOURCES("collection: /a, echo: [pass]"), "2:73: echo: \"pass\" is no place: expected", NULL },
	{ RESOURCES("collection: /a, echo: ['$.a[*].b']"), "2:73: echo: \"$.a[*].b\" means more than one member", NULL },
	{ RESOURCES("collection: /a, ready: {path: $.s}"), "2:80: ready: \"ok\" is missing", NULL },
	{ RESOURCES("collection: /a, ready: {ok: [a]}"), "2:78: ready: \"path\" is missing", NULL },
	{ RESOURCES("collection: /a, ready: {path: s, ok: a}"), "2:80: path: \"s\" is no place", NULL },
	{ RESOURCES("collection: /a, ready: {within: 1ms}"), "2:82: within: 1ms is too small", NULL },
	{ RESOURCES("collection: /a, list: {items: images}"), "2:80: items: \"images\" is no place: expected", NULL },
	{ RESOURCES("collection: /a, list: {items: '$.a[*]'}"), "2:80: items: \"$.a[*]\" means more than one member", NULL },
	{ RESOURCES("collection: /a, list: {items: $, next: next}"), "2:89: next: \"next\" is no place: expected", NULL },
	{ RESOURCES("collection: /a, list: {items: $, marker: 'a=b'}"),
	  "2:91: marker: \"a=b\" is no name in a query; expected something like marker", NULL },
	{ RESOURCES("collection: /a, list: {next: $.next}"), "2:79: list: \"items\" is missing", NULL },
	{ RESOURCES("collection: /a, list: {marker: from}"), "2:81: list: \"items\" is missing", NULL },
	{ RESOURCES("collection: /a, list: {itms: $}"), "2:73: unknown key \"itms\"", "did you mean \"items\"?" },
	{ RESOURCES("collection: /a, id: location, list: {items: $}"), "2:94: list: elements are told apart by their id", NULL },
	{ RESOURCES("collection: '/a/{id}/b', list: {items: $}"), "2:89: list: the list below a resource is that of one replica", NULL },
	{ RESOURCES("collection: /a, list: {items: $.a.b.c.d.e.f.g}"), "2:80: list: the id of an element cannot be followed", NULL },
	{ RESOURCES("collection: /a, find: a"), "2:72: find: \"a\" is no path; expected e.g.", NULL },
	{ RESOURCES("collection: /a, find: '/a?x=1'"), "2:72: find: \"/a?x=1\" takes nothing from the request", NULL },
	{ RESOURCES("collection: /a, find: '/a?x={$.x'"), "2:72: find: \"/a?x={$.x\": a brace is not closed", NULL },
	{ RESOURCES("collection: /a, find: '/a?x={$.x[*]}'"), "2:72: find: \"$.x[*]\" means more than one member", NULL },
	{ RESOURCES("collection: /a, find: '/a? {$.x}'"), "2:72: find: \"/a? {$.x}\" is no path and query", NULL },
	{ RESOURCES("collection: /a, in_doubt: again"), "2:76: in_doubt: \"again\" is none of hold, retry", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, resources: [x]}}\n",
	  "2:49: expected a map of keys and values", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, resources: x}}\n", "2:48: expected a map of keys and values",
	  NULL },
	{ RESOURCES(""), "2:49: \"collection\" is missing: Path that ids follow behind", NULL },
	{ RESOURCES("id: $.id"), "2:49: \"collection\" is missing", NULL },
	{ RESOURCES("colection: /a, collection: /a"), "2:50: unknown key \"colection\"",
	  "did you mean \"collection\"?" },
	{ RESOURCES("collection: v2/images"), "2:62: collection: \"v2/images\" does not begin with a slash", NULL },
	{ RESOURCES("collection: [/a]"), "2:62: collection: expected a path, not a list", NULL },
	{ RESOURCES("collection: ''"), "2:62: collection: \"\" does not begin with a slash", NULL },
	{ RESOURCES("collection: /"), "2:62: collection: ids right behind the first slash", NULL },
	{ RESOURCES("collection: /a/"), "2:62: collection: \"/a/\" ends in a slash", NULL },
	{ RESOURCES("collection: '/a/{id}'"), "2:62: collection: \"/a/{id}\" ends in {id}", NULL },
	{ RESOURCES("collection: '/a/{image}/b'"), "2:62: collection: \"/a/{image}/b\": only {id} may stand", NULL },
	{ RESOURCES("collection: /a b"), "2:62: collection: \"/a b\" is no path", NULL },
	{ RESOURCES("collection: /a}, {collection: /b}, {collection: /a"), "2:98: collection: \"/a\" is there twice",
	  NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, prefix: /v2, resources: [{collection: /v2x/a}]}}\n",
	  "2:75: collection: \"/v2x/a\" is not below /v2, the prefix of the service", NULL },
	{ RESOURCES("collection: /a, id: id"), "2:70: id: \"id\" is no place: expected something like $.id", NULL },
	{ RESOURCES("collection: /a, id: locaton"), "2:70: id: \"locaton\" is no place", "did you mean \"location\"?" },
	{ RESOURCES("collection: /a, id: ''"), "2:70: id: \"\" is no place", NULL },
	{ RESOURCES("collection: /a, id: $.a.b.c.d.e.f.g"), "2:70: id: \"$.a.b.c.d.e.f.g\" has more than 6 steps",
	  NULL },
	{ RESOURCES("collection: /a, id: '$.images[*].id'"),
	  "2:70: id: \"$.images[*].id\" means every element of a list", NULL },
	{ RESOURCES("collection: /a, id: {x: y}"), "2:70: id: expected a place or location, not a map", NULL },
	{ RESOURCES("collection: /a, assign: id"), "2:74: assign: \"id\" is no place", NULL },
	{ RESOURCES("collection: /a, volatile: [$.a, b]"), "2:82: volatile: \"b\" is no place", NULL },
	{ RESOURCES("collection: /a, volatile: ['']"), "2:77: volatile: \"\" is no place", NULL },
	{ RESOURCES("collection: /a, meta_id: guid"), "2:75: meta_id: \"guid\" is none of uuid, uuid4, integer", NULL },
	{ RESOURCES("collection: /a, meta_id: integr"), "2:75: meta_id: ", "did you mean \"integer\"?" },
	{ RESOURCES("collection: /a, consistency: evntual"),
	  "2:79: consistency: \"evntual\" is none of weak, eventual, quorum, "
	  "strong", "did you mean \"eventual\"?" },
	{ RESOURCES("collection: /a, hidden: no"), "2:74: hidden: \"no\" is none of not-found, alias", NULL },
	{ RESOURCES("collection: /a, bulk: yes"), "2:72: bulk: \"yes\" is none of refuse, allow", NULL },
	{ RESOURCES("collection: /a, operations: x"), "2:78: expected a map of keys and values", NULL },
	{ RESOURCES("collection: /a, operations: [{match: PUT /}]"), "2:79: \"kind\" is missing", NULL },
	{ RESOURCES("collection: /a, operations: [{kind: update}]"), "2:79: \"match\" is missing", NULL },
	{ RESOURCES("collection: /a, operations: [{match: PUT, kind: update}]"), "2:87: match: \"PUT\" has no path",
	  NULL },
	{ RESOURCES("collection: /a, operations: [{match: /x, kind: update}]"),
	  "2:87: match: \"/x\" does not begin with a "
	  "method", NULL },
	{ RESOURCES("collection: /a, operations: [{match: 'PUT /{x}', kind: update}]"),
	  "2:87: match: \"PUT /{x}\": only {id} "
	  "may stand", NULL },
	{ RESOURCES("collection: /a, operations: [{match: PUT /x, kind: updat}]"),
	  "2:101: kind: \"updat\" is none of update, "
	  "append, replace, delete", "did you mean \"update\"?" },
	{ RESOURCES("collection: /a, operations: [{match: PUT /x, kind: create}]"),
	  "2:101: kind: a create is what shows", NULL },
	{ RESOURCES("collection: /a, operations: [{match: PUT /x, kind: update, independent: maybe}]"),
	  "2:122: independent: \"maybe\" is neither true nor false", NULL },
	{ HEAD "hooks: [[echo]]\n", "3:9: expected a map of keys and values", NULL },
	{ HEAD "hooks: [{name: a, events: [conflict], run: [b]}]\n", "3:28: events: \"conflict\" needs a later version", NULL },
	{ HEAD "hooks: [{name: a, events: [helt], run: [b]}]\n", "3:28: events: \"helt\" is none of converged, expired, failed, held, in-doubt, conflict", "held" },
	{ HEAD "hooks: [{name: a}]\n", "3:9: \"run\" is missing", NULL },
	{ HEAD "queue: {expire: 1ms}\n", "3:17: expire", NULL },
	{ HEAD "queue: {keep_body: 1m}\n", "3:20: keep_body: this needs a later version", NULL },
	{ HEAD "queue: {setle: 60s}\n", "3:9: unknown key \"setle\"", "\"settle\"" },
	{ HEAD "registry: {serf: {rpc: x}}\n", "3:18: serf: this needs a later version", NULL },
	{ HEAD "admin: {token_file: t}\n", "3:21: token_file: this needs a later version", NULL },
	{ HEAD "admin: {hosts: ['a:7401']}\n", "3:17: hosts: \"a:7401\" is no host; expected a name or address",
	  NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2, tls: {insecure: true, key: k}}\n", "3:45: insecure: there are certificates",
	  NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2, tls: {cert: none}}\n", "3:41: tls: cert, key and ca belong together; missing: key, ca",
	  NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2, tls: {ca: c, key: k}}\n", "3:47: tls: cert, key and ca belong together; missing: "
	  "cert\n", NULL },
	{ HEAD "mesh: {tls: {cert: c}}\n", "3:1: mesh: \"listen\" is missing", NULL },
	/* mesh, registry, admin */
	{ HEAD "mesh: {tls: {insecure: true}}\n", "3:1: mesh: \"listen\" is missing", NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2}\n", "3:16: mesh: \"tls\" is missing", "scopectl ca init" },
	{ HEAD "mesh: {listen: 127.0.0.1:2, tls: {insecure: false}}\n", "3:16: mesh: \"tls\" is missing",
	  NULL },
	{ HEAD "mesh: {listen: 10.0.0.1:2, tls: {insecure: true}}\n", "3:16: listen: an insecure mesh may only",
	  NULL },
	{ HEAD "mesh: {listen: ':2', tls: {insecure: true}}\n", "3:16: listen: an insecure mesh may only", NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:1, tls: {insecure: true}}\n", "3:16: listen: a service listens here already",
	  NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2, advertise: dc1, tls: {insecure: true}}\n",
	  "3:40: advertise: \"dc1\" has no port", NULL },
	{ HEAD "mesh: {listen: 127.0.0.1:2, advertise: '127.0.0.1:0', tls: {insecure: true}}\n",
	  "3:40: advertise: \"0\" is no port", NULL },
	{ HEAD "registry: {file: none.yaml}\n", "3:18: file: ", "none.yaml: cannot be opened: No such file" },
	{ HEAD "admin: {listen: 10.0.0.1:7401}\n", "3:17: listen: off loopback", NULL },
	{ HEAD "admin: {listen: ':7401'}\n", "3:17: listen: off loopback", NULL },
	{ HEAD "admin: {listen: 127.0.0.1:1}\n", "3:17: listen: a service listens here already", NULL },
	{ HEAD "admin: {listen: 'unix:'}\n", "3:17: listen: a unix socket's path", NULL },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:7401}}\n", "2:24: listen: a service listens here already",
	  NULL },
	/* scope */
	{ HEAD "scope: {carriers: [hedder]}\n", "3:20: carriers: \"hedder\" is no carrier", "did you mean \"header\"?" },
	{ HEAD "scope: {carriers: [correlate]}\n", "3:20: carriers: correlate needs a header; expected e.g. "
	  "correlate:traceparent", NULL },
	{ HEAD "scope: {carriers: ['piggyback:']}\n", "3:20: carriers: a header name of at most 64 characters is missing",
	  NULL },
	{ HEAD "scope: {carriers: ['header:x']}\n", "3:20: carriers: header names no header", NULL },
	{ HEAD "scope: {carriers: ['corelate:traceparent']}\n", "3:20: carriers: \"corelate:traceparent\" is no carrier",
	  "did you mean \"correlate:traceparent\"?" },
	{ HEAD "scope: {carriers: ['correlate:x y']}\n", "3:20: carriers: \"x y\" is no header name", NULL },
	{ HEAD "scope: {carriers: ['piggyback:Host']}\n", "3:20: carriers: \"Host\" cannot carry a scope", NULL },
	{ HEAD "scope: {carriers: ['correlate:X-Scopemesh-A']}\n", "3:20: carriers: \"X-Scopemesh-A\" cannot", NULL },
	{ HEAD "scope: {carriers: ['correlate:a', 'correlate:A']}\n", "3:35: carriers: \"correlate:a\" is there twice", NULL },
	{ HEAD "scope: {carriers: [header, header]}\n", "3:28: carriers: \"header\" is there twice", NULL },
	{ HEAD REG "scope: {named: {both: 'dc1 & dcc2'}}\n", "4:30: named: ", "did you mean \"dc2\"?" },
	{ HEAD REG "scope: {named: {both: dc1 & }}\n", "4:28: named: ", "expected a site" },
	{ HEAD REG "scope: {named: {a: '@a'}}\n", "4:21: named: @a is defined by itself", NULL },
	{ HEAD REG "scope: {named: {a: '@bb'}}\n", "4:21: named: ", "@bb" },
	{ HEAD "scope: {neighbours: [x]}\n", "3:22: neighbours: \"x\" is no range", NULL },
	{ REG "site: dc1\nservices: {a: {listen: 127.0.0.1:1, default: dc9x}}\n", "3:46: default: ", "dc9x" },
	{ "site: dc1\nservices: {a: {listen: 127.0.0.1:1, default: ''}}\n", "2:46: default: a value is missing", NULL },
	{ REG "site: dc1\nservices: {a: {listen: 127.0.0.1:1, scope: 'b: dc1 &'}}\n", "3:53: scope: ", NULL },
	{ REG "site: dc1\nservices: {a: {listen: 127.0.0.1:1, scope: \"a: dc1, a: dc2\"}}\n", "3:53: scope: ", NULL },
	{ "limits: {scope_sites: 1}\n" REG "site: dc1\nscope: {named: {x: dc1 & dc2}}\n", "4:26: named: ", NULL },
	/* the rest */
	{ HEAD "forwarded: {trust: ['::1/129']}\n", "3:21: trust: \"129\" is no prefix length", NULL },
	{ HEAD "timeouts: {connect: 2}\n", "3:21: connect: \"2\" is no duration", NULL },
	{ HEAD "timeouts: {idle: 0s}\n", "3:18: idle: 0s is too small", NULL },
	{ HEAD "timeouts: {drain: 31d}\n", "3:19: drain: 31d is too large; expected 0s to 30d", NULL },
	{ HEAD "limits: {connections: 0}\n", "3:23: connections: 0 is too small", NULL },
	{ HEAD "limits: {header_bytes: 1}\n", "3:24: header_bytes: 1 is too small; expected 1k to 16m", NULL },
	{ HEAD "limits: {scope_text: 8193}\n", "3:22: scope_text: 8193 is too large; expected 1 to 8k", NULL },
	{ HEAD "limits: {scope_depth: 33}\n", "3:23: scope_depth: 33 is too large", NULL },
	{ HEAD "limits: {scope_sites: 257}\n", "3:23: scope_sites: 257 is too large", NULL },
	{ HEAD "log: {level: wran}\n", "3:14: level: \"wran\" is none of error, warn, info, debug", "\"warn\"" },
	{ HEAD "log: {format: xml}\n", "3:15: format: \"xml\" is none of json, text", NULL },
	{ HEAD "log: {access: ''}\n", "3:15: access: a value is missing", NULL },
	{ HEAD "log: {redact: ['a b']}\n", "3:16: redact: \"a b\" is no header name", NULL },
};

/* Whether b is refused as it says; else tells how it was. */
static bool check_bad(const struct bad *b)
{
	char want[256];
	struct conf *conf;
	struct buf errors;
	int error = load(b->text, &conf, &errors);
	bool good;

	snprintf(want, sizeof(want), "conf.yaml:%s", b->want);
	good = error == ERR_INVALID && !conf && span_starts(buf_span(&errors), span_of(want)) &&
	       (!b->hint || strstr(buf_cstr(&errors), b->hint)) && count_problems(buf_span(&errors)) == 1;
	if (!good)
		print_error("%d for:\n%s\nwanted %s (%s), got:\n%.*s\n", error, b->text, want,
		            b->hint ? b->hint : "", SPAN_ARG(buf_span(&errors)));
	buf_fini(&errors);
	return good;
}

static void each_mistake_is_one_message_at_its_place(void **state)
{
	bool good = true;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		good &= check_bad(&bad[i]);
	assert_true(good);
}

static void all_mistakes_are_told_at_once(void **state)
{
	static const char *want[] = { "1:1: unknown key \"sit\"", "1:1: \"site\" is missing", "3:3: \"listen\" is missing",
		                      "4:5: unknown key \"lsten\"", "5:13: prefix: ", "6:13: sites: unknown site",
		                      "7:21: connect: ", "7:31: idle: ", "8:14: level: ", "8:20: unknown key \"lev\"" };
	struct conf *conf;
	struct buf errors;
	const char *at;

	(void)state;
	assert_int_equal(load("sit: dc1\nservices:\n  image:\n    lsten: 127.0.0.1:1\n    prefix: x\n"
	                      "    sites: [nowhere]\ntimeouts: {connect: 2x, idle: 0s}\n"
	                      "log: {level: wran, lev: 1}\n" REG, &conf, &errors), ERR_INVALID);
	at = buf_cstr(&errors);
	assert_int_equal(count_problems(buf_span(&errors)), sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		at = strstr(at, want[i]);
		if (!at)
			fail_msg("%s is missing or out of order in:\n%s", want[i], buf_cstr(&errors));
	}
	buf_fini(&errors);
}

static void more_instances_than_can_be_told_apart_are_refused(void **state)
{
	struct conf *conf;
	struct buf text, errors;

	(void)state;
	buf_init(&text, NULL, 0);
	buf_add_z(&text, "site: dc1\nservices:\n  image:\n    listen: 127.0.0.1:1\n    instances:\n");
	for (int i = 0; i < 65; i++)
		buf_addf(&text, "      - http://127.0.0.1:%d\n", 1000 + i);
	assert_int_equal(load(buf_cstr(&text), &conf, &errors), ERR_INVALID);
	assert_non_null(strstr(buf_cstr(&errors), "conf.yaml:70:9: instances: more than 64"));
	assert_int_equal(count_problems(buf_span(&errors)), 1);
	buf_fini(&errors);
	buf_fini(&text);
}

static void more_collections_than_are_looked_through_are_refused(void **state)
{
	struct conf *conf;
	struct buf text, errors;

	(void)state;
	buf_init(&text, NULL, 0);
	buf_add_z(&text, "site: dc1\nservices:\n  image:\n    listen: 127.0.0.1:1\n    resources:\n");
	for (int i = 0; i < 80; i++)
		buf_addf(&text, "      - collection: /c%d\n", i);
	assert_int_equal(load(buf_cstr(&text), &conf, &errors), ERR_INVALID);
	assert_non_null(strstr(buf_cstr(&errors), "conf.yaml:70:21: resources: more than 64"));
	assert_int_equal(count_problems(buf_span(&errors)), 1);
	buf_fini(&errors);
	buf_fini(&text);
}

static void mistakes_of_the_registry_are_told_too(void **state)
{
	struct conf *conf;
	struct buf errors;

	(void)state;
	write_file("bad-sites.yaml", "sites: {dc2: {mesh: x}}\n");
	assert_int_equal(load(HEAD "registry: {file: bad-sites.yaml}\nworkers: x\n", &conf, &errors), ERR_INVALID);
	assert_non_null(strstr(buf_cstr(&errors), "conf.yaml:4:10: workers: "));
	assert_non_null(strstr(buf_cstr(&errors), "/bad-sites.yaml:1:21: mesh: \"x\" has no port"));
	buf_fini(&errors);
	buf_init(&errors, NULL, 0);
	assert_int_equal(conf_load("none.yaml", &conf, &errors), ERR_IO);
	assert_string_equal(buf_cstr(&errors), "none.yaml: cannot be opened: No such file or directory\n");
	buf_fini(&errors);
	buf_init(&errors, NULL, 0);
	assert_int_equal(conf_load("/", &conf, &errors), ERR_IO);
	assert_string_equal(buf_cstr(&errors), "/: cannot be read: Is a directory\n");
	buf_fini(&errors);
}

/* ---- accepted ---------------------------------------------------------------------------- */

static const char everything[] =
	"site: no\nlabels: {region: eu, tier: '1'}\nstate: var/state\nworkers: 3\n"
	"services:\n"
	"  image:\n"
	"    listen: ['127.0.1.1:9292', '[::1]:9292', ':9293']\n    prefix: /v2/\n"
	"    instances: ['http://127.0.1.1:19292', 'http://[::1]/', 'https://[::1]']\n"
	"    upstream_tls: {ca: authority.pem, verify: false, name: image.example}\n"
	"    scope: 'image: dc2, compute: @both'\n    default: dc1; local\n"
	"    scope_from: [10.0.0.0/8, 'fd00::/8', 127.0.0.1]\n    sites: [dc1, DC 3]\n    piggyback_strip: true\n"
	"    health: {path: '/h?x=1', interval: 3s, timeout: 500ms, rise: 4, fall: 5}\n    fallback_on: [500, 404]\n"
	"    resources:\n"
	"      - collection: /v2/images\n        meta_id: uuid4\n        assign: $.id\n        consistency: weak\n"
	"        hidden: alias\n        bulk: allow\n        volatile: [$.updated_at, \"$['a b']\"]\n"
	"        operations:\n"
	"          - {match: 'PUT /{id}/file', kind: replace, independent: true}\n"
	"          - {match: POST /reindex, kind: update}\n"
	"        conflict: lww\n        in_doubt: retry\n        order: resource\n        echo: [$.pass, \"$.s['a b']\"]\n"
	"        find: '/v2/images?name={$.name}'\n"
	"        refs: {}\n        copy: []\n        ready: {path: $.s, ok: a, failed: [b, c], within: 1h}\n        list: {}\n"
	"      - {collection: '/v2/images/{id}/members', id: location, meta_id: integer}\n"
	"      - collection: /v2/tasks\n"
	"  on: {listen: '127.0.0.1:0', sites: none}\n"
	"mesh: {listen: '127.0.1.1:7400', advertise: '192.0.2.1:7400', tls: {insecure: true}}\n"
	"registry: {file: ./sites.yaml}\nadmin: {listen: 'unix:run/admin'}\n"
	"scope:\n  carriers: baggage\n  named: {both: \"dc1 & dc2\", 'a b': '@both; local'}\n"
	"  neighbours: 127.0.0.0/8\nforwarded: {trust: ['::/0']}\n"
	"timeouts: {connect: 1s, header: 2s, body: 3s, response: 4s, idle: 5s, drain: 0, fail_after: 1.5s}\n"
	"limits: {connections: 7, per_client: 8, header_bytes: 32k, body_bytes: 1g, spool_bytes: 5, scope_text: 4k,\n"
	"  scope_depth: 16, scope_sites: 128}\n"
	"log: {level: debug, access: access.log, format: text, redact: [X-Secret, x-other]}\n"
	"hooks: [{name: page, events: [held, in-doubt], run: [/bin/page, \"a b\"]}, {name: all, run: b}]\n"
	"queue: {expire: 3d, settle: 7s}\n";

static void assert_path(struct span got, const char *name)
{
	char want[256], here[200];

	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(want, sizeof(want), "%s/%s", here, name);
	assert_string_equal(got.p, want);
}

static void check_resources(const struct conf_service *s)
{
	const struct rule *r = s->resources, *image;
	struct rule_match m;

	assert_int_equal(s->resource_count, 3);
	assert_int_equal(rules_count(s->rules), 3);
	assert_true(rules_match(s->rules, SPAN("/v2/images/a/members/b"), &m) && span_eq(m.id, SPAN("b")));
	assert_true(rules_match(s->rules, SPAN("/v2/images/a/file"), &m) && span_eq(m.id, SPAN("a")));
	image = m.rule;
	assert_true(span_eq(image->id_place, SPAN("$.id")) && span_eq(image->assign, SPAN("$.id")));
	assert_true(image->meta_id == METAID_UUID4 && image->class == CLASS_WEAK && image->hidden == RULE_HIDDEN_ALIAS &&
	            image->bulk == RULE_BULK_ALLOW && image->in_doubt == RULE_IN_DOUBT_RETRY && !image->learned);
	assert_true(span_eq(image->ready.path, SPAN("$.s")) && image->ready.ok_count == 1 && image->ready.failed_count == 2 &&
	            span_eq(image->ready.failed[1], SPAN("c")) && image->ready.within_us == INT64_C(3600) * 1000000);
	assert_true(image->echo_count == 2 && span_eq(image->echo[1], SPAN("$.s['a b']")));
	assert_true(span_eq(image->find, SPAN("/v2/images?name={$.name}")));
	assert_int_equal(image->operation_count, 2);
	assert_true(span_eq(image->operations[0].match.method, SPAN("PUT")) &&
	            span_eq(image->operations[0].match.path, SPAN("/{id}/file")) &&
	            image->operations[0].kind == OPERATION_REPLACE && image->operations[0].independent);
	assert_true(image->operations[1].kind == OPERATION_UPDATE && !image->operations[1].independent);
	assert_int_equal(image->volatile_count, 2);
	assert_true(span_eq(image->volatile_[1], SPAN("$['a b']")));
	assert_true(!r[1].id_place.n && r[1].meta_id == METAID_INTEGER);
	assert_true(span_eq(r[2].id_place, SPAN("$.id")) && !r[2].assign.n && r[2].meta_id == METAID_UUID &&
	            r[2].class == CLASS_EVENTUAL && r[2].hidden == RULE_HIDDEN_NOT_FOUND && r[2].bulk == RULE_BULK_REFUSE &&
	            !r[2].operation_count && !r[2].volatile_count);
}

static void check_everything(const struct conf *c)
{
	const struct conf_service *s = &c->services[0];
	char text[ADDR_TEXT_BYTES];

	assert_true(span_eq(c->site, SPAN("no")));
	assert_int_equal(c->label_count, 2);
	assert_true(span_eq(c->labels[1].key, SPAN("tier")) && span_eq(c->labels[1].value, SPAN("1")));
	assert_path(c->state, "var/state");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->service_count, 2);
	assert_true(span_eq(s->name, SPAN("image")));
	assert_int_equal(s->listen_count, 3);
	addr_format(&s->listen[1], text);
	assert_string_equal(text, "[::1]:9292");
	assert_int_equal(addr_port(&s->listen[2]), 9293);
	assert_true(span_eq(s->prefix, SPAN("/v2")));
	assert_int_equal(s->instance_count, 3);
	assert_true(s->instances[2].tls && span_eq(s->instances[2].host, SPAN("::1")));
	assert_int_equal(addr_port(&s->instances[2].addr), 443);
	assert_path(s->upstream_ca, "authority.pem");
	assert_true(!s->upstream_verify && span_eq(s->upstream_name, SPAN("image.example")));
	assert_true(c->services[1].upstream_verify && !c->mesh_tls.crl.n);
	assert_true(span_eq(s->instances[0].authority, SPAN("127.0.1.1:19292")));
	assert_true(span_eq(s->instances[1].url, SPAN("http://[::1]/")));
	assert_true(span_eq(s->instances[1].authority, SPAN("[::1]:80")));
	assert_int_equal(addr_port(&s->instances[1].addr), 80);
	assert_false(s->instances[0].tls);
	assert_true(span_eq(s->scope, SPAN("image: dc2, compute: @both")));
	assert_true(span_eq(s->default_location, SPAN("dc1; local")));
	assert_int_equal(s->scope_from_count, 3);
	cidr_format(&s->scope_from[0], text);
	assert_string_equal(text, "10.0.0.0/8");
	cidr_format(&s->scope_from[2], text);
	assert_string_equal(text, "127.0.0.1/32");
	assert_int_equal(s->sites_rule, CONF_SITES_LIST);
	assert_int_equal(s->sites_count, 2);
	assert_true(span_eq(s->sites[1], SPAN("DC 3")));
	assert_true(s->piggyback_strip);
	assert_true(span_eq(s->health.path, SPAN("/h?x=1")));
	assert_int_equal(s->health.interval_us, 3000000);
	assert_int_equal(s->health.timeout_us, 500000);
	assert_int_equal(s->health.rise, 4);
	assert_int_equal(s->health.fall, 5);
	assert_int_equal(s->fallback_on_count, 2);
	assert_int_equal(s->fallback_on[1], 404);
	check_resources(s);
	assert_true(c->services[1].resource_count == 0 && rules_count(c->services[1].rules) == 0);
	assert_true(span_eq(c->services[1].name, SPAN("on")));
	assert_int_equal(c->services[1].sites_rule, CONF_SITES_NONE);
}

static void check_rest(const struct conf *c)
{
	assert_true(c->has_mesh && c->mesh_insecure);
	assert_int_equal(addr_port(&c->mesh_listen), 7400);
	assert_true(span_eq(c->mesh_advertise, SPAN("192.0.2.1:7400")));
	assert_path(c->registry_file, "sites.yaml");
	assert_true(c->has_admin);
	assert_int_equal(c->admin_listen.ss.ss_family, AF_UNIX);
	assert_path(span_of(((const struct sockaddr_un *)&c->admin_listen.ss)->sun_path), "run/admin");
	assert_int_equal(c->carrier_count, 1);
	assert_int_equal(c->carriers[0].kind, CONF_CARRIER_BAGGAGE);
	assert_int_equal(c->named_count, 2);
	assert_true(span_eq(c->named[1].name, SPAN("a b")) && span_eq(c->named[1].location, SPAN("@both; local")));
	assert_int_equal(c->neighbour_count, 1);
	assert_int_equal(c->forwarded_trust_count, 1);
	assert_int_equal(c->timeout_connect_us, 1000000);
	assert_int_equal(c->timeout_header_us, 2000000);
	assert_int_equal(c->timeout_body_us, 3000000);
	assert_int_equal(c->timeout_response_us, 4000000);
	assert_int_equal(c->timeout_idle_us, 5000000);
	assert_int_equal(c->timeout_drain_us, 0);
	assert_int_equal(c->timeout_fail_after_us, 1500000);
	assert_int_equal(c->limit_connections, 7);
	assert_int_equal(c->limit_per_client, 8);
	assert_int_equal(c->limit_header_bytes, 32768);
	assert_int_equal(c->limit_body_bytes, 1 << 30);
	assert_int_equal(c->limit_spool_bytes, 5);
	assert_int_equal(c->queue_expire_us, 3 * 86400ll * 1000000);
	assert_int_equal(c->hook_count, 2);
	assert_int_equal(c->hooks[0].event_count, 2);
	assert_int_equal(c->hooks[0].events[0], HOOK_HELD);
	assert_int_equal(c->hooks[0].events[1], HOOK_IN_DOUBT);
	assert_int_equal(c->hooks[0].run_count, 2);
	assert_true(span_eq(c->hooks[0].run[1], SPAN("a b")));
	assert_int_equal(c->hooks[1].event_count, 0);
	assert_int_equal(c->hooks[1].run_count, 1);
	assert_int_equal(c->limit_scope_text, 4096);
	assert_int_equal(c->limit_scope_depth, 16);
	assert_int_equal(c->limit_scope_sites, 128);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_path(c->log_access, "access.log");
	assert_int_equal(c->log_format, CONF_LOG_TEXT);
	assert_int_equal(c->log_redact_count, 2);
	assert_true(span_eq(c->log_redact[1], SPAN("x-other")));
}

static void every_option_is_read_and_printed(void **state)
{
	struct conf *conf = load_good(everything), *again;
	struct buf first, second;

	(void)state;
	check_everything(conf);
	check_rest(conf);
	buf_init(&first, NULL, 0);
	conf_print(conf, &first);
	again = load_good(buf_cstr(&first));
	check_everything(again);
	check_rest(again);
	buf_init(&second, NULL, 0);
	conf_print(again, &second);
	assert_string_equal(buf_cstr(&first), buf_cstr(&second));
	buf_fini(&first);
	buf_fini(&second);
	conf_unref(&conf);
	conf_unref(&again);
}

static void six_lines_are_enough(void **state)
{
	struct conf *c = load_good("site: dc1\nstate: ./state\nservices:\n  image:\n    listen: 127.0.0.1:9292\n"
	                           "    instances: [http://127.0.0.1:19292]\n");
	const struct conf_service *s = &c->services[0];

	(void)state;
	assert_true(c->workers > 0);
	assert_false(c->has_mesh);
	assert_int_equal(c->registry_file.n, 0);
	assert_true(span_eq(s->prefix, SPAN("/")) && span_eq(s->default_location, SPAN("local")));
	assert_int_equal(s->sites_rule, CONF_SITES_ALL);
	assert_int_equal(s->health.path.n, 0);
	assert_int_equal(s->scope.n, 0);
	assert_int_equal(c->carrier_count, 4);
	assert_int_equal(c->carriers[0].kind, CONF_CARRIER_HEADER);
	assert_int_equal(c->carriers[1].kind, CONF_CARRIER_BAGGAGE);
	assert_true(span_eq(c->carriers[2].text, SPAN("correlate:traceparent")));
	assert_true(span_eq(c->carriers[3].name, SPAN("x-request-id")));
	assert_int_equal(conf_correlation_keys(c), 3);
	assert_int_equal(addr_port(&c->admin_listen), 7401);
	assert_int_equal(c->timeout_response_us, 60000000);
	assert_int_equal(c->limit_spool_bytes, 10ull << 30);
	assert_int_equal(c->limit_queue_bytes, 2ull << 30);
	assert_int_equal(c->queue_expire_us, 7 * 86400ll * 1000000);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_true(span_eq(c->log_access, SPAN("-")));
	conf_unref(&c);
}

static void the_state_folder_has_a_default(void **state)
{
	struct conf *c = load_good(HEAD);

	(void)state;
	assert_string_equal(c->state.p, "/var/lib/scopemesh");
	conf_unref(&c);
	setenv("STATE_DIRECTORY", "/run/x", 1);
	c = load_good(HEAD);
	assert_string_equal(c->state.p, "/run/x");
	conf_unref(&c);
	unsetenv("STATE_DIRECTORY");
}

static void services_share_an_address_by_prefix(void **state)
{
	struct conf *c = load_good("site: dc1\nservices:\n  a: {listen: 127.0.0.1:1, prefix: /a}\n"
	                           "  b: {listen: 127.0.0.1:1}\n  c: {listen: 127.0.0.1:0}\n"
	                           "  d: {listen: [127.0.0.1:0]}\n");

	(void)state;
	assert_int_equal(c->service_count, 4);
	conf_unref(&c);
}

static void ranges_of_addresses_hold_both_families(void **state)
{
	static const struct { const char *range, *addr; bool in; } rows[] = {
		{ "10.0.0.0/8", "10.255.0.1:1", true }, { "10.0.0.0/8", "11.0.0.1:1", false },
		{ "10.0.0.0/9", "10.128.0.1:1", false }, { "127.0.0.1", "127.0.0.1:1", true },
		{ "127.0.0.1", "127.0.0.2:1", false }, { "::/0", "10.0.0.1:1", true },
		{ "0.0.0.0/0", "[::1]:1", false }, { "10.0.0.0/8", "[::ffff:10.1.2.3]:1", true },
		{ "fd00::/8", "[fd12::1]:1", true }, { "fd00::/8", "[fe80::1]:1", false },
		{ "::1", "[::1]:1", true }, { "::1", "unix:/x", false },
	};
	struct cidr range;
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(cidr_parse(span_of(rows[i].range), &range, NULL), 0);
		assert_int_equal(addr_parse(span_of(rows[i].addr), false, &addr, NULL), 0);
		assert_int_equal(cidr_has(&range, &addr), rows[i].in);
	}
}

static void neighbours_are_the_instances_unless_they_are_listed(void **state)
{
	static const struct { const char *conf, *addr; bool is, any; } rows[] = {
		{ "{listen: ':1', instances: ['http://10.0.0.1:1']}}\n", "10.0.0.1:99", true, true },
		{ "{listen: ':1', instances: ['http://10.0.0.1:1']}}\n", "[::ffff:10.0.0.1]:99", true, true },
		{ "{listen: ':1', instances: ['http://10.0.0.1:1']}}\n", "10.0.0.2:1", false, true },
		{ "{listen: ':1', instances: ['http://10.0.0.1:1']}}\n", "127.0.0.1:1", false, true },
		{ "{listen: ':1', instances: ['http://127.0.1.1:2']}}\n", "127.9.9.9:1", true, true },
		{ "{listen: ':1', instances: ['http://127.0.1.1:2']}}\n", "[::1]:1", true, true },
		{ "{listen: ':1', instances: ['http://127.0.1.1:2']}}\nscope: {neighbours: [10.0.0.0/8]}\n", "127.0.0.1:1",
		  false, true },
		{ "{listen: ':1'}}\nscope: {neighbours: [10.0.0.0/8]}\n", "10.9.9.9:1", true, true },
		{ "{listen: ':1'}}\n", "127.0.0.1:1", false, false },
	};
	char text[256];
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf *c;

		snprintf(text, sizeof(text), "site: dc1\nservices: {a: %s", rows[i].conf);
		c = load_good(text);
		assert_int_equal(addr_parse(span_of(rows[i].addr), false, &addr, NULL), 0);
		assert_int_equal(conf_is_neighbour(c, &addr), rows[i].is);
		assert_int_equal(conf_has_neighbours(c), rows[i].any);
		conf_unref(&c);
	}
}

static void a_reload_names_what_needs_a_restart(void **state)
{
	struct conf *before = load_good(everything), *after = load_good(HEAD "workers: 3\n");
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	conf_diff(before, after, true, &b);
	assert_non_null(strstr(buf_cstr(&b), "site: changing it from \"no\" to dc1 needs a restart\n"));
	assert_null(strstr(buf_cstr(&b), "workers"));
	assert_null(strstr(buf_cstr(&b), "timeouts"));
	assert_null(strstr(buf_cstr(&b), "services"));
	buf_fini(&b);
	buf_init(&b, NULL, 0);
	conf_diff(before, after, false, &b);
	assert_non_null(strstr(buf_cstr(&b), "mesh.listen: from \"127.0.1.1:7400\" to nothing\n"));
	assert_non_null(strstr(buf_cstr(&b), "services.image: removed\n"));
	assert_non_null(strstr(buf_cstr(&b), "services.a: added\n"));
	assert_null(strstr(buf_cstr(&b), "site: "));
	buf_fini(&b);
	assert_int_equal(conf_keep_fixed(after, before), 0);
	assert_true(span_eq(after->site, SPAN("no")));
	conf_unref(&before);
	conf_unref(&after);
}

static void assert_resources_differ(const char *before_keys, const char *after_keys, const char *want)
{
	struct buf before_text, after_text, said;
	struct conf *before, *after;

	buf_init(&before_text, NULL, 0);
	buf_init(&after_text, NULL, 0);
	buf_init(&said, NULL, 0);
	buf_addf(&before_text, "site: dc1\nservices: {a: {listen: 127.0.0.1:1, resources: [%s]}}\n", before_keys);
	buf_addf(&after_text, "site: dc1\nservices: {a: {listen: 127.0.0.1:1, resources: [%s]}}\n", after_keys);
	before = load_good(buf_cstr(&before_text));
	after = load_good(buf_cstr(&after_text));
	conf_diff(before, after, true, &said);
	assert_int_equal(buf_len(&said), 0);
	conf_diff(before, after, false, &said);
	assert_string_equal(buf_cstr(&said), want);
	conf_unref(&before);
	conf_unref(&after);
	buf_fini(&before_text);
	buf_fini(&after_text);
	buf_fini(&said);
}

static void a_reload_names_what_differs_in_resources(void **state)
{
#define OPERATION(request, kind) "{match: " request ", kind: " kind "}"
	(void)state;
	assert_resources_differ("{collection: /a}, {collection: /b}", "{collection: /a}, {collection: /b, id: $.id}",
	        "");
	assert_resources_differ("{collection: /a}, {collection: /b}", "{collection: /b, bulk: allow}, {collection: /c}",
	                        "services.a.resources[/a]: removed\nservices.a.resources[/b].bulk: from refuse to allow\n"
	                        "services.a.resources[/c]: added\n");
	assert_resources_differ("{collection: /a}, {collection: /b}", "{collection: /b}, {collection: /a}",
	                        "services.a.resources: another order\n");
	assert_resources_differ("{collection: /a, operations: [" OPERATION("PUT /x", "update") "]}",
	                        "{collection: /a, operations: [" OPERATION("PUT /x", "append") "]}",
	                        "services.a.resources[/a].operations[PUT /x].kind: from update to append\n");
	assert_resources_differ("{collection: /a, operations: [" OPERATION("PUT /x", "update") ", " OPERATION("PUT /y",
	        "append") "]}",
	                        "{collection: /a, operations: [" OPERATION("PUT /y", "append") ", " OPERATION("PUT /x",
	  "update") "]}",
	                        "services.a.resources[/a].operations: another order\n");
}

static void the_manual_is_the_one_in_docs(void **state)
{
	FILE *f = fopen(SOURCE_DIR "/docs/reference.md", "r");
	struct buf want, got;
	char piece[4096];
	size_t n;

	(void)state;
	assert_non_null(f);
	buf_init(&want, NULL, 0);
	buf_init(&got, NULL, 0);
	while ((n = fread(piece, 1, sizeof(piece), f)))
		buf_add(&got, piece, n);
	fclose(f);
	conf_print_manual(&want);
	if (!span_eq(buf_span(&want), buf_span(&got)))
		fail_msg("docs/reference.md is stale: make reference");
	buf_fini(&want);
	buf_fini(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mistake_is_one_message_at_its_place),
		cmocka_unit_test(all_mistakes_are_told_at_once),
		cmocka_unit_test(more_instances_than_can_be_told_apart_are_refused),
		cmocka_unit_test(more_collections_than_are_looked_through_are_refused),
		cmocka_unit_test(mistakes_of_the_registry_are_told_too),
		cmocka_unit_test(every_option_is_read_and_printed),
		cmocka_unit_test(six_lines_are_enough),
		cmocka_unit_test(the_state_folder_has_a_default),
		cmocka_unit_test(services_share_an_address_by_prefix),
		cmocka_unit_test(ranges_of_addresses_hold_both_families),
		cmocka_unit_test(neighbours_are_the_instances_unless_they_are_listed),
		cmocka_unit_test(a_reload_names_what_needs_a_restart),
		cmocka_unit_test(a_reload_names_what_differs_in_resources),
		cmocka_unit_test(the_manual_is_the_one_in_docs),
	};

	return cmocka_run_group_tests(tests, in_new_folder, remove_folder);
}
