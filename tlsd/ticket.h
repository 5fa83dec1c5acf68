/*
 * ticket: the keys that session tickets are sealed with. One set per process, shared by workers
 * and generations; where several processes share keys, see ticketfile.h. A key seals for one period
 * and opens for one more; then it is gone, and with it what was recorded of sessions that it could
 * open. Key memory is locked and kept out of cores.
 */
#ifndef TLSD_TICKET_H
#define TLSD_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ticket_keys;

#define TICKET_NAME 16

/* One key, copied out; the user cleanses it. */
struct ticket_key {
	uint8_t name[TICKET_NAME];
	uint8_t aes[32];
	uint8_t mac[32];
};

#define TICKET_KEYS_MAX 4

/* A new one; false when there is no randomness. */
bool ticket_key_make(struct ticket_key *k);

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
/*
 * Keys from elsewhere, which several processes share, take the place of our own: `current` seals,
 * the others open. true when another one seals than before. Their schedule is the caller's: no
 * ticket_keys_turn while they are in force; a later one begins anew from them.
 */
bool ticket_keys_share(struct ticket_keys *t, const struct ticket_key *const *keys, size_t n,
	size_t current, int64_t now_ms);
/* How long until ticket_keys_turn has something to do. */
int64_t ticket_keys_wait_ms(struct ticket_keys *t, int64_t now_ms);

/* Thread-safe. */
void ticket_key_seal(struct ticket_keys *t, struct ticket_key *out);
/* 1: the current key (or the next, which another process uses already), 2: an older one (open, then
 * renew), 0: unknown. */
int ticket_key_open(struct ticket_keys *t, const uint8_t name[TICKET_NAME], struct ticket_key *out);

/* How many keys there are that seal or have sealed, and the current one's age: for status. */
unsigned ticket_keys_count(struct ticket_keys *t);
int64_t ticket_keys_age_ms(struct ticket_keys *t, int64_t now_ms);

#endif
