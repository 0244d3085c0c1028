/* Between admin.c and the files of its paths. */
#ifndef PROXY_ADMIN_INT_H
#define PROXY_ADMIN_INT_H

#include <jansson.h>

#include "proxy/exchange_int.h"
#include "replication/store_view.h"

/* A problem document without further members. */
void admin_problem(struct exchange *x, unsigned status, const char *type, const char *detail);
/* Takes body over; NULL: no memory, answered with 500. */
void admin_reply_json(struct exchange *x, unsigned status, const char *type, json_t *body);
/* The text of an answer, or NULL without memory; takes body over. */
char *admin_json_text(json_t *body);
/* Names may hold any byte but controls; what is no UTF-8 cannot stand in JSON. */
json_t *admin_text_json(struct span s);
/* NULL when it is empty. */
json_t *admin_maybe_json(struct span s);

/* NULL when it is not known (0). */
json_t *admin_time_json(int64_t wall_ms);

/* limit (100, at most 1000) and after, as every list has them. */
struct admin_page { int limit; struct span after; };
/* False: answered with 400. */
bool admin_page_of(struct exchange *x, struct admin_page *page_r);
/* A parameter of the query, decoded; empty where it is missing.  False: answered with 400. */
bool admin_query_get(struct exchange *x, const char *name, struct span *value_r);

/* admin_read.c: answers that come from the store.  The request waits (x->reading) while a job of the store's reader
 * thread puts the answer together, text and all, so that the main loop neither waits for a disk nor prints a thousand
 * replicas.  The client may leave meanwhile. */
struct admin_reading {
	struct exchange *x;        /* NULL: nobody waits any more */
	struct replication *rep;
	struct store_inbox *inbox;
	/* On the reader thread: sets answer or problem, or `more`, to be called again after what others want to read. */
	int (*read)(struct store_reader *reader, struct admin_reading *rd);
	/* Instead of the text of answer: on the main thread, rd NULL when nothing could be read in time. */
	void (*finish)(struct exchange *x, struct admin_reading *rd);
	void *found;               /* of read and finish, in the arena */
	unsigned ticks;            /* how long the request waits: of DEADLINE_RETRY, 100 ms each */
	bool more, ready;
	int rc;
	int64_t hurry_us;          /* from then on what has been found is the answer */
	struct arena arena;        /* of what follows */
	struct admin_page page;
	struct store_filter filter;
	struct store_key_of key;
	struct op_id op;
	bool pinned;
	int64_t cursor;
	json_t *list, *answer;
	struct problem problem;    /* with a status: instead of an answer */
	char *text;
};

/* NULL: answered.  Everything a job needs is to be copied into rd->arena (admin_reading_keep). */
struct admin_reading *admin_reading_new(struct exchange *x,
                                        int (*read)(struct store_reader *reader, struct admin_reading *rd)) MUST_CHECK;
/* False: answered, and rd is gone. */
bool admin_reading_keep(struct admin_reading *rd, struct span *s, struct span value) MUST_CHECK;
/* From here on the machine of x has it; on failure x is answered. */
void admin_reading_start(struct admin_reading *rd);
/* The same with a batch, which is taken; when it is durable, rd->read. */
void admin_reading_write(struct admin_reading *rd, struct store_batch *batch);
/* The same while something else is under way, which calls admin_reading_awaited: then rd->read, unless there is a problem
 * by then. */
void admin_reading_await(struct admin_reading *rd);
void admin_reading_awaited(struct admin_reading *rd);
/* Before it has been started: x is answered otherwise. */
void admin_reading_drop(struct admin_reading **rdp);
/* The request is still there and asks. */
enum exchange_step admin_reading_step(struct exchange *x);

/* admin_replicas.c, admin_queue.c, admin_rules.c */
void admin_get_replicas(struct exchange *x);
void admin_get_replica(struct exchange *x);
void admin_get_queue(struct exchange *x);
void admin_get_operation(struct exchange *x);
void admin_post_operation(struct exchange *x); /* admin_settle.c */
/* The document of rd->op; on the reader thread. */
int admin_read_operation(struct store_reader *reader, struct admin_reading *rd) MUST_CHECK;
/* False: answered with 400. */
bool admin_operation_of(struct exchange *x, struct span text, struct op_id *id_r);
void admin_get_rules(struct exchange *x);
void admin_post_rule(struct exchange *x);
/* Where an operation stands at each site; on the reader thread.  Makes *sites_r. */
int admin_add_deliveries(struct store_reader *r, const struct op_id *id, json_t **sites_r) MUST_CHECK;
/* What a list and a single answer have of an operation in common. */
json_t *admin_operation_json(const struct store_operation *op);

/* admin_certificates.c */
void admin_get_certificates(struct exchange *x);

/* admin_metrics.c */
void admin_get_metrics(struct exchange *x);

/* doctor.c */
void admin_get_doctor(struct exchange *x);

/* admin_sites.c */
json_t *admin_rtt_json(const struct registry *reg, size_t site);
const char *admin_state_text(const struct registry *reg, size_t site);
void admin_get_sites(struct exchange *x);
void admin_get_services(struct exchange *x);
/* The verbs of a site: fence, unfence, detach, autonomous, attended. */
void admin_post_site(struct exchange *x);

/* admin_write.c.  Who may call: Host must be loopback or in admin.hosts, Origin absent or the same, so that no web
 * page reaches the interface through its reader's browser; for what changes something also a JSON content type, which
 * a form cannot send.  False: answered with 403. */
bool admin_may_call(struct exchange *x, bool changes);
void admin_post_reload(struct exchange *x);
void admin_put_log(struct exchange *x);

/* admin_carriers.c */
void admin_get_carriers(struct exchange *x);
void admin_get_watches(struct exchange *x);
void admin_post_watch(struct exchange *x);

#endif
