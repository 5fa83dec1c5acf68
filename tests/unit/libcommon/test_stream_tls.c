/*
 * stream_tls over a socket pair whose other end is a record layer in the client's role: reads of
 * any size, writes into sockets of any size, what was handed over, and every kind of end.
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
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/stream_tls.h"
#include "libcommon/tlsrec_int.h"

enum { DATA_MAX = 1000000 };

static struct stream_tls_env env;
static struct event_base *base;
static uint8_t data[DATA_MAX];

struct pair {
	struct stream s;
	int fd; /* the client's */
	struct tlsrec client;
	unsigned events;
	/* what the client got */
	char in[40000];
	size_t in_n;
	size_t got;
	enum tlsrec_result last;
	uint8_t alert;
};

static int
make_all(void **state)
{
	uint32_t x = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
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

static struct handoff_keys
some_keys(uint16_t suite, enum handoff_role role)
{
	struct handoff_keys k = { .suite = handoff_suite_find(suite), .role = role };

	memset(k.read.secret, 3, sizeof(k.read.secret));
	memset(k.write.secret, 3, sizeof(k.write.secret));
	k.read.limit = k.write.limit = 16384;
	return k;
}

static void
on_stream(struct stream *s)
{
	struct pair *p = (struct pair *)(void *)((char *)s - offsetof(struct pair, s));

	p->events++;
}

static void
open_pair(struct pair *p, uint16_t suite, struct slice in, struct slice out)
{
	struct handoff_keys server = some_keys(suite, HANDOFF_SERVER);
	struct handoff_keys client = some_keys(suite, HANDOFF_CLIENT);
	int small = 20000;
	int fds[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	p->fd = fds[1];
	assert_true(tlsrec_init(&p->client, env.rec, &client));
	assert_true(stream_tls_init(&p->s, base, fds[0], &env, &server, in, out, on_stream));
}

static void
close_pair(struct pair *p)
{
	stream_close(&p->s);
	tlsrec_fini(&p->client);
	if (p->fd >= 0)
		close(p->fd);
}

static void
turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static size_t
seal(struct pair *p, const uint8_t *what, size_t n, char *out, size_t cap)
{
	struct iovec v = { (void *)(uintptr_t)what, n };
	size_t taken;
	ssize_t len = tlsrec_seal(&p->client, &v, 1, 0, out, cap, &taken);

	assert_true(len > 0 && taken == n);
	return (size_t)len;
}

/* The client reads what is there and compares it with data. */
static void
client_reads(struct pair *p)
{
	ssize_t n;

	while ((n = recv(p->fd, p->in + p->in_n, sizeof(p->in) - p->in_n, 0)) > 0) {
		size_t at = 0;

		p->in_n += (size_t)n;
		for (;;) {
			struct tlsrec_piece piece;

			p->last =
				tlsrec_open(&p->client, p->in + at, p->in_n - at, NULL, 0, &piece);
			p->alert = piece.alert;
			if (p->last != TLSREC_DATA && p->last != TLSREC_NOTHING)
				break;
			assert_memory_equal(piece.p, data + p->got, piece.n);
			p->got += piece.n;
			at += piece.used;
		}
		if (p->last != TLSREC_MORE)
			return;
		p->in_n -= at;
		memmove(p->in, p->in + at, p->in_n);
	}
}

/* As owners read: while it is readable; AGAIN must mean that it is not. */
static size_t
read_all(struct pair *p, size_t piece, size_t got)
{
	static uint8_t buf[300000];

	while (p->s.readable) {
		ssize_t n = stream_read(&p->s, buf, piece);

		if (n == STREAM_AGAIN)
			assert_false(p->s.readable);
		if (n <= 0)
			break;
		assert_memory_equal(buf, data + got, (size_t)n);
		got += (size_t)n;
	}
	return got;
}

static const uint16_t suites[] = { 0x1301, 0x1303, 0xc02f, 0xcca8 };

static void
reads_with_any_room(void **state)
{
	static const size_t rooms[] = { 1, 100, 5000, 16383, 16384, 16385, 65536, 262144 };
	static char sealed[210000];

	(void)state;
	for (unsigned i = 0; i < 4 * 8; i++) {
		const size_t room = rooms[i % 8];
		const size_t all = room == 1 ? 3000 : 200000;
		struct pair p;
		size_t sent = 0;
		size_t got = 0;

		open_pair(&p, suites[i / 8], SLICE(""), SLICE(""));
		assert_false(p.s.readable);

		size_t n = seal(&p, data, all, sealed, sizeof(sealed));

		while (sent < n) {
			size_t part = 1 + sent * 7 % 30000;
			ssize_t w = send(p.fd, sealed + sent, part < n - sent ? part : n - sent, 0);

			assert_true(w > 0 || errno == EAGAIN);
			sent += w > 0 ? (size_t)w : 0;
			turn();
			got = read_all(&p, room, got);
		}
		assert_int_equal(got, all);
		close_pair(&p);
	}
}

static void
writes_count_when_the_kernel_has_them(void **state)
{
	static const size_t pieces[] = { 10, 3000, 16384, 100000, DATA_MAX };

	(void)state;
	for (unsigned i = 0; i < 4 * 5; i++) {
		const size_t piece = pieces[i % 5];
		const size_t all = piece == 10 ? 20000 : DATA_MAX;
		struct pair p;
		size_t done = 0;
		unsigned rounds = 0;

		open_pair(&p, suites[i / 5], SLICE(""), SLICE(""));
		while (done < all) {
			size_t n = piece < all - done ? piece : all - done;
			struct iovec v[3] = { { data + done, n / 2 }, { data, 0 },
				{ data + done + n / 2, n - n / 2 } };

			if (p.s.writable) {
				ssize_t w = stream_write(&p.s, v, 3);

				assert_true(w != 0 && w != STREAM_ERROR);
				if (w == STREAM_AGAIN || (size_t)w < n)
					assert_false(p.s.writable);
				if (w > 0)
					done += (size_t)w;
			}
			assert_true(p.got <= all);
			if (!p.s.writable || done == all)
				client_reads(&p);
			turn();
			assert_true(++rounds < 100000);
		}
		/* All is with the kernel: the end may come at once. */
		stream_close(&p.s);
		client_reads(&p);
		assert_int_equal(p.got, all);
		assert_int_equal(p.last, TLSREC_END);
		close_pair(&p);
	}
}

static void
goes_on_with_what_was_handed_over(void **state)
{
	char request[600];
	char rest[600];
	struct handoff_keys k = some_keys(0x1301, HANDOFF_CLIENT);
	struct iovec v = { data, 500 };
	struct tlsrec sender;
	size_t taken;
	struct pair p;

	(void)state;
	assert_true(tlsrec_init(&sender, env.rec, &k));

	size_t n = (size_t)tlsrec_seal(&sender, &v, 1, 0, request, sizeof(request), &taken);
	size_t rest_n;

	for (size_t cut = 1; cut <= n; cut += 37) {
		open_pair(&p, 0x1301, slice_make(request, cut), SLICE(""));
		assert_true(p.s.readable);
		assert_int_equal(read_all(&p, 16384, 0), cut == n ? 500 : 0);
		assert_int_equal(send(p.fd, request + cut, n - cut, 0), n - cut);
		turn();
		assert_int_equal(read_all(&p, 16384, 0), 500);
		close_pair(&p);
	}
	open_pair(&p, 0x1301, slice_make(request, n), SLICE(""));
	p.client.write.seq = 1;
	rest_n = seal(&p, data + 500, 100, rest, sizeof(rest));
	assert_int_equal(send(p.fd, rest, rest_n, 0), rest_n);
	turn(); /* the event comes before the first read */
	assert_int_equal(read_all(&p, 16384, 0), 600);
	close_pair(&p);
	tlsrec_fini(&sender);
}

/* What the handshake left to say is said at once, but for tickets when the request has come. */
static void
tickets_go_with_the_first_answer(void **state)
{
	struct iovec v = { data, 100 };
	char got[400];
	struct pair p;
	ssize_t n;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		open_pair(&p, suites[i], SLICE(""), SLICE("flight"));
		assert_int_equal(recv(p.fd, got, sizeof(got), 0), 6);
		close_pair(&p);
	}
	open_pair(&p, 0xc02f, SLICE("x"), SLICE("flight"));
	assert_int_equal(recv(p.fd, got, sizeof(got), 0), 6);
	close_pair(&p);

	open_pair(&p, 0x1301, SLICE("x"), SLICE("flight"));
	turn(); /* also not because the socket can be written */
	assert_int_equal(recv(p.fd, got, sizeof(got), 0), -1);
	assert_int_equal(stream_write(&p.s, &v, 1), 100);
	n = recv(p.fd, got, sizeof(got), 0);
	assert_memory_equal(got, "flight", 6);
	p.in_n = (size_t)n - 6;
	memcpy(p.in, got + 6, p.in_n);
	assert_int_equal(p.in_n, 5 + 100 + 1 + 16);
	close_pair(&p);

	/* Without an answer they go with the goodbye. */
	open_pair(&p, 0x1301, SLICE("x"), SLICE("flight"));
	stream_close(&p.s);
	n = recv(p.fd, got, sizeof(got), 0);
	assert_int_equal(n, 6 + 5 + 2 + 1 + 16);
	assert_memory_equal(got, "flight", 6);
	close_pair(&p);
}

static void
the_last_answer_says_goodbye(void **state)
{
	static const size_t sizes[] = { 1, 100, 16384, 60000 };

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		struct iovec v = { data, sizes[i / 4] };
		unsigned rounds = 0;
		ssize_t n = 0;
		struct pair p;

		open_pair(&p, suites[i % 4], SLICE(""), SLICE(""));
		p.s.is_last = true;
		while (v.iov_len > 0) {
			ssize_t w = stream_write(&p.s, &v, 1);

			assert_true(w != STREAM_ERROR && ++rounds < 1000);
			n += w > 0 ? w : 0;
			v.iov_base = data + n;
			v.iov_len = sizes[i / 4] - (size_t)n;
			if (v.iov_len > 0)
				client_reads(&p);
			turn();
		}
		client_reads(&p);
		assert_int_equal(p.got, sizes[i / 4]);
		assert_int_equal(p.last, TLSREC_END);
		stream_shutdown(&p.s); /* it is not said twice */
		assert_int_equal(recv(p.fd, p.in, sizeof(p.in), 0), 0);
		close_pair(&p);
	}
}

