/*
 * relay: state SESSION_RELAY, and what it shares with SESSION_PASS: a relay that is quiet.
 */
#ifndef TLSD_RELAY_H
#define TLSD_RELAY_H

struct session;

/* The next state or SESSION_WAIT. */
int relay_step(struct session *s);
/* The deadline has passed: ends it when idle_ms are over, else looks at the sockets. */
int relay_late(struct session *s);
/* Before it waits. */
void relay_arm(struct session *s);

#endif
