/* The options: the only list of them (spec section 6).  To add one, add a member to struct conf and
 * a row here; parser, --check, --print, reload and docs/reference.md (make reference) follow.
 *
 * On top the types that only this table needs; most read one scalar. */
#include "base/opt.h"

#include <assert.h>

#include "proxy/conf_int.h"
#include "proxy/hooks.h"

static_assert(sizeof(struct registry_label) == sizeof(struct opt_pair) &&
              offsetof(struct registry_label, value) == offsetof(struct opt_pair, value),
              "labels are read as pairs");
static_assert(sizeof(struct conf_named) == sizeof(struct opt_pair) &&
              offsetof(struct conf_named, location) == offsetof(struct opt_pair, value),
              "named locations are read as pairs");
static_assert(sizeof(enum conf_log_format) == sizeof(int) && sizeof(enum log_level) == sizeof(int) &&
              sizeof(enum metaid_kind) == sizeof(int) && sizeof(enum consistency) == sizeof(int) &&
              sizeof(enum rule_hidden) == sizeof(int) && sizeof(enum rule_bulk) == sizeof(int) &&
              sizeof(enum rule_in_doubt) == sizeof(int) &&
              sizeof(enum conf_queued_status) == sizeof(int), "words are read as int");
static_assert(METAID_UUID == 0 && METAID_UUID4 == 1 && METAID_INTEGER == 2 && CLASS_WEAK == 0 && CLASS_EVENTUAL == 1 &&
              CLASS_QUORUM == 2 && CLASS_STRONG == 3, "words stand in the order of their values");
static_assert(offsetof(struct rule, collection) == 0 && offsetof(struct rule_operation, match.text) == 0,
              "elements begin with what tells them apart");

/* ---- types ------------------------------------------------------------------------------- */

static int keep(struct opt_reader *r, struct span text, struct span *to)
{
	*to = arena_dup(r->arena, text);
	if (to->p)
		return 0;
	*to = SPAN("");
	r->nomem = true;
	return ERR_NOMEM;
}

static bool printable_path(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] == 127 || strchr("?#\"<>\\^`{|}", text.p[i]))
			return false;
	return text.n && text.p[0] == '/';
}

static int parse_prefix(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                        struct err *e)
{
	(void)o;
	if (!printable_path(text))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no path; expected e.g. / or /v2", SPAN_ARG(text));
	while (text.n > 1 && text.p[text.n - 1] == '/')
		text.n--;
	return keep(r, text, value);
}

/* A request target; empty: none. */
static int parse_target(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                        struct err *e)
{
	size_t query = span_find(text, '?');

	(void)o;
	if (text.n && (!printable_path(span_head(text, query)) ||
	               (query < text.n && span_find(span_from(text, query + 1), '#') + query + 1 < text.n)))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no path; expected e.g. /healthcheck",
		               SPAN_ARG(text));
	for (size_t i = query; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] == 127)
			return err_set(e, ERR_INVALID, "a path holds no blanks");
	return keep(r, text, value);
}

static void print_text(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(*(const struct span *)value, out);
}

/* [USERINFO@]HOST[:PORT] of a URL with nothing behind it. */
static int parse_authority(struct opt_reader *r, struct span text, struct conf_instance *in, struct err *e)
{
	bool has_port = text.n && text.p[text.n - 1] != ']' && span_find(text, ':') < text.n;
	size_t port;

	if (span_find(text, '@') < text.n)
		return err_set(e, ERR_INVALID, "a user name cannot be part of an instance");
	if (!text.n)
		return err_set(e, ERR_INVALID, "the address is missing");
	if (has_port) {
		if (keep(r, text, &in->authority))
			return ERR_NOMEM;
	} else {
		in->authority = span_of(arena_printf(r->arena, "%.*s:%s", SPAN_ARG(text), in->tls ? "443" : "80"));
		r->nomem |= !in->authority.p;
		if (r->nomem)
			return ERR_NOMEM;
	}
	if (span_starts(in->authority, SPAN(":")))
		return err_set(e, ERR_INVALID, "the address is missing");
	for (port = in->authority.n; in->authority.p[port - 1] != ':'; port--)
		;
	in->host = span_head(in->authority, port - 1);
	if (in->host.n > 2 && in->host.p[0] == '[')
		in->host = span_make(in->host.p + 1, in->host.n - 2);
	return addr_parse(in->authority, false, &in->addr, e);
}

