/* Response heads, as answers to GET, HEAD, CONNECT and an upgrade (the first byte of the input says
 * which). */
#include "tests/fuzz/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head to = { 0 }, h;
	struct http_refusal why = { 0 };
	struct arena arena;
	struct span head;
	int rc;

	if (!size)
		return 0;
	to.is_head = data[0] & 1;
	to.is_connect = data[0] & 2;
	to.upgrade = data[0] & 4;
	head = guarded_head(span_make((const char *)data + 1, size - 1));
	if (!head.p)
		return 0;
	arena_init(&arena, NULL, 0, 0);
	rc = http_response_parse(&arena, head, &to, &h, &why);
	if (rc) {
		REQUIRE(rc == ERR_SYNTAX && why.reason && why.status == 502);
	} else {
		check_fields(&h, head);
		REQUIRE(h.status >= 100 && (h.status <= 599 || h.status == 999));
		REQUIRE(h.framing == HTTP_NO_BODY ||
		        !(to.is_head || h.status < 200 || h.status == 204 || h.status == 304));
		REQUIRE(h.framing != HTTP_UNTIL_CLOSE || !h.keep_alive);
		REQUIRE(h.status != 101 || (h.upgrade && to.upgrade));
		http_drop_hop_by_hop(&h);
	}
	arena_fini(&arena);
	free((char *)(uintptr_t)head.p);
	return 0;
}
