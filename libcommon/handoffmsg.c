/*
 * handoffmsg: the packet is a fixed head, the secrets, a PROXY v2 header, and ciphertext of either
 * direction; numbers are big-endian. Driven by the process that made the handshake and by the one
 * that takes the connection over. How long the secrets are follows from the suite alone.
 *
 *     0 "WH"            4 serial        8 suite         14 PROXY length  32 next explicit nonce
 *     2 version         5 role         10 read limit    16 read seq      40 bytes in
 *     3 kind            6 flags, 0     12 write limit   24 write seq     44 bytes out
 *    48 read secret, read IV, write secret, write IV, PROXY header, in, out
 */
#include "libcommon/handoffmsg.h"

enum { HEAD_LEN = 48, FORMAT = 1, KIND_CONNECTION = 1, FLAG_RESUMED = 1 };

static const char magic[2] = "WH";

/* RFC 8446 §B.4; RFC 5289 §3.2; RFC 7905 §2. */
static const struct handoff_suite suites[] = {
	/* id, version, AEAD, hash, secret, key, IV */
	{ 0x1301, HANDOFF_TLS13, HANDOFF_AES_128_GCM, HANDOFF_SHA256, 32, 16, 0 },
	{ 0x1302, HANDOFF_TLS13, HANDOFF_AES_256_GCM, HANDOFF_SHA384, 48, 32, 0 },
	{ 0x1303, HANDOFF_TLS13, HANDOFF_CHACHA20_POLY1305, HANDOFF_SHA256, 32, 32, 0 },
	{ 0xc02b, HANDOFF_TLS12, HANDOFF_AES_128_GCM, HANDOFF_SHA256, 16, 16, 4 },
	{ 0xc02c, HANDOFF_TLS12, HANDOFF_AES_256_GCM, HANDOFF_SHA384, 32, 32, 4 },
	{ 0xc02f, HANDOFF_TLS12, HANDOFF_AES_128_GCM, HANDOFF_SHA256, 16, 16, 4 },
	{ 0xc030, HANDOFF_TLS12, HANDOFF_AES_256_GCM, HANDOFF_SHA384, 32, 32, 4 },
	{ 0xcca8, HANDOFF_TLS12, HANDOFF_CHACHA20_POLY1305, HANDOFF_SHA256, 32, 32, 12 },
	{ 0xcca9, HANDOFF_TLS12, HANDOFF_CHACHA20_POLY1305, HANDOFF_SHA256, 32, 32, 12 },
};

const struct handoff_suite *
handoff_suite_at(size_t i)
{
	return i < sizeof(suites) / sizeof(*suites) ? &suites[i] : NULL;
}

const struct handoff_suite *
handoff_suite_find(uint16_t id)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(*suites); i++)
		if (suites[i].id == id)
			return &suites[i];
	return NULL;
}

size_t
handoff_block_len(const struct handoff_suite *suite)
{
	return 2 * ((size_t)suite->key_len + suite->iv_len);
}

/* Client's key, server's key, client's IV, server's IV. */
void
handoff_set_block(struct handoff_keys *keys, const uint8_t *block)
{
	const size_t key_len = keys->suite->key_len;
	const size_t iv_len = keys->suite->iv_len;
	const uint8_t *ivs = block + 2 * key_len;
	struct handoff_side *client = &keys->read;
	struct handoff_side *server = &keys->write;

	if (keys->role == HANDOFF_CLIENT) {
		client = &keys->write;
		server = &keys->read;
	}
	memcpy(client->secret, block, key_len);
	memcpy(server->secret, block + key_len, key_len);
	memcpy(client->iv, ivs, iv_len);
	memcpy(server->iv, ivs + iv_len, iv_len);
}

void
handoff_wipe(struct handoff_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}

static bool
is_limit(size_t v)
{
	return v >= HANDOFF_LIMIT_MIN && v <= HANDOFF_LIMIT_MAX;
}

/* Only TLS 1.2 with AES-GCM writes a nonce of its own (RFC 5288 §3). */
static bool
has_nonce(const struct handoff_suite *suite)
{
	return suite->version == HANDOFF_TLS12 && suite->aead != HANDOFF_CHACHA20_POLY1305;
}

/* --- writing ------------------------------------------------------------------------------ */

static char *
put(char *to, const void *p, size_t n)
{
	if (n > 0)
		memcpy(to, p, n);
	return to + n;
}

static void
put_number(char *to, uint64_t v, unsigned n)
{
	while (n-- > 0) {
		to[n] = (char)(v & 0xff);
		v >>= 8;
	}
}

static bool
is_sane(const struct handoff *h)
{
	const struct handoff_keys *k = &h->keys;

	return k->suite != NULL && (k->role == HANDOFF_SERVER || k->role == HANDOFF_CLIENT) &&
		is_limit(k->read.limit) && is_limit(k->write.limit) &&
		(k->nonce == 0 || has_nonce(k->suite)) && h->info.has_tls && !h->info.is_local &&
		h->in.n <= HANDOFF_BYTES_MAX && h->out.n <= HANDOFF_BYTES_MAX;
}

