/* Requests of the daemon's own (proxy/inner.h), on scripted instances and a fake clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "proxy/inner.h"
#include "tests/scenario/bed.h"

static struct bed bed;
static struct { unsigned calls, status; enum inner_result result; bool by_proxy, cut, encoded; size_t bytes; char reason[64], location[64]; } got;

static void on_done(void *arg, const struct inner_answer *a)
{
	(void)arg;
	got.calls++;
	got.status = a->status;
	got.result = a->result;
	got.by_proxy = a->by_proxy;
	got.cut = a->body_cut;
	got.bytes = a->body.n;
	for (size_t i = 0; a->head && i < a->head->field_count; i++)
		if (a->head->fields[i].id == HTTP_LOCATION)
			snprintf(got.location, sizeof(got.location), "%.*s", SPAN_ARG(a->head->fields[i].value));
	got.encoded = a->head && http_find((struct http_head *)(uintptr_t)a->head, HTTP_CONTENT_ENCODING);
	snprintf(got.reason, sizeof(got.reason), "%s", a->reason ? a->reason : "");
}

static int setup(void **state)
{
	char path[] = "/tmp/test-inner-XXXXXX", sites[] = "/tmp/test-inner-XXXXXX";
	struct conf *conf;
	struct registry *reg;
	struct buf errors;
	FILE *f = fdopen(mkstemp(path), "w"), *g = fdopen(mkstemp(sites), "w");

	(void)state;
	memset(&got, 0, sizeof(got));
	fputs("site: dc1\nservices:\n  image:\n    listen: 127.0.0.1:9292\n    instances: [\"http://127.0.0.1:19292\"]\n"
	      "mesh: {listen: \"127.0.0.1:7400\", tls: {insecure: true}}\n", f);
	fclose(f);
	fputs("sites:\n  dc1: {mesh: \"127.0.0.1:7400\"}\n  dc2: {mesh: \"127.0.0.2:7400\"}\n", g);
	fclose(g);
	buf_init(&errors, NULL, 0);
	if (conf_load(path, &conf, &errors) ||
	    registry_file_load(sites, conf->site, conf->labels, conf->label_count, NULL, &reg, &errors)) {
		fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&errors)));
		return -1;
	}
	unlink(path);
	unlink(sites);
	return bed_init(&bed, conf, reg);
}

static int teardown(void **state)
{
	(void)state;
	bed_fini(&bed);
	return 0;
}

static struct inner_request post(bool once)
{
	return (struct inner_request){ .service = SPAN("image"), .site = SPAN("dc1"), .method = SPAN("POST"),
		                       .target = SPAN("/v2/images"), .fields = SPAN("Host: image\r\n"),
		                       .body = SPAN("hello"), .once = once, .done = on_done };
}

static struct bed_end *send_to_instance(const struct inner_request *r)
{
	size_t before = bed.end_count;

	assert_int_equal(inner_send(&bed.worker, r), 0);
	assert_int_equal(got.calls, 0);
	if (bed.end_count == before)
		bed_settle(&bed); /* content whose ids are exchanged is read first */
	assert_int_equal(bed.end_count, before + 1);
	bed.ends[before].connect = 0;
	bed_settle(&bed);
	return &bed.ends[before];
}

static bool shows(struct bed_end *e, const char *text)
{
	return memmem(buf_span(&e->from_proxy).p, buf_len(&e->from_proxy), text, strlen(text)) != NULL;
}

static void answered_in_chunks(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e = send_to_instance(&r);

	(void)state;
	assert_true(shows(e, "POST /v2/images HTTP/1.1\r\n"));
	assert_true(shows(e, "\r\n\r\nhello"));
	assert_false(shows(e, "X-Forwarded"));
	buf_add_z(&e->to_proxy, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
	                        "3\r\nabc\r\n0\r\n\r\n");
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_ANSWERED);
	assert_int_equal(got.status, 201);
	assert_int_equal(got.bytes, 3);
}

static void a_cut_answer_is_unknown(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e = send_to_instance(&r);

	(void)state;
	buf_add_z(&e->to_proxy, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
	e->end_to_proxy = true;
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_UNKNOWN);
}

