/* Heads: the rows and points of what llhttp 8.1 lets through, on requests and responses, and the rules
 * of RFC 9110 and 9112 about hosts, targets, framing and connections. */
#include "http/llhttp_cpu.h"
#include "tests/unit/http/support.h"

static struct arena arena;
static struct http_head head;
static struct http_refusal why;

static int arena_setup(void **state)
{
	(void)state;
	arena_init(&arena, NULL, 0, 0);
	return 0;
}

static int arena_teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* As a connection does it: guard, then parser. The guard's refusal counts as 400. */
static int read_head(struct span text, const struct http_head *to, bool response)
{
	struct head_guard guard = { 0 };
	struct span copy;
	int rc;

	switch (head_guard_feed(&guard, text, &why.reason)) {
	case GUARD_REFUSED:
		why.status = response ? 502 : 400;
		return ERR_SYNTAX;
	case GUARD_MORE:
		fail_msg("not a whole head");
		break;
	case GUARD_COMPLETE:
		break;
	}
	assert_int_equal(guard.seen, text.n);
	/* in the arena of the test: freed with it, and exact for the sanitizer's sake below */
	copy = exact_copy(text);
	rc = response ? http_response_parse(&arena, copy, to, &head, &why)
	              : http_request_parse(&arena, copy, &head, &why);
	free((char *)(uintptr_t)copy.p);
	if (rc)
		return rc;
	/* and again on memory that stays, for the spans */
	copy = arena_dup(&arena, text);
	return response ? http_response_parse(&arena, copy, to, &head, &why)
	                : http_request_parse(&arena, copy, &head, &why);
}

static int request(const char *text)
{
	return read_head(span_of(text), NULL, false);
}

static int response(const char *text, const struct http_head *to)
{
	return read_head(span_of(text), to, true);
}

#define assert_request(text) \
	do { \
		if (request(text)) \
			fail_msg("refused: %s", why.reason); \
	} while (0)

#define assert_response(text, to) \
	do { \
		if (response(text, to)) \
			fail_msg("refused: %s", why.reason); \
	} while (0)

#define assert_no_request(text, code) \
	do { \
		assert_int_equal(request(text), ERR_SYNTAX); \
		if (why.status != (code)) \
			fail_msg("%u, not %u: %s", why.status, (unsigned)(code), why.reason); \
		assert_true(strlen(why.reason) > 10); \
	} while (0)

#define assert_no_response(text, to) \
	do { \
		assert_int_equal(response(text, to), ERR_SYNTAX); \
		assert_int_equal(why.status, 502); \
	} while (0)

#define GET_HOST "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST_HOST "POST / HTTP/1.1\r\nHost: a\r\n"
#define OK_LINE "HTTP/1.1 200 OK\r\n"

static void a_request_comes_out_in_parts(void **state)
{
	(void)state;
	assert_request("PUT /a/b?c=d HTTP/1.1\r\nhOST: h:80\r\nX-Empty:\r\nX-Blank: \t \r\nX: \t v w\t \r\n"
	               "Content-Length: 5\r\nAuthorization: x\r\n\r\n");
	assert_span(head.method, "PUT");
	assert_span(head.target, "/a/b?c=d");
	assert_span(head.path_query, "/a/b?c=d");
	assert_span(head.path, "/a/b");
	assert_span(head.host, "h:80");
	assert_int_equal(head.method_kind, HTTP_METHOD_IDEMPOTENT);
	assert_int_equal(head.minor, 1);
	assert_int_equal(head.field_count, 6);
	assert_span(head.fields[0].name, "hOST");
	assert_int_equal(head.fields[0].id, HTTP_HOST);
	assert_span(head.fields[1].value, "");
	assert_span(head.fields[2].value, "");
	assert_span(head.fields[3].value, "v w");
	assert_int_equal(head.fields[5].id, HTTP_AUTHORIZATION);
	assert_int_equal(head.framing, HTTP_LENGTH);
	assert_int_equal(head.content_length, 5);
	assert_true(head.keep_alive);
	assert_false(head.is_head || head.is_connect || head.upgrade || head.expect_continue);
}

