/* Secrets of clients that outlive their request (a queued operation's credentials) are sealed before they are written
 * anywhere: AES-256-GCM under the key of FOLDER/seal.key.
 *
 * What is sealed is bound to a context, the operation it belongs to: unsealed under another one it is as if touched, so
 * that nobody who can write the database lends one client's credentials to another's operation.  It is not padded: its
 * length shows that of the secret. */
#ifndef REPLICATION_SEAL_H
#define REPLICATION_SEAL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct seal;

#define SEAL_BYTES (16u << 20) /* of one secret, and of a context */
#define SEAL_OVERHEAD 29       /* sealed text is that much longer */

/* Reads the key, or makes it where the folder has none.  0; ERR_DENIED: others may read the file, or this process may
 * not; ERR_INVALID: it is no key; ERR_IO; ERR_NOMEM. e says what to do about it. */
int seal_open(const char *folder, struct seal **seal_r, struct err *e) MUST_CHECK;
/* Wipes the key. */
void seal_close(struct seal **sealp);

/* Both from any thread, at once.  They append to out, which must not hold what they are given. */

/* 0, ERR_NOMEM, ERR_LIMIT (over SEAL_BYTES). */
int seal_add(const struct seal *seal, struct span plain, struct span context, struct buf *out) MUST_CHECK;
/* 0; ERR_INVALID: not sealed by this key for this context, or touched since, or by a version of this program that this
 * one does not know; ERR_NOMEM; ERR_LIMIT. out holds no byte more than before when it fails.  Its memory is not moved
 * after the secret is in it, unless the caller adds to it: seal_wipe ends it. */
int seal_remove(const struct seal *seal, struct span sealed, struct span context, struct buf *out) MUST_CHECK;

/* buf_fini, and nothing of the content stays in memory. */
void seal_wipe(struct buf *b);

#endif
