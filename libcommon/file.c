/* file: see the header. */
#include "libcommon/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
file_write(int fd, struct slice text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			text = slice_skip(text, (size_t)n);
	}
	return 0;
}

int
file_sync_folder(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;

	int rc = fsync(fd);

	close(fd);
	return rc;
}
