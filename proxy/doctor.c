/* What a daemon finds when it looks at itself: the table of checks, and those of what it has read (configuration,
 * certificates).  {"site", "release", "good", "findings": [{"check", "outcome": "good|bad|note", "text", "hint"}]}.
 *
 * The checks are made here and not by scopectl, so that they are the same from any place and see what no list of the
 * admin interface shows.  They run on the main thread and read files as a reload does; nothing they do changes
 * anything. */
#include "proxy/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "config.h"
#include "proxy/admin_int.h"
#include "proxy/reload.h"

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)
#define DAYS_BAD 7
#define DAYS_NOTE 30

/* ---- findings ----------------------------------------------------------------------------------------------------- */

static void say(struct doctor *d, const char *check, const char *outcome, const char *hint, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	json_array_append_new(d->findings, json_pack("{s:o,s:s,s:o,s:o}", "check", admin_text_json(span_of(check)), "outcome",
	                                             outcome, "text", admin_text_json(span_of(text)), "hint",
	                                             hint ? json_string(hint) : json_null()));
}

void doctor_good(struct doctor *d, const char *check, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(d, check, "good", NULL, fmt, args);
	va_end(args);
}

void doctor_bad(struct doctor *d, const char *check, const char *hint, const char *fmt, ...)
{
	va_list args;

	d->bad = true;
	va_start(args, fmt);
	say(d, check, "bad", hint, fmt, args);
	va_end(args);
}

void doctor_note(struct doctor *d, const char *check, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(d, check, "note", NULL, fmt, args);
	va_end(args);
}

/* ---- configuration -------------------------------------------------------------------------------------------------- */

static size_t count_lines(const struct buf *lines)
{
	struct span rest = buf_span(lines), line;
	size_t n = 0;

	while (span_split(&rest, '\n', &line))
		n += line.n > 0;
	return n;
}

static struct span first_line(const struct buf *lines)
{
	struct span rest = buf_span(lines), line = span_make("", 0);

	span_split(&rest, '\n', &line);
	return line;
}

/* What a reload would say now. */
static void check_configuration(struct doctor *d)
{
	const char *check = "configuration";
	struct reload_report r;

	reload_report_init(&r);
	if (server_check_reload(d->srv, &r))
		doctor_bad(d, check, "a reload and a restart would be refused; scopemeshd --check -c FILE shows all errors",
		           "%.*s", SPAN_ARG(first_line(&r.errors)));
	else if (buf_len(&r.restart))
		doctor_bad(d, check, "restart the daemon, or put the old value back", "waits for a restart: %.*s",
		           SPAN_ARG(first_line(&r.restart)));
	else if (buf_len(&r.changed))
		doctor_note(d, check, "%s has changed since it was read; a reload would take %zu options", d->srv->conf_path,
		            count_lines(&r.changed));
	else
		doctor_good(d, check, "%s, in force as it stands", d->srv->conf_path);
	reload_report_fini(&r);
}

/* ---- certificates --------------------------------------------------------------------------------------------------- */

/* FILE, of what, for whom. */
static void describe(const struct doctor *d, const struct tls_cert *c, struct buf *text)
{
	buf_addf(text, "%s%s%.*s: %.*s", tls_use_text(c->use), c->service.n ? " " : "", SPAN_ARG(c->service),
	         SPAN_ARG(c->path));
	if (c->use == TLS_USE_MESH)
		buf_addf(text, ", for site %.*s", SPAN_ARG(d->conf->site));
	else if (c->use == TLS_USE_SERVICE)
		buf_addf(text, ", for %s", *c->names ? c->names : "no host by name: clients that check will refuse it");
}

static void check_days(struct doctor *d, const struct tls_cert *c)
{
	int64_t days = (c->not_after_ms - clock_wall_ms()) / DAY_MS;
	const char *hint = c->use == TLS_USE_SERVICE ? "have it renewed; files that are replaced are taken at once"
	                   : c->use == TLS_USE_MESH  ? "scopectl ca issue SITE makes a new one, taken once the files are replaced"
	                                             : "make the next authority in time: docs/operations.md";
	const char *check = "certificate", *name;
	struct buf text;

	buf_init(&text, NULL, 0);
	describe(d, c, &text);
	name = buf_cstr(&text) ? buf_cstr(&text) : "";
	if (c->not_after_ms <= clock_wall_ms())
		doctor_bad(d, check, hint, "%s: it has expired", name);
	else if (days <= DAYS_BAD)
		doctor_bad(d, check, hint, "%s: %" PRId64 " days left", name, days);
	else if (days <= DAYS_NOTE)
		doctor_note(d, check, "%s: %" PRId64 " days left", name, days);
	else
		doctor_good(d, check, "%s: %" PRId64 " days left", name, days);
	buf_fini(&text);
}

static void check_key(struct doctor *d, struct span path)
{
	struct stat st;

	if (!path.n)
		return;
	if (stat(path.p, &st))
		doctor_bad(d, "key", "the key in use stays; a restart would fail", "%.*s is not there any more", SPAN_ARG(path));
	else if (st.st_mode & 007)
		doctor_bad(d, "key", "chmod 600, or 640 for a group of its own; and issue a new one if others had access",
		           "%.*s: everybody on this machine may read it (mode %03o)", SPAN_ARG(path),
		           (unsigned)(st.st_mode & 0777));
	else
		doctor_good(d, "key", "%.*s, mode %03o", SPAN_ARG(path), (unsigned)(st.st_mode & 0777));
}

static void check_certificates(struct doctor *d)
{
	for (size_t i = 0; d->tls && i < d->tls->cert_count; i++)
		check_days(d, &d->tls->certs[i]);
	check_key(d, d->conf->mesh_tls.key);
	for (size_t i = 0; i < d->conf->service_count; i++)
		check_key(d, d->conf->services[i].tls_key);
	if (*d->srv->certificates.problem)
		doctor_bad(d, "certificates", "what is in force stays until the files are of use", "%s",
		           d->srv->certificates.problem);
	if (d->conf->has_mesh && d->conf->mesh_insecure)
		doctor_note(d, "certificates", "none between sites (mesh.tls.insecure)");
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static void check_ready(struct doctor *d)
{
	if (atomic_load(&d->srv->draining))
		doctor_bad(d, "daemon", NULL, "draining: it is about to stop");
	else
		doctor_good(d, "daemon", "ready; scopemeshd %s of site %.*s", PACKAGE_VERSION, SPAN_ARG(d->conf->site));
}

static void (*const checks[])(struct doctor *d) = {
	check_ready,
	check_configuration,
	doctor_check_listeners,
	check_certificates,
	doctor_check_sites,
	doctor_check_services,
	doctor_check_state,
	doctor_check_access_log,
	doctor_check_descriptors,
};

void admin_get_doctor(struct exchange *x)
{
	struct doctor d = {
		.srv = x->w->server,
		.conf = x->view->conf,
		.reg = x->view->reg,
		.tls = x->view->tls,
		.findings = json_array(),
	};

	for (size_t i = 0; d.findings && i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&d);
	admin_reply_json(x, 200, "application/json",
	                 d.findings ? json_pack("{s:o,s:s,s:b,s:o}", "site", admin_text_json(d.conf->site), "release",
	                                        PACKAGE_VERSION, "good", (int)!d.bad, "findings", d.findings)
	                            : NULL);
}
