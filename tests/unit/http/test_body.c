/* Bodies: every input whole and split at every position; events, content and rest must agree. */
#include "tests/unit/http/support.h"

struct result {
	enum http_body_event event; /* the last one */
	struct buf content, trailers;
	size_t used;
	uint64_t total;
	const char *reason;
};

/* Feeds up to cut bytes of input, then the rest. */
static struct result decode(enum http_framing framing, uint64_t length, struct span input, size_t cut)
{
	struct result r = { .event = HTTP_BODY_MORE };
	struct http_body body;
	struct span data;

	buf_init(&r.content, NULL, 0);
	buf_init(&r.trailers, NULL, 0);
	http_body_init(&body, framing, length);
	for (int half = 0; half < 2; half++) {
		size_t upto = half ? input.n : cut;
		struct span copy = exact_copy(span_make(input.p + r.used, upto - r.used)), in = copy;

		while ((r.event = http_body_next(&body, &in, &data, &r.reason)) == HTTP_BODY_DATA) {
			assert_true(data.n > 0);
			buf_add_span(&r.content, data);
		}
		r.used = upto - in.n;
		free((char *)(uintptr_t)copy.p);
		if (r.event != HTTP_BODY_MORE)
			break;
		assert_int_equal(r.used, upto);
	}
	r.total = body.total;
	buf_add_span(&r.trailers, buf_span(&body.trailers));
	assert_int_equal(r.total, buf_len(&r.content));
	http_body_fini(&body);
	return r;
}

static void result_fini(struct result *r)
{
	buf_fini(&r->content);
	buf_fini(&r->trailers);
}

static struct result decode_all_ways(enum http_framing framing, uint64_t length, struct span input)
{
	struct result whole = decode(framing, length, input, input.n);

	for (size_t cut = 0; cut < input.n; cut++) {
		struct result r = decode(framing, length, input, cut);

		assert_int_equal(r.event, whole.event);
		if (r.event == HTTP_BODY_BAD)
			assert_ptr_equal(r.reason, whole.reason);
		else
			assert_int_equal(r.used, whole.used);
		assert_true(span_eq(buf_span(&r.content), buf_span(&whole.content)));
		if (r.event == HTTP_BODY_END)
			assert_true(span_eq(buf_span(&r.trailers), buf_span(&whole.trailers)));
		result_fini(&r);
	}
	return whole;
}

#define assert_chunked(input, want_content, want_trailers, rest) \
	do { \
		struct result r_ = decode_all_ways(HTTP_CHUNKED, 0, SPAN(input rest)); \
		assert_int_equal(r_.event, HTTP_BODY_END); \
		assert_int_equal(r_.used, sizeof(input) - 1); \
		assert_span(buf_span(&r_.content), want_content); \
		assert_span(buf_span(&r_.trailers), want_trailers); \
		result_fini(&r_); \
	} while (0)

#define assert_bad(input, part) \
	do { \
		struct result r_ = decode_all_ways(HTTP_CHUNKED, 0, SPAN(input)); \
		assert_int_equal(r_.event, HTTP_BODY_BAD); \
		if (!strstr(r_.reason, part)) \
			fail_msg("refused for another reason: %s", r_.reason); \
		result_fini(&r_); \
	} while (0)

