/* The guard's inside, shared by the modules that judge field lines: heads, trailers. */
#ifndef HTTP_GUARD_INT_H
#define HTTP_GUARD_INT_H

#include "http/message.h"

/* Bytes of a token (RFC 9110 5.6.2): methods, field names. */
extern const unsigned char http_token_char[256];

static inline bool http_is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http_token_char[(unsigned char)s.p[i]])
			return false;
	return s.n > 0;
}

/* A guard that stands at the beginning of a field line, as trailers begin. */
void guard_begin_fields(struct head_guard *guard);
/* Judges a piece that follows what was judged before; guard->seen grows by what was used. On
 * GUARD_COMPLETE the piece may go on behind the end. */
enum guard_verdict guard_feed_piece(struct head_guard *guard, struct span piece,
                                    const char **reason_r);

#endif
