/* registry/: snapshots, marks that outlive them, the file source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "registry/registry.h"

static int in_new_folder(void **state)
{
	static char folder[] = "/tmp/test-registry-XXXXXX";

	*state = mkdtemp(folder);
	return *state && chdir(*state) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)!unlink("sites.yaml");
	return chdir("/") || rmdir(*state);
}

static int load(const char *text, struct registry *before, struct registry **reg_r, struct buf *errors)
{
	const struct registry_label labels[] = { { SPAN("region"), SPAN("home") } };
	FILE *f = fopen("sites.yaml", "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	buf_init(errors, NULL, 0);
	return registry_file_load("sites.yaml", SPAN("dc1"), labels, 1, before, reg_r, errors);
}

static struct registry *load_good(const char *text, struct registry *before)
{
	struct registry *reg;
	struct buf errors;

	if (load(text, before, &reg, &errors))
		fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
	buf_fini(&errors);
	return reg;
}

static void sites_are_sorted_and_found(void **state)
{
	struct registry *reg = load_good("sites:\n  'DC 3': {mesh: '127.0.3.1:1'}\n"
	                                 "  dc2: {mesh: '127.0.2.1:7400', labels: {region: us}}\n"
	                                 "  no: {}\n  dc1: {mesh: '127.0.1.1:7400', labels: {region: eu}}\n",
	                                 NULL);
	const char *want[] = { "DC 3", "dc1", "dc2", "no" };
	struct span value;
	size_t at;

	(void)state;
	assert_int_equal(reg->site_count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_true(span_eq(reg->sites[i].name, span_of(want[i])));
		assert_true(registry_find(reg, span_of(want[i]), &at));
		assert_int_equal(at, i);
		assert_string_equal(reg->sites[i].live->name, want[i]);
	}
	assert_false(registry_find(reg, SPAN("dc"), &at));
	assert_false(registry_find(reg, SPAN("zz"), &at));
	assert_false(registry_find(reg, SPAN(""), &at));
	assert_int_equal(reg->local, 1);
	assert_true(registry_label_get(reg, 1, SPAN("region"), &value));
	assert_true(span_eq(value, SPAN("eu")));
	assert_false(registry_label_get(reg, 0, SPAN("region"), &value));
	assert_true(reg->sites[2].has_mesh);
	assert_true(span_eq(reg->sites[2].mesh_text, SPAN("127.0.2.1:7400")));
	assert_int_equal(addr_port(&reg->sites[2].mesh), 7400);
	assert_false(reg->sites[3].has_mesh);
	registry_unref(&reg);
	assert_null(reg);
}

static void the_local_site_is_always_there(void **state)
{
	struct registry *reg = load_good("sites: {dc2: {}}\n", NULL);
	struct span value;

	(void)state;
	assert_int_equal(reg->site_count, 2);
	assert_true(span_eq(reg->sites[reg->local].name, SPAN("dc1")));
	assert_true(registry_label_get(reg, reg->local, SPAN("region"), &value));
	assert_true(span_eq(value, SPAN("home")));
	assert_false(reg->sites[reg->local].has_mesh);
	registry_unref(&reg);
	assert_int_equal(registry_file_load(NULL, SPAN("dc1"), NULL, 0, NULL, &reg, NULL), 0);
	assert_int_equal(reg->site_count, 1);
	assert_int_equal(reg->local, 0);
	registry_unref(&reg);
	/* the file's labels decide, where it gives any */
	reg = load_good("sites: {dc1: {labels: {a: b}}}\n", NULL);
	assert_false(registry_label_get(reg, 0, SPAN("region"), &value));
	registry_unref(&reg);
	reg = load_good("", NULL);
	assert_int_equal(reg->site_count, 1);
	registry_unref(&reg);
}

static void marks_outlive_a_reload(void **state)
{
	struct registry *before = load_good("sites: {dc2: {mesh: '127.0.0.1:1'}, dc3: {}}\n", NULL), *after;
	struct site_live *live = before->sites[1].live;

	(void)state;
	atomic_store(&live->rtt_us, 1234);
	atomic_store(&live->state, SITE_CONNECTED);
	after = load_good("sites: {dc2: {mesh: '127.0.0.1:2'}, dc4: {}}\n", before);
	assert_ptr_equal(after->sites[1].live, live);
	assert_int_equal(atomic_load(&live->refs), 2);
	registry_unref(&before);
	assert_int_equal(atomic_load(&live->refs), 1);
	assert_int_equal(atomic_load(&after->sites[1].live->rtt_us), 1234);
	assert_int_equal(atomic_load(&after->sites[2].live->rtt_us), -1);
	assert_int_equal(site_live_state(after->sites[1].live), SITE_CONNECTED);
	assert_int_equal(site_live_state(after->sites[2].live), SITE_UNKNOWN);
	registry_unref(&after);
}

static void the_data_path_leaves_evidence_only(void **state)
{
	struct registry *reg = load_good("sites: {dc2: {}}\n", NULL);
	struct site_live *live = reg->sites[1].live;

	(void)state;
	site_live_unreachable(live, 42);
	assert_int_equal(atomic_load(&live->last_failure_us), 42);
	site_live_heard(live, 43);
	assert_int_equal(atomic_load(&live->heard_us), 43);
	site_live_seen(live);
	assert_true(atomic_load(&live->last_seen_ms) > 0);
	assert_int_equal(site_live_state(live), SITE_UNKNOWN);
	assert_int_equal(site_live_reach(live), REACH_UNKNOWN);
	assert_false(site_live_is_barred(live));
	atomic_store(&live->marks, MARK_AUTONOMOUS);
	assert_false(site_live_is_barred(live));
	atomic_store(&live->marks, MARK_AUTONOMOUS | MARK_DETACHED);
	assert_true(site_live_is_barred(live));
	assert_string_equal(site_state_text(SITE_AUTONOMOUS), "autonomous");
	registry_unref(&reg);
}

