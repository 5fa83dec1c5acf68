/*
 * spill: bytes that a socket would not take at once. The only buffer that a paused flow holds; its
 * memory comes when the socket is full and goes when the last byte has gone.
 */
#ifndef TLSD_SPILL_H
#define TLSD_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spill {
	char *p;
	uint32_t off;
	uint32_t n; /* bytes left, from p + off */
	uint32_t cap;
};

enum spill_result { SPILL_DONE, SPILL_BLOCKED, SPILL_FAILED };

/* Bytes that may be held at most: what one read can give, twice. */
#define SPILL_MAX (1u << 20)

/* Append a copy; false when it would grow beyond SPILL_MAX. */
bool spill_add(struct spill *s, const char *p, size_t n);
/* Send what is held; memory is released when all is gone. FAILED: see errno. */
enum spill_result spill_send(struct spill *s, int fd);
/* Send p[0..n) straight away and hold what does not go. Nothing may be held before. */
enum spill_result spill_send_new(struct spill *s, int fd, const char *p, size_t n);
void spill_fini(struct spill *s);

#endif
