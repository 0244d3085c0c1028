/* Request targets and hosts, for head.c. */
#ifndef HTTP_TARGET_INT_H
#define HTTP_TARGET_INT_H

#include "http/message.h"

/* uri-host [ ":" port ] (RFC 9110 7.2) with a host that is not empty. */
bool host_is_valid(struct span host);

/* Reads head->target into target_form, scheme, authority, path_query and path; head->method is
 * known.  0, ERR_SYNTAX (with *reason_r), ERR_NOMEM. */
int target_parse(struct arena *arena, struct http_head *head, const char **reason_r) MUST_CHECK;

#endif
