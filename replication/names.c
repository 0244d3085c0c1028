/* Two indices lead to one kind of entry:
 *
 *	by meta   shard 0 … 255: lock, slots ──┐
 *	                                       ├──► entry (48 bytes, in chunks that never move)
 *	by local  shard 0 … 255: lock, slots ──┘
 *
 * What holds:
 *  1. One thread writes.  It changes an entry, and takes it in or out of a slot, only while it holds the locks of both
 *     places the entry is reached from; a reader holds one of them, for one probe and one copy.  So a reader sees an
 *     entry whole, and waits for nothing but the changing of one entry, or the growth of one shard (a 256th of all).
 *  2. HIDDEN entries are in the slots and skipped by readers: memory for what is about to be committed is had before
 *     the commit, so that after it nothing can fail.
 *  3. Of one resource at most one entry is visible; of the prepared ones the newest is not SUPERSEDED.
 *
 * UUIDs take 16 bytes, and so does any other id of up to 16; longer ones are blocks of their own.  A million resources
 * with UUIDs on both sides take some 75 MiB.  One table in SQLite's cache would take less and twenty times as long; two
 * separate tables would hold each id twice. */
#include "replication/names.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "replication/dict.h"
#include "replication/names_tally.h"

#define SHARDS 256
#define SLOTS_FIRST 16
#define CHUNK 4096
#define CHUNKS (NAMES_MOST / CHUNK)
#define INLINE 16
#define UUID_TEXT 36
#define IS_UUID UINT16_C(0xffff) /* instead of a length: 16 bytes that print as a UUID */

union id {
	unsigned char bytes[INLINE];
	char *far;
};

enum { HIDDEN = 1, SUPERSEDED = 2, DELETED = 4, HERE = 8 };

struct entry {
	union id meta, local;
	uint16_t meta_n, local_n;
	uint32_t kind;            /* free: the next free entry */
	uint16_t sites, reason;   /* in texts */
	uint8_t state, class, flags, lacks;
};

_Static_assert(sizeof(struct entry) == 48, "a million of them have a budget");

struct shard {
	pthread_rwlock_t lock;
	uint32_t *slots;          /* entries; 0: none */
	uint32_t slots_n, used;   /* slots_n: a power of two, or 0 */
};

struct index {
	struct shard shards[SHARDS];
};

struct names {
	uint64_t seed;
	struct index by_meta, by_local;
	struct dict services, kinds, texts;
	struct entry *chunks[CHUNKS];
	uint32_t taken;           /* entries ever taken, 1..taken */
	uint32_t free;            /* list of entries that were given back */
	_Atomic size_t visible, bytes;
	struct names_tally tally;
};

/* A key: bytes as an entry holds them. */
struct key {
	unsigned char packed[INLINE];
	const char *p;
	uint16_t n;               /* IS_UUID, or bytes */
	bool wide;                /* looked for without a kind */
};

/* ---- ids ----------------------------------------------------------------------------------------------------- */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly what prints as the same text again: dashed, lower case. */
static bool pack_uuid(struct span s, unsigned char packed[INLINE])
{
	size_t at = 0;

	if (s.n != UUID_TEXT)
		return false;
	for (size_t i = 0; i < UUID_TEXT;) {
		int high, low;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s.p[i++] != '-')
				return false;
			continue;
		}
		high = digit(s.p[i]);
		low = digit(s.p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		packed[at++] = (unsigned char)(high << 4 | low);
		i += 2;
	}
	return true;
}

static uint16_t unpack(const union id *id, uint16_t n, char out[NAME_MOST])
{
	static const uint8_t groups[] = { 4, 2, 2, 2, 6 };
	size_t at = 0;

	if (n != IS_UUID) {
		memcpy(out, n > INLINE ? (const void *)id->far : id->bytes, n);
		return n;
	}
	for (size_t g = 0; g < sizeof(groups); g++) {
		hex_write(id->bytes + at, groups[g], out);
		out += 2 * groups[g];
		at += groups[g];
		if (g < sizeof(groups) - 1)
			*out++ = '-';
	}
	return UUID_TEXT;
}

static struct key key_of(struct span id)
{
	struct key k = { .wide = id.n >= NAME_LONG };

	if (pack_uuid(id, k.packed)) {
		k.n = IS_UUID;
		return k;
	}
	k.p = id.p;
	k.n = (uint16_t)id.n;
	return k;
}

