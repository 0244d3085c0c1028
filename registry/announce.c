/* Announcements: encoding and the table.
 *
 *     {"site": "dc1", "epoch": 1767225600000, "generation": 4, "incarnation": "6f1c…",
 *      "services": [{"name": "image", "instances": [{"url": "http://…", "health": "up", "load": 3, "since": 0}]}],
 *      "ways": [{"site": "dc2", "rtt_us": 900}], "unreachable": ["dc4"], "fenced": ["dc3"]}
 *
 * What holds:
 *  1. Of a site the table holds the greatest announcement by (epoch, generation, text) it was ever told, and the
 *     latest time that its owner was known to stand behind one.  Both are maxima, so tables that were told the same
 *     are the same, in whatever order and however often they were told.
 *  2. Texts in the table are this program's own encoding of what it decoded, so that one content is one text.
 *  3. Ages are told, never times of day: no two clocks need to agree. */
#include "registry/announce.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/opt.h"

#define DECODED_BYTES (512u << 10)

const char *announce_health_text(enum announce_health health)
{
	switch (health) {
#define HEALTH_CASE(value, name) \
	case value: \
		return name;
		ANNOUNCE_HEALTHS(HEALTH_CASE)
#undef HEALTH_CASE
	}
	return "unknown";
}

/* ---- encoding ---------------------------------------------------------------------------------------------- */

/* What is no UTF-8 cannot be told. */
static json_t *text_json(struct span s)
{
	json_t *t = json_stringn(s.p ? s.p : "", s.n);

	return t ? t : json_string("\xef\xbf\xbd");
}

static json_t *names_json(const struct span *names, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, text_json(names[i]));
	return list;
}

static json_t *services_json(const struct announcement *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->service_count; i++) {
		json_t *instances = json_array();

		for (size_t j = 0; j < a->services[i].count; j++) {
			const struct announce_instance *inst = &a->services[i].instances[j];

			json_array_append_new(instances,
			                      json_pack("{s:o,s:s,s:I,s:I}", "url", text_json(inst->url), "health",
			                                announce_health_text(inst->health), "load",
			                                (json_int_t)inst->load, "since", (json_int_t)inst->since_ms));
		}
		json_array_append_new(list, json_pack("{s:o,s:o}", "name", text_json(a->services[i].name), "instances",
		                                      instances));
	}
	return list;
}

static json_t *ways_json(const struct announcement *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->way_count; i++)
		json_array_append_new(list, json_pack("{s:o,s:I}", "site", text_json(a->ways[i].site), "rtt_us",
		                                      (json_int_t)a->ways[i].rtt_us));
	return list;
}

static bool print_json(json_t *doc, size_t most, struct buf *out)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	bool good = text && strlen(text) <= most;

	json_decref(doc);
	if (good)
		buf_add_z(out, text);
	free(text);
	return good && !out->failed;
}

static json_t *content_json(const struct announcement *a)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "site", text_json(a->site), "incarnation",
	                 text_json(a->incarnation), "services", services_json(a), "ways", ways_json(a), "unreachable",
	                 names_json(a->unreachable, a->unreachable_count), "fenced",
	                 names_json(a->fenced, a->fenced_count));
}

bool announce_encode_content(const struct announcement *a, struct buf *out)
{
	return print_json(content_json(a), ANNOUNCE_BYTES, out);
}

bool announce_encode(const struct announcement *a, struct buf *out)
{
	json_t *doc = content_json(a);

	json_object_set_new(doc, "epoch", json_integer((json_int_t)a->version.epoch));
	json_object_set_new(doc, "generation", json_integer((json_int_t)a->version.generation));
	return print_json(doc, ANNOUNCE_BYTES, out);
}

/* ---- decoding ---------------------------------------------------------------------------------------------- */

struct decoder { struct announcement *a; struct err *e; };

static int bad(struct decoder *d, const char *what)
{
	return err_set(d->e, ERR_INVALID, "announcement: %s", what);
}

static int get_text(struct decoder *d, const json_t *value, size_t most, struct span *text_r)
{
	struct span text = { json_string_value(value), json_string_length(value) };

	if (!text.p || text.n > most)
		return bad(d, "a text is missing or too long");
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
			return bad(d, "a text holds control characters");
	*text_r = arena_dup(&d->a->arena, text);
	return text_r->p ? 0 : ERR_NOMEM;
}

