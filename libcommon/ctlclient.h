/*
 * ctlclient: asks a control socket one line.
 */
#ifndef LIBCOMMON_CTLCLIENT_H
#define LIBCOMMON_CTLCLIENT_H

#include "libcommon/err.h"

/*
 * Connect and send the line, and fds with it (nfds up to 16): at most timeout_ms. Returns the
 * descriptor, which does not block, to read the answer from; -1 with err when nobody listens or the
 * peer takes too long.
 */
int ctl_open(const char *path, const char *line, const int *fds, size_t nfds, int timeout_ms,
	struct err *err);

#endif
