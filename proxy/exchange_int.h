/* The inside of an exchange, for exchange*.c and the steps they call (route.c, carrier.c, heads.c,
 * access_line.c, admin.c). */
#ifndef PROXY_EXCHANGE_INT_H
#define PROXY_EXCHANGE_INT_H

#include "base/arena.h"
#include "http/message.h"
#include "http/problem.h"
#include "proxy/exchange.h"
#include "proxy/io_pipe.h"
#include "proxy/session.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"
#include "scope/scope.h"

/* The machine's states.  Each has a step function in exchange*.c that returns NEXT, WAIT or DONE. */
#define EXCHANGE_STATES(X) \
	X(X_ROUTE, route)     /* which service, which scope, which sites */ \
	X(X_GATHER, gather)   /* short content whose ids are to be exchanged is awaited */ \
	X(X_REPLICATE, replicate) /* a replicated write: its content, then the replicator's answer, are awaited */ \
	X(X_PICK, pick)       /* the next site; none left: the answer that says so */ \
	X(X_CONNECT, connect) /* a connection to it is being made */ \
	X(X_SEND, send)       /* the request head goes out */ \
	X(X_AWAIT, await)     /* the request body goes out, the response head is awaited */ \
	X(X_HOLD, hold)       /* a response waits whose ids are about to get their names */ \
	X(X_PEEK, peek)       /* a page of several sites' lists: is there anything in it? */ \
	X(X_RELAY, relay)     /* the response goes to the client */ \
	X(X_TUNNEL, tunnel)   /* after 101: bytes both ways */ \
	X(X_REPLY, reply)     /* an answer of the proxy's own goes to the client */ \
	X(X_END, end)         /* counted, logged, given back */

enum exchange_state {
#define EXCHANGE_STATE(value, step) value,
	EXCHANGE_STATES(EXCHANGE_STATE)
#undef EXCHANGE_STATE
};

/* Towards the client, towards the upstream. */
enum exchange_way { WAY_DOWN, WAY_UP, WAYS };

enum exchange_step { STEP_NEXT, STEP_WAIT, STEP_DONE };

/* What is known of an attempt that brought no response (spec section 3). */
enum exchange_outcome {
	OUTCOME_NOT_EXECUTED, /* certain: refused, unreachable, 503 made by a proxy */
	OUTCOME_UNKNOWN,      /* sent, and no whole answer */
};

#define EXCHANGE_ROOM 4096       /* inside the exchange, before the arena goes to the heap */
#define EXCHANGE_ARENA (512u << 10) /* most heap bytes of one request beside its buffers */
#define REPLAY_BYTES (64u << 10) /* a request body up to this long can be sent again */
#define EXCHANGE_TARGETS 16      /* attempts that the log line names */

struct exchange_target {
	struct span site;
	unsigned status;   /* 0: none */
	const char *reason;
	int64_t started_us, ended_us;
	uint64_t bytes;
};

struct exchange {
	uint32_t magic;
	uint8_t state;
	struct worker *w;
	struct session *s;
	struct view *view;
	struct arena arena;

	/* the request */
	struct http_head req;
	struct http_body req_body;
	bool has_req, req_done, req_bad;
	struct buf replay;        /* request content kept to be sent again */
	size_t replay_sent;
	bool replay_lost;
	bool from_mesh, has_peer;
	bool inner, once;         /* a request of our own (inner.h); it must not be sent twice */
	bool between_sites;       /* no request of a user: neither counted nor logged */
	size_t peer;              /* from the mesh: which site it came from, by index in view->reg */

	/* where it goes */
	const struct conf_service *svc;
	size_t svc_index;
	struct span scope_text;   /* as it travels on; empty: none */
	const struct scope *scope; /* the same as a tree, where this proxy interprets it */
	bool has_scope, scope_explicit;
	bool scope_binds;         /* the scope has a binding for this service */
	const struct conf_carrier *carrier; /* that brought it; NULL: none, a fixed scope, or a peer */
	bool correlated;          /* its values are remembered */
	struct rewrite *rw;       /* the exchange of identifiers (rewrite_int.h); NULL: it has no part in this */
	struct front *front;      /* a replicated write (front.h); NULL: it is none, or is coordinated elsewhere */
	struct listing *list;     /* a page of several sites' lists (listing.h); NULL: it is none */
	struct front_scope *replicated; /* the scope's plan, where it replicates */
	struct span trace;        /* sites passed, from the mesh */
	size_t *sites;            /* alternatives, by index in view->reg */
	size_t site_count, site_at; /* site_at: the next one to try */
	size_t site;              /* the one being tried */
	struct pool *pool;
	size_t instance_at;       /* of the local service: the one being tried */
	uint64_t instances_tried; /* bit per instance of the local service */
	unsigned attempts;
	bool fresh_only;          /* a kept connection died under this request */
	int64_t give_up_us;       /* until then an idempotent request is repeated */
	unsigned repeats, retry_ticks; /* pauses taken; ticks left of the present one */
	bool outcome_unknown;     /* an attempt may have been executed */
	const char *bad_answer;   /* why the last response was refused; NULL: none came */
	unsigned interim_count;   /* 1xx of this attempt */

