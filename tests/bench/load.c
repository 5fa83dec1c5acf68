/*
 * load: an HTTP/1.1 client that keeps many connections busy, checks every answer, and takes the CPU
 * time of the processes under test over exactly the time that it measures. One thread, epoll.
 *
 *   load -p PORT [-c CONNS] [-d SECONDS] [-w WARMUP_SECONDS] [-u TARGET] [-n BODY_BYTES]
 *        [-k]           a new connection for each request
 *        [-r RATE]      requests begin at random at this rate (Poisson); latency counts from when a
 *                       request should have begun
 *        [-P BYTES]     POST a body of this size
 *        [-W BYTES]     upgrade, then send messages of this size; each that returns counts
 *        [-T]           TLS 1.3, without verification
 *        [-I]           one request on each connection, then say "idle" and hold all until stdin
 * ends
 *        [-M LABEL=PID[,PID..]]..   whose CPU time to take
 *
 * Prints one JSON object. Any wrong answer counts as an error, and the first is explained.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "meter.h"

#define GROUPS_MAX 8
#define PIDS_MAX   64
#define HEAD_MAX   8192

enum step { CLOSED, CONNECTING, HANDSHAKE, SENDING, HEAD, BODY, TUNNEL, READY };
enum chunk_step { SIZE_LINE, CHUNK_DATA, CHUNK_END, LAST_LINE };

struct conn {
	int fd;
	enum step step;
	uint32_t watched;
	SSL *ssl;
	uint64_t began_ns;
	size_t head_sent;
	uint64_t post_left;
	char head[HEAD_MAX];
	size_t head_len;
	bool is_chunked;
	bool is_closing; /* the server said Connection: close */
	bool is_upgraded;
	uint64_t body_left;
	uint64_t body_got;
	enum chunk_step chunk_step;
	char chunk_line[32];
	size_t chunk_line_len;
	uint64_t chunk_left;
	struct conn *next_ready;
};

struct group {
	char label[32];
	int pids[PIDS_MAX];
	size_t n;
	uint64_t cpu_ns;
};

static struct {
	int port;
	int conns;
	double seconds;
	double warmup;
	const char *target;
	uint64_t expect;
	bool per_request;
	double rate;
	uint64_t post;
	size_t message;
	bool tls;
	bool idle;
} opt = { .conns = 1, .seconds = 1, .warmup = 0.2, .target = "/128", .expect = 128 };

static int ep;
static SSL_CTX *ctx;
static struct conn *conns;
static struct conn *ready; /* with -r: waiting for their next request */
static struct group groups[GROUPS_MAX];
static size_t ngroups;
static char request[1024];
static size_t request_len;
static char fill[1 << 20];
static char in[1 << 18];
static uint64_t done;
static uint64_t errors;
static uint64_t bytes;
static uint64_t late; /* -r: requests that found no connection at their time */
static size_t idle_done;
static char first_error[256];

static void
die(const char *what)
{
	perror(what);
	exit(2);
}

static void step_conn(struct conn *c);
static void open_conn(struct conn *c);

