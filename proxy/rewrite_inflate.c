/* gzip (RFC 1952), in slices: an instance that was asked for identity and compresses all the same.  Deflate makes at most
 * 1032 bytes of one, so what one slice becomes is bounded; what the whole becomes is bounded by a ratio, since the client
 * asked for no such thing either. */
#include "proxy/rewrite_int.h"

#include <stdlib.h>
#include <zlib.h>

#define RATIO 256           /* times what came */
#define RATIO_FROM (1u << 20) /* past so much */

struct rewrite_inflate {
	z_stream z;
	bool ended;
};

struct rewrite_inflate *rewrite_inflate_new(void)
{
	struct rewrite_inflate *s = calloc(1, sizeof(*s));

	if (s && inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK) {
		free(s);
		s = NULL;
	}
	return s;
}

void rewrite_inflate_free(struct rewrite_inflate **zp)
{
	if (*zp)
		inflateEnd(&(*zp)->z);
	free(*zp);
	*zp = NULL;
}

bool rewrite_inflate_is_whole(const struct rewrite_inflate *s)
{
	return s->ended;
}

int rewrite_inflate_feed(struct rewrite_inflate *s, struct span in, struct buf *out)
{
	z_stream *z = &s->z;
	size_t room;
	int rc = Z_OK;

	z->next_in = (Bytef *)(uintptr_t)in.p;
	z->avail_in = (uInt)in.n;
	do {
		if (s->ended) { /* members may follow each other (2.2) */
			if (inflateReset(z) != Z_OK)
				return ERR_SYNTAX;
			s->ended = false;
		}
		if (buf_reserve(out, REWRITE_SLICE))
			return ERR_NOMEM;
		z->next_out = (Bytef *)buf_room(out, &room);
		z->avail_out = (uInt)room;
		rc = inflate(z, Z_NO_FLUSH);
		buf_commit(out, room - z->avail_out);
		s->ended = rc == Z_STREAM_END;
		if (z->total_out > RATIO_FROM && z->total_out / RATIO > z->total_in)
			return ERR_SYNTAX;
	} while ((rc == Z_OK || rc == Z_STREAM_END) && (z->avail_in || (!z->avail_out && !s->ended)));
	if (rc == Z_MEM_ERROR)
		return ERR_NOMEM;
	return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : ERR_SYNTAX;
}
