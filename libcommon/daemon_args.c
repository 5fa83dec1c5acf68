/*
 * daemon_args: the options that all daemons share. Only here is something printed for a person who
 * typed a command.
 */
#include "libcommon/daemon_parts.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPT_SCHEMA = 256 };

static const struct option long_options[] = {
	{ "schema", no_argument, NULL, OPT_SCHEMA },
	{ "version", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void
usage(const struct daemon_ops *ops, FILE *to)
{
	fprintf(to,
		"usage: %s -c FILE [-C FD] [-i NAME] [-l LEVEL] [-r FD]\n"
		"       %s -c FILE [-C FD] -t | -T\n"
		"       %s --schema | -v | -h\n"
		"\n"
		"  -c FILE   configuration\n"
		"  -C FD     what FILE is to say at first stands in this descriptor\n"
		"  -i NAME   instance, default 0\n"
		"  -l LEVEL  debug, info, warn or error, over the configuration's\n"
		"  -r FD     write \"ready\" to this descriptor once listeners accept\n"
		"  -t        check the configuration, print findings as JSON\n"
		"  -T        print the effective configuration as JSON\n"
		"  --schema  print every key as JSON\n"
		"  -v        version\n"
		"  -h        this help\n"
		"%s",
		ops->program, ops->program, ops->program, ops->usage ? ops->usage : "");
}

static struct daemon_args
done(int code)
{
	return (struct daemon_args){ .mode = ARGS_EXIT, .exit_code = code };
}

static bool
is_instance(const char *s)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strlen(s);

	return n >= 1 && n <= 32 && strspn(s, allowed) == n;
}

/* Inherited; it goes no further. */
static bool
take_fd(const char *text, int *fd)
{
	uint64_t n;

	if (!slice_to_u64(slice_str(text), &n) || n > 1 << 20 || fcntl((int)n, F_GETFD) < 0)
		return false;
	*fd = (int)n;
	fcntl(*fd, F_SETFD, FD_CLOEXEC);
	return true;
}

/* NULL, or what is wrong with the option's value. */
static const char *
take_option(struct daemon_args *a, int opt)
{
	static const char no_fd[] = "expected the number of an open descriptor";

	switch (opt) {
	case 'c': a->file = optarg; return NULL;
	case 'i':
		a->instance = optarg;
		return is_instance(optarg)
			? NULL
			: "an instance's name is made of letters, digits, _ and -, at most 32";
	case 'l':
		a->has_level = true;
		return log_level_parse(slice_str(optarg), &a->level)
			? NULL
			: "expected debug, info, warn or error";
	case 'r': return take_fd(optarg, &a->ready_fd) ? NULL : no_fd;
	case 'C': return take_fd(optarg, &a->config_fd) ? NULL : no_fd;
	case 't': a->mode = ARGS_CHECK; return NULL;
	case 'T': a->mode = ARGS_DUMP; return NULL;
	default: a->mode = ARGS_SCHEMA; return NULL;
	}
}

struct daemon_args
daemon_args_parse(const struct daemon_ops *ops, int argc, char **argv)
{
	struct daemon_args a = {
		.mode = ARGS_RUN, .instance = "0", .ready_fd = -1, .config_fd = -1
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "c:C:i:l:r:tTvh", long_options, NULL)) != -1) {
		if (opt == 'h') {
			usage(ops, stdout);
			return done(0);
		}
		if (opt == 'v') {
			printf("%s %s\n", ops->program, WEIR_VERSION);
			return done(0);
		}
		if (opt == '?') {
			usage(ops, stderr);
			return done(2);
		}

		const char *why = take_option(&a, opt);

		if (why != NULL) {
			fprintf(stderr, "%s: -%c %s: %s\n", ops->program, opt, optarg, why);
			return done(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument `%s`\n", ops->program, argv[optind]);
		return done(2);
	}
	if (a.file == NULL && a.mode != ARGS_SCHEMA) {
		fprintf(stderr, "%s: -c FILE is required\n", ops->program);
		usage(ops, stderr);
		return done(2);
	}
	return a;
}
