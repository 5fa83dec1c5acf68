/*
 * proxyctl: operates the daemons by their configuration, their control sockets and the operator's
 * decisions. It opens no network connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/err.h"
#include "proxyctl/commands.h"
#include "proxyctl/site.h"

static const char *
nth_name(const void *arg, size_t i)
{
	(void)arg;
	return commands[i].name;
}

static int
unknown(const char *word)
{
	const char *meant = err_did_you_mean(word, nth_name, NULL);

	fprintf(stderr, "proxyctl: unknown command `%s`, expected one of:", word);
	for (const struct command *c = commands; c->name != NULL; c++)
		fprintf(stderr, " %s", c->name);
	fprintf(stderr, meant ? "; did you mean `%s`?\n" : "\n", meant);
	return EXIT_USAGE;
}

/* Who closes one of them wants nothing of it; and no file that is opened may become it. */
static void
open_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
			_exit(EXIT_FAILED);
}

/* An answer that a full disk has cut is none. */
static int
finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fprintf(stderr, "proxyctl: not all could be written to standard output\n");
	return code == EXIT_DONE ? EXIT_FAILED : code;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *file = NULL;
	int opt;

	open_standard_fds();
	/* '+': options after the command are the command's. */
	while ((opt = getopt_long(argc, argv, "+c:hv", options, NULL)) != -1) {
		char *words[] = { argv[0], NULL };

		switch (opt) {
		case 'c': file = optarg; break;
		case 'h': return finish(command_find("help")->run(NULL, 1, words));
		case 'v': return finish(command_find("version")->run(NULL, 1, words));
		default: return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		char *words[] = { argv[0], NULL };

		command_find("help")->run(NULL, 1, words);
		return EXIT_USAGE;
	}

	const struct command *c = command_find(argv[optind]);

	if (c == NULL)
		return unknown(argv[optind]);
	argc -= optind;
	argv += optind;
	optind = 0; /* getopt begins anew for the command */
	return finish(c->run(file ? file : site_default_file(), argc, argv));
}
