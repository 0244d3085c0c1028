/* Sealed text, whole:
 *
 *	1 byte    version, 1
 *	12 bytes  nonce, random
 *	n bytes   AES-256-GCM of the secret
 *	16 bytes  tag, over the secret and over version and context (the additional data)
 *
 * Nonces are random, so two may meet: after 2^32 secrets with probability 2^-33, after 2^36 (two years at a thousand a
 * second) 2^-25, and then whoever has kept both texts learns what they differ in.  A counter would need to be durable
 * and would repeat in a database that was set back; a mode that survives a repeated nonce (GCM-SIV) is not in every
 * OpenSSL 3.  The version is there for the day it is.
 *
 * The key file holds 32 random bytes and nothing else.  Without it what was sealed is lost, by intention: it is in no
 * backup of the database. */
#include "replication/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/file.h"

#define VERSION 1
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define KEY_BYTES 32
#define HEAD_BYTES (1 + NONCE_BYTES)
_Static_assert(HEAD_BYTES + TAG_BYTES == SEAL_OVERHEAD, "what is added to a secret");

struct seal {
	EVP_CIPHER *cipher; /* fetched once: a look-up by name takes a lock and longer than sealing */
	unsigned char key[KEY_BYTES];
};

/* From the kernel itself: a stock of random bytes may be shared with a process that this one was forked from, and a nonce
 * must not be. So few bytes come whole. */
static bool draw(unsigned char *p, size_t n)
{
	return getrandom(p, n, 0) == (ssize_t)n;
}

/* ---- the key file ------------------------------------------------------------------------------------------------ */

static int check_key_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "%s: not a file; move it away, and a key is made", path);
	if (st.st_mode & 077)
		return err_set(e, ERR_DENIED, "%s: others may read or change it (mode %04o): chmod 600 it; if somebody may have "
		               "done so, remove it instead: a new key is made, and operations that wait with their client's "
		               "credentials are held", path, (unsigned)st.st_mode & 07777);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_DENIED, "%s: belongs to user %u, this runs as %u: chown it, or run as the user that owns "
		               "the state folder", path, (unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_size != KEY_BYTES)
		return err_set(e, ERR_INVALID, "%s: %lld bytes, a key has %d: put it back from where it was saved, or remove it: "
		               "a new key is made, and operations that wait with their client's credentials are held", path,
		               (long long)st.st_size, KEY_BYTES);
	return 0;
}

static int read_key(int fd, const char *path, unsigned char key[KEY_BYTES], struct err *e)
{
	size_t have = 0;

	while (have < KEY_BYTES) {
		ssize_t n = read(fd, key + have, KEY_BYTES - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_IO, "%s: cannot be read: %s", path, n ? strerror(errno) : "it has been cut");
		have += (size_t)n;
	}
	return 0;
}

/* ERR_NOT_FOUND, without a word in e, when there is none. */
static int load_key(const char *path, unsigned char key[KEY_BYTES], struct err *e)
{
	/* Non-blocking: a FIFO in its place would wait for a writer */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc;

	if (fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_INVALID, "%s: a symbolic link, a key is a file of its own: put the file itself there", path);
	if (fd < 0)
		return err_set(e, errno == EACCES ? ERR_DENIED : ERR_IO, "%s: cannot be opened: %s; it has to belong to the user "
		               "this runs as", path, strerror(errno));
	rc = check_key_file(fd, path, e);
	if (!rc)
		rc = read_key(fd, path, key, e);
	close(fd);
	return rc;
}

static int make_key(const char *path, struct err *e)
{
	unsigned char key[KEY_BYTES];
	int rc;

	if (!draw(key, sizeof(key)))
		return err_set(e, ERR_IO, "%s: no random bytes for a key: %s", path, strerror(errno));
	rc = file_replace(path, span_make((const char *)key, sizeof(key)), e);
	OPENSSL_cleanse(key, sizeof(key));
	return rc;
}

/* What was made is read like any other, so that a folder that gives files wrong rights shows at once. */
static int get_key(const char *folder, unsigned char key[KEY_BYTES], struct err *e)
{
	char *path = NULL;
	int rc;

	if (asprintf(&path, "%s/seal.key", folder) < 0)
		return err_set(e, ERR_NOMEM, "no memory for the seal");
	rc = load_key(path, key, e);
	if (rc == ERR_NOT_FOUND) {
		rc = make_key(path, e);
		if (!rc)
			rc = load_key(path, key, e);
		if (rc == ERR_NOT_FOUND)
			rc = err_set(e, ERR_IO, "%s: gone as soon as it was made", path);
	}
	free(path);
	return rc;
}

