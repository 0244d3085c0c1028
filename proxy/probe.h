/* Probes: a small request now and then to each instance with a health path.  They run on the main thread and publish
 * what they find in struct instance (up, down).  Other sites are asked by proxy/peer.h. */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

#include "proxy/worker.h"

struct probes;

/* Begins all probes of this configuration on the loop; NULL without memory. */
struct probes *probes_start(struct io_loop *loop, struct conf *conf, struct tls_set *tls);
void probes_stop(struct probes **probes);

#endif
