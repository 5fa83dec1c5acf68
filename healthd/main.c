/*
 * healthd: asks servers how they are and says so on the bus. It judges nothing: what is done with
 * the facts is decided where they are used.
 */
#include "healthd/config.h"
#include "healthd/control.h"
#include "healthd/server.h"

static const struct daemon_ops ops = {
	.program = "healthd",
	.section = "health",
	.schema = &healthcfg_schema,
	.commands = control_commands,
	.check = config_check,
	.user = config_user,
	.start = server_start,
	.run = server_run,
	.prepare = server_prepare,
	.commit = server_commit,
	.discard = server_discard,
	.drain = server_drain,
	.status = control_status,
	.stop = server_stop,
};

int
main(int argc, char **argv)
{
	return daemon_main(&ops, argc, argv);
}
