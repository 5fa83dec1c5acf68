/* area: routerd */
/*
 * A whole session of an HTTP/2 client: its frames against routes that answer by themselves, and one
 * whose server answers at once, in HTTP/1. The first byte of the input: how the server answers. The
 * rest: see h2_rig.h.
 */
#include <stdint.h>

#include "tests/fuzz/h2_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONFIG                                                  \
	"run_dir: run\n"                                        \
	"http:\n"                                               \
	"  workers: 1\n"                                        \
	"  listen: [{ name: web, address: \"127.0.0.1:0\" }]\n" \
	"  limits: { body: 1m }\n"                              \
	"  hosts:\n"                                            \
	"    - names: [\"*\"]\n"                                \
	"      routes:\n"                                       \
	"        - { path: /, respond: { body: \"hello\" } }\n" \
	"        - { path: /e, echo: true }\n"                  \
	"        - { path: /r, redirect: { path: /x } }\n"      \
	"        - { path: /p, pool: app }\n"                   \
	"        - { path: /s, pool: app, max_body: 1k }\n"     \
	"pools:\n"                                              \
	"  app: { retries: 1, passive: { max_fails: 0 },"       \
	" servers: [{ name: s, address: \"unix:%s\" }] }\n"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static const char *const answers[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
	"chunked\r\nTrailer: x\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
	"Sec-WebSocket-Accept: x\r\n\r\nbytes",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\ncut off",
	"no HTTP\r\n\r\n",
	"",
};

#define SERVERS_MAX 32

/* Every request that came is answered; what is left open is closed with the last of them. */
static void
serve(struct rig *r, uint8_t how, int *fds, unsigned *n)
{
	const char *answer = answers[how & 7];
	int fd;

	while (*n < SERVERS_MAX && (fd = rig_accept(r)) >= 0)
		fds[(*n)++] = fd;
	for (unsigned i = 0; i < *n; i++) {
		char bytes[16384];

		if (recv(fds[i], bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			continue;
		rig_send(fds[i], answer, strlen(answer));
		if (how & 8)
			shutdown(fds[i], SHUT_WR);
	}
}

static void
start(struct rig *r)
{
	char *text;

	rig_listen(r);
	text = xasprintf(CONFIG, rig_path);
	rig_start(r, text);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig rig;
	int fds[SERVERS_MAX];
	unsigned count = 0;
	struct rig_frame f;
	uint8_t how;
	int client;

	if (rig.w == NULL)
		start(&rig);
	if (size < 1)
		return 0;
	how = *data++;
	size--;
	client = rig_client(&rig);
	rig_send(client, preface, sizeof(preface) - 1);
	while (rig_frame(&data, &size, &f)) {
		if (f.turns) {
			rig_turn(&rig);
			serve(&rig, how, fds, &count);
			if (!(how & 16))
				rig_drain(client);
		}
		rig_send(client, f.bytes, f.n);
	}
	for (int i = 0; i < 4; i++) {
		rig_turn(&rig);
		serve(&rig, how, fds, &count);
		if (!rig_drain(client))
			break;
	}
	close(client);
	rig_turn(&rig);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	rig_check(&rig);
	return 0;
}