static void
put_head(char *out, const struct handoff *h, size_t proxy_len)
{
	const struct handoff_keys *k = &h->keys;

	put(out, magic, sizeof(magic));
	out[2] = FORMAT;
	out[3] = KIND_CONNECTION;
	out[4] = (char)h->serial;
	out[5] = (char)k->role;
	out[6] = h->is_resumed ? FLAG_RESUMED : 0;
	out[7] = 0;
	put_number(out + 8, k->suite->id, 2);
	put_number(out + 10, k->read.limit, 2);
	put_number(out + 12, k->write.limit, 2);
	put_number(out + 14, proxy_len, 2);
	put_number(out + 16, k->read.seq, 8);
	put_number(out + 24, k->write.seq, 8);
	put_number(out + 32, k->nonce, 8);
	put_number(out + 40, h->in.n, 4);
	put_number(out + 44, h->out.n, 4);
}

static char *
put_side(char *to, const struct handoff_suite *suite, const struct handoff_side *side)
{
	to = put(to, side->secret, suite->secret_len);
	return put(to, side->iv, suite->iv_len);
}

size_t
handoff_encode(const struct handoff *h, char *out, size_t cap)
{
	if (!is_sane(h))
		return 0;

	const struct handoff_suite *suite = h->keys.suite;
	size_t fixed = HEAD_LEN + 2 * ((size_t)suite->secret_len + suite->iv_len);

	if (cap < fixed + h->in.n + h->out.n)
		return 0;

	size_t room = cap - fixed - h->in.n - h->out.n;
	size_t proxy_len = proxy_write_v2(out + fixed, room, &h->info);

	if (proxy_len == 0)
		return 0;
	put_head(out, h, proxy_len);
	put_side(put_side(out + HEAD_LEN, suite, &h->keys.read), suite, &h->keys.write);
	put(put(out + fixed + proxy_len, h->in.p, h->in.n), h->out.p, h->out.n);
	return fixed + proxy_len + h->in.n + h->out.n;
}

void
handoff_set_serial(char *msg, uint8_t serial)
{
	msg[4] = (char)serial;
}

/* --- reading ------------------------------------------------------------------------------ */

static uint64_t
get_number(const char *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | (unsigned char)*p++;
	return v;
}

static const char *
read_head(const char *p, struct handoff *h)
{
	struct handoff_keys *k = &h->keys;

	if (memcmp(p, magic, sizeof(magic)) != 0)
		return "not_a_handoff";
	if (p[2] != FORMAT)
		return "unknown_version";
	if (p[3] != KIND_CONNECTION)
		return "unknown_kind";
	if (p[5] != HANDOFF_SERVER && p[5] != HANDOFF_CLIENT)
		return "bad_role";
	if ((p[6] & ~FLAG_RESUMED) != 0 || p[7] != 0)
		return "bad_flags";
	h->serial = (uint8_t)p[4];
	h->is_resumed = p[6] & FLAG_RESUMED;
	k->role = (enum handoff_role)p[5];
	k->suite = handoff_suite_find((uint16_t)get_number(p + 8, 2));
	if (k->suite == NULL)
		return "unknown_suite";
	k->read.limit = (uint16_t)get_number(p + 10, 2);
	k->write.limit = (uint16_t)get_number(p + 12, 2);
	if (!is_limit(k->read.limit) || !is_limit(k->write.limit))
		return "bad_limit";
	k->read.seq = get_number(p + 16, 8);
	k->write.seq = get_number(p + 24, 8);
	k->nonce = get_number(p + 32, 8);
	return k->nonce != 0 && !has_nonce(k->suite) ? "bad_nonce" : NULL;
}

static const char *
get_side(const char *p, const struct handoff_suite *suite, struct handoff_side *side)
{
	memcpy(side->secret, p, suite->secret_len);
	memcpy(side->iv, p + suite->secret_len, suite->iv_len);
	return p + suite->secret_len + suite->iv_len;
}

/* The PROXY header is all of its part, and tells of a TLS connection. */
static bool
read_metadata(const char *p, size_t n, struct proxy_info *info)
{
	const char *reason;
	size_t used;

	return proxy_read(p, n, info, &used, &reason) == PROXY_DONE && used == n && info->has_tls;
}

static const char *
read_all(const char *p, size_t n, struct handoff *h)
{
	if (n < HEAD_LEN)
		return "short_message";

	const char *bad = read_head(p, h);

	if (bad != NULL)
		return bad;

	const struct handoff_suite *suite = h->keys.suite;
	size_t proxy_len = (size_t)get_number(p + 14, 2);
	size_t in_len = (size_t)get_number(p + 40, 4);
	size_t out_len = (size_t)get_number(p + 44, 4);
	size_t fixed = HEAD_LEN + 2 * ((size_t)suite->secret_len + suite->iv_len);

	if (in_len > HANDOFF_BYTES_MAX || out_len > HANDOFF_BYTES_MAX || proxy_len > PROXY_MAX)
		return "too_long";
	if (n != fixed + proxy_len + in_len + out_len)
		return "bad_length";
	get_side(get_side(p + HEAD_LEN, suite, &h->keys.read), suite, &h->keys.write);
	p += fixed;
	if (!read_metadata(p, proxy_len, &h->info))
		return "bad_metadata";
	h->in = slice_make(p + proxy_len, in_len);
	h->out = slice_make(p + proxy_len + in_len, out_len);
	return NULL;
}

bool
handoff_decode(const char *p, size_t n, struct handoff *h, const char **reason)
{
	memset(h, 0, sizeof(*h));
	*reason = read_all(p, n, h);
	if (*reason == NULL)
		return true;
	explicit_bzero(h, sizeof(*h));
	return false;
}
