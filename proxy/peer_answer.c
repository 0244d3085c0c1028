/* What a mesh listener answers itself, on whichever worker the peer came to.  Small and whole: the lock is held while a
 * text of at most ANNOUNCE_BYTES is copied, or a digest made.  A site that is not in the registry, or is barred, is
 * told nothing (403). */
#include "proxy/exchange_int.h"
#include "proxy/peer_int.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/percent.h"
#include "config.h"
#include "proxy/server.h"

static void refuse(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail };

	exchange_problem(x, &p);
}

static void reply(struct exchange *x)
{
	exchange_reply(x, 200, "application/json");
}

static bool get_name(struct exchange *x, struct span name, struct span *value_r)
{
	struct span raw;

	return percent_query_get(x->req.path_query, name, &raw) && percent_decode(&x->arena, raw, value_r);
}

static bool get_number(struct exchange *x, struct span name, unsigned long long *value_r)
{
	struct span raw;

	return percent_query_get(x->req.path_query, name, &raw) && span_to_u64(raw, ANNOUNCE_EPOCH_MAX, value_r);
}

/* The asker believes to know something newer of us than there is. */
static void note_version(struct exchange *x, struct peers *all, struct site_version own)
{
	unsigned long long epoch, generation;
	struct site_version known;

	if (!get_number(x, SPAN("epoch"), &epoch) || !get_number(x, SPAN("generation"), &generation) ||
	    epoch > ANNOUNCE_EPOCH_TOLD)
		return;
	known = (struct site_version){ epoch, generation };
	if (site_version_compare(known, own) > 0)
		atomic_store_explicit(&all->epoch_heard, known.epoch, memory_order_relaxed);
}

static void answer_ping(struct exchange *x, struct peers *all, const struct site_live *from)
{
	int64_t heard_us = atomic_load_explicit(&from->answered_us, memory_order_relaxed);
	const struct announce_entry *own;
	struct site_version version = { 0, 0 };
	json_t *doc;
	char *text;

	pthread_mutex_lock(&all->lock);
	own = announce_find(&all->table, local_site(x));
	if (own)
		version = own->a->version;
	pthread_mutex_unlock(&all->lock);
	note_version(x, all, version);
	doc = json_pack("{s:o,s:I,s:I,s:o,s:I,s:s}", "site", json_stringn(local_site(x).p, local_site(x).n), "epoch",
	                (json_int_t)version.epoch, "generation", (json_int_t)version.generation, "heard_ms",
	                heard_us ? json_integer((clock_mono_us() - heard_us) / 1000) : json_null(), "time_ms",
	                (json_int_t)clock_wall_ms(), "release", PACKAGE_VERSION);
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	json_decref(doc);
	if (!text) {
		refuse(x, 503, "internal", "no memory");
		return;
	}
	buf_add_z(&x->reply, text);
	free(text);
	reply(x);
}

static void answer_announcement(struct exchange *x, struct peers *all)
{
	struct span site = local_site(x);
	const struct announce_entry *entry;

	(void)get_name(x, SPAN("site"), &site);
	pthread_mutex_lock(&all->lock);
	entry = announce_find(&all->table, site);
	if (entry)
		buf_add_span(&x->reply, buf_span(&entry->text));
	pthread_mutex_unlock(&all->lock);
	if (entry)
		reply(x);
	else
		refuse(x, 404, "not-found", "this site knows no announcement of that one");
}

static void answer_digest(struct exchange *x, struct peers *all)
{
	bool good;

	pthread_mutex_lock(&all->lock);
	good = announce_digest(&all->table, clock_mono_us(), &x->reply);
	pthread_mutex_unlock(&all->lock);
	if (good)
		reply(x);
	else
		refuse(x, 503, "internal", "no memory");
}

void peer_answer(struct exchange *x)
{
	const struct registry *reg = x->view->reg;
	struct peers *all = x->w->server ? x->w->server->peers : NULL;
	struct site_live *live;
	struct span from;
	size_t at;

	if (!all || !get_name(x, SPAN("from"), &from)) {
		exchange_reply(x, 204, NULL); /* somebody looks whether anything is here */
		return;
	}
	if (!registry_find(reg, from, &at) || at == reg->local || (x->has_peer && at != x->peer)) {
		refuse(x, 403, "not-allowed", x->has_peer ? "the site that asks is not the one of its certificate"
		                                         : "this site does not know the site that asks");
		return;
	}
	live = reg->sites[at].live;
	if (site_live_is_barred(live)) {
		refuse(x, 403, "not-allowed", "an operator here has fenced or detached the site that asks");
		return;
	}
	site_live_heard(live, clock_mono_us());
	if (span_eq(x->req.path, SPAN(PEER_PING)))
		answer_ping(x, all, live);
	else if (span_eq(x->req.path, SPAN(PEER_ANNOUNCEMENT)))
		answer_announcement(x, all);
	else if (span_eq(x->req.path, SPAN(PEER_DIGEST)))
		answer_digest(x, all);
	else
		refuse(x, 404, "not-found", "a mesh listener has no such path");
}
