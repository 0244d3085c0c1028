/* A collection's list under a scope that replicates, where `list` is declared (replication.md 3): the list of each site
 * in turn, a page never of two, and a replica only in that of the first site that has it.
 *
 *	site that was asked                                  site whose page it is (the same one, or another)
 *	which site, with which query (listing.c)  ────────►  leaves out what was shown, leads the link on (listing_serve.c)
 *	            X-Scopemesh-List: shown here end         replica sets are its own names
 *	            the page is empty: the next site  ◄────  X-Scopemesh-List: empty
 *
 * A link that leads on carries how far the client is: &scope-at=SITE,SITE (shown already, and the one whose page it is
 * last) and &scope-of=QUERY (of the first request, for the next site's first page).  Neither reaches an application.
 * A client that puts its own marker into the query is looked for: the site that takes it is the one whose page it was. */
#ifndef PROXY_LISTING_H
#define PROXY_LISTING_H

#include "proxy/front_int.h"
#include "replication/page.h"

/* Pages of one site that nothing is left of and that are passed over for one request; then such a one is an answer. */
#define LISTING_AGAIN 32

struct listing {
	struct rule_list rule;       /* in the exchange's arena, as all of it */
	struct span id_place;
	bool asks;                   /* this site interprets the scope: the rest down to `peer` is set */
	size_t site[OPERATION_SITES], count; /* of the set, by index in view->reg, in the order of the request */
	uint64_t shown, undeclared;  /* bits by place in `site`: has been shown; has no such list */
	size_t turn[OPERATION_SITES], turns; /* those that have been shown, in the order of their turns */
	size_t first;                /* site that the query is for as it came */
	bool seeks;                  /* whose marker it is has to be found out */
	struct span native, base;    /* "?…": without our members; of a first page */
	struct span peer_shown, peer_here, peer_end; /* from another site: what was asked of this one */
	struct span again;           /* the query of this site's page behind the one that nothing was left of; p NULL: none */
	unsigned again_count;
	struct span link;            /* of the attempt under way, in Link; p NULL: it does not lead on */
	bool peeked;                 /* its content was begun before its head went out */
	struct page *page;           /* of the attempt under way; NULL: goes as it is */
};

/* ---- listing.c ---- */

/* A read of a collection under the scope whose sites these are, nearest first in x->sites.  0, or answered. */
int listing_begin(struct exchange *x, const struct front_set *set, const struct rule_match *m) MUST_CHECK;
/* From another site, which asks for a page of this site's. */
int listing_begin_for_peer(struct exchange *x, struct span field) MUST_CHECK;
void listing_fini(struct exchange *x);
/* The query for the attempt under way, "?" included. */
struct span listing_query(const struct exchange *x);
/* Sites shown before (tokens, by commas, in their order), the member that leads on here, the link that leads on elsewhere. */
struct listing_way {
	struct span shown, here, end;
};
int listing_way(struct exchange *x, struct listing_way *way_r) MUST_CHECK;
/* For heads.c: to another site; to the client, where only what others could not be asked is said. */
void listing_add_mesh_field(struct exchange *x, struct buf *out);
void listing_add_partial_field(struct exchange *x, struct buf *out);
/* Nobody can be asked any more, but something was shown: then this is the end of the list.  True: answered. */
bool listing_ends(struct exchange *x);
/* The query of a page behind this one at this site, where the whole page has come and nothing is left of it; p NULL: there is
 * none, or no memory. */
struct span listing_behind(struct exchange *x);
/* The whole page has come. True: nothing is left of it, so another one was chosen. */
bool listing_page_is_over(struct exchange *x);
/* Of an answer's head, error: that a peer's proxy made it; it is no page to be passed on, but the next site's turn.  True: the attempt has ended. */
bool listing_moves_on(struct exchange *x, const struct http_field *error);

/* ---- listing_serve.c ---- */

/* This site's instance is asked, or was. */
bool listing_serves(const struct exchange *x);
/* Of an answer that is a page: x->list->page.  0 or ERR_NOMEM. */
int listing_page_begin(struct exchange *x) MUST_CHECK;
void listing_page_end(struct listing *l);
/* Fields that are not true of what it becomes, and Link.  0 or ERR_NOMEM. */
int listing_fields(struct exchange *x) MUST_CHECK;
/* The head may go out: something is to be seen, or it has been looked at for long enough. */
bool listing_is_seen(const struct exchange *x);
/* There is no page behind this one here, as far as the application says. */
bool listing_is_last(const struct exchange *x);

#endif
