#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

static int parse_unix(struct span path, struct addr *addr_r, struct err *e)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&addr_r->ss;

	if (!path.n || path.n >= sizeof(un->sun_path))
		return err_set(e, ERR_INVALID, "a unix socket's path has 1 to %zu bytes",
		               sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.p, path.n);
	addr_r->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return 0;
}

static int set_host(struct span host, bool bracketed, int port, struct addr *addr_r)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&addr_r->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addr_r->ss;
	char text[INET6_ADDRSTRLEN];

	if (host.n >= sizeof(text))
		return ERR_INVALID;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	if (!bracketed && host.n && inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		addr_r->len = sizeof(*v4);
		return 0;
	}
	if (!bracketed && host.n)
		return ERR_INVALID;
	if (host.n && inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		return ERR_INVALID;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	addr_r->len = sizeof(*v6);
	return 0;
}

int addr_parse(struct span text, bool zero_port, struct addr *addr_r, struct err *e)
{
	struct span host, port;
	unsigned long long number;
	bool bracketed = text.n && text.p[0] == '[';
	size_t at = text.n;

	memset(addr_r, 0, sizeof(*addr_r));
	if (span_starts(text, SPAN("unix:")))
		return parse_unix(span_from(text, 5), addr_r, e);
	while (at && text.p[at - 1] != ':')
		at--;
	if (!at)
		return err_set(e, ERR_INVALID, "\"%.*s\" has no port; expected ADDRESS:PORT",
		               SPAN_ARG(text));
	host = span_head(text, at - 1);
	port = span_from(text, at);
	if (!span_to_u64(port, 65535, &number) || (number == 0 && !zero_port))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no port; expected a number from %d to 65535",
		               SPAN_ARG(port), zero_port ? 0 : 1);
	if (bracketed) {
		if (host.n < 2 || host.p[host.n - 1] != ']')
			return err_set(e, ERR_INVALID, "\"[\" without \"]\"; expected [ADDRESS]:PORT");
		host = span_make(host.p + 1, host.n - 2);
	}
	if (set_host(host, bracketed, (int)number, addr_r))
		return err_set(e, ERR_INVALID,
		               "\"%.*s\" is no address; expected digits like 127.0.0.1 or [::1]",
		               SPAN_ARG(host));
	return 0;
}

/* A client's address is written into every head that passes. */
static void format_v4(struct in_addr a, char text_r[ADDR_TEXT_BYTES])
{
	uint32_t n = ntohl(a.s_addr);
	char *p = text_r;

	for (int shift = 24; shift >= 0; shift -= 8) {
		unsigned part = n >> shift & 255;

		if (part >= 100)
			*p++ = (char)('0' + part / 100);
		if (part >= 10)
			*p++ = (char)('0' + part / 10 % 10);
		*p++ = (char)('0' + part % 10);
		*p++ = '.';
	}
	p[-1] = '\0';
}

void addr_format_host(const struct addr *a, char text_r[ADDR_TEXT_BYTES])
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->ss;

	if (sa->sa_family == AF_INET)
		format_v4(((const struct sockaddr_in *)&a->ss)->sin_addr, text_r);
	else if (sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&a->ss)->sin6_addr, text_r,
		          ADDR_TEXT_BYTES);
	else if (sa->sa_family == AF_UNIX)
		snprintf(text_r, ADDR_TEXT_BYTES, "unix:%.*s", (int)ADDR_TEXT_BYTES - 6,
		         ((const struct sockaddr_un *)&a->ss)->sun_path);
	else
		snprintf(text_r, ADDR_TEXT_BYTES, "?");
}

int addr_port(const struct addr *a)
{
	if (a->ss.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->ss)->sin_port);
	if (a->ss.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->ss)->sin6_port);
	return 0;
}

void addr_format(const struct addr *a, char text_r[ADDR_TEXT_BYTES])
{
	char host[ADDR_TEXT_BYTES];

	addr_format_host(a, host);
	if (a->ss.ss_family == AF_INET)
		snprintf(text_r, ADDR_TEXT_BYTES, "%.100s:%d", host, addr_port(a));
	else if (a->ss.ss_family == AF_INET6)
		snprintf(text_r, ADDR_TEXT_BYTES, "[%.100s]:%d", host, addr_port(a));
	else
		snprintf(text_r, ADDR_TEXT_BYTES, "%s", host);
}

bool addr_is_loopback(const struct addr *a)
{
	if (a->ss.ss_family == AF_UNIX)
		return true;
	if (a->ss.ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)&a->ss)->sin_addr.s_addr) >> 24 == 127;
	if (a->ss.ss_family == AF_INET6) {
		const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&a->ss)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
	}
	return false;
}

void addr_unmap(struct addr *a)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4 = { .sin_family = AF_INET };

	memcpy(&v6, &a->ss, sizeof(v6));
	if (a->ss.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return;
	v4.sin_port = v6.sin6_port;
	memcpy(&v4.sin_addr, v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
	memset(a, 0, sizeof(*a));
	memcpy(&a->ss, &v4, sizeof(v4));
	a->len = sizeof(v4);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	if (a->ss.ss_family != b->ss.ss_family)
		return false;
	if (a->ss.ss_family == AF_INET) {
		const struct sockaddr_in *x = (const struct sockaddr_in *)&a->ss;
		const struct sockaddr_in *y = (const struct sockaddr_in *)&b->ss;

		return x->sin_addr.s_addr == y->sin_addr.s_addr && x->sin_port == y->sin_port;
	}
	if (a->ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)&a->ss;
		const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)&b->ss;

		return x->sin6_port == y->sin6_port &&
		       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
	}
	return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}
