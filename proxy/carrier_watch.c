/* A watch looks for texts, not for scopes: so it sees what an application hands on in headers that are not switched on as
 * carriers, which is the advice that is wanted when nothing else survives.
 *
 * The marked scope binds a service that exists nowhere: whatever it reaches is served as without a scope. */
#include "proxy/carrier_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "proxy/correlation_value.h"

void carrier_watches_init(struct carrier_watches *set)
{
	memset(set, 0, sizeof(*set));
	pthread_mutex_init(&set->lock, NULL);
}

void carrier_watches_fini(struct carrier_watches *set)
{
	pthread_mutex_destroy(&set->lock);
}

/* ---- a new one ---------------------------------------------------------------------------------------------------- */

static void add_mark(struct watch *w, struct span carrier, struct span header, struct span text, bool on)
{
	struct watch_mark *m = &w->marks[w->mark_count];

	for (size_t i = 0; i < w->mark_count; i++)
		if (span_eq(carrier, span_of(w->marks[i].carrier)))
			return;
	if (w->mark_count == WATCH_MARKS || text.n >= sizeof(m->text))
		return;
	snprintf(m->carrier, sizeof(m->carrier), "%.*s", SPAN_ARG(carrier));
	snprintf(m->header, sizeof(m->header), "%.*s", SPAN_ARG(header));
	snprintf(m->text, sizeof(m->text), "%.*s", SPAN_ARG(text));
	m->on = on;
	w->mark_count++;
}

static struct span id_of(enum correlation_kind kind, const struct correlation_ids *ids)
{
	switch (kind) {
	case CORRELATION_TRACEPARENT:
	case CORRELATION_B3:
	case CORRELATION_B3_TRACEID:
		return span_make(ids->trace, sizeof(ids->trace));
	case CORRELATION_OPENSTACK:
	case CORRELATION_OPAQUE:
		return span_make(ids->uuid, sizeof(ids->uuid));
	case CORRELATION_CREDENTIAL:
		break;
	}
	return span_make(NULL, 0);
}

static void add_configured(struct watch *w, const struct conf *conf, const struct correlation_ids *ids)
{
	static const char *const headers[CONF_CARRIER_KINDS] = { [CONF_CARRIER_HEADER] = "x-scope",
		                                                 [CONF_CARRIER_BAGGAGE] = "baggage" };

	for (size_t i = 0; i < conf->carrier_count; i++) {
		const struct conf_carrier *c = &conf->carriers[i];
		struct span text = c->kind == CONF_CARRIER_CORRELATE ? id_of((enum correlation_kind)c->values, ids)
		                                                     : span_of(w->marker);

		if (text.n)
			add_mark(w, c->text, c->name.n ? c->name : span_of(headers[c->kind]), text, true);
	}
}

static const char *const offered[] = { "traceparent", "b3", "x-b3-traceid", "x-request-id", "x-openstack-request-id" };
#define OFFERED (sizeof(offered) / sizeof(offered[0]))

static void add_offered(struct watch *w, const struct correlation_ids *ids)
{
	char carrier[64];

	for (size_t i = 0; i < OFFERED; i++) {
		struct span name = span_of(offered[i]);
		int n = snprintf(carrier, sizeof(carrier), "correlate:%s", offered[i]);

		add_mark(w, span_make(carrier, (size_t)n), name, id_of(correlation_kind_of(name), ids), false);
	}
	add_mark(w, SPAN("header"), SPAN("x-scope"), span_of(w->marker), false);
}

static void set_header(json_t *headers, const char *name, struct buf *value)
{
	json_object_set_new(headers, name, json_stringn(buf_span(value).p, buf_len(value)));
	buf_fini(value);
}

/* Of baggage and piggyback the proxy makes what the instance gets, as of every scope. */
static json_t *headers_json(const struct watch *w, const struct correlation_ids *ids)
{
	json_t *headers = json_object();
	struct buf value;

	buf_init(&value, NULL, 0);
	buf_addf(&value, "%s: local", w->marker);
	set_header(headers, "X-Scope", &value);
	for (size_t i = 0; i < w->mark_count; i++) {
		struct span name = span_of(w->marks[i].header);

		if (!span_starts(span_of(w->marks[i].carrier), SPAN("correlate:")))
			continue;
		correlation_value_make(correlation_kind_of(name), ids, span_make(NULL, 0), &value);
		set_header(headers, w->marks[i].header, &value);
	}
	buf_add(&value, ids->parent, sizeof(ids->parent));
	set_header(headers, "x-b3-spanid", &value);
	return headers;
}

static struct watch *take_slot(struct carrier_watches *set)
{
	struct watch *w = &set->slots[0];

	for (size_t i = 1; i < WATCHES; i++)
		if (set->slots[i].started_us < w->started_us || !set->slots[i].until_us)
			w = w->until_us ? &set->slots[i] : w;
	return w;
}

