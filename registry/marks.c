/* marks.json:
 *
 *     {"sites": {"dc2": {"fenced": true}, "dc3": {"detached": true, "incarnation": "6f1c…"}}}
 *
 * A change is written before it is in force (marks_change); what is in memory is what is on disk.  Only a lifted mark
 * of a site that has come back empty may be lost by a write that fails: it is lifted again when the site is met again. */
#include "registry/marks.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/file.h"
#include "base/opt.h"

#define MARKS_BYTES (1u << 20)
#define IDENTITY_BYTES 4096

static const struct { const char *name; enum site_mark mark; } names[] = {
	{ "fenced", MARK_FENCED },
	{ "detached", MARK_DETACHED },
	{ "autonomous", MARK_AUTONOMOUS },
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static char *path_in(const char *folder, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* *doc_r NULL: no such file. */
static int read_json(const char *path, size_t most, json_t **doc_r, struct err *e)
{
	json_error_t error;
	struct buf text;
	int rc;

	*doc_r = NULL;
	buf_init(&text, NULL, 0);
	rc = file_read(path, most, &text, e);
	if (!rc) {
		*doc_r = json_loadb(text.mem ? text.mem + text.rd : "", buf_len(&text), JSON_REJECT_DUPLICATES, &error);
		if (!*doc_r)
			rc = err_set(e, ERR_INVALID, "%s:%d:%d: %s", path, error.line, error.column, error.text);
	}
	buf_fini(&text);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int write_json(const char *path, json_t *doc, struct err *e)
{
	char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
	int rc = text ? file_replace(path, span_of(text), e) : err_set(e, ERR_NOMEM, "no memory");

	json_decref(doc);
	free(text);
	return rc;
}

/* ---- marks ------------------------------------------------------------------------------------------------- */

static struct marked *find(const struct marks *m, struct span site)
{
	for (size_t i = 0; i < m->count; i++)
		if (span_eq(span_of(m->items[i].site), site))
			return &m->items[i];
	return NULL;
}

static struct marked *add(struct marks *m, struct span site)
{
	struct marked *more;

	if (m->count == MARKS_MOST)
		return NULL;
	more = realloc(m->items, (m->count + 1) * sizeof(*more));
	if (!more)
		return NULL;
	m->items = more;
	more = &m->items[m->count++];
	*more = (struct marked){ .marks = 0 };
	snprintf(more->site, sizeof(more->site), "%.*s", SPAN_ARG(site));
	return more;
}

static int take(struct marks *m, const char *site, const json_t *from, struct err *e)
{
	const char *incarnation = json_string_value(json_object_get(from, "incarnation"));
	struct marked *item;

	if (!opt_is_name(span_of(site)) || !json_is_object(from) || find(m, span_of(site)))
		return err_set(e, ERR_INVALID, "%s: \"%s\" is no site with marks", m->path, site);
	item = add(m, span_of(site));
	if (!item)
		return ERR_NOMEM;
	for (size_t i = 0; i < NAMES; i++)
		if (json_is_true(json_object_get(from, names[i].name)))
			item->marks |= names[i].mark;
	if (incarnation)
		snprintf(item->incarnation, sizeof(item->incarnation), "%s", incarnation);
	return 0;
}

int marks_open(struct marks *m, const char *folder, struct err *e)
{
	json_t *doc, *sites, *from;
	const char *site;
	int rc;

	*m = (struct marks){ .path = path_in(folder, "marks.json") };
	if (!m->path)
		return err_set(e, ERR_NOMEM, "no memory");
	rc = read_json(m->path, MARKS_BYTES, &doc, e);
	if (rc)
		return rc;
	sites = json_object_get(doc, "sites");
	if (doc && !json_is_object(sites))
		rc = err_set(e, ERR_INVALID, "%s: no object \"sites\"", m->path);
	json_object_foreach(sites, site, from)
		if (!rc)
			rc = take(m, site, from, e);
	json_decref(doc);
	return rc;
}

void marks_close(struct marks *m)
{
	free(m->path);
	free(m->items);
	*m = (struct marks){ .path = NULL };
}

unsigned marks_of(const struct marks *m, struct span site)
{
	const struct marked *item = find(m, site);

	return item ? item->marks : 0;
}

static json_t *marked_json(const struct marked *item)
{
	json_t *o = json_object();

	for (size_t i = 0; i < NAMES; i++)
		if (item->marks & names[i].mark)
			json_object_set_new(o, names[i].name, json_true());
	if (item->marks & MARK_DETACHED)
		json_object_set_new(o, "incarnation", json_string(item->incarnation));
	return o;
}

static int save(const struct marks *m, struct err *e)
{
	json_t *sites = json_object();

	for (size_t i = 0; i < m->count; i++)
		if (m->items[i].marks)
			json_object_set_new(sites, m->items[i].site, marked_json(&m->items[i]));
	return write_json(m->path, json_pack("{s:o}", "sites", sites), e);
}

int marks_change(struct marks *m, struct span site, unsigned set, unsigned clear, struct span incarnation,
                 struct err *e)
{
	struct marked *item = find(m, site), before;
	int rc;

	if (!item)
		item = add(m, site);
	if (!item)
		return err_set(e, m->count == MARKS_MOST ? ERR_LIMIT : ERR_NOMEM, "no room for another marked site");
	before = *item;
	item->marks = (item->marks | set) & ~clear;
	if (set & MARK_DETACHED)
		snprintf(item->incarnation, sizeof(item->incarnation), "%.*s", SPAN_ARG(incarnation));
	rc = save(m, e);
	if (rc)
		*item = before;
	return rc;
}

bool marks_meet(struct marks *m, struct span site, struct span incarnation)
{
	struct marked *item = find(m, site);
	struct err e;

	if (!item || !(item->marks & MARK_DETACHED) || !incarnation.n ||
	    span_eq(span_of(item->incarnation), incarnation))
		return false;
	if (!item->incarnation[0])
		return (void)!marks_change(m, site, MARK_DETACHED, 0, incarnation, &e), false;
	return !marks_change(m, site, 0, MARK_DETACHED, incarnation, &e);
}

void marks_apply(const struct marks *m, const struct registry *reg)
{
	for (size_t i = 0; i < reg->site_count; i++)
		if (i != reg->local)
			atomic_store_explicit(&reg->sites[i].live->marks, marks_of(m, reg->sites[i].name),
			                      memory_order_relaxed);
}

/* ---- identity ---------------------------------------------------------------------------------------------- */

static int save_identity(const struct identity *id, uint64_t epoch, struct err *e)
{
	json_t *doc = json_pack("{s:s,s:I}", "incarnation", id->incarnation, "epoch", (json_int_t)epoch);

	return write_json(id->path, doc, e);
}

static int make_incarnation(struct identity *id, struct err *e)
{
	unsigned char random[ANNOUNCE_INCARNATION_BYTES / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_set(e, ERR_IO, "no random bytes");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id->incarnation + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int take_identity(struct identity *id, const json_t *doc, struct err *e)
{
	const json_t *incarnation = json_object_get(doc, "incarnation"), *epoch = json_object_get(doc, "epoch");

	if (!doc)
		return make_incarnation(id, e);
	if (json_string_length(incarnation) != ANNOUNCE_INCARNATION_BYTES || json_integer_value(epoch) < 0 ||
	    !json_is_integer(epoch) || (uint64_t)json_integer_value(epoch) > ANNOUNCE_EPOCH_MAX)
		return err_set(e, ERR_INVALID, "%s: no incarnation and epoch", id->path);
	snprintf(id->incarnation, sizeof(id->incarnation), "%s", json_string_value(incarnation));
	id->epoch = (uint64_t)json_integer_value(epoch);
	return 0;
}

static int begin_epoch(struct identity *id, uint64_t epoch, struct err *e)
{
	int rc;

	if (epoch > ANNOUNCE_EPOCH_MAX)
		return err_set(e, ERR_LIMIT, "%s: the epoch is used up", id->path);
	rc = save_identity(id, epoch, e);
	if (!rc)
		id->epoch = epoch;
	return rc;
}

int identity_open(struct identity *id, const char *folder, int64_t now_ms, struct err *e)
{
	json_t *doc;
	int rc;

	*id = (struct identity){ .path = path_in(folder, "identity.json") };
	if (!id->path)
		return err_set(e, ERR_NOMEM, "no memory");
	rc = read_json(id->path, IDENTITY_BYTES, &doc, e);
	if (!rc)
		rc = take_identity(id, doc, e);
	json_decref(doc);
	if (rc)
		return rc;
	return begin_epoch(id, now_ms > 0 && (uint64_t)now_ms > id->epoch ? (uint64_t)now_ms : id->epoch + 1, e);
}

int identity_outdo(struct identity *id, uint64_t heard, struct err *e)
{
	return begin_epoch(id, (heard > id->epoch ? heard : id->epoch) + 1, e);
}

void identity_close(struct identity *id)
{
	free(id->path);
	*id = (struct identity){ .path = NULL };
}
