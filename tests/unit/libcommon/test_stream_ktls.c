/*
 * stream_ktls over real TCP connections whose other end is a record layer in the client's role.
 * What the kernel can not do here is skipped, and that is said; `make ktls` runs this file where it
 * can. Where it cannot, the first tests show that all goes on as without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/ktls.h"
#include "libcommon/stream_tls.h"
#include "libcommon/tlsrec_int.h"

enum { DATA_MAX = 3000000, LARGE = 2 << 20 };

static const uint16_t suites[] = { 0x1301, 0x1302, 0x1303, 0xc02f, 0xc030, 0xcca8 };
static struct stream_tls_env env;
static struct event_base *base;
static uint8_t data[DATA_MAX];
static _Atomic unsigned can;
static unsigned heard[3]; /* on_kernel, by what */

struct pair {
	struct stream s;
	int fd; /* the client's */
	struct tlsrec client;
	char in[40000];
	size_t in_n;
	size_t got;
	unsigned updates;
	enum tlsrec_result last;
};

static void
on_kernel(void *arg, enum stream_ktls_event what)
{
	assert_ptr_equal(arg, &env);
	heard[what]++;
}

static int
make_all(void **state)
{
	const char *why;
	uint32_t x = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	base = event_base_new();
	if (base == NULL || !stream_tls_env_init(&env))
		return 1;
	can = ktls_probe(&why);
	printf("kernel TLS: %s %s\n", ktls_versions(can), why ? why : "");
	env.kernel = &can;
	env.on_kernel = on_kernel;
	env.arg = &env;
	return 0;
}

static int
free_all(void **state)
{
	(void)state;
	stream_tls_env_fini(&env);
	event_base_free(base);
	return 0;
}

static struct handoff_keys
some_keys(uint16_t suite, enum handoff_role role, uint16_t limit)
{
	struct handoff_keys k = { .suite = handoff_suite_find(suite), .role = role, .nonce = 77 };

	memset(k.read.secret, 3, sizeof(k.read.secret));
	memset(k.write.secret, 3, sizeof(k.write.secret));
	memset(k.read.iv, 9, sizeof(k.read.iv));
	memset(k.write.iv, 9, sizeof(k.write.iv));
	k.read.seq = k.write.seq = 5;
	k.read.limit = k.write.limit = limit;
	if (k.suite->version == HANDOFF_TLS13 || k.suite->aead == HANDOFF_CHACHA20_POLY1305)
		k.nonce = 0;
	return k;
}

static void
on_stream(struct stream *s)
{
	(void)s;
}

static void
connect_pair(int fds[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int small = 30000;
	int l = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(l, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&at, &n), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(connect(fds[0], (struct sockaddr *)&at, n), 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[1] >= 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	close(l);
}

static void
open_pair_as(struct pair *p, uint16_t suite, enum handoff_role role, uint16_t limit)
{
	struct handoff_keys ours = some_keys(suite, role, limit);
	struct handoff_keys theirs =
		some_keys(suite, role == HANDOFF_SERVER ? HANDOFF_CLIENT : HANDOFF_SERVER, 16384);
	int fds[2];

	memset(p, 0, sizeof(*p));
	memset(heard, 0, sizeof(heard));
	connect_pair(fds);
	p->fd = fds[1];
	assert_true(tlsrec_init(&p->client, env.rec, &theirs));
	assert_true(
		stream_tls_init(&p->s, base, fds[0], &env, &ours, SLICE(""), SLICE(""), on_stream));
}

static void
open_pair(struct pair *p, uint16_t suite)
{
	open_pair_as(p, suite, HANDOFF_SERVER, 16384);
}

static void
close_pair(struct pair *p)
{
	stream_close(&p->s);
	tlsrec_fini(&p->client);
	if (p->fd >= 0)
		close(p->fd);
}

static bool
is_known(uint16_t suite)
{
	return can & ktls_bit(handoff_suite_find(suite));
}

/* What has come; true: something has. */
static bool
client_reads(struct pair *p, int wait_ms)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	size_t at = 0;
	ssize_t n;

	/* The other end's timers run meanwhile. */
	for (int waited = 0;; waited += 10) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (poll(&f, 1, wait_ms < 10 ? wait_ms : 10) > 0)
			break;
		if (waited >= wait_ms)
			return false;
	}
	n = recv(p->fd, p->in + p->in_n, sizeof(p->in) - p->in_n, 0);
	if (n <= 0)
		return false;
	p->in_n += (size_t)n;
	for (;;) {
		uint64_t before = p->client.read.seq;
		struct tlsrec_piece piece;

		p->last = tlsrec_open(&p->client, p->in + at, p->in_n - at, NULL, 0, &piece);
		if (p->last != TLSREC_DATA && p->last != TLSREC_NOTHING)
			break;
		p->updates += p->client.read.seq < before;
		assert_memory_equal(piece.p, data + p->got, piece.n);
		p->got += piece.n;
		at += piece.used;
	}
	assert_true(p->last == TLSREC_MORE || p->last == TLSREC_END);
	p->in_n -= at;
	memmove(p->in, p->in + at, p->in_n);
	return true;
}

