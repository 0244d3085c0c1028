/* Values of correlate:NAME: the first line names the header, the second its value.  What is accepted keeps its bounds, is
 * remembered under its keys and found again; what is made in place of what is refused is accepted. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/correlation_value.h"
#include "tests/fuzz/http_head.h"

static const int64_t now = 1;

static void check_key(struct correlation *t, const struct correlation_key *key)
{
	static char room[CORRELATION_SCOPE_BYTES];
	struct span scope;

	REQUIRE(key->value.n && key->value.n <= CORRELATION_VALUE_BYTES && key->space.n);
	REQUIRE(correlation_remember(t, key, SPAN("image: dc1"), now) == CORRELATION_SCOPE);
	REQUIRE(correlation_find(t, key, now, room, &scope) == CORRELATION_SCOPE && span_eq(scope, SPAN("image: dc1")));
	REQUIRE(correlation_remember(t, key, SPAN("image: dc2"), now) == CORRELATION_AMBIGUOUS);
	REQUIRE(correlation_find(t, key, now + CORRELATION_AGE_US + 1, room, &scope) == CORRELATION_NONE);
	REQUIRE(correlation_remember(t, key, SPAN("image: dc1"), now + 2 * CORRELATION_AGE_US) == CORRELATION_SCOPE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_make((const char *)data, size), name = { "", 0 }, value = { "", 0 };
	struct correlation_values v, again;
	struct correlation *t = correlation_new();
	enum correlation_kind kind;
	struct correlation_ids ids;
	struct buf made;

	span_split(&rest, '\n', &name);
	span_split(&rest, '\n', &value);
	if (!name.n || name.n > CORRELATION_VALUE_BYTES)
		name = SPAN("x");
	REQUIRE(t);
	kind = correlation_kind_of(name);
	correlation_values_get(kind, name, value, &v);
	REQUIRE(v.count <= correlation_values_most(kind) && v.count <= CORRELATION_PER_HEADER);
	for (unsigned i = 0; i < v.count; i++)
		check_key(t, &v.key[i]);
	correlation_free(&t);
	correlation_ids_make(&ids);
	correlation_ids_join(&ids, &v);
	buf_init(&made, NULL, 0);
	correlation_value_make(kind, &ids, value, &made);
	correlation_values_get(kind, name, buf_span(&made), &again);
	REQUIRE(kind == CORRELATION_CREDENTIAL ? !buf_len(&made) : again.count == correlation_values_most(kind));
	buf_fini(&made);
	return 0;
}
