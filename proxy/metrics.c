/* Sums over the workers.  The pairs of one service and site may stand in several workers' lists; they are
 * added up under the first name met, so that each series appears once. */
#include "proxy/metrics_int.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "config.h"
#include "scope/scope.h"

void metrics_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP scopemesh_%s %s\n# TYPE scopemesh_%s %s\n", name, help, name, type);
}

void metrics_label(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\\' || text.p[i] == '"')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
}

void metrics_site(struct buf *out, const char *name, struct span site)
{
	buf_addf(out, "scopemesh_%s{site=\"", name);
	metrics_label(out, site);
	buf_add_z(out, "\"} ");
}

struct sum {
	struct sum *next;
	const struct stats_pair *name;
	uint64_t requests[OP_COUNT][5];
	struct metrics_sum duration[OP_COUNT], upstream;
};

void metrics_sum(struct metrics_sum *sum, const struct histogram *h)
{
	for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
		sum->bucket[i] += counter_get(&h->bucket[i]);
	sum->sum_us += counter_get(&h->sum_us);
	sum->count += counter_get(&h->count);
}

static void add_pair(struct sum *s, const struct stats_pair *p)
{
	for (int op = 0; op < OP_COUNT; op++) {
		for (int k = 0; k < 5; k++)
			s->requests[op][k] += counter_get(&p->requests[op][k]);
		metrics_sum(&s->duration[op], &p->duration[op]);
	}
	metrics_sum(&s->upstream, &p->upstream);
}

static struct sum *sum_for(struct sum **list, const struct stats_pair *p)
{
	struct sum *s;

	for (s = *list; s; s = s->next)
		if (!strcmp(s->name->service, p->service) && !strcmp(s->name->site, p->site))
			return s;
	s = calloc(1, sizeof(*s));
	if (s) {
		s->name = p;
		s->next = *list;
		*list = s;
	}
	return s;
}

static struct sum *gather(struct server *srv)
{
	struct sum *list = NULL;

	for (unsigned i = 0; i < srv->worker_count; i++) {
		struct stats *st = &srv->workers[i].stats;

		pthread_mutex_lock(&st->lock);
		for (const struct stats_pair *p = st->pairs; p; p = p->next) {
			struct sum *s = sum_for(&list, p);

			if (s)
				add_pair(s, p);
		}
		pthread_mutex_unlock(&st->lock);
	}
	return list;
}

static void names(struct buf *out, const struct sum *s, bool site)
{
	buf_add_z(out, "{service=\"");
	metrics_label(out, span_of(s->name->service));
	if (site) {
		buf_add_z(out, "\",site=\"");
		metrics_label(out, span_of(s->name->site));
	}
	buf_add_char(out, '"');
}

static void print_requests(const struct sum *list, struct buf *out)
{
	metrics_head(out, "requests_total", "counter", "Requests by service, the site that was asked, kind and class of status.");
	for (const struct sum *s = list; s; s = s->next) {
		for (int op = 0; op < OP_COUNT; op++) {
			for (int k = 0; k < 5; k++) {
				if (!s->requests[op][k])
					continue;
				buf_add_z(out, "scopemesh_requests_total");
				names(out, s, true);
				buf_addf(out, ",op=\"%s\",code_class=\"%dxx\"} %" PRIu64 "\n", stats_op_text(op), k + 1,
				         s->requests[op][k]);
			}
		}
	}
}

void metrics_histogram(struct buf *out, const char *name, const char *labels, const struct metrics_sum *sum)
{
	const char *before = labels ? labels : "{", *comma = labels ? "," : "";
	const char *alone = labels ? labels : "", *close = labels ? "}" : "";
	uint64_t below = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		below += sum->bucket[i];
		buf_addf(out, "scopemesh_%s_bucket%s%sle=\"%g\"} %" PRIu64 "\n", name, before, comma,
		         (double)histogram_bucket_us[i] / 1e6, below);
	}
	buf_addf(out, "scopemesh_%s_bucket%s%sle=\"+Inf\"} %" PRIu64 "\n", name, before, comma, sum->count);
	buf_addf(out, "scopemesh_%s_sum%s%s %.6f\nscopemesh_%s_count%s%s %" PRIu64 "\n", name, alone, close,
	         (double)sum->sum_us / 1e6, name, alone, close, sum->count);
}

