/* The inside of the rewrite stage, for rewrite*.c and the parts of the request machine that call it. */
#ifndef PROXY_REWRITE_INT_H
#define PROXY_REWRITE_INT_H

#include "proxy/rewrite.h"

/* ---- rewrite_rules.c: where the short ids of a service stand.  Made from the names, kept by the worker, counted. ---- */

struct rewrite_pattern {
	struct span path;        /* "/notes", "/notes/{id}/items" */
	bool plain;              /* without "{id}": it is the collection itself */
};

struct rewrite_rules {
	unsigned refs;
	struct rewrite_rules *next;
	struct arena arena;
	struct span service;
	uint32_t kinds_seen;     /* names_kinds when it was last brought up to date */
	struct rewrite_pattern pattern[SPLICE_TRAILS];
	unsigned pattern_count;
	struct splice_rules *item, *list, *links; /* of a resource's answer, of a collection's, of any other */
};

/* A reference, or NULL without memory. */
struct rewrite_rules *rewrite_rules_get(struct worker *w, struct span service);
void rewrite_rules_unref(struct rewrite_rules **rules);
/* At the worker's end. */
void rewrite_rules_fini(struct worker *w);

/* ---- rewrite_text.c: the look-ups ---- */

enum rewrite_way {
	REWRITE_DOWN,      /* the service's local ids become M */
	REWRITE_UP,        /* M of the service become local, other services' local ids M */
	REWRITE_ACROSS,    /* other services' local ids become M */
};

/* What a look-up needs; it lives as long as its splicer. */
struct rewrite_look {
	struct names *n;
	struct rewrite_rules *rules; /* a reference; NULL: tokens alone */
	struct span service;
	uint32_t number;         /* of the service, 0: it has no names */
	uint32_t kind;           /* of what stands at the place of the id */
	enum rewrite_way way;
	bool foreign;            /* up: other services' local ids are to be found too */
	struct name found;
};

/* listed, collection: of the request's target.  0 or ERR_NOMEM; rewrite_look_fini in any case. */
int rewrite_look_init(struct rewrite_look *l, struct worker *w, struct span service, enum rewrite_way way,
                      const struct rewrite_target *t, const struct splice_rules **rules_r) MUST_CHECK;
void rewrite_look_fini(struct rewrite_look *l);
splice_look rewrite_look_up;

/* ---- rewrite_inflate.c: gzip that came although identity was asked for ---- */

struct rewrite_inflate;

/* NULL: no memory. */
struct rewrite_inflate *rewrite_inflate_new(void);
void rewrite_inflate_free(struct rewrite_inflate **z);
/* As much content at a time as 16 KiB of memory bound: REWRITE_GZIP_SLICE inflates to no more. */
#define REWRITE_GZIP_SLICE 16
/* Adds to out. 0; ERR_SYNTAX: no gzip, or more than 256 times what came; ERR_NOMEM. */
int rewrite_inflate_feed(struct rewrite_inflate *z, struct span in, struct buf *out) MUST_CHECK;
/* The stream was whole. */
bool rewrite_inflate_is_whole(const struct rewrite_inflate *z);

/* ---- of an exchange ---- */

struct exchange;

#define REWRITE_SLICE 4096          /* of content that is looked at in one go */
#define REWRITE_GATHER (16u << 10)  /* answers up to this long keep a Content-Length */

/* In the exchange's arena, where this site has names or the path holds a mesh id; else x->rw is NULL. */
struct rewrite {
	struct rewrite_target target;
	bool named;              /* the scope names the sites: who lacks the replica says so */
	unsigned retry_after_s;  /* with a 503: the replica is still on its way */

	/* up */
	enum splice_body up_body; /* SPLICE_NONE: the content goes as it is */
	struct rewrite_look *up_look;
	struct splice *up;       /* of the attempt under way; NULL: its content goes as it is */
	bool up_whole;           /* all of it is in up_out, so its length is known */
	struct buf up_out;       /* rewritten and not yet sent */

	/* down */
	bool answers;            /* what the attempt under way answers is rewritten */
	bool no_range;           /* ask for the whole */
	bool etag_came;          /* the request holds an entity tag of this site's */
	enum splice_body down_body;
	struct rewrite_look *down_look;
	struct splice *down;
	bool gather;             /* until its end; the head waits */
	struct buf down_out;
	struct rewrite_inflate *inflate;
};

#endif
