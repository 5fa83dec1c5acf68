/*
 * wheel: see the header.
 *
 * Invariant: every linked deadline has tick < linked_tick <= tick + WHEEL_SLOTS - 1, and
 * linked_tick is never after its due time. So moving a due time away needs no relinking.
 */
#include "libcommon/wheel.h"

#include <stddef.h>

void
wheel_unlink(struct deadline *d)
{
	*d->link = d->next;
	if (d->next != NULL)
		d->next->link = d->link;
	d->next = NULL;
	d->link = NULL;
}

static void
push(struct deadline **head, struct deadline *d)
{
	d->next = *head;
	d->link = head;
	if (d->next != NULL)
		d->next->link = &d->next;
	*head = d;
}

void
wheel_link(struct wheel *w, struct deadline *d)
{
	uint64_t tick = (d->due_ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS;
	uint64_t last = w->tick + WHEEL_SLOTS - 1;

	if (tick > last)
		tick = last;
	d->linked_tick = tick;

	size_t slot = tick % WHEEL_SLOTS;

	push(&w->slots[slot], d);
	w->occupied[slot / 64] |= 1ULL << (slot % 64);
}

uint64_t
wheel_next(const struct wheel *w)
{
	uint64_t tick = w->tick + 1;
	uint64_t end = w->tick + WHEEL_SLOTS;

	while (tick < end) {
		size_t slot = tick % WHEEL_SLOTS;
		uint64_t bits = w->occupied[slot / 64] >> (slot % 64);

		if (bits != 0) {
			tick += (uint64_t)__builtin_ctzll(bits);
			return tick < end ? tick : NO_TICK;
		}
		tick += 64 - slot % 64;
	}
	return NO_TICK;
}

/* Look at everything in one slot. fn may unlink any other, so the list is emptied from its head. */
static void
fire_slot(struct wheel *w, size_t slot, uint64_t now_ms)
{
	w->firing = w->slots[slot];
	if (w->firing != NULL)
		w->firing->link = &w->firing;
	w->slots[slot] = NULL;
	w->occupied[slot / 64] &= ~(1ULL << (slot % 64));

	while (w->firing != NULL) {
		struct deadline *d = w->firing;

		wheel_unlink(d);
		if (d->due_ms > now_ms) {
			wheel_link(w, d);
		} else if (d->due_ms != 0) {
			d->due_ms = 0;
			d->fn(d);
		}
	}
}

void
wheel_turn(struct wheel *w, uint64_t now_ms)
{
	uint64_t tick = w->tick;
	uint64_t to = now_ms / LOOP_TICK_MS;

	if (to <= tick)
		return;
	/* First forward, so that what is linked meanwhile lands after this round. A slot met twice
	 * is harmless. */
	w->tick = to;
	if (to - tick > WHEEL_SLOTS)
		tick = to - WHEEL_SLOTS;
	while (tick++ < to) {
		size_t slot = tick % WHEEL_SLOTS;

		if (w->occupied[slot / 64] & (1ULL << (slot % 64)))
			fire_slot(w, slot, now_ms);
	}
}