static void __attribute__((format(printf, 1, 2))) wrong(const char *fmt, ...)
{
	va_list ap;

	errors++;
	if (first_error[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(first_error, sizeof(first_error), fmt, ap);
	va_end(ap);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void
watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = { events, { .ptr = c } };

	if (c->watched == events)
		return;
	if (epoll_ctl(ep, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) < 0)
		die("epoll_ctl");
	c->watched = events;
}

/* As recv and send: 0 is the end, -1 with EAGAIN when it would block. */
static ssize_t
tls_result(struct conn *c, int n)
{
	int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);

	if (n > 0)
		return n;
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t
get(struct conn *c, void *p, size_t n)
{
	return c->ssl != NULL ? tls_result(c, SSL_read(c->ssl, p, (int)n)) : recv(c->fd, p, n, 0);
}

static ssize_t
put(struct conn *c, const void *p, size_t n)
{
	return c->ssl != NULL ? tls_result(c, SSL_write(c->ssl, p, (int)n))
			      : send(c->fd, p, n, MSG_NOSIGNAL);
}

static void
close_conn(struct conn *c)
{
	if (c->ssl != NULL) {
		SSL_set_quiet_shutdown(c->ssl, 1);
		SSL_free(c->ssl);
	}
	close(c->fd);
	c->ssl = NULL;
	c->watched = 0;
	c->step = CLOSED;
}

/* --- the life of a connection ----------------------------------------------------------------- */

static void
begin_request(struct conn *c)
{
	c->step = SENDING;
	c->head_sent = 0;
	c->post_left = opt.post;
	c->head_len = 0;
	c->is_closing = false;
}

/* One more is done; what next? */
static void
finish_request(struct conn *c)
{
	uint64_t now_ns = meter_now_ns();

	meter_add(now_ns - c->began_ns);
	done++;
	if (opt.idle) {
		idle_done++;
		c->step = READY;
		watch(c, EPOLLIN);
		return;
	}
	if (opt.per_request || c->is_closing) {
		close_conn(c);
		c->began_ns = now_ns;
		if (opt.rate == 0 || !opt.per_request)
			open_conn(c);
		return;
	}
	if (opt.rate > 0) {
		c->step = READY;
		watch(c, EPOLLIN);
		c->next_ready = ready;
		ready = c;
		return;
	}
	c->began_ns = now_ns;
	begin_request(c);
}

static void
fail_conn(struct conn *c, const char *why)
{
	wrong("%s in step %d: %s", why, (int)c->step, strerror(errno));
	close_conn(c);
	if (errors > 1000) {
		fprintf(stderr, "load: too many errors: %s\n", first_error);
		exit(1);
	}
	open_conn(c);
}

static bool
has_token(const char *value, const char *token)
{
	size_t n = strcspn(value, "\r");

	for (size_t i = 0; i + strlen(token) <= n; i++)
		if (strncasecmp(value + i, token, strlen(token)) == 0)
			return true;
	return false;
}

static const char *
field(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p != NULL; p = strchr(p, '\n')) {
		p++;
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, " ");
	}
	return NULL;
}

/* c->head is whole and NUL-terminated. */
static bool
read_head(struct conn *c)
{
	const char *length = field(c->head, "Content-Length");
	const char *coding = field(c->head, "Transfer-Encoding");
	const char *connection = field(c->head, "Connection");
	int status = 0;

	if (sscanf(c->head, "HTTP/1.1 %d", &status) != 1 || status != (opt.message ? 101 : 200)) {
		errno = 0;
		wrong("status %d: %.60s", status, c->head);
		return false;
	}
	c->is_closing = connection != NULL && has_token(connection, "close");
	c->is_chunked = coding != NULL && has_token(coding, "chunked");
	c->body_left = length != NULL ? strtoull(length, NULL, 10) : 0;
	c->body_got = 0;
	c->chunk_step = SIZE_LINE;
	c->chunk_line_len = 0;
	if (opt.message == 0 && !c->is_chunked && length == NULL) {
		wrong("an answer without a length");
		return false;
	}
	return true;
}

/* Feeds chunked bytes; -1 when they are malformed, 1 at the end. */
static int
eat_chunked(struct conn *c, const char *p, size_t n)
{
	while (n > 0) {
		if (c->chunk_step == CHUNK_DATA) {
			size_t part = n < c->chunk_left ? n : (size_t)c->chunk_left;

			c->chunk_left -= part;
			c->body_got += part;
			p += part;
			n -= part;
			if (c->chunk_left == 0)
				c->chunk_step = CHUNK_END;
			continue;
		}
		if (c->chunk_line_len == sizeof(c->chunk_line) - 1)
			return -1;
		c->chunk_line[c->chunk_line_len++] = *p++;
		n--;
		if (c->chunk_line[c->chunk_line_len - 1] != '\n')
			continue;
		c->chunk_line[c->chunk_line_len] = '\0';
		c->chunk_line_len = 0;
		if (c->chunk_step == LAST_LINE) {
			if (strcmp(c->chunk_line, "\r\n") == 0)
				return n == 0 ? 1 : -1;
		} else if (c->chunk_step == CHUNK_END) {
			c->chunk_step = SIZE_LINE;
		} else {
			c->chunk_left = strtoull(c->chunk_line, NULL, 16);
			c->chunk_step = c->chunk_left > 0 ? CHUNK_DATA : LAST_LINE;
		}
	}
	return 0;
}