static void
ends_are_told_apart(void **state)
{
	char out[200];
	uint8_t alert;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct pair p;

		open_pair(&p, suites[i], SLICE(""), SLICE(""));

		size_t n = seal(&p, data, 50, out, sizeof(out));

		n += tlsrec_close(&p.client, TLSREC_CLOSE_NOTIFY, out + n, sizeof(out) - n);
		assert_int_equal(send(p.fd, out, n, 0), n);
		shutdown(p.fd, SHUT_WR);
		turn();
		assert_int_equal(stream_read(&p.s, out, sizeof(out)), 50);
		assert_true(p.s.readable);
		assert_int_equal(stream_read(&p.s, out, sizeof(out)), 0);
		assert_int_equal(stream_read(&p.s, out, sizeof(out)), 0);
		assert_null(stream_tls_reason(&p.s, &alert));
		close_pair(&p);

		open_pair(&p, suites[i], SLICE(""), SLICE(""));
		n = seal(&p, data, 50, out, sizeof(out));
		assert_int_equal(send(p.fd, out, n, 0), n);
		shutdown(p.fd, SHUT_WR);
		turn();
		assert_int_equal(stream_read(&p.s, out, sizeof(out)), 50);
		assert_int_equal(stream_read(&p.s, out, sizeof(out)), STREAM_ERROR);
		assert_int_equal(errno, ECONNRESET);
		assert_string_equal(stream_tls_reason(&p.s, &alert), "truncated");
		close_pair(&p);
	}
}

