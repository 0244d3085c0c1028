/* base/: the YAML tree with places, and what option tables are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/opt.h"
#include "base/yaml.h"

struct item {
	struct span name;
	uint64_t size;
};

struct line {
	struct span name;
	int word;
};

struct entry {
	struct span key;
	uint64_t size;
	struct line *lines;
	size_t line_count;
};

struct thing {
	bool flag;
	int64_t wait_us;
	struct span text;
	struct span *names;
	size_t name_count;
	struct opt_pair *pairs;
	size_t pair_count;
	struct item *items;
	size_t item_count;
	int word;
	struct entry *entries;
	size_t entry_count;
};

static const struct opt rows[] = {
	{ .path = "flag", .type = &opt_bool, .offset = offsetof(struct thing, flag), .value = "true",
	  .doc = "A flag." },
	{ .path = "part.wait", .type = &opt_duration, .offset = offsetof(struct thing, wait_us), .min = 1,
	  .max = 1000000, .value = "5ms", .flags = OPT_RESTART, .doc = "A time." },
	{ .path = "part.text", .type = &opt_text, .offset = offsetof(struct thing, text), .doc = "A text." },
	{ .path = "names", .type = &opt_name, .flags = OPT_LIST, .offset = offsetof(struct thing, names),
	  .count_offset = offsetof(struct thing, name_count), .value = "a, b", .doc = "Names." },
	{ .path = "pairs", .type = &opt_text, .flags = OPT_PAIRS, .offset = offsetof(struct thing, pairs),
	  .count_offset = offsetof(struct thing, pair_count), .doc = "Pairs." },
	{ .path = "items.*", .type = &opt_group, .offset = offsetof(struct thing, items),
	  .flags = OPT_RESTART, .count_offset = offsetof(struct thing, item_count),
	  .element = sizeof(struct item), .doc = "Items." },
	{ .path = "items.*.size", .type = &opt_size, .offset = offsetof(struct item, size), .value = "1k",
	  .flags = OPT_RESTART, .doc = "A size." },
	{ .path = "word", .type = &opt_word, .offset = offsetof(struct thing, word), .words = "red|green",
	  .value = "red", .doc = "A colour." },
	{ .path = "entries.[]", .type = &opt_items, .offset = offsetof(struct thing, entries),
	  .count_offset = offsetof(struct thing, entry_count), .element = sizeof(struct entry), .doc = "Entries." },
	{ .path = "entries.[].key", .type = &opt_name, .offset = offsetof(struct entry, key), .flags = OPT_REQUIRED,
	  .doc = "A key." },
	{ .path = "entries.[].size", .type = &opt_size, .offset = offsetof(struct entry, size), .value = "2k",
	  .doc = "A size." },
	{ .path = "entries.[].lines.[]", .type = &opt_items, .offset = offsetof(struct entry, lines),
	  .count_offset = offsetof(struct entry, line_count), .element = sizeof(struct line), .doc = "Lines." },
	{ .path = "entries.[].lines.[].name", .type = &opt_name, .offset = offsetof(struct line, name),
	  .flags = OPT_REQUIRED, .doc = "A name." },
	{ .path = "entries.[].lines.[].word", .type = &opt_word, .offset = offsetof(struct line, word),
	  .words = "red|green|blue", .later = "green|blue", .value = "red", .doc = "A colour." },
	{ .path = "future", .type = &opt_text, .flags = OPT_LATER, .value = "x", .doc = "Not yet." },
};
static const struct opt_table table = { rows, sizeof(rows) / sizeof(rows[0]) };

/* The thing lives in y's arena. 0 or the code of the parser. */
static int read_thing(struct yaml *y, const char *text, struct thing *thing_r)
{
	struct opt_reader r = { .table = &table, .yaml = y, .arena = &y->arena };
	int error = yaml_parse(y, SPAN("f"), span_of(text));

	memset(thing_r, 0, sizeof(*thing_r));
	if (!error || error == ERR_INVALID)
		assert_int_equal(opt_read(&r, thing_r), 0);
	return error;
}

