/* The end of an exchange: its counters, and its line in the access log (facts: what operators expect).  The line
 * never holds a header value but those named here: no credentials, no cookies. A query is left out of the
 * path, since queries carry tokens. */
#include "base/clock.h"
#include "proxy/front.h"
#include "proxy/piggyback.h"
#include "proxy/rewrite_exchange.h"

static struct stats_pair *pair_of(struct exchange *x)
{
	size_t sites = x->view->reg->site_count;
	struct stats_pair **cell;

	if (!x->svc)
		return NULL;
	cell = &x->view->pair[x->svc_index * sites + x->site];
	if (!*cell)
		*cell = stats_pair(&x->w->stats, x->svc->name, x->view->reg->sites[x->site].name);
	return *cell;
}

static void count(struct exchange *x, int64_t total_us)
{
	struct stats_pair *pair = pair_of(x);
	const struct exchange_target *last = x->target_count ? &x->targets[x->target_count - 1] : NULL;
	unsigned klass = x->status / 100;

	if (!pair)
		return;
	if (klass >= 1 && klass <= 5)
		counter_add(&pair->requests[x->op][klass - 1], 1);
	histogram_add(&pair->duration[x->op], total_us);
	if (last && last->status)
		histogram_add(&pair->upstream, last->ended_us - last->started_us);
}

static double ms(int64_t us)
{
	return (double)us / 1000;
}

static void add_z(struct buf *out, const char *name, struct span value)
{
	buf_addf(out, ",\"%s\":", name);
	if (value.n)
		json_add_string(out, value);
	else
		buf_add_z(out, "null");
}

/* us and bytes -1: not known. */
static void add_target(struct buf *out, bool first, struct span site, unsigned status, const char *reason, int64_t us,
                       int64_t bytes)
{
	buf_add_z(out, first ? "{\"site\":" : ",{\"site\":");
	json_add_string(out, site);
	if (status) {
		buf_addf(out, ",\"status\":%u", status);
	} else {
		buf_add_z(out, ",\"status\":null,\"reason\":");
		json_add_string(out, span_of(reason ? reason : "none")); /* may be another proxy's word */
	}
	if (us < 0)
		buf_add_z(out, ",\"ms\":null");
	else
		buf_addf(out, ",\"ms\":%.3f", ms(us));
	if (bytes < 0)
		buf_add_z(out, ",\"bytes\":null}");
	else
		buf_addf(out, ",\"bytes\":%lld}", (long long)bytes);
}

/* Sites that were asked; of a replicated write its replicas. */
static void add_targets(struct exchange *x, struct buf *out)
{
	struct front_target f;

	buf_add_z(out, ",\"targets\":[");
	for (unsigned i = 0; i < x->target_count; i++) {
		const struct exchange_target *t = &x->targets[i];

		add_target(out, !i, t->site, t->status, t->reason, t->ended_us - t->started_us, (int64_t)t->bytes);
	}
	for (size_t i = 0; x->front && !x->target_count && front_target(x, i, &f); i++)
		add_target(out, !i, f.site, f.status, f.state, f.us, f.bytes);
	buf_add_char(out, ']');
}

/* The last one: what the proxy put in place of one that was no id stands behind it.  A value that may have a scope
 * behind it is a credential. */
static struct span field_value(struct exchange *x, enum http_field_id id)
{
	for (size_t i = x->has_req ? x->req.field_count : 0; i-- > 0;)
		if (x->req.fields[i].id == id && !piggyback_names(x->view->conf, x->req.fields[i].name))
			return x->req.fields[i].value;
	return span_make(NULL, 0);
}

/* How the scope came; of a peer's or a fixed one the log says nothing else. */
static struct span carrier_of(const struct exchange *x)
{
	return !x->has_scope ? span_make(NULL, 0)
	       : x->carrier  ? x->carrier->text
	                     : span_of(x->from_mesh ? "mesh" : "fixed");
}

/* Of the replica that was created or named. */
static struct span meta_id(const struct exchange *x)
{
	struct span meta = x->front ? front_meta_id(x) : span_make(NULL, 0);

