/*
 * fuzz_tlsrec: what a peer can send. The input is a list of records: some raw, most of them sealed
 * here with the right key, so that contents behind the encryption are reached. Opened whole and in
 * place, and from short pieces into other memory, the results must be the same; what the layer owes
 * after it is opened by another one.
 *
 *     byte 0: suite and role; then records: kind, length (2 bytes), that many bytes
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/tlsrec_int.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WIRE_MAX = 200000, RECORDS_MAX = 64 };

static struct tlsrec_worker *worker;
static uint8_t wire[WIRE_MAX];
static size_t wire_n;

static void
start(struct tlsrec *t, const struct handoff_suite *suite, enum handoff_role role)
{
	struct handoff_keys k = { .suite = suite, .role = role };

	memset(k.read.secret, 7, sizeof(k.read.secret));
	memset(k.write.secret, 7, sizeof(k.write.secret));
	k.read.limit = k.write.limit = HANDOFF_LIMIT_MAX;
	assert(tlsrec_init(t, worker, &k));
}

/* p[0..n), the inner type in it for TLS 1.3, as the next record of w. */
static void
put_sealed(struct tlsrec *w, uint8_t type, const uint8_t *p, size_t n)
{
	const size_t own = tlsrec_nonce_len(w);
	uint8_t *h = wire + wire_n;
	uint8_t nonce[12];
	uint8_t aad[13];

	h[0] = tlsrec_is_13(w) ? 23 : type;
	h[1] = h[2] = 3;
	tlsrec_put_u16(h + 3, own + n + TLSREC_TAG);
	memset(h + 5, 0x5a, own);
	tlsrec_make_nonce(w, &w->write, h + 5, nonce);

	size_t aad_n = tlsrec_make_aad(w, &w->write, h, n, aad);

	assert(tlsrec_crypt_seal(w, nonce, aad, aad_n, p, n, -1, h + 5 + own));
	w->write.seq++;
	wire_n += 5 + own + n + TLSREC_TAG;
	/* a KeyUpdate that is right changes our key too */
	if (tlsrec_is_13(w) && n == 6 && memcmp(p, "\x18\0\0\1", 4) == 0 && p[4] < 2 && p[5] == 22)
		assert(tlsrec_crypt_next(w, &w->write));
}

static void
build(struct tlsrec *w, const uint8_t *p, size_t n)
{
	wire_n = 0;
	for (unsigned i = 0; i < RECORDS_MAX && n >= 3; i++) {
		uint8_t kind = p[0];
		size_t len = (size_t)p[1] << 8 | p[2];

		p += 3;
		n -= 3;
		if (len > n)
			len = n;
		if (wire_n + len + 64 > WIRE_MAX)
			return;
		if (kind == 0) {
			memcpy(wire + wire_n, p, len);
			wire_n += len;
		} else {
			put_sealed(w, kind, p, len);
		}
		p += len;
		n -= len;
	}
}

struct outcome {
	enum tlsrec_result last;
	uint8_t alert;
	const char *reason;
	size_t data_n;
	uint32_t sum;
	bool owes_update;
	bool owes_refusal;
};

static void
note(struct outcome *o, enum tlsrec_result r, const struct tlsrec_piece *piece, size_t limit)
{
	if (r == TLSREC_MORE || r == TLSREC_ROOM)
		return;
	o->last = r;
	o->alert = piece->alert;
	o->reason = piece->reason;
	assert((r == TLSREC_DATA) == (piece->n > 0));
	assert(piece->n <= limit);
	assert((r == TLSREC_BAD) == (piece->reason != NULL));
	for (size_t i = 0; i < piece->n; i++)
		o->sum = o->sum * 31 + (uint8_t)piece->p[i];
	o->data_n += piece->n;
}

static void
finish(struct outcome *o, const struct tlsrec *t)
{
	o->owes_update = t->owes_update;
	o->owes_refusal = t->owes_refusal;
}

