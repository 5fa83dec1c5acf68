/*
 * Streams over TCP, as the other end's kernel sees them: how the last answer and the end of a
 * connection travel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/stream_tls.h"

enum { WAIT_MS = 5000 };

static struct stream_tls_env env;
static struct event_base *base;
static const char answer[] = "the last answer";

static void
on_stream(struct stream *s)
{
	(void)s;
}

/* Connected sockets: ours and the peer's. */
static void
connect_pair(int *ours, int *peer)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int on = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
	assert_int_equal(connect(*peer, (struct sockaddr *)&at, n), 0);
	*ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*ours >= 0);
	assert_int_equal(setsockopt(*ours, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	close(listener);
}

static void
open_plain(struct stream *s, int fd)
{
	stream_init(s, base, fd, &stream_plain, on_stream);
}

static void
open_tls(struct stream *s, int fd)
{
	struct handoff_keys k = { .suite = handoff_suite_find(0x1301), .role = HANDOFF_SERVER };

	k.read.limit = k.write.limit = 16384;
	assert_true(stream_tls_init(
		s, base, fd, &env, &k, slice_make("", 0), slice_make("", 0), on_stream));
}

static unsigned
segments_in(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n), 0);
	return info.tcpi_segs_in;
}

/* All until the end; how many bytes. */
static size_t
read_all(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[1024];
	size_t all = 0;
	ssize_t n;

	do {
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = recv(fd, buf, sizeof(buf), 0);
		assert_true(n >= 0);
		all += (size_t)n;
	} while (n > 0);
	return all;
}

/* Segments that an answer and the end make; *bytes: what the peer got before the end. */
static unsigned
answer_and_end(void (*open_stream)(struct stream *s, int fd), bool is_ending, bool is_unread,
	size_t *bytes)
{
	struct iovec v = { (void *)(uintptr_t)answer, sizeof(answer) };
	struct stream s;
	int ours;
	int peer;

	connect_pair(&ours, &peer);
	open_stream(&s, ours);
	if (is_unread)
		assert_int_equal(send(peer, "more", 4, 0), 4);

	unsigned before = segments_in(peer);

	s.is_last = true;
	s.is_ending = is_ending;
	assert_int_equal(stream_write(&s, &v, 1), sizeof(answer));
	stream_close(&s);
	*bytes = is_unread ? (size_t)recv(peer, (char[256]){ 0 }, 256, 0) : read_all(peer);

	unsigned more = segments_in(peer) - before;

	close(peer);
	return more;
}

static void (*const openers[])(struct stream *, int) = { open_plain, open_tls };

/* The kernel waits 200 ms at most: whoever does not run for so long tries again. */
static void
the_end_goes_with_the_last_answer(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		unsigned segments = 0;
		size_t alone;
		size_t together;

		assert_int_equal(answer_and_end(openers[i], false, false, &alone), 2);
		for (unsigned tries = 0; tries < 5 && segments != 1; tries++)
			segments = answer_and_end(openers[i], true, false, &together);
		assert_int_equal(segments, 1);
		assert_int_equal(together, alone);
	}
}

/* To close what was not read sends a reset, and drops what was not sent. */
static void
what_the_peer_sent_too_much_does_not_take_the_answer_away(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		size_t n;

		(void)answer_and_end(openers[i], true, true, &n);
		assert_true(n >= sizeof(answer) && n < 256);
	}
}

static int
make_all(void **state)
{
	(void)state;
	base = event_base_new();
	return base == NULL || !stream_tls_env_init(&env);
}

static int
free_all(void **state)
{
	(void)state;
	stream_tls_env_fini(&env);
	event_base_free(base);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_goes_with_the_last_answer),
		cmocka_unit_test(what_the_peer_sent_too_much_does_not_take_the_answer_away),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
