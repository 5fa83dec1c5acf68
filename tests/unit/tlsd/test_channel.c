/*
 * channel: every connection is given once. Instances that take, die at each step, are full, come
 * and go; what was acknowledged is never free to be offered again, and what was not always is.
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
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/loop.h"
#include "libcommon/sock.h"
#include "libcommon/handoffmsg.h"
#include "libcommon/mem.h"
#include "tlsd/channel.h"

enum { ITEMS = 600 };

/* The other process. */
struct instance {
	char path[SOCK_PATH_MAX];
	int listener;
	int channel;
	uint8_t serial;       /* of the last message */
	unsigned seen[ITEMS]; /* how often each item came */
};

struct bench {
	char dir[64];
	struct loop *loop;
	struct backends *stats;
	struct channels *list;
	struct channels *to;
	struct instance a;
	struct instance b;
	struct handover items[ITEMS];
	unsigned taken[ITEMS];
	bool is_waiting[ITEMS]; /* nobody took it yet */
	unsigned again;         /* freed by a channel's end */
};

static struct bench *current;

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
start(struct bench *b, struct instance *i, const char *name)
{
	struct sock_listen_opts opts = { .backlog = 8 };
	struct err err;

	i->channel = -1;
	snprintf(i->path, sizeof(i->path), "%s/%s.handoff", b->dir, name);
	i->listener = sock_listen_seqpacket(i->path, &opts, &err);
	assert_true(i->listener >= 0);
}

static void
stop(struct instance *i)
{
	if (i->channel >= 0)
		close(i->channel);
	if (i->listener >= 0) {
		close(i->listener);
		unlink(i->path);
	}
	i->channel = i->listener = -1;
}

