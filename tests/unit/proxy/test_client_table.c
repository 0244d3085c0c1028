/* Connections counted by client address: what counts as one address, the limit, and many threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/client_table.h"

static struct addr at(const char *text)
{
	struct addr a;

	memset(&a, 0, sizeof(a));
	assert_int_equal(addr_parse(span_of(text), false, &a, NULL), 0);
	return a;
}

static enum client_entry enter(const char *text, uint64_t most)
{
	struct addr a = at(text);

	return client_enter(&a, most);
}

static void leave(const char *text)
{
	struct addr a = at(text);

	client_leave(&a);
}

static void test_the_limit_and_room_again(void **state)
{
	(void)state;
	assert_int_equal(enter("10.0.0.1:1000", 2), CLIENT_COUNTED);
	assert_int_equal(enter("10.0.0.1:1001", 2), CLIENT_COUNTED);
	assert_int_equal(enter("10.0.0.1:1002", 2), CLIENT_REFUSED);
	assert_int_equal(enter("10.0.0.2:1000", 2), CLIENT_COUNTED);
	leave("10.0.0.1:1000");
	assert_int_equal(enter("10.0.0.1:1002", 2), CLIENT_COUNTED);
	leave("10.0.0.1:1001");
	leave("10.0.0.1:1002");
	leave("10.0.0.2:1000");
	assert_int_equal(enter("10.0.0.1:1", 1), CLIENT_COUNTED);
	leave("10.0.0.1:1");
}

static void test_ipv6_counts_by_its_64_bits(void **state)
{
	(void)state;
	assert_int_equal(enter("[2001:db8:0:1::1]:1", 1), CLIENT_COUNTED);
	assert_int_equal(enter("[2001:db8:0:1:ffff:ffff:ffff:ffff]:2", 1), CLIENT_REFUSED);
	assert_int_equal(enter("[2001:db8:0:2::1]:3", 1), CLIENT_COUNTED);
	leave("[2001:db8:0:1::1]:1");
	leave("[2001:db8:0:2::1]:3");
}

static void test_ipv4_in_ipv6_is_ipv4(void **state)
{
	(void)state;
	assert_int_equal(enter("[::ffff:10.0.0.1]:1", 1), CLIENT_COUNTED);
	assert_int_equal(enter("10.0.0.1:2", 1), CLIENT_REFUSED);
	assert_int_equal(enter("[::ffff:10.0.0.2]:3", 1), CLIENT_COUNTED);
	assert_int_equal(enter("[::1]:3", 1), CLIENT_COUNTED);
	leave("10.0.0.1:1");
	leave("10.0.0.2:3");
	leave("[::1]:3");
}

static void test_a_unix_socket_has_no_address(void **state)
{
	struct addr a;

	(void)state;
	memset(&a, 0, sizeof(a));
	a.ss.ss_family = AF_UNIX;
	a.len = sizeof(sa_family_t);
	for (int i = 0; i < 10; i++)
		assert_int_equal(client_enter(&a, 1), CLIENT_UNCOUNTED);
	client_leave(&a);
}

#define THREADS 4
#define TURNS 20000
#define MOST 3

static _Atomic int inside, highest;

/* At no time are more inside than may be. */
static void *crowd(void *arg)
{
	struct addr a = at("10.1.2.3:4");

	(void)arg;
	for (int i = 0; i < TURNS; i++) {
		int now, high;

		if (client_enter(&a, MOST) != CLIENT_COUNTED)
			continue;
		now = atomic_fetch_add(&inside, 1) + 1;
		for (high = atomic_load(&highest); now > high && !atomic_compare_exchange_weak(&highest, &high, now);)
			;
		atomic_fetch_sub(&inside, 1);
		client_leave(&a);
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	pthread_t threads[THREADS];
	struct addr a = at("10.1.2.3:4");

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, crowd, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&highest), 1, MOST);
	for (int i = 0; i < MOST; i++)
		assert_int_equal(client_enter(&a, MOST), CLIENT_COUNTED);
	assert_int_equal(client_enter(&a, MOST), CLIENT_REFUSED);
	for (int i = 0; i < MOST; i++)
		client_leave(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_limit_and_room_again),
		cmocka_unit_test(test_ipv6_counts_by_its_64_bits),
		cmocka_unit_test(test_ipv4_in_ipv6_is_ipv4),
		cmocka_unit_test(test_a_unix_socket_has_no_address),
		cmocka_unit_test(test_many_threads),
	};

	return cmocka_run_group_tests_name("client_table", tests, NULL, NULL);
}
