/* scopectl doctor: checks, each of which says what it found with a tick or a cross, and what to do about it.  To add one,
 * write a function and its row in cmd_doctor.c. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/admin.h"
#include "cli/cli.h"

#define DOCTOR_HEADERS 32

struct doctor {
	struct cli *cli;
	const struct cli_verb *verb;
	bool bad;         /* a check failed */
	int status;       /* CLI_NO_DAEMON and the like: nothing more can be checked */
	json_t *findings; /* with --json; else NULL */
	/* --service and what its request is made of */
	const char *service, *path, *method, *data;
	const char *headers[DOCTOR_HEADERS];
	size_t header_count;
	double wait_s;
};

/* A finding of a check: good; or bad, with the hint on what to do; or neither. */
void doctor_good(struct doctor *d, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);
void doctor_bad(struct doctor *d, const char *check, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);
void doctor_note(struct doctor *d, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* GET of an object that a check needs; false: it was said what is wrong. answer_r: admin_answer_fini in every case. */
bool doctor_get(struct doctor *d, const char *check, const char *path, struct admin_answer *answer_r);

/* cmd_doctor_service.c: which carriers survive this service. */
void doctor_check_service(struct doctor *d);

#endif
