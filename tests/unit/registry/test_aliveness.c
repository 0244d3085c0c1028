/* registry/aliveness: every transition of the marks with a clock of the test's own, and what holds whatever comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "registry/aliveness.h"

#define SECOND 1000000

/* A site under test: a ping each second, met by what `way` says. */
enum way { ANSWERS, REFUSES, NOBODY, PAUSED, BREAKS, STRANGER, BARRED };

struct site {
	struct aliveness a;
	struct alive_evidence e;
	int64_t now_us, rtt_us, pending_us; /* pending: since when an attempt waits */
};

static void begin(struct site *s)
{
	*s = (struct site){ .now_us = 100 * SECOND, .rtt_us = 10000, .e = { .fail_after_us = 30 * SECOND } };
	alive_init(&s->a);
}

static void attempt(struct site *s, enum way way)
{
	if (!s->pending_us)
		s->pending_us = s->now_us;
	alive_asked(&s->a, s->now_us);
	switch (way) {
	case ANSWERS:
		alive_answered(&s->a, s->now_us, s->rtt_us);
		break;
	case REFUSES:
		alive_missed(&s->a, s->now_us, MISS_REFUSED);
		break;
	case BREAKS:
		alive_missed(&s->a, s->now_us, MISS_BROKEN);
		break;
	case STRANGER:
		alive_missed(&s->a, s->now_us, MISS_STRANGER);
		break;
	case BARRED:
		alive_missed(&s->a, s->now_us, MISS_BARRED);
		break;
	case NOBODY:
	case PAUSED:
		if (s->now_us - s->pending_us < alive_patience_us(&s->a))
			return;
		alive_missed(&s->a, s->now_us, way == PAUSED ? MISS_SILENT : MISS_NO_CONNECTION);
		break;
	}
	s->pending_us = 0;
}

/* Seconds of this, in turns of a tenth. */
static void run(struct site *s, enum way way, int seconds)
{
	for (int i = 0; i < 10 * seconds; i++) {
		s->now_us += SECOND / 10;
		if (i % 10 == 9)
			attempt(s, way);
		alive_tick(&s->a, s->now_us, &s->e);
	}
}

/* Seconds, in tenths, until it is judged so; -1: not within a minute. */
static double until(struct site *s, enum way way, enum site_reach reach)
{
	for (int i = 1; i <= 600; i++) {
		s->now_us += SECOND / 10;
		if (i % 10 == 0)
			attempt(s, way);
		if (alive_tick(&s->a, s->now_us, &s->e) == reach)
			return i / 10.0;
	}
	return -1;
}

static void expect_within(struct site *s, enum way way, enum site_reach reach, double from, double to)
{
	double seconds = until(s, way, reach);

	if (seconds < from || seconds > to)
		fail_msg("came to %d after %.1f s, not %.1f to %.1f", (int)reach, seconds, from, to);
}

static void begin_up(struct site *s)
{
	begin(s);
	run(s, ANSWERS, 10);
	assert_int_equal(s->a.reach, REACH_UP);
}

static void the_first_answer_connects(void **state)
{
	struct site s;

	(void)state;
	begin(&s);
	assert_int_equal(alive_tick(&s.a, s.now_us, &s.e), REACH_UNKNOWN);
	expect_within(&s, ANSWERS, REACH_UP, 1, 1);
	assert_null(alive_reason(&s.a, false));
}

static void one_that_was_never_met_is_down_too(void **state)
{
	struct site s;

	(void)state;
	begin(&s);
	expect_within(&s, REFUSES, REACH_DOWN, 2, 2);
	begin(&s);
	expect_within(&s, NOBODY, REACH_DOWN, 5, 7);
}

