/* TLS towards the endpoints of `scopectl run --map`. */
#ifndef CLI_TLS_CLIENT_H
#define CLI_TLS_CLIENT_H

#include <stddef.h>

#include "base/err.h"

struct bufferevent;
struct ssl_ctx_st;
struct ssl_st;

/* Verifies against the system's store, or SSL_CERT_FILE and SSL_CERT_DIR. NULL: out of memory. */
struct ssl_ctx_st *tls_client_new(void) MUST_CHECK;
/* A session that demands a certificate for host (a name or an address). NULL: out of memory. */
struct ssl_st *tls_client_session(struct ssl_ctx_st *ctx, const char *host) MUST_CHECK;
/* Why the handshake or a read failed. */
void tls_client_why(struct bufferevent *bev, char *text_r, size_t bytes);

#endif
