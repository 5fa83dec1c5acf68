/* area: libcommon */
/*
 * fuzz_handoffmsg: what decodes lies inside the message, obeys every cap, and says the same when it
 * is written again; what does not decode leaves nothing behind.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/handoffmsg.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_inside(struct slice s, const char *p, size_t n)
{
	assert(s.n <= HANDOFF_BYTES_MAX);
	assert(s.p >= p && s.n <= n && (size_t)(s.p - p) <= n - s.n);
}

static void
check_side(const struct handoff_side *a, const struct handoff_side *b)
{
	assert(a->seq == b->seq && a->limit == b->limit);
	assert(a->limit >= HANDOFF_LIMIT_MIN && a->limit <= HANDOFF_LIMIT_MAX);
	assert(memcmp(a->secret, b->secret, sizeof(a->secret)) == 0);
	assert(memcmp(a->iv, b->iv, sizeof(a->iv)) == 0);
}

static void
check_rewritten(const struct handoff *h)
{
	char *out = malloc(HANDOFF_MAX);
	struct handoff again;
	const char *reason;

	assert(out != NULL);

	size_t n = handoff_encode(h, out, HANDOFF_MAX);

	assert(n > 0 && handoff_encode(h, out, n - 1) == 0);
	assert(handoff_encode(h, out, n) == n);
	assert(handoff_decode(out, n, &again, &reason));
	assert(again.serial == h->serial && again.is_resumed == h->is_resumed);
	assert(again.keys.suite == h->keys.suite && again.keys.role == h->keys.role);
	assert(again.keys.nonce == h->keys.nonce);
	check_side(&h->keys.read, &again.keys.read);
	check_side(&h->keys.write, &again.keys.write);
	assert(slice_eq(h->in, again.in) && slice_eq(h->out, again.out));
	assert(slice_eq(h->info.authority, again.info.authority));
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct handoff none = { 0 };
	const char *reason = "";
	struct handoff h;

	if (size > HANDOFF_MAX + 1)
		return 0;

	char *p = malloc(size + 1);

	assert(p != NULL);
	memcpy(p, data, size);
	if (handoff_decode(p, size, &h, &reason)) {
		assert(size <= HANDOFF_MAX && reason == NULL);
		check_inside(h.in, p, size);
		check_inside(h.out, p, size);
		check_rewritten(&h);
	} else {
		assert(reason != NULL && reason[0] != '\0');
		assert(h.keys.suite == none.keys.suite && h.in.p == NULL && h.out.p == NULL);
		assert(memcmp(h.keys.read.secret, none.keys.read.secret, HANDOFF_SECRET_MAX) == 0);
	}
	free(p);
	return 0;
}
