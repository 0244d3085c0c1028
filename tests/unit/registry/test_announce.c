/* registry/announce: what sites tell each other merges without conflict, in any order and any duplication. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "registry/announce.h"

static uint64_t seed;

/* xorshift64*: the same sequence in every run, another one per round. */
static unsigned pick(unsigned below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 0x2545f4914f6cdd1dULL >> 33) % below);
}

static struct announcement *decoded(const char *text)
{
	struct announcement *a;
	struct err e;

	if (announce_decode(span_of(text), &a, &e))
		fail_msg("%s: %s", text, e.text);
	return a;
}

static enum announce_merged merge(struct announce_table *t, const char *text, int64_t age_us, int64_t now_us)
{
	struct announcement *a = decoded(text);
	enum announce_merged merged;

	assert_int_equal(announce_merge(t, &a, age_us, now_us, &merged), 0);
	assert_null(a);
	return merged;
}

#define SMALL(site, epoch, generation, rest) \
	"{\"site\":\"" site "\",\"epoch\":" #epoch ",\"generation\":" #generation ",\"incarnation\":\"i\"" rest "}"

static void a_text_says_all_again(void **state)
{
	static const char text[] =
		"{\"site\":\"DC 1\",\"incarnation\":\"6f\",\"services\":[{\"name\":\"image\",\"instances\":[{\"url\":"
		"\"http://a:1\",\"health\":\"up\",\"load\":3,\"since\":17},{\"url\":\"http://b:1\",\"health\":\"down\","
		"\"load\":0,\"since\":0}]},{\"name\":\"c\",\"instances\":[]}],\"ways\":[{\"site\":\"dc2\",\"rtt_us\":900}],"
		"\"unreachable\":[\"dc4\"],\"fenced\":[\"dc3\",\"dc5\"],\"epoch\":1767225600000,\"generation\":4}";
	struct announcement *a = decoded(text);
	struct buf out;

	(void)state;
	assert_true(span_eq(a->site, SPAN("DC 1")));
	assert_int_equal(a->version.epoch, 1767225600000);
	assert_int_equal(a->service_count, 2);
	assert_int_equal(a->services[0].instances[1].health, ANNOUNCE_DOWN);
	assert_int_equal(a->services[0].instances[0].load, 3);
	assert_int_equal(a->ways[0].rtt_us, 900);
	assert_int_equal(a->fenced_count, 2);
	buf_init(&out, NULL, 0);
	assert_true(announce_encode(a, &out));
	assert_string_equal(buf_cstr(&out), text);
	buf_fini(&out);
	announce_free(&a);
}

static void later_versions_may_say_more(void **state)
{
	struct announcement *a = decoded(SMALL("dc1", 1, 1, ",\"labels\":{\"a\":1},\"services\":[{\"name\":\"i\",\"x\":[],"
	                                 "\"instances\":[{\"url\":\"u\",\"health\":\"draining\",\"load\":1,\"since\":0}]}]"));

	(void)state;
	assert_int_equal(a->services[0].instances[0].health, ANNOUNCE_UNKNOWN);
	announce_free(&a);
}

