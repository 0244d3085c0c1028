/* What all workers share, and the life of the daemon: start, reload, drain, stop. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <semaphore.h>

#include "proxy/access_log.h"
#include "proxy/bound.h"
#include "proxy/carrier_watch.h"
#include "proxy/certificates.h"
#include "proxy/conf.h"
#include "proxy/correlation.h"
#include "proxy/replication.h"
#include "proxy/worker.h"
#include "registry/collect.h"
#include "registry/marks.h"

/* Exit statuses (spec section 6). */
enum { EXIT_STOPPED = 0, EXIT_CONFIG = 1, EXIT_USAGE = 2, EXIT_CANNOT_START = 3 };

struct server {
	struct conf *conf;
	struct collect *sites;     /* the registry's source, and what it told */
	struct registry *reg;
	struct tls_set *tls;
	const char *conf_path;
	struct worker *workers;    /* [0] is the main thread's */
	unsigned worker_count;     /* with the main one */
	unsigned started;          /* threads running */
	struct bound_list listeners; /* what is listened on */
	uint64_t changes;          /* handed to the workers so far */
	sem_t change_taken;        /* posted by a worker that has taken one */
	struct access_log_queue **queues;
	struct access_log *access_log;
	struct probes *probes;
	struct marks marks;        /* of operators, on disk */
	struct identity identity;
	struct peers *peers;       /* made before the workers run, freed after */
	struct replication *replication;
	struct correlation *correlation; /* what all workers remember for correlate:NAME */
	struct carrier_watches watches;
	int state_fd;              /* the lock of the state folder */
	struct event *on_term, *on_int, *on_hup, *on_usr1, *drain_tick, *watch_tick;
	struct certificates certificates;
	int64_t started_us, drain_until_us;
	int64_t drain_grace_until_us; /* 0: requests from before the drain are in flight */
	bool drain_last;           /* nobody is accepted any more */
	int64_t started_wall_ms;
	_Atomic bool ready, draining;
	_Atomic uint64_t reloads_good, reloads_bad;
	_Atomic bool last_reload_good;
};

/* Runs until stopped; an exit status. conf and sites are taken. */
int server_run(const char *conf_path, struct conf *conf, struct collect *sites);

#endif