static int parse_instance(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                          struct err *e)
{
	struct conf_instance *in = value;
	struct span rest;
	size_t path;

	(void)o;
	in->url = in->authority = in->host = SPAN("");
	in->tls = span_istarts(text, SPAN("https://"));
	if (!in->tls && !span_istarts(text, SPAN("http://")))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no URL; expected http://ADDRESS:PORT",
		               SPAN_ARG(text));
	rest = span_from(text, in->tls ? 8 : 7);
	path = span_find(rest, '/');
	if (path + 1 < rest.n || span_find(rest, '?') < rest.n || span_find(rest, '#') < rest.n)
		return err_set(e, ERR_INVALID,
		               "an instance has no path: requests are passed on with their own");
	if (parse_authority(r, span_head(rest, path), in, e))
		return ERR_INVALID;
	return keep(r, text, &in->url);
}

static void print_instance(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(((const struct conf_instance *)value)->url, out);
}

static int parse_cidr(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	(void)r;
	(void)o;
	return cidr_parse(text, value, e);
}

static void print_cidr(const struct opt *o, const void *value, struct buf *out)
{
	char text[ADDR_TEXT_BYTES];

	(void)o;
	cidr_format(value, text);
	buf_addf(out, "\"%s\"", text);
}

bool conf_is_token_char(unsigned char c)
{
	return c > ' ' && c < 127 && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

/* A field name, RFC 9110 5.1. */
static int parse_field_name(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                            struct err *e)
{
	(void)o;
	for (size_t i = 0; i < text.n; i++)
		if (!conf_is_token_char((unsigned char)text.p[i]))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no header name", SPAN_ARG(text));
	if (!text.n)
		return err_set(e, ERR_INVALID, "a header name is missing");
	return keep(r, text, value);
}

/* What Host may be, without the port. */
static int parse_host(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	bool literal = text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';

	(void)o;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 127 || strchr("/@?#\\", text.p[i]) ||
		    (text.p[i] == ':' && !literal))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no host; expected a name or address without port",
			               SPAN_ARG(text));
	if (!text.n)
		return err_set(e, ERR_INVALID, "a host is missing");
	return keep(r, text, value);
}

/* A host name or an address without port, for SNI and the certificate; empty: the instance's address. */
static int parse_server_name(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	return text.n && (text.p[0] == '[' || text.n > 253) ? err_set(e, ERR_INVALID, "\"%.*s\" is no host name",
	                                                               SPAN_ARG(text))
	       : text.n ? parse_host(r, o, text, value, e) : keep(r, text, value);
}

static int parse_advertise(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                           struct err *e)
{
	struct addr addr;
	struct opt port = *o;

	port.min = 1;
	if (text.n && opt_addr.parse(r, &port, text, &addr, e))
		return ERR_INVALID;
	return keep(r, text, value);
}

/* An address, or unix:/PATH, which is relative to the file's folder as every path is. */
static int parse_admin(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                       struct err *e)
{
	struct span path;
	char *whole;

	if (!span_starts(text, SPAN("unix:")) || text.n == 5)
		return addr_parse(text, o->min == 0, value, e);
	path = opt_resolve(r->arena, r->dir, span_from(text, 5));
	whole = path.p ? arena_printf(r->arena, "unix:%.*s", SPAN_ARG(path)) : NULL;
	if (!whole) {
		r->nomem = true;
		return ERR_NOMEM;
	}
	return addr_parse(span_of(whole), false, value, e);
}

static void print_admin(const struct opt *o, const void *value, struct buf *out)
{
	char text[ADDR_TEXT_BYTES];

	(void)o;
	addr_format(value, text);
	yaml_print_scalar(span_of(text), out);
}

