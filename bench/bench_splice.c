/* Megabytes a second of the splicer, in chunks of 16 KiB: `make bench/bench_splice && bench/bench_splice`.  The look-up
 * is a hash table of 100,000 names, of which the documents hold some; one image over and over shows
 * the splicer without the cache misses of the table. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "replication/splice.h"

#define CHUNK (16 << 10)
#define DOCUMENT (4 << 20)
#define NAMES 100000
#define SLOTS (1 << 18)
#define SECONDS 0.4

static char names[NAMES][37];
static unsigned slots[SLOTS];
static size_t asked;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned hash(struct span s)
{
	uint64_t h = s.n, w = 0;

	for (size_t i = 0; i + 8 <= s.n; i += 8) {
		memcpy(&w, s.p + i, 8);
		h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return (unsigned)(h >> 20) % SLOTS;
}

static bool look(void *ctx, const struct splice_id *id, struct splice_new *new_r)
{
	(void)ctx;
	asked++;
	if (id->where != SPLICE_TOKEN) {
		*new_r = (struct splice_new){ SPAN("019b76da-a800-8334-aeec-4d5e6f703c26"), false };
		return true;
	}
	for (unsigned at = hash(id->text); slots[at]; at = (at + 1) % SLOTS) {
		if (span_eq(id->text, span_make(names[slots[at] - 1], 36))) {
			new_r->text = SPAN("019b76da-a800-8334-aeec-4d5e6f703c26");
			return true;
		}
	}
	return false;
}

static void make_names(void)
{
	for (unsigned i = 0; i < NAMES; i++) {
		unsigned at;

		snprintf(names[i], sizeof(names[i]), "%08x-4f89-41d3-9a0c-0305%08x", i * 2654435761u, i);
		for (at = hash(span_make(names[i], 36)); slots[at]; at = (at + 1) % SLOTS)
			;
		slots[at] = i + 1;
	}
}

/* A list as Glance gives it. */
static void images(struct buf *b, unsigned i)
{
	buf_addf(b, "{\"id\": \"%s\", \"name\": \"image number %u\", \"status\": \"active\", \"size\": 13287936, "
	         "\"checksum\": \"ee1eca47dc88f4879d8a229cc70a07c6\", \"created_at\": \"2026-01-31T12:00:00Z\", "
	         "\"owner\": \"%s\", \"self\": \"/v2/images/%s\", \"file\": \"/v2/images/%s/file\", \"tags\": [], "
	         "\"schema\": \"/v2/schemas/image\", \"min_ram\": 0, \"protected\": false}, ",
	         names[i % NAMES], i, names[(i * 7 + 1) % NAMES], names[i % NAMES], names[i % NAMES]);
}

static void one_image(struct buf *b, unsigned i)
{
	(void)i;
	images(b, 5);
}

/* Integer ids at a declared place, and a link. */
static void notes(struct buf *b, unsigned i)
{
	buf_addf(b, "{\"id\":%u,\"text\":\"A note that somebody wrote, \\\"quoted\\\" and\\nbroken\",\"done\":false,"
	         "\"self\":\"/notes/%u\"},", i, i);
}

static void prose(struct buf *b, unsigned i)
{
	buf_addf(b, "\"A longer text that has no identifiers at all in it, only words, numbers like %u and marks; it is what "
	         "fills most documents.\",", i);
}

static void base64(struct buf *b, unsigned i)
{
	if (!i)
		buf_add_z(b, "\"");
	buf_add_z(b, "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz/IHNpbmd1bGFy+");
}

static void numbers(struct buf *b, unsigned i)
{
	buf_addf(b, "[%u,%u.25,-17,true,null],", i, i * 31);
}

static void measure(const char *what, enum splice_body body, const struct splice_rules *rules,
                    void (*add)(struct buf *, unsigned))
{
	struct buf in, out;
	double from, took;
	size_t bytes = 0;

	buf_init(&in, NULL, 0);
	buf_init(&out, NULL, 0);
	buf_add_z(&in, "[");
	for (unsigned i = 0; buf_len(&in) < DOCUMENT; i++)
		add(&in, i);
	asked = 0;
	from = now();
	do {
		struct splice *s = splice_new(body, rules, look, NULL);

		for (size_t at = 0; s && at < buf_len(&in); at += CHUNK) {
			splice_feed(s, span_head(span_from(buf_span(&in), at), CHUNK), 0, &out);
			buf_consume(&out, buf_len(&out));
		}
		splice_end(s, &out);
		splice_free(&s);
		bytes += buf_len(&in);
		took = now() - from;
	} while (took < SECONDS);
	printf("%-34s %6.0f MB/s  %5.1f look-ups per KiB\n", what, (double)bytes / took / 1e6,
	       (double)asked * 1024 / (double)bytes);
	buf_fini(&in);
	buf_fini(&out);
}

int main(void)
{
	struct splice_rules *rules = splice_rules_new();

	make_names();
	if (!rules || splice_rules_add_place(rules, SPAN("$.id"), SPLICE_COLLECTION, 1, NULL) ||
	    splice_rules_add_path(rules, SPAN("/notes"), 1, NULL))
		return 1;
	measure("images, UUIDs, no rules", SPLICE_JSON, NULL, images);
	measure("one image, over and over", SPLICE_JSON, NULL, one_image);
	measure("notes, integers, with rules", SPLICE_JSON, rules, notes);
	measure("prose, no rules", SPLICE_JSON, NULL, prose);
	measure("prose, with rules", SPLICE_JSON, rules, prose);
	measure("prose as plain text", SPLICE_TEXT, NULL, prose);
	measure("base64", SPLICE_JSON, NULL, base64);
	measure("numbers", SPLICE_JSON, NULL, numbers);
	splice_rules_free(&rules);
	return 0;
}
