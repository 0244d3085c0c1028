/* Vectors are sorted arrays: they are small, compared often and changed seldom.  What a peer sends is taken only in the
 * one form that we write, so equal sets are equal texts. */
#include "replication/vector.h"

#include <stdlib.h>
#include <string.h>

/* By site, then incarnation. */
static int compare_origins(const struct op_id *a, const struct op_id *b)
{
	int c = strcmp(a->site, b->site);

	return c ? c : (a->incarnation > b->incarnation) - (a->incarnation < b->incarnation);
}

/* Room for `count` elements, growing by half and a few; false: no memory. */
static bool grow(void *arrayp, uint32_t *room, uint32_t count, size_t element)
{
	void **array = arrayp, *more;
	uint32_t n = count + count / 2 + 4;

	if (count <= *room)
		return true;
	more = realloc(*array, n * element);
	if (!more)
		return false;
	*array = more;
	*room = n;
	return true;
}

void vector_init(struct vector *v)
{
	*v = (struct vector){ 0 };
}

void vector_fini(struct vector *v)
{
	free(v->entries);
	vector_init(v);
}

int vector_copy(struct vector *to, const struct vector *from)
{
	if (!grow(&to->entries, &to->room, from->count, sizeof(*to->entries)))
		return ERR_NOMEM;
	if (from->count)
		memcpy(to->entries, from->entries, from->count * sizeof(*to->entries));
	to->count = from->count;
	return 0;
}

/* The first entry that is not before the dot's origin. */
static uint32_t lower_bound(const struct vector *v, const struct op_id *dot)
{
	uint32_t low = 0, high = v->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (compare_origins(&v->entries[mid], dot) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool vector_has(const struct vector *v, const struct op_id *dot)
{
	uint32_t at = lower_bound(v, dot);

	return at < v->count && !compare_origins(&v->entries[at], dot) && v->entries[at].number >= dot->number;
}

int vector_add(struct vector *v, const struct op_id *dot)
{
	uint32_t at = lower_bound(v, dot);

	if (at < v->count && !compare_origins(&v->entries[at], dot)) {
		if (v->entries[at].number < dot->number)
			v->entries[at].number = dot->number;
		return 0;
	}
	if (v->count >= VECTOR_ENTRIES)
		return ERR_LIMIT;
	if (!grow(&v->entries, &v->room, v->count + 1, sizeof(*v->entries)))
		return ERR_NOMEM;
	memmove(v->entries + at + 1, v->entries + at, (v->count - at) * sizeof(*v->entries));
	v->entries[at] = *dot;
	v->count++;
	return 0;
}

/* Origins of b that a lacks. */
static uint32_t missing(const struct vector *a, const struct vector *b)
{
	uint32_t count = 0;

	for (uint32_t i = 0, j = 0; j < b->count; j++) {
		while (i < a->count && compare_origins(&a->entries[i], &b->entries[j]) < 0)
			i++;
		count += i == a->count || compare_origins(&a->entries[i], &b->entries[j]) != 0;
	}
	return count;
}

int vector_merge(struct vector *v, const struct vector *other)
{
	uint32_t more = missing(v, other);

	if (v->count + more > VECTOR_ENTRIES)
		return ERR_LIMIT;
	if (!grow(&v->entries, &v->room, v->count + more, sizeof(*v->entries)))
		return ERR_NOMEM;
	for (uint32_t j = 0; j < other->count; j++)
		if (vector_add(v, &other->entries[j]))
			return ERR_NOMEM; /* cannot be: there is room */
	return 0;
}

bool vector_covers(const struct vector *a, const struct vector *b)
{
	uint32_t i = 0;

	for (uint32_t j = 0; j < b->count; j++) {
		while (i < a->count && compare_origins(&a->entries[i], &b->entries[j]) < 0)
			i++;
		if (i == a->count || compare_origins(&a->entries[i], &b->entries[j]) ||
		    a->entries[i].number < b->entries[j].number)
			return false;
	}
	return true;
}

enum vector_order vector_compare(const struct vector *a, const struct vector *b)
{
	bool ab = vector_covers(a, b), ba = vector_covers(b, a);

	if (ab)
		return ba ? VECTOR_EQUAL : VECTOR_AFTER;
	return ba ? VECTOR_BEFORE : VECTOR_CONCURRENT;
}

static void add_line(const struct op_id *id, struct buf *out)
{
	char text[OP_ID_TEXT_BYTES];

	op_id_format(id, text);
	buf_add_z(out, text);
	buf_add_char(out, '\n');
}

void vector_format(const struct vector *v, struct buf *out)
{
	size_t before = buf_len(out);

	for (uint32_t i = 0; i < v->count && !out->failed; i++)
		add_line(&v->entries[i], out);
	if (buf_len(out) - before > VECTOR_BYTES)
		out->failed = true;
}

/* Takes one line off *text. */
static bool take_line(struct span *text, struct op_id *id_r)
{
	size_t end = span_find(*text, '\n');
	struct span line = span_head(*text, end);

	if (end == text->n)
		return false;
	*text = span_from(*text, end + 1);
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f)
			return false;
	return op_id_parse(line, id_r);
}

int vector_parse(struct vector *v, struct span text)
{
	struct vector found;
	struct op_id id;
	int rc = text.n > VECTOR_BYTES ? ERR_LIMIT : 0;

	vector_init(&found);
	while (!rc && text.n) {
		if (!take_line(&text, &id) || (found.count && compare_origins(&found.entries[found.count - 1], &id) >= 0))
			rc = ERR_INVALID;
		else
			rc = vector_add(&found, &id);
	}
	if (rc) {
		vector_fini(&found);
		return rc;
	}
	vector_fini(v);
	*v = found;
	return 0;
}

void stamp_format(const struct stamp *s, struct buf *out)
{
	add_line(&s->dot, out);
	vector_format(&s->past, out);
}

int stamp_parse(struct stamp *s, struct span text)
{
	struct op_id dot;
	int rc;

	if (!take_line(&text, &dot))
		return ERR_INVALID;
	rc = vector_parse(&s->past, text);
	if (rc)
		return rc;
	if (vector_has(&s->past, &dot)) {
		vector_fini(&s->past);
		return ERR_INVALID;
	}
	s->dot = dot;
	return 0;
}
