/* The version of what sites say to each other.  The first request on a connection carries
 *
 *	X-Scopemesh-Version: 3; least=2
 *
 * what the sender speaks and the oldest it still understands; the receiver refuses when the two ranges have nothing in
 * common, and else both go by the lower of the two versions.  Further parameters are for features to come and ignored
 * by who does not know them.  Without the field: version 1.
 *
 * A change that an older site would misunderstand raises MESH_VERSION; one that it may ignore does not. */
#ifndef PROXY_MESH_VERSION_H
#define PROXY_MESH_VERSION_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/span.h"

#define MESH_VERSION 1
#define MESH_VERSION_LEAST 1
#define MESH_VERSION_FIELD "X-Scopemesh-Version"
#define MESH_VERSION_MOST 9999

struct mesh_version { unsigned newest, least; };

/* The value of the field; false: it is none. */
bool mesh_version_parse(struct span value, struct mesh_version *version_r) MUST_CHECK;
/* Our own, as a field line. */
void mesh_version_add(struct buf *out);
/* Whether there is a version that both speak. */
bool mesh_version_fits(const struct mesh_version *a, const struct mesh_version *b);

#endif
