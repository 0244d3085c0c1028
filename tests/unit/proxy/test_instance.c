/* Passive health, choice and slow start of instances, at times that the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "proxy/instance.h"

#define MS 1000ll
#define SECOND 1000000ll
#define MOST 8

struct bed {
	struct instance room[MOST], *items[MOST];
	struct instance_group group;
	int64_t now_us;
	uint32_t random;
};

static void begin(struct bed *b, size_t count)
{
	memset(b, 0, sizeof(*b));
	for (size_t i = 0; i < count; i++) {
		char text[32];

		snprintf(text, sizeof(text), "127.0.0.1:%zu", 1000 + i);
		assert_int_equal(addr_parse(span_of(text), false, &b->room[i].addr, NULL), 0);
		b->items[i] = &b->room[i];
	}
	b->group = (struct instance_group){ b->items, count };
	b->now_us = 1000 * SECOND;
	b->random = 1;
	log_set_level(LOG_ERROR);
}

static void note(struct bed *b, size_t i, enum instance_event event)
{
	instance_note(b->items[i], &b->group, event, b->now_us);
}

static size_t choose(struct bed *b, uint64_t tried)
{
	return instance_choose(&b->group, tried, b->now_us, &b->random);
}

/* How often each is chosen in 10,000 times. */
static void shares(struct bed *b, unsigned count_r[MOST])
{
	memset(count_r, 0, MOST * sizeof(*count_r));
	for (int k = 0; k < 10000; k++) {
		size_t i = choose(b, 0);

		assert_true(i < b->group.count);
		count_r[i]++;
	}
}

static bool in_use(struct bed *b, size_t i)
{
	unsigned count[MOST];

	shares(b, count);
	return count[i] > 0;
}

/* How long instance i stays ejected from now on, to the millisecond; 0: it is not. */
static int64_t ejected_ms(struct bed *b, size_t i)
{
	int64_t left = b->items[i]->ejected_until_us - b->now_us;

	return left > 0 ? left / MS : 0;
}

static void test_idle_instances_share_evenly(void **state)
{
	struct bed b;
	unsigned count[MOST];

	(void)state;
	begin(&b, 4);
	shares(&b, count);
	for (size_t i = 0; i < 4; i++)
		assert_in_range(count[i], 2200, 2800);
}

static void test_of_two_the_one_with_fewer_outstanding(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	b.room[0].outstanding = 1;
	for (int k = 0; k < 100; k++)
		assert_int_equal(choose(&b, 0), 1);
	b.room[1].outstanding = 2;
	for (int k = 0; k < 100; k++)
		assert_int_equal(choose(&b, 0), 0);
}

static void test_the_busiest_of_many_gets_nothing(void **state)
{
	struct bed b;
	unsigned count[MOST];

	(void)state;
	begin(&b, 5);
	b.room[3].outstanding = 7;
	shares(&b, count);
	assert_int_equal(count[3], 0);
	for (size_t i = 0; i < 5; i++)
		if (i != 3)
			assert_in_range(count[i], 2000, 3000);
}

static void test_tried_ones_are_out_and_none_is_told(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 3);
	for (int k = 0; k < 100; k++)
		assert_int_equal(choose(&b, 5), 1);
	assert_int_equal(choose(&b, 7), INSTANCE_NONE);
	begin(&b, 0);
	assert_int_equal(choose(&b, 0), INSTANCE_NONE);
}

static void test_one_failed_connection_ejects(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(ejected_ms(&b, 0), 500);
	assert_int_equal(b.room[0].health, INSTANCE_DOWN);
	b.now_us += 499 * MS;
	assert_false(in_use(&b, 0));
	b.now_us += 1 * MS;
	assert_true(in_use(&b, 0));
}

static void test_five_failures_in_a_row_eject(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	for (int k = 0; k < 4; k++)
		note(&b, 0, INSTANCE_FAILED);
	assert_int_equal(ejected_ms(&b, 0), 0);
	note(&b, 0, INSTANCE_ANSWERED);
	for (int k = 0; k < 4; k++)
		note(&b, 0, INSTANCE_FAILED);
	assert_int_equal(ejected_ms(&b, 0), 0);
	note(&b, 0, INSTANCE_FAILED);
	assert_int_equal(ejected_ms(&b, 0), 500);
}

static void test_ejections_grow_up_to_a_bound_and_are_forgotten(void **state)
{
	static const int64_t want_ms[] = { 500, 1000, 2000, 4000, 8000, 8000, 8000 };
	struct bed b;

	(void)state;
	begin(&b, 2);
	for (size_t k = 0; k < sizeof(want_ms) / sizeof(want_ms[0]); k++) {
		note(&b, 0, INSTANCE_NOT_REACHED);
		assert_int_equal(ejected_ms(&b, 0), want_ms[k]);
		b.now_us += want_ms[k] * MS;
		note(&b, 0, INSTANCE_ANSWERED); /* well for a moment */
	}
	b.now_us += INSTANCE_FORGET_US;
	note(&b, 0, INSTANCE_ANSWERED);
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(ejected_ms(&b, 0), 8000);
	b.now_us += 8 * SECOND + INSTANCE_FORGET_US + 1;
	note(&b, 0, INSTANCE_ANSWERED);
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(ejected_ms(&b, 0), 500);
}

static void test_failures_of_an_ejected_one_change_nothing(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	note(&b, 0, INSTANCE_NOT_REACHED);
	b.now_us += 200 * MS;
	for (int k = 0; k < 20; k++)
		note(&b, 0, k % 2 ? INSTANCE_FAILED : INSTANCE_NOT_REACHED);
	assert_int_equal(ejected_ms(&b, 0), 300);
}