static void no_answer_is_unknown_and_not_repeated(void **state)
{
	struct inner_request r = post(false);
	struct bed_end *e = send_to_instance(&r);

	(void)state;
	e->reset_to_proxy = true;
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_UNKNOWN);
	assert_string_equal(got.reason, "outcome-unknown");
	assert_int_equal(bed.end_count, 1);
}

static void refused_is_not_executed(void **state)
{
	struct inner_request r = post(true);

	(void)state;
	assert_int_equal(inner_send(&bed.worker, &r), 0);
	bed.ends[0].connect = -ECONNREFUSED;
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_NOT_EXECUTED);
	assert_int_equal(got.by_proxy, true);
	assert_string_equal(got.reason, "no-instance");
}

static int fails_later(struct inner_source *src, uint64_t offset, struct buf *out, size_t most,
                       void (*done)(void *arg, int rc), void *arg)
{
	(void)src;
	if (offset)
		return ERR_IO;
	buf_add(out, "0123456789", most < 10 ? most : 10);
	done(arg, 0);
	return 0;
}

static void a_source_that_fails_resets(void **state)
{
	struct inner_source src = { fails_later };
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	r.body = span_make("", 0);
	r.source = &src;
	r.source_bytes = 20;
	e = send_to_instance(&r);
	assert_true(shows(e, "0123456789"));
	assert_true(e->closed && e->reset);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_UNKNOWN);
}

static struct { struct buf *out; void (*done)(void *arg, int rc); void *arg; } asked;

static int answers_later(struct inner_source *src, uint64_t offset, struct buf *out, size_t most,
                         void (*done)(void *arg, int rc), void *arg)
{
	(void)src;
	(void)offset;
	(void)most;
	asked.out = out;
	asked.done = done;
	asked.arg = arg;
	return 0;
}

static void give(const char *text)
{
	buf_add_z(asked.out, text);
	asked.done(asked.arg, 0);
	bed_settle(&bed);
}

static void a_slow_source_and_a_long_answer(void **state)
{
	struct inner_source src = { answers_later };
	struct inner_request r = post(true);
	static char piece[1 << 20];
	struct bed_end *e;

	(void)state;
	r.body = span_make("", 0);
	r.source = &src;
	r.source_bytes = 10;
	e = send_to_instance(&r);
	assert_true(shows(e, "Content-Length: 10\r\n"));
	give("01234");
	bed_advance(&bed, 1000000);
	assert_false(shows(e, "0123456789"));
	give("56789");
	assert_true(shows(e, "0123456789"));
	buf_add_z(&e->to_proxy, "HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n");
	for (int i = 0; i < 3; i++)
		buf_add(&e->to_proxy, piece, sizeof(piece));
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_ANSWERED);
	assert_int_equal(got.bytes, INNER_ANSWER_BYTES);
	assert_true(got.cut);
}

/* The answer is told at once; what the source was asked for comes when all is over. */
static void an_answer_before_the_content_is_whole(void **state)
{
	struct inner_source src = { answers_later };
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	r.body = span_make("", 0);
	r.source = &src;
	r.source_bytes = 10;
	e = send_to_instance(&r);
	buf_add_z(&e->to_proxy, "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n");
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_ANSWERED);
	assert_int_equal(got.status, 409);
	give("01234");
	assert_int_equal(got.calls, 1);
	assert_true(e->closed);
}

static void another_site_is_told_the_operation(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	r.site = SPAN("dc2");
	r.operation = SPAN("{\"op\":\"dc1/1/2\"}");
	r.fields = SPAN("Host: image\r\nX-Scopemesh-Scope: image: dc2\r\n");
	e = send_to_instance(&r);
	assert_true(shows(e, "X-Scopemesh-Operation: {\"op\":\"dc1/1/2\"}\r\n"));
	assert_true(shows(e, "X-Scopemesh-Scope: image: dc2\r\n"));
	assert_true(shows(e, "X-Scopemesh-Service: image\r\n"));
	buf_add_z(&e->to_proxy, "HTTP/1.1 503 Service Unavailable\r\nX-Scopemesh-Error: no-instance\r\n"
	                        "Content-Length: 0\r\n\r\n");
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_NOT_EXECUTED);
	assert_true(got.by_proxy);
	assert_string_equal(got.reason, "no-instance");
}

