/*
 * accesslog_file: where lines go, from the log thread alone. A regular file may block (on a disk),
 * a pipe or terminal never does.
 */
#ifndef ROUTERD_ACCESSLOG_FILE_H
#define ROUTERD_ACCESSLOG_FILE_H

#include <sys/types.h>
#include <sys/uio.h>

#include "libcommon/err.h"

struct logfile {
	int fd;     /* -1: off */
	char *path; /* NULL: off; "-": stdout */
	bool is_regular;
	bool is_mid_line; /* the last line that was written lacks its end so far */
	bool is_torn;     /* and will not get it: set by whoever gives the rest up */
};

/* path NULL: off. -1 with err. */
int logfile_open(struct logfile *f, const char *path, struct err *err);
void logfile_close(struct logfile *f);
/*
 * Writes some of the text whose halves are v[0] and v[1] (the second may be empty) and returns how
 * much; 0 when the reader is slow (poll f->fd for POLLOUT); -1 with errno. In one call, so that
 * processes that share a file do not write into each other's lines; to a pipe, what fits into it at
 * once and ends with a line, if any does.
 */
ssize_t logfile_write(struct logfile *f, const struct iovec v[2]);

#endif
