/* One request per call over libcurl, never through a proxy of the environment: inside `scopectl run`
 * the environment names a proxy that is meant for the tool's requests. */
#include "cli/admin.h"

#include <curl/curl.h>
#include <stdint.h>
#include <string.h>

#define ADMIN_BODY_MAX ((size_t)64 << 20)
#define ADMIN_CONNECT_MS 3000L
#define ADMIN_TOTAL_MS 15000L

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
	struct buf *body = arg;

	(void)one;
	buf_add(body, p, n);
	return body->failed ? 0 : n;
}

/* unix:/PATH is a socket; the name in the URL is then of no matter but must be a loopback one. */
static int set_url(CURL *curl, const char *admin, const char *path)
{
	struct buf url;
	const char *text;
	size_t n = strlen(admin);
	CURLcode rc = CURLE_OUT_OF_MEMORY;

	buf_init(&url, NULL, 0);
	if (strncmp(admin, "unix:", 5) == 0) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, admin + 5);
		buf_add_z(&url, "http://localhost");
	} else {
		while (n && admin[n - 1] == '/')
			n--;
		buf_add(&url, admin, n);
	}
	buf_add_z(&url, path);
	text = buf_cstr(&url);
	if (text)
		rc = curl_easy_setopt(curl, CURLOPT_URL, text);
	buf_fini(&url);
	return rc == CURLE_OK ? 0 : ERR_NOMEM;
}

struct admin_request { const char *method, *path, *content; /* method NULL: GET */ };

/* The header list to be freed, or NULL. */
static struct curl_slist *set_content(CURL *curl, const struct admin_request *rq)
{
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");

	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, rq->method);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, rq->content);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
	return list;
}

static CURLcode fetch(CURL *curl, const struct cli *cli, const struct admin_request *rq, char *why,
                      struct admin_answer *answer_r)
{
	struct curl_slist *headers = NULL;
	CURLcode rc;

	if (set_url(curl, cli->admin, rq->path))
		return CURLE_OUT_OF_MEMORY;
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_DEFAULT_PROTOCOL, "http");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, ADMIN_CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ADMIN_TOTAL_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer_r->body);
	if (rq->method)
		headers = set_content(curl, rq);
	rc = rq->method && !headers ? CURLE_OUT_OF_MEMORY : curl_easy_perform(curl);
	curl_slist_free_all(headers);
	if (rc == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer_r->status);
	return rc;
}

static int ask(const struct cli *cli, const struct admin_request *rq, struct admin_answer *answer_r)
{
	char why[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	long os_error = 0;

	*answer_r = (struct admin_answer){ 0 };
	buf_init(&answer_r->body, NULL, ADMIN_BODY_MAX);
	if (curl) {
		rc = fetch(curl, cli, rq, why, answer_r);
		curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
	}
	curl_easy_cleanup(curl);
	if (rc == CURLE_OUT_OF_MEMORY || rc == CURLE_WRITE_ERROR) {
		cli_complain("%s: %s", cli->admin, curl_easy_strerror(rc));
		return CLI_FAILED;
	}
	if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL) {
		cli_complain("admin interface \"%s\": %s; expected http://HOST:PORT or unix:/PATH",
		             cli->admin, *why ? why : curl_easy_strerror(rc));
		return CLI_USAGE;
	}
	if (rc != CURLE_OK) {
		/* of a socket in the file system curl speaks as if it were port 80 */
		if (os_error && strncmp(cli->admin, "unix:", 5) == 0)
			snprintf(why, sizeof(why), "%s", strerror((int)os_error));
		cli_complain("the daemon cannot be reached at %s: %s", cli->admin,
		             *why ? why : curl_easy_strerror(rc));
		return CLI_NO_DAEMON;
	}
	answer_r->json = json_loadb(buf_span(&answer_r->body).p, buf_len(&answer_r->body), 0, NULL);
	return CLI_DONE;
}

int admin_get(const struct cli *cli, const char *path, struct admin_answer *answer_r)
{
	struct admin_request rq = { NULL, path, NULL };

	return ask(cli, &rq, answer_r);
}

int admin_send(const struct cli *cli, const char *method, const char *path, const char *content,
               struct admin_answer *answer_r)
{
	struct admin_request rq = { method, path, content };

	return ask(cli, &rq, answer_r);
}

void admin_answer_fini(struct admin_answer *answer)
{
	buf_fini(&answer->body);
	json_decref(answer->json);
	answer->json = NULL;
}

int admin_get_object(const struct cli *cli, const char *path, const char *list,
                     struct admin_answer *answer_r)
{
	int rc = admin_get(cli, path, answer_r);

	if (rc != CLI_DONE)
		return rc;
	if (answer_r->status == 200 && json_is_array(json_object_get(answer_r->json, list)))
		return CLI_DONE;
	return admin_complain(cli, path, answer_r);
}

int admin_complain(const struct cli *cli, const char *path, const struct admin_answer *answer)
{
	if (answer->status == 200)
		cli_complain("%s answers, but not as the admin interface of scopemeshd does", cli->admin);
	else if (!admin_problem_print(answer->json, stderr))
		cli_complain("%s%s answered %ld", cli->admin, path, answer->status);
	return answer->status == 400 || answer->status == 404 ? CLI_USAGE : CLI_FAILED;
}

