/* Contexts from files.  Each file is read once and every mistake is complained of with the option that names it, so
 * that --check, the start and a re-read say the same.
 *
 * Between sites: TLS 1.3 and nothing else, a certificate on both sides.  To clients and instances: TLS 1.2 or later,
 * since their libraries are not ours to choose. */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proxy/tls_int.h"

#define RESUMABLE_S 3600
#define TEXT_BYTES 640

struct load {
	const struct conf *conf;
	struct tls_set *set;
	const struct tls_set *before; /* what stays where the files are of no use; NULL: nothing */
	bool nomem;
	unsigned mistakes;
	tls_complain complain;
	void *arg;
};

/* ---- complaints ---------------------------------------------------------------------------------------------- */

static void wrong(struct load *l, const void *option, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);

static void wrong(struct load *l, const void *option, const char *hint, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ERR_clear_error();
	l->mistakes++;
	l->complain(l->arg, option, text, hint);
}

static const char *openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	return reason ? reason : "OpenSSL cannot use it";
}

/* NULL: complained of. */
static FILE *open_file(struct load *l, const char *key, const struct span *path, struct stat *st)
{
	FILE *f = fopen(path->p, "re");

	if (f && !fstat(fileno(f), st) && S_ISREG(st->st_mode))
		return f;
	wrong(l, path, NULL, "%s: %s: %s", key, path->p, f ? "it is no file" : strerror(errno));
	if (f)
		fclose(f);
	return NULL;
}

/* Nobody is asked for a passphrase: a daemon has no terminal. */
static int no_passphrase(char *room, int bytes, int writing, void *arg)
{
	(void)room, (void)bytes, (void)writing, (void)arg;
	return -1;
}

static EVP_PKEY *read_key(struct load *l, const struct span *path)
{
	EVP_PKEY *key = NULL;
	struct stat st;
	FILE *f = open_file(l, "key", path, &st);

	if (!f)
		return NULL;
	key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
	fclose(f);
	if (!key)
		wrong(l, path, "a key in PEM form without a passphrase is expected", "key: %s: %s", path->p, openssl_reason());
	else if (st.st_mode & 007)
		wrong(l, path, "chmod 600, or 640 for a group of its own", "key: %s: everybody on this machine may read it "
		      "(mode %03o)", path->p, (unsigned)(st.st_mode & 0777));
	return key;
}

static X509 *read_cert(struct load *l, const char *key, const struct span *path)
{
	struct stat st;
	FILE *f = open_file(l, key, path, &st);
	X509 *cert = NULL;

	if (!f)
		return NULL;
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (!cert)
		wrong(l, path, "a certificate in PEM form is expected", "%s: %s: %s", key, path->p, openssl_reason());
	return cert;
}

/* ---- certificates of one's own ------------------------------------------------------------------------------- */

static void note_cert(struct load *l, X509 *cert, enum tls_use use, struct span service, const struct span *path)
{
	struct tls_cert *c = &l->set->certs[l->set->cert_count++];
	struct tm tm = { 0 };
	bool late = X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;

	*c = (struct tls_cert){ .use = use, .service = service, .path = *path, .told = INT_MAX };
	tls_names_of(cert, c->names);
	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
		c->not_after_ms = (int64_t)timegm(&tm) * 1000;
	if (l->before && (late || X509_cmp_current_time(X509_get0_notBefore(cert)) > 0))
		wrong(l, path, NULL, "cert: %s: it %s", path->p, late ? "has expired" : "is not valid yet");
}

/* The pair is read and held against each other.  False: complained of. */
static bool use_pair(struct load *l, SSL_CTX *ctx, const struct span *cert_path, EVP_PKEY *key, X509 *cert)
{
	if (X509_check_private_key(cert, key) != 1) {
		wrong(l, cert_path, NULL, "cert: %s: the key is not this certificate's", cert_path->p);
		return false;
	}
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_path->p) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
	    SSL_CTX_check_private_key(ctx) == 1)
		return true;
	wrong(l, cert_path, NULL, "cert: %s: %s", cert_path->p, openssl_reason());
	return false;
}

/* ---- contexts ------------------------------------------------------------------------------------------------ */

