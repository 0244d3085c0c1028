/* What sites ask each other, all of it GET on a kept connection to the other's mesh listener:
 *
 *	PEER_PING?from=SITE&epoch=E&generation=G        E, G: what the asker holds of the one that is asked
 *	  {"site", "epoch", "generation", "heard_ms", "time_ms", "release"}
 *	                                                heard_ms: since the asked one last had an answer
 *	PEER_ANNOUNCEMENT?from=SITE[&site=OTHER]        its own, or what it holds of another
 *	PEER_DIGEST?from=SITE                           which announcements it holds (registry/announce.h)
 *
 * A turn with one peer, about once a second:
 *
 *	ping -> it announces something newer: fetch it -> now and then: digest -> fetch what is missing -> pause
 *
 * So an announcement spreads within a turn of its making, pulled from its owner; what a digest shows besides is fetched
 * only of sites that cannot be asked themselves.  Nothing is pushed, so nothing is lost, and however much changes,
 * each peer fetches at most once a turn.
 *
 * Bounds: a connection and one answer per peer (ANNOUNCE_DIGEST_BYTES at most), PEER_WANTED names; the table holds
 * ANNOUNCE_BYTES for each site of the registry at most. */
#include "proxy/peer_int.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/percent.h"
#include "proxy/io_loop.h"

#define TURN_US 1000000
#define TURN_MOST_US 3000000
/* Pings a second of all peers together, from some number of peers on. */
#define TURNS_A_SECOND 50
#define TURN_FAILED_US 2000000
#define TURN_UNWANTED_US 4000000
#define FIRST_TURNS 5
#define TICK_US 500000
#define DIGEST_FIRST_US 3000000
#define DIGEST_LEAST_US 30000000
#define DIGEST_MOST_US 90000000
#define EXPIRE_LOOK_US 60000000
#define WARN_US 60000000
#define PING_BYTES 4096
#define PATH_BYTES 1024

uint64_t peers_random(struct peers *all, uint64_t below)
{
	all->random ^= all->random >> 12;
	all->random ^= all->random << 25;
	all->random ^= all->random >> 27;
	return (all->random * 0x2545f4914f6cdd1dULL >> 16) % below;
}

static void arm(struct event *timer, int64_t us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	event_add(timer, &tv);
}

/* A tenth of jitter either way, so that sites do not keep step. */
static int64_t turn_us(struct peer *p)
{
	int64_t us = (int64_t)p->all->count * 1000000 / TURNS_A_SECOND;

	us = us < TURN_US ? TURN_US : us > TURN_MOST_US ? TURN_MOST_US : us;
	if (p->alive.good && p->alive.samples < ALIVE_SAMPLES)
		us /= FIRST_TURNS; /* a distance wants more than one sample */
	if (p->alive.reach == REACH_FAILED && !p->alive.good && us < TURN_FAILED_US)
		us = TURN_FAILED_US;
	if (p->alive.reach == REACH_DOWN && !p->alive.good &&
	    (p->alive.last_miss == MISS_UNTRUSTED || p->alive.last_miss == MISS_BARRED))
		us = TURN_UNWANTED_US; /* it has said no, and says so in its log */
	return us - us / 10 + (int64_t)peers_random(p->all, (uint64_t)us / 5);
}

static bool is_fenced(const struct peer *p)
{
	return atomic_load_explicit(&p->live->marks, memory_order_relaxed) & MARK_FENCED;
}

/* ---- asking ------------------------------------------------------------------------------------------------ */

static void send_ask(struct peer *p, enum peer_step step, const char *path, const char *more, size_t most)
{
	struct buf text;

	buf_init(&text, NULL, PATH_BYTES);
	buf_addf(&text, "%s?from=", path);
	percent_encode(p->all->conf->site, "-._~", &text);
	buf_add_z(&text, more);
	p->step = step;
	ask_send(&p->ask, buf_span(&text), span_of(p->host), most, alive_patience_us(&p->alive));
	buf_fini(&text);
}

