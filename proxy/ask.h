/* A client for small requests of the daemon's own: one request at a time on one kept connection, on the main thread.
 * Probes of instances and what sites ask each other are made with it; requests of users never are (upstream.h). */
#ifndef PROXY_ASK_H
#define PROXY_ASK_H

#include "http/message.h"
#include "proxy/conn.h"
#include "proxy/tls.h"

struct event;

#define ASK_HEAD_BYTES 8192

enum ask_result {
	ASK_ANSWERED,
	ASK_REFUSED,       /* the host answers, nothing listens */
	ASK_NO_CONNECTION, /* none could be made, or not in time */
	ASK_SILENT,        /* connected, and no answer in time */
	ASK_BROKEN,        /* the connection ended before the answer */
	ASK_UNTRUSTED,     /* no TLS connection: the certificate of one of the two is refused */
	ASK_UNREADABLE,    /* no HTTP, or more content than was wanted */
	ASK_NOT_ASKED,     /* out of memory or descriptors: says nothing of the other side */
};

struct ask_answer {
	enum ask_result result;
	unsigned status;
	struct span content;   /* good during the call */
	const char *why;       /* of ASK_UNTRUSTED: in words, or NULL; good during the call */
	int64_t us;            /* from the request's last byte to the answer's head; a handshake is not in it */
};

struct ask {
	struct conn c;             /* first: the io handler casts back */
	struct io_loop *loop;
	struct addr addr;
	struct tls_target to;
	bool mesh;                 /* a site: says what version of the mesh's protocol we speak */
	struct event *timer;
	struct buf request;
	struct head_guard guard;
	size_t most;               /* content wanted; in holds at most this and ASK_HEAD_BYTES */
	int64_t sent_us, head_us;
	unsigned served;           /* answers on this connection */
	bool connected, waiting;
	/* Called once per ask_send, perhaps before that returns; may call ask_send, ask_close. */
	void (*done)(struct ask *a, const struct ask_answer *answer);
};

/* 0 or ERR_NOMEM.  Afterwards the owner may set to and mesh; to may change between two requests, and the connection is
 * then made anew. */
int ask_init(struct ask *a, struct io_loop *loop, const struct addr *to,
             void (*done)(struct ask *a, const struct ask_answer *answer)) MUST_CHECK;
void ask_fini(struct ask *a);
/* GET of path at host.  most: bytes of content that are wanted; 0: none, the head decides.  Not while one is waited
 * for. */
void ask_send(struct ask *a, struct span path, struct span host, size_t most, int64_t timeout_us);
/* Ends the connection; what is waited for is dropped without a call. */
void ask_close(struct ask *a);

#endif