static void an_instance_is_not_told_the_operation(void **state)
{
	struct inner_request r = post(true);

	(void)state;
	r.operation = SPAN("{}");
	assert_false(shows(send_to_instance(&r), "Operation"));
}

/* Its content is gzip of "hello\n", whole or not. */
static void answer_gzip(struct bed_end *e, size_t bytes)
{
	static const char gzip[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\xe7\x02\x00\x20\x30\x3a\x36"
	                           "\x06\x00\x00\x00";

	buf_addf(&e->to_proxy, "HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nLocation: /v2/images/1\r\n"
	                       "Content-Length: %zu\r\n\r\n", bytes);
	buf_add(&e->to_proxy, gzip, bytes);
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_ANSWERED);
	assert_string_equal(got.location, "/v2/images/1");
}

static void gzip_is_taken_off(void **state)
{
	struct inner_request r = post(true);

	(void)state;
	answer_gzip(send_to_instance(&r), 26);
	assert_int_equal(got.bytes, 6);
	assert_false(got.encoded);
}

static void gzip_that_is_not_whole_stays(void **state)
{
	struct inner_request r = post(true);

	(void)state;
	answer_gzip(send_to_instance(&r), 20);
	assert_int_equal(got.bytes, 20);
	assert_true(got.encoded);
}

/* ---- resources that are named ---- */

#define META "019b76da-a800-8334-aed4-eadd6a1da94a"
#define CHILD "019b76da-a801-8334-aeea-bfa437b672aa"
#define LOCAL "0f2b7d9a41c84be4b8a9a7a1c6b7ad10"

static void know(const char *collection, const char *meta, const char *local, bool deleted)
{
	struct name v = { .service = SPAN("image"), .collection = span_of(collection), .sites = SPAN("dc1\ndc2"),
		          .here = true, .deleted = deleted, .state = *local ? REPLICA_SYNCED : REPLICA_QUEUED };

	v.meta_n = (uint16_t)strlen(meta);
	memcpy(v.meta, meta, v.meta_n);
	v.local_n = (uint16_t)strlen(local);
	memcpy(v.local, local, v.local_n);
	assert_int_equal(bed_name(&bed, &v), 0);
}

/* Path, query and content become local, the answer stays as it came. */
static void what_it_names_becomes_local(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	know("/v2/images", META, "17", false);
	know("/v2/images/" META "/members", CHILD, LOCAL, false);
	r.target = SPAN("/v2/images/" META "/members?after=" CHILD);
	r.fields = SPAN("Host: image\r\nContent-Type: application/json\r\nAccept-Encoding: br\r\n");
	r.body = SPAN("{\"of\": \"" CHILD "\"}");
	e = send_to_instance(&r);
	assert_true(shows(e, "POST /v2/images/17/members?after=" LOCAL " HTTP/1.1\r\n"));
	assert_true(shows(e, "Content-Length: 42\r\n"));
	assert_true(shows(e, "\r\n\r\n{\"of\": \"" LOCAL "\"}"));
	buf_add_z(&e->to_proxy, "HTTP/1.1 201 Created\r\nLocation: /v2/images/17/members/4\r\n"
	                        "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"id\":17}");
	bed_settle(&bed);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.result, INNER_ANSWERED);
	assert_int_equal(got.bytes, 9);
	assert_string_equal(got.location, "/v2/images/17/members/4");
}

/* A client has the tag that it was shown here. */
static void an_instance_gets_its_own_tags(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	know("/v2/images", META, "17", false);
	r.target = SPAN("/v2/images/" META);
	r.fields = SPAN("Host: image\r\nIf-Match: \"a@dc1\", \"b@dc2\"\r\nRange: bytes=0-1\r\nAccept-Encoding: br\r\n");
	e = send_to_instance(&r);
	assert_true(shows(e, "If-Match: \"a\", \"b@dc2\"\r\n"));
	assert_true(shows(e, "Range: bytes=0-1\r\n"));
	assert_true(shows(e, "Accept-Encoding: identity\r\n"));
}

