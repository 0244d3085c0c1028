/* The loop of connections: what is called for which readiness, and that nothing is called that has been closed or is no
 * longer wanted, though it be in the batch at hand.  On socket pairs, since a descriptor is what it is about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/io.h"
#include "proxy/io_loop.h"

enum { PAIRS = 3 };

static struct io_loop loop;
static struct end {
	struct io io; /* first: the handler casts back */
	int peer;
	int reads, writes;
} ends[PAIRS];

/* What a callback does beside counting. */
static void (*on_call)(struct end *e);

static void readable(struct io *io)
{
	struct end *e = (struct end *)(void *)io;

	e->reads++;
	if (on_call)
		on_call(e);
}

static void writable(struct io *io)
{
	struct end *e = (struct end *)(void *)io;

	e->writes++;
	if (on_call)
		on_call(e);
}

static const struct io_handler handler = { readable, writable };

static int setup(void **state)
{
	(void)state;
	on_call = NULL;
	assert_int_equal(io_loop_init(&loop), 0);
	for (int i = 0; i < PAIRS; i++) {
		int fd[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
		ends[i] = (struct end){ .peer = fd[1] };
		io_open_fd(&ends[i].io, &loop, fd[0], &handler);
		assert_int_equal(io_want_read(&ends[i].io, true), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < PAIRS; i++) {
		io_close(&ends[i].io, false);
		if (ends[i].peer >= 0)
			close(ends[i].peer);
	}
	io_loop_fini(&loop);
	return 0;
}

static void make_readable(int i)
{
	assert_int_equal(write(ends[i].peer, "x", 1), 1);
}

static void bytes_wake_the_reader_until_they_are_read(void **state)
{
	char byte;

	(void)state;
	make_readable(1);
	io_loop_turn(&loop);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].reads, 0);
	assert_int_equal(ends[1].reads, 2);
	assert_int_equal(io_read(&ends[1].io, &byte, 1), 1);
	make_readable(2);
	io_loop_turn(&loop);
	assert_int_equal(ends[1].reads, 2);
	assert_int_equal(ends[2].reads, 1);
}

static void room_wakes_the_writer_while_that_is_wanted(void **state)
{
	(void)state;
	assert_int_equal(io_want_write(&ends[0].io, true), 0);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].writes, 1);
	assert_int_equal(io_want_write(&ends[0].io, false), 0);
	make_readable(1);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].writes, 1);
}

static void close_others(struct end *e)
{
	for (int i = 0; i < PAIRS; i++)
		if (&ends[i] != e)
			io_close(&ends[i].io, false);
}

static void a_stream_closed_by_another_is_not_called_any_more(void **state)
{
	(void)state;
	on_call = close_others;
	for (int i = 0; i < PAIRS; i++)
		make_readable(i);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].reads + ends[1].reads + ends[2].reads, 1);
}

static void stop_others(struct end *e)
{
	for (int i = 0; i < PAIRS; i++)
		if (&ends[i] != e)
			assert_int_equal(io_want_read(&ends[i].io, false), 0);
}

static void a_reader_that_was_stopped_by_another_is_not_called_any_more(void **state)
{
	(void)state;
	on_call = stop_others;
	for (int i = 0; i < PAIRS; i++)
		make_readable(i);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].reads + ends[1].reads + ends[2].reads, 1);
}

static void close_itself(struct end *e)
{
	io_close(&e->io, true);
}

static void a_stream_that_closes_itself_as_a_writer_is_not_called_as_a_reader(void **state)
{
	(void)state;
	on_call = close_itself;
	make_readable(0);
	assert_int_equal(io_want_write(&ends[0].io, true), 0);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].writes, 1);
	assert_int_equal(ends[0].reads, 0);
}

/* epoll tells of a hang-up whether asked or not. */
static void a_peer_that_leaves_wakes_nobody_who_wants_nothing(void **state)
{
	(void)state;
	assert_int_equal(io_want_read(&ends[0].io, false), 0);
	close(ends[0].peer);
	ends[0].peer = -1;
	make_readable(1);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].reads + ends[0].writes, 0);
	assert_int_equal(loop.count, 0);
	assert_int_equal(epoll_wait(loop.epoll_fd, loop.ready, IO_LOOP_BATCH, 0), 1);
	assert_int_equal(io_want_read(&ends[0].io, true), 0);
	io_loop_turn(&loop);
	assert_int_equal(ends[0].reads, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(bytes_wake_the_reader_until_they_are_read),
		test(room_wakes_the_writer_while_that_is_wanted),
		test(a_stream_closed_by_another_is_not_called_any_more),
		test(a_reader_that_was_stopped_by_another_is_not_called_any_more),
		test(a_stream_that_closes_itself_as_a_writer_is_not_called_as_a_reader),
		test(a_peer_that_leaves_wakes_nobody_who_wants_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
