/*
 * tlsrec: opening records, and what the records that are no data mean. Driven by the stream of a
 * connection that was handed over; tlsrec_seal.c is the other direction.
 *
 * Invariant: after the first record that is not right nothing is opened any more. A handshake
 * message may come in pieces, but nothing between them.
 */
#include "libcommon/tlsrec.h"

#include <openssl/crypto.h>

#include "libcommon/tlsrec_int.h"

/* The handshake messages that may still come (RFC 8446 §4, RFC 5246 §7.4). */
enum { HELLO_REQUEST = 0, CLIENT_HELLO = 1, NEW_SESSION_TICKET = 4, KEY_UPDATE = 24 };

/* As OpenSSL and BoringSSL count them: more of them is no accident. */
#define BARREN_MAX    32
#define HANDSHAKE_MAX (128u << 10)

bool
tlsrec_init(struct tlsrec *t, struct tlsrec_worker *w, const struct handoff_keys *keys)
{
	struct tlsrec_side *sides[] = { &t->read, &t->write };
	const struct handoff_side *from[] = { &keys->read, &keys->write };

	*t = (struct tlsrec){ .w = w, .suite = keys->suite, .nonce = keys->nonce };
	t->is_client = keys->role == HANDOFF_CLIENT;
	for (unsigned i = 0; i < 2; i++) {
		sides[i]->seq = from[i]->seq;
		sides[i]->limit = from[i]->limit;
		if (tlsrec_is_13(t)) {
			memcpy(sides[i]->secret, from[i]->secret, HANDOFF_SECRET_MAX);
		} else {
			memcpy(sides[i]->key, from[i]->secret, HANDOFF_KEY_MAX);
			memcpy(sides[i]->iv, from[i]->iv, HANDOFF_IV_MAX);
		}
		if (!tlsrec_crypt_start(t, sides[i])) {
			tlsrec_fini(t);
			return false;
		}
	}
	return true;
}

void
tlsrec_fini(struct tlsrec *t)
{
	if (t->w == NULL)
		return;
	tlsrec_crypt_forget(t, &t->read);
	tlsrec_crypt_forget(t, &t->write);
	OPENSSL_cleanse(t, sizeof(*t));
}

/* --- results ------------------------------------------------------------------------------ */

static enum tlsrec_result
bad(struct tlsrec *t, enum tlsrec_alert alert, const char *reason)
{
	t->alert = (uint8_t)alert;
	t->reason = reason;
	return TLSREC_BAD;
}

static enum tlsrec_result
unexpected(struct tlsrec *t, const char *reason)
{
	return bad(t, TLSREC_UNEXPECTED_MESSAGE, reason);
}

/* A record without data is cheap to send and costs us; so many in a row are an attack. */
static enum tlsrec_result
nothing(struct tlsrec *t)
{
	if (++t->barren > BARREN_MAX)
		return unexpected(t, "too_many_barren_records");
	return TLSREC_NOTHING;
}

/* --- contents ----------------------------------------------------------------------------- */

static enum tlsrec_result
take_alert(struct tlsrec *t, const uint8_t *p, size_t n)
{
	if (n == 0)
		return unexpected(t, "empty_alert");
	if (n != 2)
		return bad(t, TLSREC_DECODE_ERROR, "bad_alert");
	if (p[1] == TLSREC_CLOSE_NOTIFY) {
		t->is_ended = true;
		return TLSREC_END;
	}
	if (!tlsrec_is_13(t) && p[0] != WARNING && p[0] != FATAL)
		return bad(t, TLSREC_ILLEGAL_PARAMETER, "bad_alert");
	/* TLS 1.3 ignores the level: all but these two end the connection (RFC 8446 §6). */
	if (tlsrec_is_13(t) ? p[1] == TLSREC_USER_CANCELED : p[0] == WARNING)
		return nothing(t);
	t->alert = p[1];
	t->is_given_up = true;
	t->is_closed = true;
	return TLSREC_GIVEN_UP;
}

