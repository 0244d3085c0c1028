/* TLS as a client: TLS 1.2 or later, certificate and host name always verified; there is no
 * switch for turning that off. */
#include "cli/tls_client.h"

#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define TLS_NAME_BYTES 256

SSL_CTX *tls_client_new(void)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* 0 is success for the ALPN function only. */
	if (SSL_CTX_set_default_verify_paths(ctx) == 1 &&
	    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

SSL *tls_client_session(SSL_CTX *ctx, const char *host)
{
	char name[TLS_NAME_BYTES]; /* the macro below wants it writable */
	struct in6_addr address;
	SSL *ssl = SSL_new(ctx);
	int ok;

	if (!ssl)
		return NULL;
	if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	else
		ok = (size_t)snprintf(name, sizeof(name), "%s", host) < sizeof(name) &&
		     SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
	if (ok == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

void tls_client_why(struct bufferevent *bev, char *text_r, size_t bytes)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	unsigned long code = bufferevent_get_openssl_error(bev);
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	long verdict = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

	if (verdict != X509_V_OK)
		snprintf(text_r, bytes, "certificate refused: %s", X509_verify_cert_error_string(verdict));
	else
		snprintf(text_r, bytes, "TLS: %s", reason ? reason : "connection closed");
}
