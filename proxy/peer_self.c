/* What this site announces: its services with their instances, how it sees the others, whom it has fenced.
 *
 * Looked at twice a second and made anew when it has changed: at once where others act on it (services, health, who is
 * reached, unreachable or fenced), but no more than once in PUBLISH_SOON_US; for load and how long the ways are alone
 * no more than once in PUBLISH_LATER_US.  Load is told in powers of two, so that it changes seldom. */
#include "proxy/peer_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/instance.h"

#define PUBLISH_SOON_US 400000
#define PUBLISH_LATER_US 2000000
#define OUTDO_LEAST_US 10000000
#define SELF_BYTES (1u << 20)

static uint64_t rounded(uint64_t load)
{
	uint64_t power = 1;

	while (power < load && power < 1u << 31)
		power <<= 1;
	return load ? power : 0;
}

/* quiet: without what others need not know at once. */
static void fill_instance(const struct conf_instance *from, bool quiet, struct announce_instance *to)
{
	static const enum announce_health healths[] = {
		[INSTANCE_UNKNOWN] = ANNOUNCE_UNKNOWN,
		[INSTANCE_UP] = ANNOUNCE_UP,
		[INSTANCE_DOWN] = ANNOUNCE_DOWN,
	};
	const struct instance *inst = instance_get(&from->addr);

	*to = (struct announce_instance){ .url = from->url };
	if (!inst)
		return;
	to->health = healths[atomic_load_explicit(&inst->health, memory_order_relaxed)];
	to->load = quiet ? 0 : rounded(atomic_load_explicit(&inst->outstanding, memory_order_relaxed));
	to->since_ms = atomic_load_explicit(&inst->since_ms, memory_order_relaxed);
}

static bool fill_services(const struct conf *conf, bool quiet, struct announcement *a)
{
	a->services = arena_zalloc(&a->arena, (conf->service_count + 1) * sizeof(*a->services));
	if (!a->services)
		return false;
	for (size_t i = 0; i < conf->service_count && i < ANNOUNCE_LIST; i++) {
		const struct conf_service *from = &conf->services[i];
		struct announce_service *to = &a->services[a->service_count++];

		to->name = from->name;
		to->instances = arena_alloc(&a->arena, (from->instance_count + 1) * sizeof(*to->instances));
		if (!to->instances)
			return false;
		for (size_t j = 0; j < from->instance_count && j < ANNOUNCE_LIST; j++)
			if (from->instances[j].url.n <= ANNOUNCE_URL_BYTES)
				fill_instance(&from->instances[j], quiet, &to->instances[to->count++]);
	}
	return true;
}

static uint32_t bounded(int64_t us)
{
	return us > UINT32_MAX ? UINT32_MAX : us > 0 ? (uint32_t)us : 1;
}

static bool fill_sites(const struct registry *reg, bool quiet, struct announcement *a)
{
	a->ways = arena_alloc(&a->arena, (reg->site_count + 1) * sizeof(*a->ways));
	a->unreachable = arena_alloc(&a->arena, (reg->site_count + 1) * sizeof(*a->unreachable));
	a->fenced = arena_alloc(&a->arena, (reg->site_count + 1) * sizeof(*a->fenced));
	if (!a->ways || !a->unreachable || !a->fenced)
		return false;
	for (size_t i = 0; i < reg->site_count && i < ANNOUNCE_LIST; i++) {
		const struct site_live *live = reg->sites[i].live;
		enum site_reach reach = site_live_reach(live);
		int64_t us = atomic_load_explicit(&live->rtt_us, memory_order_relaxed);

		if (i == reg->local)
			continue;
		if (atomic_load_explicit(&live->marks, memory_order_relaxed) & MARK_FENCED)
			a->fenced[a->fenced_count++] = reg->sites[i].name;
		else if (reach == REACH_DOWN || reach == REACH_FAILED)
			a->unreachable[a->unreachable_count++] = reg->sites[i].name;
		if (us >= 0) /* who is down is as far away as before */
			a->ways[a->way_count++] = (struct announce_way){ reg->sites[i].name, quiet ? 0 : bounded(us) };
	}
	return true;
}

