/* The table is cut into SHARDS, chosen by a hash of the key; each has a lock, its share of the buckets, and its
 * entries in the order in which they came in last:
 *
 *	shard   lock | by age: oldest <-> ... <-> newest
 *	buckets      | chain of at most CHAIN_MOST entries, the newest first
 *
 * What holds:
 *  1. A lock is held for one look-up or insertion: a chain of bounded length, one copy of a scope of bounded length, no
 *     allocation and no I/O.  Memory is taken before and given back after.  So a request never waits for another's
 *     work, only for the copying of one entry, and that only in one of SHARDS cases.
 *  2. Constant time even for values that were chosen to collide: a chain that is full loses its oldest entry.  The
 *     hash is seeded at random, so that choosing them is not easy either.
 *  3. Entries of a shard <= its share of the bound, bytes likewise; the oldest goes first.  Since the hash spreads keys
 *     evenly, the oldest of a shard is near the oldest of all.
 *  4. An entry older than CORRELATION_AGE_US is never believed, whether it has been dropped yet or not.
 *
 * The same value with two scopes: no scope is better than the wrong one, which would read and write at a place that
 * nobody asked for, so the value tells none from then on (AMBIGUOUS), until it has not come in for CORRELATION_AGE_US.
 * Taking the newest instead would hand the calls of the earlier request, which may go on long after its answer, to the
 * later one's sites, and would let whoever knows another's value redirect his calls.
 *
 * A table without locks was rejected: entries of different length that others may be reading need deferred freeing,
 * for a lock that is contended in one of SHARDS cases of two workers' meeting within 100 ns. */
#include "proxy/correlation.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/random.h"

#define SHARDS 64
#define BUCKETS 8192 /* of a shard: twice as many in all as entries, with the default carriers */
#define CHAIN_MOST 32
#define EXPIRED_AT_ONCE 8  /* dropped by one insertion beside what makes room */
#define SWEPT_AT_ONCE 256  /* dropped by one sweep */

struct entry {
	TAILQ_ENTRY(entry) age;
	struct entry *next; /* in its bucket; of entries to be freed the next one */
	uint64_t hash;
	int64_t seen_us;
	uint32_t space_bytes, value_bytes, scope_bytes;
	bool ambiguous;
	char text[]; /* space, value, scope */
};

struct shard {
	pthread_mutex_t lock;
	TAILQ_HEAD(, entry) by_age;
	size_t entries, bytes;
	uint64_t evicted, expired, conflicts;
} __attribute__((aligned(64)));

struct correlation {
	struct shard shards[SHARDS];
	struct entry **buckets; /* SHARDS * BUCKETS */
	uint64_t seed;
	_Atomic uint64_t entries;
	_Atomic unsigned keys;
	_Atomic unsigned sweep_at;
};

static_assert((uint64_t)CORRELATION_MOST * CORRELATION_KEYS_MOST * CORRELATION_MEAN <= 410ull << 20,
              "the most that any configuration can make the table hold");
static_assert((uint64_t)CORRELATION_MOST / SHARDS * CORRELATION_MEAN >
              sizeof(struct entry) + CORRELATION_SCOPE_BYTES + 2 * CORRELATION_VALUE_BYTES,
              "the longest entry fits into a shard");
static_assert((uint64_t)CORRELATION_MOST * CORRELATION_KEYS_MOST / SHARDS / BUCKETS < CHAIN_MOST / 2,
              "a chain is long by collision only");

struct correlation *correlation_new(void)
{
	struct correlation *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	/* Four megabytes of which the system gives what is used. */
	t->buckets = calloc((size_t)SHARDS * BUCKETS, sizeof(*t->buckets));
	if (!t->buckets) {
		free(t);
		return NULL;
	}
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&t->shards[i].lock, NULL);
		TAILQ_INIT(&t->shards[i].by_age);
	}
	random_bytes(&t->seed, sizeof(t->seed));
	atomic_init(&t->keys, 1);
	return t;
}

void correlation_free(struct correlation **tp)
{
	struct correlation *t = *tp;
	struct entry *e;

	*tp = NULL;
	if (!t)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		while ((e = TAILQ_FIRST(&t->shards[i].by_age))) {
			TAILQ_REMOVE(&t->shards[i].by_age, e, age);
			free(e);
		}
		pthread_mutex_destroy(&t->shards[i].lock);
	}
	free(t->buckets);
	free(t);
}

