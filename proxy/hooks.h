/* Programs that are told of what happens to replicas (hooks: in the configuration): argv without a shell, a JSON document
 * on standard input.  A thread of its own starts them, so that no event loop waits for one. */
#ifndef PROXY_HOOKS_H
#define PROXY_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct conf;
struct hooks;

/* What the configuration calls them, in its order of words (conf_options.c). */
#define HOOK_EVENTS(X) \
	X(HOOK_CONVERGED, "converged") /* all that waited for a site that had been away is there */ \
	X(HOOK_EXPIRED, "expired")     /* a replica has waited for too long */ \
	X(HOOK_FAILED, "failed")       /* a site refuses for good what another one has accepted */ \
	X(HOOK_HELD, "held")           /* for credentials */ \
	X(HOOK_IN_DOUBT, "in-doubt")

#define HOOK_EVENT(name, text) name,
enum hook_event { HOOK_EVENTS(HOOK_EVENT) HOOK_EVENTS_ };
#undef HOOK_EVENT

#define HOOKS_WORDS "converged|expired|failed|held|in-doubt|conflict"
#define HOOKS_LATER "conflict"

#define HOOKS_WAITING 1024   /* calls that wait; more are dropped, and the log says so */
#define HOOKS_AT_ONCE 4      /* programs that run */
#define HOOKS_PATIENCE_US 30000000 /* then a program is killed */

/* Spans may be empty: null in the document. */
struct hook_news {
	enum hook_event event;
	struct span site, target;    /* who tells; where it happened */
	struct span service, meta, op, method, path, reason;
};

/* 0, ERR_NOMEM. */
int hooks_new(struct hooks **h_r) MUST_CHECK;
/* What waits is dropped, what runs goes on by itself. */
void hooks_free(struct hooks **hp);
/* Any thread; never waits.  Calls of those of conf that are for the event. */
void hooks_tell(struct hooks *h_or_null, const struct conf *conf, const struct hook_news *news);

#endif
