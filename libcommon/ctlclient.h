/*
 * ctlclient: asks a control socket one line and reads the answer.
 */
#ifndef LIBCOMMON_CTLCLIENT_H
#define LIBCOMMON_CTLCLIENT_H

#include "libcommon/err.h"
#include "libcommon/sbuf.h"

/*
 * Blocking, at most timeout_ms. fds go along (nfds up to 16). 0 and the whole answer in out; -1
 * with err when nobody listens, the peer takes too long, or the answer is over 64 MB. An answer
 * that says "error" is still 0: the caller looks.
 */
int ctl_ask(const char *path, const char *line, const int *fds, size_t nfds, int timeout_ms,
	struct sbuf *out, struct err *err);
/* Connect and send the line; returns the fd to stream from, or -1. */
int ctl_open(const char *path, const char *line, const int *fds, size_t nfds, int timeout_ms,
	struct err *err);

#endif
