/*
 * relay_connect: how a relay begins: states SESSION_FIRST and SESSION_CONNECT, from the end of the
 * handshake to a server that has the PROXY header and the first bytes.
 */
#ifndef TLSD_RELAY_CONNECT_H
#define TLSD_RELAY_CONNECT_H

struct session;

/* The next state or SESSION_WAIT. */
int relay_first(struct session *s);
int relay_first_late(struct session *s);
int relay_connect(struct session *s);
int relay_connect_late(struct session *s);
/* Of both. */
int relay_connect_cut(struct session *s);

#endif