int seal_open(const char *folder, struct seal **seal_r, struct err *e)
{
	struct seal *seal = calloc(1, sizeof(*seal));
	int rc;

	*seal_r = NULL;
	if (!seal)
		return err_set(e, ERR_NOMEM, "no memory for the seal");
	seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!seal->cipher)
		rc = err_set(e, ERR_UNSUPPORTED, "OpenSSL gives no AES-256-GCM: its configuration (openssl.cnf) leaves out the "
		             "provider that has it");
	else
		rc = get_key(folder, seal->key, e);
	if (rc)
		seal_close(&seal);
	*seal_r = seal;
	return rc;
}

void seal_close(struct seal **sealp)
{
	struct seal *seal = *sealp;

	*sealp = NULL;
	if (!seal)
		return;
	EVP_CIPHER_free(seal->cipher);
	OPENSSL_cleanse(seal, sizeof(*seal));
	free(seal);
}

/* ---- sealing ----------------------------------------------------------------------------------------------------- */

/* A cipher that has taken key, nonce and additional data; NULL: no memory. */
static EVP_CIPHER_CTX *begin(const struct seal *seal, const unsigned char head[HEAD_BYTES], struct span context,
                             int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	if (ctx && EVP_CipherInit_ex2(ctx, seal->cipher, seal->key, head + 1, encrypt, NULL) &&
	    EVP_CipherUpdate(ctx, NULL, &n, head, 1) &&
	    (!context.n || EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)context.p, (int)context.n)))
		return ctx;
	EVP_CIPHER_CTX_free(ctx);
	return NULL;
}

static bool run(EVP_CIPHER_CTX *ctx, struct span from, unsigned char *to)
{
	int n = 0;

	return !from.n || (EVP_CipherUpdate(ctx, to, &n, (const unsigned char *)from.p, (int)from.n) && (size_t)n == from.n);
}

static unsigned char *room_for(struct buf *out, size_t bytes)
{
	size_t room;

	return buf_reserve(out, bytes) ? NULL : (unsigned char *)buf_room(out, &room);
}

int seal_add(const struct seal *seal, struct span plain, struct span context, struct buf *out)
{
	unsigned char last[16], *to;
	EVP_CIPHER_CTX *ctx;
	bool good;
	int n;

	if (plain.n > SEAL_BYTES || context.n > SEAL_BYTES)
		return ERR_LIMIT;
	to = room_for(out, plain.n + SEAL_OVERHEAD);
	if (!to)
		return ERR_NOMEM;
	to[0] = VERSION;
	ctx = draw(to + 1, NONCE_BYTES) ? begin(seal, to, context, 1) : NULL;
	good = ctx && run(ctx, plain, to + HEAD_BYTES) && EVP_CipherFinal_ex(ctx, last, &n) &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, to + HEAD_BYTES + plain.n);
	EVP_CIPHER_CTX_free(ctx);
	if (!good)
		return ERR_NOMEM; /* nothing else is left that could go wrong */
	buf_commit(out, plain.n + SEAL_OVERHEAD);
	return 0;
}

int seal_remove(const struct seal *seal, struct span sealed, struct span context, struct buf *out)
{
	unsigned char last[16], tag[TAG_BYTES], *to;
	EVP_CIPHER_CTX *ctx;
	size_t plain_n;
	int n, rc = 0;

	if (sealed.n > SEAL_BYTES + SEAL_OVERHEAD || context.n > SEAL_BYTES)
		return ERR_LIMIT;
	if (sealed.n < SEAL_OVERHEAD || sealed.p[0] != VERSION)
		return ERR_INVALID;
	plain_n = sealed.n - SEAL_OVERHEAD;
	to = room_for(out, plain_n ? plain_n : 1);
	ctx = to ? begin(seal, (const unsigned char *)sealed.p, context, 0) : NULL;
	if (!ctx)
		return ERR_NOMEM;
	memcpy(tag, sealed.p + sealed.n - TAG_BYTES, TAG_BYTES);
	if (!run(ctx, span_make(sealed.p + HEAD_BYTES, plain_n), to) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) || EVP_CipherFinal_ex(ctx, last, &n) <= 0)
		rc = ERR_INVALID;
	EVP_CIPHER_CTX_free(ctx);
	if (rc)
		OPENSSL_cleanse(to, plain_n); /* decrypted, and not to be believed */
	else
		buf_commit(out, plain_n);
	return rc;
}

void seal_wipe(struct buf *b)
{
	if (b->mem)
		OPENSSL_cleanse(b->mem, b->cap);
	buf_fini(b);
}
