/* The floor of the benchmark: what a proxy of one thread costs that does nothing but its system calls.  A request is read
 * whole, sent to a kept connection of the origin, the answer read whole and sent back: no parser, no deadline, no field
 * of its own, no log.  What it costs is the kernel's share, which no proxy can go below; it is a bound, and no
 * server for anything else: requests carry no content, answers fit into BLOCK and come with Content-Length.
 *
 *	floor PORT ORIGIN_PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK 16384
#define EVENTS 256

struct side {
	int fd;
	bool is_client, closes; /* closes: the client has asked for it */
	struct side *other;     /* of a client: who answers it; of an upstream: whom */
	struct side *next;      /* kept */
	size_t used;
	char *block;            /* what came in and is not whole yet */
};

static int loop, origin_port;
static struct side *kept;

static struct side *watch(int fd, bool is_client)
{
	struct side *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
	int on = 1;

	if (!s)
		exit(1);
	s->fd = fd;
	s->is_client = is_client;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev);
	return s;
}

static struct sockaddr_in at(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static struct side *take_upstream(void)
{
	struct sockaddr_in to = at(origin_port);
	struct side *up = kept;
	int fd;

	if (up) {
		kept = up->next;
		return up;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* on loopback this is at once */
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		exit(1);
	return watch(fd, false);
}

static void send_all(struct side *s, const char *p, size_t n)
{
	if (send(s->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		s->closes = true; /* gone, or does not read: no client of the benchmark */
}

/* The event of the same turn finds a struct that is gone only where the peer is too: freed when the process ends. */
static void hang_up(struct side *s)
{
	close(s->fd);
	s->fd = -1;
	if (s->other)
		s->other->other = NULL;
	free(s->block);
	s->block = NULL;
}

/* The length of the first message in p, or 0. */
static size_t whole(const char *p, bool is_client)
{
	const char *end = strstr(p, "\r\n\r\n"), *length;

	if (!end)
		return 0;
	length = is_client ? NULL : strcasestr(p, "\r\ncontent-length:");
	return (size_t)(end + 4 - p) + (length ? strtoul(length + 17, NULL, 10) : 0);
}

static void pass_on(struct side *s, const char *p, size_t n)
{
	struct side *other = s->other;

	if (s->is_client) {
		s->closes = strstr(p, "\r\nConnection: close\r\n") != NULL;
		other = s->other = take_upstream();
		other->other = s;
		send_all(other, p, n);
		return;
	}
	s->other = NULL;
	s->next = kept;
	kept = s;
	if (!other)
		return;
	other->other = NULL;
	send_all(other, p, n);
	if (other->closes)
		hang_up(other);
}

static void on_readable(struct side *s)
{
	static char shared[BLOCK];
	char *p = s->block ? s->block : shared;
	ssize_t n = recv(s->fd, p + s->used, BLOCK - 1 - s->used, MSG_DONTWAIT);
	size_t length;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (!s->is_client)
			exit(1); /* the origin has ended */
		hang_up(s);
		return;
	}
	s->used += (size_t)n;
	p[s->used] = '\0';
	length = whole(p, s->is_client);
	if (length && s->used >= length) {
		s->used = 0;
		pass_on(s, p, length);
	} else if (!s->block) {
		s->block = malloc(BLOCK);
		if (!s->block)
			exit(1);
		memcpy(s->block, shared, s->used);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN }, ready[EVENTS];
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), client;
	struct sockaddr_in here;

	if (argc != 3) {
		fprintf(stderr, "usage: floor PORT ORIGIN_PORT\n");
		return 2;
	}
	here = at(atoi(argv[1]));
	origin_port = atoi(argv[2]);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 4096)) {
		perror("floor");
		return 1;
	}
	loop = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(loop, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(loop, ready, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct side *s = ready[i].data.ptr;

			if (s && s->fd >= 0)
				on_readable(s);
			while (!s && (client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
				watch(client, true);
		}
	}
}