static void send_ping(struct peer *p)
{
	const struct announce_entry *have = announce_find(&p->all->table, span_of(p->name));
	char more[96] = "";

	if (have)
		snprintf(more, sizeof(more), "&epoch=%llu&generation=%llu", (unsigned long long)have->a->version.epoch,
		         (unsigned long long)have->a->version.generation);
	alive_asked(&p->alive, clock_mono_us());
	send_ask(p, PEER_STEP_PING, PEER_PING, more, PING_BYTES);
}

static void send_other(struct peer *p)
{
	struct buf more;

	buf_init(&more, NULL, PATH_BYTES);
	buf_add_z(&more, "&site=");
	percent_encode(span_of(p->wanted[p->wanted_count - 1].site), "-._~", &more);
	send_ask(p, PEER_STEP_OTHER, PEER_ANNOUNCEMENT, buf_cstr(&more) ? buf_cstr(&more) : "", ANNOUNCE_BYTES);
	buf_fini(&more);
}

/* What is left to do of this turn, or the pause until the next. */
static void go_on(struct peer *p)
{
	if (p->wants_own) {
		p->wants_own = false;
		send_ask(p, PEER_STEP_OWN, PEER_ANNOUNCEMENT, "", ANNOUNCE_BYTES);
	} else if (p->wants_digest) {
		p->wants_digest = false;
		send_ask(p, PEER_STEP_DIGEST, PEER_DIGEST, "", ANNOUNCE_DIGEST_BYTES);
	} else if (p->wanted_count) {
		send_other(p);
	} else {
		arm(p->timer, turn_us(p));
	}
}

/* A request has met no connection since the last answer: what is there now is worth a look at once. */
static bool is_suspect(const struct peer *p)
{
	return atomic_load_explicit(&p->live->last_failure_us, memory_order_relaxed) >
	           atomic_load_explicit(&p->live->answered_us, memory_order_relaxed) &&
	       p->alive.reach == REACH_UP && !p->ask.waiting && !is_fenced(p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;

	(void)fd;
	(void)what;
	if (is_fenced(p) || !tls_may_call(p->all->tls, &p->ask.addr))
		arm(p->timer, TURN_US); /* no traffic at all */
	else if (!p->ask.waiting)
		send_ping(p);
}

/* ---- answers ----------------------------------------------------------------------------------------------- */

static bool get_version(const json_t *doc, struct site_version *v)
{
	const json_t *epoch = json_object_get(doc, "epoch"), *generation = json_object_get(doc, "generation");

	if (!json_is_integer(epoch) || !json_is_integer(generation))
		return false;
	*v = (struct site_version){ (uint64_t)json_integer_value(epoch), (uint64_t)json_integer_value(generation) };
	return true;
}

static void take_pong(struct peer *p, const json_t *doc)
{
	const json_t *heard = json_object_get(doc, "heard_ms"), *time = json_object_get(doc, "time_ms");
	int64_t patience_ms = alive_patience_us(&p->alive) / 1000;
	const char *release = json_string_value(json_object_get(doc, "release"));
	struct peers *all = p->all;
	struct site_version version;

	p->unheard = p->alive.samples >= ALIVE_SAMPLES &&
	             (json_is_null(heard) || json_integer_value(heard) > 2 * patience_ms);
	p->other_version = false;
	p->has_skew = json_is_integer(time);
	if (p->has_skew)
		p->skew_ms = json_integer_value(time) + p->alive.distance_us / 2000 - clock_wall_ms();
	snprintf(p->release, sizeof(p->release), "%s", release ? release : "");
	if (!get_version(doc, &version))
		return;
	pthread_mutex_lock(&all->lock);
	p->wants_own = !announce_confirm(&all->table, span_of(p->name), version, clock_mono_us());
	pthread_mutex_unlock(&all->lock);
}

/* Our certificate, our registry entry or our version is of no use there (proxy/trust.c). */
static bool is_turned_away(struct peer *p, const json_t *doc)
{
	const char *type = json_string_value(json_object_get(doc, "type"));

	p->other_version = type && !strcmp(type, "urn:scopemesh:version");
	return p->other_version || (type && !strcmp(type, "urn:scopemesh:unreachable"));
}

/* Whoever answers has to be the site that was meant. */
static enum alive_miss judge_pong(struct peer *p, const struct ask_answer *answer)
{
	struct span text = answer->content;
	enum alive_miss miss = MISS_NONE;
	const char *site;
	json_t *doc;

	if (answer->status == 403)
		return MISS_BARRED;
	if (answer->status == 204)
		return MISS_NONE; /* an earlier version */
	if (answer->status != 200 && answer->status != 503)
		return MISS_STRANGER;
	doc = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, NULL);
	site = json_string_value(json_object_get(doc, "site"));
	if (answer->status == 503)
		miss = is_turned_away(p, doc) ? MISS_BARRED : MISS_NONE; /* or it has no room for us at the moment */
	else if (!site || strcmp(site, p->name) != 0)
		miss = MISS_STRANGER;
	else
		take_pong(p, doc);
	json_decref(doc);
	return miss;
}

