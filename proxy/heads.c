/* The heads that go out: fields as they came, less what ends here, plus what is ours.  Framing fields are always
 * written anew (RFC 9112 6).
 *
 *	request to an instance    + Via, X-Forwarded-*, the scope by its carriers
 *	request to another site   + Via, X-Forwarded-*, X-Scopemesh-Service, -Trace, -Scope, -Hold
 *	response to the client    + Via, X-Scope-Served-By
 *	response to another site  + X-Scopemesh-Error with an own error
 */
#include <stdio.h>

#include "base/clock.h"
#include "proxy/carrier.h"
#include "proxy/front.h"
#include "proxy/io_tls.h"
#include "proxy/listing.h"
#include "proxy/mesh_version.h"
#include "proxy/piggyback.h"
#include "proxy/rewrite_exchange.h"

static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$&'*+-.^_`|~", c));
}

void heads_add_token(struct buf *out, struct span name)
{
	for (size_t from = 0, i = 0; i <= name.n; i++) {
		if (i < name.n && is_token_char((unsigned char)name.p[i]))
			continue;
		buf_add(out, name.p + from, i - from);
		if (i < name.n)
			buf_addf(out, "%%%02X", (unsigned char)name.p[i]);
		from = i + 1;
	}
}

bool heads_is_token(struct exchange *x, struct span token, struct span name)
{
	struct buf encoded;
	bool same;

	buf_init(&encoded, &x->w->blocks, 0);
	heads_add_token(&encoded, name);
	same = !encoded.failed && span_eq(buf_span(&encoded), token);
	buf_fini(&encoded);
	return same;
}

static void add_field(struct buf *out, const char *name, struct span value)
{
	buf_add_z(out, name);
	buf_add(out, ": ", 2);
	buf_add_span(out, value);
	buf_add(out, "\r\n", 2);
}

/* The field's line stands in the head the way we write one. */
static bool is_as_written(const struct http_field *f)
{
	const char *blank = f->name.p + f->name.n + 1;

	return f->value.n && f->value.p == blank + 1 && *blank == ' ' && !memcmp(f->value.p + f->value.n, "\r\n", 2);
}

/* Lines that follow each other in the head are copied together. */
static void add_fields(const struct http_head *head, struct buf *out)
{
	struct span lines = { NULL, 0 };

	for (size_t i = 0; i < head->field_count; i++) {
		const struct http_field *f = &head->fields[i];
		bool whole = is_as_written(f);

		if (f->drop)
			continue;
		if (whole && lines.n && f->name.p == lines.p + lines.n) {
			lines.n += f->name.n + f->value.n + 4;
			continue;
		}
		buf_add_span(out, lines);
		lines = whole ? span_make(f->name.p, f->name.n + f->value.n + 4) : span_make("", 0);
		if (whole)
			continue;
		buf_add_span(out, f->name);
		buf_add(out, ": ", 2);
		buf_add_span(out, f->value);
		buf_add(out, "\r\n", 2);
	}
	buf_add_span(out, lines);
}

/* Always 1.1, as the contract has it, also for what came in as HTTP/1.0: what we pass on is HTTP/1.1. */
static void add_via(struct buf *out, struct span site)
{
	buf_add_z(out, "Via: 1.1 ");
	heads_add_token(out, site);
	buf_add(out, "\r\n", 2);
}

static void add_number_field(struct buf *out, const char *name, uint64_t n)
{
	buf_add_z(out, name);
	buf_add(out, ": ", 2);
	buf_add_number(out, n);
	buf_add(out, "\r\n", 2);
}

static void drop_id(struct http_head *head, enum http_field_id id)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (head->fields[i].id == id)
			head->fields[i].drop = true;
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static bool is_internal(uint8_t id)
{
	return id == HTTP_X_SCOPEMESH_ERROR || id == HTTP_X_SCOPEMESH_SCOPE ||
	       id == HTTP_X_SCOPEMESH_SERVICE || id == HTTP_X_SCOPEMESH_TRACE ||
	       id == HTTP_X_SCOPEMESH_OPERATION || id == HTTP_X_SCOPEMESH_REPLICATE || id == HTTP_X_SCOPEMESH_ANY;
}

static bool client_is_trusted(const struct exchange *x, const struct addr *peer)
{
	const struct conf *conf = x->view->conf;

	for (size_t i = 0; i < conf->forwarded_trust_count; i++)
		if (cidr_has(&conf->forwarded_trust[i], peer))
			return true;
	return false;
}

