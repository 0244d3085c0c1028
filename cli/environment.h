/* The environment of a tool that `scopectl run` starts. Pure: no process is touched. */
#ifndef CLI_ENVIRONMENT_H
#define CLI_ENVIRONMENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define ENVIRONMENT_NAME_OK \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

struct environment {
	char **vars; /* NAME=VALUE, NULL at the end */
	size_t count, room;
};

/* A copy of vars (environ). 0 or ERR_NOMEM; environment_fini in every case. */
int environment_init(struct environment *env, char *const *vars) MUST_CHECK;
void environment_fini(struct environment *env);
/* Replaces or adds. */
int environment_set(struct environment *env, const char *name, struct span value) MUST_CHECK;
void environment_unset(struct environment *env, const char *name);
/* The value, or NULL. */
const char *environment_get(const struct environment *env, const char *name);

/* Appends a baggage list (W3C Baggage): member scope=TEXT percent-encoded, then the members of
 * before (may be NULL) but its own scope; at most 64 members and 8192 bytes. */
void environment_baggage(struct span scope, const char *before, struct buf *out);

#endif
