/* What the fuzz targets of request and response heads share: the guard's verdict over the whole input
 * and over pieces, and what must hold of every head that is accepted. */
#ifndef TESTS_FUZZ_HTTP_HEAD_H
#define TESTS_FUZZ_HTTP_HEAD_H

#include <stdint.h>
#include <stdlib.h>

#include "http/message.h"
#include "tests/fuzz/require.h"

/* The head of the input for the parser, on memory of exactly its size; p == NULL: refused or not
 * complete.  The caller frees it. */
static inline struct span guarded_head(struct span input)
{
	struct head_guard whole = { 0 }, pieces = { 0 };
	const char *reason = NULL, *piece_reason = NULL;
	enum guard_verdict verdict = head_guard_feed(&whole, input, &reason), v = GUARD_MORE;
	size_t n = 0, step = 1;
	char *copy;

	while (n < input.n && v == GUARD_MORE) {
		n = n + step < input.n ? n + step : input.n;
		step = step % 7 + 1;
		v = head_guard_feed(&pieces, span_head(input, n), &piece_reason);
	}
	REQUIRE(v == verdict && reason == piece_reason);
	if (verdict == GUARD_REFUSED)
		return (struct span){ NULL, 0 };
	REQUIRE(whole.seen == pieces.seen && whole.seen <= input.n);
	if (verdict == GUARD_MORE)
		return (struct span){ NULL, 0 };
	copy = malloc(whole.seen);
	REQUIRE(copy);
	memcpy(copy, input.p, whole.seen);
	return span_make(copy, whole.seen);
}

static inline bool lies_in(struct span s, struct span outer)
{
	return s.p >= outer.p && s.p + s.n <= outer.p + outer.n;
}

/* Fields lie in the head, one after the other; none holds a line end. */
static inline void check_fields(const struct http_head *h, struct span head)
{
	const char *at = head.p;

	REQUIRE(h->field_count <= HTTP_FIELDS_MAX);
	for (size_t i = 0; i < h->field_count; i++) {
		const struct http_field *f = &h->fields[i];

		REQUIRE(lies_in(f->name, head) && lies_in(f->value, head));
		REQUIRE(f->name.p > at && f->name.n && f->value.p > f->name.p);
		REQUIRE(span_find(f->value, '\r') == f->value.n && span_find(f->value, '\n') == f->value.n);
		REQUIRE(f->id == http_field_id(f->name));
		at = f->value.p + f->value.n;
	}
	REQUIRE(h->minor <= 1);
	REQUIRE(h->framing != HTTP_CHUNKED || (h->minor == 1 && !h->has_content_length));
	REQUIRE(h->framing != HTTP_LENGTH || (h->content_length && h->content_length <= INT64_MAX));
	REQUIRE(http_count(h, HTTP_CONTENT_LENGTH) <= 1 && http_count(h, HTTP_TRANSFER_ENCODING) <= 1);
}

#endif