static struct span key_bytes(const struct key *k)
{
	return k->n == IS_UUID ? span_make((const char *)k->packed, INLINE) : span_make(k->p, k->n);
}

static struct span id_bytes(const union id *id, uint16_t n)
{
	if (n == IS_UUID)
		return span_make((const char *)id->bytes, INLINE);
	return span_make(n > INLINE ? id->far : (const char *)id->bytes, n);
}

static bool is_wide(uint16_t n)
{
	return n >= NAME_LONG; /* IS_UUID too */
}

static uint64_t hash_id(const struct names *n, struct span bytes, bool wide, uint32_t kind)
{
	return hash_mix(hash_bytes(n->seed ^ (wide ? 0 : (uint64_t)kind << 32), bytes));
}

static bool id_set(union id *id, uint16_t *n_r, struct span text)
{
	struct key k = key_of(text);

	*n_r = k.n;
	if (k.n == IS_UUID) {
		memcpy(id->bytes, k.packed, INLINE);
	} else if (k.n <= INLINE) {
		memcpy(id->bytes, k.p, k.n);
	} else {
		id->far = malloc(k.n);
		if (!id->far)
			return *n_r = 0, false;
		memcpy(id->far, k.p, k.n);
	}
	return true;
}

static bool is_far(uint16_t n)
{
	return n > INLINE && n != IS_UUID;
}

/* ---- entries ------------------------------------------------------------------------------------------------- */

static struct entry *entry_at(const struct names *n, uint32_t ref)
{
	return &n->chunks[(ref - 1) / CHUNK][(ref - 1) % CHUNK];
}

static void count_bytes(struct names *n, size_t more, size_t less)
{
	atomic_fetch_add_explicit(&n->bytes, more - less, memory_order_relaxed);
}

static uint32_t entry_take(struct names *n)
{
	uint32_t ref = n->free;

	if (ref) {
		n->free = entry_at(n, ref)->kind;
		return ref;
	}
	if (n->taken == NAMES_MOST)
		return 0;
	if (n->taken % CHUNK == 0) {
		struct entry *chunk = malloc(CHUNK * sizeof(*chunk));

		if (!chunk)
			return 0;
		n->chunks[n->taken / CHUNK] = chunk;
		count_bytes(n, CHUNK * sizeof(*chunk), 0);
	}
	return ++n->taken;
}

static void entry_give(struct names *n, uint32_t ref)
{
	struct entry *e = entry_at(n, ref);

	if (is_far(e->meta_n))
		free(e->meta.far);
	if (is_far(e->local_n))
		free(e->local.far);
	*e = (struct entry){ .kind = n->free };
	n->free = ref;
}

/* ---- indices ------------------------------------------------------------------------------------------------- */

static struct shard *shard_of(struct index *x, uint64_t hash)
{
	return &x->shards[hash >> 56];
}

static uint64_t hash_entry(const struct names *n, const struct index *x, uint32_t ref)
{
	const struct entry *e = entry_at(n, ref);
	bool meta = x == &n->by_meta;
	uint16_t length = meta ? e->meta_n : e->local_n;

	return hash_id(n, id_bytes(meta ? &e->meta : &e->local, length), is_wide(length), e->kind);
}

static void slot_put(struct shard *s, uint64_t hash, uint32_t ref)
{
	uint32_t at = (uint32_t)hash & (s->slots_n - 1);

	while (s->slots[at])
		at = (at + 1) & (s->slots_n - 1);
	s->slots[at] = ref;
}

/* Room for `wanted` entries at a load of at most 5/8. */
static bool shard_reserve(struct names *n, struct index *x, struct shard *s, uint32_t wanted)
{
	uint32_t slots_n = s->slots_n ? s->slots_n : SLOTS_FIRST, old_n = s->slots_n;
	uint32_t *old = s->slots, *slots;

	while ((uint64_t)wanted * 8 > (uint64_t)slots_n * 5)
		slots_n *= 2;
	if (slots_n == old_n)
		return true;
	slots = calloc(slots_n, sizeof(*slots));
	if (!slots)
		return false;
	pthread_rwlock_wrlock(&s->lock);
	s->slots = slots;
	s->slots_n = slots_n;
	for (uint32_t i = 0; i < old_n; i++)
		if (old[i])
			slot_put(s, hash_entry(n, x, old[i]), old[i]);
	pthread_rwlock_unlock(&s->lock);
	count_bytes(n, slots_n * sizeof(*slots), old_n * sizeof(*slots));
	free(old);
	return true;
}

