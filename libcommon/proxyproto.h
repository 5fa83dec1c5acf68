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

/* The client's certificate; all but der is printable ASCII, and empty where it is not told. */
struct proxy_cert {
	struct slice cn;          /* PP2_SUBTYPE_SSL_CN: the subject's common name */
	struct slice der;         /* PP2_SUBTYPE_SSL_CLIENT_CERT */
	struct slice failure;     /* why it was not verified. This and the rest: our own TLV */
	struct slice subject;     /* RFC 4514 */
	struct slice issuer;      /* RFC 4514 */
	struct slice serial;      /* hex */
	struct slice fingerprint; /* SHA-256 of der, hex */
	struct slice san;         /* "DNS:a.example,IP:192.0.2.1" */
	struct slice not_before;  /* "2026-11-24T10:00:00Z" */
	struct slice not_after;
};

/* What a header says of the connection. Slices point into the bytes that were read. */
struct proxy_info {
	bool is_local; /* LOCAL or UNKNOWN: the sender speaks for itself, addresses mean nothing */
	bool has_addr; /* src and dst are set (TCP over IPv4 or IPv6) */
	struct sockaddr_storage src;
	struct sockaddr_storage dst;
	bool has_tls;         /* a PP2_TYPE_SSL TLV was there, and its client bit says TLS */
	bool has_client_cert; /* shown in this connection or when its session began */
	bool is_client_cert_verified; /* no verification has failed; false without one */
	bool is_resumed;              /* the certificate was not shown in this connection */
	struct slice alpn;            /* PP2_TYPE_ALPN */
	struct slice authority;       /* PP2_TYPE_AUTHORITY: the SNI */
	struct slice unique_id;       /* PP2_TYPE_UNIQUE_ID, at most 128 bytes */
	struct slice tls_version;     /* PP2_SUBTYPE_SSL_VERSION: "TLSv1.3" */
	struct slice cipher;          /* PP2_SUBTYPE_SSL_CIPHER */
	struct proxy_cert cert;       /* with has_client_cert */
};

/* The longest header that is accepted or written, fixed part and TLVs in all. */
#define PROXY_MAX 12288
/* What others take: nginx refuses longer ones. */
#define PROXY_MAX_FOREIGN 4096

/*
 * Read a header from the front of p[0..n). DONE: *used bytes belonged to it. BAD: *reason is a
 * stable word. MORE: call again with more bytes, the same ones in front. v1 lines are at most 107
 * bytes and end in CRLF. A CRC32C TLV is checked when present. Of LOCAL all but the length is
 * ignored; UDP, AF_UNIX and UNSPEC are accepted without addresses. A TLV that is read here may
 * stand once only. Facts of a certificate in our own TLV are those of tlsd; a TLV of that type that
 * somebody else means differently is skipped.
 *
 * Reasons: no_proxy_header; v1_too_long bad_v1_line; bad_v2_version bad_v2_command bad_v2_family
 * bad_v2_length v2_too_long bad_tlv dup_tlv bad_ssl_tlv bad_cert_tlv bad_unique_id bad_crc.
 */
enum proxy_result proxy_read(
	const char *p, size_t n, struct proxy_info *info, size_t *used, const char **reason);

/*
 * Write a v2 header into out[0..cap); returns its length, or 0 when it does not fit there or in
 * PROXY_MAX, or unique_id is too long. Empty slices are left out, and all but LOCAL when is_local
 * is set; addresses of two families go out as IPv6, those of no IP family as UNSPEC.
 */
size_t proxy_write_v2(char *out, size_t cap, const struct proxy_info *info);

/* How many bytes all slices have together, and: copy them to `to`, which has that much room, and
 * let them point there. */
size_t proxy_text_len(const struct proxy_info *info);
void proxy_text_move(struct proxy_info *info, char *to);

#endif
