/* An address has an entry while it has a connection, so that there are never more entries than connections: the
 * bound is limits.connections entries of 72 bytes.  All workers share the table, in parts with a lock each that is
 * held for one look-up; it is asked when a connection comes and goes, and only with the limit on.
 *
 * A customer of an IPv6 network has a /64 at least and may use any address in it (RFC 6177), so that prefix counts
 * as the address.  IPv4 in IPv6 (::ffff:a.b.c.d, on a listener for both) counts as IPv4. */
#include "proxy/client_table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PARTS 32
#define V4 (0xffffull << 32) /* no prefix in use begins like this: ::/8 is reserved (RFC 4291) */

struct client {
	uint64_t key;
	uint32_t count;
	UT_hash_handle hh;
};

static struct part {
	pthread_mutex_t lock;
	struct client *clients;
} parts[PARTS] = { [0 ... PARTS - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static bool key_of(const struct addr *a, uint64_t *key_r)
{
	const struct sockaddr_in6 *v6 = (const void *)&a->ss;
	const uint8_t *b = v6->sin6_addr.s6_addr;
	uint32_t v4;

	*key_r = 0;
	if (a->ss.ss_family == AF_INET) {
		*key_r = V4 | ntohl(((const struct sockaddr_in *)(const void *)&a->ss)->sin_addr.s_addr);
	} else if (a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(&v4, b + 12, sizeof(v4));
		*key_r = V4 | ntohl(v4);
	} else if (a->ss.ss_family == AF_INET6) {
		for (int i = 0; i < 8; i++)
			*key_r = *key_r << 8 | b[i];
	} else {
		return false;
	}
	return true;
}

static struct part *part_of(uint64_t key)
{
	return &parts[(key * 0x9e3779b97f4a7c15ull) >> 59]; /* the upper 5 bits: PARTS */
}

static struct client *add(struct part *part, uint64_t key)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->key = key;
	HASH_ADD(hh, part->clients, key, sizeof(c->key), c);
	if (!c->hh.tbl) { /* uthash had no memory for its table */
		free(c);
		return NULL;
	}
	return c;
}

enum client_entry client_enter(const struct addr *peer, uint64_t most)
{
	enum client_entry entry = CLIENT_COUNTED;
	struct client *c;
	struct part *part;
	uint64_t key;

	if (!key_of(peer, &key))
		return CLIENT_UNCOUNTED;
	part = part_of(key);
	pthread_mutex_lock(&part->lock);
	HASH_FIND(hh, part->clients, &key, sizeof(key), c);
	if (!c)
		c = add(part, key);
	if (!c)
		entry = CLIENT_UNCOUNTED;
	else if (c->count >= most)
		entry = CLIENT_REFUSED;
	else
		c->count++;
	pthread_mutex_unlock(&part->lock);
	return entry;
}

void client_leave(const struct addr *peer)
{
	struct client *c;
	struct part *part;
	uint64_t key;

	if (!key_of(peer, &key))
		return;
	part = part_of(key);
	pthread_mutex_lock(&part->lock);
	HASH_FIND(hh, part->clients, &key, sizeof(key), c);
	if (c && !--c->count) {
		HASH_DEL(part->clients, c);
		free(c);
	}
	pthread_mutex_unlock(&part->lock);
}