/* Linear probing without marks of deletion: what follows moves up. The caller holds the lock. */
static void slot_remove(struct names *n, struct index *x, struct shard *s, uint64_t hash, uint32_t ref)
{
	uint32_t mask = s->slots_n - 1, at = (uint32_t)hash & mask, hole;

	while (s->slots[at] != ref)
		at = (at + 1) & mask;
	hole = at;
	for (at = (at + 1) & mask; s->slots[at]; at = (at + 1) & mask) {
		uint32_t home = (uint32_t)hash_entry(n, x, s->slots[at]) & mask;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			s->slots[hole] = s->slots[at];
			hole = at;
		}
	}
	s->slots[hole] = 0;
	s->used--;
}

static bool matches(const struct names *n, const struct entry *e, const struct names_where *w)
{
	uint32_t service;

	if (w->kind && e->kind != w->kind)
		return false;
	if (!w->service && !w->not_service)
		return true;
	service = dict_get(&n->kinds, e->kind)->owner;
	return (!w->service || service == w->service) && (!w->not_service || service != w->not_service);
}

/* The first entry with the key that fits and has none of the flags; the caller holds the lock, or is the writer. */
static uint32_t probe(const struct names *n, const struct index *x, const struct shard *s, uint64_t hash,
                      const struct key *k, const struct names_where *w, uint8_t without)
{
	bool meta = x == &n->by_meta;
	struct span bytes = key_bytes(k);

	if (!s->slots_n)
		return 0;
	for (uint32_t at = (uint32_t)hash & (s->slots_n - 1); s->slots[at]; at = (at + 1) & (s->slots_n - 1)) {
		const struct entry *e = entry_at(n, s->slots[at]);
		uint16_t length = meta ? e->meta_n : e->local_n;

		if (length == k->n && !(e->flags & without) && matches(n, e, w) &&
		    span_eq(id_bytes(meta ? &e->meta : &e->local, length), bytes))
			return s->slots[at];
	}
	return 0;
}

/* ---- looking up ---------------------------------------------------------------------------------------------- */

static void copy_out(const struct names *n, const struct entry *e, struct name *r)
{
	const struct dict_word *kind = dict_get(&n->kinds, e->kind);
	struct span service = dict_text(&n->services, kind->owner);

	r->kind = e->kind;
	r->service = service;
	r->collection = span_from(span_make(kind->text, kind->n), service.n + 1);
	r->sites = dict_text(&n->texts, e->sites);
	r->reason = dict_text(&n->texts, e->reason);
	r->state = (enum replica_state)e->state;
	r->class = (enum consistency)e->class;
	r->deleted = e->flags & DELETED;
	r->here = e->flags & HERE;
	r->lacks = e->lacks;
	r->meta_n = unpack(&e->meta, e->meta_n, r->meta);
	r->local_n = unpack(&e->local, e->local_n, r->local);
}

static bool look_up(struct names *n, struct index *x, const struct names_where *w, struct span id, struct name *r)
{
	struct key k;
	struct shard *s;
	uint64_t hash;
	uint32_t ref;

	if (!id.n || id.n > NAME_MOST || (id.n < NAME_LONG && !w->kind))
		return false;
	k = key_of(id);
	hash = hash_id(n, key_bytes(&k), k.wide, w->kind);
	s = shard_of(x, hash);
	pthread_rwlock_rdlock(&s->lock);
	ref = probe(n, x, s, hash, &k, w, HIDDEN);
	if (ref)
		copy_out(n, entry_at(n, ref), r);
	pthread_rwlock_unlock(&s->lock);
	return ref != 0;
}

bool names_by_meta(struct names *n, const struct names_where *where, struct span meta, struct name *r)
{
	return look_up(n, &n->by_meta, where, meta, r);
}

bool names_by_local(struct names *n, const struct names_where *where, struct span local, struct name *r)
{
	return look_up(n, &n->by_local, where, local, r);
}

uint32_t names_service(struct names *n, struct span service)
{
	return dict_find(&n->services, service);
}

#define KIND_BYTES 4096

