/* The request of one leg, and the reading of its answer.  At this site it goes to the application, which is told nothing of
 * replication; at another one to its proxy, with the operation. */
#include "proxy/replicator_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/percent.h"
#include "proxy/rewrite.h"
#include "replication/rules.h"
#include "replication/spool.h"

#define RETRY_AFTER_MOST_S 3600
#define LOAD_PAUSE_US 1000000

/* ---- content that is spooled ---------------------------------------------------------------------------------------- */

static int next_piece(struct inner_source *src, uint64_t offset, struct buf *out, size_t most,
                      void (*done)(void *arg, int rc), void *arg)
{
	struct leg *leg = container_of(src, struct leg, source);
	struct work *k = leg->work;

	return spool_read(k->r->rep->spool, k->op->spool, offset, out, most, k->r->w->answers, done, arg);
}

/* ---- the request ------------------------------------------------------------------------------------------------------ */

/* Copies travel without preconditions: those were judged at admission (replication.md 6).  What comes back is read, so it
 * is not to be compressed. */
static void add_fields(struct span lines, bool admission, struct buf *out)
{
	struct span line, name;

	while (lines.n && span_split(&lines, '\n', &line)) {
		name = span_head(line, span_find(line, ':'));
		if (!name.n || span_ieq(name, SPAN("Accept-Encoding")) || (!admission && operation_is_conditional(name)))
			continue;
		buf_add_span(out, line);
		buf_add_char(out, '\n');
	}
}

static void on_answer(void *arg, const struct inner_answer *a);

/* Where a create of this name would be: what is looked at before it is made. */
static bool add_place(const struct operation *op, struct buf *out)
{
	if (span_eq(op->method, SPAN("PUT"))) {
		buf_add_span(out, operation_path(op)); /* as the client wrote it */
	} else {
		buf_add_span(out, op->key.collection);
		buf_add_char(out, '/');
		percent_encode(op->key.meta, "-._~", out);
	}
	return !out->failed;
}

static bool may_create(const struct operation *op)
{
	return op->kind == OPERATION_CREATE || op->kind == OPERATION_APPEND;
}

bool leg_send(struct leg *leg, enum send_as as)
{
	struct work *k = leg->work;
	const struct operation *op = k->op;
	bool own = leg->target->own, with_content = as != SEND_LOOK && as != SEND_ASK;
	struct inner_request r = { .service = op->key.service, .site = span_make(leg->target->site, leg->target->site_n),
		.method = as == SEND_LOOK ? SPAN("GET") : op->method, .target = op->target, .done = on_answer, .arg = leg };

	leg->as = as;
	buf_fini(&leg->fields);
	buf_fini(&leg->operation);
	add_fields(op->fields, as == SEND_ADMISSION, &leg->fields);
	if (!own)
		operation_add_field(op, as == SEND_ADMISSION ? OPERATION_ADMIT : as == SEND_ASK ? OPERATION_ASK
		                        : leg->told ? OPERATION_RETRY : OPERATION_DELIVER,
		                    &leg->operation);
	if (as == SEND_LOOK) {
		buf_fini(&leg->place_of);
		if (!(op->named || leg->building ? add_place(op, &leg->place_of) : doubt_add_target(k, &leg->place_of)))
			return false;
		r.target = buf_span(&leg->place_of);
	}
	if (leg->fields.failed || leg->operation.failed)
		return false;
	r.fields = buf_span(&leg->fields);
	r.operation = buf_span(&leg->operation);
	r.once = own && as != SEND_LOOK && operation_is_once(op);
	if (with_content && op->spool.n) {
		leg->source.next = next_piece;
		r.source = &leg->source;
		r.source_bytes = op->body_bytes;
	} else if (with_content) {
		r.body = op->body;
	}
	if (inner_send(k->r->w, &r))
		return false;
	leg->asked_us = clock_mono_us();
	if (own && as != SEND_LOOK && may_create(op))
		leg->ticket = replication_create_begins(k->r->rep, op->key.service);
	return true;
}

