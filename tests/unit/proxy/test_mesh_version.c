/* proxy/mesh_version.c: what is read, what is not, which versions go together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/mesh_version.h"

static void versions_are_read(void **state)
{
	static const struct { const char *text; bool good; unsigned newest, least; } rows[] = {
		{ "1", true, 1, 1 }, { "3; least=2", true, 3, 2 }, { " 3 ;least=1 ; x=y;", true, 3, 1 },
		{ "9999; least=9999", true, 9999, 9999 }, { "2; features=hold", true, 2, 2 },
		{ "", false, 0, 0 }, { "0", false, 0, 0 }, { "x", false, 0, 0 }, { "10000", false, 0, 0 },
		{ "-1", false, 0, 0 }, { "1; least=0", false, 0, 0 }, { "1; least=2", false, 0, 0 },
		{ "2; least=", false, 0, 0 }, { "1, 2", false, 0, 0 }, { "99999999999999999999", false, 0, 0 },
	};
	struct mesh_version v;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mesh_version_parse(span_of(rows[i].text), &v), rows[i].good);
		if (!rows[i].good)
			continue;
		assert_int_equal(v.newest, rows[i].newest);
		assert_int_equal(v.least, rows[i].least);
	}
}

static void ranges_that_overlap_go_together(void **state)
{
	static const struct { struct mesh_version a, b; bool fit; } rows[] = {
		{ { 1, 1 }, { 1, 1 }, true }, { { 3, 1 }, { 1, 1 }, true }, { { 3, 2 }, { 1, 1 }, false },
		{ { 3, 2 }, { 2, 1 }, true }, { { 1, 1 }, { 9, 2 }, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mesh_version_fits(&rows[i].a, &rows[i].b), rows[i].fit);
		assert_int_equal(mesh_version_fits(&rows[i].b, &rows[i].a), rows[i].fit);
	}
}

static void what_we_say_we_read(void **state)
{
	const char name[] = MESH_VERSION_FIELD ": ";
	struct mesh_version v;
	struct buf line;
	struct span text;

	(void)state;
	buf_init(&line, NULL, 0);
	mesh_version_add(&line);
	text = buf_span(&line);
	assert_true(span_starts(text, span_of(name)));
	text = span_head(span_from(text, sizeof(name) - 1), text.n - sizeof(name) + 1 - 2);
	assert_true(mesh_version_parse(text, &v));
	assert_int_equal(v.newest, MESH_VERSION);
	assert_int_equal(v.least, MESH_VERSION_LEAST);
	buf_fini(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_read),
		cmocka_unit_test(ranges_that_overlap_go_together),
		cmocka_unit_test(what_we_say_we_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
