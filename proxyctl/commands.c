/*
 * commands: the table, and the usage lines made from it.
 */
#include "proxyctl/commands.h"

#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 32 };

static int
cmd_version(const char *file, int argc, char **argv)
{
	(void)file;
	(void)argv;
	if (argc > 1)
		return command_usage("version");
	printf("proxyctl %s\n", WEIR_VERSION);
	return EXIT_DONE;
}

static int
cmd_help(const char *file, int argc, char **argv)
{
	const struct command *one = argc > 1 ? command_find(argv[1]) : NULL;

	(void)file;
	if (argc > 2 || (argc == 2 && one == NULL))
		return command_usage("help");
	if (one != NULL) {
		printf("usage: proxyctl [-c FILE] %s %s\n%s\n", one->name, one->usage, one->help);
		return EXIT_DONE;
	}
	printf("usage: proxyctl [-c FILE] COMMAND [ARGUMENTS]\n\n");
	for (const struct command *c = commands; c->name != NULL; c++) {
		int n = printf("  %s %s", c->name, c->usage);

		/* What leaves no room for its help has it on the next line. */
		if (n >= HELP_COLUMN)
			n = printf("\n") - 1;
		printf("%*s%s\n", HELP_COLUMN - n, "", c->help);
	}
	printf("\nFILE: $WEIR_CONFIG, else ./weir.yaml, else /etc/weir/weir.yaml.\n"
	       "Exit: 0 done, 1 failed or not in time, 2 usage or invalid configuration.\n");
	return EXIT_DONE;
}

#define DECIDE "POOL/SERVER [--wait] [--timeout 60s] [--reason TEXT] [--expire 10m]"

const struct command commands[] = {
	{ "up", "[-i NAME]", "start what the configuration needs, in the foreground", cmd_up },
	{ "status", "[-j | --names] [-w]", "what runs and how the servers are", cmd_status },
	{ "check", "[-j]", "check the configuration with all programs", cmd_check },
	{ "config", "[-j | --schema]",
		"the effective configuration and where each value comes from", cmd_config },
	{ "reload", "", "all daemons take the configuration, or none", cmd_reload },
	{ "drain", DECIDE, "no new requests for a server; finish what is in flight", cmd_decide },
	{ "undrain", DECIDE, "take a drain back", cmd_decide },
	{ "disable", DECIDE, "take a server out", cmd_decide },
	{ "enable", DECIDE, "take a disable or a drain back", cmd_decide },
	{ "weight", "POOL/SERVER N|default [--wait] [--timeout 60s] [--reason TEXT] [--expire 10m]",
		"share of the requests, 0 to 256", cmd_decide },
	{ "cert", "list [-j] | reload", "certificates that are served; or load their files anew",
		cmd_cert },
	{ "ocsp", "refresh [-j | -q] [--force] [--timeout 10s]",
		"fetch the staples of certificates that name a responder", cmd_ocsp },
	{ "events", "[--until TYPE] [--timeout 10s] [--type TYPE] [--recent]",
		"what happens, one JSON object a line", cmd_events },
	{ "stop", "[--timeout 35s]", "end all daemons gracefully", cmd_stop },
	{ "version", "", "version of this program", cmd_version },
	{ "help", "[COMMAND]", "this list", cmd_help },
	{ 0 },
};

const struct command *
command_find(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int
command_usage(const char *name)
{
	const struct command *c = command_find(name);

	fprintf(stderr, "usage: proxyctl [-c FILE] %s %s\n", c->name, c->usage);
	return EXIT_USAGE;
}
