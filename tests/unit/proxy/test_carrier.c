/* proxy/carrier: how a scope comes in by header and baggage, and travels on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/carrier.h"

static struct arena arena;

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, NULL, 0, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static struct http_head request(const char *fields)
{
	struct http_refusal why;
	struct http_head head;
	char *text = arena_printf(&arena, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);

	assert_int_equal(http_request_parse(&arena, span_of(text), &head, &why), 0);
	return head;
}

static enum carrier_found get(const char *carrier, const char *fields, struct span *text_r)
{
	struct http_head head = request(fields);
	const char *why = NULL;
	enum carrier_found found = carrier_find(span_of(carrier))->get(&arena, &head, text_r, &why);

	if (found == CARRIER_REFUSED)
		assert_non_null(why);
	return found;
}

static void assert_put(const char *carrier, const char *fields, const char *scope, const char *want)
{
	struct http_head head = request(fields);
	struct buf out;

	buf_init(&out, NULL, 0);
	carrier_find(span_of(carrier))->put(&head, span_of(scope), &out);
	assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out);
}

static void the_header_is_taken_as_it_stands(void **state)
{
	struct span text;

	(void)state;
	assert_int_equal(get("header", "x-scope:  image: dc1; dc2 \r\n", &text), CARRIER_SCOPE);
	assert_true(span_eq(text, SPAN("image: dc1; dc2")));
	assert_int_equal(get("header", "x-scope:\r\n", &text), CARRIER_SCOPE);
	assert_int_equal(text.n, 0);
	assert_int_equal(get("header", "X-Scopes: a: b\r\n", &text), CARRIER_NONE);
	assert_put("header", "", "image: dc1", "X-Scope: image: dc1\r\n");
}

static void the_baggage_member_scope_is_decoded(void **state)
{
	struct span text;

	(void)state;
	assert_int_equal(get("baggage", "baggage: a=1, scope = image%3a%20dc1%3B%20dc2 ,b=2\r\n", &text),
	                 CARRIER_SCOPE);
	assert_true(span_eq(text, SPAN("image: dc1; dc2")));
	assert_int_equal(get("baggage", "baggage: a=1\r\nbaggage: scope=image:dc1+dc2\r\n", &text), CARRIER_SCOPE);
	assert_true(span_eq(text, SPAN("image:dc1+dc2")));
	assert_int_equal(get("baggage", "baggage: scopes=x,telescope=y\r\n", &text), CARRIER_NONE);
	assert_int_equal(get("baggage", "", &text), CARRIER_NONE);
}

/* A raw ";" would silently turn the rest of a scope into a property. */
static void a_baggage_scope_with_properties_is_refused(void **state)
{
	struct span text;

	(void)state;
	assert_int_equal(get("baggage", "baggage: scope=image:dc1;dc2\r\n", &text), CARRIER_REFUSED);
	assert_int_equal(get("baggage", "baggage: scope=image:dc1%zz\r\n", &text), CARRIER_REFUSED);
	assert_int_equal(get("baggage", "baggage: scope=image:dc1%2\r\n", &text), CARRIER_REFUSED);
	assert_int_equal(get("baggage", "baggage: scope=a:b,scope=c:d\r\n", &text), CARRIER_REFUSED);
	assert_int_equal(get("baggage", "baggage: a=1;p=2,scope=a:b\r\n", &text), CARRIER_SCOPE);
}

static void our_baggage_member_goes_first_and_replaces_an_older_one(void **state)
{
	(void)state;
	assert_put("baggage", "", "image: dc1; dc2", "baggage: scope=image:%20dc1%3B%20dc2\r\n");
	assert_put("baggage", "baggage: a=1;p, scope=x:y\r\nbaggage: b=2\r\n", "image: \"d,c\"",
	           "baggage: scope=image:%20%22d%2Cc%22,a=1;p,b=2\r\n");
}

static void baggage_keeps_to_64_members_and_8192_bytes(void **state)
{
	struct http_head head;
	struct buf fields, out;
	size_t members = 1;

	(void)state;
	buf_init(&fields, NULL, 0);
	for (int i = 0; i < 100; i++)
		buf_addf(&fields, "baggage: k%d=v\r\n", i);
	head = request(buf_cstr(&fields));
	buf_init(&out, NULL, 0);
	carrier_find(SPAN("baggage"))->put(&head, SPAN("image: dc1"), &out);
	for (size_t i = 0; i < buf_len(&out); i++)
		members += out.mem[i] == ',';
	assert_int_equal(members, BAGGAGE_MEMBERS);
	buf_fini(&fields);
	buf_fini(&out);
	for (int i = 0; i < 30; i++)
		buf_addf(&fields, "baggage: k%d=%01000d\r\n", i, 0);
	head = request(buf_cstr(&fields));
	carrier_find(SPAN("baggage"))->put(&head, SPAN("image: dc1"), &out);
	assert_in_range(buf_len(&out), 7000, sizeof("baggage: ") - 1 + BAGGAGE_BYTES + 2);
	buf_fini(&fields);
	buf_fini(&out);
}

static void what_is_put_is_got_again(void **state)
{
	const char *scope = "{\"a b\": \"x & (y; z)\", 'ü%': around(dc1, 10ms)}, *: @n";
	struct http_head head = request("");
	struct span text;
	struct buf out;

	(void)state;
	for (const struct carrier *c = carrier_table; c->kind; c++) {
		buf_init(&out, NULL, 0);
		c->put(&head, span_of(scope), &out);
		assert_int_equal(get(c->kind, buf_cstr(&out), &text), CARRIER_SCOPE);
		assert_true(span_eq(text, span_of(scope)));
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_header_is_taken_as_it_stands, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_baggage_member_scope_is_decoded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_baggage_scope_with_properties_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(our_baggage_member_goes_first_and_replaces_an_older_one, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(baggage_keeps_to_64_members_and_8192_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_put_is_got_again, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
