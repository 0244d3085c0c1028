/* Heads of the local proxy.  It forwards bodies as they are framed, so Content-Length and
 * Transfer-Encoding are written again from the framing that the parser found; everything else
 * that concerns one connection only is dropped (RFC 9110 7.6.1), and so is every Proxy-* field of
 * a request: the token stays here.  One request to a connection (Connection: close both ways)
 * keeps the machine small: a tool's requests are few. */
#include "cli/relay_head.h"

#include <string.h>

int relay_host_parse(struct span text, uint16_t default_port, struct relay_host *host_r)
{
	struct span name, port;
	unsigned long long number = default_port;
	size_t at;

	if (text.n && text.p[0] == '[') {
		at = span_find(text, ']');
		name = span_make(text.p + 1, at ? at - 1 : 0);
		port = span_from(text, at + 1);
		if (at == text.n)
			return ERR_INVALID;
	} else {
		at = span_find(text, ':');
		name = span_head(text, at);
		port = span_from(text, at);
	}
	if (port.n && (port.p[0] != ':' ||
	               (port.n > 1 && (!span_to_u64(span_from(port, 1), 65535, &number) || !number))))
		return ERR_INVALID;
	if (!name.n || name.n >= sizeof(host_r->name) || memchr(name.p, '\0', name.n) ||
	    memchr(name.p, '/', name.n) || memchr(name.p, '@', name.n))
		return ERR_INVALID;
	memcpy(host_r->name, name.p, name.n);
	host_r->name[name.n] = '\0';
	host_r->port = (uint16_t)number;
	return 0;
}

bool relay_rules_scope_host(const struct relay_rules *rules, const struct relay_host *host)
{
	for (size_t i = 0; i < rules->to_count; i++) {
		if (strcasecmp(rules->to[i].name, host->name) == 0 &&
		    (!rules->to[i].port || rules->to[i].port == host->port))
			return true;
	}
	return rules->to_count == 0;
}

/* Time does not depend on where the two differ. */
static bool secret_eq(struct span a, struct span b)
{
	unsigned char differ = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		differ |= (unsigned char)(a.p[i] ^ b.p[i]);
	return differ == 0;
}

static bool authorized(const struct relay_rules *rules, const struct http_head *head)
{
	const struct http_field *field = http_find(head, HTTP_PROXY_AUTHORIZATION);

	if (!field || !span_istarts(field->value, SPAN("Basic ")))
		return false;
	return secret_eq(span_trim(span_from(field->value, 6)), rules->credentials);
}

int relay_request_judge(const struct relay_rules *rules, const struct http_head *head,
                        struct relay_host *host_r, struct problem *problem_r)
{
	*problem_r = (struct problem){ .status = 400, .type = "bad-request", .elapsed_ms = -1 };
	if (!authorized(rules, head)) {
		problem_r->status = 407;
		problem_r->type = "not-allowed";
		problem_r->detail = "this proxy serves the tool that scopectl run started, by its token";
		return ERR_DENIED;
	}
	if (head->is_connect) {
		if (relay_host_parse(head->authority, 0, host_r) == 0 && host_r->port)
			return 0;
		problem_r->detail = "CONNECT needs HOST:PORT";
		return ERR_INVALID;
	}
	if (head->target_form != HTTP_TARGET_ABSOLUTE) {
		problem_r->detail = "this is a proxy: the request target is no absolute http:// URL";
		return ERR_INVALID;
	}
	if (!span_ieq(head->scheme, SPAN("http"))) {
		problem_r->detail = "only http:// goes through this proxy; "
		                    "https passes as a CONNECT tunnel";
		problem_r->hint = "scopectl run --map VAR=https://HOST gives the tool a plain address";
		return ERR_INVALID;
	}
	if (relay_host_parse(head->authority, 80, host_r) == 0)
		return 0;
	problem_r->detail = "the host of the URL is malformed";
	return ERR_INVALID;
}

static void write_field(struct buf *out, struct span name, struct span value)
{
	buf_add_span(out, name);
	buf_add_z(out, ": ");
	buf_add_span(out, value);
	buf_add_z(out, "\r\n");
}

/* The fields that travel, then those of the connection. */
static void write_fields(struct http_head *head, bool request, bool upgrade, bool close,
                         struct buf *out)
{
	http_drop_hop_by_hop(head);
	for (size_t i = 0; i < head->field_count; i++) {
		const struct http_field *f = &head->fields[i];

		if (upgrade && f->id == HTTP_UPGRADE)
			write_field(out, SPAN("Upgrade"), f->value);
		else if (!f->drop && !(request && span_istarts(f->name, SPAN("proxy-"))))
			write_field(out, f->name, f->value);
	}
	if (head->framing == HTTP_CHUNKED)
		write_field(out, SPAN("Transfer-Encoding"), SPAN("chunked"));
	else if (head->framing == HTTP_LENGTH || head->has_content_length)
		buf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)head->content_length);
	if (upgrade)
		write_field(out, SPAN("Connection"), SPAN("upgrade"));
	else if (close)
		write_field(out, SPAN("Connection"), SPAN("close"));
}

void relay_request_write(struct http_head *head, struct span host, struct span scope, struct buf *out)
{
	struct http_field *old_host = http_find(head, HTTP_HOST);
	bool scoped = http_find(head, HTTP_X_SCOPE) != NULL;

	if (old_host)
		old_host->drop = 1;
	buf_add_span(out, head->method);
	buf_add_char(out, ' ');
	buf_add_span(out, head->path_query.n ? head->path_query : SPAN("/"));
	buf_addf(out, " HTTP/1.%u\r\n", head->minor);
	write_field(out, SPAN("Host"), host);
	write_fields(head, true, head->upgrade, true, out);
	if (scope.n && !scoped)
		write_field(out, SPAN("X-Scope"), scope);
	buf_add_z(out, "\r\n");
}

void relay_response_write(struct http_head *head, struct buf *out)
{
	bool switching = head->status == 101;

	buf_addf(out, "HTTP/1.%u %u ", head->minor, head->status);
	buf_add_span(out, head->reason);
	buf_add_z(out, "\r\n");
	write_fields(head, false, switching, head->status >= 200, out);
	buf_add_z(out, "\r\n");
}

void relay_problem_write(const struct problem *problem, struct buf *out)
{
	struct buf body;

	buf_init(&body, NULL, 0);
	problem_print(problem, &body);
	buf_addf(out, "HTTP/1.1 %u %s\r\n", problem->status, http_reason(problem->status));
	if (problem->status == 407)
		buf_add_z(out, "Proxy-Authenticate: Basic realm=\"scopectl run\"\r\n");
	buf_addf(out, "Content-Type: application/problem+json\r\nContent-Length: %zu\r\n"
	         "Connection: close\r\n\r\n", buf_len(&body));
	buf_add_span(out, buf_span(&body));
	buf_fini(&body);
}

void relay_base64(struct span in, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < in.n; i += 3) {
		const unsigned char *p = (const unsigned char *)in.p + i;
		size_t n = in.n - i;
		unsigned v = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

		buf_add_char(out, digits[v >> 18]);
		buf_add_char(out, digits[v >> 12 & 63]);
		buf_add_char(out, n > 1 ? digits[v >> 6 & 63] : '=');
		buf_add_char(out, n > 2 ? digits[v & 63] : '=');
	}
}
