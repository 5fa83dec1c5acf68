/*
 * cachectl: looks after the store. A configuration cannot name one yet, so whatever it is asked,
 * the answer is that none is configured.
 */
#include <stdio.h>
#include <string.h>

static void
usage(FILE *to)
{
	fprintf(to,
		"usage: cachectl [-c FILE] COMMAND\n"
		"       cachectl -v | -h\n");
}

int
main(int argc, char **argv)
{
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
		usage(stdout);
		return 0;
	}
	if (argc == 2 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
		printf("cachectl %s\n", WEIR_VERSION);
		return 0;
	}
	fprintf(stderr, "no cache is configured\n");
	return 1;
}
