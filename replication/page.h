/* One page of a collection's list, as an application answers it, on its way to a client that is shown the lists of
 * several sites one after the other (replication.md 3): elements that an earlier site has shown are left out, and the
 * link to the next page leads on, at this site and from its last page to the next one.
 *
 *	{"images": [{"id": "a"}, {"id": "b"}], "next": "/images?marker=b"}
 *	            ^ left out where `shown` says so         ^ gets `here`; without one, or with null, it becomes `end`
 *
 * Byte for byte: the element that is left out goes with one comma and the blanks at it, every other byte is as it came.  Input may be cut
 * anywhere, the output is the same.  What is no such document goes through as it is; after the first document nothing is
 * looked at.  Ids are those of the application: nothing is exchanged here.
 *
 * Memory: PAGE_ITEM_BYTES of an element, held until its id shows (one that shows none so far stays), the last id, a
 * member's name and PAGE_NEXT_BYTES of a link, twice; some 8 KiB beside them. */
#ifndef REPLICATION_PAGE_H
#define REPLICATION_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define PAGE_ITEM_BYTES (64u << 10)
#define PAGE_NEXT_BYTES 8192 /* a longer link stays as it is */

struct page_options {
	struct span items, id, next; /* places: "$.images" or "$", "$.id", "$.next"; next may be empty */
	struct span here;            /* a query member for a link that leads on at this site: "a=b", in need of no escape */
	struct span end;             /* the link to the next site's first page, in need of no escape; empty: there is none */
	/* Whether the element is to be left out; id is decoded, and valid during the call. */
	bool (*shown)(void *ctx, struct span id);
	void *ctx;
};

/* Whether these are places that can be followed. 0; ERR_INVALID, with a text; ERR_NOMEM. */
int page_check_items(struct span items, struct err *e) MUST_CHECK;
int page_check(struct span items, struct span id, struct err *e) MUST_CHECK;

struct page;

/* The spans of o are to live as long.  NULL: no memory, or places that page_check refuses. */
struct page *page_new(const struct page_options *o);
void page_free(struct page **gp);
/* A failure of memory is out->failed. */
void page_feed(struct page *g, struct span in, struct buf *out);
/* The end of the input: gives out what was held. */
void page_end(struct page *g, struct buf *out);

/* An element has gone through: the page is not empty. */
bool page_shows(const struct page *g);
/* The document is over, it was a list, and nothing of it is left. */
bool page_is_empty(const struct page *g);
/* It has a link that leads on at this site. */
bool page_has_next(const struct page *g);
/* That link, as the application means it; empty: there is none, or it could not be kept. */
struct span page_next(const struct page *g);
/* The id of the last element that has one; empty: none does. */
struct span page_last_id(const struct page *g);

/* Adds a link with one more query member. */
void page_add_link(struct span link, struct span member, struct buf *out);

#endif
