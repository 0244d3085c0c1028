/* The authority of cli/ca.h, with OpenSSL.
 *
 * Order of an issue: the line in `issued` is on disk before the certificate is, so that whatever was given out can be
 * revoked; the key is in place before the certificate, and each file replaces the older one as a whole.  A daemon that
 * looks in between sees a pair that does not match and keeps the one it has.  One scopectl at a time: the folder is
 * locked. */
#include "cli/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/percent.h"

#define DAY (24 * 60 * 60)
#define SERIAL_BITS 127      /* RFC 5280 4.1.2.2: at most 20 bytes, positive */
#define BACKDATED (60 * 60)  /* clocks of other sites may be behind */
#define PATH_BYTES 4096
#define SITE_BYTES 64

struct ca {
	int lock;          /* the folder's descriptor */
	const char *dir;
	EVP_PKEY *key;
	X509 *cert;
};

/* ---- errors and files ---------------------------------------------------------------------------------------- */

static int openssl_failed(struct err *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return err_set(e, ERR_IO, "%s: %s", what, reason ? reason : "OpenSSL failed");
}

static int file_failed(struct err *e, const char *path)
{
	return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
}

static int path_of(const char *dir, const char *name, const char *suffix, char path_r[PATH_BYTES], struct err *e)
{
	if ((size_t)snprintf(path_r, PATH_BYTES, "%s/%s%s", dir, name, suffix) >= PATH_BYTES)
		return err_set(e, ERR_LIMIT, "%s: the path is too long", dir);
	return 0;
}

static int write_whole(int fd, struct span text)
{
	while (text.n) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			text = span_from(text, (size_t)n);
	}
	return fsync(fd);
}

/* A file appears whole or not at all.  replace: instead of an older one; else ERR_EXISTS. */
static int put_file(const char *path, struct span text, mode_t mode, bool replace, struct err *e)
{
	char temporary[PATH_BYTES + 16];
	int fd, rc;

	snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	fd = mkostemp(temporary, O_CLOEXEC); /* exclusive, 0600 */
	if (fd < 0)
		return file_failed(e, temporary);
	rc = write_whole(fd, text) || fchmod(fd, mode);
	rc = close(fd) || rc;
	if (!rc)
		rc = replace ? rename(temporary, path) : link(temporary, path);
	if (rc)
		file_failed(e, path);
	if (rc || !replace)
		unlink(temporary);
	return !rc ? 0 : errno == EEXIST ? err_set(e, ERR_EXISTS, "%s exists already", path) : ERR_IO;
}

static int put_bio(const char *path, BIO *bio, mode_t mode, bool replace, struct err *e)
{
	char *text;
	long n = BIO_get_mem_data(bio, &text);

	return put_file(path, span_make(text, n > 0 ? (size_t)n : 0), mode, replace, e);
}

static int put_key(const char *path, EVP_PKEY *key, bool replace, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc;

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		rc = put_bio(path, bio, 0600, replace, e);
	else
		rc = openssl_failed(e, path);
	BIO_free(bio);
	return rc;
}

static int put_cert(const char *path, X509 *cert, bool replace, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc;

	if (bio && PEM_write_bio_X509(bio, cert) == 1)
		rc = put_bio(path, bio, 0644, replace, e);
	else
		rc = openssl_failed(e, path);
	BIO_free(bio);
	return rc;
}

/* ---- the folder ---------------------------------------------------------------------------------------------- */

static int lock_folder(struct ca *ca, const char *dir, struct err *e)
{
	*ca = (struct ca){ .dir = dir, .lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (ca->lock < 0)
		return file_failed(e, dir);
	if (flock(ca->lock, LOCK_EX))
		return file_failed(e, dir);
	return 0;
}

static void ca_close(struct ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
	if (ca->lock >= 0)
		close(ca->lock);
}

static int ca_open(struct ca *ca, const char *dir, struct err *e)
{
	char path[PATH_BYTES];
	FILE *f;
	int rc = lock_folder(ca, dir, e);

	if (!rc)
		rc = path_of(dir, "ca", ".pem", path, e);
	if (rc)
		return rc;
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s holds no authority; make one with: scopectl ca init "
		                                                   "--dir %s", dir, dir)
		                       : file_failed(e, path);
	ca->cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (!ca->cert)
		return openssl_failed(e, path);
	rc = path_of(dir, "ca", ".key", path, e);
	if (rc)
		return rc;
	f = fopen(path, "re");
	if (!f)
		return file_failed(e, path);
	ca->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	if (!ca->key)
		return openssl_failed(e, path);
	return X509_check_private_key(ca->cert, ca->key) == 1 ? 0 : err_set(e, ERR_INVALID,
	                                                                    "%s: it does not belong to ca.pem", path);
}

