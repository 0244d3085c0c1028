/* cli/: scopes out of words, tables, environments, heads of the local proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/environment.h"
#include "cli/progress.h"
#include "cli/relay_head.h"
#include "cli/scope_args.h"
#include "cli/table.h"

/* words: blank-separated; a '_' inside stands for a blank within one word. */
static struct scope_args *words_of(char *text)
{
	static struct scope_args a;
	char *save = NULL;

	a = (struct scope_args){ 0 };
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		for (char *p = w; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		if (!scope_args_take(&a, w))
			assert_int_equal(scope_args_begin(&a, w), 0);
	}
	return &a;
}

static void scope_is_the_words_up_to_what_must_remain(void **state)
{
	static const struct {
		const char *words;
		size_t leave;
		int rc;
		size_t parsed;
		const char *canonical;
	} rows[] = {
		{ "image: dc1 http://h/x", 1, 0, 2, "image: dc1" },
		{ "image: dc1 + dc2 http://h/", 1, 0, 4, "image: dc1 & dc2" },
		{ "image=dc1+dc2,compute=dc3/dc1", 0, 0, 1, "image: dc1 & dc2, compute: dc3; dc1" },
		{ "{ image: DC 1, compute: DC 2 }", 0, 0, 8, "image: DC 1, compute: DC 2" },
		{ "{ image: DC 1, compute: DC 2 } h:80/x", 1, 0, 8, "image: DC 1, compute: DC 2" },
		{ "image:_dc1_&_dc2", 0, 0, 1, "image: dc1 & dc2" },
		{ "image:_dc1_&_dc2 http://h", 1, 0, 1, "image: dc1 & dc2" },
		{ "image: dc1 and dc2 else dc3", 0, 0, 6, "image: dc1 & dc2; dc3" },
		/* would be a scope with it, but the last word must be the URL */
		{ "image: dc1 host/path", 1, 0, 2, "image: dc1" },
		{ "image: dc1 http://a http://b", 1, ERR_INVALID, 2, NULL },
		{ "image: dc1 http://a", 0, ERR_INVALID, 2, NULL },
		{ "image: , http://a", 1, ERR_SYNTAX, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[128];
		struct buf canonical;
		size_t parsed = 99;

		snprintf(text, sizeof(text), "%s", rows[i].words);
		buf_init(&canonical, NULL, 0);
		assert_int_equal(scope_args_settle(words_of(text), rows[i].leave, &canonical, &parsed, NULL),
		                 rows[i].rc);
		assert_int_equal(parsed, rows[i].parsed);
		if (rows[i].canonical)
			assert_string_equal(buf_cstr(&canonical), rows[i].canonical);
		buf_fini(&canonical);
	}
}

static void an_option_ends_the_scope(void **state)
{
	struct scope_args a = { 0 };

	(void)state;
	assert_false(scope_args_take(&a, "http://h"));
	assert_int_equal(scope_args_begin(&a, "image:"), 0);
	assert_true(scope_args_take(&a, "dc1"));
	scope_args_end(&a);
	assert_false(scope_args_take(&a, "http://h"));
	assert_int_equal(scope_args_begin(&a, "x: y"), ERR_EXISTS);
	assert_int_equal(a.count, 2);
}

static void a_refused_scope_is_shown_with_its_caret(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	assert_int_equal(scope_text_read(SPAN("image: dc1 &"), NULL, NULL, out), ERR_SYNTAX);
	fclose(out);
	assert_non_null(strstr(text, "column"));
	assert_non_null(strstr(text, "\n  image: dc1 &\n"));
	assert_non_null(strstr(text, "^\n"));
	free(text);
}

static void tables_align_and_keep_control_characters_away(void **state)
{
	static const char *const heads[] = { "SITE", ">RTT", "LAST" };
	struct table t;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	table_init(&t, heads, 3);
	table_add(&t, SPAN("d\033[31m1"), LOOK_PLAIN);
	table_addf(&t, "%.1f ms", 2.5);
	table_add(&t, SPAN("x"), LOOK_GOOD);
	table_add(&t, SPAN("\xc3\xa9t\xc3\xa9"), LOOK_PLAIN);
	table_add(&t, SPAN(""), LOOK_PLAIN);
	table_add(&t, SPAN("yy"), LOOK_PLAIN);
	assert_int_equal(table_print(&t, out, false), 0);
	fclose(out);
	assert_string_equal(text, "SITE        RTT  LAST\n"
	                          "d?[31m1  2.5 ms  x\n"
	                          "\xc3\xa9t\xc3\xa9           -  yy\n");
	free(text);
	table_fini(&t);
}

static void environment_replaces_and_removes(void **state)
{
	static char a[] = "A=1", proxy[] = "no_proxy=x", ab[] = "AB=2";
	char *vars[] = { a, proxy, ab, NULL };
	struct environment env;

	(void)state;
	assert_int_equal(environment_init(&env, vars), 0);
	assert_int_equal(environment_set(&env, "A", SPAN("new=value")), 0);
	assert_int_equal(environment_set(&env, "C", SPAN("")), 0);
	environment_unset(&env, "no_proxy");
	assert_string_equal(environment_get(&env, "A"), "new=value");
	assert_string_equal(environment_get(&env, "AB"), "2");
	assert_string_equal(environment_get(&env, "C"), "");
	assert_null(environment_get(&env, "no_proxy"));
	assert_int_equal(env.count, 3);
	assert_null(env.vars[3]);
	environment_fini(&env);
}

static void baggage_puts_the_scope_first_and_once(void **state)
{
	struct buf out;
	unsigned commas = 0;
	char many[2000] = "";

	(void)state;
	buf_init(&out, NULL, 0);
	environment_baggage(SPAN("image: dc1 & dc2; \"a%\""), "user=x;p=1, scope=old ,b=2", &out);
	assert_string_equal(buf_cstr(&out), "scope=image:%20dc1%20&%20dc2%3B%20%22a%25%22,user=x;p=1,b=2");
	buf_fini(&out);
	for (int i = 0; i < 100; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "m%d=1,", i);
	environment_baggage(SPAN("a: b"), many, &out);
	for (const char *p = buf_cstr(&out); *p; p++)
		commas += *p == ',';
	assert_int_equal(commas, 63);
	buf_fini(&out);
}

static void hosts_have_names_and_ports(void **state)
{
	struct relay_host h;

	(void)state;
	assert_int_equal(relay_host_parse(SPAN("example.org"), 80, &h), 0);
	assert_string_equal(h.name, "example.org");
	assert_int_equal(h.port, 80);
	assert_int_equal(relay_host_parse(SPAN("[::1]:8080"), 80, &h), 0);
	assert_string_equal(h.name, "::1");
	assert_int_equal(h.port, 8080);
	assert_int_equal(relay_host_parse(SPAN("h:"), 80, &h), 0);
	assert_int_equal(h.port, 80);
	assert_int_equal(relay_host_parse(SPAN(""), 80, &h), ERR_INVALID);
	assert_int_equal(relay_host_parse(SPAN("h:0"), 80, &h), ERR_INVALID);
	assert_int_equal(relay_host_parse(SPAN("h:65536"), 80, &h), ERR_INVALID);
	assert_int_equal(relay_host_parse(SPAN("h:1x"), 80, &h), ERR_INVALID);
	assert_int_equal(relay_host_parse(SPAN("[::1"), 80, &h), ERR_INVALID);
	assert_int_equal(relay_host_parse(SPAN("u@h"), 80, &h), ERR_INVALID);
}

static void base64_is_that_of_the_rfc(void **state)
{
	static const char *const rows[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		                               { "foo", "Zm9v" }, { "foob", "Zm9vYg==" } };
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_init(&out, NULL, 0);
		relay_base64(span_of(rows[i][0]), &out);
		assert_string_equal(buf_cstr(&out), rows[i][1]);
		buf_fini(&out);
	}
}

