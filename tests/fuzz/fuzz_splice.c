/* The splicer on arbitrary bytes.  What must hold: with a look-up that knows nothing every byte comes out as it went in,
 * and what it is asked for is within the bounds; with one that knows, the output does not depend on how the input was
 * cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/replication/splice_bed.h"
#include "tests/fuzz/require.h"

static bool know_nothing(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	(void)ctx;
	(void)new_r;
	REQUIRE(id->text.n && id->text.n <= SPLICE_ID_BYTES);
	REQUIRE(id->where != SPLICE_TOKEN || id->text.n >= SPLICE_TOKEN_LEAST);
	return false;
}

/* Pieces of lengths that the input itself tells. */
struct cutter {
	const uint8_t *data;
	size_t size, at;
};

static size_t cut(void *ctx, size_t left)
{
	struct cutter *c = ctx;
	size_t n = 1 + c->data[c->at++ % c->size] % 61;

	return n < left ? n : left;
}

/* The first byte chooses the kind of body and the bound of the output; it is an input's part all the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct splice_rules *rules;
	struct cutter cutter = { data, size, 0 };
	struct span in = { (const char *)data, size };
	enum splice_body body;
	struct buf one, many;

	if (!size || size > 64 << 10)
		return 0;
	if (!rules)
		rules = bed_rules();
	body = SPLICE_JSON + data[0] % 3;
	buf_init(&one, NULL, 0);
	buf_init(&many, NULL, 0);
	REQUIRE(splice_once(body, rules, know_nothing, NULL, in, &one));
	REQUIRE(span_eq(buf_span(&one), in));
	buf_consume(&one, buf_len(&one));
	REQUIRE(splice_once(body, rules, bed_look, NULL, in, &one));
	bed_run(body, rules, in, data[0] / 3, cut, &cutter, &many);
	REQUIRE(span_eq(buf_span(&one), buf_span(&many)));
	buf_fini(&one);
	buf_fini(&many);
	return 0;
}
