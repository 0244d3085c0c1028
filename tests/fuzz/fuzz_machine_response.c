/* The response side of the connection machine: one of a few requests goes out, and the upstream answers with
 * arbitrary bytes in arbitrary pieces, ends and resets.  What must hold:
 *
 *	- what the client gets parses as a response; a message cut short may end anywhere
 *	- a message the client must take for complete is either an answer of the proxy's own, or the upstream's,
 *	  complete as our own parser reads it: with its status and exactly its content
 *	- time alone ends everything
 *
 * The first byte of the input chooses the request. */
#include "tests/fuzz/machine.h"

static struct machine m;
static struct bed_end *client, *up;
static struct buf sent; /* all that this upstream wrote */
static bool simple;     /* one request, one upstream: its bytes can be held against the client's */
static unsigned requests, which, first; /* first: what the one request was, while it is simple */

static const char *const texts[] = {
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX-Scope: image: dc2\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nX-Scope: image: dc2; dc1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"PUT / HTTP/1.1\r\nHost: a\r\nX-Scope: image: dc2\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
};
#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static void ask(void)
{
	if (client->end_to_proxy || client->reset_to_proxy)
		return;
	buf_add_z(&client->to_proxy, texts[which % TEXTS]);
	requests++;
}

/* Connections are made at once; the newest one that is open is written to. */
static void turn(void)
{
	struct bed *bed = &m.bed;
	size_t before;

	do {
		before = bed->end_count;
		bed_settle(bed);
		for (size_t i = 0; i < bed->end_count; i++) {
			struct bed_end *e = &bed->ends[i];

			if (e->client)
				continue;
			e->connect = 0;
			if (e->io && e != up) {
				simple = simple && !up; /* a second connection: which one answered is not told */
				up = e;
			}
			buf_fini(&e->from_proxy);
		}
		bed_settle(bed);
	} while (bed->end_count != before);
}

static size_t command(const uint8_t *p, size_t n)
{
	unsigned arg = n > 1 ? p[1] : 0;

	switch (p[0]) {
	case OP_TIME:
		turn();
		bed_advance(&m.bed, 20000 * (int64_t)arg);
		turn();
		return 2;
	case OP_END:
		if (up)
			up->end_to_proxy = true;
		break;
	case OP_RESET:
		if (up && !up->end_to_proxy) /* what was whole before is not cut afterwards */
			up->reset_to_proxy = true;
		break;
	case OP_CLIENT:
		turn();
		simple = false;
		ask();
		turn();
		break;
	case OP_STYLE:
		which = arg;
		return 2;
	case OP_ROOM:
		client->room = arg * 16;
		return 2;
	case OP_ROOM_ALL:
		client->room = SIZE_MAX;
		break;
	case OP_CLIENT_RESET:
		client->reset_to_proxy = true;
		break;
	default:
		turn();
	}
	return 1;
}

static void write_upstream(uint8_t byte)
{
	if (!up || up->end_to_proxy || up->reset_to_proxy)
		return;
	buf_add_char(&up->to_proxy, (char)byte);
	buf_add_char(&sent, (char)byte);
}

/* A final response, read from all bytes of one side. */
struct reading {
	bool parsed, switched, complete, own;
	unsigned status;
	struct buf content;
};

static void read_content(struct reading *r, const struct http_head *h, struct span in, bool ended)
{
	struct http_body body;
	const char *reason = NULL;
	enum http_body_event event;
	struct span data;

	http_body_init(&body, h->framing, h->content_length);
	while ((event = http_body_next(&body, &in, &data, &reason)) == HTTP_BODY_DATA)
		buf_add_span(&r->content, data);
	r->complete = event == HTTP_BODY_END || (event == HTTP_BODY_MORE && ended && http_body_closed(&body));
	r->parsed = r->parsed && event != HTTP_BODY_BAD;
	http_body_fini(&body);
}

/* to: the request it answers. ended: the side ended in an orderly way. */
static struct reading read_response(struct span in, const struct http_head *to, bool ended)
{
	struct reading r = { .parsed = true };

	buf_init(&r.content, NULL, 0);
	while (in.n && r.parsed && !r.status) {
		struct http_refusal why = { 0 };
		struct head_guard guard = { 0 };
		const char *reason = NULL;
		struct http_head h;
		struct arena arena;
		enum guard_verdict verdict = head_guard_feed(&guard, in, &reason);

		if (verdict == GUARD_MORE)
			break;
		arena_init(&arena, NULL, 0, 0);
		r.parsed = verdict == GUARD_COMPLETE &&
		           !http_response_parse(&arena, span_head(in, guard.seen), to, &h, &why);
		in = span_from(in, guard.seen);
		if (r.parsed && (h.status == 101 || h.status >= 200)) {
			r.status = h.status;
			r.switched = h.status == 101;
			r.own = http_find(&h, HTTP_PROXY_STATUS) != NULL;
			if (!r.switched)
				read_content(&r, &h, in, ended);
		}
		arena_fini(&arena);
	}
	return r;
}

static void check_client(void)
{
	struct http_field offer = { .name = SPAN("Upgrade"), .value = SPAN("x"), .id = HTTP_UPGRADE };
	struct http_head to = { .method = SPAN("GET"), .is_head = first % TEXTS == 1, .upgrade = first % TEXTS == 4,
		                .fields = &offer, .field_count = first % TEXTS == 4 };
	struct reading got = read_response(buf_span(&client->from_proxy), &to,
	                                   (client->closed || client->ended) && !client->reset);
	struct reading gave = read_response(buf_span(&sent), &to, up && up->end_to_proxy && !up->reset_to_proxy);

	REQUIRE(got.parsed);
	if (got.complete && !got.own && !client->reset_to_proxy) {
		REQUIRE(gave.parsed && gave.complete);
		REQUIRE(got.status == gave.status);
		REQUIRE(span_eq(buf_span(&got.content), buf_span(&gave.content)));
	}
	buf_fini(&got.content);
	buf_fini(&gave.content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > MACHINE_INPUT_BYTES)
		return 0;
	machine_load(&m, "  image: {listen: '127.0.0.1:9292', instances: ['http://127.0.0.1:19292']}\n");
	machine_begin(&m);
	buf_init(&sent, NULL, 0);
	simple = true;
	up = NULL;
	requests = 0;
	first = which = data[0];
	client = bed_client(&m.bed, &m.listener);
	REQUIRE(client);
	ask();
	turn();
	for (size_t i = 1; i < size;) {
		if (data[i] >= OP_FIRST && data[i] <= OP_CLIENT_RESET)
			i += command(data + i, size - i);
		else
			write_upstream(data[i++]);
	}
	turn();
	client->room = SIZE_MAX;
	for (int i = 0; i < 600 && m.bed.worker.busy_count; i++) {
		bed_advance(&m.bed, 50000);
		turn();
	}
	if (simple)
		check_client();
	machine_end(&m, turn);
	buf_fini(&sent);
	return 0;
}
