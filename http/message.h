/* HTTP/1 messages without sockets (RFC 9110, 9112): the head of a request or response read from a
 * contiguous buffer, judged, and its framing decided; bodies decoded as they stream; heads
 * written.  This folder knows no connection and no clock. The only user of llhttp is head.c.
 *
 * How a connection uses it:
 *
 *	bytes arrive in a struct buf
 *	  -> head_guard_feed() over the new bytes until it says where the head ends (or refuses)
 *	  -> http_request_parse() / http_response_parse() over the whole head: spans into the buffer
 *	  -> http_body_init(), then http_body_next() over what follows: decoded pieces, then the end
 */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* ---- the guard over the raw head (facts: what llhttp lets through) --------------------------- */

/* Incremental; {0} to begin. A few bytes: it lives in every connection that reads a head. */
struct head_guard {
	uint32_t seen;  /* bytes of the head judged so far */
	uint8_t state;
	uint8_t line_state;
};

enum guard_verdict {
	GUARD_MORE,     /* everything so far is well formed, the head goes on */
	GUARD_COMPLETE, /* guard->seen is the length of the head, its last CRLF CRLF included */
	GUARD_REFUSED,  /* *reason_r: a constant sentence that says what is wrong */
};

/* head: everything received of this message so far, from its first byte; only the part after
 * guard->seen is looked at. Refuses bare CR, bare LF, NUL and other control characters but tab,
 * folded lines, an empty field name, a blank in or after a field name, a line without colon,
 * CRLF LF, double blanks in a request line.  Empty lines (CRLF) before a request line are for the
 * caller to skip with http_skip_blank_lines (RFC 9112 2.2). */
enum guard_verdict head_guard_feed(struct head_guard *guard, struct span head, const char **reason_r);

/* The first line has not ended yet: a head that is too long already here is answered with 414. */
bool head_guard_in_first_line(const struct head_guard *guard);

/* Bytes of leading CRLFs in s (only whole CRLF pairs; at most 8 bytes). For requests, while
 * guard->seen is 0: a CR alone at the very beginning is not taken by the guard. */
size_t http_skip_blank_lines(struct span s);

/* ---- fields ------------------------------------------------------------------------------------ */

/* Field names the proxy acts on: id, lower-case name.  http_field_id() finds them without case. */
#define HTTP_FIELDS(X) \
	X(HTTP_ACCEPT_ENCODING, "accept-encoding") \
	X(HTTP_AUTHORIZATION, "authorization") \
	X(HTTP_BAGGAGE, "baggage") \
	X(HTTP_CONNECTION, "connection") \
	X(HTTP_CONTENT_ENCODING, "content-encoding") \
	X(HTTP_CONTENT_LENGTH, "content-length") \
	X(HTTP_CONTENT_TYPE, "content-type") \
	X(HTTP_COOKIE, "cookie") \
	X(HTTP_DATE, "date") \
	X(HTTP_EXPECT, "expect") \
	X(HTTP_FORWARDED, "forwarded") \
	X(HTTP_HOST, "host") \
	X(HTTP_IDEMPOTENCY_KEY, "idempotency-key") \
	X(HTTP_KEEP_ALIVE, "keep-alive") \
	X(HTTP_LOCATION, "location") \
	X(HTTP_MAX_FORWARDS, "max-forwards") \
	X(HTTP_ORIGIN, "origin") \
	X(HTTP_PROXY_AUTHENTICATE, "proxy-authenticate") \
	X(HTTP_PROXY_AUTHORIZATION, "proxy-authorization") \
	X(HTTP_PROXY_CONNECTION, "proxy-connection") \
	X(HTTP_PROXY_STATUS, "proxy-status") \
	X(HTTP_RETRY_AFTER, "retry-after") \
	X(HTTP_SERVER, "server") \
	X(HTTP_TE, "te") \
	X(HTTP_TRACEPARENT, "traceparent") \
	X(HTTP_TRAILER, "trailer") \
	X(HTTP_TRANSFER_ENCODING, "transfer-encoding") \
	X(HTTP_UPGRADE, "upgrade") \
	X(HTTP_VIA, "via") \
	X(HTTP_X_FORWARDED_FOR, "x-forwarded-for") \
	X(HTTP_X_FORWARDED_HOST, "x-forwarded-host") \
	X(HTTP_X_FORWARDED_PROTO, "x-forwarded-proto") \
	X(HTTP_X_REQUEST_ID, "x-request-id") \
	X(HTTP_X_SCOPE, "x-scope") \
	X(HTTP_X_SCOPEMESH_ERROR, "x-scopemesh-error") \
	X(HTTP_X_SCOPEMESH_OPERATION, "x-scopemesh-operation") \
	X(HTTP_X_SCOPEMESH_REPLICATE, "x-scopemesh-replicate") \
	X(HTTP_X_SCOPEMESH_SCOPE, "x-scopemesh-scope") \
	X(HTTP_X_SCOPEMESH_SERVICE, "x-scopemesh-service") \
	X(HTTP_X_SCOPEMESH_TRACE, "x-scopemesh-trace")