/* ---- heads ------------------------------------------------------------------------------------------ */

static struct relay_host only[] = { { "images", 0 }, { "other", 81 } };
static const struct relay_rules rules = { { "image: dc1", 10 }, { "Z29vZA==", 8 }, only, 2 };

static void parse(struct arena *arena, const char *text, struct http_head *head_r)
{
	struct http_refusal why;

	arena_init(arena, NULL, 0, 0);
	assert_int_equal(http_request_parse(arena, span_of(text), head_r, &why), 0);
}

static void only_named_hosts_are_scoped(void **state)
{
	const struct relay_rules all = { { "x: y", 4 }, { "", 0 }, NULL, 0 };
	const struct relay_host hosts[] = { { "IMAGES", 9292 }, { "other", 81 }, { "other", 80 } };

	(void)state;
	assert_true(relay_rules_scope_host(&rules, &hosts[0]));
	assert_true(relay_rules_scope_host(&rules, &hosts[1]));
	assert_false(relay_rules_scope_host(&rules, &hosts[2]));
	assert_true(relay_rules_scope_host(&all, &hosts[2]));
}

static void the_token_is_asked_before_anything_else(void **state)
{
	static const struct {
		const char *head;
		int rc;
		unsigned status;
	} rows[] = {
		{ "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", ERR_DENIED, 407 },
		{ "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ERR_DENIED, 407 },
		{ "GET http://h/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic Z29vZB==\r\n\r\n",
		  ERR_DENIED, 407 },
		{ "GET / HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic Z29vZA==\r\n\r\n", ERR_INVALID,
		  400 },
		{ "GET https://h/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic Z29vZA==\r\n\r\n",
		  ERR_INVALID, 400 },
		{ "GET http://h:81/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: basic Z29vZA==\r\n\r\n", 0, 0 },
		{ "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nProxy-Authorization: Basic Z29vZA==\r\n\r\n", 0,
		  0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena arena;
		struct http_head head;
		struct relay_host host;
		struct problem problem;

		parse(&arena, rows[i].head, &head);
		assert_int_equal(relay_request_judge(&rules, &head, &host, &problem), rows[i].rc);
		if (rows[i].rc)
			assert_int_equal(problem.status, rows[i].status);
		else
			assert_string_equal(host.name, "h");
		arena_fini(&arena);
	}
}

static void check_request(const char *in, const char *scope, const char *expected)
{
	struct arena arena;
	struct http_head head;
	struct buf out;

	buf_init(&out, NULL, 0);
	parse(&arena, in, &head);
	relay_request_write(&head, SPAN("h:81"), span_of(scope), &out);
	assert_string_equal(buf_cstr(&out), expected);
	buf_fini(&out);
	arena_fini(&arena);
}

static void requests_leave_in_origin_form_with_the_scope(void **state)
{
	(void)state;
	check_request("POST http://h:81/a?b HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic Z29vZA==\r\n"
	              "Proxy-Connection: keep-alive\r\nAccept: */*\r\nX-Hop: 1\r\nConnection: x-hop\r\n"
	              "Content-Length: 3\r\n\r\n",
	              "image: dc1",
	              "POST /a?b HTTP/1.1\r\nHost: h:81\r\nAccept: */*\r\nContent-Length: 3\r\n"
	              "Connection: close\r\nX-Scope: image: dc1\r\n\r\n");
	check_request("GET http://h:81 HTTP/1.1\r\nHost: x\r\nX-Scope: image: dc9\r\n\r\n", "image: dc1",
	              "GET / HTTP/1.1\r\nHost: h:81\r\nX-Scope: image: dc9\r\nConnection: close\r\n\r\n");
	check_request("GET http://h:81/ HTTP/1.1\r\nHost: x\r\n\r\n", "",
	              "GET / HTTP/1.1\r\nHost: h:81\r\nConnection: close\r\n\r\n");
	check_request("GET http://h:81/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
	              "Connection: upgrade\r\n\r\n",
	              "",
	              "GET /ws HTTP/1.1\r\nHost: h:81\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

static void assert_line(uint64_t done, uint64_t total, int64_t elapsed_us, unsigned columns, const char *want)
{
	char line[PROGRESS_COLUMNS_MOST + 1];

	progress_line(done, total, elapsed_us, columns, line);
	assert_string_equal(line, want);
}

static void progress_fits_into_its_columns(void **state)
{
	char line[PROGRESS_COLUMNS_MOST + 1];

	(void)state;
	assert_line(512 << 10, 1 << 20, 2000000, 60, "[########        ]  50%  512.0k of 1.0M  256.0k/s  0:02 left");
	assert_line(1 << 20, 1 << 20, 1000000, 60, "[###############################] 100%  1.0M of 1.0M  1.0M/s");
	assert_line(0, 1 << 20, 0, 60, "[                                     ]   0%  0 of 1.0M  0/s");
	assert_line(1000, 0, 1000000, 60, "1000  1000/s");
	assert_line(512 << 10, 1 << 20, 2000000, 20, " 50%  512.0k of 1.0M");
	assert_line(2 << 20, 1 << 20, 1000000, 10, "100%  2.0M");
	for (unsigned columns = 1; columns < 300; columns++) {
		progress_line(UINT64_MAX / 3, UINT64_MAX, 1, columns, line);
		assert_true(strlen(line) <= columns && strlen(line) <= PROGRESS_COLUMNS_MOST);
		progress_line(1, UINT64_MAX, INT64_MAX, columns, line);
		assert_true(strlen(line) <= columns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scope_is_the_words_up_to_what_must_remain),
		cmocka_unit_test(an_option_ends_the_scope),
		cmocka_unit_test(a_refused_scope_is_shown_with_its_caret),
		cmocka_unit_test(tables_align_and_keep_control_characters_away),
		cmocka_unit_test(environment_replaces_and_removes),
		cmocka_unit_test(baggage_puts_the_scope_first_and_once),
		cmocka_unit_test(hosts_have_names_and_ports),
		cmocka_unit_test(base64_is_that_of_the_rfc),
		cmocka_unit_test(only_named_hosts_are_scoped),
		cmocka_unit_test(the_token_is_asked_before_anything_else),
		cmocka_unit_test(progress_fits_into_its_columns),
		cmocka_unit_test(requests_leave_in_origin_form_with_the_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
