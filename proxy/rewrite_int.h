/* The inside of the rewrite stage, for rewrite*.c and the parts of the request machine that call it. */
#ifndef PROXY_REWRITE_INT_H
#define PROXY_REWRITE_INT_H

#include "proxy/rewrite.h"
#include "replication/rules.h"

struct conf_service;

/* ---- rewrite_path.c ---- */

/* rewrite_path_target, with the service's rules: hidden: alias, and integers as meta-identifiers. rules may be NULL. */
bool rewrite_walk(struct names *n, const struct rules *rules, struct arena *arena, struct span service, struct span path,
                  bool foreign, struct rewrite_target *target_r) MUST_CHECK;
/* The collection that the whole path is, as of now. */
void rewrite_target_list(struct names *n, struct span service, struct rewrite_target *t);
/* An id that is a whole URL or path (id: location): its path; p NULL: it is none, or has a query. */
struct span rewrite_opaque_path(struct span local);

/* ---- rewrite_rules.c: where the short ids of a service stand.  Made from its rules and names, kept by the worker,
 * counted. ---- */

struct rewrite_pattern {
	struct span path;        /* "/notes", "/notes/{id}/items" */
	bool plain;              /* without "{id}": it is the collection itself */
};

/* Where documents have the id. */
struct rewrite_place {
	struct span text;        /* "$.id" */
	struct splice_rules *item, *list; /* of a resource's answer, of a collection's */
};

struct rewrite_rules {
	unsigned refs;
	struct rewrite_rules *next;
	struct arena arena;
	struct span service;
	struct rules *declared;  /* of the configuration it was made for */
	struct rules *rules;     /* these and learned ones */
	uint64_t generation;     /* replication_rules_generation at that time */
	uint32_t kinds_seen;     /* names_kinds when it was last brought up to date */
	struct rewrite_pattern pattern[SPLICE_TRAILS];
	unsigned pattern_count;
	struct rewrite_place place[SPLICE_TRAILS];
	unsigned place_count;
	struct splice_rules *links; /* of any other answer */
};

/* A reference, or NULL without memory. */
struct rewrite_rules *rewrite_rules_get(struct worker *w, const struct conf_service *svc);
void rewrite_rules_unref(struct rewrite_rules **rules);
/* The place of the id in answers about this collection; NULL: Location alone shows it. */
const struct rewrite_place *rewrite_rules_place(const struct rewrite_rules *r, struct span collection);
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

/* svc: of whatever configuration; NULL: none of that name, tokens alone.  listed, collection: of the request's target.
 * 0 or ERR_NOMEM; rewrite_look_fini in any case. */
int rewrite_look_init(struct rewrite_look *l, struct worker *w, const struct conf_service *svc, enum rewrite_way way,
                      const struct rewrite_target *t, const struct splice_rules **rules_r) MUST_CHECK;
void rewrite_look_fini(struct rewrite_look *l);
splice_look rewrite_look_up;
/* A link, or the value of a field: as a whole where an id is a whole URL, else what is in it.  False: no memory. */
bool rewrite_look_link(struct rewrite_look *l, const struct splice_rules *rules, struct span in, struct buf *out) MUST_CHECK;

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
	bool stale;              /* where this site answers, changes are on their way to it */
	int64_t hold_until_us;   /* of an answer that waits for names; 0: not looked at */
	uint64_t hold_ticket;    /* for creates up to this one; 0: for none */

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
	bool ended;              /* all of the content has been through, before its head went out */
	struct rewrite_inflate *inflate;
};

#endif
