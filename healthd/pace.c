/* pace.c: see the header. */
#include "healthd/pace.h"

uint64_t
pace_interval(uint64_t interval_ms, unsigned jitter_percent, uint32_t random)
{
	uint64_t spread = interval_ms * jitter_percent / 100;
	uint64_t delay = interval_ms - spread + (uint64_t)random * (2 * spread) / UINT32_MAX;

	return delay ? delay : 1;
}

uint64_t
pace_rest(uint64_t interval_ms, uint64_t took_ms)
{
	return took_ms < interval_ms ? interval_ms - took_ms : 1;
}

static uint64_t
depth(uint32_t rate)
{
	return (uint64_t)rate * 50 + 1000;
}

void
pace_init(struct pace *p, uint32_t rate, uint64_t now_ms)
{
	p->last_ms = now_ms;
	p->milli = depth(rate);
}

uint32_t
pace_take(struct pace *p, uint32_t rate, uint32_t wanted, uint64_t now_ms)
{
	uint64_t passed_ms = now_ms > p->last_ms ? now_ms - p->last_ms : 0;
	uint64_t full = depth(rate);

	/* a second fills any bucket: no overflow, however long nobody asked */
	p->milli += (passed_ms > 1000 ? 1000 : passed_ms) * rate;
	if (p->milli > full)
		p->milli = full;
	p->last_ms = now_ms;

	uint64_t may = p->milli / 1000;
	uint32_t taken = may < wanted ? (uint32_t)may : wanted;

	p->milli -= (uint64_t)taken * 1000;
	return taken;
}
