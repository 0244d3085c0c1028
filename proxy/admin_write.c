/* What changes something at the admin interface, and who may ask for it. */
#include "proxy/admin_int.h"

#include <stdio.h>

#include "base/log.h"
#include "base/nearest.h"
#include "proxy/reload.h"

/* ---- who may ---------------------------------------------------------------------------------------------------- */

/* HOST[:PORT] without the port; of an IPv6 literal with its brackets. */
static struct span without_port(struct span host)
{
	size_t end = host.n && host.p[0] == '[' ? span_find(host, ']') + 1 : span_find(host, ':');

	return end < host.n ? span_head(host, end) : host;
}

static bool is_loopback_host(struct span host)
{
	struct addr a;
	char text[64];
	int n;

	if (span_ieq(host, SPAN("localhost")))
		return true;
	n = snprintf(text, sizeof(text), "%.*s:1", SPAN_ARG(host));
	return n > 2 && (size_t)n < sizeof(text) && host.p[0] != ':' && !span_istarts(host, SPAN("unix")) &&
	       !addr_parse(span_make(text, (size_t)n), false, &a, NULL) && addr_is_loopback(&a);
}

static bool host_is_allowed(const struct exchange *x)
{
	const struct conf *conf = x->view->conf;
	struct span host = without_port(x->req.host);

	for (size_t i = 0; i < conf->admin_host_count; i++)
		if (span_ieq(conf->admin_hosts[i], host))
			return true;
	return is_loopback_host(host);
}

/* Browsers send Origin with what a page asks for; "null" is one that has none. */
static bool origin_is_same(const struct exchange *x)
{
	for (size_t i = 0; i < x->req.field_count; i++) {
		const struct http_field *f = &x->req.fields[i];

		if (f->id == HTTP_ORIGIN && (!span_istarts(f->value, SPAN("http://")) ||
		                             !span_ieq(span_from(f->value, 7), x->req.host)))
			return false;
	}
	return true;
}

static bool content_is_json(const struct exchange *x)
{
	const struct http_field *f = http_find(&x->req, HTTP_CONTENT_TYPE);

	return f && span_ieq(span_trim(span_head(f->value, span_find(f->value, ';'))), SPAN("application/json"));
}

bool admin_may_call(struct exchange *x, bool changes)
{
	struct problem p = { .status = 403, .type = "not-allowed" };

	if (!host_is_allowed(x)) {
		p.detail = "the admin interface is not called by this name (Host)";
		p.expected = "localhost, a loopback address, or a name in admin.hosts";
		p.key = SPAN("admin.hosts");
		p.text = x->req.host;
	} else if (!origin_is_same(x)) {
		p.detail = "a page of another origin may not use the admin interface (Origin)";
	} else if (changes && !content_is_json(x)) {
		p.detail = "what changes something needs Content-Type: application/json";
	} else {
		return true;
	}
	exchange_problem(x, &p);
	return false;
}

/* ---- reload ------------------------------------------------------------------------------------------------------- */

static json_t *lines_json(const struct buf *lines)
{
	struct span rest = buf_span(lines), line;
	json_t *list = json_array();

	while (span_split(&rest, '\n', &line))
		if (line.n)
			json_array_append_new(list, admin_text_json(line));
	return list;
}

/* An error takes the line with its place and message; an excerpt and a line with nothing but the caret, when they
 * follow; and a hint. */
static struct span take_error(struct span *rest)
{
	struct span whole = *rest, line, ahead, caret;

	span_split(rest, '\n', &line);
	ahead = *rest;
	if (span_split(&ahead, '\n', &line) && span_split(&ahead, '\n', &caret) && span_eq(span_trim(caret), SPAN("^")))
		*rest = ahead;
	ahead = *rest;
	if (span_split(&ahead, '\n', &line) && span_starts(line, SPAN("hint: ")))
		*rest = ahead;
	whole = span_head(whole, whole.n - rest->n);
	return whole.n && whole.p[whole.n - 1] == '\n' ? span_head(whole, whole.n - 1) : whole;
}

static json_t *errors_json(const struct buf *lines)
{
	struct span rest = buf_span(lines);
	json_t *list = json_array();

	while (rest.n)
		json_array_append_new(list, admin_text_json(take_error(&rest)));
	return list;
}

static void answer_refused(struct exchange *x, int rc, const struct reload_report *r)
{
	unsigned status = rc == ERR_DENIED ? 503 : rc == ERR_NOMEM ? 500 : 400;
	/* Without an error text it failed while it was put in force. */
	const char *detail = buf_len(&r->errors) ? "the configuration stays as it was"
	                                         : "out of memory: not everything could be put in force";

	x->reason = x->proxy_error = rc == ERR_DENIED ? "not-ready" : "configuration";
	admin_reply_json(x, status, "application/problem+json",
	                 json_pack("{s:s,s:s,s:i,s:s,s:o}", "type",
	                           rc == ERR_DENIED ? "urn:scopemesh:not-ready" : "urn:scopemesh:configuration",
	                           "title", "Reload refused", "status", (int)status, "detail", detail,
	                           "errors", errors_json(&r->errors)));
}

void admin_post_reload(struct exchange *x)
{
	struct server *srv = x->w->server;
	struct reload_report r;
	int rc;

	reload_report_init(&r);
	rc = server_reload(srv, &r);
	if (rc && (rc != ERR_TIMEOUT || buf_len(&r.errors)))
		answer_refused(x, rc, &r);
	else
		admin_reply_json(x, rc ? 202 : 200, "application/json",
		                 json_pack("{s:s,s:o,s:o,s:o,s:o}", "file", srv->conf_path, "changed",
		                           lines_json(&r.changed), "restart", lines_json(&r.restart), "opened",
		                           lines_json(&r.opened), "closed", lines_json(&r.closed)));
	reload_report_fini(&r);
}

/* ---- log level ------------------------------------------------------------------------------------------------------ */

static void level_problem(struct exchange *x, struct span level)
{
	struct problem p = { .status = 400, .type = "bad-request", .text = level,
		             .detail = "the content is no object with a log level",
		             .expected = "{\"level\": \"error\"}, or warn, info, debug" };
	static const char *const levels[] = {
#define LEVEL_NAME(value, name) name,
		LOG_LEVELS(LEVEL_NAME)
#undef LEVEL_NAME
	};
	struct nearest near = { { 0 }, 0 };

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		p.known[p.known_count++] = span_of(levels[i]);
		nearest_offer(&near, level, span_of(levels[i]));
	}
	p.nearest = near.best;
	exchange_problem(x, &p);
}

/* Until the next reload or restart, which take log.level of the file. */
void admin_put_log(struct exchange *x)
{
	struct span content = buf_span(&x->replay);
	json_t *doc = json_loadb(content.p ? content.p : "", content.n, JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(doc, "level"));
	enum log_level was = log_get_level(), level;

	if (!text || json_object_size(doc) != 1 || !log_level_parse(span_of(text), &level)) {
		level_problem(x, span_of(text));
	} else {
		log_set_level(level);
		log_write(level, "log level: %s (was %s)", log_level_text(level), log_level_text(was));
		admin_reply_json(x, 200, "application/json",
		                 json_pack("{s:s,s:s}", "level", log_level_text(level), "was", log_level_text(was)));
	}
	json_decref(doc);
}
