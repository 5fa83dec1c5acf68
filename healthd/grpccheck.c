/*
 * grpccheck: length-prefixed messages of gRPC, and as much of protocol buffers as
 * HealthCheckResponse needs: field 1 is an enumeration; other fields are skipped.
 */
#include "healthd/grpccheck.h"

#include <stdio.h>
#include <string.h>

#define PREFIX 5

enum serving { UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN };

void
grpccheck_init(struct grpccheck *g)
{
	*g = (struct grpccheck){ .status = -1 };
}

size_t
grpccheck_request(const char *service, char *out)
{
	size_t n = strlen(service);
	size_t head = n == 0 ? 0 : n < 128 ? 2 : 3;
	char *at = out + PREFIX;

	memset(out, 0, PREFIX);
	out[3] = (char)((head + n) >> 8);
	out[4] = (char)(head + n);
	if (n == 0)
		return PREFIX;
	*at++ = 0x0a; /* field 1, of bytes */
	if (n >= 128)
		*at++ = (char)(n % 128 | 128);
	*at++ = (char)(n >= 128 ? n / 128 : n);
	memcpy(at, service, n);
	return PREFIX + head + n;
}

void
grpccheck_field(struct grpccheck *g, struct slice name, struct slice value)
{
	uint64_t n;

	if (slice_eq(name, SLICE(":status")) && slice_to_u64(value, &n) && n < 600)
		g->http_status = (unsigned)n;
	else if (slice_eq(name, SLICE("content-type")))
		g->is_grpc = slice_starts(value, SLICE("application/grpc"));
	else if (slice_eq(name, SLICE("grpc-status")))
		g->status = slice_to_u64(value, &n) && n <= 16 ? (int64_t)n : 2;
}

void
grpccheck_data(struct grpccheck *g, const char *p, size_t n)
{
	if (n > sizeof(g->message) - g->message_len) {
		g->is_long = true;
		return;
	}
	memcpy(g->message + g->message_len, p, n);
	g->message_len += n;
}

static bool
varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
		uint8_t b = *(*at)++;

		*out |= (uint64_t)(b & 127) << shift;
		if (b < 128)
			return true;
	}
	return false;
}

static bool
skip(const uint8_t **at, const uint8_t *end, uint64_t n)
{
	if (n > (uint64_t)(end - *at))
		return false;
	*at += n;
	return true;
}

/* False: that is no such message. */
static bool
read_serving(const struct grpccheck *g, uint64_t *serving)
{
	const uint8_t *at = (const uint8_t *)g->message;
	const uint8_t *end = at + g->message_len;
	uint64_t key;
	uint64_t n;

	*serving = UNKNOWN;
	/* Compressed it cannot be: we have not said that we could read that. */
	if (g->message_len < PREFIX || at[0] != 0 || at[1] != 0 || at[2] != 0 ||
		(size_t)(at[3] << 8 | at[4]) != g->message_len - PREFIX)
		return false;
	at += PREFIX;
	while (at < end) {
		if (!varint(&at, end, &key))
			return false;
		switch (key & 7) {
		case 0:
			if (!varint(&at, end, &n))
				return false;
			if (key >> 3 == 1)
				*serving = n;
			break;
		case 1:
			if (!skip(&at, end, 8))
				return false;
			break;
		case 2:
			if (!varint(&at, end, &n) || !skip(&at, end, n))
				return false;
			break;
		case 5:
			if (!skip(&at, end, 4))
				return false;
			break;
		default: return false;
		}
	}
	return true;
}

static const char *
word_of(uint64_t serving)
{
	switch (serving) {
	case UNKNOWN: return "grpc_unknown";
	case NOT_SERVING: return "grpc_not_serving";
	case SERVICE_UNKNOWN: return "grpc_service_unknown";
	default: return "bad_answer";
	}
}

bool
grpccheck_judge(const struct grpccheck *g, char text[static 32], const char **reason)
{
	uint64_t serving;

	*reason = text;
	if (g->http_status != 200) {
		snprintf(text, 32, "http_%u", g->http_status);
	} else if (!g->is_grpc || g->status < 0) {
		*reason = "no_grpc";
	} else if (g->status == 5) {
		*reason = word_of(SERVICE_UNKNOWN); /* NOT_FOUND says the same */
	} else if (g->status != 0) {
		snprintf(text, 32, "grpc_status_%d", (int)g->status);
	} else if (g->is_long || !read_serving(g, &serving)) {
		*reason = "bad_answer";
	} else if (serving != SERVING) {
		*reason = word_of(serving);
	} else {
		*reason = "";
		return true;
	}
	return false;
}
