/* Vectors, stamps and frontiers as peers and rows write them: what is taken is written back byte for byte; merging,
 * comparing and adding keep to what sets do. The first byte chooses. */
#include "replication/vector.h"

#include "tests/fuzz/require.h"

static void check_vector(struct span text)
{
	struct vector v, both;
	struct buf out;
	int rc;

	vector_init(&v);
	vector_init(&both);
	buf_init(&out, NULL, 0);
	rc = vector_parse(&v, text);
	REQUIRE(!rc || rc == ERR_INVALID || rc == ERR_LIMIT);
	if (!rc) {
		vector_format(&v, &out);
		REQUIRE(!out.failed && span_eq(buf_span(&out), text));
		REQUIRE(!vector_merge(&both, &v) && vector_compare(&both, &v) == VECTOR_EQUAL);
		for (uint32_t i = 0; i < v.count; i++)
			REQUIRE(vector_has(&v, &v.entries[i]));
		if (v.count) {
			both.count--;
			REQUIRE(vector_compare(&both, &v) == VECTOR_BEFORE && vector_compare(&v, &both) == VECTOR_AFTER);
		}
	} else {
		REQUIRE(!v.count);
	}
	buf_fini(&out);
	vector_fini(&v);
	vector_fini(&both);
}

static void check_stamp(struct span text)
{
	struct stamp s = { .dot.number = 0 };
	struct buf out;

	buf_init(&out, NULL, 0);
	if (!stamp_parse(&s, text)) {
		REQUIRE(!vector_has(&s.past, &s.dot));
		stamp_format(&s, &out);
		REQUIRE(span_eq(buf_span(&out), text));
	}
	buf_fini(&out);
	vector_fini(&s.past);
}

static void check_frontier(uint64_t number, struct span text)
{
	struct frontier f;
	struct buf out;
	int rc;

	frontier_init(&f);
	buf_init(&out, NULL, 0);
	if (!frontier_parse(&f, number, text)) {
		uint64_t last = f.count ? f.beyond[f.count - 1].to : f.number;

		frontier_format_beyond(&f, &out);
		REQUIRE(span_eq(buf_span(&out), text));
		REQUIRE(!f.count || !frontier_has_number(&f, f.beyond[0].from - 1));
		rc = frontier_add_number(&f, number + 1);
		REQUIRE((!rc && frontier_has_number(&f, number + 1)) || rc == ERR_LIMIT);
		frontier_settle(&f, last);
		REQUIRE(!f.count && frontier_has_number(&f, last));
	}
	buf_fini(&out);
	frontier_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make((const char *)data + 1, size ? size - 1 : 0);

	if (!size)
		return 0;
	if (data[0] == 'v')
		check_vector(text);
	else if (data[0] == 's')
		check_stamp(text);
	else
		check_frontier(data[0], text);
	return 0;
}
