/* area: tlsd */
/*
 * A ClientHello before TLS reads it, whole and in two pieces: both ways must come to the same.
 */
#include <assert.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "tlsd/hello.h"
#include "tlsd/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
is_inside(struct slice s, const uint8_t *p, size_t n, const uint8_t *scratch)
{
	const uint8_t *at = (const uint8_t *)s.p;

	if (s.n > 0)
		assert((at >= p && at + s.n <= p + n) ||
			(at >= scratch && at + s.n <= scratch + HELLO_MAX));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t scratch[HELLO_MAX];
	struct hello_scan whole = { .record = 0 };
	struct hello_scan parts = { .record = 0 };
	enum hello_result r = HELLO_MORE;
	enum hello_result again = HELLO_MORE;
	struct hello h;

	for (size_t i = 0; i <= n && again == HELLO_MORE; i++) {
		uint8_t *some = xmalloc(i > 0 ? i : 1); /* of the exact size */

		memcpy(some, data, i);
		again = hello_scan(&parts, some, i);
		free(some);
		if (i == 4096)
			break; /* quadratic, as no caller is */
	}

	uint8_t *copy = xmalloc(n > 0 ? n : 1);

	memcpy(copy, data, n);
	r = hello_scan(&whole, copy, n);
	assert(n > 4096 || r == again || again == HELLO_NONE);
	if (r == HELLO_WHOLE && hello_read(&whole, copy, scratch, &h)) {
		is_inside(h.name, copy, n, scratch);
		is_inside(h.alpn, copy, n, scratch);
		assert(h.name.n == 0 || sni_is_plain(h.name));
		(void)hello_offers_only(&h, "acme-tls/1");
	}
	free(copy);
	return 0;
}
