/* Pages of a list on arbitrary bytes.  What must hold: where nothing was shown and no link is to be put in, every byte
 * comes out as it went in; else the output does not depend on how the input was cut. */
#include <stdint.h>

#include "replication/page.h"
#include "tests/fuzz/require.h"

static bool never(void *ctx, struct span id)
{
	(void)ctx;
	REQUIRE(id.n > 0);
	return false;
}

/* Every id that has an odd number of bytes. */
static bool odd(void *ctx, struct span id)
{
	(void)ctx;
	return id.n % 2;
}

/* step: by what the input itself tells, or as a whole. */
static void run(const struct page_options *o, const uint8_t *data, size_t size, bool cut, struct buf *out)
{
	struct page *g = page_new(o);
	size_t at = 0, n = size;

	REQUIRE(g);
	buf_init(out, NULL, 0);
	for (size_t k = 0; at < size; at += n, k++) {
		if (cut)
			n = 1 + data[k % size] % 29;
		if (n > size - at)
			n = size - at;
		page_feed(g, span_make((const char *)data + at, n), out);
	}
	page_end(g, out);
	REQUIRE(!(page_shows(g) && page_is_empty(g)));
	page_free(&g);
	REQUIRE(!out->failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct span items[] = { { "$", 1 }, { "$.notes", 7 }, { "$.a.notes", 9 } };
	struct page_options o = { .id = SPAN("$.n.id"), .next = SPAN("$.a.next"), .shown = never };
	struct buf one, many;

	if (!size || size > 256 << 10)
		return 0;
	o.items = items[data[0] % 3];
	run(&o, data, size, true, &one);
	REQUIRE(span_eq(buf_span(&one), span_make((const char *)data, size)));
	buf_fini(&one);
	o.shown = odd;
	o.here = SPAN("at=a");
	o.end = SPAN("/notes?at=a,b");
	run(&o, data, size, false, &one);
	run(&o, data, size, true, &many);
	REQUIRE(span_eq(buf_span(&one), buf_span(&many)));
	buf_fini(&one);
	buf_fini(&many);
	return 0;
}
