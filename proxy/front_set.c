/* The replica set that a scope means: the operands of `&` in their order, each site once, of an operand `a; b` one of
 * them, fixed when the create begins (spec section 2, 9). */
#include "proxy/front_int.h"

#include "base/percent.h"

/* One of its sites is not known to be down. */
static bool is_alive(const struct exchange *x, const struct scope_plan *plan)
{
	if (plan->op == SCOPE_SITE)
		return !route_is_known_down(x, plan->site_index);
	for (size_t i = 0; i < plan->count; i++)
		if (is_alive(x, plan->items[i]))
			return true;
	return false;
}

const struct scope_plan *front_choose(const struct exchange *x, const struct scope_plan *plan)
{
	while (plan->op == SCOPE_ELSE) {
		const struct scope_plan *first = plan->items[0];

		for (size_t i = 0; i < plan->count; i++)
			if (is_alive(x, plan->items[i])) {
				first = plan->items[i];
				break;
			}
		plan = first;
	}
	return plan;
}

bool front_plan_replicates(const struct scope_plan *plan)
{
	if (plan->op != SCOPE_ELSE)
		return plan->replicated || plan->op == SCOPE_AND;
	for (size_t i = 0; i < plan->count; i++)
		if (front_plan_replicates(plan->items[i]))
			return true;
	return plan->replicated;
}

bool front_set_has(const struct front_set *set, size_t site)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->sites[i] == site)
			return true;
	return false;
}

static void add_members(const struct exchange *x, const struct scope_plan *plan, struct front_set *set)
{
	plan = front_choose(x, plan);
	if (plan->op == SCOPE_SITE) {
		if (front_set_has(set, plan->site_index))
			return;
		if (set->count == OPERATION_SITES)
			set->too_many = true;
		else
			set->sites[set->count++] = plan->site_index;
		return;
	}
	for (size_t i = 0; i < plan->count; i++)
		add_members(x, plan->items[i], set);
}

void front_set_of(const struct exchange *x, const struct scope_plan *plan, struct front_set *set_r)
{
	plan = front_choose(x, plan);
	*set_r = (struct front_set){ .klass = plan->klass };
	add_members(x, plan, set_r);
}

/* ---- the way there ---- */

static int64_t distance(const struct exchange *x, size_t site)
{
	int64_t us = atomic_load_explicit(&x->view->reg->sites[site].live->rtt_us, memory_order_relaxed);

	return site == x->view->reg->local ? -1 : us < 0 ? INT64_MAX : us;
}

/* Among equal ones the order of the scope stays. */
static void by_distance(const struct exchange *x, size_t *sites, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		size_t site = sites[i], at = i;

		for (; at && distance(x, sites[at - 1]) > distance(x, site); at--)
			sites[at] = sites[at - 1];
		sites[at] = site;
	}
}

static void put_first(size_t *sites, size_t count, size_t site)
{
	for (size_t at = count; at-- > 1;)
		if (sites[at] == site) {
			memmove(sites + 1, sites, at * sizeof(*sites));
			sites[0] = site;
			return;
		}
}

static int go_to(struct exchange *x, const struct front_set *set, size_t first, bool nearest)
{
	x->sites = arena_alloc(&x->arena, (set->count + 1) * sizeof(*x->sites));
	if (!x->sites)
		return front_no_memory(x);
	memcpy(x->sites, set->sites, set->count * sizeof(*x->sites));
	x->site_count = set->count;
	if (nearest)
		by_distance(x, x->sites, x->site_count);
	put_first(x->sites, x->site_count, first);
	route_put_down_last(x);
	x->op = x->sites[0] == x->view->reg->local ? OP_LOCAL : OP_FORWARD;
	return 0;
}

int front_go_to(struct exchange *x, const struct front_set *set, size_t first)
{
	return go_to(x, set, first, true);
}

int front_go_in_turn(struct exchange *x, const struct front_set *set)
{
	return go_to(x, set, x->view->reg->local, false);
}

/* ---- between sites ---- */

void front_add_set(const struct exchange *x, const struct front_set *set, enum consistency class, struct buf *out)
{
	buf_add_z(out, consistency_text(class));
	for (size_t i = 0; i < set->count; i++) {
		buf_add_z(out, i ? ", " : "; ");
		heads_add_token(out, x->view->reg->sites[set->sites[i]].name);
	}
}

bool front_read_set(struct exchange *x, struct span text, struct operation *op)
{
	size_t semicolon = span_find(text, ';');
	struct span rest = span_from(text, semicolon + 1), member, name;

	if (semicolon == text.n || !consistency_parse(span_trim(span_head(text, semicolon)), &op->class))
		return false;
	while (http_list_next(&rest, &member))
		if (!percent_decode(&x->arena, member, &name) || !front_is_name(name) || !operation_add_site(op, name))
			return false;
	return op->site_count > 0;
}
