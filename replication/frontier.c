/* Frontiers (vector.h): a contiguous part and ranges beyond it.  A gap closes when what lacks comes, or when its origin
 * says that nothing of it is for this site. */
#include "replication/vector.h"

#include <stdlib.h>
#include <string.h>

void frontier_init(struct frontier *f)
{
	f->beyond = NULL;
	f->number = 0;
	f->count = f->room = 0;
}

void frontier_fini(struct frontier *f)
{
	free(f->beyond);
	frontier_init(f);
}

/* The first range that ends at or after the number. */
static uint32_t find_range(const struct frontier *f, uint64_t number)
{
	uint32_t low = 0, high = f->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (f->beyond[mid].to < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool frontier_has_number(const struct frontier *f, uint64_t number)
{
	uint32_t at = find_range(f, number);

	return number <= f->number || (at < f->count && f->beyond[at].from <= number);
}

static void remove_ranges(struct frontier *f, uint32_t at, uint32_t count)
{
	memmove(f->beyond + at, f->beyond + at + count, (f->count - at - count) * sizeof(*f->beyond));
	f->count -= count;
}

void frontier_settle(struct frontier *f, uint64_t number)
{
	uint32_t gone = 0;

	if (number > f->number)
		f->number = number;
	while (gone < f->count && f->beyond[gone].from <= f->number + 1) {
		if (f->beyond[gone].to > f->number)
			f->number = f->beyond[gone].to;
		gone++;
	}
	if (gone)
		remove_ranges(f, 0, gone);
}

static int insert_range(struct frontier *f, uint32_t at, struct frontier_range range)
{
	if (f->count >= FRONTIER_RANGES)
		return ERR_LIMIT;
	if (f->count == f->room) {
		uint32_t room = f->room + f->room / 2 + 4;
		struct frontier_range *more = realloc(f->beyond, room * sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		f->beyond = more;
		f->room = room;
	}
	memmove(f->beyond + at + 1, f->beyond + at, (f->count - at) * sizeof(*f->beyond));
	f->beyond[at] = range;
	f->count++;
	return 0;
}

int frontier_add_number(struct frontier *f, uint64_t number)
{
	uint32_t at = find_range(f, number);
	bool before, after;

	if (!number || number > OP_NUMBER_MOST)
		return ERR_INVALID;
	if (frontier_has_number(f, number))
		return ERR_EXISTS;
	if (number == f->number + 1) {
		frontier_settle(f, number);
		return 0;
	}
	before = at && f->beyond[at - 1].to + 1 == number;
	after = at < f->count && f->beyond[at].from == number + 1;
	if (before && after) {
		f->beyond[at - 1].to = f->beyond[at].to;
		remove_ranges(f, at, 1);
	} else if (before) {
		f->beyond[at - 1].to = number;
	} else if (after) {
		f->beyond[at].from = number;
	} else {
		return insert_range(f, at, (struct frontier_range){ number, number });
	}
	return 0;
}

void frontier_format_beyond(const struct frontier *f, struct buf *out)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (i)
			buf_add_char(out, ',');
		buf_add_number(out, f->beyond[i].from);
		if (f->beyond[i].to == f->beyond[i].from)
			continue;
		buf_add_char(out, '-');
		buf_add_number(out, f->beyond[i].to);
	}
}

static bool parse_number(struct span s, uint64_t *number_r)
{
	unsigned long long n;

	if (!span_to_u64(s, OP_NUMBER_MOST, &n) || !n || *s.p == '0')
		return false;
	*number_r = n;
	return true;
}

/* A range of one number has no '-': there is one form only. */
static bool parse_range(struct span s, struct frontier_range *r)
{
	size_t dash = span_find(s, '-');

	if (!parse_number(span_head(s, dash), &r->from))
		return false;
	r->to = r->from;
	return dash == s.n || (parse_number(span_from(s, dash + 1), &r->to) && r->to > r->from);
}

static int parse_ranges(struct frontier *f, struct span text)
{
	struct span part;
	struct frontier_range range;
	int rc = 0;

	while (!rc && span_split(&text, ',', &part)) {
		uint64_t last = f->count ? f->beyond[f->count - 1].to : f->number;

		if (!parse_range(part, &range) || range.from <= last || range.from - last < 2)
			return ERR_INVALID;
		rc = insert_range(f, f->count, range);
	}
	return rc;
}

int frontier_parse(struct frontier *f, uint64_t number, struct span beyond)
{
	int rc;

	frontier_fini(f);
	if (number > OP_NUMBER_MOST)
		return ERR_INVALID;
	if (beyond.n > FRONTIER_BYTES)
		return ERR_LIMIT;
	f->number = number;
	rc = beyond.n ? parse_ranges(f, beyond) : 0;
	if (rc)
		frontier_fini(f);
	return rc;
}

/* ---- of all origins ---------------------------------------------------------------------------------------------- */

void frontiers_init(struct frontiers *f)
{
	*f = (struct frontiers){ 0 };
}

void frontiers_fini(struct frontiers *f)
{
	for (size_t i = 0; i < f->count; i++)
		frontier_fini(&f->all[i].frontier);
	free(f->all);
	frontiers_init(f);
}

static int compare_origin(const struct frontier_of *of, const struct op_id *id)
{
	int c = strcmp(of->origin.site, id->site);

	return c ? c : (of->origin.incarnation > id->incarnation) - (of->origin.incarnation < id->incarnation);
}

/* The first that is not before id's origin. */
static size_t find_origin(const struct frontiers *f, const struct op_id *id)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_origin(&f->all[mid], id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool frontier_has(const struct frontiers *f, const struct op_id *id)
{
	size_t at = find_origin(f, id);

	return at < f->count && !compare_origin(&f->all[at], id) && frontier_has_number(&f->all[at].frontier, id->number);
}

static struct frontier_of *get(struct frontiers *f, const struct op_id *id)
{
	size_t at = find_origin(f, id);

	if (at < f->count && !compare_origin(&f->all[at], id))
		return &f->all[at];
	if (f->count == f->room) {
		size_t room = f->room + f->room / 2 + 8;
		struct frontier_of *more = realloc(f->all, room * sizeof(*more));

		if (!more)
			return NULL;
		f->all = more;
		f->room = room;
	}
	memmove(f->all + at + 1, f->all + at, (f->count - at) * sizeof(*f->all));
	f->count++;
	f->all[at] = (struct frontier_of){ .origin = *id };
	f->all[at].origin.number = 0;
	return &f->all[at];
}

struct frontier *frontiers_get(struct frontiers *f, const struct op_id *id)
{
	struct frontier_of *of = get(f, id);

	return of ? &of->frontier : NULL;
}

int frontier_add(struct frontiers *f, const struct op_id *id, const struct frontier_of **of_r)
{
	struct frontier_of *of = id->number && id->number <= OP_NUMBER_MOST ? get(f, id) : NULL;

	if (!of)
		return id->number && id->number <= OP_NUMBER_MOST ? ERR_NOMEM : ERR_INVALID;
	if (of_r)
		*of_r = of;
	return frontier_add_number(&of->frontier, id->number);
}