/* Write data[from..to) in pieces of n; the client reads when the socket is full. */
static void
write_all(struct pair *p, size_t from, size_t to, size_t n)
{
	unsigned stuck = 0;

	while (from < to) {
		size_t left = to - from < n ? to - from : n;
		struct iovec v[2] = { { data + from, left / 3 },
			{ data + from + left / 3, left - left / 3 } };
		ssize_t sent = p->s.writable ? stream_write(&p->s, v, 2) : STREAM_AGAIN;

		assert_true(sent != STREAM_ERROR);
		if (sent > 0)
			from += (size_t)sent;
		if (sent == STREAM_AGAIN) {
			assert_false(p->s.writable);
			client_reads(p, 20);
			assert_true(++stuck < 20000);
		}
	}
}

static void
read_until(struct pair *p, size_t to)
{
	while (p->got < to)
		assert_true(client_reads(p, 5000));
	assert_int_equal(p->got, to);
}

static void
client_says(struct pair *p, size_t from, size_t n)
{
	struct iovec v = { data + from, n };
	char out[20000];
	size_t taken;
	ssize_t len = tlsrec_seal(&p->client, &v, 1, 0, out, sizeof(out), &taken);

	assert_true(len > 0 && taken == n);
	assert_int_equal(send(p->fd, out, (size_t)len, 0), len);
}

/* A KeyUpdate that asks for one (our record layer never does), and the next key. */
static void
client_asks(struct pair *p)
{
	uint8_t out[64] = { 23, 3, 3, 0, 6 + TLSREC_TAG, 24, 0, 0, 1, 1, 22 };
	uint8_t nonce[12];
	size_t n = TLSREC_HEADER + 6 + TLSREC_TAG;

	tlsrec_make_nonce(&p->client, &p->client.write, NULL, nonce);
	assert_true(tlsrec_crypt_seal(&p->client, nonce, out, TLSREC_HEADER, out + TLSREC_HEADER, 6,
		-1, out + TLSREC_HEADER));
	assert_int_equal(send(p->fd, out, n, 0), n);
	assert_true(tlsrec_give_next(&p->client));
}

static ssize_t
server_hears(struct pair *p, void *to, size_t n)
{
	ssize_t got = STREAM_AGAIN;

	for (unsigned i = 0; i < 500 && got == STREAM_AGAIN; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (p->s.readable)
			got = stream_read(&p->s, to, n);
		else
			poll(NULL, 0, 10);
	}
	return got;
}

/* --- without it ----------------------------------------------------------------------------- */

static void
not_taken(struct pair *p)
{
	write_all(p, 0, 1000, 1000);
	assert_false(stream_takes_pipe(&p->s, LARGE));
	assert_null(p->s.ops->write_pipe);
	write_all(p, 1000, 200000, 50000);
	read_until(p, 200000);
	assert_int_equal(heard[STREAM_KTLS_TAKEN], 0);
	close_pair(p);
}

static void
where_it_is_not_wanted_all_goes_on(void **state)
{
	const unsigned before = can;
	struct pair p;

	(void)state;
	can = 0;
	open_pair(&p, 0x1301);
	not_taken(&p);
	env.kernel = NULL;
	open_pair(&p, 0xc02f);
	not_taken(&p);
	env.kernel = &can;
	can = before;
}