static void distances_are_told_by_either_end(void **state)
{
	struct registry *reg = load_good("sites: {dc2: {}, dc3: {}, dc4: {}}\n", NULL);
	int64_t us;

	(void)state;
	assert_true(registry_rtt(reg, 2, 2, &us));
	assert_int_equal(us, 0);
	assert_false(registry_rtt(reg, 0, 1, &us));
	atomic_store(&reg->sites[1].live->rtt_us, 700);
	assert_true(registry_rtt(reg, 1, 0, &us));
	assert_int_equal(us, 700);
	assert_false(registry_rtt(reg, 1, 2, &us));
	registry_tell_rtt(reg, 2, 1, 900);
	assert_true(registry_rtt(reg, 1, 2, &us));
	assert_int_equal(us, 900);
	registry_tell_rtt(reg, 1, 2, 800);
	assert_true(registry_rtt(reg, 2, 1, &us));
	assert_int_equal(us, 800);
	registry_tell_rtt(reg, 1, 2, 0);
	registry_tell_rtt(reg, 2, 1, 0);
	assert_false(registry_rtt(reg, 1, 2, &us));
	registry_unref(&reg);
}

static void bad_files_are_refused(void **state)
{
	static const struct { const char *text, *want; } bad[] = {
		{ "sites:\n  dc2: {mesh: '127.0.0.1'}\n", "sites.yaml:2:15: mesh: \"127.0.0.1\" has no port" },
		{ "sites:\n  dc2: {mesh: '127.0.0.1:0'}\n", "sites.yaml:2:15: mesh: \"0\" is no port" },
		{ "sites:\n  dc2: {mesh: 'dc2.example:1'}\n", "sites.yaml:2:15: mesh: \"dc2.example\" is no address" },
		{ "sites:\n  dc2: {mesh: 'unix:/a'}\n", "sites.yaml:2:15: mesh: a unix socket cannot" },
		{ "sites:\n  dc2: {msh: '127.0.0.1:1'}\n", "sites.yaml:2:9: unknown key \"msh\"" },
		{ "site:\n  dc2: {}\n", "sites.yaml:1:1: unknown key \"site\"" },
		{ "sites:\n  dc2: {}\n  dc2: {}\n", "sites.yaml:3:3: \"dc2\" is there twice (first in line 2)" },
		{ "sites:\n  dc2: {mesh: '127.0.0.1:1'}\n  dc2: {mesh: '127.0.0.1:1'}\n",
		  "sites.yaml:3:3: \"dc2\" is there twice (first in line 2)" },
		{ "sites:\n  dc2: {mesh: '127.0.0.1:1'}\n  dc3: {mesh: '127.0.0.1:1'}\n",
		  "sites.yaml:3:15: mesh: dc3 has the same address as dc2" },
		{ "sites:\n  '': {}\n", "sites.yaml:2:3: a name is missing" },
		{ "sites:\n  \"a\\tb\": {}\n", "sites.yaml:2:3: a name has at most 64 bytes" },
		{ "sites:\n  a1234567890123456789012345678901234567890123456789012345678901234: {}\n",
		  "sites.yaml:2:3: a name has at most 64 bytes" },
		{ "sites: [dc1]\n", "sites.yaml:1:8: expected a map" },
		{ "sites:\n  dc2: {labels: [a]}\n", "sites.yaml:2:17: labels: expected a map of names" },
		{ "sites:\n  dc2: {labels: {a: ''}}\n", "sites.yaml:2:21: labels: a name is missing" },
		{ "sites: {\n", "sites.yaml:2:1: YAML: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct registry *reg;
		struct buf errors;

		assert_int_equal(load(bad[i].text, NULL, &reg, &errors), ERR_INVALID);
		assert_null(reg);
		if (!span_starts(buf_span(&errors), span_of(bad[i].want)))
			fail_msg("%s: %.*s", bad[i].text, SPAN_ARG(buf_span(&errors)));
		/* one mistake, one message */
		assert_null(strstr(buf_cstr(&errors) + 1, "\nsites.yaml:"));
		buf_fini(&errors);
	}
}

static void a_missing_file_is_said(void **state)
{
	struct registry *reg;
	struct buf errors;

	(void)state;
	buf_init(&errors, NULL, 0);
	assert_int_equal(registry_file_load("none.yaml", SPAN("dc1"), NULL, 0, NULL, &reg, &errors), ERR_IO);
	assert_string_equal(buf_cstr(&errors), "none.yaml: cannot be opened: No such file or directory\n");
	buf_fini(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sites_are_sorted_and_found),
		cmocka_unit_test(the_local_site_is_always_there),
		cmocka_unit_test(marks_outlive_a_reload),
		cmocka_unit_test(the_data_path_leaves_evidence_only),
		cmocka_unit_test(distances_are_told_by_either_end),
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(a_missing_file_is_said),
	};

	return cmocka_run_group_tests(tests, in_new_folder, remove_folder);
}
