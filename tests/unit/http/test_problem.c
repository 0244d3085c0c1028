/* Problem documents: members, order, repair of bytes that are no UTF-8. */
#include "tests/unit/http/support.h"

#include "http/problem.h"

static void assert_prints(const struct problem *p, const char *want)
{
	struct buf out;

	buf_init(&out, NULL, 0);
	problem_print(p, &out);
	assert_false(out.failed);
	assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out);
}

static void absent_members_are_left_out(void **state)
{
	struct problem p = { .status = 404, .type = "no-service", .elapsed_ms = -1 };

	(void)state;
	assert_prints(&p, "{\n  \"type\": \"urn:scopemesh:no-service\",\n  \"title\": \"Not Found\",\n"
	                  "  \"status\": 404\n}\n");
	p = (struct problem){ .status = 500 };
	assert_prints(&p, "{\n  \"type\": \"about:blank\",\n  \"title\": \"Internal Server Error\",\n"
	                  "  \"status\": 500\n}\n");
}

static void all_members_are_printed_in_order(void **state)
{
	struct problem_member more = { "meta_id", SPAN("m") };
	struct problem p = {
		.status = 400, .type = "unknown-site", .title = "T", .detail = "D", .text = SPAN("image: x"),
		.column = 8, .caret = { SPAN("image: x"), SPAN("       ^") }, .expected = "E", .hint = "H",
		.known = { SPAN("dc1"), SPAN("dc2") }, .known_count = 2, .nearest = SPAN("dc1"),
		.service = SPAN("s"), .from = SPAN("f"), .site = SPAN("t"), .attempt = 1, .attempts = 2,
		.elapsed_ms = 0, .key = SPAN("limits.x"), .more = &more, .more_count = 1,
	};

	(void)state;
	assert_prints(&p, "{\n  \"type\": \"urn:scopemesh:unknown-site\",\n  \"title\": \"T\",\n  \"status\": 400,\n"
	                  "  \"detail\": \"D\",\n  \"text\": \"image: x\",\n  \"column\": 8,\n"
	                  "  \"caret\": [\n    \"image: x\",\n    \"       ^\"\n  ],\n"
	                  "  \"expected\": \"E\",\n  \"hint\": \"H\",\n  \"known\": [\n    \"dc1\",\n    \"dc2\"\n  ],\n"
	                  "  \"nearest\": \"dc1\",\n  \"service\": \"s\",\n  \"from\": \"f\",\n  \"site\": \"t\",\n"
	                  "  \"attempt\": 1,\n  \"attempts\": 2,\n  \"elapsed_ms\": 0,\n  \"key\": \"limits.x\",\n"
	                  "  \"meta_id\": \"m\"\n}\n");
}

#define RC "\xef\xbf\xbd"

static void bytes_that_are_no_utf_8_are_replaced(void **state)
{
	static const struct {
		struct span in;
		const char *out;
	} rows[] = {
		{ SPAN("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ SPAN("a\xff" "b"), "a" RC "b" },
		{ SPAN("\xc3"), RC },
		{ SPAN("\xc3(\xe2\x82("), RC "(" RC "(" },
		{ SPAN("\xc0\x80"), RC RC },             /* overlong */
		{ SPAN("\xe0\x80\x80"), RC RC RC },
		{ SPAN("\xed\xa0\x80"), RC RC RC },      /* surrogate */
		{ SPAN("\xf4\x90\x80\x80"), RC RC RC RC }, /* above U+10FFFF */
		{ SPAN("\xf0\x9f\x98"), RC },
		{ SPAN("\"\\\n\0\x1b"), "\\\"\\\\\\n\\u0000\\u001B" },
	};
	char want[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span copy = exact_copy(rows[i].in);
		struct problem p = { .text = copy, .title = "t", .elapsed_ms = -1 };

		snprintf(want, sizeof(want),
		         "{\n  \"type\": \"about:blank\",\n  \"title\": \"t\",\n  \"text\": \"%s\"\n}\n", rows[i].out);
		assert_prints(&p, want);
		free((char *)(uintptr_t)copy.p);
	}
}

static void a_full_buffer_shows(void **state)
{
	struct problem p = { .status = 404 };
	struct buf out;

	(void)state;
	buf_init(&out, NULL, 10);
	problem_print(&p, &out);
	assert_true(out.failed);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_members_are_left_out),
		cmocka_unit_test(all_members_are_printed_in_order),
		cmocka_unit_test(bytes_that_are_no_utf_8_are_replaced),
		cmocka_unit_test(a_full_buffer_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
