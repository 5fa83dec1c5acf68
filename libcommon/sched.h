/*
 * sched: how long a thread wishes to run at a stretch where it competes for a CPU. Those with short
 * slices run at once when there is something to do, in front of those with long ones; how much CPU
 * each gets does not change.
 */
#ifndef LIBCOMMON_SCHED_H
#define LIBCOMMON_SCHED_H

#include <stdint.h>

/*
 * For the calling thread, from 100 us to 100 ms. Linux 6.12 and later heed it, earlier ones and a
 * thread under another policy than SCHED_OTHER go on as they were.
 */
void sched_ask_slice(uint32_t us);

#endif
