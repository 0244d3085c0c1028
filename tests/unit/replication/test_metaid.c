/* replication/metaid: identifiers that carry their home, read back, told from others, never given twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "replication/metaid.h"

#define NOW INT64_C(1767225600000) /* 2026-01-01 */
#define DIGITS "0123456789abcdefghijklmnopqrstuvwxyzABCDEF-"

static struct span text_of(const char text[METAID_TEXT_BYTES])
{
	return span_make(text, METAID_TEXT_BYTES);
}

static uint64_t random_64(void)
{
	uint64_t n;

	random_bytes(&n, sizeof(n));
	return n;
}

/* ---- UUID version 8 ---------------------------------------------------------------------------------------------- */

static void the_layout_is_what_was_given_out(void **state)
{
	struct metaid id;

	(void)state;
	assert_int_equal(metaid_tag(SPAN("dc1")), 0x334bb);
	assert_int_equal(metaid_tag(SPAN("dc2")), 0xfb652);
	assert_true(metaid_parse(SPAN("019b76da-a800-8334-aeec-4d5e6f703c26"), &id));
	assert_int_equal(id.tag, 0x334bb);
	assert_int_equal(id.wall_ms, NOW);
}

static void what_is_made_reads_back(void **state)
{
	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint32_t tag = (uint32_t)random_64() & 0xfffff;
		int64_t ms = (int64_t)(random_64() >> 16);
		char text[METAID_TEXT_BYTES];
		struct metaid id;

		metaid_make(tag, ms, text);
		assert_int_equal(text[14], '8');
		assert_non_null(memchr("89ab", text[19], 4));
		assert_true(metaid_parse(text_of(text), &id));
		assert_int_equal(id.kind, METAID_UUID);
		assert_int_equal(id.tag, tag);
		assert_int_equal(id.wall_ms, ms);
	}
}

static void a_changed_character_is_found_every_time(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		char text[METAID_TEXT_BYTES];
		struct metaid id;

		metaid_make((uint32_t)random_64() & 0xfffff, NOW + i, text);
		for (size_t at = 0; at < METAID_TEXT_BYTES; at++) {
			char was = text[at];

			for (const char *c = DIGITS; *c; c++) {
				text[at] = *c;
				assert_int_equal(metaid_parse(text_of(text), &id), *c == was);
			}
			text[at] = was;
		}
	}
}

static void neighbours_exchanged_are_found_every_time(void **state)
{
	(void)state;
	for (int i = 0; i < 500; i++) {
		char text[METAID_TEXT_BYTES];
		struct metaid id;

		metaid_make(metaid_tag(SPAN("dc1")), NOW + i, text);
		for (size_t at = 0; at + 1 < METAID_TEXT_BYTES; at++) {
			char a = text[at], b = text[at + 1];

			text[at] = b;
			text[at + 1] = a;
			assert_int_equal(metaid_parse(text_of(text), &id), a == b);
			text[at] = a;
			text[at + 1] = b;
		}
	}
}

/* Of 2,000,000 about 30 pass; more than 80 would be eight standard deviations off. */
static void others_of_version_8_pass_as_seldom_as_is_said(void **state)
{
	int passed = 0;

	(void)state;
	for (int i = 0; i < 2000000; i++) {
		static char text[METAID_TEXT_BYTES];
		uint64_t r = random_64();
		struct metaid id;

		if (!(i & 1023))
			metaid_make((uint32_t)r, NOW, text);
		hex_write((const uint8_t *)&r, 4, text); /* other milliseconds, check bits as they were */
		hex_write((const uint8_t *)&r + 4, 2, text + 9);
		passed += metaid_parse(text_of(text), &id);
	}
	assert_in_range(passed, 1, 80);
}

static void what_is_no_meta_identifier(void **state)
{
	static const char *const none[] = {
		"", "3", "dc1", "019b76da-a800-82bd-ab2c-4d5e6f701f4", "019b76da-a800-82bd-ab2c-4d5e6f701f4dd",
		"019B76DA-A800-82BD-AB2C-4D5E6F701F4D", "019b76da-a800-82bd-ab2c-4d5e6f701f4g",
		"019b76daa800-82bd-ab2c-4d5e6f701f4d-", "019b76da-a800-42bd-ab2c-4d5e6f701f4d",
		"019b76da-a800-82bd-2b2c-4d5e6f701f4d", "{19b76da-a800-82bd-ab2c-4d5e6f701f4}",
		"4503599627370495", "9007199254740992", "04503599627370496", "+503599627370496", "4503599627370496 ",
		"450359962737049", "45035996273704960", "4503599627370496.0", "9999999999999999", "450359962737049x",
	};
	struct metaid id;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		if (metaid_parse(span_of(none[i]), &id))
			fail_msg("\"%s\" was taken for a meta-identifier", none[i]);
	}
	for (int i = 0; i < 1000; i++) {
		char text[METAID_TEXT_BYTES];

		metaid_make_uuid4(text);
		assert_int_equal(text[14], '4');
		assert_non_null(memchr("89ab", text[19], 4));
		assert_false(metaid_parse(text_of(text), &id));
	}
}

