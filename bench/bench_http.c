/* Nanoseconds for a request head of some 550 bytes (guard alone; guard, llhttp and judging), for a
 * response head, and MB/s of the guard and the chunk decoder:
 *	make bench/bench_http && bench/bench_http
 * The goals: 1200 ns for the request, 400 MB/s for the guard. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/message.h"

#define ROUNDS 300000

static const char request[] =
	"POST /v2.1/servers/detail?limit=100&marker=0f3c7a52-4f2b-4b7e-9f4e-6d3b2a1c0e9d HTTP/1.1\r\n"
	"Host: compute.dc1.example.org:8774\r\n"
	"User-Agent: python-novaclient\r\n"
	"Accept: application/json\r\n"
	"Accept-Encoding: gzip, deflate\r\n"
	"Connection: keep-alive\r\n"
	"Content-Type: application/json\r\n"
	"Content-Length: 117\r\n"
	"X-Auth-Token: gAAAAABkX0oWn1q3m8tZy4vC2bD5eF7gH9iJ0kL1mN2oP3qR4sT5uV6wX7yZ8a\r\n"
	"X-Scope: compute: dc1, image: dc2\r\n"
	"X-Openstack-Request-Id: req-3c9f2d1e-7b6a-4c5d-8e9f-0a1b2c3d4e5f\r\n"
	"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
	"\r\n";

static const char response[] =
	"HTTP/1.1 200 OK\r\n"
	"Date: Mon, 02 Mar 2026 10:00:00 GMT\r\n"
	"Server: Apache\r\n"
	"Content-Type: application/json\r\n"
	"Content-Length: 1234\r\n"
	"X-Openstack-Request-Id: req-3c9f2d1e-7b6a-4c5d-8e9f-0a1b2c3d4e5f\r\n"
	"Vary: OpenStack-API-Version\r\n"
	"\r\n";

static double ns_each(int64_t start, int rounds)
{
	return (double)(clock_mono_us() - start) * 1000 / rounds;
}

static void guard(struct span head)
{
	struct head_guard g = { 0 };
	const char *reason;

	if (head_guard_feed(&g, head, &reason) != GUARD_COMPLETE)
		abort();
}

static void bench_guard(const char *name, struct span head)
{
	int64_t start = clock_mono_us();
	double ns;

	for (int i = 0; i < ROUNDS; i++)
		guard(head);
	ns = ns_each(start, ROUNDS);
	printf("%7.1f ns  guard, %s of %zu bytes (%.0f MB/s)\n", ns, name, head.n, (double)head.n * 1000 / ns);
}

static void bench_head(const char *name, struct span head, bool is_request)
{
	max_align_t room[512];
	struct http_refusal why;
	struct http_head h;
	struct arena a;
	int64_t start;
	int rc;

	arena_init(&a, room, sizeof(room), 0);
	start = clock_mono_us();
	for (int i = 0; i < ROUNDS; i++) {
		guard(head);
		rc = is_request ? http_request_parse(&a, head, &h, &why)
		                : http_response_parse(&a, head, NULL, &h, &why);
		if (rc)
			abort();
		arena_reset(&a);
	}
	printf("%7.1f ns  guard, llhttp and judging, %s of %zu bytes\n", ns_each(start, ROUNDS), name, head.n);
}

static void bench_chunks(size_t chunk)
{
	char line[HTTP_CHUNK_HEAD_BYTES];
	const char *reason;
	struct buf b;
	struct http_body body;
	struct span in, data;
	int64_t start;

	buf_init(&b, NULL, 0);
	while (buf_len(&b) < 1 << 24) {
		buf_add(&b, line, http_chunk_head(line, chunk));
		if (buf_reserve(&b, chunk))
			abort();
		memset(b.mem + b.wr, 'x', chunk);
		buf_commit(&b, chunk);
		buf_add_z(&b, "\r\n");
	}
	buf_add_z(&b, "0\r\n\r\n");
	in = buf_span(&b);
	http_body_init(&body, HTTP_CHUNKED, 0);
	start = clock_mono_us();
	while (http_body_next(&body, &in, &data, &reason) == HTTP_BODY_DATA)
		;
	if (!http_body_closed(&body))
		abort();
	printf("%7.1f ns  a chunk of %zu bytes\n", ns_each(start, (int)(body.total / chunk)), chunk);
	http_body_fini(&body);
	buf_fini(&b);
}

int main(void)
{
	bench_guard("request", SPAN(request));
	bench_guard("response", SPAN(response));
	bench_head("request", SPAN(request), true);
	bench_head("response", SPAN(response), false);
	bench_chunks(16);
	bench_chunks(4096);
	return 0;
}