/* "service\0collection" in text; false: too long. */
static bool kind_text(struct span service, struct span collection, char text[KIND_BYTES], struct span *r)
{
	if (service.n + 1 + collection.n > KIND_BYTES || memchr(service.p, '\0', service.n))
		return false;
	memcpy(text, service.p, service.n);
	text[service.n] = '\0';
	memcpy(text + service.n + 1, collection.p, collection.n);
	*r = span_make(text, service.n + 1 + collection.n);
	return true;
}

uint32_t names_kind(struct names *n, struct span service, struct span collection)
{
	char text[KIND_BYTES];
	struct span both;

	return service.n && collection.n && kind_text(service, collection, text, &both) ? dict_find(&n->kinds, both) : 0;
}

uint32_t names_kinds(struct names *n)
{
	return dict_count(&n->kinds);
}

void names_kind_text(struct names *n, uint32_t kind, struct span *service_r, struct span *collection_r)
{
	const struct dict_word *w = dict_get(&n->kinds, kind);

	*service_r = dict_text(&n->services, w->owner);
	*collection_r = span_from(span_make(w->text, w->n), service_r->n + 1);
}

size_t names_count(const struct names *n)
{
	return atomic_load_explicit(&n->visible, memory_order_relaxed);
}

size_t names_bytes(const struct names *n)
{
	return atomic_load_explicit(&n->bytes, memory_order_relaxed);
}

uint32_t names_tallied(struct names *n)
{
	uint32_t services = dict_count(&n->services);

	return services < NAMES_TALLY_SERVICES ? services : NAMES_TALLY_SERVICES;
}

int64_t names_tally(struct names *n, uint32_t service, enum replica_state state, struct span *service_r)
{
	*service_r = service ? dict_text(&n->services, service) : SPAN("");
	return atomic_load_explicit(&n->tally.n[service][state], memory_order_relaxed);
}

/* A visible entry comes (1) or goes (-1). */
static void count(struct names *n, uint32_t ref, int by)
{
	const struct entry *e = entry_at(n, ref);

	atomic_fetch_add_explicit(&n->visible, (size_t)by, memory_order_relaxed);
	if (e->flags & HERE && !(e->flags & DELETED))
		names_tally_add(&n->tally, dict_get(&n->kinds, e->kind)->owner, e->state, by);
}

/* ---- changing ------------------------------------------------------------------------------------------------- */

static uint32_t find_latest(struct names *n, uint32_t kind, struct span meta)
{
	struct names_where w = { .kind = kind };
	struct key k;
	uint64_t hash;

	if (!kind || !meta.n || meta.n > NAME_MOST)
		return 0;
	k = key_of(meta);
	hash = hash_id(n, key_bytes(&k), k.wide, kind);
	return probe(n, &n->by_meta, shard_of(&n->by_meta, hash), hash, &k, &w, SUPERSEDED);
}

bool names_latest(struct names *n, struct span service, struct span collection, struct span meta, struct name *r)
{
	uint32_t ref = find_latest(n, names_kind(n, service, collection), meta);

	if (ref)
		copy_out(n, entry_at(n, ref), r);
	return ref != 0;
}

static int add_kind(struct names *n, const struct name *v, uint32_t *kind_r)
{
	char text[KIND_BYTES];
	struct span both;
	uint32_t service;
	int rc;

	if (!v->service.n || !v->collection.n || !kind_text(v->service, v->collection, text, &both))
		return ERR_LIMIT;
	rc = dict_add(&n->services, v->service, 0, &service);
	return rc ? rc : dict_add(&n->kinds, both, service, kind_r);
}

static int add_text(struct names *n, struct span text, uint16_t *id_r)
{
	uint32_t id = 0;
	int rc = text.n ? dict_add(&n->texts, text, 0, &id) : 0;

	*id_r = (uint16_t)id;
	return rc ? rc : id > UINT16_MAX ? ERR_LIMIT : 0;
}