static void
open_bench(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	current = b;
	strcpy(b->dir, "/tmp/handoffXXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->loop = loop_new();
	b->stats = backends_new();
	b->to = channels_get(&b->list, b->loop, b->stats, b->dir);
	assert_ptr_equal(channels_get(&b->list, b->loop, b->stats, b->dir), b->to);
	b->a.listener = b->a.channel = b->b.listener = b->b.channel = -1;
}

static void
forget(struct bench *b, unsigned number)
{
	handover_fini(&b->items[number]);
	if (b->items[number].fd > 0)
		close(b->items[number].fd);
	b->items[number].fd = 0;
	b->is_waiting[number] = false;
}

static void
close_bench(struct bench *b)
{
	for (unsigned i = 0; i < ITEMS; i++)
		forget(b, i);
	channels_free_all(&b->list);
	assert_null(b->list);
	backends_free(b->stats);
	stop(&b->a);
	stop(&b->b);
	loop_free(b->loop);
	rmdir(b->dir);
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
turn(struct bench *b)
{
	for (int i = 0; i < 4; i++) {
		loop_post(b->loop, stop_loop, b->loop);
		loop_run(b->loop);
	}
}

/* As sessions do: those that nobody took are offered again in their order. */
static void
retry(struct bench *b)
{
	for (unsigned i = 0; i < ITEMS; i++)
		if (b->is_waiting[i] && channels_offer(b->to, &b->items[i]))
			b->is_waiting[i] = false;
}

static void
on_answer(struct handover *h, bool is_taken)
{
	unsigned number = (unsigned)(h - current->items);

	assert_null(h->channel);
	if (is_taken) {
		current->taken[number]++;
		forget(current, number);
		return;
	}
	current->again++;
	current->is_waiting[number] = !channels_offer(current->to, h);
}

/* The item's number travels as its ciphertext. */
static void
offer(struct bench *b, unsigned number)
{
	struct handoff h = { .info = { .has_tls = true } };
	int pair[2];

	h.keys.suite = handoff_suite_find(0x1301);
	h.keys.role = HANDOFF_SERVER;
	h.keys.read.limit = h.keys.write.limit = 16384;
	h.in = slice_make((const char *)&number, sizeof(number));
	char *msg = xmalloc(HANDOFF_MAX);
	size_t n = handoff_encode(&h, msg, HANDOFF_MAX);

	assert_true(n > 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	close(pair[1]);
	b->items[number] = (struct handover){
		.fn = on_answer, .msg = msg, .msg_n = (uint32_t)n, .fd = pair[0]
	};
	b->is_waiting[number] = !channels_offer(b->to, &b->items[number]);
}

/* The number of the next message, -1 when there is none. */
static int
take(struct instance *i)
{
	static char buf[HANDOFF_MAX];
	struct handoff h;
	const char *reason;
	unsigned number;
	size_t nfds = 1;
	int fd;

	if (i->channel < 0)
		i->channel = accept4(i->listener, NULL, NULL, SOCK_NONBLOCK);
	if (i->channel < 0)
		return -1;

	ssize_t n = sock_recv_fds(i->channel, buf, sizeof(buf), &fd, &nfds);

	if (n <= 0)
		return -1;
	assert_int_equal(nfds, 1);
	close(fd);
	assert_true(handoff_decode(buf, (size_t)n, &h, &reason));
	memcpy(&number, h.in.p, sizeof(number));
	assert_true(number < ITEMS);
	i->seen[number]++;
	i->serial = h.serial;
	return (int)number;
}

static void
ack(struct instance *i)
{
	assert_int_equal(send(i->channel, &i->serial, 1, MSG_NOSIGNAL), 1);
}

static void
gives_once_it_is_acknowledged(void **state)
{
	unsigned before = count_fds();
	static struct bench b;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	offer(&b, 7);
	turn(&b);
	assert_int_equal(take(&b.a), 7);
	turn(&b);
	assert_int_equal(b.taken[7], 0);
	assert_true(b.items[7].fd >= 0);
	ack(&b.a);
	turn(&b);
	assert_int_equal(b.taken[7], 1);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

/* Each is a packet, and as many as there are are heard in few turns. */
static void
acknowledgements_do_not_queue_up(void **state)
{
	static struct bench b;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	for (unsigned i = 0; i < 100; i++)
		offer(&b, i);
	while (take(&b.a) >= 0)
		ack(&b.a);
	turn(&b);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(b.taken[i], 1);
	close_bench(&b);
}

/* One is taken and acknowledged, one taken only, the others unread: then the process dies. */
static void
what_was_not_acknowledged_goes_to_another(void **state)
{
	unsigned before = count_fds();
	static struct bench b;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	for (unsigned i = 0; i < 5; i++)
		offer(&b, i);
	turn(&b);
	assert_int_equal(take(&b.a), 0);
	ack(&b.a);
	assert_int_equal(take(&b.a), 1);
	start(&b, &b.b, "1");
	usleep(1100000); /* the folder is looked at once a second */
	stop(&b.a);      /* with unread messages: a reset, and behind it the acknowledgement */
	turn(&b);
	assert_int_equal(b.taken[0], 1);
	for (int i = 1; i < 5; i++) {
		retry(&b);
		assert_int_equal(take(&b.b), i);
		ack(&b.b);
	}
	turn(&b);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(b.taken[i], 1);
	assert_int_equal(b.b.seen[0], 0);
	assert_int_equal(b.again, 4);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

static void
waits_for_an_instance(void **state)
{
	static struct bench b;
	int number = -1;

	(void)state;
	open_bench(&b);
	offer(&b, 1);
	offer(&b, 2);
	assert_true(b.is_waiting[1] && b.is_waiting[2]);
	start(&b, &b.a, "0");
	for (int i = 0; i < 100 && (number = take(&b.a)) < 0; i++) {
		usleep(20000);
		turn(&b);
		retry(&b);
	}
	assert_int_equal(number, 1);
	assert_int_equal(take(&b.a), 2);
	assert_false(b.is_waiting[1] || b.is_waiting[2]);
	close_bench(&b);
}

/* Who owes less is asked first. */
static void
load_is_spread(void **state)
{
	static struct bench b;
	unsigned at_a = 0;
	unsigned at_b = 0;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	start(&b, &b.b, "1");
	for (unsigned i = 0; i < 100; i++)
		offer(&b, i);
	while (take(&b.a) >= 0)
		at_a++;
	while (take(&b.b) >= 0)
		at_b++;
	assert_int_equal(at_a, 50);
	assert_int_equal(at_b, 50);
	close_bench(&b);
}

/* More than the kernel queues and more than there are serials. */
static void
a_full_queue_is_waited_for(void **state)
{
	unsigned before = count_fds();
	static struct bench b;
	unsigned taken = 0;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	for (unsigned i = 0; i < ITEMS; i++)
		offer(&b, i);
	turn(&b);
	assert_true(b.is_waiting[ITEMS - 1]);
	for (unsigned i = 0; i < 5000 && taken < ITEMS; i++) {
		int number = take(&b.a);

		if (number >= 0) {
			assert_int_equal(number, taken++); /* in their order */
			ack(&b.a);
		}
		turn(&b);
		retry(&b);
	}
	turn(&b);
	for (unsigned i = 0; i < ITEMS; i++)
		assert_int_equal(b.taken[i], 1);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

static void
a_cancelled_one_does_not_lend_its_serial(void **state)
{
	unsigned before = count_fds();
	static struct bench b;
	uint8_t serial;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	offer(&b, 0);
	turn(&b);
	assert_int_equal(take(&b.a), 0);
	serial = b.a.serial;
	forget(&b, 0);
	forget(&b, 0); /* and again is fine */
	for (unsigned i = 1; i <= 300; i++) {
		offer(&b, i);
		turn(&b);
		assert_int_equal(take(&b.a), i);
		assert_int_not_equal(b.a.serial, serial);
		ack(&b.a);
		turn(&b);
	}
	b.a.serial = serial;
	ack(&b.a);
	turn(&b);
	assert_int_equal(b.taken[0], 0);
	assert_int_equal(b.again, 0);
	close_bench(&b);
	assert_int_equal(count_fds(), before);
}

/* It takes nothing more, but what it had taken is acknowledged late. */
static void
a_draining_instance_is_left_alone(void **state)
{
	static struct bench b;

	(void)state;
	open_bench(&b);
	start(&b, &b.a, "0");
	offer(&b, 0);
	turn(&b);
	assert_int_equal(take(&b.a), 0);
	shutdown(b.a.channel, SHUT_RD);
	start(&b, &b.b, "1");
	usleep(1100000); /* the folder is looked at once a second */
	offer(&b, 1);
	turn(&b);
	assert_int_equal(take(&b.b), 1);
	ack(&b.b);
	ack(&b.a);
	turn(&b);
	assert_int_equal(b.taken[0], 1);
	assert_int_equal(b.taken[1], 1);
	close_bench(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_once_it_is_acknowledged),
		cmocka_unit_test(acknowledgements_do_not_queue_up),
		cmocka_unit_test(what_was_not_acknowledged_goes_to_another),
		cmocka_unit_test(waits_for_an_instance),
		cmocka_unit_test(load_is_spread),
		cmocka_unit_test(a_full_queue_is_waited_for),
		cmocka_unit_test(a_cancelled_one_does_not_lend_its_serial),
		cmocka_unit_test(a_draining_instance_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
