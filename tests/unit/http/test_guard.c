/* The guard: every input is fed whole, byte by byte, and split in two at every position; the verdict,
 * the length and the reason must be the same. */
#include "tests/unit/http/support.h"

struct outcome {
	enum guard_verdict verdict;
	size_t seen;
	const char *reason;
};

static struct outcome feed(struct span input, const size_t *cuts, size_t count)
{
	struct head_guard guard = { 0 };
	struct outcome o = { GUARD_MORE, 0, NULL };
	struct span copy;

	for (size_t i = 0; i < count && o.verdict == GUARD_MORE; i++) {
		copy = exact_copy(span_head(input, cuts[i]));
		o.verdict = head_guard_feed(&guard, copy, &o.reason);
		free((char *)(uintptr_t)copy.p);
	}
	o.seen = o.verdict == GUARD_REFUSED ? 0 : guard.seen;
	return o;
}

static void assert_same(struct outcome a, struct outcome b)
{
	assert_int_equal(a.verdict, b.verdict);
	assert_int_equal(a.seen, b.seen);
	assert_ptr_equal(a.reason, b.reason);
}

static struct outcome judge(struct span input)
{
	size_t cuts[2] = { input.n, 0 }, bytes[512];
	struct outcome whole = feed(input, cuts, 1);

	assert_true(input.n <= 512);
	for (size_t i = 0; i < input.n; i++) {
		bytes[i] = i + 1;
		cuts[0] = i;
		cuts[1] = input.n;
		assert_same(feed(input, cuts, 2), whole);
	}
	assert_same(feed(input, bytes, input.n), whole);
	return whole;
}

#define assert_complete(lit) \
	do { \
		struct outcome o_ = judge(SPAN(lit)); \
		assert_int_equal(o_.verdict, GUARD_COMPLETE); \
		assert_int_equal(o_.seen, sizeof(lit) - 1); \
	} while (0)

#define assert_refused(lit, part) \
	do { \
		struct outcome o_ = judge(SPAN(lit)); \
		assert_int_equal(o_.verdict, GUARD_REFUSED); \
		if (!strstr(o_.reason, part)) \
			fail_msg("refused for another reason: %s", o_.reason); \
	} while (0)

