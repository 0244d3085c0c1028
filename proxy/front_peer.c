/* A request between sites that is an operation (X-Scopemesh-Operation): to be executed here because it was admitted
 * elsewhere, or to be admitted here.  Its content is in canonical form already.  What the peer says counts for the
 * replica here alone: it has the right to reach the service, as for any request. */
#include "proxy/front_int.h"

int front_take_operation(struct exchange *x, struct span field)
{
	struct front *f;
	bool admit;
	int rc;

	if (front_new(x, REPLICATOR_DELIVER))
		return ERR_NOMEM;
	f = x->front;
	rc = operation_of_field(f->op, field, &admit);
	if (rc == ERR_NOMEM || (!rc && !operation_keep(f->op, &f->op->key.service, x->svc->name)))
		return front_no_memory(x);
	if (rc || !operation_has_site(f->op, local_site(x)))
		return front_refuse(x, 400, "bad-request", rc ? "X-Scopemesh-Operation cannot be read"
		                                              : "X-Scopemesh-Operation is for sites that this one is none of");
	f->by_peer = true;
	f->task = admit ? REPLICATOR_ADMIT : f->op->ask ? REPLICATOR_ASK : REPLICATOR_DELIVER;
	replication_see_clock(f->rep, f->op->clock);
	x->op = OP_REPLICATE;
	return 0;
}
