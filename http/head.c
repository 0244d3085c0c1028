/* Heads: a guarded head through llhttp, then judged by rules of our own.
 *
 * The only user of llhttp.  It reads the whole head in one call, in strict mode, never with
 * lenient flags, and is left as soon as it says that the headers are complete: bodies are
 * decoded in body.c.  Its parser lives on the stack.
 *
 * Two readers that disagree are the root of smuggled requests, so the guard's reading and
 * llhttp's are held against each other: every field that llhttp reports must lie exactly where
 * the last line ended, and the last one must end where the head ends.  An input on which they
 * differ is refused, whichever of the two is wrong.
 *
 * What llhttp decides is not used beyond "well formed" and the places of names and values:
 * version, method, target, framing and connection options are judged here, since llhttp 8.1
 * takes "gzip, chunked" for chunked, does not see "close" before a tab, and knows no rule about
 * Host (RFC 9110 7.2; 9112 2.3, 3.2, 6.1-6.3, 9.3). */
#include <llhttp.h>

#include "http/guard_int.h"
#include "http/target_int.h"

/* Fields to make room for at first; more are moved to twice the room. */
#define FIELDS_FIRST 24

/* What llhttp finds, collected. */
struct collector {
	struct arena *arena;
	struct http_field *fields;
	size_t count, room;
	const char *line; /* where the next field line must begin */
	const char *end;  /* of the head */
	bool name_open;   /* a name came, its value did not yet */
	bool complete;
	bool split;       /* llhttp and the guard disagree */
	bool no_memory, too_many;
};

/* ---- llhttp's callbacks ---------------------------------------------------------------------- */

static int grow(struct collector *c)
{
	size_t room = c->room ? c->room * 2 : FIELDS_FIRST;
	struct http_field *fields;

	if (c->count == HTTP_FIELDS_MAX) {
		c->too_many = true;
		return -1;
	}
	fields = arena_alloc(c->arena, room * sizeof(*fields));
	if (!fields) {
		c->no_memory = true;
		return -1;
	}
	if (c->count)
		memcpy(fields, c->fields, c->count * sizeof(*fields));
	c->fields = fields;
	c->room = room;
	return 0;
}

