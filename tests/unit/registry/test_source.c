/* registry/: what a sink makes of what a source tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "registry/collect.h"

static struct collect c;
static struct source_sink sink;
static unsigned changes;

static void on_change(void *ctx)
{
	++*(unsigned *)ctx;
}

static int new_sink(void **state)
{
	(void)state;
	collect_init(&c, SPAN("dc1"), NULL, 0, NULL);
	sink = collect_sink(&c);
	changes = 0;
	c.changed = on_change;
	c.ctx = &changes;
	return 0;
}

static int end_sink(void **state)
{
	(void)state;
	collect_fini(&c);
	return 0;
}

static void tell(const char *name, const char *mesh, uint64_t epoch, uint64_t generation)
{
	struct source_site site = { .name = span_of(name), .mesh_text = span_of(mesh), .version = { epoch, generation } };

	assert_int_equal(addr_parse(site.mesh_text, false, &site.mesh, NULL), 0);
	assert_int_equal(sink.upsert(&c, &site), 0);
}

/* "dc1 dc2=127.0.0.1:2" */
static void expect(const char *want)
{
	struct buf text;

	buf_init(&text, NULL, 0);
	for (size_t i = 0; i < c.now->site_count; i++) {
		const struct registry_site *site = &c.now->sites[i];

		buf_addf(&text, "%s%.*s", i ? " " : "", SPAN_ARG(site->name));
		if (site->has_mesh)
			buf_addf(&text, "=%.*s", SPAN_ARG(site->mesh_text));
	}
	assert_string_equal(buf_cstr(&text), want);
	buf_fini(&text);
}

static void a_list_replaces_the_list(void **state)
{
	(void)state;
	assert_int_equal(sink.begin(&c), 0);
	tell("dc3", "127.0.0.3:1", 0, 0);
	tell("dc2", "127.0.0.2:1", 0, 0);
	assert_null(c.now);
	assert_int_equal(sink.end(&c), 0);
	expect("dc1 dc2=127.0.0.2:1 dc3=127.0.0.3:1");
	assert_int_equal(sink.begin(&c), 0);
	tell("dc2", "127.0.0.2:2", 0, 0);
	tell("dc2", "127.0.0.2:2", 0, 0);
	assert_int_equal(sink.end(&c), 0);
	expect("dc1 dc2=127.0.0.2:2");
	assert_int_equal(changes, 2);
}

static void one_site_comes_and_goes(void **state)
{
	struct site_live *live;

	(void)state;
	tell("dc2", "127.0.0.2:1", 5, 1);
	expect("dc1 dc2=127.0.0.2:1");
	live = c.now->sites[1].live;
	tell("dc3", "127.0.0.3:1", 5, 1);
	tell("dc2", "127.0.0.2:2", 5, 2);
	expect("dc1 dc2=127.0.0.2:2 dc3=127.0.0.3:1");
	assert_ptr_equal(c.now->sites[1].live, live);
	assert_int_equal(sink.gone(&c, SPAN("dc3"), "left"), 0);
	assert_int_equal(sink.gone(&c, SPAN("dc3"), "left"), 0);
	expect("dc1 dc2=127.0.0.2:2");
	assert_int_equal(sink.gone(&c, SPAN("dc1"), "this site stays"), 0);
	expect("dc1 dc2=127.0.0.2:2");
}

static void older_versions_change_nothing(void **state)
{
	(void)state;
	tell("dc2", "127.0.0.2:5", 5, 5);
	tell("dc2", "127.0.0.2:4", 5, 4);
	tell("dc2", "127.0.0.2:9", 4, 9);
	expect("dc1 dc2=127.0.0.2:5");
	assert_int_equal(sink.begin(&c), 0);
	tell("dc2", "127.0.0.2:4", 5, 4);
	assert_int_equal(sink.end(&c), 0);
	expect("dc1 dc2=127.0.0.2:5");
	tell("dc2", "127.0.0.2:6", 6, 0);
	expect("dc1 dc2=127.0.0.2:6");
}

