/* file: see the header. */
#include "libcommon/file.h"

#include <errno.h>
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
