/*
 * accesslog_file: opening and writing. stdout is shared with others, so it is never made
 * non-blocking: a piece of PIPE_BUF bytes fits whenever poll says so.
 */
#include "routerd/accesslog_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/mem.h"

static int
open_path(const char *path)
{
	if (strcmp(path, "-") == 0)
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	/* O_NONBLOCK: a FIFO without a reader is an error instead of a wait. */
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

int
logfile_open(struct logfile *f, const char *path, struct err *err)
{
	struct stat st;

	*f = (struct logfile){ .fd = -1 };
	if (!path)
		return 0;
	f->fd = open_path(path);
	if (f->fd < 0 || fstat(f->fd, &st) < 0) {
		int error = errno;

		logfile_close(f);
		return err_set(
			err, "the access log %s cannot be opened: %s", path, strerror(error));
	}
	f->path = xstrdup(path);
	f->is_regular = S_ISREG(st.st_mode);
	return 0;
}

void
logfile_close(struct logfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	*f = (struct logfile){ .fd = -1 };
}

/* A piece for a pipe: whole lines if one ends in it. */
static size_t
piece(const char *p, size_t n)
{
	const char *end;

	if (n <= PIPE_BUF)
		return n;
	end = memrchr(p, '\n', PIPE_BUF);
	return end ? (size_t)(end + 1 - p) : PIPE_BUF;
}

static bool
is_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	return poll(&pfd, 1, 0) > 0;
}

static ssize_t
write_some(const struct logfile *f, const char *p, size_t n)
{
	ssize_t done;

	if (!f->is_regular && !is_ready(f->fd))
		return 0;
	do
		done = write(f->fd, p, f->is_regular ? n : piece(p, n));
	while (done < 0 && errno == EINTR);
	return done < 0 && errno == EAGAIN ? 0 : done;
}

ssize_t
logfile_write(struct logfile *f, const char *p, size_t n)
{
	ssize_t done;

	if (f->is_torn) {
		done = write_some(f, "\n", 1);
		if (done <= 0)
			return done;
		f->is_torn = false;
		f->is_mid_line = false;
	}
	done = write_some(f, p, n);
	if (done > 0)
		f->is_mid_line = p[done - 1] != '\n';
	return done;
}
