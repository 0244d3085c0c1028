/* A peer is believed to be the site that its certificate names, and speaks for no other: the last site of the trace it
 * sends has to be itself.  It is accepted while the certificate is (authority, dates, list of revoked ones), and its site
 * is in the registry and not fenced. */
#include "proxy/trust.h"

#include "base/log.h"
#include "proxy/io_tls.h"
#include "proxy/mesh_version.h"

static int answer(struct exchange *x, unsigned status, const char *type, const char *detail)
{
	struct problem p = { .status = status, .type = type, .detail = detail ? detail : "the peer is not accepted" };

	exchange_problem(x, &p);
	return ERR_DENIED;
}

/* The connection is of no use for anything else either. */
static int turn_away(struct exchange *x, struct span site, const char *why)
{
	if (worker_may_warn(&x->w->tls_said_us))
		log_warn("mesh: a request of site %.*s is refused: %s", SPAN_ARG(site), why);
	x->keep = false;
	return answer(x, 503, "unreachable",
	              arena_printf(&x->arena, "site \"%.*s\" is not accepted here: %s", SPAN_ARG(site), why));
}

/* Whom the peer says it is: the site that passed the request on. */
static struct span claimed(const struct exchange *x)
{
	const struct http_field *trace = http_find(&x->req, HTTP_X_SCOPEMESH_TRACE);
	struct span rest = trace ? trace->value : span_make(NULL, 0), member, last = { NULL, 0 };

	while (http_list_next(&rest, &member))
		last = member;
	return last;
}

/* Without certificates anybody is a peer, and may be one that the registry does not know. */
static int identify_by_word(struct exchange *x, struct span word)
{
	const struct registry *reg = x->view->reg;

	x->has_peer = false;
	for (size_t i = 0; word.n && !x->has_peer && i < reg->site_count; i++) {
		x->has_peer = heads_is_token(x, word, reg->sites[i].name);
		x->peer = i;
	}
	return 0;
}

int trust_identify(struct exchange *x)
{
	const struct tls_set *tls = x->view->tls;
	struct io *io = &x->s->c.io;
	struct span word = claimed(x), site;
	const char *why;

	if (!tls || !tls->mesh_server)
		return identify_by_word(x, word);
	why = io_peer_refusal(io, tls->mesh_server, x->wall_ms);
	site = io_peer_site(io);
	if (!why && !registry_find(x->view->reg, site, &x->peer))
		why = "it is not in the registry";
	if (!why && x->peer == x->view->reg->local)
		why = "it is this site itself";
	if (why)
		return turn_away(x, site, why);
	x->has_peer = true;
	if (word.n && !heads_is_token(x, word, site))
		return answer(x, 403, "not-allowed",
		              arena_printf(&x->arena, "the certificate is that of site \"%.*s\", and the request says it comes "
		                                      "from another", SPAN_ARG(site)));
	return 0;
}

int trust_check_version(struct exchange *x)
{
	static const struct mesh_version ours = { MESH_VERSION, MESH_VERSION_LEAST };
	const struct http_field *field = http_find_name(&x->req, SPAN(MESH_VERSION_FIELD));
	struct mesh_version theirs;

	if (!field)
		return 0;
	if (!mesh_version_parse(field->value, &theirs))
		return answer(x, 400, "bad-request", MESH_VERSION_FIELD " holds no version");
	if (mesh_version_fits(&ours, &theirs))
		return 0;
	x->keep = false;
	return answer(x, 503, "version",
	              arena_printf(&x->arena, "%.*s speaks the versions %u to %u of the mesh's protocol and the caller %u to "
	                                      "%u: upgrade the one that is behind", SPAN_ARG(local_site(x)), ours.least,
	                           ours.newest, theirs.least, theirs.newest));
}

int trust_admit(struct exchange *x)
{
	const struct registry_site *site = x->has_peer ? &x->view->reg->sites[x->peer] : NULL;

	if (site && x->peer != x->view->reg->local && site_live_is_barred(site->live))
		return turn_away(x, site->name, "an operator here has fenced or detached it");
	return 0;
}

int trust_admit_to_service(struct exchange *x)
{
	const struct conf_service *svc = x->svc;
	struct span name = x->has_peer ? x->view->reg->sites[x->peer].name : span_make(NULL, 0);

	if (svc->sites_rule == CONF_SITES_ALL)
		return 0;
	for (size_t i = 0; x->has_peer && svc->sites_rule == CONF_SITES_LIST && i < svc->sites_count; i++)
		if (span_eq(name, svc->sites[i]))
			return 0;
	return answer(x, 403, "not-allowed",
	              arena_printf(&x->arena, "%.*s does not let %s%.*s use the service %.*s (sites)", SPAN_ARG(local_site(x)),
	                           x->has_peer ? "" : "anybody", SPAN_ARG(name), SPAN_ARG(svc->name)));
}