static int parse_access(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                        struct err *e)
{
	if (span_eq(text, SPAN("-")) || span_eq(text, SPAN("off")))
		return keep(r, text, value);
	return opt_path.parse(r, o, text, value, e);
}

/* all | none | [SITE, ...]: three members, found from the first. */
static void read_sites(struct opt_reader *r, const struct opt *o, const struct yaml_node *node, void *value)
{
	struct conf_service *service = (void *)((char *)value - offsetof(struct conf_service, sites_rule));

	if (node->kind == YAML_SCALAR && span_eq(node->text, SPAN("all"))) {
		service->sites_rule = CONF_SITES_ALL;
	} else if (node->kind == YAML_SCALAR && span_eq(node->text, SPAN("none"))) {
		service->sites_rule = CONF_SITES_NONE;
	} else if (node->kind == YAML_LIST && node->count) {
		service->sites_rule = CONF_SITES_LIST;
		service->sites = opt_read_list(r, o, &opt_name, node, &service->sites_count);
	} else {
		yaml_problem(r->yaml, node->at, NULL, "sites: expected all, none or a list of sites");
	}
}

static void print_sites(const struct opt *o, const void *value, struct buf *out)
{
	const struct conf_service *service =
		(const void *)((const char *)value - offsetof(struct conf_service, sites_rule));

	(void)o;
	if (service->sites_rule != CONF_SITES_LIST) {
		buf_add_z(out, service->sites_rule == CONF_SITES_ALL ? "all" : "none");
		return;
	}
	for (size_t i = 0; i < service->sites_count; i++) {
		buf_add_z(out, i ? ", " : "[");
		yaml_print_scalar(service->sites[i], out);
	}
	buf_add_char(out, ']');
}

static const struct opt_type type_prefix = { "path", sizeof(struct span), parse_prefix, print_text, NULL };
static const struct opt_type type_target = { "path", sizeof(struct span), parse_target, print_text, NULL };
static const struct opt_type type_instance = { "URL", sizeof(struct conf_instance), parse_instance,
	                                       print_instance, NULL };
static const struct opt_type type_cidr = { "CIDR", sizeof(struct cidr), parse_cidr, print_cidr, NULL };
static const struct opt_type type_field_name = { "header name", sizeof(struct span), parse_field_name,
	                                         print_text, NULL };
static const struct opt_type type_host = { "host", sizeof(struct span), parse_host, print_text, NULL };
static const struct opt_type type_server_name = { "host", sizeof(struct span), parse_server_name, print_text, NULL };
static const struct opt_type type_advertise = { "address", sizeof(struct span), parse_advertise,
	                                        print_text, NULL };
static const struct opt_type type_admin = { "address or unix:/PATH", sizeof(struct addr), parse_admin,
	                                    print_admin, NULL };
static const struct opt_type type_access = { "\"-\", off or path", sizeof(struct span), parse_access,
	                                     print_text, NULL };
static const struct opt_type type_sites = { "all, none or list of sites", sizeof(int), NULL, print_sites,
	                                    read_sites };

/* ---- the rows ---------------------------------------------------------------------------- */

#define AT(member) .offset = offsetof(struct conf, member)
#define LIST_AT(member, number) AT(member), .count_offset = offsetof(struct conf, number)
#define S_AT(member) .offset = offsetof(struct conf_service, member)
#define S_LIST_AT(member, number) S_AT(member), .count_offset = offsetof(struct conf_service, number)
#define R_AT(member) .offset = offsetof(struct rule, member)
#define R_LIST_AT(member, number) R_AT(member), .count_offset = offsetof(struct rule, number)
#define O_AT(member) .offset = offsetof(struct rule_operation, member)
#define MS 1000ull
#define DAY (86400ull * 1000000)
#define LATER(key, kind, sentence) { .path = key, .type = &kind, .flags = OPT_LATER, .doc = sentence }
#define RESOURCE "services.*.resources.[]."
#define OPERATION RESOURCE "operations.[]."
#define LATER_WORD(key, preset, all, sentence) \
	{ .path = RESOURCE key, .type = &opt_word, .flags = OPT_LATER, .words = all, .value = preset, .doc = sentence }
