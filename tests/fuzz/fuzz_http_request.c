/* Request heads: the guard's verdict does not depend on splits; what is accepted keeps the rules that
 * the proxy relies on, and reads nothing outside the head. */
#include "tests/fuzz/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_make((const char *)data, size);
	struct span head = guarded_head(span_from(input, http_skip_blank_lines(input)));
	struct http_refusal why = { 0 };
	struct http_head h;
	struct arena arena;
	int rc;

	if (!head.p)
		return 0;
	arena_init(&arena, NULL, 0, 0);
	rc = http_request_parse(&arena, head, &h, &why);
	if (rc) {
		REQUIRE(rc == ERR_SYNTAX && why.reason && why.status >= 400 && why.status <= 505);
	} else {
		check_fields(&h, head);
		REQUIRE(lies_in(h.method, head) && lies_in(h.target, head) && h.method.n && h.target.n);
		REQUIRE(http_count(&h, HTTP_HOST) + (h.minor == 0) >= 1 && http_count(&h, HTTP_HOST) <= 1);
		REQUIRE(h.framing != HTTP_UNTIL_CLOSE);
		REQUIRE(h.is_connect || *h.path_query.p == '/' || h.method_kind == HTTP_METHOD_SAFE);
		REQUIRE(h.path.n <= h.path_query.n && span_find(h.host, '@') == h.host.n);
		http_drop_hop_by_hop(&h);
	}
	arena_fini(&arena);
	free((char *)(uintptr_t)head.p);
	return 0;
}
