/* The request side of the connection machine: clients write arbitrary bytes in arbitrary pieces, end and reset;
 * an origin that reads with our own parser answers in one of several styles.  What must hold:
 *
 *	- whatever reaches an upstream is a sequence of requests that parses, each with our Via: bytes of a client's
 *	  body never become a request of their own (no smuggling), and no more requests reach upstreams than
 *	  exchanges and repeats were counted
 *	- what reaches the client is a sequence of heads and bodies that parses
 *	- time alone ends everything */
#include "tests/fuzz/machine.h"

static struct machine m;

enum style {
	STYLE_LENGTH, STYLE_CHUNKED, STYLE_UNTIL_CLOSE, STYLE_CONTINUE, STYLE_503, STYLE_EARLY, STYLE_UPGRADE,
	STYLE_SILENT, STYLE_CLOSE, STYLE_RESET, STYLE_REFUSE, STYLE_EMPTY, STYLE_HINTS, STYLE_SLOW_CONNECT,
	STYLES
};

/* How far our parser is in what an upstream received. */
struct origin {
	struct head_guard guard;
	struct http_body body;
	bool in_body, tunnel, is_head, upgrade, done;
};

static struct origin origins[BED_ENDS];
static struct bed_end *client;
static uint8_t style;
static uint64_t seen;

static void say(struct bed_end *e, const char *text)
{
	if (!e->end_to_proxy && !e->reset_to_proxy)
		buf_add_z(&e->to_proxy, text);
}

