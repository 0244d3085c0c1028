/* What the two fuzz targets of the connection machine share.  An input is a script: bytes stand for
 * themselves, bytes from 0xf5 on (which occur in no UTF-8 text) are commands, so that corpora stay readable.
 * The bed's clock stands but for OP_TIME, so a run depends on nothing but its input. */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/upstream.h"
#include "tests/scenario/bed.h"
#include "tests/fuzz/require.h"

enum op {
	OP_PIECE = 0xf5, /* what was written so far arrives, in a piece of its own */
	OP_TIME,         /* N: N * 20 ms pass */
	OP_END,          /* the side that writes ends */
	OP_RESET,        /* it resets */
	OP_CLIENT,       /* another client connects, or the next request is sent */
	OP_STYLE,        /* N: how the origin answers from here on */
	OP_ROOM,         /* N: the client takes N * 16 bytes more and no further ones */
	OP_ROOM_ALL,
	OP_CLIENT_RESET,
	OP_FIRST = OP_PIECE,
};

#define MACHINE_INPUT_BYTES (64u << 10)

struct machine {
	struct conf *conf;
	struct registry *reg;
	struct addr listener;
	struct bed bed;
};

static inline int machine_file(const char *text, char path_r[64])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path_r, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* Once: every timeout is short, so that an input's end comes after few turns of the clock. */
static inline void machine_load(struct machine *m, const char *services)
{
	char path[64], text[4096];
	struct buf errors;
	int fd;

	if (m->conf)
		return;
	log_set_level(LOG_ERROR);
	buf_init(&errors, NULL, 0);
	snprintf(text, sizeof(text),
	         "site: dc1\nstate: /nowhere\nworkers: 1\nservices:\n%s"
	         "mesh: {listen: '127.0.0.1:7400', tls: {insecure: true}}\n"
	         "timeouts: {connect: 100ms, header: 200ms, body: 200ms, response: 300ms, idle: 400ms}\n"
	         "limits: {header_bytes: 4k, body_bytes: 30k}\n"
	         "log: {access: 'off'}\n",
	         services);
	fd = machine_file(text, path);
	if (conf_load(path, &m->conf, &errors))
		fprintf(stderr, "%s\n", buf_cstr(&errors));
	REQUIRE(m->conf);
	close(fd);
	fd = machine_file("sites:\n  dc1: {mesh: '127.0.0.1:7400'}\n  dc2: {mesh: '127.0.0.2:7400'}\n", path);
	REQUIRE(!registry_file_load(path, m->conf->site, NULL, 0, NULL, &m->reg, &errors));
	close(fd);
	buf_fini(&errors);
	REQUIRE(!addr_parse(SPAN("127.0.0.1:9292"), false, &m->listener, NULL));
}

static inline void machine_begin(struct machine *m)
{
	REQUIRE(!bed_init(&m->bed, conf_ref(m->conf), registry_ref(m->reg)));
}

/* Without anybody doing anything more, time alone ends everything: each state has its deadline. */
static inline void machine_end(struct machine *m, void (*turn)(void))
{
	struct worker *w = &m->bed.worker;

	for (int i = 0; i < 600 && !(TAILQ_EMPTY(&w->sessions) && deadlines_empty(&w->deadlines)); i++) {
		bed_advance(&m->bed, 50000);
		if (turn)
			turn();
	}
	REQUIRE(TAILQ_EMPTY(&w->sessions));
	REQUIRE(w->busy_count == 0);
	REQUIRE(counter_get(&w->stats.connections_client) == 0);
	REQUIRE(counter_get(&w->stats.connections_upstream_busy) == 0);
	REQUIRE(counter_get(&w->stats.connections_upstream_idle) == 0);
	REQUIRE(deadlines_empty(&w->deadlines));
	for (size_t i = 0; i < m->bed.end_count; i++)
		REQUIRE(m->bed.ends[i].closed);
	bed_fini(&m->bed);
}

#endif