static void on_answer(void *arg, const struct inner_answer *a)
{
	struct leg *leg = arg;
	struct work *k = leg->work;
	struct replicator *r = k->r;

	if (r->closed)
		return;
	buf_fini(&leg->fields);
	buf_fini(&leg->operation);
	buf_fini(&leg->place_of);
	leg->took_us = clock_mono_us() - leg->asked_us;
	leg->attempts++;
	if (k->phase == WORK_ADMITTING)
		admit_judge(leg, a);
	else
		deliver_judge(leg, a);
	replicator_go(r);
}

/* ---- its turn ---------------------------------------------------------------------------------------------------------- */

static void run(struct leg *leg)
{
	if (leg->work->phase == WORK_ADMITTING)
		admit_run(leg);
	else
		deliver_run(leg);
}

static void on_content(struct work *k, struct leg *leg, int rc)
{
	if (!rc) {
		run(leg);
		return;
	}
	log_warn("operation %s: its content cannot be read: %s", k->text, err_text(rc));
	leg_park(leg, LOAD_PAUSE_US);
}

void leg_start(struct leg *leg)
{
	if (leg->work->op->fields.n)
		run(leg);
	else if (!log_load_content(leg, on_content))
		leg_park(leg, LOAD_PAUSE_US);
}

/* ---- the answer --------------------------------------------------------------------------------------------------------- */

static struct span field(const struct inner_answer *a, enum http_field_id id)
{
	const struct http_field *f = a->head ? http_find(a->head, id) : NULL;

	return f ? f->value : SPAN("");
}

enum rules_shown send_shown(struct work *k, struct arena *arena, const struct inner_answer *a, struct rules_id *id_r)
{
	const struct operation *op = k->op;
	const struct conf_service *svc = replicator_service(k->r, op->key.service);
	struct span path = operation_path(op);
	struct rules_answer answer = { .method = op->method, .path = path, .canonical = path, .status = a->status,
		.location = field(a, HTTP_LOCATION), .content_type = field(a, HTTP_CONTENT_TYPE), .body = a->body };
	struct rewrite_target t;
	struct rule_match match;
	struct rules *rules;
	enum rules_shown shown;

	if (!svc)
		return RULES_NONE;
	rules = replication_rules(k->r->rep, svc);
	if (!rules || !rewrite_path_target(k->r->rep->names, arena, op->key.service, path, false, &t)) {
		rules_unref(&rules);
		return RULES_UNREAD;
	}
	if (t.local.p && !(k->answer && k->answer->canonical)) /* else another site's answer, which has no local ids */
		answer.path = t.local;
	rules_match(rules, path, &match);
	shown = rules_new_id(arena, &match, &answer, id_r);
	rules_unref(&rules);
	return shown;
}

bool answer_take(struct replicator_answer *to, const struct inner_answer *a)
{
	to->status = a->status;
	to->content = arena_dup(&to->arena, a->body);
	to->content_cut = a->body_cut;
	if (!to->content.p)
		return false;
	return !a->head || !http_head_copy(&to->arena, a->head, &to->head);
}

int64_t send_retry_after_us(const struct inner_answer *a)
{
	const struct http_field *f = a->head ? http_find_name(a->head, SPAN("Retry-After")) : NULL;
	unsigned long long s;

	return f && span_to_u64(f->value, RETRY_AFTER_MOST_S, &s) ? (int64_t)s * 1000000 : 0;
}

/* "409: what the application said of it". */
void leg_set_error(struct leg *leg, const struct inner_answer *a)
{
	size_t most = leg->work->op->secret ? 0 : REPLICATOR_REASON, n = a->body.n < most ? a->body.n : most;
	char text[REPLICATOR_REASON + 64];
	int length;

	if (a->result != INNER_ANSWERED)
		length = snprintf(text, sizeof(text), "%s", a->reason ? a->reason : "no answer");
	else
		length = snprintf(text, sizeof(text), "%u: %.*s", a->status, (int)n, n ? a->body.p : "");
	for (int i = 0; i < length; i++) /* it goes into JSON and onto terminals */
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f)
			text[i] = ' ';
	free(leg->error);
	leg->error = strdup(text);
}
