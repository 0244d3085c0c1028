/* All of the spool that touches the disk once it is open; what must hold is on top of spool.c. */
#include "replication/spool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define WRITEBACK_BYTES (8u << 20)

void spool_give_room(struct spool *spool, uint64_t n)
{
	uint64_t have = atomic_load(&spool->bytes);

	while (!atomic_compare_exchange_weak(&spool->bytes, &have, n < have ? have - n : 0))
		;
}

static int code_of(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_LIMIT;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

static int failed(const struct spool *spool, const char *name, const char *what)
{
	int error = errno;

	log_warn("%s/%s: %s: %s", spool->path, name, what, strerror(error));
	errno = error;
	return code_of(error);
}

static void remove_file(struct spool_file *f)
{
	const char *name = f->named ? f->name : f->part;

	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	if (f->on_disk && unlinkat(f->spool->fd, name, 0) && errno != ENOENT) {
		failed(f->spool, name, "cannot be removed before the next start");
		return;
	}
	f->on_disk = false;
	spool_give_room(f->spool, f->written);
	f->written = 0;
}

static int break_file(struct spool_file *f, int rc)
{
	f->broken = rc;
	remove_file(f);
	return rc;
}

/* What has been decided of it already, else that it is open. */
static int ready(struct spool_file *f)
{
	if (f->broken || atomic_load(&f->abandoned))
		return f->broken ? f->broken : ERR_CLOSED;
	if (f->fd >= 0)
		return 0;
	f->fd = openat(f->spool->fd, f->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0)
		return break_file(f, failed(f->spool, f->part, "cannot be made"));
	f->on_disk = true;
	return 0;
}

static int write_all(struct spool_file *f, struct span content)
{
	uint64_t at = f->written;

	while (content.n) {
		ssize_t n = pwrite(f->fd, content.p, content.n, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(f->spool, f->part, "cannot be written");
		content = span_from(content, (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

int spool_run_write(struct spool *spool, struct spool_job *job)
{
	struct spool_file *f = job->file;
	size_t n = buf_len(&job->bytes);
	int rc = ready(f);

	if (!rc) {
		rc = write_all(f, buf_span(&job->bytes));
		if (rc)
			break_file(f, rc);
	}
	if (rc) {
		spool_give_room(spool, n);
		return rc;
	}
	f->written += n;
	if (f->written - f->begun >= WRITEBACK_BYTES) {
		/* Begins only, so it takes no error from under the sync; a file system without it loses nothing */
		(void)sync_file_range(f->fd, (off_t)f->begun, (off_t)(f->written - f->begun), SYNC_FILE_RANGE_WRITE);
		f->begun = f->written;
	}
	return 0;
}

int spool_run_finish(struct spool *spool, struct spool_job *job)
{
	struct spool_file *f = job->file;
	int rc = ready(f);

	if (rc)
		return rc;
	if (fsync(f->fd))
		return break_file(f, failed(spool, f->part, "cannot be synced"));
	close(f->fd);
	f->fd = -1;
	if (renameat(spool->fd, f->part, spool->fd, f->name))
		return break_file(f, failed(spool, f->part, "cannot be renamed"));
	f->named = true;
	if (fsync(spool->fd))
		return break_file(f, failed(spool, f->name, "its folder cannot be synced"));
	return 0;
}

int spool_run_end(struct spool *spool, struct spool_job *job)
{
	(void)spool;
	remove_file(job->file);
	return 0;
}

/* Adds what is there, as far as most goes. */
static int read_piece(int fd, struct spool_job *job)
{
	char *room;
	size_t have = 0, bytes;

	if (buf_reserve(&job->bytes, job->most))
		return ERR_NOMEM;
	room = buf_room(&job->bytes, &bytes);
	while (have < job->most) {
		ssize_t n = pread(fd, room + have, job->most - have, (off_t)(job->offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (!n)
			break;
		have += (size_t)n;
	}
	buf_commit(&job->bytes, have);
	return 0;
}

int spool_run_read(struct spool *spool, struct spool_job *job)
{
	int fd = openat(spool->fd, job->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (fd < 0)
		return failed(spool, job->name, "cannot be opened");
	rc = read_piece(fd, job);
	if (rc == ERR_IO)
		failed(spool, job->name, "cannot be read");
	else if (!rc) /* the descriptor goes, and with it what the kernel learned of how it is read */
		(void)posix_fadvise(fd, (off_t)(job->offset + job->most), (off_t)job->most, POSIX_FADV_WILLNEED);
	close(fd);
	return rc;
}

int spool_remove_name(struct spool *spool, const char *name)
{
	struct stat st;

	if (fstatat(spool->fd, name, &st, AT_SYMLINK_NOFOLLOW) || unlinkat(spool->fd, name, 0))
		return errno == ENOENT ? 0 : failed(spool, name, "cannot be removed before the next start");
	spool_give_room(spool, (uint64_t)st.st_size);
	return 0;
}

int spool_run_drop(struct spool *spool, struct spool_job *job)
{
	return spool_remove_name(spool, job->name);
}