static SSL_CTX *context_new(struct load *l, const SSL_METHOD *method, int least)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, least) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1) {
		SSL_CTX_free(ctx);
		l->nomem = true;
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                          SSL_MODE_NO_AUTO_CHAIN); /* authorities are known to whom it concerns */
	SSL_CTX_set_timeout(ctx, RESUMABLE_S);
	SSL_CTX_set_read_ahead(ctx, 1); /* one system call for a record instead of two */
	return ctx;
}

/* Tickets hold the session; nothing is kept here. */
static void serve_sessions(SSL_CTX *ctx, const char *what)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)what, (unsigned)strlen(what));
	SSL_CTX_set_num_tickets(ctx, 1);
}

static int choose_http(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";

	(void)ssl;
	(void)arg;
	/* The cast: OpenSSL's old signature; the choice points into `in` or `ours` and is only read. */
	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof(ours) - 1, in, in_len) ==
	               OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- between sites ------------------------------------------------------------------------------------------- */

static bool add_lists(struct load *l, X509_STORE *store, const struct span *path)
{
	struct stat st;
	FILE *f = open_file(l, "crl", path, &st);
	X509_CRL *crl;
	size_t count = 0;
	bool ok = true;

	if (!f)
		return false;
	while (ok && (crl = PEM_read_X509_CRL(f, NULL, NULL, NULL))) {
		ok = X509_STORE_add_crl(store, crl) == 1;
		X509_CRL_free(crl);
		count++;
	}
	fclose(f);
	if (!ok || !count)
		wrong(l, path, "a list of revoked certificates in PEM form is expected", "crl: %s: %s", path->p,
		      openssl_reason());
	ERR_clear_error(); /* of the end of the file */
	return ok && count && X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1;
}

/* What OpenSSL would work out of an authority at the first handshake that needs it, in whatever thread that is, is
 * worked out before there are others. */
static void settle_authorities(SSL_CTX *ctx)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (cert)
			(void)X509_check_purpose(cert, -1, 0);
	}
}

/* Authorities and lists, for a context and for the check of one's own certificate. */
static bool set_trust(struct load *l, SSL_CTX *ctx)
{
	const struct conf *conf = l->conf;
	STACK_OF(X509_NAME) *names;
	X509 *authority = read_cert(l, "ca", &conf->mesh_tls.ca);

	if (!authority)
		return false;
	if (!l->set->cert_count)
		note_cert(l, authority, TLS_USE_MESH_CA, (struct span){ "", 0 }, &conf->mesh_tls.ca);
	X509_free(authority);
	if (SSL_CTX_load_verify_file(ctx, conf->mesh_tls.ca.p) != 1) {
		wrong(l, &conf->mesh_tls.ca, NULL, "ca: %s: %s", conf->mesh_tls.ca.p, openssl_reason());
		return false;
	}
	names = SSL_load_client_CA_file(conf->mesh_tls.ca.p);
	if (names)
		SSL_CTX_set_client_CA_list(ctx, names);
	return !conf->mesh_tls.crl.n || add_lists(l, SSL_CTX_get_cert_store(ctx), &conf->mesh_tls.crl);
}

static void check_own_site(struct load *l, X509 *cert, SSL_CTX *ctx)
{
	const struct conf *conf = l->conf;
	const struct span *path = &conf->mesh_tls.cert;
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	STACK_OF(X509) *chain = NULL;
	char *site = tls_site_of(cert);
	const char *why;

	SSL_CTX_get0_chain_certs(ctx, &chain);
	why = tls_judge_chain(store, cert, chain, true, false);
	if (!why)
		why = tls_judge_chain(store, cert, chain, false, false);
	if (!site)
		wrong(l, path, "scopectl ca issue SITE makes such a certificate",
		      "cert: %s: it names no site (URI scopemesh:SITE)", path->p);
	else if (!span_eq(span_of(site), conf->site))
		wrong(l, path, NULL, "cert: %s: it is the certificate of site \"%s\", not of \"%.*s\"", path->p, site,
		      SPAN_ARG(conf->site));
	else if (why)
		wrong(l, path, NULL, "cert: %s: other sites would refuse it: %s", path->p, why);
	free(site);
}