#define TIMEOUT(name, least, preset, sentence) \
	{ .path = "timeouts." #name, .type = &opt_duration, AT(timeout_##name##_us), .min = least, \
	  .max = 30 * DAY, .value = preset, .doc = sentence }

static const struct opt rows[] = {
	{ .path = "site", .type = &opt_name, .flags = OPT_REQUIRED | OPT_RESTART | OPT_FILLED, AT(site),
	  .doc = "Name of this site, as scopes call it." },
	{ .path = "labels", .type = &opt_name, .flags = OPT_PAIRS, LIST_AT(labels, label_count),
	  .doc = "Labels of this site, where the registry file gives it none." },
	{ .path = "state", .type = &opt_path, .flags = OPT_RESTART, AT(state),
	  .value_text = "`$STATE_DIRECTORY`, else `/var/lib/scopemesh`",
	  .doc = "Folder of what outlives a restart; created with mode 0700, locked by one process." },
	{ .path = "workers", .type = &opt_uint, .flags = OPT_RESTART, AT(workers), .max = 256,
	  .value = "0", .doc = "Event-loop threads; 0: one per core." },
	{ .path = "hooks.[]", .type = &opt_items, LIST_AT(hooks, hook_count), .element = sizeof(struct conf_hook),
	  .doc = "Programs that are told of what happens to replicas: a JSON document on standard input, no shell "
		 "(docs/replication.md)." },
	{ .path = "hooks.[].name", .type = &opt_name, .flags = OPT_REQUIRED | OPT_FILLED, .offset = offsetof(struct conf_hook, name),
	  .doc = "What the log calls it." },
	{ .path = "hooks.[].events", .type = &opt_word, .flags = OPT_LIST, .offset = offsetof(struct conf_hook, events),
	  .count_offset = offsetof(struct conf_hook, event_count), .words = HOOKS_WORDS, .later = HOOKS_LATER,
	  .value_text = "all", .doc = "Of which events it is told." },
	{ .path = "hooks.[].run", .type = &opt_text, .flags = OPT_LIST | OPT_REQUIRED | OPT_FILLED,
	  .offset = offsetof(struct conf_hook, run), .count_offset = offsetof(struct conf_hook, run_count),
	  .doc = "The program, found in `PATH` unless it is a path, and its arguments." },

	{ .path = "services.*", .type = &opt_group, LIST_AT(services, service_count),
	  .element = sizeof(struct conf_service), .doc = "The services of this site, by name." },
	{ .path = "services.*.listen", .type = &opt_addr, .flags = OPT_LIST | OPT_REQUIRED,
	  S_LIST_AT(listen, listen_count),
	  .doc = "Where clients reach the service: one or more addresses; port 0 takes a free one." },
	{ .path = "services.*.prefix", .type = &type_prefix, S_AT(prefix), .value = "/",
	  .doc = "Path below which requests belong to the service; services may share an address, told "
		 "apart by prefix." },
	{ .path = "services.*.instances", .type = &type_instance, .flags = OPT_LIST,
	  S_LIST_AT(instances, instance_count),
	  .doc = "Where the service itself runs at this site, at most 64: http://ADDRESS:PORT or https://ADDRESS:PORT each." },
	{ .path = "services.*.tls.cert", .type = &opt_path, S_AT(tls_cert),
	  .doc = "Certificate (with those between it and its authority) shown to clients: the listener speaks TLS 1.2 or "
		 "later; read again when it changes." },
	{ .path = "services.*.tls.key", .type = &opt_path, S_AT(tls_key),
	  .doc = "Its key, in PEM form without a passphrase, not readable by everybody." },
	{ .path = "services.*.upstream_tls.ca", .type = &opt_path, S_AT(upstream_ca), .value_text = "the system's",
	  .doc = "Authorities that https:// instances are verified by." },
	{ .path = "services.*.upstream_tls.verify", .type = &opt_bool, S_AT(upstream_verify), .value = "true",
	  .doc = "Whether the certificates of https:// instances are verified." },
	{ .path = "services.*.upstream_tls.name", .type = &type_server_name, S_AT(upstream_name), .value = "",
	  .value_text = "the address", .doc = "Host name that their certificates are for." },
	{ .path = "services.*.scope", .type = &opt_text, S_AT(scope), .value = "",
	  .doc = "Fixed scope for clients that can send none." },
	{ .path = "services.*.default", .type = &opt_text, .flags = OPT_FILLED, S_AT(default_location),
	  .value = "local", .doc = "Location when a request names none for this service." },
	{ .path = "services.*.scope_from", .type = &type_cidr, .flags = OPT_LIST,
	  S_LIST_AT(scope_from, scope_from_count),
	  .doc = "Ranges of addresses that may send a scope; empty: any." },
	{ .path = "services.*.sites", .type = &type_sites, S_AT(sites_rule), .value_text = "`all`",
	  .doc = "Sites whose requests may come in." },
	{ .path = "services.*.piggyback_strip", .type = &opt_bool, S_AT(piggyback_strip), .value = "false",
	  .doc = "Whether the service, as the one that checks them, receives the values of all headers of "
		 "piggyback:NAME without the scope." },
	{ .path = "services.*.health.path", .type = &type_target, S_AT(health.path), .value = "",
	  .doc = "Path that is asked for; empty: nothing is probed and every instance counts as usable." },
	{ .path = "services.*.health.interval", .type = &opt_duration, S_AT(health.interval_us),
	  .min = 10 * MS, .max = DAY, .value = "2s", .doc = "Time from one probe to the next." },
	{ .path = "services.*.health.timeout", .type = &opt_duration, S_AT(health.timeout_us),
	  .min = MS, .max = DAY, .value = "1s", .doc = "Time within which a probe must be answered." },
	{ .path = "services.*.health.rise", .type = &opt_uint, S_AT(health.rise), .min = 1, .max = 100,
	  .value = "2", .doc = "Good probes in a row that make an instance usable." },
	{ .path = "services.*.health.fall", .type = &opt_uint, S_AT(health.fall), .min = 1, .max = 100,
	  .value = "3", .doc = "Failed probes in a row that make an instance unusable." },
	{ .path = "services.*.fallback_on", .type = &opt_uint, .flags = OPT_LIST, .min = 400, .max = 599,
	  S_LIST_AT(fallback_on, fallback_on_count),
	  .doc = "Statuses of responses on which `;` moves on, beside failures." },
	{ .path = "services.*.queued_status", .type = &opt_word, S_AT(queued_status), .words = "first|202", .value = "first",
	  .doc = "Status of the answer to a write that is queued for some site: the first replica's, or 202." },
	{ .path = "services.*.resources.[]", .type = &opt_items, S_LIST_AT(resources, resource_count),
	  .element = sizeof(struct rule), .doc = "Collections whose resources are replicated, at most 64. Others are "
						     "learned from answers of 201." },
	{ .path = RESOURCE "collection", .type = &conf_type_collection, .flags = OPT_REQUIRED, R_AT(collection),
	  .doc = "Path that ids follow behind: /v2/images; of children /v2/images/{id}/members." },
	{ .path = RESOURCE "id", .type = &conf_type_id_place, R_AT(id_place), .words = "$.id|location", .value = "$.id",
	  .doc = "Where a representation has the id, from its top: $.id, $.server.id; location: only the header Location "
		 "shows it." },
	{ .path = RESOURCE "meta_id", .type = &opt_word, R_AT(meta_id), .words = "uuid|uuid4|integer", .value = "uuid",
	  .doc = "What meta-identifiers look like; uuid4, for applications that check the version, names no home." },
	{ .path = RESOURCE "assign", .type = &conf_type_place, R_AT(assign), .value = "",
	  .doc = "Where a create may tell the application which id to take ($.id); empty: it takes none." },
	{ .path = RESOURCE "consistency", .type = &opt_word, R_AT(class), .words = "weak|eventual|quorum|strong",
	  .later = "quorum|strong", .value = "eventual", .doc = "When a write is answered: once it was executed at one site "
								 "(weak), and is durable for all others (eventual)." },
	LATER_WORD("conflict", "lww", "lww|keep-all", "What concurrent writes to one resource end in."),
	{ .path = RESOURCE "operations.[]", .type = &opt_items, R_LIST_AT(operations, operation_count),
	  .element = sizeof(struct rule_operation), .doc = "What requests do; the first that matches counts, else the method." },
	{ .path = OPERATION "match", .type = &conf_type_request, .flags = OPT_REQUIRED, O_AT(match),
	  .doc = "Method and path below the collection: PUT /{id}/file; the collection itself is /." },
	{ .path = OPERATION "kind", .type = &conf_type_kind, .flags = OPT_REQUIRED, O_AT(kind),
	  .words = "update|append|replace|delete",
	  .doc = "update: may be executed again; append: once; replace: overwrites all of its target; delete: ends it." },
	{ .path = OPERATION "independent", .type = &opt_bool, O_AT(independent), .value = "false",
	  .doc = "Whether it may overtake other operations on the same resource." },
	{ .path = RESOURCE "echo", .type = &conf_type_member, .flags = OPT_LIST, R_LIST_AT(echo, echo_count),
	  .doc = "Places of the first answer to a create whose values are put at the same places of the other sites' requests: "
		 "$.adminPass." },
	{ .path = RESOURCE "find", .type = &conf_type_find, R_AT(find), .value = "",
	  .doc = "Path by which a create of unknown outcome is looked up, with values of its request: /notes?uid={$.uid}." },
	LATER(RESOURCE "refs", opt_text, "Places of short ids of other services' resources."),
	{ .path = RESOURCE "volatile", .type = &conf_type_place, .flags = OPT_LIST, R_LIST_AT(volatile_, volatile_count),
	  .doc = "Places whose values differ between replicas that count as equal." },
	LATER(RESOURCE "copy", opt_text, "How a representation is taken from one site to another."),
	{ .path = RESOURCE "ready.path", .type = &conf_type_member, R_AT(ready.path), .value = "",
	  .doc = "Where a representation says how far its application is, $.status; empty: a create is done when it is answered." },
	{ .path = RESOURCE "ready.ok", .type = &opt_text, .flags = OPT_LIST, R_LIST_AT(ready.ok, ready.ok_count),
	  .doc = "What stands there when it is ready." },
	{ .path = RESOURCE "ready.failed", .type = &opt_text, .flags = OPT_LIST, R_LIST_AT(ready.failed, ready.failed_count),
	  .doc = "What stands there when it will never be." },
	{ .path = RESOURCE "ready.within", .type = &opt_duration, R_AT(ready.within_us), .min = 1000 * MS, .max = 30 * DAY,
	  .value = "10m", .doc = "When it is taken for failed if it is neither." },
	{ .path = RESOURCE "list.items", .type = &conf_type_items, R_AT(list.items), .value = "",
	  .doc = "Where the collection's answer has its array of elements, $.images, or $ where it is one: under `&` it is then the "
		 "list of each site in turn; empty: the nearest site's alone." },
	{ .path = RESOURCE "list.next", .type = &conf_type_member, R_AT(list.next), .value = "",
	  .doc = "Where a page has the link to the next one, $.next; empty: in the header Link, or there is one page." },
	{ .path = RESOURCE "list.marker", .type = &conf_type_query_name, R_AT(list.marker), .value = "",
	  .doc = "Member of the query that names the element behind which a page begins: marker." },
	{ .path = RESOURCE "in_doubt", .type = &opt_word, R_AT(in_doubt), .words = "hold|retry", .value = "hold",
	  .doc = "What becomes of an operation whose outcome is unknown and that is to be executed once: it waits for an "
		 "operator, or is executed again." },
	{ .path = RESOURCE "hidden", .type = &opt_word, R_AT(hidden), .words = "not-found|alias", .value = "not-found",
	  .doc = "What a path gets that names a replica by its local id: 404, or the replica, for applications that call "
		 "themselves by their own ids." },
	{ .path = RESOURCE "bulk", .type = &opt_word, R_AT(bulk), .words = "refuse|allow", .value = "refuse",
	  .doc = "Whether writes to the collection itself are let through that may change replicas." },
	LATER_WORD("order", "resource", "resource|site", "Among which operations the order is kept."),

	{ .path = "mesh.listen", .type = &opt_addr, AT(mesh_listen),
	  .doc = "Where the proxies of other sites reach this one; without it nobody does." },
	{ .path = "mesh.advertise", .type = &type_advertise, AT(mesh_advertise), .value = "",
	  .doc = "Address that other sites are told, where it differs from the one listened at." },
	{ .path = "mesh.tls.insecure", .type = &opt_bool, AT(mesh_insecure),
	  .value = "false",
	  .doc = "No TLS between sites; on loopback only: any connection to the mesh listener is a peer." },
	{ .path = "mesh.tls.cert", .type = &opt_path, AT(mesh_tls.cert),
	  .doc = "Certificate of this site, which names it by the URI scopemesh:SITE (`scopectl ca issue`); read again, "
		 "as the other three, when it changes." },
	{ .path = "mesh.tls.key", .type = &opt_path, AT(mesh_tls.key),
	  .doc = "Its key, in PEM form without a passphrase, not readable by everybody." },
	{ .path = "mesh.tls.ca", .type = &opt_path, AT(mesh_tls.ca),
	  .doc = "Authorities whose certificates other sites are believed by (`scopectl ca init`)." },
	{ .path = "mesh.tls.crl", .type = &opt_path, AT(mesh_tls.crl),
	  .doc = "Certificates that were revoked (`scopectl ca revoke`)." },

	{ .path = "registry.file", .type = &opt_path, AT(registry_file),
	  .doc = "The registry file (sites.yaml); without it the site knows itself only." },
	LATER("registry.serf", opt_text, "A Serf agent as registry."),

	{ .path = "admin.listen", .type = &type_admin, .flags = OPT_FILLED, AT(admin_listen),
	  .value = "127.0.0.1:7401", .doc = "The admin interface; on loopback or a unix socket." },
	LATER("admin.token_file", opt_text, "File with the token that is required off loopback."),
	{ .path = "admin.hosts", .type = &type_host, .flags = OPT_LIST, LIST_AT(admin_hosts, admin_host_count),
	  .doc = "Names the admin interface may be called by (Host), beside localhost and loopback addresses." },

	{ .path = "scope.carriers", .type = &conf_type_carrier, .flags = OPT_LIST,
	  LIST_AT(carriers, carrier_count),
	  .words = "header|baggage|piggyback:x-auth-token|correlate:traceparent|correlate:x-request-id|"
		   "correlate:x-openstack-request-id|correlate:b3|correlate:x-b3-traceid",
	  .value = "header, baggage, correlate:traceparent, correlate:x-request-id",
	  .doc = "How a scope travels on with the calls that services make (docs/carriers.md)." },
	{ .path = "scope.named", .type = &opt_text, .flags = OPT_PAIRS, LIST_AT(named, named_count),
	  .doc = "Locations that scopes may call `@NAME`." },
	{ .path = "scope.neighbours", .type = &type_cidr, .flags = OPT_LIST,
	  LIST_AT(neighbours, neighbour_count), .value_text = "the addresses of the instances",
	  .doc = "Ranges of addresses whose calls may be given the scope of a request they belong to, and are "
		 "still served while the daemon drains." },

	{ .path = "forwarded.trust", .type = &type_cidr, .flags = OPT_LIST,
	  LIST_AT(forwarded_trust, forwarded_trust_count),
	  .doc = "Ranges of addresses whose X-Forwarded-* and Forwarded headers are believed." },

	TIMEOUT(connect, MS, "2s", "For a connection to an instance or a site."),
	TIMEOUT(header, MS, "10s", "For the whole head of a request."),
	TIMEOUT(body, MS, "30s", "Between two pieces of a body, of requests and responses alike."),
	TIMEOUT(response, MS, "60s", "From the end of a request to the head of its response."),
	TIMEOUT(idle, MS, "60s", "How long an idle connection is kept."),
	TIMEOUT(drain, 0, "30s", "How long requests in flight may take when the daemon is stopped."),
	TIMEOUT(fail_after, MS, "30s", "How long a site is unreachable before it counts as failed."),

	{ .path = "limits.connections", .type = &opt_count, AT(limit_connections), .min = 1,
	  .max = 10000000, .value = "10000", .doc = "Client connections at a time; the oldest idle or incomplete one is "
					       "closed for a new one." },
	{ .path = "limits.per_client", .type = &opt_count, AT(limit_per_client), .max = 10000000,
	  .value = "0", .doc = "Connections at a time from one address to the services' listeners, over all "
				     "workers; IPv6 addresses count by their /64. 0: no limit." },
	{ .path = "limits.own_via", .type = &opt_count, AT(limit_own_via), .max = 64, .value = "0",
	  .doc = "Entries of this site in Via that a request may bring before it ends in 508 as a loop. Raise it where "
		 "an application is a proxy itself (a gateway, a caching registry) and passes Via on in its calls." },
	{ .path = "limits.header_bytes", .type = &opt_size, AT(limit_header_bytes), .min = 1024,
	  .max = 16 << 20, .value = "64k", .doc = "Longest head of a message; a request line may take half of it." },
	{ .path = "limits.body_bytes", .type = &opt_size, AT(limit_body_bytes), .value = "0",
	  .doc = "Longest body of a request; 0: no limit." },
	{ .path = "limits.spool_bytes", .type = &opt_size, AT(limit_spool_bytes), .value = "10g",
	  .doc = "Room for spooled bodies in the state folder." },
	{ .path = "limits.queue_bytes", .type = &opt_size, AT(limit_queue_bytes), .min = 4096, .value = "2g",
	  .doc = "Operations that are not over, with their headers and bodies of up to 64 KiB and 2 KiB more for each; past it new "
		 "replicated writes get 507, and those that wait stay." },
	{ .path = "limits.scope_text", .type = &opt_size, AT(limit_scope_text), .min = 1, .max = 8192,
	  .value = "8k", .doc = "Longest scope." },
	{ .path = "limits.scope_depth", .type = &opt_count, AT(limit_scope_depth), .min = 1, .max = 32,
	  .value = "32", .doc = "Open parentheses in a scope, those of functions included." },
	{ .path = "limits.scope_sites", .type = &opt_count, AT(limit_scope_sites), .min = 1, .max = 256,
	  .value = "256", .doc = "Sites written or expanded in one binding of a scope." },

	{ .path = "queue.expire", .type = &opt_duration, AT(queue_expire_us), .min = 1000 * MS, .max = 3650 * DAY, .value = "7d",
	  .doc = "How long operations on a resource wait for a site: then all that wait there are dropped, and the replica there "
		 "counts as failed. Never at sites marked autonomous, nor while this site seems to be cut off itself." },
	{ .path = "queue.settle", .type = &opt_duration, AT(queue_settle_us), .max = 30 * DAY, .value = "60s",
	  .doc = "How long a replica may refuse (with a 4xx) what another site's has accepted before it counts as failed: "
		 "applications that work in the background refuse while they build." },
	LATER("queue.keep_body", opt_size, "Longest body that is kept in the database."),

	{ .path = "log.level", .type = &opt_word, AT(log_level), .words = "error|warn|info|debug",
	  .value = "info", .doc = "What is logged to standard error." },
	{ .path = "log.access", .type = &type_access, .flags = OPT_FILLED, AT(log_access), .value = "-",
	  .doc = "The access log: \"-\" for standard output, off, or a file." },
	{ .path = "log.format", .type = &opt_word, AT(log_format), .words = "json|text",
	  .value = "json", .doc = "How its lines are written." },
	{ .path = "log.redact", .type = &type_field_name, .flags = OPT_LIST,
	  LIST_AT(log_redact, log_redact_count),
	  .doc = "Headers never logged, beside Authorization, tokens and cookies." },
};

const struct opt_table conf_options = { rows, sizeof(rows) / sizeof(rows[0]) };
