/* TLS as one configuration has it: contexts made from its files, and what tells a peer.  A set is immutable and
 * counted; workers share it.  When a file changes another set is made and handed out, as a whole.
 *
 * Sessions are resumed by tickets, whose keys belong to a context: a new set makes everybody shake hands in full, so
 * whatever changed (an authority, a list of revoked certificates) is looked at anew. */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "proxy/conf.h"

/* OpenSSL's, by the names that do not need its headers. */
struct ssl_ctx_st;
struct ssl_session_st;
struct stack_st_X509;
struct x509_st;

#define TLS_USES(X) \
	X(TLS_USE_MESH, "mesh") \
	X(TLS_USE_MESH_CA, "mesh-ca") \
	X(TLS_USE_SERVICE, "service")

enum tls_use {
#define TLS_USE(value, name) value,
	TLS_USES(TLS_USE)
#undef TLS_USE
};

const char *tls_use_text(enum tls_use use);

#define TLS_NAMES_BYTES 160

/* A certificate of one's own, whose end is watched. */
struct tls_cert {
	enum tls_use use;
	struct span service;    /* empty: of the mesh */
	struct span path;
	int64_t not_after_ms;   /* wall clock */
	char names[TLS_NAMES_BYTES]; /* of hosts that it is for, apart by ", "; as many as there is room for */
	int told;               /* the main thread's: the last number of days that was warned of */
};

struct tls_set {
	_Atomic int refs;
	struct arena arena;
	struct ssl_ctx_st *mesh_server, *mesh_client; /* NULL: no certificates between sites */
	struct ssl_ctx_st **service, **upstream;      /* by service; NULL: plain */
	size_t service_count;
	bool any_service;
	struct tls_cert *certs;
	size_t cert_count;
};

/* The last session with somebody, to be resumed; only with the context that made it, since a resumed session is not
 * verified again. */
struct tls_resume {
	struct ssl_ctx_st *ctx;          /* a reference */
	struct ssl_session_st *session;
};

/* Idempotent. */
void tls_resume_fini(struct tls_resume *r);

/* Whom to connect to, and how to be sure of him. */
struct tls_target {
	struct ssl_ctx_st *ctx;          /* NULL: plain */
	struct span site;                /* of a mesh: the site that the other certificate has to name */
	struct span name;                /* of an instance: the host it has to be for; empty: any */
	struct tls_resume *resume;       /* where the session is kept; may be NULL */
};

/* Of another site's mesh, and of an instance (set NULL: everything is plain). */
/* Without certificates no site is called but on this machine. */
bool tls_may_call(const struct tls_set *set, const struct addr *mesh);
struct tls_target tls_target_site(const struct tls_set *set, struct span site);
struct tls_target tls_target_instance(const struct tls_set *set, const struct conf *conf, size_t service,
                                      const struct conf_instance *instance);

/* What is wrong, and with which option (a member of conf, or of one of its services). */
typedef void (*tls_complain)(void *arg, const void *option, const char *what, const char *hint);

/* Reads and checks all files.  before: the set that these files are to follow (of the same configuration); what is not
 * better than it, because it cannot be used or is not valid now, stays as it is there.  NULL: everything has to be of
 * use; that it has expired is only told by certs.  0, ERR_INVALID (every reason was complained of), ERR_NOMEM. */
int tls_load(const struct conf *conf, const struct tls_set *before, tls_complain complain, void *arg,
             struct tls_set **set_r) MUST_CHECK;
struct tls_set *tls_ref(struct tls_set *set);
void tls_unref(struct tls_set **set);

/* The site that a certificate names (URI scopemesh:SITE); allocated, NULL: none, or several. */
char *tls_site_of(struct x509_st *cert);
/* The hosts that a certificate is for (dNSName and iPAddress); "": none. */
void tls_names_of(struct x509_st *cert, char names_r[TLS_NAMES_BYTES]);
/* Whether a certificate would be accepted from a peer by this context now.  chain: what the peer sent with it, or
 * NULL.  NULL: yes; else why not. */
const char *tls_judge(struct ssl_ctx_st *mesh_server, struct x509_st *cert, struct stack_st_X509 *chain);

#endif
