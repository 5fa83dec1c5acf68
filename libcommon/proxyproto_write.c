/*
 * proxyproto_write: version 2 of the header. Driven by who relays a connection or hands it over.
 */
#include "libcommon/proxyproto_parts.h"

/* Bytes on their way out; what does not fit any more is only counted. */
struct out {
	char *p;
	size_t n;
	size_t cap;
};

static void
put(struct out *o, const void *p, size_t n)
{
	if (n > 0 && o->n <= o->cap && n <= o->cap - o->n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void
put_u16(struct out *o, size_t v)
{
	const unsigned char bytes[2] = { (unsigned char)(v >> 8), (unsigned char)v };

	put(o, bytes, sizeof(bytes));
}

static void
put_tlv(struct out *o, unsigned char type, struct slice value)
{
	if (value.n == 0)
		return;
	put(o, &type, 1);
	put_u16(o, value.n);
	put(o, value.p, value.n);
}

static size_t
tlv_len(struct slice value)
{
	return value.n > 0 ? 3 + value.n : 0;
}

static void
put_ssl(struct out *o, const struct proxy_info *info)
{
	const unsigned char type = TLV_SSL;
	unsigned char fixed[5] = { CLIENT_SSL };
	size_t len = sizeof(fixed) + tlv_len(info->tls_version) + tlv_len(info->cipher);

	if (info->has_client_cert) {
		fixed[0] |= CLIENT_CERT_SESS | (info->is_resumed ? 0 : CLIENT_CERT_CONN);
		len += tlv_len(info->cert.cn) + tlv_len(info->cert.der);
	}
	fixed[4] = !info->is_client_cert_verified;
	put(o, &type, 1);
	put_u16(o, len);
	put(o, fixed, sizeof(fixed));
	put_tlv(o, TLV_SSL_VERSION, info->tls_version);
	if (info->has_client_cert)
		put_tlv(o, TLV_SSL_CN, info->cert.cn);
	put_tlv(o, TLV_SSL_CIPHER, info->cipher);
	if (info->has_client_cert)
		put_tlv(o, TLV_SSL_CLIENT_CERT, info->cert.der);
}

static void
put_cert(struct out *o, const struct proxy_info *info)
{
	const unsigned char type = TLV_OUR_CERT;
	struct proxy_cert c = info->cert;
	size_t len = 0;

	for (size_t i = 0; i < PROXY_FACTS; i++)
		len += tlv_len(*proxy_fact(&c, i));
	if (len == 0)
		return;
	put(o, &type, 1);
	put_u16(o, sizeof(PROXY_CERT_MAGIC) - 1 + len);
	put(o, PROXY_CERT_MAGIC, sizeof(PROXY_CERT_MAGIC) - 1);
	for (size_t i = 0; i < PROXY_FACTS; i++)
		put_tlv(o, (unsigned char)(i + 1), *proxy_fact(&c, i));
}

/* Either family as IPv6, the shorter one mapped (RFC 4291 §2.5.5.2). */
static void
as_ip6(const struct sockaddr_storage *from, struct in6_addr *addr, in_port_t *port)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

	if (from->ss_family == AF_INET6) {
		*addr = in6->sin6_addr;
		*port = in6->sin6_port;
		return;
	}
	memset(addr, 0, sizeof(*addr));
	memset(&addr->s6_addr[10], 0xff, 2);
	memcpy(&addr->s6_addr[12], &in4->sin_addr, 4);
	*port = in4->sin_port;
}

static void
put_addresses(struct out *o, unsigned char family, const struct proxy_info *info)
{
	struct in6_addr addr[2];
	in_port_t port[2];
	size_t skip = family == FAM_TCP4 ? 12 : 0;

	as_ip6(&info->src, &addr[0], &port[0]);
	as_ip6(&info->dst, &addr[1], &port[1]);
	for (unsigned i = 0; i < 2; i++)
		put(o, addr[i].s6_addr + skip, 16 - skip);
	put(o, port, sizeof(port));
}

static bool
is_ip(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET || a->ss_family == AF_INET6;
}

static unsigned char
family_of(const struct proxy_info *info)
{
	if (info->is_local || !info->has_addr || !is_ip(&info->src) || !is_ip(&info->dst))
		return FAM_UNSPEC;
	return info->src.ss_family == AF_INET && info->dst.ss_family == AF_INET ? FAM_TCP4
										: FAM_TCP6;
}

size_t
proxy_write_v2(char *out, size_t cap, const struct proxy_info *info)
{
	struct out o = { .p = out, .cap = cap < PROXY_MAX ? cap : PROXY_MAX };
	const unsigned char family = family_of(info);
	const unsigned char command = info->is_local ? CMD_LOCAL : CMD_PROXY;

	if (!proxy_text_is_sane(info))
		return 0;
	put(&o, PROXY_SIGNATURE, sizeof(PROXY_SIGNATURE) - 1);
	put(&o, &command, 1);
	put(&o, &family, 1);
	put_u16(&o, 0);
	if (family != FAM_UNSPEC)
		put_addresses(&o, family, info);
	if (!info->is_local) {
		put_tlv(&o, TLV_ALPN, info->alpn);
		put_tlv(&o, TLV_AUTHORITY, info->authority);
		put_tlv(&o, TLV_UNIQUE_ID, info->unique_id);
		if (info->has_tls)
			put_ssl(&o, info);
		if (info->has_tls && info->has_client_cert)
			put_cert(&o, info);
	}
	if (o.n > o.cap)
		return 0;
	out[14] = (char)((o.n - FIXED_LEN) >> 8);
	out[15] = (char)(o.n - FIXED_LEN);
	return o.n;
}
