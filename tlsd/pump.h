/*
 * pump: the two directions of a relay, each of its own: up (client to server) and down. A direction
 * that is held up by a full socket does not read; nothing else stops it. Ends are passed on as
 * what they are: close_notify becomes shutdown(SHUT_WR) and the server's FIN becomes close_notify
 * and FIN. A client's FIN without close_notify is a cut connection, no end.
 */
#ifndef TLSD_PUMP_H
#define TLSD_PUMP_H

struct session;

enum pump_result {
	PUMP_WAIT,   /* until a socket is ready */
	PUMP_AGAIN,  /* much was moved; let others have their turn */
	PUMP_DONE,   /* both directions have ended and all is sent */
	PUMP_LINGER, /* the server is gone and all is sent; the client has not ended */
	PUMP_CUT,    /* the client is gone */
	PUMP_CLIENT_ERROR,
	PUMP_BACKEND_ERROR,
};

enum pump_result pump_run(struct session *s);

#endif