static void bad_texts_are_refused_with_a_reason(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "null", "{}", SMALL("", 1, 1, ""), SMALL("a\\nb", 1, 1, ""), SMALL("dc1", -1, 1, ""),
		SMALL("dc1", 1, 1.5, ""), SMALL("dc1", 9007199254740993, 1, ""),
		"{\"site\":\"dc1\",\"epoch\":1,\"generation\":1}", SMALL("dc1", 1, 1, ",\"epoch\":2"),
		SMALL("dc1", 1, 1, ",\"services\":{}"), SMALL("dc1", 1, 1, ",\"services\":[1]"),
		SMALL("dc1", 1, 1, ",\"services\":[{\"name\":\"i\",\"instances\":[{\"url\":\"u\\u0001\",\"health\":\"up\","
		      "\"load\":1,\"since\":0}]}]"),
		SMALL("dc1", 1, 1, ",\"ways\":[{\"site\":\"dc2\",\"rtt_us\":4294967296}]"),
		SMALL("dc1", 1, 1, ",\"fenced\":[\"\"]"), SMALL("dc1", 1, 1, ",\"fenced\":[null]"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct announcement *a;
		struct err e = { 0, "" };

		if (announce_decode(span_of(bad[i]), &a, &e) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
		assert_null(a);
		assert_true(e.text[0]);
	}
}

static void sizes_are_bounded(void **state)
{
	struct announcement *a;
	struct buf text;
	struct err e;

	(void)state;
	buf_init(&text, NULL, 0);
	buf_add_z(&text, "{\"site\":\"dc1\",\"epoch\":1,\"generation\":1,\"incarnation\":\"\",\"fenced\":[\"a\"");
	for (unsigned i = 0; i < ANNOUNCE_LIST; i++)
		buf_add_z(&text, ",\"a\"");
	buf_add_z(&text, "]}");
	assert_int_equal(announce_decode(buf_span(&text), &a, &e), ERR_INVALID);
	while (buf_len(&text) <= ANNOUNCE_BYTES)
		buf_add_z(&text, "          ");
	assert_int_equal(announce_decode(buf_span(&text), &a, &e), ERR_LIMIT);
	buf_fini(&text);
}

static void what_is_too_long_is_not_encoded(void **state)
{
	struct announce_service services[ANNOUNCE_LIST];
	struct announcement a = { .site = SPAN("dc1"), .services = services, .service_count = ANNOUNCE_LIST };
	struct buf out;

	(void)state;
	for (size_t i = 0; i < ANNOUNCE_LIST; i++)
		services[i] = (struct announce_service){
			.name = SPAN("0123456789012345678901234567890123456789012345678901234567890123") };
	buf_init(&out, NULL, 0);
	assert_false(announce_encode(&a, &out));
	assert_int_equal(buf_len(&out), 0);
	a.service_count = 4;
	assert_true(announce_encode(&a, &out));
	buf_fini(&out);
}

static void the_newer_one_stays(void **state)
{
	struct announce_table t;

	(void)state;
	announce_table_init(&t);
	assert_int_equal(merge(&t, SMALL("dc1", 5, 3, ""), 0, 100), ANNOUNCE_NEWER);
	assert_int_equal(merge(&t, SMALL("dc1", 5, 3, ""), 0, 100), ANNOUNCE_KNOWN);
	assert_int_equal(merge(&t, SMALL("dc1", 5, 2, ""), 0, 100), ANNOUNCE_OLDER);
	assert_int_equal(merge(&t, SMALL("dc1", 4, 9, ""), 0, 100), ANNOUNCE_OLDER);
	assert_int_equal(merge(&t, SMALL("dc1", 6, 0, ""), 0, 100), ANNOUNCE_NEWER);
	assert_int_equal(merge(&t, SMALL("dc0", 1, 1, ""), 0, 100), ANNOUNCE_NEWER);
	assert_int_equal(t.count, 2);
	assert_int_equal(announce_find(&t, SPAN("dc1"))->a->version.epoch, 6);
	assert_null(announce_find(&t, SPAN("dc2")));
	announce_forget(&t, SPAN("dc1"));
	announce_forget(&t, SPAN("dc1"));
	assert_int_equal(t.count, 1);
	announce_table_fini(&t);
}

static void age_expires_and_not_the_clock(void **state)
{
	struct announce_table t;

	(void)state;
	announce_table_init(&t);
	merge(&t, SMALL("dc1", 1, 1, ""), 0, 1000);
	merge(&t, SMALL("dc2", 1, 1, ""), 600, 1000);
	/* an older one with a fresher age says that the owner lives, and no more */
	merge(&t, SMALL("dc3", 2, 1, ""), 600, 1000);
	merge(&t, SMALL("dc3", 1, 1, ""), 0, 1000);
	announce_expire(&t, 1400, 1000);
	assert_int_equal(t.count, 3);
	announce_expire(&t, 1401, 1000);
	assert_int_equal(t.count, 2);
	assert_null(announce_find(&t, SPAN("dc2")));
	assert_int_equal(announce_find(&t, SPAN("dc3"))->a->version.epoch, 2);
	assert_true(announce_confirm(&t, SPAN("dc1"), (struct site_version){ 1, 1 }, 1500));
	assert_false(announce_confirm(&t, SPAN("dc3"), (struct site_version){ 1, 1 }, 1500));
	/* nobody was heard for 700: that ages nobody */
	announce_excuse(&t, 700);
	announce_expire(&t, 2700, 1000);
	assert_int_equal(t.count, 2);
	announce_expire(&t, 2701, 1000);
	assert_int_equal(t.count, 1);
	announce_expire(&t, 10000, 1000);
	assert_int_equal(t.count, 0);
	announce_table_fini(&t);
}

/* ---- property: any order, any duplication ------------------------------------------------------------------ */

#define SITES 4
#define TEXTS 24
#define HOLDERS 5

struct pool_of_texts { char text[TEXTS][400]; };

/* A few sites and versions, so that one version with two contents comes up as well. */
static void make_texts(struct pool_of_texts *p)
{
	for (unsigned i = 0; i < TEXTS; i++)
		snprintf(p->text[i], sizeof(p->text[i]),
		         "{\"site\":\"dc%u\",\"epoch\":%u,\"generation\":%u,\"incarnation\":\"%u\",\"fenced\":[\"x%u\"]}",
		         pick(SITES), pick(3), pick(3), pick(2), pick(3));
}

static void print(const struct announce_table *t, struct buf *out)
{
	buf_init(out, NULL, 0);
	for (size_t i = 0; i < t->count; i++)
		buf_addf(out, "%.*s %lld\n", SPAN_ARG(buf_span(&t->entries[i].text)),
		         (long long)t->entries[i].confirmed_us);
}

static void expect_same(const struct announce_table *a, const struct announce_table *b)
{
	struct buf x, y;

	print(a, &x);
	print(b, &y);
	assert_string_equal(buf_cstr(&x), buf_cstr(&y));
	buf_fini(&x);
	buf_fini(&y);
}

static void tell_in_some_order(struct announce_table *t, const struct pool_of_texts *p)
{
	unsigned order[TEXTS * 2], n = 0;

	for (unsigned i = 0; i < TEXTS; i++)
		order[n++] = i;
	while (n < TEXTS * 2)
		order[n++] = pick(TEXTS); /* told again */
	for (unsigned i = n; i-- > 1;) {
		unsigned j = pick(i + 1), swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	for (unsigned i = 0; i < n; i++) /* each text has an age of its own */
		merge(t, p->text[order[i]], order[i] * 10, 1000);
}

static void tables_told_the_same_are_the_same(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 300; round++) {
		struct announce_table first, other;
		struct pool_of_texts p;

		seed = round;
		make_texts(&p);
		announce_table_init(&first);
		announce_table_init(&other);
		tell_in_some_order(&first, &p);
		tell_in_some_order(&other, &p);
		expect_same(&first, &other);
		announce_table_fini(&first);
		announce_table_fini(&other);
	}
}

struct pull { char sites[SITES][8]; size_t n; };

static void want(void *ctx, struct span site, struct site_version version, int64_t age_us)
{
	struct pull *p = ctx;

	(void)version;
	(void)age_us;
	assert_true(p->n < SITES);
	snprintf(p->sites[p->n++], sizeof(p->sites[0]), "%.*s", SPAN_ARG(site));
}

/* What peers do: digest, then what is missing. */
static void pull_from(struct announce_table *to, const struct announce_table *from, int64_t now_us)
{
	struct pull p = { .n = 0 };
	struct buf digest;
	struct err e;

	buf_init(&digest, NULL, 0);
	assert_true(announce_digest(from, now_us, &digest));
	assert_int_equal(announce_compare(to, buf_span(&digest), now_us, want, &p, &e), 0);
	for (size_t i = 0; i < p.n; i++) {
		const struct announce_entry *entry = announce_find(from, span_of(p.sites[i]));
		struct announcement *a;
		enum announce_merged merged;

		assert_int_equal(announce_decode(buf_span(&entry->text), &a, &e), 0);
		assert_int_equal(announce_merge(to, &a, now_us - entry->confirmed_us, now_us, &merged), 0);
		assert_int_equal(merged, ANNOUNCE_NEWER);
	}
	buf_fini(&digest);
}

/* Each holder is told some; random pairs pull; a ring of pulls ends it.  Same version with two contents is what a
 * digest cannot see, so owners here write each version once. */
static void digests_spread_all_to_all(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 100; round++) {
		struct announce_table t[HOLDERS], all;

		seed = round * 7919;
		announce_table_init(&all);
		for (unsigned i = 0; i < HOLDERS; i++)
			announce_table_init(&t[i]);
		for (unsigned i = 0; i < TEXTS; i++) {
			char text[400];

			snprintf(text, sizeof(text), "{\"site\":\"dc%u\",\"epoch\":1,\"generation\":%u,\"incarnation\":\"\"}",
			         pick(SITES), i);
			merge(&all, text, 0, 1000000);
			merge(&t[pick(HOLDERS)], text, 0, 1000000);
		}
		for (unsigned i = 0; i < 20; i++)
			pull_from(&t[pick(HOLDERS)], &t[pick(HOLDERS)], 1000000);
		for (unsigned i = 0; i < 2 * HOLDERS; i++)
			pull_from(&t[i % HOLDERS], &t[(i + 1) % HOLDERS], 1000000);
		for (unsigned i = 0; i < 2 * HOLDERS; i++)
			pull_from(&t[(i + 1) % HOLDERS], &t[i % HOLDERS], 1000000);
		for (unsigned i = 0; i < HOLDERS; i++) {
			expect_same(&t[i], &all);
			announce_table_fini(&t[i]);
		}
		announce_table_fini(&all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_says_all_again),
		cmocka_unit_test(later_versions_may_say_more),
		cmocka_unit_test(bad_texts_are_refused_with_a_reason),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(what_is_too_long_is_not_encoded),
		cmocka_unit_test(the_newer_one_stays),
		cmocka_unit_test(age_expires_and_not_the_clock),
		cmocka_unit_test(tables_told_the_same_are_the_same),
		cmocka_unit_test(digests_spread_all_to_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
