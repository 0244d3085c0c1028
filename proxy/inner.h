/* Requests of the daemon's own, run by the ordinary exchange machine through a session whose stream is memory.
 *
 * What holds: done is called exactly once for each that inner_send took, on the worker's thread, from worker_turn. The
 * request's spans and its source outlive that call.  One is tried once: repeating it is the caller's decision, but a kept
 * connection that was dead is replaced at once, unless it must not be sent twice.  It counts as no client. */
#ifndef PROXY_INNER_H
#define PROXY_INNER_H

#include "base/buf.h"
#include "http/message.h"

struct exchange;
struct inner;
struct worker;

#define INNER_ANSWER_BYTES (1u << 20) /* of an answer's content are kept; the rest is dropped */

/* Content that is not in memory. */
struct inner_source {
	/* Adds 1 to most bytes from this offset on to out, then calls done on the worker's thread, perhaps from within:
	 * exactly once when it returned 0.  An error of either, or no bytes: the content cannot be had. out is the caller's
	 * and stays until done. */
	int (*next)(struct inner_source *src, uint64_t offset, struct buf *out, size_t most,
	            void (*done)(void *arg, int rc), void *arg);
};

enum inner_result {
	INNER_ANSWERED,     /* a whole answer of who was asked */
	INNER_NOT_EXECUTED, /* certain */
	INNER_UNKNOWN,
};

struct inner_answer {
	enum inner_result result;
	unsigned status;              /* 0: none came */
	const char *reason;           /* of what is no answer: the type of a proxy's own, or a short fixed word */
	bool repeated;                /* on a connection that was kept and died: the first time may have been executed */
	bool by_proxy;                /* this site's proxy or the other's made it */
	const struct http_head *head; /* as it came, but for the gzip that was taken off; NULL: none came, or this proxy made the answer */
	struct span body;             /* decoded from its framing, gzip taken off, otherwise as it came */
	bool body_cut;                /* there was more of it */
};

struct inner_request {
	struct span service, site;    /* this site: its own instance; else through that site's mesh listener */
	struct span method, target;
	struct span fields;           /* "Name: value\r\n" lines, Host first, no framing; X-Scopemesh-Scope: its scope */
	struct span operation;        /* X-Scopemesh-Operation for another site; empty: none */
	struct span body;             /* or: */
	struct inner_source *source;
	uint64_t source_bytes;
	bool once;                    /* must not be sent twice: a fresh connection, nothing after an unknown outcome */
	void (*done)(void *arg, const struct inner_answer *answer);
	void *arg;
};

/* 0: done will be called.  ERR_NOMEM; ERR_CLOSED when the worker stops. */
int inner_send(struct worker *w, const struct inner_request *r) MUST_CHECK;

/* ---- for the machine: x->inner is set ---- */
int inner_route(struct exchange *x) MUST_CHECK;
bool inner_is_once(const struct exchange *x);
/* timeouts.response is over since its content went out: content that was long may still be on its way. */
bool inner_waits_on(struct exchange *x);
/* The head of the answer that is passed on, before anything of it is dropped. */
int inner_take_head(struct exchange *x) MUST_CHECK;
/* The exchange is over. */
void inner_judge(struct exchange *x);
/* What waits to be read, and answers: to be called until nothing is left, before what is over is freed. */
void inners_run_ready(struct worker *w);
/* Gives up those that wait for the answer of a site which has gone down meanwhile: INNER_UNKNOWN. A cut leaves them to TCP,
 * whose pauses grow with the cut and last beyond its end. */
void inners_leave_down(struct worker *w);

#endif
