/*
 * tlsrec_seal: sealing records: data, the KeyUpdates that we owe or that the cipher needs, alerts.
 *
 * Invariant: a sequence number is used once; what was sealed must be sent in that order.
 */
#include "libcommon/tlsrec_int.h"

/* AES-GCM allows 2^24.5 full records to a key (RFC 8446 §5.5). */
#define REKEY_RECORDS (UINT64_C(1) << 24)
/* TLS 1.2 has no other key. 4 TB of full records, with a margin (2^-53) that is still beyond any
 * attacker; the first limit would cut large transfers. */
#define LAST_RECORD_GCM12 (UINT64_C(1) << 28)
/* Up to here copying the data and encrypting them together with their type is cheaper than one
 * call more for the type, whose single byte leaves the ciphers' fast path. */
#define COPY_MAX 1024
/* A record that room alone makes shorter than this is better the first of the next call. */
#define SHORT_RECORD 1024

/* Where in an iovec array the next byte is. */
struct cursor {
	const struct iovec *v;
	int n;
	size_t off;
	size_t left; /* bytes in all */
};

static struct cursor
cursor_make(const struct iovec *v, int n, size_t skip)
{
	struct cursor c = { .v = v, .n = n };

	while (c.n > 0 && skip >= c.v->iov_len) {
		skip -= c.v->iov_len;
		c.v++;
		c.n--;
	}
	if (c.n > 0)
		c.off = skip;
	for (int i = 0; i < c.n; i++)
		c.left += c.v[i].iov_len;
	c.left -= c.off;
	return c;
}

static void
skip_empty(struct cursor *c)
{
	while (c->n > 0 && c->off == c->v->iov_len) {
		c->v++;
		c->n--;
		c->off = 0;
	}
}

/* The next n bytes where they lie, if they lie together. */
static const uint8_t *
take_whole(struct cursor *c, size_t n)
{
	skip_empty(c);
	if (c->v->iov_len - c->off < n)
		return NULL;

	const uint8_t *p = (const uint8_t *)c->v->iov_base + c->off;

	c->off += n;
	c->left -= n;
	return p;
}

static void
take_copy(struct cursor *c, uint8_t *out, size_t n)
{
	c->left -= n;
	while (n > 0) {
		skip_empty(c);

		size_t part = c->v->iov_len - c->off;

		if (part > n)
			part = n;
		memcpy(out, (const uint8_t *)c->v->iov_base + c->off, part);
		out += part;
		c->off += part;
		n -= part;
	}
}

/* The content at `from`, or already in its place when from is NULL. */
static bool
seal_record(struct tlsrec *t, uint8_t type, const uint8_t *from, size_t n, uint8_t *out)
{
	const bool is_13 = tlsrec_is_13(t);
	const size_t nonce_n = tlsrec_nonce_len(t);
	uint8_t *body = out + TLSREC_HEADER + nonce_n;
	uint8_t nonce[12];
	uint8_t aad[13];
	int last = is_13 ? type : -1;

	out[0] = is_13 ? DATA : type;
	out[1] = out[2] = 3;
	tlsrec_put_u16(out + 3, tlsrec_record_len(t, n) - TLSREC_HEADER);
	if (nonce_n > 0)
		tlsrec_put_u64(out + TLSREC_HEADER, t->nonce);
	tlsrec_make_nonce(t, &t->write, out + TLSREC_HEADER, nonce);

	size_t aad_n = tlsrec_make_aad(t, &t->write, out, n, aad);

	if (from == NULL) {
		from = body;
		if (is_13)
			body[n++] = type;
		last = -1;
	}
	if (!tlsrec_crypt_seal(t, nonce, aad, aad_n, from, n, last, body)) {
		t->is_closed = true;
		return false;
	}
	t->write.seq++;
	t->nonce += nonce_n > 0;
	return true;
}

static bool
seal_data(struct tlsrec *t, struct cursor *from, size_t n, uint8_t *out)
{
	uint8_t *body = out + TLSREC_HEADER + tlsrec_nonce_len(t);
	const uint8_t *whole = n > COPY_MAX ? take_whole(from, n) : NULL;

	if (whole == NULL)
		take_copy(from, body, n);
	return seal_record(t, DATA, whole, n, out);
}

