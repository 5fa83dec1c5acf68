/*
 * proxyproto: reads both versions of the PROXY protocol's header. Driven by the end of a relayed
 * connection that its bytes come to; the other one uses proxyproto_write.c. Section numbers are
 * those of HAProxy's proxy-protocol.txt.
 *
 * A header comes from a peer that was told to send one, so whatever is not exactly one is refused:
 * guessing would make an attacker's bytes somebody's address.
 */
#include "libcommon/proxyproto_parts.h"

#include <arpa/inet.h>

enum { V1_MAX = 107 };

static unsigned
get_u16(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (unsigned)u[0] << 8 | u[1];
}

static uint32_t
get_u32(const char *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static enum proxy_result
refuse(const char **reason, const char *word)
{
	*reason = word;
	return PROXY_BAD;
}

/* --- version 1 ---------------------------------------------------------------------------- */

/* 0 to 65535 without zeros in front (§2.1). */
static bool
read_port(struct slice s, in_port_t *port)
{
	uint64_t v;

	if (s.n > 5 || (s.n > 1 && s.p[0] == '0') || !slice_to_u64(s, &v) || v > 65535)
		return false;
	*port = htons((uint16_t)v);
	return true;
}

static bool
read_text_address(int family, struct slice addr, struct slice port, struct sockaddr_storage *out)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in *in4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	if (addr.n >= sizeof(text) || memchr(addr.p, '\0', addr.n) != NULL)
		return false;
	memcpy(text, addr.p, addr.n);
	text[addr.n] = '\0';
	out->ss_family = (sa_family_t)family;
	if (family == AF_INET)
		return inet_pton(family, text, &in4->sin_addr) == 1 &&
			read_port(port, &in4->sin_port);
	return inet_pton(family, text, &in6->sin6_addr) == 1 && read_port(port, &in6->sin6_port);
}

/* "TCP4 192.0.2.1 192.0.2.2 56324 443", single spaces. */
static bool
read_v1_line(struct slice line, struct proxy_info *info)
{
	struct slice words[5];
	size_t count = 0;
	struct slice rest = line;
	int family;

	if (slice_eq(line, SLICE("UNKNOWN")) || slice_starts(line, SLICE("UNKNOWN "))) {
		info->is_local = true;
		return true;
	}
	/* An empty word, the last one too, is a space too many. */
	if (line.n == 0 || line.p[line.n - 1] == ' ')
		return false;
	while (count < 5 && slice_next(&rest, ' ', &words[count]))
		if (words[count++].n == 0)
			return false;
	if (count < 5 || rest.n > 0)
		return false;
	if (slice_eq(words[0], SLICE("TCP4")))
		family = AF_INET;
	else if (slice_eq(words[0], SLICE("TCP6")))
		family = AF_INET6;
	else
		return false;
	info->has_addr = read_text_address(family, words[1], words[3], &info->src) &&
		read_text_address(family, words[2], words[4], &info->dst);
	return info->has_addr;
}

static enum proxy_result
read_v1(const char *p, size_t n, struct proxy_info *info, size_t *used, const char **reason)
{
	const struct slice head = SLICE("PROXY ");
	size_t window = n < V1_MAX ? n : V1_MAX;
	const char *lf = memchr(p, '\n', window);

	if (lf == NULL)
		return n < V1_MAX ? PROXY_MORE : refuse(reason, "v1_too_long");
	if (lf[-1] != '\r')
		return refuse(reason, "bad_v1_line");

	struct slice line = slice_skip(slice_make(p, (size_t)(lf - 1 - p)), head.n);

	if (!read_v1_line(line, info))
		return refuse(reason, "bad_v1_line");
	*used = (size_t)(lf + 1 - p);
	return PROXY_DONE;
}

/* --- version 2 ---------------------------------------------------------------------------- */

static void
set_ip4(struct sockaddr_storage *out, const char *addr, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;

	in->sin_family = AF_INET;
	memcpy(&in->sin_addr, addr, 4);
	memcpy(&in->sin_port, port, 2);
}

