/* area: routerd */
/*
 * A whole session of an HTTP/2 server: its frames as answers to up to four clients of HTTP/1. The
 * first byte of the input: bits 0 and 1, clients less one; 2, they send bodies; 3, they want a
 * WebSocket; 4, they do not read; 5, the server does not begin with SETTINGS; 6, it ends its
 * connections before the clients have gone. The rest: see h2_rig.h.
 */
#include <stdint.h>

#include "tests/fuzz/h2_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONFIG                                                              \
	"run_dir: run\n"                                                    \
	"http:\n"                                                           \
	"  workers: 1\n"                                                    \
	"  listen: [{ name: web, address: \"127.0.0.1:0\" }]\n"             \
	"  hosts: [{ names: [\"*\"], routes: [{ path: /, pool: app }] }]\n" \
	"pools:\n"                                                          \
	"  app: { protocol: h2, retries: 1, passive: { max_fails: 0 },"     \
	" servers: [{ name: s, address: \"unix:%s\" }] }\n"

static const char get[] = "GET /path?q HTTP/1.1\r\nHost: h.test\r\nCookie: a=1\r\n\r\n";
static const char post[] =
	"POST /path HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	"5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n";
static const char upgrade[] = "GET /ws HTTP/1.1\r\nHost: h.test\r\nConnection: upgrade\r\n"
			      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nbytes";

#define CLIENTS_MAX 4
#define SERVERS_MAX 16

struct session {
	uint8_t how;
	unsigned clients;
	unsigned servers;
	int client[CLIENTS_MAX];
	int server[SERVERS_MAX];
};

static void
start(struct rig *r)
{
	char *text;

	rig_listen(r);
	text = xasprintf(CONFIG, rig_path);
	rig_start(r, text);
	free(text);
}

static void
connect_clients(struct rig *r, struct session *s)
{
	const char *request = s->how & 8 ? upgrade : s->how & 4 ? post : get;

	for (; s->clients < 1u + (s->how & 3); s->clients++) {
		s->client[s->clients] = rig_client(r);
		rig_send(s->client[s->clients], request, strlen(request));
	}
}

/* A turn, and what follows from it at both ends. */
static void
turn(struct rig *r, struct session *s)
{
	static const char settings[9] = { 0, 0, 0, 4 };
	int fd;

	rig_turn(r);
	while (s->servers < SERVERS_MAX && (fd = rig_accept(r)) >= 0) {
		s->server[s->servers++] = fd;
		if (!(s->how & 32))
			rig_send(fd, settings, sizeof(settings));
	}
	for (unsigned i = 0; i < s->servers; i++)
		rig_drain(s->server[i]);
	for (unsigned i = 0; i < s->clients && !(s->how & 16); i++)
		rig_drain(s->client[i]);
}

static void
end(struct rig *r, int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	rig_turn(r);
	rig_turn(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig rig;
	struct session s = { 0 };
	struct rig_frame f;

	if (rig.w == NULL)
		start(&rig);
	if (size < 1)
		return 0;
	s.how = *data++;
	size--;
	connect_clients(&rig, &s);
	turn(&rig, &s);
	while (rig_frame(&data, &size, &f)) {
		if (f.turns)
			turn(&rig, &s);
		if (s.servers > 0)
			rig_send(s.server[f.is_second && s.servers > 1], f.bytes, f.n);
	}
	turn(&rig, &s);
	turn(&rig, &s);
	if (s.how & 64)
		end(&rig, s.server, s.servers);
	end(&rig, s.client, s.clients);
	if (!(s.how & 64))
		end(&rig, s.server, s.servers);
	rig_check(&rig);
	assert(rig.w->stats[STAT_H2_UPSTREAM_CONNECTIONS] == 0);
	assert(rig.w->stats[STAT_UPSTREAM_IDLE] == 0);
	return 0;
}
