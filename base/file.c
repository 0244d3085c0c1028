/* Replacing a file (file_replace) in this order: write PATH.new, fsync it, rename it over PATH, fsync the folder.
 * Without the first fsync the name may lead to an empty file after a power cut, without the second to the old one. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <unistd.h>

#define PATH_BYTES 4096

static int failed(struct err *e, const char *path, const char *what)
{
	return err_set(e, ERR_IO, "%s: %s: %s", path, what, strerror(errno));
}

int file_read(const char *path, size_t most, struct buf *out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	char block[4096];
	size_t total = 0;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : failed(e, path, "cannot be opened");
	while (!rc && (n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = failed(e, path, "cannot be read");
		else if ((total += (size_t)n) > most)
			rc = err_set(e, ERR_LIMIT, "%s: longer than %zu bytes", path, most);
		else
			buf_add(out, block, (size_t)n);
	}
	close(fd);
	return rc ? rc : out->failed ? ERR_NOMEM : 0;
}

static int write_all(int fd, struct span content)
{
	while (content.n) {
		ssize_t n = write(fd, content.p, content.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		content = span_from(content, (size_t)n);
	}
	return 0;
}

static int write_synced(const char *path, struct span content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), saved;

	if (fd < 0)
		return -1;
	if (!write_all(fd, content) && !fsync(fd))
		return close(fd);
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int sync_folder_of(const char *path)
{
	char copy[PATH_BYTES];
	int fd, rc, saved;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

int file_replace(const char *path, struct span content, struct err *e)
{
	char beside[PATH_BYTES];

	if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >= sizeof(beside)) {
		errno = ENAMETOOLONG;
		return failed(e, path, "cannot be written");
	}
	if (write_synced(beside, content) || rename(beside, path)) {
		int saved = errno;

		unlink(beside);
		errno = saved;
		return failed(e, path, "cannot be written");
	}
	return sync_folder_of(path) ? failed(e, path, "its folder cannot be synced") : 0;
}