static void one_refusal_is_nothing_two_are_a_loss(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_UP);
	run(&s, ANSWERS, 1);
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_UP);
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_DOWN);
	assert_non_null(strstr(alive_reason(&s.a, false), "refused"));
	begin_up(&s);
	expect_within(&s, BREAKS, REACH_DOWN, 2, 2);
	begin_up(&s);
	expect_within(&s, STRANGER, REACH_DOWN, 2, 2);
	assert_non_null(strstr(alive_reason(&s.a, false), "stranger"));
}

static void a_pause_is_noticed_and_so_is_the_return(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	expect_within(&s, PAUSED, REACH_DOWN, 5, 8);
	run(&s, PAUSED, 6);
	assert_non_null(strstr(alive_reason(&s.a, false), "silent"));
	expect_within(&s, ANSWERS, REACH_UP, 1, 3);
	begin_up(&s);
	run(&s, NOBODY, 12);
	assert_non_null(strstr(alive_reason(&s.a, false), "no connection"));
}

static void refusals_that_last_confirm(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	expect_within(&s, REFUSES, REACH_FAILED, 10, 12);
	expect_within(&s, ANSWERS, REACH_UP, 1, 3);
	/* something else in between breaks the row */
	begin_up(&s);
	run(&s, REFUSES, 8);
	run(&s, BREAKS, 1);
	run(&s, REFUSES, 8);
	assert_int_equal(s.a.reach, REACH_DOWN);
}

static void silence_fails_after_fail_after(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	expect_within(&s, PAUSED, REACH_FAILED, 29, 32);
	begin_up(&s);
	s.e.fail_after_us = 12 * SECOND;
	expect_within(&s, NOBODY, REACH_FAILED, 12, 14);
	begin_up(&s); /* shorter than it takes to be lost: some time is left for witnesses all the same */
	s.e.fail_after_us = SECOND;
	expect_within(&s, PAUSED, REACH_FAILED, 8, 11);
}

static void others_and_the_source_confirm(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	s.e.others_agree = true;
	expect_within(&s, PAUSED, REACH_FAILED, 15, 18);
	begin_up(&s);
	s.e.source_failed = true;
	run(&s, ANSWERS, 20);
	assert_int_equal(s.a.reach, REACH_UP); /* what answers has not failed, whoever says so */
	expect_within(&s, PAUSED, REACH_FAILED, 5, 8);
}

static void isolation_fails_nobody_and_its_time_does_not_count(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	run(&s, NOBODY, 7);
	s.e.isolated = true;
	run(&s, NOBODY, 300);
	assert_int_equal(s.a.reach, REACH_DOWN);
	assert_non_null(strstr(alive_reason(&s.a, true), "own link"));
	s.e.isolated = false;
	expect_within(&s, NOBODY, REACH_FAILED, 20, 24);
}

static void one_way_is_no_death(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	for (int i = 0; i < 60; i++) {
		s.e.heard_us = s.now_us;
		run(&s, NOBODY, 1);
	}
	assert_int_equal(s.a.reach, REACH_DOWN);
	assert_non_null(strstr(alive_reason(&s.a, false), "one way"));
	/* now it is silent the other way as well */
	expect_within(&s, NOBODY, REACH_FAILED, 0.1, 10);
	/* and is heard again */
	s.e.heard_us = s.now_us;
	run(&s, NOBODY, 1);
	assert_int_equal(s.a.reach, REACH_DOWN);
}

static void an_autonomous_site_never_fails(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	s.e.marks = MARK_AUTONOMOUS;
	run(&s, REFUSES, 100);
	assert_int_equal(s.a.reach, REACH_DOWN);
	s.e.marks = 0;
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_FAILED);
	s.e.marks = MARK_AUTONOMOUS;
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_DOWN);
}

static void one_that_bars_us_is_alive(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	expect_within(&s, BARRED, REACH_DOWN, 2, 2);
	run(&s, BARRED, 100);
	assert_int_equal(s.a.reach, REACH_DOWN);
	assert_non_null(strstr(alive_reason(&s.a, false), "barred"));
	expect_within(&s, REFUSES, REACH_FAILED, 1, 12);
}