/* A kernel that is believed to have it, and has not (or no such cipher): this is how `auto` fails.
 */
static void
where_the_kernel_refuses_all_goes_on(void **state)
{
	const unsigned before = can;

	(void)state;
	can = ~before;
	for (unsigned i = 0; i < 6; i++) {
		struct pair p;

		if (is_known(suites[i]) && before == 0) {
			open_pair(&p, suites[i]);
			not_taken(&p);
		}
	}
	can = before;
}

static void
small_bodies_small_records_and_servers_are_left_alone(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p, 0xc02f);
	assert_false(stream_takes_pipe(&p.s, 100000));
	close_pair(&p);
	open_pair_as(&p, 0xc02f, HANDOFF_SERVER, 1024);
	not_taken(&p);
	open_pair_as(&p, 0xc02f, HANDOFF_CLIENT, 16384);
	not_taken(&p);
}

/* --- with it -------------------------------------------------------------------------------- */

#define EACH_KNOWN_SUITE(suite)             \
	for (unsigned i_ = 0; i_ < 6; i_++) \
		for (uint16_t suite = is_known(suites[i_]) ? suites[i_] : 0; suite != 0; suite = 0)

static void
need(unsigned what)
{
	if (!what)
		skip();
}

static unsigned
tls13(void)
{
	return can >> 3;
}

static void
take_over(struct pair *p, size_t from, size_t to)
{
	write_all(p, from, to, 5000);
	assert_true(stream_takes_pipe(&p->s, LARGE));
	assert_non_null(p->s.ops->write_pipe);
	assert_int_equal(heard[STREAM_KTLS_TAKEN], 1);
}

static void
records_go_on_where_ours_ended(void **state)
{
	(void)state;
	need(can);
	EACH_KNOWN_SUITE(suite)
	{
		static const size_t pieces[] = { 1, 1000, 16384, 16385, 200000 };
		struct pair p;
		size_t at = 30000;

		open_pair(&p, suite);
		take_over(&p, 0, at);
		for (unsigned i = 0; i < 5; i++) {
			size_t n = pieces[i] == 1 ? 50 : 3 * pieces[i] + 17;

			write_all(&p, at, at + n, pieces[i]);
			at += n;
		}
		read_until(&p, at);
		stream_close(&p.s);
		while (client_reads(&p, 5000))
			;
		assert_int_equal(p.last, TLSREC_END);
		assert_int_equal(heard[STREAM_KTLS_CUT], 0);
		close_pair(&p);
	}
}

static void
pipes_pass(void **state)
{
	(void)state;
	need(can);
	EACH_KNOWN_SUITE(suite)
	{
		struct pair p;
		size_t at = 3000;
		int fds[2];

		open_pair(&p, suite);
		take_over(&p, 0, at);
		assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		while (at < LARGE) {
			ssize_t in = write(fds[1], data + at, 1 + at % 65536);

			assert_true(in > 0);
			at += (size_t)in;
			while (in > 0) {
				ssize_t out = p.s.writable
					? p.s.ops->write_pipe(&p.s, fds[0], (size_t)in)
					: STREAM_AGAIN;

				assert_true(out != STREAM_ERROR && out != 0);
				if (out > 0)
					in -= out;
				else
					client_reads(&p, 20);
			}
			/* and answers between them */
			write_all(&p, at, at + 700, 700);
			at += 700;
		}
		read_until(&p, at);
		close(fds[0]);
		close(fds[1]);
		close_pair(&p);
	}
}

/* The peer may ask for new keys (RFC 8446 §4.6.3): before the next data, and often. */
static void
keys_change_when_asked_for(void **state)
{
	(void)state;
	need(tls13());
	EACH_KNOWN_SUITE(suite)
	{
		struct pair p;
		size_t at = 3000;

		if (handoff_suite_find(suite)->version != HANDOFF_TLS13)
			continue;
		open_pair(&p, suite);
		take_over(&p, 0, at);
		for (unsigned i = 1; i <= 5; i++) {
			char word[10];

			client_asks(&p);
			client_says(&p, 0, 10);
			assert_int_equal(server_hears(&p, word, sizeof(word)), 10);
			write_all(&p, at, at + 40000 * i, 20000);
			at += 40000 * i;
			read_until(&p, at);
			assert_int_equal(p.updates, i);
		}
		stream_close(&p.s);
		while (client_reads(&p, 5000))
			;
		assert_int_equal(p.last, TLSREC_END);
		close_pair(&p);
	}
}