static void content_of_a_source_becomes_local(void **state)
{
	struct inner_source src = { answers_later };
	struct inner_request r = post(true);

	(void)state;
	know("/v2/images", META, LOCAL, false);
	r.fields = SPAN("Host: image\r\nContent-Type: application/json\r\n");
	r.body = span_make("", 0);
	r.source = &src;
	r.source_bytes = strlen("[\"" META "\"]");
	assert_int_equal(inner_send(&bed.worker, &r), 0);
	bed_settle(&bed);
	give("[\"019b76da-a800-");
	give("8334-aed4-eadd6a1da94a\"]");
	assert_int_equal(bed.end_count, 1);
	bed.ends[0].connect = 0;
	bed_settle(&bed);
	assert_true(shows(&bed.ends[0], "\r\n\r\n[\"" LOCAL "\"]"));
}

static void another_site_gets_what_is_canonical(void **state)
{
	struct inner_request r = post(true);
	struct bed_end *e;

	(void)state;
	know("/v2/images", META, LOCAL, false);
	r.site = SPAN("dc2");
	r.target = SPAN("/v2/images/" META);
	r.fields = SPAN("Host: image\r\nContent-Type: application/json\r\n");
	r.body = SPAN("[\"" META "\", \"" LOCAL "\"]");
	e = send_to_instance(&r);
	assert_true(shows(e, "POST /v2/images/" META " HTTP/1.1\r\n"));
	assert_true(shows(e, "[\"" META "\", \"" LOCAL "\"]"));
}

static void refused_for_want_of_a_replica(const char *target)
{
	struct inner_request r = post(true);
	unsigned calls = got.calls;

	r.target = span_of(target);
	assert_int_equal(inner_send(&bed.worker, &r), 0);
	bed_settle(&bed);
	assert_int_equal(got.calls, calls + 1);
	assert_int_equal(got.result, INNER_NOT_EXECUTED);
	assert_true(got.by_proxy);
	assert_string_equal(got.reason, "no-replica");
	assert_int_equal(bed.end_count, 0);
}

static void what_has_no_replica_here_is_not_executed(void **state)
{
	(void)state;
	assert_int_equal(bed_name(&bed, NULL), 0);
	refused_for_want_of_a_replica("/v2/images/" META); /* nothing is known */
	know("/v2/images", META, "", false);
	know("/v2/images", "019b76da-abe8-8fb6-94bd-a2a042c63031", "17", false);
	know("/v2/images", "019b76da-abe9-8fb6-94a4-1015e97cb997", "18", true);
	refused_for_want_of_a_replica("/v2/images/" META "/file"); /* no local id */
	refused_for_want_of_a_replica("/v2/images/" CHILD);        /* not known */
	refused_for_want_of_a_replica("/v2/images/17");            /* hidden */
	refused_for_want_of_a_replica("/v2/images/019b76da-abe9-8fb6-94a4-1015e97cb997"); /* deleted */
}

/* The client chose it: there is no other id, and the request may be what makes it. */
static void a_chosen_name_is_the_same_here(void **state)
{
	struct inner_request r = post(false);

	(void)state;
	know("/v2/images", "debian 12", "", false);
	r.method = SPAN("PUT");
	r.target = SPAN("/v2/images/debian%2012");
	assert_true(shows(send_to_instance(&r), "PUT /v2/images/debian%2012 HTTP/1.1\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answered_in_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_answer_is_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(no_answer_is_unknown_and_not_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_is_not_executed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_source_that_fails_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_source_and_a_long_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_before_the_content_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(another_site_is_told_the_operation, setup, teardown),
		cmocka_unit_test_setup_teardown(an_instance_is_not_told_the_operation, setup, teardown),
		cmocka_unit_test_setup_teardown(gzip_is_taken_off, setup, teardown),
		cmocka_unit_test_setup_teardown(gzip_that_is_not_whole_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(what_it_names_becomes_local, setup, teardown),
		cmocka_unit_test_setup_teardown(an_instance_gets_its_own_tags, setup, teardown),
		cmocka_unit_test_setup_teardown(content_of_a_source_becomes_local, setup, teardown),
		cmocka_unit_test_setup_teardown(another_site_gets_what_is_canonical, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_no_replica_here_is_not_executed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chosen_name_is_the_same_here, setup, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
