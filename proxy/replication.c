#include "proxy/replication.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/server.h"

int replication_open(struct replication **rep_r, struct span site, const char *folder, struct err *e)
{
	struct replication *rep = calloc(1, sizeof(*rep));
	struct store_options options = { .folder = folder, .site = site.p };
	int rc;

	*rep_r = NULL;
	if (!rep)
		return err_set(e, ERR_NOMEM, "no memory");
	rc = store_open(&rep->store, &options, e);
	if (rc) {
		free(rep);
		return rc;
	}
	rep->site = site;
	rep->names = store_names(rep->store);
	rep->incarnation = store_incarnation(rep->store);
	rep->tag = metaid_tag(site);
	hlc_init(&rep->clock, store_clock(rep->store));
	metaid_source_init(&rep->integers, rep->tag, clock_wall_ms(), 0);
	pthread_mutex_init(&rep->lock, NULL);
	*rep_r = rep;
	return 0;
}

void replication_close(struct replication **repp)
{
	struct replication *rep = *repp;

	*repp = NULL;
	if (!rep)
		return;
	store_close(&rep->store);
	pthread_mutex_destroy(&rep->lock);
	free(rep);
}

struct replication *replication_of(const struct worker *w)
{
	return w->server ? w->server->replication : NULL;
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
