/*
 * proxyproto_parts: what reading and writing of the header share; nobody else includes it. Section
 * numbers are those of HAProxy's proxy-protocol.txt.
 */
#ifndef LIBCOMMON_PROXYPROTO_PARTS_H
#define LIBCOMMON_PROXYPROTO_PARTS_H

#include "libcommon/proxyproto.h"

enum { FIXED_LEN = 16, UNIQUE_ID_MAX = 128 };

#define PROXY_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
/* In front of what is in TLV_OUR_CERT. */
#define PROXY_CERT_MAGIC "weir"

/* §2.2: command, and family with transport. */
enum { CMD_LOCAL = 0x20, CMD_PROXY = 0x21 };
enum {
	FAM_UNSPEC = 0x00,
	FAM_TCP4 = 0x11,
	FAM_UDP4 = 0x12,
	FAM_TCP6 = 0x21,
	FAM_UDP6 = 0x22,
	FAM_UNIX_STREAM = 0x31,
	FAM_UNIX_DGRAM = 0x32,
};
enum { ADDR4_LEN = 12, ADDR6_LEN = 36, ADDR_UNIX_LEN = 216 };

/* §2.2.1 to §2.2.7 */
enum {
	TLV_ALPN = 0x01,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_VERSION = 0x21,
	TLV_SSL_CN = 0x22,
	TLV_SSL_CIPHER = 0x23,
	TLV_SSL_CLIENT_CERT = 0x28,
	TLV_OUR_CERT = 0xe0, /* of those left to applications: the magic, then TLVs of its own */
};
enum { CLIENT_SSL = 1, CLIENT_CERT_CONN = 2, CLIENT_CERT_SESS = 4 };

/* proxyproto_info.c: the facts of TLV_OUR_CERT, where fact i has type i + 1. */
enum { PROXY_FACTS = 8 };
struct slice *proxy_fact(struct proxy_cert *c, size_t i);
/* Every text at most so long as a header, unique_id so long as it may be. */
bool proxy_text_is_sane(const struct proxy_info *info);

#endif
