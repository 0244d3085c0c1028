/* Watches the files of TLS and how long certificates are still valid, on the main thread. */
#ifndef PROXY_CERTIFICATES_H
#define PROXY_CERTIFICATES_H

#include <stdint.h>

#include "proxy/conf.h"

struct server;

struct certificates {
	uint64_t read, seen;    /* states of the files: as read last, at the last look */
	int64_t told_us;        /* when days were last looked at */
	char problem[512];      /* what the last read found of no use; empty: nothing */
};

/* One number for the state of all files; another one when any of them was replaced or written. */
uint64_t certificates_state(const struct conf *conf);
/* srv->tls is what files in this state hold (or as much of it as was of use). */
void certificates_taken(struct server *srv, uint64_t state);
/* To be called now and then: files that have changed, and stayed the same from one look to the next, are taken. */
void certificates_watch(struct server *srv);

#endif
