/* Hashes for tables whose keys a client may choose: seeded at random by the table, so that nobody can aim at a bucket.
 * Not for anything that is stored or sent. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>
#include <string.h>

#include "base/span.h"

/* The finalizer of MurmurHash3: what one bit changed is spread over all. */
static inline uint64_t hash_mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}

/* Eight bytes at a time. Mix the result before its low bits choose a bucket. */
static inline uint64_t hash_bytes(uint64_t h, struct span s)
{
	uint64_t word = 0;

	for (; s.n >= sizeof(word); s = span_from(s, sizeof(word))) {
		memcpy(&word, s.p, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	word = s.n;
	if (s.n)
		memcpy((char *)&word + 1, s.p, s.n);
	return (h ^ word) * 0x9e3779b97f4a7c15u;
}

#endif
