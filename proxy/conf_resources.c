/* services.NAME.resources (replication.md 9): the types that only its rows have, what concerns more than one of them,
 * and the rules that are made of them. */
#include "proxy/conf_int.h"
#include "replication/member.h"
#include "replication/page.h"

static int keep(struct opt_reader *r, struct span text, struct span *to)
{
	*to = arena_dup(r->arena, text);
	if (to->p)
		return 0;
	*to = SPAN("");
	r->nomem = true;
	return ERR_NOMEM;
}

static void print_text(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(*(const struct span *)value, out);
}

static int parse_collection(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	(void)o;
	return rule_check_collection(text, e) ? ERR_INVALID : keep(r, text, value);
}

static int check_place(struct opt_reader *r, struct span text, struct err *e)
{
	int rc = rule_check_place(text, e);

	r->nomem |= rc == ERR_NOMEM;
	return rc;
}

static int parse_place(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	bool may_be_empty = o->value && !o->value[0];

	if ((text.n || !may_be_empty) && check_place(r, text, e))
		return ERR_INVALID;
	return keep(r, text, value);
}

static int parse_member(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	bool may_be_empty = o->value && !o->value[0];

	if ((text.n || !may_be_empty) && member_check_place(text, e))
		return ERR_INVALID;
	return keep(r, text, value);
}

static int parse_items(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	(void)o;
	return text.n && page_check_items(text, e) ? ERR_INVALID : keep(r, text, value);
}

static int parse_query_name(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	(void)o;
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f || strchr("?&=#;%+\"\\/", text.p[i]))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no name in a query; expected something like marker", SPAN_ARG(text));
	return keep(r, text, value);
}

static int parse_find(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	(void)o;
	return text.n && rule_check_find(text, e) ? ERR_INVALID : keep(r, text, value);
}

static int parse_id_place(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	(void)o;
	if (span_eq(text, SPAN("location")))
		return keep(r, SPAN(""), value);
	if (check_place(r, text, e))
		return ERR_INVALID;
	if (memmem(text.p, text.n, "[*]", 3))
		return err_set(e, ERR_INVALID, "\"%.*s\" means every element of a list; expected the place of one id",
		               SPAN_ARG(text));
	return keep(r, text, value);
}

static void print_id_place(const struct opt *o, const void *value, struct buf *out)
{
	const struct span *place = value;

	(void)o;
	yaml_print_scalar(place->n ? *place : SPAN("location"), out);
}

static int parse_request(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	struct rule_request *m = value;

	(void)o;
	*m = (struct rule_request){ SPAN(""), SPAN(""), SPAN("") };
	if (keep(r, text, &text))
		return ERR_NOMEM;
	return rule_read_request(text, m, e);
}

static void print_request(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	yaml_print_scalar(((const struct rule_request *)value)->text, out);
}

static int parse_kind(struct opt_reader *r, const struct opt *o, struct span text, void *value, struct err *e)
{
	enum operation_kind kind;

	(void)r;
	if (span_eq(text, SPAN("create")))
		return err_set(e, ERR_INVALID, "a create is what shows a new id in its answer, and cannot be declared");
	if (!operation_kind_parse(text, &kind) || kind == OPERATION_MEMBERS)
		return err_set(e, ERR_INVALID, "\"%.*s\" is none of update, append, replace, delete", SPAN_ARG(text));
	(void)o;
	*(enum operation_kind *)value = kind;
	return 0;
}

static void print_kind(const struct opt *o, const void *value, struct buf *out)
{
	(void)o;
	buf_add_z(out, operation_kind_text(*(const enum operation_kind *)value));
}

const struct opt_type conf_type_collection = { "path", sizeof(struct span), parse_collection, print_text, NULL };
const struct opt_type conf_type_place = { "place", sizeof(struct span), parse_place, print_text, NULL };
const struct opt_type conf_type_id_place = { "place or location", sizeof(struct span), parse_id_place, print_id_place,
	                                     NULL };
