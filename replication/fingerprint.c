#include "replication/fingerprint.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct fingerprint {
	EVP_MD_CTX *digest;
};

struct fingerprint *fingerprint_new(void)
{
	struct fingerprint *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->digest = EVP_MD_CTX_new();
	if (!f->digest || EVP_DigestInit_ex(f->digest, EVP_sha256(), NULL) != 1)
		fingerprint_free(&f);
	return f;
}

void fingerprint_free(struct fingerprint **fp)
{
	struct fingerprint *f = *fp;

	*fp = NULL;
	if (!f)
		return;
	EVP_MD_CTX_free(f->digest);
	free(f);
}

int fingerprint_add(struct fingerprint *f, struct span bytes)
{
	return EVP_DigestUpdate(f->digest, bytes.p, bytes.n) == 1 ? 0 : ERR_NOMEM;
}

int fingerprint_end(struct fingerprint *f, char text_r[FINGERPRINT_TEXT_BYTES])
{
	unsigned char bytes[FINGERPRINT_TEXT_BYTES / 2];

	if (EVP_DigestFinal_ex(f->digest, bytes, NULL) != 1)
		return ERR_NOMEM;
	for (size_t i = 0; i < FINGERPRINT_TEXT_BYTES; i++)
		text_r[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
	return 0;
}
