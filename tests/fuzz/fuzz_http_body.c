/* Bodies: the first byte chooses framing, length and how the input is split; content, end, rest and
 * trailers must not depend on the split. */
#include <stdint.h>
#include <stdlib.h>

#include "http/message.h"
#include "tests/fuzz/require.h"

struct outcome {
	enum http_body_event event;
	struct buf content, trailers;
	size_t used;
	const char *reason;
};

static struct outcome decode(uint8_t how, struct span input, size_t step)
{
	struct outcome o = { .event = HTTP_BODY_MORE };
	enum http_framing framing = how & 0x80 ? (enum http_framing)(how & 3) : HTTP_CHUNKED;
	struct http_body body;
	struct span in, data;
	size_t upto;

	buf_init(&o.content, NULL, 0);
	buf_init(&o.trailers, NULL, 0);
	http_body_init(&body, framing, (how >> 2) & 31);
	do {
		upto = input.n - o.used > step ? o.used + step : input.n;
		in = span_make(input.p + o.used, upto - o.used);
		while ((o.event = http_body_next(&body, &in, &data, &o.reason)) == HTTP_BODY_DATA) {
			REQUIRE(data.n && data.p >= input.p && data.p + data.n <= input.p + upto);
			buf_add_span(&o.content, data);
		}
		REQUIRE(in.p >= input.p && in.p + in.n == input.p + upto);
		REQUIRE(o.event != HTTP_BODY_MORE || in.n == 0);
		o.used = upto - in.n;
	} while (o.event == HTTP_BODY_MORE && o.used < input.n);
	REQUIRE(body.total == buf_len(&o.content));
	REQUIRE(http_body_closed(&body) == (o.event == HTTP_BODY_END || framing == HTTP_UNTIL_CLOSE));
	if (o.event == HTTP_BODY_END)
		buf_add_span(&o.trailers, buf_span(&body.trailers));
	http_body_fini(&body);
	return o;
}

static void check_trailers(struct span raw)
{
	struct http_field *fields;
	struct arena arena;
	size_t count;

	arena_init(&arena, NULL, 0, 0);
	REQUIRE(http_trailers_parse(&arena, raw, &fields, &count) == 0);
	REQUIRE(count * 4 <= raw.n);
	for (size_t i = 0; i < count; i++)
		REQUIRE(fields[i].name.n && fields[i].id != HTTP_CONTENT_LENGTH);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome a, b;
	struct span input;

	if (!size)
		return 0;
	input = span_make((const char *)data + 1, size - 1);
	a = decode(data[0], input, SIZE_MAX);
	b = decode(data[0], input, 1 + data[0] % 5);
	REQUIRE(a.event == b.event);
	REQUIRE(span_eq(buf_span(&a.content), buf_span(&b.content)));
	REQUIRE(span_eq(buf_span(&a.trailers), buf_span(&b.trailers)));
	if (a.event == HTTP_BODY_BAD)
		REQUIRE(a.reason == b.reason);
	else
		REQUIRE(a.used == b.used);
	check_trailers(buf_span(&a.trailers));
	buf_fini(&a.content);
	buf_fini(&a.trailers);
	buf_fini(&b.content);
	buf_fini(&b.trailers);
	return 0;
}
