/* Between admin.c and the files of its paths. */
#ifndef PROXY_ADMIN_INT_H
#define PROXY_ADMIN_INT_H

#include <jansson.h>

#include "proxy/exchange_int.h"

/* A problem document without further members. */
void admin_problem(struct exchange *x, unsigned status, const char *type, const char *detail);
/* Takes body over; NULL: no memory, answered with 500. */
void admin_reply_json(struct exchange *x, unsigned status, const char *type, json_t *body);
/* Names may hold any byte but controls; what is no UTF-8 cannot stand in JSON. */
json_t *admin_text_json(struct span s);

/* NULL when it is not known (0). */
json_t *admin_time_json(int64_t wall_ms);

/* admin_certificates.c */
void admin_get_certificates(struct exchange *x);

/* doctor.c */
void admin_get_doctor(struct exchange *x);

/* admin_sites.c */
json_t *admin_rtt_json(const struct registry *reg, size_t site);
const char *admin_state_text(const struct registry *reg, size_t site);
void admin_get_sites(struct exchange *x);
void admin_get_services(struct exchange *x);
/* The verbs of a site: fence, unfence, detach, autonomous, attended. */
void admin_post_site(struct exchange *x);

/* admin_write.c.  Who may call: Host must be loopback or in admin.hosts, Origin absent or the same, so that no web
 * page reaches the interface through its reader's browser; for what changes something also a JSON content type, which
 * a form cannot send.  False: answered with 403. */
bool admin_may_call(struct exchange *x, bool changes);
void admin_post_reload(struct exchange *x);
void admin_put_log(struct exchange *x);

/* admin_carriers.c */
void admin_get_carriers(struct exchange *x);
void admin_get_watches(struct exchange *x);
void admin_post_watch(struct exchange *x);

#endif
