/*
 * fetch: see the header. Blocks, with poll and a deadline; HTTP is read by libcommon/http1, which
 * takes nothing that could be read in two ways.
 */
#include "proxyctl/fetch.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/http1.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

#define HEAD_MAX 16384

struct url {
	char *authority;
	char *host; /* without brackets */
	char port[8];
	char *path;
};

/* ---- where ---- */

static void
url_fini(struct url *u)
{
	free(u->authority);
	free(u->host);
	free(u->path);
}

static bool
url_parse(const char *text, struct url *u)
{
	static const char scheme[] = "http://";
	struct slice host;
	uint16_t port;

	*u = (struct url){ .authority = NULL };
	if (strncasecmp(text, scheme, sizeof(scheme) - 1) != 0)
		return false;
	text += sizeof(scheme) - 1;

	size_t n = strcspn(text, "/?#");

	if (!http1_host(slice_make(text, n), &host, &port) || host.n == 0)
		return false;
	u->authority = xstrndup(text, n);
	u->host = host.p[0] == '[' ? xstrndup(host.p + 1, host.n - 2) : xstrndup(host.p, host.n);
	snprintf(u->port, sizeof(u->port), "%u", port != 0 ? port : 80);
	u->path = xasprintf(
		"%s%.*s", text[n] == '/' ? "" : "/", (int)strcspn(text + n, "#"), text + n);
	return true;
}

char *
fetch_origin(const char *url)
{
	struct url u;
	char *origin;

	if (!url_parse(url, &u))
		return NULL;
	origin = xasprintf("http://%s:%s", u.host, u.port);
	url_fini(&u);
	return origin;
}

/* ---- the socket ---- */

static int
late(struct err *err)
{
	err_set(err, "no answer in time");
	return FETCH_SILENT;
}

/* 1 when it is ready, 0 when the time is up. */
static int
wait_fd(int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		int64_t left = deadline_ms - clock_ms();

		if (left <= 0)
			return 0;

		int rc = poll(&p, 1, left > 60000 ? 60000 : (int)left);

		if (rc > 0)
			return 1;
		if (rc < 0 && errno != EINTR)
			return 0;
	}
}

static int
connect_to(const struct addrinfo *a, int64_t deadline_ms)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int no = 0;
	socklen_t len = sizeof(no);

	if (fd < 0)
		return -1;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		if (wait_fd(fd, POLLOUT, deadline_ms) == 0)
			no = ETIMEDOUT;
		else
			(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &no, &len);
		if (no == 0)
			return fd;
		errno = no;
	}
	no = errno;
	close(fd);
	errno = no;
	return -1;
}

/* Any of its addresses; those that do not answer leave time for others. */
static int
connect_any(const struct url *u, int64_t deadline_ms, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *all = NULL;
	int rc = getaddrinfo(u->host, u->port, &hints, &all);
	int fd = -1;

	if (rc != 0) {
		err_set(err, "%s cannot be resolved: %s", u->host, gai_strerror(rc));
		return FETCH_SILENT;
	}
	for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next) {
		int64_t left = deadline_ms - clock_ms();

		if (left <= 0 && a != all)
			break;
		fd = connect_to(a, a->ai_next != NULL ? clock_ms() + left / 2 : deadline_ms);
	}
	rc = errno;
	freeaddrinfo(all);
	if (fd >= 0)
		return fd;
	err_set(err, "cannot be reached: %s", strerror(rc));
	return FETCH_SILENT;
}

static int
send_all(int fd, const char *p, size_t n, int64_t deadline_ms, struct err *err)
{
	while (n > 0) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r > 0) {
			p += r;
			n -= (size_t)r;
		} else if (errno != EAGAIN && errno != EINTR) {
			return err_set(err, "the connection broke: %s", strerror(errno));
		} else if (wait_fd(fd, POLLOUT, deadline_ms) == 0) {
			return late(err);
		}
	}
	return 0;
}

/* ---- the answer ---- */

/* As it comes in. */
struct incoming {
	char buf[HEAD_MAX];
	size_t n;
	bool has_head;
	struct http1_scan scan;
	struct msg m;
	struct field fields[64];
	struct http1_chunked chunked;
	unsigned char *out;
	size_t cap;
	size_t got;
	bool is_whole;
};

static int
check_head(const struct msg *m, const char *want, struct err *err)
{
	const struct field *type = msg_field(m, FIELD_CONTENT_TYPE);
	size_t n = strlen(want);

	if (m->status >= 300 && m->status < 400)
		return err_set(err, "answers %u: redirects are not followed", m->status);
	if (m->status != 200)
		return err_set(err, "answers %u", m->status);
	if (type == NULL || type->value.n < n ||
		!slice_caseeq(slice_make(type->value.p, n), slice_str(want)) ||
		(type->value.n > n && strchr("; \t", type->value.p[n]) == NULL))
		return err_set(err, "its answer is no %s", want);
	return 0;
}