static void a_source_that_is_down_freezes_the_view(void **state)
{
	(void)state;
	tell("dc2", "127.0.0.2:1", 0, 0);
	assert_int_equal(sink.begin(&c), 0);
	sink.state(&c, false, SPAN("gone away"));
	expect("dc1 dc2=127.0.0.2:1");
	assert_false(c.up);
	assert_null(c.building);
	assert_int_equal(sink.begin(&c), 0);
	assert_int_equal(sink.begin(&c), 0); /* the first list broke off */
	tell("dc3", "127.0.0.3:1", 0, 0);
	assert_int_equal(sink.end(&c), 0);
	sink.state(&c, true, SPAN(""));
	expect("dc1 dc3=127.0.0.3:1");
	assert_true(c.up);
}

static void health_reaches_the_site(void **state)
{
	(void)state;
	tell("dc2", "127.0.0.2:1", 0, 0);
	sink.health(&c, SPAN("dc2"), SOURCE_FAILED);
	assert_true(atomic_load(&c.now->sites[1].live->source_failed));
	sink.health(&c, SPAN("dc2"), SOURCE_ALIVE);
	assert_false(atomic_load(&c.now->sites[1].live->source_failed));
	sink.health(&c, SPAN("nobody"), SOURCE_FAILED);
	sink.hint(&c, SPAN("news"));
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void the_file_is_a_source(void **state)
{
	char folder[] = "/tmp/test-source-XXXXXX", path[64];
	struct collect *file;
	struct buf errors;
	struct source *s;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sites.yaml", folder);
	write_file(path, "sites: {dc2: {mesh: '127.0.0.2:1'}}\n");
	buf_init(&errors, NULL, 0);
	assert_int_equal(collect_open(&source_file, span_of(path), SPAN("dc1"), NULL, 0, NULL, &file, &errors), 0);
	assert_int_equal(file->now->site_count, 2);
	s = file->source;
	assert_false(s->ops->has_news(s));
	/* seen, not settled; settled; read */
	write_file(path, "sites: {dc2: {mesh: '127.0.0.2:1'}, dc3: {}}\n");
	assert_false(s->ops->has_news(s));
	assert_true(s->ops->has_news(s));
	assert_int_equal(s->ops->resync(s, &errors), 0);
	assert_false(s->ops->has_news(s));
	assert_int_equal(file->now->site_count, 3);
	/* a bad edit keeps the table and says where */
	write_file(path, "sites: {dc2: {mesh: 'x'}, dc3: {}}\n");
	assert_false(s->ops->has_news(s));
	assert_true(s->ops->has_news(s));
	assert_int_equal(s->ops->resync(s, &errors), ERR_INVALID);
	assert_non_null(strstr(buf_cstr(&errors), "sites.yaml:1:21: mesh:"));
	assert_false(file->up);
	assert_int_equal(file->now->site_count, 3);
	assert_false(s->ops->has_news(s));
	/* so does its removal */
	unlink(path);
	assert_false(s->ops->has_news(s));
	assert_true(s->ops->has_news(s));
	assert_int_equal(s->ops->resync(s, &errors), ERR_IO);
	assert_int_equal(file->now->site_count, 3);
	buf_fini(&errors);
	collect_close(&file);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_list_replaces_the_list, new_sink, end_sink),
		cmocka_unit_test_setup_teardown(one_site_comes_and_goes, new_sink, end_sink),
		cmocka_unit_test_setup_teardown(older_versions_change_nothing, new_sink, end_sink),
		cmocka_unit_test_setup_teardown(a_source_that_is_down_freezes_the_view, new_sink, end_sink),
		cmocka_unit_test_setup_teardown(health_reaches_the_site, new_sink, end_sink),
		cmocka_unit_test(the_file_is_a_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