static void takes_well_formed_heads(void **state)
{
	(void)state;
	assert_complete("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_complete("GET / HTTP/1.1\r\n\r\n");
	assert_complete("GET /\r\n\r\n"); /* the version is head.c's */
	assert_complete("H / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_complete("HTTP / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_complete("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
	assert_complete("HTTP/1.1 200 \r\n\r\n");
	assert_complete("HTTP/1.1 200 two  blanks\tand a tab\r\n\r\n");
	assert_complete("GET / HTTP/1.1\r\nA:\r\nB: \t \r\nC: \xc3\xa4\t\"x\" \xff\x80\r\n\r\n");
	assert_complete("GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~09azAZ: a value of more than eight bytes\r\n\r\n");
}

static void says_where_the_head_ends(void **state)
{
	struct outcome o = judge(SPAN("GET / HTTP/1.1\r\nA: b\r\n\r\nbody\n\r\0"));

	(void)state;
	assert_int_equal(o.verdict, GUARD_COMPLETE);
	assert_int_equal(o.seen, 24);
}

static void wants_more_of_a_head_that_goes_on(void **state)
{
	struct span head = SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

	(void)state;
	for (size_t n = 0; n < head.n; n++) {
		struct outcome o = judge(span_head(head, n));

		assert_int_equal(o.verdict, GUARD_MORE);
		assert_int_equal(o.seen, n);
	}
}

/* facts: CVE-2023-30589 */
static void refuses_bare_cr(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n", "carriage return");
	assert_refused("HTTP/1.1 200 OK\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n", "carriage return");
	assert_refused("GET / HTTP/1.1\rHost: a\r\n\r\n", "carriage return");
	assert_refused("HTTP/1.1 200 OK\rA: b\r\n\r\n", "carriage return");
	assert_refused("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", "carriage return");
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n\rX", "carriage return");
}

static void refuses_bare_lf(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\nHost: a\r\n\r\n", "line feed");
	assert_refused("HTTP/1.1 200 OK\nA: b\r\n\r\n", "line feed");
	assert_refused("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "line feed");
	assert_refused("GET / HTTP/1.1\r\nA\n: b\r\n\r\n", "line feed");
	assert_refused("GET / HTTP/1.1\r\nA: 12345678\nC: d\r\n\r\n", "line feed");
	assert_refused("\nGET / HTTP/1.1\r\n\r\n", "line feed");
}

static void refuses_crlf_lf_as_the_end(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n\n", "line feed");
	assert_refused("HTTP/1.1 200 OK\r\nA: b\r\n\n", "line feed");
	assert_refused("GET / HTTP/1.1\r\n\n", "line feed");
}

static void refuses_folded_lines(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "folded");
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", "folded");
	assert_refused("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "folded");
	assert_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded");
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n", "folded");
}

static void refuses_blanks_in_and_after_names(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "blank");
	assert_refused("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", "blank");
	assert_refused("GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "blank");
	assert_refused("HTTP/1.1 200 OK\r\nServer : a\r\n\r\n", "blank");
}

static void refuses_names_that_are_no_tokens(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\n: a\r\n\r\n", "no name");
	assert_refused("HTTP/1.1 200 OK\r\n: a\r\n\r\n", "no name");
	assert_refused("GET / HTTP/1.1\r\nA(b: c\r\n\r\n", "byte");
	assert_refused("GET / HTTP/1.1\r\nA\x80: c\r\n\r\n", "byte");
	assert_refused("GET / HTTP/1.1\r\nA\0: c\r\n\r\n", "byte");
	assert_refused("GET / HTTP/1.1\r\nno colon\r\n\r\n", "blank");
	assert_refused("GET / HTTP/1.1\r\nnocolon\r\n\r\n", "colon");
	assert_refused("HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", "colon");
}

static void refuses_controls(void **state)
{
	(void)state;
	for (int c = 0; c < 0x20; c++) {
		char value[] = "GET / HTTP/1.1\r\nA: 1234?5678901234\r\n\r\n";
		char reason[] = "HTTP/1.1 200 1234567?\r\n\r\n";
		char target[] = "GET /? HTTP/1.1\r\n\r\n";

		*strchr(value, '?') = (char)c;
		*strchr(reason, '?') = (char)c;
		*strchr(target, '?') = (char)c;
		assert_int_equal(judge(span_make(value, sizeof(value) - 1)).verdict,
		                 c == '\t' ? GUARD_COMPLETE : GUARD_REFUSED);
		assert_int_equal(judge(span_make(reason, sizeof(reason) - 1)).verdict,
		                 c == '\t' ? GUARD_COMPLETE : GUARD_REFUSED);
		assert_int_equal(judge(span_make(target, sizeof(target) - 1)).verdict, GUARD_REFUSED);
	}
	assert_refused("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", "control");
	assert_refused("HTTP/1.1 200 O\0K\r\n\r\n", "control");
	assert_refused("GET /\x7f HTTP/1.1\r\n\r\n", "control");
}

static void refuses_blanks_too_many_in_a_request_line(void **state)
{
	(void)state;
	assert_refused("GET  / HTTP/1.1\r\n\r\n", "blank");
	assert_refused("GET /  HTTP/1.1\r\n\r\n", "blank");
	assert_refused("GET / HTTP/1.1 \r\n\r\n", "blank");
	assert_refused(" GET / HTTP/1.1\r\n\r\n", "blank");
	assert_refused("GET\t/ HTTP/1.1\r\n\r\n", "control");
}

static void leaves_leading_empty_lines_to_the_caller(void **state)
{
	struct head_guard guard = { 0 };
	const char *reason;

	(void)state;
	assert_refused("\r\nGET / HTTP/1.1\r\n\r\n", "empty line");
	assert_int_equal(head_guard_feed(&guard, SPAN("\r"), &reason), GUARD_MORE);
	assert_int_equal(guard.seen, 0);
	assert_int_equal(http_skip_blank_lines(SPAN("\r\nGET")), 2);
	assert_int_equal(http_skip_blank_lines(SPAN("\r\n\r\n\r")), 4);
	assert_int_equal(http_skip_blank_lines(SPAN("\r\n\r\n\r\n\r\n\r\n")), 8);
	assert_int_equal(http_skip_blank_lines(SPAN("\nGET")), 0);
	assert_int_equal(http_skip_blank_lines(SPAN("")), 0);
}

static void refusal_is_final(void **state)
{
	struct head_guard guard = { 0 };
	const char *reason = NULL, *again = NULL;

	(void)state;
	assert_int_equal(head_guard_feed(&guard, SPAN("GET /\n"), &reason), GUARD_REFUSED);
	assert_int_equal(head_guard_feed(&guard, SPAN("GET / HTTP/1.1\r\n\r\n"), &again), GUARD_REFUSED);
	assert_ptr_equal(reason, again);
}

static void tells_whether_the_first_line_has_ended(void **state)
{
	struct head_guard guard = { 0 };
	const char *reason;

	(void)state;
	assert_true(head_guard_in_first_line(&guard));
	assert_int_equal(head_guard_feed(&guard, SPAN("GET /long"), &reason), GUARD_MORE);
	assert_true(head_guard_in_first_line(&guard));
	assert_int_equal(head_guard_feed(&guard, SPAN("GET /long HTTP/1.1\r\nA"), &reason), GUARD_MORE);
	assert_false(head_guard_in_first_line(&guard));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_well_formed_heads),
		cmocka_unit_test(says_where_the_head_ends),
		cmocka_unit_test(wants_more_of_a_head_that_goes_on),
		cmocka_unit_test(refuses_bare_cr),
		cmocka_unit_test(refuses_bare_lf),
		cmocka_unit_test(refuses_crlf_lf_as_the_end),
		cmocka_unit_test(refuses_folded_lines),
		cmocka_unit_test(refuses_blanks_in_and_after_names),
		cmocka_unit_test(refuses_names_that_are_no_tokens),
		cmocka_unit_test(refuses_controls),
		cmocka_unit_test(refuses_blanks_too_many_in_a_request_line),
		cmocka_unit_test(leaves_leading_empty_lines_to_the_caller),
		cmocka_unit_test(refusal_is_final),
		cmocka_unit_test(tells_whether_the_first_line_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
