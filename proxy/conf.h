/* The configuration of one site (spec section 6): a snapshot, immutable once loaded, counted.  The
 * option table in conf_options.c is the only list of options: parser, --check, --print and the
 * reference manual come from it. */
#ifndef PROXY_CONF_H
#define PROXY_CONF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/span.h"
#include "registry/registry.h"
#include "replication/rules.h"

/* A range of addresses: "10.0.0.0/8", "::1", "fd00::/8". Numbers in network order, v4 mapped into v6. */
struct cidr { uint8_t prefix[16]; uint8_t bits; };
int cidr_parse(struct span text, struct cidr *cidr_r, struct err *e) MUST_CHECK;
bool cidr_has(const struct cidr *c, const struct addr *a);
void cidr_format(const struct cidr *c, char text_r[ADDR_TEXT_BYTES]);

struct conf_instance {
	struct span url;         /* as written */
	struct span authority;   /* host:port of the url */
	struct span host;        /* without the port and brackets */
	struct addr addr;
	bool tls;                /* https:// */
};

struct conf_health {
	struct span path;        /* empty: nothing is probed */
	int64_t interval_us, timeout_us;
	unsigned rise, fall;
};

enum conf_sites_rule { CONF_SITES_ALL, CONF_SITES_LIST, CONF_SITES_NONE };

/* Of the answer to a write that is executed at one site and queued for others. */
enum conf_queued_status { CONF_QUEUED_FIRST, CONF_QUEUED_202 };

struct conf_service {
	struct span name;
	struct addr *listen;
	size_t listen_count;
	struct span prefix;      /* begins with "/", never ends in "/" but for "/" itself */
	struct conf_instance *instances;
	size_t instance_count;
	struct span scope;       /* fixed scope, "" for none; checked at load */
	struct span default_location; /* "local" unless set; checked at load */
	struct cidr *scope_from;
	size_t scope_from_count; /* 0: any */
	enum conf_sites_rule sites_rule;
	struct span *sites;
	size_t sites_count;
	bool piggyback_strip;
	struct conf_health health;
	struct span tls_cert, tls_key; /* paths; "": plain */
	struct span upstream_ca, upstream_name; /* of https:// instances; "": the system's authorities, the URL's host */
	bool upstream_verify;
	unsigned *fallback_on;   /* statuses */
	size_t fallback_on_count;
	enum conf_queued_status queued_status;
	struct rule *resources;  /* as the file has them */
	size_t resource_count;
	struct rules *rules;     /* the same, to look paths up in; never NULL once loaded, a reference of the configuration's */
};

/* In order of precedence. */
enum conf_carrier_kind { CONF_CARRIER_HEADER, CONF_CARRIER_BAGGAGE, CONF_CARRIER_PIGGYBACK, CONF_CARRIER_CORRELATE };
#define CONF_CARRIER_KINDS 4
#define CONF_CARRIERS_MOST 16

struct conf_carrier {
	enum conf_carrier_kind kind;
	uint8_t values;          /* of correlate:NAME: enum correlation_kind */
	struct span name;        /* of correlate:NAME and piggyback:NAME, lower case; else empty */
	struct span text;        /* as the configuration says it: "correlate:traceparent" */
};

struct conf_named { struct span name, location; };

/* A program that is told of events (hooks.h). */
struct conf_hook {
	struct span name;
	int *events;             /* enum hook_event; none: all */
	size_t event_count;
	struct span *run;        /* argv */
	size_t run_count;
};

enum conf_log_format { CONF_LOG_JSON, CONF_LOG_TEXT };

struct conf {
	_Atomic int refs;
	struct arena arena;
	struct span file;        /* the path it was read from */
	struct span dir;         /* its folder: relative paths are relative to it (resolved already) */

	struct span site;
	struct registry_label *labels;
	size_t label_count;
	struct span state;       /* folder */
	unsigned workers;        /* never 0: one per core has been put in */
	struct conf_service *services;
	size_t service_count;
	struct conf_hook *hooks;
	size_t hook_count;

	bool has_mesh;
	struct addr mesh_listen;
	struct span mesh_advertise; /* "" or the address */
	bool mesh_insecure;
	struct { struct span cert, key, ca, crl; } mesh_tls; /* paths */

	struct span registry_file;  /* "" without */
	bool has_admin;             /* always true by now: the default address */
	struct addr admin_listen;
	struct span *admin_hosts;   /* names, beside loopback, that Host may have there */
	size_t admin_host_count;

	struct conf_carrier *carriers;
	size_t carrier_count;
	struct conf_named *named;
	size_t named_count;
	struct cidr *neighbours;
	size_t neighbour_count;
	struct cidr *forwarded_trust;
	size_t forwarded_trust_count;

	int64_t timeout_connect_us, timeout_header_us, timeout_body_us, timeout_response_us,
		timeout_idle_us, timeout_drain_us, timeout_fail_after_us;
	uint64_t limit_connections, limit_per_client, limit_own_via, limit_header_bytes, limit_body_bytes,
		limit_spool_bytes, limit_queue_bytes;
	int64_t queue_settle_us, queue_expire_us;
	uint64_t limit_scope_text, limit_scope_depth, limit_scope_sites; /* limits.scope_text, scope_depth, scope_sites */

	enum log_level log_level;
	struct span log_access;     /* "-", "off" or a path */
	enum conf_log_format log_format;
	struct span *log_redact;    /* further header names */
	size_t log_redact_count;
};

/* Reads and checks a configuration file and, when it names one, its registry file for errors that concern
 * both.  Problems are appended to errors, all at once, as "FILE:LINE:COLUMN: message", the line, a caret, and
 * the nearest valid word.  0, ERR_INVALID (see errors), ERR_IO (file cannot be read; said in errors), ERR_NOMEM. */
int conf_load(const char *path, struct conf **conf_r, struct buf *errors) MUST_CHECK;
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf);

/* The effective configuration as YAML (--print), defaults put in. */
void conf_print(const struct conf *conf, struct buf *out);
/* The reference manual (Markdown), made from the option table. */
void conf_print_manual(struct buf *out);
/* Appends a line for every key that differs between the two; restart: of those that need one, else of the others. */
void conf_diff(const struct conf *before, const struct conf *after, bool restart, struct buf *out);
/* Puts the values of `before` into the keys that only a restart changes.  0 or ERR_NOMEM. */
int conf_keep_fixed(struct conf *conf, const struct conf *before) MUST_CHECK;
/* Whether this address is one of the site's own instances: scope.neighbours, else the addresses of the instances
 * (of those on loopback all of loopback). */
bool conf_is_neighbour(const struct conf *conf, const struct addr *a);
/* A header of this name is a client's secret: credentials, and what log.redact names. */
bool conf_is_secret(const struct conf *conf, struct span name);
/* How many values a request brings at most to the table of correlate:NAME. */
unsigned conf_correlation_keys(const struct conf *conf);
/* False when no address at all is one. */
bool conf_has_neighbours(const struct conf *conf);

#endif