/* What a client says of earlier hops is believed from trusted addresses only; a peer's word stands. */
void heads_add_forwarded(struct exchange *x, struct buf *out)
{
	struct http_field *xff = http_find(&x->req, HTTP_X_FORWARDED_FOR);
	char host[ADDR_TEXT_BYTES];
	struct addr peer;
	bool trusted, plain;

	if (x->from_mesh || x->inner) /* of a request of our own they are among its fields */
		return;
	plain = io_is_made_with(&x->s->c.io, NULL);
	session_peer(x->s, &peer);
	addr_format_host(&peer, host);
	trusted = x->view->conf->forwarded_trust_count && client_is_trusted(x, &peer);
	drop_id(&x->req, HTTP_X_FORWARDED_FOR);
	if (!trusted) {
		drop_id(&x->req, HTTP_FORWARDED);
		drop_id(&x->req, HTTP_X_FORWARDED_HOST);
		drop_id(&x->req, HTTP_X_FORWARDED_PROTO);
	}
	buf_add_z(out, "X-Forwarded-For: ");
	for (size_t i = 0; trusted && xff && i < x->req.field_count; i++) {
		if (x->req.fields[i].id != HTTP_X_FORWARDED_FOR)
			continue;
		buf_add_span(out, x->req.fields[i].value);
		buf_add_z(out, ", ");
	}
	buf_add_z(out, host);
	buf_add(out, "\r\n", 2);
	if (!trusted || !http_find(&x->req, HTTP_X_FORWARDED_PROTO))
		buf_add_z(out, plain ? "X-Forwarded-Proto: http\r\n" : "X-Forwarded-Proto: https\r\n");
	if (x->req.host.n && (!trusted || !http_find(&x->req, HTTP_X_FORWARDED_HOST)))
		add_field(out, "X-Forwarded-Host", x->req.host);
	if (trusted && http_find(&x->req, HTTP_FORWARDED))
		buf_addf(out, strchr(host, ':') ? "Forwarded: for=\"[%s]\";proto=%s\r\n"
		                                : "Forwarded: for=%s;proto=%s\r\n", host, plain ? "http" : "https");
}

static void add_mesh_fields(struct exchange *x, struct buf *out)
{
	const struct http_field *operation = x->inner ? http_find(&x->req, HTTP_X_SCOPEMESH_OPERATION) : NULL;

	buf_add_z(out, "X-Scopemesh-Service: ");
	heads_add_token(out, x->svc->name);
	buf_add_z(out, "\r\nX-Scopemesh-Trace: ");
	if (x->trace.n) {
		buf_add_span(out, x->trace);
		buf_add_z(out, ", ");
	}
	heads_add_token(out, local_site(x));
	buf_add_z(out, "\r\n");
	if (x->has_scope)
		add_field(out, "X-Scopemesh-Scope", x->scope_text);
	if (operation)
		add_field(out, "X-Scopemesh-Operation", operation->value);
	if (x->replicated)
		front_add_forward_field(x, out);
	if (x->list)
		listing_add_mesh_field(x, out);
	if (x->hold)
		buf_add_z(out, "X-Scopemesh-Hold: 1\r\n");
	if (!x->up->reused)
		mesh_version_add(out);
}

static void add_scope(struct exchange *x, struct buf *out)
{
	if (!x->has_scope)
		return;
	carriers_put(x->view->conf, x->svc, &x->req, x->scope_text, out);
	correlate_remember(x);
}

/* Drops what is written anew or ends here. */
static void drop_request_fields(struct exchange *x)
{
	http_drop_hop_by_hop(&x->req);
	for (size_t i = 0; i < x->req.field_count; i++) {
		struct http_field *f = &x->req.fields[i];

		if (f->id == HTTP_HOST || f->id == HTTP_CONTENT_LENGTH || f->id == HTTP_EXPECT || is_internal(f->id) ||
		    (f->id == HTTP_MAX_FORWARDS && x->req.max_forwards >= 0))
			f->drop = true;
	}
	/* Another site's proxy writes the carriers for its instance; until then they stay as they came. */
	if (x->has_scope)
		carriers_drop(x->view->conf, x->svc, &x->req, !x->pool->mesh);
}

/* The one hop-by-hop pair that both sides take part in. */
static void add_upgrade(const struct http_head *head, struct buf *out)
{
	struct span rest, protocol;
	const char *before = "Connection: upgrade\r\nUpgrade: ";

	for (size_t i = 0; i < head->field_count; i++) {
		if (head->fields[i].id != HTTP_UPGRADE)
			continue;
		for (rest = head->fields[i].value; http_upgrade_next(&rest, &protocol); before = ", ") {
			buf_add_z(out, before);
			buf_add_span(out, protocol);
		}
	}
	buf_add(out, "\r\n", 2);
}

