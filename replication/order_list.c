/* Entries in order of position.  New ones come mostly at the end, and go mostly from the front. */
#include "replication/order_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry *entry_new(const struct order_op *op)
{
	struct entry *e = calloc(1, sizeof(*e) + op->target.n);

	if (!e)
		return NULL;
	*e = (struct entry){ .id = op->id, .dot = op->stamp.dot, .clock = op->clock, .kind = op->kind, .before = op->before,
		.named = op->named, .held = op->held, .own = op->own, .target_n = op->target.n };
	if (op->target.n)
		memcpy(e->target, op->target.p, op->target.n);
	if (vector_copy(&e->past, &op->stamp.past))
		entry_free(&e);
	return e;
}

void entry_free(struct entry **ep)
{
	struct entry *e = *ep;

	*ep = NULL;
	if (!e)
		return;
	vector_fini(&e->past);
	free(e);
}

int entry_compare(const struct entry *a, const struct entry *b)
{
	if (a->clock != b->clock)
		return a->clock < b->clock ? -1 : 1;
	return op_id_compare(&a->dot, &b->dot);
}

bool entry_repeats(const struct entry *e)
{
	return e->kind == OPERATION_UPDATE || e->kind == OPERATION_REPLACE || e->kind == OPERATION_MEMBERS ||
	       (e->kind == OPERATION_CREATE && e->named);
}

void entries_fini(struct entries *list)
{
	for (size_t i = list->gone; i < list->end; i++)
		entry_free(&list->all[i]);
	free(list->all);
	*list = (struct entries){ 0 };
}

bool entries_reserve(struct entries *list, size_t more)
{
	size_t count = entries_count(list), room = count + count / 2 + more + 4;
	struct entry **all;

	if (list->end + more <= list->room)
		return true;
	if (list->gone >= more && list->gone > count / 2) {
		memmove(list->all, list->all + list->gone, count * sizeof(*list->all));
		list->gone = 0;
		list->end = count;
		return true;
	}
	all = malloc(room * sizeof(*all));
	if (!all)
		return false;
	if (count)
		memcpy(all, list->all + list->gone, count * sizeof(*all));
	free(list->all);
	*list = (struct entries){ .all = all, .end = count, .room = room };
	return true;
}

size_t entries_after(const struct entries *list, const struct entry *e)
{
	size_t low = list->gone, high = list->end;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (entry_compare(list->all[mid], e) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void entries_insert(struct entries *list, struct entry *e)
{
	size_t at = entries_after(list, e);

	assert(list->end < list->room);
	memmove(list->all + at + 1, list->all + at, (list->end - at) * sizeof(*list->all));
	list->all[at] = e;
	list->end++;
}

void entries_merge(struct entries *list, struct entry *const *others, size_t count)
{
	size_t at = list->end + count, i = list->end;

	assert(at <= list->room);
	list->end = at;
	while (count) {
		bool own = i > list->gone && entry_compare(list->all[i - 1], others[count - 1]) > 0;

		list->all[--at] = own ? list->all[--i] : others[--count];
	}
}

void entries_remove(struct entries *list, size_t at)
{
	if (at == list->gone) {
		list->gone++;
		return;
	}
	memmove(list->all + at, list->all + at + 1, (list->end - at - 1) * sizeof(*list->all));
	list->end--;
}

size_t entries_find(const struct entries *list, const struct entry *e)
{
	size_t at = entries_after(list, e);

	while (at > list->gone && list->all[at - 1] != e)
		at--;
	assert(at > list->gone);
	return at - 1;
}

struct entry *entries_find_dot(const struct entries *list, const struct op_id *dot)
{
	for (size_t i = list->end; i > list->gone; i--)
		if (op_id_eq(&list->all[i - 1]->dot, dot))
			return list->all[i - 1];
	return NULL;
}

bool op_ids_reserve(struct op_ids *ids)
{
	size_t room = ids->room + ids->room / 2 + 4;
	struct op_id *more;

	if (ids->count < ids->room)
		return true;
	more = realloc(ids->all, room * sizeof(*more));
	if (!more)
		return false;
	ids->all = more;
	ids->room = room;
	return true;
}

bool op_ids_add(struct op_ids *ids, const struct op_id *id)
{
	if (!op_ids_reserve(ids))
		return false;
	ids->all[ids->count++] = *id;
	return true;
}
