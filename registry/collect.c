/* Snapshots out of what a source tells.
 *
 *	begin -> building (empty) -> upsert ... -> end -> now
 *	upsert or gone alone -> building (now, changed in one place) -> now
 *
 * A snapshot that fails for memory is dropped and `now` stays.  The local site is put in where the source leaves it
 * out, and never goes. */
#include "registry/collect.h"

#include <assert.h>
#include <stdlib.h>

static int site_order(const void *a, const void *b)
{
	return span_compare(((const struct registry_site *)a)->name, ((const struct registry_site *)b)->name);
}

void collect_init(struct collect *c, struct span local, const struct registry_label *labels, size_t label_count,
                  struct registry *before)
{
	*c = (struct collect){ .local = local, .labels = labels, .label_count = label_count, .up = true };
	c->before = before ? registry_ref(before) : NULL;
}

void collect_fini(struct collect *c)
{
	registry_unref(&c->now);
	registry_unref(&c->before);
	registry_unref(&c->building);
}

/* ---- one snapshot ------------------------------------------------------------------------------------------ */

static int copy_labels(struct registry *reg, const struct registry_label *labels, size_t n, struct registry_site *to)
{
	if (!n)
		return 0;
	to->labels = arena_alloc(&reg->arena, n * sizeof(*labels));
	if (!to->labels)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		to->labels[i].key = arena_dup(&reg->arena, labels[i].key);
		to->labels[i].value = arena_dup(&reg->arena, labels[i].value);
		if (!to->labels[i].key.p || !to->labels[i].value.p)
			return ERR_NOMEM;
		to->label_count++;
	}
	return 0;
}

static struct site_live *live_of(const struct collect *c, struct span name)
{
	struct registry *before = c->now ? c->now : c->before;
	size_t at;

	if (before && registry_find(before, name, &at))
		return site_live_ref(before->sites[at].live);
	return site_live_new(name);
}

/* Room for one more at the end; the old array stays in the arena until the snapshot goes. */
static struct registry_site *next_place(struct registry *reg)
{
	size_t room = reg->site_room ? reg->site_room * 2 : 16;
	struct registry_site *more;

	if (reg->site_count < reg->site_room)
		return &reg->sites[reg->site_count];
	more = arena_zalloc(&reg->arena, room * sizeof(*more));
	if (!more)
		return NULL;
	if (reg->site_count)
		memcpy(more, reg->sites, reg->site_count * sizeof(*more));
	reg->sites = more;
	reg->site_room = room;
	return &more[reg->site_count];
}

/* Appends a site; what was taken is given back by registry_unref of reg. */
static int add_site(struct collect *c, struct registry *reg, const struct source_site *from)
{
	struct registry_site *to = next_place(reg);
	bool own_labels = !from->label_count && span_eq(from->name, c->local);

	if (!to)
		return ERR_NOMEM;
	*to = (struct registry_site){ .mesh = from->mesh, .has_mesh = from->mesh.len > 0, .version = from->version };
	to->name = arena_dup(&reg->arena, from->name);
	to->mesh_text = arena_dup(&reg->arena, from->mesh_text.p ? from->mesh_text : SPAN(""));
	if (!to->name.p || !to->mesh_text.p)
		return ERR_NOMEM;
	to->live = live_of(c, from->name);
	if (!to->live)
		return ERR_NOMEM;
	reg->site_count++;
	return own_labels ? copy_labels(reg, c->labels, c->label_count, to)
	                  : copy_labels(reg, from->labels, from->label_count, to);
}

static struct source_site as_told(const struct registry_site *site)
{
	return (struct source_site){ .name = site->name, .mesh = site->mesh, .mesh_text = site->mesh_text,
		                     .labels = site->labels, .label_count = site->label_count,
		                     .version = site->version };
}

/* All of now but the one named. */
static int copy_but(struct collect *c, struct registry *reg, struct span but)
{
	for (size_t i = 0; c->now && i < c->now->site_count; i++) {
		struct source_site site = as_told(&c->now->sites[i]);

		if (!span_eq(site.name, but) && add_site(c, reg, &site))
			return ERR_NOMEM;
	}
	return 0;
}

static bool has_site(const struct registry *reg, struct span name)
{
	for (size_t i = 0; i < reg->site_count; i++)
		if (span_eq(reg->sites[i].name, name))
			return true;
	return false;
}

