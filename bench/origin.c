/* The origin of the benchmark: one thread, epoll, kept connections; as little as a server can do, so that
 * what is measured is the proxy.
 *
 *	GET /...           200 and a body of 150 bytes
 *	GET /bulk/N        200 and N bytes
 *	POST /...          201 and as long a body, with an id that is new
 *	any with a body    read and thrown away, then as above
 *
 * It trusts its clients: it is no server for anything else.  A request head has to fit into HEAD_BYTES, bodies come
 * with Content-Length. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define BLOCK_BYTES (256u << 10)
#define EVENTS 256
#define SMALL_BYTES 150

struct connection {
	int fd;
	bool writing;          /* EPOLLOUT is asked for */
	bool answer_after;     /* a body is being read, its answer follows */
	bool creates;          /* it is a POST */
	uint64_t body_left;    /* of the request */
	uint64_t send_left;    /* of the response's body */
	uint64_t want;         /* bytes of the response that is due */
	size_t used;
	char head[HEAD_BYTES];
};

static char block[BLOCK_BYTES];
static int loop;
static unsigned long long created;

static void hang_up(struct connection *c)
{
	close(c->fd);
	free(c);
}

static void watch(struct connection *c, bool write)
{
	struct epoll_event ev = { .events = write ? EPOLLOUT : EPOLLIN, .data.ptr = c };

	if (write == c->writing)
		return;
	epoll_ctl(loop, EPOLL_CTL_MOD, c->fd, &ev);
	c->writing = write;
}

/* False when the connection is gone. */
static bool send_body(struct connection *c)
{
	while (c->send_left) {
		size_t n = c->send_left < BLOCK_BYTES ? (size_t)c->send_left : BLOCK_BYTES;
		ssize_t sent = send(c->fd, block, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			watch(c, true);
			return true;
		}
		if (sent <= 0)
			return false;
		c->send_left -= (uint64_t)sent;
	}
	watch(c, false);
	return true;
}

static bool answer(struct connection *c)
{
	char head[512], small[SMALL_BYTES + 1];
	int n = snprintf(head, sizeof(head),
	                 "HTTP/1.1 %s\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
	                 "Content-Type: application/json\r\nContent-Length: %llu\r\n"
	                 "X-Request-Id: req-0d0a2f6c-5a58-4b2e-8a39-5e6c7f1f6b1c\r\n\r\n",
	                 c->creates ? "201 Created" : "200 OK", (unsigned long long)c->want);
	size_t body = c->want < BLOCK_BYTES ? (size_t)c->want : BLOCK_BYTES;
	struct iovec iov[2] = { { head, (size_t)n }, { block, body } };
	ssize_t sent;

	if (c->creates) {
		created++;
		snprintf(small, sizeof(small), "{\"id\": \"%08llx-%04x-4000-8000-%012llx\", \"name\": \"%.*s\"}",
		         created & 0xffffffff, (unsigned)getpid() & 0xffff, created, SMALL_BYTES - 58, block);
		iov[1].iov_base = small;
	}
	sent = writev(c->fd, iov, 2);

	if (sent < n)
		return false; /* a head fits into an empty socket buffer */
	c->send_left = c->want - (uint64_t)(sent - n);
	return send_body(c);
}

static const char *field(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at ? at + strlen(name) : NULL;
}

/* Takes a whole head off the front, if there is one; false when the connection is gone. */
static bool take_request(struct connection *c, bool *more)
{
	char *end, *rest;
	const char *length;
	size_t left;

	c->head[c->used] = '\0';
	end = strstr(c->head, "\r\n\r\n");
	*more = end != NULL;
	if (!end)
		return c->used < HEAD_BYTES - 1;
	*end = '\0';
	rest = end + 4;
	left = c->used - (size_t)(rest - c->head);
	length = field(c->head, "\r\ncontent-length: ");
	c->body_left = length ? strtoull(length, NULL, 10) : 0;
	c->want = SMALL_BYTES;
	c->creates = !strncmp(c->head, "POST ", 5);
	if (!strncmp(c->head, "GET /bulk/", 10))
		c->want = strtoull(c->head + 10, NULL, 10);
	if (c->body_left <= left) {
		left -= (size_t)c->body_left;
		memmove(c->head, rest + c->body_left, left);
		c->body_left = 0;
		c->used = left;
		return answer(c);
	}
	c->body_left -= left;
	c->used = 0;
	c->answer_after = true;
	*more = false;
	return true;
}

static bool read_body(struct connection *c)
{
	size_t n = c->body_left < BLOCK_BYTES ? (size_t)c->body_left : BLOCK_BYTES;
	ssize_t got = recv(c->fd, NULL, n, MSG_TRUNC); /* counted, not copied */

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	c->body_left -= (uint64_t)got;
	if (c->body_left)
		return true;
	c->answer_after = false;
	return answer(c);
}

static bool on_readable(struct connection *c)
{
	bool more = true;
	ssize_t n;

	if (c->answer_after)
		return read_body(c);
	n = recv(c->fd, c->head + c->used, HEAD_BYTES - 1 - c->used, 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	c->used += (size_t)n;
	while (more && c->used)
		if (!take_request(c, &more))
			return false;
	return true;
}

static void on_listener(int listener)
{
	int fd, on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = calloc(1, sizeof(*c));
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		if (!c) {
			close(fd);
			return;
		}
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev);
	}
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4096)) {
		perror("origin");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL }, ready[EVENTS];
	int listener;

	if (argc != 2) {
		fprintf(stderr, "usage: origin PORT\n");
		return 2;
	}
	listener = listen_at((uint16_t)atoi(argv[1]));
	memset(block, 'x', sizeof(block));
	loop = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(loop, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(loop, ready, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct connection *c = ready[i].data.ptr;

			if (!c)
				on_listener(listener);
			else if (!(c->writing ? send_body(c) : on_readable(c)))
				hang_up(c);
		}
	}
}