static struct outcome
open_whole(struct tlsrec *t)
{
	struct outcome o = { .last = TLSREC_MORE };
	char *buf = malloc(wire_n + 1);
	size_t at = 0;
	enum tlsrec_result r;

	assert(buf != NULL);
	memcpy(buf, wire, wire_n);
	do {
		struct tlsrec_piece piece;

		r = tlsrec_open(t, buf + at, wire_n - at, NULL, 0, &piece);
		assert(piece.used <= wire_n - at && r != TLSREC_ROOM);
		assert(r != TLSREC_DATA || (piece.p > buf && piece.p + piece.n <= buf + wire_n));
		assert(r != TLSREC_MORE || piece.need > wire_n - at);
		note(&o, r, &piece, t->read.limit);
		at += piece.used;
	} while (r == TLSREC_DATA || r == TLSREC_NOTHING);
	finish(&o, t);
	free(buf);
	return o;
}

/* Each attempt from an exact-size copy, growing to what is asked for. */
static struct outcome
open_pieces(struct tlsrec *t)
{
	struct outcome o = { .last = TLSREC_MORE };
	enum tlsrec_result r = TLSREC_NOTHING;
	size_t at = 0;
	size_t have = 1;
	size_t cap = 0;

	while (at + have <= wire_n) {
		char *in = malloc(have);
		char *out = malloc(cap + 1);
		struct tlsrec_piece piece;

		assert(in != NULL && out != NULL);
		memcpy(in, wire + at, have);
		r = tlsrec_open(t, in, have, out, cap, &piece);
		note(&o, r, &piece, t->read.limit);
		at += piece.used;
		assert(r != TLSREC_MORE || piece.need > have);
		assert(r != TLSREC_ROOM || (piece.need > cap && piece.need <= 16385));
		have = r == TLSREC_MORE ? piece.need : r == TLSREC_ROOM ? have : 1;
		/* TLS 1.3 does with one byte less than it asks for: first try that */
		if (r != TLSREC_ROOM)
			cap = 0;
		else
			cap = piece.need - (cap + 1 < piece.need);
		free(in);
		free(out);
		if (r != TLSREC_DATA && r != TLSREC_NOTHING && r != TLSREC_MORE && r != TLSREC_ROOM)
			break;
	}
	finish(&o, t);
	return o;
}

/* What it says now is understood at the other end. */
static void
check_answer(struct tlsrec *t, struct tlsrec *other)
{
	struct iovec v = { (void *)(uintptr_t) "answer", 6 };
	char out[300];
	struct tlsrec_piece piece;
	enum tlsrec_result r;
	size_t taken;
	ssize_t n = tlsrec_seal(t, &v, 1, 0, out, sizeof(out), &taken);
	size_t at = 0;

	if (n < 0) {
		assert(t->is_closed);
		return;
	}
	assert(taken == 6 && !t->owes_update && !t->owes_refusal);
	n += (ssize_t)tlsrec_close(t, TLSREC_CLOSE_NOTIFY, out + n, sizeof(out) - (size_t)n);
	do {
		r = tlsrec_open(other, out + at, (size_t)n - at, NULL, 0, &piece);
		assert(r == TLSREC_DATA || r == TLSREC_NOTHING || r == TLSREC_END);
		assert(r != TLSREC_DATA || memcmp(piece.p, "answer", 6) == 0);
		at += piece.used;
	} while (r != TLSREC_END);
	assert(at == (size_t)n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tlsrec a;
	struct tlsrec b;
	struct tlsrec w;

	if (worker == NULL)
		worker = tlsrec_worker_new();
	assert(worker != NULL);
	if (size < 1 || size > 100000)
		return 0;

	const struct handoff_suite *suite = handoff_suite_at((data[0] & 0x7f) % 9);
	enum handoff_role role = data[0] & 0x80 ? HANDOFF_CLIENT : HANDOFF_SERVER;

	start(&w, suite, role == HANDOFF_CLIENT ? HANDOFF_SERVER : HANDOFF_CLIENT);
	start(&a, suite, role);
	start(&b, suite, role);
	build(&w, data + 1, size - 1);

	struct outcome first = open_whole(&a);
	struct outcome second = open_pieces(&b);

	assert(first.last == second.last && first.alert == second.alert);
	assert(first.reason == second.reason && first.data_n == second.data_n);
	assert(first.sum == second.sum && first.owes_update == second.owes_update);
	assert(first.owes_refusal == second.owes_refusal);
	check_answer(&a, &w);
	tlsrec_fini(&a);
	tlsrec_fini(&b);
	tlsrec_fini(&w);
	return 0;
}
