/* The simulator's command.  What it checks is told on top of check.c and sim_quorum.c. */
#include "tests/sim/sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
	"usage: sim [--schedules N] [--seed FIRST] [--only order|quorum] [--log]\n"
	"Runs N schedules from seeds FIRST on; prints the seed of each that breaks a promise. Exit 1: one did.\n"
	"--log prints what happens.\n";

struct machine {
	const char *name;
	const char *(*run)(uint64_t seed, bool log, struct sim_counts *counts);
};

static const struct machine machines[] = { { "order", sim_order }, { "quorum", sim_quorum } };

/* Schedules that once broke a promise, or what the simulator had wrong about it. */
static const struct { const char *machine; uint64_t seed; } regressions[] = {
	{ "order", 14 }, { "order", 183 }, { "order", 259 }, { "order", 286 }, { "order", 313 }, { "order", 745 },
	{ "order", 1235 }, { "order", 5872 }, { "order", 7382 }, { "order", 7532 }, { "order", 7648 }, { "order", 8381 },
	{ "order", 8822 }, { "order", 9929 }, { "order", 11215 }, { "order", 14791 }, { "order", 18139 }, { "order", 29678 },
	{ "order", 45621 }, { "order", 107832 }, { "order", 180832 }, { "order", 187396 }, { "order", 202242 },
	{ "order", 209456 }, { "order", 266996 }, { "order", 269732 }, { "order", 342359 }, { "order", 355054 },
	{ "order", 538253 }, { "order", 2802954 },
	{ "order", 5043768 }, { "order", 5050809 }, { "order", 5236378 }, { "order", 5561308 }, { "order", 5755933 }, { "order", 8829797 },
	{ "order", 10064510 }, { "order", 10393499 }, { "order", 10550536 }, { "order", 10886955 }, { "order", 11072969 },
	{ "quorum", 81 }, { "quorum", 6790 }, { "quorum", 9337 }, { "quorum", 9776 },
	{ "quorum", 52873 }, { "quorum", 67832 }, { "quorum", 337376 },
};

struct options {
	uint64_t schedules, seed;
	const char *only;
	bool log;
};

static unsigned run_one(const struct machine *m, uint64_t seed, bool log, struct sim_counts *counts)
{
	const char *failure = m->run(seed, log, counts);

	if (failure)
		printf("%s: seed %" PRIu64 ": %s\n", m->name, seed, failure);
	return failure != NULL;
}

static void print_counts(const struct sim_counts *c)
{
#define SIM_PRINT(name) printf(#name " %" PRIu64 " ", c->name);
	SIM_COUNTS(SIM_PRINT)
#undef SIM_PRINT
	putchar('\n');
}

static unsigned run(const struct options *opt)
{
	struct sim_counts counts = { 0 };
	uint64_t schedules = 0;
	unsigned failed = 0;
	clock_t start = clock();

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		const struct machine *m = &machines[i];

		if (opt->only && strcmp(opt->only, m->name))
			continue;
		for (size_t j = 0; j < sizeof(regressions) / sizeof(regressions[0]); j++)
			if (!strcmp(regressions[j].machine, m->name))
				failed += run_one(m, regressions[j].seed, false, &counts);
		for (uint64_t n = 0; n < opt->schedules && failed < 10; n++, schedules++)
			failed += run_one(m, opt->seed + n, opt->log, &counts);
	}
	print_counts(&counts);
	printf("%" PRIu64 " schedules from seed %" PRIu64 ", %.1f s, %u failed\n", schedules, opt->seed,
	       (double)(clock() - start) / CLOCKS_PER_SEC, failed);
	return failed;
}

int main(int argc, char **argv)
{
	static const struct option names[] = { { "schedules", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "only", required_argument, NULL, 'o' }, { "log", no_argument, NULL, 'l' }, { 0 } };
	struct options opt = { .schedules = 1000, .seed = 1 };
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'n')
			opt.schedules = strtoull(optarg, NULL, 10);
		else if (c == 's')
			opt.seed = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			opt.only = optarg;
		else if (c == 'l')
			opt.log = true;
		else
			return fputs(usage, stderr), 2;
	}
	return run(&opt) ? 1 : 0;
}
