/* scopectl doctor --service S: a marked request through the service's proxy, and what comes out of the application.
 *
 * The request is sent from here and not by the daemon: only who knows the application knows a request on which it calls
 * other services, and has the credentials for it.  The daemon hands out the marks and looks for them in the calls that
 * follow (proxy/carrier_watch.c). */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/doctor.h"

#define LOOK_MS 200
#define QUIET_MS 2000 /* without a further call after the answer: that was all */
#define REQUEST_MS 60000

struct trial {
	struct doctor *d;
	json_t *started;   /* what POST answered */
	const char *marker;
	json_t *seen;      /* our watch as it was last told */
};

/* ---- the request ------------------------------------------------------------------------------------------------------ */

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return one * n;
}

/* SCHEME://ADDRESS/PATH; a listener of all addresses is reached over loopback. */
static bool make_url(const struct trial *t, struct buf *url)
{
	const char *listen = json_string_value(json_array_get(json_object_get(t->started, "listen"), 0));
	const char *prefix = admin_text(t->started, "prefix"), *path = t->d->path ? t->d->path : prefix;
	const char *scheme = admin_text(t->started, "scheme"), *host = "";

	if (!listen)
		return false;
	if (*listen == ':')
		host = "127.0.0.1";
	else if (!strncmp(listen, "0.0.0.0:", 8))
		listen += 7, host = "127.0.0.1";
	else if (!strncmp(listen, "[::]:", 5))
		listen += 4, host = "[::1]";
	buf_addf(url, "%s://%s%s%s", scheme ? scheme : "http", host, listen, path ? path : "/");
	return buf_cstr(url) != NULL;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
	struct curl_slist *longer;
	struct buf line;

	buf_init(&line, NULL, 0);
	buf_addf(&line, value ? "%s: %s" : "%s", name, value); /* NOLINT: both are ours */
	longer = buf_cstr(&line) ? curl_slist_append(list, buf_cstr(&line)) : NULL;
	buf_fini(&line);
	return longer ? longer : list;
}

static struct curl_slist *make_headers(const struct trial *t)
{
	struct curl_slist *list = NULL;
	const json_t *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)json_object_get(t->started, "headers"), name, value)
		list = add_header(list, name, json_string_value(value));
	for (size_t i = 0; i < t->d->header_count; i++)
		list = add_header(list, t->d->headers[i], NULL);
	return list;
}