/* Puts a text into the table. site: whose it has to be. */
static void take_announcement(struct peers *all, struct span text, struct span site, int64_t age_us, bool from_owner)
{
	enum announce_merged merged = ANNOUNCE_OLDER;
	struct announcement *a;
	char incarnation[ANNOUNCE_INCARNATION_BYTES + 1];
	struct err e = { 0, "" };
	size_t at;
	int rc = announce_decode(text, &a, &e);

	if (!rc && !span_eq(a->site, site))
		rc = err_set(&e, ERR_INVALID, "it is another site's");
	if (!rc && !from_owner && a->version.epoch > ANNOUNCE_EPOCH_TOLD)
		rc = err_set(&e, ERR_INVALID, "its epoch is too great to be told by another site");
	if (rc) {
		if (clock_mono_us() >= all->warn_us) /* it will be fetched again in a second */
			log_warn("announcement of %.*s refused: %s", SPAN_ARG(site), e.text[0] ? e.text : err_text(rc));
		all->warn_us = clock_mono_us() + WARN_US;
		announce_free(&a);
		return;
	}
	snprintf(incarnation, sizeof(incarnation), "%.*s", SPAN_ARG(a->incarnation));
	pthread_mutex_lock(&all->lock);
	rc = announce_merge(&all->table, &a, age_us, clock_mono_us(), &merged);
	pthread_mutex_unlock(&all->lock);
	if (rc || merged != ANNOUNCE_NEWER || !registry_find(all->reg, site, &at))
		return;
	log_debug("site %.*s has announced something new", SPAN_ARG(site));
	peers_apply_ways(all, at);
	if (from_owner && marks_meet(all->marks, site, span_of(incarnation))) {
		log_info("site %.*s was detached and has come back as an empty one", SPAN_ARG(site));
		marks_apply(all->marks, all->reg);
	}
}

/* A digest shows something newer.  Who can be asked himself will be. */
static void want(void *ctx, struct span site, struct site_version version, int64_t age_us)
{
	struct peer *p = ctx;
	struct peers *all = p->all;
	struct site_live *live;
	size_t at;

	if (!registry_find(all->reg, site, &at) || age_us > PEER_EXPIRE_US || version.epoch > ANNOUNCE_EPOCH_TOLD)
		return;
	if (at == all->reg->local) {
		atomic_store_explicit(&all->epoch_heard, version.epoch, memory_order_relaxed);
		return;
	}
	live = all->reg->sites[at].live;
	if (site_live_reach(live) == REACH_UP || site_live_is_barred(live) || p->wanted_count == PEER_WANTED)
		return;
	p->wanted[p->wanted_count].age_us = age_us;
	snprintf(p->wanted[p->wanted_count].site, sizeof(p->wanted[0].site), "%.*s", SPAN_ARG(site));
	p->wanted_count++;
}

