/* The registry's file source: sites.yaml (spec section 6).
 *
 *     sites:
 *       dc1: {mesh: "127.0.1.1:7400", labels: {region: eu}}
 *
 * The file is read by an option table of its own and told to the sink as a whole list, or not at all: with anything
 * wrong in it the sink hears that the source is down, and keeps what it has.  It is watched by looking at it (time,
 * size, inode), not by inotify, which misses changes behind symbolic links, mounts and network file systems. */
#include <assert.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/opt.h"
#include "base/yaml.h"
#include "registry/source.h"

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

/* 0 when the file can be told; in lives as long as y. */
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

/* ---- the source -------------------------------------------------------------------------------------------- */

/* What tells one state of a file from another. */
struct look { int64_t mtime_ns; uint64_t size, inode; };

struct file_source {
	struct source source;
	struct look read, seen; /* the file as read last, and at the last look */
	char path[];            /* empty: no file, no sites but this one */
};

/* All 0 when there is no such file. */
static struct look look_at(const char *path)
{
	struct look l = { 0, 0, 0 };
	struct stat st;

	if (*path && !stat(path, &st))
		l = (struct look){ (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
			           (uint64_t)st.st_size, st.st_ino };
	return l;
}

static bool same_look(struct look a, struct look b)
{
	return a.mtime_ns == b.mtime_ns && a.size == b.size && a.inode == b.inode;
}

static int tell(const struct source_sink *sink, const struct file_sites *in)
{
	int rc = sink->begin(sink->ctx);

	for (size_t i = 0; !rc && i < in->count; i++) {
		const struct file_site *from = &in->sites[i];
		struct source_site site = { .name = from->name, .mesh = from->mesh, .mesh_text = from->mesh_text,
			                    .labels = from->labels, .label_count = from->label_count };

		rc = sink->upsert(sink->ctx, &site);
	}
	return rc ? rc : sink->end(sink->ctx);
}

static int file_resync(struct source *s, struct buf *errors)
{
	struct file_source *f = (struct file_source *)(void *)s;
	const struct source_sink *sink = &s->sink;
	struct file_sites in = { NULL, 0 };
	size_t before = errors ? buf_len(errors) : 0;
	struct yaml y;
	int rc;

	f->read = look_at(f->path); /* before reading: what is written meanwhile is seen */
	if (!*f->path)
		return tell(sink, &in);
	rc = read_file(&y, f->path, &in);
	if (!rc)
		rc = tell(sink, &in);
	else if (errors)
		yaml_report(&y, errors);
	yaml_close(&y);
	if (sink->state)
		sink->state(sink->ctx, !rc, rc && errors ? span_from(buf_span(errors), before) : SPAN(""));
	return rc == ERR_SYNTAX ? ERR_INVALID : rc;
}

/* Once it has stayed the same from one look to the next: a file that is being written is not read half. */
static bool file_has_news(struct source *s)
{
	struct file_source *f = (struct file_source *)(void *)s;
	struct look now = look_at(f->path);
	bool settled = same_look(now, f->seen);

	f->seen = now;
	return settled && !same_look(now, f->read);
}

static void file_close(struct source **s)
{
	free(*s);
	*s = NULL;
}

static int file_open(struct span path, const struct source_sink *sink, struct source **source_r, struct buf *errors)
{
	struct file_source *f = calloc(1, sizeof(*f) + path.n + 1);
	int rc;

	*source_r = NULL;
	if (!f)
		return ERR_NOMEM;
	if (path.n)
		memcpy(f->path, path.p, path.n);
	f->source = (struct source){ .ops = &source_file, .sink = *sink };
	f->seen = look_at(f->path);
	rc = file_resync(&f->source, errors);
	if (rc)
		free(f);
	else
		*source_r = &f->source;
	return rc;
}

const struct source_ops source_file = {
	.name = "file",
	.open = file_open,
	.has_news = file_has_news,
	.resync = file_resync,
	.close = file_close,
};
