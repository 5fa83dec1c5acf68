/*
 * addr: text to socket address and back, and networks to compare peers with. Pure: nothing is
 * resolved and no descriptor is opened (the scope names of link-local IPv6 are the system's).
 */
#include "libcommon/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>

static const char expected[] =
	"expected \"127.0.0.1:80\", \"[::1]:80\", \"*:80\", \"name:80\" or \"unix:/path\"";

/* --- parsing ---------------------------------------------------------------------------------- */

static int
parse_port(struct slice s, uint16_t *port, struct err *err)
{
	uint64_t v;

	if (!slice_to_u64(s, &v) || v > 65535)
		return err_set(
			err, "\"%.*s\" is not a port, expected a number up to 65535", SLICE_ARG(s));
	*port = (uint16_t)v;
	return 0;
}

static int
parse_unix(struct slice path, struct addr_spec *out, struct err *err)
{
	struct sockaddr_un *un = &out->addr.un;

	if (path.n == 0)
		return err_set(err, "a path is missing, expected \"unix:/path\"");
	if (path.n >= sizeof(un->sun_path))
		return err_set(err,
			"the path has %zu bytes, but a Unix socket's has room for %zu: %.*s",
			path.n, sizeof(un->sun_path) - 1, SLICE_ARG(path));
	if (slice_find(path, '\0') != path.n)
		return err_set(err, "the path holds a NUL byte");
	out->kind = ADDR_UNIX;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.p, path.n);
	out->addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
	return 0;
}

/* inet_pton wants a C string. */
static bool
to_ip(int family, struct slice text, void *out)
{
	char s[INET6_ADDRSTRLEN];

	if (text.n == 0 || text.n >= sizeof(s) || slice_find(text, '\0') != text.n)
		return false;
	memcpy(s, text.p, text.n);
	s[text.n] = '\0';
	return inet_pton(family, s, out) == 1;
}

bool
addr_is_ip(const char *text)
{
	struct in6_addr room;

	return to_ip(AF_INET, slice_str(text), &room) || to_ip(AF_INET6, slice_str(text), &room);
}

static bool
parse_scope(struct slice text, uint32_t *scope)
{
	char name[IF_NAMESIZE];
	uint64_t number;

	if (slice_to_u64(text, &number) && number <= UINT32_MAX) {
		*scope = (uint32_t)number;
		return true;
	}
	if (text.n == 0 || text.n >= sizeof(name))
		return false;
	memcpy(name, text.p, text.n);
	name[text.n] = '\0';
	*scope = if_nametoindex(name);
	return *scope != 0;
}

