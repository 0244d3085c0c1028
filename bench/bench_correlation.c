/* The table behind correlate:NAME, per call: `make bench/bench_correlation && bench/bench_correlation`. */
#include <stdio.h>
#include <time.h>

#include "proxy/correlation_value.h"

#define CALLS 1000000
#define KNOWN 50000

static struct correlation *table;
static char room[CORRELATION_SCOPE_BYTES];
static char ids[KNOWN][40];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct correlation_key key(unsigned i)
{
	return (struct correlation_key){ SPAN("x-request-id"), { ids[i % KNOWN], 36 } };
}

static void remember_new(unsigned i)
{
	char text[40];
	struct correlation_key k = { SPAN("x-request-id"), { text, 36 } };

	snprintf(text, sizeof(text), "%08x-5a58-4b2e-8a39-5e6c7f1f6b1c", i + KNOWN);
	correlation_remember(table, &k, SPAN("compute: dc1, image: dc2"), i);
}

static void remember_again(unsigned i)
{
	struct correlation_key k = key(i);

	correlation_remember(table, &k, SPAN("compute: dc1, image: dc2"), 1);
}

static void find(unsigned i)
{
	struct correlation_key k = key(i);
	struct span scope;

	correlation_find(table, &k, 1, room, &scope);
}

static void find_nothing(unsigned i)
{
	struct correlation_key k = { SPAN("x-request-i"), { ids[i % KNOWN], 36 } };
	struct span scope;

	correlation_find(table, &k, 1, room, &scope);
}

static void read_traceparent(unsigned i)
{
	struct correlation_values v;

	(void)i;
	correlation_values_get(CORRELATION_TRACEPARENT, SPAN("traceparent"),
	                       SPAN("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), &v);
}

static void make_ids(unsigned i)
{
	struct correlation_ids made;

	(void)i;
	correlation_ids_make(&made);
}

static void measure(const char *what, void (*call)(unsigned))
{
	double from = now();

	for (unsigned i = 0; i < CALLS; i++)
		call(i);
	printf("%-36s %6.0f ns\n", what, (now() - from) / CALLS);
}

int main(void)
{
	table = correlation_new();
	if (!table)
		return 1;
	for (unsigned i = 0; i < KNOWN; i++)
		snprintf(ids[i], sizeof(ids[i]), "%08x-5a58-4b2e-8a39-5e6c7f1f6b1c", i);
	for (unsigned i = 0; i < KNOWN; i++)
		remember_again(i);
	measure("find", find);
	measure("find nothing", find_nothing);
	measure("remember what is there", remember_again);
	measure("remember a new one, table full", remember_new);
	measure("read a traceparent", read_traceparent);
	measure("make ids", make_ids);
	correlation_free(&table);
	return 0;
}
