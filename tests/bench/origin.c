/*
 * origin: the server behind the proxies: one thread, epoll, answers made ready beforehand, so that
 * it costs as little as a server can.
 *
 *   origin           prints "port N"; serves until it is killed
 *   GET /N           N bytes with Content-Length
 *   GET /chunked/N   N bytes in chunks of 256
 *   POST anything    reads the body, answers 128 bytes
 *   Upgrade: x       101, then every byte comes back
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 262144
#define HEAD_MAX  16384
#define CHUNK     256

struct answer {
	struct answer *next;
	char target[64];
	char *p;
	size_t n;
};

struct conn {
	int fd;
	bool is_tunnel;
	bool wants_write;
	char head[HEAD_MAX];
	size_t head_len;
	unsigned long long body_left;
	/* A chunked body: its last bytes tell where it ends; ours has no trailers. */
	bool is_chunked;
	char tail[5];
	const char *out;
	size_t out_left;
	char *echo; /* a tunnel's bytes that did not go out at once */
};

static int ep;
static char scratch[READ_SIZE];
static struct answer *answers;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static char *
must(void *p)
{
	if (p == NULL)
		die("malloc");
	return p;
}

static struct answer *
make_answer(const char *target)
{
	struct answer *a = calloc(1, sizeof(*a));
	bool is_chunked = strncmp(target, "/chunked/", 9) == 0;
	size_t n = strtoul(target + (is_chunked ? 9 : 1), NULL, 10);
	size_t room = n + (is_chunked ? (n / CHUNK + 2) * 16 : 0) + 256;

	must((void *)a);
	snprintf(a->target, sizeof(a->target), "%s", target);
	a->p = must(malloc(room));
	a->n = (size_t)sprintf(a->p, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
	if (!is_chunked) {
		a->n += (size_t)sprintf(a->p + a->n, "Content-Length: %zu\r\n\r\n", n);
		memset(a->p + a->n, 'x', n);
		a->n += n;
	} else {
		a->n += (size_t)sprintf(a->p + a->n, "Transfer-Encoding: chunked\r\n\r\n");
		while (n > 0) {
			size_t part = n < CHUNK ? n : CHUNK;

			a->n += (size_t)sprintf(a->p + a->n, "%zx\r\n", part);
			memset(a->p + a->n, 'x', part);
			memcpy(a->p + a->n + part, "\r\n", 2);
			a->n += part + 2;
			n -= part;
		}
		a->n += (size_t)sprintf(a->p + a->n, "0\r\n\r\n");
	}
	a->next = answers;
	answers = a;
	return a;
}

static struct answer *
answer_for(const char *target)
{
	for (struct answer *a = answers; a != NULL; a = a->next)
		if (strcmp(a->target, target) == 0)
			return a;
	return make_answer(target);
}

static void
drop(struct conn *c)
{
	close(c->fd);
	free(c->echo);
	free(c);
}

static void
watch(struct conn *c, bool wants_write)
{
	struct epoll_event ev = { EPOLLIN | (wants_write ? EPOLLOUT : 0), { .ptr = c } };

	if (c->wants_write == wants_write)
		return;
	c->wants_write = wants_write;
	/* While an answer is stuck, nothing more is read. */
	if (wants_write)
		ev.events = EPOLLOUT;
	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static int
flush(struct conn *c)
{
	while (c->out_left > 0) {
		ssize_t n = send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			watch(c, true);
			return 0;
		}
		if (n < 0)
			return -1;
		c->out += n;
		c->out_left -= (size_t)n;
	}
	watch(c, false);
	return 0;
}

static const char *
field(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p != NULL; p = strchr(p, '\n')) {
		p++;
		if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
			p += n + 1;
			return p + strspn(p, " ");
		}
	}
	return NULL;
}

