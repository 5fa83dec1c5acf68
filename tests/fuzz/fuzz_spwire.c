/* area: libcommon */
/* Frames read in one piece and cut in two give the same messages. */
#include <stdlib.h>
#include <string.h>

#include "libcommon/spwire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
	size_t messages;
	size_t bytes;
	bool is_bad;
};

/* p[0..n) must be memory of its own, so that a byte too far is seen. Returns how many were used. */
static size_t
drain(struct spwire *w, const char *p, size_t n, struct tally *t)
{
	size_t done = 0;

	while (!t->is_bad) {
		struct slice msg;
		const char *reason = NULL;
		ssize_t used = spwire_next(w, p + done, n - done, &msg, &reason);

		t->is_bad = used < 0;
		if (used <= 0)
			break;
		done += (size_t)used;
		if (msg.p) {
			if (msg.n > w->max)
				abort();
			t->messages++;
			t->bytes += msg.n;
		}
	}
	return done;
}

static struct tally
run(const uint8_t *data, size_t size, size_t cut)
{
	struct spwire w = { .peer = SPWIRE_PUB, .max = 4096 };
	struct tally t = { 0 };
	size_t done = 0;
	size_t ends[2] = { cut, size };

	for (int i = 0; i < 2; i++) {
		size_t n = ends[i] - done;
		char *copy = malloc(n ? n : 1);

		memcpy(copy, data + done, n);
		done += drain(&w, copy, n, &t);
		free(copy);
	}
	return t;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally whole = run(data, size, size);
	struct tally cut = run(data, size, size ? data[size - 1] % size : 0);

	if (whole.messages != cut.messages || whole.bytes != cut.bytes ||
		whole.is_bad != cut.is_bad)
		abort();
	return 0;
}
