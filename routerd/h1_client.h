/*
 * h1_client: the client's side of a request in HTTP/1. A connection has one at a time, from
 * h1_client_new until its request is over: c->client. Driven by codec_h1.c, which reads heads, and
 * by the events of the connection.
 */
#ifndef ROUTERD_H1_CLIENT_H
#define ROUTERD_H1_CLIENT_H

#include <stddef.h>

struct client;
struct conn;
struct msg;

/* For the request whose head is m. */
struct client *h1_client_new(struct conn *c, const struct msg *m);
/* The head that was read is not to be believed: what follows it cannot be told from a body, and the
 * answer has one. */
void h1_client_disbelieve(struct conn *c);
/* Set the connection's deadline, if cl is its client still. */
void h1_client_arm(struct conn *c, const struct client *cl);

/* While there is one. */
void h1_client_event(struct conn *c);
void h1_client_deadline(struct conn *c);
void h1_client_cut(struct conn *c);
struct conn_held h1_client_held(const struct conn *c);
void h1_client_shed(struct conn *c);

/* Of what worker->clients has. */
size_t h1_client_size(void);

#endif