static void a_slow_way_is_not_a_dead_one(void **state)
{
	struct site s;

	(void)state;
	begin(&s);
	s.rtt_us = 3 * SECOND;
	for (int i = 0; i < 60; i++) { /* each answer takes 3 s, no ping begins meanwhile */
		alive_asked(&s.a, s.now_us);
		for (int k = 0; k < 30; k++) {
			s.now_us += SECOND / 10;
			alive_tick(&s.a, s.now_us, &s.e);
			if (i)
				assert_int_equal(s.a.reach, REACH_UP);
		}
		alive_answered(&s.a, s.now_us, s.rtt_us);
		alive_tick(&s.a, s.now_us, &s.e);
	}
	assert_int_equal(s.a.distance_us, 3 * SECOND);
	assert_true(alive_patience_us(&s.a) >= 15 * SECOND);
	s.now_us += SECOND;
	expect_within(&s, PAUSED, REACH_DOWN, 15, 18);
}

static void a_link_that_flaps_does_not_take_the_mark_along(void **state)
{
	struct site s;
	unsigned changes = 0;

	(void)state;
	begin_up(&s);
	for (int i = 0; i < 30; i++) {
		enum site_reach before = s.a.reach;

		run(&s, REFUSES, 2);
		changes += s.a.reach != before;
		before = s.a.reach;
		run(&s, ANSWERS, 3);
		changes += s.a.reach != before;
	}
	assert_in_range(changes, 2, 8); /* and not 60 */
	expect_within(&s, ANSWERS, REACH_UP, 0.1, 10);
}

static void requests_that_find_nobody_hasten_the_loss(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	s.e.failure_us = s.now_us + 1;
	run(&s, ANSWERS, 1);
	assert_int_equal(s.a.reach, REACH_UP);
	s.e.failure_us = s.now_us + 1;
	expect_within(&s, REFUSES, REACH_DOWN, 1, 1);
	/* an old failure says nothing */
	begin_up(&s);
	s.e.failure_us = s.a.answered_us - 1;
	run(&s, REFUSES, 1);
	assert_int_equal(s.a.reach, REACH_UP);
}

static void requests_that_get_through_hold_the_mark(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	for (int i = 0; i < 60; i++) {
		s.e.seen_us = s.now_us;
		run(&s, PAUSED, 1);
		assert_int_equal(s.a.reach, REACH_UP);
	}
	expect_within(&s, PAUSED, REACH_DOWN, 4, 6);
}

static void our_own_pause_blames_nobody(void **state)
{
	struct site s;

	(void)state;
	begin_up(&s);
	alive_asked(&s.a, s.now_us);
	s.now_us += 3600LL * SECOND;
	assert_int_equal(alive_tick(&s.a, s.now_us, &s.e), REACH_UP);
	alive_answered(&s.a, s.now_us, 5000);
	assert_int_equal(alive_tick(&s.a, s.now_us, &s.e), REACH_UP);
	/* down, and we sleep: not failed when we wake */
	run(&s, PAUSED, 8);
	assert_int_equal(s.a.reach, REACH_DOWN);
	s.now_us += 3600LL * SECOND;
	assert_int_equal(alive_tick(&s.a, s.now_us, &s.e), REACH_DOWN);
}

