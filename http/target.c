/* Request targets (RFC 9112 3.2) in their four forms, and the syntax of hosts.
 *
 * Only what could be read in two ways is refused: a fragment (an origin may take it for part of
 * the path or not), user information (a proxy and an origin may see two hosts), "*" without
 * OPTIONS.  Odd bytes of a path pass as they came: "|" or "{" are sent by real clients, and a
 * path is never rewritten here. */
#include "http/target_int.h"

#include <arpa/inet.h>

static const unsigned char reg_name_char[256] = {
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
	['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1,
	['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1, [')'] = 1, ['*'] = 1, ['+'] = 1,
	[','] = 1, [';'] = 1, ['='] = 1,
};

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_reg_name(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (reg_name_char[(unsigned char)s.p[i]])
			continue;
		if (s.p[i] != '%' || s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
			return false;
		i += 2;
	}
	return s.n > 0;
}

/* s: what stands between the brackets.  IPvFuture and zones are refused: nobody serves them. */
static bool is_ipv6(struct span s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return inet_pton(AF_INET6, text, &address) == 1;
}

/* Splits "host:port" or "[v6]:port"; port_r without the colon, p == NULL when there is none. */
static bool split_host(struct span s, struct span *port_r)
{
	size_t end;

	*port_r = (struct span){ NULL, 0 };
	if (s.n && *s.p == '[') {
		end = span_find(s, ']');
		if (end == s.n || !is_ipv6(span_from(span_head(s, end), 1)))
			return false;
		end++;
	} else {
		end = span_find(s, ':');
		if (!is_reg_name(span_head(s, end)))
			return false;
	}
	if (end == s.n)
		return true;
	*port_r = span_from(s, end + 1);
	return s.p[end] == ':';
}

static bool is_port(struct span port)
{
	unsigned long long number;

	return span_to_u64(port, 65535, &number);
}

bool host_is_valid(struct span host)
{
	struct span port;

	return split_host(host, &port) && (port.n == 0 || is_port(port));
}

static int refuse(const char **reason_r, const char *reason)
{
	*reason_r = reason;
	return ERR_SYNTAX;
}

static int parse_authority_form(struct http_head *h, const char **reason_r)
{
	struct span port;

	if (!split_host(h->target, &port) || !is_port(port))
		return refuse(reason_r, "the target of CONNECT must be HOST:PORT");
	h->target_form = HTTP_TARGET_AUTHORITY;
	h->authority = h->target;
	return 0;
}

static int parse_asterisk_form(struct http_head *h, const char **reason_r)
{
	if (!span_eq(h->method, SPAN("OPTIONS")))
		return refuse(reason_r, "the target * goes with OPTIONS only");
	h->target_form = HTTP_TARGET_ASTERISK;
	h->path_query = h->path = h->target;
	return 0;
}

static void set_path_query(struct http_head *h, struct span path_query)
{
	h->path_query = path_query;
	h->path = span_head(path_query, span_find(path_query, '?'));
}

/* rest: what follows the authority.  An empty path is "/", of OPTIONS "*" (RFC 9112 3.2.4). */
static int set_absolute_path(struct arena *arena, struct http_head *h, struct span rest)
{
	char *p;

	if (rest.n == 0) {
		set_path_query(h, span_eq(h->method, SPAN("OPTIONS")) ? SPAN("*") : SPAN("/"));
	} else if (*rest.p == '/') {
		set_path_query(h, rest);
	} else {
		p = arena_alloc(arena, rest.n + 1);
		if (!p)
			return ERR_NOMEM;
		*p = '/';
		memcpy(p + 1, rest.p, rest.n);
		set_path_query(h, span_make(p, rest.n + 1));
	}
	return 0;
}

static size_t scheme_length(struct span target)
{
	if (span_istarts(target, SPAN("http://")))
		return 4;
	return span_istarts(target, SPAN("https://")) ? 5 : 0;
}

static int parse_absolute_form(struct arena *arena, struct http_head *h, const char **reason_r)
{
	struct span rest;
	size_t n = scheme_length(h->target);

	if (!n)
		return refuse(reason_r, "the target is neither a path nor an http or https URL");
	h->target_form = HTTP_TARGET_ABSOLUTE;
	h->scheme = span_head(h->target, n);
	rest = span_from(h->target, n + 3);
	for (n = 0; n < rest.n && rest.p[n] != '/' && rest.p[n] != '?'; n++)
		;
	h->authority = span_head(rest, n);
	if (span_find(h->authority, '@') < h->authority.n)
		return refuse(reason_r, "the request target holds user information");
	if (!host_is_valid(h->authority))
		return refuse(reason_r, "the host of the request target is malformed");
	return set_absolute_path(arena, h, span_from(rest, n));
}

int target_parse(struct arena *arena, struct http_head *head, const char **reason_r)
{
	struct span target = head->target;

	if (span_find(target, '#') < target.n)
		return refuse(reason_r, "the request target holds a fragment");
	if (head->is_connect)
		return parse_authority_form(head, reason_r);
	if (span_eq(target, SPAN("*")))
		return parse_asterisk_form(head, reason_r);
	if (*target.p != '/')
		return parse_absolute_form(arena, head, reason_r);
	head->target_form = HTTP_TARGET_ORIGIN;
	set_path_query(head, target);
	return 0;
}