enum http_field_id {
	HTTP_OTHER = 0,
#define HTTP_FIELD_ID(id, name) id,
	HTTP_FIELDS(HTTP_FIELD_ID)
#undef HTTP_FIELD_ID
	/* Names by prefix, told apart from HTTP_OTHER so that they can be dropped by id. */
	HTTP_X_SCOPE_ANY,     /* other x-scope-* */
	HTTP_X_SCOPEMESH_ANY, /* other x-scopemesh-* */
	HTTP_FIELD_IDS
};

enum http_field_id http_field_id(struct span name);

struct http_field {
	struct span name, value; /* value without outer OWS */
	uint8_t id;              /* enum http_field_id */
	uint8_t drop;            /* set by whoever decides that it does not travel on */
};

/* ---- heads ---------------------------------------------------------------------------------------- */

enum http_framing {
	HTTP_NO_BODY,    /* none, or Content-Length: 0 */
	HTTP_LENGTH,     /* exactly content_length bytes */
	HTTP_CHUNKED,
	HTTP_UNTIL_CLOSE /* responses only */
};

enum http_method_kind {
	HTTP_METHOD_OTHER, /* POST, PATCH, LOCK ...: not idempotent */
	HTTP_METHOD_SAFE,  /* GET, HEAD, OPTIONS, TRACE, PROPFIND, REPORT, SEARCH */
	HTTP_METHOD_IDEMPOTENT, /* PUT, DELETE, MKCOL, COPY, MOVE, PROPPATCH ... (RFC 9110 9.2.2, RFC 4918) */
};

enum http_target_form { HTTP_TARGET_ORIGIN, HTTP_TARGET_ABSOLUTE, HTTP_TARGET_AUTHORITY, HTTP_TARGET_ASTERISK };

struct http_head {
	/* requests */
	struct span method, target;
	enum http_method_kind method_kind;
	bool is_head, is_connect;
	enum http_target_form target_form;
	struct span scheme, authority; /* of an absolute target; authority also of CONNECT */
	struct span path_query;        /* what an origin server is asked for: "/a?b"; "*" for OPTIONS * */
	struct span path;              /* of path_query, without the query */
	struct span host;              /* effective host: the absolute target's authority, else Host */
	bool expect_continue;
	int64_t max_forwards;          /* of TRACE and OPTIONS (RFC 9110 7.6.2); -1: no field, or another method */
	/* responses */
	unsigned status;
	struct span reason;
	/* both */
	unsigned minor;          /* HTTP/1.minor: 0 or 1 */
	bool keep_alive;         /* what the message says of its connection (RFC 9112 9.3) */
	bool upgrade;            /* Connection: upgrade, and an Upgrade field that names a protocol (http_upgrade_next) */
	enum http_framing framing;
	uint64_t content_length; /* with HTTP_LENGTH; for answers to HEAD and 304 what was announced */
	bool has_content_length; /* a Content-Length was there, whatever the framing */
	struct http_field *fields; /* in the arena, in order of arrival */
	size_t field_count;
};

struct http_refusal {
	unsigned status;    /* what to answer: 400, 417, 431, 501, 505; 502 for responses */
	const char *reason; /* one constant sentence */
};

/* More fields than this are refused (431). */
#define HTTP_FIELDS_MAX 512

/* head: exactly the bytes that the guard called complete.  Everything in *head_r points into head or
 * the arena.  0, or ERR_SYNTAX (with *why_r filled), or ERR_NOMEM. */
int http_request_parse(struct arena *arena, struct span head, struct http_head *head_r,
                       struct http_refusal *why_r) MUST_CHECK;