static int get_name(struct decoder *d, const json_t *value, struct span *name_r)
{
	struct span text = { json_string_value(value), json_string_length(value) };

	if (!text.p || !opt_is_name(text))
		return bad(d, "a name is missing or none");
	*name_r = arena_dup(&d->a->arena, text);
	return name_r->p ? 0 : ERR_NOMEM;
}

static int get_number(struct decoder *d, const json_t *value, uint64_t most, uint64_t *number_r)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 0 || (uint64_t)n > most)
		return bad(d, "a number is missing or out of range");
	*number_r = (uint64_t)n;
	return 0;
}

/* Room for the elements of a list that may be absent. */
static int get_list(struct decoder *d, const json_t *list, size_t element, void *elements_r, size_t *count_r)
{
	void *room;

	*count_r = 0;
	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > ANNOUNCE_LIST)
		return bad(d, "a list is none, or too long");
	room = arena_zalloc(&d->a->arena, (json_array_size(list) + 1) * element);
	if (!room)
		return ERR_NOMEM;
	memcpy(elements_r, &room, sizeof(room));
	*count_r = json_array_size(list);
	return 0;
}

static int get_names(struct decoder *d, const json_t *list, struct span **names_r, size_t *count_r)
{
	int rc = get_list(d, list, sizeof(struct span), names_r, count_r);

	for (size_t i = 0; !rc && i < *count_r; i++)
		rc = get_name(d, json_array_get(list, i), &(*names_r)[i]);
	return rc;
}

static enum announce_health health_of(const json_t *value)
{
	struct span text = span_of(json_string_value(value));

	for (int h = ANNOUNCE_UNKNOWN; h <= ANNOUNCE_DOWN; h++)
		if (span_eq(text, span_of(announce_health_text((enum announce_health)h))))
			return (enum announce_health)h;
	return ANNOUNCE_UNKNOWN; /* a word of a later version */
}

static int get_instance(struct decoder *d, const json_t *from, struct announce_instance *to)
{
	uint64_t since = 0;
	int rc = get_text(d, json_object_get(from, "url"), ANNOUNCE_URL_BYTES, &to->url);

	if (!rc)
		rc = get_number(d, json_object_get(from, "load"), UINT32_MAX, &to->load);
	if (!rc)
		rc = get_number(d, json_object_get(from, "since"), ANNOUNCE_EPOCH_MAX, &since);
	if (rc)
		return rc;
	to->since_ms = (int64_t)since;
	to->health = health_of(json_object_get(from, "health"));
	return 0;
}

static int get_service(struct decoder *d, const json_t *from, struct announce_service *to)
{
	const json_t *list = json_object_get(from, "instances");
	int rc = get_name(d, json_object_get(from, "name"), &to->name);

	if (!rc)
		rc = get_list(d, list, sizeof(*to->instances), &to->instances, &to->count);
	for (size_t i = 0; !rc && i < to->count; i++)
		rc = get_instance(d, json_array_get(list, i), &to->instances[i]);
	return rc;
}

static int get_services(struct decoder *d, const json_t *list)
{
	struct announcement *a = d->a;
	int rc = get_list(d, list, sizeof(*a->services), &a->services, &a->service_count);

	for (size_t i = 0; !rc && i < a->service_count; i++)
		rc = get_service(d, json_array_get(list, i), &a->services[i]);
	return rc;
}

static int get_ways(struct decoder *d, const json_t *list)
{
	struct announcement *a = d->a;
	int rc = get_list(d, list, sizeof(*a->ways), &a->ways, &a->way_count);

	for (size_t i = 0; !rc && i < a->way_count; i++) {
		const json_t *from = json_array_get(list, i);
		uint64_t us = 0;

		rc = get_name(d, json_object_get(from, "site"), &a->ways[i].site);
		if (!rc)
			rc = get_number(d, json_object_get(from, "rtt_us"), UINT32_MAX, &us);
		a->ways[i].rtt_us = (uint32_t)us;
	}
	return rc;
}

static int get_version(struct decoder *d, const json_t *doc, struct site_version *v)
{
	int rc = get_number(d, json_object_get(doc, "epoch"), ANNOUNCE_EPOCH_MAX, &v->epoch);

	return rc ? rc : get_number(d, json_object_get(doc, "generation"), ANNOUNCE_EPOCH_MAX, &v->generation);
}