static void chunks_come_out_as_content(void **state)
{
	(void)state;
	assert_chunked("0\r\n\r\n", "", "", "");
	assert_chunked("5\r\nhello\r\n0\r\n\r\n", "hello", "", "GET /");
	assert_chunked("000a\r\n0123456789\r\nB\r\n01234567890\r\n00\r\n\r\n", "012345678901234567890", "", "");
	assert_chunked("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "", "\r\n");
}

/* facts: llhttp refuses ";a=b;c=d" */
static void chunk_extensions_are_checked_and_dropped(void **state)
{
	(void)state;
	assert_chunked("1;a=b;c=d\r\nx\r\n0\r\n\r\n", "x", "", "");
	assert_chunked("1;a\r\nx\r\n0;last\r\n\r\n", "x", "", "");
	assert_chunked("1 ; a = \"q;\\\"\xc3\xa4\t\" ;b\r\nx\r\n0\r\n\r\n", "x", "", "");
	assert_chunked("1;a=\"\";b=c\r\nx\r\n0\r\n\r\n", "x", "", "");
	assert_bad("1;\r\nx\r\n0\r\n\r\n", "extension");
	assert_bad("1;a=\r\nx\r\n0\r\n\r\n", "extension");
	assert_bad("1;a=\"b\r\nx\r\n", "extension");
	assert_bad("1;a=\"b\"c\r\nx\r\n", "extension");
	assert_bad("1;a \r\nx\r\n", "extension");
	assert_bad("1;a=b\x01\r\nx\r\n", "extension");
	assert_bad("1;a=\"b\0\"\r\nx\r\n", "extension");
	assert_bad("1;(\r\nx\r\n", "extension");
	assert_bad("1 \r\nx\r\n", "extension");
	assert_bad("1 x\r\nx\r\n", "extension");
}

static void a_chunk_line_ends_in_crlf_only(void **state)
{
	(void)state;
	assert_bad("1\nx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1;a\nx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1;a=b\nx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1;\nx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1;a=\"\n\"\r\nx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1\rx\r\n0\r\n\r\n", "CRLF");
	assert_bad("1 \n", "CRLF");
}

/* facts: llhttp accepts chunk data that no CRLF follows */
static void chunk_data_is_followed_by_crlf(void **state)
{
	(void)state;
	assert_bad("1\r\nxy\r\n0\r\n\r\n", "followed");
	assert_bad("1\r\nx\n0\r\n\r\n", "followed");
	assert_bad("1\r\nx\r0\r\n\r\n", "followed");
	assert_bad("1\r\nx0\r\n\r\n", "followed");
}

static void chunk_sizes_are_hexadecimal_and_below_2_63(void **state)
{
	struct result r = decode_all_ways(HTTP_CHUNKED, 0, SPAN("7FFFffffFFFFffff\r\nx"));

	(void)state;
	assert_int_equal(r.event, HTTP_BODY_MORE);
	assert_span(buf_span(&r.content), "x");
	result_fini(&r);
	assert_bad("8000000000000000\r\nx", "size");
	assert_bad("10000000000000001\r\nx", "size");
	assert_bad("+1\r\nx", "size");
	assert_bad("-1\r\nx", "size");
	assert_bad("0x1\r\nx", "size");
	assert_bad("1_0\r\nx", "size");
	assert_bad(" 1\r\nx", "size");
	assert_bad("\r\nx", "size");
	assert_bad(";a\r\nx", "size");
	assert_bad("g\r\nx", "size");
}

static void trailers_come_whole_and_judged(void **state)
{
	(void)state;
	assert_chunked("1\r\nx\r\n0\r\nA: b\r\nC:d\r\n\r\n", "x", "A: b\r\nC:d\r\n", "HTTP/1.1");
	assert_bad("0\r\nA : b\r\n\r\n", "trailer");
	assert_bad("0\r\nA: b\r\n c\r\n\r\n", "trailer");
	assert_bad("0\r\nA: b\n\r\n", "trailer");
	assert_bad("0\r\n\n", "trailer");
	assert_bad("0\r\nA: \0\r\n\r\n", "trailer");
	assert_bad("0\r\nA\r\n\r\n", "trailer");
	assert_bad("0\r\nA:\rB: c\r\n\r\n", "trailer");
}

static void repeat(struct buf *b, const char *what, size_t times)
{
	while (times--)
		buf_add_z(b, what);
}

static enum http_body_event decode_buf(struct buf *b, const char **reason)
{
	struct result r = decode(HTTP_CHUNKED, 0, buf_span(b), buf_len(b) / 2);
	enum http_body_event event = r.event;

	*reason = r.reason;
	result_fini(&r);
	buf_fini(b);
	return event;
}

static void chunk_lines_and_trailers_are_bounded(void **state)
{
	const char *reason;
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	buf_add_z(&b, "1;");
	repeat(&b, "a", 4092);
	buf_add_z(&b, "\r\nx\r\n0\r\n\r\n");
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_END);
	buf_add_z(&b, "1;");
	repeat(&b, "a", 4093);
	buf_add_z(&b, "\r\nx\r\n0\r\n\r\n");
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_BAD);
	assert_non_null(strstr(reason, "4096"));
	repeat(&b, "0", 5000);
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_BAD);
	buf_add_z(&b, "0\r\n");
	repeat(&b, "a:bcde\r\n", 2048);
	buf_add_z(&b, "\r\n");
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_END);
	buf_add_z(&b, "0\r\n");
	repeat(&b, "a:bcde\r\n", 2048);
	buf_add_z(&b, "a:\r\n\r\n");
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_BAD);
	assert_non_null(strstr(reason, "16384"));
	buf_add_z(&b, "0\r\na:");
	repeat(&b, "b", 20000);
	assert_int_equal(decode_buf(&b, &reason), HTTP_BODY_BAD);
}

static void a_length_takes_exactly_its_bytes(void **state)
{
	struct result r = decode_all_ways(HTTP_LENGTH, 3, SPAN("abcGET"));

	(void)state;
	assert_int_equal(r.event, HTTP_BODY_END);
	assert_int_equal(r.used, 3);
	result_fini(&r);
	r = decode_all_ways(HTTP_LENGTH, 0, SPAN("GET"));
	assert_int_equal(r.event, HTTP_BODY_END);
	assert_int_equal(r.used, 0);
	result_fini(&r);
	r = decode_all_ways(HTTP_NO_BODY, 0, SPAN("GET"));
	assert_int_equal(r.event, HTTP_BODY_END);
	assert_int_equal(r.used, 0);
	result_fini(&r);
}

static bool closed_after(enum http_framing framing, uint64_t length, struct span in)
{
	struct http_body body;
	const char *reason;
	struct span data;
	bool closed;

	http_body_init(&body, framing, length);
	while (http_body_next(&body, &in, &data, &reason) == HTTP_BODY_DATA)
		;
	closed = http_body_closed(&body);
	if (closed)
		assert_int_equal(http_body_next(&body, &in, &data, &reason), HTTP_BODY_END);
	http_body_fini(&body);
	return closed;
}

