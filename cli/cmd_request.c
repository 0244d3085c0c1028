/* scopectl request: one HTTP request with curl's habits, and the scope in X-Scope.
 *
 * The body is a list of parts (-d texts and files, joined by "&" as curl does), or one file (-T);
 * it is streamed, so its size never matters.  Unlike curl's, -d @FILE keeps line ends: an image
 * sent that way arrives whole.  With a length known beforehand it goes out with Content-Length,
 * else chunked. The answer's body goes to standard output while a first piece is kept: when it
 * turns out to be a problem document, its title and detail make the line on standard error. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/scope_args.h"

#define PARTS_MAX 64
#define KEPT_MAX 65536

struct body_part {
	struct span text; /* of a -d text, or the "&" between */
	int fd;           /* -1: text */
	bool sized;
	curl_off_t size;
	size_t sent;      /* of the text */
};

struct request {
	const struct cli_verb *verb;
	struct scope_args scope;
	struct buf canonical;
	const char *url, *method, *out_path;
	struct body_part parts[PARTS_MAX];
	size_t part_count, part_at;
	bool has_data, upload, content_type_given;
	bool include, head_only, silent, show_error, verbose;
	long max_ms, connect_ms;
	struct curl_slist *headers;
	FILE *out;
	struct buf kept, served_by;
	bool write_failed, read_failed;
	struct progress progress;
	uint64_t moved, to_move; /* bytes of the larger direction so far, and all of them; 0: unknown */
};

static int add_part(struct request *r, struct body_part part)
{
	if (r->part_count == PARTS_MAX)
		return cli_usage(r->verb, "more than %d parts of a body", PARTS_MAX / 2);
	r->parts[r->part_count++] = part;
	return CLI_DONE;
}

static int add_file(struct request *r, const char *path)
{
	struct body_part part = { .fd = STDIN_FILENO };
	struct stat st;

	if (strcmp(path, "-") != 0)
		part.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (part.fd < 0 || fstat(part.fd, &st)) {
		cli_complain("%s: %s", path, strerror(errno));
		if (part.fd > STDIN_FILENO)
			close(part.fd);
		return CLI_FAILED;
	}
	if (S_ISREG(st.st_mode)) {
		off_t at = lseek(part.fd, 0, SEEK_CUR);

		part.sized = true;
		part.size = st.st_size - (at > 0 ? at : 0);
		if (part.size < 0)
			part.size = 0;
	}
	return add_part(r, part);
}

static int add_data(struct request *r, const char *data)
{
	int rc = CLI_DONE;

	if (r->upload)
		return cli_usage(r->verb, "-d and -T exclude each other");
	if (r->has_data)
		rc = add_part(r, (struct body_part){ .text = SPAN("&"), .fd = -1, .sized = true,
		                                     .size = 1 });
	r->has_data = true;
	if (rc != CLI_DONE)
		return rc;
	if (*data == '@')
		return add_file(r, data + 1);
	return add_part(r, (struct body_part){ .text = span_of(data), .fd = -1, .sized = true,
	                                       .size = (curl_off_t)strlen(data) });
}

static int add_upload(struct request *r, const char *path)
{
	if (r->has_data || r->upload)
		return cli_usage(r->verb, r->upload ? "-T is given twice" : "-d and -T exclude each other");
	r->upload = true;
	return add_file(r, path);
}

static int add_header(struct request *r, const char *header)
{
	struct span name = span_of(header);
	struct curl_slist *longer;

	if (strpbrk(header, "\r\n"))
		return cli_usage(r->verb, "a header is one line");
	name = span_trim(span_head(name, strcspn(header, ":;")));
	if (!name.n || name.n == strlen(header))
		return cli_usage(r->verb, "header \"%s\" has no colon; expected 'NAME: VALUE'", header);
	if (span_ieq(name, SPAN("X-Scope")) && r->scope.given)
		return cli_usage(r->verb, "the scope is given twice: --scope and -H X-Scope");
	if (span_ieq(name, SPAN("Content-Type")))
		r->content_type_given = true;
	longer = curl_slist_append(r->headers, header);
	if (!longer)
		return CLI_FAILED;
	r->headers = longer;
	return CLI_DONE;
}

/* True when -H already named this field. */
static bool header_given(const struct request *r, struct span name)
{
	for (const struct curl_slist *h = r->headers; h; h = h->next) {
		if (span_ieq(span_trim(span_head(span_of(h->data), strcspn(h->data, ":;"))), name))
			return true;
	}
	return false;
}

