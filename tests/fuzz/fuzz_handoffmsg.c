/* area: libcommon */
/*
 * fuzz_handoffmsg: what decodes lies inside the message, obeys every cap, and says the same when it
 * is written again; what does not decode leaves nothing behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/handoffmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)                                                                \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                   \
		}                                                                  \
	} while (0)

static void
check_inside(struct slice s, const char *p, size_t n)
{
	CHECK(s.n <= HANDOFF_BYTES_MAX);
	CHECK(s.p >= p && s.n <= n && (size_t)(s.p - p) <= n - s.n);
}

static void
check_side(const struct handoff_side *a, const struct handoff_side *b)
{
	CHECK(a->seq == b->seq && a->limit == b->limit);
	CHECK(a->limit >= HANDOFF_LIMIT_MIN && a->limit <= HANDOFF_LIMIT_MAX);
	CHECK(memcmp(a->secret, b->secret, sizeof(a->secret)) == 0);
	CHECK(memcmp(a->iv, b->iv, sizeof(a->iv)) == 0);
}

static void
check_rewritten(const struct handoff *h)
{
	char *out = malloc(HANDOFF_MAX);
	struct handoff again;
	const char *reason;

	CHECK(out != NULL);

	size_t n = handoff_encode(h, out, HANDOFF_MAX);

	CHECK(n > 0 && handoff_encode(h, out, n - 1) == 0);
	CHECK(handoff_encode(h, out, n) == n);
	CHECK(handoff_decode(out, n, &again, &reason));
	CHECK(again.serial == h->serial && again.is_resumed == h->is_resumed);
	CHECK(again.keys.suite == h->keys.suite && again.keys.role == h->keys.role);
	CHECK(again.keys.nonce == h->keys.nonce);
	check_side(&h->keys.read, &again.keys.read);
	check_side(&h->keys.write, &again.keys.write);
	CHECK(slice_eq(h->in, again.in) && slice_eq(h->out, again.out));
	CHECK(slice_eq(h->info.authority, again.info.authority));
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

	CHECK(p != NULL);
	memcpy(p, data, size);
	if (handoff_decode(p, size, &h, &reason)) {
		CHECK(size <= HANDOFF_MAX && reason == NULL);
		check_inside(h.in, p, size);
		check_inside(h.out, p, size);
		check_rewritten(&h);
	} else {
		CHECK(reason != NULL && reason[0] != '\0');
		CHECK(h.keys.suite == none.keys.suite && h.in.p == NULL && h.out.p == NULL);
		CHECK(memcmp(h.keys.read.secret, none.keys.read.secret, HANDOFF_SECRET_MAX) == 0);
	}
	free(p);
	return 0;
}
