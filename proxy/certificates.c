/* Files are looked at, not watched by inotify: they come by rename, through links that configuration management swaps,
 * and from file systems that tell nobody.  A look costs one stat(2) per file.
 *
 * Days left are said when a certificate is taken, and warned of once at each step of `steps`. */
#include "proxy/certificates.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/reload.h"

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)
#define LOOK_AT_DAYS_US 10000000

/* FNV-1a. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
	for (int i = 0; i < 8; i++) {
		hash ^= value >> 8 * i & 0xff;
		hash *= 1099511628211ull;
	}
	return hash;
}

static uint64_t add_file(uint64_t hash, struct span path)
{
	struct stat st;

	if (!path.n)
		return hash;
	if (stat(path.p, &st))
		return mix(hash, 0);
	hash = mix(hash, (uint64_t)st.st_mtim.tv_sec);
	hash = mix(hash, (uint64_t)st.st_mtim.tv_nsec);
	hash = mix(hash, (uint64_t)st.st_size);
	hash = mix(hash, st.st_mode); /* a key may become readable */
	return mix(hash, st.st_ino);
}

uint64_t certificates_state(const struct conf *conf)
{
	uint64_t hash = 14695981039346656037ull;

	hash = add_file(hash, conf->mesh_tls.cert);
	hash = add_file(hash, conf->mesh_tls.key);
	hash = add_file(hash, conf->mesh_tls.ca);
	hash = add_file(hash, conf->mesh_tls.crl);
	for (size_t i = 0; i < conf->service_count; i++) {
		hash = add_file(hash, conf->services[i].tls_cert);
		hash = add_file(hash, conf->services[i].tls_key);
		hash = add_file(hash, conf->services[i].upstream_ca);
	}
	return hash;
}

static void name_of(const struct tls_cert *c, char text_r[512])
{
	snprintf(text_r, 512, "certificate of %s%s%.*s, %.*s", c->use == TLS_USE_SERVICE ? "service" : tls_use_text(c->use),
	         c->service.n ? " " : "", SPAN_ARG(c->service), SPAN_ARG(c->path));
}

static void warn_of_days(struct tls_cert *c, int64_t now_ms)
{
	static const int steps[] = { 0, 1, 7, 30 };
	int64_t left_ms = c->not_after_ms - now_ms;
	char name[512];
	int step = -1;

	for (int i = 3; i >= 0; i--)
		if (left_ms <= steps[i] * DAY_MS)
			step = steps[i];
	if (step < 0 || step >= c->told)
		return;
	c->told = step;
	name_of(c, name);
	if (step == 0)
		log_error("%s: it has expired", name);
	else
		log_warn("%s: %" PRId64 " days left", name, left_ms / DAY_MS);
}

static void look_at_days(struct server *srv)
{
	srv->certificates.told_us = clock_mono_us();
	for (size_t i = 0; srv->tls && i < srv->tls->cert_count; i++)
		warn_of_days(&srv->tls->certs[i], clock_wall_ms());
}

void certificates_taken(struct server *srv, uint64_t state)
{
	int64_t now_ms = clock_wall_ms();
	char name[512];

	srv->certificates.read = srv->certificates.seen = state;
	srv->certificates.problem[0] = '\0';
	for (size_t i = 0; srv->tls && i < srv->tls->cert_count; i++) {
		name_of(&srv->tls->certs[i], name);
		if (srv->tls->certs[i].not_after_ms - now_ms > 30 * DAY_MS)
			log_info("%s: %" PRId64 " days left", name, (srv->tls->certs[i].not_after_ms - now_ms) / DAY_MS);
	}
	for (size_t i = 0; i < srv->conf->service_count; i++)
		if (srv->tls && srv->tls->upstream[i] && !srv->conf->services[i].upstream_verify)
			log_warn("service %.*s: the certificates of its instances are not verified (upstream_tls.verify)",
			         SPAN_ARG(srv->conf->services[i].name));
	look_at_days(srv);
}

static void take(struct server *srv)
{
	struct reload_report report;
	struct span errors;

	reload_report_init(&report);
	server_reload_certificates(srv, &report); /* it has logged what became of it */
	errors = buf_span(&report.errors);
	errors.n -= errors.n > 0; /* the last line's end */
	snprintf(srv->certificates.problem, sizeof(srv->certificates.problem), "%.*s", SPAN_ARG(errors));
	reload_report_fini(&report);
}

void certificates_watch(struct server *srv)
{
	struct certificates *c = &srv->certificates;
	uint64_t now = certificates_state(srv->conf);
	bool settled = now == c->seen;

	c->seen = now;
	if (settled && now != c->read && !atomic_load(&srv->draining)) {
		c->read = now; /* whatever comes of it: once per state */
		take(srv);
	}
	if (clock_mono_us() - c->told_us >= LOOK_AT_DAYS_US)
		look_at_days(srv);
}
