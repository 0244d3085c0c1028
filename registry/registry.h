/* The registry: which sites there are, where their meshes listen, their labels, how alive and how
 * far they are.  A snapshot (struct registry) is immutable and counted; whoever changes it makes
 * a new one and swaps the pointer, so a request never waits for it and sees one state throughout.
 * What changes all the time (aliveness, round trip) lives in struct site_live, shared by every
 * snapshot that knows the site, and in the snapshot's matrix of distances; both are read and written
 * with relaxed atomics. */
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
#define SITE_STATE_COUNT (SITE_AUTONOMOUS + 1)

const char *site_state_text(enum site_state state);

/* Whether a site can be reached from here, whatever mark is shown of it. */
enum site_reach { REACH_UNKNOWN, REACH_UP, REACH_DOWN, REACH_FAILED };

/* What an operator of this site has said of another one; survives restarts (registry/marks.h). */
enum site_mark {
	MARK_FENCED = 1 << 0,     /* no traffic either way */
	MARK_DETACHED = 1 << 1,   /* gone for good; no traffic either way */
	MARK_AUTONOMOUS = 1 << 2, /* works offline: never failed */
};

/* Who wrote something last: the owner's start, and what it has written since then. */
struct site_version { uint64_t epoch, generation; };

static inline int site_version_compare(struct site_version a, struct site_version b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return (a.generation > b.generation) - (a.generation < b.generation);
}

/* Who writes: the main thread (registry/aliveness.c through proxy/peer.c), but for the members marked "any". */
struct site_live {
	_Atomic int state;               /* enum site_state: the mark that is shown */
	_Atomic int reach;               /* enum site_reach */
	_Atomic(const char *) reason;    /* why it is not reached, a constant; NULL */
	_Atomic unsigned marks;          /* enum site_mark */
	_Atomic int64_t rtt_us;          /* distance from here, -1: not measured */
	_Atomic int64_t last_seen_ms;    /* wall clock, 0: never (any) */
	_Atomic int64_t seen_us;         /* the same, monotonic */
	_Atomic int64_t last_failure_us; /* a request met no connection: monotonic, 0: never (any) */
	_Atomic int64_t answered_us;     /* it answered a ping: monotonic, 0: never */
	_Atomic int64_t heard_us;        /* it asked something of us: monotonic, 0: never (any) */
	_Atomic bool source_failed;      /* what the source says of it */
	_Atomic uint64_t transitions[SITE_STATE_COUNT]; /* times it came to this mark */
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
	struct site_version version; /* of the entry, {0, 0} from sources without versions */
	struct site_live *live;    /* a reference of the snapshot's */
};

/* Most sites for which distances between two others are kept: 4 MiB a snapshot. */
#define REGISTRY_PAIR_SITES 1024

struct registry {
	_Atomic int refs;
	struct arena arena;        /* all of the snapshot */
	struct registry_site *sites; /* sorted by name, byte for byte */
	size_t site_count, site_room;
	size_t local;              /* index of the local site, which is always there */
	_Atomic uint32_t *pair_us; /* [from * site_count + to], told by the sites themselves; 0: not known; or NULL */
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
/* For those who make snapshots (registry/collect.c): empty; and once its sites are in and sorted. */
struct registry *registry_new(void);
int registry_finish(struct registry *reg, struct span local) MUST_CHECK;

/* False when there is no such site. Binary search. */
bool registry_find(const struct registry *reg, struct span name, size_t *index_r);
bool registry_label_get(const struct registry *reg, size_t site, struct span key, struct span *value_r);

/* Microseconds between two sites: measured from here, or told by one of the two. False: not known. */
bool registry_rtt(const struct registry *reg, size_t from, size_t to, int64_t *us_r);
/* What `from` says of its way to `to`. us 0: nothing any more. */
void registry_tell_rtt(struct registry *reg, size_t from, size_t to, uint32_t us);

struct site_live *site_live_new(struct span name);
struct site_live *site_live_ref(struct site_live *live);
void site_live_unref(struct site_live **live);

/* What the data path met, from any thread: evidence for the next turn of the site's aliveness, not a judgement.
 * now_us: clock_mono_us. */
void site_live_seen(struct site_live *live);
void site_live_unreachable(struct site_live *live, int64_t now_us);
/* It asked something of us. */
void site_live_heard(struct site_live *live, int64_t now_us);

enum site_state site_live_state(const struct site_live *live);
enum site_reach site_live_reach(const struct site_live *live);
/* An operator forbids all traffic with it. */
bool site_live_is_barred(const struct site_live *live);

#endif