static bool next_path(const char *path, const json_t *page, struct buf *next_r)
{
	const char *next = admin_text(page, "next");
	char *escaped = next ? curl_easy_escape(NULL, next, 0) : NULL;

	buf_fini(next_r);
	if (!escaped)
		return false;
	buf_addf(next_r, "%s%cafter=%s", path, strchr(path, '?') ? '&' : '?', escaped);
	curl_free(escaped);
	return buf_cstr(next_r) != NULL;
}

int admin_get_list(const struct cli *cli, const char *path, const char *list,
                   void (*on_page)(struct table *t, const json_t *page), struct table *t)
{
	struct buf next;
	const char *at = path;
	bool more;
	int rc;

	buf_init(&next, NULL, 0);
	do {
		struct admin_answer answer;

		rc = admin_get_object(cli, at, list, &answer);
		if (rc == CLI_DONE && cli->json)
			fwrite(buf_span(&answer.body).p, 1, buf_len(&answer.body), stdout);
		else if (rc == CLI_DONE)
			on_page(t, answer.json);
		more = rc == CLI_DONE && next_path(path, answer.json, &next);
		at = buf_cstr(&next);
		admin_answer_fini(&answer);
	} while (more && at);
	buf_fini(&next);
	return rc;
}

int admin_print_table(const struct cli *cli, const struct table *t, const char *none)
{
	if (cli->json)
		return CLI_DONE;
	if (t->rows)
		return table_print(t, stdout, cli->colour) ? CLI_FAILED : CLI_DONE;
	puts(none);
	return CLI_DONE;
}

/* Not found is no wrong usage: an identifier may have been right a moment ago. */
static int show_answer(const struct cli *cli, int rc, const char *path, struct admin_answer *answer,
                       void (*print)(const struct cli *cli, const json_t *object))
{
	bool good = rc == CLI_DONE && answer->status == 200 && json_is_object(answer->json);

	if (good && cli->json)
		fwrite(buf_span(&answer->body).p, 1, buf_len(&answer->body), stdout);
	else if (good)
		print(cli, answer->json);
	else if (rc == CLI_DONE)
		rc = admin_complain(cli, path, answer);
	if (rc == CLI_USAGE && answer->status == 404)
		rc = CLI_FAILED;
	admin_answer_fini(answer);
	return rc;
}

int admin_show(const struct cli *cli, struct buf *path, void (*print)(const struct cli *cli, const json_t *object))
{
	const char *text = buf_cstr(path);
	struct admin_answer answer;
	int rc;

	if (!text) {
		cli_complain("no memory");
		return CLI_FAILED;
	}
	rc = admin_get(cli, text, &answer);
	return show_answer(cli, rc, text, &answer, print);
}

int admin_change(const struct cli *cli, const char *path, const char *content,
                 void (*print)(const struct cli *cli, const json_t *object))
{
	struct admin_answer answer;
	int rc = admin_send(cli, "POST", path, content, &answer);

	return show_answer(cli, rc, path, &answer, print);
}

int admin_print_list(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
                     const struct admin_list *list)
{
	struct table t;
	int rc = cli_args_none(cli, verb, argc, argv);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	table_init(&t, list->heads, list->columns);
	rc = admin_get_list(cli, list->path, list->list, list->on_page, &t);
	if (rc == CLI_DONE && !cli->json && table_print(&t, stdout, cli->colour))
		rc = CLI_FAILED;
	table_fini(&t);
	return rc;
}

const char *admin_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void admin_join(const json_t *value, const char *sep, struct buf *out)
{
	const char *key, *between = "";
	json_t *member;
	size_t i;

	if (json_is_string(value))
		buf_add_z(out, json_string_value(value));
	json_array_foreach(value, i, member) {
		if (!json_is_string(member))
			continue;
		buf_addf(out, "%s%s", between, json_string_value(member));
		between = sep;
	}
	if (!json_is_object(value))
		return;
	for (void *it = json_object_iter((json_t *)(uintptr_t)value); it;
	     it = json_object_iter_next((json_t *)(uintptr_t)value, it)) {
		key = json_object_iter_key(it);
		member = json_object_iter_value(it);
		if (!json_is_string(member))
			continue;
		buf_addf(out, "%s%s=%s", between, key, json_string_value(member));
		between = sep;
	}
}

static void print_line(FILE *out, const char *label, const char *text)
{
	if (!text || !*text)
		return;
	fputs(label, out);
	table_put_clean(out, text);
	fputc('\n', out);
}

bool admin_problem_print(const json_t *problem, FILE *out)
{
	const char *title = admin_text(problem, "title"), *detail = admin_text(problem, "detail");
	const json_t *caret = json_object_get(problem, "caret");
	struct buf known;

	if (!title && !detail)
		return false;
	cli_complain("%s%s%s", title ? title : "", title && detail ? ": " : "", detail ? detail : "");
	print_line(out, "  ", json_string_value(json_array_get(caret, 0)));
	print_line(out, "  ", json_string_value(json_array_get(caret, 1)));
	print_line(out, "expected: ", admin_text(problem, "expected"));
	print_line(out, "hint: ", admin_text(problem, "hint"));
	buf_init(&known, NULL, 0);
	admin_join(json_object_get(problem, "known"), ", ", &known);
	print_line(out, "known: ", buf_cstr(&known));
	buf_fini(&known);
	print_line(out, "nearest: ", admin_text(problem, "nearest"));
	return true;
}
