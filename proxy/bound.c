/* The order in which a socket comes about: probed exclusively, closed, bound again by bound_list_open once per worker
 * with SO_REUSEPORT.  The gap between the probe and the second bind is harmless: who
 * takes the address in between makes the second bind fail, which is told like the first.
 *
 * A unix socket has a file.  One that nobody answers behind is left over from a process that was killed, and goes. */
#include "proxy/bound.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

/* ---- the list -------------------------------------------------------------------------------------------------- */

static bool is_known(const struct bound_list *list, const struct addr *configured)
{
	for (size_t i = 0; i < list->count; i++)
		if (addr_port(configured) && addr_eq(&list->items[i].configured, configured))
			return true;
	return false;
}

static void add(struct bound_list *list, enum listener_kind kind, const struct addr *a, struct span service)
{
	struct bound *o = &list->items[list->count];

	if (is_known(list, a))
		return;
	*o = (struct bound){ .kind = kind, .configured = *a, .addr = *a, .fd = -1 };
	if (!addr_port(a))
		snprintf(o->service, sizeof(o->service), "%.*s", SPAN_ARG(service));
	list->count++;
}

int bound_list_make(const struct conf *conf, struct bound_list *list)
{
	size_t most = 2;

	for (size_t i = 0; i < conf->service_count; i++)
		most += conf->services[i].listen_count;
	list->items = calloc(most, sizeof(*list->items));
	list->count = 0;
	if (!list->items)
		return ERR_NOMEM;
	for (size_t i = 0; i < conf->service_count; i++)
		for (size_t j = 0; j < conf->services[i].listen_count; j++)
			add(list, LISTEN_SERVICE, &conf->services[i].listen[j], conf->services[i].name);
	if (conf->has_mesh)
		add(list, LISTEN_MESH, &conf->mesh_listen, SPAN(""));
	if (conf->has_admin)
		add(list, LISTEN_ADMIN, &conf->admin_listen, SPAN(""));
	return 0;
}

void bound_list_free(struct bound_list *list)
{
	free(list->items);
	*list = (struct bound_list){ NULL, 0 };
}

static bool is_taken(const struct bound_list *list, const struct bound *old)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].kept && list->items[i].kind == old->kind && addr_eq(&list->items[i].addr, &old->addr))
			return true;
	return false;
}

/* Several listeners with port 0 of one service differ in nothing but the port they got: first come, first served. */
void bound_list_keep(struct bound_list *list, const struct bound_list *before)
{
	for (size_t i = 0; i < list->count; i++) {
		struct bound *o = &list->items[i];

		for (size_t j = 0; j < before->count && !o->kept; j++) {
			const struct bound *old = &before->items[j];

			if (old->kind != o->kind || !addr_eq(&old->configured, &o->configured) ||
			    strcmp(old->service, o->service) != 0 || is_taken(list, old))
				continue;
			o->addr = old->addr;
			o->kept = true;
		}
	}
}

/* ---- who has an address ---------------------------------------------------------------------------------------- */