const struct opt_type conf_type_member = { "place", sizeof(struct span), parse_member, print_text, NULL };
const struct opt_type conf_type_items = { "place", sizeof(struct span), parse_items, print_text, NULL };
const struct opt_type conf_type_query_name = { "name", sizeof(struct span), parse_query_name, print_text, NULL };
const struct opt_type conf_type_find = { "path", sizeof(struct span), parse_find, print_text, NULL };
const struct opt_type conf_type_request = { "method and path", sizeof(struct rule_request), parse_request, print_request,
	                                    NULL };
const struct opt_type conf_type_kind = { "word", sizeof(enum operation_kind), parse_kind, print_kind, NULL };

/* ---- what takes more than one option ----------------------------------------------------------------------------- */

static bool is_below(struct span path, struct span prefix)
{
	return prefix.n <= 1 || (span_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/'));
}

static void check_resource(struct opt_reader *r, const struct conf_service *s, size_t i)
{
	struct span collection = s->resources[i].collection;
	struct yaml_place at = opt_place(r, &s->resources[i].collection);

	if (!collection.n)
		return; /* said already */
	if (!is_below(collection, s->prefix))
		yaml_problem(r->yaml, at, NULL, "collection: \"%.*s\" is not below %.*s, the prefix of the service",
		             SPAN_ARG(collection), SPAN_ARG(s->prefix));
	for (size_t j = 0; j < i; j++) {
		if (!span_eq(s->resources[j].collection, collection))
			continue;
		yaml_problem(r->yaml, at, NULL, "collection: \"%.*s\" is there twice", SPAN_ARG(collection));
		return;
	}
}

static void check_ready(struct opt_reader *r, const struct rule *rule)
{
	const struct rule_ready *ready = &rule->ready;

	if (ready->path.n && !ready->ok_count)
		yaml_problem(r->yaml, opt_place(r, &ready->path), NULL, "ready: \"ok\" is missing: what is there when it is ready");
	if (!ready->path.n && !opt_where(r, &ready->path) && (ready->ok_count || ready->failed_count))
		yaml_problem(r->yaml, opt_place(r, ready->ok_count ? (const void *)&ready->ok : &ready->failed), NULL,
		             "ready: \"path\" is missing: where the state is");
}

static void check_list(struct opt_reader *r, const struct rule *rule)
{
	const struct rule_list *list = &rule->list;
	const void *other = list->next.n ? &list->next : &list->marker;
	struct err e;
	int rc;

	if (!list->items.n && (list->next.n || list->marker.n) && !opt_where(r, &list->items))
		yaml_problem(r->yaml, opt_place(r, other), NULL,
		             "list: \"items\" is missing: where the elements are, $.images, or $ where the answer is the array");
	if (!list->items.n)
		return;
	if (span_find(rule->collection, '{') < rule->collection.n) {
		yaml_problem(r->yaml, opt_place(r, &list->items), NULL,
		             "list: the list below a resource is that of one replica, and is not merged: expected a collection without {id}");
		return;
	}
	if (!rule->id_place.n) {
		yaml_problem(r->yaml, opt_place(r, &list->items), NULL,
		             "list: elements are told apart by their id, and \"id\" is location: expected a place like $.id");
		return;
	}
	rc = page_check(list->items, rule->id_place, &e);
	r->nomem |= rc == ERR_NOMEM;
	if (rc)
		yaml_problem(r->yaml, opt_place(r, &list->items), NULL, "list: the id of an element cannot be followed: %s", e.text);
}

static int make_rules(struct opt_reader *r, struct conf_service *s)
{
	if (s->resource_count > RULES_DECLARED_MOST) {
		yaml_problem(r->yaml, opt_place(r, &s->resources[RULES_DECLARED_MOST].collection), NULL,
		             "resources: more than %d", RULES_DECLARED_MOST);
		return 0;
	}
	return rules_new(s->resources, s->resource_count, &s->rules);
}

int conf_check_resources(struct opt_reader *r, struct conf *conf)
{
	for (size_t i = 0; i < conf->service_count; i++) {
		struct conf_service *s = &conf->services[i];
		int rc;

		for (size_t j = 0; j < s->resource_count && j <= RULES_DECLARED_MOST; j++)
			check_resource(r, s, j), check_ready(r, &s->resources[j]), check_list(r, &s->resources[j]);
		rc = make_rules(r, s);
		if (rc)
			return rc;
	}
	return 0;
}
