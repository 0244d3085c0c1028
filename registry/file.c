/* The registry's file source: sites.yaml (spec section 6).
 *
 *     sites:
 *       dc1: {mesh: "127.0.1.1:7400", labels: {region: eu}}
 *
 * The file is read by an option table of its own and copied into a new snapshot; the snapshot
 * before gives its site_live to sites of the same name.  The local site is always in the snapshot,
 * whether or not the file has it. */
#include <assert.h>
#include <stdlib.h>

#include "base/opt.h"
#include "base/yaml.h"
#include "registry/registry.h"

/* One site as read. */
struct file_site {
	struct span name;
	struct addr mesh;
	struct span mesh_text;
	const struct registry_label *labels;
	size_t label_count;
};

struct file_sites {
	struct file_site *sites;
	size_t count;
};

static_assert(sizeof(struct registry_label) == sizeof(struct opt_pair) &&
              offsetof(struct registry_label, value) == offsetof(struct opt_pair, value),
              "labels are read as pairs");

static int parse_mesh(struct opt_reader *r, const struct opt *o, struct span text, void *value,
                      struct err *e)
{
	struct file_site *site = (void *)((char *)value - offsetof(struct file_site, mesh));

	if (!text.n) /* known, but reached by nobody */
		return 0;
	site->mesh_text = arena_dup(r->arena, text);
	r->nomem |= !site->mesh_text.p;
	return opt_addr.parse(r, o, text, value, e);
}

static void print_mesh(const struct opt *o, const void *value, struct buf *out)
{
	opt_addr.print(o, value, out);
}

static const struct opt_type type_mesh = { "address", sizeof(struct addr), parse_mesh, print_mesh, NULL };

static const struct opt rows[] = {
	{ .path = "sites.*", .type = &opt_group, .offset = offsetof(struct file_sites, sites),
	  .count_offset = offsetof(struct file_sites, count), .element = sizeof(struct file_site),
	  .doc = "The sites." },
	{ .path = "sites.*.mesh", .type = &type_mesh, .min = 1, .offset = offsetof(struct file_site, mesh),
	  .doc = "Address of the site's mesh listener." },
	{ .path = "sites.*.labels", .type = &opt_name, .flags = OPT_PAIRS,
	  .offset = offsetof(struct file_site, labels),
	  .count_offset = offsetof(struct file_site, label_count), .doc = "Labels of the site." },
};
static const struct opt_table table = { rows, sizeof(rows) / sizeof(rows[0]) };

static int site_order(const void *a, const void *b)
{
	return span_compare(((const struct registry_site *)a)->name,
	                    ((const struct registry_site *)b)->name);
}

/* An unset mesh has no family and equals nothing. */
static int mesh_order(const void *a, const void *b)
{
	const struct file_site *x = *(struct file_site *const *)a, *y = *(struct file_site *const *)b;
	char s[ADDR_TEXT_BYTES], t[ADDR_TEXT_BYTES];
	int c;

	addr_format(&x->mesh, s);
	addr_format(&y->mesh, t);
	c = strcmp(s, t);
	return c ? c : x < y ? -1 : x > y;
}

static int check_meshes(struct opt_reader *r, const struct file_sites *in)
{
	struct file_site **by_mesh;
	size_t n = 0;

	if (!in->count)
		return 0;
	by_mesh = calloc(in->count, sizeof(struct file_site *));
	if (!by_mesh)
		return ERR_NOMEM;
	for (size_t i = 0; i < in->count; i++)
		if (in->sites[i].mesh.len)
			by_mesh[n++] = &in->sites[i];
	qsort(by_mesh, n, sizeof(struct file_site *), mesh_order);
	for (size_t i = 1; i < n; i++)
		/* a site that is there twice is told already */
		if (addr_eq(&by_mesh[i]->mesh, &by_mesh[i - 1]->mesh) &&
		    !span_eq(by_mesh[i]->name, by_mesh[i - 1]->name))
			yaml_problem(r->yaml, opt_place(r, &by_mesh[i]->mesh), NULL,
			             "mesh: %.*s has the same address as %.*s", SPAN_ARG(by_mesh[i]->name),
			             SPAN_ARG(by_mesh[i - 1]->name));
	free(by_mesh);
	return 0;
}