	return !meta.n && x->rw && x->rw->target.seen == REWRITE_KNOWN ? x->rw->target.meta : meta;
}

/* traceparent: version "-" trace-id "-" parent-id "-" flags (W3C Trace Context 3.2). */
static struct span trace_id(struct exchange *x)
{
	struct span f = field_value(x, HTTP_TRACEPARENT);

	return f.n >= 55 && f.p[2] == '-' && f.p[35] == '-' ? span_make(f.p + 3, 32) : span_make(NULL, 0);
}

static void write_json(struct exchange *x, const char *client, int64_t total_us, struct buf *out)
{
	char when[CLOCK_TEXT_BYTES];

	clock_format(x->wall_ms, when);
	buf_addf(out, "{\"ts\":\"%s\",\"site\":", when);
	json_add_string(out, local_site(x));
	add_z(out, "service", x->svc ? x->svc->name : span_make(NULL, 0));
	buf_addf(out, ",\"client\":\"%s\"", client);
	add_z(out, "method", x->req.method);
	add_z(out, "path", x->req.path);
	buf_addf(out, ",\"status\":%u,\"bytes_in\":%llu,\"bytes_out\":%llu", x->status,
	         (unsigned long long)x->bytes_in, (unsigned long long)x->bytes_out);
	add_z(out, "scope", x->has_scope ? x->scope_text : span_make(NULL, 0));
	add_z(out, "carrier", carrier_of(x));
	add_z(out, "op", span_of(x->svc && x->site_count ? stats_op_text(x->op) : NULL));
	add_targets(x, out);
	add_z(out, "meta_id", meta_id(x));
	add_z(out, "reason", span_of(x->reason));
	buf_addf(out, ",\"t_total_ms\":%.3f,\"t_connect_ms\":%.3f,\"t_first_byte_ms\":%.3f", ms(total_us),
	         ms(x->connect_us), ms(x->first_us));
	add_z(out, "trace_id", trace_id(x));
	add_z(out, "request_id", field_value(x, HTTP_X_REQUEST_ID));
	buf_add_z(out, "}\n");
}

/* Control characters and blanks would break the columns. */
static void add_word(struct buf *out, struct span s, char end)
{
	if (!s.n)
		buf_add_char(out, '-');
	for (size_t i = 0; i < s.n; i++)
		buf_add_char(out, (unsigned char)s.p[i] > 0x20 && s.p[i] != 0x7f ? s.p[i] : '_');
	buf_add_char(out, end);
}

static void write_text(struct exchange *x, const char *client, int64_t total_us, struct buf *out)
{
	char when[CLOCK_TEXT_BYTES];
	struct front_target f;

	clock_format(x->wall_ms, when);
	buf_addf(out, "%s %s ", when, client);
	add_word(out, x->svc ? x->svc->name : span_make(NULL, 0), ' ');
	add_word(out, x->req.method, ' ');
	add_word(out, x->req.path, ' ');
	buf_addf(out, "%u %llu %.3fms ", x->status, (unsigned long long)x->bytes_out, ms(total_us));
	for (unsigned i = 0; i < x->target_count; i++)
		add_word(out, x->targets[i].site, ' ');
	for (size_t i = 0; x->front && !x->target_count && front_target(x, i, &f); i++)
		add_word(out, f.site, ' ');
	add_word(out, span_of(x->reason), '\n'); /* may be another proxy's word */
}

void exchange_account(struct exchange *x)
{
	const struct conf *conf = x->view->conf;
	int64_t total_us = clock_mono_us() - x->start_us;
	char client[ADDR_TEXT_BYTES];
	struct addr peer;
	struct buf line;

	if (x->s->kind == LISTEN_ADMIN || x->between_sites)
		return;
	count(x, total_us);
	if (span_eq(conf->log_access, SPAN("off")))
		return;
	session_peer(x->s, &peer);
	addr_format(&peer, client);
	buf_init(&line, &x->w->blocks, 0);
	if (conf->log_format == CONF_LOG_JSON)
		write_json(x, client, total_us, &line);
	else
		write_text(x, client, total_us, &line);
	access_log_add(&x->w->log, buf_span(&line));
	buf_fini(&line);
}
