/* Percent-encoding (RFC 3986 2.1). */
#ifndef BASE_PERCENT_H
#define BASE_PERCENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

/* "+" stays itself.  The copy is in the arena; false for a "%" without two hex digits, or without memory. */
bool percent_decode(struct arena *arena, struct span in, struct span *out_r) MUST_CHECK;
/* The byte that stands at *at, which goes behind it; a "%" without two hex digits is itself. */
unsigned char percent_next(struct span s, size_t *at);
/* The raw value of a name in the query of "/path?a=1&b=2"; false: not there. */
bool percent_query_get(struct span path_query, struct span name, struct span *value_r);
/* Every byte but ASCII letters, digits and those of `plain` becomes %XX. */
void percent_encode(struct span in, const char *plain, struct buf *out);

#endif
