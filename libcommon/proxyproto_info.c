/*
 * proxyproto_info: all texts that are told of a connection, walked as one list: who keeps them
 * beyond the bytes that they were read from moves them together.
 */
#include "libcommon/proxyproto_parts.h"

#include <stddef.h>

/* The order is that of their types. */
static const size_t cert_facts[] = {
	offsetof(struct proxy_cert, failure),
	offsetof(struct proxy_cert, subject),
	offsetof(struct proxy_cert, issuer),
	offsetof(struct proxy_cert, serial),
	offsetof(struct proxy_cert, fingerprint),
	offsetof(struct proxy_cert, san),
	offsetof(struct proxy_cert, not_before),
	offsetof(struct proxy_cert, not_after),
};
_Static_assert(sizeof(cert_facts) / sizeof(*cert_facts) == PROXY_FACTS, "each has a place");

struct slice *
proxy_fact(struct proxy_cert *c, size_t i)
{
	return (struct slice *)(void *)((char *)c + cert_facts[i]);
}

static struct slice *
text(struct proxy_info *info, size_t i)
{
	struct slice *fixed[] = { &info->alpn, &info->authority, &info->unique_id,
		&info->tls_version, &info->cipher, &info->cert.cn, &info->cert.der };
	const size_t n = sizeof(fixed) / sizeof(*fixed);

	if (i < n)
		return fixed[i];
	return i - n < PROXY_FACTS ? proxy_fact(&info->cert, i - n) : NULL;
}

size_t
proxy_text_len(const struct proxy_info *info)
{
	struct proxy_info copy = *info;
	struct slice *s;
	size_t n = 0;

	for (size_t i = 0; (s = text(&copy, i)) != NULL; i++)
		n += s->n;
	return n;
}

void
proxy_text_move(struct proxy_info *info, char *to)
{
	struct slice *s;

	for (size_t i = 0; (s = text(info, i)) != NULL; i++) {
		if (s->n > 0)
			memcpy(to, s->p, s->n);
		if (s->p != NULL)
			s->p = to;
		to += s->n;
	}
}

bool
proxy_text_is_sane(const struct proxy_info *info)
{
	struct proxy_info copy = *info;
	struct slice *s;

	for (size_t i = 0; (s = text(&copy, i)) != NULL; i++)
		if (s->n > PROXY_MAX)
			return false;
	return info->unique_id.n <= UNIQUE_ID_MAX;
}