/* Durations are told by service and kind: the sites of one service are added up. */
static void print_durations(const struct sum *list, struct buf *out)
{
	metrics_head(out, "request_duration_seconds", "histogram", "Time from the request's head to the answer's last byte.");
	for (const struct sum *s = list; s; s = s->next) {
		bool first = true;

		for (const struct sum *t = list; t != s; t = t->next)
			first = first && strcmp(t->name->service, s->name->service) != 0;
		for (int op = 0; first && op < OP_COUNT; op++) {
			struct metrics_sum sum = { .count = 0 };
			struct buf labels;

			for (const struct sum *t = s; t; t = t->next) {
				if (strcmp(t->name->service, s->name->service) != 0)
					continue;
				for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
					sum.bucket[i] += t->duration[op].bucket[i];
				sum.sum_us += t->duration[op].sum_us;
				sum.count += t->duration[op].count;
			}
			if (!sum.count)
				continue;
			buf_init(&labels, NULL, 0);
			names(&labels, s, false);
			buf_addf(&labels, ",op=\"%s\"", stats_op_text(op));
			metrics_histogram(out, "request_duration_seconds", buf_cstr(&labels), &sum);
			buf_fini(&labels);
		}
	}
	metrics_head(out, "upstream_duration_seconds", "histogram", "Time of the attempt that answered.");
	for (const struct sum *s = list; s; s = s->next) {
		struct buf labels;

		if (!s->upstream.count)
			continue;
		buf_init(&labels, NULL, 0);
		names(&labels, s, true);
		metrics_histogram(out, "upstream_duration_seconds", buf_cstr(&labels), &s->upstream);
		buf_fini(&labels);
	}
}

static uint64_t total(struct server *srv, size_t offset)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < srv->worker_count; i++)
		n += counter_get((const counter *)(const void *)((const char *)&srv->workers[i].stats + offset));
	return n;
}
#define TOTAL(srv, member) total(srv, offsetof(struct stats, member))

static void print_reasons(struct server *srv, struct buf *out)
{
	metrics_head(out, "fallbacks_total", "counter", "Times that otherwise moved on to another site, by reason.");
	for (int r = 0; r < REASON_COUNT; r++)
		buf_addf(out, "scopemesh_fallbacks_total{reason=\"%s\"} %" PRIu64 "\n", stats_reason_text(r),
		         total(srv, offsetof(struct stats, fallbacks) + (size_t)r * sizeof(counter)));
	metrics_head(out, "retries_total", "counter", "Requests sent once more to the same place, by reason.");
	for (int r = 0; r < REASON_COUNT; r++)
		buf_addf(out, "scopemesh_retries_total{reason=\"%s\"} %" PRIu64 "\n", stats_reason_text(r),
		         total(srv, offsetof(struct stats, retries) + (size_t)r * sizeof(counter)));
	metrics_head(out, "scope_errors_total", "counter", "Scopes refused, by kind.");
	for (int k = 0; k < SCOPE_NOMEM; k++)
		buf_addf(out, "scopemesh_scope_errors_total{kind=\"%s\"} %" PRIu64 "\n", scope_error_name(k),
		         total(srv, offsetof(struct stats, scope_errors) + (size_t)k * sizeof(counter)));
}

static void print_transitions(struct span site, const struct site_live *live, enum site_state to, struct buf *out)
{
	uint64_t times = atomic_load_explicit(&live->transitions[to], memory_order_relaxed);

	if (!times)
		return;
	buf_add_z(out, "scopemesh_site_transitions_total{site=\"");
	metrics_label(out, site);
	buf_addf(out, "\",to=\"%s\"} %" PRIu64 "\n", site_state_text(to), times);
}

static void print_sites(const struct view *view, struct buf *out)
{
	const struct registry *reg = view->reg;

	metrics_head(out, "site_up", "gauge", "1 while the site is believed reachable.");
	for (size_t i = 0; i < reg->site_count; i++) {
		const struct site_live *live = reg->sites[i].live;
		bool up = i == reg->local || (site_live_reach(live) == REACH_UP && !site_live_is_barred(live));

		metrics_site(out, "site_up", reg->sites[i].name);
		buf_addf(out, "%d\n", up);
	}
	metrics_head(out, "site_rtt_seconds", "gauge", "Smoothed round trip from here.");
	for (size_t i = 0; i < reg->site_count; i++) {
		int64_t us = atomic_load_explicit(&reg->sites[i].live->rtt_us, memory_order_relaxed);

		if (i == reg->local || us < 0)
			continue;
		metrics_site(out, "site_rtt_seconds", reg->sites[i].name);
		buf_addf(out, "%.6f\n", (double)us / 1e6);
	}
	metrics_head(out, "site_transitions_total", "counter", "Times that the site came to this mark.");
	for (size_t i = 0; i < reg->site_count; i++)
		for (int to = 0; i != reg->local && to < SITE_STATE_COUNT; to++)
			print_transitions(reg->sites[i].name, reg->sites[i].live, (enum site_state)to, out);
}

static void print_certificates(const struct tls_set *tls, struct buf *out)
{
	int64_t now = clock_wall_ms();

	if (!tls || !tls->cert_count)
		return;
	metrics_head(out, "certificate_expiry_seconds", "gauge", "Time until a certificate ends; negative when it has ended.");
	for (size_t i = 0; i < tls->cert_count; i++) {
		buf_addf(out, "scopemesh_certificate_expiry_seconds{use=\"%s\",service=\"", tls_use_text(tls->certs[i].use));
		metrics_label(out, tls->certs[i].service);
		buf_addf(out, "\"} %" PRId64 "\n", (tls->certs[i].not_after_ms - now) / 1000);
	}
}