static void count_active(struct carrier_watches *set, int64_t now_us)
{
	unsigned n = 0;

	for (size_t i = 0; i < WATCHES; i++)
		n += set->slots[i].until_us > now_us;
	atomic_store(&set->active, n);
}

json_t *carrier_watch_start(struct carrier_watches *set, const struct conf *conf, const struct conf_service *svc,
                            unsigned seconds, int64_t now_us)
{
	struct correlation_ids ids;
	struct watch *w;
	char id[17] = "";
	uint8_t raw[8];
	json_t *o;

	correlation_ids_make(&ids);
	random_bytes(raw, sizeof(raw));
	hex_write(raw, sizeof(raw), id);
	pthread_mutex_lock(&set->lock);
	w = take_slot(set);
	memset(w, 0, sizeof(*w));
	snprintf(w->marker, sizeof(w->marker), "scopemesh-doctor-%s", id);
	snprintf(w->service, sizeof(w->service), "%.*s", SPAN_ARG(svc->name));
	w->started_us = now_us;
	w->until_us = now_us + seconds * 1000000ll;
	add_configured(w, conf, &ids);
	add_offered(w, &ids);
	count_active(set, now_us);
	o = json_pack("{s:s,s:s,s:o}", "marker", w->marker, "service", w->service, "headers", headers_json(w, &ids));
	pthread_mutex_unlock(&set->lock);
	return o;
}

/* ---- seeing --------------------------------------------------------------------------------------------------------- */

static bool has_text(struct span value, struct span text)
{
	return memmem(value.p, value.n, text.p, text.n) != NULL;
}

static bool is_seen(const struct watch_mark *m, const struct http_head *head)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (span_ieq(head->fields[i].name, span_of(m->header)) && has_text(head->fields[i].value, span_of(m->text)))
			return true;
	return false;
}

static struct watch_called *called_of(struct watch *w, struct span service)
{
	for (size_t i = 0; i < w->called_count; i++)
		if (span_eq(service, span_of(w->called[i].service)))
			return &w->called[i];
	if (w->called_count == WATCH_CALLED)
		return NULL;
	snprintf(w->called[w->called_count].service, WATCH_NAME, "%.*s", SPAN_ARG(service));
	return &w->called[w->called_count++];
}

static void look_at(struct watch *w, const struct http_head *head, struct span service, bool neighbour)
{
	bool seen[WATCH_MARKS] = { false }, any = false;
	struct watch_called *c;

	for (size_t i = 0; i < w->mark_count; i++) {
		seen[i] = is_seen(&w->marks[i], head);
		any |= seen[i];
	}
	if (!any) {
		w->unmarked += neighbour;
		return;
	}
	if (!w->sent && span_eq(service, span_of(w->service))) {
		w->sent = true;
		return;
	}
	c = called_of(w, service);
	if (!c)
		return;
	c->calls++;
	for (size_t i = 0; i < w->mark_count; i++)
		c->seen[i] += seen[i];
}

void carrier_watch_see(struct carrier_watches *set, const struct http_head *head, struct span service, bool neighbour,
                       int64_t now_us)
{
	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < WATCHES; i++)
		if (set->slots[i].until_us > now_us)
			look_at(&set->slots[i], head, service, neighbour);
	count_active(set, now_us);
	pthread_mutex_unlock(&set->lock);
}

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

static json_t *called_json(const struct watch *w, const struct watch_called *c)
{
	json_t *carriers = json_array();

	for (size_t i = 0; i < w->mark_count; i++)
		json_array_append_new(carriers, json_pack("{s:s,s:b,s:I}", "carrier", w->marks[i].carrier, "on",
		                                          (int)w->marks[i].on, "seen", (json_int_t)c->seen[i]));
	return json_pack("{s:s,s:I,s:o}", "service", c->service, "calls", (json_int_t)c->calls, "carriers", carriers);
}

static json_t *watch_json(const struct watch *w, int64_t now_us)
{
	json_t *called = json_array();

	for (size_t i = 0; i < w->called_count; i++)
		json_array_append_new(called, called_json(w, &w->called[i]));
	return json_pack("{s:s,s:s,s:b,s:b,s:I,s:o}", "marker", w->marker, "service", w->service, "running",
	                 (int)(w->until_us > now_us), "sent", (int)w->sent, "unmarked", (json_int_t)w->unmarked, "called",
	                 called);
}

json_t *carrier_watches_json(struct carrier_watches *set, int64_t now_us)
{
	json_t *list = json_array();

	pthread_mutex_lock(&set->lock);
	for (size_t i = 0; i < WATCHES; i++)
		if (set->slots[i].until_us)
			json_array_append_new(list, watch_json(&set->slots[i], now_us));
	count_active(set, now_us);
	pthread_mutex_unlock(&set->lock);
	return list;
}
