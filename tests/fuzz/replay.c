/*
 * replay: stands in for libFuzzer's main: runs a fuzz target over the files (or folders of files)
 * it is given, so that corpora and past crashes are part of the normal suite without clang.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From an exact-size heap copy, so that a sanitizer sees one byte too far. */
static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (f == NULL || fstat(fileno(f), &st) < 0) {
		perror(path);
		return -1;
	}

	size_t n = (size_t)st.st_size;
	uint8_t *data = malloc(n ? n : 1);

	if (data == NULL || fread(data, 1, n, f) != n) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	return 1;
}

static int
replay(const char *path)
{
	struct stat st;
	int count = 0;

	if (stat(path, &st) < 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);

	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char file[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);

		int n = replay(file);

		if (n < 0)
			return -1;
		count += n;
	}
	if (dir != NULL)
		closedir(dir);
	return count;
}

int
main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay(argv[i]);

		if (n < 0)
			return 1;
		count += n;
	}
	printf("%d inputs\n", count);
	return count > 0 ? 0 : 1;
}
