/* What the configuration says of TLS: whether it is complete, and whether its files are of use. */
#include <stdlib.h>

#include "base/yaml.h"
#include "proxy/conf_int.h"
#include "proxy/tls.h"

static void missing(struct opt_reader *r, const void *beside, const char *section, const char *key)
{
	yaml_problem(r->yaml, opt_place(r, beside), NULL, "%s: \"%s\" is missing", section, key);
}

static void check_mesh(struct opt_reader *r, const struct conf *conf)
{
	const struct yaml_node *cert = opt_where(r, &conf->mesh_tls.cert), *key = opt_where(r, &conf->mesh_tls.key);
	const struct yaml_node *ca = opt_where(r, &conf->mesh_tls.ca), *crl = opt_where(r, &conf->mesh_tls.crl);
	const void *first = cert ? &conf->mesh_tls.cert : key ? &conf->mesh_tls.key
	                    : ca ? &conf->mesh_tls.ca : crl ? &conf->mesh_tls.crl : NULL;

	if (conf->mesh_insecure && first)
		yaml_problem(r->yaml, opt_place(r, &conf->mesh_insecure), NULL,
		             "insecure: there are certificates, so it means nothing; take out one or the other");
	else if (conf->mesh_insecure && !addr_is_loopback(&conf->mesh_listen))
		yaml_problem(r->yaml, opt_place(r, &conf->mesh_listen),
		             "certificates are made by: scopectl ca init, scopectl ca issue SITE",
		             "listen: an insecure mesh may only listen on loopback (127.0.0.0/8, ::1)");
	else if (!conf->mesh_insecure && !first)
		yaml_problem(r->yaml, opt_place(r, &conf->mesh_listen),
		             "they are made by: scopectl ca init, scopectl ca issue SITE; on loopback \"insecure: true\" will do",
		             "mesh: \"tls\" is missing: cert, key and ca");
	if (conf->mesh_insecure || !first)
		return;
	if (!cert || !key || !ca)
		yaml_problem(r->yaml, opt_place(r, first), NULL, "tls: cert, key and ca belong together; missing: %s%s%s%s%s",
		             cert ? "" : "cert", cert || (key && ca) ? "" : ", ", key ? "" : "key", key || ca ? "" : ", ",
		             ca ? "" : "ca");
}

static void complain(void *arg, const void *option, const char *what, const char *hint)
{
	struct opt_reader *r = arg;

	yaml_problem(r->yaml, opt_place(r, option), hint, "%s", what);
}

int conf_check_tls(struct opt_reader *r, const struct conf *conf)
{
	struct tls_set *set;
	int rc;

	if (conf->has_mesh)
		check_mesh(r, conf);
	for (size_t i = 0; i < conf->service_count; i++) {
		const struct conf_service *svc = &conf->services[i];

		if (svc->tls_cert.n && !svc->tls_key.n)
			missing(r, &svc->tls_cert, "tls", "key");
		if (!svc->tls_cert.n && svc->tls_key.n)
			missing(r, &svc->tls_key, "tls", "cert");
	}
	rc = tls_load(conf, NULL, complain, r, &set);
	tls_unref(&set);
	return rc == ERR_NOMEM ? rc : 0;
}