static int
take_plain(struct incoming *in, const char *p, size_t n, struct err *err)
{
	if (n > in->cap - in->got)
		return err_set(err, "its answer is larger than %zu bytes", in->cap);
	memcpy(in->out + in->got, p, n);
	in->got += n;
	return 0;
}

static int
take_body(struct incoming *in, char *p, size_t n, struct err *err)
{
	struct http1_error bad;
	size_t used;
	size_t payload;

	if (in->m.body == BODY_CHUNKED) {
		switch (http1_chunked_feed(&in->chunked, p, n, NULL, &used, &payload, &bad)) {
		case HTTP1_BAD: return err_set(err, "its answer is malformed: %s", bad.reason);
		case HTTP1_DONE: in->is_whole = true; break;
		case HTTP1_MORE: break;
		}
		return take_plain(in, p, payload, err);
	}
	if (in->m.body == BODY_LENGTH) {
		uint64_t left = in->m.content_length - in->got;

		if (in->m.content_length > in->cap)
			return err_set(err, "its answer is larger than %zu bytes", in->cap);
		if (n > left)
			n = (size_t)left; /* it was told that nothing may follow */
		in->is_whole = n == left;
	}
	return take_plain(in, p, n, err);
}

static int
take(struct incoming *in, const char *want, struct err *err)
{
	static const struct http1_limits limits = {
		.head_bytes = HEAD_MAX,
		.target_bytes = HEAD_MAX,
		.fields = 64,
	};
	struct http1_error bad;

	if (in->has_head) {
		size_t n = in->n;

		in->n = 0;
		return take_body(in, in->buf, n, err);
	}
	msg_init(&in->m, in->fields, 64);
	switch (http1_response(&in->scan, in->buf, in->n, &limits, METHOD_POST, &in->m, &bad)) {
	case HTTP1_MORE:
		return in->n < HEAD_MAX ? 0 : err_set(err, "its answer's head is too long");
	case HTTP1_BAD: return err_set(err, "its answer is malformed: %s", bad.reason);
	case HTTP1_DONE: break;
	}
	if (check_head(&in->m, want, err) < 0)
		return -1;

	size_t head = in->m.head_len;
	size_t rest = in->n - head;

	in->has_head = true;
	in->n = 0;
	return take_body(in, in->buf + head, rest, err);
}

static int
receive(int fd, struct incoming *in, const char *want, int64_t deadline_ms, struct err *err)
{
	while (!in->is_whole) {
		ssize_t n = recv(fd, in->buf + in->n, sizeof(in->buf) - in->n, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (wait_fd(fd, POLLIN, deadline_ms) == 0)
				return late(err);
			continue;
		}
		if (n < 0)
			return err_set(err, "the connection broke: %s", strerror(errno));
		if (n == 0 && in->has_head && in->m.body == BODY_UNTIL_CLOSE)
			return 0;
		if (n == 0)
			return err_set(err, "ends in the middle of its answer");
		in->n += (size_t)n;
		if (take(in, want, err) < 0)
			return -1;
		/* bytes that trickle do not gain time */
		if (clock_ms() >= deadline_ms && !in->is_whole)
			return late(err);
	}
	return 0;
}

static int
exchange(const struct fetch *f, const struct url *u, struct incoming *in, struct err *err)
{
	int64_t deadline_ms = clock_ms() + f->timeout_ms;
	int fd = connect_any(u, deadline_ms, err);
	struct sbuf head = { 0 };
	int rc;

	if (fd < 0)
		return fd;
	sbuf_addf(&head,
		"POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir/" WEIR_VERSION
		"\r\nContent-Type: %s\r\nAccept: %s\r\nContent-Length: %zu\r\n"
		"Connection: close\r\n\r\n",
		u->path, u->authority, f->type, f->want, f->body_n);
	sbuf_add(&head, (const char *)f->body, f->body_n);
	rc = send_all(fd, head.p, head.n, deadline_ms, err);
	sbuf_fini(&head);
	if (rc == 0)
		rc = receive(fd, in, f->want, deadline_ms, err);
	close(fd);
	return rc;
}

long
fetch_post(const struct fetch *f, unsigned char *out, size_t cap, struct err *err)
{
	struct incoming *in;
	struct url u;
	long n;

	if (!url_parse(f->url, &u))
		return err_set(err, "is no URL of a responder");
	in = xcalloc(1, sizeof(*in));
	in->out = out;
	in->cap = cap;
	n = exchange(f, &u, in, err);
	if (n == 0)
		n = (long)in->got;
	free(in);
	url_fini(&u);
	return n;
}
