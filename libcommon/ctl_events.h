/*
 * ctl_events: the last lines of the event stream, numbered. Any thread adds; each subscriber only
 * remembers the number it wants next, so a slow one costs no memory and blocks nobody.
 */
#ifndef LIBCOMMON_CTL_EVENTS_H
#define LIBCOMMON_CTL_EVENTS_H

#include "libcommon/log.h"
#include "libcommon/sbuf.h"

struct ctl_events;

/* `daemon` is what lines name as their origin; copied. */
struct ctl_events *ctl_events_new(struct slice daemon);
void ctl_events_free(struct ctl_events *e);
/* Thread-safe. */
void ctl_events_add(struct ctl_events *e, const struct log_record *rec);
/* The number of the next line to come, and of the oldest that is kept. */
uint64_t ctl_events_next(struct ctl_events *e);
uint64_t ctl_events_oldest(struct ctl_events *e);
/*
 * Append lines from number *at on until out holds `limit` bytes or nothing is left; moves *at. When
 * *at is no longer kept, a line tells how many are lost. true when something was appended.
 */
bool ctl_events_read(struct ctl_events *e, uint64_t *at, struct sbuf *out, size_t limit);

#endif
