/*
 * bus: a binding and a connecting end in one loop; peers that come late, go, come back, or are
 * hostile. Waits on conditions with a deadline.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/bus.h"
#include "libcommon/busmsg.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "libcommon/spwire.h"

static char dir[64];
static struct loop *loop;
static struct loop_timer *tick;

struct inbox {
	unsigned count;
	size_t bytes;
	char last[256];
};

static void
on_message(void *arg, struct slice topic, struct slice message)
{
	struct inbox *in = arg;

	(void)topic;
	in->count++;
	in->bytes += message.n;
	snprintf(in->last, sizeof(in->last), "%.*s", SLICE_ARG(message));
}

/* Run the loop until cond(arg) or 5 s have passed. */
struct waiting {
	bool (*cond)(void *arg);
	void *arg;
	int left;
};

static void
on_tick(void *arg)
{
	struct waiting *w = arg;

	if (w->cond(w->arg) || --w->left == 0)
		loop_stop(loop);
}

static bool
wait_for(bool (*cond)(void *arg), void *arg)
{
	struct waiting w = { cond, arg, 1000 };

	tick = loop_timer_new(loop, on_tick, &w);
	loop_timer_set(tick, 5, true);
	loop_run(loop);
	loop_timer_free(tick);
	return w.left > 0;
}

static bool
has_message(void *arg)
{
	return ((struct inbox *)arg)->count > 0;
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bus.XXXXXX");
	loop = loop_new();
	return mkdtemp(dir) && loop ? 0 : -1;
}

static int
teardown(void **state)
{
	DIR *d = opendir(dir);

	(void)state;
	for (struct dirent *e; (e = readdir(d));) {
		char *path = xasprintf("%s/%s", dir, e->d_name);

		if (e->d_name[0] != '.')
			unlink(path);
		free(path);
	}
	closedir(d);
	loop_free(loop);
	return rmdir(dir);
}

static struct bus *
bind_bus(void)
{
	struct err err;
	struct bus *b = bus_bind(loop, dir, "healthd", "0", &err);

	if (!b)
		fail_msg("%s", err.text);
	return b;
}

static struct bus *
connect_bus(void)
{
	struct err err;
	struct bus *b = bus_connect(loop, dir, &err);

	if (!b)
		fail_msg("%s", err.text);
	return b;
}

static bool
is_connected(void *arg)
{
	struct bus_stats st;

	bus_stats(arg, &st);
	return st.peers == 2;
}

static void
publish(struct bus *b, const char *text)
{
	assert_int_equal(bus_publish(b, slice_str(text)), 0);
}

struct resend {
	struct bus *bus;
	struct inbox *inbox;
	const char *text;
};

/* Delivery is best effort: senders repeat. */
static bool
resent_until_heard(void *arg)
{
	struct resend *r = arg;

	publish(r->bus, r->text);
	return r->inbox->count > 0;
}

static void
test_both_directions(void **state)
{
	struct bus *h = bind_bus();
	struct bus *r = connect_bus();
	struct inbox at_h = { 0 };
	struct inbox at_r = { 0 };

	(void)state;
	bus_subscribe(h, "evidence.", on_message, &at_h);
	bus_subscribe(r, "health.app ", on_message, &at_r);
	assert_true(wait_for(is_connected, r));
	publish(r, "evidence.app {}");
	assert_true(wait_for(has_message, &at_h));
	assert_string_equal(at_h.last, "evidence.app {}");
	/* topics match as a whole: apple is not app */
	publish(h, "health.apple {}");
	publish(h, "health.app {1}");
	assert_true(wait_for(has_message, &at_r));
	assert_int_equal(at_r.count, 1);
	assert_string_equal(at_r.last, "health.app {1}");
	bus_free(r);
	bus_free(h);
}

static bool
has_500(void *arg)
{
	return ((struct inbox *)arg)->count >= 500;
}

/* More than a batch, in one go and in a trickle of the largest. */
static void
test_bursts_arrive_whole(void **state)
{
	struct bus *h = bind_bus();
	struct bus *r = connect_bus();
	struct inbox in = { 0 };
	struct sbuf big = { 0 };

	(void)state;
	bus_subscribe(r, "", on_message, &in);
	assert_true(wait_for(is_connected, r));
	for (int i = 0; i < 500; i++)
		publish(h, "health.app {}");
	assert_true(wait_for(has_500, &in));
	assert_int_equal(in.count, 500);

	sbuf_adds(&big, "health.app ");
	while (big.n < BUSMSG_BYTES_MAX)
		sbuf_addc(&big, 'x');
	in = (struct inbox){ 0 };
	assert_int_equal(bus_publish(h, sbuf_slice(&big)), 0);
	assert_true(wait_for(has_message, &in));
	assert_int_equal(in.bytes, BUSMSG_BYTES_MAX);
	sbuf_addc(&big, 'x');
	assert_int_equal(bus_publish(h, sbuf_slice(&big)), -1);
	sbuf_fini(&big);
	bus_free(r);
	bus_free(h);
}

static void
test_binder_may_come_late_and_come_back(void **state)
{
	struct bus *r = connect_bus();
	struct inbox in = { 0 };

	(void)state;
	bus_subscribe(r, "health.", on_message, &in);
	for (int i = 0; i < 2; i++) {
		struct bus *h = bind_bus();

		in.count = 0;
		assert_true(
			wait_for(resent_until_heard, &(struct resend){ h, &in, "health.app {}" }));
		bus_free(h);
	}
	bus_free(r);
}

