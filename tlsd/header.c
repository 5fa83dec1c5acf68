/*
 * header: what the handshake found out, as PROXY v2 with TLVs. A client that came over IPv4 to a
 * socket for both families is reported as IPv4.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/proxyproto.h"
#include "tlsd/header.h"
#include "tlsd/session.h"

static void
unmap(struct sockaddr_storage *ss)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four = { .sin_family = AF_INET };

	memcpy(&six, ss, sizeof(six));
	if (six.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
		return;
	four.sin_port = six.sin6_port;
	memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], 4);
	memset(ss, 0, sizeof(*ss));
	memcpy(ss, &four, sizeof(four));
}

static void
set_addresses(const struct session *s, struct proxy_info *info)
{
	socklen_t len = sizeof(info->dst);

	info->src = s->hello->peer;
	if (info->src.ss_family != AF_INET && info->src.ss_family != AF_INET6)
		return; /* came over a Unix socket: there is no address to tell */
	if (s->listener->has_local)
		info->dst = s->listener->local;
	else if (getsockname(s->wire.fd, (struct sockaddr *)&info->dst, &len) < 0)
		return;
	unmap(&info->src);
	unmap(&info->dst);
	info->has_addr = info->src.ss_family == info->dst.ss_family;
}

static void
set_common(const struct session *s, struct proxy_info *info, char *id)
{
	int id_n = snprintf(id, HEADER_ID, "%016" PRIx64 "%08" PRIx64, s->w->id_prefix,
		s->w->id_next++ & 0xffffffff);

	set_addresses(s, info);
	info->authority = slice_make(s->hello->tls.sni, s->hello->tls.sni_n);
	info->unique_id = slice_make(id, (size_t)id_n);
}

void
header_info(const struct session *s, struct proxy_info *info, char *id)
{
	const unsigned char *alpn;
	unsigned alpn_n;

	*info = (struct proxy_info){ .has_tls = true };
	set_common(s, info, id);
	SSL_get0_alpn_selected(s->wire.ssl, &alpn, &alpn_n);
	info->alpn = slice_make((const char *)alpn, alpn_n);
	info->tls_version = slice_str(SSL_get_version(s->wire.ssl));
	info->cipher = slice_str(SSL_get_cipher_name(s->wire.ssl));
}

size_t
header_write(const struct session *s, char *out, size_t cap)
{
	struct proxy_info info;
	char id[HEADER_ID];

	header_info(s, &info, id);
	return proxy_write_v2(out, cap, &info);
}

size_t
header_write_pass(const struct session *s, char *out, size_t cap)
{
	struct proxy_info info = { .has_tls = false };
	char id[HEADER_ID];

	set_common(s, &info, id);
	return proxy_write_v2(out, cap, &info);
}
