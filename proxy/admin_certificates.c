/* GET /v1/certificates: what is shown to others, until when, and what the last look at the files found. */
#include "base/clock.h"
#include "proxy/admin_int.h"
#include "proxy/server.h"

static json_t *certificate_json(const struct tls_cert *c)
{
	int64_t left_ms = c->not_after_ms - clock_wall_ms();

	return json_pack("{s:s,s:o,s:o,s:o,s:I}", "use", tls_use_text(c->use), "service",
	                 c->service.n ? admin_text_json(c->service) : json_null(), "path", admin_text_json(c->path),
	                 "not_after", admin_time_json(c->not_after_ms), "left_ms", (json_int_t)left_ms);
}

void admin_get_certificates(struct exchange *x)
{
	const struct tls_set *tls = x->view->tls;
	struct span problem = span_of(x->w->server->certificates.problem);
	json_t *list = json_array();

	for (size_t i = 0; tls && i < tls->cert_count; i++)
		json_array_append_new(list, certificate_json(&tls->certs[i]));
	admin_reply_json(x, 200, "application/json",
	                 json_pack("{s:o,s:o}", "certificates", list, "problem",
	                           problem.n ? admin_text_json(problem) : json_null()));
}
