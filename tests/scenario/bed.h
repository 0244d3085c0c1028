/* A worker without sockets: clients and upstreams are queues in memory, the clock stands until it is moved.
 * Scenarios (run.c) and fuzz targets (tests/fuzz) drive the same machines as the daemon through it. */
#ifndef TESTS_SCENARIO_BED_H
#define TESTS_SCENARIO_BED_H

#include "base/buf.h"
#include "proxy/conf.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "replication/names.h"
#include "registry/registry.h"

#define BED_ENDS 64

/* One end of a connection, as its other side sees it. */
struct bed_end {
	bool used, client;
	struct io *io;           /* NULL once the proxy closed */
	struct addr to;          /* an upstream's address */
	struct buf to_proxy;     /* written by the test, not yet read by the proxy */
	struct buf from_proxy;   /* written by the proxy, not yet looked at by the test */
	bool end_to_proxy;       /* the other side has ended */
	bool reset_to_proxy;     /* ... by a reset */
	int connect;             /* -EAGAIN: pending; 0 made; negative errno: fails */
	size_t room;             /* bytes the proxy may still write */
	bool ended, closed, reset; /* what the proxy did: shut down its side, closed, with a reset */
};

struct bed {
	struct worker worker;
	struct conf *conf;
	struct registry *reg;
	struct bed_end ends[BED_ENDS];
	size_t end_count;
	struct names *names;     /* of the worker, or NULL */
};

/* Told when the proxy's code begins and ends to run, for tests that disturb it and not the bed; may be NULL. */
extern void (*bed_on_proxy)(bool begins);

/* conf: an effective configuration; taken. 0 or an error. */
int bed_init(struct bed *bed, struct conf *conf, struct registry *reg) MUST_CHECK;
void bed_fini(struct bed *bed);
/* A new client at the listener of this configured address; NULL when there is none. */
struct bed_end *bed_client(struct bed *bed, const struct addr *listener);
/* Runs every callback that is due until nothing changes. */
void bed_settle(struct bed *bed);
void bed_advance(struct bed *bed, int64_t us);
/* This site knows a resource; v NULL: it knows none, and could. 0 or an error. */
int bed_name(struct bed *bed, const struct name *v) MUST_CHECK;
/* What workers share of replication, without a store: made when first asked for. NULL: no memory. */
struct replication *bed_replication(struct bed *bed);
void bed_drain(struct bed *bed, enum drain drain);

#endif
