/* Checks of the other sites, seen from both ends, and of this site's instances. */
#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "proxy/doctor.h"
#include "proxy/instance.h"
#include "proxy/peer.h"

#define SKEW_BAD_MS 60000
#define CHECK_BYTES 96

/* ---- sites ---------------------------------------------------------------------------------------------------------- */

static const char *named(const char *what, struct span name, char check_r[CHECK_BYTES])
{
	snprintf(check_r, CHECK_BYTES, "%s %.*s", what, SPAN_ARG(name));
	return check_r;
}

static bool has(const struct span *names, size_t n, struct span name)
{
	for (size_t i = 0; i < n; i++)
		if (span_eq(names[i], name))
			return true;
	return false;
}

/* From here to there. */
static void check_way_there(struct doctor *d, const struct registry_site *site)
{
	const struct site_live *live = site->live;
	const char *reason = atomic_load_explicit(&live->reason, memory_order_relaxed);
	int64_t rtt_us = atomic_load_explicit(&live->rtt_us, memory_order_relaxed);
	const char *state = site_state_text(site_live_state(live));
	const char *release = peers_release(d->srv->peers, site->name);
	char check[CHECK_BYTES];

	named("site", site->name, check);
	if (site_live_is_barred(live))
		doctor_note(d, check, "%s by an operator here", site_live_state(live) == SITE_FENCED ? "fenced" : state);
	else if (!site->has_mesh)
		doctor_note(d, check, "has no mesh address in the registry: it is asked nothing");
	else if (peers_is_other_version(d->srv->peers, site->name))
		doctor_bad(d, check, "upgrade the one that is behind",
		           "it speaks no version of the mesh's protocol that this site speaks");
	else if (site_live_reach(live) == REACH_UP)
		doctor_good(d, check, "%s, %.1f ms, scopemeshd %s", state, (double)(rtt_us < 0 ? 0 : rtt_us) / 1000,
		            *release ? release : "of an earlier release");
	else if (site_live_reach(live) == REACH_UNKNOWN && !reason)
		doctor_note(d, check, "not met yet");
	else if (atomic_load_explicit(&live->marks, memory_order_relaxed) & MARK_AUTONOMOUS)
		doctor_note(d, check, "%s: not reached at present", state);
	else
		doctor_bad(d, check, "is its daemon running, and is its mesh address reachable from here?", "%s%s%s", state,
		           reason ? "; " : "", reason ? reason : "");
}

/* From there to here, by its own word: its pings' answers, and what it announces. */
static void check_way_back(struct doctor *d, const struct registry_site *site)
{
	const struct announcement *a = peers_announcement(d->srv->peers, site->name);
	char check[CHECK_BYTES];

	named("way from", site->name, check);
	if (a && has(a->fenced, a->fenced_count, d->conf->site))
		doctor_note(d, check, "an operator there has fenced this site");
	else if (peers_is_unheard(d->srv->peers, site->name) ||
	         (a && has(a->unreachable, a->unreachable_count, d->conf->site)))
		doctor_bad(d, check, "is this site's mesh address right in its registry, and open to it?",
		           "it says that it does not reach this site");
	else
		doctor_good(d, check, "it reaches this site");
}

static void check_clock(struct doctor *d, const struct registry_site *site)
{
	char check[CHECK_BYTES];
	int64_t ms;

	if (!peers_skew_ms(d->srv->peers, site->name, &ms))
		return;
	named("clock of", site->name, check);
	if (ms > SKEW_BAD_MS || ms < -SKEW_BAD_MS)
		doctor_bad(d, check, "let both take their time from the net (NTP); certificates and logs go by it",
		           "%" PRId64 " s %s this site's", (ms < 0 ? -ms : ms) / 1000, ms < 0 ? "behind" : "ahead of");
	else
		doctor_good(d, check, "%+" PRId64 " ms to this site's", ms);
}

static void check_release(struct doctor *d, const struct registry_site *site)
{
	const char *release = peers_release(d->srv->peers, site->name);
	char check[CHECK_BYTES];

	if (*release && !span_eq(span_of(release), SPAN(PACKAGE_VERSION)))
		doctor_note(d, named("release of", site->name, check), "%s there, %s here; they work together, as long as both "
		            "speak a common version of the mesh's protocol", release, PACKAGE_VERSION);
}

void doctor_check_sites(struct doctor *d)
{
	if (peers_isolated(d->srv->peers))
		doctor_bad(d, "sites", "look at this site's own link first",
		           "most sites were lost together: this site seems to be cut off itself");
	for (size_t i = 0; i < d->reg->site_count; i++) {
		const struct registry_site *site = &d->reg->sites[i];

		if (i == d->reg->local) {
			char check[CHECK_BYTES];

			doctor_good(d, named("site", site->name, check), "here");
			continue;
		}
		check_way_there(d, site);
		if (site_live_reach(site->live) != REACH_UP || site_live_is_barred(site->live))
			continue;
		check_way_back(d, site);
		check_clock(d, site);
		check_release(d, site);
	}
}

/* ---- instances ------------------------------------------------------------------------------------------------------ */

static bool is_down(const struct conf_instance *conf)
{
	const struct instance *inst = instance_get(&conf->addr);

	return inst && atomic_load_explicit(&inst->health, memory_order_relaxed) == INSTANCE_DOWN;
}

void doctor_check_services(struct doctor *d)
{
	for (size_t i = 0; i < d->conf->service_count; i++) {
		const struct conf_service *s = &d->conf->services[i];
		size_t down = 0, n = s->instance_count;
		char check[CHECK_BYTES];

		named("service", s->name, check);
		for (size_t j = 0; j < n; j++)
			down += is_down(&s->instances[j]);
		if (!n)
			doctor_note(d, check, "has no instance at this site");
		else if (down == n)
			doctor_bad(d, check, "is the service running where `instances` says?", "all %zu instances are down", n);
		else if (down)
			doctor_bad(d, check, "scopectl services shows which", "%zu of %zu instances are down", down, n);
		else
			doctor_good(d, check, "%zu instance%s%s", n, n == 1 ? "" : "s",
			            s->health.path.n ? "" : " (not probed: no health.path)");
	}
}
