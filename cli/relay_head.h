/* What the local proxy of `scopectl run` makes of request and response heads. Pure: bytes in, bytes
 * out. */
#ifndef CLI_RELAY_HEAD_H
#define CLI_RELAY_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "http/message.h"
#include "http/problem.h"

#define RELAY_HOST_BYTES 256

struct relay_host {
	char name[RELAY_HOST_BYTES]; /* without brackets */
	uint16_t port;               /* 0 in a --to without port: any */
};

/* HOST, HOST:PORT, [V6], [V6]:PORT. default_port where none is given. ERR_INVALID. */
int relay_host_parse(struct span text, uint16_t default_port, struct relay_host *host_r) MUST_CHECK;

struct relay_rules {
	struct span scope;         /* canonical text */
	struct span credentials;   /* base64 of scope:TOKEN */
	const struct relay_host *to; /* only these are scoped; none: all */
	size_t to_count;
};

bool relay_rules_scope_host(const struct relay_rules *rules, const struct relay_host *host);

/* Judges a request to the forward proxy: the token first, then the form. Fills *host_r and 0; or
 * ERR_DENIED (answer 407) or ERR_INVALID (400): *problem_r, all of it constant. */
int relay_request_judge(const struct relay_rules *rules, const struct http_head *head,
                        struct relay_host *host_r, struct problem *problem_r) MUST_CHECK;

/* The head for the origin: origin form, Host: host, Connection: close (or upgrade), X-Scope:
 * scope unless the request has one or scope is empty. Marks dropped fields in head. */
void relay_request_write(struct http_head *head, struct span host, struct span scope, struct buf *out);
/* The head for the tool, with Connection: close unless it is an interim one or switches
 * protocols. */
void relay_response_write(struct http_head *head, struct buf *out);
/* A whole answer with a problem document. */
void relay_problem_write(const struct problem *problem, struct buf *out);

/* Appends base64 (RFC 4648 4). */
void relay_base64(struct span in, struct buf *out);

#endif
