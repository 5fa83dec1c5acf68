/*
 * addr: where to listen or connect: "127.0.0.1:80", "[::1]:80", "*:443", ":80", "unix:/path",
 * "name:3000", "name". Parsing never resolves; a name stays a name.
 */
#ifndef LIBCOMMON_ADDR_H
#define LIBCOMMON_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "libcommon/err.h"
#include "libcommon/slice.h"

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage ss;
	};
	socklen_t len;
};

/* Room for any text form, NUL included: "unix:" and 108 bytes, or a bracketed IPv6 address with
 * scope and port. */
#define ADDR_TEXT 128

enum addr_kind { ADDR_IP, ADDR_UNIX, ADDR_NAME };

struct addr_spec {
	enum addr_kind kind;
	struct addr addr; /* ADDR_IP, ADDR_UNIX */
	char name[256];   /* ADDR_NAME: a valid host name, lower-cased */
	uint16_t port;    /* ADDR_IP, ADDR_NAME; default_port when the text has none */
	bool is_any; /* "*:80" or ":80": listen on [::] for both families where the system has IPv6
		      */
};

/*
 * default_port 0: a port is required. Ports are 0 to 65535: port 0 makes the kernel choose one when
 * listening and means nothing when connecting, so who reads server addresses refuses it. Host names
 * are those of RFC 1123, underscores tolerated; one final dot is kept. IPv6 addresses stand in
 * brackets, a scope is written [fe80::1%eth0]:80. A unix path is taken as it stands; the caller has
 * already made it absolute. On failure err says what was expected.
 */
int addr_parse(struct slice text, uint16_t default_port, struct addr_spec *out, struct err *err);
/* "127.0.0.1:80", "[::1]:80", "unix:/path"; "-" for an unnamed Unix socket. Returns out. */
const char *addr_format(const struct sockaddr *sa, socklen_t len, char out[static ADDR_TEXT]);
/* The address alone, without port or brackets: "127.0.0.1", "::1"; v4-mapped IPv6 is shown as IPv4;
 * "unix:" for a Unix socket. */
const char *addr_format_host(const struct sockaddr *sa, char out[static ADDR_TEXT]);
/* An IPv4 or IPv6 address and nothing else: no port, brackets or scope. */
bool addr_is_ip(const char *text);
uint16_t addr_port(const struct sockaddr *sa);
bool addr_eq(const struct addr *a, const struct addr *b);

/* A network such as 10.0.0.0/8, fd00::/8, a single address, or "unix" for any Unix socket peer. */
struct addr_net {
	uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
	uint8_t bits;
	uint8_t bytes[16];
};

int addr_net_parse(struct slice text, struct addr_net *out, struct err *err);
/* v4-mapped IPv6 addresses match IPv4 networks. */
bool addr_net_has(const struct addr_net *net, const struct sockaddr *sa);
bool addr_nets_have(const struct addr_net *nets, size_t n, const struct sockaddr *sa);

#endif
