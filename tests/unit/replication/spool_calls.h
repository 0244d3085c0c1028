/* What the spool calls of the disk, as the linker has it with --wrap. */
#ifndef TESTS_UNIT_REPLICATION_SPOOL_CALLS_H
#define TESTS_UNIT_REPLICATION_SPOOL_CALLS_H

#include <sys/types.h>

ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __real_pread(int fd, void *p, size_t n, off_t at);
int __real_fsync(int fd);
int __real_renameat(int from, const char *a, int to, const char *b);
int __real_unlinkat(int fd, const char *name, int flags);
int __real_openat(int fd, const char *name, int flags, mode_t mode);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at);
int __wrap_fsync(int fd);
int __wrap_renameat(int from, const char *a, int to, const char *b);
int __wrap_unlinkat(int fd, const char *name, int flags);
int __wrap_openat(int fd, const char *name, int flags, mode_t mode);

#endif