/* The status, or 0 with the reason in why. */
static long send_marked(const struct trial *t, const char *url, char *why)
{
	struct curl_slist *headers = make_headers(t);
	CURL *curl = curl_easy_init();
	long status = 0;
	CURLcode rc;

	if (!curl)
		return 0;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	/* The daemon has told where it listens; whose name its certificate holds nobody has. */
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "scopectl doctor");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_MS);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	if (t->d->data)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, t->d->data);
	if (t->d->method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->d->method);
	rc = curl_easy_perform(curl);
	if (rc == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else if (!*why)
		snprintf(why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return status;
}

static bool ask_service(const struct trial *t)
{
	char why[CURL_ERROR_SIZE] = "";
	struct buf url;
	long status = 0;
	bool made;

	buf_init(&url, NULL, 0);
	made = make_url(t, &url);
	if (made)
		status = send_marked(t, buf_cstr(&url), why);
	if (!made)
		doctor_bad(t->d, "request", NULL, "the daemon names no address of the service");
	else if (!status)
		doctor_bad(t->d, "request", "is the listener reachable from here?", "%s: %s", buf_cstr(&url), why);
	else if (status >= 400)
		doctor_bad(t->d, "request", "choose one that the service answers: --path, -X, -d, -H", "%s answers %ld",
		           buf_cstr(&url), status);
	else
		doctor_good(t->d, "request", "%s answers %ld", buf_cstr(&url), status);
	buf_fini(&url);
	return status != 0;
}

/* ---- watching ---------------------------------------------------------------------------------------------------------- */

static json_int_t all_calls(const json_t *watch)
{
	const json_t *called;
	json_int_t n = 0;
	size_t i;

	json_array_foreach(json_object_get(watch, "called"), i, called)
		n += json_integer_value(json_object_get(called, "calls"));
	return n;
}

static bool look(struct trial *t)
{
	struct admin_answer answer;
	const json_t *watch;
	size_t i;

	if (doctor_get(t->d, "watch", "/v1/carriers/watch", &answer)) {
		json_array_foreach(json_object_get(answer.json, "watches"), i, watch) {
			const char *marker = admin_text(watch, "marker");

			if (marker && !strcmp(marker, t->marker)) {
				json_decref(t->seen);
				t->seen = json_incref((json_t *)(uintptr_t)watch);
			}
		}
	}
	admin_answer_fini(&answer);
	return t->seen && t->d->status == CLI_DONE;
}

/* Until calls have come and none came for a while, or the time is over. */
static bool watch_calls(struct trial *t)
{
	static const struct timespec pause = { 0, LOOK_MS * 1000000L };
	json_int_t calls = 0;
	double quiet_ms = 0;

	for (double ms = 0; ms < t->d->wait_s * 1000 && (!calls || quiet_ms < QUIET_MS); ms += LOOK_MS) {
		if (!look(t))
			return false;
		quiet_ms = all_calls(t->seen) == calls ? quiet_ms + LOOK_MS : 0;
		calls = all_calls(t->seen);
		nanosleep(&pause, NULL);
	}
	return look(t);
}

/* ---- the verdict -------------------------------------------------------------------------------------------------------- */

static void tell_carrier(struct doctor *d, const char *check, const json_t *carrier, json_int_t calls)
{
	json_int_t seen = json_integer_value(json_object_get(carrier, "seen"));
	bool on = json_is_true(json_object_get(carrier, "on"));
	const char *name = admin_text(carrier, "carrier"), *off = on ? "" : " (not switched on: scope.carriers)";

	if (!seen && on)
		doctor_note(d, check, "%s is not handed on", name);
	else if (seen == calls && on)
		doctor_good(d, check, "%s survives", name);
	else if (seen == calls)
		doctor_note(d, check, "%s would survive%s", name, off);
	else if (seen)
		doctor_note(d, check, "%s survives in %lld of %lld calls%s", name, (long long)seen, (long long)calls, off);
}

static void tell_called(struct doctor *d, const json_t *called)
{
	json_int_t calls = json_integer_value(json_object_get(called, "calls"));
	const json_t *carriers = json_object_get(called, "carriers"), *carrier;
	const char *would = NULL, *service = admin_text(called, "service");
	bool survives = false;
	char check[96], hint[200];
	size_t i;

	snprintf(check, sizeof(check), "call to %s", service ? service : "?");
	json_array_foreach(carriers, i, carrier) {
		bool all = json_integer_value(json_object_get(carrier, "seen")) == calls;

		tell_carrier(d, check, carrier, calls);
		survives |= all && json_is_true(json_object_get(carrier, "on"));
		if (all && !would)
			would = admin_text(carrier, "carrier");
	}
	if (survives)
		return;
	snprintf(hint, sizeof(hint), "switch on %s in scope.carriers",
	         would ? would : "one more of the carriers that survive in some calls");
	doctor_bad(d, check, hint, "no carrier that is switched on survives in every call");
}

static void tell(struct trial *t)
{
	const json_t *list = json_object_get(t->seen, "called"), *called;
	json_int_t unmarked = json_integer_value(json_object_get(t->seen, "unmarked"));
	size_t i;

	json_array_foreach(list, i, called)
		tell_called(t->d, called);
	if (unmarked)
		doctor_note(t->d, "other calls", "%lld from this site's addresses carried no mark; perhaps of other requests",
		            (long long)unmarked);
	if (json_array_size(list))
		return;
	doctor_bad(t->d, "calls",
	           unmarked ? "if those were its calls: of a token that it hands on try piggyback:NAME with -H 'NAME: TOKEN', "
	                      "of another header correlate:NAME"
	                    : "does this request make it call other services, and does it call them at this site's "
	                      "listeners? --path, -X, -d and -H choose another one, --wait SECONDS waits longer",
	           "no call that carried a mark came within %g s", t->d->wait_s);
}

static bool start(struct trial *t)
{
	json_t *body = json_pack("{s:s,s:i}", "service", t->d->service, "seconds",
	                         (int)(t->d->wait_s + REQUEST_MS / 1000.0) + 1);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct admin_answer answer = { 0 };

	t->d->status = text ? admin_send(t->d->cli, "POST", "/v1/carriers/watch", text, &answer) : CLI_FAILED;
	if (t->d->status == CLI_DONE && answer.status == 201)
		t->started = json_incref(answer.json);
	else if (t->d->status == CLI_DONE)
		t->d->status = admin_complain(t->d->cli, "/v1/carriers/watch", &answer);
	t->marker = admin_text(t->started, "marker");
	admin_answer_fini(&answer);
	json_decref(body);
	free(text);
	return t->marker != NULL;
}

void doctor_check_service(struct doctor *d)
{
	struct trial t = { .d = d };

	if (start(&t) && ask_service(&t) && watch_calls(&t))
		tell(&t);
	json_decref(t.started);
	json_decref(t.seen);
}
