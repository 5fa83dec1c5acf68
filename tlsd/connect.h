/*
 * connect: tlsd in the role `connect`: makes TLS handshakes with servers on sockets that others
 * have connected. A process of its own, with no listener, no listener's key, and no connection of
 * its own making. What main's table of this role points to.
 */
#ifndef TLSD_CONNECT_H
#define TLSD_CONNECT_H

#include "libcommon/daemon.h"

#define ROLE_USAGE \
	"  --role connect  make handshakes with servers for others, instead of listening\n"

extern const struct daemon_ops connect_ops;

#endif
