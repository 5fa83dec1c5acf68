/*
 * units: the two tables of suffixes and the code that reads them both ways.
 */
#include "libcommon/units.h"

#include <inttypes.h>
#include <time.h>

#include "libcommon/sbuf.h"

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit durations[] = {
	{ "d", 86400000 },
	{ "h", 3600000 },
	{ "m", 60000 },
	{ "s", 1000 },
	{ "ms", 1 },
};
static const struct unit sizes[] = {
	{ "t", 1ULL << 40 },
	{ "g", 1ULL << 30 },
	{ "m", 1ULL << 20 },
	{ "k", 1ULL << 10 },
	{ "", 1 },
};

static const struct unit *
find_unit(const struct unit *units, size_t count, struct slice suffix)
{
	for (size_t i = 0; i < count; i++)
		if (slice_caseeq(suffix, slice_str(units[i].suffix)))
			return &units[i];
	return NULL;
}

/* Cut "12ms" off the front of *s. */
static bool
next_quantity(struct slice *s, struct slice *digits, struct slice *suffix)
{
	size_t i = 0;

	while (i < s->n && s->p[i] >= '0' && s->p[i] <= '9')
		i++;
	*digits = slice_make(s->p, i);

	size_t from = i;

	while (i < s->n && !(s->p[i] >= '0' && s->p[i] <= '9'))
		i++;
	*suffix = slice_make(s->p + from, i - from);
	*s = slice_skip(*s, i);
	return digits->n > 0;
}

bool
units_parse_duration(struct slice s, int64_t *ms)
{
	uint64_t total = 0;

	if (slice_eq(s, SLICE("0"))) {
		*ms = 0;
		return true;
	}
	if (s.n == 0)
		return false;
	while (s.n > 0) {
		struct slice digits;
		struct slice suffix;
		uint64_t v;

		if (!next_quantity(&s, &digits, &suffix) || !slice_to_u64(digits, &v))
			return false;

		const struct unit *u =
			find_unit(durations, sizeof(durations) / sizeof(*durations), suffix);

		if (u == NULL || __builtin_mul_overflow(v, u->factor, &v) ||
			__builtin_add_overflow(total, v, &total))
			return false;
	}
	if (total > INT64_MAX)
		return false;
	*ms = (int64_t)total;
	return true;
}

bool
units_parse_size(struct slice s, uint64_t *bytes)
{
	struct slice digits;
	struct slice suffix;
	uint64_t v;

	if (!next_quantity(&s, &digits, &suffix) || s.n > 0 || !slice_to_u64(digits, &v))
		return false;

	const struct unit *u = find_unit(sizes, sizeof(sizes) / sizeof(*sizes), suffix);

	return u != NULL && !__builtin_mul_overflow(v, u->factor, bytes);
}

static void
format(struct sbuf *out, uint64_t v, const struct unit *units, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (v >= units[i].factor && v % units[i].factor == 0) {
			sbuf_addf(out, "%" PRIu64 "%s", v / units[i].factor, units[i].suffix);
			return;
		}
	}
	sbuf_adds(out, "0");
}

void
units_format_duration(struct sbuf *out, int64_t ms)
{
	format(out, ms < 0 ? 0 : (uint64_t)ms, durations, sizeof(durations) / sizeof(*durations));
}

void
units_format_age(struct sbuf *out, uint64_t ms)
{
	units_format_duration(out, (int64_t)(ms < 10000 ? ms : ms / 1000 * 1000));
}

void
units_format_size(struct sbuf *out, uint64_t bytes)
{
	format(out, bytes, sizes, sizeof(sizes) / sizeof(*sizes));
}

const char *
units_format_time(int64_t s, char out[static UNITS_TIME])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, UNITS_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
	return out;
}