/* The head of a message is there: may it come now? */
static enum tlsrec_result
begin_message(struct tlsrec *t)
{
	const uint8_t *h = t->hs_head;
	bool is_known;

	t->hs_left = (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
	if (tlsrec_is_13(t))
		is_known = h[0] == KEY_UPDATE || (h[0] == NEW_SESSION_TICKET && t->is_client);
	else
		is_known = h[0] == (t->is_client ? HELLO_REQUEST : CLIENT_HELLO);
	if (!is_known)
		return unexpected(t, "unexpected_handshake");
	if (h[0] == KEY_UPDATE && t->hs_left != 1)
		return bad(t, TLSREC_DECODE_ERROR, "bad_key_update");
	if (t->hs_left > HANDSHAKE_MAX || (h[0] == HELLO_REQUEST && t->hs_left != 0))
		return bad(t, TLSREC_DECODE_ERROR, "handshake_too_long");
	return TLSREC_NOTHING;
}

/*
 * RFC 8446 §4.6.3. Their next record is under the next key, so this one must have ended. However
 * often they ask before we say something, one answer is enough.
 */
static enum tlsrec_result
take_key_update(struct tlsrec *t, uint8_t request, size_t rest)
{
	if (request > 1)
		return bad(t, TLSREC_ILLEGAL_PARAMETER, "bad_key_update");
	if (rest > 0)
		return unexpected(t, "key_update_not_last");
	if (!tlsrec_crypt_next(t, &t->read))
		return bad(t, TLSREC_INTERNAL_ERROR, "internal");
	t->owes_update |= request == 1;
	return TLSREC_NOTHING;
}

/* n bytes of the body are there, the last ones if hs_left is 0 now; rest follow in the record. */
static enum tlsrec_result
take_body(struct tlsrec *t, const uint8_t *p, size_t n, size_t rest)
{
	if (t->hs_left > 0)
		return TLSREC_NOTHING;
	t->hs_n = 0;
	if (t->hs_head[0] == KEY_UPDATE)
		return take_key_update(t, p[n - 1], rest);
	/* A ticket cannot be used: its secret stayed where the handshake was. Renegotiation is off
	 * (RFC 5246 §7.2.2). */
	if (!tlsrec_is_13(t))
		t->owes_refusal = true;
	return TLSREC_NOTHING;
}

static enum tlsrec_result
take_handshake(struct tlsrec *t, const uint8_t *p, size_t n)
{
	enum tlsrec_result r = nothing(t);

	if (n == 0)
		return unexpected(t, "empty_handshake");
	while (r == TLSREC_NOTHING && n > 0) {
		if (t->hs_n < sizeof(t->hs_head)) {
			t->hs_head[t->hs_n++] = *p++;
			n--;
			if (t->hs_n < sizeof(t->hs_head))
				continue;
			r = begin_message(t);
			if (r != TLSREC_NOTHING || t->hs_left > 0)
				continue;
		}

		size_t take = n < t->hs_left ? n : t->hs_left;

		t->hs_left -= (uint32_t)take;
		r = take_body(t, p, take, n - take);
		p += take;
		n -= take;
	}
	return r;
}

static enum tlsrec_result
take_content(struct tlsrec *t, uint8_t type, const uint8_t *p, size_t n)
{
	if (n > t->read.limit)
		return bad(t, TLSREC_RECORD_OVERFLOW, "record_overflow");
	if (type == ALERT)
		return take_alert(t, p, n);
	if (type == HANDSHAKE)
		return take_handshake(t, p, n);
	if (type != DATA)
		return unexpected(t, "bad_content_type");
	if (t->hs_n > 0)
		return unexpected(t, "interleaved");
	if (n == 0)
		return nothing(t);
	t->barren = 0;
	return TLSREC_DATA;
}

/* --- records ------------------------------------------------------------------------------ */

/* What a record's payload may be long, nonce and tag included. */
static size_t
payload_max(const struct tlsrec *t)
{
	size_t inner = HANDOFF_LIMIT_MAX + (tlsrec_is_13(t) ? 1 : 0);

	return inner + tlsrec_nonce_len(t) + TLSREC_TAG;
}

/* NOTHING: it can be a record, with a payload of *n bytes. */
static enum tlsrec_result
check_header(struct tlsrec *t, const uint8_t *h, size_t *n)
{
	*n = (size_t)h[3] << 8 | h[4];
	/* TLS 1.3 shows everything as data (§5.2); a change_cipher_spec has no place any more
	 * (§5). */
	if (h[0] < CCS || h[0] > DATA)
		return unexpected(t, "not_a_record");
	if (h[1] != 3 || h[2] != 3)
		return bad(t, TLSREC_PROTOCOL_VERSION, "bad_version");
	if (h[0] == CCS || (tlsrec_is_13(t) && h[0] != DATA))
		return unexpected(t, "bad_content_type");
	if (*n > payload_max(t))
		return bad(t, TLSREC_RECORD_OVERFLOW, "record_overflow");
	if (*n < tlsrec_nonce_len(t) + TLSREC_TAG)
		return bad(t, TLSREC_BAD_RECORD_MAC, "bad_record_mac");
	if (t->read.seq == UINT64_MAX)
		return bad(t, TLSREC_INTERNAL_ERROR, "sequence_overflow");
	return TLSREC_NOTHING;
}

/* The content's type and length behind the padding (§5.4); `last` was decrypted elsewhere. */
static bool
strip(const uint8_t *p, size_t *n, uint8_t last, uint8_t *type)
{
	*type = last;
	while (*type == 0 && *n > 0)
		*type = p[--*n];
	return *type != 0;
}

/* The whole record is at h; its inner bytes, n without the tag, go to out. */
static enum tlsrec_result
decrypt(struct tlsrec *t, const uint8_t *h, size_t n, uint8_t *out, struct tlsrec_piece *piece)
{
	const size_t nonce_n = tlsrec_nonce_len(t);
	const uint8_t *body = h + TLSREC_HEADER + nonce_n;
	uint8_t nonce[12];
	uint8_t aad[13];
	uint8_t type = h[0];
	bool is_split = tlsrec_is_13(t) && n > 0 && n > piece->need;
	uint8_t last = 0;

	tlsrec_make_nonce(t, &t->read, h + TLSREC_HEADER, nonce);

	size_t aad_n = tlsrec_make_aad(t, &t->read, h, n, aad);

	if (!tlsrec_crypt_open(t, nonce, aad, aad_n, body, n, out, is_split ? &last : NULL))
		return bad(t, TLSREC_BAD_RECORD_MAC, "bad_record_mac");
	t->read.seq++;
	n -= is_split;
	if (tlsrec_is_13(t) && !strip(out, &n, last, &type))
		return unexpected(t, "no_content_type");
	piece->p = (char *)out;
	piece->n = n;
	return take_content(t, type, out, n);
}

static enum tlsrec_result
open_whole(struct tlsrec *t, char *in, size_t n, char *out, size_t cap, struct tlsrec_piece *piece)
{
	const size_t nonce_n = tlsrec_nonce_len(t);
	uint8_t *h = (uint8_t *)in;
	size_t payload_n;
	enum tlsrec_result r = check_header(t, h, &payload_n);

	if (r != TLSREC_NOTHING)
		return r;

	size_t inner_n = payload_n - nonce_n - TLSREC_TAG;

	piece->need = TLSREC_HEADER + payload_n;
	if (n < piece->need)
		return TLSREC_MORE;
	piece->used = piece->need;
	piece->need = inner_n;
	if (out == NULL)
		return decrypt(t, h, inner_n, h + TLSREC_HEADER + nonce_n, piece);
	/* A full record of TLS 1.3 is one byte longer than its content: the type. It has a place of
	 * its own when that is all that does not fit. */
	if (tlsrec_is_13(t) && cap + 1 == inner_n)
		piece->need = cap;
	if (cap < piece->need) {
		piece->used = 0;
		return TLSREC_ROOM;
	}
	return decrypt(t, h, inner_n, (uint8_t *)out, piece);
}

static enum tlsrec_result
open_front(struct tlsrec *t, char *in, size_t n, char *out, size_t cap, struct tlsrec_piece *piece)
{
	if (t->reason != NULL)
		return TLSREC_BAD;
	if (t->is_given_up || t->is_ended) {
		piece->used = n;
		return t->is_given_up ? TLSREC_GIVEN_UP : TLSREC_END;
	}
	if (n >= TLSREC_HEADER)
		return open_whole(t, in, n, out, cap, piece);
	piece->need = TLSREC_HEADER;
	return TLSREC_MORE;
}

enum tlsrec_result
tlsrec_open(struct tlsrec *t, char *in, size_t n, char *out, size_t cap, struct tlsrec_piece *piece)
{
	*piece = (struct tlsrec_piece){ .used = 0 };

	enum tlsrec_result r = open_front(t, in, n, out, cap, piece);

	if (r != TLSREC_DATA) {
		piece->p = NULL;
		piece->n = 0;
	}
	piece->alert = t->alert;
	piece->reason = t->reason;
	return r;
}
