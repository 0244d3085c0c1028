/* Each target keeps one connection while it answers, so that a site's round trip is that of one message and not of
 * a handshake.  A turn of a probe:
 *
 *	timer -> connect unless connected -> send -> answer or timeout -> judge -> timer
 *
 * Sites: one answer makes `connected`, one failure `disconnected` (a second failure in a row, so that a single
 * lost packet does not), and a failure that lasts timeouts.fail_after `failed`.  Instances: health.rise and
 * health.fall in a row. */
#include "proxy/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/message.h"
#include "proxy/conn.h"
#include "proxy/instance.h"

#define PING_INTERVAL_US 1000000
#define PING_TIMEOUT_US 1000000
#define PING_FALL 2
#define ANSWER_BYTES 8192

struct probe {
	struct conn c;             /* first: the io handler casts back */
	struct probes *all;
	struct addr addr;
	struct event *timer;
	struct buf request;
	struct head_guard guard;
	bool connected, waiting;   /* waiting: a turn is under way */
	int64_t interval_us, timeout_us, sent_us;
	unsigned good, bad, rise, fall;
	struct site_live *site;    /* of the registry snapshot held by all; or */
	struct instance *instance;
	char name[160];
};

struct probes {
	struct event_base *base;
	struct conf *conf;
	struct registry *reg;
	struct probe *items;
	size_t count;
};

static void on_readable(struct io *io);
static void on_writable(struct io *io);

static const struct io_handler probe_handler = { on_readable, on_writable };

static struct probe *of_io(struct io *io)
{
	return (struct probe *)(void *)io;
}

static void arm(struct probe *p, int64_t us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	event_add(p->timer, &tv);
}

/* ---- judging -------------------------------------------------------------------------------------------------- */

static void set_site_state(struct probe *p, enum site_state to)
{
	int from = atomic_load_explicit(&p->site->state, memory_order_relaxed);

	if (from == (int)to || from == SITE_FENCED)
		return;
	atomic_store_explicit(&p->site->state, (int)to, memory_order_relaxed);
	if (from != SITE_UNKNOWN || to != SITE_CONNECTED)
		log_info("site %s: %s (was %s)", p->name, site_state_text(to), site_state_text((enum site_state)from));
}

/* Smoothed as TCP does (RFC 6298 2.3: one eighth of the new). */
static void site_answered(struct probe *p, int64_t rtt_us)
{
	int64_t old = atomic_load_explicit(&p->site->rtt_us, memory_order_relaxed);

	atomic_store_explicit(&p->site->rtt_us, old < 0 ? rtt_us : (7 * old + rtt_us) / 8, memory_order_relaxed);
	site_live_seen(p->site);
	set_site_state(p, SITE_CONNECTED);
}

static void site_silent(struct probe *p)
{
	int64_t fail_after_ms = p->all->conf->timeout_fail_after_us / 1000;
	int64_t seen = atomic_load_explicit(&p->site->last_seen_ms, memory_order_relaxed);

	if (p->bad < PING_FALL)
		return;
	if ((int64_t)p->bad * p->interval_us / 1000 >= fail_after_ms && clock_wall_ms() - seen >= fail_after_ms)
		set_site_state(p, SITE_FAILED);
	else if (atomic_load_explicit(&p->site->state, memory_order_relaxed) != SITE_FAILED)
		set_site_state(p, SITE_DISCONNECTED);
}

static void set_health(struct probe *p, enum instance_health health)
{
	if (atomic_load_explicit(&p->instance->health, memory_order_relaxed) == (int)health)
		return;
	log_info("instance %s: %s", p->name, instance_health_text(health));
	instance_set_health(p->instance, health);
}

static void judge(struct probe *p, bool good)
{
	int64_t now = clock_mono_us();

	p->waiting = false;
	p->good = good ? p->good + 1 : 0;
	p->bad = good ? 0 : p->bad + 1;
	if (!good) {
		conn_close(&p->c, true);
		p->connected = false;
	}
	if (p->site && good)
		site_answered(p, now - p->sent_us);
	else if (p->site)
		site_silent(p);
	else if (p->good >= p->rise)
		set_health(p, INSTANCE_UP);
	else if (p->bad >= p->fall)
		set_health(p, INSTANCE_DOWN);
	/* A tenth of jitter, so that many sites do not keep step. */
	arm(p, p->interval_us - p->interval_us / 20 + (now % 1000) * (p->interval_us / 10000));
}

/* ---- talking -------------------------------------------------------------------------------------------------- */

static void send_request(struct probe *p)
{
	struct span text = buf_span(&p->request);

	p->guard = (struct head_guard){ 0 };
	p->sent_us = clock_mono_us();
	if (conn_send(&p->c, &text, 1))
		judge(p, false);
}

