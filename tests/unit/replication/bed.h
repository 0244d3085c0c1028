/* A store in a folder of its own, and changes that wait for their answer. */
#ifndef TESTS_UNIT_REPLICATION_BED_H
#define TESTS_UNIT_REPLICATION_BED_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "replication/store.h"

struct bed {
	char folder[128];
	struct store *store;
	struct store_inbox *inbox;
	struct err e;
};

static inline int bed_open_vfs(struct bed *b, const char *vfs)
{
	struct store_options options = { b->folder, "dc1", vfs };

	return store_open(&b->store, &options, &b->e);
}

static inline int bed_open(struct bed *b)
{
	return bed_open_vfs(b, NULL);
}

static inline void bed_folder(struct bed *b)
{
	const char *tmp = getenv("TMPDIR");

	*b = (struct bed){ .store = NULL };
	snprintf(b->folder, sizeof(b->folder), "%s/storeXXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(b->folder) || store_inbox_new(&b->inbox))
		abort();
}

static inline void bed_path(const struct bed *b, const char *suffix, char path_r[256])
{
	snprintf(path_r, 256, "%s/store.db%s", b->folder, suffix);
}

static inline void bed_empty(const struct bed *b)
{
	char path[256];

	bed_path(b, "", path);
	unlink(path);
	bed_path(b, "-wal", path);
	unlink(path);
	bed_path(b, "-shm", path);
	unlink(path);
}

static inline void bed_fini(struct bed *b)
{
	store_close(&b->store);
	store_inbox_free(&b->inbox);
	bed_empty(b);
	rmdir(b->folder);
}

static inline void bed_on_done(void *arg, int rc)
{
	*(int *)arg = rc;
}

#define BED_WAITS 1000 /* no code of ours */

static inline int bed_wait(struct bed *b, const int *rc)
{
	struct pollfd p = { .fd = store_inbox_fd(b->inbox), .events = POLLIN };

	while (*rc == BED_WAITS) {
		if (poll(&p, 1, 20000) <= 0)
			abort();
		store_inbox_run(b->inbox);
	}
	return *rc;
}

static inline int bed_submit(struct bed *b, struct store_batch *batch)
{
	int rc = BED_WAITS, submitted = store_submit(b->store, &batch, b->inbox, bed_on_done, &rc);

	return submitted ? submitted : bed_wait(b, &rc);
}

struct bed_job {
	store_read *read;
	void *arg;
	int rc;
};

static inline int bed_run_job(struct store_reader *reader, void *arg)
{
	struct bed_job *job = arg;

	return job->read(reader, job->arg);
}

static inline void bed_on_read(void *arg, int rc)
{
	((struct bed_job *)arg)->rc = rc;
}

static inline int bed_read(struct bed *b, store_read *read, void *arg)
{
	struct bed_job job = { read, arg, BED_WAITS };
	int submitted = store_submit_read(b->store, bed_run_job, b->inbox, bed_on_read, &job);

	return submitted ? submitted : bed_wait(b, &job.rc);
}

/* A resource that lives at dc1 and dc2, and its key. */
static inline struct store_key_of bed_key(const char *meta)
{
	return (struct store_key_of){ SPAN("image"), SPAN("/v2/images"), span_of(meta) };
}

static inline void bed_put_mapping(struct store_batch *batch, const char *meta, const char *local)
{
	struct store_resource r = { .key = bed_key(meta), .class = CLASS_EVENTUAL, .sites = SPAN("dc1\nDC 2"),
		.created_ms = 1790000000000, .vector = SPAN("v1") };
	struct store_replica own = { .key = r.key, .site = SPAN("dc1"), .local = span_of(local) };
	struct store_replica other = { .key = r.key, .site = SPAN("dc2"), .state = REPLICA_QUEUED,
		.reason = SPAN("unreachable") };

	store_put_resource(batch, &r);
	store_put_replica(batch, &own);
	store_put_replica(batch, &other);
}

static inline struct store_operation bed_operation(const struct bed *b, const char *meta, uint64_t number)
{
	struct store_operation op = { .id = { "dc1", store_incarnation(b->store), number }, .key = bed_key(meta),
		.kind = OPERATION_CREATE, .clock = 1000 + number, .method = SPAN("POST"), .path = SPAN("/v2/images"),
		.headers = SPAN("sealed"), .body = SPAN("{\"name\": \"a\"}"), .body_bytes = 13,
		.created_ms = 1790000000000 };

	return op;
}

static inline bool bed_has(const struct bed *b, const char *meta, const char *local)
{
	struct names_where any = { .kind = 0 };
	struct name v;

	return names_by_meta(store_names(b->store), &any, span_of(meta), &v) &&
	       span_eq(span_make(v.local, v.local_n), span_of(local)) &&
	       names_by_local(store_names(b->store), &any, span_of(local), &v) &&
	       span_eq(span_make(v.meta, v.meta_n), span_of(meta));
}

#endif