static void test_at_most_half_are_ejected(void **state)
{
	static const size_t allowed[] = { 0, 0, 1, 1, 2, 2, 3, 3 };
	struct bed b;

	(void)state;
	for (size_t n = 1; n < MOST; n++) {
		size_t out = 0;

		begin(&b, n);
		for (size_t i = 0; i < n; i++)
			note(&b, i, INSTANCE_NOT_REACHED);
		for (size_t i = 0; i < n; i++)
			out += ejected_ms(&b, i) > 0;
		assert_int_equal(out, allowed[n]);
		assert_true(choose(&b, 0) < n);
	}
}

static void test_the_last_usable_one_is_never_ejected(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 1);
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(choose(&b, 0), 0);
	assert_int_equal(b.room[0].health, INSTANCE_DOWN); /* but told */
	begin(&b, 3);
	for (size_t i = 1; i < 3; i++) {
		b.room[i].probed = true;
		instance_set_health(b.items[i], INSTANCE_DOWN, b.now_us);
	}
	for (int k = 0; k < 50; k++)
		note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(ejected_ms(&b, 0), 0);
	assert_int_equal(choose(&b, 0), 0);
}

static void test_an_ejected_one_is_asked_when_the_others_were(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(choose(&b, 2), 0);
	b.room[0].probed = true;
	instance_set_health(b.items[0], INSTANCE_DOWN, b.now_us);
	assert_int_equal(choose(&b, 2), INSTANCE_NONE); /* but not against a probe */
}

static void test_a_probe_decides_on_health(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	b.room[0].probed = true;
	instance_set_health(b.items[0], INSTANCE_DOWN, b.now_us);
	note(&b, 0, INSTANCE_ANSWERED);
	assert_int_equal(b.room[0].health, INSTANCE_DOWN);
	assert_false(in_use(&b, 0));
	instance_set_health(b.items[0], INSTANCE_UP, b.now_us);
	assert_true(in_use(&b, 0));
	note(&b, 0, INSTANCE_NOT_REACHED);
	assert_int_equal(b.room[0].health, INSTANCE_UP);
	assert_false(in_use(&b, 0));
}

static void expect_share(struct bed *b, size_t i, unsigned least, unsigned most)
{
	unsigned count[MOST];

	shares(b, count);
	assert_in_range(count[i], least, most);
}

/* Of two, the one in slow start has its part of every second request. */
static void test_slow_start_after_an_ejection(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	note(&b, 0, INSTANCE_NOT_REACHED);
	b.now_us += 500 * MS;
	expect_share(&b, 0, 300, 700);
	b.now_us += 5 * SECOND;
	expect_share(&b, 0, 2200, 2800);
	b.now_us += 5 * SECOND;
	expect_share(&b, 0, 4700, 5300);
}

static void test_slow_start_after_a_probe_found_it_up(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	b.room[1].probed = true;
	instance_set_health(b.items[1], INSTANCE_UP, b.now_us);
	expect_share(&b, 1, 4700, 5300); /* seen for the first time: it was never away */
	instance_set_health(b.items[1], INSTANCE_DOWN, b.now_us);
	instance_set_health(b.items[1], INSTANCE_UP, b.now_us);
	expect_share(&b, 1, 300, 700);
	b.now_us += INSTANCE_RAMP_US;
	expect_share(&b, 1, 4700, 5300);
}

static void test_slow_start_refuses_nothing(void **state)
{
	struct bed b;

	(void)state;
	begin(&b, 2);
	note(&b, 0, INSTANCE_NOT_REACHED);
	b.now_us += 500 * MS;
	assert_int_equal(choose(&b, 2), 0);
	note(&b, 1, INSTANCE_NOT_REACHED);
	for (int k = 0; k < 100; k++)
		assert_int_equal(choose(&b, 0), 0);
	b.now_us += 500 * MS; /* now both are in it: they share as ever */
	expect_share(&b, 0, 4000, 6000);
}

static void test_one_object_for_one_address(void **state)
{
	struct addr a, c;

	(void)state;
	assert_int_equal(addr_parse(SPAN("127.0.0.1:80"), false, &a, NULL), 0);
	assert_int_equal(addr_parse(SPAN("127.0.0.1:81"), false, &c, NULL), 0);
	assert_ptr_equal(instance_get(&a), instance_get(&a));
	assert_ptr_not_equal(instance_get(&a), instance_get(&c));
	instances_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_instances_share_evenly),
		cmocka_unit_test(test_of_two_the_one_with_fewer_outstanding),
		cmocka_unit_test(test_the_busiest_of_many_gets_nothing),
		cmocka_unit_test(test_tried_ones_are_out_and_none_is_told),
		cmocka_unit_test(test_one_failed_connection_ejects),
		cmocka_unit_test(test_five_failures_in_a_row_eject),
		cmocka_unit_test(test_ejections_grow_up_to_a_bound_and_are_forgotten),
		cmocka_unit_test(test_failures_of_an_ejected_one_change_nothing),
		cmocka_unit_test(test_at_most_half_are_ejected),
		cmocka_unit_test(test_the_last_usable_one_is_never_ejected),
		cmocka_unit_test(test_an_ejected_one_is_asked_when_the_others_were),
		cmocka_unit_test(test_a_probe_decides_on_health),
		cmocka_unit_test(test_slow_start_after_an_ejection),
		cmocka_unit_test(test_slow_start_after_a_probe_found_it_up),
		cmocka_unit_test(test_slow_start_refuses_nothing),
		cmocka_unit_test(test_one_object_for_one_address),
	};

	return cmocka_run_group_tests_name("instance", tests, NULL, NULL);
}
