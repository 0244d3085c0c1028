/* Probes: a small request now and then to each other site's mesh and to each instance with a health path.  They
 * run on the main thread and publish what they find: struct site_live (state, smoothed round trip), struct
 * instance (up, down). */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

#include "proxy/worker.h"

/* What a mesh listener answers itself, with 204: how far is it, is it alive. */
#define PROBE_MESH_PATH "/.scopemesh/ping"

struct probes;

/* Begins all probes of this configuration and registry on the loop; NULL without memory. */
struct probes *probes_start(struct io_loop *loop, struct conf *conf, struct registry *reg, struct tls_set *tls);
void probes_stop(struct probes **probes);

#endif
