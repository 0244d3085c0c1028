/* Counted here, since nothing else tells: the kernel gives the lowest free number, so a low one says little.  Without
 * descriptors_init (scenarios, fuzz targets) there is no limit. */
#include "proxy/descriptors.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

/* Kept free, unless that were more than an eighth of all. */
#define KEPT_MOST 256

static uint64_t all = UINT64_MAX, full = UINT64_MAX;
static _Atomic uint64_t used;

/* The soft limit is a shell's habit and no decision of the operator: the hard one counts. */
uint64_t descriptors_init(void)
{
	struct rlimit lim = { 1024, 1024 }, raised;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		raised = (struct rlimit){ lim.rlim_max, lim.rlim_max };
		if (lim.rlim_cur < lim.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0)
			lim = raised;
	}
	full = lim.rlim_cur - (lim.rlim_cur / 8 < KEPT_MOST ? lim.rlim_cur / 8 : KEPT_MOST);
	all = lim.rlim_cur;
	return all;
}

uint64_t descriptors_all(void)
{
	return all;
}

uint64_t descriptors_used(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed);
}

void descriptors_count_own(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return;
	close(fd);
	descriptors_add(fd);
}

void descriptors_add(int n)
{
	atomic_fetch_add_explicit(&used, (uint64_t)(int64_t)n, memory_order_relaxed);
}

bool descriptors_are_scarce(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed) >= full / 2;
}

bool descriptors_are_full(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed) >= full;
}