/* The process that has this socket open, 0 when it cannot be seen. */
static long proc_with_socket(unsigned long inode)
{
	char path[300], target[64], want[64];
	struct dirent *p, *f;
	DIR *proc = opendir("/proc"), *fds;
	long found = 0;

	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	while (proc && !found && (p = readdir(proc))) {
		long pid = strtol(p->d_name, NULL, 10);

		snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
		fds = pid > 0 ? opendir(path) : NULL;
		while (fds && !found && (f = readdir(fds))) {
			ssize_t n = readlinkat(dirfd(fds), f->d_name, target, sizeof(target) - 1);

			target[n > 0 ? n : 0] = '\0';
			if (!strcmp(target, want))
				found = pid;
		}
		if (fds)
			closedir(fds);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* The inode of the socket that listens there, from /proc/net/tcp, and the process that has it: best effort. */
static long find_owner(const struct addr *a)
{
	char line[512], want[64];
	unsigned long inode = 0;
	FILE *f;

	if (a->ss.ss_family != AF_INET)
		return 0;
	f = fopen("/proc/net/tcp", "re");
	snprintf(want, sizeof(want), ":%04X ", (unsigned)addr_port(a));
	while (f && fgets(line, sizeof(line), f)) {
		unsigned state;

		if (strstr(line, want) && sscanf(line, "%*s %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode) == 2 &&
		    state == 0x0a)
			break;
		inode = 0;
	}
	if (f)
		fclose(f);
	return inode ? proc_with_socket(inode) : 0;
}

/* ---- sockets --------------------------------------------------------------------------------------------------- */

/* 0 when a unix socket's file is not there or nobody answers behind it, else EADDRINUSE. */
static int unix_in_use(const struct addr *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;

	if (fd < 0)
		return errno;
	if (!connect(fd, (const struct sockaddr *)&a->ss, a->len) || errno == EAGAIN)
		error = EADDRINUSE;
	else if (errno != ENOENT && errno != ECONNREFUSED)
		error = errno;
	close(fd);
	return error;
}

void bound_unlink(const struct addr *a)
{
	if (a->ss.ss_family == AF_UNIX)
		unlink(((const struct sockaddr_un *)(const void *)&a->ss)->sun_path);
}

/* A socket bound to a, errno in *error_r when there is none. */
static int bind_to(const struct addr *a, bool share, int *error_r)
{
	int fd, on = 1;

	if (a->ss.ss_family == AF_UNIX) {
		*error_r = unix_in_use(a);
		if (*error_r)
			return -1;
		bound_unlink(a);
	}
	fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd >= 0 && a->ss.ss_family != AF_UNIX) /* what is accepted from it inherits this */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd >= 0 && share)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (fd >= 0 && !bind(fd, (const struct sockaddr *)&a->ss, a->len))
		return fd;
	*error_r = errno;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Our own socket would be in the way of an exclusive one: 127.0.0.1:80 of *:80, which replaces it. */
static bool has_port(const struct bound_list *list, const struct addr *a)
{
	for (size_t i = 0; list && i < list->count; i++)
		if (addr_port(a) && addr_port(&list->items[i].addr) == addr_port(a))
			return true;
	return false;
}

/* The socket, to be closed when all are probed: two of the same list must not both find the address free. */
static int probe(struct bound *o, bool share, struct buf *errors)
{
	char text[ADDR_TEXT_BYTES];
	int fd, error = 0;
	long pid;

	fd = bind_to(&o->addr, share, &error);
	/* With SO_REUSEADDR only listening tells that another one listens. */
	if (fd >= 0 && o->addr.ss.ss_family != AF_UNIX && !share && listen(fd, 1)) {
		error = errno;
		close(fd);
		fd = -1;
	}
	if (fd >= 0) {
		o->addr.len = sizeof(o->addr.ss);
		getsockname(fd, (struct sockaddr *)&o->addr.ss, &o->addr.len);
		return fd;
	}
	addr_format(&o->configured, text);
	pid = error == EADDRINUSE ? find_owner(&o->configured) : 0;
	buf_addf(errors, "cannot listen on %s: %s", text, strerror(error));
	if (pid)
		buf_addf(errors, " (by process %ld)", pid);
	buf_add_char(errors, '\n');
	return ERR_BUSY;
}

int bound_list_probe(struct bound_list *list, const struct bound_list *before, struct buf *errors)
{
	int *fds = calloc(list->count + 1, sizeof(*fds));
	int rc = 0;

	if (!fds)
		return ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++) {
		struct bound *o = &list->items[i];

		fds[i] = -1;
		if (o->kept)
			continue;
		fds[i] = probe(o, has_port(before, &o->addr), errors);
		if (fds[i] < 0)
			rc = fds[i];
	}
	for (size_t i = 0; i < list->count; i++) {
		if (fds[i] < 0)
			continue;
		close(fds[i]);
		bound_unlink(&list->items[i].addr);
	}
	free(fds);
	return rc;
}

static int complain(const struct bound *o, int error, struct err *e)
{
	char text[ADDR_TEXT_BYTES];

	addr_format(&o->addr, text);
	return err_set(e, ERR_BUSY, "cannot listen on %s: %s", text, strerror(error));
}

/* Bound all before one listens: a connection that is taken must not be dropped because another address fails. */
static int bind_all(const struct bound_list *list, unsigned workers, int *fds, struct err *e)
{
	int error;

	for (unsigned k = 0; k < workers; k++)
		for (size_t i = 0; i < list->count; i++) {
			const struct bound *o = &list->items[i];
			int *fd = &fds[k * list->count + i];

			if (o->kept || !bound_is_for(o, k, workers))
				continue;
			*fd = bind_to(&o->addr, true, &error);
			if (*fd < 0)
				return complain(o, error, e);
		}
	return 0;
}

int bound_list_open(const struct bound_list *list, unsigned workers, int **fds_r, struct err *e)
{
	size_t n = workers * list->count;
	int *fds = malloc((n + 1) * sizeof(*fds)), rc;

	*fds_r = fds;
	if (!fds)
		return err_set(e, ERR_NOMEM, "no memory for listeners");
	for (size_t i = 0; i < n; i++)
		fds[i] = -1;
	rc = bind_all(list, workers, fds, e);
	for (size_t i = 0; i < n && !rc; i++)
		if (fds[i] >= 0 && listen(fds[i], LISTEN_BACKLOG)) /* NOLINT(clang-analyzer-*): n is not 0 */
			rc = complain(&list->items[i % list->count], errno, e); /* NOLINT: nor is count */
	if (rc)
		bound_list_close(list, workers, fds_r);
	return rc;
}

void bound_list_close(const struct bound_list *list, unsigned workers, int **fdsp)
{
	int *fds = *fdsp;

	*fdsp = NULL;
	for (size_t i = 0; fds && i < workers * list->count; i++) {
		if (fds[i] < 0) /* NOLINT(clang-analyzer-*): bound_list_open has set them all */
			continue;
		close(fds[i]);
		bound_unlink(&list->items[i % list->count].addr);
	}
	free(fds);
}
