/*
 * meter: a log-linear histogram, and /proc. Run time comes from schedstat, which counts nanoseconds
 * where stat's utime and stime count hundredths of a second; where the kernel has none, from stat.
 */
#include "meter.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUB_BITS 6
#define SUB      (1 << SUB_BITS)
#define BUCKETS  (64 * SUB)

static uint64_t buckets[BUCKETS];
static uint64_t total;

uint64_t
meter_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Values below SUB have a bucket each; above, each power of two has SUB. */
static unsigned
bucket_of(uint64_t v)
{
	if (v < SUB)
		return (unsigned)v;

	unsigned shift = 63 - (unsigned)__builtin_clzll(v) - SUB_BITS;

	return (shift + 1) * SUB + (unsigned)((v >> shift) & (SUB - 1));
}

static uint64_t
bucket_top(unsigned i)
{
	if (i < SUB)
		return i;

	unsigned shift = i / SUB - 1;

	return (((uint64_t)SUB + i % SUB + 1) << shift) - 1;
}

void
meter_add(uint64_t ns)
{
	buckets[bucket_of(ns)]++;
	total++;
}

void
meter_clear(void)
{
	memset(buckets, 0, sizeof(buckets));
	total = 0;
}

uint64_t
meter_count(void)
{
	return total;
}

double
meter_percentile_us(double p)
{
	uint64_t want = (uint64_t)((double)total * p);
	uint64_t seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += buckets[i];
		if (seen > want || (seen == total && total > 0))
			return (double)bucket_top(i) / 1000;
	}
	return 0;
}

/* --- CPU time --------------------------------------------------------------------------------- */

static uint64_t
stat_cpu_ns(const char *task)
{
	char path[300];
	char line[1024];
	uint64_t user = 0;
	uint64_t system = 0;

	snprintf(path, sizeof(path), "%s/stat", task);

	FILE *f = fopen(path, "r");

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL) {
		char *rest = strrchr(line, ')');

		if (rest == NULL ||
			sscanf(rest + 1,
				" %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64,
				&user, &system) != 2)
			user = system = 0;
	}
	fclose(f);
	return (user + system) * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t
task_cpu_ns(const char *task)
{
	char path[300];
	uint64_t ns = 0;

	snprintf(path, sizeof(path), "%s/schedstat", task);

	FILE *f = fopen(path, "r");

	if (f == NULL)
		return stat_cpu_ns(task);
	if (fscanf(f, "%" SCNu64, &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static uint64_t
children_cpu_ns(const char *task)
{
	char path[300];
	uint64_t sum = 0;
	int child;

	snprintf(path, sizeof(path), "%s/children", task);

	FILE *f = fopen(path, "r");

	if (f == NULL)
		return 0;
	while (fscanf(f, "%d", &child) == 1)
		sum += meter_cpu_ns(child);
	fclose(f);
	return sum;
}

uint64_t
meter_cpu_ns(int pid)
{
	char path[64];
	char task[256];
	uint64_t sum = 0;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);

	DIR *dir = opendir(path);

	if (dir == NULL)
		return 0;
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(task, sizeof(task), "%s/%.100s", path, e->d_name);
		sum += task_cpu_ns(task) + children_cpu_ns(task);
	}
	closedir(dir);
	return sum;
}