static int fill(struct names *n, struct entry *e, const struct name *v)
{
	int rc = add_kind(n, v, &e->kind);

	if (!rc)
		rc = add_text(n, v->sites, &e->sites);
	if (!rc)
		rc = add_text(n, v->reason, &e->reason);
	if (rc)
		return rc;
	e->state = (uint8_t)v->state;
	e->class = (uint8_t)v->class;
	e->lacks = v->lacks;
	e->flags = (v->deleted ? DELETED : 0) | (v->here ? HERE : 0);
	/* what is deleted leaves its local id to the application, which may give it again */
	return id_set(&e->meta, &e->meta_n, span_make(v->meta, v->meta_n)) &&
	       id_set(&e->local, &e->local_n, span_make(v->local, v->deleted ? 0 : v->local_n)) ? 0 : ERR_NOMEM;
}

/* Another resource of the collection that has this local id, as far as anybody knows. */
static bool local_taken(const struct names *n, const struct name *v, uint32_t kind, uint32_t before)
{
	struct index *x = &((struct names *)(uintptr_t)n)->by_local;
	struct names_where w = { .kind = kind };
	struct key k = key_of(span_make(v->local, v->local_n));
	uint64_t hash = hash_id(n, key_bytes(&k), k.wide, kind);
	uint32_t other = v->local_n && !v->deleted ? probe(n, x, shard_of(x, hash), hash, &k, &w, SUPERSEDED) : 0;

	return other && other != before;
}

/* Puts a hidden entry into both indices. */
static bool link_entry(struct names *n, uint32_t ref)
{
	uint64_t meta = hash_entry(n, &n->by_meta, ref), local = hash_entry(n, &n->by_local, ref);
	struct shard *m = shard_of(&n->by_meta, meta), *l = shard_of(&n->by_local, local);
	bool has_local = entry_at(n, ref)->local_n != 0;

	if (!shard_reserve(n, &n->by_meta, m, m->used + 1) ||
	    (has_local && !shard_reserve(n, &n->by_local, l, l->used + 1)))
		return false;
	pthread_rwlock_wrlock(&m->lock);
	slot_put(m, meta, ref);
	m->used++;
	pthread_rwlock_unlock(&m->lock);
	if (!has_local)
		return true;
	pthread_rwlock_wrlock(&l->lock);
	slot_put(l, local, ref);
	l->used++;
	pthread_rwlock_unlock(&l->lock);
	return true;
}

static void set_flags(struct names *n, uint32_t ref, uint8_t set, uint8_t clear)
{
	struct entry *e = entry_at(n, ref);
	struct shard *m = shard_of(&n->by_meta, hash_entry(n, &n->by_meta, ref));
	struct shard *l = shard_of(&n->by_local, hash_entry(n, &n->by_local, ref));

	pthread_rwlock_wrlock(&m->lock);
	if (e->local_n)
		pthread_rwlock_wrlock(&l->lock);
	e->flags = (uint8_t)((e->flags | set) & ~clear);
	if (e->local_n)
		pthread_rwlock_unlock(&l->lock);
	pthread_rwlock_unlock(&m->lock);
}

static int put(struct names *n, const struct name *v, uint8_t hidden, struct names_change *change_r)
{
	uint32_t ref, before;
	struct entry *e;
	int rc;

	*change_r = (struct names_change){ .before = 0 };
	if (!v->meta_n || v->meta_n > NAME_MOST || v->local_n > NAME_MOST)
		return ERR_LIMIT;
	ref = entry_take(n);
	if (!ref)
		return n->taken == NAMES_MOST ? ERR_LIMIT : ERR_NOMEM;
	e = entry_at(n, ref);
	*e = (struct entry){ .kind = 0 };
	rc = fill(n, e, v);
	e->flags |= hidden;
	before = rc ? 0 : find_latest(n, e->kind, span_make(v->meta, v->meta_n));
	if (!rc && local_taken(n, v, e->kind, before))
		rc = ERR_EXISTS;
	if (!rc && !link_entry(n, ref))
		rc = ERR_NOMEM;
	if (rc) {
		entry_give(n, ref);
		return rc;
	}
	if (before)
		set_flags(n, before, SUPERSEDED, 0);
	*change_r = (struct names_change){ before, ref };
	return 0;
}

int names_prepare(struct names *n, const struct name *v, struct names_change *change_r)
{
	return put(n, v, HIDDEN, change_r);
}

int names_load(struct names *n, const struct name *v)
{
	struct names_change change;
	int rc = put(n, v, 0, &change);

	if (!rc)
		count(n, change.after, 1);
	return rc ? rc : change.before ? ERR_EXISTS : 0;
}

