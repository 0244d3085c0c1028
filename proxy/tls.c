/* Who a certificate says a peer is, and the life of a set. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/percent.h"
#include "proxy/tls_int.h"

#define SITE_BYTES 64

const char *tls_use_text(enum tls_use use)
{
	static const char *const names[] = {
#define TLS_USE(value, name) [value] = name,
		TLS_USES(TLS_USE)
#undef TLS_USE
	};

	return names[use];
}

struct tls_set *tls_ref(struct tls_set *set)
{
	if (set)
		atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void tls_unref(struct tls_set **setp)
{
	struct tls_set *set = *setp;

	*setp = NULL;
	if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(set->mesh_server);
	SSL_CTX_free(set->mesh_client);
	for (size_t i = 0; i < set->service_count; i++) {
		SSL_CTX_free(set->service[i]);
		SSL_CTX_free(set->upstream[i]);
	}
	arena_fini(&set->arena);
	free(set);
}

/* ---- sessions ------------------------------------------------------------------------------------------------ */

void tls_resume_fini(struct tls_resume *r)
{
	SSL_SESSION_free(r->session);
	SSL_CTX_free(r->ctx);
	*r = (struct tls_resume){ NULL, NULL };
}

/* The newest one is kept. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_resume *r = SSL_get_app_data(ssl);

	if (!r || r->ctx != SSL_get_SSL_CTX(ssl))
		return 0;
	SSL_SESSION_free(r->session);
	r->session = session;
	return 1;
}

void tls_keep_sessions(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, keep_session);
}

/* ---- targets ------------------------------------------------------------------------------------------------- */

bool tls_may_call(const struct tls_set *set, const struct addr *mesh)
{
	return (set && set->mesh_client) || addr_is_loopback(mesh);
}

struct tls_target tls_target_site(const struct tls_set *set, struct span site)
{
	if (!set || !set->mesh_client)
		return (struct tls_target){ .ctx = NULL };
	return (struct tls_target){ .ctx = set->mesh_client, .site = site };
}

struct tls_target tls_target_instance(const struct tls_set *set, const struct conf *conf, size_t service,
                                      const struct conf_instance *instance)
{
	const struct conf_service *svc = &conf->services[service];

	if (!set || !instance->tls)
		return (struct tls_target){ .ctx = NULL };
	return (struct tls_target){ .ctx = set->upstream[service],
		                    .name = svc->upstream_name.n ? svc->upstream_name : instance->host };
}

/* ---- sites --------------------------------------------------------------------------------------------------- */

/* The name behind scopemesh:, decoded; NULL when it cannot be a site's. */
static char *site_of_uri(struct span uri)
{
	char room[4 * SITE_BYTES], *site = NULL;
	struct arena arena;
	struct span name;
	bool good;

	arena_init(&arena, room, sizeof(room), 0);
	good = percent_decode(&arena, uri, &name) && name.n && name.n <= SITE_BYTES;
	for (size_t i = 0; good && i < name.n; i++)
		good = (unsigned char)name.p[i] >= ' ' && name.p[i] != 127;
	if (good)
		site = strndup(name.p, name.n);
	arena_fini(&arena);
	return site;
}

char *tls_site_of(X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct span found = { NULL, 0 };
	char *site = NULL;
	int count = 0;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct span uri;

		if (name->type != GEN_URI)
			continue;
		uri = span_make((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
		                (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier));
		if (!span_istarts(uri, SPAN("scopemesh:")))
			continue;
		found = span_from(uri, 10);
		count++;
	}
	if (count == 1)
		site = site_of_uri(found);
	GENERAL_NAMES_free(names);
	return site;
}

static void add_name(char names[TLS_NAMES_BYTES], struct span name)
{
	size_t have = strlen(names);

	if (have + name.n + 3 <= TLS_NAMES_BYTES)
		snprintf(names + have, TLS_NAMES_BYTES - have, "%s%.*s", have ? ", " : "", SPAN_ARG(name));
}

void tls_names_of(X509 *cert, char names_r[TLS_NAMES_BYTES])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	names_r[0] = '\0';
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		char text[INET6_ADDRSTRLEN];
		const ASN1_STRING *s = name->type == GEN_DNS ? name->d.dNSName : name->type == GEN_IPADD ? name->d.iPAddress : NULL;
		size_t n = s ? (size_t)ASN1_STRING_length(s) : 0;

		if (s && name->type == GEN_DNS)
			add_name(names_r, span_make((const char *)ASN1_STRING_get0_data(s), n));
		else if ((n == 4 || n == 16) &&
		         inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text)))
			add_name(names_r, span_of(text));
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error(); /* of one without such names */
}

/* ---- judging ------------------------------------------------------------------------------------------------- */

/* An authority without a list has revoked nothing: while one takes over from another both are trusted and one list may
 * be missing.  A list past its own date still says what it says. */
static int forgive_lists(int ok, X509_STORE_CTX *ctx)
{
	int error = X509_STORE_CTX_get_error(ctx);

	if (ok || (error != X509_V_ERR_UNABLE_TO_GET_CRL && error != X509_V_ERR_CRL_HAS_EXPIRED))
		return ok;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

static int verify_site(X509_STORE_CTX *ctx, void *arg)
{
	char *site;
	int ok;

	(void)arg;
	X509_STORE_CTX_set_verify_cb(ctx, forgive_lists);
	ok = X509_verify_cert(ctx);
	if (ok != 1)
		return ok;
	site = tls_site_of(X509_STORE_CTX_get0_cert(ctx));
	if (!site) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
		return 0;
	}
	free(site);
	return 1;
}

void tls_require_site(SSL_CTX *ctx)
{
	SSL_CTX_set_cert_verify_callback(ctx, verify_site, NULL);
}

const char *tls_judge_chain(X509_STORE *store, X509 *cert, STACK_OF(X509) *chain, bool server, bool timely)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = "out of memory";

	if (ctx && X509_STORE_CTX_init(ctx, store, cert, chain) == 1 &&
	    X509_STORE_CTX_set_default(ctx, server ? "ssl_server" : "ssl_client") == 1) {
		X509_STORE_CTX_set_verify_cb(ctx, forgive_lists);
		if (!timely)
			X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
		why = X509_verify_cert(ctx) == 1 ? NULL
		                                 : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return why;
}

const char *tls_judge(SSL_CTX *mesh_server, X509 *cert, STACK_OF(X509) *chain)
{
	return tls_judge_chain(SSL_CTX_get_cert_store(mesh_server), cert, chain, false, true);
}