static void
bad_records_end_in_an_alert(void **state)
{
	char out[200];
	uint8_t alert;
	struct pair p;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		open_pair(&p, suites[i], SLICE(""), SLICE(""));

		size_t n = seal(&p, data, 50, out, sizeof(out));
		size_t m = seal(&p, data + 50, 50, out + n, sizeof(out) - n);

		out[n + m - 1] ^= 1;
		assert_int_equal(send(p.fd, out, n + m, 0), n + m);
		turn();
		/* what was right before it counts */
		assert_int_equal(read_all(&p, 16384, 0), 50);
		assert_int_equal(stream_read(&p.s, out, 10), STREAM_ERROR);
		assert_int_equal(errno, EPROTO);
		assert_string_equal(stream_tls_reason(&p.s, &alert), "bad_record_mac");
		assert_int_equal(alert, TLSREC_BAD_RECORD_MAC);
		stream_reset(&p.s);
		client_reads(&p);
		assert_int_equal(p.last, TLSREC_GIVEN_UP);
		assert_int_equal(p.alert, TLSREC_BAD_RECORD_MAC);
		close_pair(&p);
	}
}

static void
a_reset_says_no_goodbye(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p, 0x1301, SLICE(""), SLICE(""));
	p.last = TLSREC_NOTHING;
	stream_reset(&p.s);
	client_reads(&p);
	assert_int_equal(p.last, TLSREC_NOTHING);
	close_pair(&p);
}

