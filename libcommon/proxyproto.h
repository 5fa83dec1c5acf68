/*
 * proxyproto: the PROXY protocol, versions 1 (read) and 2 (read and write), as the specification of
 * HAProxy's authors has it. Pure: bytes in, struct out.
 */
#ifndef LIBCOMMON_PROXYPROTO_H
#define LIBCOMMON_PROXYPROTO_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "libcommon/slice.h"

enum proxy_result { PROXY_MORE, PROXY_DONE, PROXY_BAD };

/* What a header says of the connection. Slices point into the bytes that were read. */
struct proxy_info {
	bool is_local; /* LOCAL or UNKNOWN: the sender speaks for itself, addresses mean nothing */
	bool has_addr; /* src and dst are set (TCP over IPv4 or IPv6) */
	struct sockaddr_storage src;
	struct sockaddr_storage dst;
	bool has_tls; /* a PP2_TYPE_SSL TLV was there, and its client bit says TLS */
	bool has_client_cert;
	bool is_client_cert_verified;
	struct slice alpn;        /* PP2_TYPE_ALPN */
	struct slice authority;   /* PP2_TYPE_AUTHORITY: the SNI */
	struct slice unique_id;   /* PP2_TYPE_UNIQUE_ID, at most 128 bytes */
	struct slice tls_version; /* PP2_SUBTYPE_SSL_VERSION: "TLSv1.3" */
	struct slice cipher;      /* PP2_SUBTYPE_SSL_CIPHER */
	struct slice client_cn;   /* PP2_SUBTYPE_SSL_CN */
};

/* The longest header that is accepted or written, fixed part and TLVs in all. */
#define PROXY_MAX 4096

/*
 * Read a header from the front of p[0..n). DONE: *used bytes belonged to it. BAD: *reason is a
 * stable word. MORE: call again with more bytes, the same ones in front. v1 lines are at most 107
 * bytes and end in CRLF. A CRC32C TLV is checked when present. Of LOCAL all but the length is
 * ignored; UDP, AF_UNIX and UNSPEC are accepted without addresses. A TLV that is read here may
 * stand once only.
 *
 * Reasons: no_proxy_header; v1_too_long bad_v1_line; bad_v2_version bad_v2_command bad_v2_family
 * bad_v2_length v2_too_long bad_tlv dup_tlv bad_ssl_tlv bad_unique_id bad_crc.
 */
enum proxy_result proxy_read(
	const char *p, size_t n, struct proxy_info *info, size_t *used, const char **reason);

/*
 * Write a v2 header into out[0..cap); returns its length, or 0 when it does not fit there or in
 * PROXY_MAX, or unique_id is too long. Empty slices are left out, and all but LOCAL when is_local
 * is set; addresses of two families go out as IPv6, those of no IP family as UNSPEC.
 */
size_t proxy_write_v2(char *out, size_t cap, const struct proxy_info *info);

#endif
