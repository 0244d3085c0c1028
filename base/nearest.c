#include "base/nearest.h"

#define WORD_MAX 64

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* ASCII letters without case: the wrong case is the nearest mistake of all. */
static bool same(char a, char b)
{
	return a == b || ((a | 0x20) == (b | 0x20) && (a | 0x20) >= 'a' && (a | 0x20) <= 'z');
}

/* Optimal string alignment distance, three rows. */
unsigned nearest_distance(struct span a, struct span b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	if (a.n > WORD_MAX || b.n > WORD_MAX)
		return (unsigned)(a.n > b.n ? a.n : b.n);
	for (size_t j = 0; j <= b.n; j++)
		above[j] = before[j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned *t;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.n; j++) {
			unsigned differ = !same(a.p[i - 1], b.p[j - 1]);

			row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + differ);
			if (i > 1 && j > 1 && same(a.p[i - 1], b.p[j - 2]) && same(a.p[i - 2], b.p[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		t = before;
		before = above;
		above = row;
		row = t;
	}
	return above[b.n];
}

void nearest_offer(struct nearest *s, struct span word, struct span candidate)
{
	unsigned d = nearest_distance(word, candidate);

	/* a word of which no letter is left is not near */
	if (d > (word.n + 2) / 3 || (d && d >= word.n) || (s->best.n && d >= s->distance))
		return;
	s->best = candidate;
	s->distance = d;
}
