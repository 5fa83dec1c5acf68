/*
 * outside: work on what strangers say, in a process of its own that can do no harm: run by root it
 * is the user `nobody`, it has no file of ours open, and may write none. Its answer is of a fixed
 * size, and the caller believes it as little as the strangers.
 */
#ifndef PROXYCTL_OUTSIDE_H
#define PROXYCTL_OUTSIDE_H

#include <stddef.h>
#include <stdint.h>

#include "libcommon/err.h"

/*
 * fn(arg, out) runs in the child and fills out[0..n), which is zeros before; its copy comes back in
 * the caller's out. -1 with err when there is none after timeout_ms, or the child could not become
 * harmless. Blocks. Not from a process with threads.
 */
int outside_run(void (*fn)(void *arg, void *out), void *arg, void *out, size_t n,
	int64_t timeout_ms, struct err *err);

#endif
