/* The layouts are in metaid.h.  What has been given out is in databases and in clients' hands: a changed bit of the
 * layout, the hash or the check would be another product.  Pure but for the random bits.
 *
 * The tag is FNV-1a with a finalizer: it cannot fail, and nobody gains by choosing a site's name.  Derivation is
 * SHA-256, since a client chooses the key. */
#include "replication/metaid.h"

#include <assert.h>
#include <stdlib.h>

#include <openssl/sha.h>

#include "base/buf.h"
#include "base/random.h"

#define UUID_BYTES 16
#define INTEGER_FIRST (UINT64_C(1) << 52)
#define TICK_MS 2
#define TICK_BITS 39
#define TICKS (UINT64_C(1) << TICK_BITS)
#define DERIVED (UINT64_C(1) << TICK_BITS)
#define TAG_SHIFT (TICK_BITS + 1)
#define EPOCH_MS INT64_C(1735689600000) /* 2025-01-01T00:00:00Z */
#define AHEAD_TICKS (METAID_AHEAD_MS / TICK_MS)
#define INTEGER_TAG(tag) ((tag) >> (METAID_TAG_BITS - METAID_INTEGER_TAG_BITS))

uint32_t metaid_tag(struct span site)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < site.n; i++)
		h = (h ^ (unsigned char)site.p[i]) * UINT64_C(0x100000001b3);
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return (uint32_t)((h ^ h >> 33) >> (64 - METAID_TAG_BITS));
}