static int copy_labels(struct registry *reg, const struct registry_label *labels, size_t n,
                       struct registry_site *to)
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

static struct site_live *live_of(struct registry *before, struct span name)
{
	struct site_live *live;
	size_t at;

	if (before && registry_find(before, name, &at)) {
		live = before->sites[at].live;
		atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
		return live;
	}
	live = calloc(1, sizeof(*live) + name.n + 1);
	if (!live)
		return NULL;
	memcpy(live->name, name.p, name.n);
	atomic_init(&live->rtt_us, -1);
	atomic_init(&live->refs, 1);
	return live;
}

/* Appends a site; what was taken is given back by registry_unref of reg. */
static int add_site(struct registry *reg, const struct file_site *from, struct registry *before)
{
	struct registry_site *to = &reg->sites[reg->site_count];

	to->name = arena_dup(&reg->arena, from->name);
	to->mesh_text = arena_dup(&reg->arena, from->mesh_text.p ? from->mesh_text : SPAN(""));
	if (!to->name.p || !to->mesh_text.p)
		return ERR_NOMEM;
	to->mesh = from->mesh;
	to->has_mesh = from->mesh.len > 0;
	to->live = live_of(before, from->name);
	if (!to->live)
		return ERR_NOMEM;
	reg->site_count++;
	return copy_labels(reg, from->labels, from->label_count, to);
}

static int fill(struct registry *reg, const struct file_sites *in, const struct file_site *local,
                struct registry *before)
{
	bool has_local = false;

	reg->sites = arena_zalloc(&reg->arena, (in->count + 1) * sizeof(*reg->sites));
	if (!reg->sites)
		return ERR_NOMEM;
	for (size_t i = 0; i < in->count; i++) {
		struct file_site site = in->sites[i];

		if (span_eq(site.name, local->name)) {
			has_local = true;
			if (!site.label_count) {
				site.labels = local->labels;
				site.label_count = local->label_count;
			}
		}
		if (add_site(reg, &site, before))
			return ERR_NOMEM;
	}
	if (!has_local && add_site(reg, local, before))
		return ERR_NOMEM;
	qsort(reg->sites, reg->site_count, sizeof(*reg->sites), site_order);
	return registry_find(reg, local->name, &reg->local) ? 0 : ERR_NOT_FOUND;
}

static int snapshot(const struct file_sites *in, const struct file_site *local,
                    struct registry *before, struct registry **registry_r)
{
	struct registry *reg = calloc(1, sizeof(*reg));
	int error;

	if (!reg)
		return ERR_NOMEM;
	atomic_init(&reg->refs, 1);
	arena_init(&reg->arena, NULL, 0, 0);
	error = fill(reg, in, local, before);
	if (error)
		registry_unref(&reg);
	*registry_r = reg;
	return error;
}

/* 0 when the file can be made a snapshot of; in lives as long as y. */
static int read_file(struct yaml *y, const char *path, struct file_sites *in)
{
	struct opt_reader r = { .table = &table, .yaml = y, .arena = &y->arena };
	int error = yaml_open(y, path);

	if (error && error != ERR_INVALID)
		return error;
	error = opt_read(&r, in);
	if (!error)
		error = check_meshes(&r, in);
	return error ? error : y->problem_count ? ERR_INVALID : 0;
}

int registry_file_load(const char *path, struct span local, const struct registry_label *local_labels,
                       size_t local_label_count, struct registry *before,
                       struct registry **registry_r, struct buf *errors)
{
	struct file_site self = { .name = local, .mesh_text = SPAN("") };
	struct file_sites in = { NULL, 0 };
	struct yaml y;
	int error;

	*registry_r = NULL;
	self.labels = local_labels;
	self.label_count = local_label_count;
	if (!path)
		return snapshot(&in, &self, before, registry_r);
	error = read_file(&y, path, &in);
	if (error)
		yaml_report(&y, errors);
	else
		error = snapshot(&in, &self, before, registry_r);
	yaml_close(&y);
	return error == ERR_SYNTAX ? ERR_INVALID : error;
}
