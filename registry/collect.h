/* The sink of a source: makes snapshots of what it tells. */
#ifndef REGISTRY_COLLECT_H
#define REGISTRY_COLLECT_H

#include "registry/source.h"

struct collect {
	struct source *source;
	struct span local;             /* this site: in every snapshot, told or not */
	const struct registry_label *labels; /* its labels where the source gives it none */
	size_t label_count;
	struct registry *now;          /* the last whole snapshot */
	struct registry *before;       /* whose site_live are carried over while there is no now; may be NULL */
	struct registry *building;     /* between begin and end */
	bool up;                       /* of the source */
	/* A source that tells by itself has made a new snapshot, collect->now.  NULL: whoever wants it looks. */
	void (*changed)(void *ctx);
	void *ctx;
};

/* Opens a source and takes its first list.  local and labels are borrowed.  Errors as of the source's open. */
int collect_open(const struct source_ops *ops, struct span address, struct span local,
                 const struct registry_label *labels, size_t label_count, struct registry *before,
                 struct collect **collect_r, struct buf *errors) MUST_CHECK;
void collect_close(struct collect **c);

/* Without a source, for tests of the sink alone. */
void collect_init(struct collect *c, struct span local, const struct registry_label *labels, size_t label_count,
                  struct registry *before);
struct source_sink collect_sink(struct collect *c);
void collect_fini(struct collect *c);

#endif
