/*
 * tlsd: makes TLS handshakes and relays what comes out of them, behind a PROXY header. It never
 * parses HTTP and never resolves a name.
 */
#include "tlsd/config.h"
#include "tlsd/control.h"
#include "tlsd/server.h"

static const struct daemon_ops ops = {
	.program = "tlsd",
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
	.status = control_status,
	.stop = server_stop,
};

int
main(int argc, char **argv)
{
	return daemon_main(&ops, argc, argv);
}
