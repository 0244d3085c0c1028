#include "proxy/replication.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/hooks.h"
#include "proxy/replicator.h"
#include "proxy/server.h"
#include "replication/seal.h"
#include "replication/spool.h"

/* The creates under way at this site's application, oldest first; services are few, and stay. */
struct creates {
	struct creates *next;
	uint64_t *tickets;
	size_t count, room, n;
	char service[];
};

static int open_parts(struct replication *rep, const char *folder, uint64_t spool_bytes, struct err *e)
{
	struct store_options options = { .folder = folder, .site = rep->site.p };
	int rc = store_open(&rep->store, &options, e);

	if (!rc)
		rc = seal_open(folder, &rep->seal, e);
	if (!rc)
		rc = spool_open(folder, spool_bytes, &rep->spool, e);
	if (!rc && (rc = hooks_new(&rep->hooks)))
		(void)err_set(e, rc, "no memory");
	if (!rc && (rc = replication_load_rules(rep)))
		(void)err_set(e, rc, "%s: the learned rules cannot be read: %s", folder, err_text(rc));
	return rc;
}

struct replication *replication_new(struct span site)
{
	struct replication *rep = calloc(1, sizeof(*rep));
	char *copy = strndup(site.p, site.n);

	if (!rep || !copy) {
		free(rep);
		free(copy);
		return NULL;
	}
	rep->site = span_make(copy, site.n);
	pthread_mutex_init(&rep->lock, NULL);
	pthread_mutex_init(&rep->rules_lock, NULL);
	replicator_stats_init(&rep->stats);
	return rep;
}

int replication_open(struct replication **rep_r, struct span site, const char *folder, uint64_t spool_bytes, struct err *e)
{
	struct replication *rep = replication_new(site);
	int rc;

	*rep_r = NULL;
	if (!rep)
		return err_set(e, ERR_NOMEM, "no memory");
	rc = open_parts(rep, folder, spool_bytes, e);
	if (rc) {
		replication_close(&rep);
		return rc;
	}
	rep->names = store_names(rep->store);
	rep->incarnation = store_incarnation(rep->store);
	rep->tag = metaid_tag(site);
	hlc_init(&rep->clock, store_clock(rep->store));
	metaid_source_init(&rep->integers, rep->tag, clock_wall_ms(), 0);
	*rep_r = rep;
	return 0;
}

void replication_close(struct replication **repp)
{
	struct replication *rep = *repp;
	struct creates *c;

	*repp = NULL;
	if (!rep)
		return;
	hooks_free(&rep->hooks);
	if (rep->spool)
		spool_close(&rep->spool);
	if (rep->store)
		store_close(&rep->store);
	if (rep->seal)
		seal_close(&rep->seal);
	while ((c = rep->creates)) {
		rep->creates = c->next;
		free(c->tickets);
		free(c);
	}
	replicator_stats_fini(&rep->stats);
	replication_rules_fini(rep);
	pthread_mutex_destroy(&rep->rules_lock);
	pthread_mutex_destroy(&rep->lock);
	free((char *)(uintptr_t)rep->site.p);
	free(rep);
}

struct replication *replication_of(const struct worker *w)
{
	return w->replication;
}

void replication_new_operation(struct replication *rep, struct op_id *id_r, uint64_t *clock_r)
{
	*id_r = (struct op_id){ .incarnation = rep->incarnation, .number = atomic_fetch_add(&rep->number, 1) + 1 };
	snprintf(id_r->site, sizeof(id_r->site), "%.*s", SPAN_ARG(rep->site));
	pthread_mutex_lock(&rep->lock);
	*clock_r = hlc_next(&rep->clock, clock_wall_ms());
	pthread_mutex_unlock(&rep->lock);
}

void replication_see_clock(struct replication *rep, uint64_t clock)
{
	pthread_mutex_lock(&rep->lock);
	(void)hlc_see(&rep->clock, clock);
	pthread_mutex_unlock(&rep->lock);
}

int replication_new_meta(struct replication *rep, enum metaid_kind kind, char *text_r, size_t *bytes_r)
{
	char number[24];
	uint64_t id;
	int rc = 0;

	*bytes_r = METAID_TEXT_BYTES;
	switch (kind) {
	case METAID_UUID:
		metaid_make(rep->tag, clock_wall_ms(), text_r);
		return 0;
	case METAID_UUID4:
		metaid_make_uuid4(text_r);
		return 0;
	case METAID_INTEGER:
		pthread_mutex_lock(&rep->lock);
		rc = metaid_source_next(&rep->integers, clock_wall_ms(), &id);
		pthread_mutex_unlock(&rep->lock);
		if (!rc) {
			*bytes_r = (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
			memcpy(text_r, number, *bytes_r);
		}
		return rc;
	}
	return ERR_INVALID;
}

/* Under lock.  NULL: none, or no memory. */
static struct creates *creates_of(struct replication *rep, struct span service, bool make)
{
	struct creates *c;

	for (c = rep->creates; c; c = c->next)
		if (span_eq(span_make(c->service, c->n), service))
			return c;
	c = make ? malloc(sizeof(*c) + service.n) : NULL;
	if (!c)
		return NULL;
	*c = (struct creates){ .next = rep->creates, .n = service.n };
	memcpy(c->service, service.p, service.n);
	return rep->creates = c;
}

static bool has_room(struct creates *c)
{
	size_t room = c->room ? 2 * c->room : 16;
	uint64_t *more = c->count < c->room ? c->tickets : realloc(c->tickets, room * sizeof(*more));

	if (!more)
		return false;
	c->room = c->count < c->room ? c->room : room;
	c->tickets = more;
	return true;
}

uint64_t replication_create_begins(struct replication *rep, struct span service)
{
	struct creates *c;
	uint64_t ticket = 0;

	pthread_mutex_lock(&rep->lock);
	c = creates_of(rep, service, true);
	if (c && has_room(c)) {
		ticket = c->tickets[c->count++] = ++rep->create_ticket;
		atomic_fetch_add(&rep->creates_count, 1);
	}
	pthread_mutex_unlock(&rep->lock);
	return ticket;
}

void replication_create_ended(struct replication *rep, struct span service, uint64_t ticket)
{
	struct creates *c;
	size_t i = 0;

	pthread_mutex_lock(&rep->lock);
	c = creates_of(rep, service, false);
	while (c && i < c->count && c->tickets[i] != ticket)
		i++;
	if (c && i < c->count) {
		memmove(&c->tickets[i], &c->tickets[i + 1], (--c->count - i) * sizeof(*c->tickets));
		atomic_fetch_sub(&rep->creates_count, 1);
	}
	pthread_mutex_unlock(&rep->lock);
}

uint64_t replication_creates(struct replication *rep, struct span service)
{
	struct creates *c;
	uint64_t newest;

	if (!atomic_load_explicit(&rep->creates_count, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&rep->lock);
	c = creates_of(rep, service, false);
	newest = c && c->count ? c->tickets[c->count - 1] : 0;
	pthread_mutex_unlock(&rep->lock);
	return newest;
}

bool replication_creates_until(struct replication *rep, struct span service, uint64_t ticket)
{
	struct creates *c;
	bool any;

	pthread_mutex_lock(&rep->lock);
	c = creates_of(rep, service, false);
	any = c && c->count && c->tickets[0] <= ticket;
	pthread_mutex_unlock(&rep->lock);
	return any;
}

size_t replication_queued(struct replication *rep, struct span site)
{
	return rep && rep->replicator ? replicator_queued(rep->replicator, site) : 0;
}