static void add_request_framing(struct exchange *x, struct buf *out)
{
	if (x->up_chunked)
		buf_add_z(out, "Transfer-Encoding: chunked\r\n");
	else if (x->rw && x->rw->up)
		add_number_field(out, "Content-Length", buf_len(&x->rw->up_out));
	else if (x->req.framing == HTTP_LENGTH || x->req.has_content_length)
		add_number_field(out, "Content-Length", x->req.content_length);
}

int heads_add_request(struct exchange *x, struct buf *out)
{
	bool remote = x->pool->mesh;
	struct span target = x->rw ? rewrite_path_query(x) : x->req.path_query;

	if (!target.p)
		return ERR_NOMEM;
	drop_request_fields(x);
	buf_add_span(out, x->req.method);
	buf_add_char(out, ' ');
	buf_add_span(out, target);
	buf_add_z(out, " HTTP/1.1\r\n");
	if (x->req.host.n || x->req.minor >= 1) {
		add_field(out, "Host", x->req.host);
	} else { /* HTTP/1.0 without a host: the address that is asked */
		char host[ADDR_TEXT_BYTES];

		addr_format(&x->pool->addr, host);
		add_field(out, "Host", span_of(host));
	}
	if (x->req.expect_continue && !x->continue_sent && !x->req_done)
		buf_add_z(out, "Expect: 100-continue\r\n");
	add_request_framing(x, out);
	if (x->req.upgrade && x->req.minor >= 1)
		add_upgrade(&x->req, out);
	if (x->req.max_forwards >= 0)
		add_number_field(out, "Max-Forwards", (uint64_t)x->req.max_forwards - 1); /* 0 ends here: route.c */
	{
		/* heads_add_forwarded decides on fields that add_fields would write */
		struct buf ours;

		buf_init(&ours, &x->w->blocks, 0);
		heads_add_forwarded(x, &ours);
		add_via(&ours, local_site(x));
		if (x->rw)
			rewrite_request_fields(x, &ours);
		if (remote)
			add_mesh_fields(x, &ours);
		else
			add_scope(x, &ours);
		add_fields(&x->req, out);
		buf_add_span(out, buf_span(&ours));
		out->failed |= ours.failed;
		buf_fini(&ours);
	}
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}

/* ---- responses ------------------------------------------------------------------------------------------------ */

static void add_status_line(struct buf *out, unsigned status, struct span reason)
{
	buf_add(out, "HTTP/1.1 ", 9);
	buf_add_number(out, status); /* three digits: http/head.c refuses others */
	buf_add_char(out, ' ');
	buf_add_span(out, reason);
	buf_add(out, "\r\n", 2);
}

/* From an instance nothing in our own name is believed; from a peer the public part is. */
static void drop_response_fields(struct exchange *x)
{
	bool peer = x->pool && x->pool->mesh;

	http_drop_hop_by_hop(&x->res);
	piggyback_bare(&x->res, x->view->conf); /* what a client is handed back and uses again later says no old scope */
	for (size_t i = 0; i < x->res.field_count; i++) {
		struct http_field *f = &x->res.fields[i];

		if (f->id == HTTP_CONTENT_LENGTH || is_internal(f->id) ||
		    (!peer && (f->id == HTTP_X_SCOPE || f->id == HTTP_X_SCOPE_ANY)))
			f->drop = true;
	}
}

static void add_connection(struct exchange *x, struct buf *out)
{
	if (!x->keep)
		buf_add_z(out, "Connection: close\r\n");
	else if (x->req.minor == 0)
		buf_add_z(out, "Connection: keep-alive\r\n");
}

static void add_served_by(struct exchange *x, struct buf *out)
{
	const struct http_field *f = NULL;

	if (x->pool->mesh)
		f = http_find_name(&x->res, SPAN("X-Scope-Served-By"));
	if (f) {
		x->served_by = f->value;
		return; /* it is among the fields */
	}
	x->served_by = x->view->reg->sites[x->site].name;
	add_field(out, "X-Scope-Served-By", x->served_by);
}

/* IMF-fixdate (RFC 9110 5.6.7), written once a second. */
static void add_date(struct buf *out)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static _Thread_local struct { time_t second; char line[96]; size_t n; } last;
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;

	if (now != last.second || !last.n) {
		gmtime_r(&now, &tm);
		last.n = (size_t)snprintf(last.line, sizeof(last.line), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
		                          days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
		                          tm.tm_hour, tm.tm_min, tm.tm_sec);
		last.second = now;
	}
	buf_add(out, last.line, last.n);
}