static void a_response_comes_out_in_parts(void **state)
{
	(void)state;
	assert_response("HTTP/1.1 404 Not  Found\tx\xc3\xa4\r\nServer: s\r\nContent-Length: 0\r\n\r\n", NULL);
	assert_int_equal(head.status, 404);
	assert_span(head.reason, "Not  Found\tx\xc3\xa4");
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_true(head.has_content_length && head.keep_alive);
	assert_int_equal(head.fields[0].id, HTTP_SERVER);
	assert_response("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", NULL);
	assert_int_equal(head.reason.n, 0);
	assert_response("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", NULL);
	assert_int_equal(head.reason.n, 0);
}

/* ---- the rows -------------------------------------------------------------------------------- */

static void bare_cr_is_refused(void **state)
{
	(void)state;
	assert_no_request(GET_HOST "X-Abc:\rxTransfer-Encoding: chunked\r\n\r\n", 400);
	assert_no_response(OK_LINE "X-Abc:\rxTransfer-Encoding: chunked\r\n\r\n", NULL);
}

static void folded_lines_are_refused(void **state)
{
	(void)state;
	assert_no_request(GET_HOST "A: b\r\n c\r\n\r\n", 400);
	assert_no_response(OK_LINE "A: b\r\n\tc\r\n\r\n", NULL);
}

