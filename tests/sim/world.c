#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SplitMix64 (Steele, Lea, Flood, 2014). */
uint64_t sim_next(struct sim_random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

unsigned sim_below(struct sim_random *r, unsigned n)
{
	return (unsigned)((sim_next(r) >> 32) * n >> 32);
}

bool sim_chance(struct sim_random *r, unsigned percent)
{
	return sim_below(r, 100) < percent;
}

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list args;

	if (w->failure[0])
		return;
	va_start(args, fmt);
	vsnprintf(w->failure, sizeof(w->failure), fmt, args);
	va_end(args);
	world_log(w, "FAILURE: %s", w->failure);
}

void world_log(const struct world *w, const char *fmt, ...)
{
	va_list args;

	if (!w->log)
		return;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void world_init(struct world *w, uint64_t seed, bool log, struct sim_counts *counts)
{
	memset(w, 0, sizeof(*w));
	w->random.state = seed * UINT64_C(0x2545f4914f6cdd1d);
	w->log = log;
	w->counts = counts;
	w->site_count = 2 + sim_below(&w->random, SITES - 1);
	w->keep_all = sim_chance(&w->random, 15);
	w->refusing = sim_chance(&w->random, 15);
	w->restoring = sim_chance(&w->random, 25);
	w->named = sim_chance(&w->random, 40);
	w->now_ms = INT64_C(1790000000000);
	for (unsigned s = 0; s < w->site_count; s++) {
		struct site *site = &w->sites[s];

		site->running = -1;
		site->offset_ms = sim_chance(&w->random, 50) ? (int64_t)sim_below(&w->random, 7200000) - 3600000 : 0;
		for (int f = 0; f < FIELDS; f++)
			site->app.fields[f] = -1;
		site_start(w, s);
	}
}

void world_fini(struct world *w)
{
	for (unsigned s = 0; s < w->site_count; s++) {
		order_free(&w->sites[s].machine);
		vector_fini(&w->sites[s].db.past);
		vector_fini(&w->sites[s].older.past);
		for (unsigned t = 0; t < SITES; t++)
			vector_fini(&w->sites[s].known[t]);
	}
	for (unsigned k = 0; k < w->op_count; k++)
		vector_fini(&w->ops[k].vector);
}
