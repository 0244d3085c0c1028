#include "replication/hlc.h"

#define WALL_MOST_MS ((int64_t)(HLC_MOST >> HLC_COUNTER_BITS))

uint64_t hlc_of_wall(int64_t wall_ms)
{
	if (wall_ms < 0)
		return 0;
	return (uint64_t)(wall_ms < WALL_MOST_MS ? wall_ms : WALL_MOST_MS) << HLC_COUNTER_BITS;
}

int64_t hlc_wall_ms(uint64_t value)
{
	return (int64_t)(value >> HLC_COUNTER_BITS);
}

void hlc_init(struct hlc *h, uint64_t last)
{
	h->last = last;
}

uint64_t hlc_next(struct hlc *h, int64_t wall_ms)
{
	uint64_t wall = hlc_of_wall(wall_ms);

	h->last = wall > h->last ? wall : h->last + 1;
	return h->last;
}

bool hlc_see(struct hlc *h, uint64_t value)
{
	if (value > HLC_MOST)
		return false;
	if (value > h->last)
		h->last = value;
	return true;
}

int64_t hlc_ahead_ms(uint64_t value, int64_t wall_ms)
{
	return hlc_wall_ms(value) - wall_ms;
}