static void a_blank_before_the_colon_is_refused(void **state)
{
	(void)state;
	assert_no_request("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400);
	assert_no_response(OK_LINE "Content-Length : 5\r\n\r\n", NULL);
}

static void http_1_0_with_transfer_encoding_is_refused(void **state)
{
	(void)state;
	assert_no_request("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
	assert_no_response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NULL);
}

static void a_request_without_version_is_refused(void **state)
{
	(void)state;
	assert_no_request("GET /\r\n\r\n", 400);
	assert_no_request("GET /\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET\r\n\r\n", 400);
	assert_no_request("GET / http/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET / HTTP/1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void host_is_there_exactly_once(void **state)
{
	(void)state;
	assert_no_request("GET / HTTP/1.1\r\n\r\n", 400);
	assert_no_request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
	assert_no_request("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400);
	assert_no_request("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http://a/ HTTP/1.1\r\n\r\n", 400);
	assert_request("GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(head.host.n, 0);
}

static void doubtful_lengths_are_refused(void **state)
{
	const char *fields[] = {
		"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
		"Content-Length: 4\r\nContent-Length: 4\r\n",
		"Content-Length: 4\r\nContent-Length: 5\r\n",
		"Content-Length: 4, 4\r\n",
		"Content-Length: +4\r\n",
		"Content-Length: -1\r\n",
		"Content-Length: 0x4\r\n",
		"Content-Length: 4 4\r\n",
		"Content-Length: 4;\r\n",
		"Content-Length: 4.0\r\n",
		"Content-Length:\r\n",
		"Content-Length: \"4\"\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding: chunkedx\r\n",
		"Transfer-Encoding: chunked, gzip\r\n",
		"Transfer-Encoding: chunked, chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"Transfer-Encoding: identity\r\n",
		"Transfer-Encoding: \"chunked\"\r\n",
		"Transfer-Encoding: chunked;a=b\r\n",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(text, sizeof(text), POST_HOST "%s\r\n", fields[i]);
		if (request(text) != ERR_SYNTAX || why.status != 400)
			fail_msg("request passed: %s", fields[i]);
		snprintf(text, sizeof(text), OK_LINE "%s\r\n", fields[i]);
		if (response(text, NULL) != ERR_SYNTAX || why.status != 502)
			fail_msg("response passed: %s", fields[i]);
	}
}

static void what_strict_llhttp_lets_through_is_refused(void **state)
{
	(void)state;
	assert_no_request("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
	assert_no_request(GET_HOST ": a\r\n\r\n", 400);
	assert_no_request("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request(GET_HOST "A: b\r\n\n", 400);
	assert_no_response("HTTP/1.1 200 OK\nA: b\r\n\r\n", NULL);
	assert_no_response(OK_LINE ": a\r\n\r\n", NULL);
	assert_no_response(OK_LINE "A: b\r\n\n", NULL);
}

/* ---- the numbered points --------------------------------------------------------------------- */

static void point_1_transfer_encoding_is_exactly_chunked(void **state)
{
	(void)state;
	assert_request(POST_HOST "Transfer-Encoding: chunked\r\n\r\n");
	assert_int_equal(head.framing, HTTP_CHUNKED);
	assert_request(POST_HOST "transfer-encoding: \tCHUNKED \t\r\n\r\n");
	assert_int_equal(head.framing, HTTP_CHUNKED);
	assert_response(OK_LINE "Transfer-Encoding: Chunked\r\n\r\n", NULL);
	assert_int_equal(head.framing, HTTP_CHUNKED);
	assert_true(head.keep_alive);
	assert_no_request(POST_HOST "Transfer-Encoding: ,chunked\r\n\r\n", 400);
	assert_no_request(POST_HOST "Transfer-Encoding: chunked,\r\n\r\n", 400);
	assert_no_request(POST_HOST "Transfer-Encoding:\r\n\r\n", 400);
	assert_no_request(POST_HOST "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n", 400);
	assert_no_request(POST_HOST "Content-Length: 5\r\nTransfer-Encoding: \r\n\r\n", 400);
	assert_no_request(POST_HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
	assert_no_response(OK_LINE "Transfer-Encoding: ,chunked\r\n\r\n", NULL);
	assert_no_response(OK_LINE "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL);
	assert_no_response(OK_LINE "Transfer-Encoding: gzip\r\n\r\n", NULL);
	assert_no_response(OK_LINE "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n", NULL);
}

static void point_2_content_length_is_below_2_63(void **state)
{
	(void)state;
	assert_request(POST_HOST "Content-Length: 9223372036854775807\r\n\r\n");
	assert_int_equal(head.content_length, INT64_MAX);
	assert_no_request(POST_HOST "Content-Length: 9223372036854775808\r\n\r\n", 400);
	assert_no_request(POST_HOST "Content-Length: 18446744073709551615\r\n\r\n", 400);
	assert_no_request(POST_HOST "Content-Length: 18446744073709551616\r\n\r\n", 400);
	assert_no_response(OK_LINE "Content-Length: 9223372036854775808\r\n\r\n", NULL);
	assert_no_response(OK_LINE "Content-Length: 18446744073709551616\r\n\r\n", NULL);
	assert_request(POST_HOST "Content-Length: 007\r\n\r\n");
	assert_int_equal(head.content_length, 7);
}

static void point_3_answers_without_body_have_none(void **state)
{
	struct http_head to_head = { .is_head = true }, to_get = { 0 }, to_connect = { .is_connect = true };

	(void)state;
	assert_response(OK_LINE "Content-Length: 5\r\n\r\n", &to_head);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_int_equal(head.content_length, 5);
	assert_true(head.has_content_length && head.keep_alive);
	assert_response(OK_LINE "Transfer-Encoding: chunked\r\n\r\n", &to_head);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_response(OK_LINE "\r\n", &to_head);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_true(head.keep_alive);
	assert_response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_int_equal(head.content_length, 5);
	assert_response("HTTP/1.1 204 No Content\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_true(head.keep_alive);
	assert_response("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &to_get);
	assert_true(head.keep_alive);
	assert_response("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_false(head.keep_alive);
	assert_response("HTTP/1.1 100 Continue\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_true(head.keep_alive);
	assert_response("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", &to_get);
	assert_no_response("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", &to_get);
	assert_no_response("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", &to_get);
	assert_response(OK_LINE "\r\n", &to_connect);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_response(OK_LINE "Content-Length: 5\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_LENGTH);
	assert_response("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", &to_get);
	assert_int_equal(head.framing, HTTP_NO_BODY);
}

static void a_response_without_length_goes_until_close(void **state)
{
	(void)state;
	assert_response(OK_LINE "\r\n", NULL);
	assert_int_equal(head.framing, HTTP_UNTIL_CLOSE);
	assert_false(head.keep_alive);
	assert_response("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", NULL);
	assert_int_equal(head.framing, HTTP_UNTIL_CLOSE);
	assert_false(head.keep_alive);
	assert_request(POST_HOST "\r\n");
	assert_int_equal(head.framing, HTTP_NO_BODY);
}

static void point_4_statuses_have_three_digits(void **state)
{
	const char *bad[] = { "HTTP/1.1 2 OK", "HTTP/1.1 20 OK", "HTTP/1.1  OK", "HTTP/1.1 OK", "HTTP/1.1",
		              "HTTP/1.1 2000 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK",
		              "HTTP/1.1 600 OK", "HTTP/1.1 998 OK", "HTTP/1.1 200OK", "HTTP/1.1 -20 OK",
		              "HTTP/1.1  200 OK", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK",
		              "HTTP/11 200 OK", "http/1.1 200 OK", "ICY 200 OK", "HTTP/1.1 200\tOK",
		              "HTTP/1.1 200 O\x7fK", "HTTP/1.1 200 O\x01K" };
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "%s\r\nContent-Length: 0\r\n\r\n", bad[i]);
		if (response(text, NULL) != ERR_SYNTAX)
			fail_msg("passed: %s", bad[i]);
	}
	assert_int_equal(read_head(SPAN("HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"), NULL, true), ERR_SYNTAX);
	assert_response("HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", NULL);
	assert_response("HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", NULL);
}

static void point_5_upgrades_are_told_apart(void **state)
{
	struct http_head to;

	(void)state;
	assert_request(GET_HOST "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n");
	assert_true(head.upgrade && head.keep_alive);
	to = head;
	assert_response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	                &to);
	assert_true(head.upgrade);
	assert_int_equal(head.framing, HTTP_NO_BODY);
	assert_response(OK_LINE "Content-Length: 2\r\n\r\n", &to); /* declined */
	assert_int_equal(head.framing, HTTP_LENGTH);
	assert_no_response("HTTP/1.1 101 Switching Protocols\r\n\r\n", &to);
	assert_no_response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", &to);
	assert_no_response("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", NULL);
	assert_no_response("HTTP/1.1 101 x\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n", &to);
	assert_response("HTTP/1.1 101 x\r\nUpgrade: WebSocket, HTTP/1.1\r\nConnection: upgrade\r\n\r\n", &to);
	assert_request(GET_HOST "Upgrade: h2c\r\nConnection: upgrade\r\n\r\n");
	assert_false(head.upgrade);
	assert_request(GET_HOST "Upgrade: h2c, x\r\nConnection: upgrade\r\n\r\n");
	assert_true(head.upgrade);
	assert_request(POST_HOST "Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\n");
	assert_true(head.upgrade);
	assert_int_equal(head.framing, HTTP_LENGTH);
	assert_request(GET_HOST "Upgrade: websocket\r\n\r\n");
	assert_false(head.upgrade);
	assert_request(GET_HOST "Connection: upgrade\r\n\r\n");
	assert_false(head.upgrade);
	assert_request("GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
	assert_false(head.upgrade);
}

static void connect_names_an_authority_and_has_no_content(void **state)
{
	(void)state;
	assert_request("CONNECT a.b:443 HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(head.is_connect);
	assert_int_equal(head.target_form, HTTP_TARGET_AUTHORITY);
	assert_span(head.authority, "a.b:443");
	assert_span(head.host, "a.b:443");
	assert_request("CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_request("CONNECT a:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	assert_no_request("CONNECT a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT a: HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT a:70000 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT u@a:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_no_request("CONNECT a:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 400);
	assert_no_request("CONNECT a:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

static void point_6_targets_versions_and_methods(void **state)
{
	(void)state;
	assert_no_request("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(head.target_form, HTTP_TARGET_ASTERISK);
	assert_span(head.path_query, "*");
	assert_no_request("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http://a/#c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
	assert_no_request("PRI * HTTP/2.0\r\n\r\n", 505);
	assert_no_request("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505);
	assert_no_request("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505);
	assert_no_request("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
	assert_no_request("FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	assert_no_request("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	assert_no_request("GETX / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	assert_no_request("GE / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	assert_no_request("DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	assert_no_request("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void methods_have_their_kinds(void **state)
{
	static const struct {
		const char *method;
		enum http_method_kind kind;
	} rows[] = {
		{ "GET", HTTP_METHOD_SAFE }, { "HEAD", HTTP_METHOD_SAFE }, { "OPTIONS", HTTP_METHOD_SAFE },
		{ "TRACE", HTTP_METHOD_SAFE }, { "PROPFIND", HTTP_METHOD_SAFE }, { "REPORT", HTTP_METHOD_SAFE },
		{ "SEARCH", HTTP_METHOD_SAFE }, { "PUT", HTTP_METHOD_IDEMPOTENT },
		{ "DELETE", HTTP_METHOD_IDEMPOTENT }, { "MKCOL", HTTP_METHOD_IDEMPOTENT },
		{ "COPY", HTTP_METHOD_IDEMPOTENT }, { "MOVE", HTTP_METHOD_IDEMPOTENT },
		{ "PROPPATCH", HTTP_METHOD_IDEMPOTENT }, { "POST", HTTP_METHOD_OTHER },
		{ "PATCH", HTTP_METHOD_OTHER }, { "LOCK", HTTP_METHOD_OTHER }, { "PURGE", HTTP_METHOD_OTHER },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].method);
		assert_request(text);
		assert_int_equal(head.method_kind, rows[i].kind);
		assert_int_equal(head.is_head, !strcmp(rows[i].method, "HEAD"));
	}
}

static void point_7_connection_options_decide_persistence(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive;
	} rows[] = {
		{ GET_HOST "\r\n", true },
		{ GET_HOST "Connection: close\r\n\r\n", false },
		{ GET_HOST "Connection: close\t\r\n\r\n", false },
		{ GET_HOST "Connection:\tCLOSE \r\n\r\n", false },
		{ GET_HOST "Connection: x, close ,y\r\n\r\n", false },
		{ GET_HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", false },
		{ GET_HOST "Connection: closed\r\n\r\n", true },
		{ GET_HOST "Connection:\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\t\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_request(rows[i].text);
		if (head.keep_alive != rows[i].keep_alive)
			fail_msg("%s", rows[i].text);
	}
	assert_response(OK_LINE "Content-Length: 1\r\nConnection: close\t\r\n\r\n", NULL);
	assert_false(head.keep_alive);
	assert_response("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", NULL);
	assert_true(head.keep_alive);
	assert_response("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", NULL);
	assert_false(head.keep_alive);
}

static void point_7_fields_are_bounded(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	buf_add_z(&b, GET_HOST);
	for (int i = 1; i < HTTP_FIELDS_MAX; i++)
		buf_addf(&b, "A%d: %d\r\n", i, i);
	buf_add_z(&b, "\r\n");
	assert_request(buf_cstr(&b));
	assert_int_equal(head.field_count, HTTP_FIELDS_MAX);
	assert_span(head.fields[511].value, "511");
	assert_span(head.fields[24].name, "A24");
	b.wr -= 2;
	buf_add_z(&b, "One-More: x\r\n\r\n");
	assert_no_request(buf_cstr(&b), 431);
	buf_fini(&b);
}

/* ---- hosts and absolute targets -------------------------------------------------------------- */

static void hosts_follow_their_syntax(void **state)
{
	const char *good[] = { "a", "a.b-c_d~e:80", "127.0.0.1:65535", "[::1]", "[::1]:8080", "a:", "a%2fb",
		               "[::ffff:1.2.3.4]" };
	const char *bad[] = { "", " ", "a b", "a, b", "a:b", "a:80:80", "a:65536", "a:-1", ":80", "http://a", "a/b",
		              "a?b", "a#b", "u@a", "[::1", "::1", "[::1]x", "[]", "[g::]", "[::1%25eth0]", "a%2",
		              "a%zz", "\"a\"", "a\\b", "<a>", "\xc3\xa4", "[::1]:", "a\tb" };
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
		assert_request(text);
		assert_true(span_eq(head.host, span_of(good[i])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
		if (!strcmp(bad[i], "[::1]:")) {
			assert_request(text); /* an empty port is one */
			continue;
		}
		if (request(text) != ERR_SYNTAX || why.status != 400)
			fail_msg("passed: %s", bad[i]);
	}
}

static void absolute_targets_decide_the_host(void **state)
{
	(void)state;
	assert_request("GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(head.target_form, HTTP_TARGET_ABSOLUTE);
	assert_span(head.scheme, "http");
	assert_span(head.authority, "b:81");
	assert_span(head.host, "b:81");
	assert_span(head.path_query, "/c?d");
	assert_span(head.path, "/c");
	assert_request("GET HTTPS://[::1] HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_span(head.scheme, "HTTPS");
	assert_span(head.path_query, "/");
	assert_span(head.authority, "[::1]");
	assert_request("GET http://b?c=/d HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_span(head.authority, "b");
	assert_span(head.path_query, "/?c=/d");
	assert_span(head.path, "/");
	assert_request("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_span(head.path_query, "*");
	assert_request("OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_span(head.path_query, "/");
	assert_no_request("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http://b:x/c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET ftp://b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http:/b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400);
	assert_no_request("GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
}

static void continue_is_expected_by_http_1_1_only(void **state)
{
	(void)state;
	assert_request(POST_HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n");
	assert_true(head.expect_continue);
	assert_no_request(POST_HOST "Expect: other\r\nContent-Length: 1\r\n\r\n", 417);
	assert_request("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	assert_false(head.expect_continue);
}

static void missing_memory_is_told_from_bad_syntax(void **state)
{
	struct arena tiny;
	char room[16];

	(void)state;
	arena_init(&tiny, room, sizeof(room), 1);
	assert_int_equal(http_request_parse(&tiny, SPAN(GET_HOST "\r\n"), &head, &why), ERR_NOMEM);
	assert_int_equal(http_response_parse(&tiny, SPAN(OK_LINE "A: b\r\n\r\n"), NULL, &head, &why), ERR_NOMEM);
	arena_fini(&tiny);
}

#define test(name) cmocka_unit_test_setup_teardown(name, arena_setup, arena_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_request_comes_out_in_parts),
		test(a_response_comes_out_in_parts),
		test(bare_cr_is_refused),
		test(folded_lines_are_refused),
		test(a_blank_before_the_colon_is_refused),
		test(http_1_0_with_transfer_encoding_is_refused),
		test(a_request_without_version_is_refused),
		test(host_is_there_exactly_once),
		test(doubtful_lengths_are_refused),
		test(what_strict_llhttp_lets_through_is_refused),
		test(point_1_transfer_encoding_is_exactly_chunked),
		test(point_2_content_length_is_below_2_63),
		test(point_3_answers_without_body_have_none),
		test(a_response_without_length_goes_until_close),
		test(point_4_statuses_have_three_digits),
		test(point_5_upgrades_are_told_apart),
		test(connect_names_an_authority_and_has_no_content),
		test(point_6_targets_versions_and_methods),
		test(methods_have_their_kinds),
		test(point_7_connection_options_decide_persistence),
		test(point_7_fields_are_bounded),
		test(hosts_follow_their_syntax),
		test(absolute_targets_decide_the_host),
		test(continue_is_expected_by_http_1_1_only),
		test(missing_memory_is_told_from_bad_syntax),
	};

	int failed = cmocka_run_group_tests_name("head", tests, NULL, NULL);

#ifdef LLHTTP_SSE42
	llhttp_any_cpu = true;
	failed += cmocka_run_group_tests_name("head, parser for any processor", tests, NULL, NULL);
#endif
	return failed;
}
