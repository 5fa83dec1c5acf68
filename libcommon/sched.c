/*
 * sched: sched_setattr(2), which the C library has no wrapper for.
 */
#include "libcommon/sched.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As the kernel has it (include/uapi/linux/sched/types.h). */
struct attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* the slice, for SCHED_OTHER */
	uint64_t deadline;
	uint64_t period;
};

void
sched_ask_slice(uint32_t us)
{
	struct attr a = { .size = sizeof(a), .runtime = (uint64_t)us * 1000 };

	if (sched_getscheduler(0) != SCHED_OTHER)
		return; /* somebody has decided otherwise */
	a.policy = SCHED_OTHER;
	errno = 0;
	a.nice = getpriority(PRIO_PROCESS, 0); /* stays */
	if (errno == 0)
		(void)syscall(SYS_sched_setattr, 0, &a, 0); /* a wish */
}
