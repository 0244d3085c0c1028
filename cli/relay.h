/* The local proxy of `scopectl run`: adds the scope to a tool's plain HTTP requests. */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/relay_head.h"

struct event_base;
struct relay;

struct relay_counts {
	unsigned long scoped;  /* requests that carried the scope on */
	unsigned long plain;   /* HTTP requests to hosts that --to does not name */
	unsigned long tunnels; /* CONNECT */
};

/* rules: borrowed, outlives the relay. verbose: a line on standard error for each request. */
struct relay *relay_new(struct event_base *base, const struct relay_rules *rules, bool verbose);
void relay_free(struct relay **r);

/* Opens the forward proxy on 127.0.0.1. */
int relay_listen(struct relay *r, uint16_t *port_r, struct err *e) MUST_CHECK;
/* Opens a plain address on 127.0.0.1 that stands for an endpoint; tls: by TLS, its certificate and
 * name checked against the system's store (or SSL_CERT_FILE). authority: what Host becomes. */
int relay_map(struct relay *r, const struct relay_host *host, struct span authority, bool tls,
              uint16_t *port_r, struct err *e) MUST_CHECK;

struct relay_counts relay_counts_get(const struct relay *r);

#endif
