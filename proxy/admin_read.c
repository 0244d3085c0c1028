/* The way of an answer from the store:
 *
 *	handler ─ admin_reading_start ─► job on the reader thread ─► on_read, main thread ─► the machine of x goes on
 *	                                     ▲                          │ more: a walk that has not found enough yet
 *	                                     └──────────────────────────┘
 *
 * x and the reading know of each other until one of them is over: an exchange that ends clears rd->x (admin_leave), and
 * the job, which cannot be called back, frees itself when it comes.  The job touches nothing of x. */
#include "proxy/admin_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "proxy/replication.h"
#include "proxy/server.h"

#define TICKS 100           /* then 503 */
#define HURRY_US 5000000
#define READING_ARENA (256u << 10)

void admin_reading_drop(struct admin_reading **rdp)
{
	struct admin_reading *rd = *rdp;

	*rdp = NULL;
	json_decref(rd->list);
	json_decref(rd->answer);
	free(rd->text);
	arena_fini(&rd->arena);
	free(rd);
}

struct admin_reading *admin_reading_new(struct exchange *x,
                                        int (*read)(struct store_reader *reader, struct admin_reading *rd))
{
	struct admin_reading *rd = replication_of(x->w) ? calloc(1, sizeof(*rd)) : NULL;

	if (!rd) {
		admin_problem(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
		return NULL;
	}
	arena_init(&rd->arena, NULL, 0, READING_ARENA);
	rd->x = x;
	rd->rep = replication_of(x->w);
	rd->inbox = x->w->answers;
	rd->read = read;
	rd->filter.state = -1;
	rd->ticks = TICKS;
	rd->hurry_us = clock_mono_us() + HURRY_US;
	return rd;
}

bool admin_reading_keep(struct admin_reading *rd, struct span *s, struct span value)
{
	*s = arena_dup(&rd->arena, value);
	if (s->p)
		return true;
	admin_problem(rd->x, 503, "no-memory", EXCHANGE_NO_MEMORY);
	admin_reading_drop(&rd);
	return false;
}

/* ---- the job ------------------------------------------------------------------------------------------------------ */

static int read_it(struct store_reader *reader, void *arg)
{
	struct admin_reading *rd = arg;
	int rc;

	rd->more = false;
	rc = rd->read(reader, rd);
	if (rc || rd->more || rd->problem.status || rd->finish)
		return rc;
	rd->text = admin_json_text(rd->answer);
	rd->answer = NULL;
	return rd->text ? 0 : ERR_NOMEM;
}

static void on_read(void *arg, int rc);

static int submit(struct admin_reading *rd)
{
	return store_submit_read(rd->rep->store, read_it, rd->inbox, on_read, rd);
}

static void finish(struct admin_reading *rd, int rc)
{
	rd->rc = rc;
	rd->ready = true;
	exchange_run(rd->x);
}

static void on_read(void *arg, int rc)
{
	struct admin_reading *rd = arg;

	if (!rd->x) {
		admin_reading_drop(&rd);
		return;
	}
	if (!rc && rd->more) {
		rc = submit(rd);
		if (!rc)
			return; /* it is the reader thread's again */
	}
	finish(rd, rc);
}

static void on_written(void *arg, int rc)
{
	struct admin_reading *rd = arg;

	if (!rd->x) {
		admin_reading_drop(&rd);
		return;
	}
	if (!rc)
		rc = submit(rd);
	if (rc)
		finish(rd, rc);
}

/* ---- the request -------------------------------------------------------------------------------------------------- */

static void begin(struct admin_reading *rd, int rc)
{
	struct exchange *x = rd->x;

	x->reading = rd;
	x->retry_ticks = rd->ticks;
	rd->rc = rc;
	rd->ready = rc != 0;
	if (!rc)
		worker_deadline(x->w, &x->s->deadline, DEADLINE_RETRY, clock_mono_us());
}

void admin_reading_start(struct admin_reading *rd)
{
	begin(rd, submit(rd));
}

void admin_reading_write(struct admin_reading *rd, struct store_batch *batch)
{
	begin(rd, store_submit(rd->rep->store, &batch, rd->inbox, on_written, rd));
}

void admin_reading_await(struct admin_reading *rd)
{
	begin(rd, 0);
}

void admin_reading_awaited(struct admin_reading *rd)
{
	if (rd->x && rd->problem.status)
		finish(rd, 0);
	else
		on_written(rd, 0);
}

void admin_leave(struct exchange *x)
{
	x->reading->x = NULL;
	x->reading = NULL;
}

static void answer(struct exchange *x, struct admin_reading *rd)
{
	if (rd->finish) {
		rd->finish(x, rd->rc ? NULL : rd);
		return;
	}
	switch (rd->rc) {
	case 0:
		break;
	case ERR_NOMEM:
	case ERR_LIMIT:
		admin_problem(x, 503, "no-memory", EXCHANGE_NO_MEMORY);
		return;
	case ERR_NOT_FOUND:
		admin_problem(x, 404, "not-found", "this site knows of nothing under this name");
		return;
	default:
		admin_problem(x, 503, "store", "the store cannot be read or written; the log says why");
		return;
	}
	if (rd->problem.status) {
		exchange_problem(x, &rd->problem);
		return;
	}
	buf_add_z(&x->reply, rd->text);
	buf_add_char(&x->reply, '\n');
	exchange_reply(x, 200, "application/json");
}

enum exchange_step admin_reading_step(struct exchange *x)
{
	struct admin_reading *rd = x->reading;

	if (!rd->ready && x->retry_ticks)
		return STEP_WAIT;
	deadline_clear(&x->w->deadlines, &x->s->deadline);
	x->retry_ticks = 0;
	if (!rd->ready && rd->finish) {
		void (*without)(struct exchange *, struct admin_reading *) = rd->finish;

		admin_leave(x); /* the reader thread has it */
		without(x, NULL);
		return STEP_NEXT;
	}
	if (!rd->ready) {
		admin_leave(x);
		admin_problem(x, 503, "timeout", "the store has not answered within 10 s");
		return STEP_NEXT;
	}
	x->reading = NULL;
	answer(x, rd);
	admin_reading_drop(&rd);
	return STEP_NEXT;
}
