/* area: healthd */
/*
 * Answers to grpc.health.v1. Input: a byte that chooses the grpc-status, then the body, which comes
 * whole and in pieces: the verdict must be the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "healthd/grpccheck.h"
#include "libcommon/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
judge(const uint8_t *data, size_t size, size_t piece, char text[static 32], const char **reason)
{
	static const char *const statuses[] = { "0", "5", "12", "999" };
	struct grpccheck g;

	grpccheck_init(&g);
	grpccheck_field(&g, SLICE(":status"), SLICE("200"));
	grpccheck_field(&g, SLICE("content-type"), SLICE("application/grpc"));
	for (size_t at = 1; at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		char *copy = xmalloc(n);

		memcpy(copy, data + at, n);
		grpccheck_data(&g, copy, n);
		free(copy);
	}
	grpccheck_field(&g, SLICE("grpc-status"), slice_str(statuses[data[0] & 3]));
	return grpccheck_judge(&g, text, reason);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[2][32];
	const char *reason[2];
	bool is_good;

	if (size < 1)
		return 0;
	is_good = judge(data, size, size, text[0], &reason[0]);
	assert(is_good == (reason[0][0] == '\0'));
	/* What is too long is so by its first piece, and in pieces by the last. */
	if (size <= 5 + GRPCCHECK_ANSWER_MAX) {
		assert(judge(data, size, 1, text[1], &reason[1]) == is_good);
		assert(strcmp(reason[0], reason[1]) == 0);
	}
	return 0;
}
