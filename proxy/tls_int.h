/* What tls.c and tls_load.c share. */
#ifndef PROXY_TLS_INT_H
#define PROXY_TLS_INT_H

#include <openssl/ssl.h>

#include "proxy/tls.h"

/* Has a context accept only peers with a certificate of its store that names a site. */
void tls_require_site(SSL_CTX *ctx);
/* Has a context hand new sessions to the struct tls_resume that is the application data of the SSL, if any. */
void tls_keep_sessions(SSL_CTX *ctx);
/* Judges by the store alone; times only when asked for. */
const char *tls_judge_chain(X509_STORE *store, X509 *cert, STACK_OF(X509) *chain, bool server, bool timely);

#endif