static int read_seconds(struct request *r, const char *text, long *ms_r)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s > 0 && s < 1e6))
		return cli_usage(r->verb, "\"%s\" is no number of seconds", text);
	*ms_r = s < 0.001 ? 1 : (long)(s * 1000);
	return CLI_DONE;
}

enum { OPT_SCOPE = CLI_OPT_FIRST_OWN, OPT_BINARY, OPT_MAX_TIME, OPT_CONNECT_TIMEOUT };

static int take_option(void *arg, int c)
{
	struct request *r = arg;

	switch (c) {
	case OPT_SCOPE:
		if (scope_args_begin(&r->scope, optarg))
			return cli_usage(r->verb, "--scope is given twice");
		if (header_given(r, SPAN("X-Scope")))
			return cli_usage(r->verb, "the scope is given twice: --scope and -H X-Scope");
		return CLI_DONE;
	case CLI_ARGS_WORD:
		if (scope_args_take(&r->scope, optarg))
			return CLI_DONE;
		if (r->url)
			return cli_usage(r->verb, "one URL, please: \"%s\" and \"%s\"", r->url, optarg);
		r->url = optarg;
		return CLI_DONE;
	case 'X':
		r->method = optarg;
		return CLI_DONE;
	case 'd':
	case OPT_BINARY:
		return add_data(r, optarg);
	case 'T':
		return add_upload(r, optarg);
	case 'H':
		return add_header(r, optarg);
	case 'o':
		r->out_path = optarg;
		return CLI_DONE;
	case OPT_MAX_TIME:
		return read_seconds(r, optarg, &r->max_ms);
	case OPT_CONNECT_TIMEOUT:
		return read_seconds(r, optarg, &r->connect_ms);
	default:
		r->include |= c == 'i';
		r->head_only |= c == 'I';
		r->silent |= c == 's';
		r->show_error |= c == 'S';
		r->verbose |= c == 'v';
		return CLI_DONE;
	}
}

/* curl's habit allows a URL without http://; a bare word is more likely a scope that was cut up. */
static bool looks_like_url(const char *word)
{
	if (strstr(word, "://"))
		return strncmp(word, "http://", 7) == 0 || strncmp(word, "https://", 8) == 0;
	return strpbrk(word, ".:/") || strcmp(word, "localhost") == 0;
}

static int settle(struct request *r)
{
	size_t leave = r->url ? 0 : 1, parsed;
	int rc;

	if (r->scope.given) {
		if (r->scope.count == leave)
			return cli_usage(r->verb, "a URL is missing");
		if (leave)
			r->url = r->scope.words[r->scope.count - 1];
		rc = scope_args_settle(&r->scope, leave, &r->canonical, &parsed, stderr);
		if (rc == ERR_INVALID)
			return cli_usage(r->verb, "one URL behind the scope, please; found \"%s\"",
			                 r->scope.words[parsed]);
		if (rc)
			return rc == ERR_SYNTAX ? CLI_USAGE : CLI_FAILED;
	}
	if (!r->url)
		return cli_usage(r->verb, "a URL is missing");
	if (!looks_like_url(r->url))
		return cli_usage(r->verb, "\"%s\" is no http:// or https:// URL", r->url);
	if (r->head_only && (r->has_data || r->upload))
		return cli_usage(r->verb, "-I has no body");
	return CLI_DONE;
}

static int read_command_line(struct request *r, struct cli *cli, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "scope", required_argument, NULL, OPT_SCOPE },
		{ "request", required_argument, NULL, 'X' },
		{ "data", required_argument, NULL, 'd' },
		{ "data-binary", required_argument, NULL, OPT_BINARY },
		{ "upload-file", required_argument, NULL, 'T' },
		{ "header", required_argument, NULL, 'H' },
		{ "output", required_argument, NULL, 'o' },
		{ "include", no_argument, NULL, 'i' },
		{ "head", no_argument, NULL, 'I' },
		{ "silent", no_argument, NULL, 's' },
		{ "show-error", no_argument, NULL, 'S' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "max-time", required_argument, NULL, OPT_MAX_TIME },
		{ "connect-timeout", required_argument, NULL, OPT_CONNECT_TIMEOUT },
		CLI_COMMON_OPTIONS
	};
	struct cli_args args = { cli, r->verb, argc, argv, "-:X:d:T:H:o:iIsSv", longs, false };
	int rc = cli_args_each(&args, &r->scope, take_option, r);

	if (rc != CLI_DONE)
		return rc;
	for (; optind < argc; optind++) {
		if (r->url)
			return cli_usage(r->verb, "one URL, please: \"%s\" and \"%s\"", r->url,
			                 argv[optind]);
		r->url = argv[optind];
	}
	return settle(r);
}

