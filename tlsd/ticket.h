/*
 * ticket: the keys that session tickets are sealed with. One set per process, shared by workers
 * and generations. A key seals for one period and opens for one more; then it is gone, and with it
 * what was recorded of sessions that it could open. Key memory is locked and kept out of cores.
 */
#ifndef TLSD_TICKET_H
#define TLSD_TICKET_H

#include <stdbool.h>
#include <stdint.h>

struct ticket_keys;

#define TICKET_NAME 16

/* One key, copied out; the user cleanses it. */
struct ticket_key {
	uint8_t name[TICKET_NAME];
	uint8_t aes[32];
	uint8_t mac[32];
};

/* NULL with errno when memory or randomness is lacking. */
struct ticket_keys *ticket_keys_new(int64_t now_ms, int64_t rotate_ms);
void ticket_keys_free(struct ticket_keys *t);
/* The period changes; the current key's end moves with it. */
void ticket_keys_set(struct ticket_keys *t, int64_t rotate_ms);
/*
 * Look at the clock: makes a new key when the current one has served its period, and forgets the
 * one before when its second period is over. true when something changed. After a long sleep both
 * may go.
 */
bool ticket_keys_turn(struct ticket_keys *t, int64_t now_ms);
/* How long until ticket_keys_turn has something to do. */
int64_t ticket_keys_wait_ms(struct ticket_keys *t, int64_t now_ms);

/* Thread-safe. */
void ticket_key_seal(struct ticket_keys *t, struct ticket_key *out);
/* 1: the current key, 2: the one before (open, then renew), 0: unknown. */
int ticket_key_open(struct ticket_keys *t, const uint8_t name[TICKET_NAME], struct ticket_key *out);

/* How many keys open now (1 or 2), and the current one's age: for status. */
unsigned ticket_keys_count(struct ticket_keys *t);
int64_t ticket_keys_age_ms(struct ticket_keys *t, int64_t now_ms);

#endif
