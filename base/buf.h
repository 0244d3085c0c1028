/* The one buffer: bytes are added at its end and consumed from its front.
 *
 *     mem            rd                 wr                cap
 *      |  consumed   |   content        |   free room      |
 *
 * It serves text that is put together (buf_add, buf_addf) and bytes in transit (buf_reserve,
 * read into buf_room, buf_commit, buf_consume) alike.  An empty buffer owns no memory until it is
 * written to; buf_fini gives it back.  Memory comes from the pool when the buffer has one and a
 * block of it is large enough, else from the heap.
 *
 * Failure (no memory, or over max) is sticky: buf.failed stays set, later additions do nothing,
 * and the content is what fitted before.  Check it once, at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"

/* A last-in first-out stock of equal blocks, one per event loop; no locks. */
struct buf_pool {
	void *free_blocks;
	size_t block, kept, keep; /* block size; blocks in stock, and how many to keep at most */
};

void buf_pool_init(struct buf_pool *pool, size_t block_bytes, size_t keep_blocks);
void buf_pool_fini(struct buf_pool *pool);

/* No buffer grows beyond this; every connection has two, so they are small themselves. */
#define BUF_MOST (UINT32_C(1) << 31)

struct buf {
	char *mem;
	struct buf_pool *pool;
	uint32_t rd, wr, cap;
	uint32_t max; /* most bytes of content, 0: BUF_MOST */
	bool failed;
};

void buf_init(struct buf *b, struct buf_pool *pool, size_t max_bytes);
/* Gives the memory back; the buffer is empty and usable afterwards, failed is cleared. */
void buf_fini(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->wr - b->rd;
}

static inline struct span buf_span(const struct buf *b)
{
	return (struct span){ b->mem ? b->mem + b->rd : "", b->wr - b->rd };
}

/* Makes room for at least `bytes` more behind the content (moving it to the front, or growing).
 * 0, ERR_NOMEM or ERR_LIMIT; sets failed. */
int buf_reserve(struct buf *b, size_t bytes) MUST_CHECK;

/* Free room behind the content, after buf_reserve. */
static inline char *buf_room(struct buf *b, size_t *bytes_r)
{
	*bytes_r = b->cap - b->wr;
	return b->mem + b->wr;
}

static inline void buf_commit(struct buf *b, size_t bytes)
{
	b->wr += (uint32_t)bytes;
}

/* Drops the first `bytes`; memory stays until buf_fini. */
static inline void buf_consume(struct buf *b, size_t bytes)
{
	b->rd += (uint32_t)bytes;
	if (b->rd == b->wr)
		b->rd = b->wr = 0;
}

/* What buf_add does when there is no room at once. */
void buf_add_slowly(struct buf *b, const void *p, size_t bytes);

/* Most pieces of a head are a few bytes that fit: those cost a copy and no call. */
static inline void buf_add(struct buf *b, const void *p, size_t bytes)
{
	if (b->failed || b->max || bytes > b->cap - b->wr) {
		buf_add_slowly(b, p, bytes);
		return;
	}
	if (bytes) {
		memcpy(b->mem + b->wr, p, bytes);
		b->wr += (uint32_t)bytes;
	}
}

/* In decimal. */
void buf_add_number(struct buf *b, uint64_t n);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline void buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.n);
}

static inline void buf_add_z(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

static inline void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

/* The content with a NUL behind it (not counted), or NULL when failed; the buffer keeps it. */
const char *buf_cstr(struct buf *b);

#endif
