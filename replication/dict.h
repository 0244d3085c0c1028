/* Words that occur again and again (a service with its collection, a set of sites), each kept once under a number.
 * One thread adds, any thread looks up.  A word stays until the end: what a number means never changes, and a word may
 * be read without a lock by whoever got its number under one. */
#ifndef REPLICATION_DICT_H
#define REPLICATION_DICT_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define DICT_CHUNK 1024
#define DICT_CHUNKS 1024
#define DICT_MOST (DICT_CHUNK * DICT_CHUNKS) /* words */

struct dict_word {
	struct dict_word *next; /* of its bucket; the lock's */
	uint64_t hash;
	uint32_t id, owner;     /* owner: a number of the caller's */
	uint32_t n;
	char text[];
};

struct dict {
	pthread_rwlock_t lock;
	uint64_t seed;
	uint32_t count;         /* numbers 1..count are taken */
	uint32_t last;          /* what the adding thread asked for last: a start reads millions of the same */
	uint32_t buckets_n;     /* a power of two */
	struct dict_word **buckets;
	struct dict_word **chunks[DICT_CHUNKS];
};

int dict_init(struct dict *d, uint64_t seed) MUST_CHECK;
void dict_fini(struct dict *d);
/* 0: no such word. */
uint32_t dict_find(struct dict *d, struct span text);
/* Words so far: what has a number up to this may be read. */
uint32_t dict_count(struct dict *d);
/* Finds or adds. 0; ERR_NOMEM; ERR_LIMIT. */
int dict_add(struct dict *d, struct span text, uint32_t owner, uint32_t *id_r) MUST_CHECK;

/* id: a number that dict_find or dict_add gave. */
static inline const struct dict_word *dict_get(const struct dict *d, uint32_t id)
{
	return d->chunks[(id - 1) / DICT_CHUNK][(id - 1) % DICT_CHUNK];
}

static inline struct span dict_text(const struct dict *d, uint32_t id)
{
	const struct dict_word *w = id ? dict_get(d, id) : NULL;

	return w ? span_make(w->text, w->n) : SPAN("");
}

#endif
