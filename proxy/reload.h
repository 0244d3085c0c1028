/* Takes the configuration and the registry file again, while the daemon runs. */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include "proxy/server.h"

/* Lines of text; for the answer of POST /v1/reload. */
struct reload_report {
	struct buf errors;  /* why it was refused: FILE:LINE:COLUMN: message, the line, a caret, a hint */
	struct buf changed; /* options that have another value now */
	struct buf restart; /* options that keep their old value until a restart */
	struct buf opened, closed; /* addresses */
};

void reload_report_init(struct reload_report *r);
void reload_report_fini(struct reload_report *r);

/* On the main thread.  All or nothing: on an error everything is as it was and report->errors says why.  When it
 * returns 0 every worker works by the new configuration.  What became of it is logged.
 * ERR_INVALID: the file; ERR_BUSY: an address; ERR_IO: the access log; ERR_DENIED: about to stop; ERR_TIMEOUT: a
 * worker has not taken it yet, but will; ERR_NOMEM. */
int server_reload(struct server *srv, struct reload_report *report);

/* What a reload would say now: errors, changed and restart of the report.  Nothing is changed or logged.  0, or an error
 * as above. */
int server_check_reload(struct server *srv, struct reload_report *report);

/* The same with the files of TLS alone: report->errors says what was of no use and stays as it was. */
int server_reload_certificates(struct server *srv, struct reload_report *report);

/* Asks the registry's source whether it has news, and takes that alone.  To be called some times a second. */
void server_watch_registry(struct server *srv);

#endif