/* ---- certificates -------------------------------------------------------------------------------------------- */

static bool set_serial(ASN1_INTEGER *serial)
{
	BIGNUM *bn = BN_new();
	bool ok = bn && BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	          BN_to_ASN1_INTEGER(bn, serial) != NULL;

	BN_free(bn);
	return ok;
}

static bool set_name(X509_NAME *name, const char *common)
{
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) == 1;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static bool add_site_uri(X509 *cert, const char *site)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
	struct buf text;
	bool ok;

	buf_init(&text, NULL, 0);
	buf_add_z(&text, "scopemesh:");
	percent_encode(span_of(site), "-._~", &text);
	ok = names && name && uri && !text.failed && ASN1_STRING_set(uri, buf_span(&text).p, (int)buf_len(&text)) == 1;
	if (ok) {
		GENERAL_NAME_set0_value(name, GEN_URI, uri);
		uri = NULL;
		ok = sk_GENERAL_NAME_push(names, name) > 0;
		if (ok)
			name = NULL;
		ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1;
	}
	buf_fini(&text);
	ASN1_IA5STRING_free(uri);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	return ok;
}

/* Everything but extensions and signature; issuer NULL: its own. */
static X509 *cert_new(EVP_PKEY *key, const char *common, X509 *issuer, int days)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(X509_get_serialNumber(cert)) &&
	    set_name(X509_get_subject_name(cert), common) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATED) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) && X509_set_pubkey(cert, key) == 1)
		return cert;
	X509_free(cert);
	return NULL;
}

