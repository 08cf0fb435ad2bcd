#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "receiver/shim.h"

/* This program's recv and poll are the shim's, as they are libssh's in the receiver. */

static int ours[2], other[2];

static int
make_pairs(void **state)
{
	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ours) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other) != 0)
		return -1;
	shim_take(ours[0]);
	return 0;
}

static int
close_pairs(void **state)
{
	(void)state;
	shim_take(-1);
	for (unsigned i = 0; i < 2; i++) {
		close(ours[i]);
		close(other[i]);
	}
	return 0;
}

static int
in_kernel(int fd)
{
	int n = -1;

	ioctl(fd, FIONREAD, &n);
	return n;
}

static void
one_read_feeds_many(void **state)
{
	uint8_t sent[20000], got[20000];
	struct pollfd p[2] = { { ours[0], POLLIN | POLLOUT, 0 }, { other[0], POLLIN, 0 } };
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(write(ours[1], sent, sizeof(sent)), sizeof(sent));
	assert_int_equal(poll(p, 2, 1000), 1);
	assert_int_equal(p[0].revents & POLLIN, POLLIN);
	while (at < sizeof(got)) {
		ssize_t n = recv(ours[0], got + at, 4096, 0);

		assert_true(n > 0);
		at += (size_t)n;
		assert_int_equal(in_kernel(ours[0]), 0); /* the first one took them all */
		if (at < sizeof(got)) {
			assert_int_equal(poll(p, 2, -1), 1);
			assert_int_equal(p[0].revents, POLLIN);
		}
	}
	assert_memory_equal(got, sent, sizeof(sent));
	assert_int_equal(recv(ours[0], got, 4096, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(poll(p, 2, 0), 1);
	assert_int_equal(p[0].revents, POLLOUT);
}

/* However much waits here, others are asked for within so many turns. */
static void
others_have_their_turn(void **state)
{
	struct pollfd p[2] = { { ours[0], POLLIN, 0 }, { other[0], POLLIN, 0 } };
	char c[2];
	unsigned i;

	(void)state;
	assert_int_equal(write(ours[1], "ab", 2), 2);
	assert_int_equal(recv(ours[0], c, 1, 0), 1);
	assert_int_equal(write(other[1], "x", 1), 1);
	for (i = 0; i < 64 && p[1].revents == 0; i++) {
		assert_true(poll(p, 2, 1000) > 0);
		assert_int_equal(p[0].revents & POLLIN, POLLIN);
	}
	assert_int_equal(p[1].revents, POLLIN);
	assert_int_equal(recv(other[0], c, 2, 0), 1);
	assert_int_equal(c[0], 'x');
	assert_int_equal(recv(ours[0], c, 2, 0), 1);
	assert_int_equal(c[0], 'b');
}

static void
the_end_comes_after_what_was_kept(void **state)
{
	char c[8];

	(void)state;
	assert_int_equal(write(ours[1], "last", 4), 4);
	assert_int_equal(recv(ours[0], c, 1, 0), 1);
	shutdown(ours[1], SHUT_WR);
	assert_int_equal(recv(ours[0], c, sizeof(c), 0), 3);
	assert_memory_equal(c, "ast", 3);
	assert_int_equal(recv(ours[0], c, sizeof(c), 0), 0);
	assert_int_equal(recv(ours[0], c, sizeof(c), 0), 0);
}

static void
a_look_ahead_takes_nothing(void **state)
{
	char c[8];

	(void)state;
	assert_int_equal(write(ours[1], "look", 4), 4);
	assert_int_equal(recv(ours[0], c, sizeof(c), MSG_PEEK), 4);
	assert_int_equal(in_kernel(ours[0]), 4);
	assert_int_equal(recv(ours[0], c, sizeof(c), 0), 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_read_feeds_many, make_pairs, close_pairs),
		cmocka_unit_test_setup_teardown(others_have_their_turn, make_pairs, close_pairs),
		cmocka_unit_test_setup_teardown(the_end_comes_after_what_was_kept, make_pairs, close_pairs),
		cmocka_unit_test_setup_teardown(a_look_ahead_takes_nothing, make_pairs, close_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
