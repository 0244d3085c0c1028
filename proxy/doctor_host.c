/* Checks of what the machine gives the daemon: addresses, disk, the access log's file, descriptors. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proxy/descriptors.h"
#include "proxy/doctor.h"

#define DISK_LEAST (64ull << 20)
#define INODES_LEAST 64

/* ---- addresses ------------------------------------------------------------------------------------------------------ */

/* The socket listens since the start; what may go is the address below it, or a unix socket's name.  0 or errno. */
static int look_at_address(const struct bound *o)
{
	struct addr any_port = o->addr;
	struct stat st;
	int fd, error = 0;

	if (o->addr.ss.ss_family == AF_UNIX) {
		char text[ADDR_TEXT_BYTES];

		addr_format(&o->addr, text);
		return stat(text + strlen("unix:"), &st) ? errno : S_ISSOCK(st.st_mode) ? 0 : ENOTSOCK;
	}
	if (any_port.ss.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&any_port.ss)->sin_port = 0;
	else
		((struct sockaddr_in6 *)(void *)&any_port.ss)->sin6_port = 0;
	fd = socket(any_port.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&any_port.ss, any_port.len))
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

void doctor_check_listeners(struct doctor *d)
{
	static const char *const kinds[] = { [LISTEN_SERVICE] = "services", [LISTEN_MESH] = "mesh", [LISTEN_ADMIN] = "admin" };
	const struct bound_list *list = &d->srv->listeners;

	for (size_t i = 0; i < list->count; i++) {
		char text[ADDR_TEXT_BYTES];
		int error = look_at_address(&list->items[i]);

		addr_format(&list->items[i].addr, text);
		if (error)
			doctor_bad(d, "listening", "put the address back, or name another one and reload",
			           "%s (%s): nobody can reach it any more: %s", text, kinds[list->items[i].kind], strerror(error));
		else
			doctor_good(d, "listening", "%s (%s)", text, kinds[list->items[i].kind]);
	}
}

/* ---- state ---------------------------------------------------------------------------------------------------------- */

static bool check_rights(struct doctor *d, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		doctor_bad(d, "state", "operators' marks cannot be stored: stop the daemon, put the folder back, start it",
		           "%s: %s", path, strerror(errno));
	else if (st.st_mode & 077)
		doctor_bad(d, "state", "chmod 700", "%s is open to others (mode %03o)", path, (unsigned)(st.st_mode & 0777));
	else if (access(path, W_OK | X_OK))
		doctor_bad(d, "state", "it has to belong to the daemon's user, on a file system that can be written",
		           "%s cannot be written: %s", path, strerror(errno));
	else
		return true;
	return false;
}

void doctor_check_state(struct doctor *d)
{
	const char *path = d->conf->state.p;
	struct statvfs fs;
	unsigned long long left;

	if (!check_rights(d, path))
		return;
	if (statvfs(path, &fs)) {
		doctor_bad(d, "state", NULL, "%s: %s", path, strerror(errno));
		return;
	}
	left = (unsigned long long)fs.f_bavail * fs.f_frsize;
	if (left < DISK_LEAST)
		doctor_bad(d, "state", "make room, or move the folder (key state, restart)", "%s: %llu MiB free", path, left >> 20);
	else if (fs.f_files && fs.f_favail < INODES_LEAST)
		doctor_bad(d, "state", "make room: too many files on this file system", "%s: %llu files can be made", path,
		           (unsigned long long)fs.f_favail);
	else
		doctor_good(d, "state", "%s: %llu MiB free", path, left >> 20);
}

/* ---- access log ----------------------------------------------------------------------------------------------------- */

void doctor_check_access_log(struct doctor *d)
{
	struct span where = d->conf->log_access;

	switch (access_log_look(d->srv->access_log)) {
	case ACCESS_LOG_BROKEN:
		doctor_bad(d, "access log", "requests go on and their lines are lost: is the disk full, has the reader gone?",
		           "%.*s cannot be written", SPAN_ARG(where));
		break;
	case ACCESS_LOG_MOVED:
		doctor_bad(d, "access log", "scopectl reload, or SIGUSR1, opens it again after a rotation",
		           "%.*s is not the file that is written any more", SPAN_ARG(where));
		break;
	default:
		doctor_good(d, "access log", "%.*s", SPAN_ARG(where));
	}
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------- */

void doctor_check_descriptors(struct doctor *d)
{
	unsigned long long all = descriptors_all(), used = descriptors_used(), wanted = d->conf->limit_connections;

	if (descriptors_are_full())
		doctor_bad(d, "descriptors", "LimitNOFILE= of its unit (ulimit -Hn) gives more; a restart takes it",
		           "%llu of %llu are in use: clients are refused or make room for others", used, all);
	else if (all / 2 < wanted)
		doctor_bad(d, "descriptors", "LimitNOFILE= of its unit (ulimit -Hn), or a lower limits.connections",
		           "%llu are too few for limits.connections (%llu) with a connection to an instance each", all, wanted);
	else
		doctor_good(d, "descriptors", "%llu of %llu in use", used, all);
}
