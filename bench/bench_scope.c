/* Nanoseconds to parse and bind each example scope:  make bench/bench_scope && bench/bench_scope
 * The goal is under 1000, the aim 300. */
#include <stdio.h>

#include "base/clock.h"
#include "scope/scope.h"

#define ROUNDS 1000000

static int bench(const char *text)
{
	struct span span = span_of(text), service = SPAN("image");
	const struct scope *scope;
	max_align_t room[256];
	struct arena a;
	int64_t start;
	size_t bound = 0;

	arena_init(&a, room, sizeof(room), 0);
	start = clock_mono_us();
	for (int i = 0; i < ROUNDS; i++) {
		if (scope_parse(&a, span, NULL, &scope, NULL))
			return 1;
		bound += scope_bind(scope, service) != NULL;
		arena_reset(&a);
	}
	printf("%7.1f ns  %s\n", (double)(clock_mono_us() - start) * 1000 / ROUNDS, text);
	return bound != ROUNDS;
}

int main(void)
{
	static const char *const texts[] = {
		"compute: dc1, image: dc2",
		"image: dc1 & dc2",
		"image: dc1; dc2",
		"image: around(dc1, 10ms)",
		"{\"compute\": \"dc1\", \"image\": \"dc2\"}",
		"{ compute: DC 1, image: DC 2 }",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (bench(texts[i]))
			return 1;
	return 0;
}
