/*
 * spill: every byte arrives once and in order, whatever the socket takes at a time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcommon/mem.h"
#include "tlsd/spill.h"

static void
make_pair(int fd[2])
{
	int size = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static size_t
read_all(int fd, char *out, size_t cap)
{
	size_t n = 0;
	ssize_t r;

	while (n < cap && (r = recv(fd, out + n, cap - n, 0)) > 0)
		n += (size_t)r;
	return n;
}

static void
keeps_order(void **state)
{
	enum { TOTAL = 300000 };
	struct spill s = { 0 };
	char *in = xmalloc(TOTAL);
	char *out = xmalloc(TOTAL);
	size_t got = 0;
	int fd[2];

	(void)state;
	make_pair(fd);
	for (size_t i = 0; i < TOTAL; i++)
		in[i] = (char)(i * 31 + i / 251);
	assert_int_equal(spill_send_new(&s, fd[0], in, 200000), SPILL_BLOCKED);
	assert_true(s.n > 0);
	assert_true(spill_add(&s, in + 200000, 50000));
	got += read_all(fd[1], out + got, TOTAL - got);
	assert_int_equal(spill_send(&s, fd[0]), SPILL_BLOCKED);
	/* added behind bytes of which some have gone */
	assert_true(spill_add(&s, in + 250000, 50000));
	for (int turns = 0; s.n > 0 && turns < 10000; turns++) {
		assert_int_not_equal(spill_send(&s, fd[0]), SPILL_FAILED);
		got += read_all(fd[1], out + got, TOTAL - got);
	}
	got += read_all(fd[1], out + got, TOTAL - got);
	assert_int_equal(got, TOTAL);
	assert_memory_equal(in, out, TOTAL);
	assert_null(s.p); /* nothing is held when all has gone */
	close(fd[0]);
	close(fd[1]);
	free(in);
	free(out);
}

static void
is_bounded(void **state)
{
	struct spill s = { 0 };
	char *big = xcalloc(1, SPILL_MAX);

	(void)state;
	assert_true(spill_add(&s, big, 0)); /* nothing, while there is no memory for anything */
	assert_null(s.p);
	assert_true(spill_add(&s, big, SPILL_MAX - 1));
	assert_false(spill_add(&s, big, 2));
	assert_true(spill_add(&s, big, 1));
	assert_false(spill_add(&s, big, 1));
	assert_int_equal(s.n, SPILL_MAX);
	spill_fini(&s);
	free(big);
}

static void
says_failure(void **state)
{
	struct spill s = { 0 };
	int fd[2];

	(void)state;
	make_pair(fd);
	close(fd[1]);
	assert_int_equal(spill_send_new(&s, fd[0], "x", 1), SPILL_FAILED);
	assert_int_equal(errno, EPIPE);
	assert_true(spill_add(&s, "x", 1));
	assert_int_equal(spill_send(&s, fd[0]), SPILL_FAILED);
	assert_int_equal(s.n, 1);
	spill_fini(&s);
	close(fd[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order),
		cmocka_unit_test(is_bounded),
		cmocka_unit_test(says_failure),
	};

	return cmocka_run_group_tests_name("spill", tests, NULL, NULL);
}