void correlation_set_keys(struct correlation *t, unsigned keys)
{
	if (t)
		atomic_store(&t->keys, keys < 1 ? 1 : keys < CORRELATION_KEYS_MOST ? keys : CORRELATION_KEYS_MOST);
}

bool correlation_is_empty(const struct correlation *t)
{
	return !t || !atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&t->entries, memory_order_relaxed);
}

/* ---- places --------------------------------------------------------------------------------------------------- */

/* Spread over the bits that choose shard and bucket. */
static uint64_t hash_key(const struct correlation *t, const struct correlation_key *key)
{
	return hash_mix(hash_bytes(hash_mix(hash_bytes(t->seed, key->space)), key->value));
}

static struct shard *shard_of(struct correlation *t, uint64_t hash)
{
	return &t->shards[hash % SHARDS];
}

static struct entry **bucket_of(struct correlation *t, uint64_t hash)
{
	return &t->buckets[hash % SHARDS * BUCKETS + hash / SHARDS % BUCKETS];
}

static size_t entry_bytes(const struct entry *e)
{
	return sizeof(*e) + e->space_bytes + e->value_bytes + e->scope_bytes;
}

static bool has_key(const struct entry *e, uint64_t hash, const struct correlation_key *key)
{
	return e->hash == hash && e->space_bytes == key->space.n && e->value_bytes == key->value.n &&
	       !memcmp(e->text, key->space.p, key->space.n) &&
	       !memcmp(e->text + e->space_bytes, key->value.p, key->value.n);
}

static struct span scope_of(const struct entry *e)
{
	return span_make(e->text + e->space_bytes + e->value_bytes, e->scope_bytes);
}

static bool is_old(const struct entry *e, int64_t now_us)
{
	return now_us - e->seen_us > CORRELATION_AGE_US;
}

/* ---- under the lock of the shard ------------------------------------------------------------------------------ */

static struct entry *look(struct correlation *t, uint64_t hash, const struct correlation_key *key)
{
	struct entry *e = *bucket_of(t, hash);

	while (e && !has_key(e, hash, key))
		e = e->next;
	return e;
}

/* Moves e to the list of what is freed later. */
static void take_out(struct correlation *t, struct shard *s, struct entry *e, struct entry **freed)
{
	struct entry **at = bucket_of(t, e->hash);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	TAILQ_REMOVE(&s->by_age, e, age);
	s->entries--;
	s->bytes -= entry_bytes(e);
	atomic_fetch_sub_explicit(&t->entries, 1, memory_order_relaxed);
	e->next = *freed;
	*freed = e;
}

static void drop_old(struct correlation *t, struct shard *s, int64_t now_us, unsigned most, struct entry **freed)
{
	struct entry *e;

	while (most-- && (e = TAILQ_FIRST(&s->by_age)) && is_old(e, now_us)) {
		take_out(t, s, e, freed);
		s->expired++;
	}
}

static void make_room(struct correlation *t, struct shard *s, const struct entry *for_one, struct entry **freed)
{
	size_t most = (size_t)CORRELATION_MOST * atomic_load_explicit(&t->keys, memory_order_relaxed) / SHARDS;
	struct entry *e;

	while ((e = TAILQ_FIRST(&s->by_age)) &&
	       (s->entries >= most || s->bytes + entry_bytes(for_one) > most * CORRELATION_MEAN)) {
		take_out(t, s, e, freed);
		s->evicted++;
	}
}

/* A chain that is full loses the one that came in first. */
static void cut_chain(struct correlation *t, struct shard *s, uint64_t hash, struct entry **freed)
{
	struct entry *oldest = NULL;
	unsigned length = 0;

	for (struct entry *e = *bucket_of(t, hash); e; e = e->next, length++)
		if (!oldest || e->seen_us < oldest->seen_us)
			oldest = e;
	if (length < CHAIN_MOST)
		return;
	take_out(t, s, oldest, freed);
	s->evicted++;
}

static void put_in(struct correlation *t, struct shard *s, struct entry *e)
{
	struct entry **bucket = bucket_of(t, e->hash);

	e->next = *bucket;
	*bucket = e;
	TAILQ_INSERT_TAIL(&s->by_age, e, age);
	s->entries++;
	s->bytes += entry_bytes(e);
	atomic_fetch_add_explicit(&t->entries, 1, memory_order_relaxed);
}

static enum correlation_found see_again(struct shard *s, struct entry *e, struct span scope, int64_t now_us)
{
	e->seen_us = now_us;
	TAILQ_REMOVE(&s->by_age, e, age);
	TAILQ_INSERT_TAIL(&s->by_age, e, age);
	if (!e->ambiguous && !span_eq(scope_of(e), scope)) {
		e->ambiguous = true;
		s->conflicts++;
	}
	return e->ambiguous ? CORRELATION_AMBIGUOUS : CORRELATION_SCOPE;
}

