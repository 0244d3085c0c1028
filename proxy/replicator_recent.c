/* The fields of updates that are over, with their clients' credentials, for as long as an earlier update may still come
 * that has them executed again (replicator_late.c).  The log has forgotten them by then; here they are in memory only, so a
 * restart forgets them.
 *
 * What holds:
 *  1. Those of an operation serve that operation alone.
 *  2. RECENT_US after it was over they are wiped, or earlier where RECENT_BYTES are full: the oldest go.
 *  3. An operation that is executed again without them is sent without credentials, and held if its application wants some. */
#include "proxy/replicator_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define RECENT_US 600000000 /* links that heal bring what waited on both sides within moments; three sites may be cut otherwise */
#define RECENT_BYTES (16u << 20)

struct recent {
	UT_hash_handle hh;
	TAILQ_ENTRY(recent) link;
	int64_t until_us;
	size_t n;
	char op[OP_ID_TEXT_BYTES];
	char fields[];
};

struct recents {
	struct recent *by_op;
	TAILQ_HEAD(, recent) list; /* oldest first */
	struct event *timer;
	size_t bytes;
};

static size_t size_of(size_t n)
{
	return sizeof(struct recent) + n;
}

static void drop(struct recents *all, struct recent *one)
{
	HASH_DEL(all->by_op, one); /* NOLINT(clang-analyzer-*): uthash's links, which it does not follow */
	TAILQ_REMOVE(&all->list, one, link);
	all->bytes -= size_of(one->n);
	explicit_bzero(one->fields, one->n);
	free(one);
}

static void arm(struct recents *all)
{
	const struct recent *first = TAILQ_FIRST(&all->list);
	int64_t us = first ? first->until_us - clock_mono_us() : 0;
	struct timeval in;

	if (!first)
		return;
	if (us < 0)
		us = 0;
	in = (struct timeval){ us / 1000000, us % 1000000 };
	event_add(all->timer, &in);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct recents *all = arg;
	struct recent *first;

	(void)fd;
	(void)what;
	while ((first = TAILQ_FIRST(&all->list)) && first->until_us <= clock_mono_us())
		drop(all, first);
	arm(all);
}

static struct recent *find(const struct recents *all, const struct work *k)
{
	struct recent *one = NULL;

	if (all)
		HASH_FIND_STR(all->by_op, k->text, one);
	return one;
}

static bool begin(struct replicator *r)
{
	struct recents *all = r->recents;

	if (all)
		return true;
	all = calloc(1, sizeof(*all));
	if (!all)
		return false;
	TAILQ_INIT(&all->list);
	all->timer = evtimer_new(r->w->loop.base, on_due, all);
	if (!all->timer) {
		free(all);
		return false;
	}
	r->recents = all;
	return true;
}

/* Where there is no memory for it, it is as after a restart. */
void recent_keep(struct work *k)
{
	struct span fields = k->op->fields;
	struct recents *all;
	struct recent *one;

	if (k->r->closed || !fields.n || size_of(fields.n) > RECENT_BYTES || !begin(k->r))
		return;
	all = k->r->recents;
	if ((one = find(all, k)))
		drop(all, one);
	while (all->bytes + size_of(fields.n) > RECENT_BYTES)
		drop(all, TAILQ_FIRST(&all->list)); /* NOLINT(clang-analyzer-*): nor those of a list */
	one = calloc(1, size_of(fields.n));
	if (!one)
		return;
	one->until_us = clock_mono_us() + RECENT_US;
	one->n = fields.n;
	memcpy(one->op, k->text, sizeof(one->op));
	memcpy(one->fields, fields.p, fields.n);
	HASH_ADD_STR(all->by_op, op, one);
	if (!one->hh.tbl) { /* uthash had no memory for its table */
		explicit_bzero(one->fields, one->n);
		free(one);
		return;
	}
	TAILQ_INSERT_TAIL(&all->list, one, link);
	all->bytes += size_of(one->n);
	if (TAILQ_FIRST(&all->list) == one)
		arm(all);
}

struct span recent_fields(const struct work *k)
{
	const struct recent *one = find(k->r->recents, k);

	return one ? span_make(one->fields, one->n) : SPAN("");
}

void recents_free(struct replicator *r)
{
	struct recents *all = r->recents;
	struct recent *one, *next;

	r->recents = NULL;
	if (!all)
		return;
	HASH_ITER(hh, all->by_op, one, next)
		drop(all, one);
	event_free(all->timer);
	free(all);
}
