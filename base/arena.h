/* An arena hands out memory that is released all at once.  One per request, one per parse.
 * Memory is aligned for any type and not cleared, but for arena_zalloc.  NULL when the limit is
 * reached or the system has no more; the arena stays usable. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

struct arena_chunk;

struct arena {
	char *at, *end;             /* free room in the current chunk */
	struct arena_chunk *chunks; /* heap chunks, newest first; the caller's first room is none */
	char *first, *first_end;    /* the caller's room, or NULL */
	size_t used, limit;         /* heap bytes taken, and how many may be (0: no limit) */
	bool nomem;                 /* the system had no more, once at least: it was not the limit */
};

/* room: memory of the caller's to begin with (may be NULL, 0), which outlives the arena.
 * limit: most bytes to take from the heap beside it, 0 for none. */
void arena_init(struct arena *a, void *room, size_t room_bytes, size_t limit);
/* Releases all heap memory and starts anew with the caller's room. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

void *arena_alloc(struct arena *a, size_t bytes) MUST_CHECK;
void *arena_zalloc(struct arena *a, size_t bytes) MUST_CHECK;
/* A copy of s, with a NUL behind it that its length does not count; .p is NULL on failure. */
struct span arena_dup(struct arena *a, struct span s) MUST_CHECK;
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

#endif
