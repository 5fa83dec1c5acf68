/*
 * tlsasker alone, with daemons that are played here: who is asked, what comes of answers good and
 * bad, and of a daemon that dies meanwhile. No TLS takes place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/err.h"
#include "libcommon/loop.h"
#include "libcommon/sock.h"
#include "libcommon/tlsasker.h"

enum { CALLS = 300, SERIALS = 256, DEADLINE_MS = 5000 };

struct ask {
	struct tls_call c;
	struct bench *b;
	int peer; /* the server's end of its connection */
	unsigned results;
	enum tls_result result;
	uint8_t why;
	char detail[64];
	uint16_t suite;
	char in[16];
	bool asks_anew; /* from within its answer */
};

struct played {
	char path[128];
	int listener;
	int channel;
	/* what it was asked last */
	char buf[TLSASK_MAX];
	struct tlsask ask;
	int fd;
};

struct bench {
	char dir[64];
	struct loop *loop;
	struct tlsasker *asker;
	struct ask asks[CALLS];
	struct played a;
	struct played b;
};

/* --- the daemons -------------------------------------------------------------------------- */

static void
play(struct bench *b, struct played *d, const char *name)
{
	struct sock_listen_opts opts = { .backlog = 8 };
	struct err err;

	snprintf(d->path, sizeof(d->path), "%s/" TLSASKER_FOLDER "/%s" TLSASKER_SUFFIX, b->dir,
		name);
	d->listener = sock_listen_seqpacket(d->path, &opts, &err);
	assert_true(d->listener >= 0);
}

static void
end_channel(struct played *d)
{
	if (d->channel >= 0)
		close(d->channel);
	if (d->fd >= 0)
		close(d->fd);
	d->channel = d->fd = -1;
}

/* As a kill does it: the file stays. */
static void
die(struct played *d)
{
	end_channel(d);
	if (d->listener >= 0)
		close(d->listener);
	d->listener = -1;
}

/* Is there something that it is asked? Then d->ask and d->fd. */
static bool
hears(struct played *d)
{
	size_t nfds = 1;
	const char *bad;
	ssize_t n;

	if (d->channel < 0)
		d->channel = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK);
	if (d->channel < 0)
		return false;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	n = sock_recv_fds(d->channel, d->buf, sizeof(d->buf), &d->fd, &nfds);
	if (n <= 0)
		return false;
	assert_int_equal(nfds, 1);
	assert_true(tlsask_decode(d->buf, (size_t)n, &d->ask, &bad));
	return true;
}

static void
say(struct played *d, const char *p, size_t n)
{
	assert_int_equal(send(d->channel, p, n, MSG_NOSIGNAL), n);
}

static void
refuse(struct played *d, uint8_t serial, uint8_t why, const char *detail)
{
	char msg[TLSASK_MAX];
	struct tlsask_refusal r = { serial, why, slice_str(detail) };

	say(d, msg, tlsask_encode_refusal(&r, msg, sizeof(msg)));
}

static size_t
write_done(char *msg, uint8_t serial, enum handoff_role role)
{
	struct handoff h = {
		.serial = serial,
		.keys = { .suite = handoff_suite_find(0x1301), .role = role },
		.info = { .has_tls = true },
		.in = SLICE("early"),
	};
	size_t n;

	h.keys.read.limit = h.keys.write.limit = HANDOFF_LIMIT_MAX;
	n = handoff_encode(&h, msg, HANDOFF_MAX);
	assert_true(n > 0);
	return n;
}

static void
agree(struct played *d, uint8_t serial)
{
	static char msg[HANDOFF_MAX];

	say(d, msg, write_done(msg, serial, HANDOFF_CLIENT));
}

/* --- who asks ----------------------------------------------------------------------------- */

