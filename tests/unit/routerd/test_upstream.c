/* Which connections to a server are kept, and which of those are used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "routerd/backend_int.h"
#include "routerd/exchange_h2.h"
#include "routerd/upstream.h"
#include "routerd/worker_state.h"

#define ANY_AGE UINT64_MAX

/* Pools as connections see them. */
static const struct poolcfg plain;
static const struct poolcfg secret = { .tls_id = 7 };

struct fixture {
	struct worker *w;
	struct server *server;
	int listener;
	int accepted; /* the newest connection, at the server's end */
};

static int
listen_somewhere(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(at->in);

	memset(at, 0, sizeof(*at));
	at->in.sin_family = AF_INET;
	at->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, &at->sa, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, &at->sa, &len), 0);
	at->len = len;
	return fd;
}

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct addr at;

	f->w = xaligned(64, sizeof(*f->w));
	memset(f->w, 0, sizeof(*f->w));
	f->w->loop = loop_new();
	bufs_init(&f->w->bufs, 0, &f->w->stats[STAT_BUFFERED]);
	freelist_init(&f->w->upstreams, sizeof(struct upstream), 8);
	f->w->up_h2 = exchange_h2_env_new(f->w);
	f->server = xaligned(64, sizeof(*f->server));
	memset(f->server, 0, sizeof(*f->server));
	f->listener = listen_somewhere(&at);
	f->accepted = -1;
	server_set_addr(f->server, &at);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	upstream_close_idle(f->w, 0);
	exchange_h2_env_free(f->w->up_h2);
	loop_free(f->w->loop);
	idlepool_fini(&f->w->idle);
	freelist_fini(&f->w->upstreams);
	bufs_fini(&f->w->bufs);
	close(f->listener);
	if (f->accepted >= 0)
		close(f->accepted);
	free(f->server);
	free(f->w);
	free(f);
	return 0;
}

static void
nothing(struct upstream *u)
{
	(void)u;
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

static void
turn(struct fixture *f, uint64_t ms)
{
	struct loop_timer *t = loop_timer_new(f->w->loop, stop, f->w->loop);

	loop_timer_set(t, ms, false);
	loop_run(f->w->loop);
	loop_timer_free(t);
}

/* A connection that a request is using. */
static struct upstream *
busy(struct fixture *f)
{
	struct upstream *u = upstream_connect(f->w, f->server, &plain);

	assert_non_null(u);
	u->fn = nothing;
	u->expired = nothing;
	turn(f, 10);
	assert_int_equal(upstream_connected(u), 1);
	if (f->accepted >= 0)
		close(f->accepted);
	f->accepted = accept(f->listener, NULL, NULL);
	assert_true(f->accepted >= 0);
	return u;
}

static void
kept_and_used_again(void **state)
{
	struct fixture *f = *state;
	struct upstream *u = busy(f);

	upstream_keep(u, 4, 10000);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 1);
	assert_ptr_equal(upstream_reuse(f->w, f->server, &plain, ANY_AGE), u);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
	upstream_close(u);
}

/* Idle ones are closed when an address changes; one that is busy just then must not go on. */
static void
not_kept_when_the_address_has_changed(void **state)
{
	struct fixture *f = *state;
	struct upstream *u = busy(f);
	struct addr elsewhere;
	int other = listen_somewhere(&elsewhere);

	server_set_addr(f->server, &elsewhere);
	upstream_keep(u, 4, 10000);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
	close(other);
}

static void
closed_by_the_server_while_idle(void **state)
{
	struct fixture *f = *state;

	upstream_keep(busy(f), 4, 10000);
	close(f->accepted);
	f->accepted = -1;
	turn(f, 20);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
}

/* Bytes that nobody asked for would be taken for the answer to the next request. */
static void
bytes_on_an_idle_one_end_it(void **state)
{
	struct fixture *f = *state;

	upstream_keep(busy(f), 4, 10000);
	assert_int_equal(send(f->accepted, "HTTP/1.1 200 OK\r\n", 17, 0), 17);
	turn(f, 20);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
}

/* Who cannot repeat its request looks at the socket itself, and takes only what was just used. */
static void
careful_ones(void **state)
{
	struct fixture *f = *state;
	struct upstream *u = busy(f);

	upstream_keep(u, 4, 10000);
	turn(f, 80);
	assert_null(upstream_reuse(f->w, f->server, &plain, 20));
	assert_ptr_equal(upstream_reuse(f->w, f->server, &plain, 10000), u);
	upstream_keep(u, 4, 10000);
	assert_int_equal(send(f->accepted, "x", 1, 0), 1);
	/* No turn: the loop does not know yet. */
	assert_null(upstream_reuse(f->w, f->server, &plain, 10000));
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
}

static void
no_more_than_asked_for(void **state)
{
	struct fixture *f = *state;
	struct upstream *first = busy(f);
	struct upstream *second = busy(f);

	upstream_keep(first, 1, 10000);
	upstream_keep(second, 1, 10000);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 1);
	assert_ptr_equal(upstream_reuse(f->w, f->server, &plain, ANY_AGE), second);
	upstream_keep(second, 0, 10000);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
}

static void
aged_away(void **state)
{
	struct fixture *f = *state;

	upstream_keep(busy(f), 4, 30);
	turn(f, 200);
	assert_int_equal(f->w->stats[STAT_UPSTREAM_IDLE], 0);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* The same server, and another idea of who it is: never each other's connection. */
static void
identities_are_kept_apart(void **state)
{
	struct fixture *f = *state;
	struct upstream *u = busy(f);

	upstream_keep(u, 8, 60000);
	assert_null(upstream_reuse(f->w, f->server, &secret, ANY_AGE));
	assert_int_equal(u->state, UPSTREAM_CLOSED);
	turn(f, 10);
	u = busy(f);
	u->tls_id = secret.tls_id;
	upstream_keep(u, 8, 60000);
	assert_null(upstream_reuse(f->w, f->server, &plain, ANY_AGE));
	assert_int_equal(u->state, UPSTREAM_CLOSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_and_used_again),
		TEST(not_kept_when_the_address_has_changed),
		TEST(closed_by_the_server_while_idle),
		TEST(bytes_on_an_idle_one_end_it),
		TEST(careful_ones),
		TEST(no_more_than_asked_for),
		TEST(aged_away),
		TEST(identities_are_kept_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
