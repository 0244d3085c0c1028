/* A connection: a byte stream with what was received and not yet consumed, and what could not be
 * written yet.  Both buffers own no memory while they are empty.
 *
 * Bound: in grows to CONN_BLOCK, but while a head is read (to limits.header_bytes, between sites HEAD_ROOM more); out holds what one
 * gathered write left over: at most a block of the other side's input, its chunk framing and a head. */
#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include "base/buf.h"
#include "proxy/io.h"

#define CONN_BLOCK 16384
/* What one proxy lets in the next one takes: on the mesh a head may be longer by this much, for what proxies add to it
 * (the scope, its carriers, Via).  At most CONN_BLOCK, which heads are read beyond their limit. */
#define HEAD_ROOM 16384

struct conn {
	struct io io;
	struct buf in, out;
	bool eof; /* the peer has ended its side */
	bool filled; /* the last read took all it had room for: there may be more */
};

enum conn_read {
	CONN_READ_SOME,   /* new bytes in c->in */
	CONN_READ_NONE,   /* nothing now */
	CONN_READ_FULL,   /* no room left within limit: reading has been stopped */
	CONN_READ_EOF,    /* orderly end; reading has been stopped */
	CONN_READ_BROKEN, /* reset */
	CONN_READ_NOMEM,  /* what waits cannot be taken */
};

/* One read into in, which holds at most `limit` bytes afterwards. */
enum conn_read conn_read(struct conn *c, size_t limit);
/* Sends out, then the spans, in one gathered write; what the stream does not take stays in out and
 * writable will be called.  count at most CONN_SPANS.  0, ERR_CLOSED, ERR_NOMEM. */
#define CONN_SPANS 30
int conn_send(struct conn *c, const struct span *spans, int count) MUST_CHECK;
static inline int conn_flush(struct conn *c)
{
	return conn_send(c, NULL, 0);
}
void conn_close(struct conn *c, bool reset);

#endif
