/* Answers that are kept for a repetition of their request (Idempotency-Key): a row of the store for each key, from when the
 * operation is logged, with the answer once it is admitted.  What an application tells its client may be a secret, so
 * that is sealed, bound to its key; the row's body says whether it is all of it.  Rows go after a day. */
#include "proxy/replicator_int.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "replication/seal.h"

#define ANSWERS_KEPT_MS (24 * 3600 * 1000LL)

struct store_answer kept_row(const struct work *k)
{
	return (struct store_answer){ .key = k->op->answer_key, .fingerprint = k->op->fingerprint, .op = k->op->id,
		                      .expires_ms = clock_wall_ms() + ANSWERS_KEPT_MS };
}

/* What is sealed of an answer: the meta-identifier, the fields, an empty line and the content, as take_answer_text reads
 * them. */
static void add_answer_text(const struct replicator_answer *a, struct buf *out)
{
	buf_add_span(out, a->meta);
	buf_add_char(out, '\n');
	for (size_t i = 0; i < a->head.field_count; i++)
		buf_addf(out, "%.*s: %.*s\n", SPAN_ARG(a->head.fields[i].name), SPAN_ARG(a->head.fields[i].value));
	buf_add_char(out, '\n');
	buf_add_span(out, a->content);
}

bool kept_put(struct store_batch *b, const struct work *k)
{
	struct store_answer row = kept_row(k);
	struct buf plain, sealed;
	bool good;

	buf_init(&plain, NULL, 0);
	buf_init(&sealed, NULL, 0);
	add_answer_text(k->answer, &plain);
	good = !plain.failed && !seal_add(k->r->rep->seal, buf_span(&plain), row.key, &sealed) && !sealed.failed;
	seal_wipe(&plain);
	row.status = k->answer->status;
	row.headers = buf_span(&sealed);
	row.body = k->answer->content_cut ? SPAN("cut") : SPAN("");
	if (good)
		store_set_answer(b, &row);
	buf_fini(&sealed);
	return good;
}

static int take_head(struct replicator_answer *a, struct span text)
{
	struct span line, copy = arena_dup(&a->arena, text);
	size_t lines = 0;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	a->head.fields = arena_zalloc(&a->arena, (lines + 1) * sizeof(*a->head.fields));
	if (!copy.p || !a->head.fields || !span_split(&copy, '\n', &a->meta))
		return ERR_NOMEM;
	while (copy.n && span_split(&copy, '\n', &line)) {
		struct http_field *f = &a->head.fields[a->head.field_count];

		f->name = span_head(line, span_find(line, ':'));
		f->value = span_trim(span_from(line, f->name.n + 1));
		f->id = http_field_id(f->name);
		a->head.field_count += f->name.n > 0;
	}
	return 0;
}

/* ERR_INVALID: sealed by another key, which was lost. */
static int take_answer_text(struct replicator_answer *a, const struct seal *seal, const struct store_answer *row)
{
	struct span text, content;
	const char *line;
	struct buf plain;
	int rc;

	buf_init(&plain, NULL, 0);
	rc = seal_remove(seal, row->headers, row->key, &plain);
	text = buf_span(&plain);
	line = rc ? NULL : memmem(text.p, text.n, "\n\n", 2);
	if (line) {
		content = span_from(text, (size_t)(line - text.p) + 2);
		a->status = a->head.status = row->status;
		a->content_cut = row->body.n > 0;
		a->content = arena_dup(&a->arena, content);
		rc = a->content.p ? take_head(a, span_head(text, text.n - content.n - 1)) : ERR_NOMEM;
	} else if (!rc) {
		rc = ERR_INVALID;
	}
	seal_wipe(&plain);
	return rc;
}

int kept_take(struct work *k, const struct store_answer *row, struct span fingerprint)
{
	struct replicator_answer *a;
	int rc;

	if (row->expires_ms < clock_wall_ms())
		return ERR_NOT_FOUND;
	if (!span_eq(row->fingerprint, fingerprint))
		a = answer_problem(422, "idempotency-key", "this Idempotency-Key was used with another body");
	else if (!row->status)
		a = answer_problem(409, "in-progress", "a request with this Idempotency-Key is under way");
	else
		a = answer_new();
	if (a && !a->problem) {
		rc = take_answer_text(a, k->r->rep->seal, row);
		if (rc)
			replicator_answer_free(&a);
		if (rc == ERR_INVALID)
			a = answer_problem(409, "in-progress", "this request was executed, and its answer cannot be read any more");
	}
	replicator_answer_free(&k->answer);
	k->answer = a;
	return a ? 0 : ERR_NOMEM;
}

static void on_dropped(void *arg, int rc)
{
	(void)arg;
	if (rc)
		log_warn("answers that were kept for a day cannot be dropped: %s", err_text(rc));
}

/* A client that sends no further key leaves them, and nothing else would take them away. */
void kept_drop_old(struct replicator *r)
{
	int64_t now = clock_mono_us();
	struct store_batch *b;

	if (r->kept_run_us && now - r->kept_run_us < REPLICATOR_SELDOM_S * 1000000LL)
		return;
	b = store_batch_new();
	if (!b)
		return; /* again at the next tick */
	r->kept_run_us = now;
	store_drop_answers(b, clock_wall_ms());
	(void)!store_submit(r->rep->store, &b, NULL, on_dropped, NULL); /* else at the next time */
}
