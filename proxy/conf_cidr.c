/* Ranges of addresses.  Kept as IPv6 throughout: 10.0.0.0/8 is ::ffff:10.0.0.0/104, so that one
 * comparison serves a listener of either family. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "proxy/conf.h"

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static void mask(struct cidr *c)
{
	for (unsigned bit = c->bits; bit < 128; bit++)
		c->prefix[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
}

int cidr_parse(struct span text, struct cidr *cidr_r, struct err *e)
{
	size_t slash = span_find(text, '/');
	struct span host = span_head(text, slash);
	char z[ADDR_TEXT_BYTES];
	unsigned long long bits = 0;
	unsigned width = 128;
	struct cidr whole;

	memset(cidr_r, 0, sizeof(*cidr_r));
	if (host.n >= sizeof(z) || memchr(host.p, 0, host.n))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no range of addresses", SPAN_ARG(text));
	memcpy(z, host.p, host.n);
	z[host.n] = '\0';
	if (inet_pton(AF_INET, z, cidr_r->prefix + 12) == 1) {
		memcpy(cidr_r->prefix, v4_mapped, sizeof(v4_mapped));
		width = 32;
	} else if (inet_pton(AF_INET6, z, cidr_r->prefix) != 1) {
		return err_set(e, ERR_INVALID,
		               "\"%.*s\" is no range of addresses; expected e.g. 10.0.0.0/8 or fd00::/8",
		               SPAN_ARG(text));
	}
	bits = width;
	if (slash < text.n && !span_to_u64(span_from(text, slash + 1), width, &bits))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no prefix length; expected 0 to %u",
		               SPAN_ARG(span_from(text, slash + 1)), width);
	cidr_r->bits = (uint8_t)(128 - width + bits);
	whole = *cidr_r;
	mask(cidr_r);
	if (memcmp(whole.prefix, cidr_r->prefix, sizeof(whole.prefix)) != 0) {
		cidr_format(cidr_r, z);
		return err_set(e, ERR_INVALID, "\"%.*s\" has bits behind its prefix; %s is meant?",
		               SPAN_ARG(text), z);
	}
	return 0;
}

static bool host_bytes(const struct addr *a, uint8_t bytes_r[16])
{
	if (a->ss.ss_family == AF_INET) {
		memcpy(bytes_r, v4_mapped, sizeof(v4_mapped));
		memcpy(bytes_r + 12, &((const struct sockaddr_in *)&a->ss)->sin_addr, 4);
	} else if (a->ss.ss_family == AF_INET6) {
		memcpy(bytes_r, &((const struct sockaddr_in6 *)&a->ss)->sin6_addr, 16);
	} else {
		return false;
	}
	return true;
}

bool cidr_has(const struct cidr *c, const struct addr *a)
{
	uint8_t bytes[16];
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (!host_bytes(a, bytes))
		return false;
	if (memcmp(bytes, c->prefix, whole) != 0)
		return false;
	return !rest || !((bytes[whole] ^ c->prefix[whole]) >> (8 - rest));
}

void cidr_format(const struct cidr *c, char text_r[ADDR_TEXT_BYTES])
{
	bool v4 = c->bits >= 96 && memcmp(c->prefix, v4_mapped, sizeof(v4_mapped)) == 0;
	char host[INET6_ADDRSTRLEN];

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? c->prefix + 12 : c->prefix, host, sizeof(host));
	snprintf(text_r, ADDR_TEXT_BYTES, "%s/%d", host, v4 ? c->bits - 96 : c->bits);
}

/* ---- this site's own instances ----------------------------------------------------------- */

static bool same_host(const struct addr *a, const struct addr *b)
{
	uint8_t x[16], y[16];

	return host_bytes(a, x) && host_bytes(b, y) && memcmp(x, y, sizeof(x)) == 0;
}

bool conf_is_neighbour(const struct conf *conf, const struct addr *a)
{
	for (size_t i = 0; i < conf->neighbour_count; i++)
		if (cidr_has(&conf->neighbours[i], a))
			return true;
	for (size_t i = 0; !conf->neighbour_count && i < conf->service_count; i++) {
		const struct conf_service *s = &conf->services[i];

		for (size_t j = 0; j < s->instance_count; j++) {
			const struct addr *in = &s->instances[j].addr;

			if (same_host(in, a) || (addr_is_loopback(in) && addr_is_loopback(a)))
				return true;
		}
	}
	return false;
}

bool conf_has_neighbours(const struct conf *conf)
{
	bool any = conf->neighbour_count > 0;

	for (size_t i = 0; !any && i < conf->service_count; i++)
		any = conf->services[i].instance_count > 0;
	return any;
}