/* to: the request that is answered (its method decides whether a body follows; a 101 that it did
 * not ask for is refused). NULL: a GET without Upgrade. */
int http_response_parse(struct arena *arena, struct span head, const struct http_head *to,
                        struct http_head *head_r, struct http_refusal *why_r) MUST_CHECK;

/* The first field with this id, or NULL. */
struct http_field *http_find(const struct http_head *head, enum http_field_id id);
size_t http_count(const struct http_head *head, enum http_field_id id);
/* The first field of this name without case, or NULL. */
struct http_field *http_find_name(const struct http_head *head, struct span name);

/* Next member of a comma-separated list (RFC 9110 5.6.1), quoted strings respected, trimmed; empty
 * members are passed over.  False at the end. */
bool http_list_next(struct span *rest, struct span *member_r);
/* True when the list holds this token, compared without case. */
bool http_list_has(struct span list, struct span token);

/* Next protocol of an Upgrade field that may be switched to.  h2c is passed over: through such a tunnel requests would
 * pass unseen, and the mechanism is obsolete (RFC 9113 3.1). */
bool http_upgrade_next(struct span *rest, struct span *protocol_r);

/* Marks as dropped what may not travel on (RFC 9110 7.6.1): Connection and every field it names,
 * Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade, Content-Length (framing is
 * always written anew), Proxy-Authenticate and Proxy-Authorization as RFC 9110 11.7 says. A field
 * that Connection may not name, which is every other one of HTTP_FIELDS and our own, stays although
 * it is named. */
void http_drop_hop_by_hop(struct http_head *head);

/* Status, reason and fields that outlive `from`. 0, ERR_NOMEM. */
int http_head_copy(struct arena *arena, const struct http_head *from, struct http_head *to) MUST_CHECK;

/* The reason phrase of a status, "" if unknown. */
const char *http_reason(unsigned status);

/* ---- bodies ---------------------------------------------------------------------------------------- */

struct http_body {
	enum http_framing framing;
	uint64_t left;      /* of the length, or of the current chunk */
	uint64_t total;     /* decoded bytes so far */
	uint8_t state;      /* http/body.c: enum body_state */
	uint8_t failure;    /* http/body.c: which reason, once HTTP_BODY_BAD came */
	uint32_t overhead;  /* bytes of the current chunk line */
	struct head_guard guard; /* over the trailers */
	struct buf trailers; /* raw trailer section, whole once HTTP_BODY_END came; empty: none. At most 16 KiB */
};

enum http_body_event {
	HTTP_BODY_MORE,  /* all input is used up, more is needed */
	HTTP_BODY_DATA,  /* *data_r is a piece of the content */
	HTTP_BODY_END,   /* the body is complete; what is left of the input belongs to the next message */
	HTTP_BODY_BAD,   /* malformed: *reason_r */
};

void http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length);
void http_body_fini(struct http_body *body);
/* Takes what it uses off the front of *in.  An own chunk decoder, since llhttp 8 accepts chunk data not
 * followed by CRLF and refuses valid chunk extensions (RFC 9112 7.1). Bounds: 4 KiB for a chunk line,
 * sizes below 2^63. Trailers are judged as fields are (guard rules). */
enum http_body_event http_body_next(struct http_body *body, struct span *in, struct span *data_r,
                                    const char **reason_r);
/* Bytes of plain content (neither chunked nor until close) that are still to come, 0 for others; and that n of them have
 * passed by without being looked at. */
uint64_t http_body_left(const struct http_body *body);
void http_body_pass(struct http_body *body, size_t n);
/* The peer closed its side: true when that ends the body correctly (HTTP_UNTIL_CLOSE, or complete). */
bool http_body_closed(struct http_body *body);

/* Parsed trailer fields (guarded like a head); fields that may not be trailers (framing, routing,
 * authentication, content fields: RFC 9110 6.5.1) are left out. 0, ERR_SYNTAX, ERR_NOMEM. */
int http_trailers_parse(struct arena *arena, struct span raw, struct http_field **fields_r,
                        size_t *count_r) MUST_CHECK;

/* Writes "size CRLF" of a chunk, NUL-terminated, into room; its length.  The data and CRLF follow. */
#define HTTP_CHUNK_HEAD_BYTES 20
size_t http_chunk_head(char room[HTTP_CHUNK_HEAD_BYTES], uint64_t bytes);

#endif
