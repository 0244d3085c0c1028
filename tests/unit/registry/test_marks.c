/* registry/marks: marks and identity are on disk before they are in force, and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "registry/marks.h"

static char folder[64];

static int new_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/test-marks-XXXXXX");
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	(void)!chmod(folder, 0700);
	(void)!unlink("marks.json");
	(void)!unlink("identity.json");
	return chdir("/") || rmdir(folder);
}

static void open_good(struct marks *m)
{
	struct err e;

	if (marks_open(m, folder, &e))
		fail_msg("%s", e.text);
}

static void write_file(const char *path, const char *text)
{
	struct err e;

	assert_int_equal(file_replace(path, span_of(text), &e), 0);
}

static void marks_come_back(void **state)
{
	struct marks m;
	struct err e;

	(void)state;
	open_good(&m);
	assert_int_equal(marks_of(&m, SPAN("dc2")), 0);
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_FENCED, 0, SPAN(""), &e), 0);
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_AUTONOMOUS, 0, SPAN(""), &e), 0);
	assert_int_equal(marks_change(&m, SPAN("DC 3"), MARK_DETACHED, 0, SPAN("6f"), &e), 0);
	marks_close(&m);
	open_good(&m);
	assert_int_equal(marks_of(&m, SPAN("dc2")), MARK_FENCED | MARK_AUTONOMOUS);
	assert_int_equal(marks_of(&m, SPAN("DC 3")), MARK_DETACHED);
	assert_int_equal(marks_change(&m, SPAN("dc2"), 0, MARK_FENCED | MARK_AUTONOMOUS, SPAN(""), &e), 0);
	marks_close(&m);
	open_good(&m);
	assert_int_equal(m.count, 1);
	marks_close(&m);
	assert_int_not_equal(access("marks.json.new", F_OK), 0);
}

static void a_mark_that_cannot_be_written_is_not_in_force(void **state)
{
	struct marks m;
	struct err e;

	(void)state;
	open_good(&m);
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_AUTONOMOUS, 0, SPAN(""), &e), 0);
	/* a folder in the place of the file beside it: so it fails for root as well */
	assert_int_equal(mkdir("marks.json.new", 0700), 0);
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_FENCED, 0, SPAN(""), &e), ERR_IO);
	assert_non_null(strstr(e.text, "marks.json: cannot be written"));
	assert_int_equal(marks_of(&m, SPAN("dc2")), MARK_AUTONOMOUS);
	marks_close(&m);
	assert_int_equal(rmdir("marks.json.new"), 0);
	open_good(&m);
	assert_int_equal(marks_of(&m, SPAN("dc2")), MARK_AUTONOMOUS);
	marks_close(&m);
}

static void damaged_marks_are_refused(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{}", "{\"sites\": []}", "{\"sites\": {\"dc2\": 1}}",
		                           "{\"sites\": {\"\": {}}}", "{\"sites\": {\"a\": {}, \"a\": {}}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = { 0, "" };
		struct marks m;

		write_file("marks.json", bad[i]);
		if (marks_open(&m, folder, &e) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(strstr(e.text, "marks.json"));
		marks_close(&m);
	}
}

static void a_detached_site_returns_as_another_one_only(void **state)
{
	struct marks m;
	struct err e;

	(void)state;
	open_good(&m);
	assert_false(marks_meet(&m, SPAN("dc2"), SPAN("aa"))); /* no mark */
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_DETACHED, 0, SPAN("aa"), &e), 0);
	assert_false(marks_meet(&m, SPAN("dc2"), SPAN("aa")));
	assert_int_equal(marks_of(&m, SPAN("dc2")), MARK_DETACHED);
	assert_true(marks_meet(&m, SPAN("dc2"), SPAN("bb")));
	assert_int_equal(marks_of(&m, SPAN("dc2")), 0);
	/* whose incarnation was not known: who comes first is the one that was meant */
	assert_int_equal(marks_change(&m, SPAN("dc3"), MARK_DETACHED, 0, SPAN(""), &e), 0);
	assert_false(marks_meet(&m, SPAN("dc3"), SPAN("aa")));
	marks_close(&m);
	open_good(&m);
	assert_false(marks_meet(&m, SPAN("dc3"), SPAN("aa")));
	assert_true(marks_meet(&m, SPAN("dc3"), SPAN("bb")));
	marks_close(&m);
}

static void marks_reach_the_sites(void **state)
{
	struct registry *reg;
	struct marks m;
	struct err e;

	(void)state;
	write_file("sites.yaml", "sites: {dc2: {}, dc3: {}}\n");
	assert_int_equal(registry_file_load("sites.yaml", SPAN("dc1"), NULL, 0, NULL, &reg, NULL), 0);
	assert_int_equal(unlink("sites.yaml"), 0);
	open_good(&m);
	assert_int_equal(marks_change(&m, SPAN("dc2"), MARK_FENCED, 0, SPAN(""), &e), 0);
	assert_int_equal(marks_change(&m, SPAN("dc9"), MARK_FENCED, 0, SPAN(""), &e), 0);
	marks_apply(&m, reg);
	assert_true(site_live_is_barred(reg->sites[1].live));
	assert_false(site_live_is_barred(reg->sites[2].live));
	marks_close(&m);
	registry_unref(&reg);
}

static void an_epoch_is_greater_than_any_before(void **state)
{
	char incarnation[sizeof(((struct identity *)0)->incarnation)];
	struct identity id;
	struct err e;

	(void)state;
	assert_int_equal(identity_open(&id, folder, 1000, &e), 0);
	assert_int_equal(id.epoch, 1000);
	assert_int_equal(strlen(id.incarnation), ANNOUNCE_INCARNATION_BYTES);
	memcpy(incarnation, id.incarnation, sizeof(incarnation));
	identity_close(&id);
	/* the clock went back, was not set, went on */
	assert_int_equal(identity_open(&id, folder, 500, &e), 0);
	assert_int_equal(id.epoch, 1001);
	identity_close(&id);
	assert_int_equal(identity_open(&id, folder, -5, &e), 0);
	assert_int_equal(id.epoch, 1002);
	assert_int_equal(identity_outdo(&id, 7000, &e), 0);
	assert_int_equal(id.epoch, 7001);
	assert_int_equal(identity_outdo(&id, 10, &e), 0);
	assert_int_equal(id.epoch, 7002);
	identity_close(&id);
	assert_int_equal(identity_open(&id, folder, 9000, &e), 0);
	assert_int_equal(id.epoch, 9000);
	assert_string_equal(id.incarnation, incarnation);
	identity_close(&id);
	write_file("identity.json", "{\"incarnation\": \"6f\", \"epoch\": 1}");
	assert_int_equal(identity_open(&id, folder, 9000, &e), ERR_INVALID);
	identity_close(&id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(marks_come_back, new_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_mark_that_cannot_be_written_is_not_in_force, new_folder, remove_folder),
		cmocka_unit_test_setup_teardown(damaged_marks_are_refused, new_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_detached_site_returns_as_another_one_only, new_folder, remove_folder),
		cmocka_unit_test_setup_teardown(marks_reach_the_sites, new_folder, remove_folder),
		cmocka_unit_test_setup_teardown(an_epoch_is_greater_than_any_before, new_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
