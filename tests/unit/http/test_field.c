/* Field ids, lists, hop-by-hop fields, reasons. */
#include "tests/unit/http/support.h"

#include <ctype.h>

static void every_known_name_has_its_id(void **state)
{
	static const struct {
		const char *name;
		enum http_field_id id;
	} known[] = {
#define ROW(id, name) { name, id },
		HTTP_FIELDS(ROW)
#undef ROW
	};
	char upper[64];

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t n = strlen(known[i].name);

		for (size_t j = 0; j <= n; j++)
			upper[j] = (char)toupper((unsigned char)known[i].name[j]);
		assert_int_equal(http_field_id(span_make(known[i].name, n)), known[i].id);
		assert_int_equal(http_field_id(span_make(upper, n)), known[i].id);
		upper[n - 1]++;
		assert_int_not_equal(http_field_id(span_make(upper, n)), known[i].id);
	}
}

static void names_by_prefix_have_ids_of_their_own(void **state)
{
	(void)state;
	assert_int_equal(http_field_id(SPAN("X-Scope-Served-By")), HTTP_X_SCOPE_ANY);
	assert_int_equal(http_field_id(SPAN("x-scope-")), HTTP_X_SCOPE_ANY);
	assert_int_equal(http_field_id(SPAN("X-Scopemesh-Whatever")), HTTP_X_SCOPEMESH_ANY);
	assert_int_equal(http_field_id(SPAN("X-Scopes")), HTTP_OTHER);
	assert_int_equal(http_field_id(SPAN("")), HTTP_OTHER);
	assert_int_equal(http_field_id(SPAN("keep\ralive")), HTTP_OTHER);
}

static void lists_give_members_without_empty_ones(void **state)
{
	struct span rest = SPAN(" a,, \"b,\\\",c\" ;q=1 ,\t, d,"), m;

	(void)state;
	assert_true(http_list_next(&rest, &m));
	assert_span(m, "a");
	assert_true(http_list_next(&rest, &m));
	assert_span(m, "\"b,\\\",c\" ;q=1");
	assert_true(http_list_next(&rest, &m));
	assert_span(m, "d");
	assert_false(http_list_next(&rest, &m));
}

static void lists_with_an_open_quote_end(void **state)
{
	const char *open[] = { "\"a,b", "\"a\\", "\"" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct span rest = exact_copy(span_of(open[i])), all = rest, m;

		assert_true(http_list_next(&rest, &m));
		assert_true(span_eq(m, all));
		assert_false(http_list_next(&rest, &m));
		free((char *)(uintptr_t)all.p);
	}
}

static void list_tokens_are_compared_whole_and_without_case(void **state)
{
	(void)state;
	assert_true(http_list_has(SPAN("keep-alive, Close"), SPAN("close")));
	assert_true(http_list_has(SPAN("close\t"), SPAN("close")));
	assert_false(http_list_has(SPAN("closed, x-close"), SPAN("close")));
	assert_false(http_list_has(SPAN("\"close\""), SPAN("close")));
	assert_false(http_list_has(SPAN(""), SPAN("close")));
}

static struct http_field field(const char *name, const char *value)
{
	return (struct http_field){
		.name = span_of(name),
		.value = span_of(value),
		.id = (uint8_t)http_field_id(span_of(name)),
	};
}

static void find_and_count_look_at_all_fields(void **state)
{
	struct http_field fields[] = { field("A", "1"), field("via", "x"), field("Via", "y"), field("a", "2") };
	struct http_head head = { .fields = fields, .field_count = 4 };

	(void)state;
	assert_ptr_equal(http_find(&head, HTTP_VIA), &fields[1]);
	assert_null(http_find(&head, HTTP_HOST));
	assert_int_equal(http_count(&head, HTTP_VIA), 2);
	assert_ptr_equal(http_find_name(&head, SPAN("a")), &fields[0]);
	assert_null(http_find_name(&head, SPAN("b")));
}

static void hop_by_hop_fields_are_dropped(void **state)
{
	const char *hop[] = { "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
	                      "Transfer-Encoding", "Upgrade", "Content-Length", "Proxy-Authenticate",
	                      "Proxy-Authorization" };
	struct http_field fields[12];
	struct http_head head = { .fields = fields, .field_count = 12 };

	(void)state;
	for (size_t i = 0; i < 10; i++)
		fields[i] = field(hop[i], "");
	fields[10] = field("Content-Type", "");
	fields[11] = field("WWW-Authenticate", "");
	http_drop_hop_by_hop(&head);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(fields[i].drop, i < 10);
}

static void fields_named_in_connection_are_dropped_but_not_end_to_end_ones(void **state)
{
	struct http_field fields[] = {
		field("X-One", ""),
		field("Connection", "x-ONE, , host, close"),
		field("Host", "a"),
		field("X-Two", ""),
		field("x-one", ""),
		field("Connection", "\tx-two,Content-Type,X-Scope, x-scopemesh-hold, X-Forwarded-For"),
		field("Content-Type", ""),
		field("X-Scope", ""),
		field("X-Scopemesh-Hold", ""),
		field("X-Forwarded-For", ""),
		field("X-Three", ""),
	};
	const int dropped[] = { 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0 };
	struct http_head head = { .fields = fields, .field_count = 11 };

	(void)state;
	http_drop_hop_by_hop(&head);
	for (size_t i = 0; i < 11; i++)
		assert_int_equal(fields[i].drop, dropped[i]);
}

static void reasons_are_known_or_empty(void **state)
{
	(void)state;
	assert_string_equal(http_reason(200), "OK");
	assert_string_equal(http_reason(508), "Loop Detected");
	assert_string_equal(http_reason(299), "");
	assert_string_equal(http_reason(0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_known_name_has_its_id),
		cmocka_unit_test(names_by_prefix_have_ids_of_their_own),
		cmocka_unit_test(lists_give_members_without_empty_ones),
		cmocka_unit_test(lists_with_an_open_quote_end),
		cmocka_unit_test(list_tokens_are_compared_whole_and_without_case),
		cmocka_unit_test(find_and_count_look_at_all_fields),
		cmocka_unit_test(hop_by_hop_fields_are_dropped),
		cmocka_unit_test(fields_named_in_connection_are_dropped_but_not_end_to_end_ones),
		cmocka_unit_test(reasons_are_known_or_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
