/* The fingerprint of a body: whether two requests with one Idempotency-Key are the same (replication.md 1.6). */
#ifndef REPLICATION_FINGERPRINT_H
#define REPLICATION_FINGERPRINT_H

#include "base/err.h"
#include "base/span.h"

#define FINGERPRINT_TEXT_BYTES 64 /* SHA-256 in hexadecimal digits */

struct fingerprint;

/* NULL: no memory. */
struct fingerprint *fingerprint_new(void);
void fingerprint_free(struct fingerprint **fp);
int fingerprint_add(struct fingerprint *f, struct span bytes) MUST_CHECK;
/* Nothing is added afterwards. 0 or ERR_NOMEM. */
int fingerprint_end(struct fingerprint *f, char text_r[FINGERPRINT_TEXT_BYTES]) MUST_CHECK;

#endif
