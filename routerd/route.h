/*
 * route: which route answers (listener, host, path)? Pure and allocation-free;
 * compiled once per snapshot.
 *
 * Host: exact name, then the longest "*.suffix", then "*"; among hosts that
 * answer on the listener. Path: the longest prefix on segment borders ("/ws"
 * matches "/ws" and "/ws/x", not "/wsx"; "/api/" matches "/api/..." and not
 * "/api").
 */
#ifndef ROUTERD_ROUTE_H
#define ROUTERD_ROUTE_H

#include "routerd/snapshot.h"

enum route_result {
	ROUTE_FOUND,
	ROUTE_NO_HOST, /* unknown host: 421 over TLS, else 404 */
	ROUTE_NO_PATH, /* 404 */
};

/* Built from http.hosts; memory from s->arena. */
struct route_table *route_table_new(struct snapshot *s, struct errs *errs);

/* host without port, any case, empty when the request had none (HTTP/1.0): then
 * the listener's default host, "*". */
enum route_result route_find(const struct route_table *t, const struct listener *on,
	struct slice host, struct slice path, const struct route **out);

enum path_result { PATH_OK, PATH_BAD_PERCENT, PATH_NUL, PATH_ABOVE_ROOT };

/*
 * The path that routes match on: percent-decoded, "." and ".." resolved,
 * slashes merged. Returns a slice of `path` itself when nothing changes (the
 * usual case, one scan), else of `buf`, which must have path.n bytes. %2F stays
 * encoded as "%2F" so that it never makes a segment border. The client's own
 * spelling is what gets forwarded.
 */
enum path_result route_normalise(struct slice path, char *buf, struct slice *out);

/* `path` (the client's spelling) without the route's strip prefix; always
 * begins with '/'. Memory from the arena when it must be built. */
struct slice route_strip(const struct route *r, struct slice path, struct arena *a);

#endif