static int decode(struct decoder *d, const json_t *doc)
{
	struct announcement *a = d->a;
	int rc = get_name(d, json_object_get(doc, "site"), &a->site);

	if (!rc)
		rc = get_version(d, doc, &a->version);
	if (!rc)
		rc = get_text(d, json_object_get(doc, "incarnation"), ANNOUNCE_INCARNATION_BYTES, &a->incarnation);
	if (!rc)
		rc = get_services(d, json_object_get(doc, "services"));
	if (!rc)
		rc = get_ways(d, json_object_get(doc, "ways"));
	if (!rc)
		rc = get_names(d, json_object_get(doc, "unreachable"), &a->unreachable, &a->unreachable_count);
	if (!rc)
		rc = get_names(d, json_object_get(doc, "fenced"), &a->fenced, &a->fenced_count);
	return rc;
}

static int load_json(struct span text, size_t most, json_t **doc_r, struct err *e)
{
	json_error_t error;

	*doc_r = NULL;
	if (text.n > most)
		return err_set(e, ERR_LIMIT, "announcement: longer than %zu bytes", most);
	*doc_r = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
	return *doc_r ? 0 : err_set(e, ERR_INVALID, "announcement: %s", error.text);
}

int announce_decode(struct span text, struct announcement **a_r, struct err *e)
{
	struct decoder d = { calloc(1, sizeof(*d.a)), e };
	json_t *doc;
	int rc;

	*a_r = NULL;
	if (!d.a)
		return ERR_NOMEM;
	arena_init(&d.a->arena, NULL, 0, DECODED_BYTES);
	rc = load_json(text, ANNOUNCE_BYTES, &doc, e);
	if (!rc)
		rc = decode(&d, doc);
	json_decref(doc);
	if (rc)
		announce_free(&d.a);
	*a_r = d.a;
	return rc;
}

void announce_free(struct announcement **a)
{
	if (*a)
		arena_fini(&(*a)->arena);
	free(*a);
	*a = NULL;
}

/* ---- the table --------------------------------------------------------------------------------------------- */

void announce_table_init(struct announce_table *t)
{
	*t = (struct announce_table){ NULL, 0, 0 };
}

static void entry_fini(struct announce_entry *entry)
{
	announce_free(&entry->a);
	buf_fini(&entry->text);
}

void announce_table_fini(struct announce_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		entry_fini(&t->entries[i]);
	free(t->entries);
	announce_table_init(t);
}

/* Where the site is, or would be. */
static bool place_of(const struct announce_table *t, struct span site, size_t *at_r)
{
	size_t from = 0, to = t->count;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		int c = span_compare(site, t->entries[at].a->site);

		if (!c) {
			*at_r = at;
			return true;
		}
		if (c < 0)
			to = at;
		else
			from = at + 1;
	}
	*at_r = from;
	return false;
}

const struct announce_entry *announce_find(const struct announce_table *t, struct span site)
{
	size_t at;

	return place_of(t, site, &at) ? &t->entries[at] : NULL;
}

static int insert(struct announce_table *t, size_t at, struct announce_entry *entry)
{
	size_t room = t->room ? 2 * t->room : 16;
	struct announce_entry *more;

	if (t->count == ANNOUNCE_TABLE)
		return ERR_LIMIT;
	if (t->count == t->room) {
		more = realloc(t->entries, room * sizeof(*more));
		if (!more)
			return ERR_NOMEM;
		t->entries = more;
		t->room = room;
	}
	memmove(&t->entries[at + 1], &t->entries[at], (t->count - at) * sizeof(*entry));
	t->entries[at] = *entry;
	t->count++;
	return 0;
}

static void confirm(struct announce_entry *entry, int64_t at_us)
{
	if (entry->confirmed_us < at_us)
		entry->confirmed_us = at_us;
}

static int compare(const struct announce_entry *a, const struct announce_entry *b)
{
	int c = site_version_compare(a->a->version, b->a->version);

	return c ? c : span_compare(buf_span(&a->text), buf_span(&b->text));
}

int announce_merge(struct announce_table *t, struct announcement **a, int64_t age_us, int64_t now_us,
                   enum announce_merged *merged_r)
{
	struct announce_entry told = { .a = *a, .confirmed_us = now_us - (age_us > 0 ? age_us : 0) };
	size_t at;
	int c, rc;