/* The owner thinks that all is sent, and closes. So does TCP, but not the kernel's TLS. */
static void
the_end_waits_until_tcp_has_all(void **state)
{
	(void)state;
	need(can);
	EACH_KNOWN_SUITE(suite)
	{
		unsigned tails = 0;

		for (size_t extra = 0; extra < 40; extra++) {
			const size_t all = 250000 + extra * 1531;
			struct pair p;
			bool is_shut = extra % 2;

			open_pair(&p, suite);
			take_over(&p, 0, 3000);
			write_all(&p, 3000, all, 60000);
			if (is_shut)
				stream_shutdown(&p.s);
			stream_close(&p.s);
			tails += env.tail_count;
			while (p.last != TLSREC_END && client_reads(&p, 5000))
				;
			assert_int_equal(p.got, all);
			assert_int_equal(p.last, TLSREC_END);
			/* and FIN, once the tail has looked */
			for (unsigned i = 0; i < 300 && env.tail_count > 0; i++) {
				event_base_loop(base, EVLOOP_NONBLOCK);
				poll(NULL, 0, 10);
			}
			assert_int_equal(env.tail_count, 0);
			assert_int_equal(recv(p.fd, p.in, sizeof(p.in), 0), 0);
			assert_int_equal(heard[STREAM_KTLS_CUT], 0);
			close_pair(&p);
		}
		printf("suite %04x: %u of 40 had a tail\n", suite, tails);
	}
}

static void
a_peer_that_resets_leaves_no_tail(void **state)
{
	struct linger now = { .l_onoff = 1 };
	struct pair p;

	(void)state;
	need(can);
	EACH_KNOWN_SUITE(suite)
	{
		open_pair(&p, suite);
		take_over(&p, 0, 3000);

		struct iovec v = { data + 3000, 1000000 };

		assert_true(stream_write(&p.s, &v, 1) > 0);
		stream_close(&p.s);
		setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(p.fd);
		p.fd = -1;
		for (unsigned i = 0; i < 300 && env.tail_count > 0; i++) {
			event_base_loop(base, EVLOOP_NONBLOCK);
			poll(NULL, 0, 10);
		}
		assert_int_equal(env.tail_count, 0);
		close_pair(&p);
	}
}

static void
a_bad_record_ends_in_its_alert(void **state)
{
	char junk[] = "\x17\x03\x03\x00\x20"
		      "0123456789012345678901234567890";
	struct pair p;
	char word[10];

	(void)state;
	need(can);
	EACH_KNOWN_SUITE(suite)
	{
		struct tlsrec_piece piece;

		open_pair(&p, suite);
		take_over(&p, 0, 3000);
		read_until(&p, 3000);
		assert_int_equal(send(p.fd, junk, 37, 0), 37);
		assert_int_equal(server_hears(&p, word, sizeof(word)), STREAM_ERROR);
		stream_close(&p.s);
		poll(NULL, 0, 20);

		ssize_t n = recv(p.fd, p.in, sizeof(p.in), 0);

		assert_true(n > 0);
		assert_int_equal(
			tlsrec_open(&p.client, p.in, (size_t)n, NULL, 0, &piece), TLSREC_GIVEN_UP);
		assert_int_equal(piece.alert, TLSREC_BAD_RECORD_MAC);
		close_pair(&p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_it_is_not_wanted_all_goes_on),
		cmocka_unit_test(where_the_kernel_refuses_all_goes_on),
		cmocka_unit_test(small_bodies_small_records_and_servers_are_left_alone),
		cmocka_unit_test(records_go_on_where_ours_ended),
		cmocka_unit_test(pipes_pass),
		cmocka_unit_test(keys_change_when_asked_for),
		cmocka_unit_test(the_end_waits_until_tcp_has_all),
		cmocka_unit_test(a_peer_that_resets_leaves_no_tail),
		cmocka_unit_test(a_bad_record_ends_in_its_alert),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