	/* the attempt under way */
	struct upstream *up;
	bool hold;                /* we withhold the body until the other proxy says 100 */
	bool held_by_peer;        /* the other proxy does, until we do */
	bool sent_any;            /* bytes of the request went out on this connection */
	bool upstream_req_done;   /* the whole request went out */
	bool up_chunked;          /* the body goes out chunked */
	bool req_abandoned;       /* the upstream stopped reading: its response is waited for */
	struct http_head res;
	struct http_body res_body;

	/* towards the client */
	bool res_started, res_done, keep, cut;
	bool client_chunked;
	bool client_ended, upstream_ended; /* of a tunnel: directions that are over */
	bool continue_sent;
	struct io_pipe pipe[WAYS]; /* of bulk content, see exchange_splice.c */
	uint8_t no_splice;         /* bit per way: no pipe was to be had */
	struct buf reply;         /* an own answer's content */
	struct admin_reading *reading; /* the answer is being read from the store */
	unsigned status;
	const char *reason;       /* short fixed word for the log */
	const char *proxy_error;  /* type of an own answer, or of a peer's */
	struct span served_by;
	uint8_t op;

	int64_t start_us, connect_us, first_us, wall_ms;
	uint64_t bytes_in, bytes_out;
	unsigned target_count;
	TAILQ_ENTRY(exchange) link;
	/* from here on not cleared when an exchange begins */
	struct exchange_target targets[EXCHANGE_TARGETS];
	max_align_t room[EXCHANGE_ROOM / sizeof(max_align_t)];
};
_Static_assert(sizeof(struct exchange) <= EXCHANGE_ROOM + 2304, "docs/memory.md says what a request under way costs");

/* An own answer: a problem document. p->status, type and members are the caller's; site, service and times are
 * put in.  The state becomes X_REPLY. Nothing of a response may have been sent. */
void exchange_problem(struct exchange *x, struct problem *p);
/* An own answer with other content, which x->reply holds; content_type NULL: 204. */
void exchange_reply(struct exchange *x, unsigned status, const char *content_type);

/* An own answer that passes on the application's: its head is x->res, its content x->reply. */
void exchange_reply_answer(struct exchange *x);

/* route.c: service, scope and sites of the request; on refusal it has called exchange_problem and returns an error. */
int route_request(struct exchange *x) MUST_CHECK;
/* Not to be asked first: this worker's last connect failed, or the site is judged unreachable. */
bool route_is_known_down(const struct exchange *x, size_t site);
/* Of x->sites those that are known to be down are tried last; the order stays otherwise. */
void route_put_down_last(struct exchange *x);

/* The answer to a scope that is wrong; text: the scope. Always an error. */
int route_scope_problem(struct exchange *x, struct span text, const struct scope_error *e);

/* exchange_correlate.c: the part of correlate:NAME.  The scope of a request that brings none itself: true when a value
 * of it came in with one, and it comes from one of this site's instances. */
bool correlate_find(struct exchange *x);
/* Gives a request with a scope the headers it lacks.  0 or ERR_NOMEM. */
int correlate_complete(struct exchange *x) MUST_CHECK;
/* The request is about to reach an instance: its values stand for its scope from now on. */
void correlate_remember(struct exchange *x);

/* heads.c */
int heads_add_request(struct exchange *x, struct buf *out) MUST_CHECK;
int heads_add_response(struct exchange *x, struct buf *out) MUST_CHECK;
/* 101: the connection changes its protocol. */
int heads_add_switch(struct exchange *x, struct buf *out) MUST_CHECK;
int heads_add_interim(struct exchange *x, struct buf *out) MUST_CHECK;
int heads_add_reply(struct exchange *x, const char *content_type, struct buf *out) MUST_CHECK;
/* Of an answer in x->res that came by another way than the attempt under way; content_type is not looked at. */
int heads_add_answer(struct exchange *x, const char *content_type, struct buf *out) MUST_CHECK;
/* X-Forwarded-*; what a client says of them and is not believed is dropped from x->req. */
void heads_add_forwarded(struct exchange *x, struct buf *out);
/* A site's name as a token: what is no token character is percent-encoded (Via, Proxy-Status). */
void heads_add_token(struct buf *out, struct span name);
/* Whether token is what heads_add_token makes of name. */
bool heads_is_token(struct exchange *x, struct span token, struct span name);