static X509 *make_authority(EVP_PKEY *key)
{
	unsigned char tail[4];
	char name[64];
	X509 *cert;

	/* Two authorities have two names: their lists of revoked certificates are told apart by them. */
	if (RAND_bytes(tail, sizeof(tail)) != 1)
		return NULL;
	snprintf(name, sizeof(name), "Scopemesh authority %02x%02x%02x%02x", tail[0], tail[1], tail[2], tail[3]);
	cert = cert_new(key, name, NULL, CA_DAYS);
	if (cert && add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static X509 *make_site(const struct ca *ca, EVP_PKEY *key, const char *site, int days, bool *shortened_r)
{
	X509 *cert = cert_new(key, site, ca->cert, days);

	*shortened_r = cert && ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(ca->cert)) > 0;
	if (cert && (!*shortened_r || X509_set1_notAfter(cert, X509_get0_notAfter(ca->cert)) == 1) &&
	    add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
	    add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid:always") && add_site_uri(cert, site) &&
	    X509_sign(cert, ca->key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static void format_time(const ASN1_TIME *time, char text_r[CA_TIME_BYTES])
{
	struct tm tm = { 0 };

	*text_r = '\0';
	if (ASN1_TIME_to_tm(time, &tm) == 1)
		strftime(text_r, CA_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* ---- init ---------------------------------------------------------------------------------------------------- */

static int put_authority(const char *dir, EVP_PKEY *key, X509 *cert, struct err *e)
{
	char key_path[PATH_BYTES], cert_path[PATH_BYTES];
	int rc = path_of(dir, "ca", ".key", key_path, e);

	if (!rc)
		rc = path_of(dir, "ca", ".pem", cert_path, e);
	if (!rc && !access(cert_path, F_OK))
		rc = err_set(e, ERR_EXISTS, "%s exists already", cert_path);
	if (!rc)
		rc = put_key(key_path, key, false, e);
	if (rc)
		return rc;
	rc = put_cert(cert_path, cert, false, e);
	if (rc)
		unlink(key_path);
	return rc;
}

int ca_init(const char *dir, struct err *e)
{
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	struct ca ca;
	int rc;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return file_failed(e, dir);
	rc = lock_folder(&ca, dir, e);
	if (!rc) {
		key = EVP_EC_gen("P-256");
		cert = key ? make_authority(key) : NULL;
		rc = cert ? put_authority(dir, key, cert, e) : openssl_failed(e, "the authority cannot be made");
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	ca_close(&ca);
	return rc;
}

/* ---- issue --------------------------------------------------------------------------------------------------- */

/* As the configuration has it; and what names files. */
static int check_site(const char *site, struct err *e)
{
	bool good = *site && strlen(site) <= SITE_BYTES;

	for (const char *p = site; *p; p++)
		good = good && (unsigned char)*p >= ' ' && *p != 127;
	if (!good)
		return err_set(e, ERR_INVALID, "\"%s\" is no name for a site: 1 to 64 bytes without control characters", site);
	if (strchr(site, '/') || *site == '.')
		return err_set(e, ERR_INVALID, "\"%s\" cannot name a file, so no certificate can be kept for it", site);
	if (!strcmp(site, "ca") || !strcmp(site, "crl"))
		return err_set(e, ERR_INVALID, "a site cannot be called \"%s\" here: that file is the authority's", site);
	return 0;
}

/* Serial number, end, site; on disk when it returns. */
static int note_issued(const struct ca *ca, X509 *cert, const char *site, struct err *e)
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *serial = bn ? BN_bn2hex(bn) : NULL, until[CA_TIME_BYTES], path[PATH_BYTES];
	struct buf line;
	int fd, rc = path_of(ca->dir, "issued", "", path, e);

	buf_init(&line, NULL, 0);
	format_time(X509_get0_notAfter(cert), until);
	if (!rc && !serial)
		rc = openssl_failed(e, "the serial number");
	if (!rc) {
		buf_addf(&line, "%s %s %s\n", serial, until, site);
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || line.failed || write_whole(fd, buf_span(&line)))
			rc = file_failed(e, path);
		if (fd >= 0)
			close(fd);
	}
	buf_fini(&line);
	OPENSSL_free(serial);
	BN_free(bn);
	return rc;
}

static int put_site(const struct ca *ca, EVP_PKEY *key, X509 *cert, const char *site, struct ca_issued *issued,
                    struct err *e)
{
	char key_path[PATH_BYTES], cert_path[PATH_BYTES];
	int rc = path_of(ca->dir, site, ".key", key_path, e);

	if (!rc)
		rc = path_of(ca->dir, site, ".pem", cert_path, e);
	if (rc)
		return rc;
	issued->replaced = !access(cert_path, F_OK);
	format_time(X509_get0_notAfter(cert), issued->until);
	rc = note_issued(ca, cert, site, e);
	if (!rc)
		rc = put_key(key_path, key, true, e);
	return rc ? rc : put_cert(cert_path, cert, true, e);
}

int ca_issue(const char *dir, const char *site, int days, struct ca_issued *issued_r, struct err *e)
{
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	struct ca ca = { .lock = -1 };
	int rc = check_site(site, e);

	*issued_r = (struct ca_issued){ .replaced = false };
	if (!rc)
		rc = ca_open(&ca, dir, e);
	if (!rc && X509_cmp_current_time(X509_get0_notAfter(ca.cert)) < 0)
		rc = err_set(e, ERR_INVALID, "the authority in %s has expired: make another one in another folder", dir);
	if (!rc) {
		key = EVP_EC_gen("P-256");
		cert = key ? make_site(&ca, key, site, days, &issued_r->shortened) : NULL;
		rc = cert ? put_site(&ca, key, cert, site, issued_r, e)
		          : openssl_failed(e, "the certificate cannot be made");
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	ca_close(&ca);
	return rc;
}

/* ---- revoke -------------------------------------------------------------------------------------------------- */

static bool add_revoked(X509_CRL *crl, const char *serial_hex)
{
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	ASN1_INTEGER *serial = NULL;
	BIGNUM *bn = NULL;
	bool ok = revoked && now && BN_hex2bn(&bn, serial_hex) > 0 && (serial = BN_to_ASN1_INTEGER(bn, NULL)) &&
	          X509_REVOKED_set_serialNumber(revoked, serial) == 1 && X509_REVOKED_set_revocationDate(revoked, now) == 1 &&
	          X509_CRL_add0_revoked(crl, revoked) == 1;

	if (!ok)
		X509_REVOKED_free(revoked);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(now);
	BN_free(bn);
	return ok;
}

static bool is_revoked(X509_CRL *crl, const char *serial_hex)
{
	ASN1_INTEGER *serial = NULL;
	X509_REVOKED *found;
	BIGNUM *bn = NULL;
	bool listed = BN_hex2bn(&bn, serial_hex) > 0 && (serial = BN_to_ASN1_INTEGER(bn, NULL)) &&
	              X509_CRL_get0_by_serial(crl, &found, serial) == 1;

	ASN1_INTEGER_free(serial);
	BN_free(bn);
	return listed;
}

/* The list as it is, or an empty one; it is signed anew anyway. */
static X509_CRL *crl_load(const char *path)
{
	FILE *f = fopen(path, "re");
	X509_CRL *crl = NULL;

	if (f) {
		crl = PEM_read_X509_CRL(f, NULL, NULL, NULL);
		fclose(f);
	} else if (errno == ENOENT) {
		crl = X509_CRL_new();
	}
	return crl;
}

/* Every certificate issued to the site that is not on the list yet; false: out of memory or unreadable. */
static bool revoke_each(const char *path, const char *site, X509_CRL *crl, unsigned *count_r)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	bool ok = f || errno == ENOENT;

	*count_r = 0;
	while (ok && f && (n = getline(&line, &room, f)) > 0) {
		char *until = strchr(line, ' '), *name = until ? strchr(until + 1, ' ') : NULL;

		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (!name || strcmp(name + 1, site) != 0)
			continue;
		*until = '\0';
		ok = is_revoked(crl, line) || add_revoked(crl, line);
		++*count_r;
	}
	free(line);
	if (f)
		fclose(f);
	return ok;
}

/* A number that grows, the issuer's, and the authority's whole life: a list that ran out would revoke everybody. */
static bool finish_crl(const struct ca *ca, X509_CRL *crl)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	ASN1_TIME *now = X509_gmtime_adj(NULL, -BACKDATED);
	X509V3_CTX ctx;
	X509_EXTENSION *authority;
	bool ok;

	if (!number)
		number = ASN1_INTEGER_new();
	X509V3_set_ctx(&ctx, ca->cert, NULL, NULL, crl, 0);
	authority = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	while (X509_CRL_get_ext_count(crl) > 0)
		X509_EXTENSION_free(X509_CRL_delete_ext(crl, 0));
	ok = number && now && authority && ASN1_INTEGER_set_int64(number, ASN1_INTEGER_get(number) + 1) == 1 &&
	     X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
	     X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert)) == 1 && X509_CRL_set1_lastUpdate(crl, now) == 1 &&
	     X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(ca->cert)) == 1 && X509_CRL_add_ext(crl, authority, -1) == 1 &&
	     X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, X509V3_ADD_APPEND) == 1 && X509_CRL_sort(crl) == 1 &&
	     X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0;
	X509_EXTENSION_free(authority);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(now);
	return ok;
}