static void take_digest(struct peer *p, struct span text)
{
	struct peers *all = p->all;
	struct err e = { 0, "" };
	int rc;

	p->wanted_count = 0;
	pthread_mutex_lock(&all->lock);
	rc = announce_compare(&all->table, text, clock_mono_us(), want, p, &e);
	pthread_mutex_unlock(&all->lock);
	if (rc)
		log_warn("digest of %s refused: %s", p->name, e.text[0] ? e.text : err_text(rc));
}

/* What came beside a ping; its failure is a miss like a ping's, its success proves no distance. */
static void take_content(struct peer *p, const struct ask_answer *answer)
{
	if (p->step == PEER_STEP_OTHER)
		p->wanted_count--;
	if (answer->status != 200)
		return;
	if (p->step == PEER_STEP_OWN)
		take_announcement(p->all, answer->content, span_of(p->name), 0, true);
	else if (p->step == PEER_STEP_DIGEST)
		take_digest(p, answer->content);
	else
		take_announcement(p->all, answer->content, span_of(p->wanted[p->wanted_count].site),
		                  p->wanted[p->wanted_count].age_us, false);
}

static enum alive_miss miss_of(enum ask_result result)
{
	switch (result) {
	case ASK_REFUSED:
		return MISS_REFUSED;
	case ASK_NO_CONNECTION:
		return MISS_NO_CONNECTION;
	case ASK_SILENT:
		return MISS_SILENT;
	case ASK_BROKEN:
		return MISS_BROKEN;
	case ASK_UNTRUSTED:
		return MISS_UNTRUSTED;
	default:
		return MISS_STRANGER;
	}
}

static void on_done(struct ask *ask, const struct ask_answer *answer)
{
	struct peer *p = (struct peer *)(void *)ask;
	int64_t now = clock_mono_us();
	enum alive_miss miss = MISS_NONE;

	if (answer->result == ASK_NOT_ASKED) {
		arm(p->timer, turn_us(p));
		return;
	}
	if (answer->result == ASK_UNTRUSTED && p->alive.last_miss != MISS_UNTRUSTED)
		log_warn("site %s: no TLS connection: %s", p->name, answer->why);
	if (answer->result != ASK_ANSWERED)
		miss = miss_of(answer->result);
	else if (p->step == PEER_STEP_PING)
		miss = judge_pong(p, answer);
	else
		take_content(p, answer);
	if (miss != MISS_NONE) {
		p->wants_own = p->wants_digest = false;
		p->wanted_count = 0;
		ask_close(ask);
		alive_missed(&p->alive, now, miss);
	} else if (p->step == PEER_STEP_PING) {
		alive_answered(&p->alive, now, answer->us);
		site_live_seen(p->live);
		atomic_store_explicit(&p->live->answered_us, now, memory_order_relaxed);
	}
	peer_judge(p, now);
	go_on(p);
}

/* ---- the tick ---------------------------------------------------------------------------------------------- */

static bool tells_digests(const struct peer *p)
{
	return p->alive.reach == REACH_UP && !site_live_is_barred(p->live);
}

/* A digest now and then with some peer, so that what was missed is found, and with it sites that only others reach. */
static void choose_digest(struct peers *all, int64_t now_us)
{
	size_t up = 0, chosen;

	if (now_us < all->digest_us)
		return;
	for (size_t i = 0; i < all->count; i++)
		up += tells_digests(all->items[i]);
	all->digest_us = now_us + DIGEST_LEAST_US + (int64_t)peers_random(all, DIGEST_MOST_US - DIGEST_LEAST_US);
	if (!up)
		return;
	chosen = peers_random(all, up);
	for (size_t i = 0; i < all->count; i++)
		if (tells_digests(all->items[i]) && !chosen--)
			all->items[i]->wants_digest = true;
}

