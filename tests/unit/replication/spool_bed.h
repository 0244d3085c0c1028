/* A spool in a folder of its own, and what waits for its answers. */
#ifndef TESTS_UNIT_REPLICATION_SPOOL_BED_H
#define TESTS_UNIT_REPLICATION_SPOOL_BED_H

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replication/spool.h"

#define WAITS 1000 /* no code of ours */

struct bed {
	char folder[128], path[160];
	struct spool *spool;
	struct store_inbox *inbox;
	struct err e;
};

static inline void bed_folder(struct bed *b)
{
	const char *tmp = getenv("TMPDIR");

	*b = (struct bed){ .spool = NULL };
	snprintf(b->folder, sizeof(b->folder), "%s/spoolXXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(b->folder) || store_inbox_new(&b->inbox))
		abort();
	snprintf(b->path, sizeof(b->path), "%s/spool", b->folder);
}

static inline int bed_open(struct bed *b, uint64_t limit)
{
	b->e.text[0] = '\0';
	return spool_open(b->folder, limit, &b->spool, &b->e);
}

/* Calls on (may be NULL) for each name in the folder; how many. */
static inline int bed_names(const struct bed *b, void (*on)(const char *path))
{
	DIR *dir = opendir(b->path);
	struct dirent *entry;
	char path[512];
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		snprintf(path, sizeof(path), "%s/%s", b->path, entry->d_name);
		if (on)
			on(path);
	}
	if (dir)
		closedir(dir);
	return n;
}

static inline void bed_unlink(const char *path)
{
	if (unlink(path))
		abort();
}

static inline void bed_fini(struct bed *b)
{
	spool_close(&b->spool);
	store_inbox_run(b->inbox);
	store_inbox_free(&b->inbox);
	bed_names(b, bed_unlink);
	rmdir(b->path);
	if (rmdir(b->folder))
		abort();
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static inline void bed_on_done(void *arg, int rc)
{
	*(int *)arg = rc;
}

static inline int bed_wait(struct bed *b, const int *rc)
{
	struct pollfd p = { .fd = store_inbox_fd(b->inbox), .events = POLLIN };

	while (*rc == WAITS) {
		if (poll(&p, 1, 60000) <= 0)
			abort();
		store_inbox_run(b->inbox);
	}
	return *rc;
}

/* What a body holds at an offset; tells files and places apart. */
static inline char bed_byte(unsigned seed, uint64_t at)
{
	return (char)((at * 2654435761u + seed * 97u) >> 13);
}

static inline struct buf bed_bytes(unsigned seed, uint64_t at, size_t n)
{
	struct buf b;

	buf_init(&b, NULL, 0);
	if (!n)
		return b;
	if (buf_reserve(&b, n))
		abort();
	for (size_t i = 0; i < n; i++)
		b.mem[i] = bed_byte(seed, at + i);
	buf_commit(&b, n);
	return b;
}

static inline int bed_write(struct bed *b, struct spool_file *f, unsigned seed, size_t n)
{
	struct buf bytes = bed_bytes(seed, spool_file_bytes(f), n);
	int rc = WAITS, taken = spool_write(f, &bytes, b->inbox, bed_on_done, &rc);

	buf_fini(&bytes);
	return taken ? taken : bed_wait(b, &rc);
}

static inline int bed_finish(struct bed *b, struct spool_file *f)
{
	int rc = WAITS, taken = spool_finish(f, b->inbox, bed_on_done, &rc);

	return taken ? taken : bed_wait(b, &rc);
}

static inline int bed_read(struct bed *b, struct span name, uint64_t offset, size_t most, struct buf *out)
{
	int rc = WAITS, taken = spool_read(b->spool, name, offset, out, most, b->inbox, bed_on_done, &rc);

	return taken ? taken : bed_wait(b, &rc);
}

/* All that was asked before is done. */
static inline void bed_settle(struct bed *b)
{
	struct buf out;

	buf_init(&out, NULL, 0);
	if (bed_read(b, SPAN("none"), 0, 1, &out) != ERR_NOT_FOUND)
		abort();
}

/* 0: a body of n bytes of this seed, read in pieces of `most`. */
static inline int bed_check(struct bed *b, struct span name, unsigned seed, uint64_t n, size_t most)
{
	uint64_t at = 0;
	struct buf out;
	int rc;

	buf_init(&out, NULL, 0);
	do {
		rc = bed_read(b, name, at, most, &out);
		for (size_t i = 0; i < buf_len(&out) && !rc; i++)
			if (out.mem[out.rd + i] != bed_byte(seed, at + i))
				rc = ERR_INVALID;
		if (!rc && !buf_len(&out))
			break;
		at += buf_len(&out);
		buf_fini(&out);
	} while (!rc);
	buf_fini(&out);
	return rc ? rc : at == n ? 0 : ERR_LIMIT;
}

/* A finished file of n bytes, whose name is written to name_r. */
static inline int bed_make(struct bed *b, unsigned seed, size_t n, char name_r[64])
{
	struct spool_file *f;
	int rc = spool_create(b->spool, &f);

	if (rc)
		return rc;
	snprintf(name_r, 64, "%.*s", SPAN_ARG(spool_name(f)));
	rc = bed_write(b, f, seed, n);
	if (!rc)
		rc = bed_finish(b, f);
	if (rc)
		spool_abandon(&f);
	else
		spool_keep(&f);
	return rc;
}

#endif
