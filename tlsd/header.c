/*
 * header: what the handshake found out, as PROXY v2 with TLVs. A client that came over IPv4 to a
 * socket for both families is reported as IPv4.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/proxyproto.h"
#include "tlsd/clientauth.h"
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
set_common(const struct session *s, struct proxy_info *info, struct header_text *room)
{
	int id_n = snprintf(room->id, sizeof(room->id), "%016" PRIx64 "%08" PRIx64, s->w->id_prefix,
		s->w->id_next++ & 0xffffffff);

	set_addresses(s, info);
	info->authority = slice_make(s->hello->tls.sni, s->hello->tls.sni_n);
	info->unique_id = slice_make(room->id, (size_t)id_n);
}

static void
set_cert(const struct session *s, struct proxy_info *info, struct clientfacts *room)
{
	X509 *peer = SSL_get0_peer_certificate(s->wire.ssl);
	long result = SSL_get_verify_result(s->wire.ssl);

	if (s->listener->auth == NULL || peer == NULL)
		return;
	info->has_client_cert = true;
	info->is_client_cert_verified = result == X509_V_OK;
	info->is_resumed = SSL_session_reused(s->wire.ssl);
	clientfacts_read(peer, result, room, &info->cert);
}

void
header_info(const struct session *s, struct proxy_info *info, struct header_text *room)
{
	const unsigned char *alpn;
	unsigned alpn_n;

	*info = (struct proxy_info){ .has_tls = true };
	set_common(s, info, room);
	SSL_get0_alpn_selected(s->wire.ssl, &alpn, &alpn_n);
	info->alpn = slice_make((const char *)alpn, alpn_n);
	info->tls_version = slice_str(SSL_get_version(s->wire.ssl));
	info->cipher = slice_str(SSL_get_cipher_name(s->wire.ssl));
	set_cert(s, info, &room->facts);
}

size_t
header_write(const struct session *s, char *out, size_t cap)
{
	struct proxy_info info;
	struct header_text room;
	size_t n;

	header_info(s, &info, &room);
	if (!s->listener->cfg->is_foreign)
		return proxy_write_v2(out, cap, &info);
	info.cert = (struct proxy_cert){ .cn = info.cert.cn, .der = info.cert.der };
	if (cap > PROXY_MAX_FOREIGN)
		cap = PROXY_MAX_FOREIGN;
	n = proxy_write_v2(out, cap, &info);
	if (n > 0)
		return n;
	info.cert.der = slice_make(NULL, 0);
	return proxy_write_v2(out, cap, &info);
}

size_t
header_write_pass(const struct session *s, char *out, size_t cap)
{
	struct proxy_info info = { .has_tls = false };
	struct header_text room;

	set_common(s, &info, &room);
	return proxy_write_v2(out, cap, &info);
}
