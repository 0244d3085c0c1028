/* What the request machine asks of the rewrite stage. x->rw is NULL where it has no part in a request. */
#ifndef PROXY_REWRITE_EXCHANGE_H
#define PROXY_REWRITE_EXCHANGE_H

#include "proxy/exchange_int.h"
#include "proxy/rewrite_int.h"

/* ---- rewrite_route.c ---- */

/* The service is known: what does the path name?  Before the scope is interpreted. */
int rewrite_begin(struct exchange *x) MUST_CHECK;
/* The same later on, and nothing is answered. 0 or ERR_NOMEM. */
int rewrite_join(struct exchange *x) MUST_CHECK;
/* It has a part in this request even where nothing is known here: the answer is a page of several sites' lists. 0 or
 * ERR_NOMEM. */
int rewrite_force(struct exchange *x) MUST_CHECK;
void rewrite_fini(struct exchange *x);
/* The path names a resource with a mesh id. */
bool rewrite_names_resource(const struct exchange *x);
/* x->sites are the scope's, or the default's: they become those that can answer, or there is an answer already (an
 * error then).  A request of our own goes where it was meant to go, or nowhere. */
int rewrite_route(struct exchange *x) MUST_CHECK;
/* The application here has it, and it is up to date as far as that can be said. */
bool rewrite_is_usable_here(const struct name *name);
/* Content that ids may be exchanged in: textual, neither signed nor compressed. */
enum splice_body rewrite_body_of(const struct http_head *req);

/* ---- rewrite_request.c: way up ---- */

/* The content has to be seen whole, where it is short, before anything is sent. */
bool rewrite_gathers(const struct exchange *x);
/* The service has names, or is about to have its first. */
bool rewrite_may_show_ids(const struct exchange *x);
/* Before the head of an attempt is written. */
int rewrite_up_begin(struct exchange *x) MUST_CHECK;
/* More content, or its end, into rw->up_out. */
void rewrite_up_feed(struct exchange *x, struct span data);
void rewrite_up_end(struct exchange *x);
/* Path and query for the attempt under way; p NULL: no memory. */
struct span rewrite_path_query(struct exchange *x);
/* Fields that this attempt gets otherwise than they came. */
void rewrite_request_fields(struct exchange *x, struct buf *out);

/* ---- rewrite_hold.c ---- */

/* A final response's head has come.  A service that had no name when it was asked may show its first ones: then it takes
 * part from now on. 0 or ERR_NOMEM. */
int rewrite_join_late(struct exchange *x) MUST_CHECK;
/* A response whose head has come may show ids whose names are on their way: not now. */
bool rewrite_holds(struct exchange *x);

/* ---- rewrite_response.c: way down ---- */

enum rewrite_verdict {
	REWRITE_GOOD,  /* relay it; x->rw->down is set where its content is rewritten */
	REWRITE_BAD,   /* it cannot be passed on: *why_r */
	REWRITE_WHOLE, /* a part, in which ids cannot be found: ask again, for the whole */
	REWRITE_NOMEM,
};

/* What an earlier attempt has begun. */
void rewrite_down_forget(struct exchange *x);
/* A final response of an instance. */
enum rewrite_verdict rewrite_judge(struct exchange *x, const char **why_r);
/* Its content goes through the splicer. */
static inline bool rewrite_is_down(const struct exchange *x)
{
	return x->rw && x->rw->down;
}
/* Its fields, before they are written.  0 or ERR_NOMEM. */
int rewrite_response_fields(struct exchange *x) MUST_CHECK;
/* Fields of our own: what the request named, and that it may have changed. */
void rewrite_add_fields(struct exchange *x, struct buf *out);
/* One slice of its content into rw->down_out, off *in. */
enum http_body_event rewrite_down_next(struct exchange *x, struct span *in, const char **why_r);
/* The end of it. 0; ERR_SYNTAX: it was cut. */
int rewrite_down_end(struct exchange *x) MUST_CHECK;

#endif
