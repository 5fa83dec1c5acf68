/*
 * grpccheck: the messages of grpc.health.v1: what is asked, and what the answer says. Bytes in, a
 * word out; no socket, no allocation.
 */
#ifndef HEALTHD_GRPCCHECK_H
#define HEALTHD_GRPCCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/poolcfg.h"
#include "libcommon/slice.h"

#define GRPCCHECK_PATH "/grpc.health.v1.Health/Check"
/* Of an answer's message: that is a number. */
#define GRPCCHECK_ANSWER_MAX 64

struct grpccheck {
	char message[5 + GRPCCHECK_ANSWER_MAX];
	size_t message_len;
	bool is_long;
	unsigned http_status;
	bool is_grpc;   /* its content-type says so */
	int64_t status; /* grpc-status; -1: none */
};

void grpccheck_init(struct grpccheck *g);
/* A HealthCheckRequest with its prefix; returns its length. out has room for
 * CHECKCFG_SERVICE_MAX + 8. */
size_t grpccheck_request(const char *service, char *out);
/* A field of the head or the trailers, and bytes of the body. */
void grpccheck_field(struct grpccheck *g, struct slice name, struct slice value);
void grpccheck_data(struct grpccheck *g, const char *p, size_t n);
/* The answer is whole. True: SERVING. Else *reason is a stable word, in `text` where it has a
 * number. */
bool grpccheck_judge(const struct grpccheck *g, char text[static 32], const char **reason);

#endif