/* false: the connection is over. */
static bool
eat_body(struct conn *c, const char *p, size_t n)
{
	int end;

	bytes += n;
	if (c->is_chunked) {
		end = eat_chunked(c, p, n);
	} else {
		end = n > c->body_left ? -1 : n == c->body_left;
		c->body_left -= end < 0 ? 0 : n;
		c->body_got += n;
	}
	if (end < 0) {
		wrong("more or other bytes than announced");
		return false;
	}
	if (end == 0)
		return true;
	if (c->body_got != opt.expect) {
		wrong("%" PRIu64 " bytes of body instead of %" PRIu64, c->body_got, opt.expect);
		return false;
	}
	finish_request(c);
	return true;
}

static bool
eat_head(struct conn *c, const char *p, size_t n)
{
	size_t room = HEAD_MAX - 1 - c->head_len;
	size_t part = n < room ? n : room;

	memcpy(c->head + c->head_len, p, part);
	c->head[c->head_len + part] = '\0';

	char *end = strstr(c->head, "\r\n\r\n");

	if (end == NULL) {
		c->head_len += part;
		return part == n;
	}

	size_t used = (size_t)(end + 4 - c->head) - c->head_len;

	end[2] = '\0';
	if (!read_head(c))
		return false;
	if (opt.message > 0) {
		c->is_upgraded = true;
		c->step = TUNNEL;
		c->began_ns = meter_now_ns();
		c->body_left = opt.message;
		if (put(c, fill, opt.message) != (ssize_t)opt.message)
			return false;
		return true;
	}
	c->step = BODY;
	/* An empty body is finished by nothing. */
	if (used < n || (!c->is_chunked && c->body_left == 0))
		return eat_body(c, p + used, n - used);
	return true;
}

static bool
eat_message(struct conn *c, size_t n)
{
	if (n > c->body_left) {
		wrong("a message came back longer");
		return false;
	}
	c->body_left -= n;
	if (c->body_left > 0)
		return true;

	uint64_t now_ns = meter_now_ns();

	meter_add(now_ns - c->began_ns);
	done++;
	c->began_ns = now_ns;
	c->body_left = opt.message;
	return put(c, fill, opt.message) == (ssize_t)opt.message;
}

/* --- steps ------------------------------------------------------------------------------------ */

static bool
step_send(struct conn *c)
{
	while (c->head_sent < request_len || c->post_left > 0) {
		ssize_t n;

		if (c->head_sent < request_len) {
			n = put(c, request + c->head_sent, request_len - c->head_sent);
		} else {
			size_t part =
				c->post_left < sizeof(fill) ? (size_t)c->post_left : sizeof(fill);

			n = put(c, fill, part);
		}
		if (n < 0 && errno == EAGAIN) {
			watch(c, EPOLLIN | EPOLLOUT);
			return false;
		}
		if (n < 0) {
			fail_conn(c, "send");
			return false;
		}
		if (c->head_sent < request_len)
			c->head_sent += (size_t)n;
		else
			c->post_left -= (uint64_t)n;
	}
	c->step = HEAD;
	watch(c, EPOLLIN);
	return true;
}

static void
step_receive(struct conn *c)
{
	/* One read is enough mostly: epoll tells of the rest; TLS keeps some to itself. */
	do {
		ssize_t n = get(c, in, sizeof(in));
		bool is_fine;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			if (n == 0)
				errno = 0;
			if (c->step == READY && !opt.idle && opt.rate == 0)
				n = 0;
			fail_conn(c, n == 0 ? "the end" : "receive");
			return;
		}
		if (c->step == HEAD)
			is_fine = eat_head(c, in, (size_t)n);
		else if (c->step == BODY)
			is_fine = eat_body(c, in, (size_t)n);
		else
			is_fine = c->step == TUNNEL && eat_message(c, (size_t)n);
		if (!is_fine) {
			fail_conn(c, "a wrong answer");
			return;
		}
		if (c->step == SENDING && !step_send(c))
			return;
	} while (c->ssl != NULL && (c->step == HEAD || c->step == BODY));
}

