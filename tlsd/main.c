/*
 * tlsd: makes TLS handshakes. With clients, and relays what comes out of them behind a PROXY header
 * or hands the connection over; or, in the role `connect`, with servers, on sockets that others
 * have connected. It never parses HTTP and never resolves a name.
 */
#include <stdio.h>
#include <string.h>

#include "tlsd/config.h"
#include "tlsd/connect.h"
#include "tlsd/control.h"
#include "tlsd/server.h"

static const struct daemon_ops ops = {
	.program = "tlsd",
	.usage = ROLE_USAGE,
	.section = "tls",
	.schema = &tlscfg_schema,
	.commands = control_commands,
	.check = config_check,
	.user = config_user,
	.start = server_start,
	.run = server_run,
	.prepare = server_prepare,
	.commit = server_commit,
	.discard = server_discard,
	.drain = server_drain,
	.cut = server_cut,
	.status = control_status,
	.stop = server_stop,
};

/* The role, taken out of the arguments; NULL: a listener's. */
static const char *
take_role(int *argc, char **argv)
{
	const char *role = NULL;
	int to = 1;

	for (int i = 1; i < *argc; i++) {
		if (strncmp(argv[i], "--role=", 7) == 0)
			role = argv[i] + 7;
		else if (strcmp(argv[i], "--role") == 0)
			role = i + 1 < *argc ? argv[++i] : "";
		else
			argv[to++] = argv[i];
	}
	argv[to] = NULL;
	*argc = to;
	return role;
}

int
main(int argc, char **argv)
{
	const char *role = take_role(&argc, argv);

	if (role == NULL)
		return daemon_main(&ops, argc, argv);
	if (strcmp(role, "connect") == 0)
		return daemon_main(&connect_ops, argc, argv);
	fprintf(stderr, "tlsd: --role %s: expected connect\n", role);
	return 2;
}
