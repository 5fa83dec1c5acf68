/*
 * commands: what proxyctl can do, in one table. A command gets its own arguments (argv[0] is its
 * name) and returns the exit code: 0 done, 1 failed or not in time, 2 usage or invalid
 * configuration.
 */
#ifndef PROXYCTL_COMMANDS_H
#define PROXYCTL_COMMANDS_H

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
	const char *name;
	const char *usage;
	const char *help;
	int (*run)(const char *file, int argc, char **argv);
};

extern const struct command commands[]; /* ends with a zero row */
const struct command *command_find(const char *name);
/* "usage: proxyctl ..." on stderr; returns EXIT_USAGE. */
int command_usage(const char *name);

int cmd_cert(const char *file, int argc, char **argv);
int cmd_check(const char *file, int argc, char **argv);
int cmd_config(const char *file, int argc, char **argv);
int cmd_decide(const char *file, int argc, char **argv);
int cmd_events(const char *file, int argc, char **argv);
int cmd_ocsp(const char *file, int argc, char **argv);
int cmd_reload(const char *file, int argc, char **argv);
int cmd_status(const char *file, int argc, char **argv);
int cmd_stop(const char *file, int argc, char **argv);
int cmd_up(const char *file, int argc, char **argv);

#endif