/* The head is whole and NUL-terminated. */
static int
begin_request(struct conn *c)
{
	static const char switching[] =
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	const char *length = field(c->head, "Content-Length");
	const char *coding = field(c->head, "Transfer-Encoding");
	char target[64] = "";

	if (field(c->head, "Upgrade") != NULL) {
		c->is_tunnel = true;
		c->out = switching;
		c->out_left = sizeof(switching) - 1;
		return flush(c);
	}
	if (sscanf(c->head, "%*s %63s", target) != 1)
		return -1;
	if (strncmp(c->head, "POST", 4) == 0)
		strcpy(target, "/128");
	c->body_left = length != NULL ? strtoull(length, NULL, 10) : 0;
	c->is_chunked = coding != NULL && strncasecmp(coding, "chunked", 7) == 0;
	memset(c->tail, 0, sizeof(c->tail));

	struct answer *a = answer_for(target);

	c->out = a->p;
	c->out_left = a->n;
	return 0;
}

static bool
is_reading_body(const struct conn *c)
{
	return c->body_left > 0 || c->is_chunked;
}

/* How much of the body is in p; at its end the answer can go. */
static size_t
eat_body(struct conn *c, const char *p, size_t n)
{
	if (!c->is_chunked) {
		if (n > c->body_left)
			n = (size_t)c->body_left;
		c->body_left -= n;
		return n;
	}
	/* Senders here wait for the answer, so the last chunk ends what has been read. */
	size_t keep = n < 5 ? n : 5;

	memmove(c->tail, c->tail + keep, 5 - keep);
	memcpy(c->tail + 5 - keep, p + n - keep, keep);
	if (memcmp(c->tail, "0\r\n\r\n", 5) == 0)
		c->is_chunked = false;
	return n;
}

static int
eat(struct conn *c, const char *p, size_t n)
{
	while (n > 0) {
		if (is_reading_body(c)) {
			size_t took = eat_body(c, p, n);

			p += took;
			n -= took;
		} else {
			size_t part =
				n < HEAD_MAX - 1 - c->head_len ? n : HEAD_MAX - 1 - c->head_len;

			memcpy(c->head + c->head_len, p, part);
			c->head[c->head_len + part] = '\0';

			char *end = strstr(c->head, "\r\n\r\n");

			if (end == NULL) {
				c->head_len += part;
				return part < n || c->head_len == HEAD_MAX - 1 ? -1 : 0;
			}

			size_t used = (size_t)(end + 4 - c->head) - c->head_len;

			end[4] = '\0';
			c->head_len = 0;
			p += used;
			n -= used;
			if (begin_request(c) < 0)
				return -1;
			if (c->is_tunnel)
				return 0;
		}
		if (!is_reading_body(c) && flush(c) < 0)
			return -1;
	}
	return 0;
}

static int
echo(struct conn *c, size_t n)
{
	ssize_t sent = send(c->fd, scratch, n, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN)
		return -1;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent == n)
		return 0;
	free(c->echo);
	c->echo = must(malloc(n - (size_t)sent));
	memcpy(c->echo, scratch + sent, n - (size_t)sent);
	c->out = c->echo;
	c->out_left = n - (size_t)sent;
	watch(c, true);
	return 0;
}

static int
on_readable(struct conn *c)
{
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0)
		return -1;
	return c->is_tunnel ? echo(c, (size_t)n) : eat(c, scratch, (size_t)n);
}

static void
on_accept(int listener)
{
	int one = 1;

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;

		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event ev = { EPOLLIN, { .ptr = c } };

		must((void *)c);
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static int
open_listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event ev = { EPOLLIN, { .ptr = NULL } };

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 8192) < 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		die("listen");
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	printf("port %u\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

int
main(void)
{
	struct epoll_event evs[256];
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	ep = epoll_create1(EPOLL_CLOEXEC);

	int listener = open_listener();

	for (;;) {
		int n = epoll_wait(ep, evs, 256, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = evs[i].data.ptr;

			if (c == NULL) {
				on_accept(listener);
			} else if ((evs[i].events & EPOLLOUT) && flush(c) < 0) {
				drop(c);
			} else if ((evs[i].events & ~(unsigned)EPOLLOUT) && on_readable(c) < 0) {
				drop(c);
			}
		}
	}
}
