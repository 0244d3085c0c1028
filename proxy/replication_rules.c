/* The rules of services as they are now: declared ones, of whichever configuration is asked for, and what answers taught
 * (replication.md 9), which is kept in the store and in force in all workers at once.
 *
 * Sets of rules never change.  For each service there is one of the learned rules alone, and the last one that was asked
 * for, joined to the declared rules of its configuration.  The generation tells that there is something new, without
 * the lock: a worker keeps what it was given until then. */
#include "proxy/replication.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/conf.h"

struct service_rules {
	struct service_rules *next;
	struct rules *learned;
	struct rules *declared, *joined; /* NULL: nobody asked since it changed */
	size_t n;
	char service[];
};

/* All of these: under rules_lock. */

static struct service_rules *find(struct replication *rep, struct span service)
{
	struct service_rules *s = rep->rules;

	while (s && !span_eq(span_make(s->service, s->n), service))
		s = s->next;
	return s;
}

static struct service_rules *make(struct replication *rep, struct span service)
{
	struct service_rules *s = find(rep, service);

	if (s)
		return s;
	s = malloc(sizeof(*s) + service.n);
	if (!s)
		return NULL;
	*s = (struct service_rules){ .next = rep->rules, .n = service.n };
	memcpy(s->service, service.p, service.n);
	if (rules_new(NULL, 0, &s->learned)) {
		free(s);
		return NULL;
	}
	return rep->rules = s;
}

static int put(struct replication *rep, struct span service, const struct rule *rule)
{
	struct service_rules *s = make(rep, service);
	struct rules *more;
	int rc = s ? rules_add_learned(s->learned, rule, &more) : ERR_NOMEM;

	if (rc)
		return rc;
	rules_unref(&s->learned);
	s->learned = more;
	rules_unref(&s->declared);
	rules_unref(&s->joined);
	atomic_fetch_add_explicit(&rep->rules_generation, 1, memory_order_release);
	return 0;
}

static struct rules *join(struct replication *rep, const struct conf_service *svc)
{
	struct service_rules *s = find(rep, svc->name);

	if (!s)
		return rules_ref(svc->rules);
	if (s->declared != svc->rules || !s->joined) {
		rules_unref(&s->joined);
		rules_unref(&s->declared);
		if (rules_join(svc->rules, s->learned, &s->joined))
			return NULL;
		s->declared = rules_ref(svc->rules);
	}
	return rules_ref(s->joined);
}

struct rules *replication_rules(struct replication *rep, const struct conf_service *svc)
{
	struct rules *rules;

	if (!rep)
		return rules_ref(svc->rules);
	pthread_mutex_lock(&rep->rules_lock);
	rules = join(rep, svc);
	pthread_mutex_unlock(&rep->rules_lock);
	return rules;
}

uint64_t replication_rules_generation(struct replication *rep)
{
	return rep ? atomic_load_explicit(&rep->rules_generation, memory_order_acquire) : 0;
}

/* ---- learning ---------------------------------------------------------------------------------------------------- */

/* The row that keeps it; false: no memory. */
static bool make_row(const struct conf_service *svc, const struct rule *rule, struct arena *arena, struct store_rule *row_r)
{
	struct buf json;

	buf_init(&json, NULL, RULE_JSON_BYTES);
	rule_add_json(rule, &json);
	*row_r = (struct store_rule){ .service = arena_dup(arena, svc->name), .collection = arena_dup(arena, rule->collection) };
	if (!json.failed)
		row_r->rule = arena_dup(arena, buf_span(&json));
	buf_fini(&json);
	return row_r->service.p && row_r->collection.p && row_r->rule.p;
}

static bool learn(struct replication *rep, const struct conf_service *svc, const struct rules_id *id, struct arena *arena,
                  struct store_rule *row_r)
{
	struct rules *known = join(rep, svc);
	struct rule rule;
	bool news;