static void assert_report(const char *text, const char *want)
{
	struct thing thing;
	struct yaml y;
	struct buf b;

	buf_init(&b, NULL, 0);
	(void)!read_thing(&y, text, &thing);
	yaml_report(&y, &b);
	buf_add_char(&b, '\0');
	assert_string_equal(buf_span(&b).p, want);
	buf_fini(&b);
	yaml_close(&y);
}

static void defaults_come_first(void **state)
{
	struct thing t;
	struct yaml y;

	(void)state;
	assert_int_equal(read_thing(&y, "", &t), 0);
	assert_true(t.flag);
	assert_int_equal(t.wait_us, 5000);
	assert_int_equal(t.name_count, 2);
	assert_true(span_eq(t.names[1], SPAN("b")));
	assert_int_equal(t.item_count, 0);
	assert_non_null(t.text.p);
	assert_int_equal(y.problem_count, 0);
	yaml_close(&y);
}

static void names_are_text_whatever_yaml_thinks(void **state)
{
	struct thing t;
	struct yaml y;

	(void)state;
	assert_int_equal(read_thing(&y, "names: [no, 1.10, 'null', 0x1f, ja: ]\n", &t), 0);
	assert_int_equal(y.problem_count, 1); /* "ja: " is a map */
	assert_true(span_eq(t.names[0], SPAN("no")));
	assert_true(span_eq(t.names[1], SPAN("1.10")));
	assert_true(span_eq(t.names[2], SPAN("null")));
	assert_true(span_eq(t.names[3], SPAN("0x1f")));
	yaml_close(&y);
	assert_int_equal(read_thing(&y, "names: yes\nitems: {on: {size: 1}, off: }", &t), 0);
	assert_int_equal(y.problem_count, 0);
	assert_int_equal(t.name_count, 1);
	assert_true(span_eq(t.items[0].name, SPAN("on")));
	assert_int_equal(t.items[0].size, 1);
	assert_true(span_eq(t.items[1].name, SPAN("off")));
	assert_int_equal(t.items[1].size, 1024);
	yaml_close(&y);
}

