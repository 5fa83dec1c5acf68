/*
 * forward_cert: a table of facts and the names that the configuration gives them. Of a certificate
 * that was not verified only what cannot mislead is told: that it failed, its fingerprint, and the
 * certificate itself for servers that judge it on their own.
 */
#include "routerd/forward_cert.h"

#include <assert.h>
#include <stddef.h>

#include "routerd/alike.h"

/* What a fact is called and where it stands. */
struct fact {
	size_t name;  /* in struct clientcertcfg */
	size_t value; /* in struct proxy_cert */
};

static const struct fact facts[] = {
	{ offsetof(struct clientcertcfg, subject), offsetof(struct proxy_cert, subject) },
	{ offsetof(struct clientcertcfg, issuer), offsetof(struct proxy_cert, issuer) },
	{ offsetof(struct clientcertcfg, serial), offsetof(struct proxy_cert, serial) },
	{ offsetof(struct clientcertcfg, fingerprint), offsetof(struct proxy_cert, fingerprint) },
	{ offsetof(struct clientcertcfg, san), offsetof(struct proxy_cert, san) },
	{ offsetof(struct clientcertcfg, not_before), offsetof(struct proxy_cert, not_before) },
	{ offsetof(struct clientcertcfg, not_after), offsetof(struct proxy_cert, not_after) },
};
enum { FACTS = sizeof(facts) / sizeof(*facts) };

/* What servers and their frameworks call such fields, up to what follows: whatever we send, nobody
 * else's of these gets through. */
static const char *const families[] = { "x-ssl-client-", "ssl-client-", "x-client-cert",
	"client-cert", "x-ssl-cert", "x-tls-client-", NULL };

static const char *
name_at(const struct clientcertcfg *cfg, size_t offset)
{
	return *(char *const *)(const void *)((const char *)cfg + offset);
}

/* --- claims ------------------------------------------------------------------------------- */

static bool
is_name(struct slice name, const char *word, bool *is_exact)
{
	if (word[0] == '\0' || !alike(name, slice_str(word)))
		return false;
	*is_exact |= slice_caseeq(name, slice_str(word));
	return true;
}

bool
forward_cert_is_claim(const struct clientcertcfg *cfg, struct slice name, bool *is_exact)
{
	bool is = is_name(name, cfg->verify, is_exact);

	is |= is_name(name, cfg->cert, is_exact);
	for (size_t i = 0; i < FACTS; i++)
		is |= is_name(name, name_at(cfg, facts[i].name), is_exact);
	if (cfg->rfc9440)
		is |= is_name(name, "Client-Cert", is_exact);
	for (size_t i = 0; !is && families[i] != NULL; i++)
		is = alike_starts(name, slice_str(families[i]));
	return is;
}

bool
forward_cert_judge(const struct clientcertcfg *cfg, struct msg *m, bool peer_is_trusted)
{
	bool is_told = false;

	for (unsigned i = 0; peer_is_trusted && i < m->field_count; i++)
		is_told |= cfg->verify[0] != '\0' &&
			slice_caseeq(m->fields[i].name, slice_str(cfg->verify));
	for (unsigned i = 0; i < m->field_count; i++) {
		struct field *f = &m->fields[i];
		bool is_exact = false;

		if (f->id != FIELD_OTHER || !forward_cert_is_claim(cfg, f->name, &is_exact))
			continue;
		if (is_told && is_exact)
			f->flags &= (uint16_t)~MSG_FIELD_DROP; /* cannot be nominated away */
		else
			f->flags |= MSG_FIELD_DROP;
	}
	return is_told;
}

/* --- what we say -------------------------------------------------------------------------- */

/* Behind all known fields, so that no index has to be kept. */
static void
add(struct msg *m, const char *name, struct slice value)
{
	if (name[0] == '\0' || value.n == 0)
		return;
	assert(m->field_count < m->field_cap);
	m->fields[m->field_count++] =
		(struct field){ .name = slice_str(name), .value = value, .id = FIELD_OTHER };
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One group of up to three bytes. */
static void
encode(const unsigned char *p, size_t n, char out[4])
{
	unsigned v = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

	out[0] = base64[v >> 18];
	out[1] = base64[v >> 12 & 63];
	out[2] = n > 1 ? base64[v >> 6 & 63] : '=';
	out[3] = n > 2 ? base64[v & 63] : '=';
}

struct slice
forward_cert_sequence(struct slice der, struct arena *a)
{
	char *text;
	char *to;

	if (der.n == 0)
		return slice_make(NULL, 0);
	text = to = arena_alloc(a, der.n / 3 * 4 + 6);
	*to++ = ':';
	for (size_t i = 0; i < der.n; i += 3, to += 4)
		encode((const unsigned char *)der.p + i, der.n - i, to);
	*to++ = ':';
	return slice_make(text, (size_t)(to - text));
}

static char *
put(char *to, const char *s)
{
	size_t n = strlen(s);

	memcpy(to, s, n);
	return to + n;
}

static char *
put_escaped(char *to, char c)
{
	switch (c) {
	case '+': return put(to, "%2B");
	case '/': return put(to, "%2F");
	case '=': return put(to, "%3D");
	default: *to = c; return to + 1;
	}
}

struct slice
forward_cert_pem(struct slice der, struct arena *a)
{
	static const char begin[] = "-----BEGIN%20CERTIFICATE-----%0A";
	static const char end[] = "-----END%20CERTIFICATE-----%0A";
	size_t groups = (der.n + 2) / 3;
	char *text;
	char *to;

	if (der.n == 0)
		return slice_make(NULL, 0);
	text = arena_alloc(a, sizeof(begin) + sizeof(end) + groups * 12 + groups / 16 * 3 + 3);
	to = put(text, begin);

	for (size_t i = 0; i < groups; i++) {
		char four[4];

		encode((const unsigned char *)der.p + 3 * i, der.n - 3 * i, four);
		for (unsigned j = 0; j < 4; j++)
			to = put_escaped(to, four[j]);
		if (i % 16 == 15 || i + 1 == groups)
			to = put(to, "%0A");
	}
	to = put(to, end);
	return slice_make(text, (size_t)(to - text));
}

struct slice
forward_cert_verify(const struct proxy_cert *cert, bool is_verified, struct arena *a)
{
	if (cert == NULL)
		return SLICE("NONE");
	if (is_verified)
		return SLICE("SUCCESS");
	if (cert->failure.n == 0)
		return SLICE("FAILED");
	return slice_str(arena_printf(a, "FAILED:%.*s", SLICE_ARG(cert->failure)));
}

void
forward_cert_add(const struct clientcertcfg *cfg, struct msg *m, const struct proxy_cert *cert,
	bool is_verified, struct arena *a)
{
	add(m, cfg->verify, forward_cert_verify(cert, is_verified, a));
	if (cert == NULL)
		return;
	for (size_t i = 0; is_verified && i < FACTS; i++)
		add(m, name_at(cfg, facts[i].name),
			*(const struct slice *)(const void *)((const char *)cert + facts[i].value));
	if (!is_verified)
		add(m, cfg->fingerprint, cert->fingerprint);
	if (cfg->cert[0] != '\0')
		add(m, cfg->cert, forward_cert_pem(cert->der, a));
	if (cfg->rfc9440 && is_verified)
		add(m, "Client-Cert", forward_cert_sequence(cert->der, a));
}