static void later_ones_sort_later(void **state)
{
	char before[METAID_TEXT_BYTES], after[METAID_TEXT_BYTES];
	int64_t ms = 0;

	(void)state;
	metaid_make(0xfffff, ms, before);
	for (int i = 0; i < 5000; i++) {
		ms += 1 + (int64_t)(random_64() >> 28);
		if (ms >> 48)
			break;
		metaid_make((uint32_t)random_64(), ms, after);
		assert_true(memcmp(before, after, METAID_TEXT_BYTES) < 0);
		memcpy(before, after, METAID_TEXT_BYTES);
	}
}

/* ---- integers ---------------------------------------------------------------------------------------------------- */

static uint64_t next_of(struct metaid_source *s, int64_t ms)
{
	uint64_t id = 0;

	assert_int_equal(metaid_source_next(s, ms, &id), 0);
	return id;
}

static void integers_read_back_and_are_exact_in_a_double(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint32_t tag = (uint32_t)random_64() & 0xfffff;
		int64_t ms = NOW + (int64_t)(random_64() % (UINT64_C(30) * 365 * 86400000));
		struct metaid_source s;
		struct metaid id;
		char text[24];
		uint64_t n;

		metaid_source_init(&s, tag, ms - METAID_AHEAD_MS - 10, 0);
		n = next_of(&s, ms);
		assert_true((uint64_t)(double)n == n && (uint64_t)(double)(n + 1) == n + 1);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
		assert_true(metaid_parse(span_of(text), &id));
		assert_int_equal(id.kind, METAID_INTEGER);
		assert_int_equal(id.tag, tag >> 8);
		assert_in_range(id.wall_ms, ms - 1, ms + 1);
	}
}

static void integers_keep_to_their_bounds(void **state)
{
	struct metaid_source s;
	uint64_t id, last = 0;
	int given = 0;

	(void)state;
	metaid_source_init(&s, 0xfffff, NOW - 3600000, 0);
	while (!metaid_source_next(&s, NOW, &id)) {
		assert_true(id > last && id < UINT64_C(1) << 53);
		last = id;
		given++;
	}
	assert_int_equal(given, METAID_AHEAD_MS / 2 + 1);
	assert_int_equal(metaid_source_next(&s, NOW + 1, &id), ERR_BUSY);
	assert_true(next_of(&s, NOW + 2) > last);
	assert_int_equal(metaid_source_next(&s, NOW + 2, &id), ERR_BUSY);
	assert_int_equal(metaid_source_next(&s, 0, &id), ERR_LIMIT);
	assert_int_equal(metaid_source_next(&s, INT64_MAX / 2, &id), ERR_LIMIT);
}

/* Each life ends at any moment, knows nothing of the one before, and begins at once. */
static void a_restored_database_repeats_no_integer(void **state)
{
	int64_t ms = NOW;
	uint64_t id, last = 0;

	(void)state;
	for (int life = 0; life < 300; life++) {
		struct metaid_source s;

		metaid_source_init(&s, 77, ms, 0);
		for (int turn = 0; turn < 20; turn++) {
			ms += (int64_t)(random_64() % (life & 1 ? 3000 : 4));
			for (int k = (int)(random_64() % 6000); k && !metaid_source_next(&s, ms, &id); k--) {
				assert_true(id > last);
				last = id;
			}
		}
	}
	assert_true(last);
}

static void a_clock_set_back_repeats_none_that_is_known(void **state)
{
	struct metaid_source s;
	uint64_t highest, id;

	(void)state;
	metaid_source_init(&s, 5, NOW - 60000, 0);
	highest = next_of(&s, NOW);
	metaid_source_init(&s, 5, NOW - 3600000, highest);
	assert_int_equal(metaid_source_next(&s, NOW - 3600000, &id), ERR_BUSY);
	assert_int_equal(next_of(&s, NOW), highest + 1);
}

/* ---- derived ----------------------------------------------------------------------------------------------------- */

static const struct span three[] = { { "dc2", 3 }, { "dc1", 3 }, { "dc3", 3 } };

