/* Rules, names and chunkings for tests of the splicer. */
#ifndef TESTS_SPLICE_BED_H
#define TESTS_SPLICE_BED_H

#include <stdlib.h>

#include "replication/splice.h"

/* A UUID at this site, its name in the mesh; random ids; short ones and integers of /v2/notes (rule 1)
 * and its items (2). */
#define LOCAL "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
#define MESH "019b76da-a800-8334-aeec-4d5e6f703c26"
#define DOCKER "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define RANDOM16 "aZ3-kk_09QwErTyU"

static const struct bed_name {
	const char *local, *mesh;
	unsigned rule; /* 0: everywhere */
	bool number, to_number;
} bed_names[] = {
	{ LOCAL, MESH, 0, false, false },
	{ DOCKER, "019b76da-a800-8334-aeec-000000000001", 0, false, false },
	{ RANDOM16, "019b76da-a800-8334-aeec-000000000002", 0, false, false },
	{ "3", "N3", 1, true, false },                       /* an integer whose name is a UUID */
	{ "4", "4503599627370500", 1, true, true },          /* whose name is an integer */
	{ "3", "S3", 1, false, false },                      /* the same in a string */
	{ "backtoid", "77", 1, false, true },                /* a name whose local id is a number */
	{ "b", "M with \"quotes\" and /", 1, false, false },
	{ "caf\xc3\xa9", "M-cafe", 1, false, false },
	{ "1234567890123456", "I16", 1, false, false },
	{ "7", "I7", 2, false, false },
	{ "7", "J7", 2, true, false },
};

static inline bool bed_look(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	if (ctx)
		++*(size_t *)ctx;
	for (size_t i = 0; i < sizeof(bed_names) / sizeof(bed_names[0]); i++) {
		const struct bed_name *n = &bed_names[i];

		if ((n->rule == id->rule || !n->rule) && (n->number == id->number) && span_eq(id->text, span_of(n->local))) {
			*new_r = (struct splice_new){ span_of(n->mesh), n->to_number };
			return true;
		}
	}
	return false;
}

static inline struct splice_rules *bed_rules(void)
{
	struct splice_rules *r = splice_rules_new();

	if (!r || splice_rules_add_place(r, SPAN("$.id"), SPLICE_COLLECTION, 1, NULL) ||
	    splice_rules_add_place(r, SPAN("$.server.id"), SPLICE_SINGLE, 1, NULL) ||
	    splice_rules_add_place(r, SPAN("$['odd.name']"), SPLICE_SINGLE, 1, NULL) ||
	    splice_rules_add_place(r, SPAN("$.items[*].id"), SPLICE_SINGLE, 2, NULL) ||
	    splice_rules_add_place(r, SPAN("$.ids[*]"), SPLICE_SINGLE, 1, NULL) ||
	    splice_rules_add_path(r, SPAN("/v2/notes/"), 1, NULL) ||
	    splice_rules_add_path(r, SPAN("/v2/notes/{id}/items"), 2, NULL) ||
	    splice_rules_add_query(r, SPAN("marker"), 1, NULL))
		abort();
	return r;
}

/* The output for the input cut where `cut` says: it is asked for the length of each next piece, of what is left. */
static inline void bed_run(enum splice_body body, const struct splice_rules *rules, struct span in, size_t most,
                           size_t (*cut)(void *ctx, size_t left), void *ctx, struct buf *out)
{
	struct splice *s = splice_new(body, rules, bed_look, NULL);
	struct buf some;

	if (!s)
		abort();
	buf_init(&some, NULL, 0);
	while (in.n) {
		size_t n = cut(ctx, in.n);
		/* a chunk of its own, so that a sanitizer sees what is read beyond it */
		char *chunk = malloc(n);

		if (!chunk)
			abort();
		memcpy(chunk, in.p, n);
		for (size_t at = 0; at < n;) {
			at += splice_feed(s, span_make(chunk + at, n - at), most, &some);
			buf_add_span(out, buf_span(&some));
			buf_consume(&some, buf_len(&some));
		}
		free(chunk);
		in = span_from(in, n);
	}
	splice_end(s, &some);
	buf_add_span(out, buf_span(&some));
	buf_fini(&some);
	splice_free(&s);
	if (out->failed)
		abort();
}

#endif
