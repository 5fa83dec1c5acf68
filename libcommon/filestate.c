/* filestate: see the header. FNV-1a. */
#include "libcommon/filestate.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

static void
mix(uint64_t *state, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		*state = (*state ^ b[i]) * 1099511628211u;
}

void
filestate_add(uint64_t *state, const char *path)
{
	struct stat st;
	int no = stat(path, &st) == 0 ? 0 : errno;

	mix(state, path, strlen(path) + 1);
	mix(state, &no, sizeof(no));
	if (no != 0)
		return;
	mix(state, &st.st_dev, sizeof(st.st_dev));
	mix(state, &st.st_ino, sizeof(st.st_ino));
	mix(state, &st.st_size, sizeof(st.st_size));
	mix(state, &st.st_mtim.tv_sec, sizeof(st.st_mtim.tv_sec));
	mix(state, &st.st_mtim.tv_nsec, sizeof(st.st_mtim.tv_nsec));
	mix(state, &st.st_ctim.tv_sec, sizeof(st.st_ctim.tv_sec));
	mix(state, &st.st_ctim.tv_nsec, sizeof(st.st_ctim.tv_nsec));
}