static bool take(struct peers *all, const struct announcement *a)
{
	enum announce_merged merged;
	struct announcement *own;
	struct buf text;
	struct err e;
	int rc;

	buf_init(&text, NULL, 0);
	rc = announce_encode(a, &text) ? announce_decode(buf_span(&text), &own, &e) : ERR_LIMIT;
	buf_fini(&text);
	if (rc)
		return false;
	pthread_mutex_lock(&all->lock);
	rc = announce_merge(&all->table, &own, 0, clock_mono_us(), &merged);
	pthread_mutex_unlock(&all->lock);
	return !rc;
}

/* Too much to tell: services without their instances, and no round trips. */
static void shorten(struct peers *all, struct announcement *a)
{
	if (!all->too_long)
		log_warn("what this site has to announce is longer than %u bytes: its services are told without their "
		         "instances", ANNOUNCE_BYTES);
	all->too_long = true;
	a->way_count = 0;
	for (size_t i = 0; i < a->service_count; i++)
		a->services[i].count = 0;
}

static void replace(struct buf *old, struct buf *with)
{
	buf_fini(old);
	*old = *with;
	buf_init(with, NULL, 0);
}

static void publish(struct peers *all, struct announcement *a, struct buf *content, struct buf *urgent, int64_t now_us)
{
	a->version = (struct site_version){ all->id->epoch, all->generation + 1 };
	if (!take(all, a))
		return; /* no memory: at the next look */
	all->generation++;
	all->published_us = now_us;
	replace(&all->content, content);
	replace(&all->urgent, urgent);
}

static bool is_due(const struct peers *all, const struct buf *content, const struct buf *urgent, int64_t now_us)
{
	int64_t since = now_us - all->published_us;

	if (!all->generation)
		return true;
	if (!span_eq(buf_span(urgent), buf_span(&all->urgent)))
		return since >= PUBLISH_SOON_US;
	return since >= PUBLISH_LATER_US && !span_eq(buf_span(content), buf_span(&all->content));
}

/* Others hold an announcement of ours that is newer than any: the state folder was lost or put back.  Or another
 * process says that it is this site, which only its certificate can prevent. */
static void outdo(struct peers *all, int64_t now_us)
{
	uint64_t heard;
	struct err e;

	if (all->outdone_us && now_us - all->outdone_us < OUTDO_LEAST_US)
		return; /* each costs a sync and a line in the log, and any peer can bring it about */
	heard = atomic_exchange_explicit(&all->epoch_heard, 0, memory_order_relaxed);
	if (!heard || heard < all->id->epoch)
		return;
	all->outdone_us = now_us;
	log_warn("others know an announcement of this site that is newer than its own: either its state folder was "
	         "lost or is an old one, or another process says that it is this site");
	if (identity_outdo(all->id, heard, &e))
		log_error("%s", e.text);
	else
		all->generation = 0;
}

static bool fill(struct peers *all, bool quiet, struct announcement *a)
{
	*a = (struct announcement){ .site = all->conf->site, .incarnation = span_of(all->id->incarnation) };
	arena_init(&a->arena, NULL, 0, SELF_BYTES);
	return fill_services(all->conf, quiet, a) && fill_sites(all->reg, quiet, a);
}

static bool encode(struct peers *all, struct announcement *a, struct buf *out)
{
	if (announce_encode_content(a, out))
		return true;
	shorten(all, a);
	return announce_encode_content(a, out);
}

void peers_announce(struct peers *all, int64_t now_us)
{
	struct announcement a, quiet;
	struct buf content, urgent;

	outdo(all, now_us);
	buf_init(&content, NULL, 0);
	buf_init(&urgent, NULL, 0);
	if (fill(all, false, &a) & fill(all, true, &quiet) && encode(all, &a, &content) &&
	    encode(all, &quiet, &urgent) && is_due(all, &content, &urgent, now_us))
		publish(all, &a, &content, &urgent, now_us);
	buf_fini(&content);
	buf_fini(&urgent);
	arena_fini(&a.arena);
	arena_fini(&quiet.arena);
}