/* ---- the transfer -------------------------------------------------------------------------- */

static size_t on_read(char *room, size_t one, size_t n, void *arg)
{
	struct request *r = arg;
	ssize_t got = 0;

	n *= one;
	while (r->part_at < r->part_count && got == 0) {
		struct body_part *part = &r->parts[r->part_at];

		if (part->fd >= 0) {
			do
				got = read(part->fd, room, n);
			while (got < 0 && errno == EINTR);
		} else {
			struct span rest = span_from(part->text, part->sent);

			got = (ssize_t)(rest.n < n ? rest.n : n);
			memcpy(room, rest.p, (size_t)got);
			part->sent += (size_t)got;
		}
		if (got == 0)
			r->part_at++;
	}
	if (got < 0) {
		cli_complain("reading the body: %s", strerror(errno));
		r->read_failed = true;
		return CURL_READFUNC_ABORT;
	}
	return (size_t)got;
}

/* curl goes back to the start when a kept connection broke or a server wants the request again. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct request *r = arg;

	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	for (size_t i = 0; i < r->part_count; i++) {
		r->parts[i].sent = 0;
		if (r->parts[i].fd >= 0 && lseek(r->parts[i].fd, 0, SEEK_SET) < 0)
			return CURL_SEEKFUNC_CANTSEEK;
	}
	r->part_at = 0;
	return CURL_SEEKFUNC_OK;
}

static FILE *output(struct request *r)
{
	if (!r->out)
		r->out = r->out_path && strcmp(r->out_path, "-") != 0 ? fopen(r->out_path, "we") : stdout;
	if (!r->out && !r->write_failed)
		cli_complain("%s: %s", r->out_path, strerror(errno));
	r->write_failed |= !r->out;
	return r->out;
}

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
	struct request *r = arg;
	FILE *out = output(r);

	n *= one;
	if (buf_len(&r->kept) + n <= KEPT_MAX)
		buf_add(&r->kept, p, n);
	if (!out)
		return CURL_WRITEFUNC_ERROR;
	/* Flushed at once: a client that reads events from a pipe wants them as they come. */
	if (fwrite(p, 1, n, out) == n && fflush(out) == 0)
		return n;
	if (!r->write_failed)
		cli_complain("writing the body: %s", strerror(errno));
	r->write_failed = true;
	return CURL_WRITEFUNC_ERROR;
}

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
	struct request *r = arg;
	struct span line = { p, n * one };
	FILE *out;

	if (span_istarts(line, SPAN("X-Scope-Served-By:"))) {
		struct span value = span_from(line, sizeof("X-Scope-Served-By:") - 1);

		buf_fini(&r->served_by);
		buf_add_span(&r->served_by, span_trim(span_head(value, span_find(value, '\r'))));
	}
	if (!r->include && !r->head_only)
		return line.n;
	out = output(r);
	return out && fwrite(line.p, 1, line.n, out) == line.n ? line.n : 0;
}

static CURLcode set_body(CURL *curl, struct request *r)
{
	curl_off_t size = 0;
	bool sized = true;

	for (size_t i = 0; i < r->part_count; i++) {
		sized = sized && r->parts[i].sized;
		size += r->parts[i].size;
	}
	if (!sized)
		size = -1;
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, r);
	curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(curl, CURLOPT_SEEKDATA, r);
	if (r->upload) {
		curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, size);
	} else if (r->has_data) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, size);
	}
	if (r->has_data && size < 0 && !header_given(r, SPAN("Transfer-Encoding")))
		return add_header(r, "Transfer-Encoding: chunked") == CLI_DONE ? CURLE_OK
		                                                               : CURLE_OUT_OF_MEMORY;
	return CURLE_OK;
}