/* facts: truncation shows at the end only */
static void closing_ends_only_what_is_complete_or_until_close(void **state)
{
	(void)state;
	assert_true(closed_after(HTTP_UNTIL_CLOSE, 0, SPAN("abc")));
	assert_true(closed_after(HTTP_UNTIL_CLOSE, 0, SPAN("")));
	assert_true(closed_after(HTTP_LENGTH, 3, SPAN("abc")));
	assert_true(closed_after(HTTP_NO_BODY, 0, SPAN("")));
	assert_true(closed_after(HTTP_CHUNKED, 0, SPAN("1\r\nx\r\n0\r\n\r\n")));
	assert_false(closed_after(HTTP_LENGTH, 4, SPAN("abc")));
	assert_false(closed_after(HTTP_CHUNKED, 0, SPAN("1\r\nx\r\n0\r\n")));
	assert_false(closed_after(HTTP_CHUNKED, 0, SPAN("1\r\nx\r\n")));
	assert_false(closed_after(HTTP_CHUNKED, 0, SPAN("zz")));
	assert_false(closed_after(HTTP_CHUNKED, 0, SPAN("")));
}

static void until_close_passes_everything(void **state)
{
	struct result r = decode_all_ways(HTTP_UNTIL_CLOSE, 0, SPAN("a\0\r\nb"));

	(void)state;
	assert_int_equal(r.event, HTTP_BODY_MORE);
	assert_span(buf_span(&r.content), "a\0\r\nb");
	result_fini(&r);
}

static void trailers_that_may_not_be_are_left_out(void **state)
{
	struct http_field *fields;
	struct arena arena;
	size_t count;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	assert_int_equal(http_trailers_parse(&arena,
	                                     SPAN("Content-Length: 5\r\nX-Sum:\t7 \r\nHost: b\r\nSet-Cookie: a\r\n"
	                                          "Transfer-Encoding: chunked\r\nx-empty:\r\nIf-Match: x\r\n"
	                                          "Content-Range: x\r\nX-Scope: a\r\nAuthorization: a\r\n"
	                                          "Proxy-Status: a; error=x\r\nContent-Security-Policy: x\r\n"),
	                                     &fields, &count),
	                 0);
	assert_int_equal(count, 3);
	assert_span(fields[0].name, "X-Sum");
	assert_span(fields[0].value, "7");
	assert_span(fields[1].name, "x-empty");
	assert_span(fields[1].value, "");
	assert_int_equal(fields[2].id, HTTP_PROXY_STATUS);
	arena_fini(&arena);
}

static void trailers_are_judged_again_when_parsed(void **state)
{
	const struct span bad[] = { SPAN("a: b"), SPAN("a : b\r\n"), SPAN("a: b\r\n\r\n"), SPAN("a: b\n"),
		                    SPAN(" a: b\r\n"), SPAN("a: b\r\n\r"), SPAN("\r\n") };
	char room[64];
	struct http_field *fields;
	struct arena arena;
	size_t count;

	(void)state;
	arena_init(&arena, room, sizeof(room), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(http_trailers_parse(&arena, bad[i], &fields, &count), ERR_SYNTAX);
	assert_int_equal(http_trailers_parse(&arena, SPAN(""), &fields, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(http_trailers_parse(&arena, SPAN("a:\r\nb:\r\n"), &fields, &count), ERR_NOMEM);
	arena_fini(&arena);
}

static void chunk_heads_are_hexadecimal(void **state)
{
	char room[HTTP_CHUNK_HEAD_BYTES];

	(void)state;
	assert_int_equal(http_chunk_head(room, 0), 3);
	assert_string_equal(room, "0\r\n");
	assert_int_equal(http_chunk_head(room, 4096), 6);
	assert_string_equal(room, "1000\r\n");
	assert_int_equal(http_chunk_head(room, UINT64_MAX), 18);
	assert_string_equal(room, "ffffffffffffffff\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_come_out_as_content),
		cmocka_unit_test(chunk_extensions_are_checked_and_dropped),
		cmocka_unit_test(a_chunk_line_ends_in_crlf_only),
		cmocka_unit_test(chunk_data_is_followed_by_crlf),
		cmocka_unit_test(chunk_sizes_are_hexadecimal_and_below_2_63),
		cmocka_unit_test(trailers_come_whole_and_judged),
		cmocka_unit_test(chunk_lines_and_trailers_are_bounded),
		cmocka_unit_test(a_length_takes_exactly_its_bytes),
		cmocka_unit_test(closing_ends_only_what_is_complete_or_until_close),
		cmocka_unit_test(until_close_passes_everything),
		cmocka_unit_test(trailers_that_may_not_be_are_left_out),
		cmocka_unit_test(trailers_are_judged_again_when_parsed),
		cmocka_unit_test(chunk_heads_are_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
