/*
 * tlsask: a connected socket for which somebody else is to make the TLS handshake, and the refusal
 * when that fails <-> bytes. One message is one packet of a SEQPACKET socket. When it succeeds the
 * answer is a connection of handoffmsg.h, in the role HANDOFF_CLIENT. Pure.
 *
 * The socket travels beside the ask (SCM_RIGHTS). The asker keeps its own descriptor, in no event
 * loop, and touches the connection again only when it is answered: then it is the asker's alone.
 * Until then shutdown(2) is how it says that it no longer wants it. When the channel ends without
 * an answer nobody can know how far the handshake is: the connection is of no use.
 *
 * What is asked for is a policy of the answerer's own configuration, for a server that this
 * configuration has: nothing of what is checked, shown or offered is the asker's to say, but for
 * the protocols that it can speak.
 */
#ifndef LIBCOMMON_TLSASK_H
#define LIBCOMMON_TLSASK_H

#include <stdbool.h>
#include <stdint.h>

#include "libcommon/slice.h"

/* The longest of either kind; a receiver's buffer has this much room at least. */
#define TLSASK_MAX 1024
/* Of a policy's name, a host, and a refusal's detail. */
#define TLSASK_TEXT_MAX 255

/* The protocols that an asker speaks, or'ed: what ALPN offers. */
enum { TLSASK_HTTP1 = 1, TLSASK_HTTP2 = 2 };

struct tlsask {
	uint8_t serial; /* the answer has it, too */
	uint8_t protocols;
	struct slice policy;
	struct slice host; /* as tlspolicy_host writes it */
};

enum tlsask_class { TLSASK_VERIFY, TLSASK_HANDSHAKE, TLSASK_NOT_MADE };

enum tlsask_why {
#define W(id, word, class) TLSASK_##id,
#include "libcommon/tlsask_why.def"
#undef W
	TLSASK_WHY_COUNT
};

struct tlsask_refusal {
	uint8_t serial;
	uint8_t why;         /* enum tlsask_why */
	struct slice detail; /* for people: which certificate, what OpenSSL says; may be empty */
};

const char *tlsask_word(enum tlsask_why why);
enum tlsask_class tlsask_class(enum tlsask_why why);

/* Into out[0..cap); the length, or 0 when it does not fit or a field is out of range. A detail that
 * is too long is cut. */
size_t tlsask_encode(const struct tlsask *a, char *out, size_t cap);
size_t tlsask_encode_refusal(const struct tlsask_refusal *r, char *out, size_t cap);
/*
 * Strict: every length exact, names without control characters. Slices point into p[0..n). false
 * with *reason, a stable word: short_message not_an_ask unknown_version bad_flags bad_protocols
 * bad_length bad_name; of a refusal also: bad_reason.
 */
bool tlsask_decode(const char *p, size_t n, struct tlsask *a, const char **reason);
bool tlsask_decode_refusal(const char *p, size_t n, struct tlsask_refusal *r, const char **reason);
/* Which kind of answer begins like this? */
bool tlsask_is_refusal(const char *p, size_t n);

#endif