static bool
step_connected(struct conn *c)
{
	int code = 0;
	socklen_t len = sizeof(code);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &len);
	errno = code;
	if (code != 0) {
		fail_conn(c, "connect");
		return false;
	}
	if (!opt.tls) {
		begin_request(c);
		return true;
	}
	c->ssl = SSL_new(ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_tlsext_host_name(c->ssl, "bench.test");
	SSL_set_connect_state(c->ssl);
	c->step = HANDSHAKE;
	return true;
}

static bool
step_handshake(struct conn *c)
{
	int n = SSL_do_handshake(c->ssl);

	if (n == 1) {
		begin_request(c);
		return true;
	}
	if (tls_result(c, n) < 0 && errno == EAGAIN)
		watch(c, SSL_want_write(c->ssl) ? EPOLLOUT : EPOLLIN);
	else
		fail_conn(c, "handshake");
	return false;
}

static void
step_conn(struct conn *c)
{
	if (c->step == CONNECTING && !step_connected(c))
		return;
	if (c->step == HANDSHAKE && !step_handshake(c))
		return;
	if (c->step == SENDING && !step_send(c))
		return;
	if (c->step >= HEAD)
		step_receive(c);
}

static void
open_conn(struct conn *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port) };
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->watched = 0;
	c->step = CONNECTING;
	if (c->began_ns == 0 || opt.rate == 0)
		c->began_ns = meter_now_ns();
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(c, EPOLLOUT);
}

/* --- running ---------------------------------------------------------------------------------- */

static uint64_t
next_arrival_ns(void)
{
	return (uint64_t)(-log(1 - drand48()) / opt.rate * 1e9);
}

/* With -r: begin all requests whose time has come; returns ms until the next. */
static int
begin_due(uint64_t *due_ns)
{
	for (;;) {
		uint64_t now_ns = meter_now_ns();
		struct conn *c = ready;

		if (*due_ns > now_ns)
			return (int)((*due_ns - now_ns) / 1000000);
		if (c == NULL) {
			late++;
			return -1; /* its latency grows until a connection is free */
		}
		ready = c->next_ready;
		c->began_ns = *due_ns;
		*due_ns += next_arrival_ns();
		begin_request(c);
		if (step_send(c))
			continue;
	}
}

static void
turn(int timeout_ms)
{
	struct epoll_event evs[256];
	int n = epoll_wait(ep, evs, 256, timeout_ms);

	for (int i = 0; i < n; i++)
		step_conn(evs[i].data.ptr);
}

static void
run_until(uint64_t end_ns, uint64_t *due_ns)
{
	for (;;) {
		uint64_t now_ns = meter_now_ns();
		int wait_ms = now_ns < end_ns ? (int)((end_ns - now_ns) / 1000000) + 1 : 0;

		if (now_ns >= end_ns)
			return;
		if (opt.rate > 0 && (ready != NULL || *due_ns > now_ns)) {
			int due_ms = begin_due(due_ns);

			if (due_ms >= 0 && due_ms < wait_ms)
				wait_ms = due_ms;
		}
		turn(wait_ms);
	}
}

static void
read_cpu(uint64_t *out)
{
	for (size_t i = 0; i < ngroups; i++) {
		out[i] = 0;
		for (size_t j = 0; j < groups[i].n; j++)
			out[i] += meter_cpu_ns(groups[i].pids[j]);
	}
}

static void
report(double seconds, const uint64_t *before, const uint64_t *after)
{
	printf("{\"ok\": %" PRIu64 ", \"errors\": %" PRIu64
	       ", \"seconds\": %.4f, \"bytes\": %" PRIu64
	       ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"late\": %" PRIu64,
		done, errors, seconds, bytes, meter_percentile_us(0.5), meter_percentile_us(0.99),
		late);
	for (size_t i = 0; i < ngroups; i++)
		printf(", \"cpu_%s\": %.6f", groups[i].label, (double)(after[i] - before[i]) / 1e9);
	printf(", \"first_error\": \"");
	for (const char *p = first_error; *p; p++)
		putchar(*p < ' ' || *p == '"' || *p == '\\' ? '?' : *p);
	printf("\"}\n");
	fflush(stdout);
}

