/* Prometheus text exposition of what there is to count (facts: what operators expect). */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "proxy/server.h"

void metrics_print(struct server *srv, const struct view *view, struct buf *out);

#endif
