/* The other sites: pings, what they announce, whether they are alive and how far.
 *
 * The main thread asks (proxy/peer.c) and judges (proxy/peer_judge.c); workers answer on the mesh listener
 * (proxy/peer_answer.c).  What both need is the table of announcements, behind a lock that no request of a user ever
 * takes. */
#ifndef PROXY_PEER_H
#define PROXY_PEER_H

#include "proxy/conf.h"
#include "registry/marks.h"

struct io_loop;
struct exchange;
struct peers;
struct replication;
struct tls_set;

#define PEER_RELEASE_BYTES 32

/* Paths of the mesh listener that it answers itself. */
#define PEER_PATHS "/.scopemesh/"
#define PEER_PING "/.scopemesh/ping"
#define PEER_ANNOUNCEMENT "/.scopemesh/announcement"
#define PEER_DIGEST "/.scopemesh/digest"

/* Begins with the sites of this registry.  marks, id and rep (which may be NULL) are the caller's and outlive it.  NULL
 * without memory. */
struct peers *peers_new(struct io_loop *loop, struct conf *conf, struct registry *reg, struct tls_set *tls,
                        struct marks *marks, struct identity *id, struct replication *rep);
/* Another configuration, registry or certificates: sites that stay keep their connection and their history.  0;
 * ERR_NOMEM: some sites are not asked. */
int peers_update(struct peers *all, struct conf *conf, struct registry *reg, struct tls_set *tls) MUST_CHECK;
/* No worker runs any more. */
void peers_free(struct peers **all);

/* An operator's mark, durable before it is in force.  Errors as of marks_change. */
int peers_mark(struct peers *all, struct span site, unsigned set, unsigned clear, struct err *e) MUST_CHECK;

/* For the admin interface, on the main thread: what a site has announced, or NULL; good until the loop turns. */
const struct announcement *peers_announcement(const struct peers *all, struct span site);
/* This site seems to be cut off itself. */
/* Any thread. */
bool peers_isolated(const struct peers *all);
/* The peer's clock less our own, as of the last ping; false: not known. */
bool peers_skew_ms(const struct peers *all, struct span site, int64_t *ms_r);
/* The release that the peer's daemon says it is, "" when that is not known. */
const char *peers_release(const struct peers *all, struct span site);
/* The peer speaks no version of the mesh's protocol that this site speaks. */
bool peers_is_other_version(const struct peers *all, struct span site);
/* Whether the peer says that its own pings reach this site. */
bool peers_is_unheard(const struct peers *all, struct span site);

/* On any worker: answers a request for one of the paths above. */
void peer_answer(struct exchange *x);

#endif