static void
set_ip6(struct sockaddr_storage *out, const char *addr, const char *port)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;

	in->sin6_family = AF_INET6;
	memcpy(&in->sin6_addr, addr, 16);
	memcpy(&in->sin6_port, port, 2);
}

/*
 * The address block at the front of *body, which is cut off. Addresses of other things than TCP are
 * fine but say nothing of this connection.
 */
static const char *
read_addresses(unsigned family, struct slice *body, struct proxy_info *info)
{
	const char *p = body->p;
	size_t len;

	switch (family) {
	case FAM_UNSPEC: len = 0; break;
	case FAM_TCP4:
	case FAM_UDP4: len = ADDR4_LEN; break;
	case FAM_TCP6:
	case FAM_UDP6: len = ADDR6_LEN; break;
	case FAM_UNIX_STREAM:
	case FAM_UNIX_DGRAM: len = ADDR_UNIX_LEN; break;
	default: return "bad_v2_family";
	}
	if (body->n < len)
		return "bad_v2_length";
	*body = slice_skip(*body, len);
	info->has_addr = family == FAM_TCP4 || family == FAM_TCP6;
	if (family == FAM_TCP4) {
		set_ip4(&info->src, p, p + 8);
		set_ip4(&info->dst, p + 4, p + 10);
	} else if (family == FAM_TCP6) {
		set_ip6(&info->src, p, p + 32);
		set_ip6(&info->dst, p + 16, p + 34);
	}
	return NULL;
}

/* Cut a type-length-value off *rest. false when it is longer than what is there. */
static bool
next_tlv(struct slice *rest, unsigned *type, struct slice *value)
{
	if (rest->n < 3)
		return false;

	size_t len = get_u16(rest->p + 1);

	if (len > rest->n - 3)
		return false;
	*type = (unsigned char)rest->p[0];
	*value = slice_make(rest->p + 3, len);
	*rest = slice_skip(*rest, 3 + len);
	return true;
}

/* A value that may come once: two could be read in two ways. */
static const char *
take_once(struct slice *to, struct slice value)
{
	if (to->p != NULL)
		return "dup_tlv";
	*to = value;
	return NULL;
}

/* §2.2.5: client bits, result of verification (0 is good), and TLVs of its own. */
static const char *
read_ssl(struct slice value, struct proxy_info *info)
{
	struct slice rest = slice_skip(value, 5);
	struct proxy_info tls = { 0 };
	const char *bad = NULL;

	if (value.n < 5)
		return "bad_ssl_tlv";
	while (bad == NULL && rest.n > 0) {
		struct slice sub;
		unsigned type;

		if (!next_tlv(&rest, &type, &sub))
			return "bad_ssl_tlv";
		if (type == TLV_SSL_VERSION)
			bad = take_once(&tls.tls_version, sub);
		else if (type == TLV_SSL_CIPHER)
			bad = take_once(&tls.cipher, sub);
		else if (type == TLV_SSL_CN)
			bad = take_once(&tls.cert.cn, sub);
		else if (type == TLV_SSL_CLIENT_CERT)
			bad = take_once(&tls.cert.der, sub);
	}
	if (bad != NULL || !(value.p[0] & CLIENT_SSL))
		return bad;
	info->has_tls = true;
	info->has_client_cert = value.p[0] & (CLIENT_CERT_CONN | CLIENT_CERT_SESS);
	info->is_client_cert_verified = info->has_client_cert && get_u32(value.p + 1) == 0;
	info->is_resumed = info->has_client_cert && !(value.p[0] & CLIENT_CERT_CONN);
	info->tls_version = tls.tls_version;
	info->cipher = tls.cipher;
	if (info->has_client_cert)
		info->cert = tls.cert;
	return NULL;
}

/* They go into headers and logs. */
static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return true;
}

