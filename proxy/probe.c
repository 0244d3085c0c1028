/* Health of instances: a GET of the configured path now and then, one target after the other on a kept connection each
 * (proxy/ask.h).  health.rise good answers in a row make up, health.fall bad ones down. */
#include "proxy/probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/ask.h"
#include "proxy/instance.h"
#include "proxy/io_loop.h"

struct probe {
	struct ask ask;            /* first: its callback casts back */
	struct event *timer;
	struct instance *instance;
	struct span path, host;    /* the configuration's */
	int64_t interval_us, timeout_us;
	unsigned good, bad, rise, fall;
	char name[160];
};

struct probes {
	struct io_loop *loop;
	struct conf *conf;
	struct tls_set *tls;
	struct probe *items;
	size_t count;
};

static void arm(struct probe *p, int64_t us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	event_add(p->timer, &tv);
}

static void set_health(struct probe *p, enum instance_health health)
{
	if (atomic_load_explicit(&p->instance->health, memory_order_relaxed) == (int)health)
		return;
	log_info("instance %s: %s", p->name, instance_health_text(health));
	instance_set_health(p->instance, health, clock_mono_us());
}

static void judge(struct probe *p, bool good)
{
	p->good = good ? p->good + 1 : 0;
	p->bad = good ? 0 : p->bad + 1;
	if (p->good >= p->rise)
		set_health(p, INSTANCE_UP);
	else if (p->bad >= p->fall)
		set_health(p, INSTANCE_DOWN);
}

static void on_done(struct ask *a, const struct ask_answer *answer)
{
	struct probe *p = (struct probe *)(void *)a;
	int64_t now = clock_mono_us();

	if (answer->result != ASK_NOT_ASKED)
		judge(p, answer->result == ASK_ANSWERED && answer->status >= 200 && answer->status < 400);
	/* A tenth of jitter, so that many sites do not keep step. */
	arm(p, p->interval_us - p->interval_us / 20 + (now % 1000) * (p->interval_us / 10000));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	ask_send(&p->ask, p->path, p->host, 0, p->timeout_us);
}

static int add_instance(struct probes *all, const struct conf_service *svc, const struct conf_instance *inst)
{
	struct probe *p = &all->items[all->count];

	p->instance = instance_get(&inst->addr);
	if (!p->instance || ask_init(&p->ask, all->loop, &inst->addr, on_done))
		return ERR_NOMEM;
	p->ask.to = tls_target_instance(all->tls, all->conf, (size_t)(svc - all->conf->services), inst);
	p->timer = evtimer_new(all->loop->base, on_timer, p);
	all->count++;
	p->path = svc->health.path;
	p->host = inst->authority;
	atomic_store(&p->instance->probed, true);
	p->interval_us = svc->health.interval_us;
	p->timeout_us = svc->health.timeout_us;
	p->rise = svc->health.rise;
	p->fall = svc->health.fall;
	snprintf(p->name, sizeof(p->name), "%.*s of %.*s", SPAN_ARG(inst->url), SPAN_ARG(svc->name));
	if (!p->timer)
		return ERR_NOMEM;
	arm(p, 1 + (int64_t)(all->count - 1) % 100 * 1000); /* soon, and not all at once */
	return 0;
}

static int add_service(struct probes *all, const struct conf_service *svc)
{
	for (size_t j = 0; svc->health.path.n && j < svc->instance_count; j++)
		if (add_instance(all, svc, &svc->instances[j]))
			return ERR_NOMEM;
	return 0;
}

struct probes *probes_start(struct io_loop *loop, struct conf *conf, struct tls_set *tls)
{
	struct probes *all = calloc(1, sizeof(*all));
	size_t most = 1;

	for (size_t i = 0; i < conf->service_count; i++)
		most += conf->services[i].instance_count;
	if (!all)
		return NULL;
	all->loop = loop;
	all->conf = conf_ref(conf);
	all->tls = tls_ref(tls);
	all->items = calloc(most, sizeof(*all->items));
	for (size_t i = 0; all && all->items && i < conf->service_count; i++)
		if (add_service(all, &conf->services[i]))
			probes_stop(&all);
	if (all && !all->items)
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
		atomic_store(&p->instance->probed, false);
		ask_fini(&p->ask);
	}
	free(all->items);
	conf_unref(&all->conf);
	tls_unref(&all->tls);
	free(all);
}
