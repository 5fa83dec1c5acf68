/*
 * pass: a connection whose name belongs to a server behind us: it goes there as it came, with its
 * ClientHello, behind a PROXY v2 header where the server wants one. Nothing is decrypted. States
 * SESSION_PASS_CONNECT and SESSION_PASS.
 */
#ifndef TLSD_PASS_H
#define TLSD_PASS_H

struct session;

/* hello->pass and the name are known; what was heard is in the worker's buffer or in `up`. The next
 * state. */
int pass_begin(struct session *s);

/* Steps and what deadlines do: the next state or SESSION_WAIT. */
int pass_connect(struct session *s);
int pass_connect_late(struct session *s);
int pass_step(struct session *s);

#endif
