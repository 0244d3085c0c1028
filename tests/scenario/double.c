#include "tests/scenario/double.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proxy/replication.h"

#define MOST 16

static struct {
	struct { struct operation *op; enum replicator_task task; struct replicator_wait *wait; } waiting[MOST];
	size_t count;
	bool full;
} it;

bool __wrap_replicator_submit(struct replicator *r, struct operation *op, enum replicator_task task,
                              struct replicator_wait *wait);

bool __wrap_replicator_submit(struct replicator *r, struct operation *op, enum replicator_task task,
                              struct replicator_wait *wait)
{
	(void)r;
	if (it.full || it.count == MOST)
		return false;
	it.waiting[it.count].op = operation_ref(op);
	it.waiting[it.count].task = task;
	it.waiting[it.count++].wait = wait;
	return true;
}

int double_begin(struct bed *bed)
{
	struct replication *rep = bed_replication(bed);

	if (!rep)
		return ERR_NOMEM;
	rep->tag = metaid_tag(rep->site);
	rep->incarnation = 1;
	metaid_source_init(&rep->integers, rep->tag, clock_wall_ms(), 0);
	rep->replicator = (struct replicator *)(void *)&it; /* only ever compared */
	return bed_name(bed, NULL);
}

void double_fill(void)
{
	it.full = true;
}

static void told(bool begins)
{
	if (bed_on_proxy)
		bed_on_proxy(begins);
}

bool double_answer(struct replicator_answer *answer)
{
	struct replicator_wait *wait = it.count ? it.waiting[0].wait : NULL;

	if (!wait) {
		replicator_answer_free(&answer);
		return false;
	}
	operation_unref(&it.waiting[0].op);
	memmove(it.waiting, it.waiting + 1, --it.count * sizeof(it.waiting[0]));
	wait->answer = answer;
	told(true);
	wait->answered(wait);
	told(false);
	return true;
}

void double_answer_all(void)
{
	while (it.count)
		double_answer(NULL);
}

void double_end(void)
{
	double_answer_all();
	it.full = false;
}

bool double_show(struct buf *out)
{
	const struct operation *op = it.count ? it.waiting[0].op : NULL;
	char id[OP_ID_TEXT_BYTES];

	if (!op)
		return false;
	op_id_format(&op->id, id);
	buf_addf(out, "task %s\nid %s\n", it.waiting[0].task == REPLICATOR_ADMIT ? "admit" : "deliver", id);
	buf_addf(out, "%.*s %.*s\nkind %s\nclass %s\nsites", SPAN_ARG(op->method), SPAN_ARG(op->target),
	         operation_kind_text(op->kind), consistency_text(op->class));
	for (size_t i = 0; i < op->site_count; i++)
		buf_addf(out, " %.*s", SPAN_ARG(op->sites[i]));
	buf_addf(out, "\nkey %.*s %.*s %.*s\nnamed %d independent %d declared %d meta_id %d\n", SPAN_ARG(op->key.service),
	         SPAN_ARG(op->key.collection), SPAN_ARG(op->key.meta), op->named, op->independent, op->declared,
	         (int)op->meta_id);
	buf_addf(out, "answer %.*s %.*s\n", SPAN_ARG(op->answer_key), SPAN_ARG(op->fingerprint));
	buf_addf(out, "bytes %llu spool %.*s\n%.*s\n%.*s", (unsigned long long)op->body_bytes, SPAN_ARG(op->spool),
	         SPAN_ARG(op->fields), SPAN_ARG(op->body));
	return true;
}

static bool add_sites(struct replicator_answer *a, const char *text)
{
	struct span rest = span_of(text), one;

	while (*text != '-' && rest.n && span_split(&rest, ',', &one)) {
		struct replicator_site *s = &a->sites[a->site_count++];
		unsigned long long status;
		struct span word = span_from(one, span_find(one, '=') + 1);

		s->site = arena_dup(&a->arena, span_head(one, span_find(one, '=')));
		if (span_to_u64(word, 999, &status))
			s->status = (unsigned)status;
		else
			s->state = arena_dup(&a->arena, word).p;
		if (!s->site.p || (!s->status && !s->state))
			return false;
	}
	return true;
}

struct replicator_answer *double_make(unsigned status, const char *sites, const char *meta, struct span fields,
                                      struct span content)
{
	struct replicator_answer *a = calloc(1, sizeof(*a));
	struct http_refusal why;
	const char *head;

	if (!a)
		return NULL;
	arena_init(&a->arena, NULL, 0, 0);
	a->status = status;
	head = arena_printf(&a->arena, "HTTP/1.1 %u Some\r\n%.*s\r\n", status, SPAN_ARG(fields));
	a->content = arena_dup(&a->arena, content);
	a->meta = *meta == '-' ? span_make("", 0) : arena_dup(&a->arena, span_of(meta));
	if (!head || !a->content.p || !a->meta.p || !add_sites(a, sites) ||
	    http_response_parse(&a->arena, span_of(head), NULL, &a->head, &why))
		replicator_answer_free(&a);
	return a;
}
