/* Small files of one's own: read whole, and replaced so that a crash or a power cut leaves the old or the new one. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* Appends the file's content.  0; ERR_NOT_FOUND; ERR_LIMIT: longer than most; ERR_IO, with the reason in e;
 * ERR_NOMEM. */
int file_read(const char *path, size_t most, struct buf *out, struct err *e) MUST_CHECK;
/* Written beside it, synced, renamed over it, and the folder synced: once this returns 0 it stays. 0 or ERR_IO with the
 * reason in e; then the old file is there. */
int file_replace(const char *path, struct span content, struct err *e) MUST_CHECK;

#endif
