/*
 * units: quantities as people write them. Durations count in milliseconds, sizes in bytes, moments
 * in seconds since 1970.
 */
#ifndef LIBCOMMON_UNITS_H
#define LIBCOMMON_UNITS_H

#include "libcommon/slice.h"

struct sbuf;

/*
 * "250ms" "30s" "5m" "1h" "7d" and sums such as "1h30m"; a unit is required, except for a plain
 * "0". false for anything else and for overflow.
 */
bool units_parse_duration(struct slice s, int64_t *ms);
/* "512" "64k" "100m" "1g" "1t", powers of 1024, upper case too. false for anything else and for
 * overflow. */
bool units_parse_size(struct slice s, uint64_t *bytes);
/* The shortest exact spelling that the parsers read back: 90000 -> "90s", 65536 -> "64k". */
void units_format_duration(struct sbuf *out, int64_t ms);
/* The same for people: whole seconds from ten on. */
void units_format_age(struct sbuf *out, uint64_t ms);
void units_format_size(struct sbuf *out, uint64_t bytes);
/* Seconds since 1970 as RFC 3339 writes them, in UTC: "2026-11-24T10:00:00Z"; empty where
 * the year has no name. Returns out. */
#define UNITS_TIME 32
const char *units_format_time(int64_t s, char out[static UNITS_TIME]);

#endif
