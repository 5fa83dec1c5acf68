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

static char
byte_at(const struct iovec v[2], size_t i)
{
	const char *first = v[0].iov_base;
	const char *second = v[1].iov_base;

	return i < v[0].iov_len ? first[i] : second[i - v[0].iov_len];
}

/* How much goes to a pipe at once: whole lines if one ends in it. */
static size_t
piece(const struct iovec v[2])
{
	size_t n = v[0].iov_len + v[1].iov_len;

	if (n <= PIPE_BUF)
		return n;
	for (n = PIPE_BUF; n > 0; n--)
		if (byte_at(v, n - 1) == '\n')
			return n;
	return PIPE_BUF;
}

static bool
is_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	return poll(&pfd, 1, 0) > 0;
}

static ssize_t
write_some(const struct logfile *f, const struct iovec v[2])
{
	struct iovec part[2] = { v[0], v[1] };
	ssize_t done;

	if (!f->is_regular) {
		size_t n = piece(v);

		if (!is_ready(f->fd))
			return 0;
		part[0].iov_len = n < v[0].iov_len ? n : v[0].iov_len;
		part[1].iov_len = n - part[0].iov_len;
	}
	do
		done = writev(f->fd, part, part[1].iov_len > 0 ? 2 : 1);
	while (done < 0 && errno == EINTR);
	return done < 0 && errno == EAGAIN ? 0 : done;
}

ssize_t
logfile_write(struct logfile *f, const struct iovec v[2])
{
	static char newline[] = "\n";
	const struct iovec end[2] = { { newline, 1 }, { newline, 0 } };
	ssize_t done;

	if (f->is_torn) {
		done = write_some(f, end);
		if (done <= 0)
			return done;
		f->is_torn = false;
		f->is_mid_line = false;
	}
	done = write_some(f, v);
	if (done > 0)
		f->is_mid_line = byte_at(v, (size_t)done - 1) != '\n';
	return done;
}
