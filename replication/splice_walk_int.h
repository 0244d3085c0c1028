/* Where in a JSON document the scanner is, as far as places are concerned: for each open container, down to SPLICE_DEPTH
 * of them, the set of places that may lie in it.  In a header, since it runs for every bracket and comma. */
#ifndef REPLICATION_SPLICE_WALK_INT_H
#define REPLICATION_SPLICE_WALK_INT_H

#include "replication/splice_int.h"

struct splice_walk {
	const struct splice_rules *rules;
	size_t depth;                     /* open brackets */
	uint32_t objects;                 /* bit d: the container at depth d is one */
	uint32_t alive[SPLICE_DEPTH + 1]; /* places that may lie in the container at depth d */
	uint32_t value;                   /* places that the next value is on the way to */
	bool key;                         /* the next string is a member's name */
};

static inline bool walk_in_object(const struct splice_walk *w)
{
	return w->depth && w->depth <= SPLICE_DEPTH && (w->objects >> w->depth & 1);
}

/* Before an element of an array, a member's name, or another document. */
static inline void walk_value_next(struct splice_walk *w)
{
	w->key = walk_in_object(w);
	w->value = 0;
	if (!w->rules)
		return;
	if (!w->depth)
		w->value = w->rules->all;
	else if (w->depth <= SPLICE_DEPTH && !w->key)
		w->value = w->alive[w->depth] & w->rules->any_index[w->depth - 1];
}

static inline void walk_bracket_open(struct splice_walk *w, bool object)
{
	w->depth++;
	if (w->depth <= SPLICE_DEPTH) {
		w->alive[w->depth] = w->value;
		w->objects = (w->objects & ~(UINT32_C(1) << w->depth)) | (uint32_t)object << w->depth;
	}
	walk_value_next(w);
}

static inline void walk_bracket_close(struct splice_walk *w)
{
	w->depth -= w->depth > 0;
	w->key = false;
	w->value = 0;
	if (!w->depth)
		walk_value_next(w);
}

static inline bool walk_is_place(const struct splice_walk *w)
{
	return w->value && w->depth <= SPLICE_DEPTH && (w->value & w->rules->ends[w->depth]);
}

static inline void walk_name_end(struct splice_walk *w, struct span name, bool known)
{
	const struct splice_rules *rules = w->rules;
	size_t step = w->depth - 1;
	uint32_t bits = w->alive[w->depth] & rules->named[step];

	w->value = w->alive[w->depth] & rules->any_member[step];
	for (; known && bits; bits &= bits - 1) {
		int i = __builtin_ctz(bits);

		if (span_eq(rules->places[i].step[step], name))
			w->value |= UINT32_C(1) << i;
	}
}

/* Of several places that fit, the one that names more of its steps. */
static inline unsigned walk_place_rule(const struct splice_walk *w)
{
	const struct splice_place *best = NULL;

	for (uint32_t bits = w->value & w->rules->ends[w->depth]; bits; bits &= bits - 1) {
		const struct splice_place *p = &w->rules->places[__builtin_ctz(bits)];

		if (!best || p->names > best->names)
			best = p;
	}
	return best ? best->rule : 0;
}

#endif
