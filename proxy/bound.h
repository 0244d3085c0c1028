/* The addresses that a configuration wants listened on, and their sockets: found, compared with those there are,
 * bound.  For the start and for a reload alike; nothing here accepts. */
#ifndef PROXY_BOUND_H
#define PROXY_BOUND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/buf.h"
#include "proxy/conf.h"

enum listener_kind { LISTEN_SERVICE, LISTEN_MESH, LISTEN_ADMIN,
	             LISTEN_INNER /* requests of our own (inner.h): no socket */ };

#define BOUND_SERVICE_BYTES 68 /* names have at most 64 */

struct bound {
	enum listener_kind kind;
	struct addr configured;
	struct addr addr;    /* with the port it got */
	char service[BOUND_SERVICE_BYTES]; /* with port 0: which it was opened for; else empty */
	bool kept;           /* it was there before: its sockets stay */
	int fd;              /* for one worker; -1: none */
};

struct bound_list {
	struct bound *items;
	size_t count;
};

/* Each address once.  0 or ERR_NOMEM. */
int bound_list_make(const struct conf *conf, struct bound_list *list_r) MUST_CHECK;
void bound_list_free(struct bound_list *list);

/* Marks what `before` has too. */
void bound_list_keep(struct bound_list *list, const struct bound_list *before);

/* Sees whether every address that is not kept can be had, and finds ports for 0: each is bound without
 * SO_REUSEPORT, so that an address in use is found even when its owner would share it (but where `before` has
 * the port, as on a change from one address to all), then closed again.  All problems go to errors, a line each; ERR_BUSY. */
int bound_list_probe(struct bound_list *list, const struct bound_list *before, struct buf *errors) MUST_CHECK;

/* Whether worker `worker` of `workers` listens there: the first at the admin interface, the last, which is the
 * replicator's, nowhere, the others at the rest. */
static inline bool bound_is_for(const struct bound *o, unsigned worker, unsigned workers)
{
	return o->kind == LISTEN_ADMIN ? worker == 0 : worker != 0 && worker != workers - 1;
}

/* Sockets that listen, for every worker and every address that is not kept: (*fds_r)[worker * count + i], -1 where
 * there is none; the array and what it holds are the caller's.  All or none. 0, or an error with its text. */
int bound_list_open(const struct bound_list *list, unsigned workers, int **fds_r, struct err *e) MUST_CHECK;
/* Closes what is left in fds, and frees it. */
void bound_list_close(const struct bound_list *list, unsigned workers, int **fds);
/* Takes a unix socket's file away; others have none. */
void bound_unlink(const struct addr *a);

#endif