static int disagree(struct collector *c)
{
	c->split = true;
	return -1;
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* The line of the last field ends behind its value, blanks aside. */
static int close_line(struct collector *c, const char *value_end)
{
	const char *p = skip_blanks(value_end, c->end);

	if (c->end - p < 2 || p[0] != '\r' || p[1] != '\n')
		return disagree(c);
	c->line = p + 2;
	c->name_open = false;
	return 0;
}

/* An empty value may come as no callback at all. */
static int close_open_name(struct collector *c)
{
	struct http_field *f;

	if (!c->name_open)
		return 0;
	f = &c->fields[c->count - 1];
	return close_line(c, f->name.p + f->name.n + 1);
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
	struct collector *c = parser->data;

	if (close_open_name(c))
		return -1;
	if (at != c->line || c->end - at <= (ptrdiff_t)n || at[n] != ':')
		return disagree(c);
	if ((c->count == c->room || c->count == HTTP_FIELDS_MAX) && grow(c))
		return -1;
	c->fields[c->count++] = (struct http_field){
		.name = { at, n },
		.value = { at + n + 1, 0 },
		.id = (uint8_t)http_field_id(span_make(at, n)),
	};
	c->name_open = true;
	return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
	struct collector *c = parser->data;
	struct http_field *f;

	if (!c->name_open)
		return n ? disagree(c) : 0;
	f = &c->fields[c->count - 1];
	/* A first callback without bytes may point anywhere in the line. */
	if (n == 0)
		return close_open_name(c);
	if (skip_blanks(f->value.p, c->end) != at)
		return disagree(c);
	f->value = span_trim(span_make(at, n));
	return close_line(c, at + n);
}

static int on_complete(llhttp_t *parser)
{
	struct collector *c = parser->data;

	if (close_open_name(c))
		return -1;
	if (c->end - c->line != 2)
		return disagree(c);
	c->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_complete,
};

/* ---- refusals -------------------------------------------------------------------------------- */

/* status: for requests; the caller of a response turns it into 502. */
static int refuse(struct http_refusal *why, unsigned status, const char *reason)
{
	*why = (struct http_refusal){ status, reason };
	return ERR_SYNTAX;
}

static const struct {
	llhttp_errno_t error;
	unsigned status;
	const char *reason;
} parser_errors[] = {
	{ HPE_INVALID_METHOD, 501, "the method is not known here" },
	/* The version was judged before: it misses a method of HTTP (RTSP has others). */
	{ HPE_INVALID_CONSTANT, 501, "the method is not known here" },
	{ HPE_INVALID_URL, 400, "the request target holds a byte that no target may hold" },
	{ HPE_INVALID_CONTENT_LENGTH, 400, "Content-Length is no number, or too large" },
	{ HPE_UNEXPECTED_CONTENT_LENGTH, 400,
	  "Content-Length came twice, or together with Transfer-Encoding" },
	{ HPE_INVALID_TRANSFER_ENCODING, 400, "Transfer-Encoding does not end in chunked" },
	{ HPE_INVALID_HEADER_TOKEN, 400, "a field line is malformed" },
	{ HPE_INVALID_STATUS, 400, "the status line is malformed" },
};

static int refuse_error(struct http_refusal *why, llhttp_errno_t error)
{
	for (size_t i = 0; i < sizeof(parser_errors) / sizeof(parser_errors[0]); i++)
		if (parser_errors[i].error == error)
			return refuse(why, parser_errors[i].status, parser_errors[i].reason);
	return refuse(why, 400, "the head is malformed");
}

/* Through llhttp; fields: where the first field line begins. */
static int collect(struct arena *arena, llhttp_type_t type, struct span head, const char *fields,
                   struct http_head *h, struct http_refusal *why)
{
	struct collector c = { .arena = arena, .line = fields, .end = head.p + head.n };
	llhttp_errno_t error;
	llhttp_t parser;

	llhttp_init(&parser, type, &settings);
	parser.data = &c;
	error = llhttp_execute(&parser, head.p, head.n);
	if (c.no_memory)
		return ERR_NOMEM;
	if (c.too_many)
		return refuse(why, 431, "the head has more than 512 fields");
	if (c.split)
		return refuse(why, 400, "the head can be read in two ways");
	if (error != HPE_PAUSED)
		return refuse_error(why, error);
	if (!c.complete || llhttp_get_error_pos(&parser) != c.end)
		return refuse(why, 400, "the head can be read in two ways");
	h->fields = c.fields;
	h->field_count = c.count;
	return 0;
}

/* ---- what the fields say --------------------------------------------------------------------- */

struct summary {
	const struct http_field *host, *length, *coding, *forwards; /* the first of each */
	unsigned hosts, lengths, codings, max_forwards;
	bool close, keep_alive, upgrade_option, upgrade_field, expect_continue, expect_other;
};

static void note_connection(struct summary *s, struct span options)
{
	struct span option;

	while (http_list_next(&options, &option)) {
		if (span_ieq(option, SPAN("close")))
			s->close = true;
		else if (span_ieq(option, SPAN("keep-alive")))
			s->keep_alive = true;
		else if (span_ieq(option, SPAN("upgrade")))
			s->upgrade_option = true;
	}
}

static void note_expectation(struct summary *s, struct span list)
{
	struct span member;

	while (http_list_next(&list, &member)) {
		if (span_ieq(member, SPAN("100-continue")))
			s->expect_continue = true;
		else
			s->expect_other = true;
	}
}

static void note_field(struct summary *s, const struct http_field *f)
{
	struct span list, protocol;

	switch ((enum http_field_id)f->id) {
	case HTTP_HOST:
		if (s->hosts++ == 0)
			s->host = f;
		break;
	case HTTP_CONTENT_LENGTH:
		if (s->lengths++ == 0)
			s->length = f;
		break;
	case HTTP_TRANSFER_ENCODING:
		if (s->codings++ == 0)
			s->coding = f;
		break;
	case HTTP_CONNECTION:
		note_connection(s, f->value);
		break;
	case HTTP_UPGRADE:
		list = f->value;
		s->upgrade_field |= http_upgrade_next(&list, &protocol);
		break;
	case HTTP_EXPECT:
		note_expectation(s, f->value);
		break;
	case HTTP_MAX_FORWARDS:
		if (s->max_forwards++ == 0)
			s->forwards = f;
		break;
	default:
		break;
	}
}

static struct summary summarize(struct http_head *h)
{
	struct summary s = { 0 };

	for (size_t i = 0; i < h->field_count; i++)
		note_field(&s, &h->fields[i]);
	/* Upgrade and Expect mean nothing before HTTP/1.1 (RFC 9110 7.8, 10.1.1). */
	h->upgrade = h->minor == 1 && s.upgrade_option && s.upgrade_field;
	h->expect_continue = h->minor == 1 && s.expect_continue;
	h->keep_alive = !s.close && (h->minor == 1 || s.keep_alive);
	return s;
}

#define NOT_CHUNKED "Transfer-Encoding must be chunked and nothing else"

/* The coding is not exactly "chunked".  Codings applied below one final chunked are well formed
 * but not implemented (RFC 9112 6.1); anything else leaves the length in doubt. */
static int refuse_coding(struct span list, struct http_refusal *why)
{
	bool chunked = false, member = false;
	struct span coding;

	while (span_split(&list, ',', &coding)) {
		coding = span_trim(coding);
		if (chunked || !http_is_token(coding))
			return refuse(why, 400, NOT_CHUNKED);
		chunked = span_ieq(coding, SPAN("chunked"));
		member = true;
	}
	if (member && chunked)
		return refuse(why, 501, "no transfer coding but chunked is known here");
	return refuse(why, 400, NOT_CHUNKED);
}

static int judge_coding(const struct http_head *h, const struct summary *s,
                        struct http_refusal *why)
{
	if (h->minor == 0)
		return refuse(why, 400, "HTTP/1.0 has no Transfer-Encoding");
	if (s->lengths)
		return refuse(why, 400, "Content-Length came together with Transfer-Encoding");
	if (s->codings > 1)
		return refuse(why, 400, "Transfer-Encoding came twice");
	if (!span_ieq(s->coding->value, SPAN("chunked")))
		return refuse_coding(s->coding->value, why);
	return 0;
}

/* RFC 9112 6.3 without the rules that look at method and status. */
static int judge_framing(struct http_head *h, const struct summary *s, struct http_refusal *why)
{
	unsigned long long length;

	if (s->codings) {
		h->framing = HTTP_CHUNKED;
		return judge_coding(h, s, why);
	}
	h->framing = HTTP_NO_BODY;
	if (!s->lengths)
		return 0;
	if (s->lengths > 1)
		return refuse(why, 400, "Content-Length came twice");
	if (!span_to_u64(s->length->value, INT64_MAX, &length))
		return refuse(why, 400, "Content-Length is no number, or too large");
	h->has_content_length = true;
	h->content_length = length;
	if (length)
		h->framing = HTTP_LENGTH;
	return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct span first_line(struct span head)
{
	size_t n = span_find(head, '\n');

	return span_head(head, n && n < head.n ? n - 1 : 0);
}

static bool is_version(struct span s)
{
	return s.n == 8 && span_starts(s, SPAN("HTTP/")) && s.p[6] == '.' && s.p[5] >= '0' &&
	       s.p[5] <= '9' && s.p[7] >= '0' && s.p[7] <= '9';
}

static int judge_version(struct http_head *h, struct span version, struct http_refusal *why)
{
	if (!is_version(version))
		return refuse(why, 400, "the HTTP version is malformed");
	if (version.p[5] == '2')
		return refuse(why, 505, "HTTP/2 is not spoken here: use HTTP/1.1");
	if (version.p[5] != '1' || version.p[7] > '1')
		return refuse(why, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	h->minor = (unsigned)(version.p[7] - '0');
	return 0;
}

static int read_request_line(struct http_head *h, struct span line, struct http_refusal *why)
{
	size_t n = span_find(line, ' ');

	h->method = span_head(line, n);
	if (!http_is_token(h->method))
		return refuse(why, 400, "the method is malformed");
	line = span_from(line, n + 1);
	n = span_find(line, ' ');
	h->target = span_head(line, n);
	if (n == line.n || n == 0)
		return refuse(why, 400, "the request line has no HTTP version");
	return judge_version(h, span_from(line, n + 1), why);
}

/* The IANA registry of methods: safe, or idempotent.  Those it lacks are neither. */
static const struct {
	struct span name;
	enum http_method_kind kind;
} methods[] = {
#define METHOD(name, kind) { { name, sizeof(name) - 1 }, HTTP_METHOD_##kind }
	METHOD("GET", SAFE), METHOD("HEAD", SAFE), METHOD("OPTIONS", SAFE), METHOD("TRACE", SAFE),
	METHOD("PROPFIND", SAFE), METHOD("REPORT", SAFE), METHOD("SEARCH", SAFE),
	METHOD("QUERY", SAFE), METHOD("PUT", IDEMPOTENT), METHOD("DELETE", IDEMPOTENT),
	METHOD("ACL", IDEMPOTENT), METHOD("BIND", IDEMPOTENT), METHOD("CHECKOUT", IDEMPOTENT),
	METHOD("COPY", IDEMPOTENT), METHOD("LINK", IDEMPOTENT), METHOD("MERGE", IDEMPOTENT),
	METHOD("MKACTIVITY", IDEMPOTENT), METHOD("MKCALENDAR", IDEMPOTENT),
	METHOD("MKCOL", IDEMPOTENT), METHOD("MOVE", IDEMPOTENT), METHOD("PROPPATCH", IDEMPOTENT),
	METHOD("REBIND", IDEMPOTENT), METHOD("UNBIND", IDEMPOTENT), METHOD("UNLINK", IDEMPOTENT),
	METHOD("UNLOCK", IDEMPOTENT),
#undef METHOD
};

static enum http_method_kind method_kind(struct span method)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (span_eq(method, methods[i].name))
			return methods[i].kind;
	return HTTP_METHOD_OTHER;
}

/* RFC 9112 3.2, 3.2.2: an absolute target's authority wins over Host, which is judged all the
 * same. */
static int judge_host(struct http_head *h, const struct summary *s, struct http_refusal *why)
{
	if (s->hosts > 1)
		return refuse(why, 400, "Host came twice");
	if (!s->hosts && h->minor == 1)
		return refuse(why, 400, "Host is missing");
	if (s->hosts && !host_is_valid(s->host->value))
		return refuse(why, 400, "Host is malformed");
	if (h->authority.n)
		h->host = h->authority;
	else if (s->hosts)
		h->host = s->host->value;
	return 0;
}

/* RFC 9110 7.6.2: it counts for these two methods, others carry it along. */
static int judge_max_forwards(struct http_head *h, const struct summary *s, struct http_refusal *why)
{
	unsigned long long n;

	h->max_forwards = -1;
	if (!s->max_forwards || !(span_eq(h->method, SPAN("TRACE")) || span_eq(h->method, SPAN("OPTIONS"))))
		return 0;
	if (s->max_forwards > 1 || !span_to_u64(s->forwards->value, INT64_MAX, &n))
		return refuse(why, 400, "Max-Forwards is no number, or came twice");
	h->max_forwards = (int64_t)n;
	return 0;
}

int http_request_parse(struct arena *arena, struct span head, struct http_head *head_r,
                       struct http_refusal *why_r)
{
	struct span line = first_line(head);
	struct http_head *h = head_r;
	struct summary s;
	const char *reason;
	int rc;

	*h = (struct http_head){ 0 };
	rc = read_request_line(h, line, why_r);
	if (rc)
		return rc;
	h->is_head = span_eq(h->method, SPAN("HEAD"));
	h->is_connect = span_eq(h->method, SPAN("CONNECT"));
	h->method_kind = method_kind(h->method);
	rc = collect(arena, HTTP_REQUEST, head, line.p + line.n + 2, h, why_r);
	if (rc)
		return rc;
	rc = target_parse(arena, h, &reason);
	if (rc == ERR_SYNTAX)
		return refuse(why_r, 400, reason);
	if (rc)
		return rc;
	s = summarize(h);
	rc = judge_host(h, &s, why_r);
	if (!rc)
		rc = judge_framing(h, &s, why_r);
	if (!rc)
		rc = judge_max_forwards(h, &s, why_r);
	if (!rc && h->minor == 1 && s.expect_other)
		rc = refuse(why_r, 417, "no expectation but 100-continue can be met (Expect)");
	/* Bytes after CONNECT belong to the tunnel (RFC 9110 9.3.6); a length would leave in doubt
	 * which ones. */
	if (!rc && h->is_connect && h->framing != HTTP_NO_BODY)
		rc = refuse(why_r, 400, "CONNECT has no content");
	return rc;
}

/* ---- responses ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK"; the blank before an empty reason is missing in practice. */
static int read_status_line(struct http_head *h, struct span line, struct http_refusal *why)
{
	const char *p = line.p;
	int rc = judge_version(h, span_head(line, 8), why);

	if (rc)
		return rc;
	if (line.n < 12 || p[8] != ' ' || !is_digit(p[9]) || !is_digit(p[10]) || !is_digit(p[11]) ||
	    (line.n > 12 && p[12] != ' '))
		return refuse(why, 400, "the status is no number of three digits");
	h->status = (unsigned)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	if (h->status < 100 || (h->status > 599 && h->status != 999))
		return refuse(why, 400, "the status is outside 100 to 599");
	h->reason = span_from(line, 13);
	return 0;
}

/* A server switches to what its client has offered, and to nothing else (RFC 9110 7.8). */
static bool was_offered(const struct http_head *to, struct span protocol)
{
	for (size_t i = 0; i < to->field_count; i++)
		if (to->fields[i].id == HTTP_UPGRADE && http_list_has(to->fields[i].value, protocol))
			return true;
	return false;
}

/* The first protocol named is the one; others below it may be named as well (RFC 2817 3.3). */
static bool switches_as_asked(const struct http_head *h, const struct http_head *to)
{
	const struct http_field *f = http_find(h, HTTP_UPGRADE);
	struct span list, protocol;

	if (!h->upgrade || !to || !to->upgrade || !f)
		return false;
	list = f->value;
	return http_upgrade_next(&list, &protocol) && was_offered(to, protocol);
}

/* RFC 9112 6.3, rules 1, 2 and 8: what ends with the head whatever its fields say, and what ends
 * with the connection. */
static int judge_response_body(struct http_head *h, const struct http_head *to,
                               struct http_refusal *why)
{
	bool announced = h->framing != HTTP_NO_BODY;
	bool tunnel = to && to->is_connect && h->status / 100 == 2;

	if (h->status == 101 && !switches_as_asked(h, to))
		return refuse(why, 400, "the response switches protocols unasked");
	if (h->status / 100 == 1 && announced)
		return refuse(why, 400, "an interim response announces content");
	if (h->status / 100 == 1 || h->status == 204 || tunnel) {
		/* A 204 that announces content may be followed by it: those bytes must not become
		 * the next response. */
		h->keep_alive &= !announced;
		h->framing = HTTP_NO_BODY;
	} else if ((to && to->is_head) || h->status == 304) {
		h->framing = HTTP_NO_BODY;
	} else if (!announced && !h->has_content_length) {
		h->framing = HTTP_UNTIL_CLOSE;
		h->keep_alive = false;
	}
	return 0;
}

static int parse_response(struct arena *arena, struct span head, const struct http_head *to,
                          struct http_head *h, struct http_refusal *why)
{
	struct span line = first_line(head);
	struct summary s;
	int rc;

	*h = (struct http_head){ 0 };
	rc = read_status_line(h, line, why);
	if (!rc)
		rc = collect(arena, HTTP_RESPONSE, head, line.p + line.n + 2, h, why);
	if (rc)
		return rc;
	s = summarize(h);
	rc = judge_framing(h, &s, why);
	return rc ? rc : judge_response_body(h, to, why);
}

int http_response_parse(struct arena *arena, struct span head, const struct http_head *to,
                        struct http_head *head_r, struct http_refusal *why_r)
{
	int rc = parse_response(arena, head, to, head_r, why_r);

	if (rc == ERR_SYNTAX)
		why_r->status = 502;
	return rc;
}
