#include "replication/dict.h"

#include <stdlib.h>

#include "base/hash.h"

#define BUCKETS_FIRST 64

int dict_init(struct dict *d, uint64_t seed)
{
	*d = (struct dict){ .seed = seed, .buckets_n = BUCKETS_FIRST };
	d->buckets = calloc(BUCKETS_FIRST, sizeof(struct dict_word *));
	if (!d->buckets)
		return ERR_NOMEM;
	pthread_rwlock_init(&d->lock, NULL);
	return 0;
}

void dict_fini(struct dict *d)
{
	if (!d->buckets)
		return;
	for (uint32_t id = 1; id <= d->count; id++)
		free(d->chunks[(id - 1) / DICT_CHUNK][(id - 1) % DICT_CHUNK]);
	for (size_t i = 0; i < DICT_CHUNKS && d->chunks[i]; i++)
		free(d->chunks[i]);
	free(d->buckets);
	pthread_rwlock_destroy(&d->lock);
	*d = (struct dict){ .count = 0 };
}

static uint64_t hash_of(const struct dict *d, struct span text)
{
	return hash_mix(hash_bytes(d->seed, text));
}

static uint32_t find(const struct dict *d, uint64_t hash, struct span text)
{
	const struct dict_word *w = d->buckets[hash & (d->buckets_n - 1)];

	while (w && !(w->hash == hash && span_eq(span_make(w->text, w->n), text)))
		w = w->next;
	return w ? w->id : 0;
}

uint32_t dict_find(struct dict *d, struct span text)
{
	uint64_t hash = hash_of(d, text);
	uint32_t id;

	pthread_rwlock_rdlock(&d->lock);
	id = find(d, hash, text);
	pthread_rwlock_unlock(&d->lock);
	return id;
}

/* Chains stay short; without memory they grow. */
static void grow(struct dict *d)
{
	uint32_t n = d->buckets_n * 2;
	struct dict_word **buckets;

	if (d->count < d->buckets_n || !(buckets = calloc(n, sizeof(*buckets))))
		return;
	for (uint32_t id = 1; id <= d->count; id++) {
		struct dict_word *w = d->chunks[(id - 1) / DICT_CHUNK][(id - 1) % DICT_CHUNK];

		w->next = buckets[w->hash & (n - 1)];
		buckets[w->hash & (n - 1)] = w;
	}
	free(d->buckets);
	d->buckets = buckets;
	d->buckets_n = n;
}

static int put(struct dict *d, struct dict_word *w)
{
	struct dict_word ***chunk = &d->chunks[d->count / DICT_CHUNK], **bucket;

	if (!*chunk && !(*chunk = calloc(DICT_CHUNK, sizeof(**chunk))))
		return ERR_NOMEM;
	(*chunk)[d->count % DICT_CHUNK] = w;
	w->id = ++d->count;
	bucket = &d->buckets[w->hash & (d->buckets_n - 1)];
	w->next = *bucket;
	*bucket = w;
	grow(d);
	return 0;
}

uint32_t dict_count(struct dict *d)
{
	uint32_t count;

	pthread_rwlock_rdlock(&d->lock);
	count = d->count;
	pthread_rwlock_unlock(&d->lock);
	return count;
}

int dict_add(struct dict *d, struct span text, uint32_t owner, uint32_t *id_r)
{
	uint64_t hash;
	struct dict_word *w;
	int rc;

	*id_r = d->last;
	if (d->last && span_eq(dict_text(d, d->last), text))
		return 0;
	hash = hash_of(d, text);
	*id_r = d->last = find(d, hash, text); /* the only thread that adds needs no lock to look */
	if (*id_r)
		return 0;
	if (d->count == DICT_MOST || text.n > UINT32_MAX)
		return ERR_LIMIT;
	w = malloc(sizeof(*w) + text.n);
	if (!w)
		return ERR_NOMEM;
	*w = (struct dict_word){ .hash = hash, .owner = owner, .n = (uint32_t)text.n };
	memcpy(w->text, text.p, text.n);
	pthread_rwlock_wrlock(&d->lock);
	rc = put(d, w);
	pthread_rwlock_unlock(&d->lock);
	*id_r = rc ? 0 : w->id;
	if (rc)
		free(w);
	return rc;
}