static void durations_have_units(void **state)
{
	static const struct { const char *text; int64_t us; const char *printed; } ok[] = {
		{ "0", 0, "0s" }, { "1us", 1, "1us" }, { "1500us", 1500, "1500us" }, { "2000us", 2000, "2ms" },
		{ "1.5s", 1500000, "1500ms" }, { "60s", 60000000, "1m" }, { "90m", 5400000000, "90m" },
		{ "24h", 86400000000, "1d" }, { "0.000001s", 1, "1us" }, { "7d", 604800000000, "7d" },
	};
	static const char *bad[] = { "", "s", "1", "-1s", "+1s", "1e3s", "1 week", "1.s", ".5s", "1..2s",
		                     "0.5us", "1.2.3s", "99999999999999999999s", "106751992d", "1 s" };
	struct buf b;
	int64_t us;

	(void)state;
	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
		assert_int_equal(opt_parse_duration(span_of(ok[i].text), &us, NULL), 0);
		assert_int_equal(us, ok[i].us);
		buf_init(&b, NULL, 0);
		opt_print_duration(us, &b);
		assert_string_equal(buf_cstr(&b), ok[i].printed);
		buf_fini(&b);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (opt_parse_duration(span_of(bad[i]), &us, NULL) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
}

static void sizes_are_powers_of_1024(void **state)
{
	static const struct { const char *text; uint64_t bytes; const char *printed; } ok[] = {
		{ "0", 0, "0" }, { "1023", 1023, "1023" }, { "1024", 1024, "1k" }, { "64k", 65536, "64k" },
		{ "10g", 10ull << 30, "10g" }, { "1.5m", 1536 << 10, "1536k" }, { "1M", 1 << 20, "1m" },
	};
	static const char *bad[] = { "", "k", "-1", "1kb", "1t", "0.3", "1 k", "9999999999g" };
	struct buf b;
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
		assert_int_equal(opt_parse_size(span_of(ok[i].text), &bytes, NULL), 0);
		assert_int_equal(bytes, ok[i].bytes);
		buf_init(&b, NULL, 0);
		opt_print_size(bytes, &b);
		assert_string_equal(buf_cstr(&b), ok[i].printed);
		buf_fini(&b);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (opt_parse_size(span_of(bad[i]), &bytes, NULL) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
}

static void problems_show_the_place(void **state)
{
	(void)state;
	assert_report("flag: true\nwrod: red\n",
	              "f:2:1: unknown key \"wrod\"\nwrod: red\n^\nhint: did you mean \"word\"?\n");
	assert_report("word: grren\n", "f:1:7: word: \"grren\" is none of red, green\nword: grren\n"
	                               "      ^\nhint: did you mean \"green\"?\n");
	assert_report("part: {text: a,\twait: 9h}\n", "f:1:23: wait: 9h is too large; expected 1us to 1s\n"
	                                             "part: {text: a,\twait: 9h}\n"
	                                             "               \t      ^\n");
	assert_report("flag: true\nflag: false\n",
	              "f:2:1: \"flag\" is there twice (first in line 1)\nflag: false\n^\n");
	/* columns are characters, the caret stands under the right one */
	assert_report("pairs: {\"\xc3\xa4\xc3\xb6\": [1]}\n",
	              "f:1:15: pairs: expected a text, not a list\npairs: {\"\xc3\xa4\xc3\xb6\": [1]}\n"
	              "              ^\n");
	assert_report("future: x\n", "");
	assert_report("future: y\n", "f:1:9: future: this needs a later version\nfuture: y\n"
	                             "        ^\nhint: leave it out, or empty\n");
}

static void all_problems_are_shown_in_order(void **state)
{
	(void)state;
	assert_report("word: x\nflag: 1\npart: {wait: 2s, foo: 1}\n",
	              "f:1:7: word: \"x\" is none of red, green\nword: x\n      ^\n"
	              "f:2:7: flag: \"1\" is neither true nor false\nflag: 1\n      ^\n"
	              "f:3:14: wait: 2s is too large; expected 1us to 1s\npart: {wait: 2s, foo: 1}\n"
	              "             ^\n"
	              "f:3:18: unknown key \"foo\"\npart: {wait: 2s, foo: 1}\n                 ^\n"
	              "hint: known here: wait, text\n");
}

static void what_is_no_plain_tree_is_refused(void **state)
{
	static const struct { const char *text, *part; } bad[] = {
		{ "names: &a [x]\n", "anchors are not supported" },
		{ "a: &a x\nnames: *a\n", "aliases are not supported" },
		{ "names: !foo x\n", "tags are not supported" },
		{ "flag: true\n---\nflag: false\n", "f:2:1: only one document" },
		{ "flag: \x01\n", "f:1:7: control character 0x01" },
		{ "flag: \xff\n", "f:1:7: byte 0xff is no UTF-8" },
		{ "flag: tr\xed\xa0\x80\n", "f:1:9: byte 0xed is no UTF-8" },
		{ "{[a]: b}\n", "a key must be a name" },
		{ "names: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
		  "nested more than 32 deep" },
		{ "- a\n", "f:1:1: expected a map of keys and values" },
		{ "flag: \"a\n", "YAML: " },
		{ "part:\n\ttext: a\n", "f:2:1: YAML: " },
	};
	struct thing thing;
	struct yaml y;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_init(&b, NULL, 0);
		(void)!read_thing(&y, bad[i].text, &thing);
		yaml_report(&y, &b);
		buf_add_char(&b, '\0');
		if (!strstr(buf_span(&b).p, bad[i].part))
			fail_msg("%s: %s", bad[i].text, buf_span(&b).p);
		buf_fini(&b);
		yaml_close(&y);
	}
}

static void what_is_printed_reads_back(void **state)
{
	const char *text = "flag: false\npart:\n  wait: 7ms\n  text: \"a\\\"b \\\\ #: \\xc3\"\n"
			   "names: [a, \"- x\"]\npairs: {k: \"v, w\"}\nitems:\n  \"x y\":\n    size: 3k\nword: green\n";
	struct thing t;
	struct yaml y;
	struct buf b;

	(void)state;
	assert_int_equal(read_thing(&y, text, &t), 0);
	assert_int_equal(y.problem_count, 0);
	buf_init(&b, NULL, 0);
	opt_print(&table, &t, &b);
	yaml_close(&y);
	/* \xc3 of YAML is the character U+00C3, two bytes of UTF-8, printed as they are */
	assert_non_null(strstr(buf_cstr(&b), "text: \"a\\\"b \\\\ #: \xc3\x83\""));
	assert_non_null(strstr(buf_cstr(&b), "names: [a, \"- x\"]"));
	assert_non_null(strstr(buf_cstr(&b), "  \"x y\":\n    size: 3k\n"));
	assert_int_equal(read_thing(&y, buf_cstr(&b), &t), 0);
	assert_int_equal(y.problem_count, 0);
	assert_int_equal(t.wait_us, 7000);
	yaml_close(&y);
	buf_fini(&b);
}

/* no: false elsewhere, 010: a number; here both are names, and stay so for other readers too */
static void names_that_other_readers_mistake_are_quoted(void **state)
{
	static const struct { const char *text, *printed; } cases[] = {
		{ "no", "\"no\"" }, { "Yes", "\"Yes\"" }, { "null", "\"null\"" }, { "010", "\"010\"" },
		{ "1e3", "\"1e3\"" }, { "", "\"\"" }, { "north", "north" }, { "dc1", "dc1" }, { "/v2", "/v2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b;

		buf_init(&b, NULL, 0);
		yaml_print_scalar(span_of(cases[i].text), &b);
		assert_string_equal(buf_cstr(&b), cases[i].printed);
		buf_fini(&b);
	}
}

static void differences_name_what_needs_a_restart(void **state)
{
	struct thing before, after;
	struct yaml y, z;
	struct buf b;

	(void)state;
	assert_int_equal(read_thing(&y, "word: red\nitems: {a: {size: 1}, b: {}}\n", &before), 0);
	assert_int_equal(
		read_thing(&z, "word: green\npart: {wait: 1s}\nitems: {c: {}, a: {size: 2}}\n", &after), 0);
	buf_init(&b, NULL, 0);
	opt_diff(&table, &before, &after, true, &b);
	assert_string_equal(buf_cstr(&b), "part.wait: changing it from 5ms to 1s needs a restart\n"
	                                  "items.a.size: changing it from 1 to 2 needs a restart\n"
	                                  "items.b: removing it needs a restart\n"
	                                  "items.c: adding it needs a restart\n");
	buf_fini(&b);
	buf_init(&b, NULL, 0);
	opt_diff(&table, &after, &after, true, &b);
	opt_diff(&table, &after, &after, false, &b);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
	buf_init(&b, NULL, 0);
	opt_diff(&table, &before, &after, false, &b);
	assert_string_equal(buf_cstr(&b), "word: from red to green\n");
	buf_fini(&b);
	yaml_close(&y);
	yaml_close(&z);
}

/* ---- lists of maps ----------------------------------------------------------------------- */

static void lists_of_maps_are_read_and_printed(void **state)
{
	static const char printed[] = "entries:\n"
	                              "  - key: a\n    size: 2k\n    lines:\n      - name: x\n        word: red\n"
	                              "      - name: z\n        word: red\n"
	                              "  - key: b\n    size: 3k\n";
	struct thing t;
	struct yaml y;
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	assert_int_equal(read_thing(&y, "entries: [{key: a, lines: [{name: x}, {name: z, word: red}]}, {key: b, size: 3k}]\n", &t),
	                 0);
	assert_int_equal(y.problem_count, 0);
	assert_int_equal(t.entry_count, 2);
	assert_true(span_eq(t.entries[0].key, SPAN("a")) && t.entries[0].size == 2048 && t.entries[0].line_count == 2);
	assert_true(span_eq(t.entries[0].lines[1].name, SPAN("z")) && t.entries[1].size == 3072 && !t.entries[1].line_count);
	opt_print(&table, &t, &b);
	assert_non_null(strstr(buf_cstr(&b), printed));
	yaml_close(&y);
	assert_int_equal(read_thing(&y, buf_cstr(&b), &t), 0);
	assert_true(!y.problem_count && t.entry_count == 2 && t.entries[0].line_count == 2);
	yaml_close(&y);
	buf_fini(&b);
	/* a single map will do, and nothing is none */
	assert_int_equal(read_thing(&y, "entries: {key: a, lines: {name: x}}\n", &t), 0);
	assert_true(!y.problem_count && t.entry_count == 1 && t.entries[0].line_count == 1);
	yaml_close(&y);
	assert_int_equal(read_thing(&y, "entries:\n", &t), 0);
	assert_true(!y.problem_count && !t.entry_count);
	yaml_close(&y);
}

static void mistakes_in_lists_of_maps_have_their_place(void **state)
{
	(void)state;
	assert_report("entries:\n  - kee: a\n    key: a\n",
	              "f:2:5: unknown key \"kee\"\n  - kee: a\n    ^\nhint: did you mean \"key\"?\n");
	assert_report("entries:\n  - size: 1\n", "f:2:5: \"key\" is missing: A key.\n  - size: 1\n    ^\n");
	assert_report("entries: [{key: a, lines: [{name: x, word: blue}]}]\n",
	              "f:1:44: word: \"blue\" needs a later version\n"
	              "entries: [{key: a, lines: [{name: x, word: blue}]}]\n"
	              "                                           ^\nhint: leave it out\n");
	assert_report("entries:\n  - key: a\n  -\n", "f:2:3: \"key\" is missing: A key.\n  - key: a\n  ^\n");
	assert_report("entries: [x]\n", "f:1:11: expected a map of keys and values\nentries: [x]\n          ^\n");
}

static void differences_within_lists_name_their_element(void **state)
{
	struct thing before, after;
	struct yaml x, y;
	struct buf b;

	(void)state;
	buf_init(&b, NULL, 0);
	assert_int_equal(read_thing(&x, "entries: [{key: a, lines: [{name: x}, {name: z}]}, {key: b}]\n", &before), 0);
	assert_int_equal(read_thing(&y, "entries: [{key: a, size: 1, lines: [{name: z}, {name: x}]}, {key: c}]\n", &after), 0);
	opt_diff(&table, &before, &after, true, &b);
	assert_int_equal(buf_len(&b), 0);
	opt_diff(&table, &before, &after, false, &b);
	assert_string_equal(buf_cstr(&b), "entries[a].size: from 2k to 1\nentries[a].lines: another order\n"
	                                  "entries[b]: removed\nentries[c]: added\n");
	buf_fini(&b);
	yaml_close(&x);
	yaml_close(&y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_come_first),
		cmocka_unit_test(names_are_text_whatever_yaml_thinks),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(problems_show_the_place),
		cmocka_unit_test(all_problems_are_shown_in_order),
		cmocka_unit_test(what_is_no_plain_tree_is_refused),
		cmocka_unit_test(what_is_printed_reads_back),
		cmocka_unit_test(names_that_other_readers_mistake_are_quoted),
		cmocka_unit_test(differences_name_what_needs_a_restart),
		cmocka_unit_test(lists_of_maps_are_read_and_printed),
		cmocka_unit_test(mistakes_in_lists_of_maps_have_their_place),
		cmocka_unit_test(differences_within_lists_name_their_element),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
