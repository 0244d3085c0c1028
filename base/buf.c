#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void buf_pool_init(struct buf_pool *pool, size_t block_bytes, size_t keep_blocks)
{
	*pool = (struct buf_pool){ .block = block_bytes, .keep = keep_blocks };
}

void buf_pool_fini(struct buf_pool *pool)
{
	void *p;

	while ((p = pool->free_blocks)) {
		pool->free_blocks = *(void **)p;
		free(p);
	}
	pool->kept = 0;
}

static char *pool_take(struct buf_pool *pool)
{
	void *p = pool->free_blocks;

	if (!p)
		return malloc(pool->block);
	pool->free_blocks = *(void **)p;
	pool->kept--;
	return p;
}

static void pool_give(struct buf_pool *pool, char *block)
{
	if (pool->kept >= pool->keep) {
		free(block);
		return;
	}
	*(void **)(void *)block = pool->free_blocks;
	pool->free_blocks = block;
	pool->kept++;
}

static void release(struct buf *b, char *mem, size_t cap)
{
	if (mem && b->pool && cap == b->pool->block)
		pool_give(b->pool, mem);
	else
		free(mem);
}

void buf_init(struct buf *b, struct buf_pool *pool, size_t max_bytes)
{
	*b = (struct buf){ .pool = pool, .max = max_bytes < BUF_MOST ? (uint32_t)max_bytes : BUF_MOST };
}

void buf_fini(struct buf *b)
{
	release(b, b->mem, b->cap);
	b->mem = NULL;
	b->rd = b->wr = b->cap = 0;
	b->failed = false;
}

static size_t grown(size_t cap, size_t need)
{
	size_t n = cap ? cap : 256;

	while (n < need)
		n *= 2;
	return n;
}

static int fail(struct buf *b, int code)
{
	b->failed = true;
	return code;
}

int buf_reserve(struct buf *b, size_t bytes)
{
	size_t len = buf_len(b), need;
	size_t cap;
	char *mem;

	if (b->failed)
		return ERR_NOMEM;
	if (bytes > BUF_MOST - len)
		return fail(b, ERR_LIMIT);
	if (b->cap - b->wr >= bytes && b->mem)
		return 0;
	need = len + bytes;
	if (b->mem && b->cap >= need) {
		memmove(b->mem, b->mem + b->rd, len);
	} else {
		if (b->pool && need <= b->pool->block) {
			cap = b->pool->block;
			mem = pool_take(b->pool);
		} else {
			cap = grown(b->cap, need);
			mem = malloc(cap);
		}
		if (!mem)
			return fail(b, ERR_NOMEM);
		if (len) /* NOLINTNEXTLINE(clang-analyzer-*): len is 0 without mem */
			memcpy(mem, b->mem + b->rd, len);
		release(b, b->mem, b->cap);
		b->mem = mem;
		b->cap = (uint32_t)cap;
	}
	b->rd = 0;
	b->wr = (uint32_t)len;
	return 0;
}

void buf_add_slowly(struct buf *b, const void *p, size_t bytes)
{
	if (!bytes)
		return;
	if (b->max && (bytes > b->max || buf_len(b) > b->max - bytes)) {
		b->failed = true;
		return;
	}
	if (buf_reserve(b, bytes))
		return;
	memcpy(b->mem + b->wr, p, bytes);
	b->wr += (uint32_t)bytes;
}

void buf_add_number(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) { /* NOLINT(bugprone-branch-clone): told apart from a text over the limit */
		b->failed = true;
	} else if ((size_t)n < sizeof(small)) {
		buf_add(b, small, (size_t)n);
	} else if (b->max && ((size_t)n > b->max || buf_len(b) > b->max - (size_t)n)) {
		b->failed = true;
	} else if (!buf_reserve(b, (size_t)n + 1)) {
		va_start(ap, fmt);
		vsnprintf(b->mem + b->wr, (size_t)n + 1, fmt, ap);
		va_end(ap);
		b->wr += (uint32_t)n;
	}
}

const char *buf_cstr(struct buf *b)
{
	if (buf_reserve(b, 1))
		return NULL;
	b->mem[b->wr] = '\0';
	return b->mem + b->rd;
}