static void
test_a_live_holder_stops_a_second_one(void **state)
{
	struct bus *h = bind_bus();
	struct err err;
	char want[64];

	(void)state;
	assert_null(bus_bind(loop, dir, "healthd", "0", &err));
	snprintf(want, sizeof(want), "in use by process %d", (int)getpid());
	assert_non_null(strstr(err.text, want));
	bus_free(h);
	/* and a stale file does not */
	h = bind_bus();
	bus_free(h);
}

static void
test_too_long_paths(void **state)
{
	struct err err;
	char path[120];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_null(bus_bind(loop, path, "healthd", "0", &err));
	assert_non_null(strstr(err.text, "too long"));
	assert_null(bus_connect(loop, path, &err));
	assert_non_null(strstr(err.text, "too long"));
}

/* --- a listener that answers what it likes ------------------------------------- */

struct hostile {
	struct loop_io *io;
	const char *bytes;
	size_t n;
	int fd;
	int accepted[64];
	unsigned count;
};

static void
on_accept(void *arg, int fd, int events)
{
	struct hostile *h = arg;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (c < 0 || h->count == 64)
		return;
	h->accepted[h->count++] = c;
	assert_int_equal(send(c, h->bytes, h->n, MSG_NOSIGNAL), h->n);
}

static void
listen_hostile(struct hostile *h, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(h->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(h->fd, 8), 0);
	h->io = loop_io_new(loop, h->fd, LOOP_READ, on_accept, h);
}

static void
free_hostile(struct hostile *h)
{
	loop_io_free(h->io);
	close(h->fd);
	for (unsigned i = 0; i < h->count; i++)
		close(h->accepted[i]);
}

static bool
is_malformed(void *arg)
{
	struct bus_stats st;

	bus_stats(arg, &st);
	return st.malformed > 0;
}

#define BYTES(s) s, sizeof(s) - 1

static const struct {
	const char *name;
	const char *file;
	const char *bytes;
	size_t n;
} attacks[] = {
	{ "no SP", "x.0.pub", BYTES("GGGGGGGGGGGGGGGGGGGG") },
	{ "what aborts nanomsg", "x.0.pub", BYTES("\0SP\0\0\x20\0\0\x07GGGGGGGGGGGGGGGGGGG") },
	{ "the same for a publisher", "x.0.sub", BYTES("\0SP\0\0\x21\0\0\x07GGGGGGGGGGGGGGGGGGG") },
	{ "an endless message", "x.0.pub",
		BYTES("\0SP\0\0\x20\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff") },
	{ "a message where none may come", "x.0.sub",
		BYTES("\0SP\0\0\x21\0\0\x01\0\0\0\0\0\0\0\3a b") },
	{ "a publisher that should subscribe", "x.0.sub", BYTES("\0SP\0\0\x20\0\0") },
};

/* The connecting end lives on and still hears those who behave. */
static void
test_hostile_listeners(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		struct hostile bad = { .bytes = attacks[i].bytes, .n = attacks[i].n };
		struct bus *h = bind_bus();
		struct bus *r = connect_bus();
		struct inbox in = { 0 };
		char *path = xasprintf("%s/%s", dir, attacks[i].file);

		listen_hostile(&bad, attacks[i].file);
		bus_subscribe(r, "health.", on_message, &in);
		if (!wait_for(is_malformed, r))
			fail_msg("%s was not noticed", attacks[i].name);
		assert_true(
			wait_for(resent_until_heard, &(struct resend){ h, &in, "health.app {}" }));
		assert_int_equal(in.count, 1);
		bus_free(r);
		bus_free(h);
		free_hostile(&bad);
		unlink(path);
		free(path);
	}
}

static bool
has_dropped(void *arg)
{
	struct bus *b = arg;
	struct bus_stats st;
	char big[60000];

	memset(big, 'x', sizeof(big));
	bus_publish(b, slice_make(big, sizeof(big)));
	bus_stats(b, &st);
	return st.dropped > 0;
}

/* A subscriber that does not read costs a bounded buffer, then messages, never us. */
static void
test_a_peer_that_does_not_read(void **state)
{
	struct hostile slow = { .bytes = "\0SP\0\0\x21\0\0", .n = 8 };
	struct bus *r;

	(void)state;
	listen_hostile(&slow, "x.0.sub");
	r = connect_bus();
	assert_true(wait_for(has_dropped, r));
	bus_free(r);
	free_hostile(&slow);
}

static void
test_epochs_differ(void **state)
{
	char a[BUS_EPOCH_SIZE];
	char b[BUS_EPOCH_SIZE];

	(void)state;
	bus_epoch(a);
	bus_epoch(b);
	assert_string_not_equal(a, b);
	assert_memory_equal(a, b, 8);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_directions),
		TEST(test_bursts_arrive_whole),
		TEST(test_binder_may_come_late_and_come_back),
		TEST(test_a_live_holder_stops_a_second_one),
		TEST(test_too_long_paths),
		TEST(test_hostile_listeners),
		TEST(test_a_peer_that_does_not_read),
		cmocka_unit_test(test_epochs_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
