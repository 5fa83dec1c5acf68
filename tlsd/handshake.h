/* handshake: state SESSION_HANDSHAKE, from the client's first message to what follows on TLS. */
#ifndef TLSD_HANDSHAKE_H
#define TLSD_HANDSHAKE_H

struct session;

/* The next state or SESSION_WAIT. */
int handshake_step(struct session *s);
/* Of SESSION_HELLO, too. */
int handshake_late(struct session *s);

#endif
