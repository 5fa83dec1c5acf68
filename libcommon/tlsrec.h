/*
 * tlsrec: the TLS record layer after the handshake, TLS 1.3 (RFC 8446 §5) and TLS 1.2 with ECDHE
 * and an AEAD (RFC 5246 §6, RFC 5288, RFC 7905). Pure: bytes and keys in, bytes out; it allocates
 * nothing per record and knows no socket, no clock and no loop.
 *
 * One worker's own throughout: connections share the worker's cipher contexts, so an idle one costs
 * this struct alone.
 */
#ifndef LIBCOMMON_TLSREC_H
#define LIBCOMMON_TLSREC_H

#include <sys/types.h>
#include <sys/uio.h>

#include "libcommon/handoffmsg.h"

/* The longest record that is accepted or written, as it travels: header, explicit nonce, tag. */
#define TLSREC_RECORD_MAX (5 + 8 + 16384 + 16)
/* What sealing adds to a record's content at most. */
#define TLSREC_OVERHEAD 29
/* Room for what may have to go before the first record of data. */
#define TLSREC_CONTROL_MAX 80

/* RFC 8446 §6, the ones that are sent from here or that callers send. */
enum tlsrec_alert {
	TLSREC_CLOSE_NOTIFY = 0,
	TLSREC_UNEXPECTED_MESSAGE = 10,
	TLSREC_BAD_RECORD_MAC = 20,
	TLSREC_RECORD_OVERFLOW = 22,
	TLSREC_ILLEGAL_PARAMETER = 47,
	TLSREC_DECODE_ERROR = 50,
	TLSREC_PROTOCOL_VERSION = 70,
	TLSREC_INTERNAL_ERROR = 80,
	TLSREC_USER_CANCELED = 90,
	TLSREC_NO_RENEGOTIATION = 100,
};

enum tlsrec_result {
	TLSREC_MORE,     /* the record is not whole: `need` bytes from its first one on */
	TLSREC_DATA,     /* p[0..n) is what the peer said; n > 0 */
	TLSREC_NOTHING,  /* a record without data; tlsrec_has_control tells of an answer to send */
	TLSREC_ROOM,     /* out must have room for `need` bytes, or be NULL */
	TLSREC_END,      /* close_notify: the clean end of what the peer says */
	TLSREC_GIVEN_UP, /* the peer sent the fatal `alert`; nothing is to be answered */
	TLSREC_BAD,      /* send `alert`, then end the connection; `reason` is a stable word */
};

struct tlsrec_piece {
	size_t used; /* ciphertext that was consumed: 0 with MORE and ROOM */
	size_t need;
	char *p;
	size_t n;
	uint8_t alert;
	const char *reason;
};

/* One direction. */
struct tlsrec_side {
	uint64_t seq;   /* of the next record */
	uint64_t owner; /* by which the shared contexts know whose key they hold */
	uint16_t limit; /* content bytes of a record */
	uint8_t secret[HANDOFF_SECRET_MAX]; /* TLS 1.3 */
	uint8_t key[HANDOFF_KEY_MAX];
	uint8_t iv[HANDOFF_IV_MAX];
};

struct tlsrec_worker;

struct tlsrec {
	struct tlsrec_worker *w;
	const struct handoff_suite *suite;
	const char *reason; /* of BAD; the first one stays */
	uint64_t nonce;     /* the next explicit nonce: TLS 1.2 with AES-GCM */
	uint32_t hs_left;   /* of a handshake message's body */
	uint8_t hs_head[4];
	uint8_t hs_n;   /* bytes of hs_head; 0: between messages */
	uint8_t barren; /* records without data since the last that had some */
	uint8_t alert;  /* of BAD and GIVEN_UP */
	bool is_client;
	bool is_ended;     /* the peer said close_notify */
	bool is_given_up;  /* or a fatal alert */
	bool is_closed;    /* we said one of both: no record may follow */
	bool is_given;     /* somebody else seals now: nothing is sealed here any more */
	bool owes_update;  /* a KeyUpdate, before the next data */
	bool owes_refusal; /* the warning no_renegotiation */
	struct tlsrec_side read;
	struct tlsrec_side write;
};

/* Ciphers and contexts of one thread. NULL: OpenSSL does not offer the algorithms. */
struct tlsrec_worker *tlsrec_worker_new(void);
void tlsrec_worker_free(struct tlsrec_worker *w);

/* Copies what it needs of keys, which the caller wipes. false: no memory. */
bool tlsrec_init(struct tlsrec *t, struct tlsrec_worker *w, const struct handoff_keys *keys);
/* Cleanses the keys, in the shared contexts too. */
void tlsrec_fini(struct tlsrec *t);

/*
 * Open the record at the front of in[0..n). Its content goes to out[0..cap), which does not overlap
 * it, or stays where it is when out is NULL; piece->p points to it. As many bytes of out as the
 * record is long may be overwritten, whatever the result. Call it again for the next record. After
 * END all is consumed and ignored; BAD and GIVEN_UP stay.
 *
 * Reasons: not_a_record bad_version record_overflow bad_record_mac no_content_type bad_content_type
 * too_many_barren_records interleaved empty_handshake unexpected_handshake handshake_too_long
 * bad_key_update key_update_not_last empty_alert bad_alert sequence_overflow internal.
 */
enum tlsrec_result tlsrec_open(
	struct tlsrec *t, char *in, size_t n, char *out, size_t cap, struct tlsrec_piece *piece);

/*
 * Seal what v[0..n) holds into out[0..cap), in records as long as the peer takes, as far as there
 * is room; *taken of the content is done then. Returns the bytes in out. What must go first (an
 * answer to a KeyUpdate, our own one before the cipher is worn out) goes first. -1: nothing can be
 * sealed any more: we said close_notify, or the key of TLS 1.2, which cannot be changed, is used
 * up.
 */
ssize_t tlsrec_seal(struct tlsrec *t, const struct iovec *v, int n, size_t skip, char *out,
	size_t cap, size_t *taken);
/* Room with which tlsrec_seal takes n bytes at once. */
static inline size_t
tlsrec_room(const struct tlsrec *t, size_t n)
{
	return n + (n / t->write.limit + 1) * TLSREC_OVERHEAD + TLSREC_CONTROL_MAX;
}

/* Is there something that the peer should hear although no data go? */
static inline bool
tlsrec_has_control(const struct tlsrec *t)
{
	return t->owes_refusal && !t->is_closed;
}

/* Write it into out[0..cap), cap at least TLSREC_CONTROL_MAX; the bytes written. */
size_t tlsrec_control(struct tlsrec *t, char *out, size_t cap);

/*
 * The last record: close_notify, or a fatal alert. cap is at least TLSREC_CONTROL_MAX. Returns the
 * bytes in out: 0 when one was sent before.
 */
size_t tlsrec_close(struct tlsrec *t, enum tlsrec_alert alert, char *out, size_t cap);

/*
 * Who has the writing direction's keys and numbers seals from here on: nothing is sealed here any
 * more, so that no number is used twice. owes_update and owes_refusal are that one's to say.
 */
void tlsrec_give(struct tlsrec *t);
/* After its KeyUpdate: the next key, number 0. false: OpenSSL failed, nothing can be sealed. */
bool tlsrec_give_next(struct tlsrec *t);
/* The number of the record that shall be the last under one key, and whether another key follows.
 */
uint64_t tlsrec_last_record(const struct tlsrec *t, bool *has_next);

/* Did the peer end its side by close_notify? The socket's end without it is a truncation. */
static inline bool
tlsrec_is_ended(const struct tlsrec *t)
{
	return t->is_ended;
}

#endif