static struct metaid_seed a_seed(void)
{
	return (struct metaid_seed){ SPAN("image"), SPAN("/v2/images"), SPAN("k1"), SPAN("alice"), three, 3 };
}

static struct metaid_derived derive(enum metaid_kind kind, struct metaid_seed seed)
{
	struct metaid_derived d;

	assert_int_equal(metaid_derive(kind, &seed, &d), 0);
	return d;
}

static bool same(const struct metaid_derived *a, const struct metaid_derived *b)
{
	bool texts = a->text_bytes == b->text_bytes && !memcmp(a->text, b->text, a->text_bytes);
	bool operations = !memcmp(a->operation, b->operation, METAID_OPERATION_BYTES);

	assert_int_equal(texts, operations);
	return texts;
}

static void the_same_create_derives_the_same_ids(void **state)
{
	const struct span other_order[] = { SPAN("dc3"), SPAN("dc1"), SPAN("dc2"), SPAN("dc1") };
	struct metaid_seed again = a_seed();

	(void)state;
	again.sites = other_order;
	again.site_count = 4;
	for (int kind = METAID_UUID; kind <= METAID_INTEGER; kind++) {
		struct metaid_derived a = derive(kind, a_seed()), b = derive(kind, again);
		struct metaid id;

		assert_true(same(&a, &b));
		assert_int_equal(a.home, 1);
		assert_int_equal(b.home, 1);
		assert_int_equal(metaid_parse(span_make(a.text, a.text_bytes), &id), kind != METAID_UUID4);
		if (kind != METAID_UUID4)
			assert_int_equal(id.tag, metaid_tag(SPAN("dc1")) >> (kind == METAID_INTEGER ? 8 : 0));
	}
}

static void what_is_derived_was_given_out_too(void **state)
{
	static const uint8_t operation[METAID_OPERATION_BYTES] = { 0xa0, 0x52, 0xa5, 0xf5, 0x2f, 0x22, 0x96, 0x17,
		                                                     0x82, 0x8a, 0x19, 0xe2, 0xf8, 0x02, 0x13, 0x09 };
	struct metaid_derived d = derive(METAID_UUID, a_seed());

	(void)state;
	assert_memory_equal(d.text, "b9889981-99be-8334-aed7-438c5c6a933f", METAID_TEXT_BYTES);
	assert_memory_equal(d.operation, operation, sizeof(operation));
	d = derive(METAID_INTEGER, a_seed());
	assert_memory_equal(d.text, "5405755792352926", 16);
}

static void another_create_derives_others(void **state)
{
	struct metaid_seed seeds[8];
	struct metaid_derived d[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		seeds[i] = a_seed();
	seeds[1].service = SPAN("imag");
	seeds[1].path = SPAN("e/v2/images"); /* the same bytes, cut elsewhere */
	seeds[2].path = SPAN("/v2/image");
	seeds[3].key = SPAN("k2");
	seeds[4].principal = SPAN("bob");
	seeds[5].site_count = 2;
	seeds[6].key = SPAN("k1alice");
	seeds[6].principal = SPAN("");
	seeds[7].sites = three + 1;
	seeds[7].site_count = 2;
	for (int kind = METAID_UUID; kind <= METAID_INTEGER; kind++) {
		for (int i = 0; i < 8; i++) {
			d[i] = derive(kind, seeds[i]);
			for (int j = 0; j < i; j++)
				assert_false(same(&d[i], &d[j]));
		}
	}
}

static void without_sites_nothing_is_derived(void **state)
{
	struct metaid_seed seed = a_seed();
	struct metaid_derived d;

	(void)state;
	seed.site_count = 0;
	assert_int_equal(metaid_derive(METAID_UUID, &seed, &d), ERR_INVALID);
}

/* Neither can a derived integer be one that a source gives. */
static void derived_integers_meet_no_others(void **state)
{
	struct metaid_source s;

	(void)state;
	metaid_source_init(&s, metaid_tag(SPAN("dc1")), NOW, 0);
	for (int i = 0; i < 2000; i++) {
		struct metaid_seed seed = a_seed();
		struct metaid_derived d;
		struct metaid id;
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		seed.key = span_of(key);
		d = derive(METAID_INTEGER, seed);
		assert_int_equal(d.text_bytes, 16);
		assert_true(metaid_parse(span_make(d.text, 16), &id));
		assert_int_equal(id.wall_ms, 0);
		assert_true(strtoull(d.text, NULL, 10) >> 39 & 1);
		assert_false(next_of(&s, NOW + METAID_AHEAD_MS + i * 2 + 2) >> 39 & 1);
	}
}

/* ---- homes ------------------------------------------------------------------------------------------------------- */

static void every_site_is_found_by_its_tag(void **state)
{
	static char names[300][12];
	struct span spans[300];
	struct metaid_homes *homes;
	struct err e = { 0, "" };

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(names[i], sizeof(names[i]), "edge-%d", i * 7);
		spans[i] = span_of(names[i]);
	}
	assert_int_equal(metaid_homes_new(spans, 300, false, &homes, &e), 0);
	for (size_t i = 0; i < 300; i++) {
		struct metaid id = { METAID_UUID, metaid_tag(spans[i]), 0 }, integer = { METAID_INTEGER, 0, 0 };
		size_t at = 999;

		assert_true(metaid_home(homes, &id, &at));
		assert_int_equal(at, i);
		assert_false(metaid_home(homes, &integer, &at));
		id.kind = METAID_UUID4;
		assert_false(metaid_home(homes, &id, &at));
	}
	metaid_homes_free(&homes);
	assert_null(homes);
}

