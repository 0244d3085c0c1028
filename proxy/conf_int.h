/* What the files of the configuration share among themselves. */
#ifndef PROXY_CONF_INT_H
#define PROXY_CONF_INT_H

#include "base/opt.h"
#include "proxy/conf.h"

/* The only list of options; offsets into struct conf and, below "services.*", struct conf_service. */
extern const struct opt_table conf_options;

/* Holds every scope text against the language and, unless reg is NULL, against the sites of the
 * registry. Problems go to the document. ERR_NOMEM or 0. */
int conf_check_scopes(struct opt_reader *r, struct conf *conf, const struct registry *reg) MUST_CHECK;

/* Whether there is what TLS needs, and whether its files are of use.  ERR_NOMEM or 0. */
int conf_check_tls(struct opt_reader *r, const struct conf *conf) MUST_CHECK;
/* scope.carriers: one of its elements, and what concerns all of them. */
extern const struct opt_type conf_type_carrier;
void conf_check_carriers(struct opt_reader *r, struct conf *conf);
/* services.NAME.resources: types of its rows, and what concerns more than one of them.  Makes the services' rules.
 * ERR_NOMEM or 0. */
extern const struct opt_type conf_type_collection, conf_type_place, conf_type_id_place, conf_type_request, conf_type_kind,
                             conf_type_find, conf_type_member, conf_type_items, conf_type_query_name;
int conf_check_resources(struct opt_reader *r, struct conf *conf) MUST_CHECK;
/* A character of a field name (RFC 9110 5.6.2: token). */
bool conf_is_token_char(unsigned char c);

#endif