int heads_add_response(struct exchange *x, struct buf *out)
{
	drop_response_fields(x);
	if (x->rw && rewrite_response_fields(x))
		return ERR_NOMEM;
	add_status_line(out, x->res.status, x->res.reason);
	add_fields(&x->res, out);
	if (x->client_chunked)
		buf_add_z(out, "Transfer-Encoding: chunked\r\n");
	else if (x->res.has_content_length && (x->res.framing == HTTP_LENGTH || x->res.framing == HTTP_NO_BODY) &&
	         x->res.status != 204)
		add_number_field(out, "Content-Length", x->res.content_length);
	add_connection(x, out);
	add_via(out, local_site(x));
	add_served_by(x, out);
	if (x->list)
		listing_add_partial_field(x, out);
	else if (x->replicated)
		front_add_partial_field(x, out);
	if (x->rw)
		rewrite_add_fields(x, out);
	if (!http_find(&x->res, HTTP_DATE)) /* RFC 9110 6.6.1 */
		add_date(out);
	if (x->from_mesh && x->proxy_error)
		add_field(out, "X-Scopemesh-Error", span_of(x->proxy_error));
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}

int heads_add_answer(struct exchange *x, const char *content_type, struct buf *out)
{
	(void)content_type;
	drop_response_fields(x);
	add_status_line(out, x->res.status, x->res.reason);
	add_fields(&x->res, out);
	if (x->res.status != 204 && x->res.status != 304)
		add_number_field(out, "Content-Length", buf_len(&x->reply));
	add_connection(x, out);
	add_via(out, local_site(x));
	add_field(out, "X-Scope-Served-By", x->served_by);
	front_add_answer_fields(x, out);
	if (!http_find(&x->res, HTTP_DATE))
		add_date(out);
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}

int heads_add_switch(struct exchange *x, struct buf *out)
{
	drop_response_fields(x);
	add_status_line(out, x->res.status, x->res.reason);
	add_upgrade(&x->res, out);
	add_fields(&x->res, out);
	add_via(out, local_site(x));
	add_served_by(x, out);
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}

int heads_add_interim(struct exchange *x, struct buf *out)
{
	drop_response_fields(x);
	add_status_line(out, x->res.status, x->res.reason);
	add_fields(&x->res, out);
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}

/* RFC 9209 2.3: the error types nearest to ours; anything else is an internal answer without one. */
static const char *proxy_status_error(const char *type)
{
	static const struct { const char *ours, *theirs; } map[] = {
		{ "no-instance", "destination_unavailable" },
		{ "unreachable", "destination_unavailable" },
		{ "outcome-unknown", "connection_terminated" },
		{ "bad-response", "http_protocol_error" },
		{ "timeout", "http_response_timeout" },
		{ "loop", "proxy_loop_detected" },
		{ "not-allowed", "http_request_denied" },
		{ "no-service", "destination_not_found" },
		{ "internal", "proxy_internal_error" },
		{ "too-many-connections", "connection_limit_reached" },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (!strcmp(type, map[i].ours))
			return map[i].theirs;
	return "http_request_error";
}

static void add_proxy_status(struct exchange *x, struct buf *out)
{
	buf_add_z(out, "Proxy-Status: ");
	if (local_site(x).n && ((local_site(x).p[0] | 0x20) < 'a' || (local_site(x).p[0] | 0x20) > 'z'))
		buf_add_char(out, '*');
	heads_add_token(out, local_site(x));
	buf_addf(out, "; error=%s; details=\"%s\"\r\n", proxy_status_error(x->proxy_error), x->proxy_error);
}

int heads_add_reply(struct exchange *x, const char *content_type, struct buf *out)
{
	add_status_line(out, x->status, span_of(http_reason(x->status)));
	add_date(out);
	if (content_type) {
		add_field(out, "Content-Type", span_of(content_type));
		add_number_field(out, "Content-Length", buf_len(&x->reply));
	}
	buf_add_z(out, "Cache-Control: no-store\r\n");
	if (x->rw && x->rw->retry_after_s && x->status == 503)
		add_number_field(out, "Retry-After", x->rw->retry_after_s);
	add_connection(x, out);
	add_via(out, local_site(x));
	add_field(out, "X-Scope-Served-By", local_site(x));
	if (x->front)
		front_add_answer_fields(x, out);
	if (x->list && x->status == 200)
		listing_add_partial_field(x, out);
	if (x->proxy_error && x->s->kind != LISTEN_ADMIN)
		add_proxy_status(x, out);
	if (x->proxy_error && x->from_mesh)
		add_field(out, "X-Scopemesh-Error", span_of(x->proxy_error));
	buf_add(out, "\r\n", 2);
	return out->failed ? ERR_NOMEM : 0;
}
