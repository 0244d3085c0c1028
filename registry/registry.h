/* The registry: which sites there are, where their meshes listen, their labels, how alive and how
 * far they are.  A snapshot (struct registry) is immutable and counted; whoever changes it makes
 * a new one and swaps the pointer, so a request never waits for it and sees one state throughout.
 * What changes all the time (aliveness, round trip) lives in struct site_live, shared by every
 * snapshot that knows the site, and is read and written with relaxed atomics. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

/* Marks (spec section 4). */
#define SITE_STATES(X) \
	X(SITE_UNKNOWN, "unknown") \
	X(SITE_CONNECTED, "connected") \
	X(SITE_SYNCHRONIZING, "synchronizing") \
	X(SITE_DISCONNECTED, "disconnected") \
	X(SITE_FAILED, "failed") \
	X(SITE_FENCED, "fenced") \
	X(SITE_AUTONOMOUS, "autonomous")

enum site_state {
#define SITE_STATE_VALUE(value, name) value,
	SITE_STATES(SITE_STATE_VALUE)
#undef SITE_STATE_VALUE
};

const char *site_state_text(enum site_state state);

struct site_live {
	_Atomic int state;               /* enum site_state */
	_Atomic int64_t rtt_us;          /* smoothed round trip from here, -1: not measured */
	_Atomic int64_t last_seen_ms;    /* wall clock, 0: never */
	_Atomic int64_t last_failure_us; /* monotonic, 0: never */
	_Atomic int refs;
	char name[];
};

struct registry_label { struct span key, value; };

struct registry_site {
	struct span name;
	bool has_mesh;             /* false: known, but reached by nobody */
	struct addr mesh;
	struct span mesh_text;     /* as written */
	struct registry_label *labels;
	size_t label_count;
	struct site_live *live;    /* a reference of the snapshot's */
};

struct registry {
	_Atomic int refs;
	struct arena arena;        /* all of the snapshot */
	struct registry_site *sites; /* sorted by name, byte for byte */
	size_t site_count;
	size_t local;              /* index of the local site, which is always there */
};

/* Reads a sites file (spec section 6, sites.yaml).  local: this site, added when the file lacks it (labels, when
 * the file gives none for it: local_labels). before: the snapshot whose site_live are carried over, or NULL.
 * Problems are appended to errors, all at once, in the form FILE:LINE:COLUMN: message, the line, a
 * caret and the nearest valid word.  path NULL: no registry, a snapshot of the local site alone.
 * 0, ERR_INVALID (see errors), ERR_IO, ERR_NOMEM. */
int registry_file_load(const char *path, struct span local, const struct registry_label *local_labels,
                       size_t local_label_count, struct registry *before,
                       struct registry **registry_r, struct buf *errors) MUST_CHECK;

struct registry *registry_ref(struct registry *reg);
void registry_unref(struct registry **reg);

/* False when there is no such site. Binary search. */
bool registry_find(const struct registry *reg, struct span name, size_t *index_r);
bool registry_label_get(const struct registry *reg, size_t site, struct span key, struct span *value_r);

/* What the data path saw of a site.  now_us: clock_mono_us. */
void site_live_seen(struct site_live *live);
void site_live_unreachable(struct site_live *live, int64_t now_us);
enum site_state site_live_state(const struct site_live *live);

#endif