static void
hold_idle(void)
{
	uint64_t give_up = meter_now_ns() + 60000000000;
	size_t opened = 0;
	char c;

	/* Few at a time: what is asked is what idle connections hold, not what a rush left behind.
	 */
	while (idle_done < (size_t)opt.conns && meter_now_ns() < give_up) {
		while (opened < (size_t)opt.conns && opened < idle_done + 32)
			open_conn(&conns[opened++]);
		turn(100);
	}
	if (errors > 0 || idle_done < (size_t)opt.conns) {
		fprintf(stderr, "load: %zu of %d idle: %s\n", idle_done, opt.conns, first_error);
		exit(1);
	}
	printf("idle\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
}

static void
add_group(char *arg)
{
	char *eq = strchr(arg, '=');
	struct group *g = &groups[ngroups];

	if (eq == NULL || ngroups == GROUPS_MAX)
		exit(2);
	snprintf(g->label, sizeof(g->label), "%.*s", (int)(eq - arg), arg);
	for (char *p = strtok(eq + 1, ","); p != NULL && g->n < PIDS_MAX; p = strtok(NULL, ","))
		g->pids[g->n++] = atoi(p);
	ngroups++;
}

static void
read_args(int argc, char **argv)
{
	for (int o; (o = getopt(argc, argv, "p:c:d:w:u:n:kr:P:W:TIM:")) != -1;) {
		switch (o) {
		case 'p': opt.port = atoi(optarg); break;
		case 'c': opt.conns = atoi(optarg); break;
		case 'd': opt.seconds = atof(optarg); break;
		case 'w': opt.warmup = atof(optarg); break;
		case 'u': opt.target = optarg; break;
		case 'n': opt.expect = strtoull(optarg, NULL, 10); break;
		case 'k': opt.per_request = true; break;
		case 'r': opt.rate = atof(optarg); break;
		case 'P': opt.post = strtoull(optarg, NULL, 10); break;
		case 'W': opt.message = strtoul(optarg, NULL, 10); break;
		case 'T': opt.tls = true; break;
		case 'I': opt.idle = true; break;
		case 'M': add_group(optarg); break;
		default: exit(2);
		}
	}
	if (opt.port == 0 || opt.conns <= 0 || opt.message > sizeof(fill) ||
		(opt.rate > 0 && opt.per_request))
		exit(2);
}

static void
make_request(void)
{
	char extra[256] = "";

	if (opt.post > 0)
		snprintf(extra, sizeof(extra), "Content-Length: %" PRIu64 "\r\n", opt.post);
	else if (opt.message > 0)
		snprintf(extra, sizeof(extra),
			"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
	else if (opt.per_request)
		snprintf(extra, sizeof(extra), "Connection: close\r\n");
	request_len = (size_t)snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: weir-bench\r\nAccept: */*\r\n%s"
		"\r\n",
		opt.post > 0 ? "POST" : "GET", opt.target, extra);
}

int
main(int argc, char **argv)
{
	uint64_t before[GROUPS_MAX] = { 0 };
	uint64_t after[GROUPS_MAX] = { 0 };
	struct rlimit limit;

	read_args(argc, argv);
	make_request();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (opt.tls) {
		ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
		SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
		SSL_CTX_set1_groups_list(ctx, "X25519");
		SSL_CTX_set_mode(
			ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	}
	conns = calloc((size_t)opt.conns, sizeof(*conns));
	if (conns == NULL)
		die("calloc");
	srand48(1);
	if (opt.idle) {
		hold_idle();
		return 0;
	}
	for (int i = 0; i < opt.conns; i++) {
		open_conn(&conns[i]);
		if (i % 100 == 99)
			turn(0);
	}

	uint64_t due_ns = meter_now_ns() + next_arrival_ns();
	uint64_t start_ns = meter_now_ns() + (uint64_t)(opt.warmup * 1e9);

	run_until(start_ns, &due_ns);
	meter_clear();
	done = bytes = late = 0;
	start_ns = meter_now_ns();
	read_cpu(before);
	run_until(start_ns + (uint64_t)(opt.seconds * 1e9), &due_ns);
	read_cpu(after);
	report((double)(meter_now_ns() - start_ns) / 1e9, before, after);
	return 0;
}