static int put_crl(const char *path, X509_CRL *crl, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc;

	if (bio && PEM_write_bio_X509_CRL(bio, crl) == 1)
		rc = put_bio(path, bio, 0644, true, e);
	else
		rc = openssl_failed(e, path);
	BIO_free(bio);
	return rc;
}

static int revoke_site(const struct ca *ca, const char *site, unsigned *count_r, struct err *e)
{
	char issued[PATH_BYTES], path[PATH_BYTES];
	X509_CRL *crl;
	int rc = path_of(ca->dir, "issued", "", issued, e);

	if (!rc)
		rc = path_of(ca->dir, "crl", ".pem", path, e);
	if (rc)
		return rc;
	crl = crl_load(path);
	if (!crl)
		return openssl_failed(e, path);
	if (!revoke_each(issued, site, crl, count_r))
		rc = openssl_failed(e, issued);
	else if (!*count_r)
		rc = err_set(e, ERR_NOT_FOUND, "%s has issued nothing to \"%s\"", ca->dir, site);
	else if (!finish_crl(ca, crl))
		rc = openssl_failed(e, path);
	else
		rc = put_crl(path, crl, e);
	X509_CRL_free(crl);
	return rc;
}

int ca_revoke(const char *dir, const char *site, unsigned *count_r, struct err *e)
{
	struct ca ca;
	int rc = ca_open(&ca, dir, e);

	*count_r = 0;
	if (!rc)
		rc = revoke_site(&ca, site, count_r, e);
	ca_close(&ca);
	return rc;
}
