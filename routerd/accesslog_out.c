/*
 * accesslog_out: times of the day, which are asked for by the second and made once in it.
 */
#include "routerd/accesslog_out.h"

#include <time.h>

#include "libcommon/units.h"

/* localtime_r takes a lock that all threads share: once per second and thread is enough. */
struct clock_text {
	int64_t wall_s;
	char local[40];
	char utc[UNITS_TIME];
};

static const struct clock_text *
clock_text(enum out_moment which, int64_t wall_s)
{
	static _Thread_local struct clock_text kept[2];
	struct clock_text *cached = &kept[which];
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (cached->wall_s == wall_s && cached->local[0])
		return cached;
	cached->wall_s = wall_s;
	localtime_r(&t, &tm);
	strftime(cached->local, sizeof(cached->local), "%d/%b/%Y:%H:%M:%S %z", &tm);
	units_format_time(wall_s, cached->utc);
	return cached;
}

const char *
out_time_local(enum out_moment which, int64_t wall_s)
{
	return clock_text(which, wall_s)->local;
}

const char *
out_time_utc(enum out_moment which, int64_t wall_s)
{
	return clock_text(which, wall_s)->utc;
}