static int
parse_ipv6(struct slice text, struct addr_spec *out, struct err *err)
{
	struct sockaddr_in6 *in6 = &out->addr.in6;
	size_t percent = slice_find(text, '%');

	if (!to_ip(AF_INET6, slice_make(text.p, percent), &in6->sin6_addr))
		return err_set(err, "\"%.*s\" is not an IPv6 address", SLICE_ARG(text));
	if (percent < text.n && !parse_scope(slice_skip(text, percent + 1), &in6->sin6_scope_id))
		return err_set(err, "there is no network interface \"%.*s\"",
			SLICE_ARG(slice_skip(text, percent + 1)));
	out->kind = ADDR_IP;
	in6->sin6_family = AF_INET6;
	out->addr.len = sizeof(*in6);
	return 0;
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool
is_label(struct slice label)
{
	if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
		return false;
	for (size_t i = 0; i < label.n; i++)
		if (!is_name_char(ascii_lower(label.p[i])))
			return false;
	return true;
}

static int
parse_name(struct slice text, struct addr_spec *out, struct err *err)
{
	struct slice rest = text;
	struct slice label = { 0 };

	if (rest.n > 1 && rest.p[rest.n - 1] == '.')
		rest.n--;
	if (rest.n == 0)
		return err_set(err, "the host is missing, %s", expected);
	if (rest.n > 253 || rest.p[rest.n - 1] == '.')
		return err_set(err, "\"%.*s\" is not a host name", SLICE_ARG(text));
	while (slice_next(&rest, '.', &label))
		if (!is_label(label))
			return err_set(err, "\"%.*s\" is neither an address nor a host name, %s",
				(int)(text.n > 100 ? 100 : text.n), text.p, expected);
	/* A mistyped IPv4 address (RFC 1123 §2.1). */
	if (slice_is_digits(label))
		return err_set(err, "\"%.*s\" is not an IPv4 address", SLICE_ARG(text));

	out->kind = ADDR_NAME;
	for (size_t i = 0; i < text.n; i++)
		out->name[i] = ascii_lower(text.p[i]);
	return 0;
}

static int
parse_host(struct slice host, struct addr_spec *out, struct err *err)
{
	if (host.n == 0 || slice_eq(host, SLICE("*"))) {
		out->is_any = true;
		return parse_ipv6(SLICE("::"), out, err);
	}
	if (to_ip(AF_INET, host, &out->addr.in.sin_addr)) {
		out->kind = ADDR_IP;
		out->addr.in.sin_family = AF_INET;
		out->addr.len = sizeof(out->addr.in);
		return 0;
	}
	return parse_name(host, out, err);
}

/* Cut "host" and ":port" apart; *port is NULL-based when there is none. */
static int
split(struct slice text, struct slice *host, struct slice *port, bool *is_bracketed,
	struct err *err)
{
	size_t end;

	*is_bracketed = text.n > 0 && text.p[0] == '[';
	if (*is_bracketed) {
		end = slice_find(text, ']');
		if (end == text.n)
			return err_set(err, "\"]\" is missing, expected \"[::1]:80\"");
		*host = slice_make(text.p + 1, end - 1);
		end++;
		if (end < text.n && text.p[end] != ':')
			return err_set(
				err, "after \"]\" only a port can follow, as in \"[::1]:80\"");
	} else {
		end = slice_find(text, ':');
		*host = slice_make(text.p, end);
		if (slice_find(slice_skip(text, end + 1), ':') != slice_skip(text, end + 1).n)
			return err_set(err,
				"an IPv6 address stands in brackets, as in \"[::1]:80\": %.*s",
				(int)(text.n > 100 ? 100 : text.n), text.p);
	}
	*port = end < text.n ? slice_skip(text, end + 1) : slice_make(NULL, 0);
	return 0;
}

static void
put_port(struct addr_spec *out)
{
	if (out->kind == ADDR_IP && out->addr.sa.sa_family == AF_INET)
		out->addr.in.sin_port = htons(out->port);
	else if (out->kind == ADDR_IP)
		out->addr.in6.sin6_port = htons(out->port);
}

int
addr_parse(struct slice text, uint16_t default_port, struct addr_spec *out, struct err *err)
{
	struct slice host;
	struct slice port;
	bool is_bracketed;

	*out = (struct addr_spec){ 0 };
	if (text.n == 0)
		return err_set(err, "the address is empty, %s", expected);
	if (slice_starts(text, SLICE("unix:")))
		return parse_unix(slice_skip(text, 5), out, err);
	if (text.p[0] == '/')
		return err_set(err, "a path is written \"unix:/path\"");
	if (split(text, &host, &port, &is_bracketed, err) < 0)
		return -1;
	if (port.p == NULL && default_port == 0)
		return err_set(err, "the port is missing, %s", expected);
	out->port = default_port;
	if (port.p != NULL && parse_port(port, &out->port, err) < 0)
		return -1;
	if ((is_bracketed ? parse_ipv6 : parse_host)(host, out, err) < 0)
		return -1;
	put_port(out);
	return 0;
}

/* --- formatting ------------------------------------------------------------------------------- */

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* The address's bytes, those of the IPv4 address for a v4-mapped one. false for other families. */
static bool
ip_bytes(const struct sockaddr *sa, uint8_t *family, const uint8_t **bytes)
{
	if (sa->sa_family == AF_INET) {
		*family = AF_INET;
		*bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	*bytes = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr;
	*family = AF_INET6;
	if (memcmp(*bytes, v4_mapped, sizeof(v4_mapped)) == 0) {
		*family = AF_INET;
		*bytes += sizeof(v4_mapped);
	}
	return true;
}

static void
add_scope(char out[static ADDR_TEXT], uint32_t scope)
{
	char name[IF_NAMESIZE];
	size_t n = strlen(out);

	if (if_indextoname(scope, name) != NULL)
		snprintf(out + n, ADDR_TEXT - n, "%%%s", name);
	else
		snprintf(out + n, ADDR_TEXT - n, "%%%u", scope);
}

const char *
addr_format_host(const struct sockaddr *sa, char out[static ADDR_TEXT])
{
	uint8_t family;
	const uint8_t *bytes;

	if (!ip_bytes(sa, &family, &bytes))
		return strcpy(out, sa->sa_family == AF_UNIX ? "unix:" : "-");
	inet_ntop(family, bytes, out, ADDR_TEXT);
	if (family == AF_INET6) {
		uint32_t scope = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_scope_id;

		if (scope != 0)
			add_scope(out, scope);
	}
	return out;
}

static const char *
format_unix(const struct sockaddr *sa, socklen_t len, char out[static ADDR_TEXT])
{
	const struct sockaddr_un *un = (const void *)sa;
	size_t at = offsetof(struct sockaddr_un, sun_path);
	size_t n = len > at ? strnlen(un->sun_path, len - at) : 0;

	/* An abstract name begins with NUL: shown as @name, as other tools do. */
	if (n == 0 && len > at + 1)
		snprintf(out, ADDR_TEXT, "unix:@%.*s", (int)(len - at - 1), un->sun_path + 1);
	else if (n == 0)
		strcpy(out, "-");
	else
		snprintf(out, ADDR_TEXT, "unix:%.*s", (int)n, un->sun_path);
	return out;
}

const char *
addr_format(const struct sockaddr *sa, socklen_t len, char out[static ADDR_TEXT])
{
	char host[ADDR_TEXT];

	if (sa->sa_family == AF_UNIX)
		return format_unix(sa, len, out);
	addr_format_host(sa, host);
	if (strchr(host, ':') != NULL)
		snprintf(out, ADDR_TEXT, "[%.*s]:%u", ADDR_TEXT - 10, host, addr_port(sa));
	else if (host[0] == '-')
		strcpy(out, host);
	else
		snprintf(out, ADDR_TEXT, "%.*s:%u", ADDR_TEXT - 10, host, addr_port(sa));
	return out;
}

uint16_t
addr_port(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
	if (sa->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
	return 0;
}

static bool
un_eq(const struct addr *a, const struct addr *b)
{
	size_t at = offsetof(struct sockaddr_un, sun_path);
	size_t na = a->len > at ? a->len - at : 0;
	size_t nb = b->len > at ? b->len - at : 0;

	/* With or without the final NUL, a path is the same; an abstract name counts whole. */
	if (na > 0 && a->un.sun_path[0] != '\0')
		na = strnlen(a->un.sun_path, na);
	if (nb > 0 && b->un.sun_path[0] != '\0')
		nb = strnlen(b->un.sun_path, nb);
	return na == nb && memcmp(a->un.sun_path, b->un.sun_path, na) == 0;
}

bool
addr_eq(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->in.sin_port == b->in.sin_port &&
			a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case AF_INET6:
		return a->in6.sin6_port == b->in6.sin6_port &&
			a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
			memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
	case AF_UNIX: return un_eq(a, b);
	default: return false;
	}
}

/* --- networks --------------------------------------------------------------------------------- */

/* Clear all but the first `bits`; true when something was set there. */
static bool
mask_rest(uint8_t *bytes, unsigned bits, unsigned size)
{
	bool had = false;

	for (unsigned i = 0; i < size; i++) {
		unsigned keep = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;
		uint8_t mask = (uint8_t)(0xff00 >> keep);

		had |= (bytes[i] & (uint8_t)~mask) != 0;
		bytes[i] &= mask;
	}
	return had;
}

static int
parse_bits(struct slice text, size_t slash, struct addr_net *net, struct err *err)
{
	unsigned size = net->family == AF_INET ? 4 : 16;
	uint64_t bits = size * 8;
	char s[INET6_ADDRSTRLEN];

	if (slash < text.n &&
		(!slice_to_u64(slice_skip(text, slash + 1), &bits) || bits > size * 8))
		return err_set(err, "\"%.*s\": the prefix length must be a number up to %u",
			SLICE_ARG(text), size * 8);
	if (mask_rest(net->bytes, (unsigned)bits, size))
		return err_set(err, "\"%.*s\" has bits set beyond its prefix; did you mean %s/%u?",
			SLICE_ARG(text), inet_ntop(net->family, net->bytes, s, sizeof(s)),
			(unsigned)bits);
	net->bits = (uint8_t)bits;
	return 0;
}

int
addr_net_parse(struct slice text, struct addr_net *out, struct err *err)
{
	size_t slash = slice_find(text, '/');
	struct slice host = slice_make(text.p, slash);

	*out = (struct addr_net){ 0 };
	if (slice_eq(text, SLICE("unix"))) {
		out->family = AF_UNIX;
		return 0;
	}
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = slice_make(host.p + 1, host.n - 2);
	if (to_ip(AF_INET, host, out->bytes))
		out->family = AF_INET;
	else if (to_ip(AF_INET6, host, out->bytes))
		out->family = AF_INET6;
	else
		return err_set(err,
			"\"%.*s\" is not a network, expected 10.0.0.0/8, fd00::/8, an address or "
			"\"unix\"",
			(int)(text.n > 100 ? 100 : text.n), text.p);
	if (parse_bits(text, slash, out, err) < 0)
		return -1;
	/* Peers are compared by their IPv4 address, so their networks are kept that way too. */
	if (out->family == AF_INET6 && out->bits >= 96 &&
		memcmp(out->bytes, v4_mapped, sizeof(v4_mapped)) == 0) {
		out->family = AF_INET;
		out->bits = (uint8_t)(out->bits - 96);
		memmove(out->bytes, out->bytes + 12, 4);
		memset(out->bytes + 4, 0, 12);
	}
	return 0;
}

bool
addr_net_has(const struct addr_net *net, const struct sockaddr *sa)
{
	uint8_t family;
	const uint8_t *bytes;
	unsigned whole = net->bits / 8;
	unsigned rest = net->bits % 8;

	if (net->family == AF_UNIX)
		return sa->sa_family == AF_UNIX;
	if (!ip_bytes(sa, &family, &bytes) || family != net->family)
		return false;
	if (memcmp(bytes, net->bytes, whole) != 0)
		return false;
	return rest == 0 || ((bytes[whole] ^ net->bytes[whole]) & (uint8_t)(0xff00 >> rest)) == 0;
}

bool
addr_nets_have(const struct addr_net *nets, size_t n, const struct sockaddr *sa)
{
	for (size_t i = 0; i < n; i++)
		if (addr_net_has(&nets[i], sa))
			return true;
	return false;
}
