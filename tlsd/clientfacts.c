/*
 * clientfacts: OpenSSL parses, we print. Distinguished names as RFC 4514 (which escapes what is no
 * ASCII); alternative names with all escaped that could make one name look like two.
 */
#include "tlsd/clientfacts.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "libcommon/addr.h"
#include "libcommon/units.h"

static struct slice
nothing(void)
{
	return slice_make(NULL, 0);
}

static bool
is_printable(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < ' ' || p[i] > '~')
			return false;
	return true;
}

/* All that was written to mem, if it fits and is clean. Frees mem. */
static struct slice
take_text(BIO *mem, char *room, size_t cap)
{
	char *p;
	long n = BIO_get_mem_data(mem, &p);
	bool is_good = n > 0 && (size_t)n <= cap && is_printable(p, (size_t)n);

	if (is_good)
		memcpy(room, p, (size_t)n);
	BIO_free(mem);
	return is_good ? slice_make(room, (size_t)n) : nothing();
}

static struct slice
name_text(const X509_NAME *name, char *room, size_t cap)
{
	BIO *mem = BIO_new(BIO_s_mem());

	if (mem == NULL || X509_NAME_print_ex(mem, name, 0, XN_FLAG_RFC2253) < 0) {
		BIO_free(mem);
		return nothing();
	}
	return take_text(mem, room, cap);
}

/* The last common name, as the most specific one. */
static struct slice
common_name(const X509_NAME *name, char *room, size_t cap)
{
	int at = -1;
	int i;
	unsigned char *utf8 = NULL;
	struct slice s = nothing();

	while ((i = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
		at = i;
	if (at < 0)
		return s;

	int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));

	if (n > 0 && (size_t)n <= cap && is_printable((char *)utf8, (size_t)n)) {
		memcpy(room, utf8, (size_t)n);
		s = slice_make(room, (size_t)n);
	}
	OPENSSL_free(utf8);
	return s;
}

/* --- alternative names -------------------------------------------------------------------- */

/* What may stand as it is: no comma, no quote, no escape, no space. */
static bool
is_safe(unsigned char c)
{
	return c > ' ' && c <= '~' && c != ',' && c != '%' && c != '"' && c != '\\' && c != ';';
}

static void
put_escaped(BIO *mem, const char *kind, const ASN1_STRING *s)
{
	const unsigned char *p = ASN1_STRING_get0_data(s);

	BIO_printf(mem, "%s:", kind);
	for (int i = 0; i < ASN1_STRING_length(s); i++)
		if (is_safe(p[i]))
			BIO_write(mem, p + i, 1);
		else
			BIO_printf(mem, "%%%02X", p[i]);
}

static void
put_address(BIO *mem, const ASN1_OCTET_STRING *ip)
{
	struct sockaddr_storage ss = { .ss_family = ip->length == 4 ? AF_INET : AF_INET6 };
	char text[ADDR_TEXT];

	if (ip->length == 4)
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, ip->data, 4);
	else
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, ip->data, 16);
	addr_format_host((struct sockaddr *)&ss, text);
	BIO_printf(mem, "IP:%s", text);
}

/* false: of a kind that has no text. */
static bool
is_told(const GENERAL_NAME *g)
{
	return g->type == GEN_DNS || g->type == GEN_EMAIL || g->type == GEN_URI ||
		(g->type == GEN_IPADD &&
			(g->d.iPAddress->length == 4 || g->d.iPAddress->length == 16));
}

static void
put_name(BIO *mem, const GENERAL_NAME *g)
{
	switch (g->type) {
	case GEN_DNS: put_escaped(mem, "DNS", g->d.dNSName); break;
	case GEN_EMAIL: put_escaped(mem, "email", g->d.rfc822Name); break;
	case GEN_URI: put_escaped(mem, "URI", g->d.uniformResourceIdentifier); break;
	default: put_address(mem, g->d.iPAddress); break;
	}
}

static struct slice
alternative_names(X509 *x, char *room, size_t cap)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	BIO *mem = BIO_new(BIO_s_mem());
	bool has_any = false;

	for (int i = 0; mem != NULL && i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);

		if (!is_told(g))
			continue;
		if (has_any)
			BIO_write(mem, ",", 1);
		put_name(mem, g);
		has_any = true;
	}
	GENERAL_NAMES_free(all);
	return mem != NULL ? take_text(mem, room, cap) : nothing();
}

/* --- numbers ------------------------------------------------------------------------------ */

static struct slice
put_hex(char *room, size_t cap, const unsigned char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	if (n == 0 || 2 * n > cap)
		return nothing();
	for (size_t i = 0; i < n; i++) {
		room[2 * i] = digits[p[i] >> 4];
		room[2 * i + 1] = digits[p[i] & 15];
	}
	return slice_make(room, 2 * n);
}

static struct slice
serial_text(const X509 *x, char *room, size_t cap)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);

	return serial->length > 0 ? put_hex(room, cap, serial->data, (size_t)serial->length)
				  : nothing();
}

static struct slice
time_text(const ASN1_TIME *t, char room[static UNITS_TIME])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return nothing();
	units_format_time((int64_t)timegm(&tm), room);
	return slice_str(room);
}

static struct slice
der_of(X509 *x, unsigned char *room, size_t cap)
{
	int n = i2d_X509(x, NULL);

	if (n <= 0 || (size_t)n > cap)
		return nothing();
	i2d_X509(x, &room);
	return slice_make((char *)room - n, (size_t)n);
}

void
clientfacts_read(X509 *x, long verify_error, struct clientfacts *room, struct proxy_cert *out)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	*out = (struct proxy_cert){ .der = der_of(x, room->der, sizeof(room->der)) };
	if (X509_digest(x, EVP_sha256(), md, &n) == 1)
		out->fingerprint = put_hex(room->fingerprint, sizeof(room->fingerprint), md, n);
	if (verify_error != X509_V_OK) {
		out->failure = slice_str(X509_verify_cert_error_string(verify_error));
		ERR_clear_error();
		return;
	}
	out->cn = common_name(X509_get_subject_name(x), room->cn, sizeof(room->cn));
	out->subject = name_text(X509_get_subject_name(x), room->subject, sizeof(room->subject));
	out->issuer = name_text(X509_get_issuer_name(x), room->issuer, sizeof(room->issuer));
	out->serial = serial_text(x, room->serial, sizeof(room->serial));
	out->san = alternative_names(x, room->san, sizeof(room->san));
	out->not_before = time_text(X509_get0_notBefore(x), room->not_before);
	out->not_after = time_text(X509_get0_notAfter(x), room->not_after);
	ERR_clear_error();
}