static CURLcode set_scope(struct request *r)
{
	struct buf line;
	const char *text;
	struct curl_slist *longer = NULL;

	if (!r->scope.given)
		return CURLE_OK;
	buf_init(&line, NULL, 0);
	buf_addf(&line, "X-Scope: ");
	buf_add_span(&line, buf_span(&r->canonical));
	text = buf_cstr(&line);
	if (text)
		longer = curl_slist_append(r->headers, text);
	buf_fini(&line);
	if (!longer)
		return CURLE_OUT_OF_MEMORY;
	r->headers = longer;
	return CURLE_OK;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct request *r = arg;
	bool uploads = up_all > down_all || up > down;

	r->moved = (uint64_t)(uploads ? up : down);
	r->to_move = (uint64_t)(uploads ? up_all : down_all);
	progress_show(&r->progress, r->moved, r->to_move, clock_mono_us());
	return 0;
}

/* As curl does: not where the body itself goes to a terminal. */
static void show_progress(CURL *curl, struct request *r)
{
	bool to_file = r->out_path && strcmp(r->out_path, "-") != 0;

	if (r->silent || r->verbose || (!to_file && isatty(STDOUT_FILENO)))
		return;
	progress_begin(&r->progress, stderr, clock_mono_us());
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, r);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static CURLcode perform(CURL *curl, struct request *r, char *why)
{
	CURLcode rc = set_body(curl, r);

	if (rc == CURLE_OK)
		rc = set_scope(r);
	if (rc != CURLE_OK)
		return rc;
	curl_easy_setopt(curl, CURLOPT_URL, r->url);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_DEFAULT_PROTOCOL, "http");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "scopectl");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(curl, CURLOPT_VERBOSE, r->verbose ? 1L : 0L);
	show_progress(curl, r);
	if (r->head_only)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (r->method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
	if (r->max_ms)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, r->max_ms);
	if (r->connect_ms)
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, r->connect_ms);
	return curl_easy_perform(curl);
}

/* The line about a status from 400 on. */
static void summarize(struct request *r, long status)
{
	json_t *problem = json_loadb(buf_span(&r->kept).p, buf_len(&r->kept), 0, NULL);
	const char *title = admin_text(problem, "title"), *detail = admin_text(problem, "detail");

	if (title || detail)
		cli_complain("%ld %s%s%s", status, title ? title : "", title && detail ? ": " : "",
		             detail ? detail : "");
	else
		cli_complain("the answer is %ld", status);
	json_decref(problem);
}

static int transfer(struct request *r)
{
	char why[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (curl) {
		rc = perform(curl, r, why);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	curl_easy_cleanup(curl);
	progress_end(&r->progress, r->moved, r->to_move, clock_mono_us());
	if (rc == CURLE_OK)
		output(r); /* -o makes a file of an empty body too */
	if (r->verbose && buf_len(&r->served_by))
		fprintf(stderr, "* served by %.*s\n", SPAN_ARG(buf_span(&r->served_by)));
	if (rc != CURLE_OK && !r->write_failed && !r->read_failed && (!r->silent || r->show_error))
		cli_complain("%s: %s", r->url, *why ? why : curl_easy_strerror(rc));
	if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL)
		return CLI_USAGE;
	if (rc != CURLE_OK || r->write_failed)
		return CLI_FAILED;
	if (status >= 400 && !r->silent)
		summarize(r, status);
	return status >= 400 ? CLI_FAILED : CLI_DONE;
}

static int finish(struct request *r, int status)
{
	for (size_t i = 0; i < r->part_count; i++) {
		if (r->parts[i].fd > STDIN_FILENO)
			close(r->parts[i].fd);
	}
	if (r->out && r->out != stdout && fclose(r->out) && status == CLI_DONE) {
		cli_complain("%s: %s", r->out_path, strerror(errno));
		status = CLI_FAILED;
	}
	curl_slist_free_all(r->headers);
	buf_fini(&r->canonical);
	buf_fini(&r->kept);
	buf_fini(&r->served_by);
	free(r);
	return status;
}

int cmd_request(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct request *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return CLI_FAILED;
	r->verb = verb;
	buf_init(&r->canonical, NULL, 0);
	buf_init(&r->kept, NULL, 0);
	buf_init(&r->served_by, NULL, 0);
	rc = read_command_line(r, cli, argc, argv);
	if (rc == CLI_DONE)
		rc = transfer(r);
	return finish(r, cli_args_status(rc));
}