static void an_unknown_tag_has_no_home(void **state)
{
	const struct span sites[] = { SPAN("dc1"), SPAN("dc2"), SPAN("dc1") };
	struct metaid id = { METAID_UUID, metaid_tag(SPAN("dc3")), 0 };
	struct metaid_homes *homes;
	size_t at;

	(void)state;
	assert_int_equal(metaid_homes_new(sites, 3, true, &homes, NULL), 0);
	assert_false(metaid_home(homes, &id, &at));
	id = (struct metaid){ METAID_INTEGER, metaid_tag(SPAN("dc2")) >> 8, 0 };
	assert_true(metaid_home(homes, &id, &at));
	assert_int_equal(at, 1);
	metaid_homes_free(&homes);
	assert_int_equal(metaid_homes_new(NULL, 0, false, &homes, NULL), 0);
	assert_false(metaid_home(homes, &id, &at));
	metaid_homes_free(&homes);
}

/* Looks for two names with one tag of `bits`, as an operator might hit on them. */
static void find_collision(unsigned bits, char a[16], char b[16])
{
	unsigned *seen = calloc((size_t)1 << bits, sizeof(*seen));

	assert_non_null(seen);
	for (unsigned i = 1;; i++) {
		uint32_t tag;

		snprintf(b, 16, "s%u", i);
		tag = metaid_tag(span_of(b)) >> (METAID_TAG_BITS - bits);
		if (seen[tag]) {
			snprintf(a, 16, "s%u", seen[tag]);
			break;
		}
		seen[tag] = i;
	}
	free(seen);
}

static void sites_with_one_tag_are_refused_by_name(void **state)
{
	struct metaid_homes *homes;
	char a[16], b[16];

	(void)state;
	for (int integers = 0; integers < 2; integers++) {
		struct span sites[3] = { SPAN("dc1") };
		struct err e = { 0, "" };

		find_collision(integers ? METAID_INTEGER_TAG_BITS : METAID_TAG_BITS, a, b);
		sites[1] = span_of(a);
		sites[2] = span_of(b);
		assert_int_equal(metaid_homes_new(sites, 3, integers, &homes, &e), ERR_EXISTS);
		assert_null(homes);
		assert_non_null(strstr(e.text, a));
		assert_non_null(strstr(e.text, b));
		if (integers) {
			assert_int_equal(metaid_homes_new(sites, 3, false, &homes, &e), 0);
			metaid_homes_free(&homes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_layout_is_what_was_given_out),
		cmocka_unit_test(what_is_made_reads_back),
		cmocka_unit_test(a_changed_character_is_found_every_time),
		cmocka_unit_test(neighbours_exchanged_are_found_every_time),
		cmocka_unit_test(others_of_version_8_pass_as_seldom_as_is_said),
		cmocka_unit_test(what_is_no_meta_identifier),
		cmocka_unit_test(later_ones_sort_later),
		cmocka_unit_test(integers_read_back_and_are_exact_in_a_double),
		cmocka_unit_test(integers_keep_to_their_bounds),
		cmocka_unit_test(a_restored_database_repeats_no_integer),
		cmocka_unit_test(a_clock_set_back_repeats_none_that_is_known),
		cmocka_unit_test(the_same_create_derives_the_same_ids),
		cmocka_unit_test(what_is_derived_was_given_out_too),
		cmocka_unit_test(another_create_derives_others),
		cmocka_unit_test(without_sites_nothing_is_derived),
		cmocka_unit_test(derived_integers_meet_no_others),
		cmocka_unit_test(every_site_is_found_by_its_tag),
		cmocka_unit_test(an_unknown_tag_has_no_home),
		cmocka_unit_test(sites_with_one_tag_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
