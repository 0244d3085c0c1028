/* Where the registry's contents come from.  A source tells a sink which sites there are; the sink (registry/collect.h)
 * makes snapshots of it.  What holds for every source and every sink:
 *
 *  1. Updates are levels, not steps: an upsert says all of a site, may come twice or late, and an older version
 *     (epoch, generation) than the one held changes nothing.
 *  2. What is told between begin and end is the whole list: who is not in it is gone.  Outside of them one site is
 *     told anew, or gone with a reason.  A begin without its end has changed nothing.
 *  3. A source that is down freezes the view and never empties it.
 *  4. Everything happens on the main thread, within a call of the source's or from its event loop; a source blocks
 *     for no longer than reading a local file takes.
 *
 * Sources: file (registry/file.c).  A source needs no more than open, resync and close; the rest is NULL where its
 * capabilities lack it. */
#ifndef REGISTRY_SOURCE_H
#define REGISTRY_SOURCE_H

#include "base/buf.h"
#include "registry/registry.h"

enum source_capability {
	SOURCE_WATCHES = 1 << 0,   /* tells of changes by itself; the others are asked to resync */
	SOURCE_HEALTH = 1 << 1,    /* tells who is alive */
	SOURCE_RTT_SELF = 1 << 2,  /* knows round trips from here */
	SOURCE_RTT_PAIRS = 1 << 3, /* ... and between two other sites */
	SOURCE_HINT = 1 << 4,      /* carries a few bytes to all sites, perhaps */
	SOURCE_ANNOUNCE = 1 << 5,  /* tells the others of this site */
};

enum source_health { SOURCE_HEALTH_UNKNOWN, SOURCE_ALIVE, SOURCE_FAILED, SOURCE_LEFT };

/* A site as a source tells it; all of it is the source's until the call returns. */
struct source_site {
	struct span name;
	struct addr mesh;          /* .len 0: known, but reached by nobody */
	struct span mesh_text;     /* as written */
	const struct registry_label *labels;
	size_t label_count;
	struct site_version version; /* {0, 0} from sources that have none: the last one told counts */
};

struct source_sink {
	void *ctx;
	int (*begin)(void *ctx);   /* 0 or ERR_NOMEM, as all of them */
	int (*upsert)(void *ctx, const struct source_site *site);
	int (*end)(void *ctx);
	int (*gone)(void *ctx, struct span name, const char *reason);
	void (*health)(void *ctx, struct span name, enum source_health health);
	void (*hint)(void *ctx, struct span bytes);
	/* up: what was told last is true; else why it may be out of date (lines of text). */
	void (*state)(void *ctx, bool up, struct span why);
};

struct source {
	const struct source_ops *ops;
	struct source_sink sink;
};

struct source_ops {
	const char *name;
	unsigned capabilities;
	/* address: what the configuration says of it (a path, an address).  Tells the whole list before it returns 0;
	 * else *source_r is NULL and errors says why. */
	int (*open)(struct span address, const struct source_sink *sink, struct source **source_r,
	            struct buf *errors) MUST_CHECK;
	/* This site's own entry, whenever it changes. */
	int (*announce)(struct source *s, const struct source_site *self);
	int (*hint)(struct source *s, struct span bytes);
	/* Round trip between two sites in microseconds; false: not known. */
	bool (*rtt)(struct source *s, struct span a, struct span b, int64_t *us_r);
	/* For sources without an event of their own, called some times a second: true when there is news, which resync
	 * will tell. */
	bool (*has_news)(struct source *s);
	/* Tells the whole list again.  On an error the sink has been told state(false), and errors says why. */
	int (*resync)(struct source *s, struct buf *errors) MUST_CHECK;
	void (*close)(struct source **s);
};

extern const struct source_ops source_file;

#endif