static void
on_answer(struct tls_call *c, const struct tls_answer *answer)
{
	struct ask *a = (struct ask *)(void *)((char *)c - offsetof(struct ask, c));

	a->results++;
	a->result = answer->result;
	assert_false(tls_call_is_taken(c));
	if (answer->result == TLS_REFUSED) {
		a->why = answer->refusal->why;
		snprintf(a->detail, sizeof(a->detail), "%.*s", SLICE_ARG(answer->refusal->detail));
	} else if (answer->result == TLS_DONE) {
		a->suite = answer->done->keys.suite->id;
		snprintf(a->in, sizeof(a->in), "%.*s", SLICE_ARG(answer->done->in));
	}
	if (a->asks_anew) {
		a->asks_anew = false;
		tlsasker_ask(a->b->asker, c);
	}
}

static struct ask *
make(struct bench *b, unsigned i)
{
	struct ask *a = &b->asks[i];
	int fd[2];

	if (a->peer > 0)
		close(a->peer);
	if (a->c.fd > 0)
		close(a->c.fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	*a = (struct ask){ .b = b, .peer = fd[1] };
	a->c = (struct tls_call){
		.fn = on_answer,
		.fd = fd[0],
		.protocols = TLSASK_HTTP2,
		.policy = "p",
		.host = "a.example",
	};
	return a;
}

static struct ask *
ask(struct bench *b, unsigned i)
{
	struct ask *a = make(b, i);

	tlsasker_ask(b->asker, &a->c);
	return a;
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
turn(struct bench *b)
{
	loop_post(b->loop, stop_loop, b->loop);
	loop_run(b->loop);
}

/* Turn after turn, until it is true. */
#define UNTIL(b, cond)                                      \
	do {                                                \
		int64_t end_ms_ = clock_ms() + DEADLINE_MS; \
		while (!(cond)) {                           \
			assert_true(clock_ms() < end_ms_);  \
			turn(b);                            \
			usleep(1000);                       \
		}                                           \
	} while (0)
#define UNTIL_HEARS(b, d) UNTIL(b, hears(d))
#define UNTIL_TOLD(b, a)  UNTIL(b, (a)->results > 0)

static void
quiet(struct bench *b)
{
	for (int i = 0; i < 5; i++)
		turn(b);
}

static int
set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char path[128];

	strcpy(b->dir, "/tmp/tlsaskerXXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(path, sizeof(path), "%s/" TLSASKER_FOLDER, b->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	b->loop = loop_new();
	b->asker = tlsasker_new(b->loop, b->dir);
	b->a.listener = b->a.channel = b->a.fd = -1;
	b->b.listener = b->b.channel = b->b.fd = -1;
	*state = b;
	return 0;
}

static int
tear_down(void **state)
{
	struct bench *b = *state;
	char path[128];

	for (unsigned i = 0; i < CALLS; i++) {
		struct ask *a = &b->asks[i];

		if (a->c.fd <= 0)
			continue;
		tlsasker_cancel(b->asker, &a->c);
		close(a->c.fd);
		close(a->peer);
	}
	tlsasker_free(b->asker);
	die(&b->a);
	die(&b->b);
	loop_free(b->loop);
	unlink(b->a.path);
	unlink(b->b.path);
	snprintf(path, sizeof(path), "%s/" TLSASKER_FOLDER, b->dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

/* --- answers ------------------------------------------------------------------------------ */

static void
what_is_asked_arrives_with_the_socket(void **state)
{
	struct bench *b = *state;
	char byte = 0;

	play(b, &b->a, "a");

	struct ask *a = ask(b, 0);

	assert_true(tls_call_is_taken(&a->c));
	assert_true(hears(&b->a));
	assert_int_equal(b->a.ask.protocols, TLSASK_HTTP2);
	assert_true(slice_eq(b->a.ask.policy, SLICE("p")));
	assert_true(slice_eq(b->a.ask.host, SLICE("a.example")));
	assert_int_equal(send(b->a.fd, "x", 1, 0), 1);
	assert_int_equal(recv(a->peer, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	agree(&b->a, b->a.ask.serial);
	UNTIL_TOLD(b, a);
	assert_int_equal(a->result, TLS_DONE);
	assert_int_equal(a->suite, 0x1301);
	assert_string_equal(a->in, "early");
	quiet(b);
	assert_int_equal(a->results, 1);
}

static void
each_answer_finds_its_asker(void **state)
{
	struct bench *b = *state;
	uint8_t serials[4];

	play(b, &b->a, "a");
	for (unsigned i = 0; i < 4; i++) {
		ask(b, i);
		UNTIL_HEARS(b, &b->a);
		serials[i] = b->a.ask.serial;
	}
	assert_int_equal(tlsasker_channels(b->asker), 1);
	refuse(&b->a, serials[2], TLSASK_EXPIRED, "certificate 0");
	agree(&b->a, serials[3]);
	refuse(&b->a, serials[0], TLSASK_UNKNOWN_POLICY, "");
	UNTIL(b, b->asks[0].results + b->asks[2].results + b->asks[3].results == 3);
	assert_int_equal(b->asks[2].result, TLS_REFUSED);
	assert_int_equal(b->asks[2].why, TLSASK_EXPIRED);
	assert_string_equal(b->asks[2].detail, "certificate 0");
	assert_int_equal(b->asks[3].result, TLS_DONE);
	assert_int_equal(b->asks[0].why, TLSASK_UNKNOWN_POLICY);
	assert_int_equal(b->asks[1].results, 0);
}

/* What is no answer ends the channel: who speaks so cannot be believed in the rest. */
struct bad_answer {
	const char *name;
	int serial; /* of a refusal, beyond the one that was asked; -1: bytes */
	const char *bytes;
	size_t n;
};

static const struct bad_answer bad_answers[] = {
	{ "a byte", -1, "x", 1 },
	{ "text", -1, "HTTP/1.1 200 OK\r\n\r\n", 19 },
	{ "a serial that nobody has", 1, NULL, 0 },
	{ "half a refusal", -2, NULL, 0 },
	{ "a connection in the other role", -3, NULL, 0 },
	{ "half a connection", -4, NULL, 0 },
	{ "more than a message can be", -5, NULL, 0 },
	{ "an answer twice", -6, NULL, 0 },
};

static void
say_bad(struct played *d, const struct bad_answer *c)
{
	static char msg[HANDOFF_MAX + 1];
	struct tlsask_refusal r = { d->ask.serial, TLSASK_EXPIRED, SLICE("words") };
	size_t n;

	switch (c->serial) {
	case -1: say(d, c->bytes, c->n); break;
	case -2:
		n = tlsask_encode_refusal(&r, msg, sizeof(msg));
		say(d, msg, n - 1);
		break;
	case -3: say(d, msg, write_done(msg, d->ask.serial, HANDOFF_SERVER)); break;
	case -4: say(d, msg, write_done(msg, d->ask.serial, HANDOFF_CLIENT) / 2); break;
	case -5:
		memset(msg, 0, sizeof(msg));
		say(d, msg, sizeof(msg));
		break;
	case -6:
		agree(d, d->ask.serial);
		agree(d, d->ask.serial);
		break;
	default: refuse(d, (uint8_t)(d->ask.serial + c->serial), TLSASK_EXPIRED, ""); break;
	}
}

static void
what_is_no_answer_ends_the_channel(void **state)
{
	struct bench *b = *state;

	play(b, &b->a, "a");
	for (size_t i = 0; i < sizeof(bad_answers) / sizeof(*bad_answers); i++) {
		struct ask *other = ask(b, 0);
		struct ask *a;
		char byte;

		UNTIL_HEARS(b, &b->a);
		a = ask(b, 1);
		UNTIL_HEARS(b, &b->a);
		say_bad(&b->a, &bad_answers[i]);
		UNTIL_TOLD(b, other);
		UNTIL_TOLD(b, a);
		assert_int_equal(other->result, TLS_LOST);
		assert_int_equal(a->result, bad_answers[i].serial == -6 ? TLS_DONE : TLS_LOST);
		assert_int_equal(a->results + other->results, 2);
		assert_int_equal(recv(b->a.channel, &byte, 1, 0), 0);
		assert_int_equal(tlsasker_channels(b->asker), 0);
		end_channel(&b->a);
	}
}

/* --- daemons that go ---------------------------------------------------------------------- */

static void
calls_of_a_daemon_that_dies_are_lost_and_another_one_is_asked(void **state)
{
	struct bench *b = *state;
	struct ask *a;

	play(b, &b->a, "a");
	a = ask(b, 0);
	a->asks_anew = true;
	UNTIL_HEARS(b, &b->a);
	play(b, &b->b, "b");
	die(&b->a);
	UNTIL_TOLD(b, a);
	assert_int_equal(a->result, TLS_LOST);
	UNTIL_HEARS(b, &b->b);
	agree(&b->b, b->b.ask.serial);
	UNTIL(b, a->results == 2);
	assert_int_equal(a->result, TLS_DONE);
}

static void
what_was_answered_before_a_death_counts(void **state)
{
	struct bench *b = *state;
	struct ask *a;
	struct ask *lost;

	play(b, &b->a, "a");
	a = ask(b, 0);
	UNTIL_HEARS(b, &b->a);

	uint8_t serial = b->a.ask.serial;

	lost = ask(b, 1); /* not read: its end is a reset */
	agree(&b->a, serial);
	die(&b->a);
	UNTIL_TOLD(b, a);
	UNTIL_TOLD(b, lost);
	assert_int_equal(a->result, TLS_DONE);
	assert_int_equal(lost->result, TLS_LOST);
}

static void
while_nobody_is_there_calls_wait_in_their_order(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 3; i++)
		ask(b, i);
	quiet(b);
	for (unsigned i = 0; i < 3; i++)
		assert_false(tls_call_is_taken(&b->asks[i].c));
	play(b, &b->a, "a");
	for (unsigned i = 0; i < 3; i++) {
		UNTIL_HEARS(b, &b->a);
		assert_int_equal(send(b->a.fd, "x", 1, 0), 1);

		char byte;

		assert_int_equal(recv(b->asks[i].peer, &byte, 1, 0), 1);
		assert_true(tls_call_is_taken(&b->asks[i].c));
	}
}

static void
a_file_that_nobody_listens_at_holds_nobody_up(void **state)
{
	struct bench *b = *state;

	play(b, &b->a, "a");
	die(&b->a);

	struct ask *a = ask(b, 0);

	quiet(b);
	assert_int_equal(a->results, 0);
	play(b, &b->b, "b");
	UNTIL_HEARS(b, &b->b);
	refuse(&b->b, b->b.ask.serial, TLSASK_EXPIRED, "");
	UNTIL_TOLD(b, a);
}

static void
one_that_restarts_under_its_name_is_found_again(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 3; i++) {
		play(b, &b->a, "a");

		struct ask *a = ask(b, 0);

		UNTIL_HEARS(b, &b->a);
		agree(&b->a, b->a.ask.serial);
		UNTIL_TOLD(b, a);
		assert_int_equal(a->result, TLS_DONE);
		die(&b->a);
		UNTIL(b, tlsasker_channels(b->asker) == 0);
	}
}

/* --- patience ----------------------------------------------------------------------------- */

static void
a_call_whose_owner_gives_up_is_hung_up_on(void **state)
{
	struct bench *b = *state;
	struct ask *a;
	struct ask *next;
	char byte;

	play(b, &b->a, "a");
	a = ask(b, 0);
	UNTIL_HEARS(b, &b->a);

	uint8_t serial = b->a.ask.serial;

	tlsasker_cancel(b->asker, &a->c);
	assert_false(tls_call_is_taken(&a->c));
	/* whoever makes the handshake sees an end */
	assert_int_equal(recv(b->a.fd, &byte, 1, 0), 0);
	/* its answer comes too late for anybody, and is none to the next call */
	next = ask(b, 1);
	UNTIL_HEARS(b, &b->a);
	assert_int_not_equal(b->a.ask.serial, serial);
	agree(&b->a, serial);
	refuse(&b->a, b->a.ask.serial, TLSASK_EXPIRED, "");
	UNTIL_TOLD(b, next);
	assert_int_equal(next->result, TLS_REFUSED);
	assert_int_equal(a->results, 0);
	assert_int_equal(tlsasker_channels(b->asker), 1);
	/* once more changes nothing */
	tlsasker_cancel(b->asker, &next->c);
}

static void
a_call_that_waits_may_be_taken_back(void **state)
{
	struct bench *b = *state;
	struct ask *first = ask(b, 0);
	struct ask *later = make(b, 1);
	struct ask *stays = ask(b, 2);
	char byte;

	tlsasker_ask_later(b->asker, &later->c);
	tlsasker_cancel(b->asker, &first->c);
	tlsasker_cancel(b->asker, &later->c);
	play(b, &b->a, "a");
	UNTIL_HEARS(b, &b->a);
	assert_int_equal(send(b->a.fd, "x", 1, 0), 1);
	assert_int_equal(recv(stays->peer, &byte, 1, 0), 1);
	quiet(b);
	assert_false(hears(&b->a));
}

static void
a_call_for_later_is_not_made_at_once(void **state)
{
	struct bench *b = *state;
	struct ask *a = make(b, 0);
	int64_t before = clock_ms();

	play(b, &b->a, "a");
	tlsasker_ask_later(b->asker, &a->c);
	assert_false(tls_call_is_taken(&a->c));
	UNTIL_HEARS(b, &b->a);
	assert_true(clock_ms() - before >= LOOP_TICK_MS);
	agree(&b->a, b->a.ask.serial);
	UNTIL_TOLD(b, a);
}

/* --- many --------------------------------------------------------------------------------- */

static void
the_one_with_the_fewest_calls_is_asked(void **state)
{
	struct bench *b = *state;
	unsigned n[2] = { 0 };

	play(b, &b->a, "a");
	play(b, &b->b, "b");
	for (unsigned i = 0; i < 6; i++)
		ask(b, i);
	while (hears(&b->a))
		n[0]++;
	while (hears(&b->b))
		n[1]++;
	assert_int_equal(n[0], 3);
	assert_int_equal(n[1], 3);
	assert_int_equal(tlsasker_channels(b->asker), 2);
}

/* Serials are bytes; forgotten calls have theirs until they are answered. */
static void
no_more_are_under_way_than_there_are_serials(void **state)
{
	struct bench *b = *state;
	bool is_seen[SERIALS] = { false };
	unsigned heard = 0;

	play(b, &b->a, "a");
	for (unsigned i = 0; i < CALLS; i++)
		ask(b, i);
	UNTIL(b,
		(heard += hears(&b->a),
			b->a.fd >= 0 && (is_seen[b->a.ask.serial] = true, heard == SERIALS)));
	for (unsigned i = 0; i < SERIALS; i++)
		assert_true(is_seen[i]);
	quiet(b);
	assert_false(hears(&b->a));
	assert_true(tls_call_is_taken(&b->asks[SERIALS - 1].c));
	assert_false(tls_call_is_taken(&b->asks[SERIALS].c));
	tlsasker_cancel(b->asker, &b->asks[7].c);
	quiet(b);
	assert_false(hears(&b->a));
	/* the answer to one makes room for one */
	refuse(&b->a, 7, TLSASK_EXPIRED, "");
	UNTIL_HEARS(b, &b->a);
	assert_int_equal(b->a.ask.serial, 7);
	assert_true(tls_call_is_taken(&b->asks[SERIALS].c));
	quiet(b);
	assert_false(hears(&b->a));
	assert_int_equal(b->asks[7].results, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(what_is_asked_arrives_with_the_socket),
		T(each_answer_finds_its_asker),
		T(what_is_no_answer_ends_the_channel),
		T(calls_of_a_daemon_that_dies_are_lost_and_another_one_is_asked),
		T(what_was_answered_before_a_death_counts),
		T(while_nobody_is_there_calls_wait_in_their_order),
		T(a_file_that_nobody_listens_at_holds_nobody_up),
		T(one_that_restarts_under_its_name_is_found_again),
		T(a_call_whose_owner_gives_up_is_hung_up_on),
		T(a_call_that_waits_may_be_taken_back),
		T(a_call_for_later_is_not_made_at_once),
		T(the_one_with_the_fewest_calls_is_asked),
		T(no_more_are_under_way_than_there_are_serials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
