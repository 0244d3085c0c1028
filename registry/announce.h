/* What sites tell each other: which services they have, how their instances are, how they see the other sites.
 * An announcement is written by its owner alone and versioned by (epoch, generation); a table holds the best one of
 * each site.  No sockets and no clock: time comes as an argument, texts go through buffers.
 *
 * Source: SMAC, section IV (membership, health and load as replicated data, not consensus). */
#ifndef REGISTRY_ANNOUNCE_H
#define REGISTRY_ANNOUNCE_H

#include "registry/registry.h"

#define ANNOUNCE_BYTES (64u << 10)   /* of one, encoded: longer ones are neither made nor read */
#define ANNOUNCE_DIGEST_BYTES (256u << 10)
#define ANNOUNCE_LIST 1024           /* services, instances of one, sites in a list */
#define ANNOUNCE_URL_BYTES 512
#define ANNOUNCE_EPOCH_MAX ((uint64_t)1 << 53) /* exact in any JSON reader */
/* By the word of others an epoch is this at most: whatever they claim, its owner has a greater one left. */
#define ANNOUNCE_EPOCH_TOLD (ANNOUNCE_EPOCH_MAX / 2)
#define ANNOUNCE_TABLE 2048          /* sites in a table */
#define ANNOUNCE_INCARNATION_BYTES 32

#define ANNOUNCE_HEALTHS(X) \
	X(ANNOUNCE_UNKNOWN, "unknown") \
	X(ANNOUNCE_UP, "up") \
	X(ANNOUNCE_DOWN, "down")

enum announce_health {
#define ANNOUNCE_HEALTH(value, name) value,
	ANNOUNCE_HEALTHS(ANNOUNCE_HEALTH)
#undef ANNOUNCE_HEALTH
};

const char *announce_health_text(enum announce_health health);

struct announce_instance {
	struct span url;
	enum announce_health health;
	uint64_t load;      /* requests outstanding */
	int64_t since_ms;   /* wall clock of the owner, of the last change of health; 0: never */
};

struct announce_service {
	struct span name;
	struct announce_instance *instances;
	size_t count;
};

/* How the owner sees another site. */
struct announce_way { struct span site; uint32_t rtt_us; };

struct announcement {
	struct span site;
	struct site_version version;
	struct span incarnation;   /* of the owner's state folder: another one is another site of the same name */
	struct announce_service *services;
	size_t service_count;
	struct announce_way *ways; /* measured round trips */
	size_t way_count;
	struct span *unreachable, *fenced;
	size_t unreachable_count, fenced_count;
	struct arena arena;        /* of one that was decoded: all of it, itself included */
};

/* As one line of JSON.  False: no memory, or longer than ANNOUNCE_BYTES (out is as it was). */
bool announce_encode(const struct announcement *a, struct buf *out);
/* The same without the version: tells whether anything has changed. */
bool announce_encode_content(const struct announcement *a, struct buf *out);
/* Members that are not known are passed over (a later version's).  0; ERR_INVALID, ERR_LIMIT: the reason in e;
 * ERR_NOMEM. */
int announce_decode(struct span text, struct announcement **a_r, struct err *e) MUST_CHECK;
void announce_free(struct announcement **a);

/* ---- the table --------------------------------------------------------------------------------------------- */

struct announce_entry {
	struct announcement *a;
	struct buf text;       /* encoded */
	int64_t confirmed_us;  /* when its owner last stood behind it or behind an earlier one, by the holder's clock */
};

struct announce_table {
	struct announce_entry *entries; /* sorted by site */
	size_t count, room;
};

enum announce_merged {
	ANNOUNCE_NEWER, /* it is the table's now */
	ANNOUNCE_KNOWN, /* the table has this very one */
	ANNOUNCE_OLDER, /* the table has a better one */
};

void announce_table_init(struct announce_table *t);
void announce_table_fini(struct announce_table *t);
/* Merges what was decoded; *a is taken in any case.  age_us: since its owner stood behind it, as the teller says.
 * Of one version told with two contents (a state folder that was copied) the greater text wins, everywhere.
 * 0 with *merged_r; ERR_LIMIT: the table is full; ERR_NOMEM. */
int announce_merge(struct announce_table *t, struct announcement **a, int64_t age_us, int64_t now_us,
                   enum announce_merged *merged_r) MUST_CHECK;
const struct announce_entry *announce_find(const struct announce_table *t, struct span site);
/* Its owner stands behind this version now; true when the table holds it. */
bool announce_confirm(struct announce_table *t, struct span site, struct site_version version, int64_t now_us);
/* Drops what nobody has stood behind for age_us. */
void announce_expire(struct announce_table *t, int64_t now_us, int64_t age_us);
/* This long nobody could be heard: it counts for no age. */
void announce_excuse(struct announce_table *t, int64_t us);
void announce_forget(struct announce_table *t, struct span site);

/* Which sites' announcements a table holds, as one line of JSON. */
bool announce_digest(const struct announce_table *t, int64_t now_us, struct buf *out);
/* Calls want for each site of a digest that the table lacks or has older; confirms what is the same.
 * 0, ERR_INVALID, ERR_LIMIT, ERR_NOMEM. */
int announce_compare(struct announce_table *t, struct span digest, int64_t now_us,
                     void (*want)(void *ctx, struct span site, struct site_version version, int64_t age_us),
                     void *ctx, struct err *e) MUST_CHECK;

#endif
