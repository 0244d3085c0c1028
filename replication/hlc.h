/* Hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks", 2014): a clock near the wall's that orders what
 * depends on one another, however wrong the clocks of sites are.
 *
 * A value is 63 bits: 47 of milliseconds since 1970 and 16 of a counter, so values compare as numbers and fit a signed
 * integer.  A full counter carries into the milliseconds, which is harmless: the clock runs ahead by one. Two sites may
 * give the same value; the operation's id decides then. */
#ifndef REPLICATION_HLC_H
#define REPLICATION_HLC_H

#include <stdbool.h>
#include <stdint.h>

#define HLC_COUNTER_BITS 16
/* What a peer may say at most: an eternity of room is left above, so that no sequence of ours overflows. */
#define HLC_MOST ((UINT64_C(1) << 63) - (UINT64_C(1) << 48))
/* Clocks further apart than this are reported; nothing is refused for its clock. */
#define HLC_SKEW_MS 60000

struct hlc {
	uint64_t last; /* the greatest value given or seen */
};

/* wall_ms: milliseconds since 1970; the future of the year 6000, and the past before 1970, count as the nearest. */
uint64_t hlc_of_wall(int64_t wall_ms);
int64_t hlc_wall_ms(uint64_t value);

/* last: what was durable before a restart; 0 for none. */
void hlc_init(struct hlc *h, uint64_t last);
/* The clock of a new operation here: greater than every value given or seen before. */
uint64_t hlc_next(struct hlc *h, int64_t wall_ms);
/* An operation with this clock has come in.  False, and nothing is changed: it is no clock. */
bool hlc_see(struct hlc *h, uint64_t value);
/* How far a value is ahead of the wall's clock (behind: negative). */
int64_t hlc_ahead_ms(uint64_t value, int64_t wall_ms);

#endif