	*a = NULL;
	buf_init(&told.text, NULL, 0);
	if (!announce_encode(told.a, &told.text)) {
		entry_fini(&told);
		return ERR_LIMIT;
	}
	if (!place_of(t, told.a->site, &at)) {
		*merged_r = ANNOUNCE_NEWER;
		rc = insert(t, at, &told);
		if (rc)
			entry_fini(&told);
		return rc;
	}
	c = compare(&told, &t->entries[at]);
	if (c > 0) {
		struct announce_entry old = t->entries[at];

		t->entries[at] = told;
		confirm(&t->entries[at], old.confirmed_us);
		told = old;
	} else {
		confirm(&t->entries[at], told.confirmed_us);
	}
	entry_fini(&told);
	*merged_r = c > 0 ? ANNOUNCE_NEWER : c < 0 ? ANNOUNCE_OLDER : ANNOUNCE_KNOWN;
	return 0;
}

bool announce_confirm(struct announce_table *t, struct span site, struct site_version version, int64_t now_us)
{
	size_t at;

	if (!place_of(t, site, &at) || site_version_compare(t->entries[at].a->version, version))
		return false;
	confirm(&t->entries[at], now_us);
	return true;
}

static void drop(struct announce_table *t, size_t at)
{
	entry_fini(&t->entries[at]);
	memmove(&t->entries[at], &t->entries[at + 1], (t->count - at - 1) * sizeof(*t->entries));
	t->count--;
}

void announce_forget(struct announce_table *t, struct span site)
{
	size_t at;

	if (place_of(t, site, &at))
		drop(t, at);
}

void announce_expire(struct announce_table *t, int64_t now_us, int64_t age_us)
{
	for (size_t i = t->count; i-- > 0;)
		if (now_us - t->entries[i].confirmed_us > age_us)
			drop(t, i);
}

void announce_excuse(struct announce_table *t, int64_t us)
{
	for (size_t i = 0; i < t->count; i++)
		t->entries[i].confirmed_us += us;
}

/* ---- digests ----------------------------------------------------------------------------------------------- */

bool announce_digest(const struct announce_table *t, int64_t now_us, struct buf *out)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const struct announce_entry *entry = &t->entries[i];
		int64_t age_ms = (now_us - entry->confirmed_us) / 1000;

		json_array_append_new(list, json_pack("{s:o,s:I,s:I,s:I}", "site", text_json(entry->a->site), "epoch",
		                                      (json_int_t)entry->a->version.epoch, "generation",
		                                      (json_int_t)entry->a->version.generation, "age_ms",
		                                      (json_int_t)(age_ms > 0 ? age_ms : 0)));
	}
	return print_json(json_pack("{s:o}", "sites", list), ANNOUNCE_DIGEST_BYTES, out);
}

struct digest_row { struct span site; struct site_version version; int64_t age_us; };

static int get_row(struct decoder *d, const json_t *from, struct digest_row *row)
{
	uint64_t age_ms = 0;
	int rc = get_name(d, json_object_get(from, "site"), &row->site);

	if (!rc)
		rc = get_version(d, from, &row->version);
	if (!rc)
		rc = get_number(d, json_object_get(from, "age_ms"), ANNOUNCE_EPOCH_MAX / 1000, &age_ms);
	row->age_us = (int64_t)age_ms * 1000;
	return rc;
}

/* True when the row is of something newer; of the same it says how old it is. */
static bool is_news(struct announce_table *t, const struct digest_row *row, int64_t now_us)
{
	size_t at;
	int c;

	if (!place_of(t, row->site, &at))
		return true;
	c = site_version_compare(row->version, t->entries[at].a->version);
	if (!c)
		confirm(&t->entries[at], now_us - row->age_us);
	return c > 0;
}

int announce_compare(struct announce_table *t, struct span digest, int64_t now_us,
                     void (*want)(void *ctx, struct span site, struct site_version version, int64_t age_us),
                     void *ctx, struct err *e)
{
	struct announcement room = { .site = SPAN("") };
	struct decoder d = { &room, e };
	const json_t *list;
	json_t *doc;
	int rc = load_json(digest, ANNOUNCE_DIGEST_BYTES, &doc, e);

	if (rc)
		return rc;
	arena_init(&room.arena, NULL, 0, DECODED_BYTES);
	list = json_object_get(doc, "sites");
	rc = json_is_array(list) ? 0 : bad(&d, "a digest without sites");
	for (size_t i = 0; !rc && i < json_array_size(list); i++) {
		struct digest_row row = { { NULL, 0 }, { 0, 0 }, 0 };

		rc = get_row(&d, json_array_get(list, i), &row);
		if (!rc && is_news(t, &row, now_us))
			want(ctx, row.site, row.version, row.age_us);
	}
	json_decref(doc);
	arena_fini(&room.arena);
	return rc;
}
