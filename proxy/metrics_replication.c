/* What replication counts: the replicator's and the store's counters, names in memory, and the queue as the store has it. */
#include "proxy/metrics_int.h"

#include <inttypes.h>

#include "base/clock.h"
#include "proxy/replication.h"
#include "replication/spool.h"

/* ---- from the store ----------------------------------------------------------------------------------------------- */

static struct metrics_site_queue *queue_of(struct metrics_store *m, struct span site)
{
	struct metrics_site_queue *q;

	for (size_t i = 0; i < m->site_count; i++)
		if (span_eq(span_of(m->sites[i].site), site))
			return &m->sites[i];
	if (m->site_count == METRICS_SITES || site.n >= OP_SITE_BYTES)
		return NULL;
	q = &m->sites[m->site_count++];
	*q = (struct metrics_site_queue){ .entries = 0 };
	memcpy(q->site, site.p, site.n);
	return q;
}

static int add_tally(void *arg, const struct store_tally *t)
{
	struct metrics_site_queue *q = queue_of(arg, t->site);

	if (!q || t->state < 0 || t->state >= DELIVERY_STATES_)
		return 0;
	q->states[t->state] += t->count;
	if (t->state == DELIVERY_FAILED)
		return 0;
	q->entries += t->count;
	q->bytes += t->bytes;
	if (!q->oldest_ms || t->oldest_ms < q->oldest_ms)
		q->oldest_ms = t->oldest_ms;
	return 0;
}

int metrics_read_store(struct store_reader *reader, struct metrics_store *m, int64_t *cursor)
{
	if (!*cursor)
		m->bytes = store_view_bytes(reader);
	return store_view_tally_queue(reader, *cursor, add_tally, m, cursor);
}

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

static bool in_queue(const struct metrics_store *m, struct span site)
{
	for (size_t i = 0; i < m->site_count; i++)
		if (span_eq(span_of(m->sites[i].site), site))
			return true;
	return false;
}

/* With sites for which nothing waits, so that a series does not come and go. */
static void print_queue(const struct metrics_store *m, const struct view *view, struct buf *out, const char *name,
                        const char *help, int64_t (*value)(const struct metrics_site_queue *q))
{
	const struct registry *reg = view->reg;

	metrics_head(out, name, "gauge", help);
	for (size_t i = 0; i < m->site_count; i++) {
		metrics_site(out, name, span_of(m->sites[i].site));
		buf_addf(out, "%" PRId64 "\n", value(&m->sites[i]));
	}
	for (size_t i = 0; i < reg->site_count; i++) {
		if (in_queue(m, reg->sites[i].name))
			continue;
		metrics_site(out, name, reg->sites[i].name);
		buf_add_z(out, "0\n");
	}
}

static int64_t entries_of(const struct metrics_site_queue *q)
{
	return q->entries;
}

static int64_t bytes_of(const struct metrics_site_queue *q)
{
	return q->bytes;
}

static int64_t oldest_of(const struct metrics_site_queue *q)
{
	int64_t age_ms = q->oldest_ms ? clock_wall_ms() - q->oldest_ms : 0;

	return age_ms > 0 ? age_ms / 1000 : 0;
}

static void print_blocked(const struct metrics_store *m, struct buf *out)
{
	static const enum delivery_state states[] = { DELIVERY_HELD, DELIVERY_IN_DOUBT, DELIVERY_FAILED };

	metrics_head(out, "queue_blocked", "gauge", "Operations that go no further without an operator, by their target.");
	for (size_t i = 0; i < m->site_count; i++) {
		for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
			buf_add_z(out, "scopemesh_queue_blocked{site=\"");
			metrics_label(out, span_of(m->sites[i].site));
			buf_addf(out, "\",state=\"%s\"} %" PRId64 "\n", delivery_state_text(states[s]), m->sites[i].states[states[s]]);
		}
	}
}

static void print_from_store(const struct metrics_store *m, const struct view *view, struct buf *out)
{
	print_queue(m, view, out, "queue_entries", "Operations that this site has yet to bring to a site, or to execute.",
	            entries_of);
	print_queue(m, view, out, "queue_bytes", "Their bodies.", bytes_of);
	print_queue(m, view, out, "queue_oldest_seconds", "Age of the oldest of them.", oldest_of);
	print_blocked(m, out);
	metrics_head(out, "store_bytes", "gauge", "The database and its log, on disk.");
	buf_addf(out, "scopemesh_store_bytes %" PRId64 "\n", m->bytes);
}

/* ---- from memory -------------------------------------------------------------------------------------------------- */

static void print_replicas(struct names *names, struct buf *out)
{
	uint32_t services = names_tallied(names);

	metrics_head(out, "replicas", "gauge", "Replicas at this site, by service and state.");
	for (uint32_t s = 0; s <= services; s++) {
		for (int state = 0; state < REPLICA_STATES_; state++) {
			struct span service;
			int64_t n = names_tally(names, s, (enum replica_state)state, &service);

			if (!s && !n)
				continue;
			buf_add_z(out, "scopemesh_replicas{service=\"");
			metrics_label(out, service);
			buf_addf(out, "\",state=\"%s\"} %" PRId64 "\n", replica_state_text((enum replica_state)state), n);
		}
	}
	metrics_head(out, "names", "gauge", "Resources whose names are in memory, tombstones too.");
	buf_addf(out, "scopemesh_names %zu\n", names_count(names));
	metrics_head(out, "names_bytes", "gauge", "Their memory.");
	buf_addf(out, "scopemesh_names_bytes %zu\n", names_bytes(names));
}