static void begin_turn(struct probe *p)
{
	p->waiting = true;
	arm(p, p->timeout_us);
	if (p->connected) {
		send_request(p);
		return;
	}
	buf_init(&p->c.in, NULL, 0);
	buf_init(&p->c.out, NULL, 0);
	p->c.eof = false;
	if (io_connect(&p->c.io, p->all->base, &p->addr, &probe_handler))
		judge(p, false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	if (p->waiting)
		judge(p, false); /* no answer in time */
	else
		begin_turn(p);
}

/* A whole answer without more behind it keeps the connection; anything else closes it, which costs the next
 * turn a handshake and nothing more. */
static void read_answer(struct probe *p)
{
	struct http_head asked = { .method = SPAN("GET") }, head;
	struct http_refusal why;
	struct arena arena;
	const char *reason;
	bool good, whole;
	int rc;

	switch (head_guard_feed(&p->guard, buf_span(&p->c.in), &reason)) {
	case GUARD_MORE:
		if (buf_len(&p->c.in) >= ANSWER_BYTES)
			judge(p, false);
		return;
	case GUARD_REFUSED:
		judge(p, false);
		return;
	case GUARD_COMPLETE:
		break;
	}
	arena_init(&arena, NULL, 0, 64 << 10);
	rc = http_response_parse(&arena, span_head(buf_span(&p->c.in), p->guard.seen), &asked, &head, &why);
	good = !rc && head.status >= 200 && head.status < 400;
	whole = !rc && head.keep_alive &&
	        (head.framing == HTTP_NO_BODY ||
	         (head.framing == HTTP_LENGTH && buf_len(&p->c.in) - p->guard.seen == head.content_length));
	arena_fini(&arena);
	buf_fini(&p->c.in);
	judge(p, good);
	if (good && !whole) {
		conn_close(&p->c, false);
		p->connected = false;
	}
}

static void on_readable(struct io *io)
{
	struct probe *p = of_io(io);

	switch (conn_read(&p->c, ANSWER_BYTES)) {
	case CONN_READ_SOME:
		if (p->waiting) {
			read_answer(p);
			return;
		}
		break;
	case CONN_READ_NONE:
		return;
	default:
		break;
	}
	if (p->waiting) {
		/* A kept connection that had ended by itself says nothing: once more on a new one. */
		bool kept = p->connected && p->good > 0 && clock_mono_us() - p->sent_us < 2000;

		conn_close(&p->c, false);
		p->connected = false;
		if (kept)
			begin_turn(p);
		else
			judge(p, false);
		return;
	}
	conn_close(&p->c, false);
	p->connected = false;
}

static void on_writable(struct io *io)
{
	struct probe *p = of_io(io);
	int rc;

	if (p->connected) {
		if (io_want_write(io, false) || conn_flush(&p->c))
			judge(p, false);
		return;
	}
	rc = io_connected(io);
	if (rc == -EAGAIN)
		return;
	if (rc || io_want_write(io, false) || io_want_read(io, true)) {
		judge(p, false);
		return;
	}
	p->connected = true;
	send_request(p);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void set_request(struct probe *p, const struct addr *addr, struct span path, struct span host)
{
	p->addr = *addr;
	buf_init(&p->request, NULL, 0);
	buf_addf(&p->request, "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: scopemesh\r\n\r\n", SPAN_ARG(path),
	         SPAN_ARG(host));
}

static int begin_probe(struct probes *all, struct probe *p)
{
	p->all = all;
	p->timer = evtimer_new(all->base, on_timer, p);
	if (!p->timer || p->request.failed)
		return ERR_NOMEM;
	arm(p, 1 + (int64_t)(p - all->items) % 100 * 1000); /* soon, and not all at once */
	return 0;
}

static void add_site(struct probes *all, size_t i)
{
	const struct registry_site *site = &all->reg->sites[i];
	struct probe *p = &all->items[all->count++];
	char host[ADDR_TEXT_BYTES];

	addr_format(&site->mesh, host);
	set_request(p, &site->mesh, SPAN(PROBE_MESH_PATH), span_of(host));
	p->site = site->live;
	p->interval_us = PING_INTERVAL_US;
	p->timeout_us = PING_TIMEOUT_US;
	snprintf(p->name, sizeof(p->name), "%.*s", SPAN_ARG(site->name));
}

static void add_instance(struct probes *all, const struct conf_service *svc, const struct conf_instance *inst)
{
	struct instance *shared = instance_get(&inst->addr);
	struct probe *p;

	if (!shared)
		return;
	p = &all->items[all->count++];
	set_request(p, &inst->addr, svc->health.path, inst->authority);
	p->instance = shared;
	atomic_store(&shared->probed, true);
	p->interval_us = svc->health.interval_us;
	p->timeout_us = svc->health.timeout_us;
	p->rise = svc->health.rise;
	p->fall = svc->health.fall;
	snprintf(p->name, sizeof(p->name), "%.*s of %.*s", SPAN_ARG(inst->url), SPAN_ARG(svc->name));
}

struct probes *probes_start(struct event_base *base, struct conf *conf, struct registry *reg)
{
	struct probes *all = calloc(1, sizeof(*all));
	size_t most = reg->site_count + 1;

	for (size_t i = 0; i < conf->service_count; i++)
		most += conf->services[i].instance_count;
	if (!all)
		return NULL;
	all->base = base;
	all->conf = conf_ref(conf);
	all->reg = registry_ref(reg);
	all->items = calloc(most, sizeof(*all->items));
	for (size_t i = 0; all->items && i < reg->site_count; i++)
		if (i != reg->local && reg->sites[i].has_mesh)
			add_site(all, i);
	for (size_t i = 0; all->items && i < conf->service_count; i++)
		for (size_t j = 0; conf->services[i].health.path.n && j < conf->services[i].instance_count; j++)
			add_instance(all, &conf->services[i], &conf->services[i].instances[j]);
	for (size_t i = 0; i < all->count; i++) {
		if (begin_probe(all, &all->items[i])) {
			probes_stop(&all);
			return NULL;
		}
	}
	if (!all->items)
		probes_stop(&all);
	return all;
}

void probes_stop(struct probes **allp)
{
	struct probes *all = *allp;

	*allp = NULL;
	if (!all)
		return;
	for (size_t i = 0; i < all->count; i++) {
		struct probe *p = &all->items[i];

		if (p->timer) /* NOLINT(clang-analyzer-core.NullDereference): count is 0 without items */
			event_free(p->timer);
		if (p->instance)
			atomic_store(&p->instance->probed, false);
		conn_close(&p->c, false);
		buf_fini(&p->request);
	}
	free(all->items);
	conf_unref(&all->conf);
	registry_unref(&all->reg);
	free(all);
}