static void most_lost_together_is_our_own_link(void **state)
{
	struct site s[5];
	const struct aliveness *all[5];

	(void)state;
	for (int i = 0; i < 5; i++) {
		begin_up(&s[i]);
		all[i] = &s[i].a;
	}
	assert_false(alive_isolated(all, 5, s[0].now_us));
	for (int i = 0; i < 5; i++)
		run(&s[i], i < 3 ? NOBODY : ANSWERS, 4);
	assert_true(alive_isolated(all, 5, s[0].now_us)); /* 3 of 5, before any of them is judged */
	assert_false(alive_isolated(all, 2, s[0].now_us) && alive_isolated(&all[2], 3, s[0].now_us));
	assert_false(alive_isolated(all, 1, s[0].now_us)); /* one alone shows nothing */
	run(&s[2], ANSWERS, 2);
	assert_false(alive_isolated(all, 5, s[0].now_us)); /* 2 of 5 */
	/* refusals come over an open way */
	for (int i = 0; i < 5; i++) {
		begin_up(&s[i]);
		run(&s[i], REFUSES, 6);
	}
	assert_false(alive_isolated(all, 5, s[0].now_us));
	/* one after the other: not together */
	for (int i = 0; i < 3; i++) {
		begin_up(&s[i]);
		run(&s[i], ANSWERS, 30 * i);
		run(&s[i], NOBODY, 100 - 30 * i);
	}
	assert_false(alive_isolated(all, 3, s[0].now_us));
}

static void marks_of_operators_and_queues_are_shown(void **state)
{
	struct site s;

	(void)state;
	begin(&s);
	assert_int_equal(alive_mark(&s.a, 0, 0), SITE_UNKNOWN);
	begin_up(&s);
	assert_int_equal(alive_mark(&s.a, 0, 0), SITE_CONNECTED);
	assert_int_equal(alive_mark(&s.a, 0, 3), SITE_SYNCHRONIZING);
	assert_int_equal(alive_mark(&s.a, MARK_AUTONOMOUS, 3), SITE_AUTONOMOUS);
	assert_int_equal(alive_mark(&s.a, MARK_AUTONOMOUS | MARK_DETACHED, 0), SITE_FAILED);
	assert_int_equal(alive_mark(&s.a, MARK_AUTONOMOUS | MARK_DETACHED | MARK_FENCED, 0), SITE_FENCED);
	run(&s, REFUSES, 3);
	assert_int_equal(alive_mark(&s.a, 0, 3), SITE_DISCONNECTED);
	run(&s, REFUSES, 20);
	assert_int_equal(alive_mark(&s.a, 0, 0), SITE_FAILED);
}

static void distances_follow_the_way_and_not_its_noise(void **state)
{
	struct site s;

	(void)state;
	begin(&s);
	assert_int_equal(s.a.distance_us, -1);
	s.rtt_us = 10000;
	run(&s, ANSWERS, 1);
	assert_int_equal(s.a.distance_us, 10000);
	for (int i = 0; i < 50; i++) { /* four of five pings are delayed on the way */
		s.rtt_us = i % 5 ? 10300 + 900 * (i % 7) : 10100;
		run(&s, ANSWERS, 1);
		assert_in_range(s.a.distance_us, 10000, 10100);
	}
	s.rtt_us = 4000; /* a shorter way counts at once */
	run(&s, ANSWERS, 1);
	assert_int_equal(s.a.distance_us, 4000);
	s.rtt_us = 20000; /* a longer one as soon as the short samples are gone */
	run(&s, ANSWERS, ALIVE_SAMPLES - 1);
	assert_int_equal(s.a.distance_us, 4000);
	run(&s, ANSWERS, 1);
	assert_int_equal(s.a.distance_us, 20000);
	s.rtt_us = 20900; /* creeps: not at once, but not never */
	run(&s, ANSWERS, 10);
	assert_int_equal(s.a.distance_us, 20000);
	run(&s, ANSWERS, 30);
	assert_int_equal(s.a.distance_us, 20900);
}

