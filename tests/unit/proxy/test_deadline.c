/* proxy/deadline: queues by duration, first in, first due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/deadline.h"

static struct deadlines all;

static int set_up(void **state)
{
	(void)state;
	deadlines_init(&all);
	all.duration_us[DEADLINE_IDLE] = 100;
	all.duration_us[DEADLINE_HEADER] = 10;
	return 0;
}

static void due_ones_come_out_once_and_in_order(void **state)
{
	struct deadline a = { 0 }, b = { 0 };

	(void)state;
	deadline_set(&all, &a, DEADLINE_IDLE, 0);
	deadline_set(&all, &b, DEADLINE_IDLE, 1);
	assert_null(deadlines_take_due(&all, 99));
	assert_ptr_equal(deadlines_take_due(&all, 100), &a);
	assert_null(deadlines_take_due(&all, 100));
	assert_ptr_equal(deadlines_take_due(&all, 500), &b);
	assert_true(deadlines_empty(&all));
}

static void setting_again_moves_to_the_end_and_to_another_queue(void **state)
{
	struct deadline a = { 0 }, b = { 0 };

	(void)state;
	deadline_set(&all, &a, DEADLINE_IDLE, 0);
	deadline_set(&all, &b, DEADLINE_IDLE, 1);
	deadline_set(&all, &a, DEADLINE_IDLE, 50);
	assert_ptr_equal(deadlines_take_due(&all, 120), &b);
	assert_null(deadlines_take_due(&all, 120));
	deadline_set(&all, &a, DEADLINE_HEADER, 120);
	assert_ptr_equal(deadlines_take_due(&all, 130), &a);
}

static void a_cleared_one_is_never_due(void **state)
{
	struct deadline a = { 0 };

	(void)state;
	deadline_clear(&all, &a);
	deadline_set(&all, &a, DEADLINE_IDLE, 0);
	deadline_clear(&all, &a);
	deadline_clear(&all, &a);
	assert_null(deadlines_take_due(&all, 1000));
	assert_true(deadlines_empty(&all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(due_ones_come_out_once_and_in_order, set_up),
		cmocka_unit_test_setup(setting_again_moves_to_the_end_and_to_another_queue, set_up),
		cmocka_unit_test_setup(a_cleared_one_is_never_due, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