static void answer(struct origin *o, struct bed_end *e)
{
	switch (style % STYLES) {
	case STYLE_CHUNKED:
		say(e, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		if (!o->is_head)
			say(e, "3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
		return;
	case STYLE_UNTIL_CLOSE:
		say(e, "HTTP/1.0 200 OK\r\n\r\n");
		say(e, o->is_head ? "" : "until the end");
		e->end_to_proxy = true;
		return;
	case STYLE_503:
		say(e, "HTTP/1.1 503 No\r\nX-Scopemesh-Error: no-instance\r\nContent-Length: 0\r\n\r\n");
		return;
	case STYLE_EMPTY:
		say(e, "HTTP/1.1 204 No Content\r\n\r\n");
		return;
	case STYLE_HINTS:
		say(e, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
		return;
	case STYLE_UPGRADE:
		if (o->upgrade) {
			o->tunnel = true;
			say(e, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi");
			return;
		}
		break;
	case STYLE_SILENT:
		return;
	case STYLE_CLOSE:
		e->end_to_proxy = true;
		return;
	case STYLE_RESET:
		e->reset_to_proxy = true;
		return;
	default:
		break;
	}
	say(e, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
	say(e, o->is_head ? "" : "abc");
}

static void check_request(struct origin *o, struct span head)
{
	struct http_refusal why = { 0 };
	struct http_head h;
	struct arena arena;
	unsigned ours = 0;

	arena_init(&arena, NULL, 0, 0);
	REQUIRE(!http_request_parse(&arena, head, &h, &why));
	for (size_t i = 0; i < h.field_count; i++) {
		struct span rest = h.fields[i].value, member;

		if (h.fields[i].id == HTTP_VIA)
			while (http_list_next(&rest, &member))
				ours += span_eq(member, SPAN("1.1 dc1")) || span_eq(member, SPAN("1.0 dc1"));
	}
	REQUIRE(ours >= 1);
	REQUIRE(h.minor == 1);
	o->is_head = h.is_head;
	o->upgrade = h.upgrade;
	http_body_init(&o->body, h.framing, h.content_length);
	o->in_body = true;
	arena_fini(&arena);
	seen++;
}

/* The rest of the message; true when something was consumed that may be followed by more. */
static bool read_body(struct origin *o, struct bed_end *e)
{
	struct span in = buf_span(&e->from_proxy), data;
	const char *reason = NULL;
	enum http_body_event event;

	do
		event = http_body_next(&o->body, &in, &data, &reason);
	while (event == HTTP_BODY_DATA);
	buf_consume(&e->from_proxy, buf_len(&e->from_proxy) - in.n);
	REQUIRE(event != HTTP_BODY_BAD);
	if (event != HTTP_BODY_END)
		return false;
	http_body_fini(&o->body);
	o->in_body = false;
	if (style % STYLES != STYLE_EARLY)
		answer(o, e);
	return true;
}

static bool read_request(struct origin *o, struct bed_end *e)
{
	const char *reason = NULL;

	if (o->tunnel) {
		buf_fini(&e->from_proxy);
		return false;
	}
	if (o->in_body)
		return read_body(o, e);
	if (!buf_len(&e->from_proxy))
		return false;
	switch (head_guard_feed(&o->guard, buf_span(&e->from_proxy), &reason)) {
	case GUARD_MORE:
		return false;
	case GUARD_REFUSED:
		REQUIRE(!"a head that the guard refuses reached an upstream");
		return false;
	case GUARD_COMPLETE:
		break;
	}
	check_request(o, span_head(buf_span(&e->from_proxy), o->guard.seen));
	buf_consume(&e->from_proxy, o->guard.seen);
	o->guard = (struct head_guard){ 0 };
	if (style % STYLES == STYLE_CONTINUE)
		say(e, "HTTP/1.1 100 Continue\r\n\r\n");
	if (style % STYLES == STYLE_EARLY)
		answer(o, e);
	return true;
}

static void accept_dial(struct bed_end *e)
{
	if (e->client || e->connect != -EAGAIN)
		return;
	if (style % STYLES == STYLE_REFUSE)
		e->connect = -ECONNREFUSED;
	else if (style % STYLES != STYLE_SLOW_CONNECT)
		e->connect = 0;
}

/* Until nobody has anything more to say. */
static void turn(void)
{
	struct bed *bed = &m.bed;
	bool again = true;

	for (int turns = 0; again && turns < 1000; turns++) {
		again = false;
		bed_settle(bed);
		for (size_t i = 0; i < bed->end_count; i++) {
			struct bed_end *e = &bed->ends[i];
			int connect = e->connect;

			accept_dial(e);
			again |= connect != e->connect;
			if (!e->client)
				while (read_request(&origins[i], e))
					again = true;
		}
	}
}

static void new_client(void)
{
	struct bed_end *e = bed_client(&m.bed, &m.listener);

	if (e)
		client = e;
}

/* One command; the number of bytes it took. */
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
		client->end_to_proxy = true;
		break;
	case OP_RESET:
	case OP_CLIENT_RESET:
		client->reset_to_proxy = true;
		break;
	case OP_CLIENT:
		turn();
		new_client();
		break;
	case OP_STYLE:
		style = (uint8_t)arg;
		return 2;
	case OP_ROOM:
		client->room = arg * 16;
		return 2;
	case OP_ROOM_ALL:
		client->room = SIZE_MAX;
		break;
	default:
		turn();
	}
	return 1;
}

static uint64_t counted(void)
{
	const struct stats *s = &m.bed.worker.stats;
	uint64_t n = 0;

	for (const struct stats_pair *pair = s->pairs; pair; pair = pair->next)
		for (int op = 0; op < OP_COUNT; op++)
			n += counter_get(&pair->duration[op].count); /* also those that were not answered */
	for (int i = 0; i < REASON_COUNT; i++)
		n += counter_get(&s->retries[i]) + counter_get(&s->fallbacks[i]);
	return n;
}

/* Heads and bodies as a client would take them; a message cut short may end anywhere. */
static void check_client(struct bed_end *e)
{
	struct span in = buf_span(&e->from_proxy);

	while (in.n) {
		struct head_guard guard = { 0 };
		struct http_refusal why = { 0 };
		/* an upgrade may be answered with 101, and what follows is no message */
		struct http_head asked = { .method = SPAN("GET"), .upgrade = true }, h;
		const char *reason = NULL;
		struct arena arena;
		bool bodyless;

		if (in.n >= 9 && !memcmp(in.p, "HTTP/1.1 101", 12))
			return;
		switch (head_guard_feed(&guard, in, &reason)) {
		case GUARD_MORE:
			return;
		case GUARD_REFUSED:
			REQUIRE(!"a head that the guard refuses reached a client");
			return;
		case GUARD_COMPLETE:
			break;
		}
		arena_init(&arena, NULL, 0, 0);
		REQUIRE(!http_response_parse(&arena, span_head(in, guard.seen), &asked, &h, &why));
		bodyless = h.status < 200;
		arena_fini(&arena);
		in = span_from(in, guard.seen);
		if (!bodyless)
			return; /* whether a body follows depends on the method: the response side looks at bodies */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > MACHINE_INPUT_BYTES)
		return 0;
	machine_load(&m, "  image: {listen: '127.0.0.1:9292', prefix: /, instances: ['http://127.0.0.1:19292', "
	                 "'http://127.0.0.1:19293']}\n");
	machine_begin(&m);
	memset(origins, 0, sizeof(origins));
	style = 0;
	seen = 0;
	new_client();
	REQUIRE(client);
	for (size_t i = 0; i < size;) {
		if (data[i] >= OP_FIRST && data[i] <= OP_CLIENT_RESET) {
			i += command(data + i, size - i);
			continue;
		}
		if (!client->end_to_proxy && !client->reset_to_proxy)
			buf_add_char(&client->to_proxy, (char)data[i]);
		i++;
	}
	turn();
	for (size_t i = 0; i < m.bed.end_count; i++) {
		m.bed.ends[i].room = SIZE_MAX;
		if (m.bed.ends[i].client)
			check_client(&m.bed.ends[i]);
	}
	for (int i = 0; i < 600 && m.bed.worker.busy_count; i++) {
		bed_advance(&m.bed, 50000);
		turn();
	}
	REQUIRE(seen <= counted());
	machine_end(&m, turn);
	for (size_t i = 0; i < BED_ENDS; i++)
		if (origins[i].in_body)
			http_body_fini(&origins[i].body);
	client = NULL;
	return 0;
}
