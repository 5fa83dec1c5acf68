/* area: tlsd */
/*
 * A client's certificate as DER: whatever OpenSSL takes for one, what is told of it is printable
 * and lies in the room for it.
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "tlsd/clientfacts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check(struct slice s, const char *room, size_t cap)
{
	if (s.n == 0)
		return;
	if (s.p < room || s.n > cap || (size_t)(s.p - room) > cap - s.n)
		abort();
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const unsigned char *p = data;
	X509 *x = n < 100000 ? d2i_X509(NULL, &p, (long)n) : NULL;
	struct clientfacts *room = xcalloc(1, sizeof(*room));
	struct proxy_cert c;

	if (x != NULL) {
		clientfacts_read(x, n % 3 == 0 ? X509_V_ERR_CERT_UNTRUSTED : X509_V_OK, room, &c);
		check(c.cn, room->cn, sizeof(room->cn));
		check(c.subject, room->subject, sizeof(room->subject));
		check(c.issuer, room->issuer, sizeof(room->issuer));
		check(c.serial, room->serial, sizeof(room->serial));
		check(c.fingerprint, room->fingerprint, sizeof(room->fingerprint));
		check(c.san, room->san, sizeof(room->san));
		check(c.not_before, room->not_before, sizeof(room->not_before));
		check(c.not_after, room->not_after, sizeof(room->not_after));
		if (c.der.n > sizeof(room->der))
			abort();
	}
	X509_free(x);
	free(room);
	ERR_clear_error();
	return 0;
}
