/* Who a peer is and what it may do: for requests at the mesh listener. */
#ifndef PROXY_TRUST_H
#define PROXY_TRUST_H

#include "proxy/exchange_int.h"

/* Which site the peer is: x->peer.  By its certificate, which is judged at every request, so that a kept connection ends
 * with what it was based on; with `insecure` by its own word.  0; else answered (503 `unreachable`: to the peer this
 * site is as good as down, and otherwise moves on). */
int trust_identify(struct exchange *x) MUST_CHECK;
/* Whether what it speaks is understood here (mesh_version.h).  0; else answered (503 `version`). */
int trust_check_version(struct exchange *x) MUST_CHECK;
/* Whether that site may come in at all (it is not fenced), and use the service (services.X.sites).  0; else answered. */
int trust_admit(struct exchange *x) MUST_CHECK;
int trust_admit_to_service(struct exchange *x) MUST_CHECK;

#endif