/* A record that is no data; its length. */
static size_t
put_record(struct tlsrec *t, uint8_t type, const uint8_t *p, size_t n, char *out)
{
	size_t len = tlsrec_record_len(t, n);

	memcpy(out + TLSREC_HEADER + tlsrec_nonce_len(t), p, n);
	return seal_record(t, type, NULL, n, (uint8_t *)out) ? len : 0;
}

/* Our own KeyUpdate, asking for none, under the old key (RFC 8446 §4.6.3). */
static size_t
put_key_update(struct tlsrec *t, char *out)
{
	size_t n = put_record(t, HANDSHAKE, tlsrec_key_update, sizeof(tlsrec_key_update), out);

	t->owes_update = false;
	if (n > 0 && !tlsrec_crypt_next(t, &t->write))
		t->is_closed = true;
	return n;
}

/* May a record still be sealed? Room for an alert and a KeyUpdate is kept. */
static bool
is_usable(const struct tlsrec *t)
{
	if (t->is_closed || t->is_given || t->write.seq >= UINT64_MAX - 4)
		return false;
	return tlsrec_nonce_len(t) == 0 || t->write.seq < LAST_RECORD_GCM12;
}

static bool
wants_update(const struct tlsrec *t)
{
	return t->owes_update || (tlsrec_is_13(t) && t->write.seq >= REKEY_RECORDS);
}

size_t
tlsrec_control(struct tlsrec *t, char *out, size_t cap)
{
	static const uint8_t refusal[] = { WARNING, TLSREC_NO_RENEGOTIATION };
	size_t n = 0;

	if (cap < TLSREC_CONTROL_MAX || !is_usable(t))
		return 0;
	if (t->owes_refusal) {
		t->owes_refusal = false;
		n = put_record(t, ALERT, refusal, sizeof(refusal), out);
	}
	if (wants_update(t))
		n += put_key_update(t, out + n);
	return n;
}

ssize_t
tlsrec_seal(struct tlsrec *t, const struct iovec *v, int n, size_t skip, char *out, size_t cap,
	size_t *taken)
{
	struct cursor from = cursor_make(v, n, skip);
	const size_t all = from.left;
	size_t at = 0;

	*taken = 0;
	if (t->owes_refusal || wants_update(t)) {
		at = tlsrec_control(t, out, cap);
		if (at == 0 && is_usable(t))
			return 0; /* no room */
	}
	while (from.left > 0) {
		size_t want = from.left < t->write.limit ? from.left : t->write.limit;
		size_t room = cap - at;

		if (!is_usable(t))
			return at > 0 ? (ssize_t)at : -1;
		if (room < tlsrec_record_len(t, 1))
			break;
		if (tlsrec_record_len(t, want) > room) {
			want = room - tlsrec_record_len(t, 0);
			if (want < SHORT_RECORD && at > 0)
				break;
		}
		if (wants_update(t)) {
			if (room < TLSREC_CONTROL_MAX)
				break;
			at += put_key_update(t, out + at);
			continue;
		}
		if (!seal_data(t, &from, want, (uint8_t *)out + at))
			return -1;
		at += tlsrec_record_len(t, want);
		*taken = all - from.left;
	}
	return (ssize_t)at;
}

size_t
tlsrec_close(struct tlsrec *t, enum tlsrec_alert alert, char *out, size_t cap)
{
	const uint8_t body[] = { alert == TLSREC_CLOSE_NOTIFY ? WARNING : FATAL, (uint8_t)alert };

	if (t->is_closed || t->is_given || cap < TLSREC_CONTROL_MAX || t->write.seq == UINT64_MAX)
		return 0;

	size_t n = put_record(t, ALERT, body, sizeof(body), out);

	t->is_closed = true;
	return n;
}

void
tlsrec_give(struct tlsrec *t)
{
	tlsrec_crypt_forget(t, &t->write);
	t->is_given = true;
}

bool
tlsrec_give_next(struct tlsrec *t)
{
	return tlsrec_crypt_next(t, &t->write);
}

uint64_t
tlsrec_last_record(const struct tlsrec *t, bool *has_next)
{
	*has_next = tlsrec_is_13(t);
	if (tlsrec_is_13(t))
		return REKEY_RECORDS;
	return tlsrec_nonce_len(t) > 0 ? LAST_RECORD_GCM12 : UINT64_MAX - 4;
}
