/*
 * handin: what a sender sees: an acknowledgement for what was taken, the channel's end without one
 * for what was not; and no descriptor is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/sock.h"
#include "routerd/handin.h"

struct bench {
	struct loop *loop;
	struct handin *in;
	int channel; /* the sender's end */
	unsigned taken;
	uint8_t serials[400];
	char bytes[16];
	bool is_nonblocking;
};

static unsigned
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
on_connection(void *arg, int fd, const struct handoff *h)
{
	struct bench *b = arg;
	char ack;

	/* the acknowledgement was sent before */
	assert_int_equal(recv(b->channel, &ack, 1, MSG_PEEK | MSG_DONTWAIT), 1);
	b->serials[b->taken++ % 400] = h->serial;
	b->is_nonblocking = (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
	memcpy(b->bytes, h->in.p, h->in.n);
	close(fd);
}

static void
open_bench(struct bench *b, uid_t uid)
{
	int fds[2];

	memset(b, 0, sizeof(*b));
	b->loop = loop_new();
	b->in = handin_new(b->loop, uid, on_connection, b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	b->channel = fds[1];
	assert_true(handin_add(b->in, fds[0]));
}

static void
close_bench(struct bench *b)
{
	close(b->channel);
	handin_free(b->in);
	loop_free(b->loop);
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
turn(struct bench *b)
{
	for (int i = 0; i < 3; i++) {
		loop_post(b->loop, stop_loop, b->loop);
		loop_run(b->loop);
	}
}

static size_t
message(uint8_t serial, char *out)
{
	struct handoff h = { .serial = serial, .info = { .has_tls = true } };

	h.keys.suite = handoff_suite_find(0x1301);
	h.keys.role = HANDOFF_SERVER;
	h.keys.read.limit = h.keys.write.limit = 16384;
	h.in = SLICE("early");
	return handoff_encode(&h, out, HANDOFF_MAX);
}

/* With a blocking socket beside it. */
static bool
give(struct bench *b, uint8_t serial)
{
	static char out[HANDOFF_MAX];
	size_t n = message(serial, out);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);

	ssize_t sent = sock_send_fds(b->channel, out, n, pair, 1);

	close(pair[0]);
	close(pair[1]);
	assert_true(sent == (ssize_t)n || errno == EAGAIN || errno == EPIPE);
	return sent > 0;
}

/* The next acknowledgement, -1 when there is none, -2 at the channel's end. Unread messages at the
 * other end make a reset of its close; what it had said comes behind that. */
static int
ack(struct bench *b)
{
	uint8_t serial;
	ssize_t n = recv(b->channel, &serial, 1, MSG_DONTWAIT);

	if (n < 0 && errno == ECONNRESET)
		n = recv(b->channel, &serial, 1, MSG_DONTWAIT);
	return n == 1 ? serial : n == 0 ? -2 : -1;
}

static void
takes_and_acknowledges(void **state)
{
	unsigned before = count_fds();
	struct bench b;

	(void)state;
	open_bench(&b, geteuid());
	for (unsigned i = 0; i < 40; i++)
		assert_true(give(&b, (uint8_t)(250 + i)));
	turn(&b);
	turn(&b);
	assert_int_equal(b.taken, 40);
	assert_true(b.is_nonblocking);
	assert_memory_equal(b.bytes, "early", 5);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(b.serials[i], (uint8_t)(250 + i));
		assert_int_equal(ack(&b), (uint8_t)(250 + i));
	}
	assert_int_equal(ack(&b), -1);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

static void
ends_the_channel_on_what_is_no_message(void **state)
{
	static char out[HANDOFF_MAX + 10];
	unsigned before = count_fds();

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		int fds[3] = { dup(0), dup(0), dup(0) };
		struct bench b;

		open_bench(&b, geteuid());
		assert_true(give(&b, 1));

		size_t n = message(2, out);

		switch (i) {
		case 0: out[2] ^= 1; /* fallthrough */
		case 1: n = i == 1 ? n - 1 : n; break;
		case 2: n = HANDOFF_MAX + 1; break;
		case 5: out[5] = HANDOFF_CLIENT; break;
		default: break;
		}
		if (i == 3)
			assert_int_equal(send(b.channel, out, n, 0), n);
		else
			assert_int_equal(sock_send_fds(b.channel, out, n, fds, i == 4 ? 2 : 1), n);
		assert_true(give(&b, 3));
		turn(&b);
		/* What was right before it is ours; the rest is the sender's. */
		assert_int_equal(b.taken, 1);
		assert_int_equal(ack(&b), 1);
		assert_int_equal(ack(&b), -2);
		assert_int_equal(handin_stats(b.in).refused, 1);
		assert_int_equal(handin_stats(b.in).channels, 0);
		for (unsigned k = 0; k < 3; k++)
			close(fds[k]);
		close_bench(&b);
		assert_int_equal(count_fds(), before);
	}
}

static void
refuses_other_users(void **state)
{
	struct bench b;
	int fds[2];

	(void)state;
	open_bench(&b, geteuid());
	/* a stream over TCP has no user at all */
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_false(handin_add(b.in, fds[0]));
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(handin_stats(b.in).channels, 1);
	close_bench(&b);
}

/* A paused worker takes nothing, so the queue fills and the sender is told to wait. */
static void
a_full_queue_stops_the_sender(void **state)
{
	struct bench b;
	unsigned sent = 0;

	(void)state;
	open_bench(&b, geteuid());
	handin_pause(b.in, true);
	while (sent < 1000 && give(&b, (uint8_t)sent))
		sent++;
	assert_true(sent > 10 && sent < 1000);
	turn(&b);
	assert_int_equal(b.taken, 0);
	handin_pause(b.in, false);
	for (unsigned i = 0; i < 100; i++)
		turn(&b);
	assert_int_equal(b.taken, sent);
	close_bench(&b);
}

static void
draining_takes_what_waits(void **state)
{
	unsigned before = count_fds();
	struct bench b;

	(void)state;
	open_bench(&b, geteuid());
	for (unsigned i = 0; i < 50; i++)
		assert_true(give(&b, (uint8_t)i));
	handin_drain(b.in);
	assert_int_equal(b.taken, 50);
	assert_false(give(&b, 99));
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(ack(&b), i);
	assert_int_equal(ack(&b), -2);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_and_acknowledges),
		cmocka_unit_test(ends_the_channel_on_what_is_no_message),
		cmocka_unit_test(refuses_other_users),
		cmocka_unit_test(a_full_queue_stops_the_sender),
		cmocka_unit_test(draining_takes_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