/* The goodbye waits behind what the socket has not taken, and FIN behind both. */
static void
shutdown_waits_for_room(void **state)
{
	static char waste[300000];
	struct iovec v = { data, 100000 };
	struct pair p;
	unsigned rounds = 0;

	(void)state;
	open_pair(&p, 0x1301, SLICE(""), SLICE(""));

	ssize_t w = stream_write(&p.s, &v, 1);

	assert_true(w < 100000);
	stream_shutdown(&p.s);
	while (p.last != TLSREC_END) {
		client_reads(&p);
		turn();
		assert_true(++rounds < 1000);
	}
	assert_true((ssize_t)p.got >= w);
	turn();
	assert_int_equal(recv(p.fd, waste, sizeof(waste), 0), 0);
	close_pair(&p);
}

/* The client asks for a renegotiation (TLS 1.2 with AES-GCM): a ClientHello, as good as empty. */
static size_t
seal_hello(struct pair *p, char *to)
{
	static const uint8_t hello[] = { 1, 0, 0, 0 };
	uint8_t *out = (uint8_t *)to;
	uint8_t nonce[12];
	uint8_t aad[13];

	out[0] = 22;
	out[1] = out[2] = 3;
	tlsrec_put_u16(out + 3, 8 + sizeof(hello) + TLSREC_TAG);
	tlsrec_put_u64(out + 5, p->client.nonce++);
	tlsrec_make_nonce(&p->client, &p->client.write, out + 5, nonce);

	size_t aad_n = tlsrec_make_aad(&p->client, &p->client.write, out, sizeof(hello), aad);

	assert_true(tlsrec_crypt_seal(
		&p->client, nonce, aad, aad_n, hello, sizeof(hello), -1, out + 13));
	p->client.write.seq++;
	return 13 + sizeof(hello) + TLSREC_TAG;
}

/* Alerts among the records that the client can get now; types of TLS 1.2 are in clear. */
static unsigned
count_alerts(struct pair *p)
{
	static uint8_t all[400000];
	size_t n = 0;
	unsigned alerts = 0;
	ssize_t got;

	for (int quiet = 0; quiet < 3; turn()) {
		got = recv(p->fd, all + n, sizeof(all) - n, MSG_DONTWAIT);
		n += got > 0 ? (size_t)got : 0;
		quiet = got > 0 ? 0 : quiet + 1;
	}
	for (size_t at = 0; at + 5 <= n; at += 5 + ((size_t)all[at + 3] << 8 | all[at + 4]))
		alerts += all[at] == 21;
	return alerts;
}

/* Who asks for renegotiation and reads no answers gets one, and costs no memory for more. */
static void
refusals_do_not_pile_up(void **state)
{
	struct iovec v = { data, 200000 };
	char out[200];
	struct pair p;

	(void)state;
	open_pair(&p, 0xc02f, SLICE(""), SLICE(""));
	assert_true(stream_write(&p.s, &v, 1) < 200000);
	for (unsigned i = 0; i < 300; i++) {
		size_t n = seal_hello(&p, out);

		n += seal(&p, data + i, 1, out + n, sizeof(out) - n);
		assert_int_equal(send(p.fd, out, n, 0), n);
		turn();
		assert_int_equal(read_all(&p, 16384, i), i + 1);
	}
	assert_in_range(count_alerts(&p), 0, 1);
	/* It is owed until there is room. */
	size_t n = seal_hello(&p, out);

	assert_int_equal(send(p.fd, out, n, 0), n);
	turn();
	assert_int_equal(stream_read(&p.s, out, sizeof(out)), STREAM_AGAIN);
	assert_int_equal(count_alerts(&p), 1);
	close_pair(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_with_any_room),
		cmocka_unit_test(writes_count_when_the_kernel_has_them),
		cmocka_unit_test(goes_on_with_what_was_handed_over),
		cmocka_unit_test(tickets_go_with_the_first_answer),
		cmocka_unit_test(the_last_answer_says_goodbye),
		cmocka_unit_test(ends_are_told_apart),
		cmocka_unit_test(bad_records_end_in_an_alert),
		cmocka_unit_test(a_reset_says_no_goodbye),
		cmocka_unit_test(shutdown_waits_for_room),
		cmocka_unit_test(refusals_do_not_pile_up),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
