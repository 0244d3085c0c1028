/* Announcements and digests from arbitrary bytes.  What must hold: nothing that is refused is kept; what is accepted
 * encodes to a text that decodes to the same text; merging it twice, or with another, in either order comes to the same
 * table. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "registry/announce.h"
#include "tests/fuzz/require.h"

static struct announcement *decode(struct span text)
{
	struct announcement *a;
	struct err e = { 0, "" };
	int rc = announce_decode(text, &a, &e);

	REQUIRE(!rc == (a != NULL));
	REQUIRE(rc == 0 || rc == ERR_NOMEM || e.text[0]);
	return a;
}

static void merge(struct announce_table *t, struct span text)
{
	struct announcement *a = decode(text);
	enum announce_merged merged;

	if (a)
		REQUIRE(!announce_merge(t, &a, 5, 100, &merged));
}

static void print(const struct announce_table *t, struct buf *out)
{
	buf_init(out, NULL, 0);
	for (size_t i = 0; i < t->count; i++)
		buf_addf(out, "%.*s\n", SPAN_ARG(buf_span(&t->entries[i].text)));
}

static void want(void *ctx, struct span site, struct site_version version, int64_t age_us)
{
	(void)version;
	REQUIRE(site.n && age_us >= 0);
	++*(size_t *)ctx;
}

static void check_text(struct span text)
{
	struct announcement *a = decode(text), *again;
	struct buf first, second;

	if (!a)
		return;
	buf_init(&first, NULL, 0);
	buf_init(&second, NULL, 0);
	if (announce_encode(a, &first)) { /* else it has grown beyond the bound */
		again = decode(buf_span(&first));
		REQUIRE(again && announce_encode(again, &second));
		REQUIRE(span_eq(buf_span(&first), buf_span(&second)));
		announce_free(&again);
	}
	announce_free(&a);
	buf_fini(&first);
	buf_fini(&second);
}

/* The input is two texts apart by a newline. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size }, one, other = { "", 0 };
	struct announce_table a, b;
	struct buf first, second;
	size_t wanted = 0;
	struct err e;

	if (size > 32 << 10)
		return 0;
	announce_table_init(&a);
	announce_table_init(&b);
	span_split(&rest, '\n', &one);
	span_split(&rest, '\n', &other);
	check_text(one);
	check_text(other);
	merge(&a, one);
	merge(&a, other);
	merge(&b, other);
	merge(&b, one);
	merge(&b, other);
	print(&a, &first);
	print(&b, &second);
	REQUIRE(span_eq(buf_span(&first), buf_span(&second)));
	(void)!announce_compare(&a, one, 200, want, &wanted, &e);
	buf_fini(&second);
	buf_init(&second, NULL, 0);
	if (announce_digest(&a, 300, &second)) {
		wanted = 0;
		REQUIRE(!announce_compare(&b, buf_span(&second), 300, want, &wanted, &e) && !wanted);
	}
	buf_fini(&first);
	buf_fini(&second);
	announce_table_fini(&a);
	announce_table_fini(&b);
	return 0;
}
