/*
 * peek: state SESSION_HELLO, where a listener has more than one use for a client: its first message
 * is read before TLS is, and decides who answers.
 */
#ifndef TLSD_PEEK_H
#define TLSD_PEEK_H

struct session;

/* The next state or SESSION_WAIT. */
int peek_step(struct session *s);

#endif