uint8_t names_lacks_bit(struct span sites, struct span site)
{
	struct span word;

	for (unsigned i = 0; i < NAME_LACKS && sites.n && span_split(&sites, '\n', &word); i++)
		if (span_eq(word, site))
			return (uint8_t)(1u << i);
	return 0;
}

void names_load_lacking(struct names *n, struct span service, struct span collection, struct span meta, struct span site)
{
	uint32_t ref = find_latest(n, names_kind(n, service, collection), meta);
	struct entry *e = ref ? entry_at(n, ref) : NULL;
	struct shard *m;

	if (!e)
		return;
	m = shard_of(&n->by_meta, hash_entry(n, &n->by_meta, ref));
	pthread_rwlock_wrlock(&m->lock);
	e->lacks |= names_lacks_bit(dict_text(&n->texts, e->sites), site);
	pthread_rwlock_unlock(&m->lock);
}

void names_prepare_removal(struct names *n, struct span service, struct span collection, struct span meta,
                           struct names_change *change_r)
{
	uint32_t before = find_latest(n, names_kind(n, service, collection), meta);

	if (before)
		set_flags(n, before, SUPERSEDED, 0);
	*change_r = (struct names_change){ before, 0 };
}

/* Out of both indices, and free. A reader that looks between the two finds it by the other, whole. */
static void unlink_entry(struct names *n, uint32_t ref)
{
	uint64_t meta = hash_entry(n, &n->by_meta, ref), local = hash_entry(n, &n->by_local, ref);
	struct shard *m = shard_of(&n->by_meta, meta), *l = shard_of(&n->by_local, local);

	pthread_rwlock_wrlock(&m->lock);
	slot_remove(n, &n->by_meta, m, meta, ref);
	pthread_rwlock_unlock(&m->lock);
	if (entry_at(n, ref)->local_n) {
		pthread_rwlock_wrlock(&l->lock);
		slot_remove(n, &n->by_local, l, local, ref);
		pthread_rwlock_unlock(&l->lock);
	}
	entry_give(n, ref);
}

/* The new one is shown before the old one goes: a mapping that stays is never missed.  In between either is found. */
void names_commit(struct names *n, const struct names_change *change)
{
	bool was = change->before && !(entry_at(n, change->before)->flags & HIDDEN);

	if (change->after) {
		set_flags(n, change->after, 0, HIDDEN);
		count(n, change->after, 1);
	}
	if (was)
		count(n, change->before, -1);
	if (change->before)
		unlink_entry(n, change->before);
}

void names_abort(struct names *n, const struct names_change *change)
{
	if (change->after)
		unlink_entry(n, change->after);
	if (change->before)
		set_flags(n, change->before, 0, SUPERSEDED);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void index_init(struct index *x)
{
	for (size_t i = 0; i < SHARDS; i++)
		pthread_rwlock_init(&x->shards[i].lock, NULL);
}

static void index_fini(struct index *x)
{
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_rwlock_destroy(&x->shards[i].lock);
		free(x->shards[i].slots);
	}
}

struct names *names_new(void)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	random_bytes(&n->seed, sizeof(n->seed));
	index_init(&n->by_meta);
	index_init(&n->by_local);
	n->bytes = sizeof(*n);
	if (dict_init(&n->services, n->seed) || dict_init(&n->kinds, n->seed) || dict_init(&n->texts, n->seed))
		names_free(&n);
	return n;
}

void names_free(struct names **np)
{
	struct names *n = *np;

	*np = NULL;
	if (!n)
		return;
	for (uint32_t ref = 1; ref <= n->taken; ref++)
		entry_give(n, ref);
	for (size_t i = 0; i < CHUNKS && n->chunks[i]; i++)
		free(n->chunks[i]);
	index_fini(&n->by_meta);
	index_fini(&n->by_local);
	dict_fini(&n->services);
	dict_fini(&n->kinds);
	dict_fini(&n->texts);
	free(n);
}

int names_reserve(struct names *n, size_t count)
{
	uint32_t each = (uint32_t)((count < NAMES_MOST ? count : NAMES_MOST) / SHARDS);

	for (size_t i = 0; i < SHARDS; i++)
		if (!shard_reserve(n, &n->by_meta, &n->by_meta.shards[i], each) ||
		    !shard_reserve(n, &n->by_local, &n->by_local.shards[i], each))
			return ERR_NOMEM;
	return 0;
}
