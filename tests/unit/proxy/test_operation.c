/* The operation between sites: what a peer says of it is taken whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/operation.h"

static struct operation *some(void)
{
	struct operation *op = operation_new();

	assert_non_null(op);
	assert_true(op_id_parse(SPAN("dc 1-00000000000000ff-17"), &op->id));
	op->kind = OPERATION_CREATE;
	op->class = CLASS_EVENTUAL;
	op->clock = 1234567;
	op->created_ms = 1700000000000;
	op->named = op->declared = true;
	op->meta_id = METAID_INTEGER;
	assert_true(operation_keep(op, &op->key.meta, SPAN("4503599627370497")));
	assert_true(operation_keep(op, &op->key.collection, SPAN("/v2/\"images\"")));
	assert_true(operation_keep(op, &op->admitted, SPAN("dc 1")));
	assert_true(operation_keep(op, &op->target, SPAN("/v2/images?x=1")));
	assert_true(operation_add_site(op, SPAN("dc 1")));
	assert_true(operation_add_site(op, SPAN("dc2")));
	assert_true(operation_add_site(op, SPAN("dc 1")));
	return op;
}

static void test_a_field_comes_back(void **state)
{
	struct operation *op = some(), *back = operation_new();
	struct buf field;
	bool admit;

	(void)state;
	buf_init(&field, NULL, 0);
	operation_add_field(op, OPERATION_ADMIT, &field);
	assert_false(field.failed);
	assert_int_equal(operation_of_field(back, buf_span(&field), &admit), 0);
	assert_true(admit && !back->ask && back->only_here && back->named && back->declared && !back->independent);
	assert_true(op_id_eq(&op->id, &back->id));
	assert_int_equal(back->clock, op->clock);
	assert_int_equal(back->created_ms, op->created_ms);
	assert_int_equal(back->meta_id, METAID_INTEGER);
	assert_int_equal(back->site_count, 2);
	assert_true(span_eq(back->sites[0], SPAN("dc 1")) && span_eq(back->sites[1], SPAN("dc2")));
	assert_true(span_eq(back->key.collection, op->key.collection) && span_eq(back->key.meta, op->key.meta));
	assert_true(span_eq(back->admitted, SPAN("dc 1")));
	operation_unref(&op);
	operation_unref(&back);
	buf_fini(&field);
}

static void test_what_is_wrong_is_refused(void **state)
{
	static const char *const wrong[] = {
		"", "{}", "[]", "x", "{\"op\":1}",
		"{\"op\":\"dc1-1-1\",\"meta\":\"m\",\"kind\":\"create\",\"class\":\"eventual\",\"clock\":1,\"created\":0}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"\",\"collection\":\"/a\",\"kind\":\"create\",\"class\":\"eventual\","
		"\"clock\":1,\"created\":0,\"sites\":[\"dc1\"]}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"m\",\"collection\":\"/a\",\"kind\":\"make\",\"class\":\"eventual\","
		"\"clock\":1,\"created\":0,\"sites\":[\"dc1\"]}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"m\",\"collection\":\"/a\",\"kind\":\"create\",\"class\":\"eventual\","
		"\"clock\":0,\"created\":0,\"sites\":[\"dc1\"]}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"m\",\"collection\":\"/a\",\"kind\":\"create\",\"class\":\"eventual\","
		"\"clock\":1,\"created\":0,\"sites\":[]}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"m\",\"collection\":\"/a\",\"kind\":\"create\",\"class\":\"eventual\","
		"\"clock\":1,\"created\":0,\"sites\":[\"dc1\\n\"]}",
		"{\"op\":\"dc1-00000000000000ff-1\",\"meta\":\"m\\r\\nX: y\",\"collection\":\"/a\",\"kind\":\"create\","
		"\"class\":\"eventual\",\"clock\":1,\"created\":0,\"sites\":[\"dc1\"]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct operation *op = operation_new();
		bool admit;

		assert_int_equal(operation_of_field(op, span_of(wrong[i]), &admit), ERR_INVALID);
		operation_unref(&op);
	}
}

static void test_a_result_comes_back(void **state)
{
	struct operation_result r = { .admission = ADMISSION_PLAIN, .state = DELIVERY_HELD, .status = 401,
		.local = SPAN("17"), .reason = SPAN("401: \"no\""), .retry_after_ms = 1500 }, back;
	struct arena arena;
	struct buf field;

	(void)state;
	arena_init(&arena, NULL, 0, 0);
	buf_init(&field, NULL, 0);
	operation_add_result(&r, &field);
	assert_int_equal(operation_result_of_field(&arena, buf_span(&field), &back), 0);
	assert_int_equal(back.admission, ADMISSION_PLAIN);
	assert_int_equal(back.state, DELIVERY_HELD);
	assert_int_equal(back.status, 401);
	assert_int_equal(back.retry_after_ms, 1500);
	assert_true(span_eq(back.local, r.local) && span_eq(back.reason, r.reason));
	assert_int_equal(operation_result_of_field(&arena, SPAN("{\"state\":\"done\",\"admission\":\"maybe\"}"), &back), ERR_INVALID);
	assert_int_equal(operation_result_of_field(&arena, SPAN("{\"state\":\"gone\",\"admission\":\"\"}"), &back), ERR_INVALID);
	assert_int_equal(operation_result_of_field(&arena, SPAN("nonsense"), &back), ERR_INVALID);
	buf_fini(&field);
	arena_fini(&arena);
}

static void test_another_name_leaves_the_first_as_it_was(void **state)
{
	struct operation *op = some(), *child, *bare;
	const struct store_key_of key = { SPAN("notes"), SPAN("/notes/m/items"), SPAN("m2") };

	(void)state;
	assert_true(operation_keep(op, &op->fields, SPAN("Host: a\r\n")) && operation_keep(op, &op->body, SPAN("{}")));
	child = operation_with_key(op, &key, OPERATION_CREATE);
	bare = operation_without_content(op);
	assert_non_null(child);
	assert_non_null(bare);
	assert_true(span_eq(child->key.meta, SPAN("m2")) && span_eq(child->body, SPAN("{}")));
	assert_true(span_eq(op->key.meta, SPAN("4503599627370497")));
	assert_int_equal(bare->fields.n + bare->body.n, 0);
	assert_true(span_eq(operation_path(bare), SPAN("/v2/images")));
	operation_unref(&op);
	assert_true(span_eq(child->fields, SPAN("Host: a\r\n")));
	operation_unref(&child);
	operation_unref(&bare);
}

static void test_what_may_be_done_twice(void **state)
{
	static const struct { enum operation_kind kind; bool named, once; } rows[] = {
		{ OPERATION_CREATE, false, true }, { OPERATION_CREATE, true, false }, { OPERATION_UPDATE, false, false },
		{ OPERATION_APPEND, false, true }, { OPERATION_REPLACE, false, false }, { OPERATION_DELETE, false, false },
	};
	struct operation *op = some();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		op->kind = rows[i].kind;
		op->named = rows[i].named;
		assert_int_equal(operation_is_once(op), rows[i].once);
	}
	assert_true(operation_is_conditional(SPAN("if-none-match")) && !operation_is_conditional(SPAN("If")));
	operation_unref(&op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_field_comes_back),
		cmocka_unit_test(test_what_is_wrong_is_refused),
		cmocka_unit_test(test_a_result_comes_back),
		cmocka_unit_test(test_another_name_leaves_the_first_as_it_was),
		cmocka_unit_test(test_what_may_be_done_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