/* Of a certificate that the SSL TLV has told of. */
static const char *
read_cert(struct slice value, struct proxy_info *info)
{
	const struct slice magic = SLICE(PROXY_CERT_MAGIC);
	struct slice rest = slice_skip(value, magic.n);

	if (!slice_starts(value, magic) || !info->has_client_cert)
		return NULL;
	while (rest.n > 0) {
		struct slice sub;
		unsigned type;

		if (!next_tlv(&rest, &type, &sub))
			return "bad_cert_tlv";
		if (type < 1 || type > PROXY_FACTS)
			continue;

		struct slice *to = proxy_fact(&info->cert, type - 1);

		if (to->p != NULL || !is_printable(sub))
			return "bad_cert_tlv";
		*to = sub;
	}
	return NULL;
}

/* CRC-32C of p[0..n) with the four bytes at `hole` taken as zeros (§2.2.3). */
static uint32_t
crc32c(const char *p, size_t n, size_t hole)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		crc ^= i - hole < 4 ? 0 : (unsigned char)p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Of the header head[0..), in which rest is what is left behind the addresses. */
static const char *
read_tlvs(struct slice head, struct slice rest, struct proxy_info *info)
{
	struct slice crc = { 0 };
	struct slice ssl = { 0 };
	struct slice cert = { 0 };
	const char *bad = NULL;

	while (bad == NULL && rest.n > 0) {
		struct slice value;
		unsigned type;

		if (!next_tlv(&rest, &type, &value))
			return "bad_tlv";
		if (type == TLV_ALPN)
			bad = take_once(&info->alpn, value);
		else if (type == TLV_AUTHORITY)
			bad = take_once(&info->authority, value);
		else if (type == TLV_UNIQUE_ID)
			bad = take_once(&info->unique_id, value);
		else if (type == TLV_CRC32C)
			bad = take_once(&crc, value);
		else if (type == TLV_SSL)
			bad = take_once(&ssl, value);
		else if (type == TLV_OUR_CERT)
			bad = take_once(&cert, value);
	}
	if (bad == NULL && info->unique_id.n > UNIQUE_ID_MAX)
		bad = "bad_unique_id";
	if (bad == NULL && crc.p != NULL &&
		(crc.n != 4 || get_u32(crc.p) != crc32c(head.p, head.n, (size_t)(crc.p - head.p))))
		bad = "bad_crc";
	if (bad == NULL && ssl.p != NULL)
		bad = read_ssl(ssl, info);
	if (bad == NULL && cert.p != NULL)
		bad = read_cert(cert, info);
	return bad;
}

static enum proxy_result
read_v2(const char *p, size_t n, struct proxy_info *info, size_t *used, const char **reason)
{
	const char *bad;

	if (n >= 13 && (p[12] & 0xf0) != 0x20)
		return refuse(reason, "bad_v2_version");
	if (n >= 13 && p[12] != CMD_LOCAL && p[12] != CMD_PROXY)
		return refuse(reason, "bad_v2_command");
	if (n < FIXED_LEN)
		return PROXY_MORE;

	struct slice head = slice_make(p, FIXED_LEN + get_u16(p + 14));

	if (head.n > PROXY_MAX)
		return refuse(reason, "v2_too_long");
	if (n < head.n)
		return PROXY_MORE;

	struct slice body = slice_skip(head, FIXED_LEN);

	*used = head.n;
	info->is_local = p[12] == CMD_LOCAL;
	/* Of a LOCAL header all the rest is to be skipped, the family included. */
	if (info->is_local)
		return PROXY_DONE;
	bad = read_addresses((unsigned char)p[13], &body, info);
	if (bad == NULL)
		bad = read_tlvs(head, body, info);
	return bad == NULL ? PROXY_DONE : refuse(reason, bad);
}

enum proxy_result
proxy_read(const char *p, size_t n, struct proxy_info *info, size_t *used, const char **reason)
{
	const struct slice v1 = SLICE("PROXY ");
	const struct slice v2 = SLICE(PROXY_SIGNATURE);
	struct slice seen = slice_make(p, n);

	memset(info, 0, sizeof(*info));
	*used = 0;
	if (slice_starts(seen, v2))
		return read_v2(p, n, info, used, reason);
	if (slice_starts(seen, v1))
		return read_v1(p, n, info, used, reason);
	if (slice_starts(v2, seen) || slice_starts(v1, seen))
		return PROXY_MORE;
	return refuse(reason, "no_proxy_header");
}