static void expire(struct peers *all, int64_t now_us)
{
	int64_t since = now_us - all->ticked_us;

	pthread_mutex_lock(&all->lock);
	if (all->isolated && all->ticked_us)
		announce_excuse(&all->table, since);
	if (now_us >= all->expire_us) {
		announce_expire(&all->table, now_us, PEER_EXPIRE_US);
		all->expire_us = now_us + EXPIRE_LOOK_US;
	}
	pthread_mutex_unlock(&all->lock);
	all->ticked_us = now_us;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct peers *all = arg;
	int64_t now = clock_mono_us();

	(void)fd;
	(void)what;
	peers_judge_isolation(all, now);
	for (size_t i = 0; i < all->count; i++) {
		peer_judge(all->items[i], now);
		if (is_suspect(all->items[i]))
			send_ping(all->items[i]);
	}
	choose_digest(all, now);
	expire(all, now);
	peers_announce(all, now);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void peer_free(struct peer *p)
{
	if (!p)
		return;
	ask_fini(&p->ask);
	if (p->timer)
		event_free(p->timer);
	site_live_unref(&p->live);
	free(p);
}

static struct peer *peer_new(struct peers *all, const struct registry_site *site)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->all = all;
	p->live = site_live_ref(site->live);
	p->timer = evtimer_new(all->loop->base, on_timer, p);
	snprintf(p->name, sizeof(p->name), "%.*s", SPAN_ARG(site->name));
	addr_format(&site->mesh, p->host);
	alive_init(&p->alive);
	if (ask_init(&p->ask, all->loop, &site->mesh, on_done) || !p->timer) {
		peer_free(p);
		return NULL;
	}
	p->ask.mesh = true;
	if (site->has_mesh)
		arm(p->timer, 1000 + (int64_t)peers_random(all, 50000)); /* soon, and not all at once */
	return p;
}

static struct peer *take_kept(struct peers *all, const struct registry_site *site)
{
	for (size_t i = 0; i < all->count; i++) {
		struct peer *p = all->items[i];

		if (p && p->live == site->live &&
		    (site->has_mesh ? addr_eq(&p->ask.addr, &site->mesh) : !p->ask.addr.len)) {
			all->items[i] = NULL;
			return p;
		}
	}
	return NULL;
}

/* A site that has moved keeps its history, not its connection. */
static void inherit(const struct peers *all, struct peer *p)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->items[i] && all->items[i]->live == p->live)
			p->alive = all->items[i]->alive;
}

static void forget_gone(struct peers *all)
{
	size_t at;

	pthread_mutex_lock(&all->lock);
	for (size_t i = all->table.count; i-- > 0;)
		if (!registry_find(all->reg, all->table.entries[i].a->site, &at))
			announce_forget(&all->table, all->table.entries[i].a->site);
	pthread_mutex_unlock(&all->lock);
}

static void release_views(struct peers *all)
{
	if (all->conf)
		conf_unref(&all->conf);
	registry_unref(&all->reg);
	tls_unref(&all->tls);
}

int peers_update(struct peers *all, struct conf *conf, struct registry *reg, struct tls_set *tls)
{
	struct peer **items = calloc(reg->site_count + 1, sizeof(struct peer *)), *p;
	int rc = items ? 0 : ERR_NOMEM;
	size_t n = 0;

	for (size_t i = 0; items && i < reg->site_count; i++) {
		const struct registry_site *site = &reg->sites[i];

		if (i == reg->local)
			continue;
		items[n] = take_kept(all, site);
		if (!items[n] && (items[n] = peer_new(all, site)))
			inherit(all, items[n]);
		if (!items[n]) {
			rc = ERR_NOMEM;
			continue;
		}
		items[n++]->ask.to = tls_target_site(tls, site->name);
	}
	for (size_t i = 0; i < all->count; i++) {
		p = all->items[i];
		all->items[i] = NULL;
		peer_free(p);
	}
	free(all->items);
	all->items = items;
	all->count = n;
	release_views(all);
	all->conf = conf_ref(conf);
	all->reg = registry_ref(reg);
	all->tls = tls_ref(tls);
	forget_gone(all);
	for (size_t i = 0; i < reg->site_count; i++)
		peers_apply_ways(all, i);
	for (size_t i = 0; i < n; i++)
		peer_judge(all->items[i], clock_mono_us());
	peers_announce(all, clock_mono_us());
	return rc;
}

