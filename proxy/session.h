/* A client's connection: heads are read one after the other, each becomes an exchange, and the next is
 * not looked at before the answer is sent, so that pipelined answers keep their order. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <netinet/in.h>

#include "http/message.h"
#include "proxy/conn.h"
#include "proxy/deadline.h"
#include "proxy/worker.h"

#define SESSION_STATES(X) \
	X(SESSION_IDLE, "idle")     /* between requests: no bytes, no buffer */ \
	X(SESSION_HEAD, "head")     /* a head is coming in */ \
	X(SESSION_BUSY, "busy")     /* an exchange is under way */ \
	X(SESSION_LINGER, "linger") /* the last answer is out; what still comes in is thrown away */ \
	X(SESSION_DEAD, "dead")     /* closed; freed at the end of the loop turn */

enum session_state {
#define SESSION_STATE(value, name) value,
	SESSION_STATES(SESSION_STATE)
#undef SESSION_STATE
};

struct session {
	struct conn c;
	struct worker *worker;
	struct exchange *x;          /* when busy */
	struct listener *listener;   /* counted: session_new and the end of the session */
	struct deadline deadline;
	struct head_guard guard;
	uint8_t state;               /* enum session_state */
	uint8_t kind;                /* enum listener_kind */
	uint32_t requests;
	uint32_t drained;            /* bytes thrown away while lingering */
	union { struct sockaddr sa; struct sockaddr_in v4; struct sockaddr_in6 v6; } peer;
	bool client_closes;          /* it said that this was its last request, and that was read whole */
	bool unwatched;              /* its first request is under way and its descriptor not watched yet */
	bool ready;                  /* pipelined bytes wait for the end of the loop turn */
	bool stranger;               /* came during the drain and is none of this site's instances: 503 */
	bool awaited;                /* its exchange was under way when the drain began */
	bool counted;                /* in the table of clients (client_table.h) */
	bool refused;                /* there was no room for it: a 503 and the close, without waiting */
	TAILQ_ENTRY(session) link, ready_link; /* ready_link: ready or unwatched, never both */
};
/* All that an idle client costs, but for malloc's 8 to 16 bytes: docs/memory.md. */
_Static_assert(sizeof(struct session) <= 328, "an idle client is to cost 350 bytes at most");

/* Takes over fd, an accepted connection.  counted: client_leave is owed for it. refusal: why there is no room for
 * it, answered 503 (over TLS closed); NULL: it is served. */
void session_accept(struct listener *l, int fd, const struct addr *peer, bool counted, const char *refusal);
/* The same in two steps, for streams that are no descriptors: between them s->c.io is opened with this handler. */
extern const struct io_handler session_io_handler;
struct session *session_new(struct listener *l, const struct addr *peer);
void session_begin(struct session *s);
/* Client connections of all workers. */
uint64_t session_count_all(void);
void session_peer(const struct session *s, struct addr *addr_r);
/* The exchange is over.  keep: the connection may carry another request. reset: it was cut short. */
void session_exchange_done(struct session *s, bool keep, bool reset);
void session_close(struct session *s, bool reset);
/* Gives its place up to others: worker_evict. */
void session_evict(struct session *s);
/* At exit: the exchange, if any, is cut. */
void session_abort(struct session *s);
void session_on_deadline(struct session *s);
/* Looks at pipelined requests, one exchange after the other; not from within the exchange before, since
 * many answers in a row would nest as deep. */
void sessions_run_ready(struct worker *w);
/* Begins to watch the clients whose first request takes longer than a tick, so that their leaving is seen. */
void sessions_watch(struct worker *w);
/* Frees what was closed. */
void sessions_reap(struct worker *w);
/* Of the exit: idle connections close but those of this site's own instances, whose calls the requests in flight may
 * need; all: theirs too.  What has arrived on them is looked at first. */
void sessions_drain(struct worker *w, bool all);
/* The exchanges under way become those that the drain waits for. */
void sessions_mark_awaited(struct worker *w);
/* The answer under way is the last of its connection: the listener is gone or the daemon about to go. */
static inline bool session_is_closing(const struct session *s)
{
	return s->worker->drain || s->listener->fd < 0;
}

#endif