	news = known && rules_learn(arena, known, id, &rule) == 0 && !rules_find(known, rule.collection) &&
	       make_row(svc, &rule, arena, row_r) && put(rep, svc->name, &rule) == 0;
	rules_unref(&known);
	return news;
}

bool replication_learn(struct replication *rep, const struct conf_service *svc, const struct rules_id *id,
                       struct arena *arena, struct store_rule *row_r)
{
	bool news;

	pthread_mutex_lock(&rep->rules_lock);
	news = learn(rep, svc, id, arena, row_r);
	pthread_mutex_unlock(&rep->rules_lock);
	if (news)
		log_info("learned of %.*s: a collection %.*s", SPAN_ARG(svc->name),
		         SPAN_ARG(row_r->collection));
	return news;
}

void replication_pin_rule(struct replication *rep, struct span service, struct span collection, bool pinned)
{
	struct service_rules *s;
	const struct rule *rule;
	struct rule copy;
	int rc = 0;

	pthread_mutex_lock(&rep->rules_lock);
	s = find(rep, service);
	rule = s ? rules_find(s->learned, collection) : NULL;
	if (rule && rule->pinned != pinned) {
		copy = *rule;
		copy.pinned = pinned;
		rc = put(rep, service, &copy);
	}
	pthread_mutex_unlock(&rep->rules_lock);
	if (rc)
		log_warn("the rule of %.*s is pinned in the store, and here after a restart: %s", SPAN_ARG(service), err_text(rc));
}

/* ---- at the start ------------------------------------------------------------------------------------------------- */

struct loading {
	struct replication *rep;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
	int rc;
};

/* A row that cannot be read is passed over: it may be a later version's, and is learned again. */
static int load_rule(void *arg, const struct store_rule *row)
{
	struct replication *rep = arg;
	struct arena arena;
	struct rule rule;
	struct err e;
	int rc;

	arena_init(&arena, NULL, 0, 0);
	rc = rule_of_json(&arena, row->collection, row->rule, row->pinned, &rule, &e);
	if (rc && rc != ERR_NOMEM)
		log_warn("the learned rule of %.*s, collection %.*s, is not understood: %s", SPAN_ARG(row->service),
		         SPAN_ARG(row->collection), e.text);
	else if (!rc)
		rc = put(rep, row->service, &rule);
	arena_fini(&arena);
	return rc == ERR_NOMEM ? rc : 0;
}

static int load_all(struct store_reader *reader, void *arg)
{
	struct loading *l = arg;
	int rc;

	pthread_mutex_lock(&l->rep->rules_lock);
	rc = store_read_rules(reader, load_rule, l->rep);
	pthread_mutex_unlock(&l->rep->rules_lock);
	return rc;
}

static void loaded(void *arg, int rc)
{
	struct loading *l = arg;

	pthread_mutex_lock(&l->lock);
	l->rc = rc;
	l->done = true;
	pthread_cond_signal(&l->over);
	pthread_mutex_unlock(&l->lock);
}

int replication_load_rules(struct replication *rep)
{
	struct loading l = { .rep = rep };
	int rc;

	pthread_mutex_init(&l.lock, NULL);
	pthread_cond_init(&l.over, NULL);
	pthread_mutex_lock(&l.lock); /* before anybody else can write the result */
	rc = store_submit_read(rep->store, load_all, NULL, loaded, &l);
	while (!rc && !l.done)
		pthread_cond_wait(&l.over, &l.lock);
	pthread_mutex_unlock(&l.lock);
	pthread_cond_destroy(&l.over);
	pthread_mutex_destroy(&l.lock);
	return rc ? rc : l.rc;
}

void replication_rules_fini(struct replication *rep)
{
	struct service_rules *s;

	while ((s = rep->rules)) {
		rep->rules = s->next;
		rules_unref(&s->learned);
		rules_unref(&s->declared);
		rules_unref(&s->joined);
		free(s);
	}
}