struct peers *peers_new(struct io_loop *loop, struct conf *conf, struct registry *reg, struct tls_set *tls,
                        struct marks *marks, struct identity *id, struct replication *rep)
{
	static const struct timeval tick = { 0, TICK_US };
	struct peers *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->loop = loop;
	all->marks = marks;
	all->id = id;
	all->rep = rep;
	pthread_mutex_init(&all->lock, NULL);
	announce_table_init(&all->table);
	buf_init(&all->content, NULL, 0);
	buf_init(&all->urgent, NULL, 0);
	if (getrandom(&all->random, sizeof(all->random), 0) != (ssize_t)sizeof(all->random))
		all->random = (uint64_t)clock_wall_ms();
	all->random |= 1;
	all->digest_us = clock_mono_us() + DIGEST_FIRST_US + (int64_t)peers_random(all, DIGEST_FIRST_US);
	all->tick = event_new(loop->base, -1, EV_PERSIST, on_tick, all);
	if (!all->tick || event_add(all->tick, &tick) || peers_update(all, conf, reg, tls))
		peers_free(&all);
	return all;
}

void peers_free(struct peers **allp)
{
	struct peers *all = *allp;

	*allp = NULL;
	if (!all)
		return;
	for (size_t i = 0; i < all->count; i++)
		peer_free(all->items[i]);
	free(all->items);
	if (all->tick)
		event_free(all->tick);
	announce_table_fini(&all->table);
	buf_fini(&all->content);
	buf_fini(&all->urgent);
	pthread_mutex_destroy(&all->lock);
	release_views(all);
	free(all);
}

/* ---- the admin interface ----------------------------------------------------------------------------------- */

static struct peer *peer_of(const struct peers *all, struct span site)
{
	for (size_t i = 0; i < all->count; i++)
		if (span_eq(span_of(all->items[i]->name), site))
			return all->items[i];
	return NULL;
}

/* What was known of it does not hold any more when it is asked again. */
static void fall_silent(struct peer *p)
{
	ask_close(&p->ask);
	alive_init(&p->alive);
	p->wants_own = p->wants_digest = p->unheard = p->has_skew = false;
	p->wanted_count = 0;
	if (p->ask.addr.len)
		arm(p->timer, TURN_US);
}

int peers_mark(struct peers *all, struct span site, unsigned set, unsigned clear, struct err *e)
{
	const struct announce_entry *have = announce_find(&all->table, site);
	struct peer *p = peer_of(all, site);
	int rc = marks_change(all->marks, site, set, clear, have ? have->a->incarnation : SPAN(""), e);

	if (rc)
		return rc;
	marks_apply(all->marks, all->reg);
	if (p && set & MARK_FENCED)
		fall_silent(p);
	if (p)
		peer_judge(p, clock_mono_us());
	peers_announce(all, clock_mono_us());
	return 0;
}

const struct announcement *peers_announcement(const struct peers *all, struct span site)
{
	const struct announce_entry *entry = announce_find(&all->table, site);

	return entry ? entry->a : NULL;
}

bool peers_isolated(const struct peers *all)
{
	return all->isolated;
}

bool peers_skew_ms(const struct peers *all, struct span site, int64_t *ms_r)
{
	const struct peer *p = peer_of(all, site);

	if (!p || !p->has_skew)
		return false;
	*ms_r = p->skew_ms;
	return true;
}

const char *peers_release(const struct peers *all, struct span site)
{
	const struct peer *p = peer_of(all, site);

	return p ? p->release : "";
}

bool peers_is_other_version(const struct peers *all, struct span site)
{
	const struct peer *p = peer_of(all, site);

	return p && p->other_version;
}

bool peers_is_unheard(const struct peers *all, struct span site)
{
	const struct peer *p = peer_of(all, site);

	return p && p->unheard && p->alive.reach == REACH_UP;
}
