/*
 * ticketfile: ticket keys that several tlsd share, in state_dir/tickets/keys. Each key has the time
 * from which it seals; the next one stands there a whole period before its time comes, so that all
 * change at once, without a word to each other. Who comes first at such a time adds the next key.
 * Times are the wall clock's, in milliseconds since 1970.
 */
#ifndef TLSD_TICKETFILE_H
#define TLSD_TICKETFILE_H

#include "libcommon/err.h"
#include "libcommon/slice.h"
#include "tlsd/ticket.h"

struct ticket_book {
	struct {
		int64_t from_ms;
		struct ticket_key key;
	} v[TICKET_KEYS_MAX]; /* by from_ms */
	size_t n;
};

#define TICKETFILE_BYTES 512 /* at most */

/* ---- pure ---- */

/* What the clock asks for: forget keys that have sealed and opened, have one that seals now and one
 * that will next. true when something changed. -1 with no change when there is no randomness. */
int ticket_book_advance(struct ticket_book *b, int64_t now_ms, int64_t rotate_ms);
/* Which one seals at that time; n when none does. */
size_t ticket_book_current(const struct ticket_book *b, int64_t now_ms);
/* How long until another one does, at least 1. */
int64_t ticket_book_wait_ms(const struct ticket_book *b, int64_t now_ms);
size_t ticket_book_encode(const struct ticket_book *b, uint8_t out[static TICKETFILE_BYTES]);
/* -1 when the bytes are not exactly such a file. */
int ticket_book_decode(struct ticket_book *b, const uint8_t *p, size_t n);

/* ---- the file ---- */

/*
 * Read the book in this folder, advance it, and write it when that changed it, all under a lock.
 * -1 with err: the file cannot be used (others may read it, no folder, ...). What is garbled is
 * begun anew. The caller cleanses *b. May wait for another tlsd for as long as that takes a write.
 */
int ticketfile_turn(const char *folder, int64_t now_ms, int64_t rotate_ms, struct ticket_book *b,
	struct err *err);

#endif
