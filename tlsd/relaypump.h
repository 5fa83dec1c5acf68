/*
 * relaypump: the pump of a relay: what the client says is decrypted, what the server says is
 * encrypted. Ends are passed on as what they are: close_notify becomes shutdown(SHUT_WR) and the
 * server's FIN becomes close_notify and FIN. A client's FIN without close_notify is a cut
 * connection, no end.
 */
#ifndef TLSD_RELAYPUMP_H
#define TLSD_RELAYPUMP_H

#include "tlsd/pump.h"

/* In state SESSION_RELAY. */
enum pump_result relaypump_run(struct session *s);

#endif
