/* GET /metrics.  What is in the store is read by its reader thread first; when that takes too long, or fails, all else is
 * told without it, since that is when numbers are wanted most. */
#include "proxy/admin_int.h"

#include "base/clock.h"
#include "proxy/metrics.h"
#include "proxy/replication.h"
#include "proxy/server.h"

#define TICKS 40 /* 4 s: scrapers wait for 10 s or less */

static int read_store(struct store_reader *reader, struct admin_reading *rd)
{
	int rc = metrics_read_store(reader, rd->found, &rd->cursor);

	rd->more = !rc && rd->cursor != STORE_VIEW_END;
	return rd->more && clock_mono_us() > rd->hurry_us ? ERR_LIMIT : rc; /* half a queue would be a wrong number */
}

static void finish(struct exchange *x, struct admin_reading *rd)
{
	metrics_print(x->w->server, x->view, rd ? rd->found : NULL, &x->reply);
	exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void admin_get_metrics(struct exchange *x)
{
	struct admin_reading *rd;

	if (!replication_of(x->w)) {
		finish(x, NULL);
		return;
	}
	rd = admin_reading_new(x, read_store);
	if (!rd)
		return;
	rd->found = arena_zalloc(&rd->arena, sizeof(struct metrics_store));
	if (!rd->found) {
		admin_reading_drop(&rd);
		admin_problem(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
		return;
	}
	rd->finish = finish;
	rd->ticks = TICKS;
	admin_reading_start(rd);
}
