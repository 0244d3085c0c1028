#include "replication/op_id.h"

#include <inttypes.h>
#include <stdio.h>

#define INCARNATION_DIGITS 16

void op_id_format(const struct op_id *id, char text_r[OP_ID_TEXT_BYTES])
{
	snprintf(text_r, OP_ID_TEXT_BYTES, "%s-%016" PRIx64 "-%" PRIu64, id->site, id->incarnation, id->number);
}

static bool parse_incarnation(struct span s, uint64_t *value_r)
{
	uint64_t v = 0;

	if (s.n != INCARNATION_DIGITS)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*value_r = v;
	return v >= 1 && v <= OP_NUMBER_MOST;
}

/* Takes what stands behind the last '-' off *s. */
static bool split_last(struct span *s, struct span *part_r)
{
	const char *dash = s->n ? memrchr(s->p, '-', s->n) : NULL;

	if (!dash)
		return false;
	*part_r = span_from(*s, (size_t)(dash - s->p) + 1);
	*s = span_head(*s, (size_t)(dash - s->p));
	return true;
}

bool op_id_parse(struct span text, struct op_id *id_r)
{
	struct span number, incarnation;
	unsigned long long n;

	if (!split_last(&text, &number) || !split_last(&text, &incarnation) || !text.n || text.n >= OP_SITE_BYTES ||
	    memchr(text.p, '\0', text.n))
		return false;
	if (!span_to_u64(number, OP_NUMBER_MOST, &n) || !n || *number.p == '0' ||
	    !parse_incarnation(incarnation, &id_r->incarnation))
		return false;
	id_r->number = n;
	memcpy(id_r->site, text.p, text.n);
	id_r->site[text.n] = '\0';
	return true;
}

int op_id_compare(const struct op_id *a, const struct op_id *b)
{
	int c = strcmp(a->site, b->site);

	if (c)
		return c;
	if (a->incarnation != b->incarnation)
		return a->incarnation < b->incarnation ? -1 : 1;
	return (a->number > b->number) - (a->number < b->number);
}

bool op_id_eq(const struct op_id *a, const struct op_id *b)
{
	return !op_id_compare(a, b);
}
