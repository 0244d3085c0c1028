/* A router between sites that live in network namespaces of their own: packets are delayed, or lost where a way is cut.
 *
 *     router NUMBER:FD ...        the TUN device FD leads to the address 10.77.0.NUMBER
 *
 * Told on standard input, a line each: "cut A B" and "heal A B" (the way from A to B alone), "heal" (all of them),
 * "delay MICROSECONDS" (of every way).  Ends with its input.
 *
 * Packets of one way keep their order.  What waits of one way is at most WAY_BYTES; further packets are lost, as in a
 * router whose queue is full.  A cut loses what is under way, too. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define SITES 16
#define WAY_BYTES (64 << 20)
#define PACKET_BYTES 65536

struct packet {
	STAILQ_ENTRY(packet) next;
	int64_t due_us;
	size_t len;
	unsigned char data[];
};

struct way {
	STAILQ_HEAD(, packet) waiting;
	size_t bytes;
	bool cut;
};

static struct way ways[SITES][SITES];
static int tun[SITES]; /* 0: none */
static int64_t delay_us;

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The number of one of our sites, 0 if the address is not one's. */
static int site_of(const unsigned char *address)
{
	if (address[0] != 10 || address[1] != 77 || address[2] != 0 || address[3] >= SITES || !tun[address[3]])
		return 0;
	return address[3];
}

static void take(int from)
{
	unsigned char data[PACKET_BYTES];
	ssize_t len;

	for (int i = 0; i < 64 && (len = read(tun[from], data, sizeof(data))) > 0; i++) {
		int source, target;

		/* IPv6 and multicast are the kernel's own */
		if (len < 20 || data[0] >> 4 != 4 || !(source = site_of(data + 12)) || !(target = site_of(data + 16)))
			continue;
		struct way *way = &ways[source][target];
		struct packet *packet;

		if (way->cut || way->bytes > WAY_BYTES || !(packet = malloc(sizeof(*packet) + (size_t)len)))
			continue;
		packet->due_us = now_us() + delay_us;
		packet->len = (size_t)len;
		memcpy(packet->data, data, packet->len);
		STAILQ_INSERT_TAIL(&way->waiting, packet, next);
		way->bytes += packet->len;
	}
}

/* Hands on what is due; when the next one is, INT64_MAX if nothing waits. */
static int64_t hand_on(int target, struct way *way, int64_t now)
{
	struct packet *packet;

	while ((packet = STAILQ_FIRST(&way->waiting))) {
		if (packet->due_us > now && !way->cut)
			return packet->due_us;
		/* A full device loses it, as a cut does */
		if (!way->cut && write(tun[target], packet->data, packet->len) < 0 && errno == EBADF)
			exit(1);
		STAILQ_REMOVE_HEAD(&way->waiting, next);
		way->bytes -= packet->len;
		free(packet);
	}
	return INT64_MAX;
}

static int wait_ms(void)
{
	int64_t now = now_us(), first = INT64_MAX;

	for (int from = 0; from < SITES; from++)
		for (int to = 0; to < SITES; to++) {
			int64_t due = tun[to] ? hand_on(to, &ways[from][to], now) : INT64_MAX;

			first = due < first ? due : first;
		}
	return first == INT64_MAX ? -1 : (int)((first - now + 999) / 1000);
}

static void obey(const char *line)
{
	int from, to;
	long us;

	if (sscanf(line, "cut %d %d", &from, &to) == 2 && from >= 0 && from < SITES && to >= 0 && to < SITES)
		ways[from][to].cut = true;
	else if (sscanf(line, "heal %d %d", &from, &to) == 2 && from >= 0 && from < SITES && to >= 0 && to < SITES)
		ways[from][to].cut = false;
	else if (sscanf(line, "delay %ld", &us) == 1)
		delay_us = us;
	else if (!strcmp(line, "heal"))
		for (int i = 0; i < SITES * SITES; i++)
			ways[i / SITES][i % SITES].cut = false;
	else
		fprintf(stderr, "router: what is \"%s\"?\n", line);
}

/* False at the end of the input. */
static bool listen_to_input(void)
{
	static char text[4096];
	static size_t len;
	ssize_t got = read(0, text + len, sizeof(text) - len - 1);
	char *line = text, *end;

	if (got <= 0)
		return false;
	len += (size_t)got;
	text[len] = 0;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		obey(line);
	}
	len -= (size_t)(line - text);
	memmove(text, line, len);
	return true;
}

int main(int argc, char **argv)
{
	struct pollfd fds[SITES + 1] = {{.fd = 0, .events = POLLIN}};
	int numbers[SITES + 1], count = 1;

	for (int i = 0; i < SITES * SITES; i++)
		STAILQ_INIT(&ways[i / SITES][i % SITES].waiting);
	for (int i = 1; i < argc; i++, count++) {
		int number, fd;

		if (sscanf(argv[i], "%d:%d", &number, &fd) != 2 || number < 1 || number >= SITES || count > SITES)
			return 2;
		tun[number] = fd;
		numbers[count] = number;
		fds[count] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	while (poll(fds, (nfds_t)count, wait_ms()) >= 0 || errno == EINTR) {
		if (fds[0].revents && !listen_to_input())
			return 0;
		for (int i = 1; i < count; i++)
			if (fds[i].revents)
				take(numbers[i]);
	}
	return 1;
}