/* CRC-16/CCITT: finds every change that spans at most 16 bits. */
static uint16_t check_of(const uint8_t *p, size_t bytes)
{
	uint16_t crc = 0xffff;

	for (size_t i = 0; i < bytes; i++) {
		crc = (uint16_t)(crc ^ p[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

static void print_uuid(const uint8_t uuid[UUID_BYTES], char text_r[METAID_TEXT_BYTES])
{
	static const uint8_t groups[] = { 4, 2, 2, 2, 6 };
	char *at = text_r;

	for (size_t i = 0; i < sizeof(groups); i++) {
		if (i)
			*at++ = '-';
		hex_write(uuid, groups[i], at);
		uuid += groups[i];
		at += groups[i] * 2;
	}
	assert(at == text_r + METAID_TEXT_BYTES);
}

/* Of the 16 bytes, the bits that are neither fixed nor the tag's nor the check's stay as they are. */
static void put_uuid8(uint32_t tag, uint8_t uuid[UUID_BYTES], char text_r[METAID_TEXT_BYTES])
{
	uint16_t check;

	tag &= (1u << METAID_TAG_BITS) - 1;
	uuid[6] = (uint8_t)(0x80 | tag >> 16);
	uuid[7] = (uint8_t)(tag >> 8);
	uuid[8] = (uint8_t)(0x80 | (tag & 0xff) >> 2);
	uuid[9] = (uint8_t)((tag & 3) << 6 | (uuid[9] & 0x3f));
	check = check_of(uuid, UUID_BYTES - 2);
	uuid[14] = (uint8_t)(check >> 8);
	uuid[15] = (uint8_t)check;
	print_uuid(uuid, text_r);
}

static void put_uuid4(uint8_t uuid[UUID_BYTES], char text_r[METAID_TEXT_BYTES])
{
	uuid[6] = (uint8_t)(0x40 | (uuid[6] & 0x0f));
	uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
	print_uuid(uuid, text_r);
}

void metaid_make(uint32_t tag, int64_t wall_ms, char text_r[METAID_TEXT_BYTES])
{
	uint8_t uuid[UUID_BYTES];

	random_bytes(uuid, sizeof(uuid));
	for (int i = 0; i < 6; i++)
		uuid[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
	put_uuid8(tag, uuid, text_r);
}

void metaid_make_uuid4(char text_r[METAID_TEXT_BYTES])
{
	uint8_t uuid[UUID_BYTES];

	random_bytes(uuid, sizeof(uuid));
	put_uuid4(uuid, text_r);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_uuid(struct span text, uint8_t uuid_r[UUID_BYTES])
{
	size_t at = 0;

	for (size_t i = 0; i < UUID_BYTES; i++) {
		int hi, lo;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && text.p[at++] != '-')
			return false;
		hi = digit_of(text.p[at++]);
		lo = digit_of(text.p[at++]);
		if (hi < 0 || lo < 0)
			return false;
		uuid_r[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static bool parse_uuid8(struct span text, struct metaid *id_r)
{
	uint8_t u[UUID_BYTES];

	if (text.p[14] != '8' || !read_uuid(text, u) || (u[8] & 0xc0) != 0x80 ||
	    check_of(u, UUID_BYTES - 2) != (u[14] << 8 | u[15]))
		return false;
	*id_r = (struct metaid){ .kind = METAID_UUID };
	id_r->tag = (uint32_t)(u[6] & 0x0f) << 16 | (uint32_t)u[7] << 8 | (uint32_t)(u[8] & 0x3f) << 2 | u[9] >> 6;
	for (int i = 0; i < 6; i++)
		id_r->wall_ms = id_r->wall_ms << 8 | u[i];
	return true;
}

static bool parse_integer(struct span text, struct metaid *id_r)
{
	unsigned long long n;

	if (text.p[0] == '0' || !span_to_u64(text, 2 * INTEGER_FIRST - 1, &n) || n < INTEGER_FIRST)
		return false;
	*id_r = (struct metaid){ .kind = METAID_INTEGER, .tag = (uint32_t)((n - INTEGER_FIRST) >> TAG_SHIFT) };
	if (!(n & DERIVED))
		id_r->wall_ms = EPOCH_MS + (int64_t)(n & (TICKS - 1)) * TICK_MS;
	return true;
}

bool metaid_parse(struct span text, struct metaid *id_r)
{
	if (text.n == METAID_TEXT_BYTES)
		return parse_uuid8(text, id_r);
	return text.n == 16 && parse_integer(text, id_r);
}

static uint64_t integer_of(uint32_t tag, uint64_t low)
{
	return INTEGER_FIRST | (uint64_t)INTEGER_TAG(tag & ((1u << METAID_TAG_BITS) - 1)) << TAG_SHIFT | low;
}

static uint64_t tick_of(int64_t wall_ms)
{
	return wall_ms > EPOCH_MS ? (uint64_t)(wall_ms - EPOCH_MS) / TICK_MS : 0;
}

void metaid_source_init(struct metaid_source *s, uint32_t tag, int64_t wall_ms, uint64_t highest)
{
	uint64_t after = (highest & (TICKS - 1)) + 1;

	/* an earlier source may have given the tick that is AHEAD_TICKS after now, but no later one */
	*s = (struct metaid_source){ .tag = tag, .next = tick_of(wall_ms) + AHEAD_TICKS + 1 };
	if (highest && !(highest & DERIVED) && after > s->next)
		s->next = after;
}

int metaid_source_next(struct metaid_source *s, int64_t wall_ms, uint64_t *id_r)
{
	uint64_t now = tick_of(wall_ms);

	if (wall_ms < EPOCH_MS || now + AHEAD_TICKS >= TICKS || s->next >= TICKS)
		return ERR_LIMIT;
	if (s->next < now)
		s->next = now;
	if (s->next > now + AHEAD_TICKS)
		return ERR_BUSY;
	*id_r = integer_of(s->tag, s->next++);
	return 0;
}

static int compare_spans(const void *a, const void *b)
{
	return span_compare(*(const struct span *)a, *(const struct span *)b);
}

/* With its length in front, so that no two lists of fields give the same bytes. */
static void add_field(struct buf *b, struct span field)
{
	buf_add_number(b, field.n);
	buf_add_char(b, ':');
	buf_add_span(b, field);
}

static int hash_seed(const struct metaid_seed *seed, struct span *sorted, uint8_t hash_r[SHA256_DIGEST_LENGTH])
{
	struct buf b;
	int rc = ERR_NOMEM;

	buf_init(&b, NULL, 0);
	add_field(&b, SPAN("scopemesh create"));
	add_field(&b, seed->service);
	add_field(&b, seed->path);
	add_field(&b, seed->key);
	add_field(&b, seed->principal);
	for (size_t i = 0; i < seed->site_count; i++) {
		if (!i || !span_eq(sorted[i - 1], sorted[i]))
			add_field(&b, sorted[i]);
	}
	if (!b.failed && SHA256((const uint8_t *)buf_span(&b).p, buf_len(&b), hash_r))
		rc = 0;
	buf_fini(&b);
	return rc;
}

static void text_of_hash(enum metaid_kind kind, uint32_t tag, const uint8_t *hash, struct metaid_derived *d)
{
	uint8_t uuid[UUID_BYTES];
	uint64_t low = 0;

	memcpy(uuid, hash, sizeof(uuid));
	d->text_bytes = METAID_TEXT_BYTES;
	if (kind == METAID_UUID) {
		put_uuid8(tag, uuid, d->text);
	} else if (kind == METAID_UUID4) {
		put_uuid4(uuid, d->text);
	} else {
		for (int i = 0; i < 8; i++)
			low = low << 8 | hash[i];
		low = integer_of(tag, DERIVED | (low & (TICKS - 1)));
		for (d->text_bytes = 16; d->text_bytes; low /= 10)
			d->text[--d->text_bytes] = (char)('0' + low % 10);
		d->text_bytes = 16;
	}
}

int metaid_derive(enum metaid_kind kind, const struct metaid_seed *seed, struct metaid_derived *derived_r)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	struct span *sorted;
	int rc;

	if (!seed->site_count)
		return ERR_INVALID;
	sorted = calloc(seed->site_count, sizeof(*sorted));
	if (!sorted)
		return ERR_NOMEM;
	memcpy(sorted, seed->sites, seed->site_count * sizeof(*sorted));
	qsort(sorted, seed->site_count, sizeof(*sorted), compare_spans);
	rc = hash_seed(seed, sorted, hash);
	if (!rc) {
		*derived_r = (struct metaid_derived){ .home = 0 };
		while (!span_eq(seed->sites[derived_r->home], sorted[0]))
			derived_r->home++;
		text_of_hash(kind, metaid_tag(sorted[0]), hash, derived_r);
		memcpy(derived_r->operation, hash + UUID_BYTES, METAID_OPERATION_BYTES);
	}
	free(sorted);
	return rc;
}

/* Sorted by tag; an integer's tag is the upper bits of it, so the order serves both. */
struct metaid_homes {
	size_t count;
	bool integers;
	struct home { uint32_t tag, index; } homes[];
};

static int compare_homes(const void *a, const void *b)
{
	const struct home *x = a, *y = b;

	return (x->tag > y->tag) - (x->tag < y->tag);
}

static int refuse_collisions(const struct metaid_homes *h, const struct span *names, struct err *e)
{
	for (size_t i = 1; i < h->count; i++) {
		const struct home *a = &h->homes[i - 1], *b = &h->homes[i];
		bool same = h->integers ? INTEGER_TAG(a->tag) == INTEGER_TAG(b->tag) : a->tag == b->tag;

		if (same && !span_eq(names[a->index], names[b->index]))
			return err_set(e, ERR_EXISTS, "sites \"%.*s\" and \"%.*s\" have the same mark in %s: rename one",
			               SPAN_ARG(names[a->index]), SPAN_ARG(names[b->index]),
			               h->integers ? "identifiers that are integers" : "identifiers");
	}
	return 0;
}

int metaid_homes_new(const struct span *names, size_t count, bool integers, struct metaid_homes **homes_r,
                     struct err *e)
{
	struct metaid_homes *h = malloc(sizeof(*h) + count * sizeof(h->homes[0]));
	int rc;

	*homes_r = NULL;
	if (!h)
		return err_set(e, ERR_NOMEM, "out of memory");
	h->count = count;
	h->integers = integers;
	for (size_t i = 0; i < count; i++)
		h->homes[i] = (struct home){ metaid_tag(names[i]), (uint32_t)i };
	qsort(h->homes, count, sizeof(h->homes[0]), compare_homes);
	rc = refuse_collisions(h, names, e);
	if (rc)
		free(h);
	else
		*homes_r = h;
	return rc;
}

void metaid_homes_free(struct metaid_homes **homes)
{
	free(*homes);
	*homes = NULL;
}

bool metaid_home(const struct metaid_homes *homes, const struct metaid *id, size_t *index_r)
{
	bool integer = id->kind == METAID_INTEGER;
	size_t from = 0, to = homes->count;

	if (id->kind == METAID_UUID4 || (integer && !homes->integers))
		return false;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		uint32_t tag = integer ? INTEGER_TAG(homes->homes[at].tag) : homes->homes[at].tag;

		if (tag == id->tag) {
			*index_r = homes->homes[at].index;
			return true;
		}
		if (tag < id->tag)
			from = at + 1;
		else
			to = at;
	}
	return false;
}