static void print_operations(const struct replicator_stats *st, struct buf *out)
{
	static const char *const admissions[] = {
#define ADMISSION_NAME(name, text) text,
		ADMISSIONS(ADMISSION_NAME)
#undef ADMISSION_NAME
	};

	metrics_head(out, "operations_total", "counter", "Replicated operations that were admitted here, by kind and class.");
	for (int k = 0; k < OPERATION_KINDS_; k++) {
		for (int c = 0; c < CLASSES_; c++) {
			uint64_t n = counter_get(&st->operations[k][c]);

			if (n)
				buf_addf(out, "scopemesh_operations_total{kind=\"%s\",class=\"%s\"} %" PRIu64 "\n",
				         operation_kind_text((enum operation_kind)k), consistency_text((enum consistency)c), n);
		}
	}
	metrics_head(out, "admissions_total", "counter", "Requests to admit an operation here, by what became of them.");
	for (int a = ADMISSION_NONE + 1; a < ADMISSIONS_; a++)
		buf_addf(out, "scopemesh_admissions_total{outcome=\"%s\"} %" PRIu64 "\n", admissions[a],
		         counter_get(&st->admissions[a]));
}

static void print_replays(struct replicator_stats *st, struct buf *out)
{
	const struct replicator_site_stats *sites;

	pthread_mutex_lock(&st->lock);
	sites = st->sites; /* what is in the list stays in it */
	pthread_mutex_unlock(&st->lock);
	metrics_head(out, "replays_total", "counter", "Attempts to execute an operation at a site, by what became of them.");
	for (const struct replicator_site_stats *s = sites; s; s = s->next) {
		for (int r = 0; r < REPLAYS_; r++) {
			buf_add_z(out, "scopemesh_replays_total{site=\"");
			metrics_label(out, span_of(s->site));
			buf_addf(out, "\",outcome=\"%s\"} %" PRIu64 "\n", replay_text((enum replay)r), counter_get(&s->replays[r]));
		}
	}
	metrics_head(out, "replication_lag_seconds", "histogram", "From the beginning of an operation to its execution at a site.");
	for (const struct replicator_site_stats *s = sites; s; s = s->next) {
		struct metrics_sum sum = { .count = 0 };
		struct buf labels;

		buf_init(&labels, NULL, 0);
		buf_add_z(&labels, "{site=\"");
		metrics_label(&labels, span_of(s->site));
		buf_add_char(&labels, '"');
		metrics_sum(&sum, &s->lag);
		metrics_histogram(out, "replication_lag_seconds", buf_cstr(&labels), &sum);
		buf_fini(&labels);
	}
}

static void print_store(struct store *store, struct buf *out)
{
	const struct store_counts *n = store_counts(store);
	struct metrics_sum commits = { .count = 0 };
	struct err e;

	metrics_sum(&commits, &n->commits);
	metrics_head(out, "store_commit_seconds", "histogram", "Time of a commit of the store, its sync with it.");
	metrics_histogram(out, "store_commit_seconds", NULL, &commits);
	metrics_head(out, "store_batches_total", "counter", "Changes handed to the store, many of them to a commit.");
	buf_addf(out, "scopemesh_store_batches_total{outcome=\"durable\"} %" PRIu64 "\n", counter_get(&n->batches));
	buf_addf(out, "scopemesh_store_batches_total{outcome=\"failed\"} %" PRIu64 "\n", counter_get(&n->failed));
	metrics_head(out, "store_waiting_bytes", "gauge", "Changes that wait for a commit.");
	buf_addf(out, "scopemesh_store_waiting_bytes %zu\n", store_waiting_bytes(store));
	metrics_head(out, "store_writable", "gauge", "0 after a failed write or sync: nothing is replicated until a restart.");
	buf_addf(out, "scopemesh_store_writable %d\n", store_stopped(store, &e) == 0);
}

static void print_spool(const struct spool *spool, uint64_t limit, struct buf *out)
{
	metrics_head(out, "spool_bytes", "gauge", "Bodies in the spool, what is being written too.");
	buf_addf(out, "scopemesh_spool_bytes %" PRIu64 "\n", spool_bytes(spool));
	metrics_head(out, "spool_limit_bytes", "gauge", "limits.spool_bytes.");
	buf_addf(out, "scopemesh_spool_limit_bytes %" PRIu64 "\n", limit);
}

void metrics_replication(struct replication *rep, const struct view *view, const struct metrics_store *store,
                         struct buf *out)
{
	print_operations(&rep->stats, out);
	print_replays(&rep->stats, out);
	if (store)
		print_from_store(store, view, out);
	print_replicas(rep->names, out);
	print_store(rep->store, out);
	print_spool(rep->spool, view->conf->limit_spool_bytes, out);
}
