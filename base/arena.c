#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_ALIGN alignof(max_align_t)
#define ARENA_CHUNK 4096

struct arena_chunk {
	struct arena_chunk *next;
	max_align_t room[];
};

void arena_init(struct arena *a, void *room, size_t room_bytes, size_t limit)
{
	*a = (struct arena){ .at = room, .first = room, .limit = limit };
	a->end = a->first_end = room ? (char *)room + room_bytes : NULL;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *c;

	while ((c = a->chunks)) {
		a->chunks = c->next;
		free(c);
	}
	a->used = 0;
	a->at = a->first;
	a->end = a->first_end;
}

void arena_fini(struct arena *a)
{
	arena_reset(a);
}

static char *aligned(char *p)
{
	uintptr_t gap = (uintptr_t)p % ARENA_ALIGN;

	return gap ? p + (ARENA_ALIGN - gap) : p;
}

static int add_chunk(struct arena *a, size_t bytes)
{
	size_t room = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;
	struct arena_chunk *c;

	if (a->limit && (room > a->limit || a->used > a->limit - room))
		return ERR_LIMIT;
	c = malloc(sizeof(*c) + room);
	if (!c) {
		a->nomem = true;
		return ERR_NOMEM;
	}
	a->used += room;
	c->next = a->chunks;
	a->chunks = c;
	a->at = (char *)c->room;
	a->end = a->at + room;
	return 0;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	char *p = a->at ? aligned(a->at) : NULL;

	if (!p || p > a->end || bytes > (size_t)(a->end - p)) {
		if (bytes > SIZE_MAX / 2 || add_chunk(a, bytes))
			return NULL;
		p = a->at;
	}
	a->at = p + bytes;
	return p;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
	void *p = arena_alloc(a, bytes);

	if (p)
		memset(p, 0, bytes);
	return p;
}

struct span arena_dup(struct arena *a, struct span s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (!p)
		return (struct span){ NULL, 0 };
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return (struct span){ p, s.n };
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *p;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	p = arena_alloc(a, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