static SSL_CTX *mesh_context(struct load *l, bool server, EVP_PKEY *key, X509 *cert)
{
	SSL_CTX *ctx = context_new(l, server ? TLS_server_method() : TLS_client_method(), TLS1_3_VERSION);

	if (!ctx)
		return NULL;
	if (!set_trust(l, ctx) || !use_pair(l, ctx, &l->conf->mesh_tls.cert, key, cert)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	tls_require_site(ctx);
	settle_authorities(ctx);
	if (server)
		serve_sessions(ctx, "mesh");
	else
		tls_keep_sessions(ctx);
	return ctx;
}

static SSL_CTX *same(SSL_CTX *ctx)
{
	return ctx && SSL_CTX_up_ref(ctx) ? ctx : NULL;
}

/* The certificates noted from `first` on give way to those of before. */
static void keep_certs(struct load *l, size_t first, bool mesh, struct span service)
{
	l->set->cert_count = first;
	for (size_t i = 0; i < l->before->cert_count; i++) {
		const struct tls_cert *c = &l->before->certs[i];

		if ((c->use != TLS_USE_SERVICE) == mesh && span_eq(c->service, service))
			l->set->certs[l->set->cert_count++] = *c;
	}
}

static void keep_mesh(struct load *l)
{
	SSL_CTX_free(l->set->mesh_server);
	SSL_CTX_free(l->set->mesh_client);
	l->set->mesh_server = same(l->before->mesh_server);
	l->set->mesh_client = same(l->before->mesh_client);
	keep_certs(l, 0, true, (struct span){ "", 0 });
}

/* The client's context is made only when the server's could be: the same mistakes would be told twice. */
static void load_mesh(struct load *l)
{
	const struct conf *conf = l->conf;
	unsigned before = l->mistakes;
	X509 *cert;
	EVP_PKEY *key;

	if (!conf->has_mesh || !conf->mesh_tls.cert.n || !conf->mesh_tls.key.n || !conf->mesh_tls.ca.n)
		return;
	cert = read_cert(l, "cert", &conf->mesh_tls.cert);
	key = read_key(l, &conf->mesh_tls.key);
	if (cert && key) {
		l->set->mesh_server = mesh_context(l, true, key, cert);
		if (l->set->mesh_server)
			check_own_site(l, cert, l->set->mesh_server);
		note_cert(l, cert, TLS_USE_MESH, (struct span){ "", 0 }, &conf->mesh_tls.cert);
		if (l->set->mesh_server && l->mistakes == before)
			l->set->mesh_client = mesh_context(l, false, key, cert);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	if (l->before && l->mistakes != before)
		keep_mesh(l);
}

/* ---- to clients and instances -------------------------------------------------------------------------------- */

static SSL_CTX *service_context(struct load *l, const struct conf_service *svc)
{
	X509 *cert = read_cert(l, "cert", &svc->tls_cert);
	EVP_PKEY *key = read_key(l, &svc->tls_key);
	SSL_CTX *ctx = cert && key ? context_new(l, TLS_server_method(), TLS1_2_VERSION) : NULL;

	if (ctx && use_pair(l, ctx, &svc->tls_cert, key, cert)) {
		note_cert(l, cert, TLS_USE_SERVICE, svc->name, &svc->tls_cert);
		serve_sessions(ctx, "service");
		SSL_CTX_set_alpn_select_cb(ctx, choose_http, NULL);
	} else {
		SSL_CTX_free(ctx);
		ctx = NULL;
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return ctx;
}

static bool has_tls_instances(const struct conf_service *svc)
{
	for (size_t i = 0; i < svc->instance_count; i++)
		if (svc->instances[i].tls)
			return true;
	return false;
}

/* Services with the same settings share a context, and so connections. */
static SSL_CTX *same_as_before(const struct load *l, size_t at)
{
	const struct conf_service *svc = &l->conf->services[at];

	for (size_t i = 0; i < at; i++) {
		const struct conf_service *other = &l->conf->services[i];

		if (l->set->upstream[i] && span_eq(other->upstream_ca, svc->upstream_ca) &&
		    other->upstream_verify == svc->upstream_verify && span_eq(other->upstream_name, svc->upstream_name) && SSL_CTX_up_ref(l->set->upstream[i]))
			return l->set->upstream[i];
	}
	return NULL;
}

static SSL_CTX *upstream_context(struct load *l, size_t at)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	const struct conf_service *svc = &l->conf->services[at];
	SSL_CTX *ctx = same_as_before(l, at);
	struct stat st;
	FILE *f = NULL;

	if (ctx)
		return ctx;
	ctx = context_new(l, TLS_client_method(), TLS1_2_VERSION);
	if (!ctx)
		return NULL;
	tls_keep_sessions(ctx);
	SSL_CTX_set_verify(ctx, svc->upstream_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1);
	if (!svc->upstream_verify)
		return ctx;
	if (svc->upstream_ca.n && (f = open_file(l, "ca", &svc->upstream_ca, &st)))
		fclose(f);
	if (svc->upstream_ca.n ? f && SSL_CTX_load_verify_file(ctx, svc->upstream_ca.p) == 1
	                       : SSL_CTX_set_default_verify_paths(ctx) == 1) {
		settle_authorities(ctx);
		return ctx;
	}
	if (f || !svc->upstream_ca.n)
		wrong(l, &svc->upstream_ca, "certificates of authorities in PEM form are expected", "ca: %.*s: %s",
		      SPAN_ARG(svc->upstream_ca), openssl_reason());
	SSL_CTX_free(ctx);
	return NULL;
}

static void load_service(struct load *l, size_t i)
{
	size_t certs = l->set->cert_count;
	unsigned before = l->mistakes;

	l->set->service[i] = service_context(l, &l->conf->services[i]);
	if (!l->before || l->mistakes == before)
		return;
	SSL_CTX_free(l->set->service[i]);
	l->set->service[i] = same(l->before->service[i]);
	keep_certs(l, certs, false, l->conf->services[i].name);
}

static void load_services(struct load *l)
{
	for (size_t i = 0; i < l->conf->service_count; i++) {
		const struct conf_service *svc = &l->conf->services[i];

		if (svc->tls_cert.n && svc->tls_key.n)
			load_service(l, i);
		l->set->any_service |= l->set->service[i] != NULL;
		if (!has_tls_instances(svc))
			continue;
		l->set->upstream[i] = upstream_context(l, i);
		if (!l->set->upstream[i] && l->before)
			l->set->upstream[i] = same(l->before->upstream[i]);
	}
}

/* ---- all ----------------------------------------------------------------------------------------------------- */

static struct tls_set *set_new(const struct conf *conf)
{
	struct tls_set *set = calloc(1, sizeof(*set));
	size_t n = conf->service_count;

	if (!set)
		return NULL;
	atomic_init(&set->refs, 1);
	arena_init(&set->arena, NULL, 0, 0);
	set->service = arena_alloc(&set->arena, (n + 1) * sizeof(*set->service));
	set->upstream = arena_alloc(&set->arena, (n + 1) * sizeof(*set->upstream));
	set->certs = arena_alloc(&set->arena, (n + 2) * sizeof(*set->certs));
	if (!set->service || !set->upstream || !set->certs) {
		tls_unref(&set);
		return NULL;
	}
	memset(set->service, 0, (n + 1) * sizeof(*set->service));
	memset(set->upstream, 0, (n + 1) * sizeof(*set->upstream));
	set->service_count = n;
	return set;
}

/* Texts are the configuration's and may outlive it. */
static bool keep_texts(struct tls_set *set)
{
	bool ok = true;

	for (size_t i = 0; i < set->cert_count; i++) {
		set->certs[i].path = arena_dup(&set->arena, set->certs[i].path);
		set->certs[i].service = arena_dup(&set->arena, set->certs[i].service);
		ok = ok && set->certs[i].path.p && set->certs[i].service.p;
	}
	return ok;
}

int tls_load(const struct conf *conf, const struct tls_set *before, tls_complain complain, void *arg,
             struct tls_set **set_r)
{
	struct load l = { .conf = conf, .set = set_new(conf), .before = before, .complain = complain, .arg = arg };
	int rc;

	*set_r = NULL;
	if (!l.set)
		return ERR_NOMEM;
	load_mesh(&l);
	load_services(&l);
	rc = l.nomem || !keep_texts(l.set) ? ERR_NOMEM : l.mistakes && !before ? ERR_INVALID : 0;
	if (rc)
		tls_unref(&l.set);
	*set_r = l.set;
	return rc;
}
