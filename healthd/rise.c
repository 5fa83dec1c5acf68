/* rise.c: see the header. */
#include "healthd/rise.h"

static void
count(struct rise *r, bool is_good)
{
	uint32_t *up = is_good ? &r->rise : &r->fall;
	uint32_t *zero = is_good ? &r->fall : &r->rise;

	if (*up < UINT32_MAX)
		++*up;
	*zero = 0;
}

bool
rise_feed(struct rise *r, bool is_good, uint32_t rise_needed, uint32_t fall_needed)
{
	enum probe_state before = r->state;

	count(r, is_good);
	if (r->state == PROBE_UNKNOWN) {
		r->state = is_good ? PROBE_UP : PROBE_DOWN;
		r->is_tentative = !is_good;
	} else if (r->state == PROBE_UP && r->fall >= fall_needed) {
		r->state = PROBE_DOWN;
	} else if (r->state == PROBE_DOWN && is_good &&
		(r->rise >= rise_needed || r->is_tentative)) {
		r->state = PROBE_UP;
	}
	if (r->state == PROBE_UP || r->fall >= fall_needed)
		r->is_tentative = false;
	return r->state != before;
}

bool
rise_is_changing(const struct rise *r)
{
	return r->is_tentative || (r->state == PROBE_UP && r->fall > 0) ||
		(r->state == PROBE_DOWN && r->rise > 0);
}
