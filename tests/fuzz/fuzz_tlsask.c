/*
 * fuzz_tlsask: what decodes lies inside the message and says the same when it is written again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/tlsask.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_inside(struct slice s, const char *p, size_t n)
{
	assert(s.n <= TLSASK_TEXT_MAX);
	assert(s.p >= p && s.n <= n && (size_t)(s.p - p) <= n - s.n);
	for (size_t i = 0; i < s.n; i++)
		assert((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
}

static void
as_ask(const char *p, size_t n)
{
	struct tlsask a;
	const char *reason = "";
	char out[TLSASK_MAX];

	if (!tlsask_decode(p, n, &a, &reason)) {
		assert(reason != NULL && a.policy.n == 0 && a.host.n == 0);
		return;
	}
	check_inside(a.policy, p, n);
	check_inside(a.host, p, n);
	assert(tlsask_encode(&a, out, sizeof(out)) == n && memcmp(out, p, n) == 0);
}

static void
as_refusal(const char *p, size_t n)
{
	struct tlsask_refusal r;
	const char *reason = "";
	char out[TLSASK_MAX];

	if (!tlsask_decode_refusal(p, n, &r, &reason)) {
		assert(reason != NULL && r.detail.n == 0);
		return;
	}
	check_inside(r.detail, p, n);
	assert(tlsask_is_refusal(p, n) && tlsask_word(r.why) != NULL);
	assert(tlsask_encode_refusal(&r, out, sizeof(out)) == n && memcmp(out, p, n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	assert(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	as_ask(copy, size);
	as_refusal(copy, size);
	free(copy);
	return 0;
}