static void print_connections(struct server *srv, struct buf *out)
{
	metrics_head(out, "connections", "gauge", "Open connections.");
	buf_addf(out, "scopemesh_connections{side=\"client\",state=\"open\"} %" PRIu64 "\n",
	         TOTAL(srv, connections_client));
	buf_addf(out, "scopemesh_connections{side=\"upstream\",state=\"idle\"} %" PRIu64 "\n",
	         TOTAL(srv, connections_upstream_idle));
	buf_addf(out, "scopemesh_connections{side=\"upstream\",state=\"busy\"} %" PRIu64 "\n",
	         TOTAL(srv, connections_upstream_busy));
	metrics_head(out, "connections_accepted_total", "counter", "Client connections accepted.");
	buf_addf(out, "scopemesh_connections_accepted_total %" PRIu64 "\n", TOTAL(srv, accepted));
	metrics_head(out, "connections_evicted_total", "counter", "Idle or incomplete connections closed to make room for others.");
	buf_addf(out, "scopemesh_connections_evicted_total %" PRIu64 "\n", TOTAL(srv, evicted));
	metrics_head(out, "connections_refused_total", "counter", "Connections answered 503 at once, for want of room.");
	for (int r = 0; r < REFUSED_COUNT; r++)
		buf_addf(out, "scopemesh_connections_refused_total{reason=\"%s\"} %" PRIu64 "\n", stats_refusal_text(r),
		         total(srv, offsetof(struct stats, refused) + (size_t)r * sizeof(counter)));
}

static void print_correlation(struct server *srv, struct buf *out)
{
	struct correlation_counts n;

	correlation_count(srv->correlation, &n);
	metrics_head(out, "correlation_lookups_total", "counter", "Calls without a scope, by what the values they carry gave.");
	for (int k = 0; k < STATS_CORRELATION_COUNT; k++)
		buf_addf(out, "scopemesh_correlation_lookups_total{outcome=\"%s\"} %" PRIu64 "\n",
		         stats_correlation_text(k),
		         total(srv, offsetof(struct stats, correlation) + (size_t)k * sizeof(counter)));
	metrics_head(out, "correlation_entries", "gauge", "Values of correlate:NAME that are remembered.");
	buf_addf(out, "scopemesh_correlation_entries %" PRIu64 "\n", n.entries);
	metrics_head(out, "correlation_bytes", "gauge", "Their memory.");
	buf_addf(out, "scopemesh_correlation_bytes %" PRIu64 "\n", n.bytes);
	metrics_head(out, "correlation_dropped_total", "counter", "Values forgotten, by reason.");
	buf_addf(out, "scopemesh_correlation_dropped_total{reason=\"room\"} %" PRIu64 "\n", n.evicted);
	buf_addf(out, "scopemesh_correlation_dropped_total{reason=\"age\"} %" PRIu64 "\n", n.expired);
	metrics_head(out, "correlation_conflicts_total", "counter", "Values that came in with a second scope.");
	buf_addf(out, "scopemesh_correlation_conflicts_total %" PRIu64 "\n", n.conflicts);
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0;
}

static void print_process(struct server *srv, struct buf *out)
{
	struct rusage use;
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	getrusage(RUSAGE_SELF, &use);
	buf_addf(out, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
	         (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	             (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
	buf_addf(out, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lu\n",
	         resident * (unsigned long)sysconf(_SC_PAGESIZE));
	buf_addf(out, "# TYPE process_open_fds gauge\nprocess_open_fds %u\n", open_descriptors());
	buf_addf(out, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
	         (double)srv->started_wall_ms / 1000);
}

void metrics_print(struct server *srv, const struct view *view, const struct metrics_store *store, struct buf *out)
{
	struct sum *list = gather(srv), *s;

	metrics_head(out, "build_info", "gauge", "1, with the version as a label.");
	buf_addf(out, "scopemesh_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	print_requests(list, out);
	print_durations(list, out);
	print_reasons(srv, out);
	print_sites(view, out);
	print_certificates(view->tls, out);
	print_connections(srv, out);
	print_correlation(srv, out);
	if (srv->replication)
		metrics_replication(srv->replication, view, store, out);
	metrics_head(out, "config_reloads_total", "counter", "Reloads of the configuration.");
	buf_addf(out, "scopemesh_config_reloads_total{outcome=\"good\"} %" PRIu64 "\n",
	         (uint64_t)atomic_load(&srv->reloads_good));
	buf_addf(out, "scopemesh_config_reloads_total{outcome=\"bad\"} %" PRIu64 "\n",
	         (uint64_t)atomic_load(&srv->reloads_bad));
	metrics_head(out, "config_last_reload_success", "gauge", "1 when the last reload was good.");
	buf_addf(out, "scopemesh_config_last_reload_success %d\n", atomic_load(&srv->last_reload_good));
	print_process(srv, out);
	while ((s = list)) {
		list = s->next;
		free(s);
	}
}
