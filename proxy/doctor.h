/* GET /v1/doctor: checks that a daemon makes of itself, each of which says what it found and what to do about it.  To add
 * one, write a function and its row in doctor.c. */
#ifndef PROXY_DOCTOR_H
#define PROXY_DOCTOR_H

#include <jansson.h>

#include "proxy/exchange_int.h"
#include "proxy/server.h"

struct doctor {
	struct server *srv;
	const struct conf *conf;
	const struct registry *reg;
	const struct tls_set *tls;
	json_t *findings;
	bool bad;
};

/* A finding of a check: good; or bad, with the hint on what to do; or neither. */
void doctor_good(struct doctor *d, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);
void doctor_bad(struct doctor *d, const char *check, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);
void doctor_note(struct doctor *d, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* doctor_sites.c */
void doctor_check_sites(struct doctor *d);
void doctor_check_services(struct doctor *d);

/* doctor_host.c */
void doctor_check_listeners(struct doctor *d);
void doctor_check_state(struct doctor *d);
void doctor_check_access_log(struct doctor *d);
void doctor_check_descriptors(struct doctor *d);

#endif
