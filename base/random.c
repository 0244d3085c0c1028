#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define STOCK_BYTES 4096

/* A thread's own, so that nobody waits for another; what was given out is wiped. */
static _Thread_local struct { uint8_t bytes[STOCK_BYTES]; size_t left; } stock;

static void from_kernel(uint8_t *p, size_t bytes)
{
	while (bytes) {
		ssize_t n = getrandom(p, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort(); /* no kernel that this runs on lacks the call */
		p += n;
		bytes -= (size_t)n;
	}
}

void random_bytes(void *p, size_t bytes)
{
	if (bytes > STOCK_BYTES) {
		from_kernel(p, bytes);
		return;
	}
	if (stock.left < bytes) {
		from_kernel(stock.bytes, STOCK_BYTES);
		stock.left = STOCK_BYTES;
	}
	stock.left -= bytes;
	memcpy(p, stock.bytes + stock.left, bytes);
	memset(stock.bytes + stock.left, 0, bytes);
}

void hex_write(const uint8_t *p, size_t bytes, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
}

/* Without a branch per digit: every traced request has some hundred of them. */
bool hex_is(struct span s)
{
	static const unsigned char digit[256] = {
		['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
		['8'] = 1, ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1,
	};
	unsigned char all = s.n > 0;

	for (size_t i = 0; i < s.n; i++)
		all &= digit[(unsigned char)s.p[i]];
	return all;
}
