/* replication/hlc: what depends on another is later, whatever the clocks say; replication/op_id: its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <stdio.h>

#include "replication/hlc.h"
#include "replication/op_id.h"

#define NOW INT64_C(1790000000000)
#define HOUR INT64_C(3600000)

static void it_follows_the_wall(void **state)
{
	struct hlc h;

	(void)state;
	hlc_init(&h, 0);
	assert_int_equal(hlc_next(&h, NOW), hlc_of_wall(NOW));
	assert_int_equal(hlc_next(&h, NOW), hlc_of_wall(NOW) + 1);
	assert_int_equal(hlc_next(&h, NOW + 5), hlc_of_wall(NOW + 5));
	assert_int_equal(hlc_wall_ms(hlc_next(&h, NOW + 5)), NOW + 5);
}

static void a_wall_that_goes_back_does_not_take_it_along(void **state)
{
	struct hlc h;
	uint64_t last;

	(void)state;
	hlc_init(&h, 0);
	last = hlc_next(&h, NOW);
	for (int i = 0; i < 1000; i++) {
		uint64_t value = hlc_next(&h, NOW - HOUR + i);

		assert_int_equal(value, last + 1);
		last = value;
	}
	assert_int_equal(hlc_next(&h, NOW + 1), hlc_of_wall(NOW + 1));
}

static void what_answers_a_site_an_hour_ahead_is_later(void **state)
{
	struct hlc ahead, behind;
	uint64_t a, b;

	(void)state;
	hlc_init(&ahead, 0);
	hlc_init(&behind, 0);
	a = hlc_next(&ahead, NOW + HOUR);
	assert_true(hlc_see(&behind, a));
	b = hlc_next(&behind, NOW);
	assert_true(b > a);
	assert_true(hlc_see(&ahead, b));
	assert_true(hlc_next(&ahead, NOW + HOUR) > b);
	assert_int_equal(hlc_ahead_ms(a, NOW), HOUR);
	assert_int_equal(hlc_ahead_ms(hlc_of_wall(NOW), NOW + HOUR), -HOUR);
}

static void a_restart_begins_after_what_was_durable(void **state)
{
	struct hlc h;

	(void)state;
	hlc_init(&h, hlc_of_wall(NOW) + 17);
	assert_int_equal(hlc_next(&h, NOW - HOUR), hlc_of_wall(NOW) + 18);
}

static void a_full_counter_carries(void **state)
{
	struct hlc h;

	(void)state;
	hlc_init(&h, hlc_of_wall(NOW) + 0xffff);
	assert_int_equal(hlc_next(&h, NOW), hlc_of_wall(NOW + 1));
}

static void what_is_no_clock_changes_nothing(void **state)
{
	struct hlc h;

	(void)state;
	hlc_init(&h, 5);
	assert_false(hlc_see(&h, UINT64_MAX));
	assert_false(hlc_see(&h, HLC_MOST + 1));
	assert_int_equal(h.last, 5);
	assert_true(hlc_see(&h, HLC_MOST));
	assert_true(hlc_next(&h, NOW) == HLC_MOST + 1 && (int64_t)(HLC_MOST + 1) > 0);
	assert_int_equal(hlc_of_wall(INT64_MAX), HLC_MOST);
	assert_int_equal(hlc_of_wall(-1), 0);
}

/* Five sites, clocks up to an hour off that jump at random, and messages among them in any order. */
static void causes_come_before_effects_among_wrong_clocks(void **state)
{
	struct hlc site[5];
	int64_t offset[5];

	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		srand(seed);
		for (int i = 0; i < 5; i++) {
			hlc_init(&site[i], 0);
			offset[i] = rand() % (2 * HOUR) - HOUR;
		}
		for (int step = 0; step < 500; step++) {
			int from = rand() % 5, to = rand() % 5;
			uint64_t before = site[from].last, cause = hlc_next(&site[from], NOW + step + offset[from]);

			if (cause <= before)
				fail_msg("seed %u step %d", seed, step);
			assert_true(hlc_see(&site[to], cause));
			if (hlc_next(&site[to], NOW + step + offset[to]) <= cause)
				fail_msg("seed %u step %d", seed, step);
			if (rand() % 20 == 0)
				offset[rand() % 5] = rand() % (2 * HOUR) - HOUR;
		}
	}
}

static void an_id_is_what_its_text_says(void **state)
{
	struct op_id id = { "dc-1", 0xf3a5, 17 }, back;
	char text[OP_ID_TEXT_BYTES];

	(void)state;
	op_id_format(&id, text);
	assert_string_equal(text, "dc-1-000000000000f3a5-17");
	assert_true(op_id_parse(span_of(text), &back));
	assert_true(op_id_eq(&id, &back));
	id = (struct op_id){ .incarnation = INT64_MAX, .number = OP_NUMBER_MOST };
	memset(id.site, 'x', OP_SITE_BYTES - 1);
	op_id_format(&id, text);
	assert_true(op_id_parse(span_of(text), &back));
	assert_true(op_id_eq(&id, &back));
}

static void what_is_no_id_is_refused(void **state)
{
	static const char *const texts[] = { "", "-", "dc1", "dc1-000000000000f3a5", "dc1-000000000000f3a5-",
		"dc1-000000000000f3a5-0", "dc1-000000000000f3a5-01", "dc1-000000000000F3A5-1", "dc1-f3a5-1",
		"-000000000000f3a5-1", "dc1-000000000000f3a5-9223372036854775808", "dc1-0000000000000000-1",
		"dc1-ffffffffffffffff-1", "dc1-000000000000f3a5-1x" };
	struct op_id id;
	char longest[OP_SITE_BYTES + 30];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (op_id_parse(span_of(texts[i]), &id))
			fail_msg("taken: %s", texts[i]);
	snprintf(longest, sizeof(longest), "%065d-000000000000f3a5-1", 1);
	assert_false(op_id_parse(span_of(longest), &id));
	assert_false(op_id_parse((struct span){ "a\0b-000000000000f3a5-1", 22 }, &id));
}

static void ids_are_ordered_by_site_incarnation_number(void **state)
{
	static const struct op_id in_order[] = { { "a", 2, 9 }, { "a", 3, 1 }, { "a", 3, 2 }, { "b", 1, 1 } };

	(void)state;
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) {
			int c = op_id_compare(&in_order[i], &in_order[j]);

			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_follows_the_wall),
		cmocka_unit_test(a_wall_that_goes_back_does_not_take_it_along),
		cmocka_unit_test(what_answers_a_site_an_hour_ahead_is_later),
		cmocka_unit_test(a_restart_begins_after_what_was_durable),
		cmocka_unit_test(a_full_counter_carries),
		cmocka_unit_test(what_is_no_clock_changes_nothing),
		cmocka_unit_test(causes_come_before_effects_among_wrong_clocks),
		cmocka_unit_test(an_id_is_what_its_text_says),
		cmocka_unit_test(what_is_no_id_is_refused),
		cmocka_unit_test(ids_are_ordered_by_site_incarnation_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
