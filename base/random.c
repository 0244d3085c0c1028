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

bool hex_is(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return s.n > 0;
}