/* ---- property ---------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned pick(unsigned below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 0x2545f4914f6cdd1dULL >> 33) % below);
}

static void check_step(enum site_reach from, enum site_reach to, const struct alive_evidence *e,
                       const struct aliveness *a)
{
	static const bool allowed[4][4] = {
		[REACH_UNKNOWN] = { [REACH_UNKNOWN] = true, [REACH_UP] = true, [REACH_DOWN] = true },
		[REACH_UP] = { [REACH_UP] = true, [REACH_DOWN] = true },
		[REACH_DOWN] = { [REACH_UP] = true, [REACH_DOWN] = true, [REACH_FAILED] = true },
		[REACH_FAILED] = { [REACH_UP] = true, [REACH_DOWN] = true, [REACH_FAILED] = true },
	};

	assert_true(allowed[from][to]);
	assert_true(to != REACH_UP || a->bad < 2);
	if (from != REACH_FAILED && to == REACH_FAILED)
		assert_false(e->isolated || e->marks & MARK_AUTONOMOUS || a->one_way);
	assert_true((alive_reason(a, e->isolated) != NULL) == (to == REACH_DOWN || to == REACH_FAILED));
}

static void whatever_comes_the_rules_hold(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 400; round++) {
		struct site s;
		int64_t least = INT64_MAX, most = 0;

		seed = round * 104729;
		begin(&s);
		for (unsigned i = 0; i < 600; i++) {
			enum site_reach before = s.a.reach;
			enum way way = (enum way)pick(7);

			s.now_us += pick(20) ? 1 + pick(SECOND) : 1 + pick(20 * SECOND);
			s.rtt_us = 1 + pick(SECOND);
			s.e.isolated = !pick(8);
			s.e.others_agree = !pick(8);
			s.e.source_failed = !pick(8);
			s.e.marks = pick(8) ? 0 : MARK_AUTONOMOUS;
			if (!pick(8))
				s.e.heard_us = s.now_us - pick(10 * SECOND);
			if (!pick(8))
				s.e.seen_us = s.now_us - pick(10 * SECOND);
			if (!pick(8))
				s.e.failure_us = s.now_us - pick(SECOND);
			if (way == ANSWERS) {
				least = s.rtt_us < least ? s.rtt_us : least;
				most = s.rtt_us > most ? s.rtt_us : most;
			}
			attempt(&s, way);
			check_step(before, alive_tick(&s.a, s.now_us, &s.e), &s.e, &s.a);
			if (s.a.distance_us >= 0)
				assert_true(s.a.distance_us >= least && s.a.distance_us <= most);
		}
		/* and in the end it follows what is there */
		s.e = (struct alive_evidence){ .fail_after_us = 30 * SECOND };
		s.rtt_us = 1000;
		s.pending_us = 0;
		run(&s, ANSWERS, 10);
		assert_int_equal(s.a.reach, REACH_UP);
		run(&s, PAUSED, 11);
		assert_int_equal(s.a.reach, REACH_DOWN);
		run(&s, PAUSED, 30);
		assert_int_equal(s.a.reach, REACH_FAILED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_answer_connects),
		cmocka_unit_test(one_that_was_never_met_is_down_too),
		cmocka_unit_test(one_refusal_is_nothing_two_are_a_loss),
		cmocka_unit_test(a_pause_is_noticed_and_so_is_the_return),
		cmocka_unit_test(refusals_that_last_confirm),
		cmocka_unit_test(silence_fails_after_fail_after),
		cmocka_unit_test(others_and_the_source_confirm),
		cmocka_unit_test(isolation_fails_nobody_and_its_time_does_not_count),
		cmocka_unit_test(one_way_is_no_death),
		cmocka_unit_test(an_autonomous_site_never_fails),
		cmocka_unit_test(one_that_bars_us_is_alive),
		cmocka_unit_test(a_slow_way_is_not_a_dead_one),
		cmocka_unit_test(a_link_that_flaps_does_not_take_the_mark_along),
		cmocka_unit_test(requests_that_find_nobody_hasten_the_loss),
		cmocka_unit_test(requests_that_get_through_hold_the_mark),
		cmocka_unit_test(our_own_pause_blames_nobody),
		cmocka_unit_test(most_lost_together_is_our_own_link),
		cmocka_unit_test(marks_of_operators_and_queues_are_shown),
		cmocka_unit_test(distances_follow_the_way_and_not_its_noise),
		cmocka_unit_test(whatever_comes_the_rules_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