/* ---- doors ------------------------------------------------------------------------------------------------------ */

static struct entry *entry_new(const struct correlation_key *key, struct span scope, uint64_t hash, int64_t now_us)
{
	struct entry *e = malloc(sizeof(*e) + key->space.n + key->value.n + scope.n);

	if (!e)
		return NULL;
	*e = (struct entry){ .hash = hash, .seen_us = now_us, .space_bytes = (uint32_t)key->space.n,
		             .value_bytes = (uint32_t)key->value.n, .scope_bytes = (uint32_t)scope.n };
	memcpy(e->text, key->space.p, key->space.n);
	memcpy(e->text + e->space_bytes, key->value.p, key->value.n);
	memcpy(e->text + e->space_bytes + e->value_bytes, scope.p, scope.n);
	return e;
}

static void free_all(struct entry *freed)
{
	struct entry *e;

	while ((e = freed)) {
		freed = e->next;
		free(e);
	}
}

enum correlation_found correlation_remember(struct correlation *t, const struct correlation_key *key,
                                            struct span scope, int64_t now_us)
{
	enum correlation_found found = CORRELATION_SCOPE;
	struct entry *e, *before, *freed = NULL;
	struct shard *s;
	uint64_t hash;

	if (!t || !key->value.n || !scope.n || scope.n > CORRELATION_SCOPE_BYTES ||
	    key->value.n > CORRELATION_VALUE_BYTES || key->space.n > CORRELATION_VALUE_BYTES)
		return CORRELATION_NONE;
	hash = hash_key(t, key);
	e = entry_new(key, scope, hash, now_us);
	if (!e)
		return CORRELATION_NONE;
	s = shard_of(t, hash);
	pthread_mutex_lock(&s->lock);
	before = look(t, hash, key);
	if (before && is_old(before, now_us)) {
		take_out(t, s, before, &freed);
		s->expired++;
		before = NULL;
	}
	if (before) {
		found = see_again(s, before, scope, now_us);
		e->next = freed;
		freed = e;
	} else {
		drop_old(t, s, now_us, EXPIRED_AT_ONCE, &freed);
		make_room(t, s, e, &freed);
		cut_chain(t, s, hash, &freed);
		put_in(t, s, e);
	}
	pthread_mutex_unlock(&s->lock);
	free_all(freed);
	return found;
}

enum correlation_found correlation_find(struct correlation *t, const struct correlation_key *key, int64_t now_us,
                                        char room[CORRELATION_SCOPE_BYTES], struct span *scope_r)
{
	enum correlation_found found = CORRELATION_NONE;
	const struct entry *e;
	struct shard *s;
	uint64_t hash;

	if (correlation_is_empty(t) || !key->value.n)
		return CORRELATION_NONE;
	hash = hash_key(t, key);
	s = shard_of(t, hash);
	pthread_mutex_lock(&s->lock);
	e = look(t, hash, key);
	if (e && !is_old(e, now_us)) {
		found = e->ambiguous ? CORRELATION_AMBIGUOUS : CORRELATION_SCOPE;
		*scope_r = span_make(room, e->scope_bytes);
		memcpy(room, scope_of(e).p, e->scope_bytes);
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

void correlation_sweep(struct correlation *t, int64_t now_us)
{
	struct entry *freed = NULL;
	struct shard *s;

	if (correlation_is_empty(t))
		return;
	s = &t->shards[atomic_fetch_add(&t->sweep_at, 1) % SHARDS];
	pthread_mutex_lock(&s->lock);
	drop_old(t, s, now_us, SWEPT_AT_ONCE, &freed);
	pthread_mutex_unlock(&s->lock);
	free_all(freed);
}

void correlation_count(const struct correlation *t, struct correlation_counts *counts_r)
{
	*counts_r = (struct correlation_counts){ 0 };
	for (size_t i = 0; t && i < SHARDS; i++) {
		struct shard *s = (struct shard *)(uintptr_t)&t->shards[i];

		pthread_mutex_lock(&s->lock);
		counts_r->entries += s->entries;
		counts_r->bytes += s->bytes;
		counts_r->evicted += s->evicted;
		counts_r->expired += s->expired;
		counts_r->conflicts += s->conflicts;
		pthread_mutex_unlock(&s->lock);
	}
}
