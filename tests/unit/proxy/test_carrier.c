/* proxy/carrier: how a scope comes in by header, baggage and behind a value, and travels on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/carrier.h"
#include "proxy/piggyback.h"

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

static const struct carrier *carrier_find(struct span kind)
{
	return &carrier_table[span_eq(kind, SPAN("header"))    ? CONF_CARRIER_HEADER
	                      : span_eq(kind, SPAN("baggage")) ? CONF_CARRIER_BAGGAGE
	                                                       : CONF_CARRIER_PIGGYBACK];
}

#define NAME SPAN("x-auth-token") /* of the carrier that names a header */

static enum carrier_found get(const char *carrier, const char *fields, struct span *text_r)
{
	struct http_head head = request(fields);
	const char *why = NULL;
	enum carrier_found found = carrier_find(span_of(carrier))->get(&arena, &head, NAME, text_r, &why);

	if (found == CARRIER_REFUSED)
		assert_non_null(why);
	return found;
}

static void assert_put(const char *carrier, const char *fields, const char *scope, const char *want)
{
	struct http_head head = request(fields);
	struct buf out;

	buf_init(&out, NULL, 0);
	carrier_find(span_of(carrier))->put(&head, NAME, span_of(scope), &out);
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
	carrier_find(SPAN("baggage"))->put(&head, NAME, SPAN("image: dc1"), &out);
	for (size_t i = 0; i < buf_len(&out); i++)
		members += out.mem[i] == ',';
	assert_int_equal(members, BAGGAGE_MEMBERS);
	buf_fini(&fields);
	buf_fini(&out);
	for (int i = 0; i < 30; i++)
		buf_addf(&fields, "baggage: k%d=%01000d\r\n", i, 0);
	head = request(buf_cstr(&fields));
	carrier_find(SPAN("baggage"))->put(&head, NAME, SPAN("image: dc1"), &out);
	assert_in_range(buf_len(&out), 7000, sizeof("baggage: ") - 1 + BAGGAGE_BYTES + 2);
	buf_fini(&fields);
	buf_fini(&out);
}

/* ---- piggyback:NAME --------------------------------------------------------------------------------- */

static struct conf conf_with(struct conf_carrier *carriers, size_t count)
{
	return (struct conf){ .carriers = carriers, .carrier_count = count };
}

static void a_scope_rides_behind_the_value_of_a_header(void **state)
{
	struct span text;

	(void)state;
	assert_int_equal(get("piggyback", "X-Auth-Token: abc!SCOPE!image: dc2\r\n", &text), CARRIER_SCOPE);
	assert_true(span_eq(text, SPAN("image: dc2")));
	assert_int_equal(get("piggyback", "X-Auth-Token: a!b!SCOP!!SCOPE!{\"image\": \"dc1\"}\r\n", &text), CARRIER_SCOPE);
	assert_true(span_eq(text, SPAN("{\"image\": \"dc1\"}")));
	assert_int_equal(get("piggyback", "X-Auth-Token: abc!SCOPE!\r\n", &text), CARRIER_SCOPE);
	assert_int_equal(text.n, 0);
	assert_int_equal(get("piggyback", "X-Auth-Token: abc!SCOPE\r\n", &text), CARRIER_NONE);
	assert_int_equal(get("piggyback", "X-Auth-Token: !\r\nX-Other: a!SCOPE!b\r\n", &text), CARRIER_NONE);
	assert_put("piggyback", "X-AUTH-Token: abc\r\n", "image: dc1", "X-AUTH-Token: abc!SCOPE!image: dc1\r\n");
	assert_put("piggyback", "X-Auth-Token:\r\n", "image: dc1", "X-Auth-Token: \r\n");
	assert_put("piggyback", "", "image: dc1", "");
}

static void a_value_that_would_get_too_long_stays_bare(void **state)
{
	struct buf fields;

	(void)state;
	buf_init(&fields, NULL, 0);
	buf_addf(&fields, "X-Auth-Token: %0*d\r\n", PIGGYBACK_BYTES - 10, 0);
	assert_put("piggyback", buf_cstr(&fields), "image: dc1", buf_cstr(&fields));
	buf_fini(&fields);
}

static void bare_fields_keep_their_value_and_others_all_of_it(void **state)
{
	struct conf_carrier carriers[] = { { .kind = CONF_CARRIER_PIGGYBACK, .name = SPAN("x-auth-token") },
		                           { .kind = CONF_CARRIER_PIGGYBACK, .name = SPAN("x-subject-token") } };
	struct conf conf = conf_with(carriers, 2);
	struct http_head head = request("X-Auth-Token: abc!SCOPE!a: b\r\nx-subject-token: def !SCOPE!\r\n"
	                                "X-Other: x!SCOPE!y\r\nX-Auth-Token: bare\r\n");

	(void)state;
	piggyback_bare(&head, &conf);
	assert_true(span_eq(head.fields[1].value, SPAN("abc")));
	assert_true(span_eq(head.fields[2].value, SPAN("def")));
	assert_true(span_eq(head.fields[3].value, SPAN("x!SCOPE!y")));
	assert_true(span_eq(head.fields[4].value, SPAN("bare")));
	assert_true(piggyback_names(&conf, SPAN("X-SUBJECT-token")));
	assert_false(piggyback_names(&conf, SPAN("X-Other")));
}

static void the_service_that_checks_values_gets_them_bare(void **state)
{
	struct conf_carrier carriers[] = { { .kind = CONF_CARRIER_HEADER }, { .kind = CONF_CARRIER_PIGGYBACK, .name = NAME } };
	struct conf conf = conf_with(carriers, 2);
	struct conf_service strips = { .piggyback_strip = true }, hands_on = { .piggyback_strip = false };
	struct http_head head = request("X-Auth-Token: abc\r\n");
	struct buf out;

	(void)state;
	buf_init(&out, NULL, 0);
	carriers_drop(&conf, &strips, &head, true);
	carriers_put(&conf, &strips, &head, SPAN("a: b"), &out);
	assert_string_equal(buf_cstr(&out), "X-Scope: a: b\r\n");
	assert_int_equal(head.fields[1].drop, 0);
	buf_fini(&out);
	carriers_drop(&conf, &hands_on, &head, true);
	carriers_put(&conf, &hands_on, &head, SPAN("a: b"), &out);
	assert_string_equal(buf_cstr(&out), "X-Scope: a: b\r\nX-Auth-Token: abc!SCOPE!a: b\r\n");
	assert_int_equal(head.fields[1].drop, CARRIER_DROP);
	carriers_drop(&conf, &hands_on, &head, false);
	assert_int_equal(head.fields[1].drop, 0);
	buf_fini(&out);
}

static void what_is_put_is_got_again(void **state)
{
	const char *scope = "{\"a b\": \"x & (y; z)\", 'ü%': around(dc1, 10ms)}, *: @n";
	static const char *const all[] = { "header", "baggage", "piggyback" };
	struct http_head head = request("X-Auth-Token: abc\r\n");
	struct span text;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		buf_init(&out, NULL, 0);
		carrier_find(span_of(all[i]))->put(&head, NAME, span_of(scope), &out);
		assert_int_equal(get(all[i], buf_cstr(&out), &text), CARRIER_SCOPE);
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
		cmocka_unit_test_setup_teardown(a_scope_rides_behind_the_value_of_a_header, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_value_that_would_get_too_long_stays_bare, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bare_fields_keep_their_value_and_others_all_of_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_service_that_checks_values_gets_them_bare, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_put_is_got_again, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
