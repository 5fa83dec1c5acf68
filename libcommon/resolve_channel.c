/*
 * resolve_channel: see the header. c-ares gives sockets and a timeout, the loop drives them.
 */
#include "libcommon/resolve_channel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <utlist.h>

#include "libcommon/loop.h"
#include "libcommon/mem.h"

#define TRY_TIMEOUT_MS 2000
#define TRIES          2
#define RESOLV_CONF    "/etc/resolv.conf"

struct resolve_sock {
	struct resolve_sock *next;
	struct loop_io *io;
	int fd;
};

struct resolve_channel {
	struct loop *loop;
	ares_channel ares;
	struct loop_timer *timer;
	struct resolve_sock *socks;
	bool is_closing;
	bool has_own_servers;
	struct timespec conf_time; /* of resolv.conf when the channel was made */
};

void
resolve_channel_arm(struct resolve_channel *c)
{
	struct timeval tv;

	if (!ares_timeout(c->ares, NULL, &tv)) {
		loop_timer_stop(c->timer);
		return;
	}

	uint64_t ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;

	loop_timer_set(c->timer, ms + 1, false);
}

static void
on_timer(void *arg)
{
	struct resolve_channel *c = arg;

	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolve_channel_arm(c);
}

static void
on_sock(void *arg, int fd, int events)
{
	struct resolve_channel *c = arg;

	ares_process_fd(c->ares, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
		events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
	resolve_channel_arm(c);
}

static void
free_io(void *io)
{
	loop_io_free(io);
}

static void
close_sock(struct resolve_channel *c, struct resolve_sock *s)
{
	LL_DELETE(c->socks, s);
	loop_io_set(s->io, 0);
	/* this may run inside the callback of that very descriptor */
	if (c->is_closing)
		loop_io_free(s->io);
	else
		loop_defer(c->loop, free_io, s->io);
	free(s);
}

static void
on_sock_state(void *arg, ares_socket_t fd, int is_readable, int is_writable)
{
	struct resolve_channel *c = arg;
	struct resolve_sock *s;
	int events = (is_readable ? LOOP_READ : 0) | (is_writable ? LOOP_WRITE : 0);

	LL_SEARCH_SCALAR(c->socks, s, fd, fd);
	if (!events) {
		if (s)
			close_sock(c, s);
		return;
	}
	if (s) {
		loop_io_set(s->io, events);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->fd = fd;
	s->io = loop_io_new(c->loop, fd, events, on_sock, c);
	LL_PREPEND(c->socks, s);
}

static int
open_ares(struct resolve_channel *c, struct err *err)
{
	struct stat st = { 0 };
	struct ares_options opts = {
		.timeout = TRY_TIMEOUT_MS,
		.tries = TRIES,
		.lookups = (char[]){ "fb" },
		.sock_state_cb = on_sock_state,
		.sock_state_cb_data = c,
	};
	int rc = ares_init_options(&c->ares, &opts,
		ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);

	if (rc != ARES_SUCCESS)
		return err_set(err, "cannot set up name resolution: %s", ares_strerror(rc));
	if (stat(RESOLV_CONF, &st) == 0)
		c->conf_time = st.st_mtim;
	return 0;
}

void
resolve_channel_follow(struct resolve_channel *c)
{
	struct stat st;
	ares_channel before = c->ares;

	if (c->has_own_servers || stat(RESOLV_CONF, &st) != 0 ||
		memcmp(&st.st_mtim, &c->conf_time, sizeof(st.st_mtim)) == 0)
		return;
	if (open_ares(c, NULL) == 0)
		ares_destroy(before);
	else
		c->ares = before;
}

void
resolve_channel_ask(
	struct resolve_channel *c, const char *name, ares_addrinfo_callback fn, void *arg)
{
	const struct ares_addrinfo_hints hints = {
		.ai_flags = ARES_AI_NOSORT,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	ares_getaddrinfo(c->ares, name, NULL, &hints, fn, arg);
}

int
resolve_channel_set_servers(struct resolve_channel *c, const char *servers, struct err *err)
{
	int rc = ares_set_servers_ports_csv(c->ares, servers);

	if (rc != ARES_SUCCESS)
		return err_set(err, "name servers '%s': %s", servers, ares_strerror(rc));
	c->has_own_servers = true;
	return 0;
}

struct resolve_channel *
resolve_channel_new(struct loop *l, struct err *err)
{
	struct resolve_channel *c;
	int rc = ares_library_init(ARES_LIB_INIT_ALL);

	if (rc != ARES_SUCCESS) {
		err_set(err, "cannot set up name resolution: %s", ares_strerror(rc));
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->loop = l;
	if (open_ares(c, err)) {
		ares_library_cleanup();
		free(c);
		return NULL;
	}
	c->timer = loop_timer_new(l, on_timer, c);
	return c;
}

void
resolve_channel_free(struct resolve_channel *c)
{
	c->is_closing = true;
	ares_destroy(c->ares);
	loop_timer_free(c->timer);
	ares_library_cleanup();
	free(c);
}