static int begin(void *ctx)
{
	struct collect *c = ctx;

	registry_unref(&c->building); /* of a list that was not told to its end */
	c->building = registry_new();
	return c->building ? 0 : ERR_NOMEM;
}

static int end(void *ctx)
{
	struct collect *c = ctx;
	struct registry *reg = c->building;
	struct source_site self = { .name = c->local, .mesh_text = SPAN("") };
	int rc = 0;

	assert(reg);
	c->building = NULL;
	if (!has_site(reg, c->local))
		rc = add_site(c, reg, &self);
	if (!rc) {
		qsort(reg->sites, reg->site_count, sizeof(*reg->sites), site_order);
		rc = registry_finish(reg, c->local);
	}
	if (rc) {
		registry_unref(&reg);
		return rc;
	}
	registry_unref(&c->now);
	c->now = reg;
	if (c->changed)
		c->changed(c->ctx);
	return 0;
}

/* ---- what a source tells ----------------------------------------------------------------------------------- */

static const struct registry_site *held(const struct collect *c, struct span name)
{
	size_t at;

	return c->now && registry_find(c->now, name, &at) ? &c->now->sites[at] : NULL;
}

/* A source without versions says {0, 0} always, which is never older. */
static bool is_older(const struct source_site *told, const struct registry_site *have)
{
	return have && site_version_compare(told->version, have->version) < 0;
}

static int upsert(void *ctx, const struct source_site *site)
{
	struct collect *c = ctx;
	const struct registry_site *have = held(c, site->name);
	struct source_site kept;

	if (is_older(site, have)) {
		kept = as_told(have);
		site = &kept;
		if (!c->building)
			return 0;
	}
	if (c->building)
		return has_site(c->building, site->name) ? 0 : add_site(c, c->building, site);
	if (begin(c))
		return ERR_NOMEM;
	if (copy_but(c, c->building, site->name) || add_site(c, c->building, site)) {
		registry_unref(&c->building);
		return ERR_NOMEM;
	}
	return end(c);
}

static int gone(void *ctx, struct span name, const char *reason)
{
	struct collect *c = ctx;

	(void)reason;
	if (c->building || !held(c, name))
		return 0; /* the list under way tells */
	if (begin(c))
		return ERR_NOMEM;
	if (copy_but(c, c->building, name)) {
		registry_unref(&c->building);
		return ERR_NOMEM;
	}
	return end(c);
}

static void health(void *ctx, struct span name, enum source_health h)
{
	const struct registry_site *site = held(ctx, name);

	if (site)
		atomic_store_explicit(&site->live->source_failed, h == SOURCE_FAILED, memory_order_relaxed);
}

static void hint(void *ctx, struct span bytes)
{
	(void)ctx;
	(void)bytes; /* news elsewhere: pings find it within a turn all the same */
}

static void state(void *ctx, bool up, struct span why)
{
	struct collect *c = ctx;

	(void)why;
	c->up = up;
	if (!up)
		registry_unref(&c->building);
}

struct source_sink collect_sink(struct collect *c)
{
	return (struct source_sink){ .ctx = c, .begin = begin, .upsert = upsert, .end = end, .gone = gone,
		                     .health = health, .hint = hint, .state = state };
}

/* ---- with a source ----------------------------------------------------------------------------------------- */

int collect_open(const struct source_ops *ops, struct span address, struct span local,
                 const struct registry_label *labels, size_t label_count, struct registry *before,
                 struct collect **collect_r, struct buf *errors)
{
	struct collect *c = malloc(sizeof(*c));
	struct source_sink sink;
	int rc;

	*collect_r = NULL;
	if (!c)
		return ERR_NOMEM;
	collect_init(c, local, labels, label_count, before);
	sink = collect_sink(c);
	rc = ops->open(address, &sink, &c->source, errors);
	if (rc)
		collect_close(&c);
	*collect_r = c;
	return rc;
}

void collect_close(struct collect **cp)
{
	struct collect *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	if (c->source)
		c->source->ops->close(&c->source);
	collect_fini(c);
	free(c);
}

int registry_file_load(const char *path, struct span local, const struct registry_label *local_labels,
                       size_t local_label_count, struct registry *before,
                       struct registry **registry_r, struct buf *errors)
{
	struct collect *c;
	int rc = collect_open(&source_file, span_of(path), local, local_labels, local_label_count, before, &c, errors);

	*registry_r = rc ? NULL : registry_ref(c->now);
	collect_close(&c);
	return rc;
}