/* access_line.c: the line in the access log and the counters. */
void exchange_account(struct exchange *x);

/* admin.c: answers a request at the admin listener; STEP_WAIT: for its content, or for the store. */
enum exchange_step admin_handle(struct exchange *x);
/* The request is over: what is being read for it is for nobody (x->reading). */
void admin_leave(struct exchange *x);

/* ---- between the parts of the machine --------------------------------------------------------------------- */

/* Runs steps until one waits or the exchange is over (then x is gone). */
void exchange_run(struct exchange *x);
#define EXCHANGE_STEP_DECLARE(value, step) enum exchange_step exchange_step_##step(struct exchange *x);
EXCHANGE_STATES(EXCHANGE_STEP_DECLARE)
#undef EXCHANGE_STEP_DECLARE

/* exchange_attempt.c */
bool exchange_is_local(const struct exchange *x);
bool exchange_is_safe(const struct exchange *x);
bool exchange_is_repeatable(const struct exchange *x);
/* Somewhere else to go when this attempt brings nothing. */
bool exchange_more_places(const struct exchange *x);
struct exchange_target *exchange_target_now(struct exchange *x);
/* Closes the record of the attempt under way; reason NULL: it answered. */
void exchange_target_end(struct exchange *x, const char *reason);
/* The attempt brought no answer that could be passed on; the state says what comes next. */
void exchange_attempt_failed(struct exchange *x, enum exchange_outcome outcome, enum stats_reason reason);
/* The peer's TLS refused us after all: nothing was looked at. */
void exchange_on_upstream_refused(struct exchange *x);
/* What the attempt under way met, where it went to an instance. */
void exchange_note_instance(struct exchange *x, enum instance_event event);
void exchange_move_on(struct exchange *x, enum stats_reason reason);
/* The same place once more, at once; the attempt under way is over. */
void exchange_same_again(struct exchange *x);

/* exchange_request.c */
/* Data pieces of one gathered write: chunk head, data and chunk end each. */
#define PUMP_PIECES 9
/* Pieces of one gathered write.  heads: room for the chunk heads, which the spans point into. */
struct pieces {
	struct span span[CONN_SPANS];
	char heads[PUMP_PIECES][HTTP_CHUNK_HEAD_BYTES];
	int count, data;
	bool chunked;
};

bool pieces_full(const struct pieces *p);
void pieces_add(struct pieces *p, struct span data);
/* The end of a chunked message, with the trailers that came. */
void pieces_end(struct pieces *p, struct arena *arena, const struct http_body *body);
/* Takes content off *in, which is the session's input, into pieces; false: it turned out bad, and was answered. */
bool exchange_take_content(struct exchange *x, struct span *in, struct pieces *p);
/* More content is to come: the client's reader and its time limit are on. */
void exchange_await_content(struct exchange *x);
/* Our own 100; false: the client is gone. */
bool exchange_release_content(struct exchange *x);
/* Sends what there is of the request.  False when the attempt or the exchange has ended by that (the state says
 * how): run the machine. */
bool exchange_pump_request(struct exchange *x);
/* The request's content turned out bad: an answer, or the cut when one has begun. */
void exchange_request_unreadable(struct exchange *x, unsigned status, const char *type, const char *detail);
/* Drops what is left of the request's content where it is here already; else the connection will close. */
void exchange_forget_request(struct exchange *x);

/* The client has left: nothing can be answered. */
void exchange_client_gone(struct exchange *x);

/* exchange_splice.c: content that goes from socket to socket */
enum splice_result {
	SPLICE_DONE,        /* the whole body is through */
	SPLICE_FROM_EMPTY,  /* more comes */
	SPLICE_TO_FULL,     /* its write event is on, reading the other side is off */
	SPLICE_FROM_BROKEN, /* ended or broken within the body */
	SPLICE_TO_BROKEN,
};

/* What comes next of this body is to be spliced, not read. */
bool exchange_splices_response(struct exchange *x);
bool exchange_splices_request(struct exchange *x);
enum splice_result exchange_splice(struct exchange *x, enum exchange_way way);

/* exchange_response.c */
void exchange_on_response_bytes(struct exchange *x);
/* The response is an answer: to the client with it, if it can be passed on. */
void exchange_pass_response(struct exchange *x);
/* The response cannot be completed: the client's connection is reset. */
void exchange_cut_short(struct exchange *x, const char *reason);

/* exchange_tunnel.c: the upstream has agreed to the upgrade. */
void exchange_start_tunnel(struct exchange *x);

static inline struct span local_site(const struct exchange *x)
{
	return x->view->conf->site;
}

#endif
