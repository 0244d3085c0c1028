/* Socket addresses as configuration and logs write them: "127.0.0.1:80", "[::1]:80", ":80"
 * (every address of the machine), "unix:/PATH".  Numbers only; names are not looked up. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/span.h"

struct addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

#define ADDR_TEXT_BYTES 128

/* ERR_INVALID with the reason in e. A port is required (0 only where zero_port). */
int addr_parse(struct span text, bool zero_port, struct addr *addr_r, struct err *e) MUST_CHECK;
/* NUL-terminated, as addr_parse reads it. */
void addr_format(const struct addr *a, char text_r[ADDR_TEXT_BYTES]);
/* Without the port. */
void addr_format_host(const struct addr *a, char text_r[ADDR_TEXT_BYTES]);
int addr_port(const struct addr *a);
/* 127.0.0.0/8, ::1, IPv4-mapped loopback, unix sockets. */
bool addr_is_loopback(const struct addr *a);
/* An IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) becomes the IPv4 address; any other stays. */
void addr_unmap(struct addr *a);
/* Same address and port. */
bool addr_eq(const struct addr *a, const struct addr *b);

#endif
